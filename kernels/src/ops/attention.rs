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
//! and at the end `o / sum`. A score that is not finite, minus infinity too, makes a NaN of its `p`, and so of the query's `sum`
//! and output: such scores come of weights that are not finite, and of sums and cached keys that overflowed, only.

use super::exp::exp_below;
use crate::Level;
use crate::dot::LINE;
use crate::format::BlockQ8_0;
use crate::isa::{Isa, Line, Task, with_isa};
use bytemuck::cast_slice_mut;
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
    tile: Vec<Line>,
    queries: Vec<Line>,
    out: Vec<Line>,
    tops: Vec<f32>,
    sums: Vec<f32>,
    probabilities: Vec<[Line; TILE / 16]>,
}

/// What keys or values are stored as: how 16 of them become floats.
trait Stored: Copy {
    /// Values in a unit of storage.
    const VALUES: usize;
    /// Writes the values of `row` to `out`, whose tail beyond them stays as it is.
    fn widen<I: Isa>(isa: I, row: &[Self], out: &mut [f32]);
}

impl Stored for f32 {
    const VALUES: usize = 1;
    #[inline(always)]
    fn widen<I: Isa>(_: I, row: &[f32], out: &mut [f32]) {
        out[..row.len()].copy_from_slice(row);
    }
}

impl Stored for u16 {
    const VALUES: usize = 1;
    #[inline(always)]
    fn widen<I: Isa>(isa: I, row: &[u16], out: &mut [f32]) {
        let (whole, rest) = row.as_chunks::<16>();
        let (outs, out_rest) = out.as_chunks_mut::<16>();
        for (x, out) in whole.iter().zip(&mut *outs) {
            isa.put(isa.widen_f16(x), out);
        }
        if !rest.is_empty() {
            let mut full = [0; 16];
            full[..rest.len()].copy_from_slice(rest);
            // Heads are padded to whole vectors, so there is room for one more.
            let last = outs.get_mut(whole.len()).expect("a padded head");
            debug_assert!(out_rest.is_empty());
            isa.put(isa.widen_f16(&full), last);
        }
    }
}

impl Stored for BlockQ8_0 {
    const VALUES: usize = 32;
    #[inline(always)]
    fn widen<I: Isa>(isa: I, row: &[BlockQ8_0], out: &mut [f32]) {
        for (block, out) in row.iter().zip(out.as_chunks_mut::<32>().0) {
            let (halves, _) = block.qs.as_chunks::<16>();
            let d = isa.splat_half(block.d);
            let (low, high) = out.split_at_mut(16);
            for (qs, out) in halves.iter().zip([low, high]) {
                let out = out.try_into().expect("16 floats");
                isa.put(isa.mul(d, isa.widen_i8(qs)), out);
            }
        }
    }
}

/// Widens positions `from .. from + count` into `tile`, `stride` floats each.
#[inline(always)]
fn widen_rows<I: Isa, S: Stored>(
    isa: I,
    rows: &[S],
    head_dim: usize,
    from: usize,
    count: usize,
    tile: &mut [f32],
    stride: usize,
) {
    let units = head_dim / S::VALUES;
    for (i, out) in tile.chunks_exact_mut(stride).take(count).enumerate() {
        let row = &rows[(from + i) * units..][..units];
        S::widen(isa, row, out);
    }
}

/// What lies from position `from` on, and the bytes of a position.
#[inline(always)]
fn ahead(rows: KvRows<'_>, head_dim: usize, from: usize) -> (&[u8], usize) {
    let (bytes, row_bytes) = match rows {
        KvRows::F32(rows) => (bytemuck::cast_slice(rows), 4 * head_dim),
        KvRows::F16(rows) => (bytemuck::cast_slice(rows), 2 * head_dim),
        KvRows::Q8_0(rows) => (
            bytemuck::cast_slice(rows),
            head_dim / 32 * size_of::<BlockQ8_0>(),
        ),
    };
    (bytes.get(from * row_bytes..).unwrap_or(&[]), row_bytes)
}

/// As [`widen_rows`], whatever the storage.
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
    match rows {
        KvRows::F32(rows) => widen_rows(isa, rows, head_dim, from, count, tile, stride),
        KvRows::F16(rows) => widen_rows(isa, rows, head_dim, from, count, tile, stride),
        KvRows::Q8_0(rows) => widen_rows(isa, rows, head_dim, from, count, tile, stride),
    }
}

#[inline(always)]
fn lane16(x: &[f32], i: usize) -> &[f32; 16] {
    x[16 * i..16 * i + 16].try_into().expect("16 floats")
}

/// The two vectors of a tile's positions.
#[inline(always)]
fn halves(x: &[f32; TILE]) -> [&[f32; 16]; 2] {
    [lane16(x, 0), lane16(x, 1)]
}

/// Scores of `Q` queries against keys `at .. at + 4`, times `scale`.
#[inline(always)]
fn score<I: Isa, const Q: usize>(
    isa: I,
    queries: &[f32],
    keys: &[f32],
    stride: usize,
    scale: f32,
    at: usize,
    out: &mut [[f32; TILE]],
) {
    let queries: [&[f32]; Q] = from_fn(|q| &queries[q * stride..][..stride]);
    let keys: [&[f32]; 4] = from_fn(|i| &keys[(at + i) * stride..][..stride]);
    let mut acc = [[isa.splat_wide(0.0); 4]; Q];
    for w in 0..stride / 16 {
        let mut k = [isa.splat_wide(0.0); 4];
        for i in 0..4 {
            k[i] = isa.wide(lane16(keys[i], w));
        }
        for q in 0..Q {
            let x = isa.wide(lane16(queries[q], w));
            for i in 0..4 {
                acc[q][i] = isa.fma(x, k[i], acc[q][i]);
            }
        }
    }
    if Q == 4 {
        let sums = isa.mul(
            isa.sums16(from_fn(|j| acc[j / 4 % Q][j % 4])),
            isa.splat_wide(scale),
        );
        let sums = isa.wide_array(sums);
        for q in 0..Q {
            out[q][at..at + 4].copy_from_slice(&sums[4 * q..4 * q + 4]);
        }
    } else {
        for q in 0..Q {
            let sums = isa.sum4(acc[q]);
            for i in 0..4 {
                out[q][at + i] = sums[i] * scale;
            }
        }
    }
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
            scale,
            ..
        } = *self.job;
        // Heads are padded with zeros to whole vectors.
        let stride = head_dim.next_multiple_of(16);
        let wides = stride / 16;
        let n = tokens * group;
        let s = self.scratch;
        s.tile.clear();
        s.tile.resize(TILE * wides, Line::default());
        s.queries.clear();
        s.queries.resize(n * wides, Line::default());
        s.out.clear();
        s.out.resize(n * wides, Line::default());
        // Softmax goes by 16 queries; what lies beyond the last is never looked at.
        s.tops.clear();
        s.tops.resize(n + 15, f32::NEG_INFINITY);
        s.sums.clear();
        s.sums.resize(n + 15, 0.0);
        s.probabilities.resize(n + 15, Default::default());
        let (tops, sums) = (&mut s.tops, &mut s.sums);
        let tile: &mut [f32] = cast_slice_mut(&mut s.tile);
        let queries: &mut [f32] = cast_slice_mut(&mut s.queries);
        let weighed: &mut [f32] = cast_slice_mut(&mut s.out);
        let probabilities: &mut [[f32; TILE]] = cast_slice_mut(&mut s.probabilities);
        for (q, out) in self
            .job
            .queries
            .chunks_exact(head_dim)
            .zip(queries.chunks_exact_mut(stride))
        {
            out[..head_dim].copy_from_slice(q);
        }

        let end = first + tokens;
        for start in (0..end).step_by(TILE) {
            let count = TILE.min(end - start);
            // Positions of this tile that token t may see.
            let visible = |t: usize| (first + t + 1).saturating_sub(start).min(TILE);
            // The first query that sees any of it.
            let seeing = start.saturating_sub(first) * group;

            widen(isa, self.job.keys, head_dim, start, count, tile, stride);
            // Scores that a query may not see are computed like any other, where that is less work, and left out below.
            let (next, row_bytes) = ahead(self.job.keys, head_dim, start + TILE);
            let mut q = seeing;
            while q < n {
                let four = I::SCORES == 4 && q + 4 <= n;
                let last = if four { q + 3 } else { q };
                let (queries, out) = (&queries[q * stride..], &mut probabilities[q..]);
                for at in (0..visible(last / group)).step_by(4) {
                    if q == seeing {
                        // While these keys are met, those of the next tile come.
                        for line in (at * row_bytes..(at + 4) * row_bytes).step_by(LINE) {
                            if let Some(byte) = next.get(line) {
                                isa.prefetch(byte, 0);
                            }
                        }
                    }
                    if four {
                        score::<I, 4>(isa, queries, tile, stride, scale, at, out);
                    } else {
                        score::<I, 1>(isa, queries, tile, stride, scale, at, out);
                    }
                }
                q = last + 1;
            }
            for q in (seeing..n).step_by(16) {
                let real = (n - q).min(16);
                let scores: &mut [[f32; TILE]; 16] = (&mut probabilities[q..q + 16])
                    .try_into()
                    .expect("16 queries");
                for (i, scores) in scores[..real].iter_mut().enumerate() {
                    scores[visible((q + i) / group)..].fill(f32::NEG_INFINITY);
                }
                // A NaN may get lost here, but not below: `p` shows it, however low the top is.
                let new_tops = {
                    let old = isa.wide(lane16(&tops[q..], 0));
                    let mut new = [old; 16];
                    for i in 0..16 {
                        let [low, high] = halves(&scores[i]);
                        new[i] = isa.max(isa.wide(low), isa.wide(high));
                    }
                    isa.wide_array(isa.max(isa.maxs16(new), old))
                };
                for (i, scores) in scores[..real].iter_mut().enumerate() {
                    let shift = isa.splat_wide(-new_tops[i]);
                    for part in scores.as_chunks_mut::<16>().0 {
                        isa.put(exp_below(isa, isa.add(isa.wide(part), shift)), part);
                    }
                    scores[visible((q + i) / group)..].fill(0.0);
                }
                let totals = {
                    let mut totals = [isa.splat_wide(0.0); 16];
                    for i in 0..16 {
                        let [low, high] = halves(&scores[i]);
                        totals[i] = isa.add(isa.wide(low), isa.wide(high));
                    }
                    isa.wide_array(isa.sums16(totals))
                };
                let fades = isa.fma(
                    isa.wide(&new_tops),
                    isa.splat_wide(-1.0),
                    isa.wide(lane16(&tops[q..], 0)),
                );
                let fades = isa.wide_array(exp_below(isa, fades));
                for i in 0..real {
                    let (top, sum) = (&mut tops[q + i], &mut sums[q + i]);
                    if new_tops[i] != *top {
                        // Nothing is there to fade in the first tile.
                        let fade = if *top == f32::NEG_INFINITY {
                            0.0
                        } else {
                            fades[i]
                        };
                        *sum *= fade;
                        let fade = isa.splat_wide(fade);
                        let out = &mut weighed[(q + i) * stride..][..stride];
                        for out in out.as_chunks_mut::<16>().0 {
                            isa.put(isa.mul(isa.wide(out), fade), out);
                        }
                    }
                    *top = new_tops[i];
                    *sum += totals[i];
                }
            }

            widen(isa, self.job.values, head_dim, start, count, tile, stride);
            // While the first of these are weighed, the values of the next tile come.
            let mut next = ahead(self.job.values, head_dim, start + TILE);
            let mut q = seeing;
            while q < n {
                // Four queries that see the same positions share the loads of the values.
                let visible_to = visible(q / group);
                let mut count = 1;
                while count < 4 && q + count < n && visible((q + count) / group) == visible_to {
                    count += 1;
                }
                let (p, out) = (&probabilities[q..], &mut weighed[q * stride..]);
                match count {
                    4 => weigh::<I, 4>(isa, visible_to, stride, tile, p, out, next),
                    3 => weigh::<I, 3>(isa, visible_to, stride, tile, p, out, next),
                    2 => weigh::<I, 2>(isa, visible_to, stride, tile, p, out, next),
                    _ => weigh::<I, 1>(isa, visible_to, stride, tile, p, out, next),
                }
                next = (&[], 0);
                q += count;
            }
        }
        for (q, out) in self.out.chunks_exact_mut(head_dim).enumerate() {
            let sum = isa.splat_wide(sums[q]);
            for w in 0..wides {
                let y = isa.wide_array(
                    isa.div(isa.wide(lane16(&weighed[q * stride..][..stride], w)), sum),
                );
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
    visible: usize,
    stride: usize,
    tile: &[f32],
    probabilities: &[[f32; TILE]],
    out: &mut [f32],
    next: (&[u8], usize),
) {
    let wides = stride / 16;
    let mut w = 0;
    while w < wides {
        if I::SCORES == 4 && w + 4 <= wides {
            weigh_part::<I, Q, 4>(isa, visible, stride, tile, probabilities, out, w, next);
            w += 4;
        } else {
            weigh_part::<I, Q, 1>(isa, visible, stride, tile, probabilities, out, w, next);
            w += 1;
        }
    }
}

/// The part of [`weigh`] for values `16 w .. 16 (w + W)`; asks for that part of the rows of `next`, so many bytes each.
#[allow(
    clippy::too_many_arguments,
    reason = "one part of a loop, which must not be a closure (see dot.rs)"
)]
#[inline(always)]
fn weigh_part<I: Isa, const Q: usize, const W: usize>(
    isa: I,
    visible: usize,
    stride: usize,
    tile: &[f32],
    probabilities: &[[f32; TILE]],
    out: &mut [f32],
    w: usize,
    (next, row_bytes): (&[u8], usize),
) {
    let p: &[[f32; TILE]; Q] = probabilities[..Q].try_into().expect("Q rows");
    let mut acc = [[isa.splat_wide(0.0); W]; Q];
    for q in 0..Q {
        for i in 0..W {
            acc[q][i] = isa.wide(lane16(&out[q * stride..], w + i));
        }
    }
    let tile = &tile[16 * w..];
    let next = next.get(16 * w * row_bytes / stride..).unwrap_or(&[]);
    for t in 0..visible.min(TILE) {
        let values = &tile[t * stride..][..16 * W];
        if let Some(byte) = next.get(t * row_bytes) {
            isa.prefetch(byte, 0);
        }
        let mut v = [isa.splat_wide(0.0); W];
        for i in 0..W {
            v[i] = isa.wide(lane16(values, i));
        }
        for q in 0..Q {
            let p = isa.splat_wide(p[q][t]);
            for i in 0..W {
                acc[q][i] = isa.fma(p, v[i], acc[q][i]);
            }
        }
    }
    for q in 0..Q {
        for i in 0..W {
            let at = q * stride + 16 * (w + i);
            isa.put(
                acc[q][i],
                (&mut out[at..at + 16]).try_into().expect("16 floats"),
            );
        }
    }
}

/// Computes `out = [token][head in group][head_dim]`.
///
/// # Panics
/// If the lengths do not fit, or heads in blocks are not whole blocks.
pub fn attend(level: Level, job: &Attend<'_>, scratch: &mut AttendScratch, out: &mut [f32]) {
    for rows in [job.keys, job.values] {
        assert!(
            !matches!(rows, KvRows::Q8_0(_)) || job.head_dim.is_multiple_of(32),
            "heads of {} values are not whole blocks",
            job.head_dim
        );
    }
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
    let places = match &out {
        KvRowMut::F32(out) => out.len(),
        KvRowMut::F16(out) => out.len(),
        KvRowMut::Q8_0(out) => 32 * out.len(),
    };
    assert_eq!(x.len(), places, "a place for each value");
    with_isa!(level, isa => isa.run(Store { x, out }));
}
