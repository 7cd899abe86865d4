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
use super::{Ahead, Heads6, Isa, Level, Task};
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

/// Adds the products of 32 codes to those that run on, and these times lane `L` of `steps` to `sums`. One piece, because apart the
/// compiler would copy the products so that both go on at once.
#[inline(always)]
pub(super) fn run_two<const L: i32>(
    sums: &mut int32x4_t,
    run: &mut int32x4_t,
    codes: [uint8x16_t; 2],
    x: [uint8x16_t; 2],
    steps: int32x4_t,
) {
    // SAFETY: registers only; the tokens of the levels that call this prove the instructions.
    unsafe {
        asm!(
            "sdot {run:v}.4s, {a:v}.16b, {c:v}.16b",
            "sdot {run:v}.4s, {b:v}.16b, {d:v}.16b",
            "mla {sums:v}.4s, {run:v}.4s, {steps:v}.s[{l}]",
            run = inout(vreg) *run, sums = inout(vreg) *sums, steps = in(vreg) steps,
            a = in(vreg) codes[0], b = in(vreg) codes[1], c = in(vreg) x[0], d = in(vreg) x[1], l = const L,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
}

/// The same for four groups of 16 codes, by the four lanes.
#[inline(always)]
pub(super) fn run_four(
    sums: &mut int32x4_t,
    run: &mut int32x4_t,
    codes: [uint8x16_t; 4],
    x: [uint8x16_t; 4],
    steps: int32x4_t,
) {
    // SAFETY: as in `run_two`.
    unsafe {
        asm!(
            "sdot {run:v}.4s, {a:v}.16b, {e:v}.16b",
            "mla {sums:v}.4s, {run:v}.4s, {steps:v}.s[0]",
            "sdot {run:v}.4s, {b:v}.16b, {f:v}.16b",
            "mla {sums:v}.4s, {run:v}.4s, {steps:v}.s[1]",
            "sdot {run:v}.4s, {c:v}.16b, {g:v}.16b",
            "mla {sums:v}.4s, {run:v}.4s, {steps:v}.s[2]",
            "sdot {run:v}.4s, {d:v}.16b, {h:v}.16b",
            "mla {sums:v}.4s, {run:v}.4s, {steps:v}.s[3]",
            run = inout(vreg) *run, sums = inout(vreg) *sums, steps = in(vreg) steps,
            a = in(vreg) codes[0], b = in(vreg) codes[1], c = in(vreg) codes[2], d = in(vreg) codes[3],
            e = in(vreg) x[0], f = in(vreg) x[1], g = in(vreg) x[2], h = in(vreg) x[3],
            options(pure, nomem, nostack, preserves_flags),
        );
    }
}

/// Pairs of words: the lowest 48 bits of those of `a`, and above them the lowest 16 of those of `b`.
#[inline(always)]
pub(super) fn insert_top(a: uint64x2_t, b: uint64x2_t) -> uint64x2_t {
    let mut out = a;
    // SAFETY: registers only. One instruction, of which the compiler would make two.
    unsafe {
        asm!("sli {0:v}.2d, {1:v}.2d, #48", inout(vreg) out, in(vreg) b,
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
        /// Of 32 bits each: the first four, and the last four.
        #[inline(always)]
        fn wide_stepped(self, scales: [int16x8_t; 2]) -> [int16x8_t; 2] {
            v!({
                let next = vextq_s16::<1>(scales[0], vdupq_n_s16(0));
                let steps = vsubq_s16(scales[0], next);
                [
                    vreinterpretq_s16_s32(vmovl_s16(vget_low_s16(steps))),
                    vreinterpretq_s16_s32(vmovl_high_s16(steps)),
                ]
            })
        }
        #[inline(always)]
        fn eights_refined(self, rows: [int16x8_t; 4], refine: &[i16; 8]) -> [[int16x8_t; 2]; 4] {
            let rows = eights_times(rows, refine);
            let mut out = [[rows[0]; 2]; 4];
            for i in 0..2 {
                v!({
                    let (first, last) = (rows[i], rows[i + 2]);
                    // The next ones of both rows: one place down, and what comes after four is the first of the others.
                    let down = |a| vshrq_n_u64::<16>(vreinterpretq_u64_s16(a));
                    let after = insert_top(down(first), vreinterpretq_u64_s16(last));
                    let first = vsubq_s16(first, vreinterpretq_s16_u64(after));
                    let last = vsubq_s16(last, vreinterpretq_s16_u64(down(last)));
                    out[2 * i] = [
                        vreinterpretq_s16_s32(vmovl_s16(vget_low_s16(first))),
                        vreinterpretq_s16_s32(vmovl_s16(vget_low_s16(last))),
                    ];
                    out[2 * i + 1] = [
                        vreinterpretq_s16_s32(vmovl_high_s16(first)),
                        vreinterpretq_s16_s32(vmovl_high_s16(last)),
                    ];
                });
            }
            out
        }
        #[inline(always)]
        fn spread2(self, sums: int32x4_t) -> [int32x4_t; 2] {
            v!([sums, vdupq_n_s32(0)])
        }
        #[inline(always)]
        fn whole_totals_from(
            self,
            rows: [[int32x4_t; 2]; 4],
            more: int32x4_t,
            times: i32,
        ) -> float32x4_t {
            let totals = totals4([rows[0][0], rows[1][0], rows[2][0], rows[3][0]]);
            v!(vcvtq_f32_s32(vmlaq_s32(totals, more, vdupq_n_s32(times))))
        }
        #[inline(always)]
        fn settled2(self, sums: [int32x4_t; 2]) -> [int32x4_t; 2] {
            [settled(sums[0]), settled(sums[1])]
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
            let steps = v!(opaque(if i.is_multiple_of(2) {
                vmovl_s16(vget_low_s16(steps[i / 2]))
            } else {
                vmovl_high_s16(steps[i / 2])
            }));
            run_four(&mut sums, &mut run, codes, x, steps);
            [sums, run]
        }
        #[inline(always)]
        fn wide_mac2(
            self,
            [mut sums, mut run]: [int32x4_t; 2],
            codes: [uint8x16_t; 4],
            input: &[i8; 64],
            steps: [int16x8_t; 2],
            i: usize,
        ) -> [int32x4_t; 2] {
            let x = load4(input);
            let steps = v!(vreinterpretq_s32_s16(steps[i / 2]));
            let ([a, b, c, d], [e, f, g, h]) = (codes, x);
            if i.is_multiple_of(2) {
                run_two::<0>(&mut sums, &mut run, [a, b], [e, f], steps);
                run_two::<1>(&mut sums, &mut run, [c, d], [g, h], steps);
            } else {
                run_two::<2>(&mut sums, &mut run, [a, b], [e, f], steps);
                run_two::<3>(&mut sums, &mut run, [c, d], [g, h], steps);
            }
            [sums, run]
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
