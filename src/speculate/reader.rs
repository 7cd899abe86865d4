//! The answer read token by token, ahead where there are drafts.

use super::Speculator;
use crate::error::Result;
use crate::model::Session;
use crate::sample::Sampler;
use std::time::{Duration, Instant};

/// What drafting did for an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Forward passes after the prompt.
    pub passes: usize,
    /// Drafts that were read.
    pub drafted: usize,
    /// Drafts that became part of the answer.
    pub accepted: usize,
}

/// Reads the tokens of an answer, one after the other, and samples after each. However it ends, the session then holds the
/// tokens that were handed to it, and no drafts.
pub(crate) struct Reader<'s> {
    session: &'s mut Session,
    speculator: &'s mut Speculator,
    /// What the last pass read: a token of the answer and drafts. Empty if the session holds nothing but the text.
    read: Vec<u32>,
    /// Where that pass began in the session.
    first: usize,
    /// How many of the drafts have turned out right so far.
    right: usize,
    time: Duration,
    counts: Counts,
}

impl<'s> Reader<'s> {
    /// Goes on from what the session holds, which is the text that the speculator knows.
    pub(crate) fn new(session: &'s mut Session, speculator: &'s mut Speculator) -> Reader<'s> {
        Reader {
            first: session.pos(),
            session,
            speculator,
            read: Vec::new(),
            right: 0,
            time: Duration::ZERO,
            counts: Counts::default(),
        }
    }

    /// Tokens that can still be read before the context is full.
    pub(crate) fn room(&self) -> usize {
        self.session.n_ctx() - self.pos()
    }

    /// What drafting did so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Tokens of the text that have been read.
    fn pos(&self) -> usize {
        match self.read.len() {
            0 => self.session.pos(),
            _ => self.first + 1 + self.right,
        }
    }

    /// Reads `id` and samples what follows it. At most `wanted` tokens will be asked for, the one to be sampled included.
    ///
    /// # Errors
    /// As [`Session::read`] and [`Sampler::sample`].
    pub(crate) fn next(&mut self, id: u32, wanted: usize, sampler: &mut Sampler) -> Result<u32> {
        if self.read.get(self.right + 1) == Some(&id) {
            self.right += 1;
            self.counts.accepted += 1;
            self.speculator.push(id);
        } else {
            self.pass(id, wanted)?;
        }
        sampler.sample(self.session.logits().row(self.right))
    }

    /// Reads `id` and drafts.
    fn pass(&mut self, id: u32, wanted: usize) -> Result<()> {
        if !self.read.is_empty() {
            self.speculator.learn(self.right, self.time);
        }
        self.drop_drafts();
        self.speculator.push(id);
        let most = self.room().min(wanted).saturating_sub(1);
        let drafts = self.speculator.propose(most)?;
        let ids = [&[id], drafts].concat();
        self.first = self.session.pos();
        let start = Instant::now();
        self.session.read(&ids)?;
        self.time = start.elapsed();
        self.counts.passes += 1;
        self.counts.drafted += ids.len() - 1;
        self.read = ids;
        Ok(())
    }

    fn drop_drafts(&mut self) {
        self.session.truncate(self.pos());
        self.read.clear();
        self.right = 0;
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.drop_drafts();
    }
}
