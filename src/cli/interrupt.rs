//! Ctrl-C: the first asks for an orderly end, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set by Ctrl-C.
pub(super) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Sets [`INTERRUPTED`] from now on instead of ending the process.
pub(super) fn catch() {
    // Without the handler Ctrl-C still ends the process, only less politely.
    drop(ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    }));
}
