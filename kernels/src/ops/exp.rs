//! The exponential function, one polynomial for every level.

use crate::isa::Isa;

/// `e^x` to about one unit in the last place; below -87.3 the smallest normal result, above 88.7 the largest.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`; `e^r` by its Taylor polynomial of degree 7, whose remainder is below
/// `r^8 / 8! = 5e-9`.
#[inline(always)]
pub(crate) fn exp<I: Isa>(isa: I, x: I::Wide) -> I::Wide {
    let k = |value: f32| isa.splat_wide(value);
    let x = isa.max(isa.min(x, k(88.37)), k(-87.33));
    let n = isa.round(isa.mul(x, k(std::f32::consts::LOG2_E)));
    // ln 2 in two parts: the first has few enough bits that n times it is exact.
    let r = isa.fma(n, k(-0.693_359_4), x);
    let r = isa.fma(n, k(2.121_944_4e-4), r);
    let mut p = k(1.0 / 5040.0);
    for c in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = isa.fma(p, r, k(c));
    }
    isa.mul(p, isa.pow2(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Scalar;

    #[test]
    fn is_close_to_the_true_value() {
        let mut worst = 0.0f64;
        for i in -87_000..88_000 {
            let x = i as f32 * 1e-3;
            let y = f64::from(exp(Scalar, [x; 16])[0]);
            let truth = f64::from(x).exp();
            worst = worst.max((y / truth - 1.0).abs());
        }
        assert!(worst < 1.5e-7, "relative error {worst:e}");
        assert!(exp(Scalar, [-1e30; 16])[0] < 1.3e-38);
        assert!(exp(Scalar, [f32::NAN; 16])[0].is_nan() || exp(Scalar, [f32::NAN; 16])[0] > 0.0);
        assert_eq!(exp(Scalar, [0.0; 16])[0], 1.0);
    }
}
