//! A call of a tool, as text and as values.

use serde_json::{Map, Value as Json, json};

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The tool's name.
    pub name: String,
    /// Its arguments, an object.
    pub arguments: Json,
}

impl Call {
    /// Reads a call as chat APIs have it, or as models write it: `{"name": …, "arguments": …}`, perhaps under `function`. Arguments may
    /// be a text that holds JSON.
    pub fn from_json(json: &Json) -> Option<Call> {
        let call = json
            .get("function")
            .filter(|inner| inner.is_object())
            .unwrap_or(json);
        let arguments = match call.get("arguments").or_else(|| call.get("parameters")) {
            None | Some(Json::Null) => Json::Object(Map::new()),
            Some(Json::String(text)) => serde_json::from_str(text).ok()?,
            Some(other) => other.clone(),
        };
        Some(Call {
            name: call.get("name")?.as_str()?.to_owned(),
            arguments: Some(arguments).filter(Json::is_object)?,
        })
    }

    /// The call as chat APIs have it.
    pub fn to_json(&self, id: &str) -> Json {
        let arguments = super::dialect::compact(&self.arguments);
        json!({"id": id, "type": "function", "function": {"name": self.name, "arguments": arguments}})
    }
}

/// Reads calls from Python: one a line or more, `f(a=1)`, `x = f("b")`, `print(f())`, with arguments that are literals. `parameters`
/// names the parameters of a tool, for arguments by position.
///
/// # Errors
/// Says, for the model, what is more than that.
pub(super) fn from_python(
    code: &str,
    parameters: &dyn Fn(&str) -> Option<Vec<String>>,
) -> Result<Vec<Call>, String> {
    let mut reader = Python {
        rest: code,
        parameters,
    };
    let mut calls = Vec::new();
    loop {
        reader.blank_lines();
        if reader.rest.is_empty() {
            return Ok(calls);
        }
        calls.push(reader.statement()?);
    }
}

struct Python<'a> {
    rest: &'a str,
    parameters: &'a dyn Fn(&str) -> Option<Vec<String>>,
}

/// Lists in lists are followed this far.
const MOST_NESTED: usize = 64;

impl Python<'_> {
    fn blank_lines(&mut self) {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n', ';']);
            match self.rest.strip_prefix('#') {
                Some(comment) => self.rest = comment.split_once('\n').map_or("", |(_, rest)| rest),
                None => return,
            }
        }
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, c: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn wrong(&self, wanted: &str) -> String {
        let near: String = self.rest.chars().take(30).collect();
        format!(
            "only calls of the tools with literal arguments can be run here; {wanted} is wanted before {near:?}"
        )
    }

    fn name(&mut self) -> Option<String> {
        self.skip();
        let end = self
            .rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
            .unwrap_or(self.rest.len());
        let name = Some(&self.rest[..end])
            .filter(|name| !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()))?;
        self.rest = &self.rest[end..];
        Some(name.to_owned())
    }

    fn statement(&mut self) -> Result<Call, String> {
        let mut name = self
            .name()
            .ok_or_else(|| self.wrong("the name of a tool"))?;
        if !self.rest.trim_start().starts_with("==") && self.take('=') {
            name = self
                .name()
                .ok_or_else(|| self.wrong("the name of a tool"))?;
        }
        if !self.take('(') {
            return Err(self.wrong("a parenthesis"));
        }
        // What is printed is a call itself, unless there is a tool of that name.
        let shown =
            matches!(name.as_str(), "print" | "display") && (self.parameters)(&name).is_none();
        if shown {
            let call = self.statement()?;
            return match self.take(')') {
                true => Ok(call),
                false => Err(self.wrong("a closing parenthesis")),
            };
        }
        let mut arguments = Map::new();
        let mut position = 0;
        while !self.take(')') {
            let start = self.rest;
            let key = match self.name() {
                Some(key) if self.take('=') => key,
                _ => {
                    self.rest = start;
                    let known = (self.parameters)(&name).unwrap_or_default();
                    position += 1;
                    known.get(position - 1).cloned().ok_or_else(|| {
                        format!("{name} does not take argument {position} by position")
                    })?
                }
            };
            let value = self.literal(0)?;
            arguments.insert(key, value);
            if !self.take(',') && !self.rest.trim_start().starts_with(')') {
                return Err(self.wrong("a comma or a closing parenthesis"));
            }
        }
        Ok(Call {
            name,
            arguments: Json::Object(arguments),
        })
    }

    fn literal(&mut self, depth: usize) -> Result<Json, String> {
        self.skip();
        if depth > MOST_NESTED {
            return Err("the arguments are nested too deeply".to_owned());
        }
        let first = self
            .rest
            .chars()
            .next()
            .ok_or_else(|| self.wrong("a value"))?;
        match first {
            '\'' | '"' => self.string(first).map(Json::String),
            '[' | '(' => {
                let close = if first == '[' { ']' } else { ')' };
                self.rest = &self.rest[1..];
                let mut items = Vec::new();
                while !self.take(close) {
                    items.push(self.literal(depth + 1)?);
                    if !self.take(',') && !self.rest.trim_start().starts_with(close) {
                        return Err(self.wrong("a comma"));
                    }
                }
                Ok(Json::Array(items))
            }
            '{' => {
                self.rest = &self.rest[1..];
                let mut entries = Map::new();
                while !self.take('}') {
                    let Json::String(key) = self.literal(depth + 1)? else {
                        return Err(self.wrong("a key that is a text"));
                    };
                    if !self.take(':') {
                        return Err(self.wrong("a colon"));
                    }
                    let value = self.literal(depth + 1)?;
                    entries.insert(key, value);
                    if !self.take(',') && !self.rest.trim_start().starts_with('}') {
                        return Err(self.wrong("a comma"));
                    }
                }
                Ok(Json::Object(entries))
            }
            '-' | '+' | '.' | '0'..='9' => {
                let end = self
                    .rest
                    .find(|c: char| {
                        !(c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | '_'))
                    })
                    .unwrap_or(self.rest.len());
                let text = self.rest[..end].replace('_', "");
                let text = text.strip_prefix('+').unwrap_or(&text);
                let number = text
                    .parse::<i64>()
                    .map(Json::from)
                    .or_else(|_| text.parse::<f64>().map(Json::from))
                    .map_err(|_| self.wrong("a number"))?;
                self.rest = &self.rest[end..];
                Ok(number)
            }
            _ => {
                let start = self.rest;
                let value = match self.name().as_deref() {
                    Some("True") => Json::Bool(true),
                    Some("False") => Json::Bool(false),
                    Some("None") => Json::Null,
                    _ => {
                        self.rest = start;
                        return Err(self.wrong("a literal value"));
                    }
                };
                Ok(value)
            }
        }
    }

    fn string(&mut self, quote: char) -> Result<String, String> {
        let long: String = [quote; 3].iter().collect();
        let end = if self.rest.starts_with(&long) {
            long
        } else {
            quote.to_string()
        };
        let mut text = String::new();
        let mut rest = &self.rest[end.len()..];
        loop {
            if let Some(after) = rest.strip_prefix(end.as_str()) {
                self.rest = after;
                return Ok(text);
            }
            let mut chars = rest.chars();
            match (chars.next(), end.len()) {
                (None, _) | (Some('\n'), 1) => return Err(self.wrong("the end of a text")),
                (Some('\\'), _) => match chars.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some('\n') => {}
                    Some(c @ ('\\' | '\'' | '"')) => text.push(c),
                    Some(c) => text.extend(['\\', c]),
                    None => return Err(self.wrong("the end of a text")),
                },
                (Some(c), _) => text.push(c),
            }
            rest = chars.as_str();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(code: &str) -> Result<Vec<Call>, String> {
        from_python(code, &|name| {
            (name == "f").then(|| vec!["a".to_owned(), "b".to_owned()])
        })
    }

    #[test]
    fn calls_are_read_from_both_forms_of_json() {
        let call = Call {
            name: "f".to_owned(),
            arguments: json!({"a": 1}),
        };
        for json in [
            json!({"name": "f", "arguments": {"a": 1}}),
            json!({"name": "f", "parameters": {"a": 1}}),
            json!({"type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}),
        ] {
            assert_eq!(Call::from_json(&json), Some(call.clone()), "{json}");
        }
        assert_eq!(Call::from_json(&call.to_json("x")), Some(call));
        assert_eq!(
            Call::from_json(&json!({"name": "g"})).unwrap().arguments,
            json!({})
        );
        for json in [
            json!({"arguments": {}}),
            json!({"name": "f", "arguments": [1]}),
            json!("f"),
            json!({"name": "f", "arguments": "{"}),
        ] {
            assert_eq!(Call::from_json(&json), None, "{json}");
        }
    }

    #[test]
    fn python_calls_with_literals_are_read() {
        let one = |code: &str| read(code).unwrap().remove(0).arguments;
        assert_eq!(one("f(a='x', b=2)"), json!({"a": "x", "b": 2}));
        assert_eq!(
            one("# why\nr = f(\"it's\", [1, 2.5, None], )\n"),
            json!({"a": "it's", "b": [1, 2.5, null]})
        );
        assert_eq!(
            one("print(f(a={'k': (True, False)}))"),
            json!({"a": {"k": [true, false]}})
        );
        assert_eq!(
            one("f(a='''two\nlines''', b=-1_000)"),
            json!({"a": "two\nlines", "b": -1000})
        );
        assert_eq!(one("f(a='\\n\\'é')"), json!({"a": "\n'é"}));
        let calls = read("f(1)\ng(x=2); f()").unwrap();
        assert_eq!(
            calls.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
            ["f", "g", "f"]
        );
        assert_eq!(read("  \n"), Ok(Vec::new()));
    }

    #[test]
    fn more_than_calls_is_refused_with_a_reason() {
        let deep = format!("f(a={}", "[".repeat(5000));
        for code in [
            "import os",
            "f(a=g())",
            "x",
            "f(a=1 + 2)",
            "f(1, 2, 3)",
            "f('a",
            "f(a=",
            "for i in x: f()",
            "f(a=1e)",
            &deep,
            "1()",
        ] {
            let why = read(code).unwrap_err();
            assert!(!why.contains('\n') && !why.is_empty(), "{why}");
        }
    }
}
