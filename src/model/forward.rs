//! The forward pass: one region of parallel steps, the same for one token or many.
//!
//! All threads walk this list, with a barrier after each line:
//!
//! ```text
//! embed                                       x = embedding[id]
//! per layer:
//!   norm + round inputs                       x += down of the layer before
//!   Q, K, V                                   one step, shared inputs
//!   bias, Q/K norm, RoPE; store K and V       by token; by KV head
//!   attention                                 by KV head and tile of tokens
//!   round inputs
//!   attention output
//!   norm + round inputs                       x += attention output
//!   per stretch of columns:                   one, if there are few tokens
//!     gate, up                                one step, shared inputs
//!     SwiGLU + round inputs
//!   down
//! norm + round inputs of the wanted rows
//! logits of the wanted rows
//! ```
//!
//! A thread may still hold what it read in one step while others have begun the next, so no step writes what the step
//! right before it reads. The exception is a stretch's gate and up, which SwiGLU gives back before its barrier.

use super::Model;
use super::cache::Cache;
use super::profile::{Recorder, Step};
use super::rope::table;
use super::weights::Layer;
use smolq_kernels::input::{Activations, RoundScratch};
use smolq_kernels::ops::attention::{Attend, AttendScratch, attend, store};
use smolq_kernels::ops::{add, rms_norm, rope, swiglu};
use smolq_kernels::{FEW, FormatId, Level, Pool, Product, Shared, Team, matmul};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Columns of a piece when one token's vector is split over threads: whole super-blocks, and whole granules of every
/// kind of input (16 super-blocks).
const PIECE: usize = 16 * 256;
/// Values of a stretch of gate, and of up: in a pass of many tokens they are computed some columns at a time, which soon become
/// inputs of 8 bits. All at once they would take more memory than all other buffers together, and leave the caches.
const STRETCH: usize = 1 << 19;
/// Queries of an attention job, about: what one widened tile of keys serves.
const QUERIES: usize = 64;

/// What one thread needs for itself.
#[derive(Default)]
struct Own {
    attend: AttendScratch,
    round: RoundScratch,
    queries: Vec<f32>,
    head: Vec<f32>,
    /// Inputs before they are rounded.
    row: Vec<f32>,
}

/// Every buffer of a forward pass, `n` tokens deep.
pub(crate) struct Scratch {
    tokens: usize,
    /// Residual stream, `[n, n_embd]`.
    x: Shared<f32>,
    /// Normed residual, `[n, n_embd]`.
    normed: Activations,
    /// `[n, n_head * head_dim]`.
    q: Shared<f32>,
    /// `[n, n_head_kv * head_dim]`.
    k: Shared<f32>,
    /// `[n, n_head_kv * head_dim]`.
    v: Shared<f32>,
    /// Attention by KV head, `[n_head_kv * n, group * head_dim]`: row `kv_head * n + token`.
    heads: Shared<f32>,
    /// Attention by token, `[n, n_head * head_dim]`.
    attended: Activations,
    /// What is added to the residual next, `[n, n_embd]`.
    delta: Shared<f32>,
    /// `[n, stretch]`; becomes the activations of a stretch.
    gate: Shared<f32>,
    /// `[n, stretch]`.
    up: Shared<f32>,
    /// Activations, `[n, n_ff]`.
    activated: Activations,
    /// Cosines and sines, `[n, n_rot]`.
    angles: Shared<f32>,
    /// Normed residual of the wanted rows, `[wanted, n_embd]`.
    last: Activations,
    /// `[wanted, n_vocab]`.
    pub(crate) logits: Shared<f32>,
    own: Vec<Mutex<Own>>,
}

/// Columns of gate and up that a pass of `n` tokens computes at a time: whole super-blocks of the inputs of down.
fn stretch(n: usize, n_ff: usize) -> usize {
    if n <= FEW {
        return n_ff;
    }
    (STRETCH / n / 256 * 256).max(256).min(n_ff)
}

/// Values that no stretch of a pass of up to `tokens` tokens exceeds.
fn stretches(tokens: usize, n_ff: usize) -> usize {
    let most = STRETCH.max(FEW * n_ff).max(256 * tokens);
    most.min(tokens * n_ff)
}

/// The formats of the matrices that read the normed residual.
fn of_normed(model: &Model) -> impl Iterator<Item = FormatId> {
    let layers = model.weights.layers.iter();
    layers.flat_map(|l| [&l.q, &l.k, &l.v, &l.gate, &l.up].map(|m| m.format))
}

/// The formats of the matrices that read what attention gave.
fn of_attended(model: &Model) -> impl Iterator<Item = FormatId> {
    model.weights.layers.iter().map(|l| l.o.format)
}

/// The formats of the matrices that read activations.
fn of_activated(model: &Model) -> impl Iterator<Item = FormatId> {
    model.weights.layers.iter().map(|l| l.down.format)
}

impl Scratch {
    /// Buffers for passes of up to `tokens` tokens with up to `wanted` rows of logits.
    pub(crate) fn new(
        model: &Model,
        threads: usize,
        tokens: usize,
        wanted: usize,
    ) -> Result<Scratch, String> {
        let c = model.config();
        let (n_q, n_kv) = (c.n_head * c.head_dim, c.n_head_kv * c.head_dim);
        let stretches = stretches(tokens, c.n_ff);
        Ok(Scratch {
            tokens,
            x: Shared::zeroed(tokens, c.n_embd)?.in_huge_pages(),
            normed: Activations::new(tokens, c.n_embd, of_normed(model))?,
            q: Shared::zeroed(tokens, n_q)?.in_huge_pages(),
            k: Shared::zeroed(tokens, n_kv)?,
            v: Shared::zeroed(tokens, n_kv)?,
            heads: Shared::zeroed(c.n_head_kv * tokens, n_q / c.n_head_kv)?.in_huge_pages(),
            attended: Activations::new(tokens, n_q, of_attended(model))?,
            delta: Shared::zeroed(tokens, c.n_embd)?.in_huge_pages(),
            gate: Shared::zeroed(1, stretches)?,
            up: Shared::zeroed(1, stretches)?,
            activated: Activations::new(tokens, c.n_ff, of_activated(model))?,
            angles: Shared::zeroed(tokens, c.n_rot)?,
            last: Activations::new(wanted, c.n_embd, [model.weights.head().format])?,
            logits: Shared::zeroed(wanted, c.n_vocab)?,
            own: (0..threads).map(|_| Mutex::default()).collect(),
        })
    }

    /// Tokens and rows of logits that it can take.
    pub(crate) fn capacity(&self) -> (usize, usize) {
        (self.tokens, self.logits.rows())
    }

    /// Bytes of the buffers for that many tokens and rows, but for what each thread keeps for itself.
    pub(crate) fn bytes(model: &Model, tokens: usize, wanted: usize) -> usize {
        let c = model.config();
        let (n_q, n_kv) = (c.n_head * c.head_dim, c.n_head_kv * c.head_dim);
        let floats = tokens * (2 * c.n_embd + 2 * n_q + 2 * n_kv + c.n_rot)
            + 2 * stretches(tokens, c.n_ff)
            + wanted * c.n_vocab;
        floats * size_of::<f32>()
            + Activations::bytes(tokens, c.n_embd, of_normed(model))
            + Activations::bytes(tokens, n_q, of_attended(model))
            + Activations::bytes(tokens, c.n_ff, of_activated(model))
            + Activations::bytes(wanted, c.n_embd, [model.weights.head().format])
    }
}

/// One forward pass of `ids`, the first at position `first`; logits of `wanted` (indices into `ids`) end up in
/// `scratch.logits`, from its first row on. A `recorder` is told when each step ends.
#[allow(
    clippy::too_many_arguments,
    reason = "a pass needs all of it, and two callers would share none"
)]
pub(crate) fn forward(
    model: &Model,
    cache: &Cache,
    scratch: &mut Scratch,
    pool: &Pool,
    recorder: Option<&Recorder>,
    ids: &[u32],
    first: usize,
    wanted: Range<usize>,
) {
    let n_ff = model.config().n_ff;
    for buffer in [&mut scratch.gate, &mut scratch.up] {
        buffer.reshape(ids.len(), stretch(ids.len(), n_ff));
    }
    let pass = Pass {
        model,
        scratch,
        level: model.level,
        n: ids.len(),
        first,
        recorder,
    };
    if let Some(recorder) = recorder {
        recorder.begin();
    }
    pool.run(|team| {
        pass.embed(team, ids);
        for (il, (layer, cache)) in model.weights.layers.iter().zip(&cache.layers).enumerate() {
            let bias = il
                .checked_sub(1)
                .and_then(|before| model.weights.layers[before].down.bias.as_deref());
            pass.norm(team, (il > 0).then_some(bias), &layer.attn_norm.0);
            pass.attention(team, layer, cache);
            pass.norm(team, Some(layer.o.bias.as_deref()), &layer.ffn_norm.0);
            pass.feed_forward(team, layer);
        }
        pass.logits(team, wanted.clone());
    });
}

struct Pass<'a> {
    model: &'a Model,
    scratch: &'a Scratch,
    level: Level,
    n: usize,
    first: usize,
    recorder: Option<&'a Recorder>,
}

impl Pass<'_> {
    /// Notes that a step has ended; called after its barrier.
    fn ended(&self, team: &Team<'_>, step: Step) {
        if let Some(recorder) = self.recorder.filter(|_| team.index() == 0) {
            recorder.end(step);
        }
    }

    /// `x = embedding[id]`, and the angles of each position.
    fn embed(&self, team: &Team<'_>, ids: &[u32]) {
        let embedding = self.model.weights.embedding.matrix();
        team.split(self.n, 1, |tokens| {
            for t in tokens {
                embedding.row(ids[t] as usize, &mut self.scratch.x.write_rows(t..t + 1));
                let mut angles = self.scratch.angles.write_rows(t..t + 1);
                self.model
                    .weights
                    .frequencies
                    .write(self.first + t, &mut angles);
            }
        });
        self.ended(team, Step::Embed);
    }

    /// Adds what the step before gave (`delta` and its bias) to the residual, norms it and rounds it.
    fn norm(&self, team: &Team<'_>, delta: Option<Option<&[f32]>>, weight: &[f32]) {
        let s = self.scratch;
        let deltas = s.delta.read();
        team.split(self.n, Activations::granule(self.n), |tokens| {
            let own = &mut *self.own(team);
            for t in tokens {
                let mut x = s.x.write_rows(t..t + 1);
                if let Some(bias) = delta {
                    add(&mut x, deltas.row(t));
                    if let Some(bias) = bias {
                        add(&mut x, bias);
                    }
                }
                self.put_normed(&s.normed, self.n, t, &x, weight, own);
            }
        });
        drop(deltas);
        self.ended(team, Step::Norm);
    }

    /// Norms `x` into row `t` of the inputs of a step of `n` tokens.
    fn put_normed(
        &self,
        input: &Activations,
        n: usize,
        t: usize,
        x: &[f32],
        weight: &[f32],
        own: &mut Own,
    ) {
        own.row.resize(x.len(), 0.0);
        let eps = self.model.config().norm_eps;
        rms_norm(self.level, x, weight, eps, &mut own.row);
        input.put(self.level, n, t, 0, &own.row, &mut own.round);
    }

    /// One step: matrices that share their inputs.
    fn matmul(&self, team: &Team<'_>, input: &Activations, products: &[Product<'_>]) {
        let input = input.read();
        matmul(team, self.level, &input.inputs(self.n), products);
    }

    fn attention(&self, team: &Team<'_>, layer: &Layer, cache: &super::cache::LayerCache) {
        let (s, c) = (self.scratch, self.model.config());
        self.matmul(
            team,
            &s.normed,
            &[
                layer.q.product(&s.q),
                layer.k.product(&s.k),
                layer.v.product(&s.v),
            ],
        );
        self.ended(team, Step::Qkv);
        self.rotate_and_store(team, layer, cache);
        self.ended(team, Step::RopeStore);

        let (keys, values) = cache.read();
        let queries = s.q.read();
        let group = c.n_head / c.n_head_kv;
        let width = group * c.head_dim;
        let per_job = (QUERIES / group).clamp(1, self.n);
        let jobs = self.n.div_ceil(per_job);
        team.split(c.n_head_kv * jobs, 1, |job| {
            let (head, tokens) = (job.start / jobs, job.start % jobs * per_job);
            let tokens = tokens..self.n.min(tokens + per_job);
            let own = &mut *self.own(team);
            own.queries.clear();
            for t in tokens.clone() {
                own.queries
                    .extend_from_slice(&queries.row(t)[head * width..(head + 1) * width]);
            }
            let job = Attend {
                keys: keys.head(head),
                values: values.head(head),
                head_dim: c.head_dim,
                scale: 1.0 / (c.head_dim as f32).sqrt(),
                first: self.first + tokens.start,
                tokens: tokens.len(),
                group,
                queries: &own.queries,
            };
            let row = head * self.n;
            let mut out = s.heads.write_rows(row + tokens.start..row + tokens.end);
            attend(self.level, &job, &mut own.attend, &mut out);
        });
        drop((keys, values, queries));
        self.ended(team, Step::Attention);

        let heads = s.heads.read();
        team.split(self.n, Activations::granule(self.n), |tokens| {
            let own = &mut *self.own(team);
            for t in tokens {
                own.row.clear();
                for head in 0..c.n_head_kv {
                    own.row.extend_from_slice(heads.row(head * self.n + t));
                }
                s.attended
                    .put(self.level, self.n, t, 0, &own.row, &mut own.round);
            }
        });
        drop(heads);
        self.matmul(team, &s.attended, &[layer.o.product(&s.delta)]);
        self.ended(team, Step::AttentionOutput);
    }

    /// Queries by token, in place; keys and values by KV head, into the cache.
    fn rotate_and_store(&self, team: &Team<'_>, layer: &Layer, cache: &super::cache::LayerCache) {
        let (s, c) = (self.scratch, self.model.config());
        let (angles, k, v) = (s.angles.read(), s.k.read(), s.v.read());
        team.split(self.n + c.n_head_kv, 1, |item| {
            if item.start < self.n {
                let t = item.start;
                let mut q = s.q.write_rows(t..t + 1);
                if let Some(bias) = &layer.q.bias {
                    add(&mut q, bias);
                }
                let own = &mut *self.own(team);
                for head in q.chunks_exact_mut(c.head_dim) {
                    self.rotate(
                        head,
                        layer.q_norm.as_ref().map(|n| n.0.as_slice()),
                        layer,
                        angles.row(t),
                        own,
                    );
                }
                return;
            }
            let head = item.start - self.n;
            let range = head * c.head_dim..(head + 1) * c.head_dim;
            let (mut keys, mut values) = cache.write(head);
            let own = &mut *self.own(team);
            let mut row = std::mem::take(&mut own.queries);
            for t in 0..self.n {
                for (x, linear, norm, rotated, out) in [
                    (&k, &layer.k, layer.k_norm.as_ref(), true, &mut keys),
                    (&v, &layer.v, None, false, &mut values),
                ] {
                    row.clear();
                    row.extend_from_slice(&x.row(t)[range.clone()]);
                    if let Some(bias) = &linear.bias {
                        add(&mut row, &bias[range.clone()]);
                    }
                    if rotated {
                        self.rotate(
                            &mut row,
                            norm.map(|n| n.0.as_slice()),
                            layer,
                            angles.row(t),
                            own,
                        );
                    }
                    store(self.level, &row, out.position(self.first + t, c.head_dim));
                }
            }
            own.queries = row;
        });
    }

    /// Norms a head, where the layer does, and rotates it, where the layer does.
    fn rotate(
        &self,
        head: &mut [f32],
        norm: Option<&[f32]>,
        layer: &Layer,
        angles: &[f32],
        own: &mut Own,
    ) {
        if let Some(norm) = norm {
            own.head.clear();
            own.head.extend_from_slice(head);
            rms_norm(
                self.level,
                &own.head,
                norm,
                self.model.config().norm_eps,
                head,
            );
        }
        if let Some(pairs) = layer.rope {
            rope(head, pairs, table(angles));
        }
    }

    fn feed_forward(&self, team: &Team<'_>, layer: &Layer) {
        let s = self.scratch;
        let n_ff = self.model.config().n_ff;
        for start in (0..n_ff).step_by(s.gate.cols()) {
            let cols = start..n_ff.min(start + s.gate.cols());
            let products =
                [(&layer.gate, &s.gate), (&layer.up, &s.up)].map(|(linear, out)| Product {
                    matrix: linear.matrix().part(cols.clone()),
                    out,
                });
            self.matmul(team, &s.normed, &products);
            self.ended(team, Step::GateUp);
            self.activate(team, layer, cols);
            self.ended(team, Step::SwiGlu);
        }
        self.matmul(team, &s.activated, &[layer.down.product(&s.delta)]);
        self.ended(team, Step::Down);
    }

    /// Columns `cols` of the activations, from the stretch of gate and up that holds them.
    fn activate(&self, team: &Team<'_>, layer: &Layer, cols: Range<usize>) {
        let s = self.scratch;
        let activate = |gate: &mut [f32], up: &[f32], at: Range<usize>| {
            if let Some(bias) = &layer.gate.bias {
                add(gate, &bias[at.clone()]);
            }
            match &layer.up.bias {
                None => swiglu(self.level, gate, up),
                Some(bias) => {
                    let mut up = up.to_vec();
                    add(&mut up, &bias[at]);
                    swiglu(self.level, gate, &up);
                }
            }
        };
        if self.n == 1 {
            team.split(cols.len(), PIECE, |piece| {
                let (mut gate, up) = (s.gate.write_cols(piece.clone()), s.up.read());
                activate(gate.row(0), &up[piece.clone()], piece.clone());
                s.activated.put_piece(self.level, piece.start, gate.row(0));
            });
        } else {
            team.split(self.n, Activations::granule(self.n), |tokens| {
                let own = &mut *self.own(team);
                let up = s.up.read();
                for t in tokens {
                    let gate = &mut s.gate.write_rows(t..t + 1)[..cols.len()];
                    activate(gate, &up.row(t)[..cols.len()], cols.clone());
                    s.activated
                        .put(self.level, self.n, t, cols.start, gate, &mut own.round);
                }
            });
        }
    }

    fn logits(&self, team: &Team<'_>, wanted: Range<usize>) {
        let (s, w) = (self.scratch, &self.model.weights);
        let deltas = s.delta.read();
        let bias = w.layers.last().and_then(|layer| layer.down.bias.as_deref());
        team.split(wanted.len(), Activations::granule(wanted.len()), |rows| {
            let own = &mut *self.own(team);
            for row in rows {
                let t = wanted.start + row;
                let mut x = s.x.write_rows(t..t + 1);
                add(&mut x, deltas.row(t));
                if let Some(bias) = bias {
                    add(&mut x, bias);
                }
                self.put_normed(&s.last, wanted.len(), row, &x, &w.output_norm.0, own);
            }
        });
        drop(deltas);
        self.ended(team, Step::Norm);
        if wanted.is_empty() {
            return;
        }
        let head = w.head();
        let input = s.last.read();
        matmul(
            team,
            self.level,
            &input.inputs(wanted.len()),
            &[head.product(&s.logits)],
        );
        drop(input);
        if let Some(bias) = &head.bias {
            team.split(wanted.len(), 1, |rows| {
                for row in rows {
                    add(&mut s.logits.write_rows(row..row + 1), bias);
                }
            });
        }
        self.ended(team, Step::Logits);
    }

    fn own(&self, team: &Team<'_>) -> MutexGuard<'_, Own> {
        self.scratch.own[team.index()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
