//! `smolq cpu`: what this CPU can do, and what is made of it.

use super::print;
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
