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
            #[inline(always)]
            fn header<I: Isa>(isa: I, block: &$block) -> Header<I> {
                let mut scales = [0; 16];
                for (i, scale) in scales.iter_mut().enumerate() {
                    *scale = block.scale(i);
                }
                Header {
                    d: isa.half(block.d()) * <$block as Grid>::FACTOR,
                    dmin: 0.0,
                    scales: isa.widened(&scales),
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

/// Eight signs from seven: the eighth makes their number even.
#[inline(always)]
fn even_signs(seven: u32) -> u32 {
    let seven = seven & 127;
    seven | (seven.count_ones() & 1) << 7
}

/// Four groups of seven signs, as 32.
#[inline(always)]
fn signs_of_28(bits: u32) -> u32 {
    even_signs(bits)
        | even_signs(bits >> 7) << 8
        | even_signs(bits >> 14) << 16
        | even_signs(bits >> 21) << 24
}

/// `codes`, negated where a sign bit is set.
#[inline(always)]
fn negated<I: Isa>(isa: I, codes: I::Bytes, signs: u32) -> I::Bytes {
    let marked = isa.and(codes, isa.bits(signs));
    isa.sub(isa.sub(codes, marked), marked)
}

/// A chunk of `N` bytes as an array.
#[inline(always)]
fn group<const N: usize>(chunk: &mut [u8]) -> &mut [u8; N] {
    chunk.try_into().expect("a chunk of N bytes")
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
        let mut grid = [0; 32];
        for (j, out) in grid.chunks_exact_mut(8).enumerate() {
            *group(out) = IQ2_XXS_GRID[usize::from(self.qs[8 * i + j])];
        }
        negated(
            isa,
            isa.bytes(&grid),
            signs_of_28(word(&self.qs, 8 * i + 4)),
        )
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
        let mut signs = 0;
        let mut grid = [0; 32];
        for (j, out) in grid.chunks_exact_mut(8).enumerate() {
            let q = self.qs[4 * i + j];
            *group(out) = IQ2_XS_GRID[usize::from(q & 511)];
            signs |= even_signs(u32::from(q >> 9)) << (8 * j);
        }
        negated(isa, isa.bytes(&grid), signs)
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
        let mut grid = [0; 32];
        for (j, out) in grid.chunks_exact_mut(8).enumerate() {
            let high = usize::from(self.qh[i] >> (2 * j) & 3);
            *group(out) = IQ2_S_GRID[usize::from(self.qs[4 * i + j]) | high << 8];
        }
        negated(isa, isa.bytes(&grid), word(&self.signs, 4 * i))
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
        let mut grid = [0; 32];
        for (j, out) in grid.chunks_exact_mut(4).enumerate() {
            *group(out) = IQ3_XXS_GRID[usize::from(self.qs[8 * i + j])];
        }
        negated(
            isa,
            isa.bytes(&grid),
            signs_of_28(word(&self.scales, 4 * i)),
        )
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
        let mut grid = [0; 32];
        for (j, out) in grid.chunks_exact_mut(4).enumerate() {
            let high = usize::from(self.qh[i] >> j & 1);
            *group(out) = IQ3_S_GRID[usize::from(self.qs[8 * i + j]) | high << 8];
        }
        negated(isa, isa.bytes(&grid), word(&self.signs, 4 * i))
    }
}
