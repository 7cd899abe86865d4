//! What the template engine leaves without a bound, bounded.
//!
//! minijinja counts the steps of a template and the bytes of its texts. What escapes it is what a value holds in full, when it is made
//! and when something walks through it ([`weight`](super::weight)); sums of lists, which it makes uncounted (a list added to itself some
//! thirty times has no end); a namespace that holds itself (printing, comparing or dropping it never ends); and what it reckons out
//! before a template runs ([`constants`]). So a compiled template is looked through, and calls functions of ours: in place of sums, and
//! of an assignment `{% set ns.name = value %}`, which compiles to looking up `ns` and setting its attribute; after whatever makes a
//! list or a map; and before whatever walks through one. What a template emits is counted by the formatter, which raw text goes through
//! too.

use super::constants;
use super::python;
use super::weight::Limit;
use minijinja::formatting::{self, FormatStyle};
use minijinja::machinery::{self, CompiledTemplate, Instruction, Instructions, TemplateConfig};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{DynObject, Kwargs, Object, ObjectRepr, Rest, ValueKind, ValueOrKwargs};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value, filters, functions};
use minijinja_contrib::pycompat;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

/// What adds two values in place of the engine's own `+`. No template can name it, nor the others.
const ADD: &str = "+";
/// Holds a value to the limit, and gives it back.
const HOLD: &str = "[]";
/// Holds values to the limit, and gives them back as a list.
const HOLD_ALL: &str = "[,]";
/// Gives values back as a list, with texts in place of lists and maps.
const TEXTS: &str = "~";
/// Values in a namespace are nested no deeper than this.
const MAX_DEPTH: usize = 64;
/// Names that a namespace may have.
const MAX_NAMES: usize = 1000;
/// Values looked at for one step of a template.
const LOOKS_OF_A_STEP: usize = 16;
/// Attributes that a list may be sorted by.
const MAX_KEYS: usize = 16;
/// Digits of the longest number.
const DIGITS: usize = 320;

// These lists are of the version that Cargo.toml holds the engine to. What is in neither is counted.

/// Filters that neither make lists or maps nor walk through them.
const PLAIN_FILTERS: &[&str] = &["count", "d", "default", "first", "last", "length"];
/// Tests that look no deeper than at what kind of value it is.
const PLAIN_TESTS: &[&str] = &[
    "boolean",
    "defined",
    "divisibleby",
    "even",
    "false",
    "float",
    "int",
    "integer",
    "mapping",
    "none",
    "number",
    "odd",
    "sequence",
    "string",
    "true",
    "undefined",
];
/// Filters of minijinja that Jinja2 does not have, and that make much of little: none here.
const NOT_OF_JINJA: &[&str] = &["chain", "lines", "split", "zip"];

fn refused(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, why.into())
}

/// The assignments in a template, as `namespace.attribute`: what [`compile`] calls the functions that make them. No template can name
/// these, since names have no dots.
///
/// # Errors
/// If it is no template, or assigns to what is not a namespace by its name, or has constants that would be large.
pub(super) fn assignments(source: &str, syntax: &SyntaxConfig) -> Result<Vec<String>, Error> {
    // What cannot be read is told below.
    if let Ok(tree) = machinery::parse(source, "template", syntax.clone()) {
        constants::check(&tree)?;
    }
    let mut names = Vec::new();
    let mut compiled = engine(source, syntax)?;
    for instructions in parts(&mut compiled) {
        for place in 0.. {
            match instructions.get(place) {
                None => break,
                Some(Instruction::SetAttr(attribute)) => match place
                    .checked_sub(1)
                    .and_then(|at| instructions.get(at))
                {
                    Some(Instruction::Lookup(name)) => names.push(format!("{name}.{attribute}")),
                    _ => {
                        return Err(refused(
                            "only a namespace that has a name can be assigned to",
                        ));
                    }
                },
                Some(_) => {}
            }
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// A template of which [`assignments`] gave the names.
///
/// # Errors
/// If it is no template.
pub(super) fn compile<'a>(
    source: &'a str,
    names: &'a [String],
    syntax: &SyntaxConfig,
) -> Result<CompiledTemplate<'a>, Error> {
    let mut compiled = engine(source, syntax)?;
    for instructions in parts(&mut compiled) {
        let with_calls = watched(instructions, names);
        *instructions = with_calls;
    }
    Ok(compiled)
}

/// Instructions with the calls of ours among them.
fn watched<'a>(old: &Instructions<'a>, names: &'a [String]) -> Instructions<'a> {
    let mut new = Instructions::new(old.name(), old.source());
    // Where each of the old ones begins, and where they end.
    let mut begins = Vec::new();
    let mut length = 0;
    for place in 0.. {
        begins.push(length);
        let Some(instruction) = old.get(place) else {
            break;
        };
        let line = old
            .get_line(place)
            .and_then(|line| u16::try_from(line).ok());
        let instead = match assigned(old, place, names) {
            Some(assignment) => vec![assignment],
            None => with_calls(instruction),
        };
        for instruction in instead {
            length = 1 + match line {
                Some(line) => new.add_with_line(instruction, line),
                None => new.add(instruction),
            };
        }
    }
    for place in 0..length {
        if let Some(
            Instruction::Jump(target)
            | Instruction::JumpIfFalse(target)
            | Instruction::JumpIfFalseOrPop(target)
            | Instruction::JumpIfTrueOrPop(target)
            | Instruction::Iterate(target)
            | Instruction::BuildMacro(_, target, _),
        ) = new.get_mut(place)
            && let Some(begin) = begins.get(*target as usize)
        {
            *target = *begin;
        }
    }
    new
}

/// What comes in place of an instruction that has a part in an assignment.
fn assigned<'a>(
    old: &Instructions<'a>,
    place: u32,
    names: &'a [String],
) -> Option<Instruction<'a>> {
    let function = |lookup: u32| match (old.get(lookup)?, old.get(lookup + 1)?) {
        (Instruction::Lookup(namespace), Instruction::SetAttr(attribute)) => {
            let name = format!("{namespace}.{attribute}");
            names.iter().find(|known| **known == name)
        }
        _ => None,
    };
    // In place of the namespace comes what the function gives, which is nothing.
    if let Some(name) = function(place) {
        return Some(Instruction::CallFunction(name, Some(1)));
    }
    function(place.checked_sub(1)?).map(|_| Instruction::DiscardTop)
}

/// An instruction, and what is called before and after it.
fn with_calls<'a>(instruction: &Instruction<'a>) -> Vec<Instruction<'a>> {
    let same = || instruction.clone();
    // The top of the stack stays there.
    let hold = || Instruction::CallFunction(HOLD, Some(1));
    // Those on top stay there, and on top of them comes how many they are.
    let all = |function, count| {
        let call = Instruction::CallFunction(function, count);
        [call, Instruction::UnpackLists(1)]
    };
    // Nor do these two: they are dropped again.
    let both = |function| {
        let [call, unpack] = all(function, Some(2));
        vec![call, unpack, Instruction::DiscardTop, same()]
    };
    match *instruction {
        // So that it is counted with all else that is emitted.
        Instruction::EmitRaw(text) => {
            vec![Instruction::LoadConst(Value::from(text)), Instruction::Emit]
        }
        Instruction::Add => vec![Instruction::CallFunction(ADD, Some(2))],
        Instruction::BuildList(_)
        | Instruction::BuildTuple(_)
        | Instruction::BuildMap(_)
        | Instruction::Mul
        | Instruction::Slice => vec![same(), hold()],
        // Two values are compared as far as the smaller one goes.
        Instruction::Eq
        | Instruction::Ne
        | Instruction::Gt
        | Instruction::Gte
        | Instruction::Lt
        | Instruction::Lte => vec![hold(), same()],
        // A map looks for a key by its hash, which goes all through it.
        Instruction::GetItem => vec![hold(), same()],
        Instruction::In | Instruction::CompareAndPreserve(_) => both(HOLD_ALL),
        Instruction::StringConcat => both(TEXTS),
        Instruction::ApplyFilter(name, _, _) if PLAIN_FILTERS.contains(&name) => vec![same()],
        Instruction::ApplyFilter(_, Some(1), _) => vec![hold(), same(), hold()],
        Instruction::ApplyFilter(name, count, id) => {
            let [call, unpack] = all(HOLD_ALL, count);
            let apply = Instruction::ApplyFilter(name, None, id);
            vec![call, unpack, apply, hold()]
        }
        Instruction::PerformTest(name, count, id) if !PLAIN_TESTS.contains(&name) => {
            let [call, unpack] = all(HOLD_ALL, count);
            vec![call, unpack, Instruction::PerformTest(name, None, id)]
        }
        // `loop.changed` compares.
        Instruction::CallMethod(name, count) if name == "changed" => {
            let [call, unpack] = all(HOLD_ALL, count);
            vec![call, unpack, Instruction::CallMethod(name, None)]
        }
        _ => vec![same()],
    }
}

fn engine<'a>(source: &'a str, syntax: &SyntaxConfig) -> Result<CompiledTemplate<'a>, Error> {
    let config = TemplateConfig {
        syntax_config: syntax.clone(),
        default_auto_escape: Arc::new(|_| AutoEscape::None),
    };
    CompiledTemplate::new("template", source, &config)
}

fn parts<'a, 'c>(
    compiled: &'c mut CompiledTemplate<'a>,
) -> impl Iterator<Item = &'c mut Instructions<'a>> {
    std::iter::once(&mut compiled.instructions).chain(compiled.blocks.values_mut())
}

/// Gives the environment what compiled templates call, namespaces that can be watched, and what the engine has without a bound.
pub(super) fn furnish(environment: &mut Environment<'_>, names: &[String], limit: Limit) {
    environment.add_function(ADD, move |state: &State<'_, '_>, a: &Value, b: &Value| {
        limit.hold(state, add(a, b, limit)?)
    });
    environment.add_function(HOLD, move |state: &State<'_, '_>, value: Value| {
        limit.hold(state, value)
    });
    environment.add_function(
        HOLD_ALL,
        move |state: &State<'_, '_>, values: Rest<ValueOrKwargs>| {
            let values = values.into_values().into_iter();
            let held: Result<Vec<Value>, Error> =
                values.map(|value| limit.hold(state, value)).collect();
            held.map(Value::from)
        },
    );
    environment.add_function(TEXTS, texts);
    environment.add_function(
        "dict",
        move |state: &State<'_, '_>, map: Option<Value>, named: Kwargs| {
            limit.hold(state, functions::dict(map, named)?)
        },
    );
    environment.add_function(
        "namespace",
        move |state: &State<'_, '_>, defaults: Rest<Value>, named: Kwargs| {
            namespace(state, defaults, named, limit)
        },
    );
    // It shows all variables there are.
    environment.remove_global("debug");
    furnish_filters(environment, limit);
    environment.set_unknown_method_callback(move |state, value, name, arguments| {
        method(state, value, name, arguments, limit)
    });
    for name in names {
        let Some((namespace, attribute)) = name.split_once('.') else {
            continue;
        };
        let (namespace, attribute) = (namespace.to_owned(), attribute.to_owned());
        environment.add_function(name.clone(), move |state: &State<'_, '_>, value: Value| {
            let found = state.lookup(&namespace).unwrap_or_default();
            match found.downcast_object_ref::<Namespace>() {
                Some(found) => found.set(state, &attribute, value, limit),
                None => Err(refused(format!(
                    "can only assign to namespaces, not {}",
                    found.kind()
                ))),
            }
        });
    }
}

/// Gives the environment the filters and tests that are not the engine's own.
fn furnish_filters(environment: &mut Environment<'_>, limit: Limit) {
    for name in NOT_OF_JINJA {
        environment.remove_filter(name);
    }
    environment.add_filter(
        "join",
        move |list: &Value, joiner: Option<&str>, attribute: Option<&str>| {
            join(list, joiner, attribute, limit)
        },
    );
    // As in Python, None is not. The engine's own says it is, and a chat without tools would count the tools it has.
    environment.add_test("iterable", |value: &Value| {
        !value.is_none() && value.try_iter().is_ok()
    });
    environment.add_filter("pprint", |value: &Value| python::pretty(value));
    // The places of a last batch that is filled up, and the lists of slices, are made uncounted.
    environment.add_filter(
        "batch",
        |state: &State<'_, '_>, list: Value, size: usize, fill: Option<Value>| {
            state.consume_fuel(few(size)?)?;
            filters::batch(state, list, size, fill)
        },
    );
    environment.add_filter(
        "slice",
        |state: &State<'_, '_>, list: Value, count: usize, fill: Option<Value>| {
            state.consume_fuel(2 * few(count)?)?;
            filters::slice(state, list, count, fill)
        },
    );
    // Each item gets a list of its own, of all the attributes.
    environment.add_filter(
        "sort",
        |state: &State<'_, '_>, list: Value, named: Kwargs| {
            let keys = named.peek::<Option<&str>>("attribute")?;
            if keys.is_some_and(|keys| keys.split(',').count() > MAX_KEYS) {
                return Err(refused(format!(
                    "a list is sorted by more than {MAX_KEYS} attributes"
                )));
            }
            filters::sort(state, list, named)
        },
    );
    environment.add_filter(
        "format",
        move |state: &State<'_, '_>, pattern: &str, values: Rest<ValueOrKwargs>| {
            let values = values.into_values();
            fit(state, pattern, '%', &values, limit)?;
            formatting::format(FormatStyle::Printf, pattern, &values)
        },
    );
}

/// A number of places in lists, if it is no larger than lists may be.
fn few(count: usize) -> Result<u64, Error> {
    if count > python::MAX_ITEMS {
        return Err(python::too_long());
    }
    Ok(count as u64)
}

/// Values as they stand in a text: `~` writes out what it is given, and counts it afterwards.
fn texts(values: Rest<Value>) -> Result<Value, Error> {
    let mut texts = Vec::new();
    for value in values.iter() {
        texts.push(if value.as_object().is_some() {
            Value::from(python::text(value)?)
        } else {
            value.clone()
        });
    }
    Ok(Value::from(texts))
}

/// Python's methods, which are not counted.
fn method(
    state: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    arguments: &[Value],
    limit: Limit,
) -> Result<Value, Error> {
    // A map is looked up in, by a key that is gone through. So are lists and texts, and all that they are given.
    if value.kind() != ValueKind::Map {
        limit.pay(state, value)?;
    }
    for argument in arguments {
        limit.pay(state, argument)?;
    }
    match (name, value.as_str()) {
        // It may fall into as many pieces as it has bytes, and they are collected twice.
        ("split" | "splitlines", Some(text)) => state.consume_fuel(2 * text.len() as u64)?,
        ("format", Some(pattern)) => fit(state, pattern, '{', arguments, limit)?,
        _ => {}
    }
    let made = pycompat::unknown_method_callback(state, value, name, arguments)?;
    match made.kind() {
        ValueKind::Seq | ValueKind::Iterable => limit.hold(state, made),
        _ => Ok(made),
    }
}

/// Refuses a pattern of which values could make too long a text: each `mark` may begin a field that shows all of them, and each number may
/// say how wide one is.
fn fit(
    state: &State<'_, '_>,
    pattern: &str,
    mark: char,
    values: &[Value],
    limit: Limit,
) -> Result<(), Error> {
    let mut count = DIGITS / python::TEXT_OF_ONE;
    for value in values {
        count = count.saturating_add(limit.pay(state, value)?);
    }
    let shown = count.saturating_mul(python::TEXT_OF_ONE);
    let fields = pattern.matches(mark).count();
    let widths = pattern
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().unwrap_or(usize::MAX));
    let length = widths.fold(
        fields.saturating_mul(shown).saturating_add(pattern.len()),
        usize::saturating_add,
    );
    if length > python::MAX_TEXT {
        return Err(python::too_long());
    }
    Ok(())
}

/// What `namespace()` gives: entries that templates may set, by their names. As in Python nobody looks into it otherwise: it may hold
/// more later than when it was counted.
#[derive(Default)]
struct Namespace(Mutex<BTreeMap<Arc<str>, Value>>);

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<Namespace>")
    }
}

impl Namespace {
    fn set(
        &self,
        state: &State<'_, '_>,
        name: &str,
        value: Value,
        limit: Limit,
    ) -> Result<(), Error> {
        let mut left = limit.most();
        check(&value, 0, &mut left)?;
        let count = limit.most() - left;
        state.consume_fuel((1 + count / LOOKS_OF_A_STEP) as u64)?;
        let mut entries = self
            .0
            .lock()
            .map_err(|_| refused("the namespace is broken"))?;
        let full = entries.len() >= MAX_NAMES;
        match entries.get_mut(name) {
            Some(old) => *old = value,
            None if full => {
                return Err(refused(format!(
                    "a namespace has more than {MAX_NAMES} names"
                )));
            }
            None => {
                entries.insert(name.into(), value);
            }
        }
        Ok(())
    }
}

impl Object for Namespace {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let entries = self.0.lock().ok()?;
        entries.get(key.as_str()?).cloned()
    }
    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        // They have no order; only one is the same as another.
        let other = other.downcast_ref::<Namespace>()?;
        let same = std::ptr::eq(Arc::as_ptr(self), other);
        Some(if same {
            Ordering::Equal
        } else {
            Ordering::Less
        })
    }
}

fn namespace(
    state: &State<'_, '_>,
    defaults: Rest<Value>,
    named: Kwargs,
    limit: Limit,
) -> Result<Value, Error> {
    let namespace = Namespace::default();
    for map in defaults.iter() {
        // Anything else would be walked through for nothing.
        if map.kind() != ValueKind::Map {
            return Err(refused(format!(
                "a namespace is made of maps, not of {}",
                map.kind()
            )));
        }
        for key in map.try_iter()? {
            let value = map.get_item(&key)?;
            namespace.set(state, &python::text(&key)?, value, limit)?;
        }
    }
    let names: Vec<String> = named.args().map(str::to_owned).collect();
    for name in names {
        namespace.set(state, &name, named.get(&name)?, limit)?;
    }
    Ok(Value::from_object(namespace))
}

/// Refuses what a namespace must not hold: another, or itself, and values that are more than are left, or too deep.
fn check(value: &Value, depth: usize, left: &mut usize) -> Result<(), Error> {
    *left = match left.checked_sub(1) {
        Some(rest) if depth <= MAX_DEPTH => rest,
        _ => {
            return Err(refused(
                "a namespace cannot hold a value that is nested so deeply, or so large",
            ));
        }
    };
    if value.downcast_object_ref::<Namespace>().is_some() {
        return Err(refused("a namespace cannot hold a namespace"));
    }
    // What came from JSON is neither.
    if python::is_json(value) {
        return Ok(());
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            for item in value.try_iter()? {
                check(&item, depth + 1, left)?;
            }
        }
        ValueKind::Map => {
            for key in value.try_iter()? {
                check(&value.get_item(&key)?, depth + 1, left)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// The items of a list as one text. The engine's own does not count the bytes where nothing stands between them.
fn join(
    list: &Value,
    joiner: Option<&str>,
    attribute: Option<&str>,
    limit: Limit,
) -> Result<String, Error> {
    let mut out = python::Text::default();
    for (i, item) in python::items(list, limit)?.into_iter().enumerate() {
        out.add(joiner.filter(|_| i > 0).unwrap_or_default())?;
        let item = attribute.map_or(Ok(item.clone()), |name| item.get_attr(name))?;
        out.add(&python::text(&item)?)?;
    }
    Ok(out.done())
}

/// The sum of two numbers, texts or lists.
fn add(a: &Value, b: &Value, limit: Limit) -> Result<Value, Error> {
    let list = |value: &Value| matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable);
    let number = |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool);
    let is_float = |value: &Value| value.kind() == ValueKind::Number && !value.is_integer();
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        let mut out = python::Text::default();
        out.add(a)?;
        out.add(b)?;
        return Ok(Value::from(out.done()));
    }
    if list(a) && list(b) {
        let mut items = python::items(a, limit)?;
        items.extend(python::items(b, limit)?);
        return match items.len() {
            length if length > limit.most() => Err(python::too_long()),
            _ => Ok(Value::from(items)),
        };
    }
    if !number(a) || !number(b) {
        return Err(refused(format!(
            "{} and {} have no sum",
            a.kind(),
            b.kind()
        )));
    }
    if is_float(a) || is_float(b) {
        return Ok(Value::from(
            f64::try_from(a.clone())? + f64::try_from(b.clone())?,
        ));
    }
    let sum = i128::try_from(a.clone())?.checked_add(i128::try_from(b.clone())?);
    let sum = sum.ok_or_else(|| refused("a sum is too large"))?;
    // Small numbers are the engine's usual ones.
    Ok(i64::try_from(sum).map_or_else(|_| Value::from(sum), Value::from))
}

#[cfg(test)]
mod tests {
    use super::super::{Prompt, Template};
    use crate::error::Result;
    use serde_json::{Value as Json, json};

    fn render(source: &str) -> Result<String> {
        Template::parse(source)?.render(&Prompt::default())
    }

    fn render_messages(source: &str, messages: &[Json]) -> Result<String> {
        Template::parse(source)?.render(&Prompt {
            messages,
            ..Prompt::default()
        })
    }

    #[test]
    fn sums_are_those_of_jinja() {
        for (source, expected) in [
            (
                "{{ 1 + 2 }} {{ 1 + 2.5 }} {{ true + 1 }} {{ 9223372036854775807 + 1 }}",
                "3 3.5 2 9223372036854775808",
            ),
            ("{{ 'a' + 'é' + '' }}", "aé"),
            (
                "{{ [1] + ['a'] + [] }} {{ ([1, 2] + [3]) | length }}",
                "[1, 'a'] 3",
            ),
            (
                "{% macro f(x) %}{{ x + 1 }}{% endmacro %}{{ f(1) + f(2) }}",
                "23",
            ),
            (
                "{% for i in range(2) %}{{ loop.index + 10 }},{% endfor %}",
                "11,12,",
            ),
        ] {
            assert_eq!(render(source).unwrap(), expected, "{source}");
        }
        for source in [
            "{{ 'a' + 1 }}",
            "{{ [1] + 'a' }}",
            "{{ none + 1 }}",
            "{{ missing + 'a' }}",
        ] {
            assert!(render(source).is_err(), "{source}");
        }
    }

    #[test]
    fn namespaces_are_those_of_jinja() {
        for (source, expected) in [
            (
                "{% set ns = namespace(a=1, b=[]) %}{% for i in range(3) %}{% set ns.a = ns.a + i %}{% set ns.b = ns.b + [i] %}{% endfor %}{{ ns.a }} {{ ns.b }}",
                "4 [0, 1, 2]",
            ),
            (
                "{% set ns = namespace({'a': 2}) %}{{ ns.a }}{{ ns.none_such }}{% set ns.c = 'x' if false else 'y' %}{{ ns['c'] }}",
                "2y",
            ),
            (
                "{% set ns = namespace({'a': 1, 'b': 2}, b=3) %}{{ ns.a }}{{ ns.b }}{{ ns[1] }}",
                "13",
            ),
            (
                "{% set ns = namespace(n=0) %}{% macro f() %}{% set ns.n = ns.n + 1 %}{% endmacro %}{{ f() }}{{ f() }}{{ ns.n }}",
                "2",
            ),
            (
                "{% set a = namespace(x=1) %}{% set b = namespace(x=2) %}{% set a.x = b.x %}{% set b.x = 5 %}{{ a.x }}{{ b.x }}",
                "25",
            ),
            (
                "{% set ns = namespace() %}{% set ns.text %}blocks are set too{% endset %}{{ ns.text }}",
                "blocks are set too",
            ),
        ] {
            assert_eq!(render(source).unwrap(), expected, "{source}");
        }
        for source in [
            "{% set ns = namespace() %}{% set ns.a = ns %}",
            "{% set ns = namespace() %}{% set ns.a = [{'b': ns}] %}",
            "{% set ns = namespace() %}{% set other = namespace(a=ns) %}",
            "{% set ns = namespace() %}{% for i in range(70) %}{% set ns.a = [ns.a] %}{% endfor %}",
            "{% set ns = namespace([1, 2]) %}",
            "{% set ns = namespace('ab') %}",
            "{% set ns = 'text' %}{% set ns.a = 1 %}",
            "{% set ns.a = 1 %}",
        ] {
            assert!(render(source).is_err(), "{source}");
        }
    }

    #[test]
    fn calls_among_the_instructions_change_nothing() {
        for (source, expected) in [
            (
                "{% set x = 2 %}{{ 1 < x < 3 }} {{ 1 < x < 2 }} {{ x in [1, 2] }} {{ x not in [1, 2] }}",
                "True False True False",
            ),
            (
                "{{ ['a', 'b'] | join(*[', ']) }} {{ [3, 1, 2] | sort(reverse=true) }} {{ [[2, 1], [1]] | map('sort') | list }}",
                "a, b [3, 2, 1] [[1, 2], [1]]",
            ),
            (
                "{{ 2 is ge(1) }} {{ 2 is eq(3) }} {{ 3 is odd }} {{ 'ab' is startingwith('a') }}",
                "True False True True",
            ),
            (
                "{{ [1, 2, 3][1:] }} {{ [1, 2, 3][::-1][0] }} {{ 'abc'[1:] }}",
                "[2, 3] 3 bc",
            ),
            (
                "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %} {{ {'a': 1} | items | list }}",
                "a1b2 [('a', 1)]",
            ),
            (
                "{% set n = 2 %}{{ [0] * n }} {{ [0] * 3 }} {{ 'ab' * n }} {{ 3 * n }}",
                "[0, 0] [0, 0, 0] abab 6",
            ),
            (
                "{% set a = [1] %}{{ a ~ none ~ 2.5 ~ missing ~ 'x' }}",
                "[1]None2.5x",
            ),
            (
                "{% for x in [1, 2, 3] if x > 1 %}{{ x }}{% else %}none{% endfor %}",
                "23",
            ),
            (
                "{% for x in [1, 1, 2] %}{{ loop.changed(x) }},{% endfor %}",
                "True,False,True,",
            ),
            (
                "{% for x in [[1], [2]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}",
                "12",
            ),
            (
                "{% set a = namespace() %}{% set b = namespace() %}{{ a == a }} {{ a == b }}",
                "True False",
            ),
            (
                "{{ '%s is %d' | format('a', 3) }} {{ '{} {:>3}'.format('a', 3) }}",
                "a is 3 a   3",
            ),
            (
                "{{ dict({'a': 1}, b=2) }} {{ 'a,b'.split(',') }}",
                "{'a': 1, 'b': 2} ['a', 'b']",
            ),
            (
                "{{ [1, 2, 3] | batch(2, 0) | list }} {{ [1, 2, 3] | slice(2) | list }}",
                "[[1, 2], [3, 0]] [[1, 2], [3]]",
            ),
        ] {
            assert_eq!(render(source).expect(source), expected, "{source}");
        }
    }

    #[test]
    fn maps_keep_the_order_they_are_written_in() {
        for (source, expected) in [
            (
                "{{ {'b': 1, 'a': 2} | items | list }} {{ {'b': 1, 'a': 2} | list }}",
                "[('b', 1), ('a', 2)] ['b', 'a']",
            ),
            (
                "{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}{{ v }}{% endfor %}",
                "b1a2",
            ),
            (
                "{% set x = 3 %}{{ {'b': x, 'a': {'d': 1, 'c': x}} | tojson }} {{ {'b': x, 'a': 1} }}",
                "{\"b\": 3, \"a\": {\"d\": 1, \"c\": 3}} {'b': 3, 'a': 1}",
            ),
            (
                "{{ {'b': 1, 'a': 2, 'b': 3} }} {{ dict({'b': 1}, a=2) }}",
                "{'b': 3, 'a': 2} {'b': 1, 'a': 2}",
            ),
            (
                "{{ {'b': 1, 'a': 2} == {'a': 2, 'b': 1} }} {{ {1: 'x', 2: 'y'}[2] }}",
                "True y",
            ),
        ] {
            assert_eq!(render(source).expect(source), expected, "{source}");
        }
    }

    #[test]
    fn a_namespace_has_no_more_names_than_it_may() {
        let with = |count: usize| {
            let entries: String = (0..count).map(|i| format!("'k{i}': {i}, ")).collect();
            render(&format!(
                "{{% set ns = namespace({{{entries}}}) %}}{{{{ ns.k7 }}}}"
            ))
        };
        assert_eq!(with(1000).unwrap(), "7");
        let error = with(1001).expect_err("too many names").to_string();
        assert!(error.contains("more than 1000 names"), "{error}");
    }

    #[test]
    fn what_is_iterable_is_so_in_python() {
        for (source, expected) in [
            (
                // Hermes, Qwen3-Coder and Nemotron ask so.
                "{%- if tools is iterable and tools | length > 0 %}{{ 'tools' }}{%- else %}{{ 'none' }}{%- endif %}",
                "none",
            ),
            (
                "{{ none is iterable }} {{ missing is iterable }} {{ 1 is iterable }} {{ true is iterable }}",
                "False True False False",
            ),
            (
                "{{ '' is iterable }} {{ [] is iterable }} {{ {} is iterable }} {{ messages is iterable }} {{ range(2) is iterable }}",
                "True True True True True",
            ),
            ("{{ [1, none, 'a'] | select('iterable') | list }}", "['a']"),
        ] {
            assert_eq!(render(source).expect(source), expected, "{source}");
        }
        let tools = [json!({"type": "function", "function": {"name": "f"}})];
        let source = "{%- if tools is iterable and tools | length > 0 %}{{ 'tools' }}{%- endif %}";
        let rendered = Template::parse(source).unwrap().render(&Prompt {
            tools: &tools,
            ..Prompt::default()
        });
        assert_eq!(rendered.unwrap(), "tools");
    }

    #[test]
    fn values_count_all_that_they_hold() {
        let doubled = |times: usize| {
            "{% set a = [1] %}{% set b = [1] %}".to_owned()
                + &"{% set a = [a, a] %}{% set b = [b, b] %}".repeat(times)
        };
        let compared = |times| render(&(doubled(times) + "{{ a == b }} {{ a in [b] }}"));
        assert_eq!(compared(10).unwrap(), "True True");
        for times in [20, 60, 1000] {
            let error = compared(times).expect_err("a large value").to_string();
            assert!(error.contains("too large"), "{error}");
        }
        // What is not too large is walked through for steps.
        let again = "{% for i in range(99999) %}{% if a == b %}{% endif %}{% endfor %}";
        let error = render(&(doubled(14) + again)).expect_err("many walks");
        assert!(error.to_string().contains("too many steps"), "{error}");
        for source in [
            "{% for x in [1] %}{{ [loop] | length }}{% endfor %}",
            "{{ {[missing]: 1} }}",
            "{% set n = 90000000 %}{{ ([0] * n) | length }}",
            "{{ [0] * 90000000 == [0] * 90000000 }}",
            "{{ ([0] + [0]) * 3 ~ '' }}",
            "{{ '{:1000000000}'.format(1) }}",
        ] {
            assert!(render(source).is_err(), "{source}");
        }
    }

    #[test]
    fn large_conversations_are_rendered() {
        let message = |i: usize| json!({"role": "user", "content": format!("message {i}")});
        let messages: Vec<Json> = (0..3000).map(message).collect();
        for (source, expected) in [
            ("{{ ([messages[0]] + messages) | length }}", "3001"),
            (
                "{% set ns = namespace(n=0) %}{% for m in messages %}{% if m in messages[:1] or m.content is eq('message 7') %}{% set ns.n = ns.n + messages | length %}{% endif %}{% endfor %}{{ ns.n }}",
                "6000",
            ),
        ] {
            let rendered = render_messages(source, &messages);
            assert_eq!(rendered.expect(source), expected, "{source}");
        }
        let kept = "{% set ns = namespace(all=[]) %}{% for m in messages %}{% set ns.all = ns.all + [{'role': m.role, 'of': m}] %}{% endfor %}{{ ns.all | length }}";
        assert_eq!(render_messages(kept, &messages[..1000]).unwrap(), "1000");
        // The caller's own values may be larger than any that a template makes of nothing.
        let long = [json!({"role": "user", "content": "a b ".repeat(100_000)})];
        for (source, expected) in [
            (
                "{{ (messages[0].content.split(' ') | list) | length }}",
                "200001",
            ),
            (
                "{{ messages[0].content.split(' ') | join('_') == messages[0].content.replace(' ', '_') }}",
                "True",
            ),
            (
                "{{ (messages[0].content.split(' ') + ['c']) | length }}",
                "200002",
            ),
            (
                "{% set ns = namespace(words=messages[0].content.split(' ')) %}{{ ns.words | length }}",
                "200001",
            ),
            (
                "{{ messages[0].content.split(' ') | tojson | length }}",
                "1000004",
            ),
        ] {
            let rendered = render_messages(source, &long);
            assert_eq!(rendered.expect(source), expected, "{source}");
        }
    }
}
