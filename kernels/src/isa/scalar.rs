//! The scalar level: every verb in plain Rust. It is the definition that all other levels are tested against.

use super::{Isa, Task};
use crate::panel::{Codes4, Pairs};
use half::{bf16, f16};
use std::array::from_fn;

/// The token of the scalar level; any CPU will do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scalar;

/// Pairs of lanes folded together until one is left: the shape of every f32 reduction.
#[inline(always)]
fn tree(mut a: [f32; 16], f: impl Fn(f32, f32) -> f32) -> f32 {
    for width in [8, 4, 2, 1] {
        for j in 0..width {
            a[j] = f(a[j], a[j + width]);
        }
    }
    a[0]
}

#[inline(always)]
fn products(codes: [i32; 32], input: &[i8; 32]) -> [i32; 32] {
    from_fn(|j| codes[j] * i32::from(input[j]))
}

#[inline(always)]
fn unsigned(codes: [u8; 32]) -> [i32; 32] {
    codes.map(i32::from)
}

#[inline(always)]
fn signed(codes: [u8; 32]) -> [i32; 32] {
    codes.map(|c| i32::from(c as i8))
}

impl Isa for Scalar {
    type Bytes = [u8; 32];
    type Shorts = [i16; 16];
    type Sums = i32;
    type Quad = [f32; 4];
    type Whole = ();
    type Eights = ();
    type Bytes2 = [[u8; 32]; 2];
    type Sums2 = [i32; 2];
    type PairSums = [i32; 2];
    type Octet = [f32; 8];
    type Rows = [i32; 16];
    type Dots = [i32; 16];
    type Wide = [f32; 16];

    fn run<T: Task>(self, task: T) -> T::Out {
        task.run(self)
    }

    fn prefetch<T>(self, _: &T, _: usize) {}

    fn words(self, from: [u64; 4]) -> [u8; 32] {
        bytemuck::cast(from.map(u64::to_le_bytes))
    }
    fn bytes(self, from: &[u8; 32]) -> [u8; 32] {
        *from
    }
    fn nibbles(self, from: &[u8; 16]) -> [u8; 32] {
        from_fn(|j| {
            if j < 16 {
                from[j] & 15
            } else {
                from[j - 16] >> 4
            }
        })
    }
    fn splat(self, byte: u8) -> [u8; 32] {
        [byte; 32]
    }
    fn bits(self, bits: u32) -> [u8; 32] {
        from_fn(|j| if bits >> j & 1 == 1 { 0xFF } else { 0 })
    }
    fn and(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        from_fn(|j| a[j] & b[j])
    }
    fn or(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        from_fn(|j| a[j] | b[j])
    }
    fn shr<const N: i32>(self, a: [u8; 32]) -> [u8; 32] {
        a.map(|x| x >> N)
    }
    fn shl<const N: i32>(self, a: [u8; 32]) -> [u8; 32] {
        a.map(|x| x << N)
    }
    fn sub(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        from_fn(|j| a[j].wrapping_sub(b[j]))
    }
    fn lookup(self, table: &[i8; 16], index: [u8; 32]) -> [u8; 32] {
        index.map(|i| table[usize::from(i & 15)] as u8)
    }
    fn to_bytes(self, a: [u8; 32]) -> [u8; 32] {
        a
    }
    fn transpose(self, rows: [[u8; 32]; 8]) -> [[u8; 32]; 8] {
        from_fn(|group| from_fn(|j| rows[j / 4][group * 4 + j % 4]))
    }

    fn shorts(self, from: &[i16; 16]) -> [i16; 16] {
        *from
    }
    fn widened(self, from: &[i8; 16]) -> [i16; 16] {
        from.map(i16::from)
    }
    fn widened_words(self, from: [u64; 2]) -> [i16; 16] {
        from_fn(|i| i16::from((from[i / 8] >> (8 * (i % 8))) as i8))
    }
    fn doubled(self, from: u64) -> [i16; 16] {
        from_fn(|i| i16::from((from >> (8 * (i / 2))) as i8))
    }
    fn doubled_halves(self, from: [u64; 2]) -> [[i16; 16]; 2] {
        let [a, b] = from;
        [
            self.doubled(a & 0xffff_ffff | b << 32),
            self.doubled(a >> 32 | b >> 32 << 32),
        ]
    }
    fn scales6(self, from: [&[u8; 16]; 2]) -> [[i16; 16]; 2] {
        let words =
            from.map(|from| crate::format::scales6(from[4..].try_into().expect("12 bytes")));
        // Scales are in the lower halves of the words, minimums in the upper ones.
        [0, 32].map(|half| {
            from_fn(|i| {
                let word = words[i / 8][i / 4 % 2];
                i16::from((word >> (half + 8 * (i % 4))) as u8)
            })
        })
    }
    fn scales_split6(self, from: [&[u8; 16]; 2]) -> [i16; 16] {
        from_fn(|i| {
            let (from, i) = (from[i / 8], i % 8);
            let pairs = u16::from_le_bytes([from[2], from[3]]);
            let nibble = from[4 + i / 2] >> (4 * (i % 2)) & 15;
            i16::from(nibble | ((pairs >> (2 * i) & 3) as u8) << 4) - 32
        })
    }
    fn scales_split6_16(self, from: &[u8; 16]) -> [i16; 16] {
        from_fn(|i| {
            let nibble = from[2 + i % 8] >> (i / 8 * 4) & 15;
            let pair = from[10 + i % 4] >> (i / 4 * 2) & 3;
            i16::from(nibble | pair << 4) - 32
        })
    }
    fn eight_twice(self, from: &[i16; 8]) -> [i16; 16] {
        from_fn(|i| from[i % 8])
    }
    fn halves_twice(self, a: [i16; 16]) -> [[i16; 16]; 2] {
        [from_fn(|i| a[i % 8]), from_fn(|i| a[8 + i % 8])]
    }
    fn low_shorts(self, a: [u8; 32]) -> [i16; 16] {
        from_fn(|i| i16::from(a[i] as i8))
    }
    fn high_shorts(self, a: [u8; 32]) -> [i16; 16] {
        from_fn(|i| i16::from(a[16 + i] as i8))
    }
    fn put_shorts(self, a: [i16; 16], to: &mut [i16; 16]) {
        *to = a;
    }
    fn transpose_shorts(self, rows: [[i16; 16]; 8]) -> [[i16; 16]; 8] {
        from_fn(|pair| from_fn(|j| rows[j / 2][pair * 2 + j % 2]))
    }
    fn alternate(self, a: [i16; 16], b: [i16; 16]) -> [i16; 16] {
        from_fn(|i| if i % 2 == 0 { a[i] } else { b[i] })
    }
    fn each_twice(self, a: [i16; 16]) -> [[i16; 16]; 2] {
        [from_fn(|i| a[i / 2 * 2]), from_fn(|i| a[i / 2 * 2 + 1])]
    }
    fn splat_short(self, value: i16) -> [i16; 16] {
        [value; 16]
    }
    fn mul_shorts(self, a: [i16; 16], b: [i16; 16]) -> [i16; 16] {
        from_fn(|i| a[i] * b[i])
    }
    fn sums(self, total: i32) -> i32 {
        total
    }
    fn mac_shorts(self, sums: i32, a: [i16; 16], b: [i16; 16]) -> i32 {
        a.iter().zip(b).fold(sums, |sums, (&a, b)| {
            sums.wrapping_add(i32::from(a) * i32::from(b))
        })
    }
    fn dot(self, sums: i32, codes: [u8; 32], input: &[i8; 32]) -> i32 {
        sums + products(unsigned(codes), input).iter().sum::<i32>()
    }
    fn dot_signed(self, sums: i32, codes: [u8; 32], input: &[i8; 32]) -> i32 {
        sums + products(signed(codes), input).iter().sum::<i32>()
    }
    fn totals(self, rows: [i32; 4]) -> [f32; 4] {
        rows.map(|total| total as f32)
    }
    fn dot_eights(self, rows: [[i16; 16]; 2], by: [i16; 16]) -> [f32; 4] {
        from_fn(|r| {
            let row = &rows[r / 2][r % 2 * 8..][..8];
            let products = row
                .iter()
                .zip(by)
                .map(|(&a, b)| i32::from(a) * i32::from(b));
            products.sum::<i32>() as f32
        })
    }

    fn join(self, a: [u8; 32], b: [u8; 32]) -> [[u8; 32]; 2] {
        [a, b]
    }
    fn bytes2(self, from: &[u8; 64]) -> [[u8; 32]; 2] {
        *bytemuck::cast_ref(from)
    }
    fn nibbles2(self, from: &[u8; 32]) -> [[u8; 32]; 2] {
        [from.map(|x| x & 15), from.map(|x| x >> 4)]
    }
    fn turn2<const A: i32, const B: i32>(self, from: &[u8; 32]) -> [[u8; 32]; 2] {
        [A, B].map(|n| from.map(|x| if n < 0 { x >> -n } else { x << n }))
    }
    fn shr2<const N: i32>(self, a: [[u8; 32]; 2]) -> [[u8; 32]; 2] {
        a.map(|a| a.map(|x| x >> N))
    }
    fn and2(self, a: [[u8; 32]; 2], mask: u8) -> [[u8; 32]; 2] {
        a.map(|a| a.map(|x| x & mask))
    }
    fn or2(self, a: [[u8; 32]; 2], b: [[u8; 32]; 2]) -> [[u8; 32]; 2] {
        from_fn(|i| self.or(a[i], b[i]))
    }
    fn flip2(self, a: [[u8; 32]; 2]) -> [[u8; 32]; 2] {
        a.map(|a| a.map(|x| x ^ 128))
    }
    fn lookup2(self, table: &[i8; 16], index: [[u8; 32]; 2]) -> [[u8; 32]; 2] {
        index.map(|index| self.lookup(table, index))
    }
    fn spread2(self, sums: i32) -> [i32; 2] {
        [sums, 0]
    }
    fn mac2(
        self,
        sums: [i32; 2],
        codes: [[u8; 32]; 2],
        input: &[i8; 64],
        scales: [i16; 16],
        i: usize,
    ) -> [i32; 2] {
        let input: &[[i8; 32]; 2] = bytemuck::cast_ref(input);
        from_fn(|h| {
            scaled(
                sums[h],
                products(unsigned(codes[h]), &input[h]),
                scales,
                2 * i + h,
            )
        })
    }
    fn mac2_signed(
        self,
        sums: [i32; 2],
        codes: [[u8; 32]; 2],
        input: &[i8; 64],
        scales: [i16; 16],
        i: usize,
    ) -> [i32; 2] {
        let input: &[[i8; 32]; 2] = bytemuck::cast_ref(input);
        from_fn(|h| {
            scaled(
                sums[h],
                products(signed(codes[h]), &input[h]),
                scales,
                2 * i + h,
            )
        })
    }
    fn wide_mac2(
        self,
        sums: [i32; 2],
        codes: [[u8; 32]; 2],
        input: &[i8; 64],
        scales: [i16; 16],
        i: usize,
    ) -> [i32; 2] {
        self.mac2(sums, codes, input, each_twice(scales), i)
    }
    fn wide_mac2_signed(
        self,
        sums: [i32; 2],
        codes: [[u8; 32]; 2],
        input: &[i8; 64],
        scales: [i16; 16],
        i: usize,
    ) -> [i32; 2] {
        self.mac2_signed(sums, codes, input, each_twice(scales), i)
    }
    fn halves_mac2(
        self,
        sums: [i32; 2],
        codes: [[u8; 32]; 2],
        input: &[[[i8; 16]; 2]; 2],
        scales: [i16; 16],
        i: usize,
    ) -> [i32; 2] {
        let input: &[[i8; 32]; 2] = bytemuck::cast_ref(input);
        from_fn(|h| {
            let products = products(signed(codes[h]), &input[h]);
            scaled(sums[h], products, scales, i)
        })
    }
    fn whole_totals(self, rows: [[i32; 2]; 4]) -> [f32; 4] {
        rows.map(|sums| sums[0].wrapping_add(sums[1]) as f32)
    }
    fn pair_dot(self, codes: [[u8; 32]; 2], input: [[u8; 32]; 2], _: u8) -> [i32; 2] {
        from_fn(|b| self.dot(0, codes[b], &bytemuck::cast(input[b])))
    }
    fn pair_dot_signed(self, codes: [[u8; 32]; 2], input: [[u8; 32]; 2]) -> [i32; 2] {
        from_fn(|b| self.dot_signed(0, codes[b], &bytemuck::cast(input[b])))
    }
    fn pair_totals(
        self,
        rows: [[i32; 2]; 4],
        numbers: &[[i32; 8]; 2],
        times: i32,
    ) -> [[f32; 4]; 2] {
        from_fn(|b| rows.map(|row| (row[b] + times * numbers[b][0]) as f32))
    }
    fn octet(self, from: [f32; 8]) -> [f32; 8] {
        from
    }
    fn put_octet(self, a: [f32; 8], to: &mut [f32; 8]) {
        *to = a;
    }
    fn octet_halves(self, bits: [u16; 8]) -> [f32; 8] {
        bits.map(|bits| self.half(bits))
    }
    fn octet_half_pairs(self, pairs: [u32; 4]) -> [f32; 8] {
        from_fn(|i| self.half((pairs[i % 4] >> (i / 4 * 16)) as u16))
    }
    fn pair_halves<B: bytemuck::Pod>(self, rows: [&[B; 2]; 4], at: usize) -> [f32; 8] {
        from_fn(|i| {
            let bytes: &[u8] = bytemuck::bytes_of(&rows[i % 4][i / 4]);
            self.half(u16::from_ne_bytes([bytes[at], bytes[at + 1]]))
        })
    }
    fn octet_mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        from_fn(|i| a[i] * b[i])
    }
    fn octet_quads(self, a: [f32; 8]) -> [[f32; 4]; 2] {
        [from_fn(|i| a[i]), from_fn(|i| a[4 + i])]
    }

    fn half(self, bits: u16) -> f32 {
        f16::from_bits(bits).to_f32()
    }
    fn quad(self, from: [f32; 4]) -> [f32; 4] {
        from
    }
    fn quad_array(self, a: [f32; 4]) -> [f32; 4] {
        a
    }
    fn quad_neg(self, a: [f32; 4]) -> [f32; 4] {
        a.map(|a| -a)
    }
    fn quad_mul(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        from_fn(|i| a[i] * b[i])
    }
    fn quad_fma(self, a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    const TILE_PANELS: usize = 1;
    const BIASED: bool = false;
    fn together(self, _: bool, _: u8) -> usize {
        8
    }
    fn rows(self, value: i32) -> [i32; 16] {
        [value; 16]
    }
    fn dots(self) -> [i32; 16] {
        [0; 16]
    }
    fn add_dots(self, dots: [i32; 16], codes: &Codes4, input: [i8; 4]) -> [i32; 16] {
        from_fn(|r| {
            let four = &codes[r / 8][r % 8 * 4..][..4];
            dots[r]
                + four
                    .iter()
                    .zip(input)
                    .map(|(&code, x)| i32::from(code) * i32::from(x))
                    .sum::<i32>()
        })
    }
    fn add_dots_signed(self, dots: [i32; 16], codes: &Codes4, input: [i8; 4]) -> [i32; 16] {
        from_fn(|r| {
            let four = &codes[r / 8][r % 8 * 4..][..4];
            dots[r]
                + four
                    .iter()
                    .zip(input)
                    .map(|(&code, x)| i32::from(code as i8) * i32::from(x))
                    .sum::<i32>()
        })
    }
    fn weigh(self, sums: [i32; 16], dots: [i32; 16], scales: &Pairs, refine: i32) -> [i32; 16] {
        from_fn(|r| {
            let scale = i32::from(scales[r / 8][r % 8 * 2]);
            sums[r].wrapping_add(dots[r] * scale * refine)
        })
    }
    fn gather(self, sums: [i32; 16], dots: [i32; 16]) -> [i32; 16] {
        from_fn(|r| sums[r] + dots[r])
    }
    fn add_pairs(self, sums: [i32; 16], pairs: &Pairs, input: [i16; 2]) -> [i32; 16] {
        from_fn(|r| {
            let [a, b] =
                [0, 1].map(|i| i32::from(pairs[r / 8][r % 8 * 2 + i]) * i32::from(input[i]));
            sums[r].wrapping_add(a).wrapping_add(b)
        })
    }
    fn rows_to_wide(self, sums: [i32; 16]) -> [f32; 16] {
        sums.map(|sum| sum as f32)
    }

    fn wide(self, from: &[f32; 16]) -> [f32; 16] {
        *from
    }
    fn splat_wide(self, value: f32) -> [f32; 16] {
        [value; 16]
    }
    fn wide_array(self, a: [f32; 16]) -> [f32; 16] {
        a
    }
    fn put(self, a: [f32; 16], to: &mut [f32; 16]) {
        *to = a;
    }
    fn add(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        from_fn(|i| a[i] + b[i])
    }
    fn mul(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        from_fn(|i| a[i] * b[i])
    }
    fn div(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        from_fn(|i| a[i] / b[i])
    }
    fn fma(self, a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
        from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    fn max(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    fn min(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    fn abs(self, a: [f32; 16]) -> [f32; 16] {
        a.map(f32::abs)
    }
    fn max_bits(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        from_fn(|i| f32::from_bits(a[i].to_bits().max(b[i].to_bits())))
    }
    fn round(self, a: [f32; 16]) -> [f32; 16] {
        a.map(f32::round_ties_even)
    }
    fn pow2(self, n: [f32; 16]) -> [f32; 16] {
        n.map(|n| f32::from_bits(((n as i32).wrapping_add(127) << 23) as u32))
    }
    fn sum(self, a: [f32; 16]) -> f32 {
        tree(a, |a, b| a + b)
    }
    fn maxs16(self, a: [[f32; 16]; 16]) -> [f32; 16] {
        a.map(|a| tree(a, |a, b| if a > b { a } else { b }))
    }
    fn to_i8(self, a: [f32; 16]) -> [i8; 16] {
        a.map(|x| x as i8)
    }
    fn widen_f16(self, from: &[u16; 16]) -> [f32; 16] {
        from.map(|bits| f16::from_bits(bits).to_f32())
    }
    fn to_f16(self, a: [f32; 16]) -> [u16; 16] {
        a.map(|x| f16::from_f32(x).to_bits())
    }
    fn splat_half(self, bits: u16) -> [f32; 16] {
        [self.half(bits); 16]
    }
    fn widen_i8(self, from: &[i8; 16]) -> [f32; 16] {
        from.map(f32::from)
    }
    const SCORES: usize = 1;
    fn widen_bf16(self, from: &[u16; 16]) -> [f32; 16] {
        from.map(|bits| bf16::from_bits(bits).to_f32())
    }
}

/// Of the first eight, each twice.
#[inline(always)]
fn each_twice(scales: [i16; 16]) -> [i16; 16] {
    from_fn(|i| scales[i / 2])
}

/// Adds the products of the `i`-th 32 values, the two halves by their own scales.
#[inline(always)]
fn scaled(sums: i32, products: [i32; 32], scales: [i16; 16], i: usize) -> i32 {
    let (low, high) = products.split_at(16);
    let low = low.iter().sum::<i32>() * i32::from(scales[2 * i]);
    let high = high.iter().sum::<i32>() * i32::from(scales[2 * i + 1]);
    sums.wrapping_add(low).wrapping_add(high)
}
