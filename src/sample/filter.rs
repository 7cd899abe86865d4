//! The tokens still in the running, and what takes them out.
//!
//! A vocabulary has 128 thousand tokens and a filter keeps a few dozen, so nothing here sorts what it will
//! throw away. Top-k scans the scores once with a rising threshold; the filters that keep a share of the
//! probability take the best few hundred, then the next thousand, and so on until they have enough.
//!
//! Everywhere, the higher score comes first and of equal scores the smaller id. That order is total, so the
//! result does not depend on how the selecting is done.

use std::cmp::Ordering;

/// A token and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: u32,
    pub(super) score: f32,
}

/// Better first.
fn order(a: &Candidate, b: &Candidate) -> Ordering {
    b.score.total_cmp(&a.score).then(a.id.cmp(&b.id))
}

/// The candidates; sorted by [`order`] if `sorted`, else by id. Never empty once filled.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates {
    pub(super) list: Vec<Candidate>,
    sorted: bool,
    /// The best score.
    best: f32,
    weights: Vec<f32>,
}

/// How many scores are compared with the threshold at once.
const BLOCK: usize = 64;

/// How many candidates are sorted first when a share of the probability is wanted.
const FIRST_STEP: usize = 256;

impl Candidates {
    /// Starts over with the `k` best of `scores` (all of them if `k` is 0), without those at minus infinity.
    /// False if none is left.
    pub(super) fn fill(&mut self, scores: &[f32], k: usize) -> bool {
        self.list.clear();
        self.sorted = false;
        if k == 0 || k >= scores.len() {
            let all = scores
                .iter()
                .enumerate()
                .filter(|(_, score)| **score > f32::NEG_INFINITY);
            self.list.extend(all.map(candidate));
        } else {
            self.fill_best(scores, k);
        }
        self.best = self
            .list
            .iter()
            .fold(f32::NEG_INFINITY, |best, c| best.max(c.score));
        !self.list.is_empty()
    }

    /// A block none of whose scores beats the threshold is passed over as a whole. Those that do are gathered,
    /// and whenever twice as many as needed are there, the worse half goes and the threshold rises to the worst
    /// of the rest. Ids come in ascending order, so a later equal score never belongs in.
    fn fill_best(&mut self, scores: &[f32], k: usize) {
        let full = 2 * k.max(BLOCK);
        let mut threshold = f32::NEG_INFINITY;
        for (block, values) in scores.chunks(BLOCK).enumerate() {
            if !values
                .iter()
                .fold(false, |any, &score| any | (score > threshold))
            {
                continue;
            }
            for (i, score) in values.iter().enumerate() {
                if *score > threshold {
                    self.list.push(candidate((block * BLOCK + i, score)));
                }
            }
            if self.list.len() >= full {
                self.list.select_nth_unstable_by(k - 1, order);
                self.list.truncate(k);
                threshold = self.list[k - 1].score;
            }
        }
        self.list.sort_unstable_by(order);
        self.list.truncate(k);
        self.sorted = true;
    }

    /// Keeps the tokens about as surprising as the distribution is on average, until their probabilities
    /// exceed `p` (locally typical sampling).
    pub(super) fn typical(&mut self, p: f32) {
        if p >= 1.0 {
            return;
        }
        let best = self.best;
        let total = self.total(1.0);
        let log_total = libm::log(total);
        let surprise = |c: &Candidate| log_total - f64::from(c.score - best);
        let entropy: f64 = self
            .list
            .iter()
            .map(|c| (weight(c.score, best, 1.0) / total, surprise(c)))
            .filter(|(probability, _)| *probability > 0.0)
            .map(|(probability, surprise)| probability * surprise)
            .sum();
        let distance = |c: &Candidate| (surprise(c) - entropy).abs();
        keep_share(
            &mut self.list,
            |a, b| {
                distance(a)
                    .total_cmp(&distance(b))
                    .then_with(|| order(a, b))
            },
            |c| weight(c.score, best, 1.0) / total,
            |mass| mass > f64::from(p),
        );
        self.list.sort_unstable_by(order);
        self.sorted = true;
        self.best = self.list[0].score;
    }

    /// Keeps the likeliest tokens whose probabilities together reach `p`.
    pub(super) fn top_p(&mut self, p: f32) {
        if p >= 1.0 {
            return;
        }
        let best = self.best;
        let total = self.total(1.0);
        keep_share(
            &mut self.list,
            order,
            |c| weight(c.score, best, 1.0) / total,
            |mass| mass >= f64::from(p),
        );
        self.sorted = true;
    }

    /// Keeps the tokens at least `p` times as likely as the likeliest.
    pub(super) fn min_p(&mut self, p: f32) {
        if p <= 0.0 {
            return;
        }
        let least = self.best + libm::logf(p);
        let best = self.best;
        // The likeliest stays whatever the rounding.
        self.list.retain(|c| c.score >= least || c.score == best);
    }

    /// Chooses one: `unit` in `[0, 1)` is a place in the probabilities at temperature `temp`, laid end to end.
    pub(super) fn draw(&mut self, temp: f32, unit: f64) -> u32 {
        let (best, mut total) = (self.best, 0.0);
        self.weights.clear();
        for c in &self.list {
            let weight = libm::expf((c.score - best) / temp);
            self.weights.push(weight);
            total += f64::from(weight);
        }
        let place = unit * total;
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
        self.list[chosen].id
    }

    /// The sum of the weights; the best candidate's is 1.
    fn total(&self, temp: f32) -> f64 {
        self.list
            .iter()
            .map(|c| weight(c.score, self.best, temp))
            .sum()
    }
}

/// A score with its place as id. Adding zero makes -0 and 0 the equal scores they are.
fn candidate((id, score): (usize, &f32)) -> Candidate {
    Candidate {
        id: id as u32,
        score: score + 0.0,
    }
}

fn weight(score: f32, best: f32, temp: f32) -> f64 {
    f64::from(libm::expf((score - best) / temp))
}

/// Keeps the shortest prefix, in the order given, that is `enough`; all if none is. Sorts only what it keeps
/// and a little more.
fn keep_share(
    list: &mut Vec<Candidate>,
    order: impl Fn(&Candidate, &Candidate) -> Ordering,
    probability: impl Fn(&Candidate) -> f64,
    enough: impl Fn(f64) -> bool,
) {
    let (mut done, mut mass, mut step) = (0, 0.0, FIRST_STEP);
    while done < list.len() {
        let rest = &mut list[done..];
        let n = step.min(rest.len());
        if n < rest.len() {
            rest.select_nth_unstable_by(n - 1, &order);
        }
        rest[..n].sort_unstable_by(&order);
        for i in done..done + n {
            mass += probability(&list[i]);
            if enough(mass) {
                list.truncate(i + 1);
                return;
            }
        }
        done += n;
        step *= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the filters mean, with everything sorted and nothing clever.
    fn oracle(scores: &[f32], k: usize, typical: f32, top_p: f32, min_p: f32) -> Vec<u32> {
        let mut list: Vec<Candidate> = scores.iter().enumerate().map(candidate).collect();
        list.retain(|c| c.score > f32::NEG_INFINITY);
        let in_id_order = list.clone();
        list.sort_by(order);
        if k > 0 {
            list.truncate(k);
        }
        // The sum is taken in the order the filters see: by id as long as nothing was sorted.
        let mut sorted = k > 0 && k < scores.len();
        let probabilities = |list: &[Candidate], sorted: bool| {
            let best = list[0].score;
            let seen = if sorted { list } else { &in_id_order };
            let total: f64 = seen.iter().map(|c| weight(c.score, best, 1.0)).sum();
            (
                list.iter()
                    .map(|c| weight(c.score, best, 1.0) / total)
                    .collect::<Vec<_>>(),
                total,
            )
        };
        if typical < 1.0 {
            let best = list[0].score;
            let total = probabilities(&list, sorted).1;
            let surprise = |c: &Candidate| libm::log(total) - f64::from(c.score - best);
            let seen = if sorted { &list } else { &in_id_order };
            let entropy: f64 = seen
                .iter()
                .map(|c| (weight(c.score, best, 1.0) / total, surprise(c)))
                .filter(|(p, _)| *p > 0.0)
                .map(|(p, s)| p * s)
                .sum();
            list.sort_by(|a, b| {
                (surprise(a) - entropy)
                    .abs()
                    .total_cmp(&(surprise(b) - entropy).abs())
                    .then_with(|| order(a, b))
            });
            let mut mass = 0.0;
            let keep = list.iter().position(|c| {
                mass += weight(c.score, best, 1.0) / total;
                mass > f64::from(typical)
            });
            list.truncate(keep.map_or(list.len(), |i| i + 1));
            list.sort_by(order);
            sorted = true;
        }
        if top_p < 1.0 {
            let mut mass = 0.0;
            let keep = probabilities(&list, sorted).0.iter().position(|p| {
                mass += p;
                mass >= f64::from(top_p)
            });
            list.truncate(keep.map_or(list.len(), |i| i + 1));
            sorted = true;
        }
        if min_p > 0.0 {
            let best = list[0].score;
            list.retain(|c| c.score >= best + libm::logf(min_p) || c.score == best);
        }
        if !sorted {
            list.sort_by_key(|c| c.id);
        }
        list.iter().map(|c| c.id).collect()
    }

    fn score() -> impl Strategy<Value = f32> {
        prop_oneof![
            8 => -20.0_f32..20.0,
            // Many ties.
            4 => (-3_i32..3).prop_map(|n| n as f32),
            1 => Just(-0.0_f32),
            1 => Just(f32::NEG_INFINITY),
            1 => Just(f32::MAX),
            1 => Just(f32::MIN),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn the_same_as_sorting_everything(
            scores in prop::collection::vec(score(), 1..1500),
            k in prop_oneof![Just(0_usize), 1_usize..100, Just(5000)],
            typical in prop_oneof![Just(1.0_f32), 0.0_f32..1.0],
            top_p in prop_oneof![Just(1.0_f32), Just(0.0), 0.0_f32..1.0],
            min_p in prop_oneof![Just(0.0_f32), 0.0_f32..1.0, Just(1.0)],
        ) {
            let mut candidates = Candidates::default();
            let any = scores.iter().any(|s| *s > f32::NEG_INFINITY);
            prop_assert_eq!(candidates.fill(&scores, k), any);
            if any {
                candidates.typical(typical);
                candidates.top_p(top_p);
                candidates.min_p(min_p);
                prop_assert!(!candidates.list.is_empty());
                let ids: Vec<u32> = candidates.list.iter().map(|c| c.id).collect();
                prop_assert_eq!(ids, oracle(&scores, k, typical, top_p, min_p));
                let best = candidates.list.iter().fold(f32::NEG_INFINITY, |best, c| best.max(c.score));
                prop_assert_eq!(best, candidates.best);
                for unit in [0.0, 0.3, 0.999_999, 1.0 - f64::EPSILON / 2.0] {
                    for temp in [f32::MIN_POSITIVE / 8.0, 0.8, 1e30] {
                        let drawn = candidates.draw(temp, unit);
                        prop_assert!(candidates.list.iter().any(|c| c.id == drawn));
                    }
                }
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
