//! What can be wrong with a model file, each fault with its place and a way out.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use crate::types::TypeAdvice;

/// A fault in a model file, or in what a caller asked of one.
///
/// `Display` gives one line: the file, the place (byte offset, key or tensor), what was found and what to do. Text that
/// comes from the file is escaped and shortened, so that a hostile name cannot forge a second line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}{}", show_path(.path), advice_for(.source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done, as a verb: `open`, `read`, `map`, `lock in memory`, `write`.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },

    /// The path names something that is not a regular file. It was not opened: opening a FIFO waits for a writer.
    #[error("{}: is a {found}, not a file; give the path of a .gguf file", show_path(.path))]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What is there: `directory`, `FIFO`, `socket`, `device`.
        found: &'static str,
    },

    /// The file does not begin as a GGUF file does.
    #[error("{}: not a GGUF file: at byte 0: {found}; {advice}", show_path(.path))]
    NotGguf {
        /// The file.
        path: PathBuf,
        /// What it looks like instead.
        found: String,
        /// What to do.
        advice: &'static str,
    },

    /// It is GGUF, of a version or byte order that is not read.
    #[error("{}: at byte 4: {found}; {advice}", show_path(.path))]
    Version {
        /// The file.
        path: PathBuf,
        /// The version or byte order found.
        found: String,
        /// What to do.
        advice: &'static str,
    },

    /// The container itself is broken: a length, count or type that cannot be.
    #[error("{}: at byte {offset}: {place}: {problem}", show_path(.path))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where the offending number stands, counted from the beginning of the file.
        offset: u64,
        /// What was being read: the header, a key, a tensor.
        place: String,
        /// What is wrong and what to do.
        problem: String,
    },

    /// A tensor is stored in a type that this crate does not read.
    #[error("{}: at byte {offset}: tensor {}: {advice}", show_path(.path), show(.tensor.as_bytes()))]
    Type {
        /// The file.
        path: PathBuf,
        /// Where the type id stands.
        offset: u64,
        /// The tensor.
        tensor: String,
        /// Which type it is and what to do.
        advice: TypeAdvice,
    },

    /// A required key is not there.
    #[error("{}: key {} is missing; the file is incomplete, convert the model again", show_path(.path), show(.key.as_bytes()))]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },

    /// A key holds something else than was asked for.
    #[error("{}: key {}: expected {expected}, found {found}; convert the model again", show_path(.path), show(.key.as_bytes()))]
    Key {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The type that was asked for.
        expected: &'static str,
        /// The type and value that is there.
        found: String,
    },

    /// A model in several files does not fit together.
    #[error("{}: split model: {problem}", show_path(.path))]
    Split {
        /// The shard where the fault showed.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },

    /// A file cannot be written as asked.
    #[error("cannot write GGUF: {place}: {problem}")]
    Write {
        /// The key or tensor.
        place: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// The advice that ends most messages about a broken container.
pub(crate) const DAMAGED: &str = "the file is damaged or cut short, download it again";

fn advice_for(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; check the path",
        io::ErrorKind::PermissionDenied => "; check the permissions of the file",
        io::ErrorKind::OutOfMemory => "; it needs more memory than there is, try a smaller model",
        _ => "",
    }
}

/// Text from a file as it may stand in a message: quoted, control characters escaped, at most 64 characters.
pub(crate) fn show(bytes: &[u8]) -> String {
    // Four bytes per character at most; one byte more tells whether anything was left out.
    let head = bytes.get(..64 * 4 + 1).unwrap_or(bytes);
    let text = String::from_utf8_lossy(head);
    let mut out = String::from("\"");
    for c in text.chars().take(64) {
        if c == '"' || c == '\\' || is_hidden(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.push('"');
    if head.len() < bytes.len() || text.chars().nth(64).is_some() {
        let _ = write!(out, "... ({} bytes)", bytes.len());
    }
    out
}

/// A path as it may stand in a message: unquoted, control characters escaped.
pub(crate) fn show_path(path: &std::path::Path) -> String {
    let mut out = String::new();
    for c in path.to_string_lossy().chars() {
        if is_hidden(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that would break the line, move the cursor or reorder the text around them.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_on_one_short_line() {
        assert_eq!(show(b"a\nb\x1b[2J\0\"\\"), r#""a\nb\u{1b}[2J\u{0}\"\\""#);
        assert_eq!(show("é\u{202e}".as_bytes()), "\"é\\u{202e}\"");
        let long = show(&[b'x'; 1000]);
        assert!(
            long.ends_with("\"... (1000 bytes)") && long.len() < 90,
            "{long}"
        );
        assert!(show(&[b'x'; 64]).ends_with("x\""));
        assert!(show(&[0xff; 70]).ends_with("... (70 bytes)"));
    }
}
