//! A chat on the command line: set up from flags, then one message, or as many as a person types.

mod args;
mod command;
mod keys;
mod repl;
mod screen;
mod wrap;

pub(super) use args::{ChatArgs, GrammarArgs, Think, ToolArgs, Variables, variables};
#[cfg(unix)]
pub(super) use keys::remember as remember_terminal;
pub(super) use keys::restore as restore_terminal;

use super::args::RunArgs;
use super::interrupt::{self, CONTROL, INTERRUPTED};
use super::run::report;
use super::{load, note, one_line};
use crate::chat::{Chat, ReplyRules, Template};
use crate::constrain::{Grammar, by_schema};
use crate::converse::{Engine, Turn, TurnOptions};
use crate::error::{Error, Result};
use crate::generate::StopReason;
use crate::model::Model;
use crate::sample::SampleOptions;
use crate::saved;
use crate::tools::Toolbox;
use args::Thoughts;
use screen::{Screen, ScreenOptions};
use serde_json::{Value as Json, json};
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The template that the flags name, or the file's; `None` where there is none, or none is wanted.
pub(super) fn template(args: &RunArgs, model: &Model) -> Result<Option<Template>> {
    if args.no_conversation {
        return Ok(None);
    }
    match args.chat.chat_template.as_deref() {
        None | Some("gguf") => Template::from_metadata(model.gguf().metadata()),
        Some(name) => named_template(name).map(Some),
    }
}

/// A template by its name, or from a file.
pub(super) fn named_template(name: &str) -> Result<Template> {
    if let Some(template) = Template::built_in(name)? {
        return Ok(template);
    }
    let path = Path::new(name);
    if !path.exists() {
        let known: Vec<&str> = Template::names().collect();
        return Err(Error::Request {
            field: "--chat-template",
            why: format!("{name:?} is neither a file nor one of {}", known.join(", ")),
        });
    }
    Template::parse(&load::text(path)?)
}

/// What the answer must be, if the flags say so.
pub(super) fn grammar(args: &GrammarArgs) -> Result<Option<Grammar>> {
    let schema = |field, text: &str| {
        let schema = serde_json::from_str(text).map_err(|error| Error::Request {
            field,
            why: error.to_string(),
        })?;
        Ok(Some(by_schema(schema)))
    };
    if let Some(text) = &args.format {
        return match text.as_str() {
            "json" => Ok(Some(Grammar::Json)),
            text => schema("--format", text),
        };
    }
    if let Some(text) = &args.json_schema {
        return schema("--json-schema", text);
    }
    if let Some(path) = &args.json_schema_file {
        return schema("--json-schema-file", &load::text(path)?);
    }
    if let Some(path) = &args.grammar_file {
        let text = load::text(path)?;
        let lark = path
            .extension()
            .is_some_and(|extension| extension == "lark");
        return Ok(Some(if lark {
            Grammar::Lark(text)
        } else {
            Grammar::Gbnf(text)
        }));
    }
    let pattern = args.regex.clone().map(Grammar::Regex);
    Ok(pattern.or(args.grammar.clone().map(Grammar::Gbnf)))
}

/// A chat with a person, or with a program.
pub(super) struct Talk<'a> {
    args: &'a RunArgs,
    engine: Engine,
    chat: Chat,
    toolbox: Toolbox,
    options: TurnOptions,
    screen: Screen,
    load_time: Duration,
    verbose: bool,
    /// Where the conversation is kept.
    file: Option<PathBuf>,
    /// The text that was last found or written there.
    kept: Json,
    /// The last turn.
    last: Option<Turn>,
    /// Whether each question stands for itself.
    forgetful: bool,
}

impl<'a> Talk<'a> {
    /// Sets up a chat.
    pub(super) fn new(
        args: &'a RunArgs,
        engine: Engine,
        template: Template,
        sample: SampleOptions,
        load_time: Duration,
    ) -> Result<Talk<'a>> {
        let now = match args.chat.date {
            Some(date) => date.at(0, 0, 0, 0),
            None => jiff::ZonedDateTime::now().datetime(),
        };
        let mut chat = Chat::new(template, engine.tokenizer(), now);
        chat.think = args.chat.think.and_then(Think::switch);
        chat.variables = args.chat.chat_template_kwargs.clone().unwrap_or_default();
        chat.tool_render = args.tools.tool_render;
        if args.tools.python_tools {
            chat.call_in_python();
        }
        let system = match (&args.chat.system_prompt, &args.chat.system_prompt_file) {
            (Some(text), _) => Some(text.clone()),
            (None, Some(path)) => Some(load::text(path)?.trim_end().to_owned()),
            (None, None) => None,
        };
        if args.tools.tools.is_empty() && args.tools.tools_dir.is_some() {
            note("smolq: warning: --tools-dir does nothing without --tools");
        }
        let toolbox = Toolbox::from_spec(&args.tools.tools, args.tools.tools_dir.as_deref())?;
        chat.tools = toolbox.declarations();
        let thoughts = match args.chat.hide_thinking {
            true => Thoughts::Hide,
            false => args.chat.thoughts.unwrap_or(Thoughts::Dim),
        };
        let options = TurnOptions {
            sample,
            n_predict: usize::try_from(args.predict).ok(),
            stop: args.stop.clone(),
            ignore_eos: args.ignore_eos,
            rules: ReplyRules {
                budget: args.chat.think_budget.unwrap_or_default(),
                grammar: grammar(&args.grammar)?,
                tool_choice: args.tools.tool_choice.clone(),
                parallel: !args.tools.no_parallel_tool_calls,
            },
            max_steps: args.tools.max_steps.max(1),
        };
        let screen = Screen::new(ScreenOptions {
            thoughts,
            json: args.chat.json,
            word_wrap: !args.chat.no_word_wrap,
            echo: args.echo,
            yes: args.tools.yes,
        });
        let mut talk = Talk {
            args,
            engine,
            chat,
            toolbox,
            options,
            screen,
            load_time,
            verbose: args.verbose,
            file: args.chat.session.clone(),
            kept: Json::Null,
            last: None,
            forgetful: false,
        };
        if let Some(path) = talk.file.clone() {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            if path.exists() {
                talk.load(&path)?;
            } else if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                // Said before a long chat, not after it.
                return Err(Error::Request {
                    field: "--session",
                    why: format!("there is no folder {}", folder.display()),
                });
            }
        }
        if let Some(text) = system {
            talk.chat.set_system(&text);
        }
        if args.chat.think.is_some() {
            talk.chat.think = args.chat.think.and_then(Think::switch);
        }
        talk.kept = talk.chat.to_json();
        Ok(talk)
    }

    /// Answers one message, and keeps the conversation where it is to be kept.
    pub(super) fn once(&mut self, message: &str) -> Result<()> {
        if message.trim().is_empty() {
            return Err(Error::Request {
                field: "prompt",
                why: "the message is empty".to_owned(),
            });
        }
        // What ends the last line of a file or a pipe is not said.
        let said = self.turn(Some(message.trim_end_matches(['\n', '\r'])));
        self.keep_text();
        said?;
        self.keep()
    }

    /// Talks with a person until that one leaves.
    pub(super) fn talk(&mut self) -> Result<()> {
        let talked = match std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
            true => repl::run(self),
            false => repl::run_plain(self),
        };
        self.keep().and(talked)
    }

    /// Answers the last question anew. If that fails, the answer that there was stays.
    fn again(&mut self) -> Result<()> {
        let answer = self.chat.take_answer().ok_or_else(|| Error::Request {
            field: "command",
            why: "there is no question to answer anew".to_owned(),
        })?;
        let asked = self.chat.messages().len();
        self.last = None;
        let done = self.turn(None);
        // What was stopped before it began is no answer either.
        let said = self
            .last
            .as_ref()
            .map_or(self.chat.messages().len() > asked, |turn| {
                turn.steps.iter().any(|step| step.tokens > 0)
            });
        if !said {
            self.chat.truncate(asked);
            for message in answer {
                self.chat.push_message(message);
            }
        }
        done
    }

    /// One turn. `None` answers the last question anew.
    fn turn(&mut self, message: Option<&str>) -> Result<()> {
        INTERRUPTED.store(false, Ordering::Relaxed);
        if self.forgetful && message.is_some() {
            self.chat.clear();
        }
        self.screen.begin();
        let toolbox = Some(&mut self.toolbox).filter(|toolbox| !toolbox.is_empty());
        let turn = self.engine.turn(
            &mut self.chat,
            message,
            toolbox,
            &self.options,
            &CONTROL,
            &mut self.screen,
        );
        let ended = self.screen.end(turn.is_ok());
        let turn = turn?;
        ended?;
        let Some(total) = turn.total() else {
            return Ok(());
        };
        self.screen.done(
            &total,
            turn.steps.len(),
            self.engine.session.pos(),
            self.engine.session.n_ctx(),
        )?;
        if turn.exhausted {
            note(&format!(
                "smolq: {} replies with calls, and no answer: --max-steps allows more",
                turn.steps.len()
            ));
        }
        let (used, all) = (self.engine.session.pos(), self.engine.session.n_ctx());
        if turn.reason() == StopReason::ContextFull {
            note(&self.full());
        } else if 4 * used >= 3 * all && !self.screen.options.json {
            note(&format!(
                "smolq: {used} of the context's {all} tokens are used"
            ));
        }
        if self.verbose || turn.reason() == StopReason::Cancelled {
            report(&total, self.load_time);
        }
        self.last = Some(turn);
        Ok(())
    }

    /// What can be done about a full context.
    fn full(&self) -> String {
        format!(
            "smolq: the context of {} tokens is full: /undo takes the last question back, /clear begins anew, -c/--ctx-size makes it larger",
            self.engine.session.n_ctx()
        )
    }

    /// The file that the conversation is kept in, if there is something to keep or, in the file, to forget.
    fn keeper(&self) -> Option<&Path> {
        let path = self.file.as_deref()?;
        let messages = self.chat.messages();
        let begun = messages.iter().any(|message| message["role"] != "system");
        (begun || path.exists()).then_some(path)
    }

    /// Keeps the conversation at the end of the program.
    fn keep(&self) -> Result<()> {
        self.keeper().map_or(Ok(()), |path| self.save(path))
    }

    /// Keeps the text of the conversation after each turn, so that it is there however the program ends. What the model has read of it is
    /// not written again each time: some hundred megabytes for a large model, which would take longer than many an answer, and wear
    /// out memory cards. If the program is killed, that is read anew.
    fn keep_text(&mut self) {
        let text = self.chat.to_json();
        let Some(path) = self.keeper().filter(|_| text != self.kept) else {
            return;
        };
        // One that cannot be kept is told once.
        if let Err(error) = saved::write_text(path, &text) {
            note(&format!("smolq: warning: {}", one_line(&error.to_string())));
        }
        self.kept = text;
    }

    /// Saves the conversation: as messages only if the file's name ends in .json.
    fn save(&self, path: &Path) -> Result<()> {
        let _unhurried = interrupt::unhurried();
        if is_json(path) {
            return saved::write_text(path, &self.chat.to_json());
        }
        let text = json!({"chat": self.chat.to_json()});
        saved::write(path, &self.engine.session, &text)
    }

    /// Goes on with a saved conversation, and says whether what the model had read of it was saved too. One of another model is then
    /// refused; its text can be had as JSON.
    fn load(&mut self, path: &Path) -> Result<bool> {
        let is_text = is_json(path) || begins_as_json(path);
        let json = match is_text {
            true => serde_json::from_str(&load::text(path)?).map_err(|error| Error::Request {
                field: "conversation",
                why: format!("{}: {error}", path.display()),
            })?,
            false => saved::read(path, &mut self.engine.session)?,
        };
        self.chat.restore(json.get("chat").unwrap_or(&json))?;
        if is_text && !is_json(path) {
            note(&format!(
                "smolq: {} has the text alone, from a program that was killed: it is read anew",
                path.display()
            ));
        }
        Ok(!is_text)
    }
}

fn is_json(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "json")
}

/// Whether a file holds text alone whatever its name is: that of a chat that was killed between two turns.
fn begins_as_json(path: &Path) -> bool {
    let mut first = [0];
    // Opening a FIFO would wait.
    let read = path.is_file()
        && File::open(path).is_ok_and(|mut file| file.read_exact(&mut first).is_ok());
    read && first == *b"{"
}
