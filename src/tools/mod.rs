//! What a model may call: tools built in, commands that a file describes, and the tools of MCP servers.
//!
//! A [`Toolbox`] holds them by name and runs what a model asks for. A call that fails is a text for the model, which may try again; only what
//! a person set up wrongly is an [`Error`]. Nothing here asks for permission: [`Declaration::harmless`] and [`Tool::preview`] are for those
//! who do.

mod builtin;
mod calculator;
mod command;
mod folder;
#[cfg(feature = "mcp")]
mod mcp;
mod process;
mod schema;

pub(crate) use process::kill_all;

use crate::error::{Error, Result};
use serde_json::{Map, Value as Json, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Something that a model may call.
pub trait Tool: Send {
    /// What is known of it before it is called.
    fn declaration(&self) -> &Declaration;
    /// What a call would do, in one line for a person who is asked: `shell: ls -l`.
    fn preview(&self, arguments: &Map<String, Json>) -> String {
        let shown: Vec<_> = arguments
            .iter()
            .map(|(name, value)| format!("{}: {}", one_line(name), brief(value)))
            .collect();
        format!("{}({})", self.declaration().name, shown.join(", "))
    }
    /// Runs it. Failures are texts for the model, not errors of the program. `cancel` ends it early.
    fn call(&mut self, arguments: &Map<String, Json>, cancel: &AtomicBool) -> ToolResult;
}

/// What is known of a tool before it is called.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// What the model calls it.
    pub name: String,
    /// What it is for, in a sentence for the model.
    pub description: String,
    /// JSON schema of the arguments (type object).
    pub parameters: Json,
    /// Whether a call changes nothing and reveals nothing beyond what the user named, so that asking first would only be a nuisance.
    pub harmless: bool,
}

impl Declaration {
    fn new(name: &str, description: &str, parameters: Json, harmless: bool) -> Declaration {
        Declaration {
            name: name.to_owned(),
            description: description.to_owned(),
            parameters,
            harmless,
        }
    }

    /// As chat APIs have it.
    fn to_json(&self) -> Json {
        json!({"type": "function", "function": {
            "name": self.name, "description": self.description, "parameters": self.parameters,
        }})
    }
}

/// What a call gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult {
    /// What the model reads.
    pub text: String,
    /// Whether the text tells of a failure.
    pub failed: bool,
}

impl ToolResult {
    /// A result.
    pub fn done(text: impl Into<String>) -> ToolResult {
        ToolResult {
            text: text.into(),
            failed: false,
        }
    }

    /// A failure.
    pub fn failed(text: impl Into<String>) -> ToolResult {
        ToolResult {
            text: text.into(),
            failed: true,
        }
    }
}

/// The tools on offer, by name.
#[derive(Default)]
pub struct Toolbox {
    // A few dozen at most; the model sees them in the order they were added.
    tools: Vec<Box<dyn Tool>>,
}

impl std::fmt::Debug for Toolbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// The longest name of a tool.
const MAX_NAME: usize = 64;

impl Toolbox {
    /// An empty one.
    pub fn new() -> Toolbox {
        Toolbox::default()
    }

    /// Adds a tool.
    ///
    /// # Errors
    /// If its name is taken, or not 1 to 64 letters, digits, `_`, `-` and `.`, as chat APIs want it.
    pub fn add(&mut self, tool: Box<dyn Tool>) -> Result<()> {
        let name = tool.declaration().name.as_str();
        if !sound_name(name) {
            return Err(mistake(format!(
                "a tool is called \"{}\": names are 1 to {MAX_NAME} letters, digits, \"_\", \"-\" and \".\"",
                one_line(name)
            )));
        }
        if self.get(name).is_some() {
            return Err(mistake(format!(
                "two tools are called \"{name}\": rename or leave out one of them"
            )));
        }
        self.tools.push(tool);
        Ok(())
    }

    /// Whether nothing is on offer.
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// The tools' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|tool| tool.declaration().name.as_str())
    }

    /// The tool of a name.
    pub fn get(&self, name: &str) -> Option<&dyn Tool> {
        self.iter().find(|tool| tool.declaration().name == name)
    }

    /// The tools, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Tool> {
        self.tools.iter().map(AsRef::as_ref)
    }

    /// The tools as chat APIs have them.
    pub fn declarations(&self) -> Vec<Json> {
        self.iter()
            .map(|tool| tool.declaration().to_json())
            .collect()
    }

    /// The arguments of a call as its tool would get them: those for [`Tool::preview`]. An object, or a text that holds one as chat
    /// APIs have it; optional ones that are `null` are left out.
    ///
    /// # Errors
    /// A sentence for the model, if there is no such tool or the arguments do not fit its schema.
    pub fn arguments(
        &self,
        name: &str,
        arguments: &Json,
    ) -> std::result::Result<Map<String, Json>, String> {
        let Some(tool) = self.get(name) else {
            let names: Vec<_> = self.names().collect();
            return Err(format!(
                "There is no tool \"{}\". The tools are: {}.",
                one_line(name),
                names.join(", ")
            ));
        };
        schema::fit(&tool.declaration().parameters, arguments)
            .map_err(|why| format!("The arguments of {name} do not fit: {why}."))
    }

    /// Runs a call. An unknown name and arguments that do not fit are failures too, told to the model in a sentence.
    pub fn call(&mut self, name: &str, arguments: &Json, cancel: &AtomicBool) -> ToolResult {
        let arguments = match self.arguments(name, arguments) {
            Ok(arguments) => arguments,
            Err(why) => return ToolResult::failed(why),
        };
        if cancel.load(Ordering::Relaxed) {
            return ToolResult::failed(format!("{name} was cancelled."));
        }
        match self
            .tools
            .iter_mut()
            .find(|tool| tool.declaration().name == name)
        {
            Some(tool) => tool.call(&arguments, cancel),
            None => ToolResult::failed(format!("There is no tool \"{name}\".")),
        }
    }

    /// The tools that values of `--tools` name, each of them `builtin` (those of this program that need no permission), the name of one tool of
    /// this program, or a file of commands and MCP servers. `folder` is what the built-in tools for files may read; without one they are
    /// not on offer. `shell` is on offer only where it is named.
    ///
    /// # Errors
    /// If a file cannot be read or is not sound, a server does not start, or two tools have one name. Tools of MCP servers whose names are
    /// taken get their server's in front instead.
    pub fn from_spec<S: AsRef<str>>(specs: &[S], folder: Option<&Path>) -> Result<Toolbox> {
        let mut toolbox = Toolbox::new();
        let mut servers = Vec::new();
        for spec in specs.iter().map(AsRef::as_ref) {
            if let Some(tools) = builtin::by_name(spec, folder)? {
                for tool in tools {
                    toolbox.add(tool)?;
                }
                continue;
            }
            let file = command::read(Path::new(spec))?;
            for tool in file.tools {
                toolbox.add(Box::new(tool))?;
            }
            servers.extend(file.servers);
        }
        add_servers(&mut toolbox, servers)?;
        Ok(toolbox)
    }
}

#[cfg(feature = "mcp")]
fn add_servers(toolbox: &mut Toolbox, servers: Vec<command::Server>) -> Result<()> {
    for mut tool in mcp::start(servers)? {
        if toolbox.get(&tool.declaration().name).is_some() {
            tool.prefix();
        }
        toolbox.add(Box::new(tool))?;
    }
    Ok(())
}

#[cfg(not(feature = "mcp"))]
fn add_servers(_: &mut Toolbox, servers: Vec<command::Server>) -> Result<()> {
    match servers.first() {
        None => Ok(()),
        Some(server) => Err(mistake(format!(
            "{}: this build knows no MCP servers (\"{}\"): build with --features mcp",
            server.file.display(),
            server.name
        ))),
    }
}

/// An error of what a person set up.
fn mistake(why: impl Into<String>) -> Error {
    Error::Request {
        field: "--tools",
        why: why.into(),
    }
}

fn sound_name(name: &str) -> bool {
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=MAX_NAME).contains(&name.len()) && name.chars().all(sound)
}

/// A text on one line that shows all there is: what a terminal would obey, or not show, is written as an escape.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        // Marks that reorder or hide text can make a command look like another one.
        let hidden = matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
        if c.is_control() || hidden {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// The beginning of a value, on one line.
fn brief(value: &Json) -> String {
    const MOST: usize = 200;
    let text = match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let line = one_line(&text);
    match line.char_indices().nth(MOST) {
        None => line,
        Some((at, _)) => format!("{}... ({} characters)", &line[..at], text.chars().count()),
    }
}

/// A text argument that the schema asks for.
fn text<'a>(arguments: &'a Map<String, Json>, name: &str) -> Option<&'a str> {
    arguments.get(name).and_then(Json::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_shows_what_it_hides() {
        assert_eq!(
            one_line("ls\nrm \u{1b}[2K\u{202e}x é"),
            "ls\\nrm \\u{1b}[2K\\u{202e}x é"
        );
        let long = brief(&Json::from("a".repeat(300)));
        assert!(
            long.ends_with("... (300 characters)") && long.len() < 240,
            "{long}"
        );
    }
}
