//! What a person, or a program, sees of a turn.
//!
//! Answers go to stdout, and nothing else does; thoughts, calls and results go to stderr. With `--json` everything is one event a line on
//! stdout. A terminal is shown control characters, and does not get them.

use super::args::Thoughts;
use super::keys::Keys;
use super::wrap::Wrap;
use crate::chat::{Call, ReplyEvent};
use crate::cli::interrupt::CONTROL;
use crate::cli::{load, note, one_line, stdout_error, visible};
use crate::converse::{Front, Permission, TurnEvent};
use crate::error::Result;
use crate::generate::{Outcome, StopReason};
use console::{Term, style};
use indicatif::ProgressBar;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::sync::atomic::Ordering;

/// How turns are shown.
#[derive(Clone, Debug)]
pub(super) struct ScreenOptions {
    pub(super) thoughts: Thoughts,
    pub(super) json: bool,
    pub(super) word_wrap: bool,
    /// Whether prompts are shown before answers.
    pub(super) echo: bool,
    /// Whether calls run unasked.
    pub(super) yes: bool,
}

/// Lines of a result that are shown.
const MOST_LINES: usize = 8;

/// What shows the turns of a chat.
pub(super) struct Screen {
    pub(super) options: ScreenOptions,
    stdout: std::io::Stdout,
    /// Whether answers go to a terminal.
    terminal: bool,
    wrap: Wrap,
    /// Whether a thought stands on the terminal's last line.
    thinking: bool,
    /// Whether the answer has begun.
    answering: bool,
    bar: Option<ProgressBar>,
    keys: Option<Keys>,
    /// Tools that may run without being asked about again.
    trusted: BTreeSet<String>,
    /// Tools of which it was said that their schemas are not held.
    loose: BTreeSet<String>,
}

impl Screen {
    pub(super) fn new(options: ScreenOptions) -> Screen {
        let stdout = std::io::stdout();
        Screen {
            terminal: stdout.is_terminal(),
            stdout,
            options,
            wrap: Wrap::new(None, false),
            thinking: false,
            answering: false,
            bar: None,
            keys: None,
            trusted: BTreeSet::new(),
            loose: BTreeSet::new(),
        }
    }

    /// Before a turn.
    pub(super) fn begin(&mut self) {
        self.wrap = self.new_wrap();
        self.thinking = false;
        self.answering = false;
        self.keys = Keys::watch();
    }

    /// After a turn, which went well or not.
    pub(super) fn end(&mut self, well: bool) -> Result<()> {
        self.keys = None;
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.end_thought();
        if self.options.json || !(well || self.answering) {
            return Ok(());
        }
        let rest = self.wrap.finish();
        self.print(&rest)?;
        // An answer ends with a line of its own, even an empty one, as a program that prints one would do.
        self.print("\n")
    }

    fn print(&mut self, text: &str) -> Result<()> {
        let mut out = self.stdout.lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(stdout_error)
    }

    fn event(&mut self, event: &Json) -> Result<()> {
        let mut line = event.to_string();
        if self.terminal && line.contains(char::is_control) {
            // JSON itself escapes only those below U+0020.
            let escaped = line.chars().map(|c| match c.is_control() {
                true => format!("\\u{:04x}", u32::from(c)),
                false => c.to_string(),
            });
            line = escaped.collect();
        }
        self.print(&format!("{line}\n"))
    }

    fn end_thought(&mut self) {
        if self.thinking {
            drop(Term::stderr().write_line(""));
            self.thinking = false;
        }
    }

    fn answer(&mut self, text: &str) -> Result<()> {
        self.end_thought();
        self.answering = true;
        let text = self.wrap.push(&visible(text, &self.stdout));
        self.print(&text)
    }

    fn thought(&mut self, text: &str) {
        let term = Term::stderr();
        let shown = match self.options.thoughts {
            Thoughts::Show => true,
            Thoughts::Dim => term.is_term(),
            Thoughts::Hide => false,
        };
        if !shown {
            return;
        }
        let text = if self.thinking {
            text
        } else {
            text.trim_start()
        };
        if text.is_empty() {
            return;
        }
        self.thinking = true;
        let text = visible(text, &std::io::stderr());
        let styled = match self.options.thoughts {
            Thoughts::Dim => style(text).dim().for_stderr().to_string(),
            _ => text.into_owned(),
        };
        // That nobody reads it is no error.
        drop(write!(std::io::stderr(), "{styled}"));
    }

    /// Says something on stderr, on a line of its own.
    fn aside(&mut self, text: &str) -> Result<()> {
        self.end_thought();
        if self.answering && self.wrap.in_line() && self.terminal {
            let rest = self.wrap.finish();
            self.print(&format!("{rest}\n"))?;
            self.wrap = self.new_wrap();
        }
        note(text);
        Ok(())
    }

    /// What breaks lines from the beginning of one on.
    fn new_wrap(&self) -> Wrap {
        let width = usize::from(Term::stdout().size().1).max(1);
        let wrapped = self.terminal && self.options.word_wrap;
        Wrap::new(
            wrapped.then_some(width),
            self.terminal && console::colors_enabled(),
        )
    }

    fn reply(&mut self, event: ReplyEvent) -> Result<()> {
        if self.options.json {
            let event = match event {
                ReplyEvent::Thought(text) => json!({"event": "thought", "text": text}),
                ReplyEvent::Answer(text) => json!({"event": "answer", "text": text}),
                ReplyEvent::CallBegin { index, name } => {
                    json!({"event": "call_begin", "index": index, "name": name})
                }
                ReplyEvent::CallArguments { index, text } => {
                    json!({"event": "call_arguments", "index": index, "text": text})
                }
                ReplyEvent::CallEnd {
                    index,
                    call: Ok(call),
                } => {
                    json!({"event": "call", "index": index, "name": call.name, "arguments": call.arguments})
                }
                ReplyEvent::CallEnd {
                    index,
                    call: Err(why),
                } => json!({"event": "call", "index": index, "error": why}),
            };
            return self.event(&event);
        }
        match event {
            ReplyEvent::Thought(text) => {
                self.thought(&text);
                Ok(())
            }
            ReplyEvent::Answer(text) => self.answer(&text),
            ReplyEvent::CallBegin { .. } | ReplyEvent::CallArguments { .. } => Ok(()),
            ReplyEvent::CallEnd { call: Ok(call), .. } => {
                let arguments = one_line(&call.arguments.to_string());
                let mark = style("->").cyan().for_stderr();
                self.aside(&format!("{mark} {} {arguments}", one_line(&call.name)))
            }
            ReplyEvent::CallEnd { call: Err(why), .. } => {
                let mark = style("->").red().for_stderr();
                self.aside(&format!("{mark} {}", one_line(&why)))
            }
        }
    }

    fn result(&mut self, call: Option<&Call>, text: &str, failed: bool) -> Result<()> {
        let name = call.map(|call| call.name.as_str());
        if self.options.json {
            return self
                .event(&json!({"event": "result", "name": name, "text": text, "failed": failed}));
        }
        let mark = style("<-").for_stderr();
        let mark = if failed { mark.red() } else { mark.green() };
        let mut lines = text.trim_end().lines();
        for (i, line) in lines.by_ref().take(MOST_LINES).enumerate() {
            let line = style(one_line(line)).dim().for_stderr();
            match i {
                0 => self.aside(&format!("{mark} {line}"))?,
                _ => self.aside(&format!("   {line}"))?,
            }
        }
        match lines.count() {
            0 => Ok(()),
            more => self.aside(&format!("   … {more} more line(s)")),
        }
    }

    /// The end of a turn for programs.
    pub(super) fn done(
        &mut self,
        outcome: &Outcome,
        steps: usize,
        used: usize,
        n_ctx: usize,
    ) -> Result<()> {
        if !self.options.json {
            return Ok(());
        }
        self.event(&json!({
            "event": "done",
            "reason": reason(outcome.reason),
            "steps": steps,
            "prompt_tokens": outcome.prompt_tokens,
            "cached_tokens": outcome.cached_tokens,
            "prompt_seconds": outcome.prompt_time.as_secs_f64(),
            "tokens": outcome.tokens,
            "seconds": outcome.time.as_secs_f64(),
            "context_used": used,
            "context": n_ctx,
            "seed": outcome.seed,
        }))
    }
}

/// Why an answer ended, as one word.
pub(super) fn reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::EndOfText => "end",
        StopReason::Limit => "length",
        StopReason::Stop => "stop",
        StopReason::ContextFull => "context",
        StopReason::Cancelled => "cancelled",
    }
}

impl Front for Screen {
    fn event(&mut self, event: TurnEvent<'_>) -> Result<()> {
        if self.keys.as_ref().is_some_and(Keys::escape) {
            CONTROL.end_thought.store(true, Ordering::Relaxed);
        }
        match event {
            TurnEvent::Reading { done, total } if done < total => {
                // Short prompts are done before a bar could be read.
                let bar = self
                    .bar
                    .get_or_insert_with(|| load::progress(Some(total as u64), "reading"));
                bar.set_position(done as u64);
                Ok(())
            }
            TurnEvent::Reading { .. } => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
                Ok(())
            }
            TurnEvent::Prompt(text) => match self.options.echo {
                true if self.options.json => self.event(&json!({"event": "prompt", "text": text})),
                true => {
                    let text = visible(text, &self.stdout);
                    self.print(&text)
                }
                false => Ok(()),
            },
            TurnEvent::Reply(event) => self.reply(event),
            TurnEvent::Result { call, result } => self.result(call, &result.text, result.failed),
            TurnEvent::Loose { tool, why } => {
                // Once, not with each reply.
                if self.loose.insert(tool.to_owned()) {
                    let (tool, why) = (one_line(tool), one_line(why));
                    note(&format!(
                        "smolq: warning: calls of {tool} are not held to its schema: {why}"
                    ));
                }
                Ok(())
            }
            TurnEvent::Step(_) => Ok(()),
        }
    }

    fn permit(&mut self, call: &Call, preview: &str, harmless: bool) -> Result<Permission> {
        if harmless || self.options.yes || self.trusted.contains(&call.name) {
            return Ok(Permission::Granted);
        }
        self.end_thought();
        let watched = self.keys.take().is_some();
        let Some(keys) = Keys::ask() else {
            if watched {
                self.keys = Keys::watch();
            }
            self.aside(&format!(
                "smolq: {} is not run: nobody can be asked; --yes runs calls without asking",
                one_line(&call.name)
            ))?;
            return Ok(Permission::Refused);
        };
        let term = Term::stderr();
        drop(term.write_str(&format!(
            "run {}? [y]es, [n]o, [a]lways, [s]top: ",
            one_line(preview)
        )));
        let (word, permission) = loop {
            match keys.key(&CONTROL.cancel) {
                Some('y' | 'Y') => break ("yes", Permission::Granted),
                Some('a' | 'A') => {
                    self.trusted.insert(call.name.clone());
                    break ("always", Permission::Granted);
                }
                Some('n' | 'N' | '\r' | '\n') => break ("no", Permission::Refused),
                // Esc, Ctrl-D, and Ctrl-C, which sets the flag.
                Some('s' | 'S' | '\x1b' | '\x04') | None => break ("stop", Permission::Stop),
                Some(_) => {}
            }
        };
        drop(keys);
        drop(term.write_line(word));
        if watched {
            self.keys = Keys::watch();
        }
        Ok(permission)
    }
}
