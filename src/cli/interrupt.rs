//! Signals that ask for an end.
//!
//! Ctrl-C ends what runs at the moment, and the second one the process. SIGHUP and SIGTERM ask the process itself to leave: what runs is
//! ended, and it goes its ordinary way out, on which conversations are kept. Where it does not get there soon, or is asked twice, it is ended
//! where it stands; even then no program of a tool is left behind, and the terminal is as it was.

use crate::converse::Control;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// What runs at the moment.
pub(super) static CONTROL: Control = Control::new();

/// Set by Ctrl-C, and by signals that ask the process to leave.
pub(super) static INTERRUPTED: &AtomicBool = &CONTROL.cancel;

/// The status of a process that Ctrl-C ended.
pub(super) const CTRL_C: u8 = 130;

/// The status that the process is to leave with; 0 as long as nobody asked it to.
static LEAVING: AtomicU8 = AtomicU8::new(0);

/// Whether something is being written that would be lost.
static WRITING: AtomicBool = AtomicBool::new(false);

/// Whether Ctrl-C was pressed while it was.
static PRESSED: AtomicBool = AtomicBool::new(false);

/// The status that the process is to leave with, if a signal has asked it to.
pub(super) fn leaving() -> Option<u8> {
    Some(LEAVING.load(Ordering::Relaxed)).filter(|&status| status != 0)
}

/// As long as it lives, a process that was asked to leave is given time: it writes what would be lost. The first Ctrl-C then ends nothing.
#[must_use]
pub(super) struct Unhurried(());

/// Asks for time to write something.
pub(super) fn unhurried() -> Unhurried {
    PRESSED.store(false, Ordering::Relaxed);
    WRITING.store(true, Ordering::Relaxed);
    Unhurried(())
}

impl Drop for Unhurried {
    fn drop(&mut self) {
        WRITING.store(false, Ordering::Relaxed);
    }
}

/// Ends the process where it stands. The thread that does may hold any lock, so nothing here waits for one.
fn end(status: u8) -> ! {
    crate::tools::kill_all();
    smolq_gguf::remove_unfinished();
    super::chat::restore_terminal();
    die(status)
}

/// Ends the process as the signal of this status does when nobody takes it. Whoever waits for the process sees that it was obeyed; and a shell
/// ends its loop.
pub(super) fn die(status: u8) -> ! {
    // The first process of a system, or of a container, cannot end by a signal of its own.
    #[cfg(unix)]
    if let Some(signal) = status.checked_sub(128)
        && !rustix::process::getpid().is_init()
    {
        // It comes back only from signals that it does not know.
        let _ = signal_hook::low_level::emulate_default_handler(signal.into());
    }
    std::process::exit(status.into())
}

/// Takes a Ctrl-C.
fn interrupt() {
    let again = INTERRUPTED.swap(true, Ordering::Relaxed);
    if !again {
        return;
    }
    let spared = WRITING.load(Ordering::Relaxed) && !PRESSED.swap(true, Ordering::Relaxed);
    if !spared {
        end(CTRL_C);
    }
}

#[cfg(unix)]
mod listener {
    use super::{INTERRUPTED, LEAVING, WRITING, end, interrupt};
    use rustix::process::{Signal, getpid, kill_process};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    /// How long the ordinary way out may take, before and after something is written on it.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// How long the writing may.
    const PATIENCE_TO_WRITE: Duration = Duration::from_secs(30);

    /// Signals that come together are one wish: systemd sends SIGHUP after SIGTERM.
    const TOGETHER: Duration = Duration::from_millis(500);

    /// How often the process is reminded.
    const STEP: Duration = Duration::from_millis(100);

    pub(in super::super) fn catch() {
        super::super::chat::remember_terminal();
        let signals = [SIGINT, SIGHUP, SIGTERM]
            .into_iter()
            .filter(|&signal| signal == SIGINT || is_ours(signal));
        // Without handlers these signals still end the process, only less politely.
        if let Ok(signals) = Signals::new(signals) {
            let thread = std::thread::Builder::new().name("signals".into());
            drop(thread.spawn(move || listen(signals)));
        }
    }

    /// Whether a signal is ours to take: whoever started the process may have had it ignore some, as nohup does. Only Linux tells; elsewhere a
    /// terminal that is gone ends the process as it always did.
    fn is_ours(signal: i32) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))
            .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.map_or(signal == SIGTERM, |mask| mask & (1 << (signal - 1)) == 0)
    }

    fn listen(mut signals: Signals) {
        let mut asked = None;
        for signal in signals.forever() {
            if signal != SIGINT {
                asked = Some(signal);
                break;
            }
            interrupt();
        }
        if let Some(signal) = asked {
            leave(signal, signals);
        }
    }

    /// Asks the process to leave, and sees to it that it does.
    fn leave(signal: i32, mut signals: Signals) {
        let status = u8::try_from(128 + signal).unwrap_or(u8::MAX);
        LEAVING.store(status, Ordering::Relaxed);
        let start = Instant::now();
        // When the process last went its way out without writing.
        let mut since = start;
        loop {
            // Said again and again: a turn that is about to begin forgets what was said before it.
            INTERRUPTED.store(true, Ordering::Relaxed);
            // Whoever edits a line hears only Ctrl-C. To all others it is nothing new.
            let _ = kill_process(getpid(), Signal::INT);
            std::thread::sleep(STEP);
            let more = signals.pending().filter(|&signal| signal != SIGINT).count();
            let passed = start.elapsed();
            let slow = match WRITING.load(Ordering::Relaxed) {
                true => {
                    since = Instant::now();
                    passed >= PATIENCE_TO_WRITE
                }
                false => since.elapsed() >= PATIENCE,
            };
            if more > 0 && passed > TOGETHER || slow {
                end(status);
            }
        }
    }
}

#[cfg(not(unix))]
mod listener {
    pub(in super::super) fn catch() {
        // Without the handler Ctrl-C still ends the process, only less politely.
        drop(ctrlc::set_handler(super::interrupt));
    }
}

/// Takes signals from now on, which would otherwise end the process.
pub(super) use listener::catch;
