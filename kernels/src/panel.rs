//! Many tokens: weight blocks unpacked once into an int8 panel, then multiplied by every token.
//!
//! A panel holds 16 rows, *lane = row*: the four codes `4 g .. 4 g + 4` of each row lie side by side, so that one
//! broadcast of four input bytes meets the same positions of 16 rows, and no sum ever crosses lanes. Scales are decoded
//! while filling, once for all tokens. A format needs to know only how to give codes and a header, a level only how to
//! multiply a panel ([`Isa::super_tile`], [`Isa::small_tile`]): that turns the product of formats and levels into a sum.
//!
//! The walk of one ticket (a range of rows): for each stretch of `K` that fits the caches, for each 16 rows, fill the
//! panel, then for each four tokens add the stretch to the sums. The sums live in the output between stretches.

use crate::format::{Small, Super};
use crate::input::{SmallInput, SuperInput};
use crate::isa::{Isa, Task, TileSums};
use crate::table::Work;
use std::array::from_fn;
use std::marker::PhantomData;

/// Rows of a panel.
pub(crate) const TILE_ROWS: usize = 16;
/// Tokens of a register tile.
pub(crate) const TILE_TOKENS: usize = 4;
/// Super-blocks of a stretch: 4 x 256 values of 16 rows are 25 KB of panel.
const SUPER_STRETCH: usize = 4;
/// Small blocks of a stretch.
const SMALL_STRETCH: usize = 32;

/// One super-block of 16 rows. The 16 lanes are kept as two halves of eight rows, 32 bytes each.
#[repr(C, align(64))]
#[derive(Clone)]
pub struct SuperPanel {
    /// `[k / 4][half][row % 8 * 4 + k % 4]`.
    pub(crate) codes: [[[u8; 32]; 2]; 64],
    /// `[s][half][row % 8 * 2 ..+ 2]`: the scale of sub-block `s`, twice.
    pub(crate) scales: [[[i16; 16]; 2]; 16],
    /// `[s / 2][half][row % 8 * 2 + s % 2]`: minimums.
    pub(crate) mins: [[[i16; 16]; 2]; 8],
    /// As `mins`: `-OFFSET * scale`.
    pub(crate) offsets: [[[i16; 16]; 2]; 8],
    /// Float scales `[half][row % 8]`.
    pub(crate) d: [[f32; 8]; 2],
    /// Negated float scales of the minimums.
    pub(crate) neg_dmin: [[f32; 8]; 2],
}

impl SuperPanel {
    const ZERO: SuperPanel = SuperPanel {
        codes: [[[0; 32]; 2]; 64],
        scales: [[[0; 16]; 2]; 16],
        mins: [[[0; 16]; 2]; 8],
        offsets: [[[0; 16]; 2]; 8],
        d: [[0.0; 8]; 2],
        neg_dmin: [[0.0; 8]; 2],
    };

    pub(crate) fn code(&self, k: usize, row: usize) -> u8 {
        self.codes[k / 4][row / 8][row % 8 * 4 + k % 4]
    }
    pub(crate) fn scale(&self, s: usize, row: usize) -> i16 {
        self.scales[s][row / 8][row % 8 * 2]
    }
    pub(crate) fn min(&self, s: usize, row: usize) -> i16 {
        self.mins[s / 2][row / 8][row % 8 * 2 + s % 2]
    }
    pub(crate) fn d(&self, row: usize) -> f32 {
        self.d[row / 8][row % 8]
    }
    pub(crate) fn neg_dmin(&self, row: usize) -> f32 {
        self.neg_dmin[row / 8][row % 8]
    }

    /// Unpacks one super-block of up to 16 rows; the panel keeps what it had for the lanes beyond.
    #[inline(always)]
    fn fill<I: Isa, F: Super>(&mut self, isa: I, rows: &[&[F::Block]], at: usize) {
        for (half, rows) in rows.chunks(8).enumerate() {
            for (lane, row) in rows.iter().enumerate() {
                let header = F::header(isa, &row[at]);
                let (scales, mins) = (
                    isa.shorts_array(header.scales),
                    isa.shorts_array(header.mins),
                );
                self.d[half][lane] = header.d;
                self.neg_dmin[half][lane] = -header.dmin;
                for s in 0..16 {
                    self.scales[s][half][2 * lane] = scales[s];
                    self.scales[s][half][2 * lane + 1] = scales[s];
                    self.offsets[s / 2][half][2 * lane + s % 2] = -F::OFFSET * scales[s];
                    self.mins[s / 2][half][2 * lane + s % 2] = mins[s];
                }
            }
            for i in 0..8 {
                let mut codes = [isa.splat(0); 8];
                for (codes, row) in codes.iter_mut().zip(rows) {
                    *codes = F::codes(isa, &row[at], i);
                }
                for (group, lanes) in isa.transpose(codes).into_iter().enumerate() {
                    self.codes[8 * i + group][half] = lanes;
                }
            }
        }
    }
}

/// One small block of 16 rows.
#[repr(C, align(64))]
#[derive(Clone)]
pub struct SmallPanel {
    /// `[k / 4][half][row % 8 * 4 + k % 4]`.
    pub(crate) codes: [[[u8; 32]; 2]; 8],
    /// Float scales `[half][row % 8]`.
    pub(crate) d: [[f32; 8]; 2],
    /// Minimums.
    pub(crate) m: [[f32; 8]; 2],
}

impl SmallPanel {
    const ZERO: SmallPanel = SmallPanel {
        codes: [[[0; 32]; 2]; 8],
        d: [[0.0; 8]; 2],
        m: [[0.0; 8]; 2],
    };

    pub(crate) fn code(&self, k: usize, row: usize) -> u8 {
        self.codes[k / 4][row / 8][row % 8 * 4 + k % 4]
    }
    pub(crate) fn d(&self, row: usize) -> f32 {
        self.d[row / 8][row % 8]
    }
    pub(crate) fn m(&self, row: usize) -> f32 {
        self.m[row / 8][row % 8]
    }

    #[inline(always)]
    fn fill<I: Isa, F: Small>(&mut self, isa: I, rows: &[&[F::Block]], at: usize) {
        for (half, rows) in rows.chunks(8).enumerate() {
            for (lane, row) in rows.iter().enumerate() {
                (self.d[half][lane], self.m[half][lane]) = F::header(isa, &row[at]);
            }
            let mut codes = [isa.splat(0); 8];
            for (codes, row) in codes.iter_mut().zip(rows) {
                *codes = F::codes(isa, &row[at], 0);
            }
            for (group, lanes) in isa.transpose(codes).into_iter().enumerate() {
                self.codes[group][half] = lanes;
            }
        }
    }
}

/// Many tokens against the rows `rows` of a matrix of super-blocks.
pub(crate) struct SuperMany<'a, 'o, F: Super>(pub(crate) Work<'a, 'o>, pub(crate) PhantomData<F>);

/// Many tokens against the rows `rows` of a matrix of small blocks.
pub(crate) struct SmallMany<'a, 'o, F: Small>(pub(crate) Work<'a, 'o>, pub(crate) PhantomData<F>);

/// The walk, written once for both families: stretches of blocks, 16 rows, four tokens.
macro_rules! walk {
    ($self:ident, $isa:ident, $F:ident, $panel:ident, $stretch:ident, $blocks:expr, $tile:ident, $Input:ty) => {{
        let weights: &[$F::Block] = $self.0.weights.blocks();
        let per_row = $self.0.weights.cols / $F::LEN;
        let first = $self.0.rows.start;
        let tokens = $self.0.input.tokens;
        let inputs: &[$Input] = $blocks;
        let mut panel = [const { $panel::ZERO }; $stretch];
        for start in (0..per_row).step_by($stretch) {
            let stretch = start..per_row.min(start + $stretch);
            for base in $self.0.rows.clone().step_by(TILE_ROWS) {
                let count = TILE_ROWS.min($self.0.rows.end - base);
                let mut row: [&[$F::Block]; TILE_ROWS] = [&[]; TILE_ROWS];
                for (i, row) in row[..count].iter_mut().enumerate() {
                    *row = &weights[(base + i) * per_row..(base + i + 1) * per_row];
                }
                for (panel, at) in panel.iter_mut().zip(stretch.clone()) {
                    panel.fill::<I, $F>($isa, &row[..count], at);
                }
                let panel = &panel[..stretch.len()];
                for token in (0..tokens).step_by(TILE_TOKENS) {
                    // The last tile repeats its last token; those sums are dropped.
                    let x = from_fn(|t| {
                        let token = (token + t).min(tokens - 1);
                        &inputs[token * per_row + stretch.start..token * per_row + stretch.end]
                    });
                    let real = TILE_TOKENS.min(tokens - token);
                    let mut acc: TileSums = [[0.0; TILE_ROWS]; TILE_TOKENS];
                    for (t, acc) in acc[..real].iter_mut().enumerate() {
                        let out = &mut $self.0.out.row(token + t)[base - first..][..count];
                        // Whole rows of the tile move as registers, not by a call.
                        match <&[f32; TILE_ROWS]>::try_from(&*out) {
                            _ if start == 0 => {}
                            Ok(whole) => *acc = *whole,
                            Err(_) => acc[..count].copy_from_slice(out),
                        }
                    }
                    $isa.$tile::<$F>(panel, x, &mut acc);
                    for (t, acc) in acc[..real].iter().enumerate() {
                        let out = &mut $self.0.out.row(token + t)[base - first..][..count];
                        match <&mut [f32; TILE_ROWS]>::try_from(&mut *out) {
                            Ok(whole) => *whole = *acc,
                            Err(_) => out.copy_from_slice(&acc[..count]),
                        }
                    }
                }
            }
        }
    }};
}

impl<F: Super> Task for SuperMany<'_, '_, F> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        walk!(
            self,
            isa,
            F,
            SuperPanel,
            SUPER_STRETCH,
            self.0.input.supers(),
            super_tile,
            SuperInput
        );
    }
}

impl<F: Small> Task for SmallMany<'_, '_, F> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        walk!(
            self,
            isa,
            F,
            SmallPanel,
            SMALL_STRETCH,
            self.0.input.smalls(),
            small_tile,
            SmallInput
        );
    }
}
