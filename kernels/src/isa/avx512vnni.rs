//! AVX-512 with VNNI: 16 floats or the sums of 16 rows are one register; 32 bytes stay half a register.
//!
//! As in `avxvnni.rs`, signed codes lie in panels 128 too large. The register file holds the sums of two panels by four tokens.

#![allow(unsafe_code, reason = "the intrinsics of a level and its entry")]

use super::x86::*;
use super::{Isa, Level, Task};
use crate::format::b32;
use crate::panel::{Codes4, Pairs};
use std::arch::x86_64::*;

/// Proof that the CPU has AVX-512 F, BW, DQ, VL and VNNI, AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512Vnni {
    _proof: (),
}

impl Avx512Vnni {
    /// The token, if this CPU has the instructions.
    pub(crate) fn new() -> Option<Avx512Vnni> {
        Level::Avx512Vnni
            .is_available()
            .then_some(Avx512Vnni { _proof: () })
    }
}

/// Loads 64 bytes.
#[inline(always)]
fn load_512<T: bytemuck::Pod>(from: &[T; 2]) -> __m512i {
    const { assert!(size_of::<T>() == 32) }
    // SAFETY: `from` is 64 readable bytes; the load needs no alignment; callers hold the token.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

/// Which of 16 scales each 16-bit pair of 64 products takes: for values `64 i ..`, scales `4 i` to `4 i + 3`, eight pairs each.
static SPREAD_64: [[[i16; 16]; 2]; 4] = {
    let mut out = [[[0; 16]; 2]; 4];
    let mut j = 0;
    while j < 128 {
        out[j / 32][j / 16 % 2][j % 16] = (j / 8) as i16;
        j += 1;
    }
    out
};

/// As [`SPREAD_64`] for scales of 32 values: 16 pairs each.
static SPREAD_WIDE_64: [[[i16; 16]; 2]; 4] = {
    let mut out = [[[0; 16]; 2]; 4];
    let mut j = 0;
    while j < 128 {
        out[j / 32][j / 16 % 2][j % 16] = (j / 16) as i16;
        j += 1;
    }
    out
};

/// Which of eight scales each 32-bit sum of 64 products takes, where the first halves of two times 32 values come first.
static SPREAD_HALVES_64: [[[i32; 8]; 2]; 4] = {
    let mut out = [[[0; 8]; 2]; 4];
    let mut j = 0;
    while j < 64 {
        out[j / 16][j / 8 % 2][j % 8] = (2 * (j / 16) + j / 4 % 2) as i32;
        j += 1;
    }
    out
};

/// Pairs of 8-bit products in 16 bits, signed codes: the sign of a code goes to its input.
#[inline(always)]
fn pairs_signed_512(codes: __m512i, input: __m512i) -> __m512i {
    v!({
        let negative = _mm512_movepi8_mask(codes);
        let input = _mm512_mask_sub_epi8(input, negative, _mm512_setzero_si512(), input);
        _mm512_maddubs_epi16(_mm512_abs_epi8(codes), input)
    })
}

/// The scales that `which` names.
#[inline(always)]
fn spread_512(scales: __m256i, which: &[[i16; 16]; 2]) -> __m512i {
    v!(_mm512_permutexvar_epi16(
        load_512(which),
        _mm512_castsi256_si512(scales)
    ))
}

/// Adds up the lanes of row `i` in lane `i` of each quarter.
#[inline(always)]
fn quarters(r: [__m512i; 4]) -> __m512i {
    v!({
        let mut two = [r[0]; 2];
        for i in 0..2 {
            let (x, y) = (r[2 * i], r[2 * i + 1]);
            two[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y));
        }
        _mm512_add_epi32(
            _mm512_unpacklo_epi64(two[0], two[1]),
            _mm512_unpackhi_epi64(two[0], two[1]),
        )
    })
}

/// By how much a 16-bit pair of bytes is shifted for the nibbles of two times 16 bytes, each there twice.
const HIGH_NIBBLES: [[[i16; 8]; 2]; 2] = [[[0; 8], [4; 8]]; 2];

/// Up to 64 bytes of two blocks, zeros beyond them.
#[inline(always)]
fn load_pair(bytes: &[u8]) -> __m512i {
    let mask = match bytes.len() / 2 {
        words @ 0..32 => (1 << words) - 1,
        _ => u32::MAX,
    };
    // SAFETY: the mask lets through no more words than there are in `bytes`, and what it keeps out is not read; the load needs
    // no alignment; callers hold the token.
    unsafe { _mm512_maskz_loadu_epi16(mask, bytes.as_ptr().cast()) }
}

/// Four runs of eight numbers that begin with `starts`: which words go to a vector.
#[inline(always)]
fn words_from(starts: [usize; 4]) -> [[u16; 16]; 2] {
    let mut out = [[0; 16]; 2];
    for i in 0..32 {
        out[i / 16][i % 16] = (starts[i / 8] + i % 8) as u16;
    }
    out
}

/// The lowest words are word `first` of `a` and of `b`, then word `second` of `a` and of `b`.
#[inline(always)]
fn two_words(a: &[u8], b: &[u8], first: usize, second: usize) -> __m128i {
    let order = four_words([first, 32 + first, second, 32 + second]);
    v!(_mm512_castsi512_si128(_mm512_permutex2var_epi16(
        load_pair(a),
        _mm512_set1_epi64(order),
        load_pair(b),
    )))
}

/// Four words as a number.
#[inline(always)]
fn four_words([a, b, c, d]: [usize; 4]) -> i64 {
    (a | b << 16 | c << 32 | d << 48) as i64
}

/// One short 16 times, then another.
#[inline(always)]
fn halves_of(a: i32, b: i32) -> __m512i {
    v!(_mm512_inserti64x4::<1>(
        _mm512_set1_epi16(a as i16),
        _mm256_set1_epi16(b as i16)
    ))
}

/// 16 lanes as two halves.
#[inline(always)]
fn halves(a: __m512) -> [__m256; 2] {
    v!([_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a)])
}

/// Sixteen vectors by the tree.
macro_rules! folds16 {
    ($a:expr, $op:ident) => {
        v!({
            // Each round joins what lies 8, 4, 2, 1 lanes apart and keeps two vectors' halves in one, the even one below.
            let a = $a;
            let mut eight = [a[0]; 8];
            for i in 0..8 {
                let (x, y) = (a[2 * i], a[2 * i + 1]);
                eight[i] = $op(
                    _mm512_shuffle_f32x4::<0b01_00_01_00>(x, y),
                    _mm512_shuffle_f32x4::<0b11_10_11_10>(x, y),
                );
            }
            let mut four = [a[0]; 4];
            for i in 0..4 {
                let (x, y) = (eight[2 * i], eight[2 * i + 1]);
                four[i] = $op(
                    _mm512_shuffle_f32x4::<0b10_00_10_00>(x, y),
                    _mm512_shuffle_f32x4::<0b11_01_11_01>(x, y),
                );
            }
            // Quarter j of four[i] belongs to vector 4 i + j from here on.
            let mut two = [a[0]; 2];
            for i in 0..2 {
                let (x, y) = (four[2 * i], four[2 * i + 1]);
                two[i] = $op(
                    _mm512_shuffle_ps::<0b01_00_01_00>(x, y),
                    _mm512_shuffle_ps::<0b11_10_11_10>(x, y),
                );
            }
            let one = $op(
                _mm512_shuffle_ps::<0b10_00_10_00>(two[0], two[1]),
                _mm512_shuffle_ps::<0b11_01_11_01>(two[0], two[1]),
            );
            // Lane 4 j + i belongs to vector 4 i + j.
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_permutexvar_ps(order, one)
        })
    };
}

impl Isa for Avx512Vnni {
    bytes_256!("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni");
    type Rows = __m512i;
    type Dots = __m512i;
    type Wide = __m512;
    type Bytes2 = __m512i;
    type Sums2 = __m512i;
    type PairSums = __m512i;

    #[inline(always)]
    fn mac_shorts(self, sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_dpwssd_epi32(sums, a, b))
    }
    #[inline(always)]
    fn dot(self, sums: __m256i, codes: __m256i, input: &[i8; 32]) -> __m256i {
        v!(_mm256_dpbusd_epi32(sums, codes, load(input)))
    }
    #[inline(always)]
    fn dot_signed(self, sums: __m256i, codes: __m256i, input: &[i8; 32]) -> __m256i {
        v!(_mm256_dpbusd_epi32(
            sums,
            _mm256_abs_epi8(codes),
            _mm256_sign_epi8(load(input), codes)
        ))
    }

    #[inline(always)]
    fn join(self, a: __m256i, b: __m256i) -> __m512i {
        v!(_mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b))
    }
    #[inline(always)]
    fn bytes2(self, from: &[u8; 64]) -> __m512i {
        load_512::<[u8; 32]>(bytemuck::cast_ref(from))
    }
    #[inline(always)]
    fn nibbles2(self, from: &[u8; 32]) -> __m512i {
        self.and2(self.turn2::<0, -4>(from), 15)
    }
    #[inline(always)]
    fn turn2<const A: i32, const B: i32>(self, from: &[u8; 32]) -> __m512i {
        v!({
            let mut a = _mm512_broadcast_i64x4(load(from));
            if A > 0 || B > 0 {
                a = _mm512_sllv_epi16(a, halves_of(A.max(0), B.max(0)));
            }
            if A < 0 || B < 0 {
                a = _mm512_srlv_epi16(a, halves_of((-A).max(0), (-B).max(0)));
            }
            a
        })
    }
    #[inline(always)]
    fn shr2<const N: i32>(self, a: __m512i) -> __m512i {
        v!(_mm512_srl_epi16(a, _mm_cvtsi32_si128(N)))
    }
    #[inline(always)]
    fn and2(self, a: __m512i, mask: u8) -> __m512i {
        v!(_mm512_and_si512(a, _mm512_set1_epi8(mask as i8)))
    }
    #[inline(always)]
    fn or2(self, a: __m512i, b: __m512i) -> __m512i {
        v!(_mm512_or_si512(a, b))
    }
    #[inline(always)]
    fn flip2(self, a: __m512i) -> __m512i {
        v!(_mm512_xor_si512(a, _mm512_set1_epi8(-128)))
    }
    #[inline(always)]
    fn lookup2(self, table: &[i8; 16], index: __m512i) -> __m512i {
        let table = load_half(bytemuck::cast_ref(table));
        v!(_mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), index))
    }
    #[inline(always)]
    fn pair_bytes<B: bytemuck::Pod>(self, pair: &[B; 2], at: usize) -> __m512i {
        let bytes = bytemuck::bytes_of(pair);
        // The first 32 from the first load, which has a scale or two beside them.
        let order = words_from([at / 2, at / 2 + 8, 32, 40]);
        v!(_mm512_permutex2var_epi16(
            load_pair(bytes),
            load_512(&order),
            _mm512_castsi256_si512(load(b32(bytes, size_of::<B>() + at))),
        ))
    }
    #[inline(always)]
    fn pair_nibbles<B: bytemuck::Pod>(self, pair: &[B; 2], at: usize) -> __m512i {
        let (first, second) = (at / 2, (size_of::<B>() + at) / 2);
        let order = words_from([first, first, second, second]);
        v!({
            let twice =
                _mm512_permutexvar_epi16(load_512(&order), load_pair(bytemuck::bytes_of(pair)));
            let turned = _mm512_srlv_epi16(twice, load_512(&HIGH_NIBBLES));
            _mm512_and_si512(turned, _mm512_set1_epi8(15))
        })
    }
    #[inline(always)]
    fn pair_add_bits(self, a: __m512i, [low, high]: [u32; 2], value: u8) -> __m512i {
        let bits = u64::from(high) << 32 | u64::from(low);
        v!(_mm512_or_si512(
            a,
            _mm512_maskz_set1_epi8(bits, value as i8)
        ))
    }
    #[inline(always)]
    fn spread2(self, sums: __m256i) -> __m512i {
        v!(_mm512_zextsi256_si512(sums))
    }
    #[inline(always)]
    fn mac2(
        self,
        sums: __m512i,
        codes: __m512i,
        input: &[i8; 64],
        scales: __m256i,
        i: usize,
    ) -> __m512i {
        let x = load_512::<[i8; 32]>(bytemuck::cast_ref(input));
        v!(_mm512_dpwssd_epi32(
            sums,
            _mm512_maddubs_epi16(codes, x),
            spread_512(scales, &SPREAD_64[i])
        ))
    }
    #[inline(always)]
    fn mac2_signed(
        self,
        sums: __m512i,
        codes: __m512i,
        input: &[i8; 64],
        scales: __m256i,
        i: usize,
    ) -> __m512i {
        let x = load_512::<[i8; 32]>(bytemuck::cast_ref(input));
        v!(_mm512_dpwssd_epi32(
            sums,
            pairs_signed_512(codes, x),
            spread_512(scales, &SPREAD_64[i])
        ))
    }
    #[inline(always)]
    fn wide_mac2(
        self,
        sums: __m512i,
        codes: __m512i,
        input: &[i8; 64],
        scales: __m256i,
        i: usize,
    ) -> __m512i {
        let x = load_512::<[i8; 32]>(bytemuck::cast_ref(input));
        v!(_mm512_dpwssd_epi32(
            sums,
            _mm512_maddubs_epi16(codes, x),
            spread_512(scales, &SPREAD_WIDE_64[i])
        ))
    }
    #[inline(always)]
    fn wide_mac2_signed(
        self,
        sums: __m512i,
        codes: __m512i,
        input: &[i8; 64],
        scales: __m256i,
        i: usize,
    ) -> __m512i {
        let x = load_512::<[i8; 32]>(bytemuck::cast_ref(input));
        v!(_mm512_dpwssd_epi32(
            sums,
            pairs_signed_512(codes, x),
            spread_512(scales, &SPREAD_WIDE_64[i])
        ))
    }
    #[inline(always)]
    fn halves_mac2(
        self,
        sums: __m512i,
        codes: __m512i,
        input: &[[[i8; 16]; 2]; 2],
        scales: __m256i,
        i: usize,
    ) -> __m512i {
        // Each quarter has values of one 32 only. The sums wrap around and back, so that only their end must fit.
        v!({
            let dots = self.pair_dot(codes, load_512(input), u8::MAX);
            let scales = _mm512_cvtepi16_epi32(scales);
            let which = load_512(&SPREAD_HALVES_64[i]);
            let scale = _mm512_permutexvar_epi32(which, scales);
            _mm512_add_epi32(sums, _mm512_mullo_epi32(dots, scale))
        })
    }
    #[inline(always)]
    fn whole_totals(self, r: [__m512i; 4]) -> __m128 {
        v!({
            let four = quarters(r);
            let two = _mm256_add_epi32(
                _mm512_castsi512_si256(four),
                _mm512_extracti64x4_epi64::<1>(four),
            );
            _mm_cvtepi32_ps(_mm_add_epi32(
                _mm256_castsi256_si128(two),
                _mm256_extracti128_si256::<1>(two),
            ))
        })
    }
    #[inline(always)]
    fn pair_dot(self, codes: __m512i, input: __m512i, _: u8) -> __m512i {
        v!(_mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, input))
    }
    fn pair_dot_signed(self, _: __m512i, _: __m512i) -> __m512i {
        unreachable!("a biased level multiplies unsigned codes")
    }
    #[inline(always)]
    fn pair_totals(self, r: [__m512i; 4], numbers: &[[i32; 8]; 2], times: i32) -> [__m128; 2] {
        v!({
            let quarters = quarters(r);
            // Each quarter with its neighbour, both of one block.
            let all = _mm512_add_epi32(
                quarters,
                _mm512_shuffle_i32x4::<0b10_11_00_01>(quarters, quarters),
            );
            let plus = _mm512_mullo_epi32(load_512(numbers), _mm512_set1_epi32(times));
            let totals = _mm512_cvtepi32_ps(_mm512_add_epi32(all, plus));
            [
                _mm512_castps512_ps128(totals),
                _mm512_extractf32x4_ps::<2>(totals),
            ]
        })
    }
    #[inline(always)]
    fn pair_halves<B: bytemuck::Pod>(self, rows: [&[B; 2]; 4], at: usize) -> __m256 {
        // Where the two numbers lie in a row's words.
        let (first, second) = (at / 2, (size_of::<B>() + at) / 2);
        let r = rows.map(bytemuck::bytes_of);
        let pairs = [
            two_words(r[0], r[1], first, second),
            two_words(r[2], r[3], first, second),
        ];
        v!(_mm256_cvtph_ps(_mm_unpacklo_epi32(pairs[0], pairs[1])))
    }

    const TILE_PANELS: usize = 2;
    const BIASED: bool = true;
    #[inline(always)]
    fn together(self, _: bool, _: u8) -> usize {
        8
    }
    #[inline(always)]
    fn rows(self, value: i32) -> __m512i {
        v!(_mm512_set1_epi32(value))
    }
    #[inline(always)]
    fn dots(self) -> __m512i {
        v!(_mm512_setzero_si512())
    }
    #[inline(always)]
    fn add_dots(self, dots: __m512i, codes: &Codes4, input: [i8; 4]) -> __m512i {
        v!(_mm512_dpbusd_epi32(
            dots,
            load_512(codes),
            _mm512_set1_epi32(four(input))
        ))
    }
    fn add_dots_signed(self, _: __m512i, _: &Codes4, _: [i8; 4]) -> __m512i {
        unreachable!("panels of a biased level hold unsigned codes")
    }
    #[inline(always)]
    fn weigh(self, sums: __m512i, dots: __m512i, scales: &Pairs, refine: i32) -> __m512i {
        v!({
            // The scale is there twice, the factor once, so that a pair product is their product.
            let scale = _mm512_madd_epi16(load_512(scales), _mm512_set1_epi32(refine));
            _mm512_add_epi32(sums, _mm512_mullo_epi32(dots, scale))
        })
    }
    #[inline(always)]
    fn gather(self, sums: __m512i, dots: __m512i) -> __m512i {
        v!(_mm512_add_epi32(sums, dots))
    }
    #[inline(always)]
    fn add_pairs(self, sums: __m512i, pairs: &Pairs, input: [i16; 2]) -> __m512i {
        v!(_mm512_dpwssd_epi32(
            sums,
            load_512(pairs),
            _mm512_set1_epi32(pair(input))
        ))
    }
    #[inline(always)]
    fn rows_to_wide(self, sums: __m512i) -> __m512 {
        v!(_mm512_cvtepi32_ps(sums))
    }

    #[inline(always)]
    fn wide(self, from: &[f32; 16]) -> __m512 {
        // SAFETY: `from` is 16 readable floats; the load needs no alignment.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn splat_wide(self, value: f32) -> __m512 {
        v!(_mm512_set1_ps(value))
    }
    #[inline(always)]
    fn wide_array(self, a: __m512) -> [f32; 16] {
        let mut out = [0.0; 16];
        self.put(a, &mut out);
        out
    }
    #[inline(always)]
    fn put(self, a: __m512, to: &mut [f32; 16]) {
        // SAFETY: `to` is 16 writable floats; the store needs no alignment.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), a) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        v!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        v!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        v!(_mm512_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        v!(_mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        v!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        v!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        v!(_mm512_abs_ps(a))
    }
    #[inline(always)]
    fn max_bits(self, a: __m512, b: __m512) -> __m512 {
        v!(_mm512_castsi512_ps(_mm512_max_epu32(
            _mm512_castps_si512(a),
            _mm512_castps_si512(b)
        )))
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        v!(_mm512_roundscale_ps::<NEAREST>(a))
    }
    #[inline(always)]
    fn pow2(self, n: __m512) -> __m512 {
        v!({
            let biased = _mm512_add_epi32(_mm512_cvttps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        })
    }
    #[inline(always)]
    fn sum(self, a: __m512) -> f32 {
        let four = fold4!(halves(a), _mm256_add_ps, _mm_add_ps);
        v!({
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        })
    }
    #[inline(always)]
    fn sum4(self, a: [__m512; 4]) -> [f32; 4] {
        let a = [halves(a[0]), halves(a[1]), halves(a[2]), halves(a[3])];
        four_floats(folds4!(a, _mm256_add_ps, _mm_add_ps))
    }
    #[inline(always)]
    fn to_i8(self, a: __m512) -> [i8; 16] {
        let mut out = [0; 16];
        v!({
            let bytes = _mm512_cvtsepi32_epi8(_mm512_cvttps_epi32(a));
            _mm_storeu_si128(out.as_mut_ptr().cast(), bytes);
        });
        out
    }
    #[inline(always)]
    fn widen_f16(self, from: &[u16; 16]) -> __m512 {
        v!(_mm512_cvtph_ps(load(from)))
    }
    #[inline(always)]
    fn to_f16(self, a: __m512) -> [u16; 16] {
        let mut out = [0; 32];
        store(
            v!(_mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a)),
            &mut out,
        );
        bytemuck::cast(out)
    }
    #[inline(always)]
    fn splat_half(self, bits: u16) -> __m512 {
        v!(_mm512_cvtph_ps(_mm256_set1_epi16(bits as i16)))
    }
    #[inline(always)]
    fn widen_i8(self, from: &[i8; 16]) -> __m512 {
        let bytes = load_half(bytemuck::cast_ref(from));
        v!(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)))
    }
    const SCORES: usize = 4;
    #[inline(always)]
    fn sums16(self, a: [__m512; 16]) -> __m512 {
        folds16!(a, _mm512_add_ps)
    }
    #[inline(always)]
    fn maxs16(self, a: [__m512; 16]) -> __m512 {
        folds16!(a, _mm512_max_ps)
    }
    #[inline(always)]
    fn widen_bf16(self, from: &[u16; 16]) -> __m512 {
        v!(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(
            _mm512_cvtepu16_epi32(load(from))
        )))
    }
}
