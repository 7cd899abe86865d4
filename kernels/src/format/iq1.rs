//! Formats of grid entries with values -1, 0 and 1, moved by an eighth: IQ1_S, IQ1_M.
//!
//! A value is `d * (2 s + 1) * (grid +- 1/8)`; in integers, `d / 8 * (2 s + 1) * (8 grid +- 1)`.

use super::grid::{Grid, gridded};
use super::grids::*;
use super::*;
use crate::isa::Scalar;

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

/// Four entries, each moved by its shift (1 or -1).
#[inline(always)]
fn shifted<I: Isa>(isa: I, entries: [(usize, i8); 4]) -> I::Bytes {
    let (mut values, mut back) = ([0; 4], [0; 4]);
    for (i, (entry, shift)) in entries.into_iter().enumerate() {
        values[i] = u64::from_le_bytes(IQ1_GRID[entry & 2047].map(|value| value as u8));
        back[i] = if shift > 0 {
            u64::MAX
        } else {
            0x0101_0101_0101_0101
        };
    }
    isa.sub(isa.words(values), isa.words(back))
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

impl BlockIQ1S {
    /// Index and shift (1 or -1) of values `8 i ..`.
    #[inline(always)]
    fn entry(&self, i: usize) -> (usize, i8) {
        let qh = self.qh[i / 4];
        let high = usize::from(qh >> (3 * (i % 4)) & 7);
        (
            usize::from(self.qs[i]) | high << 8,
            if qh & 0x8000 == 0 { 1 } else { -1 },
        )
    }
}

impl Grid for BlockIQ1S {
    const FACTOR: f32 = 0.125;
    #[inline(always)]
    fn codes<I: Isa>(&self, isa: I, i: usize) -> I::Bytes {
        shifted(
            isa,
            [
                self.entry(4 * i),
                self.entry(4 * i + 1),
                self.entry(4 * i + 2),
                self.entry(4 * i + 3),
            ],
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

impl BlockIQ1M {
    /// Index and shift (1 or -1) of values `8 i ..`.
    #[inline(always)]
    fn entry(&self, i: usize) -> (usize, i8) {
        let nibble = self.qh[i / 2] >> (4 * (i % 2));
        (
            usize::from(self.qs[i]) | usize::from(nibble & 7) << 8,
            if nibble & 8 == 0 { 1 } else { -1 },
        )
    }
}

impl Grid for BlockIQ1M {
    const FACTOR: f32 = 0.125;
    #[inline(always)]
    fn codes<I: Isa>(&self, isa: I, i: usize) -> I::Bytes {
        shifted(
            isa,
            [
                self.entry(4 * i),
                self.entry(4 * i + 1),
                self.entry(4 * i + 2),
                self.entry(4 * i + 3),
            ],
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

gridded! {
    /// One scale and one shift for each 32 values.
    IQ1S: BlockIQ1S, 9, true
}
gridded! {
    /// A scale for each 16 values and a shift for each 8.
    IQ1M: BlockIQ1M, 9, false
}
