//! Conversations: what a model reads of them, and what of its reply is thought and what is answer.
//!
//! [`Template`] turns messages into text as the model's file says; [`Chat`] keeps a conversation and renders its next turn;
//! [`ReplyParser`] splits a reply while it streams. None of them knows a terminal or a network.

mod python;
mod reply;
mod template;

pub use reply::{ReplyEvent, ReplyParser};
pub use template::{Prompt, Template};

use crate::error::Result;
use crate::tokenizer::Tokenizer;
use jiff::civil::DateTime;
use serde_json::{Value as Json, json};

/// A conversation with one model.
#[derive(Clone, Debug)]
pub struct Chat {
    template: Template,
    bos: String,
    eos: String,
    now: DateTime,
    /// Whether the model is to think; `None` leaves it to the template.
    pub think: Option<bool>,
    /// The tools on offer, as chat APIs have them.
    pub tools: Vec<Json>,
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
            template,
            bos: text(tokenizer.bos()),
            eos: text(tokenizer.eos()),
            now,
            think: None,
            tools: Vec::new(),
            messages: Vec::new(),
        }
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

    /// Takes the last message back.
    pub fn pop(&mut self) -> Option<Json> {
        self.messages.pop()
    }

    /// The text up to where the model's answer begins.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn prompt(&self) -> Result<String> {
        self.template.render(&Prompt {
            messages: &self.messages,
            tools: &self.tools,
            think: self.think,
            generate: true,
            bos: &self.bos,
            eos: &self.eos,
            now: self.now,
            variables: Vec::new(),
        })
    }
}
