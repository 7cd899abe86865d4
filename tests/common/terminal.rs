//! A program at a terminal: what a person types and sees.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What the terminal has shown so far.
struct Seen {
    screen: vt100::Parser,
    text: String,
    ended: bool,
}

/// What is tested.
pub(crate) const SMOLQ: &str = env!("CARGO_BIN_EXE_smolq");

/// How a program is started.
pub(crate) struct Start<'a> {
    pub(crate) program: &'a str,
    pub(crate) columns: u16,
    /// What is typed before it runs.
    pub(crate) typed: &'a str,
    /// Where a stream goes that does not go to the terminal.
    pub(crate) stdout: Option<File>,
    pub(crate) stderr: Option<File>,
}

impl Default for Start<'_> {
    fn default() -> Self {
        Start {
            program: SMOLQ,
            columns: 80,
            typed: "",
            stdout: None,
            stderr: None,
        }
    }
}

/// The program in a terminal of its own.
pub(crate) struct Terminal {
    keyboard: Arc<pty_process::blocking::Pty>,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    child: std::process::Child,
    /// How much of the text has been waited for.
    mark: usize,
}

const ROWS: std::num::NonZeroU16 = std::num::NonZeroU16::new(40).unwrap();

/// How long anything may take; a machine under load is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

impl Terminal {
    /// Starts the program in a terminal of so many columns.
    pub(crate) fn open(arguments: &[&str], columns: u16, folder: &Path) -> Terminal {
        let start = Start {
            columns,
            ..Start::default()
        };
        Terminal::start(start, arguments, folder)
    }

    /// Starts a program in a terminal.
    pub(crate) fn start(start: Start<'_>, arguments: &[&str], folder: &Path) -> Terminal {
        let columns = start.columns;
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(ROWS.get(), columns))
            .unwrap();
        (&pty).write_all(start.typed.as_bytes()).unwrap();
        let mut command = pty_process::blocking::Command::new(start.program);
        if let Some(stdout) = start.stdout {
            command = command.stdout(stdout);
        }
        if let Some(stderr) = start.stderr {
            command = command.stderr(stderr);
        }
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SMOLQ_")) {
            command = command.env_remove(name);
        }
        let state = folder.join("state");
        command = command
            .args(arguments)
            .current_dir(folder)
            .env("TERM", "xterm-256color")
            .env("XDG_STATE_HOME", state)
            .env_remove("NO_COLOR");
        let child = command.spawn(pts).unwrap();
        let seen = Seen {
            screen: vt100::Parser::new(ROWS, columns.try_into().unwrap(), 0),
            text: String::new(),
            ended: false,
        };
        let seen = Arc::new((Mutex::new(seen), Condvar::new()));
        let keyboard = Arc::new(pty);
        let output = Arc::clone(&keyboard);
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                // The end of a terminal is an error on Linux.
                let n = (&*output).read(&mut bytes).unwrap_or(0);
                let mut seen = shared.0.lock().unwrap();
                match n {
                    0 => seen.ended = true,
                    n => {
                        seen.screen.process(&bytes[..n]);
                        let text = String::from_utf8_lossy(&bytes[..n]).into_owned();
                        seen.text.push_str(&text);
                    }
                }
                shared.1.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        Terminal {
            keyboard,
            seen,
            child,
            mark: 0,
        }
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: impl AsRef<[u8]>) {
        let mut keyboard = &*self.keyboard;
        keyboard.write_all(keys.as_ref()).unwrap();
        keyboard.flush().unwrap();
    }

    /// Types a line.
    pub(crate) fn say(&mut self, line: &str) {
        self.press(format!("{line}\r"));
    }

    /// Waits until the text appears, after what was waited for before. Gives what stood between.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let mark = self.mark;
        let (between, mark) = self.wait(&format!("{text:?}"), |raw| {
            let plain = plain(raw);
            let rest = plain.get(mark..)?;
            let at = rest.find(text)?;
            Some((rest[..at].to_owned(), mark + at + text.len()))
        });
        self.mark = mark;
        between
    }

    /// Waits until any word begins after what was waited for before.
    pub(crate) fn wait_for_word(&self) {
        self.wait("a word", |raw| {
            let plain = plain(raw);
            let rest = plain.get(self.mark..)?;
            rest.contains(char::is_alphabetic).then_some(())
        });
    }

    /// Waits until what was written last is a word that is not dimmed, and so no part of a thought.
    pub(crate) fn wait_for_bright_word(&self) {
        self.wait("a word that is not dimmed", |raw| {
            let (_, last) = raw.rsplit_once("\u{1b}[0m")?;
            let bright = last.contains(char::is_alphabetic) && !last.contains('\u{1b}');
            bright.then_some(())
        });
    }

    /// Waits until `find` finds something in all that was written, with the marks of colours.
    fn wait<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let start = Instant::now();
        let mut seen = self.seen.0.lock().unwrap();
        loop {
            if let Some(found) = find(&seen.text) {
                return found;
            }
            if seen.ended || start.elapsed() >= PATIENCE {
                let plain = plain(&seen.text);
                let rest = plain.get(self.mark..).unwrap_or_default().to_owned();
                // What reads the terminal goes on.
                drop(seen);
                panic!("{what} does not come after: {rest:?}");
            }
            seen = self
                .seen
                .1
                .wait_timeout(seen, Duration::from_millis(100))
                .unwrap()
                .0;
        }
    }

    /// Waits for the prompt, which says that an answer is whole. Gives the answer.
    pub(crate) fn answer(&mut self) -> String {
        self.wait_for("\n>>> ")
    }

    /// All that was written, with the marks of colours.
    pub(crate) fn raw(&self) -> String {
        self.seen.0.lock().unwrap().text.clone()
    }

    /// The lines on the screen.
    pub(crate) fn screen(&self) -> Vec<String> {
        let seen = self.seen.0.lock().unwrap();
        let screen = seen.screen.screen();
        screen
            .contents()
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    /// Whether the terminal shows what is typed and hands it over by lines, as it did at first. Only Linux tells by the keyboard's end.
    pub(crate) fn is_in_order(&self) -> bool {
        use rustix::termios::{LocalModes, tcgetattr};
        if !cfg!(target_os = "linux") {
            return true;
        }
        let modes = tcgetattr(&*self.keyboard).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON)
    }

    /// Sends the program a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the program ends, and asserts that it leaves the terminal in order. Gives its status as a shell does: 128 and the signal, if
    /// it ended by one.
    pub(crate) fn ended(mut self) -> i32 {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(self.is_in_order(), "the terminal is not as it was");
                let signal = status.signal().map(|signal| 128 + signal);
                return signal.or(status.code()).unwrap();
            }
            assert!(start.elapsed() < PATIENCE, "the program does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Leaves, and asserts that the program ends in order.
    pub(crate) fn leave(mut self) {
        self.press("\x04");
        assert_eq!(self.ended(), 0);
    }
}

/// What was written, without the marks of colours.
fn plain(raw: &str) -> String {
    console::strip_ansi_codes(raw).replace('\r', "")
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A test that failed leaves it running.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
