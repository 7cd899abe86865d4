//! Weights of scores: `exp` of 128 thousand numbers for each token.
//!
//! One call of a library function after the other is most of the time of a chain without top-k. Here it is without
//! branches, so that the compiler works on several scores at once, and with the bits of `libm::expf` (the formula is
//! that of FreeBSD's msun), since recorded answers depend on them. The test compares the two.

/// The formula holds for results that are normal numbers; exp(-87.3) is the least.
const LEAST: f32 = -87.0;

/// How many scores are worked on at once.
const LANES: usize = 16;

/// Puts `exp((score - best) / temp)` of each score into `out`. No score is above `best`, and `temp` is above 0.
pub(super) fn weights(
    scores: impl ExactSizeIterator<Item = f32>,
    best: f32,
    temp: f32,
    out: &mut Vec<f32>,
) {
    out.clear();
    out.extend(scores.map(|score| (score - best) / temp));
    let (chunks, tail) = out.as_chunks_mut::<LANES>();
    for chunk in chunks {
        if chunk.iter().fold(true, |all, &x| all & (x >= LEAST)) {
            *chunk = chunk.map(exp_of_negative);
        } else {
            *chunk = chunk.map(libm::expf);
        }
    }
    for x in tail {
        *x = libm::expf(*x);
    }
}

/// The weight of one score.
pub(super) fn weight(score: f32, best: f32, temp: f32) -> f64 {
    f64::from(libm::expf((score - best) / temp))
}

/// exp(x) for x in [`LEAST`]` ..= 0`: x = k ln 2 + r, a rational approximation of exp(r), times 2^k.
#[inline(always)]
fn exp_of_negative(x: f32) -> f32 {
    // ln 2 in two parts, the first short enough that k times it is exact.
    const LN2_HIGH: f32 = f32::from_bits(0x3f31_7200);
    const LN2_LOW: f32 = f32::from_bits(0x35bf_be8e);
    // r (exp(r) + 1) / (exp(r) - 1) is about 2 + P1 r^2 + P2 r^4.
    const P1: f32 = f32::from_bits(0x3e2a_aa8f);
    const P2: f32 = f32::from_bits(0xbb35_5215);
    let k = (x * std::f32::consts::LOG2_E - 0.5) as i32;
    let high = x - k as f32 * LN2_HIGH;
    let low = k as f32 * LN2_LOW;
    let r = high - low;
    let square = r * r;
    let c = r - square * (P1 + square * P2);
    let mantissa = 1.0 + (r * c / (2.0 - c) - low + high);
    let power = mantissa * f32::from_bits(((k + 127) as u32) << 23);
    // Near 0 the sum above would round twice.
    const SMALL: f32 = -1.0 / (1 << 13) as f32;
    if x >= SMALL { 1.0 + x } else { power }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 97th float of those between 0 and where exp becomes 0, and the two ends.
    #[test]
    fn the_bits_of_libm() {
        let last = (-105.0_f32).to_bits();
        let inputs: Vec<f32> = ((-0.0_f32).to_bits()..last)
            .step_by(97)
            .map(f32::from_bits)
            .collect();
        assert!(inputs.len() > 10_000_000);
        let mut out = Vec::new();
        for inputs in inputs
            .chunks(1000)
            .chain([&[0.0, -0.0, LEAST, f32::MIN, f32::NEG_INFINITY][..]])
        {
            weights(inputs.iter().copied(), 0.0, 1.0, &mut out);
            for (x, y) in inputs.iter().zip(&out) {
                assert_eq!(y.to_bits(), libm::expf(*x).to_bits(), "exp({x})");
            }
        }
    }

    #[test]
    fn any_number_of_scores_at_any_temperature() {
        let mut out = Vec::new();
        for n in 0..40 {
            for temp in [f32::MIN_POSITIVE / 8.0, 0.5, 1.0, 1e30] {
                let scores: Vec<f32> = (0..n).map(|i| 3.0 - i as f32 * 5.0).collect();
                weights(scores.iter().copied(), 3.0, temp, &mut out);
                let expected: Vec<f64> = scores
                    .iter()
                    .map(|&score| weight(score, 3.0, temp))
                    .collect();
                assert_eq!(
                    out.iter().map(|&w| f64::from(w)).collect::<Vec<_>>(),
                    expected
                );
            }
        }
    }
}
