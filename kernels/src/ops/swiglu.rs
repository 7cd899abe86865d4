//! The gate of the feed-forward network.

use super::exp::exp;
use super::norm::store_floats;
use crate::Level;
use crate::float::load_floats;
use crate::isa::{Isa, Task, with_isa};

/// Gates are cut to this in the numerator, since `e^-x` stays at 2.39e38: without it, -1e38 would become -0.42.
const LOWEST: f32 = -1e5;

struct Swiglu<'a> {
    gate: &'a mut [f32],
    up: &'a [f32],
}

impl Task for Swiglu<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let one = isa.splat_wide(1.0);
        let minus = isa.splat_wide(-1.0);
        let (zero, lowest) = (isa.splat_wide(0.0), isa.splat_wide(LOWEST));
        for at in (0..self.gate.len()).step_by(16) {
            let gate = load_floats(isa, self.gate, at);
            let sigmoid = isa.add(one, exp(isa, isa.mul(gate, minus)));
            // The product with zero keeps infinite ones visible, and changes no others.
            let gate = isa.fma(gate, zero, isa.max(lowest, gate));
            let y = isa.mul(isa.div(gate, sigmoid), load_floats(isa, self.up, at));
            store_floats(isa, y, self.gate, at);
        }
    }
}

/// `gate = silu(gate) * up` with `silu(x) = x / (1 + e^-x)` (Shazeer 2020, arXiv:2002.05202). Below -88.37, where `silu` is
/// nearer to zero than 4e-37, what stands for it is nearer than 5e-34. A gate that is infinite gives NaN.
///
/// # Panics
/// If the lengths differ.
pub fn swiglu(level: Level, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len());
    with_isa!(level, isa => isa.run(Swiglu { gate, up }));
}
