//! Every format at every level against the scalar level, bit for bit, around every edge of rows and tokens.
//!
//! The list of formats and levels is the library's own, so a kernel cannot exist without being tested here. A level that
//! this CPU lacks is reported by name.

use smolq_kernels::input::{Activations, RoundScratch};
use smolq_kernels::{FormatId, Level, Matrix, Pool, Product, Shared, dequantize, matmul};

/// A small generator of bytes, so that every run tests the same cases.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let x = self.0 ^ (self.0 >> 33);
        x.wrapping_mul(0xff51_afd7_ed55_8ccd) >> 24
    }
    fn normal(&mut self) -> f32 {
        (0..6)
            .map(|_| (self.next() % 2001) as f32 / 1000.0 - 1.0)
            .sum()
    }
}

/// Weights as bytes: what a hostile file may hold.
#[derive(Clone, Copy, Debug)]
enum Bytes {
    /// Anything, infinite and NaN scales included.
    Any,
    /// No half-precision exponent of all ones.
    Finite,
    /// Extreme codes and scales only.
    Extreme,
}

fn weights(kind: Bytes, n: usize, random: &mut Random) -> Vec<u8> {
    (0..n)
        .map(|_| match kind {
            Bytes::Any => random.next() as u8,
            Bytes::Finite => random.next() as u8 & 0xBB,
            Bytes::Extreme => [0x00, 0xff, 0x80, 0x7f, 0xfb, 0x7b][random.next() as usize % 6],
        })
        .collect()
}

/// Eight-byte aligned storage.
fn aligned(bytes: &[u8]) -> Vec<u64> {
    let mut words = vec![0u64; bytes.len().div_ceil(8)];
    bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..bytes.len()].copy_from_slice(bytes);
    words
}

/// Where the blocks of a quantized format have half-precision numbers: those that make a NaN of what is zero otherwise.
fn halves(format: FormatId) -> Vec<usize> {
    let (bytes, values) = (format.block_bytes(), format.block_len());
    if values == 1 {
        return Vec::new();
    }
    let shows = |at: &usize| {
        let mut block = vec![0u8; bytes];
        block[*at..at + 2].copy_from_slice(&0x7e00u16.to_le_bytes());
        let mut out = vec![0.0f32; values];
        dequantize(
            format,
            &bytemuck::cast_slice::<u64, u8>(&aligned(&block))[..bytes],
            &mut out,
        );
        out.iter().any(|x| x.is_nan())
    };
    (0..bytes - 1).step_by(2).filter(shows).collect()
}

/// Weights whose sums come near to what their integers hold: one byte all over a block, and one at its beginning or its end, where
/// integer scales are. Half-precision scales are 2^-10.
fn largest(format: FormatId, rows: usize, cols: usize) -> Vec<u8> {
    const EXTREMES: [u8; 4] = [0x00, 0x7f, 0x80, 0xff];
    let (len, halves) = (format.block_bytes(), halves(format));
    let mut out = Vec::new();
    for row in 0..rows {
        let (edge, middle) = (EXTREMES[row % 4], EXTREMES[row / 4 % 4]);
        let mut block = vec![middle; len];
        if row / 16 % 2 == 0 {
            block[..len.min(16)].fill(edge);
        } else {
            block[len.saturating_sub(18)..].fill(edge);
        }
        for &at in &halves {
            block[at..at + 2].copy_from_slice(&0x1400u16.to_le_bytes());
        }
        out.extend(block.repeat(cols / format.block_len()));
    }
    out
}

/// `tokens` rows of inputs: ordinary, with one huge value, all zero, all equal to the extreme. The kinds take turns, beginning
/// with that of number `first`.
fn inputs(tokens: usize, cols: usize, first: usize, random: &mut Random) -> Vec<f32> {
    let mut x: Vec<f32> = (0..tokens * cols).map(|_| random.normal()).collect();
    for (t, x) in x.chunks_exact_mut(cols).enumerate() {
        match (first + t) % 7 {
            1 => x[random.next() as usize % cols] = 1e4,
            2 => x.fill(0.0),
            3 => x
                .iter_mut()
                .enumerate()
                .for_each(|(i, x)| *x = if i % 3 == 0 { -2.5 } else { 2.5 }),
            4 => x.fill(2.5),
            5 => x.fill(-2.5),
            _ => {}
        }
    }
    x
}

/// One matrix multiply through the public face; unwritten outputs stay NaN with a mark.
fn run(level: Level, pool: &Pool, matrix: Matrix<'_>, x: &[f32], tokens: usize) -> Vec<f32> {
    let cols = matrix.cols();
    let mark = f32::from_bits(0x7fff_1234);
    let out = Shared::new(tokens, matrix.rows(), mark);
    let activations = Activations::new(tokens, cols, [matrix.format()]).unwrap();
    let mut scratch = RoundScratch::default();
    for (t, x) in x.chunks_exact(cols).enumerate() {
        activations.put(level, tokens, t, 0, x, &mut scratch);
    }
    let input = activations.read();
    let input = input.inputs(tokens);
    pool.run(|team| matmul(team, level, &input, &[Product { matrix, out: &out }]));
    let out = out.read().to_vec();
    assert!(
        out.iter().all(|y| y.to_bits() != mark.to_bits()),
        "every output is written"
    );
    out
}

/// The levels that are tested: those of this CPU, or the one that SMOLQ_LEVEL names. (Emulators are slow, and each of their CPUs is there
/// for one level.)
fn tested() -> Vec<Level> {
    match std::env::var_os("SMOLQ_LEVEL") {
        Some(_) => vec![Level::choose().expect("SMOLQ_LEVEL names a level of this CPU")],
        None => Level::available().collect(),
    }
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// Pools of one thread, of two and of three.
fn pools() -> Vec<Pool> {
    (1..=3).map(|n| Pool::new(n).unwrap()).collect()
}

/// Compares what each tested level makes of the first tokens, for each number of them in `counts`, with what scalar makes of all.
/// Gives the latter.
fn compare(
    pools: &[Pool],
    matrix: Matrix<'_>,
    x: &[f32],
    counts: &[usize],
    what: &str,
) -> Vec<f32> {
    let (format, rows, cols) = (matrix.format(), matrix.rows(), matrix.cols());
    let truth = run(Level::Scalar, &pools[0], matrix, x, x.len() / cols);
    for level in tested() {
        for &tokens in counts {
            let pool = &pools[(tokens + rows) % pools.len()];
            let got = run(level, pool, matrix, &x[..tokens * cols], tokens);
            for (i, (&got, &truth)) in got.iter().zip(&truth).enumerate() {
                assert!(
                    same(got, truth),
                    "{format} {level} {what} {rows}x{cols} of {tokens}: token {} row {}: {got:e} is not {truth:e}",
                    i / rows,
                    i % rows
                );
            }
        }
    }
    truth
}

#[test]
fn every_level_gives_the_bits_of_scalar() {
    let pools = pools();
    for &level in Level::ALL {
        if !level.is_available() {
            println!("NOT TESTED on this CPU: level {level}");
        }
    }
    for &format in FormatId::ALL {
        let step = format.block_len().max(32);
        for (case, kind) in [Bytes::Any, Bytes::Finite, Bytes::Extreme]
            .into_iter()
            .enumerate()
        {
            // Around tiles of 4 and 16 rows, pairs of panels, tickets of 64; around pairs of blocks and stretches of K.
            for (rows, blocks) in [
                (1, 1),
                (3, 2),
                (4, 5),
                (15, 3),
                (17, 1),
                (33, 9),
                (7, 35),
                (48, 4),
                (65, 1),
                (100, 2),
            ] {
                // Float rows need not be whole vectors.
                let cols = blocks * step - if format.block_len() == 1 { 5 } else { 0 };
                let mut random = Random(format as u64 * 1000 + case as u64 * 100 + rows as u64);
                let bytes = weights(
                    kind,
                    rows * cols / format.block_len() * format.block_bytes(),
                    &mut random,
                );
                let storage = aligned(&bytes);
                let bytes = &bytemuck::cast_slice::<u64, u8>(&storage)[..bytes.len()];
                let matrix = Matrix::new(format, rows, cols, bytes).unwrap();
                let most = 17;
                // The first tokens, which are all that a few are, differ from shape to shape.
                let x = inputs(most, cols, rows, &mut random);
                let counts = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, most];
                compare(&pools, matrix, &x, &counts, &format!("{kind:?}"));
            }
        }
    }
}

#[test]
fn the_largest_sums_fit() {
    let pools = pools();
    for &format in FormatId::ALL {
        // All pairs of bytes in each of two panels, and a row more; a pair of blocks, and a block more.
        let (rows, cols) = (33, 3 * format.block_len().max(32));
        let bytes = largest(format, rows, cols);
        let storage = aligned(&bytes);
        let bytes = &bytemuck::cast_slice::<u64, u8>(&storage)[..bytes.len()];
        let matrix = Matrix::new(format, rows, cols, bytes).unwrap();
        let most = 9;
        let x = inputs(most, cols, 4, &mut Random(format as u64));
        let truth = compare(&pools, matrix, &x, &[1, 2, 4, 5, most], "largest");
        // Among the weights are zeros, and floats that are not finite, but others too.
        let says_something = |y: &&f32| y.is_finite() && **y != 0.0;
        assert!(
            truth.iter().filter(says_something).count() > rows / 2,
            "{format}"
        );
    }
}

#[test]
fn products_are_close_to_the_dequantized_ones() {
    let pool = Pool::new(1).unwrap();
    for &format in FormatId::ALL {
        let (rows, cols) = (5, 512);
        let mut random = Random(format as u64);
        let storage = aligned(&weights(
            Bytes::Finite,
            rows * cols / format.block_len() * format.block_bytes(),
            &mut random,
        ));
        let bytes = bytemuck::cast_slice::<u64, u8>(&storage);
        let matrix = Matrix::new(
            format,
            rows,
            cols,
            &bytes[..rows * cols / format.block_len() * format.block_bytes()],
        )
        .unwrap();
        let x: Vec<f32> = (0..cols).map(|_| random.normal()).collect();
        let got = run(Level::Scalar, &pool, matrix, &x, 1);
        let mut row = vec![0.0; cols];
        for (r, &got) in got.iter().enumerate() {
            matrix.row(r, &mut row);
            let mut own = vec![0.0; cols];
            let row_bytes = cols / format.block_len() * format.block_bytes();
            dequantize(format, &bytes[r * row_bytes..][..row_bytes], &mut own);
            assert!(row.iter().zip(&own).all(|(a, b)| same(*a, *b)));
            let truth: f64 = row
                .iter()
                .zip(&x)
                .map(|(&w, &x)| f64::from(w) * f64::from(x))
                .sum();
            let size = row
                .iter()
                .zip(&x)
                .map(|(&w, &x)| (f64::from(w) * f64::from(x)).powi(2))
                .sum::<f64>()
                .sqrt();
            assert!(
                (f64::from(got) - truth).abs() <= 0.02 * size,
                "{format} row {r}: {got:e} is far from {truth:e} ({size:e})"
            );
        }
    }
}
