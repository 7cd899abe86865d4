//! Lines of a person who cannot edit them, or whose answers do not go to a terminal.

use super::note;
use crate::error::{Error, Result};
use std::io::{BufRead, Write};

/// The prompt.
pub(super) const PROMPT: &str = ">>> ";

/// Asks for lines and hands those that say something to `answer`, until it gives `false` or there are no more.
///
/// # Errors
/// If lines cannot be read, or `answer` fails.
pub(super) fn each(hint: &str, mut answer: impl FnMut(&str) -> Result<bool>) -> Result<()> {
    note(hint);
    let mut lines = std::io::stdin().lock().lines();
    loop {
        drop(write!(std::io::stderr(), "{PROMPT}"));
        let Some(line) = lines.next() else {
            return Ok(());
        };
        let line = line.map_err(|source| Error::Io {
            path: "standard input".into(),
            source,
        })?;
        if !line.trim().is_empty() && !answer(&line)? {
            return Ok(());
        }
    }
}
