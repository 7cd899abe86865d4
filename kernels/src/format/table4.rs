//! Formats whose nibbles index a table of values: IQ4_NL, IQ4_XS, MXFP4.

use super::*;

/// Values of IQ4_NL and IQ4_XS, denser near zero.
const IQ4: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// The same 128 too large.
const IQ4_BIASED: [i8; 16] = {
    let mut out = IQ4;
    let mut i = 0;
    while i < 16 {
        out[i] ^= -128;
        i += 1;
    }
    out
};

/// The values as a level multiplies them.
#[inline(always)]
fn iq4<I: Isa>() -> &'static [i8; 16] {
    if I::BIASED { &IQ4_BIASED } else { &IQ4 }
}

/// Added to the values of [`E2M1`].
const E2M1_OFFSET: i16 = 12;
/// Twice the values of a 4-bit float with two exponent bits (OCP Microscaling specification 1.0, E2M1), and 12.
const E2M1: [i8; 16] = [12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0];

block! {
    /// 32 indices and a scale (4.5 bits per weight).
    BlockIQ4NL[18] {
        /// Scale, f16.
        d: u16,
        /// Indices: low nibbles are values 0..16, high ones 16..32.
        qs: [u8; 16],
    }
}

/// `d * table[q]`.
pub struct IQ4NL;

impl Format for IQ4NL {
    type Block = BlockIQ4NL;
    const LEN: usize = 32;
    fn dequantize(block: &BlockIQ4NL, out: &mut [f32]) {
        let d = f16(block.d);
        for (j, q) in block.qs.into_iter().enumerate() {
            out[j] = d * f32::from(IQ4[usize::from(q & 15)]);
            out[j + 16] = d * f32::from(IQ4[usize::from(q >> 4)]);
        }
    }
}

impl Codes for IQ4NL {
    const SIGNED: bool = true;
    const OFFSET: i16 = 0;
    const MAX: u8 = 127;
    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &BlockIQ4NL, _: usize) -> I::Bytes {
        isa.lookup(&IQ4, isa.nibbles(&block.qs))
    }
}

impl Small for IQ4NL {
    const MIN: bool = false;
    half_headers!(BlockIQ4NL);
    #[inline(always)]
    fn pair<I: Isa>(isa: I, blocks: &[BlockIQ4NL; 2]) -> I::Bytes2 {
        let nibbles = isa.pair_nibbles(blocks, std::mem::offset_of!(BlockIQ4NL, qs));
        isa.lookup2(iq4::<I>(), nibbles)
    }
}

block! {
    /// 32 floats of four bits and a power of two (4.25 bits per weight).
    BlockMXFP4[17] {
        /// Exponent of the scale, 127 too large.
        e: u8,
        /// Indices: low nibbles are values 0..16, high ones 16..32.
        qs: [u8; 16],
    }
}

/// `2^(e - 128) * (table[q] - 12)`, the table holding doubled values and 12.
pub struct MXFP4;

/// `2^(e - 128)`: half the scale, because the table is doubled. The two smallest are denormal.
#[inline(always)]
fn half_power(e: u8) -> f32 {
    f32::from_bits(if e < 2 {
        0x0020_0000 << e
    } else {
        u32::from(e - 1) << 23
    })
}

impl Format for MXFP4 {
    type Block = BlockMXFP4;
    const LEN: usize = 32;
    fn dequantize(block: &BlockMXFP4, out: &mut [f32]) {
        let d = half_power(block.e);
        for (j, q) in block.qs.into_iter().enumerate() {
            let value = |q: u8| f32::from(i16::from(E2M1[usize::from(q)]) - E2M1_OFFSET);
            out[j] = d * value(q & 15);
            out[j + 16] = d * value(q >> 4);
        }
    }
}

impl Codes for MXFP4 {
    const SIGNED: bool = false;
    const OFFSET: i16 = E2M1_OFFSET;
    const MAX: u8 = 24;
    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &BlockMXFP4, _: usize) -> I::Bytes {
        isa.lookup(&E2M1, isa.nibbles(&block.qs))
    }
}

impl Small for MXFP4 {
    const MIN: bool = false;
    #[inline(always)]
    fn header<I: Isa>(_: I, block: &BlockMXFP4) -> (f32, f32) {
        (half_power(block.e), 0.0)
    }
}

block! {
    /// Super-block of indices with signed 6-bit scales for each 32 values (4.25 bits per weight).
    BlockIQ4XS[136] {
        /// Scale of the scales, f16.
        d: u16,
        /// Top pairs of bits of the eight scales.
        scales_h: u16,
        /// Low nibbles of the eight scales.
        scales_l: [u8; 4],
        /// Indices: in each 16 bytes, low nibbles are the first 16 of 32 values, high ones the rest.
        qs: [u8; 128],
    }
}

/// `d * (scale - 32) * table[q]`.
pub struct IQ4XS;

impl BlockIQ4XS {
    /// Scale of values `32 i ..`, -32..=31.
    #[inline(always)]
    fn scale(&self, i: usize) -> i8 {
        let low = self.scales_l[i / 2] >> (4 * (i % 2)) & 15;
        let high = (self.scales_h >> (2 * i) & 3) as u8;
        (low | high << 4) as i8 - 32
    }

    /// The eight scales, a byte each, the first lowest.
    #[inline(always)]
    fn scales(&self) -> u64 {
        // Eight nibbles and eight pairs of bits, spread over the bytes of a word.
        let mut low = u64::from(u32::from_le_bytes(self.scales_l));
        low = (low | low << 16) & 0x0000_ffff_0000_ffff;
        low = (low | low << 8) & 0x00ff_00ff_00ff_00ff;
        low = (low | low << 4) & 0x0f0f_0f0f_0f0f_0f0f;
        let mut high = u64::from(self.scales_h);
        high = (high | high << 24) & 0x0000_00ff_0000_00ff;
        high = (high | high << 12) & 0x000f_000f_000f_000f;
        high = (high | high << 6) & 0x0303_0303_0303_0303;
        minus_32(low | high << 4)
    }
}

impl Format for IQ4XS {
    type Block = BlockIQ4XS;
    const LEN: usize = 256;
    fn dequantize(block: &BlockIQ4XS, out: &mut [f32]) {
        let d = f16(block.d);
        for (i, y) in out.iter_mut().enumerate() {
            let byte = block.qs[i / 32 * 16 + i % 16];
            let q = if i / 16 % 2 == 0 {
                byte & 15
            } else {
                byte >> 4
            };
            *y = d * f32::from(block.scale(i / 32)) * f32::from(IQ4[usize::from(q)]);
        }
    }
}

impl Codes for IQ4XS {
    const SIGNED: bool = true;
    const OFFSET: i16 = 0;
    const MAX: u8 = 127;
    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &BlockIQ4XS, i: usize) -> I::Bytes {
        isa.lookup(&IQ4, isa.nibbles(b16(&block.qs, 16 * i)))
    }
}

impl Super for IQ4XS {
    const MINS: bool = false;
    const WIDE: bool = true;
    #[inline(always)]
    fn d(block: &BlockIQ4XS) -> u16 {
        block.d
    }
    #[inline(always)]
    fn scales<I: Isa>(isa: I, block: &BlockIQ4XS) -> Scales<I> {
        Scales {
            scales: isa.doubled(block.scales()),
            mins: isa.splat_short(0),
        }
    }
    #[inline(always)]
    fn wide_scales<I: Isa>(isa: I, [a, b]: [&BlockIQ4XS; 2]) -> Scales<I> {
        Scales {
            scales: isa.scales_split6([a, b].map(|block| b16(bytemuck::bytes_of(block), 0))),
            mins: isa.splat_short(0),
        }
    }
    const HALVES: bool = true;
    #[inline(always)]
    fn halves2<I: Isa>(isa: I, block: &BlockIQ4XS, i: usize) -> I::Bytes2 {
        isa.lookup2(iq4::<I>(), isa.nibbles2(b32(&block.qs, 32 * i)))
    }
}
