//! JSON schemas made ready for the engine.
//!
//! A schema is copied to the keywords that count; what the engine cannot hold to is refused with its place, or passed over where only help is
//! wanted (tools). References are resolved here, within the document only: each target becomes a definition of the copy. So nothing is ever
//! fetched, and the engine meets no pointers but ours. The engine reads keywords in their order, up to each that brings in other schemas: so
//! the copy has these last, and is written as draft 2020-12 has it, whatever the author's draft and order.

use super::MAX_SOURCE;
use super::pattern::{Patterns, is_unwritable};
use serde_json::{Map, Number, Value, json};
use std::collections::{HashMap, HashSet};

/// Deeper schemas are refused, as deeper JSON is by readers.
const MAX_DEPTH: usize = 128;
/// More references to different places are refused: they may be a chain, which the engine follows by recursion.
const MAX_REFS: usize = 1000;
/// What no answer will have: a smaller number of items or characters asked for is refused, a larger one allowed means no limit.
const MAX_ASKED: u64 = 10_000;
const MAX_ALLOWED: u64 = 1_000_000;

/// Patterns that may be in schemas which intersect some: the engine's time for that grows beyond all bounds.
const MAX_PATTERNS: usize = 8;
/// Patterns of names that one object may have, and pairs of them in a whole schema: the engine compares each with each.
const MAX_NAMES: usize = 32;
const MAX_PAIRS: usize = 2_000;
/// Numbers are floating point in the engine, which does not tell larger whole ones from each other.
const MAX_WHOLE: u64 = 1 << 53;
/// Larger steps, without twos and fives, take the engine too long.
const MAX_STEP: u64 = 10_000;
/// Formats whose texts have no end of their own, and the longest texts: so long that no part is longer than its standard allows.
const LONGEST: [(&str, u64); 3] = [("duration", 40), ("email", 64), ("hostname", 63)];

/// Whitespace between the parts of JSON: a space, or a line with its indent. Without a bound, small models write it forever.
const WHITESPACE: &str = r" |(\r?\n){1,2}[ \t]{0,40}";

/// Escapes of one letter. With `\uXXXX`, a key that is declared could be written so that the engine takes it for another; no more is lost
/// than control characters that have no other escape.
const ESCAPES: &str = "nrbtf\\\"";

/// The types there are.
const TYPES: [&str; 7] = [
    "null", "boolean", "integer", "number", "string", "array", "object",
];

/// Keywords that bring in other schemas or values: they come last in a copy.
const APPLICATORS: [&str; 6] = ["const", "enum", "allOf", "anyOf", "oneOf", "$ref"];

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
#[derive(Clone, Debug, PartialEq)]
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

/// Refuses a schema that the engine is to read as it is (`%json` in Lark) if that would take too long. What is in it is counted wherever it
/// stands.
pub(super) fn bounded(schema: &Value, reader: &mut Patterns) -> Result<(), String> {
    measure(schema)?;
    let (mut patterns, mut pairs, mut intersects) = (0, 0, false);
    let mut waiting = vec![schema];
    while let Some(value) = waiting.pop() {
        let entries = match value {
            Value::Object(entries) => entries,
            Value::Array(items) => {
                waiting.extend(items);
                continue;
            }
            _ => continue,
        };
        waiting.extend(entries.values());
        let own = entries.get("pattern").and_then(Value::as_str);
        let names = entries.get("patternProperties").and_then(Value::as_object);
        let many = names.map_or(0, Map::len);
        patterns += many + usize::from(own.is_some());
        pairs += many * many.saturating_sub(1) / 2;
        if many > MAX_NAMES || pairs > MAX_PAIRS {
            return Err(too_many_names());
        }
        let names = names.into_iter().flat_map(|names| names.keys());
        for pattern in own.into_iter().chain(names.map(String::as_str)) {
            // What else is wrong with it is the engine's to tell.
            if let Err((_, why)) = reader.read(&llguidance::regex_to_lark(pattern, "dw"))
                && reader.exceeded
            {
                return Err(why);
            }
        }
        let count = |keys: &[&str]| {
            let there = keys.iter().filter(|key| entries.contains_key(**key));
            there.count()
        };
        let others = count(&["anyOf", "oneOf", "$ref"]);
        let own = count(&[
            "pattern",
            "properties",
            "patternProperties",
            "additionalProperties",
            "items",
            "prefixItems",
        ]);
        intersects |= entries.contains_key("allOf") || others > 1 || (others == 1 && own > 0);
    }
    match intersects && patterns > MAX_PATTERNS {
        true => Err(too_many_patterns()),
        false => Ok(()),
    }
}

fn too_many_patterns() -> String {
    format!(
        "it has allOf, or references or choices beside other keywords, and more than {MAX_PATTERNS} patterns"
    )
}

fn too_many_names() -> String {
    format!(
        "the names of an object can have {MAX_NAMES} patterns at most, and fewer where many objects have some"
    )
}

impl Calls {
    /// The calls of one tool.
    pub(super) fn only(&self, i: usize) -> Calls {
        Calls {
            tools: vec![self.tools[i].clone()],
            name_key: self.name_key.clone(),
            arguments_key: self.arguments_key.clone(),
            end: self.end.clone(),
        }
    }

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
            if name.chars().any(is_unwritable) {
                continue;
            }
            let mut arguments = match schema {
                Value::Null => Value::Bool(true),
                Value::Bool(_) | Value::Object(_) => defs.copy_of(schema, false)?,
                other => return Err(format!("a schema is an object, not {}", kind(other))),
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
        // Each by itself: one that has no answer would only be found when it is called.
        let ending = defs.ending();
        if !options.iter().all(|option| ends(option, &ending)) {
            return Err(NO_END.to_owned());
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
            "coerce_one_of": true, "lenient": true, "json_allowed_escapes": ESCAPES,
        })
    } else {
        json!({"whitespace_pattern": WHITESPACE, "json_allowed_escapes": ESCAPES})
    };
    root.insert("x-guidance".to_owned(), layout);
    Value::Object(root)
}

/// The targets of references, as definitions of the copy.
#[derive(Default)]
struct Definitions {
    copies: Vec<Value>,
    reader: Patterns,
}

/// What is said of a schema that has no answer.
const NO_END: &str = "nothing satisfies it: what it requires requires itself, or is false";

impl Definitions {
    /// A schema's copy; the targets of its references become definitions.
    fn copy_of(&mut self, schema: &Value, strict: bool) -> Result<Value, String> {
        measure(schema)?;
        let first = self.copies.len();
        match self.copy_with(schema, strict, false)? {
            Some(copy) => Ok(copy),
            None if strict => Err(too_many_patterns()),
            None => {
                // A call without its patterns is held to more than one without a schema.
                self.copies.truncate(first);
                let copy = self.copy_with(schema, strict, true)?;
                copy.ok_or_else(too_many_patterns)
            }
        }
    }

    /// A schema's copy, `bare` of patterns or with them; none where too many of them intersect.
    fn copy_with(
        &mut self,
        schema: &Value,
        strict: bool,
        bare: bool,
    ) -> Result<Option<Value>, String> {
        let mut copier = Copier {
            root: schema,
            strict,
            bare,
            path: String::new(),
            first: self.copies.len(),
            places: HashMap::new(),
            waiting: Vec::new(),
            reader: &mut self.reader,
            patterns: 0,
            pairs: 0,
            references: 0,
            crossed: 0,
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
        // What a reference brings into an intersection can be all that there is.
        let crossed = match copier.intersects {
            true => copier.patterns,
            false => copier.crossed,
        };
        Ok((crossed <= MAX_PATTERNS).then_some(copy))
    }

    /// The definitions that have an answer that ends, as they are referred to.
    fn ending(&self) -> HashSet<String> {
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
                return ending;
            }
        }
    }

    /// The whole, if it has an answer that ends.
    fn close(self, root: Value, exact: bool) -> Result<Value, String> {
        if !ends(&root, &self.ending()) {
            return Err(NO_END.to_owned());
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
    /// Whether patterns are passed over.
    bare: bool,
    /// Where the schema at hand is, as a JSON pointer.
    path: String,
    /// The number of the first definition that is this document's.
    first: usize,
    /// The numbers of the definitions, by the pointer to what they are.
    places: HashMap<String, usize>,
    waiting: Vec<(String, &'a Value)>,
    reader: &'a mut Patterns,
    /// Patterns, of names too, and pairs of those that stand beside each other.
    patterns: usize,
    pairs: usize,
    references: usize,
    /// Patterns that stand within schemas which intersect.
    crossed: usize,
    /// Whether a reference is intersected.
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

    /// Patterns and references so far: what makes intersections dear.
    fn weight(&self) -> usize {
        self.patterns + self.references
    }

    fn copy(&mut self, schema: &'a Value) -> Result<Value, String> {
        let entries = match schema {
            Value::Bool(any) => return Ok(Value::Bool(*any)),
            Value::Object(entries) => entries,
            _ if !self.strict => return Ok(Value::Bool(true)),
            other => return self.refuse(format!("a schema is an object, not {}", kind(other))),
        };
        let (patterns, references, crossed) = (self.patterns, self.references, self.crossed);
        let (mut said, mut applied) = (Map::new(), Map::new());
        let mut formats = Vec::new();
        // Where there are patterns, or references to some: in what is said here, in anyOf, in oneOf.
        let mut heavy = [false; 3];
        for (key, value) in entries {
            let before = self.weight();
            match self.keyword(key, value, entries, &mut formats) {
                Ok(Some((key, kept))) => {
                    let part = match APPLICATORS.contains(&key) {
                        true => &mut applied,
                        false => &mut said,
                    };
                    part.insert(key.to_owned(), kept);
                }
                Err(why) if self.strict => return Err(why),
                Ok(None) | Err(_) => {}
            }
            let part = match key.as_str() {
                "anyOf" => 1,
                "oneOf" => 2,
                _ => 0,
            };
            heavy[part] |= self.weight() > before;
        }
        // Some programs write a format and a pattern for it. One for the whole text is the author's own word: it is as strict, or what is
        // wanted.
        let own = said.get("pattern").and_then(Value::as_str);
        if own.is_some_and(|own| own.starts_with('^') && own.ends_with('$')) {
            formats.clear();
            said.remove("format");
        }
        for pattern in formats {
            let pattern = json!(format!("^(?:{pattern})$"));
            if !said.contains_key("pattern") {
                said.insert("pattern".to_owned(), pattern);
            } else if let Value::Array(more) = applied.entry("allOf").or_insert_with(|| json!([])) {
                self.patterns += 1;
                more.push(json!({"pattern": pattern}));
            }
        }
        let format = entries.get("format").and_then(Value::as_str);
        if let Some((_, longest)) = LONGEST.iter().find(|(name, _)| Some(*name) == format) {
            let asked = said.get("maxLength").and_then(Value::as_u64);
            let length = asked.map_or(*longest, |asked| asked.min(*longest));
            said.insert("maxLength".to_owned(), length.into());
        }
        let has_names = entries.contains_key("patternProperties");
        if !self.strict && has_names && !said.contains_key("patternProperties") {
            // Whose names are passed over would be shut out by what is said of the others.
            said.insert("additionalProperties".to_owned(), Value::Bool(true));
        }
        // One part with nothing beside it that counts is the schema itself: some programs write a described reference so.
        if said.is_empty()
            && applied.len() == 1
            && let Some(Value::Array(parts)) = applied.get_mut("allOf")
            && parts.len() == 1
            && let Some(part) = parts.pop()
        {
            return Ok(part);
        }
        self.distinct(&mut said)?;
        self.stepping(&mut said)?;
        let beside = applied.contains_key("$ref") && said.len() + applied.len() > 1;
        let joined = heavy.iter().filter(|&&heavy| heavy).count() > 1;
        if beside || joined || applied.contains_key("allOf") {
            self.intersects |= self.references > references;
            self.crossed = crossed + (self.patterns - patterns);
        }
        said.extend(applied);
        Ok(Value::Object(said))
    }

    /// A keyword as the engine is to have it; nothing if it says nothing.
    fn keyword(
        &mut self,
        key: &'a str,
        value: &'a Value,
        all: &'a Map<String, Value>,
        formats: &mut Vec<String>,
    ) -> Result<Option<(&'a str, Value)>, String> {
        // Before draft 2020-12, a list of items was a tuple, and what came after it were additional ones, which meant nothing without it.
        let is_tuple = all.get("items").is_some_and(Value::is_array);
        let kept = match key {
            "pattern" | "patternProperties" if self.bare => return Ok(None),
            "properties" => self.under(key, |c| c.map(value))?,
            "patternProperties" => self.under(key, |c| c.names(value))?,
            "anyOf" | "oneOf" if !self.strict && value.as_array().is_some_and(Vec::is_empty) => {
                return Ok(None);
            }
            "anyOf" | "oneOf" | "allOf" => self.under(key, |c| c.list(value))?,
            "items" if is_tuple => {
                let items = self.under(key, |c| c.list(value))?;
                return Ok(Some(("prefixItems", items)));
            }
            "prefixItems" if is_tuple => return Ok(None),
            "prefixItems" => self.under(key, |c| c.list(value))?,
            "additionalItems" if is_tuple => {
                let others = self.under(key, |c| c.copy(value))?;
                return Ok(Some(("items", others)));
            }
            "items" | "additionalProperties" => self.under(key, |c| c.copy(value))?,
            "$ref" => Value::String(self.under(key, |c| c.reference(value))?),
            "const" => {
                self.under(key, |c| c.constant(value))?;
                value.clone()
            }
            "enum" => {
                self.under(key, |c| c.choice(value))?;
                value.clone()
            }
            "pattern" => {
                let Value::String(pattern) = value else {
                    return self.under(key, |c| c.wants("text", value));
                };
                self.patterns += 1;
                self.under(key, |c| c.pattern(pattern))?;
                value.clone()
            }
            "type" => {
                self.under(key, |c| c.types(value))?;
                value.clone()
            }
            "required" => match value {
                Value::Array(names) if names.iter().all(Value::is_string) => value.clone(),
                _ => return self.under(key, |c| c.wants("a list of names", value)),
            },
            // Draft 4 says by true or false whether the bound is exclusive.
            "exclusiveMinimum" | "exclusiveMaximum" if value.is_boolean() => return Ok(None),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
                let exclusive = |key: &str| all.get(key) == Some(&Value::Bool(true));
                let name = match key {
                    "minimum" if exclusive("exclusiveMinimum") => "exclusiveMinimum",
                    "maximum" if exclusive("exclusiveMaximum") => "exclusiveMaximum",
                    key => key,
                };
                let bound = self.under(key, |c| c.bound(name, value))?;
                return Ok(bound.map(|bound| (name, bound)));
            }
            "multipleOf" => {
                self.under(key, |c| c.step(value))?;
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
                    many if many > MAX_ALLOWED => return Ok(None),
                    allowed => allowed.into(),
                }
            }
            "format" => {
                match value.as_str() {
                    Some("date") => formats.push(DATE.to_owned()),
                    Some("time") => formats.push(TIME.to_owned()),
                    Some("date-time") => formats.push(format!("{DATE}T{TIME}")),
                    Some("hostname") => formats.push(HOSTNAME.to_owned()),
                    Some(format) if FORMATS.contains(&format) => {
                        return Ok(Some((key, value.clone())));
                    }
                    _ => {}
                }
                return Ok(None);
            }
            // Saying that something need not be so says nothing.
            "uniqueItems" | "not" if *value == Value::Bool(false) => return Ok(None),
            "propertyNames" if takes_texts(value) => return Ok(None),
            "unevaluatedItems" | "unevaluatedProperties" if takes_all(value) => return Ok(None),
            "dependencies" | "dependentRequired" | "dependentSchemas"
                if value.as_object().is_some_and(Map::is_empty) =>
            {
                return Ok(None);
            }
            // Nor does what belongs to a keyword that is not there.
            "minContains" | "maxContains" if !all.contains_key("contains") => return Ok(None),
            "then" | "else" if !all.contains_key("if") => return Ok(None),
            _ if self.strict && UNSUPPORTED.contains(&key) => {
                return self.refuse(format!(
                    "{key:?} is not supported: leave it out and check the answer for it"
                ));
            }
            _ => return Ok(None),
        };
        Ok(Some((key, kept)))
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

    /// Schemas for names that a pattern is found in.
    fn names(&mut self, value: &'a Value) -> Result<Value, String> {
        let Value::Object(entries) = value else {
            return self.wants("an object", value);
        };
        let many = entries.len();
        let pairs = self.pairs + many * many.saturating_sub(1) / 2;
        if many > MAX_NAMES || pairs > MAX_PAIRS {
            return self.refuse(too_many_names());
        }
        self.pairs = pairs;
        self.patterns += many;
        for pattern in entries.keys() {
            self.under(pattern, |c| c.pattern(pattern))?;
        }
        self.map(value)
    }

    fn list(&mut self, value: &'a Value) -> Result<Value, String> {
        let Value::Array(items) = value else {
            return self.wants("a list", value);
        };
        let copies = items.iter().enumerate();
        let copies = copies.map(|(i, schema)| self.under(&i.to_string(), |c| c.copy(schema)));
        Ok(Value::Array(copies.collect::<Result<_, String>>()?))
    }

    fn pattern(&mut self, pattern: &str) -> Result<(), String> {
        match self.reader.search(pattern) {
            Ok(()) => Ok(()),
            Err(why) => self.refuse(why),
        }
    }

    fn types(&self, value: &Value) -> Result<(), String> {
        let names = match value {
            Value::Array(names) if names.is_empty() => {
                return self.refuse("it is empty, so nothing satisfies it");
            }
            Value::Array(names) => names.as_slice(),
            name => std::slice::from_ref(name),
        };
        for name in names {
            let Value::String(name) = name else {
                return self.wants("a list of names", value);
            };
            if !TYPES.contains(&name.as_str()) {
                let shown: String = name.chars().take(80).collect();
                return self.refuse(format!("{shown:?} is no type"));
            }
        }
        Ok(())
    }

    fn choice(&mut self, value: &Value) -> Result<(), String> {
        match value {
            Value::Array(options) if options.is_empty() => {
                self.refuse("it is empty, so nothing satisfies it")
            }
            Value::Array(options) => {
                for (i, option) in options.iter().enumerate() {
                    self.under(&i.to_string(), |c| c.constant(option))?;
                }
                Ok(())
            }
            other => self.wants("a list", other),
        }
    }

    /// Refuses a constant of which the engine would make another: it leaves out characters that it cannot write.
    fn constant(&self, value: &Value) -> Result<(), String> {
        let mut waiting = vec![value];
        while let Some(part) = waiting.pop() {
            match part {
                Value::Number(number) if is_beyond(number, MAX_WHOLE) => {
                    return self.refuse(format!(
                        "{number} is beyond 2^53, where a number is not told from the next one"
                    ));
                }
                Value::String(text) => {
                    if let Some(c) = text.chars().find(|&c| is_unwritable(c)) {
                        return self.refuse(format!(
                            "the control character {c:?}, which has no short escape, is not supported"
                        ));
                    }
                }
                Value::Array(items) => waiting.extend(items),
                Value::Object(entries) => waiting.extend(entries.values()),
                _ => {}
            }
        }
        Ok(())
    }

    /// A bound; none where it only says that numbers have 64 bits. `key` is what it is in the copy.
    fn bound(&self, key: &str, value: &Value) -> Result<Option<Value>, String> {
        let Value::Number(number) = value else {
            return self.wants("a number", value);
        };
        // The engine goes on to the next whole number.
        let is_exclusive = key.starts_with("exclusive");
        if !is_beyond(number, MAX_WHOLE - u64::from(is_exclusive)) {
            return Ok(Some(value.clone()));
        }
        let double = number.as_f64().unwrap_or(0.0);
        let excludes_nothing = match key {
            "maximum" | "exclusiveMaximum" => double >= i64::MAX as f64,
            _ => double <= i64::MIN as f64,
        };
        if excludes_nothing {
            return Ok(None);
        }
        self.refuse(format!(
            "{number} is beyond 2^53, where a number is not told from the next one"
        ))
    }

    /// Refuses a step that the engine cannot count in: it takes off the point, counts in 32 bits, and looks among all remainders for a way to
    /// none, of which there are few by twos and fives.
    fn step(&self, value: &Value) -> Result<(), String> {
        let Value::Number(number) = value else {
            return self.wants("a number", value);
        };
        let (mut step, mut places) = (number.as_f64().unwrap_or(0.0).abs(), 0);
        while step.fract() != 0.0 {
            step *= 10.0;
            places += 1;
        }
        let digits = step;
        while places > 0 && step % 10.0 == 0.0 {
            step /= 10.0;
            places -= 1;
        }
        // A remainder is multiplied by ten, and a digit added in its place.
        let sum = step * 10.0 + 9.0 * 10f64.powi(places);
        let is_counted = step > 0.0 && digits.max(sum) <= f64::from(u32::MAX);
        let mut remainders = step as u64;
        for factor in [2_u64, 5] {
            while remainders > 0 && remainders.is_multiple_of(factor) {
                remainders /= factor;
            }
        }
        if !is_counted || remainders > MAX_STEP {
            return self.refuse(format!(
                "steps of {number} cannot be counted: leave it out and check the answer for it"
            ));
        }
        Ok(())
    }

    /// Refuses or drops a step that takes the engine too long within the bounds at hand.
    fn stepping(&mut self, said: &mut Map<String, Value>) -> Result<(), String> {
        let Some(step) = said.get("multipleOf") else {
            return Ok(());
        };
        let is_one = |kind: &str| match said.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().any(|one| one == kind),
            Some(one) => one == kind,
            None => kind == "number",
        };
        let Some(kind) = ["number", "integer"].into_iter().find(|kind| is_one(kind)) else {
            return Ok(());
        };
        let mut number = json!({"type": kind, "multipleOf": step});
        for key in ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"] {
            if let Some(bound) = said.get(key) {
                number[key] = bound.clone();
            }
        }
        if self.reader.can_count(&number) {
            return Ok(());
        }
        let why = format!(
            "steps of {step} take too long to be counted, with these bounds and the steps before: leave it out and check the answer for it"
        );
        self.pass_over(said, "multipleOf", why)
    }

    /// Refuses a keyword that turned out not to be held, or goes on without it.
    fn pass_over(
        &mut self,
        said: &mut Map<String, Value>,
        key: &'static str,
        why: String,
    ) -> Result<(), String> {
        if self.strict {
            return self.under(key, |c| c.refuse(why));
        }
        said.remove(key);
        Ok(())
    }

    /// Whether the engine counts one property more than those that are required. Names that are declared, but need not be there, it only
    /// counts where there are no others; a tool's own parameters will be all there are.
    fn is_counted(&self, said: &Map<String, Value>) -> bool {
        let required = said.get("required").and_then(Value::as_array);
        let is_required = |name: &String| {
            required.is_some_and(|names| names.iter().any(|required| required == name))
        };
        let declared = said.get("properties").and_then(Value::as_object);
        if declared.is_none_or(|all| all.keys().all(is_required)) {
            return true;
        }
        let is_closed = match said.get("additionalProperties") {
            Some(others) => *others == Value::Bool(false),
            None => self.path.is_empty(),
        };
        let no_more = ["patternProperties", "maxProperties"];
        is_closed && !no_more.iter().any(|key| said.contains_key(*key))
    }

    /// Refuses or drops a number of properties that a name could be repeated for. Names that are required are sure to differ, and one more is
    /// none of them.
    fn distinct(&mut self, said: &mut Map<String, Value>) -> Result<(), String> {
        let Some(asked) = said.get("minProperties").and_then(Value::as_u64) else {
            return Ok(());
        };
        let required = said.get("required").and_then(Value::as_array);
        let names = required.into_iter().flatten().filter_map(Value::as_str);
        let sure = names.collect::<HashSet<&str>>().len() as u64;
        let is_one_more = asked == sure + 1 && (self.strict || self.is_counted(said));
        if asked <= sure || is_one_more {
            return Ok(());
        }
        let why = format!(
            "of {asked} properties only {sure} are required, and a name could be repeated to make up the others: require them by name"
        );
        self.pass_over(said, "minProperties", why)
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
        self.references += 1;
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

/// Whether a schema says nothing.
fn takes_all(schema: &Value) -> bool {
    match schema {
        Value::Bool(any) => *any,
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

/// Whether a schema says nothing of a text but that it is one.
fn takes_texts(schema: &Value) -> bool {
    takes_all(schema)
        || schema.as_object().is_some_and(|entries| {
            entries.len() == 1 && entries.get("type").is_some_and(|kind| kind == "string")
        })
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

/// Whether a number is larger than `most`, whatever its sign.
fn is_beyond(number: &Number, most: u64) -> bool {
    match (number.as_u64(), number.as_i64()) {
        (Some(whole), _) => whole > most,
        (None, Some(whole)) => whole.unsigned_abs() > most,
        (None, None) => number
            .as_f64()
            .is_none_or(|double| double.abs() > most as f64),
    }
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
            let first = list("prefixItems").map_or(&[][..], Vec::as_slice);
            let rest = entries.get("items");
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
