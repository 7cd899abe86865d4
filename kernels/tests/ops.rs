//! The operations between the matrices: every level against scalar bit for bit, and scalar against the plain formula in f64.

use smolq_kernels::Level;
use smolq_kernels::format::BlockQ8_0;
use smolq_kernels::ops::attention::{Attend, AttendScratch, KvRowMut, KvRows, attend, store};
use smolq_kernels::ops::{RopePairs, RopeTable, rms_norm, rope, swiglu};

fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn rms_norm_is_right_and_the_same_everywhere() {
    for n in [1, 8, 15, 16, 17, 64, 100, 576, 2048] {
        let (x, w) = (numbers(n, 1), numbers(n, 2));
        let mut truth = vec![0.0; n];
        rms_norm(Level::Scalar, &x, &w, 1e-6, &mut truth);
        let mean = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n as f64;
        for i in 0..n {
            let y = f64::from(x[i]) / (mean + 1e-6).sqrt() * f64::from(w[i]);
            assert!(
                (f64::from(truth[i]) - y).abs() <= 1e-6 * y.abs().max(1e-3),
                "{n}: {} is not {y}",
                truth[i]
            );
        }
        for level in Level::available() {
            let mut out = vec![f32::NAN; n];
            rms_norm(level, &x, &w, 1e-6, &mut out);
            assert_eq!(bits(&out), bits(&truth), "{level} {n}");
        }
    }
}

#[test]
fn rms_norm_shows_a_mean_that_is_not_finite() {
    for level in Level::available() {
        for n in [16, 17, 100] {
            let run = |x: &[f32]| {
                let mut out = vec![0.0; n];
                rms_norm(level, x, &vec![1.0; n], 1e-6, &mut out);
                out
            };
            // The sums of the lanes overflow, or only the sum of all; and one value is to blame.
            let mut bad = vec![vec![1e20; n], vec![1.5e19; n]];
            for one in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
                let mut x = vec![1.0; n];
                x[n - 1] = one;
                bad.push(x);
            }
            for x in bad {
                assert!(
                    run(&x).iter().all(|y| y.is_nan()),
                    "{level} {n}: {:e}",
                    x[n - 1]
                );
            }
            for y in run(&vec![1e18; n]) {
                assert!((y - 1.0).abs() < 1e-6, "{level} {n}: {y}");
            }
        }
    }
}

#[test]
fn swiglu_is_right_and_the_same_everywhere() {
    for n in [1, 16, 33, 11008] {
        let (mut gate, up) = (numbers(n, 3), numbers(n, 4));
        gate.iter_mut()
            .enumerate()
            .for_each(|(i, g)| *g *= [1.0, 20.0, 300.0][i % 3]);
        let mut truth = gate.clone();
        swiglu(Level::Scalar, &mut truth, &up);
        for i in 0..n {
            let g = f64::from(gate[i]);
            let y = g / (1.0 + (-g).exp()) * f64::from(up[i]);
            assert!(
                (f64::from(truth[i]) - y).abs() <= 1e-6 * y.abs().max(1e-26),
                "{g}: {} is not {y}",
                truth[i]
            );
        }
        for level in Level::available() {
            let mut out = gate.clone();
            swiglu(level, &mut out, &up);
            assert_eq!(bits(&out), bits(&truth), "{level} {n}");
        }
    }
}

#[test]
fn swiglu_goes_to_zero_where_the_exponential_ends() {
    let gates = [
        -80.0,
        -88.3,
        -88.4,
        -100.0,
        -1e3,
        -1e5,
        -1e6,
        -1e30,
        f32::MIN,
        -0.0,
        80.0,
        88.3,
        88.4,
        1e30,
        f32::MAX,
    ];
    let mut truth = gates;
    swiglu(Level::Scalar, &mut truth, &[1.0; 15]);
    for (gate, y) in gates.into_iter().zip(truth) {
        let g = f64::from(gate);
        let silu = g / (1.0 + (-g).exp());
        assert!(
            (f64::from(y) - silu).abs() <= 1e-6 * silu.abs() + 5e-34,
            "{gate:e}: {y:e} is not {silu:e}"
        );
    }
    for level in Level::available() {
        let mut out = gates;
        swiglu(level, &mut out, &[1.0; 15]);
        assert_eq!(bits(&out), bits(&truth), "{level}");
        for (gate, up) in [
            (f32::NAN, 1.0),
            (f32::INFINITY, 1.0),
            (f32::NEG_INFINITY, 1.0),
            (f32::NEG_INFINITY, 0.0),
            (f32::MIN, f32::NAN),
            (f32::MIN, f32::INFINITY),
            (-0.0, f32::INFINITY),
        ] {
            let mut out = [gate];
            swiglu(level, &mut out, &[up]);
            assert!(!out[0].is_finite(), "{level} {gate} {up}: {}", out[0]);
        }
    }
}

#[test]
fn rope_turns_the_pairs_it_says() {
    let (cos, sin) = ([0.0, -1.0], [1.0, 0.0]);
    let table = RopeTable {
        cos: &cos,
        sin: &sin,
    };
    let mut head = [1.0, 2.0, 3.0, 4.0, 5.0];
    rope(&mut head, RopePairs::Adjacent, table);
    assert_eq!(head, [-2.0, 1.0, -3.0, -4.0, 5.0]);
    let mut head = [1.0, 2.0, 3.0, 4.0, 5.0];
    rope(&mut head, RopePairs::Halves, table);
    assert_eq!(head, [-3.0, -2.0, 1.0, -4.0, 5.0]);
}

/// A KV head of `n` positions in one of the three formats.
enum Stored {
    F32(Vec<f32>),
    F16(Vec<u16>),
    Q8_0(Vec<BlockQ8_0>),
}

impl Stored {
    fn new(kind: usize, level: Level, x: &[f32], head_dim: usize) -> Stored {
        let mut all = match kind {
            0 => Stored::F32(vec![0.0; x.len()]),
            1 => Stored::F16(vec![0; x.len()]),
            _ => Stored::Q8_0(vec![bytemuck::Zeroable::zeroed(); x.len() / 32]),
        };
        for (i, x) in x.chunks_exact(head_dim).enumerate() {
            let at = |unit: usize| i * head_dim / unit..(i + 1) * head_dim / unit;
            let row = match &mut all {
                Stored::F32(all) => KvRowMut::F32(&mut all[at(1)]),
                Stored::F16(all) => KvRowMut::F16(&mut all[at(1)]),
                Stored::Q8_0(all) => KvRowMut::Q8_0(&mut all[at(32)]),
            };
            store(level, x, row);
        }
        all
    }
    fn rows(&self) -> KvRows<'_> {
        match self {
            Stored::F32(all) => KvRows::F32(all),
            Stored::F16(all) => KvRows::F16(all),
            Stored::Q8_0(all) => KvRows::Q8_0(all),
        }
    }
}

const BLOCK: BlockQ8_0 = BlockQ8_0 { d: 0, qs: [0; 32] };

#[test]
#[should_panic(expected = "a place for each value")]
fn half_a_row_is_not_stored_in_blocks() {
    store(Level::Scalar, &[1.0; 48], KvRowMut::Q8_0(&mut [BLOCK]));
}

#[test]
#[should_panic(expected = "a place for each value")]
fn a_row_is_not_stored_in_a_longer_one() {
    store(Level::Scalar, &[1.0; 16], KvRowMut::F16(&mut [0; 32]));
}

#[test]
#[should_panic(expected = "not whole blocks")]
fn heads_in_blocks_are_whole_blocks() {
    let (ones, blocks) = ([1.0; 48], [BLOCK]);
    let job = Attend {
        keys: KvRows::F32(&ones),
        values: KvRows::Q8_0(&blocks),
        head_dim: 48,
        scale: 1.0,
        first: 0,
        tokens: 1,
        group: 1,
        queries: &ones,
    };
    attend(
        Level::Scalar,
        &job,
        &mut AttendScratch::default(),
        &mut [0.0; 48],
    );
}

#[test]
fn scores_that_are_not_finite_stay_visible() {
    let (head_dim, group, first, tokens) = (32, 2, 40, 3);
    let n = first + tokens;
    let (k, v) = (numbers(n * head_dim, 8), numbers(n * head_dim, 9));
    // Of a key that is one number, one head has scores above zero and the other below.
    let mut q = numbers(tokens * group * head_dim, 10);
    for (i, q) in q.chunks_exact_mut(head_dim).enumerate() {
        let sign = if i % group == 0 { 1.0 } else { -1.0 };
        q.iter_mut().for_each(|q| *q = sign * q.abs());
    }
    for kind in 0..3 {
        // What overflows: the sum of the products, or half precision.
        let large = if kind == 1 { 1e5 } else { f32::MAX };
        for level in Level::available() {
            let run = |k: &[f32]| {
                let (keys, values) = (
                    Stored::new(kind, level, k, head_dim),
                    Stored::new(kind, level, &v, head_dim),
                );
                let mut out = vec![0.0; q.len()];
                let job = Attend {
                    keys: keys.rows(),
                    values: values.rows(),
                    head_dim,
                    scale: 0.25,
                    first,
                    tokens,
                    group,
                    queries: &q,
                };
                attend(level, &job, &mut AttendScratch::default(), &mut out);
                out
            };
            let sound = run(&k);
            assert!(sound.iter().all(|y| y.is_finite()));
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, large, -large] {
                for position in [0, 5, 31, 32, 40, 41, 42] {
                    let mut k = k.clone();
                    k[position * head_dim..][..head_dim].fill(bad);
                    let out = run(&k);
                    for (i, (out, sound)) in out
                        .chunks_exact(head_dim)
                        .zip(sound.chunks_exact(head_dim))
                        .enumerate()
                    {
                        let right = if first + i / group >= position {
                            out.iter().all(|y| y.is_nan())
                        } else {
                            bits(out) == bits(sound)
                        };
                        assert!(
                            right,
                            "{level} kind {kind} {bad:e} at {position}: query {i}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn attention_is_right_and_the_same_everywhere_and_in_any_chunks() {
    // How keys are stored, and values.
    for (kinds, tolerance) in [
        ([0, 0], 2e-6),
        ([1, 1], 2e-3),
        ([2, 2], 2e-2),
        ([0, 1], 2e-3),
        ([1, 2], 2e-2),
        ([2, 0], 2e-2),
    ] {
        // Heads of the last three end in half a vector.
        for (head_dim, group, first, tokens) in [
            (32_usize, 1, 0, 1),
            (32, 4, 0, 70),
            (64, 3, 31, 5),
            (128, 4, 100, 9),
            (96, 7, 63, 2),
            (32, 5, 64, 1),
            (24, 3, 30, 4),
            (40, 4, 33, 2),
            (72, 2, 63, 5),
        ] {
            // Heads in blocks are whole blocks. A long prompt would take its time, and say nothing new of two kinds.
            let blocks = kinds.contains(&2);
            let mixed = kinds[0] != kinds[1];
            if (blocks && !head_dim.is_multiple_of(32)) || (mixed && tokens > 9) {
                continue;
            }
            let n = first + tokens;
            let (k, v) = (numbers(n * head_dim, 5), numbers(n * head_dim, 6));
            let mut q = numbers(tokens * group * head_dim, 7);
            q.iter_mut().for_each(|q| *q *= 6.0);
            let scale = 1.0 / (head_dim as f32).sqrt();
            let (keys, values) = (
                Stored::new(kinds[0], Level::Scalar, &k, head_dim),
                Stored::new(kinds[1], Level::Scalar, &v, head_dim),
            );
            let run = |level, keys: &Stored, values: &Stored, from: usize, count: usize| {
                let queries = &q[from * group * head_dim..(from + count) * group * head_dim];
                let mut out = vec![f32::NAN; queries.len()];
                let job = Attend {
                    keys: keys.rows(),
                    values: values.rows(),
                    head_dim,
                    scale,
                    first: first + from,
                    tokens: count,
                    group,
                    queries,
                };
                attend(level, &job, &mut AttendScratch::default(), &mut out);
                out
            };
            let truth = run(Level::Scalar, &keys, &values, 0, tokens);

            for (i, (q, out)) in q
                .chunks_exact(head_dim)
                .zip(truth.chunks_exact(head_dim))
                .enumerate()
            {
                let seen = first + i / group + 1;
                let dot = |k: &[f32]| {
                    q.iter()
                        .zip(k)
                        .map(|(&a, &b)| f64::from(a) * f64::from(b))
                        .sum::<f64>()
                };
                let p: Vec<f64> = k
                    .chunks_exact(head_dim)
                    .take(seen)
                    .map(|k| (dot(k) * f64::from(scale)).exp())
                    .collect();
                let total: f64 = p.iter().sum();
                for d in 0..head_dim {
                    let y = p
                        .iter()
                        .enumerate()
                        .map(|(t, p)| p * f64::from(v[t * head_dim + d]))
                        .sum::<f64>()
                        / total;
                    assert!(
                        (f64::from(out[d]) - y).abs() < tolerance,
                        "{head_dim} values, kinds {kinds:?}, query {i} of {seen}: {} is not {y}",
                        out[d]
                    );
                }
            }
            for level in Level::available() {
                let (keys, values) = (
                    Stored::new(kinds[0], level, &k, head_dim),
                    Stored::new(kinds[1], level, &v, head_dim),
                );
                assert_eq!(
                    bits(&run(level, &keys, &values, 0, tokens)),
                    bits(&truth),
                    "{level} {head_dim} values, kinds {kinds:?}"
                );
                for chunk in [1, 3, 8] {
                    let mut parts = Vec::new();
                    for from in (0..tokens).step_by(chunk) {
                        parts.extend(run(level, &keys, &values, from, chunk.min(tokens - from)));
                    }
                    assert_eq!(
                        bits(&parts),
                        bits(&truth),
                        "{level} {head_dim} values, kinds {kinds:?}, in chunks of {chunk}"
                    );
                }
            }
        }
    }
}
