//! Weights that are floats: F32, F16, BF16.
//!
//! A dot product has 16 partial sums, lane `j` taking elements `j, j + 16, ...` in order, folded by one tree; rows that are
//! no multiple of 16 are padded with zeros. Parallel work is rows by tokens, in register tiles, so the shape of a sum never
//! depends on how many there are.

use crate::dot::{AHEAD, STREAMS, begin, stream_rows, tile_rows};
use crate::format::Float;
use crate::input::TILE_TOKENS;
use crate::isa::{Isa, Task};
use crate::table::Work;
use bytemuck::cast_slice_mut;
use std::array::from_fn;
use std::marker::PhantomData;

/// Columns of a stretch: what some tokens' inputs may take of the first cache.
const STRETCH: usize = 512;

/// Sixteen numbers from `at`, zeros beyond the end.
#[inline(always)]
fn load<I: Isa, F: Float>(isa: I, row: &[F::Block], at: usize) -> I::Wide {
    match row[at..].first_chunk::<16>() {
        Some(full) => F::wide(isa, full),
        None => {
            let mut padded = [bytemuck::Zeroable::zeroed(); 16];
            padded[..row.len() - at].copy_from_slice(&row[at..]);
            F::wide(isa, &padded)
        }
    }
}

/// Sixteen floats from `at`, zeros beyond the end.
#[inline(always)]
pub(crate) fn load_floats<I: Isa>(isa: I, x: &[f32], at: usize) -> I::Wide {
    match x[at..].first_chunk::<16>() {
        Some(full) => isa.wide(full),
        None => {
            let mut padded = [0.0; 16];
            padded[..x.len() - at].copy_from_slice(&x[at..]);
            isa.wide(&padded)
        }
    }
}

/// A few tokens against four rows, with the bytes [`AHEAD`] in each row asked for.
#[inline(always)]
fn tile<I: Isa, F: Float, const T: usize>(
    isa: I,
    rows: [&[F::Block]; STREAMS],
    x: [&[f32]; T],
) -> [[f32; STREAMS]; T] {
    let cols = x[0].len();
    let (rows, x) = (rows.map(|row| &row[..cols]), x.map(|x| &x[..cols]));
    let mut acc = [[isa.splat_wide(0.0); STREAMS]; T];
    for at in (0..cols).step_by(16) {
        let mut w = [isa.splat_wide(0.0); STREAMS];
        for r in 0..STREAMS {
            isa.prefetch(&rows[r][at], AHEAD);
            w[r] = load::<I, F>(isa, rows[r], at);
        }
        for t in 0..T {
            let x = load_floats(isa, x[t], at);
            for r in 0..STREAMS {
                acc[t][r] = isa.fma(w[r], x, acc[t][r]);
            }
        }
    }
    let mut out = [[0.0; STREAMS]; T];
    for t in 0..T {
        out[t] = isa.sum4(acc[t]);
    }
    out
}

/// Adds a stretch of `R` rows by `T` tokens to their partial sums, `[T][R]`. The inputs lie interleaved, `[k / 16][T]`.
#[inline(always)]
fn add_stretch<I: Isa, F: Float, const R: usize, const T: usize>(
    isa: I,
    rows: [&[F::Block]; R],
    x: &[[f32; 16]],
    sums: &mut [[f32; 16]],
) {
    let mut acc = [[isa.splat_wide(0.0); R]; T];
    for t in 0..T {
        for r in 0..R {
            acc[t][r] = isa.wide(&sums[t * R + r]);
        }
    }
    // What is left of the rows is apart: meeting it in the loop would take registers from the sums.
    let whole = rows[0].len() / 16;
    let rows = rows.map(|row| row.as_chunks::<16>());
    let full = rows.map(|(full, _)| &full[..whole]);
    let (x, last) = x.as_chunks::<T>().0.split_at(whole);
    for (i, x) in x.iter().enumerate() {
        let mut w = [isa.splat_wide(0.0); R];
        for r in 0..R {
            w[r] = F::wide(isa, &full[r][i]);
        }
        for t in 0..T {
            let x = isa.wide(&x[t]);
            for r in 0..R {
                acc[t][r] = isa.fma(w[r], x, acc[t][r]);
            }
        }
    }
    for x in last {
        for r in 0..R {
            let w = load::<I, F>(isa, rows[r].1, 0);
            for t in 0..T {
                acc[t][r] = isa.fma(w, isa.wide(&x[t]), acc[t][r]);
            }
        }
    }
    for t in 0..T {
        for r in 0..R {
            isa.put(acc[t][r], &mut sums[t * R + r]);
        }
    }
}

/// Any number of tokens against rows of floats.
pub(crate) struct FloatRows<'a, 'o, F: Float>(pub(crate) Work<'a, 'o>, pub(crate) PhantomData<F>);

impl<F: Float> FloatRows<'_, '_, F> {
    /// A few tokens: four rows at a time, each from a stream of its own (see `dot.rs`).
    #[inline(always)]
    fn few<I: Isa, const T: usize>(self, isa: I) {
        let Work {
            weights,
            input,
            rows,
            out,
            ..
        } = self.0;
        let blocks: &[F::Block] = weights.blocks();
        let cols = weights.cols;
        let x = input.floats();
        let x: [&[f32]; T] = from_fn(|t| &x[t * cols..][..cols]);
        let stream = stream_rows(rows.len(), cols * size_of::<F::Block>());
        begin(isa, blocks, cols, tile_rows(&rows, stream, 0));
        for i in 0..stream {
            let tile_of = tile_rows(&rows, stream, i);
            let w: [&[F::Block]; STREAMS] = from_fn(|r| &blocks[tile_of[r] * cols..][..cols]);
            let sums = tile::<I, F, T>(isa, w, x);
            for (t, sums) in sums.into_iter().enumerate() {
                let out = out.row(t);
                for (row, sum) in tile_of.into_iter().zip(sums) {
                    out[row - rows.start] = sum;
                }
            }
        }
    }

    /// Many tokens, `T` at a time: for each stretch of `K`, their inputs are interleaved once for all rows of the ticket, and
    /// met by `R` rows at a time. The partial sums of all rows wait in memory between stretches.
    #[inline(always)]
    fn many<I: Isa, const R: usize, const T: usize>(self, isa: I) {
        let Work {
            weights,
            input,
            rows,
            out,
            scratch,
        } = self.0;
        let blocks: &[F::Block] = weights.blocks();
        let cols = weights.cols;
        let floats = input.floats();
        let tiles = rows.len().div_ceil(R);
        let vectors = tiles * R * T + STRETCH / 16 * T;
        scratch.resize(vectors.div_ceil(TILE_TOKENS), Default::default());
        let all: &mut [[f32; 16]] = cast_slice_mut(scratch.as_flattened_mut());
        let (sums, packed) = all.split_at_mut(tiles * R * T);
        for first in (0..input.tokens).step_by(T) {
            let real = T.min(input.tokens - first);
            sums.fill([0.0; 16]);
            for start in (0..cols).step_by(STRETCH) {
                let stretch = start..cols.min(start + STRETCH);
                let packed = &mut packed[..stretch.len().div_ceil(16) * T];
                for (i, x) in packed.as_chunks_mut::<T>().0.iter_mut().enumerate() {
                    for t in 0..T {
                        let row = &floats[(first + t.min(real - 1)) * cols..][..cols];
                        isa.put(load_floats(isa, row, start + 16 * i), &mut x[t]);
                    }
                }
                for (tile, sums) in sums.chunks_exact_mut(R * T).enumerate() {
                    let w: [&[F::Block]; R] = from_fn(|r| {
                        let row = (rows.start + tile * R + r).min(rows.end - 1);
                        &blocks[row * cols..][stretch.clone()]
                    });
                    add_stretch::<I, F, R, T>(isa, w, packed, sums);
                }
            }
            for (tile, sums) in sums.chunks_exact(R * T).enumerate() {
                for t in 0..real {
                    let out = &mut out.row(first + t)[tile * R..];
                    for (out, sum) in out.iter_mut().zip(&sums[t * R..][..R]) {
                        *out = isa.sum(isa.wide(sum));
                    }
                }
            }
        }
    }
}

impl<F: Float> Task for FloatRows<'_, '_, F> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        match self.0.input.tokens {
            1 => self.few::<I, 1>(isa),
            2 => self.few::<I, 2>(isa),
            // As many sums as the registers hold.
            _ if I::SCORES == 4 => self.many::<I, 4, 6>(isa),
            _ => self.many::<I, 2, 3>(isa),
        }
    }
}
