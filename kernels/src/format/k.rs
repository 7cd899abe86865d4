//! The K-quants: super-blocks of 256 values.

use super::*;

block! {
    /// 4-bit super-block with 6-bit scales and minimums for each 32 values (4.5 bits per weight).
    ///
    /// `qs[32 c + j]` holds value `64 c + j` (low nibble) and `64 c + 32 + j` (high nibble).
    BlockQ4K[144] {
        /// Scale of the scales, f16.
        d: u16,
        /// Scale of the minimums, f16.
        dmin: u16,
        /// Eight 6-bit scales and eight 6-bit minimums, see [`scales6`].
        scales: [u8; 12],
        /// Nibbles.
        qs: [u8; 128],
    }
}

/// `d * scale * q - dmin * min`, q in 0..=15.
pub struct Q4K;

/// Unpacks the 12 bytes that hold eight 6-bit scales and eight 6-bit minimums: (scales, minimums).
///
/// Bytes 0..4 hold scales 0..4 and bytes 4..8 minimums 0..4 in their low six bits; byte `8 + j` holds the low nibbles of
/// scale and minimum `4 + j`, whose top two bits are the top bits of bytes `j` and `4 + j`.
#[inline(always)]
pub(crate) fn scales6(packed: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let word = |at: usize| {
        u32::from_le_bytes([packed[at], packed[at + 1], packed[at + 2], packed[at + 3]])
    };
    let (a, b, c) = (word(0), word(4), word(8));
    const LOW6: u32 = 0x3f3f_3f3f;
    const LOW4: u32 = 0x0f0f_0f0f;
    const TOP2: u32 = 0x3030_3030;
    let scales = u64::from(a & LOW6) | u64::from((c & LOW4) | ((a >> 2) & TOP2)) << 32;
    let mins = u64::from(b & LOW6) | u64::from(((c >> 4) & LOW4) | ((b >> 2) & TOP2)) << 32;
    (scales.to_le_bytes(), mins.to_le_bytes())
}

impl Format for Q4K {
    type Block = BlockQ4K;
    const LEN: usize = 256;
    fn dequantize(block: &BlockQ4K, out: &mut [f32]) {
        let (d, dmin) = (f16(block.d), f16(block.dmin));
        let (scales, mins) = scales6(&block.scales);
        for (i, y) in out.iter_mut().enumerate() {
            let byte = block.qs[i / 64 * 32 + i % 32];
            let q = if i / 32 % 2 == 0 {
                byte & 15
            } else {
                byte >> 4
            };
            *y = d * f32::from(scales[i / 32]) * f32::from(q) - dmin * f32::from(mins[i / 32]);
        }
    }
}

impl Codes for Q4K {
    const SIGNED: bool = false;
    const OFFSET: i16 = 0;
    const MAX: u8 = 15;
    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &BlockQ4K, i: usize) -> I::Bytes {
        let packed = isa.bytes(b32(&block.qs, i / 2 * 32));
        let nibbles = if i % 2 == 0 {
            packed
        } else {
            isa.shr::<4>(packed)
        };
        isa.and(nibbles, isa.splat(15))
    }
}

impl Super for Q4K {
    const MINS: bool = true;
    const WIDE: bool = true;
    #[inline(always)]
    fn header<I: Isa>(isa: I, block: &BlockQ4K) -> Header<I> {
        let (scales, mins) = scales6(&block.scales);
        Header {
            d: isa.half(block.d),
            dmin: isa.half(block.dmin),
            scales: isa.doubled(scales),
            mins: isa.doubled(mins),
        }
    }
}

block! {
    /// 6-bit super-block (6.5625 bits per weight).
    BlockQ6K[210] {
        /// Low nibbles: `ql[64 h + j]` holds values `128 h + j` (low) and `128 h + 64 + j` (high), `j` in 0..64.
        ql: [u8; 128],
        /// High pairs of bits: `qh[32 h + j]` those of values `128 h + 32 i + j`, at bit `2 i`.
        qh: [u8; 64],
        /// Scales of each 16 values.
        scales: [i8; 16],
        /// Scale, f16.
        d: u16,
    }
}

/// `d * scale * (q - 32)`, q in 0..=63.
pub struct Q6K;

impl Format for Q6K {
    type Block = BlockQ6K;
    const LEN: usize = 256;
    fn dequantize(block: &BlockQ6K, out: &mut [f32]) {
        let d = f16(block.d);
        for (i, y) in out.iter_mut().enumerate() {
            let (half, at) = (i / 128, i % 128);
            let low = block.ql[64 * half + at % 64] >> (at / 64 * 4) & 15;
            let high = block.qh[32 * half + at % 32] >> (at / 32 * 2) & 3;
            *y = d * f32::from(block.scales[i / 16]) * f32::from(i16::from(low | high << 4) - 32);
        }
    }
}

impl Codes for Q6K {
    const SIGNED: bool = false;
    const OFFSET: i16 = 32;
    const MAX: u8 = 63;
    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &BlockQ6K, i: usize) -> I::Bytes {
        let (half, quarter) = (i / 4, i % 4);
        let low = isa.bytes(b32(&block.ql, 64 * half + quarter % 2 * 32));
        let low = if quarter < 2 { low } else { isa.shr::<4>(low) };
        let high = isa.bytes(b32(&block.qh, 32 * half));
        let high = match quarter {
            0 => isa.shl::<4>(high),
            1 => isa.shl::<2>(high),
            2 => high,
            _ => isa.shr::<2>(high),
        };
        isa.or(isa.and(low, isa.splat(15)), isa.and(high, isa.splat(0x30)))
    }
}

impl Super for Q6K {
    const MINS: bool = false;
    const WIDE: bool = false;
    #[inline(always)]
    fn header<I: Isa>(isa: I, block: &BlockQ6K) -> Header<I> {
        Header {
            d: isa.half(block.d),
            dmin: 0.0,
            scales: isa.widened(&block.scales),
            mins: isa.splat_short(0),
        }
    }
}
