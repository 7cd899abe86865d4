//! AVX2 with FMA and F16C: 32 bytes are one register, 16 floats two.
//!
//! Eight-bit products are made by `vpmaddubsw` (unsigned by signed, neighbouring pairs added in 16 bits with saturation)
//! and `vpmaddwd` (16-bit pairs to 32 bits). Ranges that keep them exact: inputs are -127..=127; an unsigned code of at
//! most `MAX` gives pairs of at most `2 * 127 * MAX`, so `32767 / (254 * MAX)` of them may be added in 16 bits; signed
//! codes go in as `|w|` by `x * sign(w)`, at most `2 * 128 * 127 = 32512`.

#![allow(unsafe_code, reason = "the intrinsics of a level and its entry")]

use super::{Isa, Task, TileSums};
use crate::format::{Codes, Small, Super};
use crate::input::{SmallInput, SuperInput};
use crate::panel::{SmallPanel, SuperPanel, TILE_TOKENS};
use std::arch::x86_64::*;
use std::array::from_fn;

/// Proof that the CPU has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2 {
    _proof: (),
}

impl Avx2 {
    /// The token, if this CPU has the instructions.
    pub(crate) fn new() -> Option<Avx2> {
        let present = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        present.then_some(Avx2 { _proof: () })
    }
}

/// Intrinsics without memory operands, which are unsafe only because of the features they need.
macro_rules! v {
    ($e:expr) => {
        // SAFETY: an `Avx2` token exists only where the CPU has AVX2, FMA and F16C, and no operand is a pointer.
        unsafe {
            $e
        }
    };
}

/// Loads a vector from an array of 32 bytes.
#[inline(always)]
fn load<T: bytemuck::Pod>(from: &[T]) -> __m256i {
    let bytes: &[u8] = bytemuck::cast_slice(from);
    let bytes: &[u8; 32] = bytes.try_into().expect("32 bytes");
    // SAFETY: `bytes` is 32 readable bytes; the load needs no alignment; callers hold the token.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Loads eight floats.
#[inline(always)]
fn load_ps(from: &[f32; 8]) -> __m256 {
    // SAFETY: `from` is eight readable floats; the load needs no alignment; callers hold the token.
    unsafe { _mm256_loadu_ps(from.as_ptr()) }
}

/// Stores eight floats.
#[inline(always)]
fn store_ps(a: __m256, to: &mut [f32; 8]) {
    // SAFETY: `to` is eight writable floats; the store needs no alignment; callers hold the token.
    unsafe { _mm256_storeu_ps(to.as_mut_ptr(), a) }
}

/// Stores 32 bytes.
#[inline(always)]
fn store(a: __m256i, to: &mut [u8; 32]) {
    // SAFETY: `to` is 32 writable bytes; the store needs no alignment; callers hold the token.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), a) }
}

/// Loads 16 bytes.
#[inline(always)]
fn load_half(from: &[u8; 16]) -> __m128i {
    // SAFETY: `from` is 16 readable bytes; the load needs no alignment; callers hold the token.
    unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
}

/// Four input bytes in every lane.
#[inline(always)]
fn broadcast4(from: &[i8], at: usize) -> __m256i {
    let four: [i8; 4] = from[at..at + 4].try_into().expect("4 bytes");
    v!(_mm256_set1_epi32(i32::from_le_bytes(four.map(|b| b as u8))))
}

/// Two shorts in every lane.
#[inline(always)]
fn broadcast_pair(a: i16, b: i16) -> __m256i {
    v!(_mm256_set1_epi32(i32::from(a as u16) | i32::from(b) << 16))
}

/// Shuffles for `mac`: from eight shorts repeated in both halves, short `2 i` over the low half, `2 i + 1` over the high.
const SPREAD: [[u8; 32]; 4] = {
    let mut out = [[0; 32]; 4];
    let mut i = 0;
    while i < 4 {
        let mut j = 0;
        while j < 32 {
            let short = 2 * i + (j / 16);
            out[i][j] = (2 * short + j % 2) as u8;
            j += 1;
        }
        i += 1;
    }
    out
};

impl Avx2 {
    /// `[s(2 i)] * 8 ++ [s(2 i + 1)] * 8`.
    #[inline(always)]
    fn spread(self, scales: __m256i, i: usize) -> __m256i {
        v!({
            let half = if i < 4 {
                _mm256_permute2x128_si256::<0x00>(scales, scales)
            } else {
                _mm256_permute2x128_si256::<0x11>(scales, scales)
            };
            _mm256_shuffle_epi8(half, load(&SPREAD[i % 4]))
        })
    }

    /// Pairs of 8-bit products in 16 bits, signed codes.
    #[inline(always)]
    fn pairs_signed(self, codes: __m256i, input: __m256i) -> __m256i {
        v!(_mm256_maddubs_epi16(
            _mm256_abs_epi8(codes),
            _mm256_sign_epi8(input, codes)
        ))
    }

    /// Adds to eight rows' sums the products of `codes`, one entry for each four positions from `first` on, with the inputs `x`
    /// of each token, times that token's `scales`.
    #[inline(always)]
    fn add_products<F: Codes>(
        self,
        sums: &mut [__m256i; TILE_TOKENS],
        codes: &[[[u8; 32]; 2]],
        half: usize,
        x: &[&[i8]; TILE_TOKENS],
        first: usize,
        scales: [__m256i; TILE_TOKENS],
    ) {
        // So many pair products may be added in 16 bits before they are widened.
        let together = if F::SIGNED {
            1
        } else {
            (32767 / (254 * usize::from(F::MAX))).min(8)
        };
        let mut at = 0;
        while at < codes.len() {
            let end = if at + together < codes.len() {
                at + together
            } else {
                codes.len()
            };
            v!({
                let mut pairs = [_mm256_setzero_si256(); TILE_TOKENS];
                for g in at..end {
                    let w = load(&codes[g][half]);
                    for t in 0..TILE_TOKENS {
                        let x = broadcast4(x[t], 4 * (first + g));
                        let two = if F::SIGNED {
                            self.pairs_signed(w, x)
                        } else {
                            _mm256_maddubs_epi16(w, x)
                        };
                        pairs[t] = _mm256_add_epi16(pairs[t], two);
                    }
                }
                for t in 0..TILE_TOKENS {
                    sums[t] = _mm256_add_epi32(sums[t], _mm256_madd_epi16(pairs[t], scales[t]));
                }
            });
            at = end;
        }
    }

    /// Folds 16 lanes by the tree as far as four: lanes `j`, `j + 8`, then `j`, `j + 4`.
    #[inline(always)]
    fn fold4(self, a: [__m256; 2]) -> __m128 {
        v!({
            let eight = _mm256_add_ps(a[0], a[1]);
            _mm_add_ps(
                _mm256_castps256_ps128(eight),
                _mm256_extractf128_ps::<1>(eight),
            )
        })
    }
}

impl Isa for Avx2 {
    type Bytes = __m256i;
    type Shorts = __m256i;
    type Sums = __m256i;
    type Quad = __m128;
    type Wide = [__m256; 2];

    #[inline]
    fn run<T: Task>(self, task: T) -> T::Out {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn entry<T: Task>(isa: Avx2, task: T) -> T::Out {
            task.run(isa)
        }
        // SAFETY: the token proves the three features.
        unsafe { entry(self, task) }
    }

    #[inline(always)]
    fn prefetch<T>(self, at: &T, ahead: usize) {
        let line = std::ptr::from_ref(at).cast::<u8>().wrapping_add(ahead);
        // SAFETY: a prefetch never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
    }

    #[inline(always)]
    fn bytes(self, from: &[u8; 32]) -> __m256i {
        load(from)
    }
    #[inline(always)]
    fn nibbles(self, from: &[u8; 16]) -> __m256i {
        v!({
            let low = load_half(from);
            let both =
                _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), _mm_srli_epi16::<4>(low));
            _mm256_and_si256(both, _mm256_set1_epi8(15))
        })
    }
    #[inline(always)]
    fn twice(self, from: &[u8; 16]) -> __m256i {
        v!(_mm256_broadcastsi128_si256(load_half(from)))
    }
    #[inline(always)]
    fn splat(self, byte: u8) -> __m256i {
        v!(_mm256_set1_epi8(byte as i8))
    }
    #[inline(always)]
    fn bits(self, bits: u32) -> __m256i {
        // Byte j gets byte j / 8 of `bits`, then keeps bit j % 8 only.
        const PICK: [u8; 32] = {
            let mut out = [0; 32];
            let mut j = 0;
            while j < 32 {
                out[j] = (j / 8) as u8;
                j += 1;
            }
            out
        };
        v!({
            let spread = _mm256_shuffle_epi8(_mm256_set1_epi32(bits as i32), load(&PICK));
            let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
            _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit)
        })
    }
    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_and_si256(a, b))
    }
    #[inline(always)]
    fn or(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_or_si256(a, b))
    }
    #[inline(always)]
    fn shr<const N: i32>(self, a: __m256i) -> __m256i {
        v!(_mm256_and_si256(
            _mm256_srli_epi16::<N>(a),
            _mm256_set1_epi8((0xFFu8 >> N) as i8)
        ))
    }
    #[inline(always)]
    fn shl<const N: i32>(self, a: __m256i) -> __m256i {
        v!(_mm256_and_si256(
            _mm256_slli_epi16::<N>(a),
            _mm256_set1_epi8((0xFFu8 << N) as i8)
        ))
    }
    #[inline(always)]
    fn sub(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_sub_epi8(a, b))
    }
    #[inline(always)]
    fn lookup(self, table: &[i8; 16], index: __m256i) -> __m256i {
        v!({
            let table: &[u8; 16] = bytemuck::cast_ref(table);
            _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load_half(table)), index)
        })
    }
    #[inline(always)]
    fn to_bytes(self, a: __m256i) -> [u8; 32] {
        let mut out = [0; 32];
        store(a, &mut out);
        out
    }
    #[inline(always)]
    fn transpose(self, r: [__m256i; 8]) -> [[u8; 32]; 8] {
        v!({
            // 2x2 of dwords, then of qwords, then of halves.
            let (mut lo, mut hi) = ([r[0]; 4], [r[0]; 4]);
            for i in 0..4 {
                lo[i] = _mm256_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
                hi[i] = _mm256_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
            }
            let quads = [
                [
                    _mm256_unpacklo_epi64(lo[0], lo[1]),
                    _mm256_unpacklo_epi64(lo[2], lo[3]),
                ],
                [
                    _mm256_unpackhi_epi64(lo[0], lo[1]),
                    _mm256_unpackhi_epi64(lo[2], lo[3]),
                ],
                [
                    _mm256_unpacklo_epi64(hi[0], hi[1]),
                    _mm256_unpacklo_epi64(hi[2], hi[3]),
                ],
                [
                    _mm256_unpackhi_epi64(hi[0], hi[1]),
                    _mm256_unpackhi_epi64(hi[2], hi[3]),
                ],
            ];
            let mut out = [[0; 32]; 8];
            for (i, [a, b]) in quads.into_iter().enumerate() {
                store(_mm256_permute2x128_si256::<0x20>(a, b), &mut out[i]);
                store(_mm256_permute2x128_si256::<0x31>(a, b), &mut out[i + 4]);
            }
            out
        })
    }

    #[inline(always)]
    fn shorts(self, from: &[i16; 16]) -> __m256i {
        load(from)
    }
    #[inline(always)]
    fn widened(self, from: &[i8; 16]) -> __m256i {
        v!(_mm256_cvtepi8_epi16(load_half(bytemuck::cast_ref(from))))
    }
    #[inline(always)]
    fn doubled(self, from: [u8; 8]) -> __m256i {
        v!({
            let eight = _mm_cvtsi64_si128(i64::from_le_bytes(from));
            _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(eight, eight))
        })
    }
    #[inline(always)]
    fn shorts_array(self, a: __m256i) -> [i16; 16] {
        bytemuck::cast(self.to_bytes(a))
    }
    #[inline(always)]
    fn splat_short(self, value: i16) -> __m256i {
        v!(_mm256_set1_epi16(value))
    }
    #[inline(always)]
    fn mul_shorts(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_mullo_epi16(a, b))
    }
    #[inline(always)]
    fn sums(self, total: i32) -> __m256i {
        v!(_mm256_zextsi128_si256(_mm_cvtsi32_si128(total)))
    }
    #[inline(always)]
    fn mac_shorts(self, sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_add_epi32(sums, _mm256_madd_epi16(a, b)))
    }
    #[inline(always)]
    fn mac(
        self,
        sums: __m256i,
        codes: __m256i,
        input: &[i8; 32],
        scales: __m256i,
        i: usize,
    ) -> __m256i {
        v!({
            let pairs = _mm256_maddubs_epi16(codes, load(input));
            _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, self.spread(scales, i)))
        })
    }
    #[inline(always)]
    fn mac_signed(
        self,
        sums: __m256i,
        codes: __m256i,
        input: &[i8; 32],
        scales: __m256i,
        i: usize,
    ) -> __m256i {
        v!({
            let pairs = self.pairs_signed(codes, load(input));
            _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, self.spread(scales, i)))
        })
    }
    #[inline(always)]
    fn dot(self, sums: __m256i, codes: __m256i, input: &[i8; 32]) -> __m256i {
        v!({
            let pairs = _mm256_maddubs_epi16(codes, load(input));
            _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        })
    }
    #[inline(always)]
    fn dot_signed(self, sums: __m256i, codes: __m256i, input: &[i8; 32]) -> __m256i {
        v!({
            let pairs = self.pairs_signed(codes, load(input));
            _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        })
    }
    #[inline(always)]
    fn totals(self, r: [__m256i; 4]) -> __m128 {
        v!({
            let all =
                _mm256_hadd_epi32(_mm256_hadd_epi32(r[0], r[1]), _mm256_hadd_epi32(r[2], r[3]));
            _mm_cvtepi32_ps(_mm_add_epi32(
                _mm256_castsi256_si128(all),
                _mm256_extracti128_si256::<1>(all),
            ))
        })
    }

    #[inline(always)]
    fn half(self, bits: u16) -> f32 {
        v!(_mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(
            bits
        )))))
    }
    #[inline(always)]
    fn quad(self, from: [f32; 4]) -> __m128 {
        v!(_mm_setr_ps(from[0], from[1], from[2], from[3]))
    }
    #[inline(always)]
    fn quad_array(self, a: __m128) -> [f32; 4] {
        v!([
            _mm_cvtss_f32(a),
            _mm_cvtss_f32(_mm_shuffle_ps::<0b01>(a, a)),
            _mm_cvtss_f32(_mm_shuffle_ps::<0b10>(a, a)),
            _mm_cvtss_f32(_mm_shuffle_ps::<0b11>(a, a)),
        ])
    }
    #[inline(always)]
    fn quad_mul(self, a: __m128, b: __m128) -> __m128 {
        v!(_mm_mul_ps(a, b))
    }
    #[inline(always)]
    fn quad_fma(self, a: __m128, b: __m128, c: __m128) -> __m128 {
        v!(_mm_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn super_tile<F: Super>(
        self,
        panel: &[SuperPanel],
        input: [&[SuperInput]; TILE_TOKENS],
        acc: &mut TileSums,
    ) {
        let (subs, groups) = if F::WIDE { (8, 8) } else { (16, 4) };
        let input = input.map(|x| &x[..panel.len()]);
        for half in 0..2 {
            let mut sums = v!([_mm256_setzero_ps(); TILE_TOKENS]);
            for t in 0..TILE_TOKENS {
                sums[t] = load_ps(lanes(&acc[t], half));
            }
            for (b, p) in panel.iter().enumerate() {
                v!({
                    let x: [&[i8]; TILE_TOKENS] = from_fn(|t| &input[t][b].qs[..]);
                    let mut isum = [_mm256_setzero_si256(); TILE_TOKENS];
                    let mut msum = [_mm256_setzero_si256(); TILE_TOKENS];
                    if F::OFFSET != 0 || F::MINS {
                        for pair in 0..8 {
                            for t in 0..TILE_TOKENS {
                                let x = &input[t][b].sums;
                                let x = broadcast_pair(x[2 * pair], x[2 * pair + 1]);
                                if F::OFFSET != 0 {
                                    let w = load(&p.offsets[pair][half]);
                                    isum[t] = _mm256_add_epi32(isum[t], _mm256_madd_epi16(w, x));
                                }
                                if F::MINS {
                                    let w = load(&p.mins[pair][half]);
                                    msum[t] = _mm256_add_epi32(msum[t], _mm256_madd_epi16(w, x));
                                }
                            }
                        }
                    }
                    for sub in 0..subs {
                        let s = if F::WIDE { 2 * sub } else { sub };
                        let scale = load(&p.scales[s][half]);
                        let mut scales = [scale; TILE_TOKENS];
                        for t in 0..TILE_TOKENS {
                            scales[t] =
                                _mm256_mullo_epi16(scale, _mm256_set1_epi16(input[t][b].refine[s]));
                        }
                        self.add_products::<F>(
                            &mut isum,
                            &p.codes[sub * groups..][..groups],
                            half,
                            &x,
                            sub * groups,
                            scales,
                        );
                    }
                    for t in 0..TILE_TOKENS {
                        let dx = _mm256_set1_ps(input[t][b].d);
                        let d = _mm256_mul_ps(load_ps(&p.d[half]), dx);
                        sums[t] = _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(isum[t]), sums[t]);
                        if F::MINS {
                            let m = _mm256_mul_ps(load_ps(&p.neg_dmin[half]), dx);
                            sums[t] = _mm256_fmadd_ps(m, _mm256_cvtepi32_ps(msum[t]), sums[t]);
                        }
                    }
                });
            }
            for t in 0..TILE_TOKENS {
                store_ps(sums[t], lanes_mut(&mut acc[t], half));
            }
        }
    }

    #[inline(always)]
    fn small_tile<F: Small>(
        self,
        panel: &[SmallPanel],
        input: [&[SmallInput]; TILE_TOKENS],
        acc: &mut TileSums,
    ) {
        let input = input.map(|x| &x[..panel.len()]);
        for half in 0..2 {
            let mut sums = v!([_mm256_setzero_ps(); TILE_TOKENS]);
            for t in 0..TILE_TOKENS {
                sums[t] = load_ps(lanes(&acc[t], half));
            }
            for (b, p) in panel.iter().enumerate() {
                v!({
                    let one = _mm256_set1_epi16(1);
                    let x: [&[i8]; TILE_TOKENS] = from_fn(|t| &input[t][b].qs[..]);
                    let mut isum = [_mm256_setzero_si256(); TILE_TOKENS];
                    if F::OFFSET != 0 {
                        for t in 0..TILE_TOKENS {
                            isum[t] = _mm256_set1_epi32(-i32::from(F::OFFSET) * input[t][b].sum);
                        }
                    }
                    self.add_products::<F>(&mut isum, &p.codes, half, &x, 0, [one; TILE_TOKENS]);
                    for t in 0..TILE_TOKENS {
                        let dx = _mm256_set1_ps(input[t][b].d);
                        let d = _mm256_mul_ps(load_ps(&p.d[half]), dx);
                        sums[t] = _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(isum[t]), sums[t]);
                        if F::MIN {
                            let m = _mm256_mul_ps(load_ps(&p.m[half]), dx);
                            sums[t] =
                                _mm256_fmadd_ps(m, _mm256_set1_ps(input[t][b].sum as f32), sums[t]);
                        }
                    }
                });
            }
            for t in 0..TILE_TOKENS {
                store_ps(sums[t], lanes_mut(&mut acc[t], half));
            }
        }
    }

    #[inline(always)]
    fn wide(self, from: &[f32; 16]) -> [__m256; 2] {
        [load_ps(lanes(from, 0)), load_ps(lanes(from, 1))]
    }
    #[inline(always)]
    fn splat_wide(self, value: f32) -> [__m256; 2] {
        v!([_mm256_set1_ps(value); 2])
    }
    #[inline(always)]
    fn wide_array(self, a: [__m256; 2]) -> [f32; 16] {
        let mut out = [0.0; 16];
        self.put(a, &mut out);
        out
    }
    #[inline(always)]
    fn put(self, a: [__m256; 2], to: &mut [f32; 16]) {
        store_ps(a[0], lanes_mut(to, 0));
        store_ps(a[1], lanes_mut(to, 1));
    }
    #[inline(always)]
    fn add(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        v!([_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])])
    }
    #[inline(always)]
    fn mul(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        v!([_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])])
    }
    #[inline(always)]
    fn div(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        v!([_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])])
    }
    #[inline(always)]
    fn fma(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        v!([
            _mm256_fmadd_ps(a[0], b[0], c[0]),
            _mm256_fmadd_ps(a[1], b[1], c[1])
        ])
    }
    #[inline(always)]
    fn max(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        v!([_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])])
    }
    #[inline(always)]
    fn min(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        v!([_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])])
    }
    #[inline(always)]
    fn abs(self, a: [__m256; 2]) -> [__m256; 2] {
        let sign = v!(_mm256_set1_ps(-0.0));
        v!([_mm256_andnot_ps(sign, a[0]), _mm256_andnot_ps(sign, a[1])])
    }
    #[inline(always)]
    fn max_bits(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        let max = |a, b| {
            v!(_mm256_castsi256_ps(_mm256_max_epu32(
                _mm256_castps_si256(a),
                _mm256_castps_si256(b)
            )))
        };
        [max(a[0], b[0]), max(a[1], b[1])]
    }
    #[inline(always)]
    fn round(self, a: [__m256; 2]) -> [__m256; 2] {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        v!([
            _mm256_round_ps::<NEAREST>(a[0]),
            _mm256_round_ps::<NEAREST>(a[1])
        ])
    }
    #[inline(always)]
    fn pow2(self, n: [__m256; 2]) -> [__m256; 2] {
        let pow2 = |n| {
            v!({
                let biased = _mm256_add_epi32(_mm256_cvttps_epi32(n), _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
            })
        };
        [pow2(n[0]), pow2(n[1])]
    }
    #[inline(always)]
    fn sum(self, a: [__m256; 2]) -> f32 {
        v!({
            let four = self.fold4(a);
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        })
    }
    #[inline(always)]
    fn sum4(self, a: [[__m256; 2]; 4]) -> [f32; 4] {
        v!({
            let mut f = [
                self.fold4(a[0]),
                self.fold4(a[1]),
                self.fold4(a[2]),
                self.fold4(a[3]),
            ];
            let [f0, f1, f2, f3] = &mut f;
            _MM_TRANSPOSE4_PS(f0, f1, f2, f3);
            // Lane = vector now; lanes 0 and 2, 1 and 3 of each are added, then the two sums.
            self.quad_array(_mm_add_ps(_mm_add_ps(*f0, *f2), _mm_add_ps(*f1, *f3)))
        })
    }
    #[inline(always)]
    fn to_i8(self, a: [__m256; 2]) -> [i8; 16] {
        v!({
            let words = _mm256_packs_epi32(_mm256_cvttps_epi32(a[0]), _mm256_cvttps_epi32(a[1]));
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let bytes = _mm_packs_epi16(
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            );
            let low = _mm_cvtsi128_si64(bytes).to_le_bytes();
            let high = _mm_extract_epi64::<1>(bytes).to_le_bytes();
            from_fn(|i| {
                if i < 8 {
                    low[i] as i8
                } else {
                    high[i - 8] as i8
                }
            })
        })
    }
    #[inline(always)]
    fn widen_f16(self, from: &[u16; 16]) -> [__m256; 2] {
        let halves: &[[u8; 16]; 2] = bytemuck::cast_ref(from);
        v!([
            _mm256_cvtph_ps(load_half(&halves[0])),
            _mm256_cvtph_ps(load_half(&halves[1]))
        ])
    }
    #[inline(always)]
    fn to_f16(self, a: [__m256; 2]) -> [u16; 16] {
        let mut out = [0; 32];
        v!({
            let low = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a[0]);
            let high = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a[1]);
            store(_mm256_set_m128i(high, low), &mut out);
        });
        bytemuck::cast(out)
    }
    #[inline(always)]
    fn widen_bf16(self, from: &[u16; 16]) -> [__m256; 2] {
        let halves: &[[u8; 16]; 2] = bytemuck::cast_ref(from);
        let widen = |half| {
            v!(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(
                _mm256_cvtepu16_epi32(load_half(half))
            )))
        };
        [widen(&halves[0]), widen(&halves[1])]
    }
}

/// Eight of 16 lanes.
#[inline(always)]
fn lanes(a: &[f32; 16], half: usize) -> &[f32; 8] {
    a[8 * half..8 * half + 8].try_into().expect("8 lanes")
}

/// Eight of 16 lanes.
#[inline(always)]
fn lanes_mut(a: &mut [f32; 16], half: usize) -> &mut [f32; 8] {
    (&mut a[8 * half..8 * half + 8])
        .try_into()
        .expect("8 lanes")
}
