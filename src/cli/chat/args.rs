//! The flags of a chat.

use crate::chat::{ThinkBudget, ToolChoice, ToolRender};
use clap::Args;
use serde_json::Value as Json;
use std::path::PathBuf;

/// Whether the model is to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Think {
    On,
    Off,
    /// As the template says.
    Auto,
}

impl Think {
    pub(crate) fn switch(self) -> Option<bool> {
        match self {
            Think::On => Some(true),
            Think::Off => Some(false),
            Think::Auto => None,
        }
    }
}

impl std::str::FromStr for Think {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Think, Self::Err> {
        match text {
            "on" | "true" => Ok(Think::On),
            "off" | "false" => Ok(Think::Off),
            "auto" => Ok(Think::Auto),
            _ => Err("on, off or auto"),
        }
    }
}

/// What becomes of thoughts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thoughts {
    /// On stderr, as they are, wherever it goes.
    Show,
    /// On a person's terminal, dimmed.
    Dim,
    Hide,
}

impl std::str::FromStr for Thoughts {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Thoughts, Self::Err> {
        match text {
            "show" => Ok(Thoughts::Show),
            "dim" => Ok(Thoughts::Dim),
            "hide" => Ok(Thoughts::Hide),
            _ => Err("show, dim or hide"),
        }
    }
}

/// Variables of a template, by name.
pub(crate) type Variables = Vec<(String, Json)>;

/// Reads a JSON object.
pub(crate) fn variables(text: &str) -> Result<Variables, String> {
    match serde_json::from_str(text) {
        Ok(Json::Object(entries)) => Ok(entries.into_iter().collect()),
        Ok(_) => Err("it is no JSON object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The flags of those that are given.
fn named<const N: usize>(flags: [(bool, &'static str); N]) -> impl Iterator<Item = &'static str> {
    let given = flags.into_iter().filter(|(given, _)| *given);
    given.map(|(_, flag)| flag)
}

/// What a chat is like.
#[derive(Debug, Args)]
#[command(next_help_heading = "Chat")]
pub(crate) struct ChatArgs {
    /// What a chat begins with: who the model is to be [-sys]
    #[arg(long, env = "SMOLQ_SYSTEM_PROMPT", value_name = "TEXT")]
    pub(crate) system_prompt: Option<String>,
    /// A file with it [-sysf]
    #[arg(
        long,
        env = "SMOLQ_SYSTEM_PROMPT_FILE",
        value_name = "FILE",
        conflicts_with = "system_prompt"
    )]
    pub(crate) system_prompt_file: Option<PathBuf>,
    /// Whether the model is to think before it answers, if it can; auto is as its chat template says [-rea]
    #[arg(
        long,
        alias = "reasoning",
        env = "SMOLQ_THINK",
        value_name = "on|off|auto"
    )]
    pub(crate) think: Option<Think>,
    /// How long it may think: a number of tokens, or a time (30s, 2m); then it has to answer
    #[arg(
        long,
        alias = "reasoning-budget",
        env = "SMOLQ_THINK_BUDGET",
        value_name = "N|TIME",
        allow_negative_numbers = true
    )]
    pub(crate) think_budget: Option<ThinkBudget>,
    /// What becomes of thoughts: show (on stderr), dim (on a terminal only), hide [default: dim]
    #[arg(long, env = "SMOLQ_THOUGHTS", value_name = "MODE")]
    pub(crate) thoughts: Option<Thoughts>,
    /// The same as --thoughts hide
    #[arg(long, alias = "hidethinking", conflicts_with = "thoughts")]
    pub(crate) hide_thinking: bool,
    /// A chat template in place of the model's: a file, or chatml, llama3 or smollm3
    #[arg(
        long,
        alias = "chat-template-file",
        env = "SMOLQ_CHAT_TEMPLATE",
        value_name = "FILE|NAME"
    )]
    pub(crate) chat_template: Option<String>,
    /// More variables of the template, as a JSON object
    #[arg(long, env = "SMOLQ_CHAT_TEMPLATE_KWARGS", value_name = "JSON", value_parser = variables)]
    pub(crate) chat_template_kwargs: Option<Variables>,
    /// The date that the template may tell; by default today's
    #[arg(long, env = "SMOLQ_DATE", value_name = "YYYY-MM-DD")]
    pub(crate) date: Option<jiff::civil::Date>,
    /// Keep the conversation in this file: text and what the model has read of it
    #[arg(long, env = "SMOLQ_SESSION", value_name = "FILE")]
    pub(crate) session: Option<PathBuf>,
    /// Print what happens as JSON, one event a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Do not break lines between words
    #[arg(long, alias = "nowordwrap", env = "SMOLQ_NO_WORD_WRAP", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub(crate) no_word_wrap: bool,
}

impl ChatArgs {
    /// The flags that only a chat knows, as far as they are given.
    pub(crate) fn given(&self) -> impl Iterator<Item = &'static str> {
        named([
            (
                self.system_prompt.is_some() || self.system_prompt_file.is_some(),
                "-sys/--system-prompt",
            ),
            (self.think.is_some(), "--think"),
            (self.think_budget.is_some(), "--think-budget"),
            (
                self.chat_template_kwargs.is_some(),
                "--chat-template-kwargs",
            ),
            (self.session.is_some(), "--session"),
            (self.json, "--json"),
        ])
    }
}

/// What the model may call.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tools")]
pub(crate) struct ToolArgs {
    /// Tools that the model may call: builtin, a built-in one by name (get_time, calculator, list_files, read_file, shell), or a JSON file of commands and MCP servers; may be given several times
    #[arg(long, env = "SMOLQ_TOOLS", value_name = "builtin|NAME|FILE.json")]
    pub(crate) tools: Vec<String>,
    /// The folder whose files the built-in tools may list and read
    #[arg(long, env = "SMOLQ_TOOLS_DIR", value_name = "DIR")]
    pub(crate) tools_dir: Option<PathBuf>,
    /// Run calls without asking
    #[arg(short = 'y', long)]
    pub(crate) yes: bool,
    /// Whether the model has to call one: auto, none, required, or a tool's name
    #[arg(
        long,
        env = "SMOLQ_TOOL_CHOICE",
        value_name = "CHOICE",
        default_value = "auto"
    )]
    pub(crate) tool_choice: ToolChoice,
    /// One call a reply at most
    #[arg(long)]
    pub(crate) no_parallel_tool_calls: bool,
    /// Replies in one turn at most, while tools are called
    #[arg(long, env = "SMOLQ_MAX_STEPS", value_name = "N", default_value_t = 10)]
    pub(crate) max_steps: usize,
    /// Let the model call tools in Python, if its chat template knows python_tools (SmolLM3)
    #[arg(long)]
    pub(crate) python_tools: bool,
    /// How SmolLM3's template shows tools: python (as transformers does) or json
    #[arg(
        long,
        env = "SMOLQ_TOOL_RENDER",
        value_name = "HOW",
        default_value = "python"
    )]
    pub(crate) tool_render: ToolRender,
}

impl ToolArgs {
    /// The flags that only a chat knows, as far as they are given.
    pub(crate) fn given(&self) -> impl Iterator<Item = &'static str> {
        named([
            (!self.tools.is_empty(), "--tools"),
            (self.tools_dir.is_some(), "--tools-dir"),
            (self.tool_choice != ToolChoice::Auto, "--tool-choice"),
        ])
    }
}

/// What the answer must be.
#[derive(Debug, Args)]
#[command(next_help_heading = "Structured output (after the thought)")]
#[group(multiple = false)]
pub(crate) struct GrammarArgs {
    /// json for any JSON object, or a JSON schema
    #[arg(long, env = "SMOLQ_FORMAT", value_name = "json|SCHEMA")]
    pub(crate) format: Option<String>,
    /// A JSON schema
    #[arg(short, long, value_name = "SCHEMA")]
    pub(crate) json_schema: Option<String>,
    /// A file with a JSON schema [-jf]
    #[arg(long, value_name = "FILE")]
    pub(crate) json_schema_file: Option<PathBuf>,
    /// A regular expression that the whole answer matches
    #[arg(long, value_name = "PATTERN")]
    pub(crate) regex: Option<String>,
    /// A GBNF grammar
    #[arg(long, value_name = "TEXT")]
    pub(crate) grammar: Option<String>,
    /// A file with a GBNF grammar, or with a Lark one if its name ends in .lark
    #[arg(long, value_name = "FILE")]
    pub(crate) grammar_file: Option<PathBuf>,
}
