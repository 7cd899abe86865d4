//! `smolq run`: chat with a model, or let it continue a text.

use super::args::RunArgs;
use super::chat::{self, Talk};
use super::interrupt::{self, INTERRUPTED};
use super::lines;
use super::load::{self, DEFAULT_CTX};
use super::{memory, note, stdout_error, visible};
use crate::constrain::Constraint;
use crate::converse::Engine;
use crate::error::{Error, Result};
use crate::generate::{Event, Free, Guide, Outcome, Request, StopReason};
use crate::machine::Memory;
use crate::sample::SampleOptions;
use crate::speculate::{DraftModel, Speculator};
use crate::tokenizer::{EncodeOptions, Tokenizer};
use crate::{catalogue, embedded};
use std::io::{IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub(super) fn run(args: &RunArgs) -> Result<()> {
    let start = Instant::now();
    let prompt = prompt(args)?;
    if embedded::is_named(args.model()) {
        note(&format!(
            "This is the very small model inside smolq, to try things with; for a real one, {}",
            catalogue::advice()?
        ));
    }
    let before = Memory::here();
    let (model, tokenizer) = load::model(args.model(), &args.load(), args.strict)?;
    let options = args.session.options(model.config().n_ctx.min(DEFAULT_CTX));
    let rows = args.draft.options().draft_max.saturating_add(1);
    let session = load::session(&model, &options, rows, before)?;
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
    let sample = args.sample(SampleOptions::advised(model.gguf().metadata())?);
    let engine = Engine::new(session, speculator, tokenizer);
    if let Some(template) = chat::template(args, &model)? {
        let mut talk = Talk::new(args, engine, template, sample, load_time)?;
        return match prompt {
            Some(prompt) => talk.once(&prompt).and_then(|()| uninterrupted()),
            None => talk.talk(),
        };
    }
    let why = match args.no_conversation {
        true => "a text is continued as it is",
        false => "the model has no chat template (--chat-template gives one)",
    };
    for flag in args.chat.given().chain(args.tools.given()) {
        note(&format!("smolq: warning: {flag} does nothing: {why}"));
    }
    let mut writer = Writer {
        args,
        sample,
        engine,
        load_time,
    };
    match prompt {
        Some(prompt) => writer.continue_text(&prompt).and_then(|()| uninterrupted()),
        None => writer.lines(),
    }
}

/// Whoever asked for one answer is told that Ctrl-C cut it off. A person who asks for one after the other has seen it.
fn uninterrupted() -> Result<()> {
    match INTERRUPTED.load(Ordering::Relaxed) {
        true => Err(Error::Interrupted("interrupted".to_owned())),
        false => Ok(()),
    }
}

/// What drafts, with its own model where one is given.
fn speculator(args: &RunArgs, tokenizer: &Tokenizer, n_ctx: usize) -> Result<Speculator> {
    let draft = match &args.draft.draft_model {
        None => None,
        Some(path) => {
            let before = Memory::here();
            let (model, own) = load::model(path, &args.load(), args.strict)?;
            let session = load::session(&model, &args.session.options(n_ctx), 1, before)?;
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
        (None, None, None) => {
            let text = load::text("-".as_ref())?;
            if text.is_empty() {
                return Err(Error::Request {
                    field: "prompt",
                    why: "standard input is empty; -p TEXT or -f FILE gives one".to_owned(),
                });
            }
            Some(text)
        }
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

/// What continues texts.
struct Writer<'a> {
    args: &'a RunArgs,
    sample: SampleOptions,
    engine: Engine,
    load_time: Duration,
}

impl Writer<'_> {
    /// Continues one text a line, for a person.
    fn lines(&mut self) -> Result<()> {
        lines::each("Type a text to continue; /bye or Ctrl-D ends.", |line| {
            if matches!(line.trim(), "/bye" | "/exit") {
                return Ok(false);
            }
            INTERRUPTED.store(false, Ordering::Relaxed);
            match self.continue_text(line) {
                Err(error @ (Error::Context { .. } | Error::Request { .. })) => {
                    note(&format!("smolq: error: {error}"));
                }
                other => other?,
            }
            Ok(!self.args.single_turn)
        })
    }

    /// Continues a text on stdout, with a bar while a long one is read.
    fn continue_text(&mut self, text: &str) -> Result<()> {
        let args = self.args;
        let options = EncodeOptions {
            add_special: true,
            parse_special: true,
        };
        let request = Request {
            prompt: self.engine.tokenizer().encode(text, options)?,
            n_predict: usize::try_from(args.predict).ok(),
            stop: args.stop.clone(),
            ignore_eos: args.ignore_eos,
            special: args.special,
            sample: self.sample.clone(),
            ..Request::default()
        };
        let write = |text: &str| {
            let mut out = std::io::stdout().lock();
            out.write_all(visible(text, &out).as_bytes())
                .and_then(|()| out.flush())
                .map_err(stdout_error)
        };
        if args.echo {
            write(text)?;
        }
        let mut guide: Box<dyn Guide> = match chat::grammar(&args.grammar)? {
            None => Box::new(Free),
            Some(grammar) => Box::new(Constraint::new(self.engine.vocabulary()?, &grammar)?),
        };
        // Short prompts are done before a bar could be read.
        let mut bar = None;
        let outcome = self.engine.complete(
            &request,
            guide.as_mut(),
            INTERRUPTED,
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
                Event::Piece(text) => write(text),
            },
        )?;
        write("\n")?;
        if outcome.reason == StopReason::ContextFull {
            note(&format!(
                "smolq: the context of {} tokens is full; -c/--ctx-size makes it larger",
                self.engine.session.n_ctx()
            ));
        }
        if args.verbose || outcome.reason == StopReason::Cancelled {
            report(&outcome, self.load_time);
        }
        Ok(())
    }
}

/// The timings, in the words of Ollama.
pub(super) fn report(outcome: &Outcome, load: Duration) {
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
