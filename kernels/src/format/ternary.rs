//! Formats of three values, -1, 0 and 1, with one scale for 256: TQ1_0, TQ2_0.

use super::*;

block! {
    /// Five values in a byte (1.6875 bits per weight).
    ///
    /// A byte is a fraction in base 3 (scaled by 256 / 243, rounded up): times `3^n`, its next digit is the carry of one more
    /// tripling.
    BlockTQ1_0[54] {
        /// Values `32 n + j` are digit `n` of byte `j` for 32 bytes, then `160 + 16 n + j` of the next 16.
        qs: [u8; 48],
        /// Values `240 + 4 n + j` are digit `n` of byte `j`.
        qh: [u8; 4],
        /// Scale, f16.
        d: u16,
    }
}

/// `d * (q - 1)`, q in 0..=2.
pub struct TQ1_0;

impl BlockTQ1_0 {
    /// Value `i`, 0..=2.
    #[inline(always)]
    fn code(&self, i: usize) -> u8 {
        const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
        let (byte, digit) = match i {
            0..160 => (self.qs[i % 32], i / 32),
            160..240 => (self.qs[32 + i % 16], (i - 160) / 16),
            _ => (self.qh[i % 4], (i - 240) / 4 % 4),
        };
        let shifted = byte.wrapping_mul(POWERS[digit]);
        ((u16::from(shifted) * 3) >> 8) as u8
    }
}

/// Each of eight bytes times three, modulo 256.
#[inline(always)]
fn times_3(x: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let double = x << 1 & !0x0101_0101_0101_0101;
    ((x & LOW) + (double & LOW)) ^ ((x ^ double) & !LOW)
}

impl Format for TQ1_0 {
    type Block = BlockTQ1_0;
    const LEN: usize = 256;
    fn dequantize(block: &BlockTQ1_0, out: &mut [f32]) {
        let d = f16(block.d);
        for (i, y) in out.iter_mut().enumerate() {
            *y = d * f32::from(i16::from(block.code(i)) - 1);
        }
    }
}

impl Codes for TQ1_0 {
    const SIGNED: bool = false;
    const OFFSET: i16 = 1;
    const MAX: u8 = 2;
    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &BlockTQ1_0, i: usize) -> I::Bytes {
        // The byte times a power of three, whose low eight bits have the digit on top.
        let x = if i < 5 {
            let mut x = isa.bytes(b32(&block.qs, 0));
            for _ in 0..i {
                x = isa.sub(isa.shl::<2>(x), x);
            }
            x
        } else {
            let word = |at: usize| {
                let bytes = block.qs[32 + at..40 + at].try_into().expect("8 bytes");
                u64::from_le_bytes(bytes)
            };
            let mut powers = [[word(0), word(8)]; 5];
            for n in 1..5 {
                powers[n] = powers[n - 1].map(times_3);
            }
            if i < 7 {
                let [[a, b], [c, d]] = [powers[2 * (i - 5)], powers[2 * (i - 5) + 1]];
                isa.words([a, b, c, d])
            } else {
                // Of the last four bytes, all first digits, then all second ones.
                let ones = u64::from(u32::from_le_bytes(block.qh));
                let first = ones | times_3(ones) << 32;
                let [a, b] = powers[4];
                isa.words([a, b, first, times_3(times_3(first))])
            }
        };
        // The digit is what of three times that is carried out of the byte: out of twice, and out of adding once more.
        let double = isa.shl::<1>(x);
        let minus = isa.sub(isa.splat(0), x);
        let triple = isa.sub(double, minus);
        let no_triple = isa.sub(isa.splat(0xff), triple);
        let carried = isa.or(isa.and(double, x), isa.and(isa.or(double, x), no_triple));
        let minus_first = isa.sub(isa.splat(0), isa.shr::<7>(x));
        isa.sub(isa.shr::<7>(carried), minus_first)
    }
}

/// The functions of a [`Super`] format without integer scales.
macro_rules! ones {
    ($block:ty) => {
        #[inline(always)]
        fn d(block: &$block) -> u16 {
            block.d
        }
        #[inline(always)]
        fn scales<I: Isa>(isa: I, _: &$block) -> Scales<I> {
            Scales {
                scales: isa.splat_short(1),
                mins: isa.splat_short(0),
            }
        }
        #[inline(always)]
        fn wide_scales<I: Isa>(isa: I, [block, _]: [&$block; 2]) -> Scales<I> {
            Self::scales(isa, block)
        }
    };
}

impl Super for TQ1_0 {
    const MINS: bool = false;
    const WIDE: bool = true;
    ones!(BlockTQ1_0);
}

block! {
    /// Four values in a byte (2.0625 bits per weight).
    BlockTQ2_0[66] {
        /// `qs[32 h + j]` holds values `128 h + 32 i + j` at bit `2 i`.
        qs: [u8; 64],
        /// Scale, f16.
        d: u16,
    }
}

/// `d * (q - 1)`, q in 0..=3.
pub struct TQ2_0;

impl Format for TQ2_0 {
    type Block = BlockTQ2_0;
    const LEN: usize = 256;
    fn dequantize(block: &BlockTQ2_0, out: &mut [f32]) {
        let d = f16(block.d);
        for (i, y) in out.iter_mut().enumerate() {
            let q = block.qs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
            *y = d * f32::from(i16::from(q) - 1);
        }
    }
}

impl Codes for TQ2_0 {
    const SIGNED: bool = false;
    const OFFSET: i16 = 1;
    const MAX: u8 = 3;
    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &BlockTQ2_0, i: usize) -> I::Bytes {
        plane(isa, b32(&block.qs, i / 4 * 32), i % 4)
    }
}

impl Super for TQ2_0 {
    const MINS: bool = false;
    const WIDE: bool = true;
    ones!(BlockTQ2_0);
}
