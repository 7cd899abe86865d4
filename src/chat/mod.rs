//! Conversations: what a model reads of them, and what of its reply is thought, answer, and call of a tool.
//!
//! [`Template`] turns messages into text as the model's file says, [`Dialect`] knows what it cannot say; [`Chat`] keeps a conversation
//! and renders its next turn; [`ReplyGuide`] holds a reply to what was asked for, and [`ReplyParser`] splits it while it streams. None
//! of them knows a terminal or a network.

mod call;
mod constants;
mod dialect;
mod guide;
mod python;
mod rendered;
mod reply;
mod sandbox;
mod template;
mod weight;

pub use call::Call;
pub use dialect::{CallForm, Dialect, ToolRender};
pub use guide::{ReplyGuide, ReplyRules, ThinkBudget, ToolChoice};
pub use rendered::{Rendered, mark_messages, mark_tools};
pub use reply::{ReplyEvent, ReplyParser};
pub use template::{Prompt, Template};

use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use jiff::civil::DateTime;
use serde_json::{Value as Json, json};

/// A conversation with one model.
#[derive(Clone, Debug)]
pub struct Chat {
    template: Template,
    tokenizer: Tokenizer,
    dialect: Dialect,
    bos: String,
    eos: String,
    now: DateTime,
    /// Whether the model is to think; `None` leaves it to the template.
    pub think: Option<bool>,
    /// The tools on offer, as chat APIs have them.
    pub tools: Vec<Json>,
    /// How tools are shown where the template leaves it open.
    pub tool_render: ToolRender,
    /// More variables of the template, by name.
    pub variables: Vec<(String, Json)>,
    messages: Vec<Json>,
}

impl Chat {
    /// A conversation that has not begun. `now` is the time that the template may tell; it stays the same, so that the beginning of
    /// the prompt does, and with it what a session holds of it.
    pub fn new(template: Template, tokenizer: &Tokenizer, now: DateTime) -> Chat {
        let text = |id: Option<u32>| {
            let piece = id.map_or(&[][..], |id| tokenizer.piece(id));
            String::from_utf8_lossy(piece).into_owned()
        };
        Chat {
            dialect: Dialect::of(template.source()),
            template,
            tokenizer: tokenizer.clone(),
            bos: text(tokenizer.bos()),
            eos: text(tokenizer.eos()),
            now,
            think: None,
            tools: Vec::new(),
            tool_render: ToolRender::default(),
            variables: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// The template.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// How the model is told of tools and calls them.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Lets the model call tools in Python, if it can.
    pub fn call_in_python(&mut self) {
        self.dialect = self.dialect.python();
    }

    /// The messages so far.
    pub fn messages(&self) -> &[Json] {
        &self.messages
    }

    /// Adds a message.
    pub fn push(&mut self, role: &str, content: &str) {
        self.messages
            .push(json!({"role": role, "content": content}));
    }

    /// Adds a message as chat APIs have it.
    pub fn push_message(&mut self, message: Json) {
        self.messages.push(message);
    }

    /// Forgets all but the first `n` messages.
    pub fn truncate(&mut self, n: usize) {
        self.messages.truncate(n);
    }

    /// The system message, if the conversation begins with one.
    pub fn system(&self) -> Option<&str> {
        let first = self
            .messages
            .first()
            .filter(|first| first["role"] == "system");
        first.and_then(|first| first["content"].as_str())
    }

    /// Sets the system message; an empty one is none.
    pub fn set_system(&mut self, text: &str) {
        if self.system().is_some() {
            self.messages.remove(0);
        }
        if !text.is_empty() {
            self.messages
                .insert(0, json!({"role": "system", "content": text}));
        }
    }

    /// Forgets all but the system message.
    pub fn clear(&mut self) {
        let kept = usize::from(self.system().is_some());
        self.messages.truncate(kept);
    }

    /// Adds a reply as it came. If it was cut off while the model was `thinking`, the thought is closed: without its tag, templates would
    /// take it for the answer.
    pub fn push_reply(&mut self, text: &str, thinking: bool) {
        let mut text = text.to_owned();
        if thinking {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(reply::CLOSE);
            text.push_str(self.dialect.after_thought);
        }
        self.push("assistant", &text);
    }

    fn last_question(&self) -> Option<usize> {
        let mut messages = self.messages.iter();
        messages.rposition(|message| message["role"] == "user")
    }

    /// Takes the last question back, and all that followed it. Gives the question.
    pub fn undo(&mut self) -> Option<String> {
        let last = self.last_question()?;
        let taken = self.messages.split_off(last);
        Some(dialect::text(&taken[0]["content"]))
    }

    /// Takes back all that followed the last question. Gives it, for [`Chat::push_message`]; `None` if there is no question.
    pub fn take_answer(&mut self) -> Option<Vec<Json>> {
        let last = self.last_question()?;
        Some(self.messages.split_off(last + 1))
    }

    /// The conversation as JSON: messages, and whether the model thinks.
    pub fn to_json(&self) -> Json {
        json!({"messages": self.messages, "think": self.think, "now": self.now.to_string()})
    }

    /// Goes on with a conversation that [`Chat::to_json`] wrote; or with messages as chat APIs have them, by themselves or under
    /// `messages`.
    ///
    /// # Errors
    /// If it is none; this conversation is then as it was.
    pub fn restore(&mut self, json: &Json) -> Result<()> {
        let wrong = |why: &str| Error::Request {
            field: "conversation",
            why: why.to_owned(),
        };
        let messages = json.get("messages").unwrap_or(json);
        let messages = messages
            .as_array()
            .ok_or_else(|| wrong("has no list of messages"))?;
        for message in messages {
            if !message["role"].is_string() {
                return Err(wrong("a message has no role"));
            }
        }
        // The date stands in the prompt: with another one, nothing that a session holds would fit.
        if let Some(now) = json.get("now").and_then(Json::as_str) {
            self.now = now.parse().map_err(|_| wrong("its time cannot be read"))?;
        }
        if let Some(think) = json.get("think") {
            self.think = think.as_bool();
        }
        self.messages = messages.clone();
        Ok(())
    }

    /// The text up to where the model's answer begins.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn prompt(&self) -> Result<Rendered> {
        let prompt = self.render(self.think)?;
        // The template may have learnt from the system message that there is to be no thinking.
        let unthinking =
            self.think != Some(false) && prompt.text.trim_end().ends_with(reply::CLOSE);
        if unthinking {
            self.render(Some(false))
        } else {
            Ok(prompt)
        }
    }

    /// Renders the conversation; `think` says what becomes of the thoughts in it.
    fn render(&self, think: Option<bool>) -> Result<Rendered> {
        let messages = mark_messages(&self.tokenizer, &self.messages);
        let tools = mark_tools(&self.tokenizer, &self.tools);
        let mut variables = self.dialect.variables(&tools, self.tool_render);
        // What is said by hand is said last.
        variables.extend(self.variables.iter().cloned());
        let text = self.template.render(&Prompt {
            messages: &self.dialect.messages(&messages, &tools, think),
            tools: &[],
            think: self.think,
            generate: true,
            bos: &self.bos,
            eos: &self.eos,
            now: self.now,
            variables,
        })?;
        Ok(Rendered::unmark(&text))
    }

    /// The parser of the reply to `prompt`.
    pub fn parser(&self, prompt: &str) -> ReplyParser {
        ReplyParser::new(prompt).with_tools(self.dialect.form, &self.tools)
    }
}
