//! Keys pressed while the model speaks.
//!
//! For that time the terminal hands over keys at once and does not show them; Ctrl-C stays a signal. Between tokens the program looks
//! whether one is there. Only Unix terminals can do that; elsewhere no key is ever pressed.

#[cfg(unix)]
mod terminal {
    use rustix::stdio::stdin;
    use rustix::termios::{
        LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
    };
    use std::sync::Mutex;

    /// How the terminal was, while keys are watched.
    static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

    pub(in super::super) struct Keys(());

    impl Keys {
        /// Watches the keys of a person; `None` if standard input is no terminal.
        pub(in super::super) fn watch() -> Option<Keys> {
            let before = tcgetattr(stdin()).ok()?;
            let mut modes = before.clone();
            modes
                .local_modes
                .remove(LocalModes::ICANON | LocalModes::ECHO);
            modes.special_codes[SpecialCodeIndex::VMIN] = 0;
            modes.special_codes[SpecialCodeIndex::VTIME] = 0;
            *BEFORE.lock().ok()? = Some(before);
            match tcsetattr(stdin(), OptionalActions::Now, &modes) {
                Ok(()) => Some(Keys(())),
                Err(_) => None,
            }
        }

        /// Whether Esc was pressed, alone: what begins with it and goes on is another key.
        pub(in super::super) fn escape(&self) -> bool {
            let mut keys = [0; 64];
            let count = rustix::io::read(stdin(), &mut keys).unwrap_or(0);
            let keys = &keys[..count];
            let alone = |at: usize| !matches!(keys.get(at + 1), Some(b'[' | b'O'));
            (0..count).any(|at| keys[at] == 0x1b && alone(at))
        }
    }

    impl Drop for Keys {
        fn drop(&mut self) {
            restore();
        }
    }

    /// Leaves the terminal as it was.
    pub(in super::super::super) fn restore() {
        let before = BEFORE.lock().ok().and_then(|mut before| before.take());
        if let Some(before) = before {
            // Where the terminal is gone there is nothing to leave in order.
            let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
        }
    }
}

#[cfg(not(unix))]
mod terminal {
    pub(in super::super) struct Keys(());

    impl Keys {
        pub(in super::super) fn watch() -> Option<Keys> {
            None
        }
        pub(in super::super) fn escape(&self) -> bool {
            false
        }
    }

    pub(in super::super::super) fn restore() {}
}

pub(super) use terminal::Keys;
pub(in super::super) use terminal::restore;
