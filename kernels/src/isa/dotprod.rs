//! NEON with the dot product instructions (Cortex-A76, Neoverse-N1): `sdot` multiplies 16 bytes by 16 bytes and adds four
//! products to each sum of 32 bits.
//!
//! Its intrinsics are not stable; here each is its one instruction.
//!
//! Groups of products that have scales of their own would each begin with a zero. Instead one sum runs on through a super-block, and
//! after each group is added times the scale's *step*, the scale less the next one: by partial summation that is the same, exactly, because
//! sums wrap around and back.

#![allow(unsafe_code, reason = "the intrinsics of a level and its entry")]

use super::arm::*;
use super::{Isa, Level, Task};
use crate::input::TILE_TOKENS;
use crate::panel::{Codes4, Pairs};
use std::arch::aarch64::*;
use std::arch::asm;

/// Proof that the CPU has NEON with dot products.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dotprod {
    _proof: (),
}

impl Dotprod {
    /// The token, if this CPU has the instructions.
    pub(crate) fn new() -> Option<Dotprod> {
        Level::NeonDotprod
            .is_available()
            .then_some(Dotprod { _proof: () })
    }
}

/// Adds the products of four bytes to each sum.
#[inline(always)]
pub(super) fn sdot(sums: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t {
    let mut out = sums;
    // SAFETY: registers only; the tokens of the levels that call this prove the instruction.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) out, in(vreg) a, in(vreg) b,
             options(pure, nomem, nostack, preserves_flags));
    }
    out
}

/// As [`sdot`] with the four bytes of lane `L` of `b` for all sums.
#[inline(always)]
fn sdot_lane<const L: i32>(sums: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t {
    let mut out = sums;
    // SAFETY: registers only; the tokens of the levels that call this prove the instruction.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]", inout(vreg) out, in(vreg) a, in(vreg) b, const L,
             options(pure, nomem, nostack, preserves_flags));
    }
    out
}

/// Adds the products of 16 rows, four codes each, with four inputs: those of lane `L`.
#[inline(always)]
fn add_lane<const L: i32>(
    mut dots: [int32x4_t; 4],
    codes: [uint8x16_t; 4],
    input: uint8x16_t,
) -> [int32x4_t; 4] {
    for i in 0..4 {
        dots[i] = sdot_lane::<L>(dots[i], codes[i], input);
    }
    dots
}

/// Verbs on few tokens by `sdot`, and on the sums of 16 rows: for the levels that have it.
macro_rules! sdots {
    () => {
        /// Products times scales; and the products that run on.
        type Sums2 = [int32x4_t; 2];
        type Dots = [int32x4_t; 4];

        #[inline(always)]
        fn stepped(self, scales: [int16x8_t; 2]) -> [int16x8_t; 2] {
            v!({
                let zero = vdupq_n_s16(0);
                let next = [
                    vextq_s16::<1>(scales[0], scales[1]),
                    vextq_s16::<1>(scales[1], zero),
                ];
                [vsubq_s16(scales[0], next[0]), vsubq_s16(scales[1], next[1])]
            })
        }
        #[inline(always)]
        fn wide_stepped(self, scales: [int16x8_t; 2]) -> [int16x8_t; 2] {
            let next = v!(vextq_s16::<1>(scales[0], vdupq_n_s16(0)));
            v!([vsubq_s16(scales[0], next); 2])
        }
        #[inline(always)]
        fn spread2(self, sums: int32x4_t) -> [int32x4_t; 2] {
            v!([sums, vdupq_n_s32(0)])
        }
        #[inline(always)]
        fn whole_totals(self, rows: [[int32x4_t; 2]; 4]) -> float32x4_t {
            self.totals([rows[0][0], rows[1][0], rows[2][0], rows[3][0]])
        }
        #[inline(always)]
        fn dot(self, sums: int32x4_t, codes: [uint8x16_t; 2], input: &[i8; 32]) -> int32x4_t {
            let x = load2(input);
            sdot(sdot(sums, codes[0], x[0]), codes[1], x[1])
        }
        #[inline(always)]
        fn mac2(
            self,
            [mut sums, mut run]: [int32x4_t; 2],
            codes: [uint8x16_t; 4],
            input: &[i8; 64],
            steps: [int16x8_t; 2],
            i: usize,
        ) -> [int32x4_t; 2] {
            let x = load4(input);
            v!({
                let steps = opaque(if i.is_multiple_of(2) {
                    vmovl_s16(vget_low_s16(steps[i / 2]))
                } else {
                    vmovl_high_s16(steps[i / 2])
                });
                run = sdot(run, codes[0], x[0]);
                sums = vmlaq_laneq_s32::<0>(sums, run, steps);
                run = sdot(run, codes[1], x[1]);
                sums = vmlaq_laneq_s32::<1>(sums, run, steps);
                run = sdot(run, codes[2], x[2]);
                sums = vmlaq_laneq_s32::<2>(sums, run, steps);
                run = sdot(run, codes[3], x[3]);
                [vmlaq_laneq_s32::<3>(sums, run, steps), run]
            })
        }
        #[inline(always)]
        fn wide_mac2(
            self,
            [sums, run]: [int32x4_t; 2],
            codes: [uint8x16_t; 4],
            input: &[i8; 64],
            steps: [int16x8_t; 2],
            i: usize,
        ) -> [int32x4_t; 2] {
            let x = load4(input);
            v!({
                let steps = opaque(if i < 2 {
                    vmovl_s16(vget_low_s16(steps[0]))
                } else {
                    vmovl_high_s16(steps[0])
                });
                let low = sdot(sdot(run, codes[0], x[0]), codes[1], x[1]);
                let run = sdot(sdot(low, codes[2], x[2]), codes[3], x[3]);
                let sums = if i.is_multiple_of(2) {
                    vmlaq_laneq_s32::<1>(vmlaq_laneq_s32::<0>(sums, low, steps), run, steps)
                } else {
                    vmlaq_laneq_s32::<3>(vmlaq_laneq_s32::<2>(sums, low, steps), run, steps)
                };
                [sums, run]
            })
        }
        #[inline(always)]
        fn pair_dot(self, codes: [uint8x16_t; 4], x: [uint8x16_t; 4], _: u8) -> int32x4_t {
            v!({
                let zero = vdupq_n_s32(0);
                let first = sdot(sdot(zero, codes[0], x[0]), codes[1], x[1]);
                let second = sdot(sdot(zero, codes[2], x[2]), codes[3], x[3]);
                vpaddq_s32(first, second)
            })
        }

        #[inline(always)]
        fn together(self, _: bool, _: u8) -> usize {
            8
        }
        #[inline(always)]
        fn dots(self) -> [int32x4_t; 4] {
            v!([vdupq_n_s32(0); 4])
        }
        #[inline(always)]
        fn weigh(
            self,
            mut sums: [int32x4_t; 4],
            dots: [int32x4_t; 4],
            by: &Pairs,
            refine: i32,
        ) -> [int32x4_t; 4] {
            let by = load4(by);
            for i in 0..4 {
                sums[i] = v!(vmlaq_s32(
                    sums[i],
                    dots[i],
                    vmulq_n_s32(scales(by[i]), refine)
                ));
            }
            sums
        }
        #[inline(always)]
        fn gather(self, mut sums: [int32x4_t; 4], dots: [int32x4_t; 4]) -> [int32x4_t; 4] {
            for i in 0..4 {
                sums[i] = v!(vaddq_s32(sums[i], dots[i]));
            }
            sums
        }
    };
}
pub(super) use sdots;

impl Isa for Dotprod {
    bytes_128!("neon,dotprod");
    floats_128!();
    sdots!();

    #[inline(always)]
    fn transpose(self, rows: [[uint8x16_t; 2]; 8]) -> [[u8; 32]; 8] {
        lanes(rows)
    }
    #[inline(always)]
    fn add_dots(self, dots: [int32x4_t; 4], codes: &Codes4, input: [i8; 4]) -> [int32x4_t; 4] {
        let x = v!(vreinterpretq_u8_s32(vdupq_n_s32(i32::from_le_bytes(
            input.map(|x| x as u8)
        ))));
        add_lane::<0>(dots, load4(codes), x)
    }
    const QUAD_GROUPS: usize = 1;
    #[inline(always)]
    fn add_quad<const T: usize>(
        self,
        mut dots: [[int32x4_t; 4]; T],
        codes: &[Codes4],
        inputs: &[[[i8; 4]; TILE_TOKENS]],
        first: usize,
    ) -> [[int32x4_t; 4]; T] {
        assert!(T == 4, "a tile of four tokens");
        let codes = load4(&codes[0]);
        let input = four_tokens(&inputs[0], first);
        dots[0] = add_lane::<0>(dots[0], codes, input);
        dots[1] = add_lane::<1>(dots[1], codes, input);
        dots[2] = add_lane::<2>(dots[2], codes, input);
        dots[3] = add_lane::<3>(dots[3], codes, input);
        dots
    }
}
