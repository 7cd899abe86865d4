//! Every block format against recorded values of the `gguf` Python package (tools/record_dequant.py), and against itself:
//! the integer form of a block must be the block.

use proptest::prelude::*;
use smolq_kernels::input::{Activations, RoundScratch};
use smolq_kernels::{FormatId, Level, Matrix, Pool, Product, Shared, dequantize, matmul};
use std::fs;
use std::path::Path;

/// Recorded blocks and their values.
struct Golden {
    blocks: Vec<u64>,
    bytes: usize,
    values: Vec<f32>,
}

fn golden(format: FormatId) -> Option<Golden> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/dequant/{format}.bin"));
    let file = fs::read(path).ok()?;
    let word = |i: usize| u32::from_le_bytes(file[4 * i..4 * i + 4].try_into().unwrap()) as usize;
    let (n, block_bytes, block_len) = (word(0), word(1), word(2));
    assert_eq!(
        (block_bytes, block_len),
        (format.block_bytes(), format.block_len()),
        "{format}"
    );
    let bytes = n * block_bytes;
    let mut blocks = vec![0u64; bytes.div_ceil(8)];
    bytemuck::cast_slice_mut::<u64, u8>(&mut blocks)[..bytes]
        .copy_from_slice(&file[12..12 + bytes]);
    let values = file[12 + bytes..]
        .chunks_exact(4)
        .map(|x| f32::from_le_bytes(x.try_into().unwrap()))
        .collect::<Vec<_>>();
    assert_eq!(values.len(), n * block_len, "{format}");
    Some(Golden {
        blocks,
        bytes,
        values,
    })
}

impl Golden {
    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.blocks)[..self.bytes]
    }
}

#[test]
fn dequantized_blocks_are_exactly_the_recorded_ones() {
    for &format in FormatId::ALL {
        // F32 is what it is.
        if format == FormatId::F32 {
            continue;
        }
        let golden = golden(format).unwrap_or_else(|| panic!("{format} has no recorded blocks"));
        assert!(
            golden.values.len() >= 64 * format.block_len().min(64),
            "{format}"
        );
        let mut values = vec![f32::NAN; golden.values.len()];
        dequantize(format, golden.bytes(), &mut values);
        for (i, (&got, &truth)) in values.iter().zip(&golden.values).enumerate() {
            assert_eq!(
                got.to_bits(),
                truth.to_bits(),
                "{format} block {} value {}: {got:e} is not {truth:e}",
                i / format.block_len(),
                i % format.block_len()
            );
        }
    }
}

#[test]
fn every_recording_belongs_to_a_format() {
    for entry in
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dequant")).unwrap()
    {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|x| x == "bin") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(
                FormatId::ALL.iter().any(|format| format.name() == name),
                "{name} is no format"
            );
        }
    }
}

/// One row of inputs, rounded for `format`.
fn rounded(format: FormatId, x: &[f32]) -> Activations {
    let activations = Activations::new(1, x.len(), [format]).unwrap();
    activations.put(Level::Scalar, 1, 0, 0, x, &mut RoundScratch::default());
    activations
}

/// The integer dot product of each recorded block with a rounded input against the f64 dot product of the values.
#[test]
fn integer_dots_are_the_dots_of_the_values() {
    let pool = Pool::new(1).unwrap();
    for &format in FormatId::ALL {
        let golden = match golden(format) {
            Some(golden) => golden,
            None => continue,
        };
        let cols = format.block_len().max(32);
        let rows = golden.values.len() / cols;
        let x: Vec<f32> = (0..cols)
            .map(|i| ((i * 7919 + 13) % 1009) as f32 / 500.0 - 1.0)
            .collect();
        let activations = rounded(format, &x);
        let input = activations.read();
        let input = input.inputs(1);
        let rounded = input.meaning(format);
        let matrix = Matrix::new(format, rows, cols, golden.bytes()).unwrap();
        for level in Level::available() {
            let out = Shared::new(1, rows, f32::NAN);
            pool.run(|team| matmul(team, level, &input, &[Product { matrix, out: &out }]));
            for (r, &got) in out.read().iter().enumerate() {
                let values = &golden.values[r * cols..][..cols];
                let terms = values.iter().zip(&rounded).map(|(&w, x)| f64::from(w) * x);
                let truth: f64 = terms.clone().sum();
                let size: f64 = terms.map(f64::abs).sum();
                // Two float scales are multiplied, the sum is rounded, and a minimum may cancel most of it.
                let slack = 4.0 * f64::from(f32::EPSILON) * size + 1e-37;
                // Sums beyond the range of f32 are infinite, as they must be.
                let right = (f64::from(got) - truth).abs() <= slack
                    || (got.is_infinite() && truth.abs() > 3.4e38);
                assert!(
                    right,
                    "{format} {level} block {r}: {got:e} is not {truth:e}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The round trip of a block: an input that is one at a single position gives back the value there, through the integer
    /// form and the kernels of every level.
    #[test]
    fn each_value_comes_back_through_the_integer_form(seed in any::<u64>(), at in 0usize..256) {
        let pool = Pool::new(1).unwrap();
        for &format in FormatId::ALL {
            let cols = format.block_len().max(32);
            let bytes = cols / format.block_len() * format.block_bytes();
            let mut state = seed | 1;
            let mut blocks = vec![0u64; bytes.div_ceil(8)];
            for byte in &mut bytemuck::cast_slice_mut::<u64, u8>(&mut blocks)[..bytes] {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                // No half-precision number made of such bytes is infinite or NaN.
                *byte = (state >> 56) as u8 & 0xBB;
            }
            let blocks = &bytemuck::cast_slice::<u64, u8>(&blocks)[..bytes];
            let mut values = vec![0.0; cols];
            dequantize(format, blocks, &mut values);
            let at = at % cols;
            let mut x = vec![0.0; cols];
            x[at] = 1.0;
            let activations = rounded(format, &x);
            let input = activations.read();
            let input = input.inputs(1);
            let matrix = Matrix::new(format, 1, cols, blocks).unwrap();
            // The largest value bounds what a minimum may cancel.
            let size = values.iter().fold(0.0f32, |top, v| top.max(v.abs()));
            for level in Level::available() {
                let out = Shared::new(1, 1, f32::NAN);
                pool.run(|team| matmul(team, level, &input, &[Product { matrix, out: &out }]));
                let got = out.read()[0];
                prop_assert!(
                    (got - values[at]).abs() <= 1e-5 * size,
                    "{format} {level} position {at}: {got:e} is not {:e}",
                    values[at]
                );
            }
        }
    }
}
