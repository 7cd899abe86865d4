//! Speculative decoding: reading ahead what the answer is likely to say.
//!
//! Decoding a token reads all weights of the model from memory; a pass of a few tokens reads them once too, and costs little
//! more. So tokens that are likely to follow, *drafts*, are read together with the one that was just sampled. Then the
//! answer is sampled as always, position by position, and as long as the sampled token is the draft, the logits of the next
//! position are there already:
//!
//! ```text
//! sampled: the         drafts: old boat left
//! one pass reads       the old boat left
//! samples after each   old boat sank      -> three tokens for one pass; "left" is dropped from the cache
//! ```
//!
//! The answer is exactly that of plain decoding, for any temperature, penalties and seed: logits are the same bits however
//! a text is cut into passes, and tokens are drawn from them by the same sampler with the same draws in the same order. A
//! wrong draft costs time and nothing else.
//!
//! Drafts come from two sources. [`NgramIndex`] looks where the last few tokens stood before, in the prompt or the answer,
//! and drafts what followed there: free, and right wherever an answer quotes, corrects or summarizes. [`DraftModel`] asks a
//! smaller model of the same vocabulary. How many tokens are drafted is decided by `pace`, from what passes take on this
//! machine and how often drafts have been right; time decides only that, never what is said.
//!
//! A [`Speculator`] belongs to one [`Session`](crate::model::Session) and is kept with it, since what it has learnt about
//! times and the text holds for the next request too. [`generate_ahead`](crate::generate::generate_ahead) drives it.

mod draft;
mod evidence;
mod ngram;
mod pace;
mod reader;

pub use draft::DraftModel;
pub use ngram::{Match, NgramIndex};
pub use reader::Counts;
pub(crate) use reader::Reader;

use crate::error::{Error, Result};
use pace::Pace;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// When a source of drafts is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Never.
    Off,
    /// Wherever it has something to say, with as many drafts as are allowed.
    On,
    /// Where it pays, with as many drafts as pay best.
    #[default]
    Auto,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Mode::Off => "off",
            Mode::On => "on",
            Mode::Auto => "auto",
        })
    }
}

impl std::str::FromStr for Mode {
    type Err = String;
    fn from_str(name: &str) -> std::result::Result<Mode, String> {
        match name {
            "off" => Ok(Mode::Off),
            "on" => Ok(Mode::On),
            "auto" => Ok(Mode::Auto),
            _ => Err(format!("unknown mode {name:?}: on, off or auto")),
        }
    }
}

/// How drafts are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpeculateOptions {
    /// Drafts from earlier in the text.
    pub ngram: Mode,
    /// Drafts from a draft model, if there is one.
    pub model: Mode,
    /// Drafts in one pass at most; 0 turns drafting off. Each takes room for a row of logits.
    pub draft_max: usize,
    /// Fewer drafts than this are not worth a try.
    pub draft_min: usize,
}

impl Default for SpeculateOptions {
    fn default() -> SpeculateOptions {
        SpeculateOptions {
            ngram: Mode::Auto,
            model: Mode::Auto,
            draft_max: 16,
            draft_min: 0,
        }
    }
}

/// Most drafts in one pass: past this a pass costs as much for each token as reading a prompt does.
const MOST_DRAFTS: usize = 64;

/// Where drafts come from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Ngram(Match),
    Model,
}

/// Proposes drafts for one text, and learns from what comes of them.
pub struct Speculator {
    options: SpeculateOptions,
    index: NgramIndex,
    model: Option<DraftModel>,
    pace: Pace,
    drafts: Vec<u32>,
    /// How long the draft model took for them, if it made them.
    drafting: Option<Duration>,
}

impl Speculator {
    /// A speculator without a text yet.
    ///
    /// # Errors
    /// If a setting makes no sense.
    pub fn new(options: SpeculateOptions, model: Option<DraftModel>) -> Result<Speculator> {
        let SpeculateOptions {
            draft_max,
            draft_min,
            ..
        } = options;
        if draft_max > MOST_DRAFTS {
            return Err(Error::Request {
                field: "--draft-max",
                why: format!("at most {MOST_DRAFTS}, not {draft_max}"),
            });
        }
        if draft_min > draft_max {
            return Err(Error::Request {
                field: "--draft-min",
                why: format!("at most --draft-max, which is {draft_max}, not {draft_min}"),
            });
        }
        Ok(Speculator {
            options,
            index: NgramIndex::default(),
            model: model.filter(|_| options.model != Mode::Off),
            pace: Pace::default(),
            drafts: Vec::new(),
            drafting: None,
        })
    }

    /// One that never drafts.
    pub fn off() -> Speculator {
        Speculator {
            options: SpeculateOptions {
                ngram: Mode::Off,
                draft_max: 0,
                ..SpeculateOptions::default()
            },
            index: NgramIndex::default(),
            model: None,
            pace: Pace::default(),
            drafts: Vec::new(),
            drafting: None,
        }
    }

    /// Drafts in one pass at most.
    pub fn most(&self) -> usize {
        if self.options.ngram == Mode::Off && self.model.is_none() {
            return 0;
        }
        self.options.draft_max
    }

    /// Begins an answer to `prompt`. If the prompt only goes on from the text so far, the text is kept.
    ///
    /// # Errors
    /// Those of the draft model.
    pub fn begin(&mut self, prompt: &[u32], cancel: &AtomicBool) -> Result<()> {
        if self.most() == 0 {
            return Ok(());
        }
        if !prompt.starts_with(self.index.tokens()) {
            self.index.clear();
        }
        for &id in &prompt[self.index.tokens().len()..] {
            self.index.push(id);
        }
        self.pace.begin();
        match &mut self.model {
            Some(model) => model.begin(prompt, cancel),
            None => Ok(()),
        }
    }

    /// The text goes on with `id`.
    pub fn push(&mut self, id: u32) {
        if self.most() == 0 {
            return;
        }
        if let Some(model) = &mut self.model {
            model.push(self.index.tokens().len(), id);
        }
        if let Some(found) = self.index.find() {
            let right = self.index.continuation(found, 1).eq([id]);
            self.pace.judge(evidence::of_match(found.len), right);
        }
        self.index.push(id);
    }

    /// Tokens that are likely to follow the text, at most `most`; none if none are worth a try.
    ///
    /// # Errors
    /// Those of the draft model.
    pub fn propose(&mut self, most: usize) -> Result<&[u32]> {
        self.drafts.clear();
        self.drafting = None;
        let most = most.min(self.most());
        match self.choose(most) {
            Some((_, n)) if n < self.options.draft_min => {}
            Some((Source::Ngram(found), n)) => {
                self.drafts.extend(self.index.continuation(found, n));
            }
            Some((Source::Model, n)) => {
                if let Some(model) = &mut self.model {
                    let text = self.index.tokens();
                    let missed = model.missed(text.len());
                    let start = Instant::now();
                    model.draft(text, n, &mut self.drafts)?;
                    let time = start.elapsed();
                    self.pace.drafted(missed, n, time);
                    self.drafting = Some(time);
                }
            }
            None => {}
        }
        Ok(&self.drafts)
    }

    /// The source to use, and how many drafts of it, at most `most` and at least one.
    fn choose(&self, most: usize) -> Option<(Source, usize)> {
        if most == 0 {
            return None;
        }
        let found = self
            .index
            .find()
            .filter(|_| self.options.ngram != Mode::Off);
        let ngram = found.and_then(|found| {
            if self.options.ngram == Mode::On {
                return Some((Source::Ngram(found), most, f64::INFINITY));
            }
            let class = |i| evidence::of_match(found.len + i);
            let plan = self.pace.plan(most, class, None)?;
            Some((Source::Ngram(found), plan.drafts, plan.gain))
        });
        let len = self.index.tokens().len();
        let model = self.model.as_ref().and_then(|model| {
            let most = most.min(model.room(len));
            if self.options.model == Mode::On {
                return (most > 0).then_some((Source::Model, most, f64::INFINITY));
            }
            let plan = self
                .pace
                .plan(most, |_| evidence::MODEL, Some(model.missed(len)))?;
            Some((Source::Model, plan.drafts, plan.gain))
        });
        // Of equals the n-grams, which are free.
        let best = match (ngram, model) {
            (Some(ngram), Some(model)) if model.2 > ngram.2 => model,
            (Some(ngram), _) => ngram,
            (None, model) => model?,
        };
        Some((best.0, best.1))
    }

    /// Takes note of what came of the last proposal: the pass that read it took `time`, and its first `accepted` drafts were
    /// right.
    pub fn learn(&mut self, accepted: usize, time: Duration) {
        if self.most() > 0 {
            self.pace
                .learn(self.drafts.len(), accepted, time, self.drafting);
        }
    }
}
