//! Reads and writes GGUF, the file format of GGML models, trusting nothing in it.
//!
//! A GGUF file is a list of metadata keys with values, a list of tensors with shapes, types and offsets, and their bytes:
//!
//! ```text
//! "GGUF"  version: u32  tensors: u64  keys: u64
//! keys    x { name: string, type: u32, value }
//! tensors x { name: string, n_dims: u32, dims: u64 x n_dims, type: u32, offset: u64 }
//! padding to the alignment (key general.alignment, else 32)
//! the tensors, each at its offset from here
//! ```
//!
//! Model files come from strangers, so reading one must end well whatever is in it: in a [`Gguf`] whose every range was
//! checked, or in an [`Error`] of one line with the place and a way out. All numbers are read through one cursor, which
//! compares each count and length with the bytes that are left before anything is allocated or computed from it; sizes are
//! multiplied and added with checks. Files are mapped, not read: opening a model takes milliseconds and little memory,
//! whatever its size.
//!
//! Versions 2 and 3 are read, little-endian. This crate knows bytes, names, types and ranges. It does no arithmetic on
//! tensors and knows no model.
//!
//! ```
//! use smolq_gguf::{Gguf, TensorType, Writer};
//!
//! let mut writer = Writer::new();
//! writer.set("general.architecture", "llama").set("llama.block_count", 1u32);
//! writer.tensor("output_norm.weight", TensorType::F32, &[2], 1.0f32.to_le_bytes().repeat(2));
//! let gguf = Gguf::from_bytes("example", writer.to_vec()?)?;
//!
//! assert_eq!(gguf.metadata().str("general.architecture")?, "llama");
//! let tensor = gguf.tensor("output_norm.weight").unwrap();
//! assert_eq!((tensor.cols(), tensor.rows()), (2, 1));
//! assert_eq!(gguf.data(tensor).len(), 8);
//! # Ok::<(), smolq_gguf::Error>(())
//! ```
#![deny(unsafe_code)]

mod cursor;
mod error;
mod header;
#[allow(
    unsafe_code,
    reason = "mapping a file and catching SIGBUS cannot be done without"
)]
mod map;
mod metadata;
mod replace;
mod split;
mod tensor;
mod types;
mod value;
mod write;

use std::fmt;
use std::path::{Path, PathBuf};

pub use error::Error;
pub use metadata::Metadata;
pub use replace::{Access, remove_unfinished, replace};
pub use tensor::{TensorData, TensorInfo};
pub use types::{TensorType, TypeAdvice};
pub use value::{Array, StringArray, Value, ValueType};
pub use write::{TensorSource, Writer};

use cursor::Cursor;
use error::{DAMAGED, show};
use map::{Bytes, Stamp};
use split::Split;

/// The alignment of a file that names none.
pub(crate) const DEFAULT_ALIGNMENT: u32 = 32;

/// The alignments that are accepted: powers of two in this range.
pub(crate) const ALIGNMENTS: std::ops::RangeInclusive<u32> = 8..=1 << 20;

/// The key of the alignment.
pub(crate) const ALIGNMENT_KEY: &str = "general.alignment";

/// How to open a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Map the file (the default), or else read it into memory: slower to open, and safe from changes to the file.
    pub mmap: bool,
    /// Keep the model in memory: pages may not be swapped out or dropped. Fails if the system's limit is too low.
    pub mlock: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions {
            mmap: true,
            mlock: false,
        }
    }
}

/// An opened model: one file, or all shards of a split model.
pub struct Gguf {
    path: PathBuf,
    version: u32,
    alignment: u32,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    /// Indices of `tensors`, ordered by name.
    by_name: Vec<u32>,
    shards: Vec<Shard>,
}

struct Shard {
    bytes: Bytes,
    /// `None` for bytes in memory.
    stamp: Option<Stamp>,
}

impl Gguf {
    /// Opens a model. Given the first shard of a split model, opens all.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Gguf, Error> {
        let (bytes, stamp) = Bytes::open(path, options)?;
        let mut model = File::read(path, &bytes, 0)?;
        let mut shards = vec![Shard {
            bytes,
            stamp: Some(stamp),
        }];

        if let Some(split) = Split::of(&model.metadata)? {
            for (no, path) in split.paths(path)?.iter().enumerate().skip(1) {
                // A u32 count made the paths.
                let no = no as u32;
                let (bytes, stamp) = Bytes::open(path, options)?;
                let shard = File::read(path, &bytes, no)?;
                split.check_shard(path, no, &shard.metadata)?;
                model.tensors.extend(shard.tensors);
                shards.push(Shard {
                    bytes,
                    stamp: Some(stamp),
                });
                if model.tensors.len() as u64 > tensor::MAX_TENSORS {
                    let problem = format!("more than {} tensors; {DAMAGED}", tensor::MAX_TENSORS);
                    return Err(Error::Split {
                        path: path.clone(),
                        problem,
                    });
                }
            }
            if let Some(expected) = split.tensors.filter(|&n| n != model.tensors.len() as u64) {
                let found = model.tensors.len();
                let problem = format!(
                    "key \"split.tensors.count\" is {expected}, but the {} parts have {found} tensors; \
                     the parts are of different models, download them again",
                    split.count
                );
                return Err(Error::Split {
                    path: path.to_owned(),
                    problem,
                });
            }
        }
        Gguf::assemble(path, model, shards)
    }

    /// Opens a model in memory. `name` stands for the path in messages. The bytes are copied only if they are not aligned
    /// to 64 bytes.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Gguf, Error> {
        Gguf::from_memory(name, Bytes::from_vec(bytes))
    }

    /// Opens a model that is part of the program, in place. `name` stands for the path in messages; of the options, `mlock` counts.
    pub fn from_static(
        name: &str,
        bytes: &'static [u8],
        options: &OpenOptions,
    ) -> Result<Gguf, Error> {
        Gguf::from_memory(name, Bytes::from_static(name.as_ref(), bytes, options)?)
    }

    fn from_memory(name: &str, bytes: Bytes) -> Result<Gguf, Error> {
        let path = Path::new(name);
        let file = File::read(path, &bytes, 0)?;
        if let Some(split) = Split::of(&file.metadata)? {
            let problem = format!(
                "it is one of {} parts, which cannot be opened from memory; merge them first",
                split.count
            );
            return Err(Error::Split {
                path: path.to_owned(),
                problem,
            });
        }
        Gguf::assemble(path, file, vec![Shard { bytes, stamp: None }])
    }

    fn assemble(path: &Path, file: File, shards: Vec<Shard>) -> Result<Gguf, Error> {
        let File {
            version,
            alignment,
            metadata,
            tensors,
        } = file;
        let name = |i: u32| tensors[i as usize].name.as_str();
        // At most MAX_TENSORS, so they fit.
        let mut by_name: Vec<u32> = (0..tensors.len() as u32).collect();
        by_name.sort_unstable_by_key(|&i| name(i));
        if let Some(pair) = by_name
            .windows(2)
            .find(|pair| name(pair[0]) == name(pair[1]))
        {
            let [first, second] = [pair[0], pair[1]].map(|i| &tensors[i as usize]);
            let parts = if shards.len() > 1 {
                format!(
                    ", in parts {} and {}",
                    first.shard.min(second.shard) + 1,
                    first.shard.max(second.shard) + 1
                )
            } else {
                String::new()
            };
            return Err(Error::Malformed {
                path: path.to_owned(),
                offset: first.offset.max(second.offset),
                place: format!("tensor {}", show(first.name.as_bytes())),
                problem: format!("is given twice{parts}; convert the model again"),
            });
        }
        Ok(Gguf {
            path: path.to_owned(),
            version,
            alignment,
            metadata,
            tensors,
            by_name,
            shards,
        })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What the offset of each tensor is a multiple of.
    pub fn alignment(&self) -> usize {
        self.alignment as usize
    }

    /// The number of files.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The length of all files.
    pub fn file_bytes(&self) -> u64 {
        self.shards
            .iter()
            .map(|shard| shard.bytes.len() as u64)
            .sum()
    }

    /// The metadata; of the first shard, if there are several.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensors, in file order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        let i = self
            .by_name
            .binary_search_by_key(&name, |&i| &self.tensors[i as usize].name)
            .ok()?;
        Some(&self.tensors[self.by_name[i] as usize])
    }

    /// The bytes of a tensor, whose range was checked when the model was opened.
    ///
    /// # Panics
    ///
    /// If the tensor is not one of this model and lies outside of it.
    pub fn data(&self, tensor: &TensorInfo) -> TensorData {
        let bytes = self.shards[tensor.shard as usize].bytes.clone();
        let range = tensor.range();
        assert!(range.end <= bytes.len(), "the tensor is of another model");
        TensorData { bytes, range }
    }

    /// The bytes from the first to the last tensor of each file: one piece for each that has tensors.
    pub fn tensor_data(&self) -> impl Iterator<Item = TensorData> + '_ {
        (0..).zip(&self.shards).filter_map(|(i, shard)| {
            let ranges = || {
                let of_shard = self.tensors.iter().filter(move |t| t.shard == i);
                of_shard.map(TensorInfo::range)
            };
            let start = ranges().map(|range| range.start).min()?;
            let end = ranges().map(|range| range.end).max()?;
            Some(TensorData {
                bytes: shard.bytes.clone(),
                range: start..end,
            })
        })
    }

    /// Has the system read the files from beginning to end, on a thread that ends with that, while the caller does something else. For
    /// mapped files that are not in the page cache and find room there; for others it does nothing of use.
    pub fn will_need(&self) {
        let shards = self.shards.iter().map(|shard| shard.bytes.clone());
        let shards: Vec<Bytes> = shards.filter(Bytes::mapped).collect();
        if shards.is_empty() {
            return;
        }
        let read = move || shards.iter().for_each(Bytes::will_need);
        // Without a thread, weights are read when they are used.
        drop(std::thread::Builder::new().spawn(read));
    }

    /// Lets go of the pages before the tensors, for when the metadata have been read. They come again when they are needed.
    pub fn release_metadata(&self) {
        for data in self.tensor_data() {
            data.bytes.release(data.range.start);
        }
    }

    /// Whether the files are mapped: their pages are the system's to drop and to read again.
    pub fn mapped(&self) -> bool {
        self.shards.iter().all(|shard| shard.bytes.mapped())
    }

    /// Whether the files still are as they were when opened: same size, modification time and identity.
    pub fn unchanged(&self) -> bool {
        self.shards
            .iter()
            .all(|shard| shard.stamp.as_ref().is_none_or(Stamp::unchanged))
    }
}

impl fmt::Debug for Gguf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gguf")
            .field("path", &self.path)
            .field("version", &self.version)
            .field("keys", &self.metadata.len())
            .field("tensors", &self.tensors.len())
            .field("shards", &self.shards.len())
            .finish()
    }
}

/// What one file says.
struct File {
    version: u32,
    alignment: u32,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
}

impl File {
    fn read(path: &Path, bytes: &Bytes, shard: u32) -> Result<File, Error> {
        let mut cursor = Cursor::new(path, bytes, 0);
        let cursor = &mut cursor;
        let version = header::version(cursor, bytes)?;
        let place = || "header".to_owned();
        let n_tensors =
            cursor.count("tensors", tensor::MAX_TENSORS, tensor::LEAST_TENSOR, &place)?;
        let n_keys = cursor.count("keys", metadata::MAX_KEYS, metadata::LEAST_KEY, &place)?;

        let metadata = Metadata::read(bytes, cursor, n_keys)?;
        let alignment = alignment(path, &metadata)?;
        let mut tensors = tensor::read(cursor, n_tensors, alignment.into(), shard)?;
        // Far from overflow: the position is that of a byte in memory, the alignment at most 1 MiB.
        let data = (cursor.pos() as u64).next_multiple_of(alignment.into());
        tensor::place(cursor, &mut tensors, data, bytes.len() as u64)?;
        Ok(File {
            version,
            alignment,
            metadata,
            tensors,
        })
    }
}

/// The alignment that the metadata ask for. The specification wants a `u32`, and writers follow it.
fn alignment(path: &Path, metadata: &Metadata) -> Result<u32, Error> {
    let fault = |found: String| Error::Key {
        path: path.to_owned(),
        key: ALIGNMENT_KEY.to_owned(),
        expected: "a u32, a power of two from 8 to 1048576",
        found,
    };
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::U32(n)) if n.is_power_of_two() && ALIGNMENTS.contains(&n) => Ok(n),
        Some(value) => Err(fault(format!("{} {value}", value.kind()))),
    }
}

/// Models and their data are shared between threads.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Gguf>();
    shared::<TensorData>();
};
