//! Attention over the KV cache, tile by tile, with the softmax computed online (Dao et al. 2022, arXiv:2205.14135;
//! Milakov and Gimelshein 2018, arXiv:1805.02867).
//!
//! Tiles sit at absolute positions `[TILE * i, TILE * (i + 1))`, so that decoding, a prompt in chunks of any size and a
//! cached prefix visit the same tiles in the same order. For one KV head, each tile of keys is widened to floats once and
//! meets all queries that need it: those of the grouped query heads, of several tokens. Then, for each query, in order:
//!
//! ```text
//! s[t] = scale * (q . k[t])                    16 lanes over head_dim, the fixed tree
//! top' = max(top, max s)
//! p[t] = exp(s[t] - top')                      exactly 0 beyond the query's own position
//! sum  = sum * exp(top - top') + (p summed in 16 lanes, the fixed tree)
//! o[d] = o[d] * exp(top - top') + p[t] * v[t][d]   one chain of fma for each d, t ascending
//! ```
//!
//! and at the end `o / sum`.

use super::exp::exp;
use crate::Level;
use crate::format::{BlockQ8_0, Format, Q8_0};
use crate::isa::{Isa, Task, with_isa};
use std::array::from_fn;

/// Positions of a tile.
pub const TILE: usize = 32;

/// How keys or values are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum KvFormat {
    /// Floats.
    F32,
    /// Half-precision numbers.
    F16,
    /// Blocks of 32 signed bytes.
    Q8_0,
}

/// Keys or values of one KV head: positions from 0, each `head_dim` values.
#[derive(Clone, Copy)]
pub enum KvRows<'a> {
    /// Floats.
    F32(&'a [f32]),
    /// Half-precision numbers.
    F16(&'a [u16]),
    /// Blocks of 32 signed bytes.
    Q8_0(&'a [BlockQ8_0]),
}

/// Where the keys or values of one position go.
pub enum KvRowMut<'a> {
    /// Floats.
    F32(&'a mut [f32]),
    /// Half-precision numbers.
    F16(&'a mut [u16]),
    /// Blocks of 32 signed bytes.
    Q8_0(&'a mut [BlockQ8_0]),
}

/// The attention of some tokens to one KV head.
pub struct Attend<'a> {
    /// Keys of the head.
    pub keys: KvRows<'a>,
    /// Values of the head.
    pub values: KvRows<'a>,
    /// Values of a head.
    pub head_dim: usize,
    /// Factor of the scores.
    pub scale: f32,
    /// Position of the first token; token `t` sees positions `0 ..= first + t`.
    pub first: usize,
    /// Tokens.
    pub tokens: usize,
    /// Query heads that share this KV head.
    pub group: usize,
    /// Their queries, `[token][head in group][head_dim]`.
    pub queries: &'a [f32],
}

/// What attention needs beside its inputs; grows to the largest job seen and is kept.
#[derive(Default)]
pub struct AttendScratch {
    tile: Vec<f32>,
    queries: Vec<f32>,
    out: Vec<f32>,
    state: Vec<[f32; 2]>,
    probabilities: Vec<[f32; TILE]>,
}

/// Widens positions `from ..` of `rows` into `tile`, `stride` floats each.
#[inline(always)]
fn widen<I: Isa>(
    isa: I,
    rows: KvRows<'_>,
    head_dim: usize,
    from: usize,
    count: usize,
    tile: &mut [f32],
    stride: usize,
) {
    for (i, out) in tile.chunks_exact_mut(stride).take(count).enumerate() {
        let at = (from + i) * head_dim;
        match rows {
            KvRows::F32(rows) => out[..head_dim].copy_from_slice(&rows[at..at + head_dim]),
            KvRows::F16(rows) => {
                for (x, out) in rows[at..at + head_dim]
                    .chunks(16)
                    .zip(out.chunks_exact_mut(16))
                {
                    let mut full = [0; 16];
                    full[..x.len()].copy_from_slice(x);
                    isa.put(isa.widen_f16(&full), out.try_into().expect("16 floats"));
                }
            }
            KvRows::Q8_0(rows) => {
                for (x, out) in rows[at / 32..(at + head_dim) / 32]
                    .iter()
                    .zip(out.chunks_exact_mut(32))
                {
                    Q8_0::dequantize(x, out);
                }
            }
        }
    }
}

#[inline(always)]
fn lane16(x: &[f32], i: usize) -> &[f32; 16] {
    x[16 * i..16 * i + 16].try_into().expect("16 floats")
}

struct Run<'a, 's> {
    job: &'a Attend<'a>,
    scratch: &'s mut AttendScratch,
    out: &'s mut [f32],
}

impl Task for Run<'_, '_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Attend {
            head_dim,
            group,
            tokens,
            first,
            ..
        } = *self.job;
        // Heads are padded with zeros to whole vectors.
        let stride = head_dim.next_multiple_of(16);
        let wides = stride / 16;
        let n = tokens * group;
        let s = self.scratch;
        s.tile.resize(TILE * stride, 0.0);
        s.queries.clear();
        s.queries.resize(n * stride, 0.0);
        for (q, out) in self
            .job
            .queries
            .chunks_exact(head_dim)
            .zip(s.queries.chunks_exact_mut(stride))
        {
            out[..head_dim].copy_from_slice(q);
        }
        s.out.clear();
        s.out.resize(n * stride, 0.0);
        s.state.clear();
        s.state.resize(n, [f32::NEG_INFINITY, 0.0]);
        s.probabilities.resize(n, [0.0; TILE]);
        s.tile.fill(0.0);

        let end = first + tokens;
        for start in (0..end).step_by(TILE) {
            let count = TILE.min(end - start);
            // Positions of this tile that token t may see.
            let visible = |t: usize| (first + t + 1).saturating_sub(start).min(TILE);

            widen(
                isa,
                self.job.keys,
                head_dim,
                start,
                count,
                &mut s.tile,
                stride,
            );
            for q in 0..n {
                let visible = visible(q / group);
                if visible == 0 {
                    continue;
                }
                let query = &s.queries[q * stride..][..stride];
                let mut scores = [f32::NEG_INFINITY; TILE];
                for at in (0..visible).step_by(4) {
                    let mut acc = [isa.splat_wide(0.0); 4];
                    let keys: [&[f32]; 4] = from_fn(|i| &s.tile[(at + i) * stride..][..stride]);
                    for w in 0..wides {
                        let x = isa.wide(lane16(query, w));
                        for i in 0..4 {
                            acc[i] = isa.fma(x, isa.wide(lane16(keys[i], w)), acc[i]);
                        }
                    }
                    let sums = isa.sum4(acc);
                    for i in 0..4.min(visible - at) {
                        scores[at + i] = sums[i] * self.job.scale;
                    }
                }
                let [top, sum] = s.state[q];
                let mut new_top = top;
                for &score in &scores[..visible] {
                    new_top = if score > new_top { score } else { new_top };
                }
                let shift = isa.splat_wide(-new_top);
                let probabilities = &mut s.probabilities[q];
                for (i, p) in probabilities.chunks_exact_mut(16).enumerate() {
                    let score = isa.add(isa.wide(lane16(&scores, i)), shift);
                    isa.put(exp(isa, score), p.try_into().expect("16 floats"));
                }
                probabilities[visible..].fill(0.0);
                let total = isa.sum(isa.add(
                    isa.wide(lane16(probabilities, 0)),
                    isa.wide(lane16(probabilities, 1)),
                ));
                let mut sum = sum;
                if new_top != top {
                    let fade = isa.wide_array(exp(isa, isa.splat_wide(top - new_top)))[0];
                    // Nothing is there to fade in the first tile.
                    let fade = if top == f32::NEG_INFINITY { 0.0 } else { fade };
                    sum *= fade;
                    let fade = isa.splat_wide(fade);
                    let out = &mut s.out[q * stride..][..stride];
                    for out in out.chunks_exact_mut(16) {
                        let out: &mut [f32; 16] = out.try_into().expect("16 floats");
                        isa.put(isa.mul(isa.wide(out), fade), out);
                    }
                }
                s.state[q] = [new_top, sum + total];
            }

            widen(
                isa,
                self.job.values,
                head_dim,
                start,
                count,
                &mut s.tile,
                stride,
            );
            for t in 0..tokens {
                let visible = visible(t);
                // Four query heads at a time share the loads of the values.
                for head in (0..group).step_by(4) {
                    let q = t * group + head;
                    match (group - head).min(4) {
                        4 => weigh::<I, 4>(
                            isa,
                            q,
                            visible,
                            stride,
                            &s.tile,
                            &s.probabilities,
                            &mut s.out,
                        ),
                        3 => weigh::<I, 3>(
                            isa,
                            q,
                            visible,
                            stride,
                            &s.tile,
                            &s.probabilities,
                            &mut s.out,
                        ),
                        2 => weigh::<I, 2>(
                            isa,
                            q,
                            visible,
                            stride,
                            &s.tile,
                            &s.probabilities,
                            &mut s.out,
                        ),
                        _ => weigh::<I, 1>(
                            isa,
                            q,
                            visible,
                            stride,
                            &s.tile,
                            &s.probabilities,
                            &mut s.out,
                        ),
                    }
                }
            }
        }
        for (q, out) in self.out.chunks_exact_mut(head_dim).enumerate() {
            let sum = isa.splat_wide(s.state[q][1]);
            for w in 0..wides {
                let y = isa
                    .wide_array(isa.div(isa.wide(lane16(&s.out[q * stride..][..stride], w)), sum));
                let to = &mut out[16 * w..head_dim.min(16 * w + 16)];
                to.copy_from_slice(&y[..to.len()]);
            }
        }
    }
}

/// Adds the values of a tile to `Q` outputs, each weighed by its own probabilities.
#[inline(always)]
fn weigh<I: Isa, const Q: usize>(
    isa: I,
    first: usize,
    visible: usize,
    stride: usize,
    tile: &[f32],
    probabilities: &[[f32; TILE]],
    out: &mut [f32],
) {
    let p: &[[f32; TILE]; Q] = probabilities[first..first + Q].try_into().expect("Q rows");
    for w in 0..stride / 16 {
        let mut acc = [isa.splat_wide(0.0); Q];
        for q in 0..Q {
            acc[q] = isa.wide(lane16(&out[(first + q) * stride..], w));
        }
        for (t, values) in tile.chunks_exact(stride).take(visible).enumerate() {
            let v = isa.wide(lane16(values, w));
            for q in 0..Q {
                acc[q] = isa.fma(isa.splat_wide(p[q][t]), v, acc[q]);
            }
        }
        for (q, acc) in acc.into_iter().enumerate() {
            let at = (first + q) * stride + 16 * w;
            isa.put(acc, (&mut out[at..at + 16]).try_into().expect("16 floats"));
        }
    }
}

/// Computes `out = [token][head in group][head_dim]`.
///
/// # Panics
/// If the lengths do not fit.
pub fn attend(level: Level, job: &Attend<'_>, scratch: &mut AttendScratch, out: &mut [f32]) {
    assert_eq!(job.queries.len(), job.tokens * job.group * job.head_dim);
    assert_eq!(job.queries.len(), out.len());
    with_isa!(level, isa => isa.run(Run { job, scratch, out }));
}

struct Store<'a> {
    x: &'a [f32],
    out: KvRowMut<'a>,
}

impl Task for Store<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        match self.out {
            KvRowMut::F32(out) => out.copy_from_slice(self.x),
            KvRowMut::F16(out) => {
                for (x, out) in self.x.chunks(16).zip(out.chunks_mut(16)) {
                    let mut full = [0.0; 16];
                    full[..x.len()].copy_from_slice(x);
                    out.copy_from_slice(&isa.to_f16(isa.wide(&full))[..x.len()]);
                }
            }
            KvRowMut::Q8_0(out) => {
                for (x, out) in self.x.chunks_exact(32).zip(out) {
                    *out = crate::input::round_q8_0(isa, x.try_into().expect("32 values"));
                }
            }
        }
    }
}

/// Stores the key or value of one position.
///
/// # Panics
/// If the lengths differ.
pub fn store(level: Level, x: &[f32], out: KvRowMut<'_>) {
    with_isa!(level, isa => isa.run(Store { x, out }));
}
