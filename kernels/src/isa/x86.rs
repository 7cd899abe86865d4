//! What the x86 levels share: loads and stores, the verbs on 32 bytes, and the floats of the levels whose registers have 256
//! bits. A level's file takes them by macro into its own `impl Isa`, beside the verbs that its instructions do better.

#![allow(unsafe_code, reason = "the intrinsics of the levels")]

use crate::format::b16;
use std::arch::x86_64::*;

/// Intrinsics without memory operands, which are unsafe only because of the features they need.
macro_rules! v {
    ($e:expr) => {
        // SAFETY: the token of an x86 level exists only where the CPU has the level's features, and no operand is a pointer.
        unsafe { $e }
    };
}
pub(super) use v;

/// Loads a vector from an array of 32 bytes.
#[inline(always)]
pub(super) fn load<T: bytemuck::Pod>(from: &[T]) -> __m256i {
    let bytes: &[u8] = bytemuck::cast_slice(from);
    let bytes: &[u8; 32] = bytes.try_into().expect("32 bytes");
    // SAFETY: `bytes` is 32 readable bytes; the load needs no alignment; callers hold the token.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Loads eight floats.
#[inline(always)]
pub(super) fn load_ps(from: &[f32; 8]) -> __m256 {
    // SAFETY: `from` is eight readable floats; the load needs no alignment; callers hold the token.
    unsafe { _mm256_loadu_ps(from.as_ptr()) }
}

/// Stores eight floats.
#[inline(always)]
pub(super) fn store_ps(a: __m256, to: &mut [f32; 8]) {
    // SAFETY: `to` is eight writable floats; the store needs no alignment; callers hold the token.
    unsafe { _mm256_storeu_ps(to.as_mut_ptr(), a) }
}

/// Stores 32 bytes.
#[inline(always)]
pub(super) fn store(a: __m256i, to: &mut [u8; 32]) {
    // SAFETY: `to` is 32 writable bytes; the store needs no alignment; callers hold the token.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), a) }
}

/// Loads 16 bytes.
#[inline(always)]
pub(super) fn load_half(from: &[u8; 16]) -> __m128i {
    // SAFETY: `from` is 16 readable bytes; the load needs no alignment; callers hold the token.
    unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
}

/// The lowest words are those at byte `at` of four blocks.
#[inline(always)]
pub(super) fn four_shorts(blocks: [&[u8]; 4], at: usize) -> __m128i {
    v!(_mm_unpacklo_epi32(
        _mm_unpacklo_epi16(load_half(b16(blocks[0], at)), load_half(b16(blocks[1], at))),
        _mm_unpacklo_epi16(load_half(b16(blocks[2], at)), load_half(b16(blocks[3], at)))
    ))
}

/// Four input bytes as a number.
#[inline(always)]
pub(super) fn four(input: [i8; 4]) -> i32 {
    i32::from_le_bytes(input.map(|b| b as u8))
}

/// Two shorts as a number.
#[inline(always)]
pub(super) fn pair(input: [i16; 2]) -> i32 {
    i32::from(input[0] as u16) | i32::from(input[1]) << 16
}

/// Shuffles for `spread`: from eight shorts repeated in both halves, short `2 i` over the low half, `2 i + 1` over the high.
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

/// `[s(2 i)] * 8 ++ [s(2 i + 1)] * 8`.
#[inline(always)]
pub(super) fn spread(scales: __m256i, i: usize) -> __m256i {
    v!({
        let half = if i < 4 {
            _mm256_permute2x128_si256::<0x00>(scales, scales)
        } else {
            _mm256_permute2x128_si256::<0x11>(scales, scales)
        };
        _mm256_shuffle_epi8(half, load(&SPREAD[i % 4]))
    })
}

/// As [`spread`] where the eight scales are there twice.
#[inline(always)]
pub(super) fn spread_halves(scales: __m256i, i: usize) -> __m256i {
    v!(_mm256_shuffle_epi8(scales, load(&SPREAD[i])))
}

/// Shuffles for `spread_wide`: from eight shorts repeated in both halves, short `i` everywhere.
const SPREAD_WIDE: [[u8; 32]; 8] = {
    let mut out = [[0; 32]; 8];
    let mut j = 0;
    while j < 256 {
        out[j / 32][j % 32] = (2 * (j / 32) + j % 2) as u8;
        j += 1;
    }
    out
};

/// `[s(i)] * 16` of eight scales in both halves.
#[inline(always)]
pub(super) fn spread_wide(scales: __m256i, i: usize) -> __m256i {
    v!(_mm256_shuffle_epi8(scales, load(&SPREAD_WIDE[i])))
}

/// Adds up the lanes of row `i` in lane `i` of each half.
#[inline(always)]
pub(super) fn columns(r: [__m256i; 4]) -> __m256i {
    v!({
        let mut two = [r[0]; 2];
        for i in 0..2 {
            let (x, y) = (r[2 * i], r[2 * i + 1]);
            two[i] = _mm256_add_epi32(_mm256_unpacklo_epi32(x, y), _mm256_unpackhi_epi32(x, y));
        }
        _mm256_add_epi32(
            _mm256_unpacklo_epi64(two[0], two[1]),
            _mm256_unpackhi_epi64(two[0], two[1]),
        )
    })
}

/// Pairs of 8-bit products in 16 bits, signed codes.
#[inline(always)]
pub(super) fn pairs_signed(codes: __m256i, input: __m256i) -> __m256i {
    v!(_mm256_maddubs_epi16(
        _mm256_abs_epi8(codes),
        _mm256_sign_epi8(input, codes)
    ))
}

/// Folds 16 lanes by the tree as far as four: lanes `j`, `j + 8`, then `j`, `j + 4`.
macro_rules! fold4 {
    ($a:expr, $eight:ident, $four:ident) => {
        v!({
            let [low, high] = $a;
            let eight = $eight(low, high);
            $four(
                _mm256_castps256_ps128(eight),
                _mm256_extractf128_ps::<1>(eight),
            )
        })
    };
}
pub(super) use fold4;

/// Four vectors by the tree: what [`fold4`] leaves of each, lane = vector then; lanes 0 and 2, 1 and 3 of each, then those two.
macro_rules! folds4 {
    ($a:expr, $eight:ident, $four:ident) => {{
        let [a, b, c, d] = $a;
        let mut f0 = fold4!(a, $eight, $four);
        let mut f1 = fold4!(b, $eight, $four);
        let mut f2 = fold4!(c, $eight, $four);
        let mut f3 = fold4!(d, $eight, $four);
        v!({
            _MM_TRANSPOSE4_PS(&mut f0, &mut f1, &mut f2, &mut f3);
            $four($four(f0, f2), $four(f1, f3))
        })
    }};
}
pub(super) use folds4;

/// Sixteen vectors by the tree, as [`folds4`].
macro_rules! folds16 {
    ($a:expr, $eight:ident, $four:ident) => {{
        let a = $a;
        let mut out = a[0];
        for i in 0..2 {
            let [b, c, d, e, f, g, h, j] = *a[8 * i..].first_chunk().expect("eight vectors");
            let low = folds4!([b, c, d, e], $eight, $four);
            let high = folds4!([f, g, h, j], $eight, $four);
            out[i] = v!(_mm256_set_m128(high, low));
        }
        out
    }};
}
pub(super) use folds16;

/// Four floats as an array.
#[inline(always)]
pub(super) fn four_floats(a: __m128) -> [f32; 4] {
    let mut out = [0.0; 4];
    // SAFETY: `out` is four writable floats; the store needs no alignment; callers hold the token.
    unsafe { _mm_storeu_ps(out.as_mut_ptr(), a) };
    out
}

/// Sixteen signed bytes as an array.
#[inline(always)]
pub(super) fn bytes_array(a: __m128i) -> [i8; 16] {
    let mut out = [0; 16];
    // SAFETY: `out` is 16 writable bytes; the store needs no alignment; callers hold the token.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), a) };
    out
}

/// Eight of 16 lanes.
#[inline(always)]
pub(super) fn lanes(a: &[f32; 16], half: usize) -> &[f32; 8] {
    a[8 * half..8 * half + 8].try_into().expect("8 lanes")
}

/// Eight of 16 lanes.
#[inline(always)]
pub(super) fn lanes_mut(a: &mut [f32; 16], half: usize) -> &mut [f32; 8] {
    (&mut a[8 * half..8 * half + 8])
        .try_into()
        .expect("8 lanes")
}

/// Eight rows of eight 4-byte groups, transposed.
#[inline(always)]
pub(super) fn transpose8(r: [__m256i; 8]) -> [__m256i; 8] {
    v!({
        // 2x2 of dwords, then of qwords, then of halves.
        let (mut lo, mut hi) = ([r[0]; 4], [r[0]; 4]);
        for i in 0..4 {
            lo[i] = _mm256_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
            hi[i] = _mm256_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
        }
        let mut out = r;
        for (i, x) in [lo, hi].into_iter().enumerate() {
            let quads = [
                (
                    _mm256_unpacklo_epi64(x[0], x[1]),
                    _mm256_unpacklo_epi64(x[2], x[3]),
                ),
                (
                    _mm256_unpackhi_epi64(x[0], x[1]),
                    _mm256_unpackhi_epi64(x[2], x[3]),
                ),
            ];
            for (j, (a, b)) in quads.into_iter().enumerate() {
                out[2 * i + j] = _mm256_permute2x128_si256::<0x20>(a, b);
                out[2 * i + j + 4] = _mm256_permute2x128_si256::<0x31>(a, b);
            }
        }
        out
    })
}

/// Verbs on 32 bytes in one register, on four floats, and entry to the level.
macro_rules! bytes_256 {
    ($features:literal) => {
        type Bytes = __m256i;
        type Shorts = __m256i;
        type Sums = __m256i;
        type Quad = __m128;
        type Whole = ();
        type Eights = ();
        type Octet = __m256;

        #[inline]
        fn run<T: Task>(self, task: T) -> T::Out {
            #[target_feature(enable = $features)]
            fn entry<I: Isa, T: Task>(isa: I, task: T) -> T::Out {
                task.run(isa)
            }
            // SAFETY: the token proves the features.
            unsafe { entry(self, task) }
        }

        #[inline(always)]
        fn prefetch<T>(self, at: &T, ahead: usize) {
            let line = std::ptr::from_ref(at).cast::<u8>().wrapping_add(ahead);
            // SAFETY: a prefetch never faults, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
        }

        #[inline(always)]
        fn words(self, from: [u64; 4]) -> __m256i {
            let [a, b, c, d] = from.map(|word| word as i64);
            v!(_mm256_set_epi64x(d, c, b, a))
        }
        #[inline(always)]
        fn bytes(self, from: &[u8; 32]) -> __m256i {
            load(from)
        }
        #[inline(always)]
        fn nibbles(self, from: &[u8; 16]) -> __m256i {
            v!({
                let low = load_half(from);
                let both = _mm256_inserti128_si256::<1>(
                    _mm256_castsi128_si256(low),
                    _mm_srli_epi16::<4>(low),
                );
                _mm256_and_si256(both, _mm256_set1_epi8(15))
            })
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
            let mut out = [[0; 32]; 8];
            for (a, out) in transpose8(r).into_iter().zip(&mut out) {
                store(a, out);
            }
            out
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
        fn widened_words(self, from: [u64; 2]) -> __m256i {
            v!(_mm256_cvtepi8_epi16(_mm_set_epi64x(
                from[1] as i64,
                from[0] as i64
            )))
        }
        #[inline(always)]
        fn doubled(self, from: u64) -> __m256i {
            v!({
                let eight = _mm_cvtsi64_si128(from as i64);
                _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(eight, eight))
            })
        }
        #[inline(always)]
        fn doubled_halves(self, from: [u64; 2]) -> [__m256i; 2] {
            v!({
                let both = _mm_unpacklo_epi32(
                    _mm_cvtsi64_si128(from[0] as i64),
                    _mm_cvtsi64_si128(from[1] as i64),
                );
                [
                    _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(both, both)),
                    _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(both, both)),
                ]
            })
        }
        #[inline(always)]
        fn scales6(self, from: [&[u8; 16]; 2]) -> [__m256i; 2] {
            v!({
                // In each half: something else, then three words. Low six bits in the first two, and pieces of the others.
                let words = _mm256_set_m128i(load_half(from[1]), load_half(from[0]));
                let first = _mm256_and_si256(words, self.splat(0x3f));
                let tops = _mm256_and_si256(_mm256_srli_epi16::<2>(words), self.splat(0x30));
                let last = _mm256_srlv_epi32(
                    _mm256_shuffle_epi32::<0b11_11_11_11>(words),
                    _mm256_setr_epi32(0, 0, 4, 0, 0, 0, 4, 0),
                );
                let last = _mm256_or_si256(_mm256_and_si256(last, self.splat(15)), tops);
                let zero = _mm256_setzero_si256();
                let scales = _mm256_unpacklo_epi32(first, last);
                let mins = _mm256_unpackhi_epi32(first, last);
                [
                    _mm256_unpackhi_epi8(scales, zero),
                    _mm256_unpacklo_epi8(mins, zero),
                ]
            })
        }
        #[inline(always)]
        fn scales_split6(self, from: [&[u8; 16]; 2]) -> __m256i {
            v!({
                let words = _mm256_set_m128i(load_half(from[1]), load_half(from[0]));
                // Multiplied, each nibble comes to bits 4 to 7, each pair to the two highest.
                let nibbles = _mm256_shuffle_epi8(
                    words,
                    _mm256_broadcastsi128_si256(_mm_setr_epi8(
                        4, -1, 4, -1, 5, -1, 5, -1, 6, -1, 6, -1, 7, -1, 7, -1,
                    )),
                );
                let nibbles = _mm256_mullo_epi16(nibbles, _mm256_set1_epi32(1 << 16 | 16));
                let pairs = _mm256_shuffle_epi8(words, _mm256_set1_epi16(0x0302));
                let powers =
                    _mm_setr_epi16(1 << 14, 1 << 12, 1 << 10, 1 << 8, 1 << 6, 1 << 4, 4, 1);
                let pairs = _mm256_mullo_epi16(pairs, _mm256_broadcastsi128_si256(powers));
                let low = _mm256_and_si256(_mm256_srli_epi16::<4>(nibbles), self.splat_short(15));
                let high = _mm256_slli_epi16::<4>(_mm256_srli_epi16::<14>(pairs));
                _mm256_sub_epi16(_mm256_or_si256(low, high), self.splat_short(32))
            })
        }
        #[inline(always)]
        fn scales_split6_16(self, from: &[u8; 16]) -> __m256i {
            v!({
                let bytes = load_half(from);
                let nibbles = _mm_srlv_epi32(
                    _mm_shuffle_epi8(
                        bytes,
                        _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9),
                    ),
                    _mm_setr_epi32(0, 0, 4, 4),
                );
                let pairs = _mm_srlv_epi32(
                    _mm_shuffle_epi8(bytes, _mm_set1_epi32(0x0d0c_0b0a)),
                    _mm_setr_epi32(0, 2, 4, 6),
                );
                let six = _mm_or_si128(
                    _mm_and_si128(nibbles, _mm_set1_epi8(15)),
                    _mm_slli_epi16::<4>(_mm_and_si128(pairs, _mm_set1_epi8(3))),
                );
                _mm256_cvtepi8_epi16(_mm_sub_epi8(six, _mm_set1_epi8(32)))
            })
        }
        #[inline(always)]
        fn eight_twice(self, from: &[i16; 8]) -> __m256i {
            v!(_mm256_broadcastsi128_si256(load_half(bytemuck::cast_ref(
                from
            ))))
        }
        #[inline(always)]
        fn halves_twice(self, a: __m256i) -> [__m256i; 2] {
            v!([
                _mm256_permute4x64_epi64::<0b01_00_01_00>(a),
                _mm256_permute4x64_epi64::<0b11_10_11_10>(a)
            ])
        }
        #[inline(always)]
        fn low_shorts(self, a: __m256i) -> __m256i {
            v!(_mm256_cvtepi8_epi16(_mm256_castsi256_si128(a)))
        }
        #[inline(always)]
        fn high_shorts(self, a: __m256i) -> __m256i {
            v!(_mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(a)))
        }
        #[inline(always)]
        fn put_shorts(self, a: __m256i, to: &mut [i16; 16]) {
            store(a, bytemuck::cast_mut(to));
        }
        #[inline(always)]
        fn transpose_shorts(self, rows: [__m256i; 8]) -> [__m256i; 8] {
            transpose8(rows)
        }
        #[inline(always)]
        fn alternate(self, a: __m256i, b: __m256i) -> __m256i {
            v!(_mm256_blend_epi16::<0b1010_1010>(a, b))
        }
        #[inline(always)]
        fn each_twice(self, a: __m256i) -> [__m256i; 2] {
            v!([
                _mm256_or_si256(
                    _mm256_and_si256(a, _mm256_set1_epi32(0xffff)),
                    _mm256_slli_epi32::<16>(a)
                ),
                _mm256_blend_epi16::<0b1010_1010>(_mm256_srli_epi32::<16>(a), a)
            ])
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
        fn totals(self, r: [__m256i; 4]) -> __m128 {
            v!({
                let all = columns([r[0], r[1], r[2], r[3]]);
                _mm_cvtepi32_ps(_mm_add_epi32(
                    _mm256_castsi256_si128(all),
                    _mm256_extracti128_si256::<1>(all),
                ))
            })
        }
        #[inline(always)]
        fn dot_eights(self, rows: [__m256i; 2], by: __m256i) -> __m128 {
            v!({
                let two = _mm256_hadd_epi32(
                    _mm256_madd_epi16(rows[0], by),
                    _mm256_madd_epi16(rows[1], by),
                );
                // Rows 0 and 2 in the low half, 1 and 3 in the high one.
                let all = _mm256_hadd_epi32(two, two);
                _mm_cvtepi32_ps(_mm_unpacklo_epi32(
                    _mm256_castsi256_si128(all),
                    _mm256_extracti128_si256::<1>(all),
                ))
            })
        }

        #[inline(always)]
        fn octet(self, f: [f32; 8]) -> __m256 {
            v!(_mm256_setr_ps(
                f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]
            ))
        }
        #[inline(always)]
        fn put_octet(self, a: __m256, to: &mut [f32; 8]) {
            store_ps(a, to);
        }
        #[inline(always)]
        fn octet_halves(self, bits: [u16; 8]) -> __m256 {
            let b = bits.map(|b| b as i16);
            v!(_mm256_cvtph_ps(_mm_setr_epi16(
                b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]
            )))
        }
        #[inline(always)]
        fn octet_half_pairs(self, pairs: [u32; 4]) -> __m256 {
            v!({
                let pairs = _mm_setr_epi32(
                    pairs[0] as i32,
                    pairs[1] as i32,
                    pairs[2] as i32,
                    pairs[3] as i32,
                );
                let sorted = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
                _mm256_cvtph_ps(_mm_shuffle_epi8(pairs, sorted))
            })
        }
        #[inline(always)]
        fn octet_mul(self, a: __m256, b: __m256) -> __m256 {
            v!(_mm256_mul_ps(a, b))
        }
        #[inline(always)]
        fn octet_quads(self, a: __m256) -> [__m128; 2] {
            v!([_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a)])
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
        fn quad_neg(self, a: __m128) -> __m128 {
            v!(_mm_xor_ps(a, _mm_set1_ps(-0.0)))
        }
        #[inline(always)]
        fn quad_mul(self, a: __m128, b: __m128) -> __m128 {
            v!(_mm_mul_ps(a, b))
        }
        #[inline(always)]
        fn quad_fma(self, a: __m128, b: __m128, c: __m128) -> __m128 {
            v!(_mm_fmadd_ps(a, b, c))
        }
    };
}
pub(super) use bytes_256;

/// Verbs on two blocks in two registers of 256 bits, from the level's `dot` and `dot_signed`.
macro_rules! blocks_256 {
    () => {
        type Bytes2 = [__m256i; 2];
        type Sums2 = [__m256i; 2];
        /// The sums of each block in its own half.
        type PairSums = __m256i;

        #[inline(always)]
        fn join(self, a: __m256i, b: __m256i) -> [__m256i; 2] {
            [a, b]
        }
        #[inline(always)]
        fn bytes2(self, from: &[u8; 64]) -> [__m256i; 2] {
            let [low, high]: &[[u8; 32]; 2] = bytemuck::cast_ref(from);
            [load(low), load(high)]
        }
        #[inline(always)]
        fn nibbles2(self, from: &[u8; 32]) -> [__m256i; 2] {
            let (packed, low) = (load(from), self.splat(15));
            v!([
                _mm256_and_si256(packed, low),
                _mm256_and_si256(_mm256_srli_epi16::<4>(packed), low)
            ])
        }
        #[inline(always)]
        fn turn2<const A: i32, const B: i32>(self, from: &[u8; 32]) -> [__m256i; 2] {
            let mut out = [load(from); 2];
            for (out, n) in out.iter_mut().zip([A, B]) {
                *out = v!(if n < 0 {
                    _mm256_srl_epi16(*out, _mm_cvtsi32_si128(-n))
                } else {
                    _mm256_sll_epi16(*out, _mm_cvtsi32_si128(n))
                });
            }
            out
        }
        #[inline(always)]
        fn shr2<const N: i32>(self, a: [__m256i; 2]) -> [__m256i; 2] {
            v!([_mm256_srli_epi16::<N>(a[0]), _mm256_srli_epi16::<N>(a[1])])
        }
        #[inline(always)]
        fn and2(self, a: [__m256i; 2], mask: u8) -> [__m256i; 2] {
            let mask = self.splat(mask);
            [self.and(a[0], mask), self.and(a[1], mask)]
        }
        #[inline(always)]
        fn or2(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            [self.or(a[0], b[0]), self.or(a[1], b[1])]
        }
        #[inline(always)]
        fn spread2(self, sums: __m256i) -> [__m256i; 2] {
            v!([sums, _mm256_setzero_si256()])
        }
        #[inline(always)]
        fn mac2(
            self,
            sums: [__m256i; 2],
            codes: [__m256i; 2],
            input: &[i8; 64],
            scales: __m256i,
            i: usize,
        ) -> [__m256i; 2] {
            let [low, high]: &[[i8; 32]; 2] = bytemuck::cast_ref(input);
            let pairs = v!([
                _mm256_maddubs_epi16(codes[0], load(low)),
                _mm256_maddubs_epi16(codes[1], load(high))
            ]);
            [
                self.mac_shorts(sums[0], pairs[0], spread(scales, 2 * i)),
                self.mac_shorts(sums[1], pairs[1], spread(scales, 2 * i + 1)),
            ]
        }
        #[inline(always)]
        fn mac2_signed(
            self,
            sums: [__m256i; 2],
            codes: [__m256i; 2],
            input: &[i8; 64],
            scales: __m256i,
            i: usize,
        ) -> [__m256i; 2] {
            let [low, high]: &[[i8; 32]; 2] = bytemuck::cast_ref(input);
            let (low, high) = (
                pairs_signed(codes[0], load(low)),
                pairs_signed(codes[1], load(high)),
            );
            [
                self.mac_shorts(sums[0], low, spread(scales, 2 * i)),
                self.mac_shorts(sums[1], high, spread(scales, 2 * i + 1)),
            ]
        }
        #[inline(always)]
        fn wide_mac2(
            self,
            sums: [__m256i; 2],
            codes: [__m256i; 2],
            input: &[i8; 64],
            scales: __m256i,
            i: usize,
        ) -> [__m256i; 2] {
            let [low, high]: &[[i8; 32]; 2] = bytemuck::cast_ref(input);
            let pairs = v!([
                _mm256_maddubs_epi16(codes[0], load(low)),
                _mm256_maddubs_epi16(codes[1], load(high))
            ]);
            [
                self.mac_shorts(sums[0], pairs[0], spread_wide(scales, 2 * i)),
                self.mac_shorts(sums[1], pairs[1], spread_wide(scales, 2 * i + 1)),
            ]
        }
        #[inline(always)]
        fn wide_mac2_signed(
            self,
            sums: [__m256i; 2],
            codes: [__m256i; 2],
            input: &[i8; 64],
            scales: __m256i,
            i: usize,
        ) -> [__m256i; 2] {
            let [low, high]: &[[i8; 32]; 2] = bytemuck::cast_ref(input);
            let (low, high) = (
                pairs_signed(codes[0], load(low)),
                pairs_signed(codes[1], load(high)),
            );
            [
                self.mac_shorts(sums[0], low, spread_wide(scales, 2 * i)),
                self.mac_shorts(sums[1], high, spread_wide(scales, 2 * i + 1)),
            ]
        }
        #[inline(always)]
        fn whole_totals(self, r: [[__m256i; 2]; 4]) -> __m128 {
            self.totals(v!([
                _mm256_add_epi32(r[0][0], r[0][1]),
                _mm256_add_epi32(r[1][0], r[1][1]),
                _mm256_add_epi32(r[2][0], r[2][1]),
                _mm256_add_epi32(r[3][0], r[3][1])
            ]))
        }
        #[inline(always)]
        fn flip2(self, a: [__m256i; 2]) -> [__m256i; 2] {
            let top = self.splat(128);
            v!([_mm256_xor_si256(a[0], top), _mm256_xor_si256(a[1], top)])
        }
        #[inline(always)]
        fn lookup2(self, table: &[i8; 16], index: [__m256i; 2]) -> [__m256i; 2] {
            [self.lookup(table, index[0]), self.lookup(table, index[1])]
        }
        #[inline(always)]
        fn join_pair(self, a: __m256i, b: __m256i) -> [__m256i; 2] {
            v!([
                _mm256_permute2x128_si256::<0x20>(a, b),
                _mm256_permute2x128_si256::<0x31>(a, b)
            ])
        }
        #[inline(always)]
        fn pair_bytes<B: bytemuck::Pod>(self, [a, b]: &[B; 2], at: usize) -> [__m256i; 2] {
            let (a, b) = (bytemuck::bytes_of(a), bytemuck::bytes_of(b));
            v!([
                _mm256_set_m128i(load_half(b16(b, at)), load_half(b16(a, at))),
                _mm256_set_m128i(load_half(b16(b, at + 16)), load_half(b16(a, at + 16)))
            ])
        }
        #[inline(always)]
        fn pair_nibbles<B: bytemuck::Pod>(self, [a, b]: &[B; 2], at: usize) -> [__m256i; 2] {
            let (a, b) = (bytemuck::bytes_of(a), bytemuck::bytes_of(b));
            let low = self.splat(15);
            v!({
                let packed = _mm256_set_m128i(load_half(b16(b, at)), load_half(b16(a, at)));
                [
                    _mm256_and_si256(packed, low),
                    _mm256_and_si256(_mm256_srli_epi16::<4>(packed), low),
                ]
            })
        }
        #[inline(always)]
        fn pair_add_bits(self, a: [__m256i; 2], bits: [u32; 2], value: u8) -> [__m256i; 2] {
            let low = bits[0] & 0xffff | bits[1] << 16;
            let high = bits[0] >> 16 | bits[1] & 0xffff_0000;
            self.or2(a, self.and2([self.bits(low), self.bits(high)], value))
        }
        /// The first halves of both blocks, then the second ones: so each block keeps to one half of a register.
        #[inline(always)]
        fn pair_inputs(self, pair: &SmallPair) -> [__m256i; 2] {
            [load(&pair.halves[0]), load(&pair.halves[1])]
        }
        #[inline(always)]
        fn pair_totals(self, r: [__m256i; 4], numbers: &[[i32; 8]; 2], times: i32) -> [__m128; 2] {
            v!({
                // Four times the number of each block.
                let numbers: &[i32; 16] = bytemuck::cast_ref(numbers);
                let plus = _mm256_mullo_epi32(load(&numbers[4..12]), _mm256_set1_epi32(times));
                self.octet_quads(_mm256_cvtepi32_ps(_mm256_add_epi32(columns(r), plus)))
            })
        }
        #[inline(always)]
        fn pair_halves<B: bytemuck::Pod>(self, rows: [&[B; 2]; 4], at: usize) -> __m256 {
            let first = rows.map(|row| bytemuck::bytes_of(&row[0]));
            let second = rows.map(|row| bytemuck::bytes_of(&row[1]));
            v!(_mm256_cvtph_ps(_mm_unpacklo_epi64(
                four_shorts(first, at),
                four_shorts(second, at)
            )))
        }
    };
}
pub(super) use blocks_256;

/// Verbs on 16 floats in two registers.
macro_rules! floats_256 {
    () => {
        type Wide = [__m256; 2];

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
            let four = fold4!(a, _mm256_add_ps, _mm_add_ps);
            v!({
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
            })
        }
        #[inline(always)]
        fn sum4(self, a: [[__m256; 2]; 4]) -> [f32; 4] {
            four_floats(folds4!(a, _mm256_add_ps, _mm_add_ps))
        }
        #[inline(always)]
        fn sums16(self, a: [[__m256; 2]; 16]) -> [__m256; 2] {
            folds16!(a, _mm256_add_ps, _mm_add_ps)
        }
        #[inline(always)]
        fn maxs16(self, a: [[__m256; 2]; 16]) -> [__m256; 2] {
            folds16!(a, _mm256_max_ps, _mm_max_ps)
        }
        #[inline(always)]
        fn to_i8(self, a: [__m256; 2]) -> [i8; 16] {
            v!({
                let words =
                    _mm256_packs_epi32(_mm256_cvttps_epi32(a[0]), _mm256_cvttps_epi32(a[1]));
                let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
                let bytes = _mm_packs_epi16(
                    _mm256_castsi256_si128(words),
                    _mm256_extracti128_si256::<1>(words),
                );
                bytes_array(bytes)
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
        fn splat_half(self, bits: u16) -> [__m256; 2] {
            v!([_mm256_cvtph_ps(_mm_set1_epi16(bits as i16)); 2])
        }
        #[inline(always)]
        fn widen_i8(self, from: &[i8; 16]) -> [__m256; 2] {
            let bytes = load_half(bytemuck::cast_ref(from));
            v!([
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128::<8>(bytes)))
            ])
        }
        const SCORES: usize = 1;
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
    };
}
pub(super) use floats_256;
