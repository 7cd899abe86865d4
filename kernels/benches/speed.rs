//! Speed of the matrix kernels: `cargo bench -p smolq-kernels --bench speed -- [FORMAT|all] [ROWS] [COLS] [COPIES]`.
//!
//! Prints, for one and two threads, GB/s of weights for one token out of memory that no cache holds, and GMAC/s for many
//! tokens. Best of several runs; compare only figures of one run on a noisy machine.

use smolq_kernels::input::{Activations, RoundScratch};
use smolq_kernels::{FormatId, Level, Matrix, Pool, Product, Shared, matmul};
use std::time::Instant;

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let number =
        |i: usize, default: usize| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (rows, cols) = (number(1, 11008), number(2, 2048));
    let level = Level::choose().expect("a level");
    println!("level {level}, matrix {rows} x {cols}");
    println!(
        "{:<8} {:>3} {:>14} {:>14} {:>14} {:>14}",
        "format", "t", "1 tok GB/s", "4 tok GB/s", "8 tok GMAC/s", "256 GMAC/s"
    );
    for &format in FormatId::ALL.iter().filter(|f| {
        args.first()
            .is_none_or(|a| a == "all" || f.to_string() == *a)
    }) {
        let bytes = rows * cols / format.block_len() * format.block_bytes();
        // Enough copies that no cache holds them.
        let copies = match number(3, 0) {
            0 => (400 << 20) / bytes + 1,
            copies => copies,
        };
        let mut seed = 1u64;
        let weights: Vec<u64> = (0..copies * bytes / 8 + 1)
            .map(|_| {
                seed = seed
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                seed & 0x3bbb_3bbb_3bbb_3bbb
            })
            .collect();
        let weights: &[u8] = bytemuck::cast_slice(&weights);
        for threads in [1, 2] {
            let pool = Pool::new(threads).expect("threads");
            let mut cells = Vec::new();
            for tokens in [1, 4, 8, 256] {
                let x: Vec<f32> = (0..tokens * cols)
                    .map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0)
                    .collect();
                let activations = Activations::new(tokens, cols, [format]).expect("memory");
                let mut scratch = RoundScratch::default();
                for (t, x) in x.chunks_exact(cols).enumerate() {
                    activations.floats.write_rows(t..t + 1).copy_from_slice(x);
                    activations.round(level, tokens, t, x, &mut scratch);
                }
                let out = Shared::new(tokens, rows, 0.0f32);
                let input = activations.read();
                let input = input.inputs(tokens);
                let mut best = f64::MAX;
                for round in 0..if tokens > 8 { 2 } else { 3 * copies } {
                    let at = round % copies * bytes;
                    let matrix = Matrix::new(format, rows, cols, &weights[at..at + bytes])
                        .expect("a matrix");
                    let start = Instant::now();
                    pool.run(|team| matmul(team, level, &input, &[Product { matrix, out: &out }]));
                    best = best.min(start.elapsed().as_secs_f64());
                }
                cells.push(if tokens <= 4 {
                    bytes as f64 / best / 1e9
                } else {
                    (rows * cols * tokens) as f64 / best / 1e9
                });
            }
            println!(
                "{:<8} {threads:>3} {:>14.1} {:>14.1} {:>14.1} {:>14.1}",
                format.to_string(),
                cells[0],
                cells[1],
                cells[2],
                cells[3]
            );
        }
    }
}
