//! The one place that reads numbers from a file.
//!
//! Every fault that GGUF readers have had came from a number of the file used in size arithmetic, or for an allocation,
//! before it was compared with the bytes that are left. So nothing here allocates, and nothing elsewhere reads: a caller
//! gets slices that exist, and counts that were compared with the bytes left ([`Cursor::count`]).

use std::path::Path;

use crate::error::{DAMAGED, Error};

/// The longest string that is read, in bytes. Real ones are chat templates, some 100 KB.
pub(crate) const MAX_STRING: u64 = 16 << 20;

/// A position in the header of a file, that only moves over bytes that are there.
pub(crate) struct Cursor<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at `pos`, which is at most the length of `bytes`.
    pub(crate) fn new(path: &'a Path, bytes: &'a [u8], pos: usize) -> Self {
        Cursor {
            path,
            bytes,
            pos: pos.min(bytes.len()),
        }
    }

    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    pub(crate) fn path(&self) -> &'a Path {
        self.path
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.pos
    }

    /// The next `n` bytes.
    pub(crate) fn take(&mut self, n: u64, place: &dyn Fn() -> String) -> Result<&'a [u8], Error> {
        let slice = usize::try_from(n)
            .ok()
            .and_then(|n| self.pos.checked_add(n))
            .and_then(|end| self.bytes.get(self.pos..end))
            .ok_or_else(|| {
                self.fault(
                    self.pos,
                    place,
                    format!(
                        "{n} bytes should follow, but the file has only {} more; {DAMAGED}",
                        self.left()
                    ),
                )
            })?;
        self.pos += slice.len();
        Ok(slice)
    }

    fn array<const N: usize>(&mut self, place: &dyn Fn() -> String) -> Result<[u8; N], Error> {
        let slice = self.take(N as u64, place)?;
        // `take` gave exactly N bytes, so the copy never panics.
        let mut array = [0; N];
        array.copy_from_slice(slice);
        Ok(array)
    }

    pub(crate) fn u32(&mut self, place: &dyn Fn() -> String) -> Result<u32, Error> {
        self.array(place).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, place: &dyn Fn() -> String) -> Result<u64, Error> {
        self.array(place).map(u64::from_le_bytes)
    }

    /// A count of records of at least `record` bytes each: at most `cap`, and no more than the bytes left can hold.
    pub(crate) fn count(
        &mut self,
        what: &str,
        cap: u64,
        record: u64,
        place: &dyn Fn() -> String,
    ) -> Result<u64, Error> {
        let at = self.pos;
        let n = self.u64(place)?;
        if n > cap {
            return Err(self.fault(
                at,
                place,
                format!("{n} {what}, at most {cap} are allowed; {DAMAGED}"),
            ));
        }
        let left = self.left() as u64;
        if n.checked_mul(record).is_none_or(|bytes| bytes > left) {
            return Err(self.fault(
                at,
                place,
                format!("{n} {what} take at least {record} bytes each, but the file has only {left} more; {DAMAGED}"),
            ));
        }
        Ok(n)
    }

    /// The bytes of a string of at most `cap` bytes, after its length.
    pub(crate) fn string(
        &mut self,
        cap: u64,
        place: &dyn Fn() -> String,
    ) -> Result<&'a [u8], Error> {
        let at = self.pos;
        let n = self.u64(place)?;
        let left = self.left() as u64;
        let problem = if n > left {
            format!("a string of {n} bytes, but the file has only {left} more; {DAMAGED}")
        } else if n > cap {
            format!("a string of {n} bytes, at most {cap} are allowed; {DAMAGED}")
        } else {
            return self.take(n, place);
        };
        Err(self.fault(at, place, problem))
    }

    /// A fault at byte `at`.
    pub(crate) fn fault(&self, at: usize, place: &dyn Fn() -> String, problem: String) -> Error {
        Error::Malformed {
            path: self.path.to_owned(),
            offset: at as u64,
            place: place(),
            problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> String {
        "here".into()
    }

    fn cursor(bytes: &[u8]) -> Cursor<'_> {
        Cursor::new(Path::new("f"), bytes, 0)
    }

    #[test]
    fn nothing_is_read_past_the_end() {
        let mut c = cursor(&[1, 0, 0, 0, 9]);
        assert_eq!(c.u32(&here).unwrap(), 1);
        assert_eq!(
            c.u32(&here).unwrap_err().to_string(),
            format!(
                "f: at byte 4: here: 4 bytes should follow, but the file has only 1 more; {DAMAGED}"
            )
        );
        assert_eq!(c.take(1, &here).unwrap(), [9]);
        assert_eq!(c.take(0, &here).unwrap(), []);
        assert!(c.take(u64::MAX, &here).is_err());
    }

    #[test]
    fn counts_are_compared_with_what_is_left() {
        let mut bytes = 3u64.to_le_bytes().to_vec();
        bytes.extend([0; 30]);
        assert_eq!(cursor(&bytes).count("keys", 3, 10, &here).unwrap(), 3);
        assert!(
            cursor(&bytes)
                .count("keys", 3, 11, &here)
                .unwrap_err()
                .to_string()
                .contains("only 30 more")
        );
        assert!(
            cursor(&bytes)
                .count("keys", 2, 10, &here)
                .unwrap_err()
                .to_string()
                .contains("at most 2")
        );
        assert!(
            cursor(&[0xff; 100])
                .count("keys", u64::MAX, 2, &here)
                .is_err()
        );
    }

    #[test]
    fn strings_are_compared_with_what_is_left_and_the_cap() {
        let mut bytes = 3u64.to_le_bytes().to_vec();
        bytes.extend(b"abc");
        assert_eq!(cursor(&bytes).string(3, &here).unwrap(), b"abc");
        assert!(
            cursor(&bytes)
                .string(2, &here)
                .unwrap_err()
                .to_string()
                .contains("at most 2")
        );
        assert!(
            cursor(&bytes[..10])
                .string(3, &here)
                .unwrap_err()
                .to_string()
                .contains("only 2 more")
        );
        assert!(cursor(&[0xff; 20]).string(u64::MAX, &here).is_err());
    }
}
