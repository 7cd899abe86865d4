//! Many tokens: weight blocks unpacked once into an int8 panel, then multiplied by every token.
//!
//! A panel holds 16 rows, *lane = row*: the four codes `4 g .. 4 g + 4` of each row lie side by side, so that one
//! broadcast of four input bytes meets the same positions of 16 rows, and no sum ever crosses lanes. Scales are decoded
//! while filling, once for all tokens. A format needs to know only how to give codes and a header, a level only some ten verbs
//! on 16 rows and how many panels its registers hold: that turns the product of formats and levels into a sum.
//!
//! The walk of one ticket (a range of rows): for each stretch of `K` that fits the caches, for each 16 or 32
//! rows, fill the panels, then for each four tokens add the stretch to the sums, which wait side by side in the thread's scratch.
//! While panels are multiplied, the bytes of the next are on their way.

use crate::dot::LINE;
use crate::format::{Codes, Small, Super};
use crate::input::{SmallTile, SuperTile, TILE_TOKENS};
use crate::isa::{Isa, Line, Task};
use crate::table::Work;
use std::array::from_fn;
use std::marker::PhantomData;
use std::ops::Range;

/// Rows of a panel.
pub(crate) const TILE_ROWS: usize = 16;
/// Sums of 16 rows for each token of a tile.
pub(crate) type TileSums = [Line; TILE_TOKENS];
/// 16 rows of 16-bit pairs, one pair for each row.
pub(crate) type Pairs = [[i16; 16]; 2];
/// Four codes of each of 16 rows.
pub(crate) type Codes4 = [[u8; 32]; 2];
/// Super-blocks of a stretch: 4 x 256 values of 16 rows are 25 KB of panel.
const SUPER_STRETCH: usize = 4;
/// Small blocks of a stretch.
const SMALL_STRETCH: usize = 32;

/// One super-block of 16 rows. The 16 lanes are kept as two halves of eight rows, 32 bytes each.
#[repr(C, align(64))]
#[derive(Clone)]
struct SuperPanel {
    /// `[k / 4][half][row % 8 * 4 + k % 4]`.
    codes: [Codes4; 64],
    /// `[s][half][row % 8 * 2 ..+ 2]`: the scale of sub-block `s`, twice. Of wide formats, the even sub-blocks.
    scales: [Pairs; 16],
    /// `[s / 2][half][row % 8 * 2 + s % 2]`: minimums. Of wide formats, every second one, in the first four.
    mins: [Pairs; 8],
    /// As `mins`: `-offset * scale`.
    offsets: [Pairs; 8],
    /// Float scales.
    d: [f32; TILE_ROWS],
    /// Negated float scales of the minimums.
    neg_dmin: [f32; TILE_ROWS],
}

/// What is subtracted from codes as they go into products: the format's offset, and what was added to make signed codes unsigned.
pub(crate) const fn offset<I: Isa, F: Codes>() -> i16 {
    F::OFFSET + if F::SIGNED && I::BIASED { 128 } else { 0 }
}

/// Codes as they go into products: of signed ones, made unsigned where the level is biased.
#[inline(always)]
pub(crate) fn unsigned_codes<I: Isa, F: Codes + ?Sized>(
    isa: I,
    block: &F::Block,
    i: usize,
) -> I::Bytes {
    let codes = F::codes(isa, block, i);
    if F::SIGNED && I::BIASED {
        isa.sub(codes, isa.splat(128))
    } else {
        codes
    }
}

impl SuperPanel {
    const ZERO: SuperPanel = SuperPanel {
        codes: [[[0; 32]; 2]; 64],
        scales: [[[0; 16]; 2]; 16],
        mins: [[[0; 16]; 2]; 8],
        offsets: [[[0; 16]; 2]; 8],
        d: [0.0; TILE_ROWS],
        neg_dmin: [0.0; TILE_ROWS],
    };

    /// Unpacks one super-block of up to 16 rows; lanes beyond them hold nothing of use.
    #[inline(always)]
    fn fill<I: Isa, F: Super>(&mut self, isa: I, rows: &[&[F::Block]], at: usize) {
        let minus_offset = isa.splat_short(-offset::<I, F>());
        for (half, rows) in rows.chunks(8).enumerate() {
            let mut scales = [isa.splat_short(0); 8];
            let mut mins = [isa.splat_short(0); 8];
            for (lane, row) in rows.iter().enumerate() {
                let block = &row[at];
                self.d[8 * half + lane] = isa.half(F::d(block)) * F::FACTOR;
                self.neg_dmin[8 * half + lane] = -isa.half(F::dmin(block));
                let of = F::scales(isa, block);
                (scales[lane], mins[lane]) = (of.scales, of.mins);
            }
            // From a row's scales in a vector to a scale's rows in a vector. Scales of neighbours are a pair on the way; those of
            // wide formats are equal.
            let scales = isa.transpose_shorts(scales);
            let mins = if F::MINS {
                isa.transpose_shorts(mins)
            } else {
                mins
            };
            if F::WIDE {
                for (s, scales) in scales.into_iter().enumerate() {
                    isa.put_shorts(scales, &mut self.scales[2 * s][half]);
                }
                for i in 0..4 {
                    if offset::<I, F>() != 0 {
                        let pairs = isa.alternate(scales[2 * i], scales[2 * i + 1]);
                        let offsets = isa.mul_shorts(pairs, minus_offset);
                        isa.put_shorts(offsets, &mut self.offsets[i][half]);
                    }
                    if F::MINS {
                        let pairs = isa.alternate(mins[2 * i], mins[2 * i + 1]);
                        isa.put_shorts(pairs, &mut self.mins[i][half]);
                    }
                }
            } else {
                for i in 0..8 {
                    let [first, second] = isa.each_twice(scales[i]);
                    isa.put_shorts(first, &mut self.scales[2 * i][half]);
                    isa.put_shorts(second, &mut self.scales[2 * i + 1][half]);
                    if offset::<I, F>() != 0 {
                        let offsets = isa.mul_shorts(scales[i], minus_offset);
                        isa.put_shorts(offsets, &mut self.offsets[i][half]);
                    }
                    if F::MINS {
                        isa.put_shorts(mins[i], &mut self.mins[i][half]);
                    }
                }
            }
            for i in 0..8 {
                let mut codes = [isa.splat(0); 8];
                for (codes, row) in codes.iter_mut().zip(rows) {
                    *codes = unsigned_codes::<I, F>(isa, &row[at], i);
                }
                for (group, lanes) in isa.transpose(codes).into_iter().enumerate() {
                    self.codes[8 * i + group][half] = lanes;
                }
            }
        }
    }

    /// `acc[r][t] += panel r . inputs of token t` for the `T` tokens from `first` on.
    #[inline(always)]
    fn multiply<I: Isa, F: Super, const R: usize, const T: usize>(
        panels: [&[SuperPanel]; R],
        isa: I,
        input: &[SuperTile],
        first: usize,
        acc: &mut [TileSums; R],
    ) {
        // Positions that share a scale, in groups of four.
        let (subs, groups) = if F::WIDE { (8, 8) } else { (16, 4) };
        let together = isa.together(F::SIGNED && !I::BIASED, F::MAX).min(groups);
        let panels = panels.map(|panel| &panel[..input.len()]);
        for (at, x) in input.iter().enumerate() {
            let p: [&SuperPanel; R] = from_fn(|r| &panels[r][at]);
            let mut isum = [[isa.rows(0); T]; R];
            if offset::<I, F>() != 0 {
                for r in 0..R {
                    pair_sums::<I, F, T>(isa, &mut isum[r], &p[r].offsets, x, first);
                }
            }
            for sub in 0..subs {
                let s = sub * 16 / subs;
                let mut at = 0;
                while at < groups {
                    let mut dots = [[isa.dots(); T]; R];
                    let from = sub * groups + at;
                    if quads::<I, T>() {
                        for r in 0..R {
                            let (codes, x) = (&p[r].codes[from..], &x.qs[from..]);
                            dots[r] = add_quads(isa, dots[r], &codes[..together], x, first);
                        }
                    }
                    for g in if quads::<I, T>() {
                        0..0
                    } else {
                        from..from + together
                    } {
                        for t in 0..T {
                            let four = x.qs[g][first + t];
                            for r in 0..R {
                                dots[r][t] = if F::SIGNED && !I::BIASED {
                                    isa.add_dots_signed(dots[r][t], &p[r].codes[g], four)
                                } else {
                                    isa.add_dots(dots[r][t], &p[r].codes[g], four)
                                };
                            }
                        }
                    }
                    for t in 0..T {
                        let refine = x.refine[s / 2][first + t];
                        for r in 0..R {
                            isum[r][t] = isa.weigh(isum[r][t], dots[r][t], &p[r].scales[s], refine);
                        }
                    }
                    at += together;
                }
            }
            for r in 0..R {
                for t in 0..T {
                    let d = isa.mul(isa.wide(&p[r].d), isa.splat_wide(x.d[first + t]));
                    let acc = &mut acc[r][first + t].0;
                    isa.put(isa.fma(d, isa.rows_to_wide(isum[r][t]), isa.wide(acc)), acc);
                }
                if F::MINS {
                    let mut msum = [isa.rows(0); T];
                    pair_sums::<I, F, T>(isa, &mut msum, &p[r].mins, x, first);
                    for t in 0..T {
                        let m = isa.mul(isa.wide(&p[r].neg_dmin), isa.splat_wide(x.d[first + t]));
                        let acc = &mut acc[r][first + t].0;
                        isa.put(isa.fma(m, isa.rows_to_wide(msum[t]), isa.wide(acc)), acc);
                    }
                }
            }
        }
    }
}

/// Whether tokens meet the codes four at a time.
const fn quads<I: Isa, const T: usize>() -> bool {
    I::QUAD_GROUPS > 0 && T == 4
}

/// Adds the products of all of `codes` with the inputs of the four tokens from `first` on.
#[inline(always)]
fn add_quads<I: Isa, const T: usize>(
    isa: I,
    mut dots: [I::Dots; T],
    codes: &[Codes4],
    x: &[[[i8; 4]; TILE_TOKENS]],
    first: usize,
) -> [I::Dots; T] {
    let groups = I::QUAD_GROUPS;
    for (codes, x) in codes.chunks_exact(groups).zip(x.chunks_exact(groups)) {
        dots = isa.add_quad(dots, codes, x, first);
    }
    isa.settle(dots)
}

/// Adds `pairs . sums of the inputs`: one term for each sub-block.
#[inline(always)]
fn pair_sums<I: Isa, F: Super, const T: usize>(
    isa: I,
    sums: &mut [I::Rows; T],
    pairs: &[Pairs; 8],
    x: &SuperTile,
    first: usize,
) {
    let count = if F::WIDE { 4 } else { 8 };
    for (i, pair) in pairs[..count].iter().enumerate() {
        for t in 0..T {
            let of = if F::WIDE {
                x.wide_sums[i][first + t]
            } else {
                x.sums[i][first + t]
            };
            sums[t] = isa.add_pairs(sums[t], pair, of);
        }
    }
}

/// One small block of 16 rows.
#[repr(C, align(64))]
#[derive(Clone)]
struct SmallPanel {
    /// `[k / 4][half][row % 8 * 4 + k % 4]`.
    codes: [Codes4; 8],
    /// Float scales.
    d: [f32; TILE_ROWS],
    /// Minimums.
    m: [f32; TILE_ROWS],
}

impl SmallPanel {
    const ZERO: SmallPanel = SmallPanel {
        codes: [[[0; 32]; 2]; 8],
        d: [0.0; TILE_ROWS],
        m: [0.0; TILE_ROWS],
    };

    #[inline(always)]
    fn fill<I: Isa, F: Small>(&mut self, isa: I, rows: &[&[F::Block]], at: usize) {
        for (half, rows) in rows.chunks(8).enumerate() {
            if let Ok(rows) = <&[_; 8]>::try_from(rows) {
                let rows: [&F::Block; 8] = from_fn(|lane| &rows[lane][at]);
                let (d, m) = F::headers(isa, rows);
                isa.put_octet(d, &mut self.d.as_chunks_mut::<8>().0[half]);
                isa.put_octet(m, &mut self.m.as_chunks_mut::<8>().0[half]);
            } else {
                for (lane, row) in rows.iter().enumerate() {
                    (self.d[8 * half + lane], self.m[8 * half + lane]) = F::header(isa, &row[at]);
                }
            }
            let mut codes = [isa.splat(0); 8];
            for (codes, row) in codes.iter_mut().zip(rows) {
                *codes = unsigned_codes::<I, F>(isa, &row[at], 0);
            }
            for (group, lanes) in isa.transpose(codes).into_iter().enumerate() {
                self.codes[group][half] = lanes;
            }
        }
    }

    /// As [`SuperPanel::multiply`].
    #[inline(always)]
    fn multiply<I: Isa, F: Small, const R: usize, const T: usize>(
        panels: [&[SmallPanel]; R],
        isa: I,
        input: &[SmallTile],
        first: usize,
        acc: &mut [TileSums; R],
    ) {
        let together = isa.together(F::SIGNED && !I::BIASED, F::MAX).min(8);
        let panels = panels.map(|panel| &panel[..input.len()]);
        let mut sums = [[isa.splat_wide(0.0); T]; R];
        for r in 0..R {
            for t in 0..T {
                sums[r][t] = isa.wide(&acc[r][first + t].0);
            }
        }
        for (at, x) in input.iter().enumerate() {
            let p: [&SmallPanel; R] = from_fn(|r| &panels[r][at]);
            let mut isum = [[isa.rows(0); T]; R];
            if offset::<I, F>() != 0 {
                for t in 0..T {
                    let start = isa.rows(-i32::from(offset::<I, F>()) * x.sum[first + t]);
                    for r in 0..R {
                        isum[r][t] = start;
                    }
                }
            }
            let mut at = 0;
            while at < 8 {
                let mut dots = [[isa.dots(); T]; R];
                if quads::<I, T>() {
                    for r in 0..R {
                        let (codes, x) = (&p[r].codes[at..], &x.qs[at..]);
                        dots[r] = add_quads(isa, dots[r], &codes[..together], x, first);
                    }
                }
                for g in if quads::<I, T>() {
                    0..0
                } else {
                    at..at + together
                } {
                    for t in 0..T {
                        let four = x.qs[g][first + t];
                        for r in 0..R {
                            dots[r][t] = if F::SIGNED && !I::BIASED {
                                isa.add_dots_signed(dots[r][t], &p[r].codes[g], four)
                            } else {
                                isa.add_dots(dots[r][t], &p[r].codes[g], four)
                            };
                        }
                    }
                }
                for r in 0..R {
                    for t in 0..T {
                        isum[r][t] = isa.gather(isum[r][t], dots[r][t]);
                    }
                }
                at += together;
            }
            for r in 0..R {
                for t in 0..T {
                    let dx = isa.splat_wide(x.d[first + t]);
                    let d = isa.mul(isa.wide(&p[r].d), dx);
                    sums[r][t] = isa.fma(d, isa.rows_to_wide(isum[r][t]), sums[r][t]);
                    if F::MIN {
                        let m = isa.mul(isa.wide(&p[r].m), dx);
                        let sum = isa.splat_wide(x.sum[first + t] as f32);
                        sums[r][t] = isa.fma(m, sum, sums[r][t]);
                    }
                }
            }
        }
        for r in 0..R {
            for t in 0..T {
                isa.put(sums[r][t], &mut acc[r][first + t].0);
            }
        }
    }
}

/// Many tokens against the rows `rows` of a matrix of super-blocks.
pub(crate) struct SuperMany<'a, 'o, F: Super>(pub(crate) Work<'a, 'o>, pub(crate) PhantomData<F>);

/// Many tokens against the rows `rows` of a matrix of small blocks.
pub(crate) struct SmallMany<'a, 'o, F: Small>(pub(crate) Work<'a, 'o>, pub(crate) PhantomData<F>);

/// The walk, written once for both families: stretches of blocks, `R` times 16 rows, eight tokens.
macro_rules! walk {
    ($self:ident, $isa:ident, $F:ident, $Panel:ident, $stretch:expr, $R:literal, $inputs:expr) => {{
        const STRETCH: usize = $stretch / $R;
        let weights: &[$F::Block] = $self.0.weights.blocks();
        let per_row = $self.0.weights.cols / $F::LEN;
        let Range { start: first, end } = $self.0.rows;
        let tokens = $self.0.input.tokens;
        let inputs = $inputs;
        let tiles = tokens.div_ceil(TILE_TOKENS);
        let bands = (end - first).div_ceil($R * TILE_ROWS);
        // Sums between stretches, `[R][16 rows][8 tokens]`: side by side, where the rows of the output are pages apart.
        let sums = &mut *$self.0.scratch;
        sums.clear();
        sums.resize(bands * tiles * $R, [Line::default(); TILE_TOKENS]);
        let mut panels = [const { [const { $Panel::ZERO }; STRETCH] }; $R];
        for start in (0..per_row).step_by(STRETCH) {
            let stretch = start..per_row.min(start + STRETCH);
            for (band, sums) in sums.chunks_exact_mut(tiles * $R).enumerate() {
                let base = first + band * $R * TILE_ROWS;
                for (r, panel) in panels.iter_mut().enumerate() {
                    let base = base + r * TILE_ROWS;
                    let count = TILE_ROWS.min(end.saturating_sub(base));
                    let mut row: [&[$F::Block]; TILE_ROWS] = [&[]; TILE_ROWS];
                    for (i, row) in row[..count].iter_mut().enumerate() {
                        *row = &weights[(base + i) * per_row..(base + i + 1) * per_row];
                    }
                    for (panel, at) in panel.iter_mut().zip(stretch.clone()) {
                        panel.fill::<I, $F>($isa, &row[..count], at);
                    }
                }
                let mut panel: [&[$Panel]; $R] = [&[]; $R];
                for r in 0..$R {
                    panel[r] = &panels[r][..stretch.len()];
                }
                for (tile, acc) in sums.as_chunks_mut::<$R>().0.iter_mut().enumerate() {
                    // A share of the next rows.
                    const ROWS: usize = $R * TILE_ROWS;
                    for i in tile * ROWS / tiles..(tile + 1) * ROWS / tiles {
                        let next = (base + ROWS + i).min(end - 1);
                        let next = &weights[next * per_row + stretch.start];
                        for line in 0..(stretch.len() * size_of::<$F::Block>()).div_ceil(LINE) {
                            $isa.prefetch(next, line * LINE);
                        }
                    }
                    let x = &inputs[tile * per_row..][stretch.clone()];
                    let real = TILE_TOKENS.min(tokens - tile * TILE_TOKENS);
                    if I::TILE_QUAD {
                        for from in (0..real).step_by(4) {
                            $Panel::multiply::<I, $F, $R, 4>(panel, $isa, x, from, acc);
                        }
                    } else {
                        for from in (0..real).step_by(2) {
                            $Panel::multiply::<I, $F, $R, 2>(panel, $isa, x, from, acc);
                        }
                    }
                }
            }
        }
        let each = panels.len();
        for token in 0..tokens {
            let (tile, t) = (token / TILE_TOKENS, token % TILE_TOKENS);
            let out = $self.0.out.row(token);
            for (group, out) in out.chunks_mut(TILE_ROWS).enumerate() {
                let sums = &sums[(group / each * tiles + tile) * each + group % each][t].0;
                match <&mut [f32; TILE_ROWS]>::try_from(&mut *out) {
                    Ok(out) => $isa.put($isa.wide(sums), out),
                    Err(_) => out.copy_from_slice(&sums[..out.len()]),
                }
            }
        }
    }};
}

impl<F: Super> Task for SuperMany<'_, '_, F> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let inputs = self.0.input.super_tiles();
        if I::TILE_PANELS == 2 {
            walk!(self, isa, F, SuperPanel, SUPER_STRETCH, 2, inputs);
        } else {
            walk!(self, isa, F, SuperPanel, SUPER_STRETCH, 1, inputs);
        }
    }
}

impl<F: Small> Task for SmallMany<'_, '_, F> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let inputs = self.0.input.small_tiles();
        if I::TILE_PANELS == 2 {
            walk!(self, isa, F, SmallPanel, SMALL_STRETCH, 2, inputs);
        } else {
            walk!(self, isa, F, SmallPanel, SMALL_STRETCH, 1, inputs);
        }
    }
}
