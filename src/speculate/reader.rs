//! The answer read token by token, ahead where there are drafts.

use super::Speculator;
use crate::error::Result;
use crate::model::{Logits, Session};
use std::ops::Deref;
use std::time::{Duration, Instant};

/// Certain tokens that are read in one pass at most: each takes a row of logits, and more would hardly be cheaper for each.
const CERTAIN: usize = 32;

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

/// Reads the tokens of an answer, one after the other. However it ends, the session then holds the
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
    /// Whether the drafts were the speculator's.
    drafted: bool,
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
            drafted: false,
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

    /// Reads `id`. At most `wanted` tokens will be asked for after it; `certain` tells which they will be, as far as that is known.
    ///
    /// # Errors
    /// As [`Session::read`].
    pub(crate) fn read(
        &mut self,
        id: u32,
        wanted: usize,
        certain: impl FnOnce() -> Vec<u32>,
    ) -> Result<()> {
        if self.read.get(self.right + 1) == Some(&id) {
            self.right += 1;
            self.counts.accepted += usize::from(self.drafted);
            self.speculator.push(id);
            Ok(())
        } else {
            self.pass(id, wanted, &certain())
        }
    }

    /// What the model says after the token that was read last, `[n_vocab]`.
    pub(crate) fn logits(&self) -> impl Deref<Target = [f32]> + '_ {
        Row(self.session.logits(), self.right)
    }

    /// Reads `id` and drafts.
    fn pass(&mut self, id: u32, wanted: usize, certain: &[u32]) -> Result<()> {
        if self.drafted {
            self.speculator.learn(self.right, self.time);
        }
        self.drop_drafts();
        self.speculator.push(id);
        let most = self.room().min(wanted).saturating_sub(1);
        self.drafted = certain.is_empty();
        let drafts = match certain {
            [] => self.speculator.propose(most)?,
            certain => &certain[..certain.len().min(most).min(CERTAIN)],
        };
        let ids = [&[id], drafts].concat();
        self.first = self.session.pos();
        let start = Instant::now();
        self.session.read(&ids)?;
        self.time = start.elapsed();
        self.counts.passes += 1;
        if self.drafted {
            self.counts.drafted += ids.len() - 1;
        }
        self.read = ids;
        Ok(())
    }

    fn drop_drafts(&mut self) {
        self.session.truncate(self.pos());
        self.read.clear();
        self.right = 0;
    }
}

/// One row of logits.
struct Row<'a>(Logits<'a>, usize);

impl Deref for Row<'_> {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        self.0.row(self.1)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.drop_drafts();
    }
}
