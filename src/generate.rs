//! One request: prompt ids in, pieces of text out.
//!
//! [`generate`] reads the prompt, then samples until something ends it: the model, a limit, a stop string, the context, or the
//! caller. It yields [`Event`]s and knows no terminal and no network; a front end decides what to do with a piece. Text comes
//! in whole characters, and never includes a stop string or a part of one that was completed later.

use crate::constrain::Constraint;
use crate::error::{Error, Result};
use crate::model::{Model, Session};
use crate::sample::{SampleOptions, Sampler};
use crate::speculate::{Counts, Reader, Speculator};
use crate::tokenizer::Tokenizer;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The prompt. Tokens that the session already holds at its beginning are not read again.
    pub prompt: Vec<u32>,
    /// Tokens to generate at most; `None` goes on until the model or the context ends.
    pub n_predict: Option<usize>,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// Tokens that end the answer, beside the model's own.
    pub stop_tokens: Vec<u32>,
    /// Whether the model's own end of text is forbidden.
    pub ignore_eos: bool,
    /// Whether control tokens appear in the text.
    pub special: bool,
    /// How tokens are chosen.
    pub sample: SampleOptions,
}

/// What happens, as it happens.
#[derive(Debug)]
pub enum Event<'a> {
    /// So many tokens of the prompt are read.
    Prompt {
        /// Tokens read.
        done: usize,
        /// Tokens to read.
        total: usize,
    },
    /// Text, in whole characters.
    Piece(&'a str),
}

/// Why an answer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopReason {
    /// The model said so.
    EndOfText,
    /// `n_predict` tokens are there.
    Limit,
    /// A stop string or stop token came.
    Stop,
    /// The context is full.
    ContextFull,
    /// The caller said so.
    Cancelled,
}

/// How an answer went.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Outcome {
    /// Why it ended.
    pub reason: StopReason,
    /// Tokens of the prompt that were read now.
    pub prompt_tokens: usize,
    /// Tokens of the prompt that the session held already.
    pub cached_tokens: usize,
    /// Reading the prompt.
    pub prompt_time: Duration,
    /// Tokens generated.
    pub tokens: usize,
    /// Generating them, all but the first, which the prompt pays for.
    pub time: Duration,
    /// The seed that was used.
    pub seed: u64,
    /// Passes and drafts.
    pub counts: Counts,
}

/// What has a say in an answer beside the model: a grammar, a limit of thought, the beginning of a call.
///
/// [`Guide::next`] is asked once for each token, then [`Guide::accept`] is told what it became. A token that ends the answer is not
/// told.
pub trait Guide {
    /// What may come next.
    ///
    /// # Errors
    /// If nothing may, or the guide cannot go on; the request then fails.
    fn next(&mut self) -> Result<Next<'_>>;

    /// Tokens that will have to come next, as far as that is certain. They are read in as few passes as their number allows.
    fn certain(&mut self) -> Vec<u32> {
        Vec::new()
    }

    /// Takes note of a token of the answer.
    ///
    /// # Errors
    /// If the guide cannot go on; the request then fails.
    fn accept(&mut self, id: u32) -> Result<()>;
}

/// What a [`Guide`] lets come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// Whatever the model says.
    Any,
    /// One of these: bit `id % 32` of word `id / 32` stands for a token.
    Among(&'a [u32]),
    /// This token, whatever the model says.
    Exactly(u32),
    /// Nothing: the answer is whole.
    End,
}

/// The guide that leaves everything to the model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Free;

impl Guide for Free {
    fn next(&mut self) -> Result<Next<'_>> {
        Ok(Next::Any)
    }
    fn accept(&mut self, _: u32) -> Result<()> {
        Ok(())
    }
}

/// A grammar on its own holds the answer to it from the first token on.
impl Guide for Constraint {
    fn next(&mut self) -> Result<Next<'_>> {
        match self.is_over() {
            true => Ok(Next::End),
            false => self.allowed().map(Next::Among),
        }
    }
    fn certain(&mut self) -> Vec<u32> {
        Constraint::certain(self)
    }
    fn accept(&mut self, id: u32) -> Result<()> {
        Constraint::accept(self, id)
    }
}

/// Runs a request, one token after the other.
///
/// # Errors
/// As [`generate_ahead`].
pub fn generate(
    session: &mut Session,
    tokenizer: &Tokenizer,
    request: &Request,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(Event<'_>) -> Result<()>,
) -> Result<Outcome> {
    let speculator = &mut Speculator::off();
    generate_ahead(session, speculator, tokenizer, request, cancel, on_event)
}

/// Runs a request, reading ahead what the speculator drafts. The answer is that of [`generate`], only sooner.
///
/// # Errors
/// As [`generate_guided`].
pub fn generate_ahead(
    session: &mut Session,
    speculator: &mut Speculator,
    tokenizer: &Tokenizer,
    request: &Request,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(Event<'_>) -> Result<()>,
) -> Result<Outcome> {
    let guide = &mut Free;
    generate_guided(
        session, speculator, tokenizer, request, guide, cancel, on_event,
    )
}

/// Runs a request under a guide, reading ahead what the speculator drafts and what the guide knows to come.
///
/// `cancel` is looked at between tokens and between passes of the prompt.
///
/// # Errors
/// If the request makes no sense, the prompt does not fit the context, the model's output is not finite, or `guide` or `on_event` fail.
/// The session then holds what was read.
pub fn generate_guided(
    session: &mut Session,
    speculator: &mut Speculator,
    tokenizer: &Tokenizer,
    request: &Request,
    guide: &mut dyn Guide,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(Event<'_>) -> Result<()>,
) -> Result<Outcome> {
    same_vocabulary(session.model(), tokenizer)?;
    let n_vocab = session.model().config().n_vocab;
    let mut options = request.sample.clone();
    if request.ignore_eos {
        options.logit_bias.extend(
            tokenizer
                .eog_ids()
                .iter()
                .map(|&id| (id, f32::NEG_INFINITY)),
        );
    }
    let mut sampler = Sampler::new(&options, n_vocab)?;
    if request.stop.iter().any(String::is_empty) {
        return Err(Error::Request {
            field: "stop",
            why: "a stop string is empty".to_owned(),
        });
    }
    for &id in &request.prompt {
        sampler.accept(id);
    }
    // The last token is always read, because its logits are wanted.
    let cached = session
        .known(&request.prompt)
        .min(request.prompt.len().saturating_sub(1));
    session.truncate(cached);
    if speculator.most() > 0 {
        session.reserve(speculator.most() + 1)?;
    }

    let start = Instant::now();
    let rest = &request.prompt[cached..];
    let total = rest.len();
    let mut failed = None;
    let first = {
        let read = session.prefill(rest, &mut |done| {
            if let Err(error) = on_event(Event::Prompt { done, total }) {
                failed = Some(error);
            }
            failed.is_none() && !cancel.load(Ordering::Relaxed)
        })?;
        match read {
            Some(logits) if failed.is_none() && request.n_predict != Some(0) => {
                choose(&mut sampler, guide, &logits)?
            }
            _ => None,
        }
    };
    if let Some(error) = failed {
        return Err(error);
    }
    if first.is_some() {
        speculator.begin(&request.prompt, cancel)?;
    }
    let mut outcome = Outcome {
        reason: if cancel.load(Ordering::Relaxed) {
            StopReason::Cancelled
        } else if request.n_predict == Some(0) {
            StopReason::Limit
        } else {
            // The guide wants no token at all.
            StopReason::EndOfText
        },
        prompt_tokens: total,
        cached_tokens: cached,
        prompt_time: start.elapsed(),
        tokens: 0,
        time: Duration::ZERO,
        seed: sampler.seed(),
        counts: Counts::default(),
    };
    let Some(mut id) = first else {
        return Ok(outcome);
    };

    let start = Instant::now();
    let mut stream = tokenizer.stream(request.special);
    let mut stops = Stops::new(&request.stop);
    let mut reader = Reader::new(session, speculator);
    // Whether what is held back began a stop string that came: it is not part of the answer.
    let mut found = false;
    outcome.reason = loop {
        if tokenizer.is_eog(id) && !request.ignore_eos {
            break StopReason::EndOfText;
        }
        if request.stop_tokens.contains(&id) {
            break StopReason::Stop;
        }
        outcome.tokens += 1;
        sampler.accept(id);
        guide.accept(id)?;
        let (text, stopped) = stops.push(&stream.push(id));
        if !text.is_empty() {
            on_event(Event::Piece(&text))?;
        }
        if stopped {
            found = true;
            break StopReason::Stop;
        }
        if request.n_predict.is_some_and(|n| outcome.tokens >= n) {
            break StopReason::Limit;
        }
        if cancel.load(Ordering::Relaxed) {
            break StopReason::Cancelled;
        }
        if reader.room() == 0 {
            break StopReason::ContextFull;
        }
        let wanted = request.n_predict.map_or(usize::MAX, |n| n - outcome.tokens);
        reader.read(id, wanted, || guide.certain())?;
        match choose(&mut sampler, guide, &reader.logits())? {
            Some(next) => id = next,
            None => break StopReason::EndOfText,
        }
    };
    outcome.counts = reader.counts();
    drop(reader);
    outcome.time = start.elapsed();
    if !found {
        let rest = stops.finish(&stream.finish());
        if !rest.is_empty() {
            on_event(Event::Piece(&rest))?;
        }
    }
    Ok(outcome)
}

/// Makes sure that every token has a row in the model, and every row a token.
pub(crate) fn same_vocabulary(model: &Model, tokenizer: &Tokenizer) -> Result<()> {
    let (rows, tokens) = (model.config().n_vocab, tokenizer.n_vocab());
    if rows == tokens {
        return Ok(());
    }
    Err(Error::Model(format!(
        "{}: tensor \"token_embd.weight\" has {rows} rows for a vocabulary of {tokens} tokens; the file was made wrongly, convert the model again",
        model.gguf().path().display()
    )))
}

/// The next token, of those that the guide allows; `None` if it allows no more.
fn choose(sampler: &mut Sampler, guide: &mut dyn Guide, logits: &[f32]) -> Result<Option<u32>> {
    Ok(match guide.next()? {
        Next::Any => Some(sampler.sample(logits)?),
        Next::Among(allowed) => Some(sampler.sample_among(logits, allowed)?),
        // The draw is taken all the same, so that what follows does not depend on who chose.
        Next::Exactly(id) => {
            sampler.sample(logits)?;
            Some(id)
        }
        Next::End => None,
    })
}

/// Holds back text that may be the beginning of a stop string.
struct Stops<'a> {
    stops: &'a [String],
    held: String,
}

impl<'a> Stops<'a> {
    fn new(stops: &'a [String]) -> Stops<'a> {
        Stops {
            stops,
            held: String::new(),
        }
    }

    /// Takes text; gives what is certain, and whether a stop string came.
    fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        let first = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()))
            .min();
        if let Some(at) = first {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        // The longest end of the text that begins a stop string stays.
        let kept = |stop: &String| {
            (1..stop.len())
                .rev()
                .find(|&n| stop.is_char_boundary(n) && self.held.ends_with(&stop[..n]))
                .unwrap_or(0)
        };
        let kept = self.stops.iter().map(kept).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - kept);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// The end of the text: what was held back was no stop string.
    fn finish(mut self, text: &str) -> String {
        let (mut out, stopped) = self.push(text);
        if !stopped {
            out.push_str(&self.held);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_strings_are_found_across_pieces_and_held_back_no_longer_than_needed() {
        let stops = ["END".to_owned(), "Note:".to_owned()];
        let mut s = Stops::new(&stops);
        assert_eq!(s.push("a E"), ("a ".to_owned(), false));
        assert_eq!(s.push("N"), (String::new(), false));
        assert_eq!(s.push("x"), ("ENx".to_owned(), false));
        assert_eq!(s.push("yEN"), ("y".to_owned(), false));
        assert_eq!(s.push("D rest"), (String::new(), true));

        let mut s = Stops::new(&stops);
        assert_eq!(s.push("No"), (String::new(), false));
        assert_eq!(s.finish("t"), "Not");
        let s = Stops::new(&stops);
        assert_eq!(s.finish("a Note: b"), "a ");
        let mut s = Stops::new(&[]);
        assert_eq!(s.push("all"), ("all".to_owned(), false));
    }

    #[test]
    fn stop_strings_may_hold_any_characters() {
        let stops = ["é!".to_owned()];
        let mut s = Stops::new(&stops);
        assert_eq!(s.push("caf"), ("caf".to_owned(), false));
        assert_eq!(s.push("é"), (String::new(), false));
        assert_eq!(s.push("?"), ("é?".to_owned(), false));
        assert_eq!(s.push("é!"), (String::new(), true));
    }
}
