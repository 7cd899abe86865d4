//! Sessions in files: a chat, and what the model has read of it, so that it goes on as if it had never ended.
//!
//! ```text
//! "SMOLQSES"  version: u32  fingerprint of the model: 32 bytes  bytes of name: u32, text: u64, state: u64
//! the model's name
//! the text: JSON, whatever the caller wants to find again
//! the state: see Session::write_state
//! SHA-256 of everything before
//! ```
//!
//! All little-endian. Magic, version and the checksum at the end stay where they are in all versions to come. A file is read in
//! one pass, keys and values straight into the session's cache; nothing in it is believed before it is compared with the
//! model, the session and the bytes that are left. It is written beside the old one, which it replaces only when it is whole and on
//! the disk; nobody but the owner may read it.

use crate::error::{Error, Result};
use crate::model::{Model, Session};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use smolq_gguf::Access;
use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"SMOLQSES";

/// The version that is written. There is no older one.
const VERSION: u32 = 1;

/// Bytes before the name.
const HEAD: u64 = 64;

/// Bytes of the checksum.
const SUM: u64 = 32;

/// The longest name that is written or read, in bytes.
const MAX_NAME: usize = 256;

/// The longest text. The longest chats have some hundred kilobytes.
const MAX_TEXT: u64 = 64 << 20;

/// Bytes read at a time, where they are not larger pieces of a cache.
const BUFFER: usize = 256 << 10;

/// Writes what `session` holds, and `text`, which [`read()`] gives back.
///
/// The file is there whole or not at all: if anything fails, or the process dies, what was at `path` before stays as it was. A
/// symbolic link stays one. Only the owner may read the file. While it is written, it is called `.smolq-PROCESS-N.tmp`, in
/// the same folder.
///
/// # Errors
/// [`Error::Io`] if the system refuses, [`Error::Saved`] if there is something other than a file, [`Error::Request`] if `text` is
/// too long or too deep to be read again.
pub fn write(path: &Path, session: &Session, text: &Json) -> Result<()> {
    let refused = |why: String| Error::Request {
        field: "saved text",
        why,
    };
    let text = serde_json::to_vec(text).map_err(|error| refused(error.to_string()))?;
    if text.len() as u64 > MAX_TEXT {
        return Err(refused(format!(
            "{} bytes, at most {MAX_TEXT} can be saved",
            text.len()
        )));
    }
    // JSON of any depth can be written, not read.
    serde_json::from_slice::<Json>(&text)
        .map_err(|error| refused(format!("it could not be read again: {error}")))?;

    let size = session.state_bytes() + text.len() as u64 + HEAD + SUM;
    replace(path, size, |out| write_all(out, session, &text))
}

/// Writes the text alone, for people and other programs to read.
///
/// # Errors
/// As [`write()`]; whatever the text is.
pub fn write_text(path: &Path, text: &Json) -> Result<()> {
    let text = format!("{text:#}\n");
    replace(path, text.len() as u64, |out| {
        out.write_all(text.as_bytes()).map_err(Error::Stream)
    })
}

/// Puts a file of about `size` bytes in place of another, or leaves everything as it was.
fn replace(path: &Path, size: u64, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    // Whoever writes to a pipe or a device cannot find the session again.
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(Error::Saved {
            path: path.to_owned(),
            problem: "is no file; give another path for the session".to_owned(),
        });
    }
    smolq_gguf::replace(path, Access::Owner, Error::Stream, write).map_err(|error| {
        let source = match error {
            Error::Stream(source) | Error::Io { source, .. } => source,
            other => return other,
        };
        let advice = match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                format!("; it takes {} MiB", (size >> 20) + 1)
            }
            ErrorKind::NotFound => "; there is no such folder".to_owned(),
            ErrorKind::PermissionDenied => "; choose a folder that you may write to".to_owned(),
            _ => String::new(),
        };
        let why = format!(
            "the session is not saved: {source}{advice}; what was there before is as it was"
        );
        Error::Io {
            path: path.to_owned(),
            source: io::Error::new(source.kind(), why),
        }
    })
}

/// Writes all of a session file.
fn write_all(out: &mut dyn Write, session: &Session, text: &[u8]) -> Result<()> {
    let mut out = Summed {
        inner: out,
        sum: Sha256::new(),
    };
    let model = session.model();
    let name = name(model);
    let mut head = || -> io::Result<()> {
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&model.fingerprint())?;
        out.write_all(&(name.len() as u32).to_le_bytes())?;
        out.write_all(&(text.len() as u64).to_le_bytes())?;
        out.write_all(&session.state_bytes().to_le_bytes())?;
        out.write_all(name.as_bytes())?;
        out.write_all(text)
    };
    head().map_err(Error::Stream)?;
    session.write_state(&mut out)?;
    let Summed { inner, sum } = out;
    inner.write_all(&sum.finalize()).map_err(Error::Stream)
}

/// Replaces what `session` holds by what [`write()`] saved, and gives the text. The session may have other threads, passes
/// and positions than the saved one; the model and the types of the cache must be the same.
///
/// # Errors
/// [`Error::Saved`] if it is no session file, of a newer version, cut short, damaged, of another model or of other cache types;
/// [`Error::Context`] if the session has too few positions; [`Error::Io`] if the system refuses. The session is then empty, and
/// can be used.
pub fn read(path: &Path, session: &mut Session) -> Result<Json> {
    session.clear();
    let mut reader = Reader::open(path)?;
    let text = reader.all(Some(session));
    reader.judged(text).inspect_err(|_| session.clear())
}

/// The text of a session file, of whatever model it is: text can be kept where the state cannot.
///
/// # Errors
/// [`Error::Saved`] if it is no session file, of a newer version, cut short or damaged; [`Error::Io`] if the system refuses.
pub fn read_text(path: &Path) -> Result<Json> {
    let mut reader = Reader::open(path)?;
    let text = reader.all(None);
    reader.judged(text)
}

/// What users know a model by: its own name, or its file's.
fn name(model: &Model) -> String {
    let gguf = model.gguf();
    let mut name = match gguf.metadata().opt_str("general.name") {
        Ok(Some(name)) if !name.is_empty() => name.to_owned(),
        _ => gguf
            .path()
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
    };
    name.truncate(name.floor_char_boundary(MAX_NAME));
    name
}

/// Bytes on their way, with their checksum.
struct Summed<T> {
    inner: T,
    sum: Sha256,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.sum.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A session file, read front to back.
struct Reader<R> {
    path: PathBuf,
    input: Summed<R>,
    /// Bytes read.
    at: u64,
    /// Bytes there are.
    len: u64,
    /// Whether head and length are those of a session file, so that there is a checksum to ask.
    sound: bool,
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.input.inner.read(out)?;
        self.input.sum.update(&out[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl Reader<BufReader<File>> {
    fn open(path: &Path) -> Result<Self> {
        let failed = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        // Asked before it is opened: opening a FIFO waits.
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(Error::Saved {
                path: path.to_owned(),
                problem: "is no file; give the path of a saved session".to_owned(),
            });
        }
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let input = BufReader::with_capacity(BUFFER, file);
        Ok(Reader::new(path, input, len))
    }
}

impl<R: Read> Reader<R> {
    fn new(path: &Path, input: R, len: u64) -> Reader<R> {
        Reader {
            path: path.to_owned(),
            input: Summed {
                inner: input,
                sum: Sha256::new(),
            },
            at: 0,
            len,
            sound: false,
        }
    }

    fn fault<T>(&self, problem: String) -> Result<T> {
        Err(Error::Saved {
            path: self.path.clone(),
            problem,
        })
    }

    fn io(&self, source: io::Error) -> Error {
        if source.kind() == ErrorKind::UnexpectedEof {
            return Error::Saved {
                path: self.path.clone(),
                problem: format!(
                    "cut short at byte {} while it was read; another program changed it",
                    self.at
                ),
            };
        }
        Error::Io {
            path: self.path.clone(),
            source,
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)
            .map_err(|error| self.io(error))?;
        Ok(bytes)
    }

    /// `n` bytes. It takes no more memory than there are.
    fn bytes(&mut self, n: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.take(n).read_to_end(&mut bytes);
        match read {
            Ok(read) if read as u64 == n => Ok(bytes),
            Ok(_) => Err(self.io(ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(self.io(error)),
        }
    }

    /// Reads all up to the checksum; the state into `session`, if there is one, and else past it.
    fn all(&mut self, session: Option<&mut Session>) -> Result<Json> {
        let start = self.bytes(self.len.min(MAGIC.len() as u64))?;
        if !MAGIC.starts_with(&start) {
            return self.fault("at byte 0: not a session file of smolq; check the path".to_owned());
        }
        if start.is_empty() {
            return self.fault("empty: not a session file of smolq; check the path".to_owned());
        }
        if self.len < HEAD {
            return self.fault(format!(
                "cut short at byte {}, in the head of {HEAD} bytes; save the session again",
                self.len
            ));
        }
        let version = u32::from_le_bytes(self.array()?);
        if version != VERSION {
            return self.fault(format!(
                "at byte 8: version {version}, this smolq reads version {VERSION}; if the file is not damaged, a newer smolq reads it"
            ));
        }
        let fingerprint: [u8; 32] = self.array()?;
        let name_len = u64::from(u32::from_le_bytes(self.array()?));
        let text_len = u64::from_le_bytes(self.array()?);
        let state_len = u64::from_le_bytes(self.array()?);
        let parts = [
            ("the head", HEAD),
            ("the model's name", name_len),
            ("the text", text_len),
            ("the state", state_len),
            ("the checksum", SUM),
        ];
        let mut end = 0u64;
        for (part, bytes) in parts {
            end = match end.checked_add(bytes) {
                Some(end) => end,
                None => {
                    return self.fault(format!(
                        "at byte 44: the length of {part} is {bytes}; the file is damaged"
                    ));
                }
            };
            if end > self.len {
                return self.fault(format!(
                    "cut short at byte {}, in {part}, or damaged; restore it from a copy, or begin anew",
                    self.len
                ));
            }
        }
        if end < self.len {
            return self.fault(format!(
                "at byte {end}: {} bytes too many; the file is damaged, restore it from a copy, or begin anew",
                self.len - end
            ));
        }
        self.sound = true;

        if name_len > MAX_NAME as u64 || text_len > MAX_TEXT {
            return self.fault(format!(
                "at byte 44: a name of {name_len} and a text of {text_len} bytes are too long; the file is damaged"
            ));
        }
        let name = self.bytes(name_len)?;
        let at = self.at;
        let text = self.bytes(text_len)?;
        let Some(session) = session else {
            self.skip(state_len)?;
            return self.parse(at, &text);
        };
        let model = session.model();
        if fingerprint != model.fingerprint() {
            let (saved, own) = (
                format!("{:?}", String::from_utf8_lossy(&name)),
                format!("{:?}", self::name(model)),
            );
            let than = if saved == own {
                "this one has that name, but other weights or RoPE settings".to_owned()
            } else {
                format!("this one is {own}")
            };
            return self.fault(format!(
                "at byte 12: saved with the model {saved}, {than}; open it with the model it was saved with, or keep only its text"
            ));
        }
        let parsed = self.parse(at, &text)?;
        drop(text);
        let at = self.at;
        let restored = session.restore(&mut self.take(state_len), Some(state_len));
        match restored {
            Ok(()) => Ok(parsed),
            Err(Error::State { offset, problem }) => self.fault(format!(
                "at byte {}: the saved state: {problem}",
                at + offset
            )),
            Err(Error::Stream(error)) => Err(self.io(error)),
            Err(other) => Err(other),
        }
    }

    /// The text that begins at byte `at`.
    fn parse(&self, at: u64, text: &[u8]) -> Result<Json> {
        serde_json::from_slice(text).or_else(|error| {
            self.fault(format!(
                "at byte {at}: the text is no JSON ({error}); the file is damaged"
            ))
        })
    }

    /// Reads past `n` bytes.
    fn skip(&mut self, n: u64) -> Result<()> {
        let skipped = io::copy(&mut self.take(n), &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == n => Ok(()),
            Ok(_) => Err(self.io(ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(self.io(error)),
        }
    }

    /// What came of reading, if the checksum holds. Where it does not, that is what is wrong, whatever else seemed to be: a flipped
    /// bit can look like another model.
    fn judged(mut self, read: Result<Json>) -> Result<Json> {
        if !self.sound || matches!(read, Err(Error::Io { .. })) {
            return read;
        }
        let rest = (self.len - SUM).checked_sub(self.at);
        if let Some(rest) = rest {
            self.skip(rest)?;
        }
        let sum: [u8; 32] = self.input.sum.clone().finalize().into();
        if self.array()? != sum {
            return self.fault(format!(
                "damaged: the checksum at byte {} is not that of the bytes before; restore it from a copy, or begin anew",
                self.len - SUM
            ));
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LoadOptions, SessionOptions};
    use proptest::prelude::*;
    use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

    /// One session for all cases: what one leaves must not disturb the next.
    fn session() -> MutexGuard<'static, Session> {
        static SESSION: OnceLock<Mutex<Session>> = OnceLock::new();
        let new = || {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/smollm3-q8_0.gguf");
            let model = Arc::new(Model::load(&file, &LoadOptions::default()).unwrap());
            let options = SessionOptions {
                n_ctx: 16,
                threads: 1,
                ..SessionOptions::default()
            };
            Mutex::new(Session::new(model, &options).unwrap())
        };
        // A failed case is shrunk with the same session.
        SESSION
            .get_or_init(new)
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A file of a session with some tokens, without its checksum.
    fn valid() -> &'static [u8] {
        static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
        BYTES.get_or_init(|| {
            let mut session = session();
            session.truncate(0);
            session.prefill(&[1, 2, 3], &mut |_| true).unwrap();
            let path = std::env::temp_dir().join(format!("smolq-saved-{}", std::process::id()));
            write(&path, &session, &serde_json::json!({"messages": ["a"]})).unwrap();
            let mut bytes = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            bytes.truncate(bytes.len() - SUM as usize);
            bytes
        })
    }

    fn parse(bytes: &[u8], session: Option<&mut Session>) -> Result<Json> {
        let mut reader = Reader::new("x".as_ref(), bytes, bytes.len() as u64);
        let text = reader.all(session);
        reader.judged(text)
    }

    fn with_sum(mut bytes: Vec<u8>) -> Vec<u8> {
        let sum = Sha256::digest(&bytes);
        bytes.extend(sum);
        bytes
    }

    /// Bytes that are a session, or an error of one line.
    fn ends_well(bytes: &[u8]) -> std::result::Result<(), TestCaseError> {
        let session = &mut *session();
        for result in [parse(bytes, Some(session)), parse(bytes, None)] {
            if let Err(error) = result {
                let message = error.to_string();
                prop_assert_eq!(message.lines().count(), 1, "{}", message);
            }
        }
        Ok(())
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = with_sum(valid().to_vec());
        let text = parse(&bytes, Some(&mut session())).unwrap();
        assert_eq!(text, serde_json::json!({"messages": ["a"]}));
        assert_eq!(parse(&bytes, None).unwrap(), text);
    }

    /// The file is shorter than its length says, because it changes while it is read.
    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let bytes = with_sum(valid().to_vec());
        for n in (0..bytes.len()).step_by(13) {
            let mut reader = Reader::new("x".as_ref(), &bytes[..n], bytes.len() as u64);
            let text = reader.all(Some(&mut session()));
            let message = reader.judged(text).unwrap_err().to_string();
            assert!(
                message.contains(&format!("byte {n}")) || n < 8 && message.contains("byte 0"),
                "{n}: {message}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_well(bytes: Vec<u8>) {
            ends_well(&bytes)?;
            ends_well(&[&MAGIC[..], &VERSION.to_le_bytes(), &bytes].concat())?;
        }

        /// With a checksum that holds, whatever else is wrong.
        #[test]
        fn any_change_ends_well(
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>(), 1usize..5), 1..4),
            front in any::<bool>(),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut bytes = valid().to_vec();
            for (at, value, n) in edits {
                // Most of the file is rows, of which any are as good as others.
                let at = at.index(if front { 200 } else { bytes.len() });
                for (byte, new) in bytes[at..].iter_mut().zip(&value.to_le_bytes()[..n]) {
                    *byte = *new;
                }
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            ends_well(&with_sum(bytes))?;
        }
    }
}
