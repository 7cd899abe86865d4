//! A product of one matrix with some tokens. Cells are called `matmul/FORMAT/LEVEL/THREADS/TOKENS`.
//!
//! For 1, 2 and 4 tokens the figure is bytes of weights per second, out of memory that no cache holds; for 8, 64 and 512
//! it is multiply-accumulates per second, beside the most that the integer units of the level can do (which float formats
//! do not use). The matrix is the largest of SmolLM3's layers; `SMOLQ_BENCH_SHAPE=ROWSxCOLS` names another.

use crate::cell::{COLD, Machine, THREADS, Work, cell, floats, group, words};
use criterion::Criterion;
use smolq_kernels::input::{Activations, RoundScratch};
use smolq_kernels::{FormatId, Level, Matrix, Product, Shared, matmul};

/// Tokens for which reading weights is the limit, and for which multiplying is.
const FEW: [usize; 3] = [1, 2, 4];
const MANY: [usize; 3] = [8, 64, 512];

/// Rows and columns.
fn shape(level: Level) -> (usize, usize) {
    if let Ok(shape) = std::env::var("SMOLQ_BENCH_SHAPE") {
        return shape
            .split_once('x')
            .and_then(|(rows, cols)| Some((rows.parse().ok()?, cols.parse().ok()?)))
            .expect("SMOLQ_BENCH_SHAPE is ROWSxCOLS");
    }
    // Scalar code takes a hundred times as long.
    (if level == Level::Scalar { 256 } else { 11008 }, 2048)
}

/// Every format at every level of this machine.
pub(crate) fn matmul_cells(c: &mut Criterion) {
    for level in Level::available() {
        let machines = THREADS.map(|threads| Machine::new(level, threads));
        for &format in FormatId::ALL {
            let mut group = group(c, &format!("matmul/{format}"));
            for machine in &machines {
                for tokens in FEW.into_iter().chain(MANY) {
                    let name = format!("{level}/{}t/{tokens}tok", machine.pool.size());
                    let (rows, cols) = shape(level);
                    let bytes = rows * cols / format.block_len() * format.block_bytes();
                    let work = if FEW.contains(&tokens) {
                        Work::Bytes(bytes)
                    } else {
                        Work::Macs(rows * cols * tokens)
                    };
                    cell(&mut group, &name, machine, work, || {
                        prepare(machine, level, format, tokens)
                    });
                }
            }
            group.finish();
        }
    }
}

/// The product of `tokens` inputs with one matrix of many, the next one each time.
fn prepare(machine: &Machine, level: Level, format: FormatId, tokens: usize) -> impl FnMut(usize) {
    let (rows, cols) = shape(level);
    let bytes = rows * cols / format.block_len() * format.block_bytes();
    let copies = COLD / bytes + 1;
    let weights = words(copies * bytes);
    let activations = Activations::new(tokens, cols, [format]).expect("memory");
    let mut scratch = RoundScratch::default();
    for (t, x) in floats(tokens * cols).chunks_exact(cols).enumerate() {
        activations.put(level, tokens, t, 0, x, &mut scratch);
    }
    let out = Shared::new(tokens, rows, 0.0f32);
    let pool = &machine.pool;
    move |call| {
        let weights: &[u8] = bytemuck::cast_slice(&weights);
        let at = call % copies * bytes;
        let matrix = Matrix::new(format, rows, cols, &weights[at..at + bytes])
            .expect("whole rows of blocks");
        let input = activations.read();
        let input = input.inputs(tokens);
        pool.run(|team| matmul(team, level, &input, &[Product { matrix, out: &out }]));
    }
}
