//! Loads, stores and small pieces of work in registers that the verbs of the ARM levels are made of, among them instructions that
//! stable Rust has no intrinsics for, or of which the compiler would make two.

#![allow(unsafe_code, reason = "the intrinsics of the levels")]

use crate::input::TILE_TOKENS;
use crate::isa::Ahead;
use std::arch::aarch64::*;
use std::arch::asm;

/// Loads 16 bytes.
#[inline(always)]
pub(in crate::isa) fn load(from: &[u8; 16]) -> uint8x16_t {
    // SAFETY: `from` is 16 readable bytes; the load needs no alignment; callers hold the token.
    unsafe { vld1q_u8(from.as_ptr()) }
}

/// Loads 32 bytes.
#[inline(always)]
pub(in crate::isa) fn load2<T: bytemuck::Pod>(from: &[T]) -> [uint8x16_t; 2] {
    let halves: &[[u8; 16]; 2] = bytemuck::cast_slice(from).try_into().expect("32 bytes");
    [load(&halves[0]), load(&halves[1])]
}

/// Loads 64 bytes.
#[inline(always)]
pub(in crate::isa) fn load4<T: bytemuck::Pod>(from: &[T]) -> [uint8x16_t; 4] {
    let quarters: &[[u8; 16]; 4] = bytemuck::cast_slice(from).try_into().expect("64 bytes");
    [
        load(&quarters[0]),
        load(&quarters[1]),
        load(&quarters[2]),
        load(&quarters[3]),
    ]
}

/// The inputs of four tokens, from the `first` of a tile on.
#[inline(always)]
pub(in crate::isa) fn four_tokens(tile: &[[i8; 4]; TILE_TOKENS], first: usize) -> uint8x16_t {
    let four: &[[i8; 4]; 4] = tile[first..first + 4].try_into().expect("four tokens");
    load(bytemuck::cast_ref(four))
}

/// Stores 16 bytes.
#[inline(always)]
pub(in crate::isa) fn store(a: uint8x16_t, to: &mut [u8; 16]) {
    // SAFETY: `to` is 16 writable bytes; the store needs no alignment; callers hold the token.
    unsafe { vst1q_u8(to.as_mut_ptr(), a) }
}

/// Loads four floats.
#[inline(always)]
pub(in crate::isa) fn load_f32(from: &[f32; 4]) -> float32x4_t {
    // SAFETY: `from` is four readable floats; the load needs no alignment; callers hold the token.
    unsafe { vld1q_f32(from.as_ptr()) }
}

/// Stores four floats.
#[inline(always)]
pub(in crate::isa) fn store_f32(a: float32x4_t, to: &mut [f32; 4]) {
    // SAFETY: `to` is four writable floats; the store needs no alignment; callers hold the token.
    unsafe { vst1q_f32(to.as_mut_ptr(), a) }
}

/// Loads eight half-precision numbers as floats.
#[inline(always)]
pub(in crate::isa) fn load_f16(from: &[u16; 8]) -> [float32x4_t; 2] {
    let halves: &[[u8; 8]; 2] = bytemuck::cast_ref(from);
    // SAFETY: each half is eight readable bytes; the loads need no alignment; callers hold the token.
    unsafe {
        let load = |half: &[u8; 8]| vreinterpret_f16_u8(vld1_u8(half.as_ptr()));
        [
            vcvt_f32_f16(load(&halves[0])),
            vcvt_f32_f16(load(&halves[1])),
        ]
    }
}

/// Takes the next block of each of four rows, and the half-precision numbers with which they begin. That load moves each place on, so
/// that no other instruction does.
#[inline(always)]
pub(in crate::isa) fn next_halves<'a, B: bytemuck::Pod>(
    rows: &mut Ahead<'_, 'a, B>,
) -> ([&'a B; 4], uint16x4_t) {
    const { assert!(size_of::<B>() >= 2 && size_of::<B>() < 256) };
    assert!(rows.left > 0, "a block of each row");
    rows.left -= 1;
    let [a, b, c, d] = &mut *rows.at;
    let bits: uint16x4_t;
    // SAFETY: each row has one more block of at least two bytes at its place, which moves to its end; callers hold the token.
    unsafe {
        asm!(
            "ldr {bits:h}, [{a}], {size}",
            "ld1 {{{bits:v}.h}}[1], [{b}], {step}",
            "ld1 {{{bits:v}.h}}[2], [{c}], {step}",
            "ld1 {{{bits:v}.h}}[3], [{d}], {step}",
            bits = out(vreg) bits,
            a = inout(reg) *a, b = inout(reg) *b, c = inout(reg) *c, d = inout(reg) *d,
            step = in(reg) size_of::<B>(), size = const size_of::<B>(),
            options(pure, readonly, nostack, preserves_flags),
        );
        ([&*a.sub(1), &*b.sub(1), &*c.sub(1), &*d.sub(1)], bits)
    }
}

/// Takes the next block of each of four rows; of the first four words of each, the first ones, the second ones and so on. These loads
/// move each place on, so that no other instruction does.
#[inline(always)]
pub(in crate::isa) fn next_words<'a, B: bytemuck::Pod>(
    rows: &mut Ahead<'_, 'a, B>,
) -> ([&'a B; 4], [uint8x16_t; 4]) {
    const { assert!(size_of::<B>() >= 16) };
    assert!(rows.left > 0, "a block of each row");
    rows.left -= 1;
    let [a, b, c, d] = &mut *rows.at;
    let (first, second, third, fourth);
    // SAFETY: each row has one more block of at least 16 bytes at its place, which moves to its end; callers hold the token.
    unsafe {
        asm!(
            "ld4 {{v0.s, v1.s, v2.s, v3.s}}[0], [{a}], {step}",
            "ld4 {{v0.s, v1.s, v2.s, v3.s}}[1], [{b}], {step}",
            "ld4 {{v0.s, v1.s, v2.s, v3.s}}[2], [{c}], {step}",
            "ld4 {{v0.s, v1.s, v2.s, v3.s}}[3], [{d}], {step}",
            out("v0") first, out("v1") second, out("v2") third, out("v3") fourth,
            a = inout(reg) *a, b = inout(reg) *b, c = inout(reg) *c, d = inout(reg) *d,
            step = in(reg) size_of::<B>(),
            options(pure, readonly, nostack, preserves_flags),
        );
        (
            [&*a.sub(1), &*b.sub(1), &*c.sub(1), &*d.sub(1)],
            [first, second, third, fourth],
        )
    }
}

/// `bits` as bytes: byte `j` is 0xFF where bit `j` is set, else 0.
#[inline(always)]
pub(in crate::isa) fn spread_bits(bits: u32) -> [uint8x16_t; 2] {
    // Byte j gets byte j / 8 of `bits`, then is tested for bit j % 8.
    const PICK: [[u8; 16]; 2] = [
        [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1],
        [2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3],
    ];
    v!({
        let bits = vreinterpretq_u8_u32(vsetq_lane_u32::<0>(bits, vdupq_n_u32(0)));
        let bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
        [
            tested(vqtbl1q_u8(bits, load(&PICK[0])), bit),
            tested(vqtbl1q_u8(bits, load(&PICK[1])), bit),
        ]
    })
}

/// Whether bytes share a bit: 0xFF, else 0.
#[inline(always)]
fn tested(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
    let out;
    // SAFETY: registers only. One instruction, of which the compiler would make two.
    unsafe {
        asm!("cmtst {0:v}.16b, {1:v}.16b, {2:v}.16b", out(vreg) out, in(vreg) a, in(vreg) b,
             options(pure, nomem, nostack, preserves_flags));
    }
    out
}

/// Each byte of `a` with all but its lowest four bits replaced by those of `b`.
#[inline(always)]
pub(in crate::isa) fn insert_high(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
    let mut out = a;
    // SAFETY: registers only. One instruction, of which the compiler would make two.
    unsafe {
        asm!("sli {0:v}.16b, {1:v}.16b, #4", inout(vreg) out, in(vreg) b,
             options(pure, nomem, nostack, preserves_flags));
    }
    out
}

/// Each byte of `a` with its lowest four bits replaced by the highest four of `b`.
#[inline(always)]
pub(in crate::isa) fn insert_low(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
    let mut out = a;
    // SAFETY: as in `insert_high`.
    unsafe {
        asm!("sri {0:v}.16b, {1:v}.16b, #4", inout(vreg) out, in(vreg) b,
             options(pure, nomem, nostack, preserves_flags));
    }
    out
}

/// Asks the cache for the line `ahead` bytes after `at`.
#[inline(always)]
pub(in crate::isa) fn prefetch<T>(at: &T, ahead: usize) {
    // SAFETY: a prefetch never faults, whatever the address, and changes no memory.
    unsafe {
        asm!("prfm pldl1keep, [{at}, {ahead}]", at = in(reg) at, ahead = in(reg) ahead,
             options(nostack, preserves_flags, readonly));
    }
}

/// Each byte shifted left by `n`, to the right where negative. `n` is known when this is compiled.
#[inline(always)]
pub(in crate::isa) fn shift(a: uint8x16_t, n: i32) -> uint8x16_t {
    v!(match n {
        -7 => vshrq_n_u8::<7>(a),
        -6 => vshrq_n_u8::<6>(a),
        -5 => vshrq_n_u8::<5>(a),
        -4 => vshrq_n_u8::<4>(a),
        -3 => vshrq_n_u8::<3>(a),
        -2 => vshrq_n_u8::<2>(a),
        -1 => vshrq_n_u8::<1>(a),
        0 => a,
        1 => vshlq_n_u8::<1>(a),
        2 => vshlq_n_u8::<2>(a),
        3 => vshlq_n_u8::<3>(a),
        4 => vshlq_n_u8::<4>(a),
        5 => vshlq_n_u8::<5>(a),
        6 => vshlq_n_u8::<6>(a),
        7 => vshlq_n_u8::<7>(a),
        _ => unreachable!("a byte has eight bits"),
    })
}

/// The same, which the compiler takes for something new: it would rather widen each lane of a vector of its own than use the lanes of
/// a wider one.
#[inline(always)]
pub(in crate::isa) fn opaque(a: int32x4_t) -> int32x4_t {
    let mut out = a;
    // SAFETY: no instruction at all.
    unsafe {
        asm!("/* {0:v} */", inout(vreg) out, options(pure, nomem, nostack, preserves_flags));
    }
    out
}

/// The same, which is there before what is loaded later: the compiler would rather keep all that it is made from, and begin the
/// rest, until there are no registers left.
#[inline(always)]
pub(in crate::isa) fn settled(a: int32x4_t) -> int32x4_t {
    let mut out = a;
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {0:v} */", inout(vreg) out, options(nomem, nostack, preserves_flags)) };
    out
}

/// Signed bytes.
#[inline(always)]
pub(in crate::isa) fn signed(a: uint8x16_t) -> int8x16_t {
    v!(vreinterpretq_s8_u8(a))
}

/// Four rows of four 32-bit lanes, transposed.
#[inline(always)]
pub(in crate::isa) fn transpose4(r: [uint32x4_t; 4]) -> [uint32x4_t; 4] {
    v!({
        let (a, b) = (vtrn1q_u32(r[0], r[1]), vtrn2q_u32(r[0], r[1]));
        let (c, d) = (vtrn1q_u32(r[2], r[3]), vtrn2q_u32(r[2], r[3]));
        let low = |a, c| {
            vreinterpretq_u32_u64(vtrn1q_u64(
                vreinterpretq_u64_u32(a),
                vreinterpretq_u64_u32(c),
            ))
        };
        let high = |a, c| {
            vreinterpretq_u32_u64(vtrn2q_u64(
                vreinterpretq_u64_u32(a),
                vreinterpretq_u64_u32(c),
            ))
        };
        [low(a, c), low(b, d), high(a, c), high(b, d)]
    })
}

/// Eight rows of eight 32-bit lanes, transposed.
#[inline(always)]
pub(in crate::isa) fn transpose8(r: [[uint8x16_t; 2]; 8]) -> [[uint8x16_t; 2]; 8] {
    let mut out = r;
    for (half, rows) in [0, 4].into_iter().enumerate() {
        for part in 0..2 {
            let mut four = [v!(vdupq_n_u32(0)); 4];
            for i in 0..4 {
                four[i] = v!(vreinterpretq_u32_u8(r[rows + i][part]));
            }
            for (i, lanes) in transpose4(four).into_iter().enumerate() {
                out[4 * part + i][half] = v!(vreinterpretq_u8_u32(lanes));
            }
        }
    }
    out
}

/// Eight rows of eight 4-byte groups as bytes: those of all rows for each group.
#[inline(always)]
pub(in crate::isa) fn lanes(rows: [[uint8x16_t; 2]; 8]) -> [[u8; 32]; 8] {
    let mut out = [[[0; 16]; 2]; 8];
    for (lanes, out) in transpose8(rows).into_iter().zip(&mut out) {
        store(lanes[0], &mut out[0]);
        store(lanes[1], &mut out[1]);
    }
    bytemuck::cast(out)
}

/// The totals of four vectors.
#[inline(always)]
pub(in crate::isa) fn totals4(r: [int32x4_t; 4]) -> int32x4_t {
    v!(vpaddq_s32(vpaddq_s32(r[0], r[1]), vpaddq_s32(r[2], r[3])))
}

/// Folds 16 lanes by the tree as far as four: lanes `j`, `j + 8`, then `j`, `j + 4`.
#[inline(always)]
pub(in crate::isa) fn fold4(
    a: [float32x4_t; 4],
    f: impl Fn(float32x4_t, float32x4_t) -> float32x4_t,
) -> float32x4_t {
    f(f(a[0], a[2]), f(a[1], a[3]))
}

/// Four vectors by the tree, lane = vector.
#[inline(always)]
pub(in crate::isa) fn folds4(
    a: [[float32x4_t; 4]; 4],
    f: impl Fn(float32x4_t, float32x4_t) -> float32x4_t + Copy,
) -> float32x4_t {
    let two = |a, b| {
        let (a, b) = (fold4(a, f), fold4(b, f));
        v!({
            let (a, b) = (vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b));
            f(
                vreinterpretq_f32_f64(vtrn1q_f64(a, b)),
                vreinterpretq_f32_f64(vtrn2q_f64(a, b)),
            )
        })
    };
    let (low, high) = (two(a[0], a[1]), two(a[2], a[3]));
    v!(f(vuzp1q_f32(low, high), vuzp2q_f32(low, high)))
}

/// `a` where `a > b`, else `b`.
#[inline(always)]
pub(in crate::isa) fn larger(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    v!(vbslq_f32(vcgtq_f32(a, b), a, b))
}

/// Eight numbers of each of four rows, as in `Isa::Eights`, times those of `by`.
#[inline(always)]
pub(in crate::isa) fn eights_times(rows: [int16x8_t; 4], by: &[i16; 8]) -> [int16x8_t; 4] {
    v!({
        let by = vreinterpretq_s64_u8(load(bytemuck::cast_ref(by)));
        let low = vreinterpretq_s16_s64(vdupq_laneq_s64::<0>(by));
        let high = vreinterpretq_s16_s64(vdupq_laneq_s64::<1>(by));
        [
            vmulq_s16(rows[0], low),
            vmulq_s16(rows[1], low),
            vmulq_s16(rows[2], high),
            vmulq_s16(rows[3], high),
        ]
    })
}

/// Scales of four rows, each of which is there twice as a short, as integers of 32 bits.
#[inline(always)]
pub(in crate::isa) fn scales(pairs: uint8x16_t) -> int32x4_t {
    v!(vshrq_n_s32::<16>(vreinterpretq_s32_u8(pairs)))
}
