//! The keys of a model and their values.

use std::fmt;
use std::path::PathBuf;

use crate::cursor::Cursor;
use crate::error::{DAMAGED, Error, show};
use crate::map::Bytes;
use crate::value::{Array, StringArray, Value, ValueType};

/// The most keys that a file may have. Real ones have some dozens.
pub(crate) const MAX_KEYS: u64 = 100_000;

/// The longest key, by the GGUF specification.
pub(crate) const MAX_KEY: u64 = 65_535;

/// The least that a key takes: its length, one character, the type and one byte of value.
pub(crate) const LEAST_KEY: u64 = 8 + 1 + 4 + 1;

/// The metadata: keys with values, in file order.
pub struct Metadata {
    path: PathBuf,
    entries: Vec<(Box<str>, Value)>,
    /// Indices of `entries`, ordered by key.
    by_key: Vec<u32>,
}

impl Metadata {
    /// Reads `n` keys, a number that was compared with the bytes left.
    pub(crate) fn read(bytes: &Bytes, cursor: &mut Cursor<'_>, n: u64) -> Result<Metadata, Error> {
        let mut entries: Vec<(Box<str>, Value)> = Vec::new();
        let mut places = Vec::new();
        let mut previous: Option<Box<str>> = None;
        for i in 0..n {
            let at = cursor.pos();
            places.push(at);
            let place = || match &previous {
                None => format!("name of key 1 of {n}"),
                Some(previous) => format!(
                    "name of key {} of {n}, after {}",
                    i + 1,
                    show(previous.as_bytes())
                ),
            };
            let key = cursor.string(MAX_KEY, &place)?;
            if key.is_empty() {
                return Err(cursor.fault(at, &place, format!("it is empty; {DAMAGED}")));
            }
            let Ok(key) = std::str::from_utf8(key) else {
                return Err(cursor.fault(
                    at,
                    &place,
                    format!("{} is not UTF-8; {DAMAGED}", show(key)),
                ));
            };
            let place = || format!("key {}", show(key.as_bytes()));
            let at = cursor.pos();
            let id = cursor.u32(&place)?;
            let Some(kind) = ValueType::from_id(id) else {
                return Err(cursor.fault(
                    at,
                    &place,
                    format!("unknown value type {id}; {DAMAGED}"),
                ));
            };
            let value = Value::read(bytes, cursor, kind, &place)?;
            previous = Some(key.into());
            entries.push((key.into(), value));
        }

        // At most MAX_KEYS, so they fit.
        let mut by_key: Vec<u32> = (0..entries.len() as u32).collect();
        let key = |i: u32| -> &str { &entries[i as usize].0 };
        by_key.sort_unstable_by_key(|&i| (key(i), i));
        if let Some(pair) = by_key.windows(2).find(|pair| key(pair[0]) == key(pair[1])) {
            let place = || format!("key {}", show(key(pair[1]).as_bytes()));
            let problem = "is given twice; convert the model again".into();
            return Err(cursor.fault(places[pair[1] as usize], &place, problem));
        }
        Ok(Metadata {
            path: cursor.path().to_owned(),
            entries,
            by_key,
        })
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let i = self
            .by_key
            .binary_search_by_key(&key, |&i| &*self.entries[i as usize].0)
            .ok()?;
        Some(&self.entries[self.by_key[i] as usize].1)
    }

    /// The keys and values, in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> + '_ {
        self.entries.iter().map(|(key, value)| (&**key, value))
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key as `convert` understands it; `None` if the key is absent.
    fn opt<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match convert(value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(Error::Key {
                path: self.path.clone(),
                key: key.to_owned(),
                expected,
                found: match value {
                    Value::Array(array) => array.to_string(),
                    Value::Bytes(_) => format!("a string that is not UTF-8, {value}"),
                    _ => format!("{} {value}", value.kind()),
                },
            }),
        }
    }

    fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, Error> {
        value.ok_or_else(|| Error::MissingKey {
            path: self.path.clone(),
            key: key.to_owned(),
        })
    }

    /// A number of any integer type that fits a `u32`, or nothing.
    pub fn opt_u32(&self, key: &str) -> Result<Option<u32>, Error> {
        self.opt(key, "an integer from 0 to 4294967295", |v| {
            v.as_integer()?.try_into().ok()
        })
    }

    /// A number of any integer type that fits an `i32`, or nothing.
    pub fn opt_i32(&self, key: &str) -> Result<Option<i32>, Error> {
        self.opt(key, "an integer from -2147483648 to 2147483647", |v| {
            v.as_integer()?.try_into().ok()
        })
    }

    /// A number of any integer type that fits a `u64`, or nothing.
    pub fn opt_u64(&self, key: &str) -> Result<Option<u64>, Error> {
        self.opt(key, "an integer of 0 or more", |v| {
            v.as_integer()?.try_into().ok()
        })
    }

    /// A number of either float type, or nothing.
    pub fn opt_f32(&self, key: &str) -> Result<Option<f32>, Error> {
        self.opt(key, "a float", Value::as_f32)
    }

    /// A bool, or nothing.
    pub fn opt_bool(&self, key: &str) -> Result<Option<bool>, Error> {
        self.opt(key, "a bool", |v| match v {
            Value::Bool(v) => Some(*v),
            _ => None,
        })
    }

    /// A string, or nothing.
    pub fn opt_str(&self, key: &str) -> Result<Option<&str>, Error> {
        self.opt(key, "a string", |v| match v {
            Value::String(v) => Some(v.as_str()),
            _ => None,
        })
    }

    /// An array of strings, or nothing.
    pub fn opt_strings(&self, key: &str) -> Result<Option<&StringArray>, Error> {
        self.opt(key, "an array of strings", |v| v.as_array()?.strings())
    }

    /// An array of floats, or nothing.
    pub fn opt_f32s(&self, key: &str) -> Result<Option<Vec<f32>>, Error> {
        self.opt(key, "an array of floats", |v| {
            let array = v.as_array()?;
            is_kind(array, &[ValueType::F32, ValueType::F64])?;
            array.iter().map(|v| v.as_f32()).collect()
        })
    }

    /// An array of any integer type whose elements fit an `i32`, or nothing.
    pub fn opt_i32s(&self, key: &str) -> Result<Option<Vec<i32>>, Error> {
        self.opt(key, "an array of 32-bit integers", integers)
    }

    /// An array of any integer type whose elements fit a `u32`, or nothing.
    pub fn opt_u32s(&self, key: &str) -> Result<Option<Vec<u32>>, Error> {
        self.opt(key, "an array of integers from 0 to 4294967295", integers)
    }

    /// The number of [`opt_u32`](Self::opt_u32), which must be there.
    pub fn u32(&self, key: &str) -> Result<u32, Error> {
        self.required(key, self.opt_u32(key)?)
    }

    /// The number of [`opt_u64`](Self::opt_u64), which must be there.
    pub fn u64(&self, key: &str) -> Result<u64, Error> {
        self.required(key, self.opt_u64(key)?)
    }

    /// The number of [`opt_f32`](Self::opt_f32), which must be there.
    pub fn f32(&self, key: &str) -> Result<f32, Error> {
        self.required(key, self.opt_f32(key)?)
    }

    /// The bool of [`opt_bool`](Self::opt_bool), which must be there.
    pub fn bool(&self, key: &str) -> Result<bool, Error> {
        self.required(key, self.opt_bool(key)?)
    }

    /// The string of [`opt_str`](Self::opt_str), which must be there.
    pub fn str(&self, key: &str) -> Result<&str, Error> {
        self.required(key, self.opt_str(key)?)
    }
}

fn integers<T: TryFrom<i128>>(value: &Value) -> Option<Vec<T>> {
    use ValueType::*;
    let array = value.as_array()?;
    is_kind(array, &[U8, I8, U16, I16, U32, I32, U64, I64])?;
    array
        .iter()
        .map(|v| v.as_integer()?.try_into().ok())
        .collect()
}

/// Looks at the type before the elements, so that an empty array of the wrong type is refused as well.
fn is_kind(array: &Array, kinds: &[ValueType]) -> Option<()> {
    kinds.contains(&array.kind()).then_some(())
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
