//! Angles of the rotary embedding: one frequency for each pair of values, scaled as the file says, computed in f64 with a
//! pure-Rust library so that every CPU has the same table.

use super::config::{Config, RopeScaling};
use smolq_kernels::ops::RopeTable;
use std::f64::consts::TAU;

/// Angle of each pair for one step of position, and the factor of cosine and sine.
pub(crate) struct Frequencies {
    per_position: Vec<f64>,
    magnitude: f64,
}

impl Frequencies {
    /// `factors` divide the frequencies (the tensor `rope_freqs.weight`, as Llama 3 has it).
    pub(crate) fn new(config: &Config, factors: Option<&[f32]>) -> Frequencies {
        let rope = &config.rope;
        let n = config.n_rot as f64;
        let (base, scale) = (f64::from(rope.freq_base), f64::from(rope.freq_scale));
        // The pair that turns `rotations` times over the original context (YaRN, section 3.2).
        let pair_of = |rotations: f32| {
            n * libm::log(rope.orig_ctx as f64 / (f64::from(rotations) * TAU))
                / (2.0 * libm::log(base))
        };
        let low = libm::floor(pair_of(rope.beta_fast)).max(0.0);
        let high = libm::ceil(pair_of(rope.beta_slow)).min(n - 1.0);
        let ext = f64::from(rope.ext_factor);
        let per_position = (0..config.n_rot / 2)
            .map(|i| {
                let factor = factors.map_or(1.0, |factors| f64::from(factors[i]));
                let trained = libm::pow(base, -2.0 * i as f64 / n) / factor;
                let ramp = 1.0 - ((i as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
                let kept = ramp * ext;
                trained * scale * (1.0 - kept) + trained * kept
            })
            .collect();
        // YaRN, section 3.4: attention is sharpened as the context grows.
        let sharpened = if rope.scaling == RopeScaling::Yarn && ext != 0.0 {
            1.0 + 0.1 * libm::log(1.0 / scale)
        } else {
            1.0
        };
        Frequencies {
            per_position,
            magnitude: f64::from(rope.attn_factor) * sharpened,
        }
    }

    /// Writes `[cos, sin]` of a position: each as long as there are pairs.
    pub(crate) fn write(&self, position: usize, out: &mut [f32]) {
        let (cos, sin) = out.split_at_mut(self.per_position.len());
        for ((cos, sin), per_position) in cos.iter_mut().zip(sin).zip(&self.per_position) {
            let angle = position as f64 * per_position;
            *cos = (libm::cos(angle) * self.magnitude) as f32;
            *sin = (libm::sin(angle) * self.magnitude) as f32;
        }
    }
}

/// A row written by [`Frequencies::write`].
pub(crate) fn table(row: &[f32]) -> RopeTable<'_> {
    let (cos, sin) = row.split_at(row.len() / 2);
    RopeTable { cos, sin }
}
