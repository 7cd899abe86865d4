//! The exponential function, one polynomial for every level.

use crate::isa::Isa;

/// Arguments are cut to these: from here to there `e^x` is a normal number, and so is the power of two in it.
const LOWEST: f32 = -87.33;
const HIGHEST: f32 = 88.37;

/// `e^x` to about one unit in the last place for `x` from -87.33 to 88.37. Anything lower gives `e^-87.33` = 1.183e-38, a little more
/// than the smallest normal number; anything higher `e^88.37` = 2.391e38, 0.7 of the largest number. A NaN stays a NaN.
#[inline(always)]
pub(crate) fn exp<I: Isa>(isa: I, x: I::Wide) -> I::Wide {
    // The comparisons give their second operand where one is a NaN.
    let x = isa.min(isa.splat_wide(HIGHEST), x);
    between(isa, isa.max(isa.splat_wide(LOWEST), x))
}

/// [`exp`], bit for bit, of what is not above zero, but for minus infinity, which becomes a NaN. Above zero it may be anything.
#[inline(always)]
pub(crate) fn exp_below<I: Isa>(isa: I, x: I::Wide) -> I::Wide {
    let y = between(isa, isa.max(x, isa.splat_wide(LOWEST)));
    // The product is a NaN if `x` is not finite; else it is zero, and `y` is not.
    isa.fma(x, isa.splat_wide(0.0), y)
}

/// `e^x` of what lies between the bounds, or is a NaN.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`; `e^r` by its Taylor polynomial of degree 7, whose remainder is below
/// `r^8 / 8! = 5e-9`.
#[inline(always)]
fn between<I: Isa>(isa: I, x: I::Wide) -> I::Wide {
    let k = |value: f32| isa.splat_wide(value);
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
    use crate::Level;
    use crate::isa::{Scalar, Task, with_isa};

    /// `exp` and `exp_below` of 16 numbers.
    struct Both([f32; 16]);

    impl Task for Both {
        type Out = [[f32; 16]; 2];
        #[inline(always)]
        fn run<I: Isa>(self, isa: I) -> [[f32; 16]; 2] {
            let x = isa.wide(&self.0);
            [
                isa.wide_array(exp(isa, x)),
                isa.wide_array(exp_below(isa, x)),
            ]
        }
    }

    fn both(level: Level, x: f32) -> [f32; 2] {
        let [exp, below] = with_isa!(level, isa => isa.run(Both([x; 16])));
        [exp[0], below[0]]
    }

    #[test]
    fn is_close_to_the_true_value() {
        let mut worst = 0.0f64;
        for i in -87_329..88_370 {
            let x = i as f32 * 1e-3;
            let y = f64::from(exp(Scalar, [x; 16])[0]);
            let truth = f64::from(x).exp();
            worst = worst.max((y / truth - 1.0).abs());
        }
        assert!(worst < 1.5e-7, "relative error {worst:e}");
        assert_eq!(exp(Scalar, [0.0; 16])[0], 1.0);
    }

    #[test]
    fn stays_where_the_bounds_are() {
        let [highest, lowest] = [88.37, -87.33].map(|x| exp(Scalar, [x; 16])[0]);
        assert!((2.391e38..2.392e38).contains(&highest), "{highest:e}");
        assert!((1.183e-38..1.184e-38).contains(&lowest), "{lowest:e}");
        for level in Level::available() {
            for x in [88.37, 88.38, 100.0, f32::MAX, f32::INFINITY] {
                assert_eq!(both(level, x)[0], highest, "{level} {x:e}");
            }
            for x in [-87.33, -87.34, -100.0, f32::MIN] {
                assert_eq!(both(level, x), [lowest; 2], "{level} {x:e}");
            }
            assert_eq!(both(level, f32::NEG_INFINITY)[0], lowest, "{level}");
        }
    }

    #[test]
    fn what_is_not_a_number_stays_visible() {
        for level in Level::available() {
            for nan in [f32::NAN, -f32::NAN] {
                assert!(both(level, nan).iter().all(|y| y.is_nan()), "{level}");
            }
            assert!(both(level, f32::NEG_INFINITY)[1].is_nan(), "{level}");
        }
    }

    #[test]
    fn has_the_same_bits_below_zero_either_way() {
        for level in Level::available() {
            for x in (0..88_000).step_by(7).map(|i| i as f32 * -1e-3) {
                let truth = exp(Scalar, [x; 16])[0].to_bits();
                assert_eq!(both(level, x).map(f32::to_bits), [truth; 2], "{level} {x}");
            }
        }
    }
}
