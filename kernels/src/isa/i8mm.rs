//! NEON with the matrix instructions (Cortex-A710, Neoverse-N2): `smmla` multiplies two rows by two columns of eight bytes each,
//! twice the products of `sdot`.
//!
//! Few tokens go by `sdot`. In panels the codes lie as `smmla` wants them, eight positions of a row side by side, and the sums of
//! two rows and two tokens in one register, until they meet their scales.

#![allow(unsafe_code, reason = "the intrinsics of a level and its entry")]

use super::arm::*;
use super::dotprod::{insert_top, run_four, run_two, sdot, sdots};
use super::{Ahead, Heads6, Isa, Level, Task};
use crate::input::TILE_TOKENS;
use crate::panel::{Codes4, Pairs};
use std::arch::aarch64::*;
use std::arch::asm;

/// Proof that the CPU has NEON with dot products and products of matrices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct I8mm {
    _proof: (),
}

impl I8mm {
    /// The token, if this CPU has the instructions.
    pub(crate) fn new() -> Option<I8mm> {
        Level::NeonI8mm
            .is_available()
            .then_some(I8mm { _proof: () })
    }
}

/// Adds the products of two rows of eight bytes with two others: first with first, first with second, second with first, second
/// with second.
#[inline(always)]
fn smmla(sums: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t {
    let mut out = sums;
    // SAFETY: registers only; the token proves the instruction.
    unsafe {
        asm!("smmla {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) out, in(vreg) a, in(vreg) b,
             options(pure, nomem, nostack, preserves_flags));
    }
    out
}

impl Isa for I8mm {
    bytes_128!("neon,dotprod,i8mm");
    floats_128!();
    sdots!();

    /// Of groups `2 j` and `2 j + 1`, eight positions of each of eight rows.
    #[inline(always)]
    fn transpose(self, rows: [[uint8x16_t; 2]; 8]) -> [[u8; 32]; 8] {
        let mut out = [[[0; 16]; 2]; 8];
        for pair in 0..4 {
            for part in 0..2 {
                let (a, b) = (rows[2 * pair][part], rows[2 * pair + 1][part]);
                let (low, high) = v!({
                    let (a, b) = (vreinterpretq_u64_u8(a), vreinterpretq_u64_u8(b));
                    (
                        vreinterpretq_u8_u64(vtrn1q_u64(a, b)),
                        vreinterpretq_u8_u64(vtrn2q_u64(a, b)),
                    )
                });
                store(low, &mut out[4 * part + pair / 2][pair % 2]);
                store(high, &mut out[4 * part + 2 + pair / 2][pair % 2]);
            }
        }
        bytemuck::cast(out)
    }
    fn add_dots(self, _: [int32x4_t; 4], _: &Codes4, _: [i8; 4]) -> [int32x4_t; 4] {
        unreachable!("codes lie for four tokens at a time")
    }
    const QUAD_GROUPS: usize = 2;
    /// The sums of rows `2 i` and `2 i + 1` and tokens `2 j` and `2 j + 1` lie in `dots[2 j + i / 4][i % 4]`.
    #[inline(always)]
    fn add_quad<const T: usize>(
        self,
        mut dots: [[int32x4_t; 4]; T],
        codes: &[Codes4],
        inputs: &[[[i8; 4]; TILE_TOKENS]],
        first: usize,
    ) -> [[int32x4_t; 4]; T] {
        assert!(T == 4, "a tile of four tokens");
        let (a, b) = (
            four_tokens(&inputs[0], first),
            four_tokens(&inputs[1], first),
        );
        let tokens = v!({
            let (a, b) = (vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b));
            [
                vreinterpretq_u8_u32(vzip1q_u32(a, b)),
                vreinterpretq_u8_u32(vzip2q_u32(a, b)),
            ]
        });
        for half in 0..2 {
            let [a, b] = load2(&codes[0][half]);
            let [c, d] = load2(&codes[1][half]);
            for (i, rows) in [a, b, c, d].into_iter().enumerate() {
                for j in 0..2 {
                    dots[2 * j + half][i] = smmla(dots[2 * j + half][i], rows, tokens[j]);
                }
            }
        }
        dots
    }
    #[inline(always)]
    fn settle<const T: usize>(self, dots: [[int32x4_t; 4]; T]) -> [[int32x4_t; 4]; T] {
        let mut out = dots;
        for j in 0..2 {
            for half in 0..2 {
                let d = dots[2 * j + half];
                for i in 0..2 {
                    let (a, b) = (d[2 * i], d[2 * i + 1]);
                    v!({
                        out[2 * j][2 * half + i] = vuzp1q_s32(a, b);
                        out[2 * j + 1][2 * half + i] = vuzp2q_s32(a, b);
                    });
                }
            }
        }
        out
    }
}
