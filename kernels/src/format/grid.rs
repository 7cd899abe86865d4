//! Formats whose indices name whole groups of values, the entries of a grid: IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S.
//!
//! An entry gives 8 (or 4) magnitudes; a sign bit for each value is stored beside. Where only seven sign bits of eight are
//! stored, the eighth makes their number even. Scales are odd numbers `2 s + 1`; the powers of two that the formats divide by
//! are taken into the float scale, exactly.

use super::grids::*;
use super::*;
use crate::isa::Scalar;

/// A super-block whose codes come from a grid: value `k` is `d * FACTOR * scale(k / 16) * code[k]`.
pub(super) trait Grid {
    /// What the float scale is multiplied with to make the rest integers: a power of two.
    const FACTOR: f32;
    /// Float scale, f16.
    fn d(&self) -> u16;
    /// Integer scale of values `16 i ..`.
    fn scale(&self, i: usize) -> i8;
    /// Signed codes of values `32 i ..`.
    fn codes<I: Isa>(&self, isa: I, i: usize) -> I::Bytes;
}

/// The format of a [`Grid`] block: largest magnitude of a code, and whether scales are of 32 values.
macro_rules! gridded {
    ($(#[$doc:meta])* $format:ident: $block:ident, $max:literal, $wide:literal) => {
        $(#[$doc])*
        pub struct $format;

        impl Format for $format {
            type Block = $block;
            const LEN: usize = 256;
            fn dequantize(block: &$block, out: &mut [f32]) {
                let d = f16(block.d()) * <$block as Grid>::FACTOR;
                for (i, out) in out.chunks_exact_mut(32).enumerate() {
                    for (j, (y, code)) in out.iter_mut().zip(block.codes(Scalar, i)).enumerate() {
                        *y = d * f32::from(block.scale(2 * i + j / 16)) * f32::from(code as i8);
                    }
                }
            }
        }

        impl Codes for $format {
            const SIGNED: bool = true;
            const OFFSET: i16 = 0;
            const MAX: u8 = $max;
            #[inline(always)]
            fn codes<I: Isa>(isa: I, block: &$block, i: usize) -> I::Bytes {
                block.codes(isa, i)
            }
        }

        impl Super for $format {
            const MINS: bool = false;
            const WIDE: bool = $wide;
            const FACTOR: f32 = <$block as Grid>::FACTOR;
            #[inline(always)]
            fn d(block: &$block) -> u16 {
                block.d()
            }
            #[inline(always)]
            fn scales<I: Isa>(isa: I, block: &$block) -> Scales<I> {
                let mut scales = [0; 2];
                for i in 0..16 {
                    scales[i / 8] |= u64::from(block.scale(i) as u8) << (8 * (i % 8));
                }
                Scales {
                    scales: isa.widened_words(scales),
                    mins: isa.splat_short(0),
                }
            }
            #[inline(always)]
            fn wide_scales<I: Isa>(isa: I, blocks: [&$block; 2]) -> Scales<I> {
                let mut scales = [0; 2];
                for (scales, block) in scales.iter_mut().zip(blocks) {
                    for i in 0..8 {
                        *scales |= u64::from(block.scale(2 * i) as u8) << (8 * i);
                    }
                }
                Scales {
                    scales: isa.widened_words(scales),
                    mins: isa.splat_short(0),
                }
            }
        }
    };
}
pub(super) use gridded;

gridded! {
    /// `d / 8 * (2 s + 1) * +-grid`, 2.0625 bits per weight.
    IQ2XXS: BlockIQ2XXS, 43, true
}
gridded! {
    /// `d / 8 * (2 s + 1) * +-grid`, 2.3125 bits per weight.
    IQ2XS: BlockIQ2XS, 43, false
}
gridded! {
    /// `d / 8 * (2 s + 1) * +-grid`, 2.5625 bits per weight.
    IQ2S: BlockIQ2S, 43, false
}
gridded! {
    /// `d / 4 * (2 s + 1) * +-grid`, 3.0625 bits per weight.
    IQ3XXS: BlockIQ3XXS, 62, true
}
gridded! {
    /// `d * (2 s + 1) * +-grid`, 3.4375 bits per weight.
    IQ3S: BlockIQ3S, 15, true
}

/// Unpacks entries of eight 2-bit indices.
const fn expand8<const N: usize>(packed: &[u16; N], map: &[i8; 3]) -> [[u8; 8]; N] {
    let mut out = [[0; 8]; N];
    let mut i = 0;
    while i < N {
        let mut j = 0;
        while j < 8 {
            out[i][j] = map[(packed[i] >> (2 * j) & 3) as usize] as u8;
            j += 1;
        }
        i += 1;
    }
    out
}

/// Unpacks entries of four 4-bit indices.
const fn expand4<const N: usize>(packed: &[u16; N], map: &[i8; 8]) -> [[u8; 4]; N] {
    let mut out = [[0; 4]; N];
    let mut i = 0;
    while i < N {
        let mut j = 0;
        while j < 4 {
            out[i][j] = map[(packed[i] >> (4 * j) & 15) as usize] as u8;
            j += 1;
        }
        i += 1;
    }
    out
}

static IQ2_XXS_GRID: [[u8; 8]; 256] = expand8(&IQ2_XXS_PACKED, &IQ2_XXS_MAP);
static IQ2_XS_GRID: [[u8; 8]; 512] = expand8(&IQ2_XS_PACKED, &IQ2_XS_MAP);
static IQ2_S_GRID: [[u8; 8]; 1024] = expand8(&IQ2_S_PACKED, &IQ2_S_MAP);
static IQ3_XXS_GRID: [[u8; 4]; 256] = expand4(&IQ3_XXS_PACKED, &IQ3_XXS_MAP);
static IQ3_S_GRID: [[u8; 4]; 512] = expand4(&IQ3_S_PACKED, &IQ3_S_MAP);

/// Four groups of seven signs, one in each byte, as 32: the eighth of each makes their number even.
#[inline(always)]
fn even_signs(sevens: u32) -> u32 {
    // The parity of each byte, folded into its lowest bit.
    let mut parity = (sevens ^ sevens >> 4) & 0x0f0f_0f0f;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    sevens | (parity & 0x0101_0101) << 7
}

/// Four groups of seven signs, side by side, as 32.
#[inline(always)]
fn signs_of_28(bits: u32) -> u32 {
    even_signs(bits & 0x7f | bits << 1 & 0x7f00 | bits << 2 & 0x7f_0000 | bits << 3 & 0x7f00_0000)
}

/// `codes`, negated where a sign bit is set.
#[inline(always)]
fn negated<I: Isa>(isa: I, codes: I::Bytes, signs: u32) -> I::Bytes {
    let marked = isa.and(codes, isa.bits(signs));
    isa.sub(isa.sub(codes, marked), marked)
}

/// Two entries of four as a word.
#[inline(always)]
fn two(first: [u8; 4], second: [u8; 4]) -> u64 {
    u64::from(u32::from_le_bytes(first)) | u64::from(u32::from_le_bytes(second)) << 32
}

/// Four bytes as a number.
#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

block! {
    /// Super-block of 2.0625 bits per weight.
    BlockIQ2XXS[66] {
        /// Scale, f16.
        d: u16,
        /// For each 32 values: four indices, then 28 sign bits and a 4-bit scale.
        qs: [u8; 64],
    }
}

impl Grid for BlockIQ2XXS {
    const FACTOR: f32 = 0.125;
    #[inline(always)]
    fn d(&self) -> u16 {
        self.d
    }
    #[inline(always)]
    fn scale(&self, i: usize) -> i8 {
        (2 * (word(&self.qs, i / 2 * 8 + 4) >> 28) + 1) as i8
    }

    #[inline(always)]
    fn codes<I: Isa>(&self, isa: I, i: usize) -> I::Bytes {
        let mut grid = [0; 4];
        for (j, out) in grid.iter_mut().enumerate() {
            *out = u64::from_le_bytes(IQ2_XXS_GRID[usize::from(self.qs[8 * i + j])]);
        }
        negated(isa, isa.words(grid), signs_of_28(word(&self.qs, 8 * i + 4)))
    }
}

block! {
    /// Super-block of 2.3125 bits per weight.
    BlockIQ2XS[74] {
        /// Scale, f16.
        d: u16,
        /// For each 8 values: a 9-bit index and seven signs.
        qs: [u16; 32],
        /// 4-bit scales of each 16 values.
        scales: [u8; 8],
    }
}

impl Grid for BlockIQ2XS {
    const FACTOR: f32 = 0.125;
    #[inline(always)]
    fn d(&self) -> u16 {
        self.d
    }
    #[inline(always)]
    fn scale(&self, i: usize) -> i8 {
        (2 * (self.scales[i / 2] >> (4 * (i % 2)) & 15) + 1) as i8
    }

    #[inline(always)]
    fn codes<I: Isa>(&self, isa: I, i: usize) -> I::Bytes {
        let mut sevens = 0;
        let mut grid = [0; 4];
        for (j, out) in grid.iter_mut().enumerate() {
            let q = self.qs[4 * i + j];
            *out = u64::from_le_bytes(IQ2_XS_GRID[usize::from(q & 511)]);
            sevens |= u32::from(q >> 9) << (8 * j);
        }
        negated(isa, isa.words(grid), even_signs(sevens))
    }
}

block! {
    /// Super-block of 2.5625 bits per weight.
    BlockIQ2S[82] {
        /// Scale, f16.
        d: u16,
        /// Low bytes of the indices of each 8 values.
        qs: [u8; 32],
        /// Signs.
        signs: [u8; 32],
        /// Top pairs of bits of four indices.
        qh: [u8; 8],
        /// 4-bit scales of each 16 values.
        scales: [u8; 8],
    }
}

impl Grid for BlockIQ2S {
    const FACTOR: f32 = 0.125;
    #[inline(always)]
    fn d(&self) -> u16 {
        self.d
    }
    #[inline(always)]
    fn scale(&self, i: usize) -> i8 {
        (2 * (self.scales[i / 2] >> (4 * (i % 2)) & 15) + 1) as i8
    }

    #[inline(always)]
    fn codes<I: Isa>(&self, isa: I, i: usize) -> I::Bytes {
        let mut grid = [0; 4];
        for (j, out) in grid.iter_mut().enumerate() {
            let high = usize::from(self.qh[i] >> (2 * j) & 3);
            *out = u64::from_le_bytes(IQ2_S_GRID[usize::from(self.qs[4 * i + j]) | high << 8]);
        }
        negated(isa, isa.words(grid), word(&self.signs, 4 * i))
    }
}

block! {
    /// Super-block of 3.0625 bits per weight.
    BlockIQ3XXS[98] {
        /// Scale, f16.
        d: u16,
        /// Indices of each 4 values.
        qs: [u8; 64],
        /// For each 32 values: 28 sign bits and a 4-bit scale.
        scales: [u8; 32],
    }
}

impl Grid for BlockIQ3XXS {
    const FACTOR: f32 = 0.25;
    #[inline(always)]
    fn d(&self) -> u16 {
        self.d
    }
    #[inline(always)]
    fn scale(&self, i: usize) -> i8 {
        (2 * (word(&self.scales, i / 2 * 4) >> 28) + 1) as i8
    }

    #[inline(always)]
    fn codes<I: Isa>(&self, isa: I, i: usize) -> I::Bytes {
        let entry = |j: usize| IQ3_XXS_GRID[usize::from(self.qs[8 * i + j])];
        let grid = [
            two(entry(0), entry(1)),
            two(entry(2), entry(3)),
            two(entry(4), entry(5)),
            two(entry(6), entry(7)),
        ];
        negated(isa, isa.words(grid), signs_of_28(word(&self.scales, 4 * i)))
    }
}

block! {
    /// Super-block of 3.4375 bits per weight.
    BlockIQ3S[110] {
        /// Scale, f16.
        d: u16,
        /// Low bytes of the indices of each 4 values.
        qs: [u8; 64],
        /// Ninth bits of eight indices.
        qh: [u8; 8],
        /// Signs.
        signs: [u8; 32],
        /// 4-bit scales of each 32 values.
        scales: [u8; 4],
    }
}

impl Grid for BlockIQ3S {
    const FACTOR: f32 = 1.0;
    #[inline(always)]
    fn d(&self) -> u16 {
        self.d
    }
    #[inline(always)]
    fn scale(&self, i: usize) -> i8 {
        (2 * (self.scales[i / 4] >> (4 * (i / 2 % 2)) & 15) + 1) as i8
    }

    #[inline(always)]
    fn codes<I: Isa>(&self, isa: I, i: usize) -> I::Bytes {
        let entry = |j: usize| {
            let high = usize::from(self.qh[i] >> j & 1);
            IQ3_S_GRID[usize::from(self.qs[8 * i + j]) | high << 8]
        };
        let grid = [
            two(entry(0), entry(1)),
            two(entry(2), entry(3)),
            two(entry(4), entry(5)),
            two(entry(6), entry(7)),
        ];
        negated(isa, isa.words(grid), word(&self.signs, 4 * i))
    }
}
