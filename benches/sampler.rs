//! Choosing one token of 128,256: `cargo bench --bench sampler -- [FILTER]`.
//!
//! Two kinds of logits: `peaked`, as a trained model gives them (a few tokens hold most of the probability and the rest
//! trails far behind), and `flat`, as random weights do (no cut takes out much, the worst case of every filter).

use criterion::Criterion;
use smolq::sample::{Random, SampleOptions, Sampler};
use std::hint::black_box;
use std::time::Duration;

/// The vocabulary of SmolLM3.
const N_VOCAB: usize = 128_256;

/// About normal noise of standard deviation 1: the sum of twelve uniform numbers, less their mean.
fn noise(random: &mut Random) -> f32 {
    (0..12).map(|_| random.next_unit()).sum::<f64>() as f32 - 6.0
}

/// Logits around -2, with a head of 64 tokens that falls from 16 by half a unit from each to the next.
fn peaked() -> Vec<f32> {
    let mut random = Random::from_seed(1);
    let mut logits: Vec<f32> = (0..N_VOCAB)
        .map(|_| 2.0 * noise(&mut random) - 2.0)
        .collect();
    for i in 0..64 {
        let id = random.next_u64() as usize % N_VOCAB;
        logits[id] = 16.0 - 0.5 * i as f32;
    }
    logits
}

/// Logits around 0 that differ by little.
fn flat() -> Vec<f32> {
    let mut random = Random::from_seed(2);
    (0..N_VOCAB).map(|_| noise(&mut random)).collect()
}

fn main() {
    let mut c = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let defaults = SampleOptions {
        seed: Some(3),
        ..SampleOptions::default()
    };
    let open = SampleOptions {
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        ..defaults.clone()
    };
    let chains = [
        (
            "greedy",
            SampleOptions {
                temp: 0.0,
                ..defaults.clone()
            },
        ),
        ("default", defaults.clone()),
        (
            "penalties",
            SampleOptions {
                repeat_penalty: 1.1,
                repeat_last_n: 256,
                ..defaults.clone()
            },
        ),
        (
            "top-p",
            SampleOptions {
                top_p: 0.95,
                ..open.clone()
            },
        ),
        (
            "min-p",
            SampleOptions {
                min_p: 0.05,
                ..open.clone()
            },
        ),
        (
            "typical",
            SampleOptions {
                typical: 0.95,
                ..open.clone()
            },
        ),
        ("temp", open),
    ];
    for (shape, logits) in [("peaked", peaked()), ("flat", flat())] {
        let mut group = c.benchmark_group(format!("sampler/{shape}"));
        for (name, options) in &chains {
            let mut sampler = Sampler::new(options, N_VOCAB).expect("valid options");
            let mut said = Random::from_seed(4);
            for _ in 0..256 {
                sampler.accept((said.next_u64() % N_VOCAB as u64) as u32);
            }
            group.bench_function(*name, |b| {
                b.iter(|| sampler.sample(black_box(&logits)).expect("finite logits"))
            });
        }
        group.finish();
    }
}
