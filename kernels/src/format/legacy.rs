//! The small blocks of 32 from before the K-quants: Q8_0 and Q4_0.

use super::*;

block! {
    /// 32 signed bytes and a scale (8.5 bits per weight).
    BlockQ8_0[34] {
        /// Scale, f16.
        d: u16,
        /// Values.
        qs: [i8; 32],
    }
}

/// `d * q`, q in -128..=127.
pub struct Q8_0;

impl Format for Q8_0 {
    type Block = BlockQ8_0;
    const LEN: usize = 32;
    fn dequantize(block: &BlockQ8_0, out: &mut [f32]) {
        let d = f16(block.d);
        for (y, q) in out.iter_mut().zip(block.qs) {
            *y = d * f32::from(q);
        }
    }
}

impl Codes for Q8_0 {
    const SIGNED: bool = true;
    const OFFSET: i16 = 0;
    const MAX: u8 = 128;
    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &BlockQ8_0, _: usize) -> I::Bytes {
        isa.bytes(b32(bytemuck::cast_slice(&block.qs), 0))
    }
}

impl Small for Q8_0 {
    const MIN: bool = false;
    #[inline(always)]
    fn header<I: Isa>(isa: I, block: &BlockQ8_0) -> (f32, f32) {
        (isa.half(block.d), 0.0)
    }
}

block! {
    /// 32 nibbles and a scale (4.5 bits per weight). Byte `j` holds values `j` (low) and `j + 16` (high).
    BlockQ4_0[18] {
        /// Scale, f16.
        d: u16,
        /// Nibbles.
        qs: [u8; 16],
    }
}

/// `d * (q - 8)`, q in 0..=15.
pub struct Q4_0;

impl Format for Q4_0 {
    type Block = BlockQ4_0;
    const LEN: usize = 32;
    fn dequantize(block: &BlockQ4_0, out: &mut [f32]) {
        let d = f16(block.d);
        for (j, q) in block.qs.into_iter().enumerate() {
            out[j] = d * f32::from(i16::from(q & 15) - 8);
            out[j + 16] = d * f32::from(i16::from(q >> 4) - 8);
        }
    }
}

impl Codes for Q4_0 {
    const SIGNED: bool = false;
    const OFFSET: i16 = 8;
    const MAX: u8 = 15;
    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &BlockQ4_0, _: usize) -> I::Bytes {
        isa.nibbles(&block.qs)
    }
}

impl Small for Q4_0 {
    const MIN: bool = false;
    #[inline(always)]
    fn header<I: Isa>(isa: I, block: &BlockQ4_0) -> (f32, f32) {
        (isa.half(block.d), 0.0)
    }
}
