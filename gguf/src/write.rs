//! Writes GGUF files.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::path::Path;

use crate::error::{Error, show};
use crate::metadata::{MAX_KEY, MAX_KEYS};
use crate::tensor::{MAX_DIMS, MAX_NAME, MAX_TENSORS, TensorData, size_of};
use crate::types::TensorType;
use crate::value::{Value, encode_string};
use crate::{ALIGNMENT_KEY, ALIGNMENTS, Access, DEFAULT_ALIGNMENT, replace};

/// Where the bytes of a tensor come from when the file is written: a `Vec<u8>`, the data of another model's tensor, or a
/// closure that writes them, so that a file may be larger than memory.
///
/// ```
/// # use smolq_gguf::{TensorType, Writer};
/// use std::io::Write;
///
/// let mut writer = Writer::new();
/// writer.tensor("zeros", TensorType::F32, &[1024, 4], |out: &mut dyn Write| {
///     (0..4).try_for_each(|_row| out.write_all(&[0; 4096]))
/// });
/// assert!(writer.to_vec()?.len() > 4 * 4096);
/// # Ok::<(), smolq_gguf::Error>(())
/// ```
pub trait TensorSource {
    /// Writes exactly the bytes of the tensor. May be called more than once.
    fn write_to(&mut self, out: &mut dyn Write) -> io::Result<()>;
}

impl TensorSource for Vec<u8> {
    fn write_to(&mut self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self)
    }
}

impl TensorSource for TensorData {
    fn write_to(&mut self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self)
    }
}

impl<F: FnMut(&mut dyn Write) -> io::Result<()>> TensorSource for F {
    fn write_to(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self(out)
    }
}

/// A GGUF file to be written.
///
/// Keys and tensors are written in the order in which they were given. What cannot be written is refused when writing:
/// names that are empty, too long or given twice, values longer than any reader takes, rows that are not whole blocks, sources that give too few or too many
/// bytes.
pub struct Writer {
    version: u32,
    alignment: u32,
    keys: Vec<(String, Value)>,
    /// Where each key stands in `keys`.
    by_key: HashMap<String, usize>,
    tensors: Vec<Tensor>,
}

struct Tensor {
    name: String,
    kind: TensorType,
    dims: Vec<u64>,
    source: Box<dyn TensorSource>,
}

impl Default for Writer {
    fn default() -> Self {
        Writer::new()
    }
}

impl Writer {
    /// An empty file of version 3 and alignment 32.
    pub fn new() -> Writer {
        Writer {
            version: 3,
            alignment: DEFAULT_ALIGNMENT,
            keys: Vec::new(),
            by_key: HashMap::new(),
            tensors: Vec::new(),
        }
    }

    /// Sets the version: 2 or 3.
    pub fn version(&mut self, version: u32) -> &mut Writer {
        self.version = version;
        self
    }

    /// Sets the alignment, a power of two from 8 to 1 MiB, and the key `general.alignment` with it.
    pub fn alignment(&mut self, alignment: u32) -> &mut Writer {
        self.alignment = alignment;
        self.set(ALIGNMENT_KEY, alignment)
    }

    /// Sets a key, in place of an earlier value if there is one.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Writer {
        let (key, value) = (key.into(), value.into());
        match self.by_key.get(&key) {
            Some(&i) => self.keys[i].1 = value,
            None => {
                self.by_key.insert(key.clone(), self.keys.len());
                self.keys.push((key, value));
            }
        }
        self
    }

    /// Adds a tensor of the given dimensions, the innermost first.
    pub fn tensor(
        &mut self,
        name: impl Into<String>,
        kind: TensorType,
        dims: &[u64],
        source: impl TensorSource + 'static,
    ) -> &mut Writer {
        self.tensors.push(Tensor {
            name: name.into(),
            kind,
            dims: dims.to_vec(),
            source: Box::new(source),
        });
        self
    }

    /// Writes the file into memory.
    pub fn to_vec(&mut self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        self.write_to(&mut out)?;
        Ok(out)
    }

    /// Writes the file at `path`, whole or not at all, and gives the number of bytes (see [`replace`]).
    pub fn write_file(&mut self, path: impl AsRef<Path>) -> Result<u64, Error> {
        let path = path.as_ref();
        let failed = |source| Error::Io {
            path: path.to_owned(),
            action: "write",
            source,
        };
        replace(path, Access::Usual, failed, |mut out| {
            self.write_at(path, &mut out)
        })
    }

    /// Writes the file, and gives the number of bytes.
    pub fn write_to(&mut self, out: &mut impl Write) -> Result<u64, Error> {
        self.write_at("output".as_ref(), out)
    }

    fn write_at(&mut self, path: &Path, out: &mut impl Write) -> Result<u64, Error> {
        let failed = |source| Error::Io {
            path: path.to_owned(),
            action: "write",
            source,
        };
        let alignment = u64::from(self.alignment);
        let (header, sizes) = self.header()?;
        let mut out = Counting { out, written: 0 };
        out.write_all(&header).map_err(failed)?;
        out.pad(alignment).map_err(failed)?;
        for (tensor, size) in self.tensors.iter_mut().zip(sizes) {
            let begin = out.written;
            tensor.source.write_to(&mut out).map_err(failed)?;
            let found = out.written - begin;
            if found != size {
                return Err(fault(
                    "tensor",
                    &tensor.name,
                    format!("the source gave {found} bytes, expected {size}"),
                ));
            }
            out.pad(alignment).map_err(failed)?;
        }
        out.flush().map_err(failed)?;
        Ok(out.written)
    }

    /// All that comes before the data, and the size of each tensor.
    fn header(&self) -> Result<(Vec<u8>, Vec<u64>), Error> {
        self.check()?;
        let mut out = Vec::from(b"GGUF");
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            value
                .check()
                .map_err(|problem| fault("key", key, problem))?;
            encode_string(key.as_bytes(), &mut out);
            out.extend(value.kind().id().to_le_bytes());
            value.encode(&mut out);
        }
        let mut offset = 0u64;
        let mut sizes = Vec::new();
        for tensor in &self.tensors {
            let size = size_of(tensor.kind, &tensor.dims)
                .map_err(|problem| fault("tensor", &tensor.name, problem))?;
            encode_string(tensor.name.as_bytes(), &mut out);
            out.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor
                .dims
                .iter()
                .for_each(|dim| out.extend(dim.to_le_bytes()));
            out.extend(tensor.kind.id().to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset = offset
                .checked_add(size)
                .and_then(|end| end.checked_next_multiple_of(self.alignment.into()))
                .ok_or_else(|| {
                    fault("tensor", &tensor.name, "the file would be too long".into())
                })?;
            sizes.push(size);
        }
        Ok((out, sizes))
    }

    /// Refuses what a reader would refuse.
    fn check(&self) -> Result<(), Error> {
        let header = |problem| {
            Err(Error::Write {
                place: "header".into(),
                problem,
            })
        };
        if !matches!(self.version, 2 | 3) {
            return header(format!(
                "version {}, only 2 and 3 can be written",
                self.version
            ));
        }
        if !self.alignment.is_power_of_two() || !ALIGNMENTS.contains(&self.alignment) {
            return header(format!(
                "alignment {}, expected a power of two from 8 to 1048576",
                self.alignment
            ));
        }
        if self.keys.len() as u64 > MAX_KEYS || self.tensors.len() as u64 > MAX_TENSORS {
            return header(format!(
                "more than {MAX_KEYS} keys or {MAX_TENSORS} tensors"
            ));
        }
        for (key, value) in &self.keys {
            if key.is_empty() || key.len() as u64 > MAX_KEY {
                return Err(fault(
                    "key",
                    key,
                    format!("its name has {} bytes, expected 1 to {MAX_KEY}", key.len()),
                ));
            }
            if key == ALIGNMENT_KEY && *value != Value::U32(self.alignment) {
                return Err(fault(
                    "key",
                    key,
                    format!(
                        "{value}, but the alignment is {}; use alignment()",
                        self.alignment
                    ),
                ));
            }
        }
        let mut names = HashSet::new();
        for tensor in &self.tensors {
            let fault = |problem| Err(fault("tensor", &tensor.name, problem));
            if tensor.name.is_empty() || tensor.name.len() as u64 > MAX_NAME {
                return fault(format!(
                    "its name has {} bytes, expected 1 to {MAX_NAME}",
                    tensor.name.len()
                ));
            }
            if tensor.dims.is_empty() || tensor.dims.len() > MAX_DIMS as usize {
                return fault(format!(
                    "{} dimensions, expected 1 to {MAX_DIMS}",
                    tensor.dims.len()
                ));
            }
            if !names.insert(&tensor.name) {
                return fault("is given twice".into());
            }
        }
        Ok(())
    }
}

fn fault(what: &str, name: &str, problem: String) -> Error {
    Error::Write {
        place: format!("{what} {}", show(name.as_bytes())),
        problem,
    }
}

struct Counting<'a, W> {
    out: &'a mut W,
    written: u64,
}

impl<W: Write> Counting<'_, W> {
    fn pad(&mut self, alignment: u64) -> io::Result<()> {
        let n = self.written.next_multiple_of(alignment) - self.written;
        io::copy(&mut io::Read::take(io::repeat(0), n), self).map(drop)
    }
}

impl<W: Write> Write for Counting<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
