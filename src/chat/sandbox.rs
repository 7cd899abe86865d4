//! What the template engine leaves without a bound, bounded.
//!
//! minijinja counts the steps of a template and the bytes of its texts. Two things escape it: the sum of two lists, which is made
//! uncounted (a list added to itself some thirty times has no end), and a namespace that holds itself (printing, comparing or dropping
//! it never ends). So a compiled template is looked through: sums call [`add`], and an assignment `{% set ns.name = value %}`, which
//! compiles to looking up `ns` and setting its attribute, calls a function that refuses namespaces and deep values.

use super::python;
use minijinja::machinery::{CompiledTemplate, Instruction, Instructions, TemplateConfig};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Kwargs, Object, ObjectRepr, Rest, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value};
use std::sync::{Arc, Mutex};

/// What adds two values in place of the engine's own `+`. No template can name it.
const ADD: &str = "+";
/// Values in a namespace are nested no deeper than this, and are no more than so many.
const MAX_DEPTH: usize = 64;
const MAX_VALUES: usize = 1 << 16;

fn refused(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, why.into())
}

/// The assignments in a template, as `namespace.attribute`: what [`compile`] calls the functions that make them. No template can name
/// these, since names have no dots.
///
/// # Errors
/// If it is no template, or assigns to what is not a namespace by its name.
pub(super) fn assignments(source: &str, syntax: &SyntaxConfig) -> Result<Vec<String>, Error> {
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
        for place in 0.. {
            match instructions.get(place) {
                None => break,
                Some(Instruction::Add) => {
                    replace(instructions, place, Instruction::CallFunction(ADD, Some(2)))
                }
                Some(Instruction::SetAttr(attribute)) => {
                    let before = place.checked_sub(1).and_then(|at| instructions.get(at));
                    let Some(Instruction::Lookup(namespace)) = before else {
                        continue;
                    };
                    let name = format!("{namespace}.{attribute}");
                    if let Ok(known) = names.binary_search(&name) {
                        // In place of the namespace comes what the function gives, which is nothing.
                        replace(
                            instructions,
                            place - 1,
                            Instruction::CallFunction(&names[known], Some(1)),
                        );
                        replace(instructions, place, Instruction::DiscardTop);
                    }
                }
                Some(_) => {}
            }
        }
    }
    Ok(compiled)
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

fn replace<'a>(instructions: &mut Instructions<'a>, place: u32, by: Instruction<'a>) {
    if let Some(instruction) = instructions.get_mut(place) {
        *instruction = by;
    }
}

/// Gives the environment what compiled templates call, and namespaces that can be watched.
pub(super) fn furnish(environment: &mut Environment<'_>, names: &[String]) {
    environment.add_function(ADD, |a: &Value, b: &Value| add(a, b));
    environment.add_function("namespace", namespace);
    environment.add_filter("join", join);
    for name in names {
        let Some((namespace, attribute)) = name.split_once('.') else {
            continue;
        };
        let (namespace, attribute) = (namespace.to_owned(), attribute.to_owned());
        environment.add_function(name.clone(), move |state: &State<'_, '_>, value: Value| {
            let found = state.lookup(&namespace).unwrap_or_default();
            match found.downcast_object_ref::<Namespace>() {
                Some(found) => found.set(&attribute, value),
                None => Err(refused(format!(
                    "can only assign to namespaces, not {}",
                    found.kind()
                ))),
            }
        });
    }
}

/// What `namespace()` gives: a map whose entries templates may set.
#[derive(Debug, Default)]
struct Namespace(Mutex<Vec<(Arc<str>, Value)>>);

impl Namespace {
    fn set(&self, name: &str, value: Value) -> Result<(), Error> {
        check(&value, 0, &mut 0)?;
        let mut entries = self
            .0
            .lock()
            .map_err(|_| refused("the namespace is broken"))?;
        match entries.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, old)) => *old = value,
            None => entries.push((name.into(), value)),
        }
        Ok(())
    }
}

impl Object for Namespace {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let entries = self.0.lock().ok()?;
        let (_, value) = entries
            .iter()
            .find(|(name, _)| Some(&**name) == key.as_str())?;
        Some(value.clone())
    }
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let entries = self.0.lock();
        let keys = entries.iter().flat_map(|entries| entries.iter());
        Enumerator::Values(keys.map(|(name, _)| Value::from(name.clone())).collect())
    }
}

fn namespace(defaults: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let namespace = Namespace::default();
    for map in defaults.iter() {
        for key in map.try_iter()? {
            let value = map.get_item(&key)?;
            namespace.set(&python::text(&key)?, value)?;
        }
    }
    let names: Vec<String> = named.args().map(str::to_owned).collect();
    for name in names {
        namespace.set(&name, named.get(&name)?)?;
    }
    Ok(Value::from_object(namespace))
}

/// Refuses what a namespace must not hold: another, or itself, and values that are too many or too deep.
fn check(value: &Value, depth: usize, count: &mut usize) -> Result<(), Error> {
    *count += 1;
    if depth > MAX_DEPTH || *count > MAX_VALUES {
        return Err(refused(
            "a namespace cannot hold a value that is nested so deeply, or so large",
        ));
    }
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
                check(&item, depth + 1, count)?;
            }
        }
        ValueKind::Map => {
            for key in value.try_iter()? {
                check(&value.get_item(&key)?, depth + 1, count)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// The items of a list as one text. The engine's own does not count the bytes where nothing stands between them.
fn join(list: &Value, joiner: Option<&str>, attribute: Option<&str>) -> Result<String, Error> {
    let mut out = python::Text::default();
    for (i, item) in python::items(list)?.into_iter().enumerate() {
        out.add(joiner.filter(|_| i > 0).unwrap_or_default())?;
        let item = attribute.map_or(Ok(item.clone()), |name| item.get_attr(name))?;
        out.add(&python::text(&item)?)?;
    }
    Ok(out.done())
}

/// The sum of two numbers, texts or lists.
fn add(a: &Value, b: &Value) -> Result<Value, Error> {
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
        let mut items = python::items(a)?;
        items.extend(python::items(b)?);
        return match items.len() {
            length if length > python::MAX_ITEMS => Err(python::too_long()),
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

    fn render(source: &str) -> Result<String> {
        Template::parse(source)?.render(&Prompt::default())
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
            "{% set ns = 'text' %}{% set ns.a = 1 %}",
            "{% set ns.a = 1 %}",
        ] {
            assert!(render(source).is_err(), "{source}");
        }
    }
}
