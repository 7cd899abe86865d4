//! The one source of chance: xoshiro256** (Blackman and Vigna, 2018), its state filled by splitmix64.
//!
//! Both are a few lines of integer arithmetic, so a seed gives the same draws on every machine and in every
//! release; changing either algorithm, or how many draws a token takes (one), breaks recorded answers and
//! needs a major version.

use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// A stream of random numbers, all of it decided by the seed.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream of a seed.
    pub fn from_seed(seed: u64) -> Self {
        let mut mixer = seed;
        Self {
            state: std::array::from_fn(|_| splitmix64(&mut mixer)),
        }
    }

    /// A seed nobody can guess well enough to repeat an answer by accident: the operating system's entropy, as
    /// the standard library's hasher holds it, and the clock.
    pub fn fresh_seed() -> u64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        RandomState::new().hash_one(now.as_nanos())
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// The next number in `[0, 1)`: a multiple of 2^-53.
    pub fn next_unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }
}

/// One step of splitmix64: any seed, 0 too, becomes well-mixed bits.
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The authors' reference programs print these.
    #[test]
    fn known_answers() {
        let mut seed = 1_234_567;
        assert_eq!(
            [(); 3].map(|()| splitmix64(&mut seed)),
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
        let mut random = Random {
            state: [1, 2, 3, 4],
        };
        assert_eq!(
            [(); 6].map(|()| random.next_u64()),
            [
                11_520,
                0,
                1_509_978_240,
                1_215_971_899_390_074_240,
                1_216_172_134_540_287_360,
                607_988_272_756_665_600
            ]
        );
    }

    #[test]
    fn unit_stays_below_one() {
        let mut random = Random::from_seed(0);
        let mut sum = 0.0;
        for _ in 0..10_000 {
            let u = random.next_unit();
            assert!((0.0..1.0).contains(&u));
            sum += u;
        }
        assert!((sum / 10_000.0 - 0.5).abs() < 0.02, "mean {sum}");
        let all_ones = u64::MAX >> 11;
        assert!(all_ones as f64 * (1.0 / (1_u64 << 53) as f64) < 1.0);
    }
}
