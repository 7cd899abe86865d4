//! How many tokens to draft: what passes cost, what drafts are worth, and how much may be lost on them.
//!
//! A pass that reads `n` drafts gives `1 + p1 + p1 p2 + ... + p1...pn` tokens on average, where `pi` is the chance that
//! draft `i` is right if those before it are. It takes the time of a pass of `n + 1` tokens, and that of drafting. [`Pace`]
//! takes the `n` of the best ratio, if it is better than one token for the time of one.
//!
//! * **Times** ([`Times`]) are measured, for each number of tokens on its own: kernels have steps where they change their
//!   ways, and no formula knows them. Other programs only ever make a pass slower, so the time of a size is the shortest of
//!   the last two spans of passes, believed from the second measurement on. The spans are the same for all sizes, and long:
//!   times are compared with each other, and must not be those of a quiet moment against those of a busy one. Sizes not
//!   measured lately lie between (or past) those that are.
//! * **Chances** ([`Chances`]) are counted, by class of evidence: after a match of 2 tokens a draft is right far more seldom
//!   than after one of 30. What n-grams would have drafted is judged at every token, drafted or not, so a text that begins
//!   to quote is noticed at no cost. A draft model is judged when it drafts. Old counts fade.
//! * **The purse** bounds what can be lost when chances or times are wrong, or the text changes its nature. Each pass pays
//!   its time into or out of it: tokens gained, less time spent. A pass is taken only if the purse could bear that all its
//!   drafts are wrong. It begins with one pass of one token and is given 1/64 of one with each plain token, so whatever the
//!   text is, drafting costs 1/64 of the time and one token. After a loss it is that trickle which pays for single probes;
//!   after a few right ones the purse is full again.

use super::evidence::{CLASSES, MODEL, PRIOR};
use std::time::Duration;

/// Passes of one size before its time is believed: one may be disturbed.
const BELIEVED: u32 = 2;
/// Passes in a span. What was not measured in this span or the one before must be measured anew.
const SPAN: u64 = 128;
/// Passes after which a plain one is made, to know what drafting is measured against.
const REFRESH: u64 = 64;
/// What another token is taken to add to a pass before any pass of several is measured, in passes of one token. On the
/// hopeful side: what is never tried is never known.
const ANOTHER_TOKEN: f64 = 0.25;
/// A size between two measured ones is taken to need so much of what the line between them says. Times go in steps, and
/// this finds the far end of a step.
const HOPE: f64 = 0.9;
/// What a draft model is taken to need for a token before it is measured, in passes of one token.
const DRAFT_TOKEN: f64 = 0.125;
/// What a token that a draft model has missed takes it, in drafts: those are read together.
const MISSED_TOKEN: f64 = 0.25;
/// How much better than plain decoding a pass must promise to be.
const MARGIN: f64 = 1.05;
/// Weight of the chance that is assumed at first, in drafts; it never fades.
const PRIOR_WEIGHT: f64 = 2.0;
/// How much of the counts is left after each draft: 24 drafts are remembered, about.
const FADE: f64 = 0.96;
/// The purse at first, the most it holds, and what a plain token adds, in passes of one token.
const PURSE: f64 = 1.0;
const PURSE_FULL: f64 = 8.0;
const PURSE_TRICKLE: f64 = 1.0 / 64.0;

/// The shortest time of one thing in a span, and how often it was measured there.
#[derive(Clone, Copy, Debug)]
struct Shortest {
    seconds: f64,
    count: u32,
}

impl Shortest {
    const NONE: Shortest = Shortest {
        seconds: f64::INFINITY,
        count: 0,
    };
}

/// Times of one thing in a span and the one before.
#[derive(Clone, Copy, Debug)]
struct Recent {
    now: Shortest,
    before: Shortest,
    /// Number of the span that `now` is about.
    span: u64,
    /// When it was measured last, in passes.
    seen: u64,
}

impl Recent {
    const NEVER: Recent = Recent {
        now: Shortest::NONE,
        before: Shortest::NONE,
        span: 0,
        seen: 0,
    };

    /// The same at pass number `now`, which may be in a later span.
    fn at(mut self, now: u64) -> Recent {
        let span = now / SPAN;
        if span != self.span {
            self.before = match span - self.span {
                1 => self.now,
                _ => Shortest::NONE,
            };
            self.now = Shortest::NONE;
            self.span = span;
        }
        self
    }

    fn record(&mut self, seconds: f64, now: u64) {
        *self = self.at(now);
        self.now.seconds = self.now.seconds.min(seconds);
        self.now.count += 1;
        self.seen = now;
    }

    /// The time in seconds as known at pass number `now`, if it is believed.
    fn shortest(self, now: u64) -> Option<f64> {
        let Recent { now, before, .. } = self.at(now);
        let believed = now.count + before.count >= BELIEVED;
        believed.then(|| now.seconds.min(before.seconds))
    }
}

/// Times of passes by their number of tokens.
#[derive(Clone, Debug, Default)]
struct Times {
    /// Entry `n` is for passes of `n` tokens.
    sizes: Vec<Recent>,
    /// Passes measured.
    now: u64,
}

impl Times {
    fn record(&mut self, tokens: usize, seconds: f64) {
        self.now += 1;
        if self.sizes.len() <= tokens {
            self.sizes.resize(tokens + 1, Recent::NEVER);
        }
        self.sizes[tokens].record(seconds, self.now);
    }

    /// Whether the time of one token must be measured before it is compared with anything.
    fn wants_one(&self) -> bool {
        self.measured(1).is_none() || self.now - self.sizes[1].seen > REFRESH
    }

    /// Seconds of a pass of `tokens`, if it was measured lately.
    fn measured(&self, tokens: usize) -> Option<f64> {
        self.sizes.get(tokens)?.shortest(self.now)
    }

    /// Seconds of a pass of `tokens`, never less than those of one; none if one token was not measured.
    fn of(&self, tokens: usize) -> Option<f64> {
        let one = self.measured(1)?;
        let seconds = self.measured(tokens).or_else(|| self.guess(tokens, one));
        seconds.map(|seconds| seconds.max(one))
    }

    /// Seconds of a pass of `tokens`, more than one, by those of other passes.
    fn guess(&self, tokens: usize, one: f64) -> Option<f64> {
        let known = |n: usize| self.measured(n).map(|seconds| (n as f64, seconds));
        let (n, below) = (1..tokens).rev().find_map(known)?;
        let more = tokens as f64 - n;
        let hoped = ANOTHER_TOKEN * one;
        Some(match (tokens + 1..self.sizes.len()).find_map(known) {
            Some((above, seconds)) => {
                let line = below + (seconds - below) / (above - n) * more;
                (HOPE * line).max(below)
            }
            None if n > 1.0 => below + ((below - one) / (n - 1.0)).clamp(0.0, hoped) * more,
            None => below + hoped * more,
        })
    }
}

/// How often drafts were right, by class of evidence.
#[derive(Clone, Debug, Default)]
struct Chances {
    tried: [f64; CLASSES],
    right: [f64; CLASSES],
}

impl Chances {
    fn record(&mut self, class: usize, right: bool) {
        self.tried[class] = self.tried[class] * FADE + 1.0;
        self.right[class] = self.right[class] * FADE + f64::from(u8::from(right));
    }

    /// Forgets a little of a class that nothing new is known about, so that it is tried again at times.
    fn fade(&mut self, class: usize) {
        self.tried[class] *= FADE;
        self.right[class] *= FADE;
    }

    fn of(&self, class: usize) -> f64 {
        (self.right[class] + PRIOR_WEIGHT * PRIOR[class]) / (self.tried[class] + PRIOR_WEIGHT)
    }
}

/// A number of drafts, and what it promises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    /// Drafts, at least one.
    pub(super) drafts: usize,
    /// Tokens for the time of a plain one.
    pub(super) gain: f64,
}

/// What is known about passes and drafts, and what follows from it.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    times: Times,
    /// Of one token of the draft model.
    draft_token: Recent,
    chances: Chances,
    purse: f64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            times: Times::default(),
            draft_token: Recent::NEVER,
            chances: Chances::default(),
            purse: PURSE,
        }
    }
}

impl Pace {
    /// Begins an answer: what another one gained or lost is not this one's.
    pub(super) fn begin(&mut self) {
        self.purse = PURSE;
    }

    /// The best number of drafts, at most `most`, if any is better than none. `class` gives each draft's class of evidence.
    /// `missed` is how many tokens a draft model must catch up on before its first draft; with none given, drafts cost
    /// nothing.
    pub(super) fn plan(
        &self,
        most: usize,
        class: impl Fn(usize) -> usize,
        missed: Option<usize>,
    ) -> Option<Plan> {
        let one = self.times.measured(1).filter(|_| !self.times.wants_one())?;
        let (draft, missed, most) = match (missed, self.draft_token.shortest(self.times.now)) {
            (None, _) => (0.0, 0, most),
            (Some(missed), Some(seconds)) => (seconds, missed, most),
            // One to learn its time from.
            (Some(_), None) => (DRAFT_TOKEN * one, 0, most.min(1)),
        };
        let (mut best, mut reached, mut tokens) = (None, 1.0, 1.0);
        for drafts in 1..=most {
            reached *= self.chances.of(class(drafts - 1));
            tokens += reached;
            let drafting = draft * work(missed, drafts);
            let cost = (self.times.of(drafts + 1)? + drafting) / one;
            let gain = tokens / cost;
            if cost - 1.0 <= self.purse && gain > best.map_or(MARGIN, |best: Plan| best.gain) {
                best = Some(Plan { drafts, gain });
            }
        }
        best
    }

    /// Takes note of whether a token that was drafted, or would have been, was right.
    pub(super) fn judge(&mut self, class: usize, right: bool) {
        self.chances.record(class, right);
    }

    /// Takes note of how long a draft model took to catch up on `missed` tokens and to make `drafts`.
    pub(super) fn drafted(&mut self, missed: usize, drafts: usize, time: Duration) {
        let seconds = time.as_secs_f64() / work(missed, drafts);
        self.draft_token.record(seconds, self.times.now);
    }

    /// Takes note of a pass of one token and `drafts` drafts, of which the first `right` were right. `pass` is its time,
    /// `drafting` that of a draft model, if one made them.
    pub(super) fn learn(
        &mut self,
        drafts: usize,
        right: usize,
        pass: Duration,
        drafting: Option<Duration>,
    ) {
        self.times.record(drafts + 1, pass.as_secs_f64());
        if drafting.is_some() {
            // The first wrong one is judged too; those after it never had a chance.
            for i in 0..drafts.min(right + 1) {
                self.chances.record(MODEL, i < right);
            }
        } else {
            self.chances.fade(MODEL);
        }
        let Some(one) = self.times.measured(1) else {
            return;
        };
        let change = match (drafts, self.times.of(drafts + 1)) {
            (0, _) | (_, None) => PURSE_TRICKLE,
            (_, Some(pass)) => {
                let drafting = drafting.unwrap_or_default().as_secs_f64();
                right as f64 + 1.0 - (pass + drafting) / one
            }
        };
        self.purse = (self.purse + change).min(PURSE_FULL);
    }
}

/// What a draft model does, in drafts.
fn work(missed: usize, drafts: usize) -> f64 {
    MISSED_TOKEN * missed as f64 + drafts as f64
}

#[cfg(test)]
mod tests {
    use super::super::evidence::of_match;
    use super::*;

    /// A machine on which a pass of `n` tokens takes `passes[n - 1]` one-token times, and more tokens as the last two say.
    struct Machine(&'static [f64]);

    impl Machine {
        fn pass(&self, tokens: usize) -> Duration {
            let last = self.0.len() - 1;
            let time = match self.0.get(tokens - 1) {
                Some(time) => *time,
                None => {
                    self.0[last] + (tokens - 1 - last) as f64 * (self.0[last] - self.0[last - 1])
                }
            };
            Duration::from_secs_f64(0.04 * time)
        }
    }

    /// Reads ahead cheaply up to 4 tokens, then in steps of 8.
    const STEPS: Machine = Machine(&[
        1.0, 1.1, 1.4, 1.7, 3.0, 3.0, 3.0, 3.0, 4.4, 4.4, 4.4, 4.4, 4.5, 4.5, 4.5, 4.5, 6.0,
    ]);
    /// Reads ahead as slowly as one by one.
    const FLAT: Machine = Machine(&[1.0, 2.0]);

    /// Decodes `tokens` tokens, each with a match of `evidence` tokens before it; token number `i` is what the match says if
    /// `quoted(i)`. Gives the ratio of plain time to time, and the drafts of the last pass.
    fn decode(
        pace: &mut Pace,
        machine: &Machine,
        tokens: usize,
        evidence: usize,
        quoted: impl Fn(usize) -> bool,
    ) -> (f64, usize) {
        let (mut said, mut time, mut last) = (0, Duration::ZERO, 0);
        while said < tokens {
            let plan = pace.plan(16, |i| of_match(evidence + i), None);
            last = plan.map_or(0, |plan| plan.drafts);
            let right = (0..last).take_while(|i| quoted(said + i)).count();
            pace.learn(last, right, machine.pass(last + 1), None);
            for i in 0..=right {
                pace.judge(of_match(evidence + i), quoted(said + i));
            }
            time += machine.pass(last + 1);
            said += right + 1;
        }
        let plain = machine.pass(1) * said as u32;
        (plain.as_secs_f64() / time.as_secs_f64(), last)
    }

    #[test]
    fn a_quotation_is_read_in_long_passes_soon() {
        let (gain, last) = decode(&mut Pace::default(), &STEPS, 400, 40, |_| true);
        assert!(gain > 2.5, "{gain}");
        assert!(last >= 15, "{last}");
    }

    #[test]
    fn wrong_drafts_cost_three_in_a_hundred_at_most() {
        for evidence in [2, 4, 10, 20, 64] {
            for machine in [STEPS, FLAT] {
                let (gain, _) = decode(&mut Pace::default(), &machine, 200, evidence, |_| false);
                assert!(gain > 0.97, "{evidence}: {gain}");
                let (gain, _) = decode(&mut Pace::default(), &machine, 400, evidence, |i| {
                    i % 5 == 0
                });
                assert!(gain > 0.97, "{evidence}: {gain}");
            }
        }
    }

    #[test]
    fn nothing_is_drafted_where_passes_of_several_tokens_gain_nothing() {
        let mut pace = Pace::default();
        decode(&mut pace, &FLAT, 100, 40, |_| true);
        let (gain, last) = decode(&mut pace, &FLAT, 100, 40, |_| true);
        assert!(gain > 0.99 && last == 0, "{gain} {last}");
    }

    #[test]
    fn a_text_that_begins_to_quote_is_noticed() {
        let mut pace = Pace::default();
        decode(&mut pace, &STEPS, 300, 20, |_| false);
        let (_, last) = decode(&mut pace, &STEPS, 200, 20, |_| true);
        assert!(last >= 7, "{last}");
    }

    #[test]
    fn a_disturbed_pass_is_not_believed() {
        let mut times = Times::default();
        assert!(times.of(4).is_none() && times.wants_one());
        for seconds in [3.0, 1.0, 1.1] {
            times.record(1, seconds);
        }
        assert_eq!(times.measured(1), Some(1.0));
        // The first passes of a size are slow by chance: one is not believed, of two the shorter is.
        times.record(5, 9.0);
        assert_eq!(times.of(5), Some(2.0));
        times.record(5, 3.0);
        assert_eq!(times.of(5), Some(3.0));
        // Between one and five a little below the line, past five no steeper than hoped.
        assert_eq!(times.of(3), Some(HOPE * 2.0));
        assert_eq!(times.of(2), Some(HOPE * 1.5));
        assert_eq!(times.of(7), Some(3.0 + 2.0 * ANOTHER_TOKEN));
    }

    #[test]
    fn old_times_are_measured_again() {
        let mut times = Times::default();
        for tokens in [1, 1, 3, 3] {
            times.record(tokens, 5.0);
        }
        assert_eq!(times.of(3), Some(5.0));
        for _ in 2..=REFRESH {
            assert!(!times.wants_one());
            times.record(2, 5.0);
        }
        assert!(times.wants_one());
        for _ in 0..2 * SPAN {
            times.record(1, 1.0);
        }
        // Nothing but one token is known now.
        assert_eq!(times.of(3), Some(1.0 + 2.0 * ANOTHER_TOKEN));
    }

    /// Times of a busy machine are no reason to draft: those of a quiet one are compared with each other.
    #[test]
    fn a_busy_while_makes_no_pass_look_cheap() {
        let mut times = Times::default();
        for tokens in [1, 1, 8, 8] {
            times.record(tokens, tokens as f64);
        }
        for _ in 0..SPAN / 2 {
            times.record(1, 4.0);
        }
        assert_eq!((times.of(1), times.of(8)), (Some(1.0), Some(8.0)));
    }

    #[test]
    fn a_draft_model_is_used_if_it_is_fast_enough() {
        let drafts = |draft: u64| {
            let mut pace = Pace::default();
            let (one, draft) = (Duration::from_millis(40), Duration::from_millis(draft));
            for _ in 0..BELIEVED {
                pace.learn(0, 0, one, None);
            }
            // Its time is not known: one draft, to learn it.
            assert_eq!(
                pace.plan(16, |_| MODEL, Some(0)).map(|plan| plan.drafts),
                Some(1)
            );
            for _ in 0..10 {
                pace.drafted(0, 1, draft);
                pace.learn(1, 1, one * 5 / 4, Some(draft));
            }
            pace.plan(16, |_| MODEL, Some(0)).map(|plan| plan.drafts)
        };
        assert!(drafts(2) > Some(2), "{:?}", drafts(2));
        assert_eq!(drafts(40), None);
    }

    #[test]
    fn a_draft_model_that_was_wrong_is_tried_again() {
        let mut pace = Pace::default();
        let one = Duration::from_millis(40);
        let mut tried = 0;
        for _ in 0..400 {
            let drafts = pace
                .plan(4, |_| MODEL, Some(0))
                .map_or(0, |plan| plan.drafts);
            tried += usize::from(drafts > 0);
            if drafts > 0 {
                pace.drafted(0, drafts, one / 20 * drafts as u32);
            }
            let drafting = (drafts > 0).then_some(one / 20 * drafts as u32);
            pace.learn(drafts, 0, one + one / 4 * drafts as u32, drafting);
        }
        assert!((4..80).contains(&tried), "{tried}");
    }
}
