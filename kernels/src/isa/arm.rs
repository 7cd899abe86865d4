//! What the ARM levels share: the verbs on bytes, shorts and floats, and in `pieces.rs` what they are made of. Registers have
//! 128 bits, so that a vector of 32 bytes is two of them and 16 floats are four. A level's file takes the verbs by macro into its
//! own `impl Isa`, beside the dot products, in which the levels differ.
//!
//! Signed and unsigned codes are the same to all of them: the dot products of ARM take signed bytes, and no unsigned code is
//! above 127.

/// Intrinsics without memory operands, which are unsafe only because of the features they need.
macro_rules! v {
    ($e:expr) => {
        // SAFETY: the token of an ARM level exists only where the CPU has the level's features, and no operand is a pointer.
        unsafe { $e }
    };
}
pub(super) use v;

mod pieces;
pub(super) use pieces::*;

/// Verbs on bytes, shorts and small vectors of floats, and entry to the level.
macro_rules! bytes_128 {
    ($features:literal) => {
        type Bytes = [uint8x16_t; 2];
        type Shorts = [int16x8_t; 2];
        type Sums = int32x4_t;
        type Quad = float32x4_t;
        type Whole = int32x4_t;
        type Bytes2 = [uint8x16_t; 4];
        type PairSums = ();
        type Octet = [float32x4_t; 2];

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
            prefetch(at, ahead);
        }

        #[inline(always)]
        fn words(self, w: [u64; 4]) -> [uint8x16_t; 2] {
            let two = |a, b| {
                v!(vreinterpretq_u8_u64(vcombine_u64(
                    vcreate_u64(a),
                    vcreate_u64(b)
                )))
            };
            [two(w[0], w[1]), two(w[2], w[3])]
        }
        #[inline(always)]
        fn bytes(self, from: &[u8; 32]) -> [uint8x16_t; 2] {
            load2(from)
        }
        #[inline(always)]
        fn nibbles(self, from: &[u8; 16]) -> [uint8x16_t; 2] {
            let packed = load(from);
            v!([vandq_u8(packed, vdupq_n_u8(15)), vshrq_n_u8::<4>(packed)])
        }
        #[inline(always)]
        fn splat(self, byte: u8) -> [uint8x16_t; 2] {
            v!([vdupq_n_u8(byte); 2])
        }
        #[inline(always)]
        fn bits(self, bits: u32) -> [uint8x16_t; 2] {
            spread_bits(bits)
        }
        #[inline(always)]
        fn fives(self, from: &[u8; 16], bits: u32) -> [uint8x16_t; 2] {
            let (packed, [low, high]) = (load(from), spread_bits(bits));
            v!([
                insert_high(packed, vshrq_n_u8::<7>(low)),
                insert_high(vshrq_n_u8::<4>(packed), vshrq_n_u8::<7>(high))
            ])
        }
        #[inline(always)]
        fn and(self, a: [uint8x16_t; 2], b: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
            v!([vandq_u8(a[0], b[0]), vandq_u8(a[1], b[1])])
        }
        #[inline(always)]
        fn or(self, a: [uint8x16_t; 2], b: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
            v!([vorrq_u8(a[0], b[0]), vorrq_u8(a[1], b[1])])
        }
        #[inline(always)]
        fn shr<const N: i32>(self, a: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
            [shift(a[0], -N), shift(a[1], -N)]
        }
        #[inline(always)]
        fn shl<const N: i32>(self, a: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
            [shift(a[0], N), shift(a[1], N)]
        }
        #[inline(always)]
        fn sub(self, a: [uint8x16_t; 2], b: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
            v!([vsubq_u8(a[0], b[0]), vsubq_u8(a[1], b[1])])
        }
        #[inline(always)]
        fn lookup(self, table: &[i8; 16], index: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
            let table = load(bytemuck::cast_ref(table));
            v!([vqtbl1q_u8(table, index[0]), vqtbl1q_u8(table, index[1])])
        }
        #[inline(always)]
        fn to_bytes(self, a: [uint8x16_t; 2]) -> [u8; 32] {
            let mut out = [[0; 16]; 2];
            store(a[0], &mut out[0]);
            store(a[1], &mut out[1]);
            bytemuck::cast(out)
        }

        #[inline(always)]
        fn shorts(self, from: &[i16; 16]) -> [int16x8_t; 2] {
            let [a, b] = load2(from);
            v!([vreinterpretq_s16_u8(a), vreinterpretq_s16_u8(b)])
        }
        #[inline(always)]
        fn widened(self, from: &[i8; 16]) -> [int16x8_t; 2] {
            self.low_shorts([load(bytemuck::cast_ref(from)); 2])
        }
        #[inline(always)]
        fn widened_words(self, from: [u64; 2]) -> [int16x8_t; 2] {
            self.low_shorts(self.words([from[0], from[1], 0, 0]))
        }
        #[inline(always)]
        fn doubled(self, from: u64) -> [int16x8_t; 2] {
            v!({
                let eight = vcreate_u8(from);
                self.low_shorts([vcombine_u8(vzip1_u8(eight, eight), vzip2_u8(eight, eight)); 2])
            })
        }
        #[inline(always)]
        fn doubled_halves(self, [a, b]: [u64; 2]) -> [[int16x8_t; 2]; 2] {
            [
                self.doubled(a & 0xffff_ffff | b << 32),
                self.doubled(a >> 32 | b >> 32 << 32),
            ]
        }
        #[inline(always)]
        fn scales6(self, from: [&[u8; 16]; 2]) -> [[int16x8_t; 2]; 2] {
            let zero = v!(vdupq_n_s16(0));
            let (mut scales, mut mins) = ([zero; 2], [zero; 2]);
            for (b, from) in from.into_iter().enumerate() {
                v!({
                    // Something else, then three words: low six bits in the first two, and pieces of the others.
                    let words = load(from);
                    let first = vandq_u8(words, vdupq_n_u8(0x3f));
                    let tops = vandq_u8(vshrq_n_u8::<2>(words), vdupq_n_u8(0x30));
                    let last =
                        vreinterpretq_u8_u32(vdupq_laneq_u32::<3>(vreinterpretq_u32_u8(words)));
                    let down = vcombine_s8(vdup_n_s8(0), vdup_n_s8(-4));
                    let last = vandq_u8(vshlq_u8(last, down), vdupq_n_u8(15));
                    let last = vorrq_u8(last, tops);
                    let (first, last) = (vreinterpretq_u32_u8(first), vreinterpretq_u32_u8(last));
                    let scale = vreinterpretq_u8_u32(vzip1q_u32(first, last));
                    let min = vreinterpretq_u8_u32(vzip2q_u32(first, last));
                    scales[b] = vreinterpretq_s16_u16(vmovl_high_u8(scale));
                    mins[b] = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(min)));
                });
            }
            [scales, mins]
        }
        #[inline(always)]
        fn scales_split6(self, from: [&[u8; 16]; 2]) -> [int16x8_t; 2] {
            const NIBBLES: [u8; 8] = [4, 4, 5, 5, 6, 6, 7, 7];
            const PAIRS: [u8; 8] = [2, 2, 2, 2, 3, 3, 3, 3];
            let mut out = [v!(vdupq_n_s16(0)); 2];
            for (out, from) in out.iter_mut().zip(from) {
                v!({
                    let words = load(from);
                    let eight = |bytes: [u8; 8]| vcreate_u8(u64::from_le_bytes(bytes));
                    let down =
                        |bits: [i8; 8]| vcreate_s8(u64::from_le_bytes(bits.map(|n| -n as u8)));
                    let nibbles = vqtbl1_u8(words, eight(NIBBLES));
                    let nibbles = vshl_u8(nibbles, down([0, 4, 0, 4, 0, 4, 0, 4]));
                    let pairs = vqtbl1_u8(words, eight(PAIRS));
                    let pairs = vshl_u8(pairs, down([0, 2, 4, 6, 0, 2, 4, 6]));
                    let six = vorr_u8(
                        vand_u8(nibbles, vdup_n_u8(15)),
                        vshl_n_u8::<4>(vand_u8(pairs, vdup_n_u8(3))),
                    );
                    *out = vmovl_s8(vreinterpret_s8_u8(vsub_u8(six, vdup_n_u8(32))));
                });
            }
            out
        }
        #[inline(always)]
        fn scales_split6_16(self, from: &[u8; 16]) -> [int16x8_t; 2] {
            const NIBBLES: [u8; 16] = [2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9];
            const PAIRS: [u8; 16] = [
                10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13,
            ];
            const NIBBLE_BITS: [i8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, -4, -4, -4, -4, -4, -4, -4, -4];
            const PAIR_BITS: [i8; 16] =
                [0, 0, 0, 0, -2, -2, -2, -2, -4, -4, -4, -4, -6, -6, -6, -6];
            v!({
                let bytes = load(from);
                let by = |bits: &[i8; 16]| signed(load(bytemuck::cast_ref(bits)));
                let nibbles = vshlq_u8(vqtbl1q_u8(bytes, load(&NIBBLES)), by(&NIBBLE_BITS));
                let pairs = vshlq_u8(vqtbl1q_u8(bytes, load(&PAIRS)), by(&PAIR_BITS));
                let six = vorrq_u8(
                    vandq_u8(nibbles, vdupq_n_u8(15)),
                    vshlq_n_u8::<4>(vandq_u8(pairs, vdupq_n_u8(3))),
                );
                self.low_shorts([vsubq_u8(six, vdupq_n_u8(32)); 2])
            })
        }
        #[inline(always)]
        fn eight_twice(self, from: &[i16; 8]) -> [int16x8_t; 2] {
            v!([vreinterpretq_s16_u8(load(bytemuck::cast_ref(from))); 2])
        }
        #[inline(always)]
        fn halves_twice(self, a: [int16x8_t; 2]) -> [[int16x8_t; 2]; 2] {
            [[a[0]; 2], [a[1]; 2]]
        }
        #[inline(always)]
        fn low_shorts(self, a: [uint8x16_t; 2]) -> [int16x8_t; 2] {
            v!([
                vmovl_s8(vget_low_s8(signed(a[0]))),
                vmovl_high_s8(signed(a[0]))
            ])
        }
        #[inline(always)]
        fn high_shorts(self, a: [uint8x16_t; 2]) -> [int16x8_t; 2] {
            self.low_shorts([a[1]; 2])
        }
        #[inline(always)]
        fn put_shorts(self, a: [int16x8_t; 2], to: &mut [i16; 16]) {
            let halves: &mut [[u8; 16]; 2] = bytemuck::cast_mut(to);
            store(v!(vreinterpretq_u8_s16(a[0])), &mut halves[0]);
            store(v!(vreinterpretq_u8_s16(a[1])), &mut halves[1]);
        }
        #[inline(always)]
        fn transpose_shorts(self, rows: [[int16x8_t; 2]; 8]) -> [[int16x8_t; 2]; 8] {
            let mut bytes = [self.splat(0); 8];
            for (to, row) in bytes.iter_mut().zip(rows) {
                *to = v!([vreinterpretq_u8_s16(row[0]), vreinterpretq_u8_s16(row[1])]);
            }
            let mut out = rows;
            for (out, lanes) in out.iter_mut().zip(transpose8(bytes)) {
                *out = v!([
                    vreinterpretq_s16_u8(lanes[0]),
                    vreinterpretq_s16_u8(lanes[1])
                ]);
            }
            out
        }
        #[inline(always)]
        fn alternate(self, a: [int16x8_t; 2], b: [int16x8_t; 2]) -> [int16x8_t; 2] {
            v!({
                let even = vreinterpretq_u16_u32(vdupq_n_u32(0xffff));
                [vbslq_s16(even, a[0], b[0]), vbslq_s16(even, a[1], b[1])]
            })
        }
        #[inline(always)]
        fn each_twice(self, a: [int16x8_t; 2]) -> [[int16x8_t; 2]; 2] {
            v!([
                [vtrn1q_s16(a[0], a[0]), vtrn1q_s16(a[1], a[1])],
                [vtrn2q_s16(a[0], a[0]), vtrn2q_s16(a[1], a[1])]
            ])
        }
        #[inline(always)]
        fn splat_short(self, value: i16) -> [int16x8_t; 2] {
            v!([vdupq_n_s16(value); 2])
        }
        #[inline(always)]
        fn mul_shorts(self, a: [int16x8_t; 2], b: [int16x8_t; 2]) -> [int16x8_t; 2] {
            v!([vmulq_s16(a[0], b[0]), vmulq_s16(a[1], b[1])])
        }
        #[inline(always)]
        fn sums(self, total: i32) -> int32x4_t {
            v!(vsetq_lane_s32::<0>(total, vdupq_n_s32(0)))
        }
        #[inline(always)]
        fn mac_shorts(self, sums: int32x4_t, a: [int16x8_t; 2], b: [int16x8_t; 2]) -> int32x4_t {
            let mut sums = sums;
            for i in 0..2 {
                sums = v!(vmlal_high_s16(
                    vmlal_s16(sums, vget_low_s16(a[i]), vget_low_s16(b[i])),
                    a[i],
                    b[i]
                ));
            }
            sums
        }
        #[inline(always)]
        fn dot_signed(
            self,
            sums: int32x4_t,
            codes: [uint8x16_t; 2],
            input: &[i8; 32],
        ) -> int32x4_t {
            self.dot(sums, codes, input)
        }
        #[inline(always)]
        fn totals(self, rows: [int32x4_t; 4]) -> float32x4_t {
            v!(vcvtq_f32_s32(totals4(rows)))
        }
        #[inline(always)]
        fn whole(self, rows: [int32x4_t; 4]) -> int32x4_t {
            totals4(rows)
        }
        #[inline(always)]
        fn whole_from(
            self,
            now: int32x4_t,
            before: int32x4_t,
            number: &[i32; 8],
            times: i32,
        ) -> float32x4_t {
            let mut sums = v!(vsubq_s32(now, before));
            if times != 0 {
                let [numbers, _] = load2(number);
                sums = v!(vmlaq_s32(
                    sums,
                    vreinterpretq_s32_u8(numbers),
                    vdupq_n_s32(times)
                ));
            }
            v!(vcvtq_f32_s32(sums))
        }
        #[inline(always)]
        fn next_quad<'a, B: bytemuck::Pod>(
            self,
            rows: &mut Ahead<'_, 'a, B>,
        ) -> ([&'a B; 4], float32x4_t) {
            let (blocks, bits) = next_halves(rows);
            (blocks, v!(vcvt_f32_f16(vreinterpret_f16_u16(bits))))
        }
        /// The first four of the first two rows and of the others, then the last four so.
        type Eights = [int16x8_t; 4];
        #[inline(always)]
        fn next_heads6<'a, B: bytemuck::Pod>(
            self,
            rows: &mut Ahead<'_, 'a, B>,
        ) -> ([&'a B; 4], Heads6<Self>) {
            let (blocks, [floats, first, second, last]) = next_words(rows);
            v!({
                let six = vdupq_n_u8(0x3f);
                let widened = |low, high| {
                    [
                        vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(low))),
                        vreinterpretq_s16_u16(vmovl_high_u8(low)),
                        vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(high))),
                        vreinterpretq_s16_u16(vmovl_high_u8(high)),
                    ]
                };
                let high_min = insert_high(vshrq_n_u8::<4>(last), vshrq_n_u8::<6>(second));
                let high_scale = insert_high(last, vshrq_n_u8::<6>(first));
                let floats = vreinterpretq_u32_u8(floats);
                let float = |bits| vcvt_f32_f16(vreinterpret_f16_u16(bits));
                let heads = Heads6 {
                    d: float(vmovn_u32(floats)),
                    dmin: float(vshrn_n_u32::<16>(floats)),
                    scales: widened(vandq_u8(first, six), high_scale),
                    mins: widened(vandq_u8(second, six), high_min),
                };
                (blocks, heads)
            })
        }
        #[inline(always)]
        fn eights_totals(self, rows: [int16x8_t; 4], by: &[i16; 8]) -> float32x4_t {
            v!({
                let by = vreinterpretq_s16_u8(load(bytemuck::cast_ref(by)));
                let (low, high) = (
                    vget_low_s16(by),
                    vdupq_laneq_s64::<1>(vreinterpretq_s64_s16(by)),
                );
                let high = vreinterpretq_s16_s64(high);
                let twice = vreinterpretq_s16_s64(vdupq_laneq_s64::<0>(vreinterpretq_s64_s16(by)));
                let mut sums = [vdupq_n_s32(0); 4];
                for i in 0..2 {
                    let (first, last) = (rows[i], rows[i + 2]);
                    sums[2 * i] = vmlal_s16(
                        vmull_s16(vget_low_s16(first), low),
                        vget_low_s16(last),
                        vget_low_s16(high),
                    );
                    sums[2 * i + 1] = vmlal_high_s16(vmull_high_s16(first, twice), last, high);
                }
                vcvtq_f32_s32(settled(totals4(sums)))
            })
        }
        #[inline(always)]
        fn quad_halves(self, bits: [u16; 4]) -> float32x4_t {
            v!(vcvt_f32_f16(vreinterpret_f16_u16(vcreate_u16(
                bytemuck::cast(bits)
            ))))
        }
        #[inline(always)]
        fn dot_eights(self, rows: [[int16x8_t; 2]; 2], by: [int16x8_t; 2]) -> float32x4_t {
            let mut sums = [v!(vdupq_n_s32(0)); 4];
            for r in 0..4 {
                let row = rows[r / 2][r % 2];
                sums[r] = v!(vmlal_high_s16(
                    vmull_s16(vget_low_s16(row), vget_low_s16(by[0])),
                    row,
                    by[0]
                ));
            }
            self.totals(sums)
        }

        #[inline(always)]
        fn settled(self, sums: int32x4_t) -> int32x4_t {
            settled(sums)
        }
        #[inline(always)]
        fn join(self, a: [uint8x16_t; 2], b: [uint8x16_t; 2]) -> [uint8x16_t; 4] {
            [a[0], a[1], b[0], b[1]]
        }
        #[inline(always)]
        fn bytes2(self, from: &[u8; 64]) -> [uint8x16_t; 4] {
            load4(from)
        }
        #[inline(always)]
        fn nibbles2(self, from: &[u8; 32]) -> [uint8x16_t; 4] {
            let [a, b] = load2(from);
            v!([
                vandq_u8(a, vdupq_n_u8(15)),
                vandq_u8(b, vdupq_n_u8(15)),
                vshrq_n_u8::<4>(a),
                vshrq_n_u8::<4>(b)
            ])
        }
        #[inline(always)]
        fn turn2<const A: i32, const B: i32>(self, from: &[u8; 32]) -> [uint8x16_t; 4] {
            let [a, b] = load2(from);
            [shift(a, A), shift(b, A), shift(a, B), shift(b, B)]
        }
        #[inline(always)]
        fn sixes(self, low: &[u8; 64], high: &[u8; 32]) -> [[uint8x16_t; 4]; 2] {
            let (low, high) = (load4(low), load2(high));
            let (mut first, mut second) = (low, low);
            v!({
                let pairs = vdupq_n_u8(0x33);
                for i in 0..2 {
                    // The first and third pair of bits, and the second and fourth: each has room beside it for a nibble.
                    let odd = vandq_u8(high[i], pairs);
                    let even = vandq_u8(vshrq_n_u8::<2>(high[i]), pairs);
                    for (at, bits) in [(i, odd), (i + 2, even)] {
                        second[at] = insert_low(bits, low[at]);
                        first[at] = insert_high(low[at], bits);
                    }
                }
            });
            [first, second]
        }
        #[inline(always)]
        fn shr2<const N: i32>(self, a: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
            [
                shift(a[0], -N),
                shift(a[1], -N),
                shift(a[2], -N),
                shift(a[3], -N),
            ]
        }
        #[inline(always)]
        fn and2(self, a: [uint8x16_t; 4], mask: u8) -> [uint8x16_t; 4] {
            v!({
                let mask = vdupq_n_u8(mask);
                [
                    vandq_u8(a[0], mask),
                    vandq_u8(a[1], mask),
                    vandq_u8(a[2], mask),
                    vandq_u8(a[3], mask),
                ]
            })
        }
        #[inline(always)]
        fn or2(self, a: [uint8x16_t; 4], b: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
            v!([
                vorrq_u8(a[0], b[0]),
                vorrq_u8(a[1], b[1]),
                vorrq_u8(a[2], b[2]),
                vorrq_u8(a[3], b[3])
            ])
        }
        #[inline(always)]
        fn flip2(self, a: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
            v!({
                let top = vdupq_n_u8(128);
                [
                    veorq_u8(a[0], top),
                    veorq_u8(a[1], top),
                    veorq_u8(a[2], top),
                    veorq_u8(a[3], top),
                ]
            })
        }
        #[inline(always)]
        fn lookup2(self, table: &[i8; 16], index: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
            let [a, b, c, d] = index;
            let ([a, b], [c, d]) = (self.lookup(table, [a, b]), self.lookup(table, [c, d]));
            [a, b, c, d]
        }
        #[inline(always)]
        fn mac2_signed(
            self,
            sums: Self::Sums2,
            codes: [uint8x16_t; 4],
            input: &[i8; 64],
            scales: [int16x8_t; 2],
            i: usize,
        ) -> Self::Sums2 {
            self.mac2(sums, codes, input, scales, i)
        }
        #[inline(always)]
        fn wide_mac2_signed(
            self,
            sums: Self::Sums2,
            codes: [uint8x16_t; 4],
            input: &[i8; 64],
            scales: [int16x8_t; 2],
            i: usize,
        ) -> Self::Sums2 {
            self.wide_mac2(sums, codes, input, scales, i)
        }
        #[inline(always)]
        fn halves_mac2(
            self,
            sums: Self::Sums2,
            codes: [uint8x16_t; 4],
            input: &[[[i8; 16]; 2]; 2],
            scales: [int16x8_t; 2],
            i: usize,
        ) -> Self::Sums2 {
            let [[a, b], [c, d]] = *input;
            let codes = [codes[0], codes[2], codes[1], codes[3]];
            self.wide_mac2(sums, codes, &bytemuck::cast([a, c, b, d]), scales, i)
        }
        #[inline(always)]
        fn octet(self, from: [f32; 8]) -> [float32x4_t; 2] {
            let [a, b]: [[f32; 4]; 2] = bytemuck::cast(from);
            [load_f32(&a), load_f32(&b)]
        }
        #[inline(always)]
        fn put_octet(self, a: [float32x4_t; 2], to: &mut [f32; 8]) {
            let halves: &mut [[f32; 4]; 2] = bytemuck::cast_mut(to);
            store_f32(a[0], &mut halves[0]);
            store_f32(a[1], &mut halves[1]);
        }
        #[inline(always)]
        fn octet_halves(self, bits: [u16; 8]) -> [float32x4_t; 2] {
            load_f16(&bits)
        }
        #[inline(always)]
        fn octet_half_pairs(self, pairs: [u32; 4]) -> [float32x4_t; 2] {
            let pairs = load(&bytemuck::cast(pairs));
            v!({
                let pairs = vreinterpretq_u32_u8(pairs);
                let float = |bits| vcvt_f32_f16(vreinterpret_f16_u16(bits));
                [float(vmovn_u32(pairs)), float(vshrn_n_u32::<16>(pairs))]
            })
        }
        #[inline(always)]
        fn octet_mul(self, a: [float32x4_t; 2], b: [float32x4_t; 2]) -> [float32x4_t; 2] {
            v!([vmulq_f32(a[0], b[0]), vmulq_f32(a[1], b[1])])
        }
        #[inline(always)]
        fn octet_quads(self, a: [float32x4_t; 2]) -> [float32x4_t; 2] {
            a
        }

        #[inline(always)]
        fn half(self, bits: u16) -> f32 {
            v!(vgetq_lane_f32::<0>(vcvt_f32_f16(vreinterpret_f16_u16(
                vdup_n_u16(bits)
            ))))
        }
        #[inline(always)]
        fn quad(self, from: [f32; 4]) -> float32x4_t {
            load_f32(&from)
        }
        #[inline(always)]
        fn quad_array(self, a: float32x4_t) -> [f32; 4] {
            let mut out = [0.0; 4];
            store_f32(a, &mut out);
            out
        }
        #[inline(always)]
        fn quad_neg(self, a: float32x4_t) -> float32x4_t {
            v!(vnegq_f32(a))
        }
        #[inline(always)]
        fn quad_mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
            v!(vmulq_f32(a, b))
        }
        #[inline(always)]
        fn quad_fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
            v!(vfmaq_f32(c, a, b))
        }

        const SHARED_INPUTS: bool = true;
        type Rows = [int32x4_t; 4];
        const TILE_PANELS: usize = 1;
        const BIASED: bool = false;
        #[inline(always)]
        fn rows(self, value: i32) -> [int32x4_t; 4] {
            v!([vdupq_n_s32(value); 4])
        }
        #[inline(always)]
        fn add_dots_signed(self, dots: Self::Dots, codes: &Codes4, input: [i8; 4]) -> Self::Dots {
            self.add_dots(dots, codes, input)
        }
        #[inline(always)]
        fn add_pairs(self, sums: [int32x4_t; 4], pairs: &Pairs, input: [i16; 2]) -> [int32x4_t; 4] {
            let pairs = load4(pairs);
            let mut out = sums;
            v!({
                let both = i32::from(input[0] as u16) | i32::from(input[1]) << 16;
                let x = vreinterpretq_s16_s32(vdupq_n_s32(both));
                for i in 0..4 {
                    let pair = vreinterpretq_s16_u8(pairs[i]);
                    let low = vmull_s16(vget_low_s16(pair), vget_low_s16(x));
                    out[i] = vaddq_s32(out[i], vpaddq_s32(low, vmull_high_s16(pair, x)));
                }
            });
            out
        }
        #[inline(always)]
        fn rows_to_wide(self, sums: [int32x4_t; 4]) -> [float32x4_t; 4] {
            v!([
                vcvtq_f32_s32(sums[0]),
                vcvtq_f32_s32(sums[1]),
                vcvtq_f32_s32(sums[2]),
                vcvtq_f32_s32(sums[3])
            ])
        }
    };
}
pub(super) use bytes_128;

/// Verbs on 16 floats in four registers.
macro_rules! floats_128 {
    () => {
        type Wide = [float32x4_t; 4];

        #[inline(always)]
        fn wide(self, from: &[f32; 16]) -> [float32x4_t; 4] {
            let quarters: &[[f32; 4]; 4] = bytemuck::cast_ref(from);
            [
                load_f32(&quarters[0]),
                load_f32(&quarters[1]),
                load_f32(&quarters[2]),
                load_f32(&quarters[3]),
            ]
        }
        #[inline(always)]
        fn splat_wide(self, value: f32) -> [float32x4_t; 4] {
            v!([vdupq_n_f32(value); 4])
        }
        #[inline(always)]
        fn wide_array(self, a: [float32x4_t; 4]) -> [f32; 16] {
            let mut out = [0.0; 16];
            self.put(a, &mut out);
            out
        }
        #[inline(always)]
        fn put(self, a: [float32x4_t; 4], to: &mut [f32; 16]) {
            let quarters: &mut [[f32; 4]; 4] = bytemuck::cast_mut(to);
            for i in 0..4 {
                store_f32(a[i], &mut quarters[i]);
            }
        }
        #[inline(always)]
        fn add(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
            each!(i, vaddq_f32(a[i], b[i]))
        }
        #[inline(always)]
        fn mul(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
            each!(i, vmulq_f32(a[i], b[i]))
        }
        #[inline(always)]
        fn div(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
            each!(i, vdivq_f32(a[i], b[i]))
        }
        #[inline(always)]
        fn fma(
            self,
            a: [float32x4_t; 4],
            b: [float32x4_t; 4],
            c: [float32x4_t; 4],
        ) -> [float32x4_t; 4] {
            each!(i, vfmaq_f32(c[i], a[i], b[i]))
        }
        #[inline(always)]
        fn max(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
            [
                larger(a[0], b[0]),
                larger(a[1], b[1]),
                larger(a[2], b[2]),
                larger(a[3], b[3]),
            ]
        }
        #[inline(always)]
        fn min(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
            each!(i, vbslq_f32(vcltq_f32(a[i], b[i]), a[i], b[i]))
        }
        #[inline(always)]
        fn abs(self, a: [float32x4_t; 4]) -> [float32x4_t; 4] {
            each!(i, vabsq_f32(a[i]))
        }
        #[inline(always)]
        fn max_bits(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
            each!(
                i,
                vreinterpretq_f32_u32(vmaxq_u32(
                    vreinterpretq_u32_f32(a[i]),
                    vreinterpretq_u32_f32(b[i])
                ))
            )
        }
        #[inline(always)]
        fn round(self, a: [float32x4_t; 4]) -> [float32x4_t; 4] {
            each!(i, vrndnq_f32(a[i]))
        }
        #[inline(always)]
        fn pow2(self, n: [float32x4_t; 4]) -> [float32x4_t; 4] {
            each!(
                i,
                vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(
                    vcvtq_s32_f32(n[i]),
                    vdupq_n_s32(127)
                )))
            )
        }
        #[inline(always)]
        fn sum(self, a: [float32x4_t; 4]) -> f32 {
            let four = fold4(a, |a, b| v!(vaddq_f32(a, b)));
            v!({
                let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
                vget_lane_f32::<0>(vpadd_f32(two, two))
            })
        }
        #[inline(always)]
        fn sum4(self, a: [[float32x4_t; 4]; 4]) -> [f32; 4] {
            self.quad_array(folds4(a, |a, b| v!(vaddq_f32(a, b))))
        }
        #[inline(always)]
        fn sums16(self, a: [[float32x4_t; 4]; 16]) -> [float32x4_t; 4] {
            let add = |a, b| v!(vaddq_f32(a, b));
            let fours = a.as_chunks::<4>().0;
            [
                folds4(fours[0], add),
                folds4(fours[1], add),
                folds4(fours[2], add),
                folds4(fours[3], add),
            ]
        }
        #[inline(always)]
        fn maxs16(self, a: [[float32x4_t; 4]; 16]) -> [float32x4_t; 4] {
            let fours = a.as_chunks::<4>().0;
            [
                folds4(fours[0], larger),
                folds4(fours[1], larger),
                folds4(fours[2], larger),
                folds4(fours[3], larger),
            ]
        }
        #[inline(always)]
        fn to_i8(self, a: [float32x4_t; 4]) -> [i8; 16] {
            let mut out = [0; 16];
            store(
                v!({
                    let words =
                        |a, b| vqmovn_high_s32(vqmovn_s32(vcvtq_s32_f32(a)), vcvtq_s32_f32(b));
                    let (low, high) = (words(a[0], a[1]), words(a[2], a[3]));
                    vreinterpretq_u8_s8(vqmovn_high_s16(vqmovn_s16(low), high))
                }),
                &mut out,
            );
            bytemuck::cast(out)
        }
        #[inline(always)]
        fn widen_f16(self, from: &[u16; 16]) -> [float32x4_t; 4] {
            let halves: &[[u16; 8]; 2] = bytemuck::cast_ref(from);
            let ([a, b], [c, d]) = (load_f16(&halves[0]), load_f16(&halves[1]));
            [a, b, c, d]
        }
        #[inline(always)]
        fn to_f16(self, a: [float32x4_t; 4]) -> [u16; 16] {
            let mut out = [[0; 16]; 2];
            for i in 0..2 {
                let (low, high) = (a[2 * i], a[2 * i + 1]);
                let both = v!(vcombine_u16(
                    vreinterpret_u16_f16(vcvt_f16_f32(low)),
                    vreinterpret_u16_f16(vcvt_f16_f32(high))
                ));
                store(v!(vreinterpretq_u8_u16(both)), &mut out[i]);
            }
            bytemuck::cast(out)
        }
        #[inline(always)]
        fn splat_half(self, bits: u16) -> [float32x4_t; 4] {
            v!([vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(bits))); 4])
        }
        #[inline(always)]
        fn widen_i8(self, from: &[i8; 16]) -> [float32x4_t; 4] {
            let shorts = self.widened(from);
            v!([
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(shorts[0]))),
                vcvtq_f32_s32(vmovl_high_s16(shorts[0])),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(shorts[1]))),
                vcvtq_f32_s32(vmovl_high_s16(shorts[1]))
            ])
        }
        const SCORES: usize = 1;
        #[inline(always)]
        fn widen_bf16(self, from: &[u16; 16]) -> [float32x4_t; 4] {
            let [a, b] = load2(from);
            v!({
                let (a, b) = (vreinterpretq_u16_u8(a), vreinterpretq_u16_u8(b));
                [
                    vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(a))),
                    vreinterpretq_f32_u32(vshll_high_n_u16::<16>(a)),
                    vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(b))),
                    vreinterpretq_f32_u32(vshll_high_n_u16::<16>(b)),
                ]
            })
        }
    };
}
pub(super) use floats_128;

/// The four registers of 16 lanes, each made by an expression of intrinsics.
macro_rules! each {
    ($i:ident, $e:expr) => {{
        let mut out = [v!(vdupq_n_f32(0.0)); 4];
        for $i in 0..4 {
            out[$i] = v!($e);
        }
        out
    }};
}
pub(super) use each;
