//! Metadata values. Scalars are read; arrays stay in the file and are decoded when asked for.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::cursor::{Cursor, MAX_STRING};
use crate::error::{DAMAGED, Error, show};
use crate::map::Bytes;

/// The most elements that an array may have.
pub(crate) const MAX_ARRAY: u64 = 16 << 20;

/// How deep arrays may nest: an array of numbers is 1 deep, an array of those 2.
pub(crate) const MAX_NESTING: usize = 8;

/// The type of a value, or of the elements of an array.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ValueType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl ValueType {
    const ALL: [ValueType; 13] = {
        use ValueType::*;
        [
            U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64,
        ]
    };

    /// The id in the file.
    pub fn id(self) -> u32 {
        self as u32
    }

    /// The type with this id.
    pub fn from_id(id: u32) -> Option<ValueType> {
        Self::ALL.get(usize::try_from(id).ok()?).copied()
    }

    /// The name, as in `expected u32`.
    pub fn name(self) -> &'static str {
        match self {
            ValueType::U8 => "u8",
            ValueType::I8 => "i8",
            ValueType::U16 => "u16",
            ValueType::I16 => "i16",
            ValueType::U32 => "u32",
            ValueType::I32 => "i32",
            ValueType::F32 => "f32",
            ValueType::Bool => "bool",
            ValueType::String => "string",
            ValueType::Array => "array",
            ValueType::U64 => "u64",
            ValueType::I64 => "i64",
            ValueType::F64 => "f64",
        }
    }

    /// The length in bytes, where it is fixed; else the least that a value takes.
    fn least_bytes(self) -> u64 {
        match self {
            ValueType::U8 | ValueType::I8 | ValueType::Bool => 1,
            ValueType::U16 | ValueType::I16 => 2,
            ValueType::U32 | ValueType::I32 | ValueType::F32 => 4,
            ValueType::U64 | ValueType::I64 | ValueType::F64 => 8,
            ValueType::String => 8,
            ValueType::Array => 4 + 8,
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The value of a metadata key.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    /// A string that is not UTF-8.
    Bytes(Vec<u8>),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Value {
    /// The type in the file.
    pub fn kind(&self) -> ValueType {
        match self {
            Value::U8(_) => ValueType::U8,
            Value::I8(_) => ValueType::I8,
            Value::U16(_) => ValueType::U16,
            Value::I16(_) => ValueType::I16,
            Value::U32(_) => ValueType::U32,
            Value::I32(_) => ValueType::I32,
            Value::F32(_) => ValueType::F32,
            Value::Bool(_) => ValueType::Bool,
            Value::String(_) | Value::Bytes(_) => ValueType::String,
            Value::Array(_) => ValueType::Array,
            Value::U64(_) => ValueType::U64,
            Value::I64(_) => ValueType::I64,
            Value::F64(_) => ValueType::F64,
        }
    }

    /// The value of any integer type.
    pub fn as_integer(&self) -> Option<i128> {
        Some(match *self {
            Value::U8(v) => v.into(),
            Value::I8(v) => v.into(),
            Value::U16(v) => v.into(),
            Value::I16(v) => v.into(),
            Value::U32(v) => v.into(),
            Value::I32(v) => v.into(),
            Value::U64(v) => v.into(),
            Value::I64(v) => v.into(),
            _ => return None,
        })
    }

    /// The value of either float type; an `f64` is rounded.
    pub fn as_f32(&self) -> Option<f32> {
        match *self {
            Value::F32(v) => Some(v),
            Value::F64(v) => Some(v as f32),
            _ => None,
        }
    }

    /// The array.
    pub fn as_array(&self) -> Option<&Array> {
        match self {
            Value::Array(array) => Some(array),
            _ => None,
        }
    }

    /// Reads the value of type `kind` that begins at the cursor, which walks over `bytes`.
    pub(crate) fn read(
        bytes: &Bytes,
        cursor: &mut Cursor<'_>,
        kind: ValueType,
        place: &dyn Fn() -> String,
    ) -> Result<Value, Error> {
        let at = cursor.pos();
        Ok(match kind {
            ValueType::Array => Value::Array(Array::read(bytes, cursor, 1, place)?),
            ValueType::String => {
                let string = cursor.string(MAX_STRING, place)?;
                match std::str::from_utf8(string) {
                    Ok(text) => Value::String(text.to_owned()),
                    Err(_) => Value::Bytes(string.to_owned()),
                }
            }
            _ => {
                let slice = cursor.take(kind.least_bytes(), place)?;
                match scalar(kind, slice) {
                    Some(value) => value,
                    None => return Err(cursor.fault(at, place, bad_bool(slice[0]))),
                }
            }
        })
    }

    /// Makes sure that the value would be read again if it were written.
    pub(crate) fn check(&self) -> Result<(), String> {
        let fits = match self {
            Value::String(text) => text.len() as u64 <= MAX_STRING,
            Value::Bytes(bytes) => bytes.len() as u64 <= MAX_STRING,
            Value::Array(array) => {
                let mut encoded = Vec::new();
                array.encode(&mut encoded);
                let mut cursor = Cursor::new("".as_ref(), &encoded, 0);
                skip_array(&mut cursor, 1, &String::new).is_ok()
            }
            _ => true,
        };
        if fits {
            return Ok(());
        }
        Err(format!(
            "its value has a string of more than {MAX_STRING} bytes, more than {MAX_ARRAY} elements, or arrays more than {MAX_NESTING} deep"
        ))
    }

    /// Appends the value as it stands in a file, without its type.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Value::U8(v) => out.extend(v.to_le_bytes()),
            Value::I8(v) => out.extend(v.to_le_bytes()),
            Value::U16(v) => out.extend(v.to_le_bytes()),
            Value::I16(v) => out.extend(v.to_le_bytes()),
            Value::U32(v) => out.extend(v.to_le_bytes()),
            Value::I32(v) => out.extend(v.to_le_bytes()),
            Value::F32(v) => out.extend(v.to_le_bytes()),
            Value::U64(v) => out.extend(v.to_le_bytes()),
            Value::I64(v) => out.extend(v.to_le_bytes()),
            Value::F64(v) => out.extend(v.to_le_bytes()),
            Value::Bool(v) => out.push((*v).into()),
            Value::String(v) => encode_string(v.as_bytes(), out),
            Value::Bytes(v) => encode_string(v, out),
            Value::Array(v) => v.encode(out),
        }
    }
}

fn bad_bool(byte: u8) -> String {
    format!("a bool must be 0 or 1, found {byte}; {DAMAGED}")
}

pub(crate) fn encode_string(string: &[u8], out: &mut Vec<u8>) {
    out.extend((string.len() as u64).to_le_bytes());
    out.extend(string);
}

/// Decodes a value of fixed length. None for a bool that is neither 0 nor 1, or a slice of another length.
fn scalar(kind: ValueType, slice: &[u8]) -> Option<Value> {
    Some(match kind {
        ValueType::U8 => Value::U8(u8::from_le_bytes(slice.try_into().ok()?)),
        ValueType::I8 => Value::I8(i8::from_le_bytes(slice.try_into().ok()?)),
        ValueType::U16 => Value::U16(u16::from_le_bytes(slice.try_into().ok()?)),
        ValueType::I16 => Value::I16(i16::from_le_bytes(slice.try_into().ok()?)),
        ValueType::U32 => Value::U32(u32::from_le_bytes(slice.try_into().ok()?)),
        ValueType::I32 => Value::I32(i32::from_le_bytes(slice.try_into().ok()?)),
        ValueType::F32 => Value::F32(f32::from_le_bytes(slice.try_into().ok()?)),
        ValueType::U64 => Value::U64(u64::from_le_bytes(slice.try_into().ok()?)),
        ValueType::I64 => Value::I64(i64::from_le_bytes(slice.try_into().ok()?)),
        ValueType::F64 => Value::F64(f64::from_le_bytes(slice.try_into().ok()?)),
        ValueType::Bool => match slice {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            _ => return None,
        },
        ValueType::String | ValueType::Array => return None,
    })
}

/// Arrays are cut to their first elements.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::U8(v) => v.fmt(f),
            Value::I8(v) => v.fmt(f),
            Value::U16(v) => v.fmt(f),
            Value::I16(v) => v.fmt(f),
            Value::U32(v) => v.fmt(f),
            Value::I32(v) => v.fmt(f),
            Value::F32(v) => v.fmt(f),
            Value::Bool(v) => v.fmt(f),
            Value::String(v) => f.write_str(&show(v.as_bytes())),
            Value::Bytes(v) => f.write_str(&show(v)),
            Value::Array(v) => v.fmt(f),
            Value::U64(v) => v.fmt(f),
            Value::I64(v) => v.fmt(f),
            Value::F64(v) => v.fmt(f),
        }
    }
}

/// An array of values of one type. Cloning is cheap.
///
/// The elements stay where they are in the file. Numbers are decoded one by one, as they need not be aligned; for
/// strings there is a table of where each begins.
#[derive(Clone)]
pub struct Array(Repr);

#[derive(Clone)]
enum Repr {
    Strings(StringArray),
    Arrays(Table),
    /// Elements of a fixed length, side by side.
    Scalars {
        kind: ValueType,
        bytes: Bytes,
        range: Range<usize>,
    },
}

/// Where each of several elements of varying length begins in `bytes`, and at last where the next would begin.
#[derive(Clone)]
struct Table {
    bytes: Bytes,
    starts: Arc<Vec<usize>>,
}

impl Table {
    fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The i-th element, without the first `skip` bytes.
    fn get(&self, i: usize, skip: usize) -> Option<&[u8]> {
        let begin = self.starts.get(i)?.checked_add(skip)?;
        let end = *self.starts.get(i.checked_add(1)?)?;
        self.bytes.get(begin..end)
    }

    fn all(&self) -> &[u8] {
        match (self.starts.first(), self.starts.last()) {
            (Some(&first), Some(&last)) => self.bytes.get(first..last).unwrap_or_default(),
            _ => &[],
        }
    }
}

impl Array {
    /// The type of the elements.
    pub fn kind(&self) -> ValueType {
        match &self.0 {
            Repr::Strings(_) => ValueType::String,
            Repr::Arrays(_) => ValueType::Array,
            Repr::Scalars { kind, .. } => *kind,
        }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Strings(strings) => strings.len(),
            Repr::Arrays(table) => table.len(),
            Repr::Scalars { kind, range, .. } => range.len() / kind.least_bytes() as usize,
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The strings, if it is an array of strings.
    pub fn strings(&self) -> Option<&StringArray> {
        match &self.0 {
            Repr::Strings(strings) => Some(strings),
            _ => None,
        }
    }

    /// The i-th element.
    pub fn get(&self, i: usize) -> Option<Value> {
        match &self.0 {
            Repr::Strings(strings) => {
                let bytes = strings.get_bytes(i)?;
                Some(match std::str::from_utf8(bytes) {
                    Ok(text) => Value::String(text.to_owned()),
                    Err(_) => Value::Bytes(bytes.to_owned()),
                })
            }
            Repr::Arrays(table) => {
                if i >= table.len() {
                    return None;
                }
                // It was read once to find its end, so only a file that changed meanwhile is refused here.
                let mut cursor = Cursor::new("".as_ref(), &table.bytes, *table.starts.get(i)?);
                Array::read(&table.bytes, &mut cursor, 2, &String::new)
                    .ok()
                    .map(Value::Array)
            }
            Repr::Scalars { kind, bytes, range } => {
                let size = kind.least_bytes() as usize;
                let begin = range.start.checked_add(i.checked_mul(size)?)?;
                let end = begin.checked_add(size)?;
                (end <= range.end)
                    .then(|| scalar(*kind, bytes.get(begin..end)?))
                    .flatten()
            }
        }
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Value> + '_ {
        (0..self.len()).map_while(|i| self.get(i))
    }

    /// Reads the array that begins at the cursor with the type of its elements, `depth` arrays deep.
    fn read(
        bytes: &Bytes,
        cursor: &mut Cursor<'_>,
        depth: usize,
        place: &dyn Fn() -> String,
    ) -> Result<Array, Error> {
        let (kind, n) = array_head(cursor, depth, place)?;
        let start = cursor.pos();
        if !matches!(kind, ValueType::String | ValueType::Array) {
            skip_scalars(cursor, kind, n, place)?;
            return Ok(Array(Repr::Scalars {
                kind,
                bytes: bytes.clone(),
                range: start..cursor.pos(),
            }));
        }
        // It grows as elements are found, 8 bytes or more each, so the table is never longer than the file.
        let mut starts = Vec::new();
        for _ in 0..n {
            starts.push(cursor.pos());
            if kind == ValueType::String {
                cursor.string(MAX_STRING, place)?;
            } else {
                skip_array(cursor, depth + 1, place)?;
            }
        }
        starts.push(cursor.pos());
        starts.shrink_to_fit();
        let table = Table {
            bytes: bytes.clone(),
            starts: Arc::new(starts),
        };
        Ok(Array(if kind == ValueType::String {
            Repr::Strings(StringArray(table))
        } else {
            Repr::Arrays(table)
        }))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.kind().id().to_le_bytes());
        out.extend((self.len() as u64).to_le_bytes());
        out.extend_from_slice(match &self.0 {
            Repr::Strings(StringArray(table)) | Repr::Arrays(table) => table.all(),
            Repr::Scalars { bytes, range, .. } => bytes.get(range.clone()).unwrap_or_default(),
        });
    }

    /// An array of scalars that are encoded already.
    fn scalars(kind: ValueType, encoded: Vec<u8>) -> Array {
        let range = 0..encoded.len();
        Array(Repr::Scalars {
            kind,
            bytes: Bytes::from_vec(encoded),
            range,
        })
    }

    /// An array of elements that `encode` writes one after the other.
    fn table<T>(
        elements: impl IntoIterator<Item = T>,
        mut encode: impl FnMut(T, &mut Vec<u8>),
    ) -> Table {
        let mut encoded = Vec::new();
        let mut starts = vec![0];
        for element in elements {
            encode(element, &mut encoded);
            starts.push(encoded.len());
        }
        Table {
            bytes: Bytes::from_vec(encoded),
            starts: Arc::new(starts),
        }
    }

    /// An array of strings.
    pub fn from_strings<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Array {
        Array(Repr::Strings(StringArray(Self::table(
            strings,
            |s, out| encode_string(s.as_ref(), out),
        ))))
    }

    /// An array of arrays.
    pub fn from_arrays(arrays: impl IntoIterator<Item = Array>) -> Array {
        Array(Repr::Arrays(Self::table(arrays, |a, out| a.encode(out))))
    }
}

/// Reads the type and number of elements, `depth` arrays deep.
fn array_head(
    cursor: &mut Cursor<'_>,
    depth: usize,
    place: &dyn Fn() -> String,
) -> Result<(ValueType, u64), Error> {
    let at = cursor.pos();
    if depth > MAX_NESTING {
        return Err(cursor.fault(
            at,
            place,
            format!("arrays nest more than {MAX_NESTING} deep; {DAMAGED}"),
        ));
    }
    let id = cursor.u32(place)?;
    let Some(kind) = ValueType::from_id(id) else {
        return Err(cursor.fault(
            at,
            place,
            format!("unknown array element type {id}; {DAMAGED}"),
        ));
    };
    let n = cursor.count("array elements", MAX_ARRAY, kind.least_bytes(), place)?;
    Ok((kind, n))
}

/// Moves past `n` scalars, looking only at bools.
fn skip_scalars(
    cursor: &mut Cursor<'_>,
    kind: ValueType,
    n: u64,
    place: &dyn Fn() -> String,
) -> Result<(), Error> {
    let start = cursor.pos();
    // At most MAX_ARRAY * 8.
    let slice = cursor.take(n * kind.least_bytes(), place)?;
    if kind == ValueType::Bool
        && let Some(i) = slice.iter().position(|&b| b > 1)
    {
        return Err(cursor.fault(start + i, place, bad_bool(slice[i])));
    }
    Ok(())
}

/// Moves past an array. The depth of the recursion is limited by [`array_head`].
fn skip_array(
    cursor: &mut Cursor<'_>,
    depth: usize,
    place: &dyn Fn() -> String,
) -> Result<(), Error> {
    let (kind, n) = array_head(cursor, depth, place)?;
    match kind {
        ValueType::String => (0..n).try_for_each(|_| cursor.string(MAX_STRING, place).map(drop)),
        ValueType::Array => (0..n).try_for_each(|_| skip_array(cursor, depth + 1, place)),
        _ => skip_scalars(cursor, kind, n, place),
    }
}

/// Equal if of the same type and bytes, so that a NaN equals itself.
impl PartialEq for Array {
    fn eq(&self, other: &Array) -> bool {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        self.encode(&mut a);
        other.encode(&mut b);
        a == b
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `u32[4] [1, 2, 3, ...]`, `array[2] [u32[4], u32[5]]`
impl fmt::Display for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] [", self.kind(), self.len())?;
        for (i, value) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if i == 3 {
                f.write_str("...")?;
                break;
            }
            match value {
                // Else what is shown would grow with each level.
                Value::Array(inner) => write!(f, "{}[{}]", inner.kind(), inner.len())?,
                value => value.fmt(f)?,
            }
        }
        f.write_str("]")
    }
}

/// An array of strings, in place in the file. Cloning is cheap.
///
/// Vocabularies hold tokens that are not always UTF-8, so a string can be had as bytes too. It is checked when asked for.
#[derive(Clone)]
pub struct StringArray(Table);

impl StringArray {
    /// The number of strings.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The i-th string; `None` too if it is not UTF-8.
    pub fn get(&self, i: usize) -> Option<&str> {
        std::str::from_utf8(self.get_bytes(i)?).ok()
    }

    /// The bytes of the i-th string.
    pub fn get_bytes(&self, i: usize) -> Option<&[u8]> {
        self.0.get(i, 8)
    }

    /// The strings in order. One that is not UTF-8 is given as U+FFFD: see [`first_invalid`](Self::first_invalid).
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + '_ {
        (0..self.len()).map(|i| self.get(i).unwrap_or("\u{fffd}"))
    }

    /// The bytes of the strings in order.
    pub fn iter_bytes(&self) -> impl ExactSizeIterator<Item = &[u8]> + '_ {
        (0..self.len()).map(|i| self.get_bytes(i).unwrap_or_default())
    }

    /// The index of the first string that is not UTF-8.
    pub fn first_invalid(&self) -> Option<usize> {
        (0..self.len()).find(|&i| self.get(i).is_none())
    }
}

impl fmt::Debug for StringArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Array(Repr::Strings(self.clone())))
    }
}

macro_rules! from_numbers {
    ($($type:ty => $kind:ident),*) => { $(
        impl From<$type> for Value {
            fn from(v: $type) -> Value {
                Value::$kind(v)
            }
        }
        impl From<&[$type]> for Value {
            fn from(v: &[$type]) -> Value {
                let encoded = v.iter().flat_map(|v| v.to_le_bytes()).collect();
                Value::Array(Array::scalars(ValueType::$kind, encoded))
            }
        }
        impl From<Vec<$type>> for Value {
            fn from(v: Vec<$type>) -> Value {
                v.as_slice().into()
            }
        }
    )* };
}
from_numbers!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, u64 => U64, i64 => I64, f32 => F32, f64 => F64);

impl From<bool> for Value {
    fn from(v: bool) -> Value {
        Value::Bool(v)
    }
}

impl From<&[bool]> for Value {
    fn from(v: &[bool]) -> Value {
        Value::Array(Array::scalars(
            ValueType::Bool,
            v.iter().map(|&b| b.into()).collect(),
        ))
    }
}

impl From<Vec<bool>> for Value {
    fn from(v: Vec<bool>) -> Value {
        v.as_slice().into()
    }
}

impl From<&str> for Value {
    fn from(v: &str) -> Value {
        Value::String(v.to_owned())
    }
}

impl From<String> for Value {
    fn from(v: String) -> Value {
        Value::String(v)
    }
}

impl From<Array> for Value {
    fn from(v: Array) -> Value {
        Value::Array(v)
    }
}

impl From<&[&str]> for Value {
    fn from(v: &[&str]) -> Value {
        Value::Array(Array::from_strings(v))
    }
}

impl From<Vec<&str>> for Value {
    fn from(v: Vec<&str>) -> Value {
        Value::Array(Array::from_strings(v))
    }
}

impl From<&[String]> for Value {
    fn from(v: &[String]) -> Value {
        Value::Array(Array::from_strings(v))
    }
}

impl From<Vec<String>> for Value {
    fn from(v: Vec<String>) -> Value {
        Value::Array(Array::from_strings(v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_ids_lead_back() {
        for (id, kind) in ValueType::ALL.into_iter().enumerate() {
            assert_eq!(kind.id() as usize, id);
            assert_eq!(ValueType::from_id(kind.id()), Some(kind));
        }
        assert_eq!(ValueType::from_id(13), None);
    }

    #[test]
    fn arrays_read_as_they_were_made() {
        let numbers = Value::from(vec![-1i16, 2, 3, 4]);
        let array = numbers.as_array().unwrap();
        assert_eq!(array.len(), 4);
        assert_eq!(array.get(0), Some(Value::I16(-1)));
        assert_eq!(array.get(4), None);
        assert_eq!(array.get(usize::MAX), None);
        assert_eq!(array.to_string(), "i16[4] [-1, 2, 3, ...]");

        let strings = Array::from_strings([b"a".as_slice(), b"", b"\xff"]);
        let view = strings.strings().unwrap();
        assert_eq!(
            (view.get(0), view.get(1), view.get(2), view.get(3)),
            (Some("a"), Some(""), None, None)
        );
        assert_eq!(view.get_bytes(2), Some(&[0xff][..]));
        assert_eq!(view.iter().collect::<Vec<_>>(), ["a", "", "\u{fffd}"]);
        assert_eq!(view.first_invalid(), Some(2));

        let nested = Array::from_arrays([strings.clone(), array.clone()]);
        assert_eq!(nested.get(0), Some(Value::Array(strings)));
        assert_eq!(nested.get(1), Some(numbers.clone()));
        assert_eq!(nested.get(2), None);
        assert_eq!(Array::from_arrays([]).len(), 0);
        assert_eq!(Array::from_arrays([]).get(0), None);
    }
}
