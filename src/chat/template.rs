//! Chat templates: from messages and tools to the text that a model was trained to read.
//!
//! A model's file brings its template, in Jinja2, and the text must come out byte for byte as `transformers` renders it. minijinja
//! runs it; what the field's templates use beyond its Jinja is supplied here: Python's methods and its way to print values
//! ([`python`](super::python)), `strftime_now`, `raise_exception`, `tojson`, and the `generation` tag, which marks what a model learns
//! and shows nothing.
//!
//! A template is code from a stranger. Its length, its steps, its values, its output and its nesting are bounded, and it is parsed and
//! run on a thread with room for all the nesting that is allowed.

use super::python::{self, Layout};
use super::sandbox;
use super::weight::Limit;
use crate::error::{Error, Result};
use jiff::civil::DateTime;
use minijinja::machinery;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};
use regex::Regex;
use serde_json::Value as Json;
use smolq_gguf::Metadata;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Longer templates are refused: the field's longest have some 20 KB.
const MAX_SOURCE: usize = 64 << 10;
/// What a rendering may emit beyond some times its input: the output, and all that becomes a value first.
const MAX_OUTPUT: usize = 16 << 20;
/// A message goes through macros, blocks that are set, and filters, before it is in the output.
const TIMES_EMITTED: usize = 8;
/// Steps that a rendering may take beyond those for each byte of its input.
const FUEL: u64 = 1_000_000;

/// Templates that a user can name, for files that have none or the wrong one.
const BUILT_IN: &[(&str, &str)] = &[
    ("chatml", include_str!("templates/chatml.jinja")),
    ("llama3", include_str!("templates/llama3.jinja")),
    ("smollm3", include_str!("templates/smollm3.jinja")),
];

/// What a model is to read.
#[derive(Debug, Default)]
pub struct Prompt<'a> {
    /// The conversation, each message as chat APIs have it: `role`, `content`, ...
    pub messages: &'a [Json],
    /// The tools on offer, each as chat APIs have it.
    pub tools: &'a [Json],
    /// Whether the model is to think; `None` leaves it to the template.
    pub think: Option<bool>,
    /// Whether the text ends where the model's answer begins.
    pub generate: bool,
    /// What templates call `bos_token`.
    pub bos: &'a str,
    /// What templates call `eos_token`.
    pub eos: &'a str,
    /// The time that `strftime_now` tells.
    pub now: DateTime,
    /// More variables, by name.
    pub variables: Vec<(String, Json)>,
}

/// A chat template, read and found sound.
#[derive(Clone, Debug)]
pub struct Template {
    source: String,
    assignments: Vec<String>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// If it is no Jinja2 template, or too long, or nested too deeply.
    pub fn parse(source: &str) -> Result<Template> {
        if source.len() > MAX_SOURCE {
            return Err(Error::Template(format!(
                "it has {} bytes, more than the {MAX_SOURCE} that are allowed",
                source.len()
            )));
        }
        // Jinja2 reads every end of a line so.
        let source = source.replace("\r\n", "\n").replace('\r', "\n");
        let source = GENERATION
            .replace_all(&source, |tag: &regex::Captures<'_>| {
                let word = if tag["end"].is_empty() {
                    "if true"
                } else {
                    "endif"
                };
                format!("{{%{} {word} {}%}}", &tag["open"], &tag["close"])
            })
            .into_owned();
        let assignments = apart(|| sandbox::assignments(&source, &syntax()))?;
        Ok(Template {
            source,
            assignments,
        })
    }

    /// The template of a name; `None` if there is none of this name.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn built_in(name: &str) -> Result<Option<Template>> {
        let found = BUILT_IN.iter().find(|(known, _)| *known == name);
        found.map(|(_, source)| Template::parse(source)).transpose()
    }

    /// The names of the templates that [`Template::built_in`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// The template's text, with ends of lines and tags as the engine gets them.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The template of a model's file, if it has one.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn from_metadata(metadata: &Metadata) -> Result<Option<Template>> {
        metadata
            .opt_str("tokenizer.chat_template")?
            .map(Template::parse)
            .transpose()
    }

    /// The text that the model is to read.
    ///
    /// # Errors
    /// If the template refuses the messages, uses what is not there, or does not come to an end.
    pub fn render(&self, prompt: &Prompt<'_>) -> Result<String> {
        apart(|| {
            let variables = prompt.variables.iter().map(|(_, json)| json);
            let lists = prompt.messages.iter().chain(prompt.tools);
            let size: usize = lists.chain(variables).map(size).sum();
            let most = MAX_OUTPUT.saturating_add(size.saturating_mul(TIMES_EMITTED));
            let mut environment = environment(prompt.now, &self.assignments, Limit::of(size), most);
            environment.set_fuel(Some(FUEL + 64 * size as u64));
            let compiled = sandbox::compile(&self.source, &self.assignments, &syntax())?;
            let mut out = String::new();
            machinery::eval(
                &environment,
                &compiled.instructions,
                context(prompt)?,
                &compiled.blocks,
                &mut machinery::make_string_output(&mut out),
                AutoEscape::None,
            )?;
            Ok(out)
        })
    }
}

/// `{% generation %}` and `{% endgeneration %}`, with their signs of whitespace control.
static GENERATION: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"\{%(?<open>[-+]?)\s*(?<end>(?:end)?)generation\s*(?<close>[-+]?)%\}";
    Regex::new(pattern).expect("a sound pattern")
});

/// About how many bytes a value has.
fn size(json: &Json) -> usize {
    match json {
        Json::String(text) => text.len() + 8,
        Json::Array(items) => items.iter().map(size).sum::<usize>() + 8,
        Json::Object(entries) => {
            entries
                .iter()
                .map(|(key, item)| key.len() + size(item))
                .sum::<usize>()
                + 8
        }
        _ => 8,
    }
}

/// Parses or runs a template on a stack that holds all the nesting [`MAX_SOURCE`] allows.
fn apart<T: Send>(
    work: impl FnOnce() -> std::result::Result<T, minijinja::Error> + Send,
) -> Result<T> {
    match crate::apart::apart("chat template", work)? {
        Some(done) => done.map_err(|error| Error::Template(explain(&error))),
        None => Err(Error::Template(
            "it made the template engine fail".to_owned(),
        )),
    }
}

/// An error of the template engine in one line: where and what, down to the cause.
fn explain(error: &minijinja::Error) -> String {
    let mut out = match error.line() {
        Some(line) => format!("line {line}: "),
        None => String::new(),
    };
    match error.kind() {
        ErrorKind::OutOfFuel => out.push_str("it takes too many steps"),
        kind => match error.detail() {
            Some(detail) => out.push_str(detail),
            None => out.push_str(&kind.to_string()),
        },
    }
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        out.push_str(&format!(": {error}"));
        cause = error.source();
    }
    out
}

/// The variables of a rendering.
fn context(prompt: &Prompt<'_>) -> std::result::Result<Value, minijinja::Error> {
    let list = |items: &[Json]| python::value(&Json::Array(items.to_vec()));
    let mut variables: Vec<(String, Value)> = vec![
        ("messages".to_owned(), list(prompt.messages)?),
        (
            "add_generation_prompt".to_owned(),
            Value::from(prompt.generate),
        ),
        ("bos_token".to_owned(), Value::from(prompt.bos)),
        ("eos_token".to_owned(), Value::from(prompt.eos)),
    ];
    // transformers says `tools=None` where there are none.
    let tools = match prompt.tools {
        [] => Value::from(()),
        tools => list(tools)?,
    };
    variables.push(("tools".to_owned(), tools));
    if let Some(think) = prompt.think {
        variables.push(("enable_thinking".to_owned(), Value::from(think)));
    }
    for (name, json) in &prompt.variables {
        variables.push((name.clone(), python::value(json)?));
    }
    Ok(Value::from_pairs(variables))
}

/// Blocks take their line with them.
fn syntax() -> SyntaxConfig {
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    // The default delimiters are sound: building cannot fail.
    syntax.unwrap_or_default()
}

/// Jinja2 as transformers sets it up. A rendering emits at most so many bytes.
fn environment(
    now: DateTime,
    assignments: &[String],
    limit: Limit,
    most: usize,
) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_syntax(syntax());
    sandbox::furnish(&mut environment, assignments, limit);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_fuel(Some(FUEL));
    // All that a template emits comes by here, also what it captures. Counted afterwards, it would have taken the memory already.
    let emitted = AtomicUsize::new(0);
    environment.set_formatter(move |out, _, value| {
        let shown;
        let text: &str = match value.as_str() {
            Some(text) => text,
            None => {
                shown = python::text(value)?;
                shown.as_str()
            }
        };
        let before = emitted.fetch_add(text.len(), Ordering::Relaxed);
        if before.saturating_add(text.len()) > most {
            return Err(minijinja::Error::new(
                ErrorKind::WriteFailure,
                format!("the text has more than {most} bytes, with what it is made of"),
            ));
        }
        out.write_str(text)?;
        Ok(())
    });
    environment.add_function(
        "raise_exception",
        |why: &str| -> std::result::Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(
                ErrorKind::InvalidOperation,
                why.to_owned(),
            ))
        },
    );
    environment.add_function("strftime_now", move |format: &str| {
        jiff::fmt::strtime::format(format, now).map_err(|error| {
            minijinja::Error::new(
                ErrorKind::InvalidOperation,
                format!("strftime_now: {error}"),
            )
        })
    });
    environment.add_filter("string", |value: &Value| python::text(value));
    environment.add_filter(
        "tojson",
        move |value: &Value, arguments: Rest<Value>, named: Kwargs| {
            let mut layout = Layout::default();
            if let Some(ascii) = named.get::<Option<bool>>("ensure_ascii")? {
                layout.ascii = ascii;
            }
            let indent = named.get::<Option<Value>>("indent")?;
            layout.indent = arguments
                .first()
                .or(indent.as_ref())
                .and_then(Value::as_usize);
            if let Some(separators) = named
                .get::<Option<Value>>("separators")?
                .filter(|s| !s.is_none())
            {
                let of = |i: usize| {
                    separators
                        .get_item_by_index(i)
                        .and_then(|s| python::text(&s))
                };
                layout.separators = (of(0)?, of(1)?);
            }
            if let Some(sort) = named.get::<Option<bool>>("sort_keys")? {
                layout.sort_keys = sort;
            }
            named.assert_all_used()?;
            python::json(value, &layout, limit)
        },
    );
    environment
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(source: &str, messages: &[Json]) -> Result<String> {
        Template::parse(source)?.render(&Prompt {
            messages,
            now: jiff::civil::date(2026, 8, 29).at(7, 5, 0, 0),
            ..Prompt::default()
        })
    }

    #[test]
    fn what_the_fields_templates_use_is_there() {
        let messages = [json!({"role": "user", "content": " <b>Hé</b>\n"})];
        let cases = [
            (
                "{{ messages[0].content.strip() }}|{{ messages[0]['role'].upper() }}",
                "<b>Hé</b>|USER",
            ),
            (
                "{{ messages[0] }}",
                "{'role': 'user', 'content': ' <b>Hé</b>\\n'}",
            ),
            (
                "{{ messages[0] | tojson }}",
                "{\"role\": \"user\", \"content\": \" <b>Hé</b>\\n\"}",
            ),
            ("{{ {'a': 1} | tojson(indent=2) }}", "{\n  \"a\": 1\n}"),
            (
                "{{ true }} {{ none }} {{ missing }}|{{ 'x' in missing }}",
                "True None |False",
            ),
            (
                "{% generation %}\nx{% endgeneration %}\ny{%- generation -%} z {%- endgeneration -%} w",
                "xyzw",
            ),
            (
                "{{ strftime_now('%d %B %Y') }}, {{ strftime_now('%H:%M') }}",
                "29 August 2026, 07:05",
            ),
            (
                "{% for m in messages[::-1] %}{% if loop.first %}{% continue %}{% endif %}{% endfor %}{{ 'a.b'.split('.')[-1] }}",
                "b",
            ),
            (
                "{% set ns = namespace(n=1) %}{% for k, v in messages[0].items() %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
                "3",
            ),
            (
                "{% macro f(x) %}[{{ x }}]{% endmacro %}{{ f(1) ~ f('b') }}",
                "[1][b]",
            ),
            ("  {% if true %}\n  a\n  {% endif %}\nb\n", "  a\nb"),
        ];
        for (source, expected) in cases {
            assert_eq!(
                render(source, &messages).expect(source),
                expected,
                "{source}"
            );
        }
    }

    #[test]
    fn errors_say_line_and_cause() {
        let message = |source: &str| render(source, &[]).expect_err(source).to_string();
        assert_eq!(
            message("a\n{{ raise_exception('no system role') }}"),
            "chat template: line 2: no system role"
        );
        assert!(
            message("a\n\n{% if %}").starts_with("chat template: line 3: "),
            "{}",
            message("a\n\n{% if %}")
        );
        assert!(message("{{ messages.nothing.at_all }}").contains("undefined"));
    }

    #[test]
    fn ends_of_lines_are_those_of_jinja() {
        for (source, expected) in [
            ("a\r\nb\rc\r\n\r\nd\r\n", "a\nb\nc\n\nd"),
            ("{% if true %}\r\n  a\r\n{% endif %}\r\nb", "  a\nb"),
            ("{{ 'a\r\nb' }}{{ '\\r' | length }}", "a\nb1"),
        ] {
            assert_eq!(render(source, &[]).expect(source), expected, "{source:?}");
        }
    }

    #[test]
    fn long_texts_are_refused_while_they_are_made() {
        let long = [json!({"role": "user", "content": "word ".repeat(200_000)})];
        let raw = "x".repeat(1000);
        for source in [
            "{% for i in range(99999) %}{{ messages[0].content }}{% endfor %}".to_owned(),
            "{% set text %}{% for i in range(99999) %}{{ messages[0].content }}{% endfor %}{% endset %}".to_owned(),
            "{% macro f() %}{{ messages[0].content }}{{ messages[0].content }}{% endmacro %}{% for i in range(99999) %}{{ f() }}{% endfor %}".to_owned(),
            format!("{{% for i in range(99999) %}}{raw}{{% endfor %}}"),
            format!("{{% macro f() %}}{{% for i in range(99999) %}}{raw}{{% endfor %}}{{% endmacro %}}{{{{ f() | length }}}}"),
        ] {
            let error = render(&source, &long).expect_err("a long text").to_string();
            assert!(error.contains("the text has more than"), "{error}");
        }
        // What templates do to a message.
        let source = "{% macro f(m) %}{{ m.content | trim }}{% endmacro %}{% for m in messages %}{% set text %}{{ f(m) }}{% endset %}<{{ text }}>{% endfor %}";
        let rendered = render(source, &long).unwrap();
        assert_eq!(rendered.len(), 2 + 999_999);
    }

    #[test]
    fn hostile_templates_end() {
        let deep = |open: &str, n: usize| format!("{{{{ {}1 }}}}", open.repeat(n));
        let sources = [
            "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}".to_owned(),
            "{% set ns = namespace(a='xxxxxxxxxxxxxxxx') %}{% for i in range(60) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}".to_owned(),
            "{{ 'x' * 90000000 }}".to_owned(),
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".to_owned(),
            "{{ ''.__class__.__mro__[1].__subclasses__() }}".to_owned(),
            "{% include '/etc/passwd' %}".to_owned(),
            "{".repeat(200_000),
            "x".repeat(MAX_SOURCE + 1),
            deep("(", 60_000),
            deep("[", 60_000),
            format!("{{{{ a{} }}}}", ".b".repeat(32_000)),
        ];
        for source in sources {
            let short: String = source.chars().take(60).collect();
            assert!(render(&source, &[]).is_err(), "{short}");
        }
        // Legal, if odd; each is a tree as deep as it is long.
        for source in [
            deep("not ", 16_000),
            format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(5_000)),
            format!("{{{{ 1{} }}}}", "|string".repeat(9_000)),
            format!("{{{{ 1{} }}}}", "~1".repeat(3_000)),
        ] {
            drop(render(&source, &[]));
        }
    }
}
