//! Temperatures and clocks, and whether something held the clocks down.
//!
//! A board that gets hot lowers its clock, and a result measured then is one of its cooling. So a bench reads sensors before, during
//! and after ([`Watch`]) and says with each result how warm it was and how fast the clocks ran ([`Weather`]).

use super::cores::{FAST, capacity, numbers};
use super::{number, numbered};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// A clock this far below the highest one seen, in percent, was held down. Clocks that follow the load move by less while all cores
/// are busy.
const HELD: f64 = 90.0;

/// How often sensors are read during a test. A reading takes some microseconds a file.
const EVERY: Duration = Duration::from_millis(250);

/// The files that tell temperatures and clocks; none on many machines, such as virtual ones.
#[derive(Clone, Debug, Default)]
pub struct Sensors {
    /// Name and file of zones of the CPU; of all zones, if none is called so.
    zones: Vec<(String, PathBuf)>,
    clocks: Vec<Files>,
    firmware: Option<PathBuf>,
    /// Devices that cool by lowering a CPU's clock.
    coolers: Vec<PathBuf>,
}

/// Where to read of cores that share a clock.
#[derive(Clone, Debug)]
struct Files {
    folder: PathBuf,
    cores: Vec<usize>,
    capacity: Option<u32>,
    most: u32,
}

/// What the sensors say at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Temperatures.
    pub zones: Vec<Zone>,
    /// Clocks.
    pub clocks: Vec<Clock>,
    /// What the firmware of a Raspberry Pi says.
    pub firmware: Option<Firmware>,
    /// Whether the kernel lowers a CPU's clock because of heat.
    pub cooling: bool,
}

/// A temperature.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    /// What the system calls its place.
    pub name: String,
    /// Degrees Celsius.
    pub celsius: f64,
}

/// The clock of some cores, in kHz.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Their numbers.
    pub cores: Vec<usize>,
    /// Their speed beside other cores, by the kernel's measure.
    pub capacity: Option<u32>,
    /// Now.
    pub now: u32,
    /// The most that is allowed now: less than `most` where a person, or heat, lowered it.
    pub ceiling: u32,
    /// The most that the cores can do.
    pub most: u32,
}

/// The word of a Raspberry Pi's firmware, as `vcgencmd get_throttled` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Firmware(pub u32);

impl Firmware {
    /// What holds now, from the bits 0 to 3.
    const NOW: [&str; 4] = [
        "under-voltage",
        "clock capped",
        "throttled",
        "soft temperature limit",
    ];
    /// The same, as what has been since the start of the machine.
    const SINCE: u32 = 16;

    /// Whether the clock is held down now: the bits but under-voltage, which alone slows nothing.
    pub fn holds(self) -> bool {
        self.0 & 0b1110 != 0
    }

    /// What holds now, in words; empty if nothing does.
    pub fn words(self) -> String {
        let bits = (0..).zip(Firmware::NOW);
        let set: Vec<_> = bits
            .filter(|(bit, _)| self.0 >> bit & 1 == 1)
            .map(|(_, word)| word)
            .collect();
        set.join(", ")
    }

    /// What holds in `now` or came to hold since `self` was read.
    fn until(self, now: Firmware) -> Firmware {
        Firmware((now.0 & 0xf) | ((now.0 & !self.0) >> Firmware::SINCE & 0xf))
    }
}

impl Sensors {
    /// Those of this machine.
    pub fn here() -> Sensors {
        Sensors::at(Path::new("/"))
    }

    /// Those in `sys` below `root`.
    pub fn at(root: &Path) -> Sensors {
        let thermal = root.join("sys/class/thermal");
        let zones = numbered(&thermal, "thermal_zone").into_iter();
        let zones = zones.filter_map(|(_, zone)| {
            let name = fs::read_to_string(zone.join("type")).ok()?;
            let file = zone.join("temp");
            celsius(&file)?;
            Some((name.trim().to_owned(), file))
        });
        let mut zones: Vec<_> = zones.collect();
        // Phones have dozens: of the battery, the modem, the charger.
        let of_cpu = |name: &str| {
            let name = name.to_ascii_lowercase();
            ["cpu", "core", "soc", "cluster", "pkg", "package"]
                .iter()
                .any(|part| name.contains(part))
        };
        if zones.iter().any(|(name, _)| of_cpu(name)) {
            zones.retain(|(name, _)| of_cpu(name));
        }
        let coolers = numbered(&thermal, "cooling_device").into_iter();
        let coolers = coolers.filter_map(|(_, device)| {
            let name = fs::read_to_string(device.join("type")).ok()?;
            name.contains("cpufreq").then(|| device.join("cur_state"))
        });
        let cpus = root.join("sys/devices/system/cpu");
        let clocks = numbered(&cpus.join("cpufreq"), "policy").into_iter();
        let clocks = clocks.filter_map(|(_, folder)| {
            let cores = fs::read_to_string(folder.join("affected_cpus")).ok()?;
            let cores = numbers(&cores.split_whitespace().collect::<Vec<_>>().join(","))?;
            let files = Files {
                capacity: capacity(&cpus, *cores.first()?),
                most: number(&folder.join("cpuinfo_max_freq"))?,
                cores,
                folder,
            };
            files.read()?;
            Some(files)
        });
        Sensors {
            zones,
            clocks: clocks.collect(),
            firmware: firmware(root),
            coolers: coolers.collect(),
        }
    }

    /// Whether nothing is told.
    pub fn is_empty(&self) -> bool {
        self.zones.is_empty() && self.clocks.is_empty() && self.firmware.is_none()
    }

    /// What they say now. A sensor that fails is left out.
    pub fn read(&self) -> Reading {
        let zone = |(name, file): &(String, PathBuf)| {
            Some(Zone {
                name: name.clone(),
                celsius: celsius(file)?,
            })
        };
        let state = |file: &PathBuf| number::<u32>(file).unwrap_or(0);
        Reading {
            zones: self.zones.iter().filter_map(zone).collect(),
            clocks: self.clocks.iter().filter_map(Files::read).collect(),
            firmware: self.firmware.as_deref().and_then(flags),
            cooling: self.coolers.iter().any(|file| state(file) > 0),
        }
    }
}

impl Files {
    fn read(&self) -> Option<Clock> {
        let now = number(&self.folder.join("scaling_cur_freq"))?;
        Some(Clock {
            cores: self.cores.clone(),
            capacity: self.capacity,
            now,
            ceiling: number(&self.folder.join("scaling_max_freq")).unwrap_or(self.most),
            most: self.most,
        })
    }
}

/// The temperature in a file, in degrees; sensors that are off give wild ones.
fn celsius(file: &Path) -> Option<f64> {
    let thousandths: i64 = number(file)?;
    (-50_000..=200_000)
        .contains(&thousandths)
        .then_some(thousandths as f64 / 1e3)
}

/// The file in which a Raspberry Pi's firmware tells: in the folder of its chip, whose name has an address on newer ones.
fn firmware(root: &Path) -> Option<PathBuf> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let named = |path: &PathBuf, is: &dyn Fn(&str) -> bool| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(is)
    };
    let chips = below(&root.join("sys/devices/platform")).into_iter();
    let mut files = chips
        .filter(|path| named(path, &|name| name.starts_with("soc")))
        .flat_map(|chip| below(&chip))
        .filter(|path| named(path, &|name| name.ends_with(":firmware")))
        .map(|folder| folder.join("get_throttled"));
    files.find(|file| flags(file).is_some())
}

/// Hexadecimal, with or without `0x`.
fn flags(file: &Path) -> Option<Firmware> {
    let text = fs::read_to_string(file).ok()?;
    let digits = text.trim();
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    Some(Firmware(u32::from_str_radix(digits, 16).ok()?))
}

impl Reading {
    /// The warmest zone, in degrees Celsius.
    pub fn celsius(&self) -> Option<f64> {
        self.zones.iter().map(|zone| zone.celsius).reduce(f64::max)
    }

    /// The fast cores' clock in MHz: the mean over as many cores as there are threads, those with the highest clock, since idle
    /// cores may run as slowly as they like.
    pub fn mhz(&self, threads: usize) -> Option<f64> {
        self.mean(threads, |clock| clock.now)
    }

    /// What the fast cores could do if nothing held them down, in MHz, as [`Reading::mhz`] counts.
    pub fn most_mhz(&self, threads: usize) -> Option<f64> {
        self.mean(threads, |clock| clock.most)
    }

    fn mean(&self, threads: usize, of: fn(&Clock) -> u32) -> Option<f64> {
        let most = self.clocks.iter().filter_map(|clock| clock.capacity).max();
        let least = most.map_or(0, |most| most * FAST / 100);
        let fast = |clock: &&Clock| clock.capacity.is_none_or(|capacity| capacity >= least);
        let mut all: Vec<u32> = self
            .clocks
            .iter()
            .filter(fast)
            .flat_map(|clock| std::iter::repeat_n(of(clock), clock.cores.len()))
            .collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.truncate(threads.max(1));
        let sum: f64 = all.iter().map(|&khz| f64::from(khz)).sum();
        (!all.is_empty()).then(|| sum / all.len() as f64 / 1e3)
    }
}

/// How warm it was and how fast the clocks ran while something was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weather {
    /// The warmest zone before, in degrees Celsius.
    pub celsius_before: Option<f64>,
    /// The warmest zone after.
    pub celsius_after: Option<f64>,
    /// The warmest zone at any time.
    pub celsius_max: Option<f64>,
    /// The fast cores' clock before, in MHz ([`Reading::mhz`]).
    pub mhz_before: Option<f64>,
    /// The same after, while the cores were still busy.
    pub mhz_after: Option<f64>,
    /// The lowest while it was measured.
    pub mhz_min: Option<f64>,
    /// The highest before or while it was measured.
    pub mhz_max: Option<f64>,
    /// What held the clock down, in words, if something did.
    pub throttled: Option<String>,
}

/// Reads sensors while something is measured.
#[derive(Debug)]
pub struct Watch<'a> {
    sensors: &'a Sensors,
    threads: usize,
    before: Reading,
    last: Reading,
    weather: Weather,
    /// What the firmware said at any time.
    firmware: Firmware,
    cooling: bool,
}

impl Watch<'_> {
    /// Begins with a reading. `highest` is the highest clock seen before with as many threads, in MHz: one that was low from the
    /// beginning was held down too.
    pub fn new(sensors: &Sensors, threads: usize, highest: Option<f64>) -> Watch<'_> {
        let before = sensors.read();
        let mhz = before.mhz(threads);
        Watch {
            weather: Weather {
                celsius_before: before.celsius(),
                celsius_after: before.celsius(),
                celsius_max: before.celsius(),
                mhz_before: mhz,
                mhz_after: mhz,
                mhz_min: None,
                mhz_max: mhz.into_iter().chain(highest).reduce(f64::max),
                throttled: None,
            },
            sensors,
            threads,
            last: before.clone(),
            before,
            firmware: Firmware::default(),
            cooling: false,
        }
    }

    /// Does `work`, and meanwhile reads the sensors four times a second on a thread of its own, and once at the end. Where there are
    /// none, it does nothing beside.
    pub fn during<T>(&mut self, work: impl FnOnce() -> T) -> T {
        if self.sensors.is_empty() {
            return work();
        }
        let sensors = self.sensors;
        let (stop, stopped) = channel::<()>();
        let readings = move || {
            let mut readings = Vec::new();
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                readings.push(sensors.read());
            }
            readings
        };
        let (done, readings) = thread::scope(|scope| {
            // No thread, no readings.
            let reader = thread::Builder::new().spawn_scoped(scope, readings);
            let done = work();
            // The clock is still that of the work.
            let last = sensors.read();
            drop(stop);
            let readings = reader.ok().and_then(|reader| reader.join().ok());
            let mut readings = readings.unwrap_or_default();
            readings.push(last);
            (done, readings)
        });
        readings.into_iter().for_each(|reading| self.note(reading));
        done
    }

    /// A reading while something is measured.
    fn note(&mut self, reading: Reading) {
        let weather = &mut self.weather;
        let (celsius, mhz) = (reading.celsius(), reading.mhz(self.threads));
        let both = |a: Option<f64>, b: Option<f64>, choose: fn(f64, f64) -> f64| {
            a.into_iter().chain(b).reduce(choose)
        };
        weather.celsius_after = celsius.or(weather.celsius_after);
        weather.celsius_max = both(weather.celsius_max, celsius, f64::max);
        weather.mhz_after = mhz.or(weather.mhz_after);
        weather.mhz_min = both(weather.mhz_min, mhz, f64::min);
        weather.mhz_max = both(weather.mhz_max, mhz, f64::max);
        if let (Some(before), Some(now)) = (self.before.firmware, reading.firmware) {
            self.firmware = Firmware(self.firmware.0 | before.until(now).0);
        }
        self.cooling |= reading.cooling;
        self.last = reading;
    }

    /// What was seen; `None` where there are no sensors.
    pub fn weather(&self) -> Option<Weather> {
        if self.sensors.is_empty() {
            return None;
        }
        let mut weather = self.weather.clone();
        weather.throttled = self.throttled();
        Some(weather)
    }

    fn throttled(&self) -> Option<String> {
        let Weather {
            mhz_min: low,
            mhz_max: high,
            ..
        } = self.weather;
        let mut why = Vec::new();
        if self.firmware.holds() {
            why.push(format!("firmware: {}", self.firmware.words()));
        }
        // With the kernel's own word that it is for heat, what the cores can do at most counts. Without it, that may be more than
        // all of them can do at once, or more than a person allows.
        let most = self.last.most_mhz(self.threads);
        let reference = if self.cooling { most.or(high) } else { high };
        if let (Some(low), Some(reference)) = (low, reference)
            && 100.0 * low < HELD * reference
        {
            why.push(format!("clock down to {low:.0} of {reference:.0} MHz"));
        }
        (!why.is_empty()).then(|| why.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Root;
    use super::*;

    const PI: &[(&str, &str)] = &[
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal"),
        ("sys/class/thermal/thermal_zone0/temp", "48312"),
        (
            "sys/devices/system/cpu/cpufreq/policy0/affected_cpus",
            "0 1 2 3",
        ),
        (
            "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq",
            "2400000",
        ),
        (
            "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq",
            "2400000",
        ),
        (PI_CLOCK, "2400000"),
        (PI_FLAGS, "50000"),
    ];
    const PI_CLOCK: &str = "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq";
    const PI_FLAGS: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";

    /// The weather of work that does this to the machine.
    fn weather(root: &Root, threads: usize, highest: Option<f64>, work: impl FnOnce()) -> Weather {
        let sensors = Sensors::at(root.path());
        let mut watch = Watch::new(&sensors, threads, highest);
        watch.during(work);
        watch.weather().unwrap()
    }

    #[test]
    fn a_raspberry_pi_is_read() {
        let root = Root::new("clocks-pi", PI);
        let reading = Sensors::at(root.path()).read();
        assert_eq!(reading.celsius(), Some(48.312));
        assert_eq!(reading.mhz(4), Some(2400.0));
        assert_eq!(reading.clocks[0].cores, [0, 1, 2, 3]);
        // What was before the start is not now.
        assert_eq!(reading.firmware, Some(Firmware(0x50000)));
        assert!(!reading.firmware.unwrap().holds());

        let cool = weather(&root, 4, None, || ());
        assert_eq!((cool.mhz_min, cool.throttled), (Some(2400.0), None));
        let hot = weather(&root, 4, None, || {
            root.set("sys/class/thermal/thermal_zone0/temp", "85000");
            root.set(PI_CLOCK, "1500000");
            root.set(PI_FLAGS, "0xe0008");
        });
        assert_eq!(
            (hot.celsius_before, hot.celsius_after, hot.celsius_max),
            (Some(48.312), Some(85.0), Some(85.0))
        );
        assert_eq!(
            (hot.mhz_before, hot.mhz_min, hot.mhz_max),
            (Some(2400.0), Some(1500.0), Some(2400.0))
        );
        // Bit 17 is new, bit 18 was there.
        assert_eq!(
            hot.throttled.unwrap(),
            "firmware: clock capped, soft temperature limit; clock down to 1500 of 2400 MHz"
        );
        // Still low in the next test, from beginning to end.
        root.set(PI_FLAGS, "e0000");
        assert_eq!(weather(&root, 4, None, || ()).throttled, None);
        let next = weather(&root, 4, Some(2400.0), || ());
        assert_eq!(next.throttled.unwrap(), "clock down to 1500 of 2400 MHz");
    }

    #[test]
    fn under_voltage_alone_does_not_hold_the_clock() {
        assert!(!Firmware(0x1_0001).holds());
        assert_eq!(Firmware(0x1_0001).words(), "under-voltage");
        assert!(Firmware(4).holds() && Firmware(8).holds() && Firmware(2).holds());
        assert_eq!(
            Firmware(0x5_0000).until(Firmware(0x7_0001)),
            Firmware(0b0011)
        );
    }

    #[test]
    fn a_pi_5_has_its_flags_elsewhere() {
        let file = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled";
        let root = Root::new("clocks-pi5", &[(file, "5")]);
        let sensors = Sensors::at(root.path());
        assert_eq!(sensors.read().firmware, Some(Firmware(5)));
        assert!(!sensors.is_empty());
        root.set(file, "no number");
        assert!(Sensors::at(root.path()).is_empty());
    }

    /// Four A55 and two pairs of A76, zones of CPU and others.
    fn rk3588(name: &str) -> Root {
        let root = Root::new(name, &[]);
        let zones = [
            ("soc-thermal", "52000"),
            ("bigcore0-thermal", "61000"),
            ("gpu-thermal", "90000"),
            ("littlecore-thermal", "-274000"),
        ];
        for (i, (kind, temp)) in zones.into_iter().enumerate() {
            root.set(&format!("sys/class/thermal/thermal_zone{i}/type"), kind);
            root.set(&format!("sys/class/thermal/thermal_zone{i}/temp"), temp);
        }
        for (i, (kind, state)) in [("thermal-devfreq-0", "3"), ("cpufreq-cpu4", "0")]
            .into_iter()
            .enumerate()
        {
            let device = format!("sys/class/thermal/cooling_device{i}");
            root.set(&format!("{device}/type"), kind);
            root.set(&format!("{device}/cur_state"), state);
        }
        for (first, cores, most, capacity) in [
            (0, "0 1 2 3", "1800000", "530"),
            (4, "4 5", "2256000", "1024"),
            (6, "6 7", "2352000", "1024"),
        ] {
            let folder = format!("sys/devices/system/cpu/cpufreq/policy{first}");
            root.set(&format!("{folder}/affected_cpus"), cores);
            root.set(&format!("{folder}/cpuinfo_max_freq"), most);
            root.set(&format!("{folder}/scaling_max_freq"), most);
            root.set(&format!("{folder}/scaling_cur_freq"), most);
            for core in cores.split(' ') {
                let file = format!("sys/devices/system/cpu/cpu{core}/cpu_capacity");
                root.set(&file, capacity);
            }
        }
        root
    }

    fn clock(root: &Root, policy: usize, khz: &str) {
        let file = format!("sys/devices/system/cpu/cpufreq/policy{policy}/scaling_cur_freq");
        root.set(&file, khz);
    }

    #[test]
    fn of_big_and_little_cores_the_fast_ones_count() {
        let root = rk3588("clocks-rk3588");
        let reading = Sensors::at(root.path()).read();
        // The GPU is no part of the CPU, and a sensor that is off says nothing.
        let names: Vec<_> = reading.zones.iter().map(|z| z.name.as_str()).collect();
        assert_eq!(names, ["soc-thermal", "bigcore0-thermal"]);
        assert_eq!(reading.celsius(), Some(61.0));
        assert_eq!(reading.mhz(4), Some(2304.0));
        assert_eq!(reading.mhz(8), Some(2304.0), "little ones do not count");
        assert_eq!(reading.mhz(1), Some(2352.0));
        assert!(!reading.cooling, "only a GPU is cooled");

        // Little cores may do what they like, and so may fast ones that have no thread.
        let idle = weather(&root, 2, None, || {
            clock(&root, 0, "408000");
            clock(&root, 4, "408000");
        });
        assert_eq!((idle.mhz_min, idle.throttled), (Some(2352.0), None));
        clock(&root, 4, "2256000");
        let hot = weather(&root, 4, None, || clock(&root, 6, "1416000"));
        assert_eq!(hot.throttled.unwrap(), "clock down to 1836 of 2304 MHz");
        // A step of the clock is no throttling.
        clock(&root, 6, "2352000");
        let step = weather(&root, 4, None, || clock(&root, 6, "2208000"));
        assert_eq!(step.throttled, None);
    }

    #[test]
    fn a_clock_that_was_low_before_is_held_if_the_kernel_cools() {
        let root = rk3588("clocks-cooling");
        clock(&root, 4, "1200000");
        clock(&root, 6, "1200000");
        // Perhaps a person wanted it so.
        assert_eq!(weather(&root, 4, None, || ()).throttled, None);
        root.set("sys/class/thermal/cooling_device1/cur_state", "2");
        let hot = weather(&root, 4, None, || ());
        assert_eq!(hot.throttled.unwrap(), "clock down to 1200 of 2304 MHz");
        // Cooled, but not slow: another cluster may be meant.
        clock(&root, 4, "2256000");
        clock(&root, 6, "2352000");
        assert_eq!(weather(&root, 4, None, || ()).throttled, None);
    }

    #[test]
    fn clocks_are_read_while_work_is_done() {
        let root = Root::new("clocks-while", PI);
        let dip = weather(&root, 4, None, || {
            root.set(PI_CLOCK, "600000");
            thread::sleep(3 * EVERY);
            root.set(PI_CLOCK, "2400000");
        });
        assert_eq!(
            (dip.mhz_min, dip.mhz_after),
            (Some(600.0), Some(2400.0)),
            "the dip lay between beginning and end"
        );
        assert!(dip.throttled.is_some());
    }

    #[test]
    fn a_machine_that_tells_nothing_has_no_weather() {
        let root = Root::new("clocks-none", &[("sys/devices/system/cpu/online", "0-1")]);
        let sensors = Sensors::at(root.path());
        assert!(sensors.is_empty());
        let mut watch = Watch::new(&sensors, 2, None);
        assert_eq!(watch.during(|| 7), 7);
        assert_eq!(watch.weather(), None);
        // Nor do files that hold something else.
        for (path, text) in PI {
            let text = if path.ends_with("type") { text } else { "?" };
            root.set(path, text);
        }
        assert!(Sensors::at(root.path()).is_empty());
    }
}
