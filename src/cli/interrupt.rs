//! Ctrl-C: the first asks for an orderly end, the second ends the process.

use crate::converse::Control;
use std::sync::atomic::{AtomicBool, Ordering};

/// What runs at the moment.
pub(super) static CONTROL: Control = Control::new();

/// Set by Ctrl-C.
pub(super) static INTERRUPTED: &AtomicBool = &CONTROL.cancel;

/// Sets [`INTERRUPTED`] from now on instead of ending the process.
pub(super) fn catch() {
    // Without the handler Ctrl-C still ends the process, only less politely.
    drop(ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            super::chat::restore_terminal();
            std::process::exit(130);
        }
    }));
}
