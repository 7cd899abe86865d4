//! AVX2 with FMA and F16C: 32 bytes are one register, 16 floats two.
//!
//! Eight-bit products are made by `vpmaddubsw` (unsigned by signed, neighbouring pairs added in 16 bits with saturation)
//! and `vpmaddwd` (16-bit pairs to 32 bits). Ranges that keep them exact: inputs are -127..=127; an unsigned code of at
//! most `MAX` gives pairs of at most `2 * 127 * MAX`, so `32767 / (254 * MAX)` of them may be added in 16 bits; signed
//! codes go in as `|w|` by `x * sign(w)`, at most `2 * 128 * 127 = 32512`.

#![allow(unsafe_code, reason = "the intrinsics of a level and its entry")]

use super::x86::*;
use super::{Isa, Level, Task};
use crate::format::b16;
use crate::input::SmallPair;
use crate::panel::{Codes4, Pairs};
use std::arch::x86_64::*;

/// Proof that the CPU has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2 {
    _proof: (),
}

impl Avx2 {
    /// The token, if this CPU has the instructions.
    pub(crate) fn new() -> Option<Avx2> {
        Level::Avx2.is_available().then_some(Avx2 { _proof: () })
    }

    /// Adds pairs of products up in 32 bits; `together`, if two of them fit into 16 bits.
    #[inline(always)]
    fn sum_pairs(self, pairs: [__m256i; 2], together: bool) -> __m256i {
        let one = self.splat_short(1);
        v!(if together {
            _mm256_madd_epi16(_mm256_add_epi16(pairs[0], pairs[1]), one)
        } else {
            _mm256_add_epi32(
                _mm256_madd_epi16(pairs[0], one),
                _mm256_madd_epi16(pairs[1], one),
            )
        })
    }
}

impl Isa for Avx2 {
    bytes_256!("avx2,fma,f16c");
    blocks_256!();
    floats_256!();
    type Rows = [__m256i; 2];
    /// Pairs of products in 16 bits.
    type Dots = [__m256i; 2];

    #[inline(always)]
    fn mac_shorts(self, sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_add_epi32(sums, _mm256_madd_epi16(a, b)))
    }
    #[inline(always)]
    fn dot(self, sums: __m256i, codes: __m256i, input: &[i8; 32]) -> __m256i {
        let pairs = v!(_mm256_maddubs_epi16(codes, load(input)));
        self.mac_shorts(sums, pairs, self.splat_short(1))
    }
    #[inline(always)]
    fn dot_signed(self, sums: __m256i, codes: __m256i, input: &[i8; 32]) -> __m256i {
        self.mac_shorts(sums, pairs_signed(codes, load(input)), self.splat_short(1))
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
        let scale = spread_halves(scales, i);
        let (low, high) = (
            pairs_signed(codes[0], load(&input[0])),
            pairs_signed(codes[1], load(&input[1])),
        );
        [
            self.mac_shorts(sums[0], low, scale),
            self.mac_shorts(sums[1], high, scale),
        ]
    }
    #[inline(always)]
    fn pair_dot(self, codes: [__m256i; 2], input: [__m256i; 2], max: u8) -> __m256i {
        let pairs = v!([
            _mm256_maddubs_epi16(codes[0], input[0]),
            _mm256_maddubs_epi16(codes[1], input[1])
        ]);
        self.sum_pairs(pairs, self.together(false, max) > 1)
    }
    #[inline(always)]
    fn pair_dot_signed(self, codes: [__m256i; 2], input: [__m256i; 2]) -> __m256i {
        let pairs = [
            pairs_signed(codes[0], input[0]),
            pairs_signed(codes[1], input[1]),
        ];
        self.sum_pairs(pairs, false)
    }

    const TILE_PANELS: usize = 1;
    const BIASED: bool = false;
    #[inline(always)]
    fn together(self, signed: bool, max: u8) -> usize {
        match 32767 / (254 * usize::from(max)) {
            _ if signed => 1,
            8.. => 8,
            4..8 => 4,
            2..4 => 2,
            _ => 1,
        }
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
                _mm256_add_epi16(dots[0], _mm256_maddubs_epi16(load(&codes[0]), x)),
                _mm256_add_epi16(dots[1], _mm256_maddubs_epi16(load(&codes[1]), x)),
            ]
        })
    }
    #[inline(always)]
    fn add_dots_signed(self, dots: [__m256i; 2], codes: &Codes4, input: [i8; 4]) -> [__m256i; 2] {
        v!({
            let x = _mm256_set1_epi32(four(input));
            [
                _mm256_add_epi16(dots[0], pairs_signed(load(&codes[0]), x)),
                _mm256_add_epi16(dots[1], pairs_signed(load(&codes[1]), x)),
            ]
        })
    }
    #[inline(always)]
    fn weigh(
        self,
        sums: [__m256i; 2],
        dots: [__m256i; 2],
        scales: &Pairs,
        refine: i32,
    ) -> [__m256i; 2] {
        let refine = self.splat_short(refine as i16);
        let scale = |half: usize| self.mul_shorts(load(&scales[half]), refine);
        [
            self.mac_shorts(sums[0], dots[0], scale(0)),
            self.mac_shorts(sums[1], dots[1], scale(1)),
        ]
    }
    #[inline(always)]
    fn gather(self, sums: [__m256i; 2], dots: [__m256i; 2]) -> [__m256i; 2] {
        let one = self.splat_short(1);
        [
            self.mac_shorts(sums[0], dots[0], one),
            self.mac_shorts(sums[1], dots[1], one),
        ]
    }
    #[inline(always)]
    fn add_pairs(self, sums: [__m256i; 2], pairs: &Pairs, input: [i16; 2]) -> [__m256i; 2] {
        let x = v!(_mm256_set1_epi32(pair(input)));
        [
            self.mac_shorts(sums[0], load(&pairs[0]), x),
            self.mac_shorts(sums[1], load(&pairs[1]), x),
        ]
    }
    #[inline(always)]
    fn rows_to_wide(self, sums: [__m256i; 2]) -> [__m256; 2] {
        v!([_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])])
    }
}
