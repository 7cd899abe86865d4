//! The small blocks of 32 from before the K-quants: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.

use super::*;
use std::mem::offset_of;

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
    half_headers!(BlockQ8_0);
    #[inline(always)]
    fn pair<I: Isa>(isa: I, blocks: &[BlockQ8_0; 2]) -> I::Bytes2 {
        let codes = isa.pair_bytes(blocks, offset_of!(BlockQ8_0, qs));
        if I::BIASED { isa.flip2(codes) } else { codes }
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
    half_headers!(BlockQ4_0);
    #[inline(always)]
    fn pair<I: Isa>(isa: I, blocks: &[BlockQ4_0; 2]) -> I::Bytes2 {
        isa.pair_nibbles(blocks, offset_of!(BlockQ4_0, qs))
    }
}

block! {
    /// 32 nibbles, a scale and a minimum (5 bits per weight).
    BlockQ4_1[20] {
        /// Scale, f16.
        d: u16,
        /// Minimum, f16.
        m: u16,
        /// Nibbles.
        qs: [u8; 16],
    }
}

/// `d * q + m`, q in 0..=15.
pub struct Q4_1;

impl Format for Q4_1 {
    type Block = BlockQ4_1;
    const LEN: usize = 32;
    fn dequantize(block: &BlockQ4_1, out: &mut [f32]) {
        let (d, m) = (f16(block.d), f16(block.m));
        for (j, q) in block.qs.into_iter().enumerate() {
            out[j] = d * f32::from(q & 15) + m;
            out[j + 16] = d * f32::from(q >> 4) + m;
        }
    }
}

impl Codes for Q4_1 {
    const SIGNED: bool = false;
    const OFFSET: i16 = 0;
    const MAX: u8 = 15;
    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &BlockQ4_1, _: usize) -> I::Bytes {
        isa.nibbles(&block.qs)
    }
}

impl Small for Q4_1 {
    const MIN: bool = true;
    half_headers!(BlockQ4_1, with m);
    #[inline(always)]
    fn pair<I: Isa>(isa: I, blocks: &[BlockQ4_1; 2]) -> I::Bytes2 {
        isa.pair_nibbles(blocks, offset_of!(BlockQ4_1, qs))
    }
}

block! {
    /// 32 values of five bits and a scale (5.5 bits per weight).
    BlockQ5_0[22] {
        /// Scale, f16.
        d: u16,
        /// Fifth bits: bit `j` of the little-endian number belongs to value `j`.
        qh: [u8; 4],
        /// Nibbles.
        qs: [u8; 16],
    }
}

/// `d * (q - 16)`, q in 0..=31.
pub struct Q5_0;

impl Format for Q5_0 {
    type Block = BlockQ5_0;
    const LEN: usize = 32;
    fn dequantize(block: &BlockQ5_0, out: &mut [f32]) {
        let d = f16(block.d);
        let high = u32::from_le_bytes(block.qh);
        for (j, q) in block.qs.into_iter().enumerate() {
            let low = (q & 15) | ((high >> j & 1) as u8 * 16);
            let top = (q >> 4) | ((high >> (j + 16) & 1) as u8 * 16);
            out[j] = d * f32::from(i16::from(low) - 16);
            out[j + 16] = d * f32::from(i16::from(top) - 16);
        }
    }
}

impl Codes for Q5_0 {
    const SIGNED: bool = false;
    const OFFSET: i16 = 16;
    const MAX: u8 = 31;
    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &BlockQ5_0, _: usize) -> I::Bytes {
        isa.fives(&block.qs, u32::from_le_bytes(block.qh))
    }
}

impl Small for Q5_0 {
    const MIN: bool = false;
    half_headers!(BlockQ5_0);
    #[inline(always)]
    fn pair<I: Isa>(isa: I, blocks: &[BlockQ5_0; 2]) -> I::Bytes2 {
        let fifth = [blocks[0].qh, blocks[1].qh].map(u32::from_le_bytes);
        let nibbles = isa.pair_nibbles(blocks, offset_of!(BlockQ5_0, qs));
        isa.pair_add_bits(nibbles, fifth, 16)
    }
}

block! {
    /// 32 values of five bits, a scale and a minimum (6 bits per weight).
    BlockQ5_1[24] {
        /// Scale, f16.
        d: u16,
        /// Minimum, f16.
        m: u16,
        /// Fifth bits: bit `j` of the little-endian number belongs to value `j`.
        qh: [u8; 4],
        /// Nibbles.
        qs: [u8; 16],
    }
}

/// `d * q + m`, q in 0..=31.
pub struct Q5_1;

impl Format for Q5_1 {
    type Block = BlockQ5_1;
    const LEN: usize = 32;
    fn dequantize(block: &BlockQ5_1, out: &mut [f32]) {
        let (d, m) = (f16(block.d), f16(block.m));
        let high = u32::from_le_bytes(block.qh);
        for (j, q) in block.qs.into_iter().enumerate() {
            let low = (q & 15) | ((high >> j & 1) as u8 * 16);
            let top = (q >> 4) | ((high >> (j + 16) & 1) as u8 * 16);
            out[j] = d * f32::from(low) + m;
            out[j + 16] = d * f32::from(top) + m;
        }
    }
}

impl Codes for Q5_1 {
    const SIGNED: bool = false;
    const OFFSET: i16 = 0;
    const MAX: u8 = 31;
    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &BlockQ5_1, _: usize) -> I::Bytes {
        isa.fives(&block.qs, u32::from_le_bytes(block.qh))
    }
}

impl Small for Q5_1 {
    const MIN: bool = true;
    half_headers!(BlockQ5_1, with m);
    #[inline(always)]
    fn pair<I: Isa>(isa: I, blocks: &[BlockQ5_1; 2]) -> I::Bytes2 {
        let fifth = [blocks[0].qh, blocks[1].qh].map(u32::from_le_bytes);
        let nibbles = isa.pair_nibbles(blocks, offset_of!(BlockQ5_1, qs));
        isa.pair_add_bits(nibbles, fifth, 16)
    }
}
