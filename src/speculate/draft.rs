//! A small model that says what a large one is likely to say next.

use crate::error::{Error, Result};
use crate::model::Session;
use crate::sample::{SampleOptions, Sampler};
use crate::tokenizer::Tokenizer;
use std::sync::atomic::{AtomicBool, Ordering};

/// A model with the vocabulary of the one that it drafts for, and what it has read of the text.
///
/// It always drafts its likeliest token, whatever the temperature of the answer: a draft is a guess at the token that will
/// be drawn, and no guess is better than the likeliest.
pub struct DraftModel {
    session: Session,
    sampler: Sampler,
    /// Tokens at the beginning of the session that are those of the text. What follows them are drafts that were refused.
    agreed: usize,
}

impl DraftModel {
    /// Drafts with `session`, whose vocabulary is `own`, for a model of the vocabulary `target`.
    ///
    /// # Errors
    /// If the vocabularies differ, naming the first difference.
    pub fn new(session: Session, own: &Tokenizer, target: &Tokenizer) -> Result<DraftModel> {
        let refuse = |why: String| Error::Request {
            field: "--draft-model",
            why: format!(
                "{why}; a draft model needs the vocabulary of the model that it drafts for"
            ),
        };
        if own.n_vocab() != target.n_vocab() {
            return Err(refuse(format!(
                "it has {} tokens and the model {}",
                own.n_vocab(),
                target.n_vocab()
            )));
        }
        let n_vocab = session.model().config().n_vocab;
        if n_vocab != target.n_vocab() {
            return Err(refuse(format!(
                "it gives {n_vocab} logits for a vocabulary of {}",
                target.n_vocab()
            )));
        }
        if let Some(id) = (0..n_vocab as u32).find(|&id| own.piece(id) != target.piece(id)) {
            let shown = |tokenizer: &Tokenizer| {
                let piece = String::from_utf8_lossy(tokenizer.piece(id));
                piece.chars().take(40).collect::<String>()
            };
            return Err(refuse(format!(
                "token {id} is {:?} in it and {:?} in the model",
                shown(own),
                shown(target)
            )));
        }
        let greedy = SampleOptions {
            temp: 0.0,
            ..SampleOptions::default()
        };
        Ok(DraftModel {
            sampler: Sampler::new(&greedy, n_vocab)?,
            session,
            agreed: 0,
        })
    }

    /// Begins a text and reads it. What the session holds of it already is not read again.
    ///
    /// # Errors
    /// If memory is not to be had. A text that does not fit the session's context is no error: nothing is drafted for it.
    pub(super) fn begin(&mut self, text: &[u32], cancel: &AtomicBool) -> Result<()> {
        self.agreed = self.session.known(text);
        if self.agreed < text.len() && text.len() <= self.session.n_ctx() {
            self.session.truncate(self.agreed);
            let rest = &text[self.agreed..];
            let go_on = &mut |_| !cancel.load(Ordering::Relaxed);
            self.session.prefill(rest, go_on).map_err(of_draft)?;
            self.agreed = self.session.pos();
        }
        Ok(())
    }

    /// The text got its token number `at`.
    pub(super) fn push(&mut self, at: usize, id: u32) {
        if at == self.agreed && self.session.tokens().get(at) == Some(&id) {
            self.agreed += 1;
        }
    }

    /// Tokens before the last one of a text of that length that it has not read.
    pub(super) fn missed(&self, len: usize) -> usize {
        len.saturating_sub(self.agreed + 1)
    }

    /// How many tokens it could draft after a text of that length: what its own context has room for.
    pub(super) fn room(&self, len: usize) -> usize {
        // The last draft is never read.
        (self.session.n_ctx() + 1).saturating_sub(len)
    }

    /// Appends to `drafts` the `n` tokens that are likeliest to follow `text`, each after those before it. `n` is at least 1
    /// and at most [`DraftModel::room`] of the text's length.
    ///
    /// # Errors
    /// If memory is not to be had, or the model's output is not finite.
    pub(super) fn draft(&mut self, text: &[u32], n: usize, drafts: &mut Vec<u32>) -> Result<()> {
        // The last token is read again if it has been read, because its logits are wanted.
        self.agreed = self.agreed.min(text.len().saturating_sub(1));
        self.session.truncate(self.agreed);
        let mut next = self.likeliest_after(&text[self.agreed..])?;
        self.agreed = text.len();
        drafts.push(next);
        for _ in 1..n {
            next = self.likeliest_after(&[next])?;
            drafts.push(next);
        }
        Ok(())
    }

    fn likeliest_after(&mut self, ids: &[u32]) -> Result<u32> {
        let read = self.session.prefill(ids, &mut |_| true).map(drop);
        read.and_then(|()| self.sampler.sample(&self.session.logits()))
            .map_err(of_draft)
    }
}

/// An error that says which of the two models it is about.
fn of_draft(error: Error) -> Error {
    Error::Request {
        field: "--draft-model",
        why: error.to_string(),
    }
}
