//! Activation rows as the kernels want them: rounded to 8 bits once for each matrix multiply.
//!
//! Formats with blocks of 32 meet inputs in blocks of 32 ([`SmallInput`]), each with its own float scale. Formats with
//! super-blocks of 256 meet inputs in blocks of 256 ([`SuperInput`]) with *one* float scale, so that a whole super-block
//! is one exact integer, but refined: each 32 values carry a factor of 1 to 8, and value `k` is
//! `d * refine[k / 16] * qs[k]`. The factors multiply the weights' own sub-block scales, as integers. That gives
//! super-blocks nearly the accuracy of blocks of 32, where one large value would otherwise cost 255 others their bits.
//!
//! A row with a value that is not finite gets the scale NaN, so that it cannot vanish in the rounding.

use crate::isa::shared::Ref;
use crate::isa::{Isa, Task};

/// The largest refinement of a super-block's scale. With 8, `refine * (sum of 16 values)` still fits into 16 bits.
const REFINE: f32 = 8.0;

/// 32 values: `d * qs[k]`.
#[derive(Clone, Copy, Debug, bytemuck::Zeroable)]
#[repr(C)]
pub struct SmallInput {
    /// Rounded values, -127..=127.
    pub qs: [i8; 32],
    /// Scale.
    pub d: f32,
    /// Sum of `qs`.
    pub sum: i32,
}

/// 256 values: `d * refine[k / 16] * qs[k]`.
#[derive(Clone, Copy, Debug, bytemuck::Zeroable)]
#[repr(C)]
pub struct SuperInput {
    /// Rounded values, -127..=127.
    pub qs: [i8; 256],
    /// Factors 1..=8, equal for neighbours (one for each 32 values).
    pub refine: [i16; 16],
    /// `refine[i]` times the sum of the 16 values `16 i ..`.
    pub sums: [i16; 16],
    /// Scale.
    pub d: f32,
}

impl SmallInput {
    /// All zero.
    pub const ZERO: SmallInput = SmallInput {
        qs: [0; 32],
        d: 0.0,
        sum: 0,
    };
}

impl SuperInput {
    /// All zero.
    pub const ZERO: SuperInput = SuperInput {
        qs: [0; 256],
        refine: [1; 16],
        sums: [0; 16],
        d: 0.0,
    };
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

/// The inputs of a matrix multiply: `tokens` rows of `cols` values, in the kinds that were asked for.
pub struct Inputs<'a> {
    /// Rows.
    pub tokens: usize,
    /// Values of a row.
    pub cols: usize,
    /// The rows as floats.
    pub floats: Option<&'a [f32]>,
    /// The rows in blocks of 32.
    pub small: Option<&'a Ref<'a, SmallInput>>,
    /// The rows in blocks of 256.
    pub supers: Option<&'a Ref<'a, SuperInput>>,
}

impl Inputs<'_> {
    pub(crate) fn floats(&self) -> &[f32] {
        &self.floats.expect("inputs in floats")[..self.tokens * self.cols]
    }
    pub(crate) fn smalls(&self) -> &[SmallInput] {
        &self.small.expect("inputs in small blocks")[..self.tokens * (self.cols / 32)]
    }
    pub(crate) fn supers(&self) -> &[SuperInput] {
        &self.supers.expect("inputs in super-blocks")[..self.tokens * (self.cols / 256)]
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

/// Scales tried for a block of 32 beside the one that maps its largest magnitude to 127: those that map it to 126, 125, ...
/// Where the values fall between the steps is chance, so the best of nine has some 8 % less error than the first
/// (measured on the logits of small models against unrounded inputs).
const TRIES: i32 = 8;

/// Rounds `x / step` to at most 127 in magnitude, and gives the sum of the squared errors too.
#[inline(always)]
fn round<I: Isa>(isa: I, x: [I::Wide; 2], step: f32) -> ([I::Wide; 2], f32) {
    let (inverse, back) = (isa.splat_wide(1.0 / step), isa.splat_wide(-step));
    let (high, low) = (isa.splat_wide(127.0), isa.splat_wide(-127.0));
    let mut qs = x;
    let mut error = isa.splat_wide(0.0);
    for i in 0..2 {
        qs[i] = isa.max(isa.min(isa.round(isa.mul(x[i], inverse)), high), low);
        let off = isa.fma(qs[i], back, x[i]);
        error = isa.fma(off, off, error);
    }
    (qs, isa.sum(error))
}

#[inline(always)]
fn sum_of(qs: &[i8]) -> i32 {
    qs.iter().map(|&q| i32::from(q)).sum()
}

struct QuantizeSmall<'a> {
    x: &'a [f32],
    out: &'a mut [SmallInput],
}

impl Task for QuantizeSmall<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        for (x, out) in self.x.chunks_exact(32).zip(self.out) {
            let wide = load(isa, x);
            let top = magnitude(isa, wide);
            *out = SmallInput::ZERO;
            if !top.is_finite() {
                out.d = f32::NAN;
            } else if top > TINY {
                let mut step = top / 127.0;
                let (mut qs, mut error) = round(isa, wide, step);
                for less in 1..=TRIES {
                    let wider = top / (127 - less) as f32;
                    let tried = round(isa, wide, wider);
                    if tried.1 < error {
                        (step, (qs, error)) = (wider, tried);
                    }
                }
                out.d = step;
                out.qs[..16].copy_from_slice(&isa.to_i8(qs[0]));
                out.qs[16..].copy_from_slice(&isa.to_i8(qs[1]));
                out.sum = sum_of(&out.qs);
            }
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
                    let (mut qs, error) = round(isa, x, d * refine);
                    if refine < REFINE {
                        let tried = round(isa, x, d * (refine + 1.0));
                        if tried.1 < error {
                            (refine, qs) = (refine + 1.0, tried.0);
                        }
                    }
                    let refine = refine as i16;
                    for half in 0..2 {
                        let qs = isa.to_i8(qs[half]);
                        out.qs[32 * i + 16 * half..][..16].copy_from_slice(&qs);
                        out.refine[2 * i + half] = refine;
                        out.sums[2 * i + half] = refine * sum_of(&qs) as i16;
                    }
                }
            }
        }
    }
}

/// Rounds a row of a multiple of 32 values.
pub fn quantize_small(level: crate::Level, x: &[f32], out: &mut [SmallInput]) {
    assert_eq!(x.len(), out.len() * 32, "a row of whole blocks");
    crate::isa::with_isa!(level, isa => isa.run(QuantizeSmall { x, out }));
}

/// Rounds a row of a multiple of 256 values.
pub fn quantize_super(level: crate::Level, x: &[f32], out: &mut [SuperInput]) {
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
        let (rounded, _) = round(isa, wide, scale);
        for half in 0..2 {
            qs[16 * half..][..16].copy_from_slice(&isa.to_i8(rounded[half]));
        }
    }
    crate::format::BlockQ8_0 { d: d.to_bits(), qs }
}
