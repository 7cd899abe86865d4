//! RMSNorm and the residual.

use crate::Level;
use crate::float::load_floats;
use crate::isa::{Isa, Task, with_isa};

struct RmsNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl Task for RmsNorm<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let n = self.x.len();
        let mut squares = isa.splat_wide(0.0);
        for at in (0..n).step_by(16) {
            let x = load_floats(isa, self.x, at);
            squares = isa.fma(x, x, squares);
        }
        let mean = isa.sum(squares) / n as f32 + self.eps;
        // One over the root of infinity is zero, and zeros would hide that the sum has overflowed.
        let scale = if mean.is_finite() {
            1.0 / mean.sqrt()
        } else {
            f32::NAN
        };
        let scale = isa.splat_wide(scale);
        for at in (0..n).step_by(16) {
            let x = isa.mul(load_floats(isa, self.x, at), scale);
            let y = isa.mul(x, load_floats(isa, self.weight, at));
            store_floats(isa, y, self.out, at);
        }
    }
}

/// Stores up to 16 floats from `at`.
#[inline(always)]
pub(crate) fn store_floats<I: Isa>(isa: I, a: I::Wide, out: &mut [f32], at: usize) {
    match out[at..].first_chunk_mut::<16>() {
        Some(full) => isa.put(a, full),
        None => {
            let rest = &mut out[at..];
            rest.copy_from_slice(&isa.wide_array(a)[..rest.len()]);
        }
    }
}

/// `out = x / sqrt(mean(x^2) + eps) * weight` (Zhang and Sennrich 2019, arXiv:1910.07467); all NaN if the mean is not finite.
///
/// # Panics
/// If the lengths differ.
pub fn rms_norm(level: Level, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    assert!(x.len() == weight.len() && x.len() == out.len());
    with_isa!(level, isa => isa.run(RmsNorm { x, weight, eps, out }));
}

/// `x += y`.
pub fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}
