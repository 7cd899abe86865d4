//! The gate of the feed-forward network.

use super::exp::exp;
use super::norm::store_floats;
use crate::Level;
use crate::float::load_floats;
use crate::isa::{Isa, Task, with_isa};

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
        for at in (0..self.gate.len()).step_by(16) {
            let gate = load_floats(isa, self.gate, at);
            let sigmoid = isa.add(one, exp(isa, isa.mul(gate, minus)));
            let y = isa.mul(isa.div(gate, sigmoid), load_floats(isa, self.up, at));
            store_floats(isa, y, self.gate, at);
        }
    }
}

/// `gate = silu(gate) * up` with `silu(x) = x / (1 + e^-x)` (Shazeer 2020, arXiv:2002.05202).
///
/// # Panics
/// If the lengths differ.
pub fn swiglu(level: Level, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len());
    with_isa!(level, isa => isa.run(Swiglu { gate, up }));
}
