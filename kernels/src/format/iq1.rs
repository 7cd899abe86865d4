//! Formats of grid entries with values -1, 0 and 1, moved by an eighth: IQ1_S, IQ1_M.
//!
//! A value is `d * (2 s + 1) * (grid +- 1/8)`; in integers, `d / 8 * (2 s + 1) * (8 grid +- 1)`.

use super::grids::*;
use super::*;

/// Eight times the values of each entry.
static IQ1_GRID: [[i8; 8]; 2048] = {
    let mut out = [[0; 8]; 2048];
    let mut i = 0;
    while i < 2048 {
        let mut j = 0;
        while j < 8 {
            out[i][j] = 8 * IQ1_MAP[(IQ1_PACKED[i] >> (2 * j) & 3) as usize];
            j += 1;
        }
        i += 1;
    }
    out
};

/// What the two formats differ in.
trait Entries {
    /// Index and shift (1 or -1) of values `8 i ..`.
    fn entry(&self, i: usize) -> (usize, i8);
    /// Scale of values `16 i ..`.
    fn scale(&self, i: usize) -> i8;
    /// Float scale.
    fn d(&self) -> u16;
}

/// Codes of values `32 i ..`.
#[inline(always)]
fn shifted(block: &impl Entries, i: usize) -> [i8; 32] {
    let mut codes = [0; 32];
    for (j, codes) in codes.chunks_exact_mut(8).enumerate() {
        let (entry, shift) = block.entry(4 * i + j);
        for (code, value) in codes.iter_mut().zip(IQ1_GRID[entry & 2047]) {
            *code = value + shift;
        }
    }
    codes
}

#[inline(always)]
fn dequantize(block: &impl Entries, out: &mut [f32]) {
    let d = f16(block.d());
    for (i, out) in out.chunks_exact_mut(32).enumerate() {
        for (j, (y, code)) in out.iter_mut().zip(shifted(block, i)).enumerate() {
            *y = d * f32::from(block.scale(2 * i + j / 16)) * (f32::from(code) * 0.125);
        }
    }
}

#[inline(always)]
fn header<I: Isa>(isa: I, block: &impl Entries) -> Header<I> {
    let mut scales = [0; 16];
    for (i, scale) in scales.iter_mut().enumerate() {
        *scale = block.scale(i);
    }
    Header {
        d: isa.half(block.d()) * 0.125,
        dmin: 0.0,
        scales: isa.widened(&scales),
        mins: isa.splat_short(0),
    }
}

block! {
    /// Super-block of 1.5625 bits per weight.
    BlockIQ1S[50] {
        /// Scale, f16.
        d: u16,
        /// Low bytes of the indices of each 8 values.
        qs: [u8; 32],
        /// For each 32 values: four 3-bit tops of indices, a 3-bit scale, and the sign of the shift.
        qh: [u16; 8],
    }
}

impl Entries for BlockIQ1S {
    #[inline(always)]
    fn entry(&self, i: usize) -> (usize, i8) {
        let qh = self.qh[i / 4];
        let high = usize::from(qh >> (3 * (i % 4)) & 7);
        (
            usize::from(self.qs[i]) | high << 8,
            if qh & 0x8000 == 0 { 1 } else { -1 },
        )
    }
    #[inline(always)]
    fn scale(&self, i: usize) -> i8 {
        (2 * (self.qh[i / 2] >> 12 & 7) + 1) as i8
    }
    #[inline(always)]
    fn d(&self) -> u16 {
        self.d
    }
}

block! {
    /// Super-block of 1.75 bits per weight.
    BlockIQ1M[56] {
        /// Low bytes of the indices of each 8 values.
        qs: [u8; 32],
        /// For each 16 values: two nibbles of a 3-bit top of an index and the sign of a shift.
        qh: [u8; 16],
        /// 3-bit scales of each 16 values, four in 16 bits; their top nibbles together are the float scale, f16.
        scales: [u16; 4],
    }
}

impl Entries for BlockIQ1M {
    #[inline(always)]
    fn entry(&self, i: usize) -> (usize, i8) {
        let nibble = self.qh[i / 2] >> (4 * (i % 2));
        (
            usize::from(self.qs[i]) | usize::from(nibble & 7) << 8,
            if nibble & 8 == 0 { 1 } else { -1 },
        )
    }
    #[inline(always)]
    fn scale(&self, i: usize) -> i8 {
        (2 * (self.scales[i / 4] >> (3 * (i % 4)) & 7) + 1) as i8
    }
    #[inline(always)]
    fn d(&self) -> u16 {
        let s = &self.scales;
        s[0] >> 12 | (s[1] >> 8 & 0x00f0) | (s[2] >> 4 & 0x0f00) | (s[3] & 0xf000)
    }
}

/// Both formats are the same but for where their entries are.
macro_rules! format {
    ($format:ident, $block:ident, $wide:literal) => {
        impl Format for $format {
            type Block = $block;
            const LEN: usize = 256;
            fn dequantize(block: &$block, out: &mut [f32]) {
                dequantize(block, out);
            }
        }

        impl Codes for $format {
            const SIGNED: bool = true;
            const OFFSET: i16 = 0;
            const MAX: u8 = 9;
            #[inline(always)]
            fn codes<I: Isa>(isa: I, block: &$block, i: usize) -> I::Bytes {
                isa.bytes(bytemuck::cast_ref(&shifted(block, i)))
            }
        }

        impl Super for $format {
            const MINS: bool = false;
            const WIDE: bool = $wide;
            #[inline(always)]
            fn header<I: Isa>(isa: I, block: &$block) -> Header<I> {
                header(isa, block)
            }
        }
    };
}

/// One scale and one shift for each 32 values.
pub struct IQ1S;
/// A scale for each 16 values and a shift for each 8.
pub struct IQ1M;
format!(IQ1S, BlockIQ1S, true);
format!(IQ1M, BlockIQ1M, false);
