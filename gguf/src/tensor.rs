//! The list of tensors: what each is called, how it is shaped and stored, and where its bytes are.

use std::fmt;
use std::ops::{Deref, Range};

use crate::cursor::Cursor;
use crate::error::{DAMAGED, Error, show};
use crate::map::Bytes;
use crate::types::TensorType;

/// The most tensors that a model may have. Real ones have some hundreds to some thousands.
pub(crate) const MAX_TENSORS: u64 = 1_000_000;

/// The longest name, by the GGUF specification.
pub(crate) const MAX_NAME: u64 = 64;

/// The most dimensions.
pub(crate) const MAX_DIMS: u32 = 4;

/// The least that the description of a tensor takes: length and one character of the name, the number of dimensions
/// (which may be none), type and offset.
pub(crate) const LEAST_TENSOR: u64 = 8 + 1 + 4 + 4 + 8;

/// A tensor: name, shape, type and place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// How the values are stored.
    pub kind: TensorType,
    /// One to four lengths, the innermost first: `dims[0]` is the length of a row.
    pub dims: Vec<u64>,
    /// Where the bytes begin, counted from the beginning of the file (of the shard).
    pub offset: u64,
    /// How many bytes there are.
    pub bytes: u64,
    /// Which file of a split model holds it, from 0.
    pub shard: u32,
}

impl TensorInfo {
    /// The number of values.
    pub fn elements(&self) -> u64 {
        // That it fits was made sure of when the tensor was read.
        self.dims.iter().product()
    }

    /// The number of values in a row.
    pub fn cols(&self) -> usize {
        self.dims.first().map_or(1, |&n| n as usize)
    }

    /// The number of rows: the product of all dimensions but the first.
    pub fn rows(&self) -> usize {
        self.dims.iter().skip(1).product::<u64>() as usize
    }

    pub(crate) fn range(&self) -> Range<usize> {
        // Was compared with the length of the mapping, so both fit.
        self.offset as usize..(self.offset + self.bytes) as usize
    }

    /// `[2048, 512]`, for messages.
    fn shape(&self) -> String {
        format!("{:?}", self.dims)
    }
}

/// The bytes that a tensor of this shape takes, or why there can be none.
pub(crate) fn size_of(kind: TensorType, dims: &[u64]) -> Result<u64, String> {
    let Some((&cols, rest)) = dims.split_first() else {
        return Err("no dimensions".into());
    };
    let block_len = kind.block_len() as u64;
    if cols % block_len != 0 {
        return Err(format!(
            "rows of {cols} values, but {kind} comes in blocks of {block_len}"
        ));
    }
    let too_big = || format!("shape {dims:?} is too big to count");
    // With zeros taken as ones: so the product of any of the dimensions, in any order, fits as well.
    let fits = |n: &u64| *n <= isize::MAX as u64;
    dims.iter()
        .try_fold(1u64, |n, &dim| n.checked_mul(dim.max(1)))
        .filter(fits)
        .ok_or_else(too_big)?;
    let elements: u64 = cols * rest.iter().product::<u64>();
    (elements / block_len)
        .checked_mul(kind.block_bytes() as u64)
        .ok_or_else(too_big)
}

/// Reads the descriptions of `n` tensors, a number that was compared with the bytes left. The offsets are still counted
/// from the beginning of the data: [`place`] is next.
pub(crate) fn read(
    cursor: &mut Cursor<'_>,
    n: u64,
    alignment: u64,
    shard: u32,
) -> Result<Vec<TensorInfo>, Error> {
    let mut tensors: Vec<TensorInfo> = Vec::new();
    for i in 0..n {
        let tensor = read_one(cursor, i, n, alignment, shard, tensors.last())?;
        tensors.push(tensor);
    }
    Ok(tensors)
}

fn read_one(
    cursor: &mut Cursor<'_>,
    i: u64,
    n: u64,
    alignment: u64,
    shard: u32,
    previous: Option<&TensorInfo>,
) -> Result<TensorInfo, Error> {
    let at = cursor.pos();
    let place = || match previous {
        None => format!("name of tensor 1 of {n}"),
        Some(previous) => format!(
            "name of tensor {} of {n}, after {}",
            i + 1,
            show(previous.name.as_bytes())
        ),
    };
    let name = cursor.string(MAX_NAME, &place)?;
    if name.is_empty() {
        return Err(cursor.fault(at, &place, format!("it is empty; {DAMAGED}")));
    }
    let Ok(name) = std::str::from_utf8(name) else {
        return Err(cursor.fault(
            at,
            &place,
            format!("{} is not UTF-8; {DAMAGED}", show(name)),
        ));
    };

    let place = || format!("tensor {}", show(name.as_bytes()));
    let at = cursor.pos();
    let n_dims = cursor.u32(&place)?;
    if n_dims > MAX_DIMS {
        return Err(cursor.fault(
            at,
            &place,
            format!("{n_dims} dimensions, at most {MAX_DIMS} are allowed; {DAMAGED}"),
        ));
    }
    let dims_at = cursor.pos();
    let mut dims = Vec::new();
    for _ in 0..n_dims {
        dims.push(cursor.u64(&place)?);
    }
    // GGML reads a tensor without dimensions as a single value.
    if dims.is_empty() {
        dims.push(1);
    }

    let at = cursor.pos();
    let kind = TensorType::from_id(cursor.u32(&place)?).map_err(|advice| Error::Type {
        path: cursor.path().to_owned(),
        offset: at as u64,
        tensor: name.to_owned(),
        advice,
    })?;
    let bytes = size_of(kind, &dims)
        .map_err(|problem| cursor.fault(dims_at, &place, format!("{problem}; {DAMAGED}")))?;

    let at = cursor.pos();
    let offset = cursor.u64(&place)?;
    if offset % alignment != 0 {
        return Err(cursor.fault(
            at,
            &place,
            format!("offset {offset} is not a multiple of the alignment {alignment}; {DAMAGED}"),
        ));
    }
    Ok(TensorInfo {
        name: name.to_owned(),
        kind,
        dims,
        offset,
        bytes,
        shard,
    })
}

/// Turns the offsets into places in the file, whose data begins at `data`, and makes sure that each tensor lies inside
/// the file and none over another.
pub(crate) fn place(
    cursor: &Cursor<'_>,
    tensors: &mut [TensorInfo],
    data: u64,
    file: u64,
) -> Result<(), Error> {
    for tensor in tensors.iter_mut() {
        let begin = data.checked_add(tensor.offset);
        let end = begin.and_then(|begin| begin.checked_add(tensor.bytes));
        match (begin, end) {
            (Some(begin), Some(end)) if end <= file => tensor.offset = begin,
            // A tensor without values needs no place.
            _ if tensor.bytes == 0 => tensor.offset = file,
            _ => {
                let tensor = &*tensor;
                return Err(Error::Malformed {
                    path: cursor.path().to_owned(),
                    offset: begin.unwrap_or(u64::MAX),
                    place: format!("tensor {}", show(tensor.name.as_bytes())),
                    problem: format!(
                        "{} bytes ({} {}) should be at offset {} of the data, but the file ends at byte {file}; {DAMAGED}",
                        tensor.bytes,
                        tensor.kind,
                        tensor.shape(),
                        tensor.offset,
                    ),
                });
            }
        }
    }

    let ends = |t: &TensorInfo| t.offset + t.bytes;
    let overlap = |a: &TensorInfo, b: &TensorInfo| a.bytes > 0 && b.bytes > 0 && ends(a) > b.offset;
    // Files are nearly always in order, which saves the sort.
    if tensors
        .windows(2)
        .all(|pair| ends(&pair[0]) <= pair[1].offset)
    {
        return Ok(());
    }
    let mut by_offset: Vec<&TensorInfo> = tensors.iter().filter(|t| t.bytes > 0).collect();
    by_offset.sort_unstable_by_key(|t| t.offset);
    match by_offset.windows(2).find(|pair| overlap(pair[0], pair[1])) {
        None => Ok(()),
        Some(pair) => Err(Error::Malformed {
            path: cursor.path().to_owned(),
            offset: pair[1].offset,
            place: format!("tensor {}", show(pair[1].name.as_bytes())),
            problem: format!(
                "overlaps tensor {}; {DAMAGED}",
                show(pair[0].name.as_bytes())
            ),
        }),
    }
}

/// The bytes of a tensor. Holds the file for as long as it lives; cloning is cheap.
#[derive(Clone)]
pub struct TensorData {
    pub(crate) bytes: Bytes,
    pub(crate) range: Range<usize>,
}

impl Deref for TensorData {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }
}

impl fmt::Debug for TensorData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TensorData({:?})", self.range)
    }
}
