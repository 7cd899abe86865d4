//! Speed of the kernels: `cargo bench -p smolq-kernels --bench speed -- [FILTER]`.
//!
//! The filter is a regular expression on the names of cells. `'^matmul/Q4_K/avx2/2t/1tok$'` and `attention/f16/avx2/1t/1tok/4096`
//! take seconds; all cells take hours. Beside each stands the best run and what share it is of the machine's own limit, measured
//! by the same threads. Compare only figures of one run on a noisy machine.

mod attention;
mod cell;
mod matmul;

fn main() {
    let mut criterion = criterion::Criterion::default().configure_from_args();
    matmul::matmul_cells(&mut criterion);
    attention::attention_cells(&mut criterion);
}
