//! A session: the tokens a model has seen, and what it needs to see more.

use super::Model;
use super::cache::{Cache, KvType};
use super::fit::Fit;
use super::forward::{Scratch, forward};
use super::profile::{Profile, Recorder};
use crate::error::{Error, Result};
use crate::machine::{Cores, Memory, human};
use smolq_kernels::Pool;
use smolq_kernels::Ref;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Logits kept at once when every row is wanted, in bytes.
const LOGITS_BYTES: usize = 64 << 20;

/// How a session is set up.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Positions; 0 means as many as the model was trained for.
    pub n_ctx: usize,
    /// How keys are stored.
    pub cache_k: KvType,
    /// How values are stored.
    pub cache_v: KvType,
    /// Tokens of a prompt that go into one pass.
    pub n_ubatch: usize,
    /// Threads; 0 means one for each fast core.
    pub threads: usize,
}

impl Default for SessionOptions {
    fn default() -> SessionOptions {
        SessionOptions {
            n_ctx: 0,
            cache_k: KvType::F16,
            cache_v: KvType::F16,
            n_ubatch: 512,
            threads: 0,
        }
    }
}

/// Memory that a session needs, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionMemory {
    /// The KV cache.
    pub cache: usize,
    /// Buffers of a forward pass.
    pub scratch: usize,
}

/// A conversation with a model.
pub struct Session {
    pub(super) model: Arc<Model>,
    pub(super) cache: Cache,
    scratch: Scratch,
    pool: Pool,
    pub(super) n_ctx: usize,
    n_ubatch: usize,
    pub(super) tokens: Vec<u32>,
    recorder: Option<Recorder>,
    /// Rows of logits that the last pass gave.
    pub(super) wanted: usize,
}

/// Logits of one pass, borrowed from a session: `[rows, n_vocab]`, one row after the other.
pub struct Logits<'a> {
    all: Ref<'a, f32>,
    rows: usize,
}

impl Logits<'_> {
    /// The logits of the `row`-th token whose logits were wanted, `[n_vocab]`.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn row(&self, row: usize) -> &[f32] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        self.all.row(row)
    }
}

impl Deref for Logits<'_> {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // Past these are rows of wider passes.
        &self.all[..self.rows * self.all.row(0).len()]
    }
}

impl Session {
    /// An empty session.
    ///
    /// # Errors
    /// If a setting cannot be honoured, or memory or threads are not to be had.
    pub fn new(model: Arc<Model>, options: &SessionOptions) -> Result<Session> {
        let n_ctx = if options.n_ctx == 0 {
            model.config().n_ctx
        } else {
            options.n_ctx
        };
        if options.n_ubatch == 0 {
            return Err(Error::Request {
                field: "--ubatch-size",
                why: "must be at least 1".to_owned(),
            });
        }
        const MOST_THREADS: usize = 512;
        if options.threads > MOST_THREADS {
            return Err(Error::Request {
                field: "--threads",
                why: format!("at most {MOST_THREADS}"),
            });
        }
        let cache = Cache::new(model.config(), n_ctx, options.cache_k, options.cache_v)
            .map_err(|error| advised(error, &model, options))?;
        let threads = match options.threads {
            0 => Cores::here().threads(),
            threads => threads,
        };
        let pool = Pool::new(threads).map_err(Error::Resources)?;
        let scratch = Scratch::new(&model, pool.size(), 1, 1).map_err(no_buffers(1))?;
        Ok(Session {
            model,
            cache,
            scratch,
            pool,
            n_ctx,
            n_ubatch: options.n_ubatch,
            tokens: Vec::new(),
            recorder: None,
            wanted: 0,
        })
    }

    /// What a session with these options would need that is asked for the logits of up to `rows` tokens at once.
    pub fn memory(model: &Model, options: &SessionOptions, rows: usize) -> SessionMemory {
        let n_ctx = if options.n_ctx == 0 {
            model.config().n_ctx
        } else {
            options.n_ctx
        };
        // Numbers that nobody means must not overflow.
        const MOST: usize = 1 << (usize::BITS * 3 / 8);
        let tokens = options.n_ubatch.min(n_ctx).min(MOST);
        SessionMemory {
            cache: Cache::bytes(model.config(), n_ctx, options.cache_k, options.cache_v),
            scratch: Scratch::bytes(model, tokens, rows.min(MOST)),
        }
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Positions there are.
    pub fn n_ctx(&self) -> usize {
        self.n_ctx
    }

    /// Threads in use.
    pub fn threads(&self) -> usize {
        self.pool.size()
    }

    /// Tokens held.
    pub fn pos(&self) -> usize {
        self.tokens.len()
    }

    /// The tokens held.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// How many tokens at the beginning of `text` are held.
    pub fn known(&self, text: &[u32]) -> usize {
        let both = self.tokens.iter().zip(text);
        both.take_while(|(held, id)| held == id).count()
    }

    /// The threads, for measuring what they can do.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Records from now on, or no longer, where the time of forward passes goes. It costs some microseconds a pass.
    pub fn set_profiling(&mut self, on: bool) {
        self.recorder = on.then(Recorder::new);
    }

    /// What was recorded since the last call; `None` if nothing is.
    pub fn take_profile(&mut self) -> Option<Profile> {
        self.recorder.as_ref().map(Recorder::take)
    }

    /// Forgets all but the first `n` tokens.
    pub fn truncate(&mut self, n: usize) {
        self.tokens.truncate(n);
    }

    /// Reads `ids`, in passes of up to `n_ubatch`, and gives the logits of the last one, `[n_vocab]`.
    ///
    /// `progress` is told after each pass how many of `ids` are done; if it gives `false`, reading stops there and the
    /// result is `None`.
    ///
    /// # Errors
    /// If `ids` is empty, an id is not in the vocabulary, the context is too small, or memory is not to be had. The session
    /// is then as it was, or holds what was read before.
    pub fn prefill(
        &mut self,
        ids: &[u32],
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Logits<'_>>> {
        self.check(ids)?;
        let mut done = 0;
        for chunk in ids.chunks(self.n_ubatch) {
            let last = done + chunk.len() == ids.len();
            self.pass(
                chunk,
                if last {
                    chunk.len() - 1..chunk.len()
                } else {
                    0..0
                },
            )?;
            done += chunk.len();
            if !progress(done) && !last {
                return Ok(None);
            }
        }
        Ok(Some(self.logits()))
    }

    /// Reads `ids` and hands `sink` the logits of every one, some rows of `[n_vocab]` at a time.
    ///
    /// # Errors
    /// As [`Session::prefill`], and what `sink` gives.
    pub fn logits_all(
        &mut self,
        ids: &[u32],
        sink: &mut dyn FnMut(&[f32]) -> Result<()>,
    ) -> Result<()> {
        self.check(ids)?;
        let n_vocab = self.model.config().n_vocab;
        let rows = (LOGITS_BYTES / (4 * n_vocab)).clamp(1, self.n_ubatch);
        for chunk in ids.chunks(rows) {
            self.pass(chunk, 0..chunk.len())?;
            sink(&self.logits())?;
        }
        Ok(())
    }

    /// Makes room for passes of which the logits of up to `rows` tokens are wanted, so that [`Session::read`] with any
    /// number up to it takes no memory.
    ///
    /// # Errors
    /// If memory is not to be had; the session is then as it was.
    pub fn reserve(&mut self, rows: usize) -> Result<()> {
        self.grow(rows, rows)
    }

    /// Reads `ids` in one pass, however many they are, and keeps the logits of every one for [`Session::logits`].
    ///
    /// # Errors
    /// As [`Session::prefill`]; the session is then as it was.
    pub fn read(&mut self, ids: &[u32]) -> Result<()> {
        self.check(ids)?;
        self.pass(ids, 0..ids.len())
    }

    /// What the last pass gave: of [`Session::prefill`] the logits of the last token, of [`Session::read`] those of all.
    /// Empty before the first pass, after [`Session::read_state`], and after [`Session::reserve`] made new room.
    pub fn logits(&self) -> Logits<'_> {
        Logits {
            all: self.scratch.logits.read(),
            rows: self.wanted,
        }
    }

    fn check(&self, ids: &[u32]) -> Result<()> {
        let n_vocab = self.model.config().n_vocab;
        if ids.is_empty() {
            return Err(Error::Request {
                field: "prompt",
                why: "has no tokens".to_owned(),
            });
        }
        if let Some(id) = ids.iter().find(|&&id| id as usize >= n_vocab) {
            let why = format!("token id {id} is not in the vocabulary of {n_vocab}");
            return Err(Error::Request {
                field: "tokens",
                why,
            });
        }
        let needed = self.tokens.len().saturating_add(ids.len());
        if needed > self.n_ctx {
            return Err(Error::Context {
                needed,
                n_ctx: self.n_ctx,
            });
        }
        Ok(())
    }

    /// Makes buffers for passes of that many tokens and rows of logits, if they are not there yet.
    fn grow(&mut self, tokens: usize, rows: usize) -> Result<()> {
        let (had_tokens, had_rows) = self.scratch.capacity();
        if tokens <= had_tokens && rows <= had_rows {
            return Ok(());
        }
        // Grown to what is needed, then kept: a short prompt never pays for a long one.
        let tokens = tokens
            .next_power_of_two()
            .min(self.n_ubatch)
            .max(tokens)
            .max(had_tokens);
        self.scratch = Scratch::new(&self.model, self.pool.size(), tokens, rows.max(had_rows))
            .map_err(no_buffers(tokens))?;
        self.wanted = 0;
        Ok(())
    }

    /// One forward pass.
    fn pass(&mut self, ids: &[u32], wanted: Range<usize>) -> Result<()> {
        self.grow(ids.len(), wanted.len())?;
        self.wanted = wanted.len();
        forward(
            &self.model,
            &self.cache,
            &mut self.scratch,
            &self.pool,
            self.recorder.as_ref(),
            ids,
            self.tokens.len(),
            wanted,
        );
        self.tokens.extend_from_slice(ids);
        Ok(())
    }
}

/// An error about the cache, with what would fit.
fn advised(error: Error, model: &Model, options: &SessionOptions) -> Error {
    let Error::Resources(why) = error else {
        return error;
    };
    let memory = Memory::here().map(|memory| {
        // As it was before the file was read.
        let held = if model.gguf().mapped() {
            0
        } else {
            model.gguf().file_bytes()
        };
        Memory {
            room: memory.room.saturating_add(held),
            ..memory
        }
    });
    let fit = memory.map(|memory| Fit::of(model, options, 1, memory));
    let advice = fit.and_then(|fit| {
        let room = human(fit.memory().room);
        Some(format!("{room} is to be had; {}", fit.advice()?))
    });
    let advice = advice.unwrap_or_else(|| "lower -c/--ctx-size".to_owned());
    Error::Resources(format!("{why}; {advice}"))
}

/// The error that there is no memory for buffers of so many tokens.
fn no_buffers(tokens: usize) -> impl Fn(String) -> Error {
    move |why| {
        let advice = match tokens {
            1 => "close other programs",
            _ => "lower -ub/--ubatch-size",
        };
        Error::Resources(format!(
            "buffers for {tokens} tokens a pass: {why}; {advice}"
        ))
    }
}
