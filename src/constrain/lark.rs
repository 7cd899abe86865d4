//! Lark grammars of strangers, looked at before the engine reads them.

use super::pattern::Patterns;
use super::schema;
use serde_json::{Deserializer, Value};

/// Signs that intersect or negate terminals, in a whole grammar: the engine's time grows with each beyond all bounds.
const MAX_JOINED: usize = 7;
/// What a schema follows.
const JSON: &str = "%json";

/// Refuses names of single tokens (`<...>`), which would make control tokens of text, and what would take the engine too long.
pub(super) fn check(source: &str) -> Result<(), String> {
    let wrong = |at: usize, why: &str| {
        let before = &source[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        Err(format!("line {line}, column {column}: {why}"))
    };
    let mut patterns = Patterns::default();
    let mut joined = 0;
    let mut at = 0;
    while let Some(c) = source[at..].chars().next() {
        let rest = &source[at..];
        let length = match c {
            '#' => line(rest),
            '/' if rest.starts_with("//") => line(rest),
            '"' => literal(rest),
            '/' => {
                let length = literal(rest);
                let after = rest[length..].trim_start_matches(|c: char| "imslux".contains(c));
                let flags = &rest[length..rest.len() - after.len()];
                // What else is wrong with it is the engine's to tell.
                if let Some(body) = rest[1..length].strip_suffix('/')
                    && let Err((_, why)) = patterns.read(&flagged(flags, body))
                    && patterns.exceeded
                {
                    return wrong(at, &why);
                }
                length + flags.len()
            }
            '%' if rest.starts_with(JSON) => {
                let mut values = Deserializer::from_str(&rest[JSON.len()..]).into_iter::<Value>();
                match values.next() {
                    Some(Ok(schema)) => {
                        if let Err(why) = schema::bounded(&schema, &mut patterns) {
                            return wrong(at, &why);
                        }
                        JSON.len() + values.byte_offset()
                    }
                    _ => JSON.len(),
                }
            }
            '<' => return wrong(at, "single tokens are not supported, write their text"),
            '&' | '~' if !is_count(rest) => {
                joined += 1;
                if joined > MAX_JOINED {
                    let why = format!(
                        "more than {MAX_JOINED} signs that intersect or negate terminals (& and ~)"
                    );
                    return wrong(at, &why);
                }
                1
            }
            c => c.len_utf8(),
        };
        at += length;
    }
    Ok(())
}

/// A pattern as the engine reads it with these flags.
fn flagged(flags: &str, body: &str) -> String {
    match flags {
        "" => body.to_owned(),
        flags => format!("(?{flags}){body}"),
    }
}

/// How long the line is that begins here.
fn line(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// How long the literal is that begins here, by its first character; a backslash hides what follows it.
fn literal(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != bytes[0] {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    bytes.len().min(at + 1)
}

/// Whether a tilde is followed by how often something comes, and negates nothing.
fn is_count(text: &str) -> bool {
    let after = text[1..].trim_start_matches([' ', '\t']);
    text.starts_with('~') && after.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c))
}
