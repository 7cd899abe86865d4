//! The tokens still in the running, and what takes them out.
//!
//! A vocabulary has 128 thousand tokens and a filter keeps a few dozen, so nothing here sorts what it will
//! throw away. As long as nothing was taken out, the candidates are the scores themselves and no list of them
//! is made. Top-k scans the scores once with a rising threshold, min-p with a fixed one. The filters that keep
//! a share of the probability count it in narrow buckets first, gather the buckets that make up the share, and
//! sort each as they come to it.
//!
//! Everywhere, the higher score comes first and of equal scores the smaller id. That order is total, and sums
//! are taken along it (by id while nothing was taken out), so the result does not depend on how the selecting
//! is done.

use super::BLOCK;
use super::exp::{weight, weights};

/// A token and its score.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: u32,
    pub(super) score: f32,
}

/// A score with its place as id. Adding zero makes -0 and 0 the equal scores they are.
fn candidate((id, score): (usize, &f32)) -> Candidate {
    Candidate {
        id: id as u32,
        score: score + 0.0,
    }
}

/// Better first. One integer holds both keys, which sorts faster than two comparisons.
fn order(c: &Candidate) -> u64 {
    let bits = c.score.to_bits();
    // Negative floats grow with their bits, positive ones shrink: now all shrink with the key.
    let descending = if bits >> 31 == 1 {
        bits
    } else {
        !bits & (u32::MAX >> 1)
    };
    u64::from(descending) << 32 | u64::from(c.id)
}

/// The candidates of one token. Never empty once filled.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates {
    /// Whether nothing was taken out yet: then the candidates are all scores above minus infinity, by id.
    whole: bool,
    /// Else these: best first, or by id if only min-p took out some.
    list: Vec<Candidate>,
    /// The best score.
    best: f32,
    /// Of each candidate, relative to the best one's; of each score while `whole`.
    weights: Vec<f32>,
    buckets: Vec<Bucket>,
}

/// Candidates of about the same distance from where a filter starts.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// The sum of their weights.
    mass: f64,
    /// How many they are; while they are gathered, where the next one goes.
    count: usize,
}

/// Buckets of a unit of distance, and all of them. A score 104 below the best has no weight any more.
const BUCKETS_PER_UNIT: f32 = 64.0;
const BUCKETS: usize = 1 << 13;

/// The bucket of a distance of 0 or more. Adding 2^23 leaves the nearest integer in the lowest bits.
fn bucket(distance: f32) -> usize {
    let shifted = (distance * BUCKETS_PER_UNIT).min((BUCKETS - 1) as f32) + (1 << 23) as f32;
    shifted.to_bits() as usize % BUCKETS
}

impl Candidates {
    /// Starts over with the `k` best of `scores` (all of them if `k` is 0), without those at minus infinity.
    /// False if none is left. The other methods are given the same `scores`.
    pub(super) fn fill(&mut self, scores: &[f32], k: usize) -> bool {
        self.list.clear();
        self.whole = k == 0 || k >= scores.len();
        if self.whole {
            self.best = highest(scores);
        } else {
            self.fill_best(scores, k);
            self.best = self.list.first().map_or(f32::NEG_INFINITY, |c| c.score);
        }
        self.best > f32::NEG_INFINITY
    }

    /// A block none of whose scores beats the threshold is passed over as a whole. Those that do are gathered,
    /// and whenever twice as many as needed are there, the worse half goes and the threshold rises to the worst
    /// of the rest. Ids come in ascending order, so a later equal score never belongs in.
    fn fill_best(&mut self, scores: &[f32], k: usize) {
        let full = 2 * k.max(BLOCK);
        let mut threshold = f32::NEG_INFINITY;
        for (block, values) in scores.chunks(BLOCK).enumerate() {
            if !any(values, |score| score > threshold) {
                continue;
            }
            for (i, score) in values.iter().enumerate() {
                if *score > threshold {
                    self.list.push(candidate((block * BLOCK + i, score)));
                }
            }
            if self.list.len() >= full {
                self.list.select_nth_unstable_by_key(k - 1, order);
                self.list.truncate(k);
                threshold = self.list[k - 1].score;
            }
        }
        self.list.sort_unstable_by_key(order);
        self.list.truncate(k);
    }

    /// Keeps the tokens about as surprising as the distribution is on average, until their probabilities
    /// exceed `p` (locally typical sampling).
    pub(super) fn typical(&mut self, scores: &[f32], p: f32) {
        if p >= 1.0 {
            return;
        }
        let (best, total) = (self.best, self.weigh(scores, 1.0));
        let log_total = libm::log(total);
        let surprise = move |score: f32| log_total - f64::from(score - best);
        let term = |score: f32, weight: f32| {
            let probability = f64::from(weight) / total;
            // Nothing times infinity is not a number.
            if probability > 0.0 {
                probability * surprise(score)
            } else {
                0.0
            }
        };
        let weights = self.weights.iter().copied();
        let entropy: f64 = if self.whole {
            scores
                .iter()
                .zip(weights)
                .map(|(&score, weight)| term(score, weight))
                .sum()
        } else {
            self.list
                .iter()
                .zip(weights)
                .map(|(c, weight)| term(c.score, weight))
                .sum()
        };
        let distance = move |score: f32| (surprise(score) - entropy).abs();
        let nearer = move |a: &Candidate, b: &Candidate| {
            distance(a.score)
                .total_cmp(&distance(b.score))
                .then_with(|| order(a).cmp(&order(b)))
        };
        let share = Share {
            total,
            p: f64::from(p),
            enough: |mass, p| mass > p,
        };
        if self.whole {
            self.gather_share(
                scores,
                &share,
                |score| distance(score) as f32,
                |list| list.sort_unstable_by(nearer),
            );
        } else {
            self.list.sort_unstable_by(nearer);
            self.truncate(&share);
        }
        self.list.sort_unstable_by_key(order);
        self.best = self.list[0].score;
    }

    /// Keeps the likeliest tokens whose probabilities together reach `p`.
    pub(super) fn top_p(&mut self, scores: &[f32], p: f32) {
        if p >= 1.0 {
            return;
        }
        let (best, total) = (self.best, self.weigh(scores, 1.0));
        let share = Share {
            total,
            p: f64::from(p),
            enough: |mass, p| mass >= p,
        };
        if self.whole {
            self.gather_share(
                scores,
                &share,
                |score| best - score,
                |list| list.sort_unstable_by_key(order),
            );
        } else {
            self.truncate(&share);
        }
    }

    /// Keeps the tokens at least `p` times as likely as the likeliest.
    pub(super) fn min_p(&mut self, scores: &[f32], p: f32) {
        if p <= 0.0 {
            return;
        }
        let (best, least) = (self.best, self.best + libm::logf(p));
        // The likeliest stays whatever the rounding.
        let stays = move |score: f32| (score >= least) | (score == best);
        if !self.whole {
            self.list.retain(|c| stays(c.score));
            return;
        }
        for (block, values) in scores.chunks(BLOCK).enumerate() {
            if any(values, stays) {
                let all = values
                    .iter()
                    .enumerate()
                    .filter(|(_, score)| stays(**score));
                self.list
                    .extend(all.map(|(i, score)| candidate((block * BLOCK + i, score))));
            }
        }
        self.whole = false;
    }

    /// Chooses one: `unit` in `[0, 1)` is a place in the probabilities at temperature `temp`, laid end to end.
    pub(super) fn draw(&mut self, scores: &[f32], temp: f32, unit: f64) -> u32 {
        let place = unit * self.weigh(scores, temp);
        let mut passed = 0.0;
        let mut chosen = 0;
        for (i, &weight) in self.weights.iter().enumerate() {
            if weight == 0.0 {
                continue;
            }
            // Rounding may leave `place` at the very end: then the last one that can be chosen is.
            chosen = i;
            passed += f64::from(weight);
            if place < passed {
                break;
            }
        }
        if self.whole {
            chosen as u32
        } else {
            self.list[chosen].id
        }
    }

    /// Computes the weights; gives their sum, taken in order. The best candidate's is 1.
    fn weigh(&mut self, scores: &[f32], temp: f32) -> f64 {
        if self.whole {
            // Scores at minus infinity get weight 0.
            weights(scores.iter().copied(), self.best, temp, &mut self.weights);
        } else {
            weights(
                self.list.iter().map(|c| c.score),
                self.best,
                temp,
                &mut self.weights,
            );
        }
        self.weights.iter().map(|&weight| f64::from(weight)).sum()
    }

    /// Keeps the shortest prefix of the list that is enough; all of it if none is.
    fn truncate(&mut self, share: &Share) {
        let mut mass = 0.0;
        let best = self.best;
        let end = self
            .list
            .iter()
            .position(|c| share.reached(&mut mass, weight(c.score, best, 1.0)));
        self.list.truncate(end.map_or(self.list.len(), |i| i + 1));
    }

    /// Makes the list of the nearest candidates that are enough of all scores; of all candidates if none are.
    ///
    /// `distance` is 0 or more and never falls along the order by which `sort` sorts. `weights` are those of `scores`.
    fn gather_share(
        &mut self,
        scores: &[f32],
        share: &Share,
        distance: impl Fn(f32) -> f32,
        sort: impl Fn(&mut [Candidate]),
    ) {
        self.whole = false;
        self.buckets.clear();
        self.buckets.resize(BUCKETS, Bucket::default());
        for (&score, &weight) in scores.iter().zip(&self.weights) {
            let bucket = &mut self.buckets[bucket(distance(score))];
            bucket.mass += f64::from(weight);
            bucket.count += usize::from(score > f32::NEG_INFINITY);
        }
        // What the buckets hold is summed in another order than the candidates; the margin is far above what that can
        // change. If the sum still falls short, `p` is so near to 1 that the rest is gathered too.
        let wanted = share.p * share.total * (1.0 + 1e-9);
        let (mut from, mut mass, mut held) = (0, 0.0, 0.0);
        while from < BUCKETS {
            let mut to = from;
            let start = self.list.len();
            let mut end = start;
            while to < BUCKETS && (held <= wanted || from > 0) {
                held += self.buckets[to].mass;
                end += std::mem::replace(&mut self.buckets[to].count, end);
                to += 1;
            }
            self.list.resize(end, Candidate::default());
            self.scatter(scores, &distance, from, to);
            for bucket in from..to {
                // Now that all are there, the next one would go where the bucket ends.
                let begin = if bucket == from {
                    start
                } else {
                    self.buckets[bucket - 1].count
                };
                let end = self.buckets[bucket].count;
                sort(&mut self.list[begin..end]);
                for i in begin..end {
                    let weight = self.weights[self.list[i].id as usize];
                    if share.reached(&mut mass, f64::from(weight)) {
                        self.list.truncate(i + 1);
                        return;
                    }
                }
            }
            from = to;
        }
    }

    /// Puts the candidates of buckets `from .. to` where their buckets say.
    fn scatter(&mut self, scores: &[f32], distance: impl Fn(f32) -> f32, from: usize, to: usize) {
        for (block, values) in scores.chunks(BLOCK).enumerate() {
            if !any(values, |score| bucket(distance(score)) < to) {
                continue;
            }
            for (i, score) in values.iter().enumerate() {
                let bucket = bucket(distance(*score));
                if (from..to).contains(&bucket) && *score > f32::NEG_INFINITY {
                    let at = &mut self.buckets[bucket].count;
                    self.list[*at] = candidate((block * BLOCK + i, score));
                    *at += 1;
                }
            }
        }
    }
}

/// How much of the probability is to be kept.
struct Share {
    /// The sum of all weights.
    total: f64,
    p: f64,
    /// Whether the first probability is as much as the second.
    enough: fn(f64, f64) -> bool,
}

impl Share {
    /// Adds the probability of one more candidate; says whether that is enough.
    fn reached(&self, mass: &mut f64, weight: f64) -> bool {
        *mass += weight / self.total;
        (self.enough)(*mass, self.p)
    }
}

/// Whether a score of the block passes; looks at all, so that it can look at many at once.
#[inline(always)]
fn any(block: &[f32], passes: impl Fn(f32) -> bool) -> bool {
    block.iter().fold(false, |any, &score| any | passes(score))
}

/// The highest score; minus infinity if there is none.
fn highest(scores: &[f32]) -> f32 {
    let higher = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, tail) = scores.as_chunks::<16>();
    let mut lanes = [f32::NEG_INFINITY; 16];
    for chunk in chunks {
        for (lane, &score) in lanes.iter_mut().zip(chunk) {
            *lane = higher(*lane, score);
        }
    }
    lanes
        .iter()
        .chain(tail)
        .fold(f32::NEG_INFINITY, |best, &score| higher(best, score))
        + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Ordering;

    /// What the filters mean, with everything sorted and nothing clever: the truth for [`Candidates`].
    struct Plain {
        list: Vec<Candidate>,
        best: f32,
    }

    fn better_first(a: &Candidate, b: &Candidate) -> Ordering {
        b.score.total_cmp(&a.score).then(a.id.cmp(&b.id))
    }

    impl Plain {
        fn new(scores: &[f32], k: usize) -> Plain {
            let mut list: Vec<Candidate> = scores.iter().enumerate().map(candidate).collect();
            list.retain(|c| c.score > f32::NEG_INFINITY);
            let best = list
                .iter()
                .fold(f32::NEG_INFINITY, |best, c| best.max(c.score));
            if k > 0 && k < scores.len() {
                list.sort_by(better_first);
                list.truncate(k);
            }
            Plain { list, best }
        }

        /// Each candidate's share of the sum, which is taken in the order of the list.
        fn weights(&self, temp: f32) -> (Vec<f64>, f64) {
            let weights: Vec<f64> = self
                .list
                .iter()
                .map(|c| f64::from(libm::expf((c.score - self.best) / temp)))
                .collect();
            let total = weights.iter().sum();
            (weights, total)
        }

        fn keep(&mut self, total: f64, enough: impl Fn(f64) -> bool) {
            let mut mass = 0.0;
            let end = self.list.iter().position(|c| {
                mass += f64::from(libm::expf(c.score - self.best)) / total;
                enough(mass)
            });
            self.list.truncate(end.map_or(self.list.len(), |i| i + 1));
        }

        fn typical(&mut self, p: f32) {
            if p < 1.0 {
                let (weights, total) = self.weights(1.0);
                let surprise = |c: &Candidate| libm::log(total) - f64::from(c.score - self.best);
                let entropy: f64 = self
                    .list
                    .iter()
                    .zip(&weights)
                    .map(|(c, weight)| (weight / total, surprise(c)))
                    .filter(|(probability, _)| *probability > 0.0)
                    .map(|(probability, surprise)| probability * surprise)
                    .sum();
                let mut list = self.list.clone();
                list.sort_by(|a, b| {
                    let distance = |c| (surprise(c) - entropy).abs();
                    distance(a)
                        .total_cmp(&distance(b))
                        .then_with(|| better_first(a, b))
                });
                self.list = list;
                self.keep(total, |mass| mass > f64::from(p));
                self.list.sort_by(better_first);
                self.best = self.list[0].score;
            }
        }

        fn top_p(&mut self, p: f32) {
            if p < 1.0 {
                let total = self.weights(1.0).1;
                self.list.sort_by(better_first);
                self.keep(total, |mass| mass >= f64::from(p));
            }
        }

        fn min_p(&mut self, p: f32) {
            if p > 0.0 {
                let least = self.best + libm::logf(p);
                self.list
                    .retain(|c| c.score >= least || c.score == self.best);
            }
        }

        fn draw(&self, temp: f32, unit: f64) -> u32 {
            let (weights, total) = self.weights(temp);
            let mut passed = 0.0;
            let mut chosen = None;
            for (c, weight) in self
                .list
                .iter()
                .zip(weights)
                .filter(|(_, weight)| *weight > 0.0)
            {
                chosen = Some(c.id);
                passed += weight;
                if unit * total < passed {
                    break;
                }
            }
            chosen.expect("the best candidate has weight 1")
        }
    }

    /// Both ways to the same candidates, in the same order, with the same probabilities, and to the same draws.
    fn compare(
        candidates: &mut Candidates,
        scores: &[f32],
        k: usize,
        [typical, top_p, min_p]: [f32; 3],
    ) -> Result<(), TestCaseError> {
        let mut plain = Plain::new(scores, k);
        prop_assert_eq!(candidates.fill(scores, k), !plain.list.is_empty());
        if plain.list.is_empty() {
            return Ok(());
        }
        candidates.typical(scores, typical);
        plain.typical(typical);
        candidates.top_p(scores, top_p);
        plain.top_p(top_p);
        candidates.min_p(scores, min_p);
        plain.min_p(min_p);
        prop_assert_eq!(candidates.best.to_bits(), plain.best.to_bits());
        for temp in [1.0, f32::MIN_POSITIVE / 8.0, 0.8, 1e30] {
            let total = candidates.weigh(scores, temp);
            let (weights, plain_total) = plain.weights(temp);
            prop_assert_eq!(total.to_bits(), plain_total.to_bits());
            let left: Vec<(u32, f32, f64)> = if candidates.whole {
                let all = scores
                    .iter()
                    .enumerate()
                    .map(candidate)
                    .zip(&candidates.weights);
                all.filter(|(c, _)| c.score > f32::NEG_INFINITY)
                    .map(|(c, w)| (c.id, c.score, f64::from(*w)))
                    .collect()
            } else {
                candidates
                    .list
                    .iter()
                    .zip(&candidates.weights)
                    .map(|(c, w)| (c.id, c.score, f64::from(*w)))
                    .collect()
            };
            let expected: Vec<_> = plain
                .list
                .iter()
                .zip(weights)
                .map(|(c, w)| (c.id, c.score, w))
                .collect();
            prop_assert_eq!(left, expected);
            for unit in [0.0, 0.3, 0.999_999, 1.0 - f64::EPSILON / 2.0] {
                prop_assert_eq!(candidates.draw(scores, temp, unit), plain.draw(temp, unit));
            }
        }
        Ok(())
    }

    fn score() -> impl Strategy<Value = f32> {
        prop_oneof![
            8 => -20.0_f32..20.0,
            // Many ties.
            4 => (-3_i32..3).prop_map(|n| n as f32),
            // Far below.
            1 => -200.0_f32..-80.0,
            1 => Just(-0.0_f32),
            1 => Just(f32::NEG_INFINITY),
        ]
    }

    fn extreme_score() -> impl Strategy<Value = f32> {
        prop_oneof![
            8 => score(),
            1 => Just(f32::MAX),
            1 => Just(f32::MIN),
        ]
    }

    /// A share of the probability: mostly plain ones, sometimes so near to an end that rounding decides.
    fn share() -> impl Strategy<Value = f32> {
        prop_oneof![
            2 => Just(1.0_f32),
            4 => 0.0_f32..1.0,
            1 => Just(0.0),
            1 => Just(1.0 - f32::EPSILON / 2.0),
            1 => Just(f32::MIN_POSITIVE),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]
        #[test]
        fn the_same_as_sorting_everything(
            scores in prop_oneof![
                prop::collection::vec(score(), 1..1500),
                prop::collection::vec(extreme_score(), 1..300),
            ],
            k in prop_oneof![2 => Just(0_usize), 2 => 1_usize..100, 1 => Just(5000)],
            shares in prop::array::uniform3(share()),
        ) {
            let [typical, top_p, min_p] = shares;
            compare(&mut Candidates::default(), &scores, k, [typical, top_p, 1.0 - min_p])?;
        }
    }

    /// A vocabulary of the real size, and one `Candidates` for all chains, as a sampler has.
    #[test]
    fn a_whole_vocabulary() {
        let mut random = crate::sample::Random::from_seed(5);
        let mut candidates = Candidates::default();
        for spread in [0.5, 4.0, 30.0] {
            let mut noise = || (0..4).map(|_| random.next_unit() - 0.5).sum::<f64>() as f32;
            // Rounded, so that there are ties.
            let scores: Vec<f32> = (0..128_256)
                .map(|_| (noise() * spread * 4096.0).round() / 4096.0)
                .collect();
            for (k, shares) in [
                (0, [1.0, 0.95, 0.0]),
                (0, [1.0, 0.3, 0.0]),
                (0, [1.0, 1.0 - f32::EPSILON / 2.0, 0.0]),
                (0, [0.9, 1.0, 0.0]),
                (0, [1.0, 1.0, 0.05]),
                (40, [1.0, 0.95, 0.05]),
                (5000, [0.5, 0.9, 0.0]),
                (0, [1.0, 1.0, 0.0]),
            ] {
                compare(&mut candidates, &scores, k, shares).unwrap();
            }
        }
    }

    /// The worst order for a rising threshold: every score is a new best.
    #[test]
    fn ascending_and_equal_scores() {
        let ascending: Vec<f32> = (0..10_000).map(|i| i as f32).collect();
        let mut candidates = Candidates::default();
        assert!(candidates.fill(&ascending, 40));
        let ids: Vec<u32> = candidates.list.iter().map(|c| c.id).collect();
        assert_eq!(ids, (9960..10_000).rev().collect::<Vec<_>>());
        assert!(candidates.fill(&vec![1.5; 10_000], 40));
        let ids: Vec<u32> = candidates.list.iter().map(|c| c.id).collect();
        assert_eq!(ids, (0..40).collect::<Vec<_>>());
    }
}
