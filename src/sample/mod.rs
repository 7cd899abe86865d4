//! Logits in, one token id out.
//!
//! ```text
//! logits -> checked -> logit bias -> penalties -> top-k -> typical -> top-p -> min-p -> temperature -> draw
//! ```
//!
//! Names, defaults and order are those of llama.cpp. Temperature 0 is greedy: the best score after bias and
//! penalties, and no filter has a say. Of equal scores the smaller token id wins, here and in every filter.
//!
//! The same seed, options and logits give the same tokens on every machine: the generator is our own
//! ([`Random`]), exp and log come from a pure-Rust library, sums are taken in a fixed order, and each token
//! takes exactly one draw. A greedy token takes none.

mod exp;
mod filter;
mod penalties;
mod random;

use crate::error::{Error, Result};
use filter::Candidates;
use penalties::Penalties;
use smolq_gguf::Metadata;

pub use random::Random;

/// How a token is chosen. The defaults are llama.cpp's.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleOptions {
    /// Divides the scores before the draw: below 1 bolder, above 1 more even. 0 takes the best token always.
    pub temp: f32,
    /// Keep the `k` best tokens; 0 or less keeps all.
    pub top_k: i32,
    /// Keep the likeliest tokens that together have this probability; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this many times as likely as the likeliest; 0 keeps all.
    pub min_p: f32,
    /// Keep tokens of typical surprise that together have this probability; 1 keeps all.
    pub typical: f32,
    /// Divides positive and multiplies negative scores of tokens already said; 1 does nothing.
    pub repeat_penalty: f32,
    /// How many of the last tokens the penalties look at; -1 is all of them, 0 none.
    pub repeat_last_n: i32,
    /// Taken off the score of a token already said.
    pub presence_penalty: f32,
    /// Taken off the score of a token for each time it was said.
    pub frequency_penalty: f32,
    /// Added to the scores of single tokens, before everything else. Minus infinity forbids a token.
    pub logit_bias: Vec<(u32, f32)>,
    /// Tokens that are chosen first, one after the other, whatever the logits say: a beginning that the answer must have, or
    /// a text to be replayed. Each takes the draw and the checks that a free choice would.
    pub forced: Vec<u32>,
    /// Decides the draws; `None` takes a fresh one, which [`Sampler::seed`] tells.
    pub seed: Option<u64>,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self {
            temp: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            typical: 1.0,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            forced: Vec::new(),
            seed: None,
        }
    }
}

impl SampleOptions {
    /// The defaults, with what the makers of a model advise in its file: of llama.cpp's keys `general.sampling.*` those named `temp`, `top_k`, `top_p`,
    /// `min_p`, `penalty_last_n` and `penalty_repeat`. The others are of samplers that smolq has not.
    ///
    /// # Errors
    /// If one of these keys holds something else than a number.
    pub fn advised(metadata: &Metadata) -> Result<SampleOptions> {
        let key = |name: &str| format!("general.sampling.{name}");
        let float = |name: &str| metadata.opt_f32(&key(name));
        let integer = |name: &str| metadata.opt_i32(&key(name));
        let usual = SampleOptions::default();
        Ok(SampleOptions {
            temp: float("temp")?.unwrap_or(usual.temp),
            top_k: integer("top_k")?.unwrap_or(usual.top_k),
            top_p: float("top_p")?.unwrap_or(usual.top_p),
            min_p: float("min_p")?.unwrap_or(usual.min_p),
            repeat_last_n: integer("penalty_last_n")?.unwrap_or(usual.repeat_last_n),
            repeat_penalty: float("penalty_repeat")?.unwrap_or(usual.repeat_penalty),
            ..usual
        })
    }

    /// Refuses what has no meaning, naming the field. `n_vocab` bounds the ids of `logit_bias` and `forced`.
    pub fn validate(&self, n_vocab: usize) -> Result<()> {
        let refuse = |field, why: String| Err(Error::Request { field, why });
        let shares = [
            ("top_p", self.top_p),
            ("min_p", self.min_p),
            ("typical", self.typical),
        ];
        let penalties = [
            ("presence_penalty", self.presence_penalty),
            ("frequency_penalty", self.frequency_penalty),
        ];
        if !self.temp.is_finite() || self.temp < 0.0 {
            return refuse("temp", format!("must be 0 or more, not {}", self.temp));
        }
        for (field, value) in shares {
            if !(0.0..=1.0).contains(&value) {
                return refuse(field, format!("must be between 0 and 1, not {value}"));
            }
        }
        if !self.repeat_penalty.is_finite() || self.repeat_penalty <= 0.0 {
            return refuse(
                "repeat_penalty",
                format!("must be above 0, not {}", self.repeat_penalty),
            );
        }
        if self.repeat_last_n < -1 {
            return refuse(
                "repeat_last_n",
                format!(
                    "must be -1 (all), 0 (off) or more, not {}",
                    self.repeat_last_n
                ),
            );
        }
        for (field, value) in penalties {
            if !value.is_finite() {
                return refuse(field, format!("must be a finite number, not {value}"));
            }
        }
        for &(id, bias) in &self.logit_bias {
            if id as usize >= n_vocab {
                return refuse(
                    "logit_bias",
                    format!("token {id} is not in the vocabulary of {n_vocab}"),
                );
            }
            if bias.is_nan() || bias == f32::INFINITY {
                return refuse(
                    "logit_bias",
                    format!("must be finite or -inf, not {bias} (token {id})"),
                );
            }
        }
        if let Some(&id) = self.forced.iter().find(|&&id| id as usize >= n_vocab) {
            return refuse(
                "forced",
                format!("token {id} is not in the vocabulary of {n_vocab}"),
            );
        }
        Ok(())
    }
}

/// Chooses the tokens of one text.
#[derive(Clone, Debug)]
pub struct Sampler {
    options: SampleOptions,
    seed: u64,
    random: Random,
    penalties: Penalties,
    /// The logits with bias and penalties, [n_vocab].
    scores: Vec<f32>,
    candidates: Candidates,
    /// How many of the forced tokens have been chosen.
    forced: usize,
}

impl Sampler {
    /// A sampler for logits of `n_vocab` tokens; nothing has been said yet.
    pub fn new(options: &SampleOptions, n_vocab: usize) -> Result<Self> {
        options.validate(n_vocab)?;
        let seed = options.seed.unwrap_or_else(Random::fresh_seed);
        Ok(Self {
            seed,
            random: Random::from_seed(seed),
            penalties: Penalties::new(options),
            scores: vec![0.0; n_vocab],
            candidates: Candidates::default(),
            forced: 0,
            options: options.clone(),
        })
    }

    /// The seed in use: the one asked for, or the one that was drawn.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Takes note of a token of the text, of the prompt or of the answer. The penalties look back on these.
    pub fn accept(&mut self, id: u32) {
        self.penalties.accept(id);
    }

    /// Chooses the next token. It is not accepted yet.
    ///
    /// Logits that are not finite are an error: they mean a broken file or a broken computation, and any token
    /// drawn from them would be noise.
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32> {
        let free = self.choose(logits)?;
        Ok(self.or_forced(free))
    }

    /// Chooses the next token among those that `allowed` has a bit for: bit `id % 32` of the word `id / 32`. It is not
    /// accepted yet. The others count as tokens at minus infinity: no filter sees them. Checks and draws are those of
    /// [`sample`](Self::sample).
    ///
    /// # Errors
    /// As [`sample`](Self::sample), and if nothing is allowed.
    pub fn sample_among(&mut self, logits: &[f32], allowed: &[u32]) -> Result<u32> {
        let free = self.choose_among(logits, allowed)?;
        Ok(self.or_forced(free))
    }

    /// The next forced token, if there is one, instead of a choice.
    fn or_forced(&mut self, free: u32) -> u32 {
        let Some(&forced) = self.options.forced.get(self.forced) else {
            return free;
        };
        self.forced += 1;
        forced
    }

    /// The token that the logits and the random stream give among those allowed.
    fn choose_among(&mut self, logits: &[f32], allowed: &[u32]) -> Result<u32> {
        self.check_length(logits)?;
        let words = logits.len().div_ceil(32);
        if allowed.len() != words {
            let why = format!(
                "{} words of 32 tokens for a vocabulary of {}, which takes {words}",
                allowed.len(),
                logits.len()
            );
            let field = "allowed";
            return Err(Error::Request { field, why });
        }
        let Self {
            options,
            penalties,
            scores,
            ..
        } = self;
        if options.logit_bias.is_empty() && penalties.is_idle() {
            // One pass finds what is broken and leaves what is allowed.
            let blocks = logits.chunks(32).zip(scores.chunks_mut(32));
            for (block, ((logits, scores), &bits)) in blocks.zip(allowed).enumerate() {
                // Most words hold nothing; only their logits are looked at.
                let sound = if bits == 0 {
                    scores.fill(f32::NEG_INFINITY);
                    logits
                        .iter()
                        .fold(true, |all, logit| all & logit.is_finite())
                } else {
                    keep(bits, logits, scores)
                };
                if !sound && let Some(i) = logits.iter().position(|logit| !logit.is_finite()) {
                    return Err(non_finite((block * 32 + i) as u32, logits[i]));
                }
            }
        } else {
            if let Some(token) = first_non_finite(logits) {
                return Err(non_finite(token, logits[token as usize]));
            }
            scores.copy_from_slice(logits);
            adjust(options, penalties, scores)?;
            for (scores, &bits) in scores.chunks_mut(32).zip(allowed) {
                forbid(bits, scores);
            }
        }
        self.finish().ok_or_else(|| {
            if allowed.iter().all(|&bits| bits == 0) {
                let why = "there is no token that may come next".to_owned();
                let field = "allowed";
                Error::Request { field, why }
            } else {
                let why = "forbids every token that may come next".to_owned();
                let field = "logit_bias";
                Error::Request { field, why }
            }
        })
    }

    /// The token that `scores`, which hold what is left of the logits, and the random stream give; none if nothing is left.
    fn finish(&mut self) -> Option<u32> {
        let Self {
            options,
            random,
            scores,
            candidates,
            ..
        } = self;
        if options.temp == 0.0 {
            return best(scores, |_| false).ok().flatten();
        }
        select(options, random, candidates, scores)
    }

    fn check_length(&self, logits: &[f32]) -> Result<()> {
        if logits.len() == self.scores.len() {
            return Ok(());
        }
        let why = format!(
            "{} values for a vocabulary of {}",
            logits.len(),
            self.scores.len()
        );
        let field = "logits";
        Err(Error::Request { field, why })
    }

    /// The token that the logits and the random stream give.
    fn choose(&mut self, logits: &[f32]) -> Result<u32> {
        self.check_length(logits)?;
        let Self {
            options,
            random,
            penalties,
            scores,
            candidates,
            ..
        } = self;
        let as_they_are = options.logit_bias.is_empty() && penalties.is_idle();
        if as_they_are && options.temp == 0.0 {
            // One pass finds the best and what is broken.
            return match best(logits, |logit| !logit.is_finite()) {
                Ok(found) => found.ok_or_else(nothing_left),
                Err(token) => Err(non_finite(token, logits[token as usize])),
            };
        }
        if let Some(token) = first_non_finite(logits) {
            return Err(non_finite(token, logits[token as usize]));
        }
        let scores = if as_they_are {
            logits
        } else {
            scores.copy_from_slice(logits);
            adjust(options, penalties, scores)?;
            &*scores
        };
        if options.temp == 0.0 {
            return best(scores, |_| false)
                .ok()
                .flatten()
                .ok_or_else(nothing_left);
        }
        select(options, random, candidates, scores).ok_or_else(nothing_left)
    }
}

/// The filters and the draw; none if no score is above minus infinity.
fn select(
    options: &SampleOptions,
    random: &mut Random,
    candidates: &mut Candidates,
    scores: &[f32],
) -> Option<u32> {
    let top_k = usize::try_from(options.top_k).unwrap_or(0);
    if !candidates.fill(scores, top_k) {
        return None;
    }
    candidates.typical(scores, options.typical);
    candidates.top_p(scores, options.top_p);
    candidates.min_p(scores, options.min_p);
    Some(candidates.draw(scores, options.temp, random.next_unit()))
}

/// Writes the logits that have a bit, and minus infinity for the others. Whether all logits are finite.
fn keep(bits: u32, logits: &[f32], scores: &mut [f32]) -> bool {
    let mut sound = true;
    for (i, (score, &logit)) in scores.iter_mut().zip(logits).enumerate() {
        sound &= logit.is_finite();
        let kept = bits >> i & 1 == 1;
        *score = if kept { logit } else { f32::NEG_INFINITY };
    }
    sound
}

/// Takes out the scores that have no bit.
fn forbid(bits: u32, scores: &mut [f32]) {
    for (i, score) in scores.iter_mut().enumerate() {
        if bits >> i & 1 == 0 {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// Bias and penalties. A finite score may overflow here; that is told as what it is.
fn adjust(options: &SampleOptions, penalties: &Penalties, scores: &mut [f32]) -> Result<()> {
    let forbids = |id| options.logit_bias.contains(&(id, f32::NEG_INFINITY));
    for &(id, bias) in &options.logit_bias {
        let score = &mut scores[id as usize];
        *score += bias;
        let overflowed = score.is_nan()
            || *score == f32::INFINITY
            || (*score == f32::NEG_INFINITY && bias.is_finite());
        // Two biases on one token: once forbidden, it stays so.
        if overflowed && !(*score == f32::NEG_INFINITY && forbids(id)) {
            return Err(non_finite(id, scores[id as usize]));
        }
    }
    match penalties.apply(scores) {
        Some(id) => Err(non_finite(id, scores[id as usize])),
        None => Ok(()),
    }
}

fn non_finite(token: u32, value: f32) -> Error {
    Error::NonFinite { token, value }
}

fn nothing_left() -> Error {
    Error::Request {
        field: "logit_bias",
        why: "forbids every token of the vocabulary".to_owned(),
    }
}

/// How many scores are looked at at once: most blocks hold nothing of interest.
const BLOCK: usize = 64;

/// The token of the first value that is NaN or infinite.
fn first_non_finite(values: &[f32]) -> Option<u32> {
    let broken = |value: &f32| !value.is_finite();
    let block = values
        .chunks(BLOCK)
        .position(|block| block.iter().fold(false, |any, value| any | broken(value)))?;
    let at = values[block * BLOCK..].iter().position(broken)?;
    Some((block * BLOCK + at) as u32)
}

/// The best score's token, the smallest id of equals; none if all are at minus infinity. The error is the first token
/// whose score is broken.
fn best(scores: &[f32], broken: impl Fn(f32) -> bool) -> std::result::Result<Option<u32>, u32> {
    let mut best = f32::NEG_INFINITY;
    let mut found = None;
    for (block, values) in scores.chunks(BLOCK).enumerate() {
        let interest = |any, &score: &f32| any | (score > best) | broken(score);
        if !values.iter().fold(false, interest) {
            continue;
        }
        for (i, &score) in values.iter().enumerate() {
            let token = (block * BLOCK + i) as u32;
            if broken(score) {
                return Err(token);
            }
            if score > best {
                (best, found) = (score, Some(token));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(seed: u64) -> SampleOptions {
        SampleOptions {
            temp: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            seed: Some(seed),
            ..SampleOptions::default()
        }
    }

    #[test]
    fn a_file_may_advise_some_options() {
        let advised = |temp: smolq_gguf::Value| {
            let mut writer = smolq_gguf::Writer::new();
            writer.set("general.architecture", "any");
            writer.set("general.sampling.temp", temp);
            writer.set("general.sampling.top_k", 7i32);
            writer.tensor("x", smolq_gguf::TensorType::F32, &[1], vec![0; 4]);
            let gguf = smolq_gguf::Gguf::from_bytes("m", writer.to_vec().unwrap()).unwrap();
            SampleOptions::advised(gguf.metadata())
        };
        let expected = SampleOptions {
            temp: 0.25,
            top_k: 7,
            ..SampleOptions::default()
        };
        assert_eq!(advised(0.25f32.into()).unwrap(), expected);
        let error = advised("hot".into()).unwrap_err().to_string();
        assert!(error.contains("general.sampling.temp"), "{error}");
    }

    #[test]
    fn greedy_takes_the_first_of_equals() {
        let options = SampleOptions {
            temp: 0.0,
            typical: 0.1,
            ..SampleOptions::default()
        };
        let mut sampler = Sampler::new(&options, 200).unwrap();
        let mut logits = vec![-1.0; 200];
        (logits[150], logits[70], logits[71]) = (3.0, 3.0, 2.9);
        assert_eq!(sampler.sample(&logits).unwrap(), 70);
        assert_eq!(sampler.sample(&[f32::MIN; 200]).unwrap(), 0);
    }

    #[test]
    fn frequencies_follow_the_probabilities() {
        let mut sampler = Sampler::new(&plain(7), 4).unwrap();
        let logits = [0.5_f32, 0.25, 0.125, 0.125].map(f32::ln);
        let mut counts = [0_u32; 4];
        for _ in 0..40_000 {
            counts[sampler.sample(&logits).unwrap() as usize] += 1;
        }
        // Five standard deviations of a count are below 500.
        for (count, expected) in counts.into_iter().zip([20_000, 10_000, 5_000, 5_000]) {
            assert!(count.abs_diff(expected) < 500, "{counts:?}");
        }
    }

    /// The bits of the ids.
    fn bits(n_vocab: usize, ids: &[u32]) -> Vec<u32> {
        let mut words = vec![0; n_vocab.div_ceil(32)];
        for &id in ids {
            words[id as usize / 32] |= 1 << (id % 32);
        }
        words
    }

    #[test]
    fn what_is_not_allowed_is_never_chosen() {
        let n_vocab = 100;
        let mut noise = Random::from_seed(5);
        let logits: Vec<f32> = (0..n_vocab).map(|_| noise.next_unit() as f32).collect();
        let ids = [0, 31, 32, 64, 99];
        let allowed = bits(n_vocab, &ids);
        let mut sampler = Sampler::new(&plain(3), n_vocab).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..500 {
            seen.insert(sampler.sample_among(&logits, &allowed).unwrap());
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ids);
        // Greedy takes the best of them, and the smaller of equals.
        let greedy = SampleOptions {
            temp: 0.0,
            ..SampleOptions::default()
        };
        let mut sampler = Sampler::new(&greedy, 70).unwrap();
        let mut logits = vec![0.0; 70];
        (logits[5], logits[40], logits[69]) = (9.0, 2.0, 2.0);
        let allowed = bits(70, &[3, 40, 69]);
        assert_eq!(sampler.sample_among(&logits, &allowed).unwrap(), 40);
    }

    #[test]
    fn nothing_allowed_is_an_error_that_says_whose() {
        let message = |options: &SampleOptions, logits: &[f32], allowed: &[u32]| {
            let mut sampler = Sampler::new(options, 40).unwrap();
            sampler
                .sample_among(logits, allowed)
                .unwrap_err()
                .to_string()
        };
        let logits = vec![0.0; 40];
        for temp in [0.0, 1.0] {
            let options = SampleOptions { temp, ..plain(1) };
            assert!(message(&options, &logits, &[0, 0]).starts_with("allowed: "));
            assert!(message(&options, &logits, &[1]).starts_with("allowed: 1 words"));
            assert!(message(&options, &logits[1..], &[1, 0]).starts_with("logits: "));
            let biased = SampleOptions {
                logit_bias: vec![(7, f32::NEG_INFINITY)],
                ..options.clone()
            };
            assert!(message(&biased, &logits, &bits(40, &[7])).starts_with("logit_bias: "));
            // A broken logit is told of wherever it is.
            let mut broken = logits.clone();
            broken[39] = f32::NAN;
            for options in [&options, &biased] {
                let text = message(options, &broken, &bits(40, &[3]));
                assert!(text.contains("token 39"), "{text}");
            }
        }
    }

    /// A change here changes every answer with a seed: see `random.rs`.
    #[test]
    fn recorded_draws() {
        let options = SampleOptions {
            seed: Some(42),
            ..SampleOptions::default()
        };
        let mut sampler = Sampler::new(&options, 1000).unwrap();
        let mut random = Random::from_seed(1);
        let draws: Vec<u32> = (0..8)
            .map(|_| {
                let logits: Vec<f32> = (0..1000)
                    .map(|_| (random.next_unit() * 4.0) as f32)
                    .collect();
                sampler.sample(&logits).unwrap()
            })
            .collect();
        assert_eq!(draws, RECORDED);
    }

    const RECORDED: [u32; 8] = [452, 710, 252, 253, 54, 285, 107, 278];

    #[test]
    fn forced_tokens_come_first_and_change_no_later_draw() {
        let logits: Vec<f32> = (0..50).map(|i| (i % 7) as f32).collect();
        let draws = |forced: Vec<u32>| {
            let options = SampleOptions { forced, ..plain(3) };
            let mut sampler = Sampler::new(&options, 50).unwrap();
            [0; 6].map(|_| sampler.sample(&logits).unwrap())
        };
        let free = draws(Vec::new());
        let forced = draws(vec![49, 0, 1]);
        assert_eq!(forced[..3], [49, 0, 1]);
        assert_eq!(forced[3..], free[3..]);
    }

    #[test]
    fn what_is_refused_names_the_field() {
        type Change = fn(&mut SampleOptions);
        let cases: &[(&str, Change)] = &[
            ("temp", |o| o.temp = -1.0),
            ("temp", |o| o.temp = f32::NAN),
            ("temp", |o| o.temp = f32::INFINITY),
            ("top_p", |o| o.top_p = 1.01),
            ("top_p", |o| o.top_p = f32::NAN),
            ("min_p", |o| o.min_p = -0.1),
            ("typical", |o| o.typical = f32::INFINITY),
            ("repeat_penalty", |o| o.repeat_penalty = 0.0),
            ("repeat_penalty", |o| o.repeat_penalty = f32::NAN),
            ("repeat_last_n", |o| o.repeat_last_n = -2),
            ("presence_penalty", |o| {
                o.presence_penalty = f32::NEG_INFINITY
            }),
            ("frequency_penalty", |o| o.frequency_penalty = f32::NAN),
            ("logit_bias", |o| o.logit_bias = vec![(10, 0.0)]),
            ("forced", |o| o.forced = vec![9, 10]),
            ("logit_bias", |o| o.logit_bias = vec![(0, f32::NAN)]),
            ("logit_bias", |o| o.logit_bias = vec![(0, f32::INFINITY)]),
        ];
        for (field, change) in cases {
            let mut options = SampleOptions::default();
            change(&mut options);
            let error = Sampler::new(&options, 10).unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
        }
    }

    #[test]
    fn broken_logits_end_the_request() {
        for temp in [0.0, 0.8] {
            let options = SampleOptions {
                temp,
                ..SampleOptions::default()
            };
            for (place, value) in [(0, f32::NAN), (99, f32::INFINITY), (31, f32::NEG_INFINITY)] {
                let mut logits = vec![0.0; 100];
                logits[place] = value;
                let error = Sampler::new(&options, 100)
                    .unwrap()
                    .sample(&logits)
                    .unwrap_err();
                assert!(
                    error.to_string().contains(&format!("token {place}")),
                    "{error}"
                );
            }
            let error = Sampler::new(&options, 100)
                .unwrap()
                .sample(&[0.0; 99])
                .unwrap_err();
            assert!(error.to_string().contains("logits"), "{error}");
        }
    }

    #[test]
    fn bias_forbids_and_forces() {
        for temp in [0.0, 0.8] {
            let mut options = SampleOptions {
                temp,
                ..SampleOptions::default()
            };
            options.logit_bias = vec![
                (3, 100.0),
                (1, f32::NEG_INFINITY),
                (1, 5.0),
                (1, f32::NEG_INFINITY),
            ];
            let mut sampler = Sampler::new(&options, 5).unwrap();
            assert_eq!(sampler.sample(&[0.0, 90.0, 1.0, 0.0, 2.0]).unwrap(), 3);
            options.logit_bias = (0..5).map(|id| (id, f32::NEG_INFINITY)).collect();
            let error = Sampler::new(&options, 5)
                .unwrap()
                .sample(&[0.0; 5])
                .unwrap_err();
            assert!(error.to_string().contains("logit_bias"), "{error}");
            options.logit_bias = vec![(2, f32::MAX)];
            let error = Sampler::new(&options, 5)
                .unwrap()
                .sample(&[f32::MAX; 5])
                .unwrap_err();
            assert!(
                matches!(error, Error::NonFinite { token: 2, .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn penalties_turn_the_choice() {
        let options = SampleOptions {
            temp: 0.0,
            repeat_penalty: 4.0,
            ..SampleOptions::default()
        };
        let mut sampler = Sampler::new(&options, 3).unwrap();
        let logits = [2.0, 1.0, -1.0];
        assert_eq!(sampler.sample(&logits).unwrap(), 0);
        sampler.accept(0);
        assert_eq!(sampler.sample(&logits).unwrap(), 1);
    }

    proptest! {
        #[test]
        fn any_options_that_pass_sample_a_token(
            logits in prop::collection::vec(-1e4_f32..1e4, 1..300),
            temp in prop_oneof![Just(0.0_f32), 0.0_f32..5.0, Just(f32::MAX)],
            top_k in -2_i32..400,
            shares in prop::array::uniform3(0.0_f32..=1.0),
            penalties in prop::array::uniform3(-10.0_f32..10.0),
            last in -1_i32..100,
            said in prop::collection::vec(0_u32..300, 0..200),
            seed: u64,
        ) {
            let options = SampleOptions {
                temp, top_k, top_p: shares[0], min_p: shares[1], typical: shares[2],
                repeat_penalty: penalties[0].abs() + 0.01, presence_penalty: penalties[1], frequency_penalty: penalties[2],
                repeat_last_n: last, logit_bias: vec![(0, penalties[0])], forced: Vec::new(), seed: Some(seed),
            };
            let mut first = Sampler::new(&options, logits.len()).unwrap();
            let mut second = first.clone();
            for &id in &said {
                first.accept(id);
                second.accept(id);
            }
            for _ in 0..3 {
                let id = first.sample(&logits).unwrap();
                prop_assert!((id as usize) < logits.len());
                prop_assert_eq!(id, second.sample(&logits).unwrap());
            }
            // Forbidding by bits is forbidding by bias, draw for draw; and all bits are none.
            let allowed = |id: u32| id == last as u32 % logits.len() as u32 || (seed >> (id % 61)) & 1 == 0;
            let ids = 0..logits.len() as u32;
            let among = bits(logits.len(), &ids.clone().filter(|&id| allowed(id)).collect::<Vec<_>>());
            let mut biased = options.clone();
            biased.logit_bias.extend(ids.clone().filter(|&id| !allowed(id)).map(|id| (id, f32::NEG_INFINITY)));
            let mut biased = Sampler::new(&biased, logits.len()).unwrap();
            let mut masked = Sampler::new(&options, logits.len()).unwrap();
            for &id in &said {
                biased.accept(id);
                masked.accept(id);
            }
            for _ in 0..3 {
                let id = masked.sample_among(&logits, &among).unwrap();
                prop_assert!(allowed(id));
                prop_assert_eq!(id, biased.sample(&logits).unwrap());
            }
            let all = bits(logits.len(), &ids.collect::<Vec<_>>());
            for _ in 0..3 {
                prop_assert_eq!(first.sample_among(&logits, &all).unwrap(), second.sample(&logits).unwrap());
            }
        }
    }
}
