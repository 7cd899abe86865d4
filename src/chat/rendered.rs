//! What a model is to read, and its ids: what a session holds of it stays as it is, and text from outside stays text.
//!
//! A model does not always cut its own reply into tokens as the tokenizer would. The next prompt repeats the reply as text; encoded anew,
//! its ids could differ from the ones held, and everything after them would be read again. So the held tokens are followed along the text
//! as far as they say the same, and only the rest is encoded, from a place where the tokenizer would begin anew in any case.
//!
//! The names of control tokens in a template end turns and begin others; the same names in a question, or on a page that a tool has read, must
//! not. A template cannot tell them apart, since it makes one text of all. So before it runs, each such name in text from outside gets a mark
//! before it, a character that no text has; afterwards the marks are taken out, and their places remembered.

use crate::error::Result;
use crate::tokenizer::{TokenKind, Tokenizer};
use serde_json::Value as Json;

/// What stands before the name of a control token that is text. Unicode has it for such purposes and for no text.
pub(super) const MARK: char = '\u{fdd0}';

/// The text that a model is to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// The bytes of the text where the name of a control token begins that is text; ascending.
    literal: Vec<usize>,
}

impl Rendered {
    /// What a template made of marked messages.
    pub fn unmark(marked: &str) -> Rendered {
        let mut text = String::with_capacity(marked.len());
        let mut literal = Vec::new();
        for (i, part) in marked.split(MARK).enumerate() {
            if i > 0 {
                literal.push(text.len());
            }
            text.push_str(part);
        }
        Rendered { text, literal }
    }

    /// The ids of the text.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
        self.encode_after(tokenizer, &[])
    }

    /// The ids of the text, which begin with those of `held` as far as both say the same.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_after(&self, tokenizer: &Tokenizer, held: &[u32]) -> Result<Vec<u32>> {
        let text = &self.text;
        let is_literal = |at: usize| self.literal.binary_search(&at).is_ok();
        let mut places = vec![0];
        let mut at = 0;
        for &id in held {
            let piece = tokenizer.piece(id);
            let unlike = piece.is_empty() || !text.as_bytes()[at..].starts_with(piece);
            if unlike || (tokenizer.is_control(id) && is_literal(at)) {
                break;
            }
            at += piece.len();
            places.push(at);
        }
        // Nothing is merged across a special token, so the text may be cut beside one.
        let special = |id: u32| {
            matches!(
                tokenizer.kind(id),
                Some(TokenKind::Control | TokenKind::UserDefined)
            )
        };
        let cut = (1..places.len()).rev().find(|&n| {
            let at = places[n];
            text.is_char_boundary(at)
                && (special(held[n - 1])
                    || at == text.len()
                    || (tokenizer.begins_special(&text[at..]) && !is_literal(at)))
        });
        let n = cut.unwrap_or(0);
        let begin = places[n];
        let literal: Vec<usize> = self
            .literal
            .iter()
            .filter_map(|at| at.checked_sub(begin))
            .collect();
        let mut ids = held[..n].to_vec();
        ids.extend(tokenizer.encode_prompt(&text[begin..], &literal)?);
        Ok(ids)
    }
}

/// Messages whose text from outside is marked: what users say and what tools answer. What the model itself has said, and who it is to be, is
/// read as it stands.
pub fn mark_messages(tokenizer: &Tokenizer, messages: &[Json]) -> Vec<Json> {
    let mut messages = messages.to_vec();
    for message in &mut messages {
        if !matches!(message["role"].as_str(), Some("assistant" | "system")) {
            mark(tokenizer, message);
        }
    }
    messages
}

/// Descriptions of tools, which may be anybody's, marked.
pub fn mark_tools(tokenizer: &Tokenizer, tools: &[Json]) -> Vec<Json> {
    let mut tools = tools.to_vec();
    tools.iter_mut().for_each(|tool| mark(tokenizer, tool));
    tools
}

fn mark(tokenizer: &Tokenizer, value: &mut Json) {
    match value {
        Json::String(text) => mark_text(tokenizer, text),
        Json::Array(items) => items.iter_mut().for_each(|item| mark(tokenizer, item)),
        // Names of parameters are a stranger's too.
        Json::Object(entries) => {
            *entries = std::mem::take(entries)
                .into_iter()
                .map(|(mut name, mut entry)| {
                    mark_text(tokenizer, &mut name);
                    mark(tokenizer, &mut entry);
                    (name, entry)
                })
                .collect();
        }
        _ => {}
    }
}

fn mark_text(tokenizer: &Tokenizer, text: &mut String) {
    if text.contains(MARK) {
        *text = text.replace(MARK, "\u{fffd}");
    }
    // From the end, so that the places stay right.
    for at in tokenizer.control_names(text).into_iter().rev() {
        text.insert(at, MARK);
    }
}
