//! How a model is told of tools, and how it calls them.
//!
//! A template decides what a model reads of tools; how it writes its calls was decided by its training, and only the template's text
//! tells which way that was. [`Dialect::of`] looks for the words that give it away. What a template cannot render (tools, calls in the
//! history, results) is written into the messages as text, in the form that most small models were trained on.

use super::call::Call;
use serde_json::{Map, Value as Json, json};

/// How a model writes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CallForm {
    /// `<tool_call>`, a JSON object with `name` and `arguments`, `</tool_call>`: SmolLM3, Qwen, Hermes.
    #[default]
    Tagged,
    /// The answer is a JSON object with `name` and `parameters`: Llama 3.
    Bare,
    /// `<code>`, Python that calls the tools like functions, `</code>`: SmolLM3.
    Python,
}

impl CallForm {
    /// What opens and closes a call.
    pub(super) fn tags(self) -> (&'static str, &'static str) {
        match self {
            CallForm::Tagged => ("<tool_call>", "</tool_call>"),
            CallForm::Bare => ("<|python_tag|>", ""),
            CallForm::Python => ("<code>", "</code>"),
        }
    }

    /// What the arguments are called.
    pub(super) fn arguments_key(self) -> &'static str {
        match self {
            CallForm::Bare => "parameters",
            CallForm::Tagged | CallForm::Python => "arguments",
        }
    }

    /// A call as the model would write it.
    pub fn write(self, call: &Call) -> String {
        let arguments = compact(&call.arguments);
        let name = Json::from(call.name.as_str());
        match self {
            CallForm::Tagged => {
                format!(
                    "<tool_call>\n{{\"name\": {name}, \"arguments\": {arguments}}}\n</tool_call>"
                )
            }
            CallForm::Bare => format!("{{\"name\": {name}, \"parameters\": {arguments}}}"),
            CallForm::Python => {
                let arguments: Vec<String> = match &call.arguments {
                    Json::Object(entries) => {
                        let text =
                            |(key, value): (&String, &Json)| format!("{key}={}", python(value));
                        entries.iter().map(text).collect()
                    }
                    _ => Vec::new(),
                };
                format!("<code>\n{}({})\n</code>", call.name, arguments.join(", "))
            }
        }
    }
}

/// How tools are shown to a model whose template prints each by `tool | string`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ToolRender {
    /// As transformers does: Python's way to print a dict.
    #[default]
    Python,
    /// As JSON.
    Json,
}

impl std::str::FromStr for ToolRender {
    type Err = String;
    fn from_str(name: &str) -> Result<ToolRender, String> {
        match name {
            "python" => Ok(ToolRender::Python),
            "json" => Ok(ToolRender::Json),
            _ => Err(format!("{name:?} is neither python nor json")),
        }
    }
}

/// What a template knows of tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// How calls are written.
    pub form: CallForm,
    /// Whether the template lists `tools`.
    tools: bool,
    /// Whether it lists `xml_tools`.
    xml_tools: bool,
    /// Whether it lists `python_tools`.
    python_tools: bool,
    /// Whether it renders the field `tool_calls` of messages.
    tool_calls: bool,
    /// Whether it renders messages of tools.
    results: bool,
    /// Whether it shows text only: parts of content must be joined for it.
    text_only: bool,
    /// Whether it knows of thinking.
    pub thinks: bool,
    /// What stands between a thought and the answer.
    pub(super) after_thought: &'static str,
}

impl Dialect {
    /// What a template's text gives away.
    pub fn of(source: &str) -> Dialect {
        let word = |word: &str| contains_word(source, word);
        let tagged = source.contains("<tool_call>") || word("xml_tools");
        let bare = !tagged && word("ipython") && word("parameters");
        Dialect {
            form: if bare {
                CallForm::Bare
            } else {
                CallForm::Tagged
            },
            tools: word("tools"),
            xml_tools: word("xml_tools"),
            python_tools: word("python_tools"),
            tool_calls: word("tool_calls"),
            results: source.contains("\"tool\"") || source.contains("'tool'"),
            text_only: !source.contains("['type']") && !source.contains(".type =="),
            thinks: word("enable_thinking")
                || source.contains("<think>")
                || source.contains("/think"),
            after_thought: if source.contains(r"</think>\n\n") {
                "\n\n"
            } else {
                "\n"
            },
        }
    }

    /// The dialect with calls as Python.
    pub fn python(self) -> Dialect {
        Dialect {
            form: CallForm::Python,
            ..self
        }
    }

    /// The variables by which the template is told of tools, which are given as chat APIs have them.
    pub(super) fn variables(&self, tools: &[Json], render: ToolRender) -> Vec<(String, Json)> {
        if tools.is_empty() {
            return Vec::new();
        }
        let shown = |tool: &Json| match render {
            ToolRender::Python => tool.clone(),
            ToolRender::Json => Json::String(compact(tool)),
        };
        if self.form == CallForm::Python && self.python_tools {
            let signatures: Vec<Json> = tools
                .iter()
                .map(|tool| Json::String(signature(bare(tool))))
                .collect();
            return vec![("python_tools".to_owned(), Json::Array(signatures))];
        }
        if self.xml_tools {
            // As the model's makers pass them: without the wrapper that says that they are functions.
            let tools = tools.iter().map(|tool| shown(bare(tool))).collect();
            return vec![("xml_tools".to_owned(), Json::Array(tools))];
        }
        match self.tools {
            true => vec![("tools".to_owned(), Json::Array(tools.to_vec()))],
            false => Vec::new(),
        }
    }

    /// Messages as the template can render them: what it has no words for becomes text.
    pub(super) fn messages(
        &self,
        messages: &[Json],
        tools: &[Json],
        think: Option<bool>,
    ) -> Vec<Json> {
        let mut out: Vec<Json> = messages
            .iter()
            .map(|message| self.message(message, think))
            .collect();
        let python = self.form == CallForm::Python && self.python_tools;
        let told = self.tools || self.xml_tools || python;
        if !tools.is_empty() && !told {
            let block = self.tools_block(tools);
            match out.first_mut().filter(|first| first["role"] == "system") {
                Some(first) => {
                    let text = first["content"].as_str().unwrap_or_default();
                    first["content"] = Json::from(format!("{}\n\n{block}", text.trim_end()));
                }
                None => out.insert(0, json!({"role": "system", "content": block})),
            }
        }
        out
    }

    fn message(&self, message: &Json, think: Option<bool>) -> Json {
        let mut message = message.clone();
        let Some(fields) = message.as_object_mut() else {
            return message;
        };
        if self.text_only && fields.get("content").is_some_and(Json::is_array) {
            let text = joined(&fields["content"]);
            fields.insert("content".to_owned(), Json::from(text));
        }
        match fields.get("role").and_then(Json::as_str) {
            Some("assistant") => self.assistant(fields, think),
            Some("tool") if !self.results => {
                let text = fields
                    .get("content")
                    .and_then(Json::as_str)
                    .unwrap_or_default();
                let text = format!("<tool_response>\n{text}\n</tool_response>");
                fields.insert("role".to_owned(), Json::from("user"));
                fields.insert("content".to_owned(), Json::from(text));
            }
            _ => {}
        }
        message
    }

    fn assistant(&self, fields: &mut Map<String, Json>, think: Option<bool>) {
        let mut text = fields
            .get("content")
            .and_then(Json::as_str)
            .unwrap_or_default()
            .to_owned();
        if think == Some(false) {
            // The template writes an empty thought before it: a second one would be new to the model.
            if let Some((_, answer)) = text.split_once("</think>") {
                text = answer.trim_start().to_owned();
            }
        }
        let calls: Vec<Call> = match fields.get("tool_calls") {
            Some(Json::Array(calls)) if !self.tool_calls => {
                calls.iter().filter_map(Call::from_json).collect()
            }
            _ => Vec::new(),
        };
        if !calls.is_empty() {
            fields.remove("tool_calls");
            for call in calls {
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(&self.form.write(&call));
            }
        }
        fields.insert("content".to_owned(), Json::from(text));
    }

    /// The tools as part of a system message.
    fn tools_block(&self, tools: &[Json]) -> String {
        let lines: String = tools
            .iter()
            .map(|tool| compact(bare(tool)) + "\n")
            .collect();
        let how = match self.form {
            CallForm::Bare => {
                "To call a function, answer with nothing but a JSON object: {\"name\": <function-name>, \"parameters\": <args-json-object>}"
            }
            CallForm::Python => "To call them, write Python between <code> and </code>.",
            CallForm::Tagged => {
                "To call a function, write a JSON object between tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>"
            }
        };
        format!("### Tools\n\nYou may call these functions:\n<tools>\n{lines}</tools>\n\n{how}")
    }
}

/// A tool without the wrapper `{"type": "function", "function": …}`.
fn bare(tool: &Json) -> &Json {
    tool.get("function").unwrap_or(tool)
}

/// The content of a message as text.
pub(super) fn text(content: &Json) -> String {
    match content {
        Json::String(text) => text.clone(),
        parts => joined(parts),
    }
}

/// The text parts of a message's content.
fn joined(content: &Json) -> String {
    let parts = content.as_array().map_or(&[][..], Vec::as_slice);
    let text = |part: &Json| {
        part.get("text")
            .and_then(Json::as_str)
            .or(part.as_str())
            .map(str::to_owned)
    };
    parts.iter().filter_map(text).collect::<Vec<_>>().join("\n")
}

/// Whether a text has a word that is not a part of a longer one.
fn contains_word(text: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(inside) && !text[at + word.len()..].starts_with(inside)
    })
}

/// A value as models are trained to write it: as Python's `json.dumps` does, one space after each colon and comma.
pub(super) fn compact(value: &Json) -> String {
    struct Spaced;
    impl serde_json::ser::Formatter for Spaced {
        fn begin_object_key<W: ?Sized + std::io::Write>(
            &mut self,
            out: &mut W,
            first: bool,
        ) -> std::io::Result<()> {
            out.write_all(if first { b"" } else { b", " })
        }
        fn begin_object_value<W: ?Sized + std::io::Write>(
            &mut self,
            out: &mut W,
        ) -> std::io::Result<()> {
            out.write_all(b": ")
        }
        fn begin_array_value<W: ?Sized + std::io::Write>(
            &mut self,
            out: &mut W,
            first: bool,
        ) -> std::io::Result<()> {
            out.write_all(if first { b"" } else { b", " })
        }
    }
    let mut out = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut out, Spaced);
    // A value that is in memory can be written to memory.
    match serde::Serialize::serialize(value, &mut writer) {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        Err(_) => value.to_string(),
    }
}

/// A value as a Python literal.
fn python(value: &Json) -> String {
    match value {
        Json::Null => "None".to_owned(),
        Json::Bool(true) => "True".to_owned(),
        Json::Bool(false) => "False".to_owned(),
        Json::Array(items) => format!(
            "[{}]",
            items.iter().map(python).collect::<Vec<_>>().join(", ")
        ),
        Json::Object(entries) => {
            let entry = |(key, value): (&String, &Json)| {
                format!("{}: {}", Json::from(key.as_str()), python(value))
            };
            format!(
                "{{{}}}",
                entries.iter().map(entry).collect::<Vec<_>>().join(", ")
            )
        }
        // Strings in JSON are strings in Python, for all that is not beyond U+FFFF escaped, which serde_json does not do.
        other => other.to_string(),
    }
}

/// A tool as the head of a Python function.
fn signature(tool: &Json) -> String {
    let properties = tool["parameters"]["properties"].as_object();
    let required = tool["parameters"]["required"].as_array();
    let needed = |name: &str| required.is_some_and(|r| r.iter().any(|entry| entry == name));
    let mut parameters = Vec::new();
    let mut about = String::new();
    for (name, schema) in properties.into_iter().flatten() {
        let kind = match schema["type"].as_str() {
            Some("string") => "str",
            Some("integer") => "int",
            Some("number") => "float",
            Some("boolean") => "bool",
            Some("array") => "list",
            Some("object") => "dict",
            _ => "Any",
        };
        parameters.push((
            !needed(name),
            format!(
                "{name}: {kind}{}",
                if needed(name) { "" } else { " = None" }
            ),
        ));
        if let Some(text) = schema["description"].as_str() {
            about.push_str(&format!("\n        {name}: {text}"));
        }
    }
    // Python wants those with a default last.
    parameters.sort_by_key(|(optional, _)| *optional);
    let parameters: Vec<String> = parameters.into_iter().map(|(_, text)| text).collect();
    let name = tool["name"].as_str().unwrap_or_default();
    let description = tool["description"].as_str().unwrap_or_default();
    let about = if about.is_empty() {
        about
    } else {
        format!("\n\n    Args:{about}")
    };
    format!(
        "def {name}({}) -> str:\n    \"\"\"{description}{about}\"\"\"",
        parameters.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool() -> Json {
        json!({"type": "function", "function": {"name": "f", "description": "Does it.", "parameters": {
            "type": "object", "properties": {"b": {"type": "integer"}, "a": {"type": "string", "description": "who"}}, "required": ["a"]}}})
    }

    #[test]
    fn words_are_not_parts_of_words() {
        assert!(contains_word("{% if tools %}", "tools"));
        assert!(!contains_word("xml_tools or python_tools", "tools"));
    }

    #[test]
    fn each_template_is_told_of_tools_in_its_own_way() {
        let smollm3 =
            Dialect::of("{% if xml_tools or python_tools or tools %}{{ enable_thinking }}");
        assert_eq!(
            smollm3.variables(&[tool()], ToolRender::Python),
            [("xml_tools".to_owned(), json!([tool()["function"]]))]
        );
        let shown = smollm3.variables(&[tool()], ToolRender::Json);
        assert_eq!(shown[0].1[0], json!(compact(&tool()["function"])));
        let shown = smollm3.python().variables(&[tool()], ToolRender::Python);
        let expected = "def f(a: str, b: int = None) -> str:\n    \"\"\"Does it.\n\n    Args:\n        a: who\"\"\"";
        assert_eq!(shown, [("python_tools".to_owned(), json!([expected]))]);
        let qwen = Dialect::of("{%- if tools %}<tool_call>{{ message.tool_calls }}'tool'");
        assert_eq!(
            qwen.variables(&[tool()], ToolRender::Python),
            [("tools".to_owned(), json!([tool()]))]
        );
        assert_eq!(qwen.form, CallForm::Tagged);
        let llama = Dialect::of("{% if tools %}{\"parameters\": }{{ message.tool_calls }} ipython");
        assert_eq!(llama.form, CallForm::Bare);
    }

    #[test]
    fn what_a_template_cannot_say_becomes_text() {
        let plain = Dialect::of("{% for m in messages %}{{ m.content }}{% endfor %}");
        let messages = [
            json!({"role": "system", "content": "Be kind."}),
            json!({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}),
            json!({"role": "assistant", "content": null, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]}),
            json!({"role": "tool", "content": "7"}),
        ];
        let out = plain.messages(&messages, &[tool()], None);
        let text = |i: usize| out[i]["content"].as_str().unwrap().to_owned();
        assert!(
            text(0).starts_with("Be kind.\n\n### Tools\n\n")
                && text(0).contains("{\"name\": \"f\", \"description\""),
            "{}",
            text(0)
        );
        assert_eq!(text(1), "a\nb");
        assert_eq!(
            text(2),
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>"
        );
        assert_eq!(
            (text(3), &out[3]["role"]),
            (
                "<tool_response>\n7\n</tool_response>".to_owned(),
                &json!("user")
            )
        );
        assert_eq!(
            plain.messages(&messages[1..2], &[tool()], None)[0]["role"],
            "system"
        );
        // A template that renders calls gets them as they are.
        let able = Dialect::of("tools <tool_call> tool_calls 'tool'");
        assert_eq!(
            able.messages(&messages[2..3], &[], None)[0]["tool_calls"],
            messages[2]["tool_calls"]
        );
    }

    #[test]
    fn thoughts_leave_the_history_where_there_is_no_thinking() {
        let dialect = Dialect::of("enable_thinking");
        let messages = [json!({"role": "assistant", "content": "<think>\nx\n</think>\nyes"})];
        assert_eq!(
            dialect.messages(&messages, &[], Some(false))[0]["content"],
            "yes"
        );
        assert_eq!(
            dialect.messages(&messages, &[], None)[0]["content"],
            messages[0]["content"]
        );
    }
}
