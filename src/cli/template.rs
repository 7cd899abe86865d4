//! `smolq template`: the text that a model would read of a conversation.

use super::args::TemplateArgs;
use super::chat::{Think, named_template};
use super::{load, print};
use crate::chat::{Prompt, Rendered, Template, mark_messages, mark_tools};
use crate::embedded;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use serde_json::Value as Json;
use std::path::Path;

pub(super) fn run(args: &TemplateArgs) -> Result<()> {
    let gguf = match &args.model {
        None => None,
        Some(path) => Some(embedded::open(path, &args.read.open())?),
    };
    let template = match (&args.template, &gguf) {
        (Some(name), _) => named_template(name)?,
        (None, Some(gguf)) => {
            let found = Template::from_metadata(gguf.metadata())?;
            found.ok_or_else(|| {
                let why = "the file has none; --template gives one";
                Error::Template(why.to_owned())
            })?
        }
        (None, None) => {
            return Err(Error::Request {
                field: "--template",
                why: "is needed where there is no model".to_owned(),
            });
        }
    };
    // The vocabulary is wanted for the texts of its special tokens, and for ids.
    let tokenizer = match &gguf {
        None => None,
        Some(gguf) => Some(Tokenizer::from_metadata(gguf.metadata(), false)?),
    };
    let special = |given: &Option<String>, id: fn(&Tokenizer) -> Option<u32>| {
        given.clone().unwrap_or_else(|| {
            let piece = tokenizer.as_ref().and_then(|t| Some(t.piece(id(t)?)));
            String::from_utf8_lossy(piece.unwrap_or_default()).into_owned()
        })
    };
    let file = json(&args.messages)?;
    let messages = list("--messages", &file, "messages")?;
    let tools = match &args.tools {
        Some(path) => list("--tools", &json(path)?, "tools")?,
        // A request as chat APIs have it brings its tools along.
        None if file.get("tools").is_some() => list("--messages", &file["tools"], "tools")?,
        None => Vec::new(),
    };
    let now = match args.date {
        Some(date) => date.at(0, 0, 0, 0),
        None => jiff::ZonedDateTime::now().datetime(),
    };
    let (messages, tools) = match &tokenizer {
        Some(tokenizer) => (
            mark_messages(tokenizer, &messages),
            mark_tools(tokenizer, &tools),
        ),
        None => (messages, tools),
    };
    let marked = template.render(&Prompt {
        messages: &messages,
        tools: &tools,
        think: args.think.and_then(Think::switch),
        generate: !args.no_generation_prompt,
        bos: &special(&args.bos, Tokenizer::bos),
        eos: &special(&args.eos, Tokenizer::eos),
        now,
        variables: args.kwargs.clone().unwrap_or_default(),
    })?;
    let Some(tokenizer) = tokenizer else {
        return match args.ids {
            false => print(marked.as_bytes()),
            true => Err(Error::Request {
                field: "--ids",
                why: "a model is needed, which has the vocabulary".to_owned(),
            }),
        };
    };
    let rendered = Rendered::unmark(&marked);
    if !args.ids {
        return print(rendered.text.as_bytes());
    }
    let ids = Json::from(rendered.encode(&tokenizer)?);
    print(format!("{ids}\n").as_bytes())
}

/// A file of JSON.
fn json(path: &Path) -> Result<Json> {
    serde_json::from_str(&load::text(path)?).map_err(|error| Error::Request {
        field: "JSON",
        why: format!("{}: {error}", path.display()),
    })
}

/// An array, by itself or under its name.
fn list(field: &'static str, json: &Json, name: &str) -> Result<Vec<Json>> {
    let found = json.get(name).unwrap_or(json);
    found.as_array().cloned().ok_or_else(|| Error::Request {
        field,
        why: format!("is no JSON array, nor an object with one under {name:?}"),
    })
}
