//! A person at a terminal: lines are edited, remembered and completed.

use super::Talk;
use super::command::{self, After, COMMANDS};
use crate::cli::lines::{self, PROMPT};
use crate::cli::{interrupt, note};
use crate::error::{Error, Result};
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::PathBuf;

const MORE: &str = "... ";
const QUOTES: &str = "\"\"\"";

/// What a person said at once.
struct Message {
    text: String,
    /// Whether it stood between quotes: then it is no command, however it begins.
    quoted: bool,
}

impl Message {
    /// A line that means the same when it is said again.
    fn line(&self) -> String {
        match self.quoted {
            true => format!("{QUOTES}{}{QUOTES}", self.text),
            false => self.text.clone(),
        }
    }
}

/// Lines that are remembered from one time to the next.
const MOST_LINES: usize = 1000;

/// Completes commands, their words, and names of files; hints at what can be done.
struct Completion {
    files: FilenameCompleter,
    /// Whether a message is about to begin.
    beginning: bool,
}

/// Words that may follow a command.
const WORDS: &[(&str, &[&str])] = &[
    (
        "/think ",
        &["on", "off", "auto", "budget ", "show", "dim", "hide"],
    ),
    (
        "/show ",
        &["info", "parameters", "system", "template", "history"],
    ),
    (
        "/set parameter ",
        &[
            "temperature ",
            "top_k ",
            "top_p ",
            "min_p ",
            "typical ",
            "repeat_penalty ",
            "repeat_last_n ",
            "seed ",
            "num_predict ",
            "stop ",
        ],
    ),
    (
        "/set ",
        &[
            "parameter ",
            "system ",
            "think",
            "nothink",
            "history",
            "nohistory",
            "wordwrap",
            "nowordwrap",
            "format json",
            "noformat",
            "verbose",
            "quiet",
        ],
    ),
    ("/? ", &["shortcuts"]),
];

impl Completer for Completion {
    type Candidate = Pair;
    fn complete(
        &self,
        line: &str,
        pos: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = &line[..pos];
        if ["/read ", "/save ", "/load "]
            .iter()
            .any(|command| typed.starts_with(command))
        {
            return self.files.complete(line, pos, context);
        }
        if !typed.starts_with('/') {
            return Ok((pos, Vec::new()));
        }
        let pair = |word: &&str| Pair {
            display: word.trim_end().to_owned(),
            replacement: (*word).to_owned(),
        };
        for (command, words) in WORDS {
            if let Some(begun) = typed.strip_prefix(command) {
                let found = words
                    .iter()
                    .filter(|word| word.starts_with(begun))
                    .map(pair);
                return Ok((command.len(), found.collect()));
            }
        }
        let names = COMMANDS
            .iter()
            .map(|command| command.0)
            .filter(|name| name.starts_with(typed));
        Ok((0, names.map(|name| pair(&name)).collect()))
    }
}

impl Hinter for Completion {
    type Hint = String;
    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        (self.beginning && line.is_empty()).then(|| "Send a message (/? for help)".to_owned())
    }
}

impl Highlighter for Completion {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        match console::colors_enabled() {
            true => Cow::Owned(console::style(hint).dim().to_string()),
            false => Cow::Borrowed(hint),
        }
    }
}

impl Validator for Completion {}
impl Helper for Completion {}

/// Where lines are remembered; `None` if there is no such place, or they are not to be.
fn history() -> Option<PathBuf> {
    if std::env::var_os("SMOLQ_NO_HISTORY").is_some_and(|value| !value.is_empty() && value != "0") {
        return None;
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let state = state
        .filter(|path| path.is_absolute())
        .or_else(|| Some(std::env::home_dir()?.join(".local/state")))?;
    Some(state.join("smolq/history"))
}

fn terminal_error(error: ReadlineError) -> Error {
    let source = match error {
        ReadlineError::Io(source) => source,
        other => std::io::Error::other(other.to_string()),
    };
    Error::Io {
        path: "terminal".into(),
        source,
    }
}

/// Talks with a person at a terminal.
pub(super) fn run(talk: &mut Talk<'_>) -> Result<()> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(MOST_LINES)
        .map_err(terminal_error)?
        .auto_add_history(false)
        .build();
    let mut editor: Editor<Completion, DefaultHistory> =
        Editor::with_config(config).map_err(terminal_error)?;
    editor.set_helper(Some(Completion {
        files: FilenameCompleter::new(),
        beginning: true,
    }));
    let remembered = history();
    if let Some(path) = &remembered {
        // The first time there is none.
        drop(editor.load_history(path));
    }
    let talked = converse(talk, &mut editor);
    // However it ended.
    if let Some(path) = &remembered {
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = folder
            .map_err(ReadlineError::Io)
            .and_then(|()| editor.save_history(path))
        {
            note(&format!("smolq: warning: {}: {error}", path.display()));
        }
    }
    talked
}

/// Answers messages until the person leaves.
fn converse(talk: &mut Talk<'_>, editor: &mut Editor<Completion, DefaultHistory>) -> Result<()> {
    while interrupt::leaving().is_none() {
        let message = match message(editor) {
            Ok(message) => message,
            // Ctrl-C clears the line, as a signal to leave does; Ctrl-D leaves.
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(terminal_error(error)),
        };
        if message.text.trim().is_empty() {
            continue;
        }
        // That a line cannot be remembered is no reason not to answer it.
        drop(editor.add_history_entry(message.line()));
        if !answer(talk, &message)? || talk.args.single_turn {
            break;
        }
    }
    Ok(())
}

/// Reads a line. One with a stray byte is not taken; it ends nothing.
fn line(
    editor: &mut Editor<Completion, DefaultHistory>,
    prompt: &str,
) -> rustyline::Result<String> {
    loop {
        match editor.readline(prompt) {
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                note("smolq: error: the line is not taken: what was typed is no UTF-8");
            }
            read => return read,
        }
    }
}

/// Reads a message: a line, or several between `"""`.
fn message(editor: &mut Editor<Completion, DefaultHistory>) -> rustyline::Result<Message> {
    let quoted = |text: &str| Message {
        text: text.to_owned(),
        quoted: true,
    };
    let beginning = |editor: &mut Editor<Completion, DefaultHistory>, is: bool| {
        if let Some(helper) = editor.helper_mut() {
            helper.beginning = is;
        }
    };
    beginning(editor, true);
    let first = line(editor, PROMPT)?;
    beginning(editor, false);
    let Some(start) = first.trim_start().strip_prefix(QUOTES) else {
        return Ok(Message {
            text: first,
            quoted: false,
        });
    };
    if let Some(all) = start.trim_end().strip_suffix(QUOTES) {
        return Ok(quoted(all));
    }
    let mut text = start.to_owned();
    loop {
        let line = line(editor, MORE)?;
        if !text.is_empty() {
            text.push('\n');
        }
        match line.trim_end().strip_suffix(QUOTES) {
            Some(last) => {
                text.push_str(last);
                return Ok(quoted(text.trim_end_matches('\n')));
            }
            None => text.push_str(&line),
        }
    }
}

/// Talks line by line, where lines cannot be edited or the answers do not go to a terminal.
pub(super) fn run_plain(talk: &mut Talk<'_>) -> Result<()> {
    let single = talk.args.single_turn;
    lines::each("Type a message; /bye or Ctrl-D ends, /? helps.", |line| {
        let message = Message {
            text: line.to_owned(),
            quoted: false,
        };
        Ok(answer(talk, &message)? && !single)
    })
}

/// Answers a message or runs a command; `false` if the person leaves. What is wrong with one message ends nothing.
fn answer(talk: &mut Talk<'_>, message: &Message) -> Result<bool> {
    let text = &message.text;
    let done = match !message.quoted && text.trim_start().starts_with('/') {
        false => talk.turn(Some(text)),
        true => match command::run(talk, text.trim()) {
            Ok(After::Leave) => return Ok(false),
            Ok(After::Nothing) => Ok(()),
            Ok(After::Say(text)) => talk.turn(Some(&text)),
            Ok(After::Again) => talk.again(),
            Err(error) => Err(error),
        },
    };
    talk.keep_text();
    match done {
        Err(Error::Context { needed, .. }) => {
            note(&format!("smolq: {needed} tokens would be needed"));
            note(&talk.full());
            Ok(true)
        }
        Err(error @ Error::Io { .. }) if is_broken_pipe(&error) => Err(error),
        Err(error) => {
            note(&format!(
                "smolq: error: {}",
                crate::cli::one_line(&error.to_string())
            ));
            Ok(true)
        }
        Ok(()) => Ok(true),
    }
}

fn is_broken_pipe(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::BrokenPipe)
}
