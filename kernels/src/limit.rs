//! What this machine could do at best: the two limits that a forward pass runs into.
//!
//! Decoding reads every weight once for each token and does little with it, so it cannot be faster than memory is read
//! ([`read_bandwidth`]). Prefill uses each weight for many tokens, so it cannot be faster than the cores multiply
//! ([`integer_peak`]). Both are measured with the verbs of a level, as the kernels are, so that a figure of a kernel divided
//! by its limit says how much is left to gain on this machine.

use crate::dot::{STREAMS, stream_rows, tile_rows};
use crate::input::TILE_TOKENS;
use crate::isa::{Isa, Level, Task, with_isa};
use crate::panel::{Codes4, TILE_ROWS};
use crate::pool::Pool;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Instant;

/// A line of the cache, as it is read.
type Line = [[u8; 32]; 2];
const LINE: usize = size_of::<Line>();
/// Lines of a piece that one thread takes at a time: 8 MiB, so that its streams are long and the threads end together.
const PIECE: usize = (8 << 20) / LINE;
/// How far ahead each stream is asked for, in bytes. Of 0.5 to 4 KiB, the farther the better up to 2 KiB.
const AHEAD: usize = 2048;
/// How often the memory is read. The best counts: anything slower was disturbed.
const PASSES: usize = 6;

/// Bytes per second at which all threads of `pool` together read `memory` once, front to back in several streams for each
/// thread; the best of several passes. Memory smaller than the caches measures the caches, and none at all gives 0.
pub fn read_bandwidth(pool: &Pool, level: Level, memory: &[u64]) -> f64 {
    let (lines, _) = memory.as_chunks::<{ LINE / size_of::<u64>() }>();
    let lines: &[Line] = bytemuck::cast_slice(lines);
    let mut best = f64::MAX;
    for _ in 0..PASSES {
        let start = Instant::now();
        pool.run(|team| {
            team.split(lines.len(), PIECE, |piece| {
                let read = Read(&lines[piece]);
                black_box(with_isa!(level, isa => isa.run(read)));
            });
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    size_of_val(lines) as f64 / best.max(f64::MIN_POSITIVE)
}

/// Reads every line of a piece.
struct Read<'a>(&'a [Line]);

impl Task for Read<'_> {
    type Out = [u8; 32];
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> [u8; 32] {
        let stream = stream_rows(self.0.len(), LINE);
        // Two for each stream, so that no load waits for the one before.
        let mut seen = [[isa.splat(0); 2]; STREAMS];
        for i in 0..stream {
            for (at, seen) in tile_rows(&(0..self.0.len()), stream, i)
                .into_iter()
                .zip(&mut seen)
            {
                let line = &self.0[at];
                isa.prefetch(line, AHEAD);
                seen[0] = isa.or(seen[0], isa.bytes(&line[0]));
                seen[1] = isa.or(seen[1], isa.bytes(&line[1]));
            }
        }
        let mut all = isa.splat(0);
        for [a, b] in seen {
            all = isa.or(all, isa.or(a, b));
        }
        isa.to_bytes(all)
    }
}

/// Groups of four codes in the panel that is multiplied over and over: as many as a super-block has.
const GROUPS: usize = 64;
/// The largest code: 4 bits, of which every level adds up the most products before it must widen them.
const LARGEST: u8 = 15;
/// Products of each thread and timing: two milliseconds at the speed of a fast core, a tenth of a second on a small board.
const PRODUCTS: usize = 1 << 30;

/// 8-bit multiply-accumulates per second that all threads of `pool` reach together with operands in registers and the
/// nearest cache, by the verb that a level has for panels: the best of several shapes and rounds.
pub fn integer_peak(pool: &Pool, level: Level) -> f64 {
    // Scalar code is a hundred times slower, and as sure of itself.
    let scale = if level == Level::Scalar { 64 } else { 1 };
    let products = PRODUCTS / scale;
    let mut best = 0.0f64;
    for _ in 0..PASSES {
        best = best
            .max(peak::<4>(pool, level, products))
            .max(peak::<8>(pool, level, products))
            .max(peak::<12>(pool, level, products));
    }
    best
}

/// As [`integer_peak`], once and with tiles of `T` tokens.
fn peak<const T: usize>(pool: &Pool, level: Level, products: usize) -> f64 {
    let rows: Rows =
        std::array::from_fn(|r| std::array::from_fn(|i| [(r + i) as u8 & LARGEST; 32]));
    let input: [Tile; 2] = std::array::from_fn(|tile| {
        [std::array::from_fn(|t| [(tile * TILE_TOKENS + t) as i8; 4]); 2]
    });
    let each = GROUPS * 4 * TILE_ROWS * T;
    let rounds = products / each;
    // The slowest thread counts, without the time that entering a region takes.
    let slowest = Mutex::new(0.0f64);
    pool.run(|team| {
        let task = Multiply::<T> {
            rows: &rows,
            input: &input,
            rounds,
        };
        team.split(0, 1, |_| {});
        let start = Instant::now();
        black_box(with_isa!(level, isa => isa.run(task)));
        let time = start.elapsed().as_secs_f64();
        let mut slowest = slowest.lock().unwrap_or_else(|e| e.into_inner());
        *slowest = slowest.max(time);
    });
    let time = slowest.into_inner().unwrap_or_else(|e| e.into_inner());
    (pool.size() * rounds * each) as f64 / time.max(f64::MIN_POSITIVE)
}

/// The codes of a super-block of each row of a panel.
type Rows = [[[u8; 32]; GROUPS / 8]; TILE_ROWS];
/// The inputs of eight tokens, the same in both groups of four positions.
type Tile = [[[i8; 4]; TILE_TOKENS]; 2];

/// A panel of one super-block, multiplied `rounds` times by the same tokens, each of which has the same inputs in all groups.
struct Multiply<'a, const T: usize> {
    rows: &'a Rows,
    input: &'a [Tile; 2],
    rounds: usize,
}

impl<const T: usize> Task for Multiply<'_, T> {
    type Out = [[f32; TILE_ROWS]; T];
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> [[f32; TILE_ROWS]; T] {
        let together = isa.together(false, LARGEST).min(GROUPS);
        let mut codes = [[[0; 32]; 2]; GROUPS];
        for (half, rows) in self.rows.as_chunks::<8>().0.iter().enumerate() {
            for i in 0..GROUPS / 8 {
                let mut part = [isa.splat(0); 8];
                for (part, row) in part.iter_mut().zip(rows) {
                    *part = isa.bytes(&row[i]);
                }
                for (group, lanes) in isa.transpose(part).into_iter().enumerate() {
                    codes[8 * i + group][half] = lanes;
                }
            }
        }
        let mut sums = [isa.rows(0); T];
        for _ in 0..self.rounds {
            // Nobody knows that the codes are the same each time, so no product can be kept from the time before.
            let codes = black_box(&codes);
            for codes in codes.chunks_exact(together) {
                let dots = if I::QUAD_GROUPS > 0 {
                    self.by_quads(isa, codes)
                } else {
                    self.by_tokens(isa, codes)
                };
                for t in 0..T {
                    sums[t] = isa.gather(sums[t], dots[t]);
                }
            }
        }
        let mut out = [[0.0; TILE_ROWS]; T];
        for t in 0..T {
            out[t] = isa.wide_array(isa.rows_to_wide(sums[t]));
        }
        out
    }
}

impl<const T: usize> Multiply<'_, T> {
    #[inline(always)]
    fn by_tokens<I: Isa>(&self, isa: I, codes: &[Codes4]) -> [I::Dots; T] {
        let mut dots = [isa.dots(); T];
        for codes in codes {
            for t in 0..T {
                let input = self.input[t / TILE_TOKENS][0][t % TILE_TOKENS];
                dots[t] = isa.add_dots(dots[t], codes, input);
            }
        }
        dots
    }

    #[inline(always)]
    fn by_quads<I: Isa>(&self, isa: I, codes: &[Codes4]) -> [I::Dots; T] {
        let mut dots = [isa.dots(); T];
        for codes in codes.chunks_exact(I::QUAD_GROUPS) {
            for (i, dots) in dots.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let (tile, first) = (4 * i / TILE_TOKENS, 4 * i % TILE_TOKENS);
                *dots = isa.add_quad(*dots, codes, &self.input[tile], first);
            }
        }
        for dots in dots.as_chunks_mut::<4>().0 {
            *dots = isa.settle(*dots);
        }
        dots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines with one bit each, so that every line that is not read is missed.
    #[test]
    fn every_line_is_read() {
        for lines in [0, 1, 3, 4, 15, 16, 17, 63, 64, 100, 255] {
            let mut memory = vec![[[0u8; 32]; 2]; lines];
            for i in 0..lines {
                memory[i][i / 32 % 2][i % 32] |= 1;
                for level in Level::available() {
                    let seen = with_isa!(level, isa => isa.run(Read(&memory)));
                    assert_eq!(seen[i % 32], 1, "line {i} of {lines}, {level}");
                }
                memory[i][i / 32 % 2][i % 32] = 0;
            }
        }
    }

    #[test]
    fn every_level_multiplies_the_same() {
        let rows: Rows = std::array::from_fn(|r| {
            std::array::from_fn(|i| std::array::from_fn(|j| ((r + i + j) % 16) as u8))
        });
        let input: [Tile; 2] = std::array::from_fn(|tile| {
            [std::array::from_fn(|t| std::array::from_fn(|i| (t + 8 * tile) as i8 * (i as i8 - 1)));
                2]
        });
        let sums = |level: Level| {
            let task = Multiply::<12> {
                rows: &rows,
                input: &input,
                rounds: 3,
            };
            with_isa!(level, isa => isa.run(task))
        };
        let expected = sums(Level::Scalar);
        assert!(expected.iter().flatten().any(|&sum| sum != 0.0));
        for level in Level::available() {
            assert_eq!(sums(level), expected, "{level}");
        }
    }

    #[test]
    fn limits_are_positive_and_of_no_memory_there_is_none() {
        let pool = Pool::new(2).unwrap();
        for level in Level::available() {
            let rate = read_bandwidth(&pool, level, &vec![1; 1 << 17]);
            assert!(rate.is_finite() && rate > 0.0, "{level}");
            assert_eq!(read_bandwidth(&pool, level, &[1; 7]), 0.0, "{level}");
            let rate = peak::<4>(&pool, level, 1 << 20);
            assert!(rate.is_finite() && rate > 0.0, "{level}");
        }
    }
}
