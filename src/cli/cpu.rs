//! `smolq cpu`: what this CPU can do, and what is made of it.

use super::{load, print};
use crate::error::{Error, Result};
use crate::machine;
use smolq_kernels::Level;

pub(super) fn run() -> Result<()> {
    let chosen = Level::choose().map_err(|why| Error::Request {
        field: "SMOLQ_LEVEL",
        why,
    })?;
    let mut out = String::new();
    let mut line = |text: String| out.push_str(&(text + "\n"));
    line(format!(
        "cpu:      {}",
        machine::cpu_name().unwrap_or_else(|| "unknown".to_owned())
    ));
    let cores = machine::Cores::here();
    let why = match (cores.capacities.first(), cores.capacities.last()) {
        (Some(most), Some(least)) => format!(
            "{} of {} cores are fast: the kernel gives them capacities of {most} to {least}; -t takes more or fewer",
            cores.fast(),
            cores.capacities.len()
        ),
        _ => "cores that this process may use".to_owned(),
    };
    line(format!("threads:  {} ({why})", cores.threads()));
    let sensors = machine::Sensors::here().read();
    for clock in &sensors.clocks {
        let mhz = |khz: u32| khz / 1000;
        let lowered = match clock.ceiling < clock.most {
            true => format!(", not above {} now", mhz(clock.ceiling)),
            false => String::new(),
        };
        line(format!(
            "clock:    {} of {} MHz{lowered} ({})",
            mhz(clock.now),
            mhz(clock.most),
            cores_named(&clock.cores)
        ));
    }
    for zone in &sensors.zones {
        let name = super::one_line(&zone.name);
        line(format!("warmth:   {:.0} °C ({name})", zone.celsius));
    }
    if sensors.cooling {
        line("cooling:  the kernel lowers a clock because of heat".to_owned());
    }
    if let Some(firmware) = sensors.firmware {
        let words = match firmware.words() {
            words if words.is_empty() => "holds nothing down".to_owned(),
            words => words,
        };
        line(format!("firmware: {words}"));
    }
    if let Some(memory) = machine::Memory::here() {
        let total = machine::human(memory.total);
        line(format!("memory:   {} of {total}", load::room(&memory)));
    }
    line("levels:".to_owned());
    for &level in Level::ALL {
        let features = level.features();
        let lacking: Vec<_> = features.iter().filter(|f| !f.1).map(|f| f.0).collect();
        let has: Vec<_> = features.iter().map(|f| f.0).collect();
        let why = match (lacking.is_empty(), has.is_empty()) {
            (true, true) => "runs everywhere".to_owned(),
            (true, false) => format!("this CPU has {}", has.join(", ")),
            (false, _) => format!("this CPU lacks {}", lacking.join(", ")),
        };
        line(format!(
            "  {} {:<12} {why}",
            if level == chosen { '*' } else { ' ' },
            level.name()
        ));
    }
    let reason = match std::env::var("SMOLQ_LEVEL") {
        Ok(name) if !name.is_empty() => "SMOLQ_LEVEL says so",
        _ => "the fastest that this CPU has",
    };
    line(format!(
        "chosen:   {chosen} ({reason}); every level gives the same bits"
    ));
    print(out.as_bytes())
}

/// `core 0`, `cores 4 to 7`.
fn cores_named(cores: &[usize]) -> String {
    match (cores.first(), cores.last()) {
        (Some(first), Some(last)) if first < last => format!("cores {first} to {last}"),
        (Some(first), _) => format!("core {first}"),
        _ => "no core".to_owned(),
    }
}
