//! Values as Python prints them: chat templates are written for Jinja2, and models were trained on what it gives.
//!
//! [`PyValue`] wraps JSON so that maps keep their order and print as Python's `repr`; [`json`] writes what `json.dumps` writes with
//! `ensure_ascii=False`.

use super::rendered::MARK;
use super::weight::Limit;
use minijinja::value::{Enumerator, Object, ObjectRepr, ValueKind};
use minijinja::{Error, ErrorKind, Value};
use serde_json::Value as Json;
use std::fmt::{self, Write};
use std::sync::Arc;

/// Deeper values than this are refused.
const MAX_DEPTH: usize = 64;
/// Longer texts of values are refused.
pub(super) const MAX_TEXT: usize = 4 << 20;
/// Longer lists are refused, where they are made or written, unless they are made of the caller's own values: see [`Limit`].
pub(super) const MAX_ITEMS: usize = 1 << 16;
/// Bytes of a text that count as much as one value.
pub(super) const TEXT_OF_ONE: usize = 16;

/// A JSON object: a Python `dict`.
#[derive(Debug)]
struct Dict {
    entries: Vec<(Arc<str>, Value)>,
    weight: usize,
}

/// A JSON array: a Python `list`.
#[derive(Debug)]
struct List {
    items: Vec<Value>,
    weight: usize,
}

impl Object for Dict {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        let (_, value) = self.entries.iter().find(|(name, _)| **name == *key)?;
        Some(value.clone())
    }
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let keys = self.entries.iter().map(|(key, _)| Value::from(key.clone()));
        Enumerator::Values(keys.collect())
    }
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('{')?;
        for (i, (key, value)) in self.entries.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            quote(key, f)?;
            f.write_str(": ")?;
            repr(value, f)?;
        }
        f.write_char('}')
    }
}

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.items.get(key.as_usize()?).cloned()
    }
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.items.len())
    }
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('[')?;
        for (i, value) in self.items.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            repr(value, f)?;
        }
        f.write_char(']')
    }
}

/// JSON as a template sees it.
///
/// # Errors
/// If it is nested too deeply.
pub(super) fn value(json: &Json) -> Result<Value, Error> {
    nested(json, 0)
}

fn nested(json: &Json, depth: usize) -> Result<Value, Error> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    Ok(match json {
        Json::Null => Value::from(()),
        Json::Bool(b) => Value::from(*b),
        Json::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(n), ..) => Value::from(n),
            (None, Some(n), _) => Value::from(n),
            (None, None, n) => Value::from(n.unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => {
            let items: Result<Vec<Value>, Error> =
                items.iter().map(|item| nested(item, depth + 1)).collect();
            let items = items?;
            let weight = 1 + items.iter().filter_map(weight).sum::<usize>();
            Value::from_object(List { items, weight })
        }
        Json::Object(entries) => {
            let entries: Result<Vec<(Arc<str>, Value)>, Error> = entries
                .iter()
                .map(|(key, item)| Ok((Arc::from(key.as_str()), nested(item, depth + 1)?)))
                .collect();
            let entries = entries?;
            let keys = entries.iter().map(|(key, _)| weight_of_text(key));
            let items = entries.iter().filter_map(|(_, item)| weight(item));
            let weight = 1 + keys.chain(items).sum::<usize>();
            Value::from_object(Dict { entries, weight })
        }
    })
}

/// Whether a value came from JSON.
pub(super) fn is_json(value: &Value) -> bool {
    value.downcast_object_ref::<Dict>().is_some() || value.downcast_object_ref::<List>().is_some()
}

/// What a value counts that came from JSON, or that holds no others: one for each value, key and [`TEXT_OF_ONE`] bytes of a text.
pub(super) fn weight(value: &Value) -> Option<usize> {
    if let Some(dict) = value.downcast_object_ref::<Dict>() {
        return Some(dict.weight);
    }
    if let Some(list) = value.downcast_object_ref::<List>() {
        return Some(list.weight);
    }
    if value.as_object().is_some() {
        return None;
    }
    Some(weight_of_text(value.as_str().unwrap_or_default()))
}

fn weight_of_text(text: &str) -> usize {
    1 + text.len() / TEXT_OF_ONE
}

fn too_deep() -> Error {
    let why = format!("a value is nested more than {MAX_DEPTH} levels deep");
    Error::new(ErrorKind::InvalidOperation, why)
}

pub(super) fn too_long() -> Error {
    let why = format!("a text has more than {MAX_TEXT} bytes, or a list has too many items");
    Error::new(ErrorKind::InvalidOperation, why)
}

/// A text that does not grow beyond [`MAX_TEXT`]: a few values that hold each other print as a text of any length.
#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn add(&mut self, text: &str) -> Result<(), Error> {
        self.write_str(text).map_err(|_| too_long())
    }
    pub(super) fn done(self) -> String {
        self.0
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_TEXT {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// The items of a list, if they are not too many.
pub(super) fn items(value: &Value, limit: Limit) -> Result<Vec<Value>, Error> {
    let most = limit.most();
    let items: Vec<Value> = value.try_iter()?.take(most.saturating_add(1)).collect();
    if items.len() > most {
        Err(too_long())
    } else {
        Ok(items)
    }
}

/// A value as `str()` gives it: text as it is, everything else as its `repr`.
///
/// # Errors
/// If the text is too long.
pub(super) fn text(value: &Value) -> Result<String, Error> {
    match value.as_str() {
        Some(text) => Ok(text.to_owned()),
        None if value.is_undefined() => Ok(String::new()),
        None => {
            let mut out = Text::default();
            repr(value, &mut out).map_err(|_| too_long())?;
            Ok(out.done())
        }
    }
}

/// A value as the engine's `pprint` gives it, which knows no bound.
///
/// # Errors
/// If the text is too long.
pub(super) fn pretty(value: &Value) -> Result<String, Error> {
    let mut out = Text::default();
    write!(out, "{value:#?}").map_err(|_| too_long())?;
    Ok(out.done())
}

/// A value as `repr()` gives it.
fn repr(value: &Value, out: &mut dyn Write) -> fmt::Result {
    match value.kind() {
        ValueKind::None | ValueKind::Undefined => out.write_str("None"),
        ValueKind::Bool => out.write_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(n) => float(n, out),
            Err(_) => write!(out, "{value}"),
        },
        ValueKind::String => quote(value.as_str().unwrap_or_default(), out),
        _ => write!(out, "{value}"),
    }
}

/// A float with the fewest digits that give it back, as Python prints it.
fn float(n: f64, out: &mut dyn Write) -> fmt::Result {
    if n.is_nan() {
        return out.write_str("nan");
    }
    if n.is_infinite() {
        return out.write_str(if n > 0.0 { "inf" } else { "-inf" });
    }
    let text = format!("{n:?}");
    match text.split_once('e') {
        // Python's exponents have a sign and two digits.
        Some((digits, exponent)) => {
            let digits = digits.strip_suffix(".0").unwrap_or(digits);
            let (sign, power) = match exponent.strip_prefix('-') {
                Some(power) => ('-', power),
                None => ('+', exponent),
            };
            write!(out, "{digits}e{sign}{power:0>2}")
        }
        None if n != 0.0 && n.abs() < 1e-4 => {
            let power = n.abs().log10().floor() as i32;
            let digits = format!("{:e}", n);
            let digits = digits.split('e').next().unwrap_or_default();
            write!(out, "{digits}e-{:0>2}", -power)
        }
        None => out.write_str(&text),
    }
}

/// A string in quotes, with Python's escapes.
fn quote(text: &str, out: &mut dyn Write) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if c == quote => write!(out, "\\{c}")?,
            '\u{a0}' | '\u{ad}' => write!(out, "\\x{:02x}", u32::from(c))?,
            c if c.is_control() => write!(out, "\\x{:02x}", u32::from(c))?,
            c => out.write_char(c)?,
        }
    }
    out.write_char(quote)
}

/// How JSON is laid out: the arguments of transformers' `tojson`.
#[derive(Debug)]
pub(super) struct Layout {
    /// Blanks for each level; one line without.
    pub(super) indent: Option<usize>,
    /// Between items, and after keys.
    pub(super) separators: (String, String),
    /// Keys in order.
    pub(super) sort_keys: bool,
    /// Characters beyond ASCII as `\uXXXX`.
    pub(super) ascii: bool,
}

impl Default for Layout {
    fn default() -> Layout {
        Layout {
            indent: None,
            separators: (", ".to_owned(), ": ".to_owned()),
            sort_keys: false,
            ascii: false,
        }
    }
}

/// A value as JSON.
///
/// # Errors
/// If it has no JSON form, or is nested too deeply.
pub(super) fn json(value: &Value, layout: &Layout, limit: Limit) -> Result<String, Error> {
    let mut out = String::new();
    write_json(value, layout, limit, 0, &mut out)?;
    Ok(out)
}

fn write_json(
    value: &Value,
    layout: &Layout,
    limit: Limit,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    if out.len() > MAX_TEXT {
        return Err(too_long());
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&text(value)?),
        ValueKind::String => json_string(value.as_str().unwrap_or_default(), layout, out),
        ValueKind::Map => {
            let mut keys = items(value, limit)?;
            if layout.sort_keys {
                keys.sort();
            }
            write_items(('{', '}'), keys, layout, depth, out, |key, out| {
                json_string(&text(&key)?, layout, out);
                out.push_str(&layout.separators.1);
                write_json(&value.get_item(&key)?, layout, limit, depth + 1, out)
            })?;
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items = items(value, limit)?;
            write_items(('[', ']'), items, layout, depth, out, |item, out| {
                write_json(&item, layout, limit, depth + 1, out)
            })?;
        }
        kind => {
            let why = format!("{kind} has no JSON form");
            return Err(Error::new(ErrorKind::InvalidOperation, why));
        }
    }
    Ok(())
}

fn write_items(
    (open, close): (char, char),
    items: Vec<Value>,
    layout: &Layout,
    depth: usize,
    out: &mut String,
    mut item: impl FnMut(Value, &mut String) -> Result<(), Error>,
) -> Result<(), Error> {
    let line = |depth: usize, out: &mut String| {
        if let Some(indent) = layout.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent.min(16) * depth));
        }
    };
    out.push(open);
    let empty = items.is_empty();
    for (i, value) in items.into_iter().enumerate() {
        if i > 0 {
            // With an indent, Python's lines do not end in blanks.
            let separator = &layout.separators.0;
            out.push_str(match layout.indent {
                Some(_) => separator.trim_end(),
                None => separator,
            });
        }
        line(depth + 1, out);
        item(value, out)?;
    }
    if !empty {
        line(depth, out);
    }
    out.push(close);
    Ok(())
}

fn json_string(text: &str, layout: &Layout, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            // Marks are taken out of the text afterwards.
            c if c < ' ' || (layout.ascii && !c.is_ascii() && c != MARK) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen(json: Json) -> Value {
        value(&json).expect("a shallow value")
    }

    #[test]
    fn values_print_as_in_python() {
        let printed = |json| text(&seen(json)).expect("a short text");
        assert_eq!(printed(json!("as it's")), "as it's");
        assert_eq!(
            printed(json!({"b": [1, 2.5, null, true], "a": "it's", "q": "\"'\n\u{7f}é🙂"})),
            "{'b': [1, 2.5, None, True], 'a': \"it's\", 'q': '\"\\'\\n\\x7fé🙂'}"
        );
        assert_eq!(
            printed(json!([1e16, 1e-5, 0.0001, 1.5e-7, 1e100, 100000.0, -0.0])),
            "[1e+16, 1e-05, 0.0001, 1.5e-07, 1e+100, 100000.0, -0.0]"
        );
    }

    #[test]
    fn json_is_laid_out_as_by_python() {
        let value = seen(json!({"b": ["x/é\u{1}<", {}], "a": []}));
        let with = |layout| json(&value, &layout, Limit::of(0)).expect("JSON");
        assert_eq!(
            with(Layout::default()),
            "{\"b\": [\"x/é\\u0001<\", {}], \"a\": []}"
        );
        let layout = Layout {
            indent: Some(2),
            sort_keys: true,
            ascii: true,
            ..Layout::default()
        };
        assert_eq!(
            with(layout),
            "{\n  \"a\": [],\n  \"b\": [\n    \"x/\\u00e9\\u0001<\",\n    {}\n  ]\n}"
        );
    }

    #[test]
    fn deep_values_are_refused() {
        let mut deep = json!(1);
        for _ in 0..MAX_DEPTH + 2 {
            deep = json!([deep]);
        }
        assert!(value(&deep).is_err());
        // Deep enough to overflow a stack while it is dropped, were it nested further: the limit is what prevents that.
    }
}
