//! Activation rows as the kernels want them: as floats, or rounded to 8 bits once for all matrices that share them.
//!
//! Formats with blocks of 32 meet inputs in blocks of 32 ([`SmallPair`]), each with its own float scale. Formats with
//! super-blocks of 256 meet inputs in blocks of 256 ([`SuperInput`]) with *one* float scale, so that a whole super-block
//! is one exact integer, but refined: each 32 values carry a factor of 1 to 8, and value `k` is
//! `d * refine[k / 16] * qs[k]`. The factors multiply the weights' own sub-block scales, as integers. That gives
//! super-blocks nearly the accuracy of blocks of 32, where one large value would otherwise cost 255 others their bits.
//!
//! A row with a value that is not finite gets the scale NaN, so that it cannot vanish in the rounding.
//!
//! Up to [`FEW`] tokens lie one after the other. More of them lie in tiles of [`TILE_TOKENS`], interleaved by fours
//! ([`SmallTile`], [`SuperTile`]), so that a register tile reads them front to back with one pointer.

use crate::dot::FEW;
use crate::format::FormatId;
use crate::isa::shared::{Ref, Shared};
use crate::isa::{Isa, Level, Task};
use crate::table::input_kind;
use std::collections::HashSet;
use std::ops::Range;

/// Tokens of a tile of inputs.
pub const TILE_TOKENS: usize = 8;

/// The largest refinement of a super-block's scale. With 8, `refine * (sum of 16 values)` still fits into 16 bits.
const REFINE: f32 = 8.0;

/// Two blocks of 32 values, `d[i] * qs[i][k]`: what a few tokens meet at once. Scales and sums are there as often as a vector
/// wants them. Of an odd number of blocks, the last is alone.
#[derive(Clone, Copy, Debug, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct SmallPair {
    /// Rounded values, -127..=127.
    pub(crate) qs: [[i8; 32]; 2],
    /// The same: the first half of each block, then the second half of each.
    pub(crate) halves: [[[i8; 16]; 2]; 2],
    /// Scale of each block.
    pub(crate) d: [[f32; 4]; 2],
    /// Sum of `qs` of each block.
    pub(crate) sum: [[i32; 8]; 2],
}

/// 256 values: `d * refine[k / 16] * qs[k]`.
#[derive(Clone, Copy, Debug, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct SuperInput {
    /// Rounded values, -127..=127.
    pub qs: [i8; 256],
    /// The same: of each 64, the first halves of both 32, then the second halves.
    pub(crate) halves: [[[[i8; 16]; 2]; 2]; 4],
    /// Factors 1..=8, equal for neighbours (one for each 32 values).
    pub refine: [i16; 16],
    /// `refine[i]` times the sum of the 16 values `16 i ..`.
    pub sums: [i16; 16],
    /// The factors of each 32 values.
    pub wide_refine: [i16; 8],
    /// The refined sums of each 32 values.
    pub wide_sums: [i16; 8],
    /// Scale.
    pub d: f32,
}

impl SuperInput {
    /// All zero.
    pub const ZERO: SuperInput = SuperInput {
        qs: [0; 256],
        halves: [[[[0; 16]; 2]; 2]; 4],
        refine: [1; 16],
        sums: [0; 16],
        wide_refine: [1; 8],
        wide_sums: [0; 8],
        d: 0.0,
    };
}

/// A block of 32 values of each of eight tokens.
#[derive(Clone, Copy, Debug, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct SmallTile {
    /// `[k / 4][token][k % 4]`.
    pub(crate) qs: [[[i8; 4]; TILE_TOKENS]; 8],
    /// Scales.
    pub(crate) d: [f32; TILE_TOKENS],
    /// Sums of `qs`.
    pub(crate) sum: [i32; TILE_TOKENS],
}

/// A [`SuperInput`] of each of eight tokens.
#[derive(Clone, Copy, Debug, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct SuperTile {
    /// `[k / 4][token][k % 4]`.
    pub(crate) qs: [[[i8; 4]; TILE_TOKENS]; 64],
    /// `[k / 32][token]`: factors.
    pub(crate) refine: [[i32; TILE_TOKENS]; 8],
    /// `[k / 32][token]`: refined sums of two times 16 values.
    pub(crate) sums: [[[i16; 2]; TILE_TOKENS]; 8],
    /// `[k / 64][token]`: refined sums of two times 32 values.
    pub(crate) wide_sums: [[[i16; 2]; TILE_TOKENS]; 4],
    /// Scales.
    pub(crate) d: [f32; TILE_TOKENS],
}

/// Blocks of inputs that have places in tiles.
trait Interleave: bytemuck::Zeroable + Copy {
    /// How many blocks.
    const BLOCKS: usize;
    /// Their tile.
    type Tile: bytemuck::Zeroable + Send + Sync;
    /// Writes the blocks to the places of token `t`, one tile for each.
    fn place(&self, tiles: &mut [Self::Tile], t: usize);
}

impl Interleave for SmallPair {
    const BLOCKS: usize = 2;
    type Tile = SmallTile;
    fn place(&self, tiles: &mut [SmallTile], t: usize) {
        for (i, tile) in tiles.iter_mut().enumerate() {
            for (to, from) in tile.qs.iter_mut().zip(self.qs[i].as_chunks::<4>().0) {
                to[t] = *from;
            }
            tile.d[t] = self.d[i][0];
            tile.sum[t] = self.sum[i][0];
        }
    }
}

impl Interleave for SuperInput {
    const BLOCKS: usize = 1;
    type Tile = SuperTile;
    fn place(&self, tiles: &mut [SuperTile], t: usize) {
        let [tile] = tiles else {
            unreachable!("a tile for each block")
        };
        for (to, from) in tile.qs.iter_mut().zip(self.qs.as_chunks::<4>().0) {
            to[t] = *from;
        }
        for i in 0..8 {
            tile.refine[i][t] = i32::from(self.wide_refine[i]);
            tile.sums[i][t] = [self.sums[2 * i], self.sums[2 * i + 1]];
            tile.wide_sums[i / 2][t][i % 2] = self.wide_sums[i];
        }
        tile.d[t] = self.d;
    }
}

/// Activations of up to so many tokens, in each form that the matrices that read them want. It is shared by the threads of a
/// region.
pub struct Activations {
    cols: usize,
    /// `[tokens, cols]`: as they are.
    floats: Option<Shared<f32>>,
    small: Option<Forms<SmallPair>>,
    supers: Option<Forms<SuperInput>>,
}

/// The two ways in which rounded inputs lie.
struct Forms<B: Interleave> {
    /// `[tokens, blocks]`, for few tokens.
    rows: Shared<B>,
    /// `[tokens / 8, blocks]`, for many.
    tiles: Shared<B::Tile>,
}

impl<B: Interleave> Forms<B> {
    fn new(tokens: usize, blocks: usize) -> Result<Forms<B>, String> {
        let (rows, tiles) = Self::depths(tokens);
        Ok(Forms {
            rows: Shared::zeroed(rows, blocks.div_ceil(B::BLOCKS))?,
            tiles: Shared::zeroed(tiles, blocks)?.in_huge_pages(),
        })
    }

    /// How many rows and tiles it takes for so many tokens.
    fn depths(tokens: usize) -> (usize, usize) {
        let many = if tokens > FEW { tokens } else { 0 };
        (tokens.min(FEW), many.div_ceil(TILE_TOKENS))
    }

    /// Bytes for so many tokens.
    fn bytes(tokens: usize, blocks: usize) -> usize {
        let (rows, tiles) = Self::depths(tokens);
        rows * blocks.div_ceil(B::BLOCKS) * size_of::<B>() + tiles * blocks * size_of::<B::Tile>()
    }

    /// Rounds by `quantize` what goes to some blocks of row `t` of a pass of `n` tokens.
    fn write(
        &self,
        n: usize,
        t: usize,
        blocks: Range<usize>,
        scratch: &mut Vec<B>,
        quantize: impl FnOnce(&mut [B]),
    ) {
        if n <= FEW {
            let blocks = blocks.start / B::BLOCKS..blocks.end.div_ceil(B::BLOCKS);
            return quantize(&mut self.rows.write_rows(t..t + 1)[blocks]);
        }
        let tile = t / TILE_TOKENS;
        let tiles = &mut self.tiles.write_rows(tile..tile + 1)[blocks];
        scratch.resize(tiles.len().div_ceil(B::BLOCKS), B::zeroed());
        quantize(scratch);
        for (blocks, tiles) in scratch.iter().zip(tiles.chunks_mut(B::BLOCKS)) {
            blocks.place(tiles, t % TILE_TOKENS);
        }
    }
}

/// What a thread needs to round inputs.
#[derive(Default)]
pub struct RoundScratch {
    small: Vec<SmallPair>,
    supers: Vec<SuperInput>,
}

impl Activations {
    /// Room for `tokens` rows of `cols` values, for matrices of the formats `users`.
    ///
    /// # Errors
    /// If the memory is not to be had.
    pub fn new(
        tokens: usize,
        cols: usize,
        users: impl IntoIterator<Item = FormatId>,
    ) -> Result<Activations, String> {
        let (mut floats, mut small, mut supers) = (None, None, None);
        for user in users {
            match input_kind(user) {
                InputKind::Float if floats.is_none() => {
                    floats = Some(Shared::zeroed(tokens, cols)?.in_huge_pages());
                }
                InputKind::Small if small.is_none() => small = Some(Forms::new(tokens, cols / 32)?),
                InputKind::Super if supers.is_none() => {
                    supers = Some(Forms::new(tokens, cols / 256)?)
                }
                _ => {}
            }
        }
        Ok(Activations {
            cols,
            floats,
            small,
            supers,
        })
    }

    /// Bytes that [`Activations::new`] would take.
    pub fn bytes(tokens: usize, cols: usize, users: impl IntoIterator<Item = FormatId>) -> usize {
        let kinds: HashSet<InputKind> = users.into_iter().map(input_kind).collect();
        let bytes = |kind| match kind {
            InputKind::Float => tokens * cols * size_of::<f32>(),
            InputKind::Small => Forms::<SmallPair>::bytes(tokens, cols / 32),
            InputKind::Super => Forms::<SuperInput>::bytes(tokens, cols / 256),
        };
        kinds.into_iter().map(bytes).sum()
    }

    /// How many tokens of a pass of `n` one thread rounds: those of a tile.
    pub fn granule(n: usize) -> usize {
        if n <= FEW { 1 } else { TILE_TOKENS }
    }

    /// Takes `x`, columns `at..` of row `t` of a pass of `n` tokens, in every form. The columns are whole blocks of the formats
    /// that read them. One thread at a time takes the tokens of a [`granule`](Self::granule).
    pub fn put(
        &self,
        level: Level,
        n: usize,
        t: usize,
        at: usize,
        x: &[f32],
        scratch: &mut RoundScratch,
    ) {
        let blocks = |len: usize| at / len..(at + x.len()) / len;
        if let Some(floats) = &self.floats {
            floats.write_rows(t..t + 1)[blocks(1)].copy_from_slice(x);
        }
        if let Some(forms) = &self.small {
            forms.write(n, t, blocks(32), &mut scratch.small, |out| {
                quantize_small(level, x, out)
            });
        }
        if let Some(forms) = &self.supers {
            forms.write(n, t, blocks(256), &mut scratch.supers, |out| {
                quantize_super(level, x, out)
            });
        }
    }

    /// Takes `x`, columns `at..` of the only token of a pass; others may take other columns meanwhile. `at` is a multiple of 16
    /// super-blocks.
    pub fn put_piece(&self, level: Level, at: usize, x: &[f32]) {
        let blocks = |len: usize| at / len..(at + x.len()).div_ceil(len);
        if let Some(floats) = &self.floats {
            floats.write_cols(blocks(1)).row(0).copy_from_slice(x);
        }
        if let Some(forms) = &self.small {
            quantize_small(level, x, forms.rows.write_cols(blocks(64)).row(0));
        }
        if let Some(forms) = &self.supers {
            quantize_super(level, x, forms.rows.write_cols(blocks(256)).row(0));
        }
    }

    /// Borrows all forms for a matrix multiply.
    pub fn read(&self) -> ActivationsRef<'_> {
        ActivationsRef {
            cols: self.cols,
            floats: self.floats.as_ref().map(Shared::read),
            small: self.small.as_ref().map(|f| (f.rows.read(), f.tiles.read())),
            supers: self
                .supers
                .as_ref()
                .map(|f| (f.rows.read(), f.tiles.read())),
        }
    }
}

/// [`Activations`] borrowed for a matrix multiply.
pub struct ActivationsRef<'a> {
    cols: usize,
    floats: Option<Ref<'a, f32>>,
    small: Option<(Ref<'a, SmallPair>, Ref<'a, SmallTile>)>,
    supers: Option<(Ref<'a, SuperInput>, Ref<'a, SuperTile>)>,
}

impl ActivationsRef<'_> {
    /// The first `tokens` rows, which a pass of that many tokens rounded.
    pub fn inputs(&self, tokens: usize) -> Inputs<'_> {
        Inputs {
            tokens,
            cols: self.cols,
            from: self,
        }
    }
}

/// How a format wants its inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum InputKind {
    /// As they are: float formats.
    Float,
    /// In blocks of 32.
    Small,
    /// In blocks of 256.
    Super,
}

/// The inputs of a matrix multiply.
pub struct Inputs<'a> {
    /// Rows.
    pub(crate) tokens: usize,
    /// Values of a row.
    pub(crate) cols: usize,
    from: &'a ActivationsRef<'a>,
}

impl Inputs<'_> {
    /// What the inputs of token 0 stand for once they are rounded for `format`: what its kernels multiply with. There must
    /// be at most [`FEW`] tokens.
    pub fn meaning(&self, format: FormatId) -> Vec<f64> {
        match input_kind(format) {
            InputKind::Float => self.floats()[..self.cols]
                .iter()
                .map(|&x| x.into())
                .collect(),
            InputKind::Small => (0..self.cols)
                .map(|k| {
                    let (pair, half) = (&self.small_rows()[k / 64], k / 32 % 2);
                    f64::from(pair.d[half][0]) * f64::from(pair.qs[half][k % 32])
                })
                .collect(),
            InputKind::Super => self.super_rows()[..self.cols / 256]
                .iter()
                .flat_map(|b| {
                    let unit = |k: usize| f64::from(b.d) * f64::from(b.refine[k / 16]);
                    (0..256).map(move |k| unit(k) * f64::from(b.qs[k]))
                })
                .collect(),
        }
    }

    pub(crate) fn floats(&self) -> &[f32] {
        let floats = self.from.floats.as_ref().expect("inputs as floats");
        &floats[..self.tokens * self.cols]
    }
    pub(crate) fn small_rows(&self) -> &[SmallPair] {
        let (rows, _) = self.from.small.as_ref().expect("inputs in small blocks");
        &rows[..self.tokens * self.cols.div_ceil(64)]
    }
    pub(crate) fn super_rows(&self) -> &[SuperInput] {
        let (rows, _) = self.from.supers.as_ref().expect("inputs in super-blocks");
        &rows[..self.tokens * (self.cols / 256)]
    }
    pub(crate) fn small_tiles(&self) -> &[SmallTile] {
        let (_, tiles) = self.from.small.as_ref().expect("inputs in small blocks");
        &tiles[..self.tokens.div_ceil(TILE_TOKENS) * (self.cols / 32)]
    }
    pub(crate) fn super_tiles(&self) -> &[SuperTile] {
        let (_, tiles) = self.from.supers.as_ref().expect("inputs in super-blocks");
        &tiles[..self.tokens.div_ceil(TILE_TOKENS) * (self.cols / 256)]
    }
}

/// Largest magnitude of 32 values; NaN if one is NaN.
#[inline(always)]
fn magnitude<I: Isa>(isa: I, x: [I::Wide; 2]) -> f32 {
    let both = isa.max_bits(isa.abs(x[0]), isa.abs(x[1]));
    f32::from_bits(
        isa.wide_array(both)
            .iter()
            .map(|x| x.to_bits())
            .max()
            .unwrap_or(0),
    )
}

#[inline(always)]
fn load<I: Isa>(isa: I, x: &[f32]) -> [I::Wide; 2] {
    let at = |i: usize| x[16 * i..16 * i + 16].try_into().expect("16 values");
    [isa.wide(at(0)), isa.wide(at(1))]
}

/// Values so small that their block counts as zero; keeps the reciprocal of every scale finite.
const TINY: f32 = 1e-30;

/// Scales tried for a block of 32: those that map its largest magnitude to 127, 126, 125, ... Where the values fall between the
/// steps is chance, so the best of nine has some 8 % less error than the first (measured on the logits of small models against
/// unrounded inputs).
const TRIES: usize = 9;
/// What the scales tried map the largest magnitude to; the others are there to fill a vector.
const REACHES: [f32; 16] = {
    let mut out = [127.0; 16];
    let mut i = 0;
    while i < TRIES {
        out[i] = (127 - i) as f32;
        i += 1;
    }
    out
};

/// Rounds `x * inverse`, and gives the squared errors too, as sums to be added up, where `back` is minus the step. What could come out
/// above 127 in magnitude must be `CUT`: not by
/// steps of which 127 reach the largest value.
#[inline(always)]
fn round_by<I: Isa, const CUT: bool>(
    isa: I,
    x: [I::Wide; 2],
    inverse: I::Wide,
    back: I::Wide,
) -> ([I::Wide; 2], I::Wide) {
    let (high, low) = (isa.splat_wide(127.0), isa.splat_wide(-127.0));
    let mut qs = x;
    let mut error = isa.splat_wide(0.0);
    for i in 0..2 {
        qs[i] = isa.round(isa.mul(x[i], inverse));
        if CUT {
            qs[i] = isa.max(isa.min(qs[i], high), low);
        }
        let off = isa.fma(qs[i], back, x[i]);
        error = isa.fma(off, off, error);
    }
    (qs, error)
}

/// Rounds `x / step` as [`round_by`], and gives the sum of the squared errors too.
#[inline(always)]
fn round<I: Isa, const CUT: bool>(isa: I, x: [I::Wide; 2], step: f32) -> ([I::Wide; 2], f32) {
    let (inverse, back) = (isa.splat_wide(1.0 / step), isa.splat_wide(-step));
    let (qs, error) = round_by::<I, CUT>(isa, x, inverse, back);
    (qs, isa.sum(error))
}

/// The scale of 32 values whose largest magnitude is `top`: the one of least error, and the finest of equal ones.
#[inline(always)]
fn best_step<I: Isa>(isa: I, x: [I::Wide; 2], top: f32) -> f32 {
    // All quotients, and the sums of all errors, at once.
    let steps = isa.div(isa.splat_wide(top), isa.wide(&REACHES));
    let inverses = isa.wide_array(isa.div(isa.splat_wide(1.0), steps));
    let steps = isa.wide_array(steps);
    let mut errors = [isa.splat_wide(0.0); 16];
    for i in 0..TRIES {
        let (inverse, back) = (isa.splat_wide(inverses[i]), isa.splat_wide(-steps[i]));
        errors[i] = round_by::<I, false>(isa, x, inverse, back).1;
    }
    let errors = isa.wide_array(isa.sums16(errors));
    let mut best = 0;
    for i in 1..TRIES {
        best = if errors[i] < errors[best] { i } else { best };
    }
    steps[best]
}

#[inline(always)]
fn sum_of(qs: &[i8]) -> i32 {
    qs.iter().map(|&q| i32::from(q)).sum()
}

struct QuantizeSmall<'a> {
    x: &'a [f32],
    out: &'a mut [SmallPair],
}

impl Task for QuantizeSmall<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        for (i, x) in self.x.chunks_exact(32).enumerate() {
            let (out, half) = (&mut self.out[i / 2], i % 2);
            let wide = load(isa, x);
            let top = magnitude(isa, wide);
            let mut d = 0.0;
            let mut qs = [[0; 16]; 2];
            if !top.is_finite() {
                d = f32::NAN;
            } else if top > TINY {
                d = best_step(isa, wide, top);
                let (best, _) = round::<I, false>(isa, wide, d);
                qs = [isa.to_i8(best[0]), isa.to_i8(best[1])];
            }
            let sum = sum_of(&qs[0]) + sum_of(&qs[1]);
            out.qs[half] = bytemuck::cast(qs);
            (out.halves[0][half], out.halves[1][half]) = (qs[0], qs[1]);
            out.d[half] = [d; 4];
            out.sum[half] = [sum; 8];
        }
    }
}

struct QuantizeSuper<'a> {
    x: &'a [f32],
    out: &'a mut [SuperInput],
}

impl Task for QuantizeSuper<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        for (x, out) in self.x.chunks_exact(256).zip(self.out) {
            let mut tops = [0.0; 8];
            for (top, x) in tops.iter_mut().zip(x.chunks_exact(32)) {
                *top = magnitude(isa, load(isa, x));
            }
            let top = f32::from_bits(tops.iter().map(|t| t.to_bits()).max().unwrap_or(0));
            *out = SuperInput::ZERO;
            if !top.is_finite() {
                out.d = f32::NAN;
            } else if top > TINY {
                let d = top / (127.0 * REFINE);
                out.d = d;
                for (i, x) in x.chunks_exact(32).enumerate() {
                    let x = load(isa, x);
                    // The finest factor that reaches the largest value, or the next, if it happens to fit better.
                    let mut refine = (tops[i] / (d * 127.0)).ceil().clamp(1.0, REFINE);
                    let (mut qs, error) = round::<I, false>(isa, x, d * refine);
                    if refine < REFINE {
                        let tried = round::<I, false>(isa, x, d * (refine + 1.0));
                        if tried.1 < error {
                            (refine, qs) = (refine + 1.0, tried.0);
                        }
                    }
                    let refine = refine as i16;
                    for half in 0..2 {
                        let qs = isa.to_i8(qs[half]);
                        out.qs[32 * i + 16 * half..][..16].copy_from_slice(&qs);
                        out.halves[i / 2][half][i % 2] = qs;
                        out.refine[2 * i + half] = refine;
                        out.sums[2 * i + half] = refine * sum_of(&qs) as i16;
                    }
                    out.wide_refine[i] = refine;
                    // At most 127 * 32 * 8: still 16 bits.
                    out.wide_sums[i] = out.sums[2 * i] + out.sums[2 * i + 1];
                }
            }
        }
    }
}

/// Rounds a row of a multiple of 32 values.
fn quantize_small(level: Level, x: &[f32], out: &mut [SmallPair]) {
    assert_eq!(x.len().div_ceil(64), out.len(), "a row of whole blocks");
    crate::isa::with_isa!(level, isa => isa.run(QuantizeSmall { x, out }));
}

/// Rounds a row of a multiple of 256 values.
fn quantize_super(level: Level, x: &[f32], out: &mut [SuperInput]) {
    assert_eq!(x.len(), out.len() * 256, "a row of whole super-blocks");
    crate::isa::with_isa!(level, isa => isa.run(QuantizeSuper { x, out }));
}

/// 32 values as a block of the Q8_0 cache: the scale is rounded to half precision first, the values by what is left of it.
#[inline(always)]
pub(crate) fn round_q8_0<I: Isa>(isa: I, x: &[f32; 32]) -> crate::format::BlockQ8_0 {
    let wide = load(isa, x);
    let d = half::f16::from_f32(magnitude(isa, wide) / 127.0);
    let mut qs = [0; 32];
    let scale = d.to_f32();
    if scale > 0.0 && scale.is_finite() {
        let (rounded, _) = round::<I, true>(isa, wide, scale);
        for half in 0..2 {
            qs[16 * half..][..16].copy_from_slice(&isa.to_i8(rounded[half]));
        }
    }
    crate::format::BlockQ8_0 { d: d.to_bits(), qs }
}
