//! A few tokens: rows of blocks against one to four inputs. This is decoding, and it lives on memory bandwidth.
//!
//! The walk of one ticket (a range of rows), four rows and all tokens at a time:
//!
//! ```text
//! for each tile of four rows
//!     for each block b
//!         per row:   header -> scales;  codes of 32 values at a time
//!         per token: sums[row] += codes * input * scale          exact, 32-bit lanes
//!         per token: acc = fma(d_w * d_x, total(sums), acc)      one rounding, four rows in four lanes
//! ```
//!
//! The four rows of a tile do not lie side by side. They come from four far-apart parts of the range, each of which is
//! thus read front to back: one core can only keep enough loads in flight when it follows several streams at once, and the
//! prefetcher follows each. [`stream_rows`] picks a distance between the streams that is not near a multiple of 4096
//! bytes, where they would compete for the same cache sets.
//!
//! Loops over rows and tokens are written out, not passed as closures to library functions: where the compiler leaves such
//! a function out of line, it has none of the level's instructions, and the kernel is a hundred times slower.

use crate::format::{Scales, Small, Super};
use crate::input::{SmallPair, SuperInput};
use crate::isa::{Ahead, Fronts, Isa, Task};
use crate::panel::offset;
use crate::table::Work;
use std::array::from_fn;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;

/// Rows of a tile: the streams read at once.
pub(crate) const STREAMS: usize = 4;
/// The most tokens that this walk takes; more of them are worth a panel.
pub const FEW: usize = 4;
/// How far ahead each stream is asked for, in bytes.
pub(crate) const AHEAD: usize = 1536;
/// A line of the cache.
pub(crate) const LINE: usize = 64;

/// How many rows each stream takes of `rows`: a fourth, or some more, so that the distance in bytes between the streams is well
/// away from a multiple of 4096.
pub(crate) fn stream_rows(rows: usize, row_bytes: usize) -> usize {
    let aliasing = |rows: usize| {
        let off = rows * row_bytes % 4096;
        off.min(4096 - off) < 512
    };
    let least = rows.div_ceil(STREAMS);
    let most = least + least / 16;
    (least..=most)
        .find(|&rows| !aliasing(rows))
        .unwrap_or(least)
}

pub(crate) struct SuperFew<'a, 'o, F: Super>(pub(crate) Work<'a, 'o>, pub(crate) PhantomData<F>);

pub(crate) struct SmallFew<'a, 'o, F: Small>(pub(crate) Work<'a, 'o>, pub(crate) PhantomData<F>);

/// The rows of tile `i`: one from each of [`STREAMS`] parts of `stream` rows. Beyond the end of the last part, the last row
/// again.
#[inline(always)]
pub(crate) fn tile_rows(rows: &Range<usize>, stream: usize, i: usize) -> [usize; STREAMS] {
    let mut tile = [0; STREAMS];
    for (s, row) in tile.iter_mut().enumerate() {
        *row = (rows.start + s * stream + i).min(rows.end - 1);
    }
    tile
}

/// Asks for what a stream needs [`AHEAD`] bytes further on: as many lines as `block`, or a pair of blocks, is long. The part of a line is
/// left to the CPU's own prefetcher where an instruction is dear.
#[inline(always)]
fn prefetch<I: Isa, T>(isa: I, block: &T) {
    let lines = if I::SHARED_INPUTS {
        (size_of::<T>() / LINE).max(1)
    } else {
        size_of::<T>().div_ceil(LINE)
    };
    for line in 0..lines {
        isa.prefetch(block, AHEAD + line * LINE);
    }
}

/// Asks for what the streams of a ticket begin with, up to where the requests of the walk take over.
#[inline(always)]
pub(crate) fn begin<I: Isa, B: bytemuck::Pod>(
    isa: I,
    weights: &[B],
    per_row: usize,
    rows: [usize; STREAMS],
) {
    for ahead in (0..AHEAD).step_by(LINE) {
        for row in rows {
            if let Some(first) = weights.get(row * per_row) {
                isa.prefetch(first, ahead);
            }
        }
    }
}

/// What one row's block gives for `T` tokens.
struct Part<I: Isa, const T: usize> {
    sums: [I::Sums; T],
    mins: [I::Sums; T],
    d: f32,
    m: f32,
}

/// Whether rows enter with eight scales each, two rows in a vector. The walk with sixteen takes what has an offset.
#[inline(always)]
fn eights<F: Super>() -> bool {
    F::WIDE && F::OFFSET == 0
}

/// The products of codes `64 i ..` of a row's super-block with `T` tokens, times `refined` scales.
#[inline(always)]
fn super_part<I: Isa, F: Super, const T: usize>(
    isa: I,
    block: &F::Block,
    i: usize,
    input: &[&SuperInput; T],
    mut sums: [I::Sums2; T],
    refined: [I::Shorts; T],
) -> [I::Sums2; T] {
    if F::HALVES {
        let codes = F::halves2(isa, block, i);
        for t in 0..T {
            sums[t] = isa.halves_mac2(sums[t], codes, &input[t].halves[i], refined[t], i);
        }
        return sums;
    }
    let codes = F::codes2(isa, block, i);
    for t in 0..T {
        let x = &input[t].qs.as_chunks::<64>().0[i];
        sums[t] = match (eights::<F>(), F::SIGNED) {
            (false, false) => isa.mac2(sums[t], codes, x, refined[t], i),
            (false, true) => isa.mac2_signed(sums[t], codes, x, refined[t], i),
            (true, false) => isa.wide_mac2(sums[t], codes, x, refined[t], i),
            (true, true) => isa.wide_mac2_signed(sums[t], codes, x, refined[t], i),
        };
    }
    sums
}

/// The same for codes `128 half ..` of a format with sixteen scales.
#[inline(always)]
fn super_half<I: Isa, F: Super, const T: usize>(
    isa: I,
    block: &F::Block,
    half: usize,
    input: &[&SuperInput; T],
    mut sums: [I::Sums2; T],
    refined: [I::Shorts; T],
) -> [I::Sums2; T] {
    let codes = F::codes4(isa, block, half);
    for t in 0..T {
        let x = input[t].qs.as_chunks::<64>().0;
        for i in 0..2 {
            let (at, x) = (2 * half + i, &x[2 * half + i]);
            sums[t] = if F::SIGNED {
                isa.mac2_signed(sums[t], codes[i], x, refined[t], at)
            } else {
                isa.mac2(sums[t], codes[i], x, refined[t], at)
            };
        }
    }
    sums
}

/// A row's super-block by `T` tokens.
#[inline(always)]
fn super_row<I: Isa, F: Super, const T: usize>(
    isa: I,
    block: &F::Block,
    input: &[&SuperInput; T],
    (mut sums, refined): Starts<I, T>,
) -> [I::Sums2; T] {
    prefetch(isa, block);
    for i in 0..4 {
        sums = super_part::<I, F, T>(isa, block, i, input, sums, refined);
    }
    sums
}

/// Four rows' super-blocks with eight scales each by `T` tokens, taking turns.
#[inline(always)]
fn eights_turns<I: Isa, F: Super, const T: usize>(
    isa: I,
    blocks: [&F::Block; STREAMS],
    input: &[&SuperInput; T],
    [(s0, f0), (s1, f1), (s2, f2), (s3, f3)]: [Starts<I, T>; STREAMS],
) -> [[I::Sums2; T]; STREAMS] {
    let mut sums = [s0, s1, s2, s3];
    // Not as loops: which scales meet a part must be known when this is compiled, and the compiler does not unroll so much.
    macro_rules! turn {
        ($i:literal) => {
            sums[0] = super_part::<I, F, T>(isa, blocks[0], $i, input, sums[0], f0);
            sums[1] = super_part::<I, F, T>(isa, blocks[1], $i, input, sums[1], f1);
            sums[2] = super_part::<I, F, T>(isa, blocks[2], $i, input, sums[2], f2);
            sums[3] = super_part::<I, F, T>(isa, blocks[3], $i, input, sums[3], f3);
            for row in &mut sums {
                settle::<I, T>(isa, row);
            }
        };
    }
    // More than two tokens fill the registers with one row.
    macro_rules! row {
        ($r:literal, $f:ident) => {
            sums[$r] = super_part::<I, F, T>(isa, blocks[$r], 0, input, sums[$r], $f);
            sums[$r] = super_part::<I, F, T>(isa, blocks[$r], 1, input, sums[$r], $f);
            sums[$r] = super_part::<I, F, T>(isa, blocks[$r], 2, input, sums[$r], $f);
            sums[$r] = super_part::<I, F, T>(isa, blocks[$r], 3, input, sums[$r], $f);
            settle::<I, T>(isa, &mut sums[$r]);
        };
    }
    if T > 2 {
        row!(0, f0);
        row!(1, f1);
        row!(2, f2);
        row!(3, f3);
    } else {
        turn!(0);
        turn!(1);
        turn!(2);
        turn!(3);
    }
    sums
}

/// Two rows' super-blocks with sixteen scales each. Two parts of these formats share their bytes.
#[inline(always)]
fn narrow_turns<I: Isa, F: Super, const T: usize>(
    isa: I,
    [a, b]: [&F::Block; 2],
    input: &[&SuperInput; T],
    [(mut s0, f0), (mut s1, f1)]: [Starts<I, T>; 2],
) -> [[I::Sums2; T]; 2] {
    macro_rules! turn {
        ($half:literal) => {
            s0 = super_half::<I, F, T>(isa, a, $half, input, s0, f0);
            s1 = super_half::<I, F, T>(isa, b, $half, input, s1, f1);
            settle::<I, T>(isa, &mut s0);
            settle::<I, T>(isa, &mut s1);
        };
    }
    turn!(0);
    turn!(1);
    [s0, s1]
}

/// Ends a turn of a row.
#[inline(always)]
fn settle<I: Isa, const T: usize>(isa: I, sums: &mut [I::Sums2; T]) {
    for t in 0..T {
        sums[t] = isa.settled2(sums[t]);
    }
}

/// Where the sums of a row begin, and what its scales become, for `T` tokens each.
type Starts<I, const T: usize> = ([<I as Isa>::Sums2; T], [<I as Isa>::Shorts; T]);

/// Of a row's block with sixteen scales; and the sums of its minimums, or of its scales where those are still to be taken times the
/// offset.
#[inline(always)]
fn narrow_start<I: Isa, F: Super, const T: usize>(
    isa: I,
    block: &F::Block,
    input: &[&SuperInput; T],
) -> (Starts<I, T>, [I::Sums; T]) {
    const { assert!(!F::MINS || F::OFFSET == 0, "minimums or an offset") };
    let Scales { scales, mins } = F::scales(isa, block);
    let mut refined = [scales; T];
    let mut sums = [isa.spread2(isa.sums(0)); T];
    let mut min_sums = [isa.sums(0); T];
    for t in 0..T {
        let x = isa.shorts(&input[t].sums);
        refined[t] = isa.stepped(isa.mul_shorts(scales, isa.shorts(&input[t].refine)));
        if F::OFFSET != 0 && I::SHARED_INPUTS {
            min_sums[t] = isa.settled(isa.mac_shorts(isa.sums(0), scales, x));
        } else if F::OFFSET != 0 {
            let offsets = isa.mul_shorts(scales, isa.splat_short(-F::OFFSET));
            sums[t] = isa.spread2(isa.mac_shorts(isa.sums(0), offsets, x));
        }
        if F::MINS {
            min_sums[t] = isa.settled(isa.mac_shorts(isa.sums(0), mins, x));
        }
    }
    ((sums, refined), min_sums)
}

/// Of the blocks of two rows with eight scales each; and their minimums.
#[inline(always)]
fn wide_starts<I: Isa, F: Super, const T: usize>(
    isa: I,
    blocks: [&F::Block; 2],
    input: &[&SuperInput; T],
) -> ([Starts<I, T>; 2], I::Shorts) {
    let Scales { scales, mins } = F::wide_scales(isa, blocks);
    let mut starts = [([isa.spread2(isa.sums(0)); T], [scales; T]); 2];
    for t in 0..T {
        if F::HALVES && I::BIASED {
            // 128 too much in each code; half of it, because the eight sums are there twice.
            let offsets = isa.halves_twice(isa.mul_shorts(scales, isa.splat_short(-64)));
            let sums = isa.eight_twice(&input[t].wide_sums);
            for r in 0..2 {
                starts[r].0[t] = isa.spread2(isa.mac_shorts(isa.sums(0), offsets[r], sums));
            }
        }
        let both = isa.mul_shorts(scales, isa.eight_twice(&input[t].wide_refine));
        let [first, second] = isa.halves_twice(both);
        (starts[0].1[t], starts[1].1[t]) = (isa.wide_stepped(first), isa.wide_stepped(second));
    }
    (starts, mins)
}

/// The totals of the minimums of four rows with eight scales.
#[inline(always)]
fn eights_totals<I: Isa, F: Super, const T: usize>(
    isa: I,
    rows: [I::Shorts; 2],
    x: &[&SuperInput; T],
    mut mins: [I::Quad; T],
) -> [I::Quad; T] {
    if F::MINS {
        for t in 0..T {
            mins[t] = isa.dot_eights(rows, isa.eight_twice(&x[t].wide_sums));
        }
    }
    mins
}

/// The products of four rows' blocks with `T` tokens; and the totals of their minimums.
#[inline(always)]
fn super_sums<I: Isa, F: Super, const T: usize>(
    isa: I,
    blocks: [&F::Block; STREAMS],
    x: &[&SuperInput; T],
    mut mins: [I::Quad; T],
) -> ([[I::Sums2; T]; STREAMS], [I::Quad; T]) {
    let [b0, b1, b2, b3] = blocks;
    if eights::<F>() {
        let ([p0, p1], m01) = wide_starts::<I, F, T>(isa, [b0, b1], x);
        // Two rows at a time, which are all that sixteen registers hold.
        let s0 = super_row::<I, F, T>(isa, b0, x, p0);
        let s1 = super_row::<I, F, T>(isa, b1, x, p1);
        let ([p2, p3], m23) = wide_starts::<I, F, T>(isa, [b2, b3], x);
        let s2 = super_row::<I, F, T>(isa, b2, x, p2);
        let s3 = super_row::<I, F, T>(isa, b3, x, p3);
        mins = eights_totals::<I, F, T>(isa, [m01, m23], x, mins);
        return ([s0, s1, s2, s3], mins);
    }
    let (p0, m0) = narrow_start::<I, F, T>(isa, b0, x);
    let s0 = super_row::<I, F, T>(isa, b0, x, p0);
    let (p1, m1) = narrow_start::<I, F, T>(isa, b1, x);
    let s1 = super_row::<I, F, T>(isa, b1, x, p1);
    let (p2, m2) = narrow_start::<I, F, T>(isa, b2, x);
    let s2 = super_row::<I, F, T>(isa, b2, x, p2);
    let (p3, m3) = narrow_start::<I, F, T>(isa, b3, x);
    let s3 = super_row::<I, F, T>(isa, b3, x, p3);
    let (sums, min_sums) = ([s0, s1, s2, s3], [m0, m1, m2, m3]);
    if F::MINS {
        for t in 0..T {
            let of = [
                min_sums[0][t],
                min_sums[1][t],
                min_sums[2][t],
                min_sums[3][t],
            ];
            mins[t] = isa.totals(of);
        }
    }
    (sums, mins)
}

/// The float scales of a block of each of four rows, and the minimums' with the other sign.
#[inline(always)]
fn float_scales<I: Isa, F: Super>(isa: I, blocks: [&F::Block; STREAMS]) -> [I::Quad; 2] {
    let mut pairs = [0; STREAMS];
    for r in 0..STREAMS {
        pairs[r] = u32::from(F::d(blocks[r])) | u32::from(F::dmin(blocks[r])) << 16;
    }
    let [mut d, m] = isa.octet_quads(isa.octet_half_pairs(pairs));
    if F::FACTOR != 1.0 {
        d = isa.quad_mul(d, isa.quad([F::FACTOR; STREAMS]));
    }
    [d, isa.quad_neg(m)]
}

/// The last of an odd number of blocks, the first of its pair of inputs.
#[inline(always)]
fn small_part<I: Isa, F: Small, const T: usize>(
    isa: I,
    block: &F::Block,
    input: &[&SmallPair; T],
) -> Part<I, T> {
    let (d, m) = F::header(isa, block);
    let codes = F::codes(isa, block, 0);
    let mut sums = [isa.sums(0); T];
    for t in 0..T {
        let x = input[t];
        let start = isa.sums(if F::OFFSET != 0 {
            -i32::from(F::OFFSET) * x.sum[0][0]
        } else {
            0
        });
        sums[t] = if F::SIGNED {
            isa.dot_signed(start, codes, &x.qs[0])
        } else {
            isa.dot(start, codes, &x.qs[0])
        };
    }
    let mut mins = [isa.sums(0); T];
    if F::MIN {
        for t in 0..T {
            mins[t] = isa.sums(input[t].sum[0][0]);
        }
    }
    Part { sums, mins, d, m }
}

/// Adds what a block of each of four rows gave to the sums of `T` tokens.
#[inline(always)]
fn add_parts<I: Isa, const T: usize>(
    isa: I,
    [p0, p1, p2, p3]: [Part<I, T>; STREAMS],
    mins: bool,
    dx: [f32; T],
    acc: &mut [I::Quad; T],
) {
    let d = isa.quad([p0.d, p1.d, p2.d, p3.d]);
    let m = isa.quad([p0.m, p1.m, p2.m, p3.m]);
    for t in 0..T {
        let dx = isa.quad([dx[t]; STREAMS]);
        let total = isa.totals([p0.sums[t], p1.sums[t], p2.sums[t], p3.sums[t]]);
        acc[t] = isa.quad_fma(isa.quad_mul(d, dx), total, acc[t]);
        if mins {
            let total = isa.totals([p0.mins[t], p1.mins[t], p2.mins[t], p3.mins[t]]);
            acc[t] = isa.quad_fma(isa.quad_mul(m, dx), total, acc[t]);
        }
    }
}

/// Four rows of super-blocks by `T` tokens, for levels where rows take turns.
#[inline(always)]
fn super_shared<I: Isa, F: Super, const T: usize>(
    isa: I,
    fronts: &mut Fronts<'_, F::Block>,
    blocks: usize,
    input: [&[SuperInput]; T],
) -> [[f32; STREAMS]; T] {
    let mut acc = [isa.quad([0.0; 4]); T];
    let mut x = [&input[0][0]; T];
    let zero = isa.spread2(isa.sums(0));
    for b in 0..blocks {
        for t in 0..T {
            x[t] = &input[t][b];
        }
        let mut fronts = fronts.ahead(1);
        for block in fronts.blocks() {
            prefetch(isa, block);
        }
        let (blocks, d, m, sums);
        let mut mins = [isa.quad([0.0; 4]); T];
        let mut offsets = [isa.whole([isa.sums(0); STREAMS]); T];
        if F::HEADS6 {
            let heads;
            (blocks, heads) = isa.next_heads6(&mut fronts);
            (d, m) = (heads.d, isa.quad_neg(heads.dmin));
            let mut refined = [isa.eights_refined(heads.scales, &x[0].wide_refine); T];
            for t in 0..T {
                refined[t] = isa.eights_refined(heads.scales, &x[t].wide_refine);
                mins[t] = isa.eights_totals(heads.mins, &x[t].wide_sums);
            }
            let mut starts = [([zero; T], [refined[0][0]; T]); STREAMS];
            for r in 0..STREAMS {
                for t in 0..T {
                    starts[r].1[t] = refined[t][r];
                }
            }
            sums = eights_turns::<I, F, T>(isa, blocks, &x, starts);
        } else {
            blocks = fronts.next();
            [d, m] = float_scales::<I, F>(isa, blocks);
            let [b0, b1, b2, b3] = blocks;
            if eights::<F>() {
                let ([p0, p1], m01) = wide_starts::<I, F, T>(isa, [b0, b1], &x);
                let ([p2, p3], m23) = wide_starts::<I, F, T>(isa, [b2, b3], &x);
                mins = eights_totals::<I, F, T>(isa, [m01, m23], &x, mins);
                sums = eights_turns::<I, F, T>(isa, blocks, &x, [p0, p1, p2, p3]);
            } else {
                // Two rows at a time, which are all that the registers hold.
                let (p0, m0) = narrow_start::<I, F, T>(isa, b0, &x);
                let (p1, m1) = narrow_start::<I, F, T>(isa, b1, &x);
                let [s0, s1] = narrow_turns::<I, F, T>(isa, [b0, b1], &x, [p0, p1]);
                let (p2, m2) = narrow_start::<I, F, T>(isa, b2, &x);
                let (p3, m3) = narrow_start::<I, F, T>(isa, b3, &x);
                let [s2, s3] = narrow_turns::<I, F, T>(isa, [b2, b3], &x, [p2, p3]);
                sums = [s0, s1, s2, s3];
                for t in 0..T {
                    let of = [m0[t], m1[t], m2[t], m3[t]];
                    if F::OFFSET != 0 {
                        offsets[t] = isa.whole(of);
                    } else if F::MINS {
                        mins[t] = isa.totals(of);
                    }
                }
            }
        }
        for t in 0..T {
            let dx = isa.quad([x[t].d; STREAMS]);
            let of = [sums[0][t], sums[1][t], sums[2][t], sums[3][t]];
            let total = if F::OFFSET != 0 {
                isa.whole_totals_from(of, offsets[t], -i32::from(F::OFFSET))
            } else {
                isa.whole_totals(of)
            };
            acc[t] = isa.quad_fma(isa.quad_mul(d, dx), total, acc[t]);
            if F::MINS {
                acc[t] = isa.quad_fma(isa.quad_mul(m, dx), mins[t], acc[t]);
            }
        }
    }
    arrays::<I, T>(isa, acc)
}

/// Four rows of super-blocks by `T` tokens.
#[inline(always)]
fn super_tile<I: Isa, F: Super, const T: usize>(
    isa: I,
    rows: [&[F::Block]; STREAMS],
    input: [&[SuperInput]; T],
) -> [[f32; STREAMS]; T] {
    let [r0, r1, r2, r3] = rows;
    let n = r0.len();
    let (r1, r2, r3) = (&r1[..n], &r2[..n], &r3[..n]);
    let mut acc = [isa.quad([0.0; 4]); T];
    for b in 0..n {
        let blocks = [&r0[b], &r1[b], &r2[b], &r3[b]];
        let mut x = [&input[0][b]; T];
        for t in 0..T {
            x[t] = &input[t][b];
        }
        let [d, m] = float_scales::<I, F>(isa, blocks);
        let (sums, mins) = super_sums::<I, F, T>(isa, blocks, &x, [m; T]);
        for t in 0..T {
            let dx = isa.quad([x[t].d; STREAMS]);
            let total = isa.whole_totals([sums[0][t], sums[1][t], sums[2][t], sums[3][t]]);
            acc[t] = isa.quad_fma(isa.quad_mul(d, dx), total, acc[t]);
            if F::MINS {
                acc[t] = isa.quad_fma(isa.quad_mul(m, dx), mins[t], acc[t]);
            }
        }
    }
    arrays::<I, T>(isa, acc)
}

/// Products of two blocks.
#[inline(always)]
fn pair_dot<I: Isa, F: Small>(isa: I, codes: I::Bytes2, input: I::Bytes2) -> I::PairSums {
    match (F::SIGNED, I::BIASED) {
        (true, true) => isa.pair_dot(codes, input, u8::MAX),
        (true, false) => isa.pair_dot_signed(codes, input),
        (false, _) => isa.pair_dot(codes, input, F::MAX),
    }
}

/// Four rows of small blocks by `T` tokens, a block at a time: for levels whose products add up in few lanes.
///
/// The products run on from block to block, and a block's total is that of its end less that of its beginning. Sums wrap around and
/// back, so that is exact, and no block begins with a zero.
#[inline(always)]
fn small_turns<I: Isa, F: Small, const T: usize>(
    isa: I,
    fronts: &mut Fronts<'_, F::Block>,
    blocks: usize,
    input: [&[SmallPair]; T],
) -> [[f32; STREAMS]; T] {
    let mut state = Turns {
        acc: [isa.quad([0.0; 4]); T],
        run: [[isa.sums(0); STREAMS]; T],
        before: [isa.whole([isa.sums(0); STREAMS]); T],
    };
    let mut pairs = input;
    for t in 0..T {
        pairs[t] = &input[t][..blocks / 2];
    }
    let mut x = [&input[0][0]; T];
    for b in 0..blocks / 2 {
        let mut fronts = fronts.ahead(2);
        for block in fronts.blocks() {
            isa.prefetch(block, AHEAD);
        }
        for t in 0..T {
            x[t] = &pairs[t][b];
        }
        state = small_turn::<I, F, T>(isa, &mut fronts, x, 0, state);
        state = small_turn::<I, F, T>(isa, &mut fronts, x, 1, state);
    }
    if !blocks.is_multiple_of(2) {
        for t in 0..T {
            x[t] = &input[t][blocks / 2];
        }
        state = small_turn::<I, F, T>(isa, &mut fronts.ahead(1), x, 0, state);
    }
    arrays::<I, T>(isa, state.acc)
}

/// Four rows between two blocks.
#[derive(Clone, Copy)]
struct Turns<I: Isa, const T: usize> {
    /// What has been summed up.
    acc: [I::Quad; T],
    /// Products that run on.
    run: [[I::Sums; STREAMS]; T],
    /// Their totals.
    before: [I::Whole; T],
}

/// The next blocks with block `half` of a pair of inputs.
#[inline(always)]
fn small_turn<I: Isa, F: Small, const T: usize>(
    isa: I,
    fronts: &mut Ahead<'_, '_, F::Block>,
    input: [&SmallPair; T],
    half: usize,
    mut state: Turns<I, T>,
) -> Turns<I, T> {
    let (blocks, d, m);
    if F::SCALE_FIRST {
        (blocks, d) = isa.next_quad(fronts);
        (_, m) = F::quad_headers(isa, blocks);
    } else {
        blocks = fronts.next();
        (d, m) = F::quad_headers(isa, blocks);
    }
    let codes = [
        F::codes(isa, blocks[0], 0),
        F::codes(isa, blocks[1], 0),
        F::codes(isa, blocks[2], 0),
        F::codes(isa, blocks[3], 0),
    ];
    for t in 0..T {
        let pair = input[t];
        for r in 0..STREAMS {
            state.run[t][r] = isa.dot(state.run[t][r], codes[r], &pair.qs[half]);
        }
        let now = isa.whole(state.run[t]);
        let times = -i32::from(F::OFFSET);
        let total = isa.whole_from(now, state.before[t], &pair.sum[half], times);
        state.before[t] = now;
        let dx = isa.quad(pair.d[half]);
        state.acc[t] = isa.quad_fma(isa.quad_mul(d, dx), total, state.acc[t]);
        if F::MIN {
            let sum = isa.quad([pair.sum[half][0] as f32; STREAMS]);
            state.acc[t] = isa.quad_fma(isa.quad_mul(m, dx), sum, state.acc[t]);
        }
    }
    state
}

/// Four rows of small blocks by `T` tokens, two blocks at a time.
#[inline(always)]
fn small_tile<I: Isa, F: Small, const T: usize>(
    isa: I,
    rows: [&[F::Block]; STREAMS],
    input: [&[SmallPair]; T],
) -> [[f32; STREAMS]; T] {
    let [r0, r1, r2, r3] = rows.map(|row| row.as_chunks::<2>());
    let n = r0.0.len();
    let (p0, p1, p2, p3) = (&r0.0[..n], &r1.0[..n], &r2.0[..n], &r3.0[..n]);
    let pairs = input.map(|x| &x[..n]);
    let mut acc = [isa.quad([0.0; 4]); T];
    for b in 0..n {
        let blocks = [&p0[b], &p1[b], &p2[b], &p3[b]];
        for pair in blocks {
            prefetch(isa, pair);
        }
        let codes = [
            F::pair(isa, blocks[0]),
            F::pair(isa, blocks[1]),
            F::pair(isa, blocks[2]),
            F::pair(isa, blocks[3]),
        ];
        let (d, m) = F::pair_headers(isa, blocks);
        for t in 0..T {
            let input = &pairs[t][b];
            let x = isa.pair_inputs(input);
            let sums = [
                pair_dot::<I, F>(isa, codes[0], x),
                pair_dot::<I, F>(isa, codes[1], x),
                pair_dot::<I, F>(isa, codes[2], x),
                pair_dot::<I, F>(isa, codes[3], x),
            ];
            let totals = isa.pair_totals(sums, &input.sum, -i32::from(offset::<I, F>()));
            let dx = isa.octet(bytemuck::cast(input.d));
            let d = isa.octet_quads(isa.octet_mul(d, dx));
            let m = isa.octet_quads(isa.octet_mul(m, dx));
            for i in 0..2 {
                acc[t] = isa.quad_fma(d[i], totals[i], acc[t]);
                if F::MIN {
                    let sum = isa.quad([input.sum[i][0] as f32; STREAMS]);
                    acc[t] = isa.quad_fma(m[i], sum, acc[t]);
                }
            }
        }
    }
    if let ([b0], [b1], [b2], [b3]) = (r0.1, r1.1, r2.1, r3.1) {
        let x: [&SmallPair; T] = from_fn(|t| &input[t][n]);
        let parts = [
            small_part::<I, F, T>(isa, b0, &x),
            small_part::<I, F, T>(isa, b1, &x),
            small_part::<I, F, T>(isa, b2, &x),
            small_part::<I, F, T>(isa, b3, &x),
        ];
        add_parts(isa, parts, F::MIN, x.map(|x| x.d[0][0]), &mut acc);
    }
    arrays::<I, T>(isa, acc)
}

#[inline(always)]
fn arrays<I: Isa, const T: usize>(isa: I, acc: [I::Quad; T]) -> [[f32; STREAMS]; T] {
    let mut out = [[0.0; STREAMS]; T];
    for t in 0..T {
        out[t] = isa.quad_array(acc[t]);
    }
    out
}

/// Pairs of so many small blocks.
#[inline(always)]
fn pairs(blocks: usize) -> usize {
    blocks.div_ceil(2)
}

/// The walk over tiles, written once for both families; `$blocks` blocks of inputs meet a row.
///
/// All tiles whose four rows are there go in one loop, whose places advance by steps. Each of the few others is a loop of its own, with
/// the last row where there is none.
macro_rules! walk {
    ($self:ident, $isa:ident, $F:ident, $T:literal, $inputs:expr, $blocks:expr, $tile:ident, $turns:ident) => {{
        let weights: &[$F::Block] = $self.0.weights.blocks();
        let per_row = $self.0.weights.cols / $F::LEN;
        let rows = $self.0.rows;
        let inputs = $inputs;
        let per_token = inputs.len() / $T;
        let blocks = $blocks(per_row);
        let mut x = [&inputs[..blocks]; $T];
        for t in 0..$T {
            x[t] = &inputs[t * per_token..][..blocks];
        }
        let row_bytes = per_row * size_of::<$F::Block>();
        let stream = stream_rows(rows.len(), row_bytes);
        begin($isa, weights, per_row, tile_rows(&rows, stream, 0));
        // Cells, because the last row may be written from several places.
        let mut out = [const { [].as_slice() }; $T];
        for (out, row) in out.iter_mut().zip($self.0.out.first_rows::<$T>()) {
            *out = Cell::from_mut(row).as_slice_of_cells();
        }
        let whole = rows.len().saturating_sub((STREAMS - 1) * stream);
        let mut i = 0;
        while i < stream {
            let count = if i < whole { whole } else { 1 };
            let tile = tile_rows(&rows, stream, i);
            let mut streams = [weights; STREAMS];
            let mut to = [[out[0]; STREAMS]; $T];
            for s in 0..STREAMS {
                streams[s] = &weights[tile[s] * per_row..][..count * per_row];
                for t in 0..$T {
                    to[t][s] = &out[t][tile[s] - rows.start..][..count];
                }
            }
            let mut fronts = Fronts::new(streams);
            for at in 0..count {
                let sums = if I::SHARED_INPUTS {
                    $turns::<I, $F, $T>($isa, &mut fronts, per_row, x)
                } else {
                    let mut row = streams;
                    for s in 0..STREAMS {
                        row[s] = &streams[s][at * per_row..][..per_row];
                    }
                    $tile::<I, $F, $T>($isa, row, x)
                };
                for t in 0..$T {
                    for s in 0..STREAMS {
                        to[t][s][at].set(sums[t][s]);
                    }
                }
            }
            i += count;
        }
    }};
}

impl<F: Super> Task for SuperFew<'_, '_, F> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        match self.0.input.tokens {
            1 => walk!(
                self,
                isa,
                F,
                1,
                self.0.input.super_rows(),
                usize::from,
                super_tile,
                super_shared
            ),
            2 => walk!(
                self,
                isa,
                F,
                2,
                self.0.input.super_rows(),
                usize::from,
                super_tile,
                super_shared
            ),
            3 => walk!(
                self,
                isa,
                F,
                3,
                self.0.input.super_rows(),
                usize::from,
                super_tile,
                super_shared
            ),
            _ => walk!(
                self,
                isa,
                F,
                4,
                self.0.input.super_rows(),
                usize::from,
                super_tile,
                super_shared
            ),
        }
    }
}

impl<F: Small> Task for SmallFew<'_, '_, F> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        match self.0.input.tokens {
            1 => walk!(
                self,
                isa,
                F,
                1,
                self.0.input.small_rows(),
                pairs,
                small_tile,
                small_turns
            ),
            2 => walk!(
                self,
                isa,
                F,
                2,
                self.0.input.small_rows(),
                pairs,
                small_tile,
                small_turns
            ),
            3 => walk!(
                self,
                isa,
                F,
                3,
                self.0.input.small_rows(),
                pairs,
                small_tile,
                small_turns
            ),
            _ => walk!(
                self,
                isa,
                F,
                4,
                self.0.input.small_rows(),
                pairs,
                small_tile,
                small_turns
            ),
        }
    }
}
