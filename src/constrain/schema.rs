//! JSON schemas made ready for the engine.
//!
//! A schema is copied to the keywords that count; what the engine cannot hold to is refused with its place, or passed over where only help is
//! wanted (tools). References are resolved here, within the document only: each target becomes a definition of the copy. So nothing is ever
//! fetched, and the engine meets no pointers but ours.

use super::MAX_SOURCE;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

/// Deeper schemas are refused, as deeper JSON is by readers.
const MAX_DEPTH: usize = 128;
/// More references to different places are refused: they may be a chain, which the engine follows by recursion.
const MAX_REFS: usize = 1000;
/// What no answer will have: a smaller number of items or characters asked for is refused, a larger one allowed means no limit.
const MAX_ASKED: u64 = 10_000;
const MAX_ALLOWED: u64 = 1_000_000;

/// Patterns that may be in a schema which intersects some: the engine's time for that grows beyond all bounds.
const MAX_PATTERNS: usize = 8;
/// Formats whose texts have no end of their own, and the longest texts: so long that no part is longer than its standard allows.
const LONGEST: [(&str, u64); 3] = [("duration", 40), ("email", 64), ("hostname", 63)];

/// Whitespace between the parts of JSON: a space, or a line with its indent. Without a bound, small models write it forever.
const WHITESPACE: &str = r" |(\r?\n){1,2}[ \t]{0,40}";

/// Keywords that say what a grammar of single tokens cannot hold to.
const UNSUPPORTED: [&str; 18] = [
    "not",
    "if",
    "then",
    "else",
    "contains",
    "minContains",
    "maxContains",
    "uniqueItems",
    "propertyNames",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
];

/// Formats that the engine knows.
const FORMATS: [&str; 6] = ["duration", "email", "ipv4", "ipv6", "uuid", "uri"];

/// A host's name whose labels have no hyphens together: in third and fourth place these say that the rest is encoded, and most is
/// no such code. The engine's own lets them pass.
const HOSTNAME: &str = r"[a-zA-Z0-9](?:-?[a-zA-Z0-9])*(?:\.[a-zA-Z0-9](?:-?[a-zA-Z0-9])*)*";

/// What is the date by the calendar: the engine's own lets every February have 29 days.
const DATE: &str = "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)\
    |02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)";
/// Without leap seconds, whose days nobody knows.
const TIME: &str = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])";

/// Tool calls that an answer may be, see [`calls`](super::calls).
#[derive(Clone, Debug)]
pub struct Calls {
    pub(super) tools: Vec<(String, Value)>,
    pub(super) name_key: String,
    pub(super) arguments_key: String,
    pub(super) end: String,
}

/// Any JSON object.
pub(super) fn any_object() -> Value {
    finish(json!({"type": "object"}), Map::new(), false)
}

/// The engine's schema for a schema.
pub(super) fn prepare(schema: &Value) -> Result<Value, String> {
    let mut defs = Definitions::default();
    let copy = defs.copy_of(schema, true)?;
    defs.close(copy, false)
}

impl Calls {
    /// The engine's schema for one call.
    pub(super) fn prepare(&self) -> Result<Value, String> {
        if self.tools.is_empty() {
            return Err("there are none".to_owned());
        }
        if self.name_key == self.arguments_key {
            return Err(format!(
                "name and arguments have the same key {:?}",
                self.name_key
            ));
        }
        let mut defs = Definitions::default();
        let mut options = Vec::new();
        for (name, schema) in &self.tools {
            let mut arguments = match schema {
                Value::Null => Value::Bool(true),
                schema => defs
                    .copy_of(schema, false)
                    .map_err(|why| format!("{name:?}: {why}"))?,
            };
            if arguments == Value::Bool(true) {
                arguments = json!({"type": "object"});
            }
            if let Value::Object(schema) = &mut arguments {
                schema.entry("type").or_insert_with(|| json!("object"));
                close_parameters(schema);
            }
            let mut properties = Map::new();
            properties.insert(self.name_key.clone(), json!({"const": name}));
            properties.insert(self.arguments_key.clone(), arguments);
            options.push(json!({
                "type": "object",
                "properties": properties,
                "required": [self.name_key, self.arguments_key],
                "additionalProperties": false,
            }));
        }
        defs.close(json!({"anyOf": options}), true)
    }
}

/// Leaves no parameters but those that are declared, where the schema does not say whether there are others.
///
/// JSON schema takes silence for consent; people who write `properties` for a tool mean all of them, and a small model that may
/// write any name does. Silence stays consent where others are required, and where other schemas have a say in the object too: what
/// they want would be shut out.
fn close_parameters(schema: &mut Map<String, Value>) {
    let Some(declared) = schema.get("properties") else {
        return;
    };
    let required = schema.get("required").and_then(Value::as_array);
    let mut required = required.into_iter().flatten().filter_map(Value::as_str);
    let others = ["patternProperties", "allOf", "anyOf", "oneOf", "$ref"];
    if required.all(|name| declared.get(name).is_some())
        && !others.iter().any(|key| schema.contains_key(*key))
    {
        let open = schema.entry("additionalProperties");
        open.or_insert(Value::Bool(false));
    }
}

/// A schema with its definitions, and how it is to be written: free, or as Python writes it.
fn finish(schema: Value, defs: Map<String, Value>, exact: bool) -> Value {
    let mut root = match schema {
        Value::Object(root) => root,
        Value::Bool(false) => return Value::Bool(false),
        _ => Map::new(),
    };
    root.insert("$defs".to_owned(), Value::Object(defs));
    let layout = if exact {
        json!({
            "item_separator": ", ", "key_separator": ": ", "whitespace_flexible": false,
            "coerce_one_of": true, "lenient": true,
        })
    } else {
        json!({"whitespace_pattern": WHITESPACE})
    };
    root.insert("x-guidance".to_owned(), layout);
    Value::Object(root)
}

/// The targets of references, as definitions of the copy.
#[derive(Default)]
struct Definitions {
    copies: Vec<Value>,
}

impl Definitions {
    /// A schema's copy; the targets of its references become definitions.
    fn copy_of(&mut self, schema: &Value, strict: bool) -> Result<Value, String> {
        measure(schema)?;
        let mut copier = Copier {
            root: schema,
            strict,
            path: String::new(),
            first: self.copies.len(),
            places: HashMap::new(),
            waiting: Vec::new(),
            patterns: 0,
            intersects: false,
        };
        let copy = copier.copy(schema)?;
        while let Some((pointer, target)) = copier.waiting.pop() {
            let at = copier.places[&pointer];
            if self.copies.len() <= at {
                self.copies.resize(at + 1, Value::Null);
            }
            copier.path = pointer;
            self.copies[at] = copier.copy(target)?;
        }
        if copier.intersects && copier.patterns > MAX_PATTERNS {
            return Err(format!(
                "it has allOf, or references beside other keywords, and more than {MAX_PATTERNS} patterns"
            ));
        }
        Ok(copy)
    }

    /// The whole, if it has an answer that ends.
    fn close(self, root: Value, exact: bool) -> Result<Value, String> {
        let mut ending = HashSet::new();
        loop {
            let before = ending.len();
            for (i, copy) in self.copies.iter().enumerate().rev() {
                let place = place(i);
                if !ending.contains(&place) && ends(copy, &ending) {
                    ending.insert(place);
                }
            }
            if ending.len() == before {
                break;
            }
        }
        if !ends(&root, &ending) {
            return Err(
                "nothing satisfies it: what it requires requires itself, or is false".to_owned(),
            );
        }
        let names = (0..).map(|i| format!("r{i}"));
        Ok(finish(root, names.zip(self.copies).collect(), exact))
    }
}

/// The reference to a definition.
fn place(i: usize) -> String {
    format!("#/$defs/r{i}")
}

/// Refuses a document that is too long or too deep.
fn measure(schema: &Value) -> Result<(), String> {
    let mut size = 0;
    let mut waiting = vec![(schema, 1)];
    while let Some((value, depth)) = waiting.pop() {
        size += 8;
        if depth > MAX_DEPTH {
            return Err(format!("it is nested more than {MAX_DEPTH} deep"));
        }
        match value {
            Value::String(text) => size += text.len(),
            Value::Array(items) => waiting.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(entries) => {
                size += entries.keys().map(String::len).sum::<usize>();
                waiting.extend(entries.values().map(|item| (item, depth + 1)));
            }
            _ => {}
        }
        if size > MAX_SOURCE {
            return Err(format!("it has more than {MAX_SOURCE} bytes"));
        }
    }
    Ok(())
}

struct Copier<'a> {
    root: &'a Value,
    strict: bool,
    /// Where the schema at hand is, as a JSON pointer.
    path: String,
    /// The number of the first definition that is this document's.
    first: usize,
    /// The numbers of the definitions, by the pointer to what they are.
    places: HashMap<String, usize>,
    waiting: Vec<(String, &'a Value)>,
    patterns: usize,
    intersects: bool,
}

impl<'a> Copier<'a> {
    fn refuse<T>(&self, why: impl std::fmt::Display) -> Result<T, String> {
        Err(format!("#{}: {why}", self.path))
    }

    fn wants<T>(&self, what: &str, found: &Value) -> Result<T, String> {
        self.refuse(format!("{what} is needed, not {}", kind(found)))
    }

    /// Does something a step further down.
    fn under<T>(
        &mut self,
        key: &str,
        work: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        let before = self.path.len();
        self.path.push('/');
        self.path
            .push_str(&key.replace('~', "~0").replace('/', "~1"));
        let done = work(self);
        self.path.truncate(before);
        done
    }

    fn copy(&mut self, schema: &'a Value) -> Result<Value, String> {
        let entries = match schema {
            Value::Bool(any) => return Ok(Value::Bool(*any)),
            Value::Object(entries) => entries,
            other => return self.refuse(format!("a schema is an object, not {}", kind(other))),
        };
        let mut copy = Map::new();
        let mut also = Vec::new();
        for (key, value) in entries {
            let key = key.as_str();
            let kept = match key {
                "properties" | "patternProperties" => self.under(key, |c| c.map(value))?,
                "anyOf" | "oneOf" | "allOf" | "prefixItems" => {
                    self.under(key, |c| c.list(value))?
                }
                "items" if value.is_array() => self.under(key, |c| c.list(value))?,
                "items" | "additionalItems" | "additionalProperties" => {
                    self.under(key, |c| c.copy(value))?
                }
                "$ref" => Value::String(self.under(key, |c| c.reference(value))?),
                "const" => value.clone(),
                "enum" => match value {
                    Value::Array(options) if options.is_empty() => {
                        return self
                            .under(key, |c| c.refuse("it is empty, so nothing satisfies it"));
                    }
                    Value::Array(_) => value.clone(),
                    other => return self.under(key, |c| c.wants("a list", other)),
                },
                "pattern" if value.is_string() => {
                    self.patterns += 1;
                    value.clone()
                }
                "pattern" => return self.under(key, |c| c.wants("text", value)),
                "type" if value.is_string() => value.clone(),
                "type" | "required" => match value {
                    Value::Array(names) if names.iter().all(Value::is_string) => value.clone(),
                    _ => return self.under(key, |c| c.wants("a list of names", value)),
                },
                // Draft 4 says by true or false whether bounds are exclusive.
                "exclusiveMinimum" | "exclusiveMaximum" if value.is_boolean() => value.clone(),
                "multipleOf" | "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
                    if !value.is_number() {
                        return self.under(key, |c| c.wants("a number", value));
                    }
                    value.clone()
                }
                "minItems" | "minLength" | "minProperties" => {
                    let asked = self.under(key, |c| c.count(value))?;
                    if asked > MAX_ASKED {
                        return self.under(key, |c| {
                            c.refuse(format!(
                                "{asked} are more than the {MAX_ASKED} that can be asked for"
                            ))
                        });
                    }
                    asked.into()
                }
                "maxItems" | "maxLength" | "maxProperties" => {
                    match self.under(key, |c| c.count(value))? {
                        many if many > MAX_ALLOWED => continue,
                        allowed => allowed.into(),
                    }
                }
                "format" => {
                    match value.as_str() {
                        Some("date") => also.push(DATE.to_owned()),
                        Some("time") => also.push(TIME.to_owned()),
                        Some("date-time") => also.push(format!("{DATE}T{TIME}")),
                        Some("hostname") => also.push(HOSTNAME.to_owned()),
                        Some(format) if FORMATS.contains(&format) => {
                            copy.insert(key.to_owned(), value.clone());
                        }
                        _ => {}
                    }
                    continue;
                }
                // Saying that something need not be so says nothing.
                "uniqueItems" if *value == Value::Bool(false) => continue,
                _ if self.strict && UNSUPPORTED.contains(&key) => {
                    return self.refuse(format!(
                        "{key:?} is not supported: leave it out and check the answer for it"
                    ));
                }
                _ => continue,
            };
            copy.insert(key.to_owned(), kept);
        }
        for pattern in also {
            let pattern = json!(format!("^(?:{pattern})$"));
            if !copy.contains_key("pattern") {
                copy.insert("pattern".to_owned(), pattern);
            } else if let Value::Array(more) = copy.entry("allOf").or_insert_with(|| json!([])) {
                self.patterns += 1;
                more.push(json!({"pattern": pattern}));
            }
        }
        let format = schema.get("format").and_then(Value::as_str);
        if let Some((_, longest)) = LONGEST.iter().find(|(name, _)| Some(*name) == format) {
            let asked = copy.get("maxLength").and_then(Value::as_u64);
            let length = asked.map_or(*longest, |asked| asked.min(*longest));
            copy.insert("maxLength".to_owned(), length.into());
        }
        let beside = copy.contains_key("$ref") && copy.len() > 1;
        self.intersects |= beside || copy.contains_key("allOf");
        Ok(Value::Object(copy))
    }

    fn map(&mut self, value: &'a Value) -> Result<Value, String> {
        let Value::Object(entries) = value else {
            return self.wants("an object", value);
        };
        let copies = entries.iter().map(|(key, schema)| {
            let copy = self.under(key, |c| c.copy(schema))?;
            Ok((key.clone(), copy))
        });
        Ok(Value::Object(copies.collect::<Result<_, String>>()?))
    }

    fn list(&mut self, value: &'a Value) -> Result<Value, String> {
        let Value::Array(items) = value else {
            return self.wants("a list", value);
        };
        let copies = items.iter().enumerate();
        let copies = copies.map(|(i, schema)| self.under(&i.to_string(), |c| c.copy(schema)));
        Ok(Value::Array(copies.collect::<Result<_, String>>()?))
    }

    /// A number of things; some programs write 3.0.
    fn count(&self, value: &Value) -> Result<u64, String> {
        let whole = |number: f64| (number >= 0.0 && number.fract() == 0.0).then_some(number as u64);
        match value.as_u64().or_else(|| value.as_f64().and_then(whole)) {
            Some(count) => Ok(count),
            None => self.refuse(format!("a whole number from 0 is needed, not {value}")),
        }
    }

    /// What a reference is in the copy.
    fn reference(&mut self, value: &'a Value) -> Result<String, String> {
        let Value::String(reference) = value else {
            return self.wants("text", value);
        };
        let own = self.root.get("$id").and_then(Value::as_str).unwrap_or("");
        let within = reference.strip_prefix(own).unwrap_or(reference);
        let shown: String = reference.chars().take(80).collect();
        let pointer = match within.strip_prefix('#') {
            Some(pointer) if pointer.is_empty() || pointer.starts_with('/') => unescaped(pointer),
            _ => {
                return self.refuse(format!(
                    "{shown:?} is not within this schema (#/...), and others are not fetched"
                ));
            }
        };
        // Some write the root so.
        let pointer = if pointer == "/" {
            String::new()
        } else {
            pointer
        };
        let Some(target) = self.root.pointer(&pointer) else {
            return self.refuse(format!("there is no {shown:?}"));
        };
        if let Some(&at) = self.places.get(&pointer) {
            return Ok(place(at));
        }
        let at = self.first + self.places.len();
        if at >= MAX_REFS {
            return self.refuse(format!("more than {MAX_REFS} places are referred to"));
        }
        self.places.insert(pointer.clone(), at);
        self.waiting.push((pointer, target));
        Ok(place(at))
    }
}

/// Percent escapes undone.
fn unescaped(pointer: &str) -> String {
    let mut bytes = Vec::with_capacity(pointer.len());
    let mut rest = pointer.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |c: u8| char::from(c).to_digit(16);
        match (first, after) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                let value = hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0);
                bytes.push(value as u8);
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Whether a copy has an answer that ends, given the definitions that surely have. What else may be wrong is the engine's to find.
fn ends(schema: &Value, ending: &HashSet<String>) -> bool {
    let Value::Object(entries) = schema else {
        return *schema != Value::Bool(false);
    };
    let list = |key: &str| entries.get(key).and_then(Value::as_array);
    let count = |key: &str| entries.get(key).and_then(Value::as_u64).unwrap_or(0) as usize;
    if let Some(Value::String(place)) = entries.get("$ref")
        && !ending.contains(place)
    {
        return false;
    }
    for key in ["anyOf", "oneOf"] {
        if list(key).is_some_and(|options| !options.iter().any(|option| ends(option, ending))) {
            return false;
        }
    }
    if list("allOf").is_some_and(|parts| !parts.iter().all(|part| ends(part, ending))) {
        return false;
    }
    if entries.contains_key("const") || entries.contains_key("enum") {
        return true;
    }
    let of_type = |kind: &str| match kind {
        "array" => {
            let first = list("prefixItems")
                .or_else(|| list("items"))
                .map_or(&[][..], Vec::as_slice);
            let rest = entries.get("items").filter(|items| !items.is_array());
            let rest_ends = rest.is_none_or(|items| ends(items, ending));
            let asked = count("minItems");
            first.iter().take(asked).all(|item| ends(item, ending))
                && (asked <= first.len() || rest_ends)
        }
        "object" => {
            let others = entries.get("additionalProperties");
            let property = |name: &str| {
                let own = entries.get("properties").and_then(|all| all.get(name));
                // Names by pattern are the engine's business.
                let others = others.filter(|_| !entries.contains_key("patternProperties"));
                own.or(others).is_none_or(|schema| ends(schema, ending))
            };
            list("required")
                .is_none_or(|names| names.iter().filter_map(Value::as_str).all(property))
        }
        _ => true,
    };
    match entries.get("type") {
        Some(Value::String(kind)) => of_type(kind),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).any(of_type),
        _ => true,
    }
}
