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
//!
//! Loops over rows and tokens are written out, not passed as closures to library functions: where the compiler leaves such
//! a function out of line, it has none of the level's instructions, and the kernel is a hundred times slower.

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
    (0..8)
        .map(|i| most.saturating_sub(4 * i))
        .find(|&rows| rows >= 4 && !aliasing(rows))
        .unwrap_or(most)
}

pub(crate) struct SuperFew<'a, 'o, F: Super>(pub(crate) Work<'a, 'o>, pub(crate) PhantomData<F>);

pub(crate) struct SmallFew<'a, 'o, F: Small>(pub(crate) Work<'a, 'o>, pub(crate) PhantomData<F>);

/// The rows of tile `i`: one from each of [`STREAMS`] parts of `stream` rows. Beyond the end of the last part, the last row
/// again.
#[inline(always)]
fn tile_rows(rows: &Range<usize>, stream: usize, i: usize) -> [usize; STREAMS] {
    let mut tile = [0; STREAMS];
    for (s, row) in tile.iter_mut().enumerate() {
        *row = (rows.start + s * stream + i).min(rows.end - 1);
    }
    tile
}

/// Asks for what a stream needs [`AHEAD`] bytes further on: as many lines as a block is long.
#[inline(always)]
fn prefetch<I: Isa, T>(isa: I, block: &T) {
    for line in 0..size_of::<T>().div_ceil(LINE) {
        isa.prefetch(block, AHEAD + line * LINE);
    }
}

/// What one row's block gives for `T` tokens.
struct Part<I: Isa, const T: usize> {
    sums: [I::Sums; T],
    mins: [I::Sums; T],
    d: f32,
    m: f32,
}

#[inline(always)]
fn super_part<I: Isa, F: Super, const T: usize>(
    isa: I,
    block: &F::Block,
    input: &[&SuperInput; T],
) -> Part<I, T> {
    prefetch(isa, block);
    let header = F::header(isa, block);
    let mut refined = [header.scales; T];
    for t in 0..T {
        refined[t] = isa.mul_shorts(header.scales, isa.shorts(&input[t].refine));
    }
    let mut part = Part {
        sums: [isa.sums(0); T],
        mins: [isa.sums(0); T],
        d: header.d,
        m: -header.dmin,
    };
    if F::OFFSET != 0 {
        let offsets = isa.mul_shorts(header.scales, isa.splat_short(-F::OFFSET));
        for t in 0..T {
            part.sums[t] = isa.mac_shorts(isa.sums(0), offsets, isa.shorts(&input[t].sums));
        }
    }
    if F::MINS {
        for t in 0..T {
            part.mins[t] = isa.mac_shorts(isa.sums(0), header.mins, isa.shorts(&input[t].sums));
        }
    }
    for i in 0..8 {
        let codes = F::codes(isa, block, i);
        for t in 0..T {
            let x: &[i8; 32] = input[t].qs[32 * i..32 * i + 32]
                .try_into()
                .expect("32 values");
            part.sums[t] = if F::SIGNED {
                isa.mac_signed(part.sums[t], codes, x, refined[t], i)
            } else {
                isa.mac(part.sums[t], codes, x, refined[t], i)
            };
        }
    }
    part
}

#[inline(always)]
fn small_part<I: Isa, F: Small, const T: usize>(
    isa: I,
    block: &F::Block,
    input: &[&SmallInput; T],
) -> Part<I, T> {
    prefetch(isa, block);
    let (d, m) = F::header(isa, block);
    let codes = F::codes(isa, block, 0);
    let mut sums = [isa.sums(0); T];
    for t in 0..T {
        let x = input[t];
        let start = isa.sums(if F::OFFSET != 0 {
            -i32::from(F::OFFSET) * x.sum
        } else {
            0
        });
        sums[t] = if F::SIGNED {
            isa.dot_signed(start, codes, &x.qs)
        } else {
            isa.dot(start, codes, &x.qs)
        };
    }
    let mut mins = [isa.sums(0); T];
    if F::MIN {
        for t in 0..T {
            mins[t] = isa.sums(input[t].sum);
        }
    }
    Part { sums, mins, d, m }
}

/// Four rows by `T` tokens, written once for both families.
macro_rules! tile {
    ($name:ident, $Family:ident, $part:ident, $Input:ty, $mins:ident) => {
        #[inline(always)]
        fn $name<I: Isa, F: $Family, const T: usize>(
            isa: I,
            rows: [&[F::Block]; STREAMS],
            input: [&[$Input]; T],
        ) -> [[f32; STREAMS]; T] {
            let n = input[0].len();
            let input = input.map(|x| &x[..n]);
            let [r0, r1, r2, r3] = rows.map(|row| &row[..n]);
            let mut acc = [isa.quad([0.0; 4]); T];
            for b in 0..n {
                let x: [&$Input; T] = from_fn(|t| &input[t][b]);
                let p0 = $part::<I, F, T>(isa, &r0[b], &x);
                let p1 = $part::<I, F, T>(isa, &r1[b], &x);
                let p2 = $part::<I, F, T>(isa, &r2[b], &x);
                let p3 = $part::<I, F, T>(isa, &r3[b], &x);
                let d = isa.quad([p0.d, p1.d, p2.d, p3.d]);
                let m = isa.quad([p0.m, p1.m, p2.m, p3.m]);
                for t in 0..T {
                    let dx = isa.quad([x[t].d; STREAMS]);
                    let total = isa.totals([p0.sums[t], p1.sums[t], p2.sums[t], p3.sums[t]]);
                    acc[t] = isa.quad_fma(isa.quad_mul(d, dx), total, acc[t]);
                    if F::$mins {
                        let total = isa.totals([p0.mins[t], p1.mins[t], p2.mins[t], p3.mins[t]]);
                        acc[t] = isa.quad_fma(isa.quad_mul(m, dx), total, acc[t]);
                    }
                }
            }
            let mut out = [[0.0; STREAMS]; T];
            for t in 0..T {
                out[t] = isa.quad_array(acc[t]);
            }
            out
        }
    };
}
tile!(super_tile, Super, super_part, SuperInput, MINS);
tile!(small_tile, Small, small_part, SmallInput, MIN);

/// The walk over tiles, written once for both families.
macro_rules! walk {
    ($self:ident, $isa:ident, $F:ident, $T:literal, $inputs:expr, $tile:ident) => {{
        let weights: &[$F::Block] = $self.0.weights.blocks();
        let per_row = $self.0.weights.cols / $F::LEN;
        let first = $self.0.rows.start;
        let inputs = $inputs;
        let x: [_; $T] = from_fn(|t| &inputs[t * per_row..(t + 1) * per_row]);
        let stream = $self.0.rows.len().div_ceil(STREAMS);
        for i in 0..stream {
            let tile = tile_rows(&$self.0.rows, stream, i);
            let mut rows = [weights; STREAMS];
            for (rows, row) in rows.iter_mut().zip(tile) {
                *rows = &weights[row * per_row..(row + 1) * per_row];
            }
            let sums = $tile::<I, $F, $T>($isa, rows, x);
            for (t, sums) in sums.into_iter().enumerate() {
                let out = $self.0.out.row(t);
                for (row, sum) in tile.into_iter().zip(sums) {
                    out[row - first] = sum;
                }
            }
        }
    }};
}

impl<F: Super> Task for SuperFew<'_, '_, F> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        match self.0.input.tokens {
            1 => walk!(self, isa, F, 1, self.0.input.super_rows(), super_tile),
            2 => walk!(self, isa, F, 2, self.0.input.super_rows(), super_tile),
            3 => walk!(self, isa, F, 3, self.0.input.super_rows(), super_tile),
            _ => walk!(self, isa, F, 4, self.0.input.super_rows(), super_tile),
        }
    }
}

impl<F: Small> Task for SmallFew<'_, '_, F> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        match self.0.input.tokens {
            1 => walk!(self, isa, F, 1, self.0.input.small_rows(), small_tile),
            2 => walk!(self, isa, F, 2, self.0.input.small_rows(), small_tile),
            3 => walk!(self, isa, F, 3, self.0.input.small_rows(), small_tile),
            _ => walk!(self, isa, F, 4, self.0.input.small_rows(), small_tile),
        }
    }
}
