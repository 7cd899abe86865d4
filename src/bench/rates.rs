//! Repetitions summed up.

/// A difference that is worth telling, as a share: about what one good change of a kernel gives. A result whose own spread
/// hides differences of this size is noisy.
pub const TELLING: f64 = 0.05;

/// Tokens per second of some repetitions.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    /// Each repetition, in order.
    pub samples: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Standard deviation of the samples; 0 for fewer than two.
    pub stddev: f64,
    /// The slowest.
    pub min: f64,
    /// The middle one; between the two middle ones, if there are two.
    pub median: f64,
    /// The fastest.
    pub max: f64,
}

impl Rates {
    /// Sums up `samples`; of none, everything is 0.
    pub fn of(samples: Vec<f64>) -> Rates {
        let n = samples.len() as f64;
        let mut sorted = samples.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |i: usize| sorted.get(i).copied().unwrap_or(0.0);
        let last = sorted.len().saturating_sub(1);
        let mean = sorted.iter().sum::<f64>() / n.max(1.0);
        let squares: f64 = sorted.iter().map(|x| (x - mean).powi(2)).sum();
        Rates {
            mean,
            stddev: (squares / (n - 1.0).max(1.0)).sqrt(),
            min: at(0),
            median: (at(last / 2) + at(last.div_ceil(2))) / 2.0,
            max: at(last),
            samples,
        }
    }

    /// The smallest difference to another result of the same spread that means something, as a share of the mean: two standard
    /// errors of the difference of two such means, `2 sqrt(2 / n) stddev / mean`. Nothing is known of fewer than two samples.
    pub fn resolution(&self) -> Option<f64> {
        let n = self.samples.len();
        (n > 1 && self.mean > 0.0).then(|| 2.0 * (2.0 / n as f64).sqrt() * self.stddev / self.mean)
    }

    /// Whether the spread hides differences of [`TELLING`] size. For five samples, a standard deviation above 4 % does.
    pub fn noisy(&self) -> bool {
        self.resolution()
            .is_some_and(|resolution| resolution > TELLING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_none_one_even_and_odd() {
        let none = Rates::of(vec![]);
        assert_eq!(
            (none.mean, none.median, none.stddev, none.resolution()),
            (0.0, 0.0, 0.0, None)
        );
        let one = Rates::of(vec![3.0]);
        assert_eq!(
            (one.mean, one.min, one.median, one.max, one.stddev),
            (3.0, 3.0, 3.0, 3.0, 0.0)
        );
        assert_eq!((one.resolution(), one.noisy()), (None, false));
        let even = Rates::of(vec![4.0, 1.0, 2.0, 3.0]);
        assert_eq!(
            (even.mean, even.min, even.median, even.max),
            (2.5, 1.0, 2.5, 4.0)
        );
        assert!((even.stddev - (5.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(even.samples, [4.0, 1.0, 2.0, 3.0]);
        let odd = Rates::of(vec![9.0, 1.0, 2.0]);
        assert_eq!(odd.median, 2.0);
    }

    #[test]
    fn five_samples_are_noisy_above_four_percent() {
        // Deviations -1, -1, 0, 1, 1 have a sample standard deviation of exactly 1.
        let spread =
            |s: f64| Rates::of([-1.0, -1.0, 0.0, 1.0, 1.0].map(|x| 100.0 + s * x).to_vec());
        assert!((spread(1.0).stddev - 1.0).abs() < 1e-12);
        assert!(!spread(3.9).noisy());
        assert!(spread(4.0).noisy());
        assert!(!spread(0.0).noisy());
    }
}
