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
        /// Eight 6-bit scales and eight 6-bit minimums, see `scales6`.
        scales: [u8; 12],
        /// Nibbles.
        qs: [u8; 128],
    }
}

/// `d * scale * q - dmin * min`, q in 0..=15.
pub struct Q4K;

/// Unpacks the 12 bytes that hold eight 6-bit scales and eight 6-bit minimums, a byte each: scales 0..4 and minimums 0..4 in the
/// first word, scales 4..8 and minimums 4..8 in the second, the first lowest.
///
/// Bytes 0..4 hold scales 0..4 and bytes 4..8 minimums 0..4 in their low six bits; byte `8 + j` holds the low nibbles of
/// scale and minimum `4 + j`, whose top two bits are the top bits of bytes `j` and `4 + j`.
#[inline(always)]
pub(crate) fn scales6(packed: &[u8; 12]) -> [u64; 2] {
    let p = packed;
    let first = u64::from_le_bytes([p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]]);
    let last = u64::from(u32::from_le_bytes([p[8], p[9], p[10], p[11]]));
    // The low nibbles of `last` below, its high ones above.
    let nibbles = (last | last << 28) & 0x0f0f_0f0f_0f0f_0f0f;
    let tops = (first >> 2) & 0x3030_3030_3030_3030;
    [first & 0x3f3f_3f3f_3f3f_3f3f, nibbles | tops]
}

/// The scales, and the minimums, of [`scales6`] in order.
fn scales6_bytes(packed: &[u8; 12]) -> [[u8; 8]; 2] {
    let [first, last] = scales6(packed).map(u64::to_le_bytes);
    let at = |half: usize, i: usize| {
        if i < 4 {
            first[half + i]
        } else {
            last[half + i - 4]
        }
    };
    [0, 4].map(|half| std::array::from_fn(|i| at(half, i)))
}

impl Format for Q4K {
    type Block = BlockQ4K;
    const LEN: usize = 256;
    fn dequantize(block: &BlockQ4K, out: &mut [f32]) {
        let (d, dmin) = (f16(block.d), f16(block.dmin));
        let [scales, mins] = scales6_bytes(&block.scales);
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
        let nibbles = if i.is_multiple_of(2) {
            packed
        } else {
            isa.shr::<4>(packed)
        };
        isa.and(nibbles, isa.splat(15))
    }
    #[inline(always)]
    fn codes2<I: Isa>(isa: I, block: &BlockQ4K, i: usize) -> I::Bytes2 {
        isa.nibbles2(b32(&block.qs, 32 * i))
    }
}

/// The functions of a [`Super`] format whose block begins with `d`, `dmin` and the 12 bytes of [`scales6`].
macro_rules! scales6_headers {
    ($block:ty) => {
        const MINS: bool = true;
        const WIDE: bool = true;
        const HEADS6: bool = true;
        #[inline(always)]
        fn d(block: &$block) -> u16 {
            block.d
        }
        #[inline(always)]
        fn dmin(block: &$block) -> u16 {
            block.dmin
        }
        #[inline(always)]
        fn scales<I: Isa>(isa: I, block: &$block) -> Scales<I> {
            let [scales, mins] = isa.doubled_halves(scales6(&block.scales));
            Scales { scales, mins }
        }
        #[inline(always)]
        fn wide_scales<I: Isa>(isa: I, [a, b]: [&$block; 2]) -> Scales<I> {
            let [scales, mins] =
                isa.scales6([b16(bytemuck::bytes_of(a), 0), b16(bytemuck::bytes_of(b), 0)]);
            Scales { scales, mins }
        }
    };
}

impl Super for Q4K {
    scales6_headers!(BlockQ4K);
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
    #[inline(always)]
    fn codes2<I: Isa>(isa: I, block: &BlockQ6K, i: usize) -> I::Bytes2 {
        let low = isa.bytes2(b64(&block.ql, i / 2 * 64));
        let high = b32(&block.qh, i / 2 * 32);
        let (low, high) = if i.is_multiple_of(2) {
            (low, isa.turn2::<4, 2>(high))
        } else {
            (isa.shr2::<4>(low), isa.turn2::<0, -2>(high))
        };
        isa.or2(isa.and2(low, 15), isa.and2(high, 0x30))
    }
    #[inline(always)]
    fn codes4<I: Isa>(isa: I, block: &BlockQ6K, half: usize) -> [I::Bytes2; 2] {
        isa.sixes(b64(&block.ql, 64 * half), b32(&block.qh, 32 * half))
    }
}

impl Super for Q6K {
    const MINS: bool = false;
    const WIDE: bool = false;
    #[inline(always)]
    fn d(block: &BlockQ6K) -> u16 {
        block.d
    }
    #[inline(always)]
    fn scales<I: Isa>(isa: I, block: &BlockQ6K) -> Scales<I> {
        Scales {
            scales: isa.widened(&block.scales),
            mins: isa.splat_short(0),
        }
    }
}

block! {
    /// 5-bit super-block, as [`BlockQ4K`] with a fifth bit (5.5 bits per weight).
    BlockQ5K[176] {
        /// Scale of the scales, f16.
        d: u16,
        /// Scale of the minimums, f16.
        dmin: u16,
        /// Eight 6-bit scales and eight 6-bit minimums, see `scales6`.
        scales: [u8; 12],
        /// Fifth bits: bit `i` of `qh[j]` belongs to value `32 i + j`.
        qh: [u8; 32],
        /// Nibbles.
        qs: [u8; 128],
    }
}

/// `d * scale * q - dmin * min`, q in 0..=31.
pub struct Q5K;

impl Format for Q5K {
    type Block = BlockQ5K;
    const LEN: usize = 256;
    fn dequantize(block: &BlockQ5K, out: &mut [f32]) {
        let (d, dmin) = (f16(block.d), f16(block.dmin));
        let [scales, mins] = scales6_bytes(&block.scales);
        for (i, y) in out.iter_mut().enumerate() {
            let byte = block.qs[i / 64 * 32 + i % 32];
            let low = if i / 32 % 2 == 0 {
                byte & 15
            } else {
                byte >> 4
            };
            let q = low | (block.qh[i % 32] >> (i / 32) & 1) << 4;
            *y = d * f32::from(scales[i / 32]) * f32::from(q) - dmin * f32::from(mins[i / 32]);
        }
    }
}

impl Codes for Q5K {
    const SIGNED: bool = false;
    const OFFSET: i16 = 0;
    const MAX: u8 = 31;
    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &BlockQ5K, i: usize) -> I::Bytes {
        let packed = isa.bytes(b32(&block.qs, i / 2 * 32));
        let low = if i.is_multiple_of(2) {
            packed
        } else {
            isa.shr::<4>(packed)
        };
        let high = isa.bytes(&block.qh);
        // Bit i to bit 4.
        let high = match i {
            0 => isa.shl::<4>(high),
            1 => isa.shl::<3>(high),
            2 => isa.shl::<2>(high),
            3 => isa.shl::<1>(high),
            4 => high,
            5 => isa.shr::<1>(high),
            6 => isa.shr::<2>(high),
            _ => isa.shr::<3>(high),
        };
        isa.or(isa.and(low, isa.splat(15)), isa.and(high, isa.splat(16)))
    }
    #[inline(always)]
    fn codes2<I: Isa>(isa: I, block: &BlockQ5K, i: usize) -> I::Bytes2 {
        // Bits 2 i and 2 i + 1 to bit 4.
        let high = match i {
            0 => isa.turn2::<4, 3>(&block.qh),
            1 => isa.turn2::<2, 1>(&block.qh),
            2 => isa.turn2::<0, -1>(&block.qh),
            _ => isa.turn2::<-2, -3>(&block.qh),
        };
        isa.or2(isa.nibbles2(b32(&block.qs, 32 * i)), isa.and2(high, 16))
    }
}

impl Super for Q5K {
    scales6_headers!(BlockQ5K);
}

/// Each of eight 6-bit numbers less 32, as signed bytes.
#[inline(always)]
pub(crate) fn minus_32(six: u64) -> u64 {
    // Without its top bit the number is right; with the top bit turned over, that bit is the sign, and spreads upwards.
    let turned = six ^ 0x2020_2020_2020_2020;
    turned | ((turned & 0x2020_2020_2020_2020) * 6)
}

/// Pairs of bits `2 plane ..` of 32 bytes.
#[inline(always)]
pub(crate) fn plane<I: Isa>(isa: I, packed: &[u8; 32], plane: usize) -> I::Bytes {
    let packed = isa.bytes(packed);
    let shifted = match plane {
        0 => packed,
        1 => isa.shr::<2>(packed),
        2 => isa.shr::<4>(packed),
        _ => isa.shr::<6>(packed),
    };
    isa.and(shifted, isa.splat(3))
}

/// Pairs of bits `4 half ..` of 32 bytes, then the pairs above them.
#[inline(always)]
fn planes2<I: Isa>(isa: I, packed: &[u8; 32], half: usize) -> I::Bytes2 {
    let shifted = match half {
        0 => isa.turn2::<0, -2>(packed),
        _ => isa.turn2::<-4, -6>(packed),
    };
    isa.and2(shifted, 3)
}

block! {
    /// 2-bit super-block with 4-bit scales and minimums for each 16 values (2.625 bits per weight).
    BlockQ2K[84] {
        /// Scale (low nibble) and minimum (high) of each 16 values.
        scales: [u8; 16],
        /// `qs[32 h + j]` holds values `128 h + 32 i + j` at bit `2 i`.
        qs: [u8; 64],
        /// Scale of the scales, f16.
        d: u16,
        /// Scale of the minimums, f16.
        dmin: u16,
    }
}

/// `d * scale * q - dmin * min`, q in 0..=3.
pub struct Q2K;

impl Format for Q2K {
    type Block = BlockQ2K;
    const LEN: usize = 256;
    fn dequantize(block: &BlockQ2K, out: &mut [f32]) {
        let (d, dmin) = (f16(block.d), f16(block.dmin));
        for (i, y) in out.iter_mut().enumerate() {
            let q = block.qs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
            let scale = block.scales[i / 16];
            *y = d * f32::from(scale & 15) * f32::from(q) - dmin * f32::from(scale >> 4);
        }
    }
}

impl Codes for Q2K {
    const SIGNED: bool = false;
    const OFFSET: i16 = 0;
    const MAX: u8 = 3;
    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &BlockQ2K, i: usize) -> I::Bytes {
        plane(isa, b32(&block.qs, i / 4 * 32), i % 4)
    }
    #[inline(always)]
    fn codes2<I: Isa>(isa: I, block: &BlockQ2K, i: usize) -> I::Bytes2 {
        planes2(isa, b32(&block.qs, i / 2 * 32), i % 2)
    }
}

impl Super for Q2K {
    const MINS: bool = true;
    const WIDE: bool = false;
    #[inline(always)]
    fn d(block: &BlockQ2K) -> u16 {
        block.d
    }
    #[inline(always)]
    fn dmin(block: &BlockQ2K) -> u16 {
        block.dmin
    }
    #[inline(always)]
    fn scales<I: Isa>(isa: I, block: &BlockQ2K) -> Scales<I> {
        let both = isa.nibbles(&block.scales);
        Scales {
            scales: isa.low_shorts(both),
            mins: isa.high_shorts(both),
        }
    }
}

block! {
    /// 3-bit super-block with signed 6-bit scales for each 16 values (3.4375 bits per weight).
    BlockQ3K[110] {
        /// High bits: bit `i` of `hmask[j]` belongs to value `32 i + j`.
        hmask: [u8; 32],
        /// Low pairs of bits, as in [`BlockQ2K`].
        qs: [u8; 64],
        /// Sixteen 6-bit scales, 32 too large: low nibbles in bytes 0..8 (of scales 0..8 low, 8..16 high), top pairs in bytes
        /// 8..12 (of scales `j`, `4 + j`, `8 + j`, `12 + j` in byte `8 + j`).
        scales: [u8; 12],
        /// Scale of the scales, f16.
        d: u16,
    }
}

/// `d * (scale - 32) * (q - 4)`, q in 0..=7.
pub struct Q3K;

impl BlockQ3K {
    /// The scales, -32..=31, a byte each, the first lowest.
    #[inline(always)]
    fn unpacked(&self) -> [u64; 2] {
        let s = &self.scales;
        let word = |at: usize| u32::from_le_bytes([s[at], s[at + 1], s[at + 2], s[at + 3]]);
        let (a, b, top) = (word(0), word(4), word(8));
        const LOW4: u32 = 0x0f0f_0f0f;
        const PAIR: u32 = 0x0303_0303;
        let two = |low: u32, high: u32| minus_32(u64::from(low) | u64::from(high) << 32);
        [
            two(
                a & LOW4 | (top & PAIR) << 4,
                b & LOW4 | (top >> 2 & PAIR) << 4,
            ),
            two(
                a >> 4 & LOW4 | (top >> 4 & PAIR) << 4,
                b >> 4 & LOW4 | (top >> 6 & PAIR) << 4,
            ),
        ]
    }
}

impl Format for Q3K {
    type Block = BlockQ3K;
    const LEN: usize = 256;
    fn dequantize(block: &BlockQ3K, out: &mut [f32]) {
        let d = f16(block.d);
        let scales: [i8; 16] = bytemuck::cast(block.unpacked().map(u64::to_le_bytes));
        for (i, y) in out.iter_mut().enumerate() {
            let low = block.qs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
            let high = block.hmask[i % 32] >> (i / 32) & 1;
            *y = d * f32::from(scales[i / 16]) * f32::from(i16::from(low | high << 2) - 4);
        }
    }
}

impl Codes for Q3K {
    const SIGNED: bool = false;
    const OFFSET: i16 = 4;
    const MAX: u8 = 7;
    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &BlockQ3K, i: usize) -> I::Bytes {
        let low = plane(isa, b32(&block.qs, i / 4 * 32), i % 4);
        let high = isa.bytes(&block.hmask);
        // Bit i to bit 2.
        let high = match i {
            0 => isa.shl::<2>(high),
            1 => isa.shl::<1>(high),
            2 => high,
            3 => isa.shr::<1>(high),
            4 => isa.shr::<2>(high),
            5 => isa.shr::<3>(high),
            6 => isa.shr::<4>(high),
            _ => isa.shr::<5>(high),
        };
        isa.or(low, isa.and(high, isa.splat(4)))
    }
    #[inline(always)]
    fn codes2<I: Isa>(isa: I, block: &BlockQ3K, i: usize) -> I::Bytes2 {
        // Bits 2 i and 2 i + 1 to bit 2.
        let high = match i {
            0 => isa.turn2::<2, 1>(&block.hmask),
            1 => isa.turn2::<0, -1>(&block.hmask),
            2 => isa.turn2::<-2, -3>(&block.hmask),
            _ => isa.turn2::<-4, -5>(&block.hmask),
        };
        let low = planes2(isa, b32(&block.qs, i / 2 * 32), i % 2);
        isa.or2(low, isa.and2(high, 4))
    }
}

impl Super for Q3K {
    const MINS: bool = false;
    const WIDE: bool = false;
    #[inline(always)]
    fn d(block: &BlockQ3K) -> u16 {
        block.d
    }
    #[inline(always)]
    fn scales<I: Isa>(isa: I, block: &BlockQ3K) -> Scales<I> {
        Scales {
            scales: isa.scales_split6_16(b16(bytemuck::bytes_of(block), 94)),
            mins: isa.splat_short(0),
        }
    }
}
