//! Lines of a person who cannot edit them, or whose answers do not go to a terminal.

use super::{interrupt, note};
use crate::error::{Error, Result};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};

/// The prompt.
pub(super) const PROMPT: &str = ">>> ";

/// Asks for lines and hands those that say something to `answer`, until it gives `false`, there are no more, or a signal asks the process to leave.
///
/// # Errors
/// If lines cannot be read, or `answer` fails.
pub(super) fn each(hint: &str, mut answer: impl FnMut(&str) -> Result<bool>) -> Result<()> {
    note(hint);
    let mut lines = BufReader::new(Input).lines();
    while interrupt::leaving().is_none() {
        drop(write!(io::stderr(), "{PROMPT}"));
        // What stands before the signal is no line, for it has no end.
        let Some(line) = lines.next().filter(|_| interrupt::leaving().is_none()) else {
            break;
        };
        let line = match line {
            Ok(line) => line,
            // A stray byte ends nothing.
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                note("smolq: error: the line is not taken: it is no UTF-8");
                continue;
            }
            Err(source) => {
                return Err(Error::Io {
                    path: "standard input".into(),
                    source,
                });
            }
        };
        if !line.trim().is_empty() && !answer(&line)? {
            break;
        }
    }
    Ok(())
}

/// Standard input, which ends when a signal asks the process to leave.
struct Input;

impl Read for Input {
    #[cfg(unix)]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        use rustix::io::Errno;

        let stdin = rustix::stdio::stdin();
        // How often it looks up.
        let a_while = Timespec {
            tv_sec: 0,
            tv_nsec: 200_000_000,
        };
        while interrupt::leaving().is_none() {
            let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
            match poll(&mut waiting, Some(&a_while)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return rustix::io::read(stdin, &mut *buffer).map_err(io::Error::from),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(0)
    }

    #[cfg(not(unix))]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        io::stdin().read(buffer)
    }
}
