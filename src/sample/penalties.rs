//! Penalties on tokens that were already said.

use super::SampleOptions;
use std::collections::{HashMap, VecDeque};

/// The last tokens of a text, counted.
#[derive(Clone, Debug)]
pub(super) struct Penalties {
    /// How many tokens are looked back on; `None` is all of them.
    window: Option<usize>,
    repeat: f32,
    presence: f32,
    frequency: f32,
    recent: VecDeque<u32>,
    counts: HashMap<u32, u32>,
}

impl Penalties {
    pub(super) fn new(options: &SampleOptions) -> Self {
        let idle = options.repeat_penalty == 1.0
            && options.presence_penalty == 0.0
            && options.frequency_penalty == 0.0;
        Self {
            window: if idle {
                Some(0)
            } else {
                usize::try_from(options.repeat_last_n).ok()
            },
            repeat: options.repeat_penalty,
            presence: options.presence_penalty,
            frequency: options.frequency_penalty,
            recent: VecDeque::new(),
            counts: HashMap::new(),
        }
    }

    /// Remembers a token, and forgets the one that leaves the window.
    pub(super) fn accept(&mut self, id: u32) {
        if self.window == Some(0) {
            return;
        }
        if self
            .window
            .is_some_and(|window| self.recent.len() >= window)
            && let Some(old) = self.recent.pop_front()
            && let Some(count) = self.counts.get_mut(&old)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&old);
            }
        }
        // Without a window nothing ever leaves, so the order need not be kept.
        if self.window.is_some() {
            self.recent.push_back(id);
        }
        *self.counts.entry(id).or_default() += 1;
    }

    /// Whether there is nothing to change.
    pub(super) fn is_idle(&self) -> bool {
        self.counts.is_empty()
    }

    /// Changes the scores of the tokens remembered; returns one that is no longer a number to sample with.
    pub(super) fn apply(&self, scores: &mut [f32]) -> Option<u32> {
        let mut broken = None;
        for (&id, &count) in &self.counts {
            let Some(score) = scores.get_mut(id as usize) else {
                continue;
            };
            if *score == f32::NEG_INFINITY {
                continue;
            }
            // A positive score shrinks and a negative one grows: either way the token becomes less likely.
            *score = if *score > 0.0 {
                *score / self.repeat
            } else {
                *score * self.repeat
            };
            *score -= count as f32 * self.frequency + self.presence;
            if !score.is_finite() {
                broken = broken.max(Some(id));
            }
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(options: &SampleOptions, said: &[u32], scores: &[f32]) -> Vec<f32> {
        let mut penalties = Penalties::new(options);
        for &id in said {
            penalties.accept(id);
        }
        let mut scores = scores.to_vec();
        assert_eq!(penalties.apply(&mut scores), None);
        scores
    }

    #[test]
    fn each_penalty_does_its_part() {
        let options = |repeat, presence, frequency, last| SampleOptions {
            repeat_penalty: repeat,
            presence_penalty: presence,
            frequency_penalty: frequency,
            repeat_last_n: last,
            ..SampleOptions::default()
        };
        let scores = [2.0, -2.0, 1.0, 0.0];
        let said = [0, 1, 1, 3];
        assert_eq!(
            applied(&options(2.0, 0.0, 0.0, 64), &said, &scores),
            [1.0, -4.0, 1.0, 0.0]
        );
        assert_eq!(
            applied(&options(1.0, 0.5, 0.0, 64), &said, &scores),
            [1.5, -2.5, 1.0, -0.5]
        );
        assert_eq!(
            applied(&options(1.0, 0.0, 0.5, 64), &said, &scores),
            [1.5, -3.0, 1.0, -0.5]
        );
        // Only the last two of what was said; then everything; then nothing.
        assert_eq!(
            applied(&options(1.0, 0.0, 0.5, 2), &said, &scores),
            [2.0, -2.5, 1.0, -0.5]
        );
        assert_eq!(
            applied(&options(1.0, 0.0, 0.5, -1), &said, &scores),
            [1.5, -3.0, 1.0, -0.5]
        );
        assert_eq!(applied(&options(1.0, 0.0, 0.5, 0), &said, &scores), scores);
        assert_eq!(applied(&options(1.0, 0.0, 0.0, 64), &said, &scores), scores);
    }

    #[test]
    fn the_window_forgets() {
        let options = SampleOptions {
            presence_penalty: 1.0,
            repeat_last_n: 3,
            ..SampleOptions::default()
        };
        let mut penalties = Penalties::new(&options);
        for id in 0..1000 {
            penalties.accept(id % 7);
            assert!(penalties.counts.len() <= 3);
            assert_eq!(
                penalties.counts.values().sum::<u32>() as usize,
                penalties.recent.len()
            );
        }
    }
}
