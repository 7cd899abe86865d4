//! The cores that a process may use.

use std::fs;
use std::path::Path;

/// The cores that this process may use, by how fast they are.
///
/// On a big.LITTLE processor a region of all cores waits for the slowest ones at every barrier, and the slow cores' share of the
/// memory's bandwidth is small. So the default is one thread for each fast core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    /// How many the process may use at once: its cores, or fewer where a quota of a control group says so.
    pub allowed: usize,
    /// Speed of each core it may use, by the kernel's own measure (`cpu_capacity`, the fastest 1024), fastest first. Empty where the
    /// kernel knows no difference.
    pub capacities: Vec<u32>,
}

/// A core is fast if it has at least this share of the fastest one's speed, in percent: the middle cores of three kinds are, the
/// small ones of two kinds (A55 beside A76 or A78: 36 to 52) are not.
pub(super) const FAST: u32 = 60;

impl Cores {
    /// Those of this machine.
    pub fn here() -> Cores {
        let allowed = std::thread::available_parallelism().map_or(1, usize::from);
        let numbers = fs::read_to_string("/proc/self/status")
            .ok()
            .and_then(|status| {
                let line = status
                    .lines()
                    .find_map(|l| l.strip_prefix("Cpus_allowed_list:"))?;
                numbers(line.trim())
            })
            .unwrap_or_default();
        Cores {
            allowed,
            capacities: capacities(Path::new("/sys/devices/system/cpu"), &numbers),
        }
    }

    /// How many of them are fast.
    pub fn fast(&self) -> usize {
        let least = self.capacities.first().map_or(0, |&most| most * FAST / 100);
        let fast = self.capacities.iter().filter(|&&c| c >= least).count();
        if fast == 0 { self.allowed } else { fast }
    }

    /// How many threads run a model where nobody says how many.
    pub fn threads(&self) -> usize {
        self.allowed.min(self.fast()).max(1)
    }
}

/// The numbers of a list such as `0-3,6`; nothing if it is not one, or longer than any machine's.
pub(super) fn numbers(list: &str) -> Option<Vec<usize>> {
    const MOST: usize = 4096;
    let mut all = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MOST || first > last {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

/// The capacity of a core, where the system tells.
pub(super) fn capacity(folder: &Path, core: usize) -> Option<u32> {
    super::number(&folder.join(format!("cpu{core}/cpu_capacity")))
}

/// The capacities of these cores, fastest first; none if they are all alike or the system does not tell of each.
fn capacities(folder: &Path, cores: &[usize]) -> Vec<u32> {
    let of = |core: &usize| capacity(folder, *core);
    let Some(mut all) = cores.iter().map(of).collect::<Option<Vec<_>>>() else {
        return Vec::new();
    };
    all.sort_unstable_by(|a, b| b.cmp(a));
    if all.first() == all.last() {
        return Vec::new();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_read() {
        assert_eq!(numbers("0-3,6"), Some(vec![0, 1, 2, 3, 6]));
        assert_eq!(numbers("5"), Some(vec![5]));
        for wrong in ["", "a", "3-1", "0-99999999999", "0-4000000000"] {
            assert_eq!(numbers(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_fast_cores_are_the_default() {
        let of = |allowed: usize, capacities: &[u32]| Cores {
            allowed,
            capacities: capacities.to_vec(),
        };
        // RK3588, three kinds of a phone, all alike, a quota below the fast cores.
        assert_eq!(
            of(8, &[1024, 1024, 1024, 1024, 530, 530, 530, 530]).threads(),
            4
        );
        assert_eq!(
            of(8, &[1024, 840, 840, 840, 325, 325, 325, 325]).threads(),
            4
        );
        assert_eq!(of(4, &[]).threads(), 4);
        assert_eq!(of(2, &[1024, 1024, 1024, 1024, 530]).threads(), 2);
        assert_eq!(of(0, &[]).threads(), 1);
    }

    #[test]
    fn capacities_come_from_the_kernels_files() {
        let folder = std::env::temp_dir().join(format!("smolq-cores-{}", std::process::id()));
        for (core, capacity) in [(0, "530\n"), (1, "1024\n"), (2, "530\n")] {
            let core = folder.join(format!("cpu{core}"));
            fs::create_dir_all(&core).unwrap();
            fs::write(core.join("cpu_capacity"), capacity).unwrap();
        }
        assert_eq!(capacities(&folder, &[0, 1, 2]), [1024, 530, 530]);
        assert!(capacities(&folder, &[0, 2]).is_empty(), "all alike");
        assert!(
            capacities(&folder, &[0, 3]).is_empty(),
            "one is not told of"
        );
        fs::remove_dir_all(&folder).unwrap();
    }
}
