//! `smolq run`: chat with a model, or let it continue a text.

use super::args::RunArgs;
use super::interrupt::{self, INTERRUPTED};
use super::load::{self, DEFAULT_CTX};
use super::{memory, note, stdout_error};
use crate::chat::{Chat, ReplyEvent, ReplyParser, Template};
use crate::error::{Error, Result};
use crate::generate::{Event, Outcome, Request, StopReason, generate_ahead};
use crate::model::{Model, Session};
use crate::sample::SampleOptions;
use crate::speculate::{DraftModel, Speculator};
use crate::tokenizer::{EncodeOptions, Tokenizer};
use crate::{catalogue, embedded};
use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub(super) fn run(args: &RunArgs) -> Result<()> {
    let start = Instant::now();
    let prompt = prompt(args)?;
    if embedded::is_named(args.model()) {
        note(&introduction()?);
    }
    let (model, tokenizer) = load::model(args.model(), &args.load(), args.strict)?;
    let n_ctx = model.config().n_ctx.min(DEFAULT_CTX);
    let session = Session::new(Arc::clone(&model), &args.session.options(n_ctx))?;
    let speculator = speculator(args, &tokenizer, session.n_ctx())?;
    let load_time = start.elapsed();
    if args.verbose {
        let level = model.level();
        note(&format!(
            "kernels {level}, {} threads, context {}",
            session.threads(),
            session.n_ctx()
        ));
    }
    interrupt::catch();
    let mut talk = Talk {
        args,
        sample: args.sample(SampleOptions::advised(model.gguf().metadata())?),
        chat: chat(args, &model, &tokenizer)?,
        session,
        speculator,
        tokenizer: &tokenizer,
    };
    if let Some(prompt) = prompt {
        let outcome = talk.answer(&prompt)?;
        report(args, &outcome, load_time);
        return Ok(());
    }
    // A person without a prompt: one message or text a line.
    note(match talk.chat {
        Some(_) => "Type a message; /bye or Ctrl-D ends.",
        None => "Type a text to continue; /bye or Ctrl-D ends.",
    });
    let mut lines = std::io::stdin().lock().lines();
    loop {
        drop(write!(std::io::stderr(), ">>> "));
        let Some(line) = lines.next() else { break };
        let line = line.map_err(|source| Error::Io {
            path: "standard input".into(),
            source,
        })?;
        if matches!(line.trim(), "/bye" | "/exit") {
            break;
        }
        if line.is_empty() {
            continue;
        }
        INTERRUPTED.store(false, Ordering::Relaxed);
        match talk.answer(&line) {
            Ok(outcome) => report(args, &outcome, load_time),
            Err(error @ (Error::Context { .. } | Error::Request { .. } | Error::Template(_))) => {
                note(&format!("smolq: error: {error}"))
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What the model inside the program is, and how to come to a large one.
fn introduction() -> Result<String> {
    let real = catalogue::find("smollm3-3b")?;
    let (address, file) = real
        .download("Q4_K_M")
        .ok_or_else(|| Error::Resources("models.toml has no file".into()))?;
    Ok(format!(
        "This is the very small model inside smolq, to try things with; for a real one, download {address} and run: smolq run {file}"
    ))
}

/// The conversation that the model's file and the flags ask for; `None` continues texts as they are.
fn chat(args: &RunArgs, model: &Model, tokenizer: &Tokenizer) -> Result<Option<Chat>> {
    let template = match args.no_conversation {
        true => None,
        false => Template::from_metadata(model.gguf().metadata())?,
    };
    let Some(template) = template else {
        for (given, flag) in [
            (args.system_prompt.is_some(), "-sys/--system-prompt"),
            (args.think.is_some(), "--think"),
        ] {
            if given {
                note(&format!(
                    "smolq: warning: {flag} does nothing: the model has no chat template"
                ));
            }
        }
        return Ok(None);
    };
    let mut chat = Chat::new(template, tokenizer, jiff::ZonedDateTime::now().datetime());
    chat.think = args.think;
    if let Some(text) = &args.system_prompt {
        chat.push("system", text);
    }
    Ok(Some(chat))
}

/// What drafts, with its own model where one is given.
fn speculator(args: &RunArgs, tokenizer: &Tokenizer, n_ctx: usize) -> Result<Speculator> {
    let draft = match &args.draft.draft_model {
        None => None,
        Some(path) => {
            let (model, own) = load::model(path, &args.load(), args.strict)?;
            let session = Session::new(model, &args.session.options(n_ctx))?;
            Some(DraftModel::new(session, &own, tokenizer)?)
        }
    };
    Speculator::new(args.draft.options(), draft)
}

/// The prompt from wherever it was given; `None` if a person is to type it.
fn prompt(args: &RunArgs) -> Result<Option<String>> {
    let given = match (&args.text, &args.prompt, &args.file) {
        (Some(text), ..) | (None, Some(text), _) => Some(text.clone()),
        (None, None, Some(path)) => Some(load::text(path)?),
        (None, None, None) if std::io::stdin().is_terminal() => None,
        (None, None, None) => Some(load::text("-".as_ref())?),
    };
    Ok(given.map(|text| if args.escape { unescape(&text) } else { text }))
}

/// Interprets `\n`, `\t`, `\r`, `\\`, `\'`, `\"` and `\xHH`; anything else stays as it is.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let hex = rest
            .strip_prefix('x')
            .and_then(|h| h.get(..2))
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        let plain = [
            ('n', '\n'),
            ('t', '\t'),
            ('r', '\r'),
            ('\\', '\\'),
            ('\'', '\''),
            ('"', '"'),
        ];
        match (
            hex.filter(u8::is_ascii),
            plain.iter().find(|(name, _)| rest.starts_with(*name)),
        ) {
            (Some(byte), _) => {
                out.push(char::from(byte));
                rest = &rest[3..];
            }
            (None, Some(&(_, c))) => {
                out.push(c);
                rest = &rest[1..];
            }
            (None, None) => out.push('\\'),
        }
    }
    out.push_str(rest);
    out
}

/// What answers a person.
struct Talk<'a> {
    args: &'a RunArgs,
    sample: SampleOptions,
    chat: Option<Chat>,
    session: Session,
    speculator: Speculator,
    tokenizer: &'a Tokenizer,
}

impl Talk<'_> {
    /// Answers a message, or continues a text, on stdout.
    fn answer(&mut self, text: &str) -> Result<Outcome> {
        match self.chat.take() {
            Some(mut chat) => {
                let outcome = self.reply(&mut chat, text);
                self.chat = Some(chat);
                outcome
            }
            None => self.continue_text(text),
        }
    }

    fn continue_text(&mut self, text: &str) -> Result<Outcome> {
        let prompt = self.tokenizer.encode(
            text,
            EncodeOptions {
                add_special: true,
                parse_special: true,
            },
        )?;
        let mut out = Out::new();
        if self.args.echo {
            out.write(text)?;
        }
        let outcome = self.generate(prompt, self.args.special, &mut |piece| out.write(piece))?;
        out.write("\n")?;
        Ok(outcome)
    }

    /// Answers a message: the answer goes to stdout, the thought to a person's terminal only. A message that cannot be answered is
    /// taken back.
    fn reply(&mut self, chat: &mut Chat, message: &str) -> Result<Outcome> {
        // What ends the last line of a file or a pipe is not said.
        chat.push("user", message.trim_end_matches(['\n', '\r']));
        let mut reply = String::new();
        let outcome = self.say(chat, &mut reply);
        match &outcome {
            Ok(_) => chat.push("assistant", &reply),
            Err(_) => drop(chat.pop()),
        }
        outcome
    }

    fn say(&mut self, chat: &Chat, reply: &mut String) -> Result<Outcome> {
        let prompt = chat.prompt()?;
        let ids = self.tokenizer.encode(
            &prompt,
            EncodeOptions {
                add_special: false,
                parse_special: true,
            },
        )?;
        let mut out = Out::new();
        if self.args.echo {
            out.write(&prompt)?;
        }
        let mut parser = ReplyParser::new(&prompt);
        let outcome = self.generate(ids, true, &mut |piece| {
            reply.push_str(piece);
            out.show(parser.push(piece))
        })?;
        out.show(parser.finish())?;
        out.write("\n")?;
        Ok(outcome)
    }

    /// Generates after a prompt, with a bar while a long one is read.
    fn generate(
        &mut self,
        prompt: Vec<u32>,
        special: bool,
        on_piece: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<Outcome> {
        let args = self.args;
        let request = Request {
            prompt,
            n_predict: usize::try_from(args.predict).ok(),
            stop: args.stop.clone(),
            ignore_eos: args.ignore_eos,
            special,
            sample: self.sample.clone(),
            ..Request::default()
        };
        // Short prompts are done before a bar could be read.
        let mut bar = None;
        let outcome = generate_ahead(
            &mut self.session,
            &mut self.speculator,
            self.tokenizer,
            &request,
            &INTERRUPTED,
            &mut |event| match event {
                Event::Prompt { done, total } => {
                    if done < total {
                        let bar = bar
                            .get_or_insert_with(|| load::progress(Some(total as u64), "reading"));
                        bar.set_position(done as u64);
                    } else if let Some(bar) = bar.take() {
                        bar.finish_and_clear();
                    }
                    Ok(())
                }
                Event::Piece(text) => on_piece(text),
            },
        )?;
        if outcome.reason == StopReason::ContextFull {
            note(&format!(
                "smolq: the context of {} tokens is full; -c/--ctx-size makes it larger",
                self.session.n_ctx()
            ));
        }
        Ok(outcome)
    }
}

/// Where answers go.
struct Out {
    stdout: std::io::StdoutLock<'static>,
    /// A terminal on which somebody may watch the model think.
    watched: Option<console::Term>,
    /// Whether a thought stands on the terminal's last line.
    thinking: bool,
}

impl Out {
    fn new() -> Out {
        Out {
            stdout: std::io::stdout().lock(),
            watched: Some(console::Term::stderr()).filter(console::Term::is_term),
            thinking: false,
        }
    }

    fn write(&mut self, text: &str) -> Result<()> {
        if let Some(term) = self.watched.as_ref().filter(|_| self.thinking) {
            drop(term.write_line(""));
            self.thinking = false;
        }
        self.stdout
            .write_all(text.as_bytes())
            .and_then(|()| self.stdout.flush())
            .map_err(stdout_error)
    }

    fn show(&mut self, events: Vec<ReplyEvent>) -> Result<()> {
        for event in events {
            match event {
                ReplyEvent::Answer(text) => self.write(&text)?,
                ReplyEvent::Thought(text) => {
                    if let Some(term) = &self.watched {
                        let text = if self.thinking {
                            &text
                        } else {
                            text.trim_start()
                        };
                        let dim = console::style(text).dim().for_stderr();
                        drop(term.write_str(&dim.to_string()));
                        self.thinking = true;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The timings, in the words of Ollama, where asked for or where the answer was cut short by hand.
fn report(args: &RunArgs, outcome: &Outcome, load: Duration) {
    if !args.verbose && outcome.reason != StopReason::Cancelled {
        return;
    }
    let rate = |n: usize, time: Duration| n as f64 / time.as_secs_f64().max(1e-9);
    // The first token comes with the prompt.
    let timed = outcome.tokens.saturating_sub(1);
    let total = load + outcome.prompt_time + outcome.time;
    note(&format!("total duration:       {total:.3?}"));
    note(&format!("load duration:        {load:.3?}"));
    note(&format!(
        "prompt eval count:    {} token(s)",
        outcome.prompt_tokens
    ));
    note(&format!(
        "prompt eval duration: {:.3?}",
        outcome.prompt_time
    ));
    note(&format!(
        "prompt eval rate:     {:.2} tokens/s",
        rate(outcome.prompt_tokens, outcome.prompt_time)
    ));
    note(&format!(
        "eval count:           {} token(s)",
        outcome.tokens
    ));
    note(&format!("eval duration:        {:.3?}", outcome.time));
    note(&format!(
        "eval rate:            {:.2} tokens/s",
        rate(timed, outcome.time)
    ));
    let counts = outcome.counts;
    note(&format!(
        "passes:               {}, {} of {} drafted token(s) accepted",
        counts.passes, counts.accepted, counts.drafted
    ));
    if let (Some(peak), Some(anonymous)) = (memory::peak(), memory::anonymous()) {
        note(&format!(
            "peak memory:          {} ({} not from files)",
            memory::human(peak),
            memory::human(anonymous)
        ));
    }
    note(&format!("seed:                 {}", outcome.seed));
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn escapes_are_interpreted_and_unknown_ones_kept() {
        assert_eq!(unescape(r"a\nb\t\\n\x41\q\"), "a\nb\t\\nA\\q\\");
        assert_eq!(unescape("é\\é\\xé"), "é\\é\\xé");
    }
}
