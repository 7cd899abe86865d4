//! A few tokens: rows of blocks against one to four inputs. This is decoding, and it lives on memory bandwidth.
//!
//! The walk of one ticket (a range of rows), four rows and all tokens at a time:
//!
//! ```text
//! for each tile of four rows
//!     for each block b
//!         per row:   header -> scales;  codes of 32 values at a time
//!         per token: sums[row] += codes * input * scale          exact, 32-bit lanes
//!         per token: acc = fma(d_w * d_x, total(sums), acc)      one rounding, four rows in four lanes
//! ```
//!
//! The four rows of a tile do not lie side by side. They come from four far-apart parts of the range, each of which is
//! thus read front to back: one core can only keep enough loads in flight when it follows several streams at once, and the
//! prefetcher follows each. [`stream_rows`] picks a distance between the streams that is not near a multiple of 4096
//! bytes, where they would compete for the same cache sets.

use crate::format::{Small, Super};
use crate::input::{SmallInput, SuperInput};
use crate::isa::{Isa, Task};
use crate::table::Work;
use std::array::from_fn;
use std::marker::PhantomData;
use std::ops::Range;

/// Rows of a tile: the streams read at once.
pub(crate) const STREAMS: usize = 4;
/// The most tokens that this walk takes; more of them are worth a panel.
pub const FEW: usize = 4;
/// How far ahead each stream is asked for, in bytes.
const AHEAD: usize = 1536;
/// A line of the cache.
const LINE: usize = 64;

/// Rows of one stream, at most `most` and at least 4: a multiple of four whose distance in bytes is well away from a
/// multiple of 4096.
pub(crate) fn stream_rows(most: usize, row_bytes: usize) -> usize {
    let aliasing = |rows: usize| {
        let off = rows * row_bytes % 4096;
        off.min(4096 - off) < 512
    };
    let most = (most / 4 * 4).max(4);
    (0..8).map(|i| most.saturating_sub(4 * i)).find(|&rows| rows >= 4 && !aliasing(rows)).unwrap_or(most)
}

pub(crate) struct SuperFew<'a, 'o, F: Super>(pub(crate) Work<'a, 'o>, pub(crate) PhantomData<F>);

pub(crate) struct SmallFew<'a, 'o, F: Small>(pub(crate) Work<'a, 'o>, pub(crate) PhantomData<F>);

/// Calls `tile` with the rows of each tile of `rows`: one from each of [`STREAMS`] equal parts. A tile beyond the end of
/// the last part repeats the last row.
#[inline(always)]
pub(crate) fn tiles(rows: &Range<usize>, mut tile: impl FnMut([usize; STREAMS])) {
    let stream = rows.len().div_ceil(STREAMS);
    for i in 0..stream {
        tile(from_fn(|s| (rows.start + s * stream + i).min(rows.end - 1)));
    }
}

#[inline(always)]
fn prefetch<I: Isa, T>(isa: I, weights: &[u8], _row: &[T], block: usize, row_at: usize) {
    // Every line once: a block asks for the lines that begin within its length, AHEAD bytes further on.
    let size = size_of::<T>();
    let at = row_at + block * size + AHEAD;
    let mut line = at.next_multiple_of(LINE);
    while line < at + size {
        isa.prefetch(weights, line);
        line += LINE;
    }
}

#[inline(always)]
fn super_tile<I: Isa, F: Super, const T: usize>(
    isa: I,
    bytes: &[u8],
    rows: [(&[F::Block], usize); STREAMS],
    input: [&[SuperInput]; T],
) -> [[f32; STREAMS]; T] {
    let n = input[0].len();
    let input = input.map(|x| &x[..n]);
    let rows = rows.map(|(row, at)| (&row[..n], at));
    let mut acc = [isa.quad([0.0; 4]); T];
    for b in 0..n {
        let mut sums = [[isa.sums(0); STREAMS]; T];
        let mut mins = [[isa.sums(0); STREAMS]; T];
        let mut d = [0.0; STREAMS];
        let mut neg_dmin = [0.0; STREAMS];
        for (r, &(row, at)) in rows.iter().enumerate() {
            let block = &row[b];
            prefetch(isa, bytes, row, b, at);
            let header = F::header(block);
            d[r] = header.d;
            neg_dmin[r] = -header.dmin;
            let scales = isa.shorts(&header.scales);
            let mut refined = [scales; T];
            for t in 0..T {
                let x = &input[t][b];
                let x_sums = isa.shorts(&x.sums);
                refined[t] = isa.mul_shorts(scales, isa.shorts(&x.refine));
                if F::OFFSET != 0 {
                    let offsets = isa.mul_shorts(scales, isa.splat_short(-F::OFFSET));
                    sums[t][r] = isa.mac_shorts(sums[t][r], offsets, x_sums);
                }
                if F::MINS {
                    mins[t][r] = isa.mac_shorts(mins[t][r], isa.shorts(&header.mins), x_sums);
                }
            }
            for i in 0..8 {
                let codes = F::codes(isa, block, i);
                for t in 0..T {
                    let x: &[i8; 32] = input[t][b].qs[32 * i..32 * i + 32].try_into().expect("32 values");
                    sums[t][r] = if F::SIGNED {
                        isa.mac_signed(sums[t][r], codes, x, refined[t], i)
                    } else {
                        isa.mac(sums[t][r], codes, x, refined[t], i)
                    };
                }
            }
        }
        let d = isa.quad(d);
        let neg_dmin = isa.quad(neg_dmin);
        for t in 0..T {
            let dx = isa.quad([input[t][b].d; STREAMS]);
            acc[t] = isa.quad_fma(isa.quad_mul(d, dx), isa.totals(sums[t]), acc[t]);
            if F::MINS {
                acc[t] = isa.quad_fma(isa.quad_mul(neg_dmin, dx), isa.totals(mins[t]), acc[t]);
            }
        }
    }
    acc.map(|acc| isa.quad_array(acc))
}

#[inline(always)]
fn small_tile<I: Isa, F: Small, const T: usize>(
    isa: I,
    bytes: &[u8],
    rows: [(&[F::Block], usize); STREAMS],
    input: [&[SmallInput]; T],
) -> [[f32; STREAMS]; T] {
    let n = input[0].len();
    let input = input.map(|x| &x[..n]);
    let rows = rows.map(|(row, at)| (&row[..n], at));
    let mut acc = [isa.quad([0.0; 4]); T];
    for b in 0..n {
        let mut sums = [[isa.sums(0); STREAMS]; T];
        let mut d = [0.0; STREAMS];
        let mut m = [0.0; STREAMS];
        for (r, &(row, at)) in rows.iter().enumerate() {
            let block = &row[b];
            prefetch(isa, bytes, row, b, at);
            (d[r], m[r]) = F::header(block);
            let codes = F::codes(isa, block, 0);
            for t in 0..T {
                let x = &input[t][b];
                let start = isa.sums(if F::OFFSET != 0 { -i32::from(F::OFFSET) * x.sum } else { 0 });
                sums[t][r] =
                    if F::SIGNED { isa.dot_signed(start, codes, &x.qs) } else { isa.dot(start, codes, &x.qs) };
            }
        }
        let (d, m) = (isa.quad(d), isa.quad(m));
        for t in 0..T {
            let x = &input[t][b];
            let dx = isa.quad([x.d; STREAMS]);
            acc[t] = isa.quad_fma(isa.quad_mul(d, dx), isa.totals(sums[t]), acc[t]);
            if F::MIN {
                acc[t] = isa.quad_fma(isa.quad_mul(m, dx), isa.quad([x.sum as f32; STREAMS]), acc[t]);
            }
        }
    }
    acc.map(|acc| isa.quad_array(acc))
}

/// The walk over tiles, written once for both families.
macro_rules! walk {
    ($self:ident, $isa:ident, $F:ident, $T:literal, $inputs:expr, $tile:ident) => {{
        let weights: &[$F::Block] = $self.0.weights.blocks();
        let per_row = $self.0.weights.cols / $F::LEN;
        let first = $self.0.rows.start;
        let inputs = $inputs;
        let x: [_; $T] = from_fn(|t| &inputs[t * per_row..(t + 1) * per_row]);
        tiles(&$self.0.rows, |tile| {
            let rows = tile.map(|row| {
                let start = row * per_row;
                (&weights[start..start + per_row], start * size_of::<$F::Block>())
            });
            let sums = $tile::<I, $F, $T>($isa, $self.0.weights.bytes, rows, x);
            for (t, sums) in sums.into_iter().enumerate() {
                let out = $self.0.out.row(t);
                for (row, sum) in tile.into_iter().zip(sums) {
                    out[row - first] = sum;
                }
            }
        });
    }};
}

impl<F: Super> Task for SuperFew<'_, '_, F> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        match self.0.input.tokens {
            1 => walk!(self, isa, F, 1, self.0.input.supers(), super_tile),
            2 => walk!(self, isa, F, 2, self.0.input.supers(), super_tile),
            3 => walk!(self, isa, F, 3, self.0.input.supers(), super_tile),
            _ => walk!(self, isa, F, 4, self.0.input.supers(), super_tile),
        }
    }
}

impl<F: Small> Task for SmallFew<'_, '_, F> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        match self.0.input.tokens {
            1 => walk!(self, isa, F, 1, self.0.input.smalls(), small_tile),
            2 => walk!(self, isa, F, 2, self.0.input.smalls(), small_tile),
            3 => walk!(self, isa, F, 3, self.0.input.smalls(), small_tile),
            _ => walk!(self, isa, F, 4, self.0.input.smalls(), small_tile),
        }
    }
}
