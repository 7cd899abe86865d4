//! What a pass costs at least, what the machine can do at most, and the quotient.

use super::Test;
use crate::error::{Error, Result};
use crate::model::{Linear, Model, Step};
use smolq_kernels::input::InputKind;
use smolq_kernels::{Pool, input_kind, limit};
use std::time::Duration;

/// Memory that is read to measure how fast it is, in bytes: more than any usual cache holds. Weights of at least this size
/// are read in their place, which takes no memory, and is what decoding does.
const ENOUGH: usize = 256 << 20;

/// What the machine can do at best with the threads of a pool.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Bytes per second at which memory is read.
    pub read_bandwidth: f64,
    /// 8-bit multiply-accumulates per second.
    pub integer_peak: f64,
}

impl Limits {
    /// Measures both with the level of `model`: memory bandwidth on its own weights, if there are enough of them.
    ///
    /// # Errors
    /// If a model is small and the memory to measure with is not to be had.
    pub fn measure(model: &Model, pool: &Pool) -> Result<Limits> {
        let level = model.level();
        let own = model.gguf().tensor_data().max_by_key(|data| data.len());
        let read_bandwidth = match own {
            Some(data) if data.len() >= ENOUGH => {
                let (_, words, _) = bytemuck::pod_align_to::<u8, u64>(&data);
                limit::read_bandwidth(pool, level, words)
            }
            _ => {
                let mut words = Vec::new();
                words
                    .try_reserve_exact(ENOUGH / size_of::<u64>())
                    .map_err(|_| {
                        Error::Resources(format!(
                            "no memory for {} MiB to measure its speed",
                            ENOUGH >> 20
                        ))
                    })?;
                // Something other than zeros: untouched pages would all be one.
                words.resize(ENOUGH / size_of::<u64>(), 1);
                limit::read_bandwidth(pool, level, &words)
            }
        };
        Ok(Limits {
            read_bandwidth,
            integer_peak: limit::integer_peak(pool, level),
        })
    }

    /// Takes over what is higher in `other`.
    pub fn raise(&mut self, other: Limits) {
        self.read_bandwidth = self.read_bandwidth.max(other.read_bandwidth);
        self.integer_peak = self.integer_peak.max(other.integer_peak);
    }

    /// The least time that bytes and products take: whichever of the two is slower. And which.
    fn time(&self, cost: Cost) -> (f64, Bound) {
        let memory = cost.bytes as f64 / self.read_bandwidth;
        let compute = cost.macs as f64 / self.integer_peak;
        if memory >= compute {
            (memory, Bound::Memory)
        } else {
            (compute, Bound::Compute)
        }
    }
}

/// What stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Reading weights and the cache.
    Memory,
    /// Multiplying.
    Compute,
}

impl Bound {
    /// `memory` or `compute`.
    pub fn name(self) -> &'static str {
        match self {
            Bound::Memory => "memory",
            Bound::Compute => "compute",
        }
    }
}

/// A result as a share of its limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// 1 is the limit.
    pub of_limit: f64,
    /// The limit that counts: the one that takes most of the least possible time.
    pub bound: Bound,
}

/// Bytes to read and products of whole numbers to add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes of weights.
    pub bytes: u64,
    /// Multiply-accumulates for one token.
    pub macs: u64,
}

/// What the matrices of a model cost, by the step that uses them. Norms, attention and the rest are left out: they are what
/// an engine adds to the least that must be done.
#[derive(Clone, Debug)]
pub struct Work {
    steps: [Cost; Step::ALL.len()],
    float: bool,
}

impl Work {
    /// Sums up the matrices of a model.
    pub fn of(model: &Model) -> Work {
        let mut work = Work {
            steps: [Cost::default(); Step::ALL.len()],
            float: false,
        };
        for layer in model.layers() {
            work.add(Step::Qkv, &layer.q);
            work.add(Step::Qkv, &layer.k);
            work.add(Step::Qkv, &layer.v);
            work.add(Step::AttentionOutput, &layer.o);
            work.add(Step::GateUp, &layer.gate);
            work.add(Step::GateUp, &layer.up);
            work.add(Step::Down, &layer.down);
        }
        work.add(Step::Logits, model.weights.head());
        work
    }

    fn add(&mut self, step: Step, matrix: &Linear) {
        let weights = (matrix.rows * matrix.cols) as u64;
        let format = matrix.format;
        let cost = &mut self.steps[step as usize];
        cost.bytes += weights / format.block_len() as u64 * format.block_bytes() as u64;
        cost.macs += weights;
        self.float |= input_kind(format) == InputKind::Float;
    }

    /// What the matrices of a kind of step cost: bytes for each pass, products for each token.
    pub fn step(&self, step: Step) -> Cost {
        self.steps[step as usize]
    }

    /// What all matrices cost for a pass of one token.
    pub fn token(&self) -> Cost {
        let mut sum = Cost::default();
        for cost in &self.steps {
            sum.bytes += cost.bytes;
            sum.macs += cost.macs;
        }
        sum
    }

    /// Whether some matrix holds floats, which are not multiplied as whole numbers.
    pub fn float(&self) -> bool {
        self.float
    }

    /// The share of the limit that a test reached that took `time`, in passes of `pass` tokens and with `kv_bytes` for each
    /// position in the cache. Each pass reads every weight and every position held once, and multiplies each token by each
    /// matrix, that of the logits only where they are wanted. `None` for prompts of models with float matrices: products of
    /// floats have another limit.
    pub fn share(
        &self,
        test: Test,
        pass: usize,
        kv_bytes: u64,
        limits: &Limits,
        time: Duration,
    ) -> Option<Share> {
        if self.float && test.n_prompt > 0 {
            return None;
        }
        let head = self.step(Step::Logits);
        let token = self.token();
        let mut by = [0.0; 2];
        let mut add = |tokens: usize, held: usize, logits: bool| {
            let wanted = u64::from(logits);
            let (time, bound) = limits.time(Cost {
                bytes: token.bytes - head.bytes + wanted * head.bytes + held as u64 * kv_bytes,
                macs: if self.float {
                    0
                } else {
                    tokens as u64 * (token.macs - head.macs) + wanted * head.macs
                },
            });
            by[bound as usize] += time;
        };
        let mut held = test.n_depth;
        let mut left = test.n_prompt;
        while left > 0 {
            let tokens = left.min(pass.max(1));
            left -= tokens;
            add(tokens, held, left == 0);
            held += tokens;
        }
        for _ in 0..test.n_gen {
            add(1, held, true);
            held += 1;
        }
        let least: f64 = by.iter().sum();
        let bound = if by[Bound::Memory as usize] >= by[Bound::Compute as usize] {
            Bound::Memory
        } else {
            Bound::Compute
        };
        let of_limit = least / time.as_secs_f64();
        of_limit.is_finite().then_some(Share { of_limit, bound })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(float: bool) -> Work {
        let mut work = Work {
            steps: [Cost::default(); Step::ALL.len()],
            float,
        };
        work.steps[Step::Qkv as usize] = Cost {
            bytes: 600,
            macs: 1000,
        };
        work.steps[Step::Logits as usize] = Cost {
            bytes: 400,
            macs: 500,
        };
        work
    }

    const LIMITS: Limits = Limits {
        read_bandwidth: 1000.0,
        integer_peak: 10_000.0,
    };

    fn share(
        float: bool,
        n_prompt: usize,
        n_gen: usize,
        n_depth: usize,
        seconds: f64,
    ) -> Option<Share> {
        let test = Test {
            n_prompt,
            n_gen,
            n_depth,
        };
        work(float).share(test, 512, 10, &LIMITS, Duration::from_secs_f64(seconds))
    }

    #[test]
    fn decoding_reads_the_weights_and_the_cache() {
        // 1000 bytes at 1000 bytes/s, against 1500 products at 10000/s.
        let tg = share(false, 0, 1, 0, 2.0).unwrap();
        assert_eq!(
            tg,
            Share {
                of_limit: 0.5,
                bound: Bound::Memory
            }
        );
        // 1000 bytes and 50 positions of 10 bytes.
        assert_eq!(share(false, 0, 1, 50, 3.0).unwrap().of_limit, 0.5);
        // The second token finds the first in the cache.
        assert!((share(false, 0, 2, 0, 4.02).unwrap().of_limit - 0.5).abs() < 1e-12);
        // Floats have a limit as long as it is memory.
        assert_eq!(share(true, 0, 1, 0, 2.0), Some(tg));
    }

    #[test]
    fn prompts_multiply_and_want_one_row_of_logits() {
        // 1000 tokens are two passes: 512 x 1000, then 488 x 1000 + 500 products.
        let pp = share(false, 1000, 0, 0, 200.1).unwrap();
        assert_eq!(pp.bound, Bound::Compute);
        assert!((pp.of_limit - 0.5).abs() < 1e-3);
        // One token is a token.
        assert_eq!(share(false, 1, 0, 0, 2.0), share(false, 0, 1, 0, 2.0));
        assert_eq!(share(true, 1000, 0, 0, 1.0), None);
        assert_eq!(share(false, 10, 0, 0, 0.0), None);
    }

    #[test]
    fn the_higher_limit_of_two_counts() {
        let mut limits = LIMITS;
        limits.raise(Limits {
            read_bandwidth: 1.0,
            integer_peak: 20_000.0,
        });
        assert_eq!(
            (limits.read_bandwidth, limits.integer_peak),
            (1000.0, 20_000.0)
        );
    }
}
