//! Weights that are floats: F32, F16, BF16.
//!
//! A dot product has 16 partial sums, lane `j` taking elements `j, j + 16, ...` in order, folded by one tree; rows that are
//! no multiple of 16 are padded with zeros. Parallel work is rows by tokens, in register tiles, so the shape of a sum never
//! depends on how many there are. For many tokens a few rows are widened to floats once and then meet every token.

use crate::format::Float;
use crate::isa::{Isa, Task};
use crate::table::Work;
use std::array::from_fn;
use std::marker::PhantomData;

/// Rows of a register tile.
const ROWS: usize = 2;
/// Tokens of a register tile.
const TOKENS: usize = 3;

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

/// `R` rows by `T` tokens.
#[inline(always)]
fn tile<I: Isa, F: Float, const R: usize, const T: usize>(
    isa: I,
    rows: [&[F::Block]; R],
    x: [&[f32]; T],
) -> [[f32; R]; T] {
    let cols = x[0].len();
    let mut acc = [[isa.splat_wide(0.0); R]; T];
    for at in (0..cols).step_by(16) {
        let mut w = [isa.splat_wide(0.0); R];
        for r in 0..R {
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

impl<F: Float> Task for FloatRows<'_, '_, F> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
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
        let token = |t: usize| &x[t.min(input.tokens - 1) * cols..][..cols];
        let first = rows.start;
        for row in rows.clone().step_by(ROWS) {
            let w: [&[F::Block]; ROWS] =
                from_fn(|r| &blocks[(row + r).min(rows.end - 1) * cols..][..cols]);
            let real = ROWS.min(rows.end - row);
            if input.tokens == 1 {
                let [sums] = tile::<I, F, ROWS, 1>(isa, w, [token(0)]);
                out.row(0)[row - first..][..real].copy_from_slice(&sums[..real]);
                continue;
            }
            for t in (0..input.tokens).step_by(TOKENS) {
                let sums = tile::<I, F, ROWS, TOKENS>(isa, w, from_fn(|i| token(t + i)));
                for (t, sums) in (t..input.tokens).zip(sums) {
                    out.row(t)[row - first..][..real].copy_from_slice(&sums[..real]);
                }
            }
        }
    }
}
