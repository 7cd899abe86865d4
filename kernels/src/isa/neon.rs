//! NEON as every 64-bit ARM has it (Cortex-A53, A72): eight-bit products by `smull` and `smlal`, 16 bits wide.
//!
//! Ranges that keep them exact: inputs are -127..=127 and codes -128..=127, so two products fit into 16 bits, and
//! `32767 / (127 * MAX)` of them where codes are smaller.

#![allow(unsafe_code, reason = "the intrinsics of a level and its entry")]

use super::arm::*;
use super::{Ahead, Heads6, Isa, Level, Task};
use crate::panel::{Codes4, Pairs};
use std::arch::aarch64::*;

/// Proof that the CPU has NEON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon {
    _proof: (),
}

impl Neon {
    /// The token, if this CPU has the instructions.
    pub(crate) fn new() -> Option<Neon> {
        Level::Neon.is_available().then_some(Neon { _proof: () })
    }
}

/// Products of 16 bytes, two added up in each lane.
#[inline(always)]
fn products(codes: uint8x16_t, input: uint8x16_t) -> int16x8_t {
    let (codes, input) = (signed(codes), signed(input));
    v!(vmlal_high_s8(
        vmull_s8(vget_low_s8(codes), vget_low_s8(input)),
        codes,
        input
    ))
}

/// Adds the products of 16 bytes, all times lane `L` of `scales`.
#[inline(always)]
fn mac<const L: i32>(
    sums: int32x4_t,
    codes: uint8x16_t,
    input: uint8x16_t,
    scales: int16x8_t,
) -> int32x4_t {
    let dots = products(codes, input);
    v!(vmlal_high_laneq_s16::<L>(
        vmlal_laneq_s16::<L>(sums, vget_low_s16(dots), scales),
        dots,
        scales
    ))
}

/// The products of a panel's vector of each row, added up: 16 rows.
#[inline(always)]
fn rows(dots: [int16x8_t; 8]) -> [int32x4_t; 4] {
    let mut out = [v!(vdupq_n_s32(0)); 4];
    for i in 0..4 {
        out[i] = v!(vpaddq_s32(
            vpaddlq_s16(dots[2 * i]),
            vpaddlq_s16(dots[2 * i + 1])
        ));
    }
    out
}

impl Isa for Neon {
    bytes_128!("neon");
    floats_128!();
    type Sums2 = int32x4_t;
    /// Products of four positions of two rows each, in 16 bits.
    type Dots = [int16x8_t; 8];

    #[inline(always)]
    fn transpose(self, rows: [[uint8x16_t; 2]; 8]) -> [[u8; 32]; 8] {
        lanes(rows)
    }
    #[inline(always)]
    fn dot(self, sums: int32x4_t, codes: [uint8x16_t; 2], input: &[i8; 32]) -> int32x4_t {
        let x = load2(input);
        v!(vpadalq_s16(
            vpadalq_s16(sums, products(codes[0], x[0])),
            products(codes[1], x[1])
        ))
    }
    #[inline(always)]
    fn eights_refined(self, rows: [int16x8_t; 4], refine: &[i16; 8]) -> [[int16x8_t; 2]; 4] {
        let rows = eights_times(rows, refine);
        let mut out = [[rows[0]; 2]; 4];
        for i in 0..2 {
            v!({
                let (low, high) = (
                    vreinterpretq_s64_s16(rows[i]),
                    vreinterpretq_s64_s16(rows[i + 2]),
                );
                out[2 * i] = [vreinterpretq_s16_s64(vzip1q_s64(low, high)); 2];
                out[2 * i + 1] = [vreinterpretq_s16_s64(vzip2q_s64(low, high)); 2];
            });
        }
        out
    }
    #[inline(always)]
    fn spread2(self, sums: int32x4_t) -> int32x4_t {
        sums
    }
    #[inline(always)]
    fn whole_totals_from(self, rows: [int32x4_t; 4], more: int32x4_t, times: i32) -> float32x4_t {
        let totals = totals4(rows);
        v!(vcvtq_f32_s32(vmlaq_s32(totals, more, vdupq_n_s32(times))))
    }
    #[inline(always)]
    fn settled2(self, sums: int32x4_t) -> int32x4_t {
        settled(sums)
    }
    #[inline(always)]
    fn whole_totals(self, rows: [int32x4_t; 4]) -> float32x4_t {
        self.totals(rows)
    }
    #[inline(always)]
    fn mac2(
        self,
        sums: int32x4_t,
        codes: [uint8x16_t; 4],
        input: &[i8; 64],
        scales: [int16x8_t; 2],
        i: usize,
    ) -> int32x4_t {
        let (x, s) = (load4(input), scales[i / 2]);
        if i.is_multiple_of(2) {
            let sums = mac::<1>(mac::<0>(sums, codes[0], x[0], s), codes[1], x[1], s);
            mac::<3>(mac::<2>(sums, codes[2], x[2], s), codes[3], x[3], s)
        } else {
            let sums = mac::<5>(mac::<4>(sums, codes[0], x[0], s), codes[1], x[1], s);
            mac::<7>(mac::<6>(sums, codes[2], x[2], s), codes[3], x[3], s)
        }
    }
    #[inline(always)]
    fn wide_mac2(
        self,
        sums: int32x4_t,
        codes: [uint8x16_t; 4],
        input: &[i8; 64],
        scales: [int16x8_t; 2],
        i: usize,
    ) -> int32x4_t {
        /// The first 32 by lane `A`, the others by lane `B`.
        #[inline(always)]
        fn two<const A: i32, const B: i32>(
            sums: int32x4_t,
            codes: [uint8x16_t; 4],
            x: [uint8x16_t; 4],
            s: int16x8_t,
        ) -> int32x4_t {
            let sums = mac::<A>(mac::<A>(sums, codes[0], x[0], s), codes[1], x[1], s);
            mac::<B>(mac::<B>(sums, codes[2], x[2], s), codes[3], x[3], s)
        }
        let (x, s) = (load4(input), scales[0]);
        match i {
            0 => two::<0, 1>(sums, codes, x, s),
            1 => two::<2, 3>(sums, codes, x, s),
            2 => two::<4, 5>(sums, codes, x, s),
            _ => two::<6, 7>(sums, codes, x, s),
        }
    }

    // Products of four tokens would fill all registers.
    const TILE_QUAD: bool = false;
    #[inline(always)]
    fn together(self, _: bool, max: u8) -> usize {
        match 32767 / (127 * usize::from(max)) {
            8.. => 8,
            4..8 => 4,
            2..4 => 2,
            _ => 1,
        }
    }
    #[inline(always)]
    fn dots(self) -> [int16x8_t; 8] {
        v!([vdupq_n_s16(0); 8])
    }
    #[inline(always)]
    fn add_dots(self, dots: [int16x8_t; 8], codes: &Codes4, input: [i8; 4]) -> [int16x8_t; 8] {
        let codes = load4(codes);
        let mut out = dots;
        v!({
            let x = vreinterpretq_s8_s32(vdupq_n_s32(i32::from_le_bytes(input.map(|x| x as u8))));
            for i in 0..4 {
                let codes = signed(codes[i]);
                out[2 * i] = vmlal_s8(out[2 * i], vget_low_s8(codes), vget_low_s8(x));
                out[2 * i + 1] = vmlal_high_s8(out[2 * i + 1], codes, x);
            }
        });
        out
    }
    #[inline(always)]
    fn weigh(
        self,
        sums: [int32x4_t; 4],
        dots: [int16x8_t; 8],
        by: &Pairs,
        refine: i32,
    ) -> [int32x4_t; 4] {
        let (by, dots) = (load4(by), rows(dots));
        let mut out = sums;
        for i in 0..4 {
            out[i] = v!(vmlaq_s32(
                out[i],
                dots[i],
                vmulq_n_s32(scales(by[i]), refine)
            ));
        }
        out
    }
    #[inline(always)]
    fn gather(self, sums: [int32x4_t; 4], dots: [int16x8_t; 8]) -> [int32x4_t; 4] {
        let dots = rows(dots);
        let mut out = sums;
        for i in 0..4 {
            out[i] = v!(vaddq_s32(out[i], dots[i]));
        }
        out
    }
}
