//! Keys pressed while the model speaks, and in answer to a question.
//!
//! For that time the terminal hands over keys at once and does not show them; Ctrl-C stays a signal. Between tokens the program looks
//! whether one is there. A terminal may have other readers, a pager of the answer or the shell that put the program into the background: so
//! keys are watched only where all of it is this program's. Only Unix terminals can do that; elsewhere no key is pressed while the model speaks.

#[cfg(unix)]
mod terminal {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;
    use rustix::process::getpgrp;
    use rustix::stdio::{stderr, stdin, stdout};
    use rustix::termios::{
        LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr,
        tcgetpgrp, tcsetattr,
    };
    use std::io::IsTerminal;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, OnceLock};

    /// How the terminal was when the program began, where it edits lines.
    static FIRST: OnceLock<Termios> = OnceLock::new();

    /// How the terminal was, while keys are watched.
    static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

    const AT_ONCE: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };

    /// How often the wait for an answer looks up.
    const A_WHILE: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };

    pub(in super::super) struct Keys(());

    impl Keys {
        /// Watches the keys of a person; `None` if they are not all meant for this program.
        pub(in super::super) fn watch() -> Option<Keys> {
            let whole = [stdin(), stdout(), stderr()]
                .iter()
                .all(IsTerminal::is_terminal);
            if !whole || in_foreground() != Some(true) {
                return None;
            }
            Keys::set(0)
        }

        /// Takes keys in answer to a question that comes next; `None` if nobody would see it. What was typed before is no answer, and is lost.
        pub(in super::super) fn ask() -> Option<Keys> {
            if !stdin().is_terminal() || !stderr().is_terminal() {
                return None;
            }
            // In the background this waits for the foreground, and so for the modes that are to come back.
            tcflush(stdin(), QueueSelector::IFlush).ok()?;
            // A pager that reads too would take no key for the end.
            let keys = Keys::set(1)?;
            tcflush(stdin(), QueueSelector::IFlush).ok()?;
            Some(keys)
        }

        /// Has keys handed over as soon as so many are there.
        fn set(least: u8) -> Option<Keys> {
            let before = tcgetattr(stdin()).ok()?;
            let mut modes = before.clone();
            modes
                .local_modes
                .remove(LocalModes::ICANON | LocalModes::ECHO);
            modes.special_codes[SpecialCodeIndex::VMIN] = least;
            modes.special_codes[SpecialCodeIndex::VTIME] = 0;
            *BEFORE.lock().ok()? = Some(before);
            match tcsetattr(stdin(), OptionalActions::Now, &modes) {
                Ok(()) => Some(Keys(())),
                Err(_) => None,
            }
        }

        /// Whether Esc was pressed, alone: what begins with it and goes on is another key.
        pub(in super::super) fn escape(&self) -> bool {
            // In the background, keys are the shell's.
            if in_foreground() != Some(true) {
                return false;
            }
            let mut keys = [0u8; 64];
            let keys = pressed(&mut keys, &AT_ONCE).unwrap_or_default();
            let alone = |at: usize| !matches!(keys.get(at + 1), Some(b'[' | b'O'));
            (0..keys.len()).any(|at| keys[at] == 0x1b && alone(at))
        }

        /// Waits for a key that is one character; `None` if `cancel` is set meanwhile, or none can come any more.
        pub(in super::super) fn key(&self, cancel: &AtomicBool) -> Option<char> {
            let mut keys = [0u8; 64];
            while !cancel.load(Ordering::Relaxed) {
                match pressed(&mut keys, &A_WHILE)? {
                    // Nothing, or a key that begins with Esc and goes on.
                    [] | [0x1b, _, ..] => {}
                    [key, ..] => return Some(char::from(*key)),
                }
            }
            None
        }
    }

    impl Drop for Keys {
        fn drop(&mut self) {
            put_back(None);
        }
    }

    /// Whether the terminal is this process's at the moment: another one is stopped when it changes the modes. `None` if it is nobody's.
    fn in_foreground() -> Option<bool> {
        let group = tcgetpgrp(stdin()).ok()?;
        Some(group == getpgrp())
    }

    /// The keys that are there, or come within a time; `None` if none can come any more. It never waits longer, whatever the modes have become.
    fn pressed<'k>(keys: &'k mut [u8], wait: &Timespec) -> Option<&'k [u8]> {
        let stdin = stdin();
        let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut waiting, Some(wait)) {
            Ok(0) | Err(Errno::INTR) => return Some(&[]),
            Ok(_) => {}
            Err(_) => return None,
        }
        match rustix::io::read(stdin, &mut *keys) {
            Ok(count @ 1..) => Some(&keys[..count]),
            Err(Errno::INTR | Errno::AGAIN) => Some(&[]),
            _ => None,
        }
    }

    /// Leaves the terminal as it was, at first or before keys were watched.
    fn put_back(first: Option<Termios>) {
        let before = BEFORE.lock().ok().and_then(|mut before| before.take());
        // In the background the modes are the shell's.
        if let Some(modes) = first.or(before)
            && in_foreground() != Some(false)
        {
            // Where the terminal is gone there is nothing to leave in order.
            let _ = tcsetattr(stdin(), OptionalActions::Now, &modes);
        }
    }

    /// Takes note of how the terminal is, before anything changes it.
    pub(in super::super::super) fn remember() {
        // Lines are edited only so; and modes that others have set are not to come back.
        if stdin().is_terminal()
            && stdout().is_terminal()
            && in_foreground() == Some(true)
            && let Ok(modes) = tcgetattr(stdin())
        {
            // What was noted first stays.
            let _ = FIRST.set(modes);
        }
    }

    /// Leaves the terminal as it was, whatever goes on.
    pub(in super::super::super) fn restore() {
        put_back(FIRST.get().cloned());
    }
}

#[cfg(not(unix))]
mod terminal {
    use console::{Key, Term};
    use std::io::IsTerminal;
    use std::sync::atomic::AtomicBool;

    pub(in super::super) struct Keys(());

    impl Keys {
        pub(in super::super) fn watch() -> Option<Keys> {
            None
        }
        pub(in super::super) fn ask() -> Option<Keys> {
            let seen = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
            seen.then_some(Keys(()))
        }
        pub(in super::super) fn escape(&self) -> bool {
            false
        }
        pub(in super::super) fn key(&self, _: &AtomicBool) -> Option<char> {
            match Term::stderr().read_key_raw().ok()? {
                Key::Char(key) => Some(key),
                Key::Enter => Some('\n'),
                Key::Escape => Some('\x1b'),
                Key::CtrlC => None,
                _ => Some('\0'),
            }
        }
    }

    pub(in super::super::super) fn restore() {}
}

pub(super) use terminal::Keys;
#[cfg(unix)]
pub(in super::super) use terminal::remember;
pub(in super::super) use terminal::restore;
