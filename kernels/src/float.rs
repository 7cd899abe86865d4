//! Weights that are floats: F32, F16, BF16.
//!
//! A dot product has 16 partial sums, lane `j` taking elements `j, j + 16, ...` in order, folded by one tree; rows that are
//! no multiple of 16 are padded with zeros. Parallel work is rows by tokens, in register tiles, so the shape of a sum never
//! depends on how many there are.

use crate::dot::{AHEAD, STREAMS, tile_rows};
use crate::format::Float;
use crate::isa::{Isa, Task};
use crate::table::Work;
use std::array::from_fn;
use std::marker::PhantomData;

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

/// `R` rows by `T` tokens. Where `ahead` is not 0, the bytes so far ahead in each row are asked for.
#[inline(always)]
fn tile<I: Isa, F: Float, const R: usize, const T: usize>(
    isa: I,
    rows: [&[F::Block]; R],
    x: [&[f32]; T],
    ahead: usize,
) -> [[f32; R]; T] {
    let cols = x[0].len();
    let (rows, x) = (rows.map(|row| &row[..cols]), x.map(|x| &x[..cols]));
    let mut acc = [[isa.splat_wide(0.0); R]; T];
    for at in (0..cols).step_by(16) {
        let mut w = [isa.splat_wide(0.0); R];
        for r in 0..R {
            if ahead > 0 {
                isa.prefetch(&rows[r][at], ahead);
            }
            w[r] = load::<I, F>(isa, rows[r], at);
        }
        for t in 0..T {
            let x = load_floats(isa, x[t], at);
            for r in 0..R {
                acc[t][r] = isa.fma(w[r], x, acc[t][r]);
            }
        }
    }
    let mut out = [[0.0; R]; T];
    for t in 0..T {
        for r in 0..R {
            out[t][r] = isa.sum(acc[t][r]);
        }
    }
    out
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
        let stream = rows.len().div_ceil(STREAMS);
        for i in 0..stream {
            let tile_of = tile_rows(&rows, stream, i);
            let w: [&[F::Block]; STREAMS] = from_fn(|r| &blocks[tile_of[r] * cols..][..cols]);
            let sums = tile::<I, F, STREAMS, T>(isa, w, x, AHEAD);
            for (t, sums) in sums.into_iter().enumerate() {
                let out = out.row(t);
                for (row, sum) in tile_of.into_iter().zip(sums) {
                    out[row - rows.start] = sum;
                }
            }
        }
    }

    /// Many tokens: the rows of a ticket stay in the cache, and meet a few tokens after the other.
    #[inline(always)]
    fn many<I: Isa, const R: usize, const T: usize>(self, isa: I) {
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
        for t in (0..input.tokens).step_by(T) {
            let x: [&[f32]; T] = from_fn(|i| &x[(t + i).min(input.tokens - 1) * cols..][..cols]);
            for row in rows.clone().step_by(R) {
                let w: [&[F::Block]; R] =
                    from_fn(|r| &blocks[(row + r).min(rows.end - 1) * cols..][..cols]);
                let real = R.min(rows.end - row);
                let sums = tile::<I, F, R, T>(isa, w, x, 0);
                for (t, sums) in (t..input.tokens).zip(sums) {
                    out.row(t)[row - rows.start..][..real].copy_from_slice(&sums[..real]);
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
