//! What a person can say to the program instead of to the model: lines that begin with a slash.

use super::args::{Think, Thoughts};
use super::{Talk, screen};
use crate::chat::ThinkBudget;
use crate::cli::{load, memory, note, one_line, visible};
use crate::constrain::{Grammar, by_schema};
use crate::error::{Error, Result};
use crate::sample::SampleOptions;
use rustyline::completion::unescape;
use std::path::PathBuf;
use std::time::Duration;

/// A command: its name, what follows it, what it does.
pub(super) struct Help(pub(super) &'static str, &'static str, &'static str);

/// All commands.
pub(super) const COMMANDS: &[Help] = &[
    Help("/bye", "", "leave (also /exit, Ctrl-D)"),
    Help(
        "/clear",
        "",
        "forget the conversation, keep the system message",
    ),
    Help("/load", "FILE", "go on with a saved conversation"),
    Help("/read", "FILE", "say what is in a file"),
    Help("/regen", "", "answer the last question anew"),
    Help(
        "/save",
        "FILE",
        "save text and state; only the text to a name in .json",
    ),
    Help("/set", "…", "change a setting; /set alone lists them"),
    Help(
        "/show",
        "info|parameters|system|template|history",
        "show what is in force",
    ),
    Help("/stats", "", "show the use of the context, and speeds"),
    Help("/system", "TEXT", "set the system message"),
    Help(
        "/think",
        "on|off|auto|budget N|show|dim|hide",
        "set how the model thinks, and what you see of it",
    ),
    Help("/tools", "", "list the tools that the model may call"),
    Help("/undo", "", "take the last question and its answer back"),
    Help("/?", "[shortcuts]", "this list (also /help)"),
];

const SETTINGS: &[(&str, &str)] = &[
    (
        "parameter NAME VALUE",
        "temperature, top_k, top_p, min_p, typical, repeat_penalty, repeat_last_n, seed, num_predict, stop",
    ),
    ("system TEXT", "the system message"),
    ("think | nothink", "whether the model thinks"),
    ("history | nohistory", "whether it remembers"),
    ("wordwrap | nowordwrap", "whether lines break between words"),
    ("format json|SCHEMA | noformat", "what answers must be"),
    ("verbose | quiet", "timings after each answer"),
];

const SHORTCUTS: &str = "\
\x20 Esc            end the thought, and let the model answer
\x20 Ctrl-C         end the answer; at the prompt, clear the line
\x20 Ctrl-D         leave
\x20 Up, Ctrl-R     earlier lines, search them
\x20 Ctrl-A, -E     to the beginning, to the end of the line
\x20 Ctrl-K, -U, -W cut to the end, to the beginning, the last word
\x20 Ctrl-L         clear the screen
\x20 \"\"\"            begins and ends a message of several lines
\x20 Tab            completes commands and names of files";

/// What to do after a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    Nothing,
    Leave,
    /// Say this to the model.
    Say(String),
    /// Answer the last question anew.
    Again,
}

fn wrong(why: impl Into<String>) -> Error {
    Error::Request {
        field: "command",
        why: why.into(),
    }
}

/// Runs a command.
///
/// # Errors
/// If there is none of this name, or what follows it makes no sense.
pub(super) fn run(talk: &mut Talk<'_>, line: &str) -> Result<After> {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    match name {
        "/bye" | "/exit" => return Ok(After::Leave),
        "/?" | "/help" => help(rest),
        "/clear" => {
            talk.chat.clear();
            talk.engine.session.truncate(0);
            note("The conversation is forgotten.");
        }
        "/undo" => match talk.chat.undo() {
            Some(question) => note(&format!("Taken back: {}", one_line(&question))),
            None => note("There is nothing to take back."),
        },
        "/regen" => return Ok(After::Again),
        "/read" => {
            let text = load::text(&file(rest)?)?;
            return Ok(After::Say(text.trim_end().to_owned()));
        }
        "/save" => {
            let path = file(rest)?;
            talk.save(&path)?;
            note(&format!("Saved to {}.", path.display()));
        }
        "/load" => {
            let path = file(rest)?;
            let held = match talk.load(&path)? {
                true => format!(", {} tokens held", talk.engine.session.pos()),
                false => String::new(),
            };
            let count = talk.chat.messages().len();
            note(&format!("{count} messages{held}."));
        }
        "/system" => {
            talk.chat.set_system(rest);
            note(if rest.is_empty() {
                "There is no system message."
            } else {
                "The system message is set."
            });
        }
        "/think" => think(talk, rest)?,
        "/no_think" | "/nothink" => think(talk, "off")?,
        "/set" => set(talk, rest)?,
        "/show" => show(talk, rest)?,
        "/stats" => stats(talk),
        "/tools" => tools(talk),
        other => {
            let near = COMMANDS
                .iter()
                .find(|command| other.len() > 1 && command.0.starts_with(other));
            let hint = near.map_or("/? lists them".to_owned(), |command| {
                format!("is {} meant?", command.0)
            });
            return Err(wrong(format!("there is no {}: {hint}", one_line(other))));
        }
    }
    Ok(After::Nothing)
}

/// The name of a file, as it is typed or completed: in quotes, or with blanks and the like escaped.
fn file(rest: &str) -> Result<PathBuf> {
    if rest.is_empty() {
        return Err(wrong("the name of a file is wanted"));
    }
    // Whoever lets a name in quotes be completed need not close them. On Windows a backslash parts folders.
    let quoted = |quote: char| {
        let name = rest.strip_prefix(quote)?;
        Some(name.strip_suffix(quote).unwrap_or(name))
    };
    let single = quoted('\'').filter(|_| !cfg!(windows));
    let (name, escape) = match (quoted('"'), single) {
        (Some(name), _) => (name, Some('\\')),
        (None, Some(name)) => (name, None),
        (None, None) => (rest, (!cfg!(windows)).then_some('\\')),
    };
    Ok(PathBuf::from(unescape(name, escape).into_owned()))
}

fn help(what: &str) {
    if what == "shortcuts" {
        return note(SHORTCUTS);
    }
    for Help(name, arguments, about) in COMMANDS {
        note(&format!(
            "  {:<14} {about}",
            format!(
                "{name} {}",
                if arguments.len() > 8 {
                    "…"
                } else {
                    arguments
                }
            )
        ));
    }
    note("A message of several lines begins and ends with \"\"\". /? shortcuts lists keys.");
}

fn think(talk: &mut Talk<'_>, what: &str) -> Result<()> {
    let (word, rest) = what.split_once(char::is_whitespace).unwrap_or((what, ""));
    match (word, rest.trim()) {
        ("", _) => talk.chat.think = Some(true),
        ("budget", rest) => {
            talk.options.rules.budget = rest.parse::<ThinkBudget>().map_err(wrong)?
        }
        (word, "") => match (word.parse::<Think>(), word.parse::<Thoughts>()) {
            (Ok(think), _) => talk.chat.think = think.switch(),
            (_, Ok(thoughts)) => talk.screen.options.thoughts = thoughts,
            _ => {
                return Err(wrong(
                    "/think takes on, off, auto, budget N, show, dim or hide",
                ));
            }
        },
        _ => {
            return Err(wrong(
                "/think takes on, off, auto, budget N, show, dim or hide",
            ));
        }
    }
    let mode = match talk.chat.think {
        Some(true) => "on",
        Some(false) => "off",
        None => "as the template says",
    };
    let budget = match talk.options.rules.budget {
        ThinkBudget {
            tokens: Some(tokens),
            ..
        } => format!(", at most {tokens} tokens"),
        ThinkBudget {
            time: Some(time), ..
        } => format!(", at most {time:?}"),
        _ => String::new(),
    };
    note(&format!("Thinking: {mode}{budget}."));
    if !talk.chat.dialect().thinks {
        note("This model's template knows no thinking.");
    }
    Ok(())
}

fn set(talk: &mut Talk<'_>, what: &str) -> Result<()> {
    let (word, rest) = what.split_once(char::is_whitespace).unwrap_or((what, ""));
    let rest = rest.trim();
    match (word, rest) {
        ("", _) => {
            for (name, about) in SETTINGS {
                note(&format!("  /set {name}: {about}"));
            }
        }
        ("system", text) => talk.chat.set_system(text.trim_matches('"')),
        ("think", "") => talk.chat.think = Some(true),
        ("think", "false") | ("nothink", "") => talk.chat.think = Some(false),
        ("think", "true") => talk.chat.think = Some(true),
        ("history", "") => talk.forgetful = false,
        ("nohistory", "") => talk.forgetful = true,
        ("wordwrap", "") => talk.screen.options.word_wrap = true,
        ("nowordwrap", "") => talk.screen.options.word_wrap = false,
        ("verbose", "") => talk.verbose = true,
        ("quiet", "") => talk.verbose = false,
        ("noformat", "") => talk.options.rules.grammar = None,
        ("format", "json") => talk.options.rules.grammar = Some(Grammar::Json),
        ("format", text) => {
            let schema = serde_json::from_str(text)
                .map_err(|error| wrong(format!("no JSON schema: {error}")))?;
            talk.options.rules.grammar = Some(by_schema(schema));
        }
        ("parameter", rest) => {
            let (name, value) = rest
                .split_once(char::is_whitespace)
                .ok_or_else(|| wrong("/set parameter NAME VALUE"))?;
            parameter(talk, name, value.trim())?;
        }
        _ => {
            return Err(wrong(format!(
                "there is no setting {}; /set lists them",
                one_line(what)
            )));
        }
    }
    Ok(())
}

fn parameter(talk: &mut Talk<'_>, name: &str, value: &str) -> Result<()> {
    fn number<T: std::str::FromStr>(value: &str) -> Result<T> {
        value
            .parse()
            .map_err(|_| wrong(format!("{value:?} is no such number")))
    }
    let mut sample: SampleOptions = talk.options.sample.clone();
    match name {
        "temperature" | "temp" => sample.temp = number(value)?,
        "top_k" => sample.top_k = number(value)?,
        "top_p" => sample.top_p = number(value)?,
        "min_p" => sample.min_p = number(value)?,
        "typical" | "typical_p" => sample.typical = number(value)?,
        "repeat_penalty" => sample.repeat_penalty = number(value)?,
        "repeat_last_n" => sample.repeat_last_n = number(value)?,
        "presence_penalty" => sample.presence_penalty = number(value)?,
        "frequency_penalty" => sample.frequency_penalty = number(value)?,
        "seed" => sample.seed = u64::try_from(number::<i64>(value)?).ok(),
        "num_predict" | "predict" => {
            talk.options.n_predict = usize::try_from(number::<i64>(value)?).ok()
        }
        "stop" => talk.options.stop = value.split_whitespace().map(str::to_owned).collect(),
        _ => {
            return Err(wrong(format!(
                "there is no parameter {}; /set lists them",
                one_line(name)
            )));
        }
    }
    sample.validate(talk.engine.session.model().config().n_vocab)?;
    talk.options.sample = sample;
    Ok(())
}

fn show(talk: &Talk<'_>, what: &str) -> Result<()> {
    let model = talk.engine.session.model();
    match what {
        "" | "info" => {
            let config = model.config();
            let name = model
                .gguf()
                .metadata()
                .opt_str("general.name")?
                .unwrap_or("a model without a name");
            note(&format!(
                "  {}: {} layers, {} wide, vocabulary {}",
                one_line(name),
                config.n_layer,
                config.n_embd,
                config.n_vocab
            ));
            let session = &talk.engine.session;
            note(&format!(
                "  kernels {}, {} threads, context {}",
                model.level(),
                session.threads(),
                session.n_ctx()
            ));
        }
        "parameters" => {
            let s = &talk.options.sample;
            note(&format!(
                "  temperature {}, top_k {}, top_p {}, min_p {}, typical {}",
                s.temp, s.top_k, s.top_p, s.min_p, s.typical
            ));
            note(&format!(
                "  repeat_penalty {}, repeat_last_n {}, seed {}",
                s.repeat_penalty,
                s.repeat_last_n,
                s.seed.map_or("fresh".to_owned(), |seed| seed.to_string())
            ));
        }
        "system" => note(&visible(
            talk.chat.system().unwrap_or("There is no system message."),
            &std::io::stderr(),
        )),
        "template" => note(&visible(talk.chat.template().source(), &std::io::stderr())),
        "history" => {
            for message in talk.chat.messages() {
                let text = message["content"].as_str().unwrap_or_default();
                let role = message["role"].as_str().unwrap_or_default();
                note(&visible(&format!("{role}: {text}"), &std::io::stderr()));
            }
        }
        other => {
            return Err(wrong(format!(
                "nothing to show of {}: info, parameters, system, template or history",
                one_line(other)
            )));
        }
    }
    Ok(())
}

fn stats(talk: &Talk<'_>) {
    let session = &talk.engine.session;
    let (used, all) = (session.pos(), session.n_ctx());
    note(&format!(
        "  context: {used} of {all} tokens, {:.0} %",
        100.0 * used as f64 / all as f64
    ));
    note(&format!("  messages: {}", talk.chat.messages().len()));
    if let Some(total) = talk.last.as_ref().and_then(|turn| turn.total()) {
        let rate = |n: usize, time: Duration| n as f64 / time.as_secs_f64().max(1e-9);
        note(&format!(
            "  last prompt: {} tokens read, {} held already, {:.1} tokens/s",
            total.prompt_tokens,
            total.cached_tokens,
            rate(total.prompt_tokens, total.prompt_time)
        ));
        let timed = total.tokens.saturating_sub(1);
        note(&format!(
            "  last answer: {} tokens, {:.1} tokens/s, ended by {}",
            total.tokens,
            rate(timed, total.time),
            screen::reason(total.reason)
        ));
    }
    if let Some(peak) = memory::peak() {
        note(&format!("  peak memory: {}", memory::human(peak)));
    }
}

fn tools(talk: &Talk<'_>) {
    if talk.toolbox.is_empty() {
        return note("There are no tools; --tools builtin, or --tools FILE.json, offers some.");
    }
    for tool in talk.toolbox.iter() {
        let tool = tool.declaration();
        note(&format!("  {}: {}", tool.name, one_line(&tool.description)));
    }
}

// Windows knows no such names.
#[cfg(all(test, not(windows)))]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_read_as_they_are_completed() {
        for (typed, name) in [
            ("notes.txt", "notes.txt"),
            ("my notes.txt", "my notes.txt"),
            (r"zz\ my\ notes.txt", "zz my notes.txt"),
            (r"a\\b\'c", r"a\b'c"),
            ("\"zz my notes.txt\"", "zz my notes.txt"),
            ("\"zz my", "zz my"),
            ("'a\\b c'", r"a\b c"),
        ] {
            assert_eq!(file(typed).unwrap(), PathBuf::from(name), "{typed}");
        }
        assert!(file("").is_err());
    }

    #[test]
    fn a_completed_name_is_that_of_the_file() {
        let folder = std::env::temp_dir().join(format!("smolq-names-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let names = ["zz my notes.txt", "a'b", "$x (1)", "back\\slash", "\"so\""];
        for name in names {
            std::fs::write(folder.join(name), "").unwrap();
            let line = format!(
                "/read {}/{}",
                folder.display(),
                name[..1].replace('"', "\\\"")
            );
            let line = line.replace('$', "\\$");
            let completer = rustyline::completion::FilenameCompleter::new();
            let (start, found) = completer.complete_path(&line, line.len()).unwrap();
            assert_eq!(found.len(), 1, "{line}");
            let line = format!("{}{}", &line[..start], found[0].replacement);
            let typed = line.strip_prefix("/read ").unwrap();
            assert_eq!(file(typed).unwrap(), folder.join(name), "{typed}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
