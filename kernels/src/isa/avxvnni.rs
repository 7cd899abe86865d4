//! AVX-VNNI: AVX2 with `vpdpbusd` and `vpdpwssd`, which multiply bytes or shorts and add to 32-bit sums in one step.
//!
//! `vpdpbusd` takes unsigned by signed bytes without saturation, so signed codes lie in panels 128 too large.

#![allow(unsafe_code, reason = "the intrinsics of a level and its entry")]

use super::x86::*;
use super::{Isa, Level, Task};
use crate::format::b16;
use crate::input::SmallPair;
use crate::panel::{Codes4, Pairs};
use std::arch::x86_64::*;

/// Proof that the CPU has AVX2, FMA, F16C and AVX-VNNI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AvxVnni {
    _proof: (),
}

impl AvxVnni {
    /// The token, if this CPU has the instructions.
    pub(crate) fn new() -> Option<AvxVnni> {
        Level::AvxVnni
            .is_available()
            .then_some(AvxVnni { _proof: () })
    }
}

impl Isa for AvxVnni {
    bytes_256!("avx2,fma,f16c,avxvnni");
    blocks_256!();
    floats_256!();
    type Rows = [__m256i; 2];
    type Dots = [__m256i; 2];

    #[inline(always)]
    fn mac_shorts(self, sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_dpwssd_avx_epi32(sums, a, b))
    }
    #[inline(always)]
    fn dot(self, sums: __m256i, codes: __m256i, input: &[i8; 32]) -> __m256i {
        v!(_mm256_dpbusd_avx_epi32(sums, codes, load(input)))
    }
    #[inline(always)]
    fn dot_signed(self, sums: __m256i, codes: __m256i, input: &[i8; 32]) -> __m256i {
        v!(_mm256_dpbusd_avx_epi32(
            sums,
            _mm256_abs_epi8(codes),
            _mm256_sign_epi8(load(input), codes)
        ))
    }

    #[inline(always)]
    fn halves_mac2(
        self,
        sums: [__m256i; 2],
        codes: [__m256i; 2],
        input: &[[[i8; 16]; 2]; 2],
        scales: __m256i,
        i: usize,
    ) -> [__m256i; 2] {
        // Each 32 values keep to one half of a register. The sums wrap around and back, so that only their end must fit.
        v!({
            let dots = self.pair_dot(codes, [load(&input[0]), load(&input[1])], u8::MAX);
            let scales = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(scales));
            let (low, high) = (2 * i as i32, 2 * i as i32 + 1);
            let which = _mm256_setr_epi32(low, low, low, low, high, high, high, high);
            let scale = _mm256_permutevar8x32_epi32(scales, which);
            [
                _mm256_add_epi32(sums[0], _mm256_mullo_epi32(dots, scale)),
                sums[1],
            ]
        })
    }
    #[inline(always)]
    fn pair_dot(self, codes: [__m256i; 2], input: [__m256i; 2], _: u8) -> __m256i {
        v!({
            let low = _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), codes[0], input[0]);
            _mm256_dpbusd_avx_epi32(low, codes[1], input[1])
        })
    }
    fn pair_dot_signed(self, _: [__m256i; 2], _: [__m256i; 2]) -> __m256i {
        unreachable!("a biased level multiplies unsigned codes")
    }

    const TILE_PANELS: usize = 1;
    const BIASED: bool = true;
    #[inline(always)]
    fn together(self, _: bool, _: u8) -> usize {
        8
    }
    #[inline(always)]
    fn rows(self, value: i32) -> [__m256i; 2] {
        v!([_mm256_set1_epi32(value); 2])
    }
    #[inline(always)]
    fn dots(self) -> [__m256i; 2] {
        v!([_mm256_setzero_si256(); 2])
    }
    #[inline(always)]
    fn add_dots(self, dots: [__m256i; 2], codes: &Codes4, input: [i8; 4]) -> [__m256i; 2] {
        v!({
            let x = _mm256_set1_epi32(four(input));
            [
                _mm256_dpbusd_avx_epi32(dots[0], load(&codes[0]), x),
                _mm256_dpbusd_avx_epi32(dots[1], load(&codes[1]), x),
            ]
        })
    }
    fn add_dots_signed(self, _: [__m256i; 2], _: &Codes4, _: [i8; 4]) -> [__m256i; 2] {
        unreachable!("panels of a biased level hold unsigned codes")
    }
    #[inline(always)]
    fn weigh(
        self,
        sums: [__m256i; 2],
        dots: [__m256i; 2],
        scales: &Pairs,
        refine: i32,
    ) -> [__m256i; 2] {
        v!({
            // The scale is there twice, the factor once, so that a pair product is their product.
            let refine = _mm256_set1_epi32(refine);
            let scale = [
                _mm256_madd_epi16(load(&scales[0]), refine),
                _mm256_madd_epi16(load(&scales[1]), refine),
            ];
            [
                _mm256_add_epi32(sums[0], _mm256_mullo_epi32(dots[0], scale[0])),
                _mm256_add_epi32(sums[1], _mm256_mullo_epi32(dots[1], scale[1])),
            ]
        })
    }
    #[inline(always)]
    fn gather(self, sums: [__m256i; 2], dots: [__m256i; 2]) -> [__m256i; 2] {
        v!([
            _mm256_add_epi32(sums[0], dots[0]),
            _mm256_add_epi32(sums[1], dots[1])
        ])
    }
    #[inline(always)]
    fn add_pairs(self, sums: [__m256i; 2], pairs: &Pairs, input: [i16; 2]) -> [__m256i; 2] {
        v!({
            let x = _mm256_set1_epi32(pair(input));
            [
                _mm256_dpwssd_avx_epi32(sums[0], load(&pairs[0]), x),
                _mm256_dpwssd_avx_epi32(sums[1], load(&pairs[1]), x),
            ]
        })
    }
    #[inline(always)]
    fn rows_to_wide(self, sums: [__m256i; 2]) -> [__m256; 2] {
        v!([_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])])
    }
}
