//! Where the time of forward passes goes, by kind of step.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A kind of step of a forward pass, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Rows of the embedding, and the angles of positions.
    Embed,
    /// Both norms of each layer and the last one, with the rounding of what they give.
    Norm,
    /// The matrices of queries, keys and values.
    Qkv,
    /// Biases, norms and rotation of heads; storing keys and values.
    RopeStore,
    /// Attention.
    Attention,
    /// Gathering the heads, and the output matrix of attention.
    AttentionOutput,
    /// The gate and up matrices.
    GateUp,
    /// SwiGLU, with the rounding of what it gives.
    SwiGlu,
    /// The down matrix.
    Down,
    /// The output matrix of the model.
    Logits,
}

impl Step {
    /// All kinds, in order.
    pub const ALL: [Step; 10] = [
        Step::Embed,
        Step::Norm,
        Step::Qkv,
        Step::RopeStore,
        Step::Attention,
        Step::AttentionOutput,
        Step::GateUp,
        Step::SwiGlu,
        Step::Down,
        Step::Logits,
    ];

    /// A name of a word or two, in the letters of an identifier.
    pub fn name(self) -> &'static str {
        match self {
            Step::Embed => "embed",
            Step::Norm => "norm",
            Step::Qkv => "qkv",
            Step::RopeStore => "rope_store",
            Step::Attention => "attention",
            Step::AttentionOutput => "attention_output",
            Step::GateUp => "gate_up",
            Step::SwiGlu => "swiglu",
            Step::Down => "down",
            Step::Logits => "logits",
        }
    }
}

/// Time spent in each kind of step, from one barrier to the next: what the whole pool took, waiting included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    times: [Duration; Step::ALL.len()],
    passes: u64,
}

impl Profile {
    /// Time spent in steps of that kind.
    pub fn time(&self, step: Step) -> Duration {
        self.times[step as usize]
    }

    /// Time spent in all steps.
    pub fn total(&self) -> Duration {
        self.times.iter().sum()
    }

    /// Forward passes.
    pub fn passes(&self) -> u64 {
        self.passes
    }
}

impl std::ops::AddAssign for Profile {
    fn add_assign(&mut self, other: Profile) {
        for (sum, time) in self.times.iter_mut().zip(other.times) {
            *sum += time;
        }
        self.passes += other.passes;
    }
}

/// A profile in the making. One thread of a region tells it of each step, so the lock is always free.
#[derive(Debug)]
pub(crate) struct Recorder(Mutex<(Profile, Instant)>);

impl Recorder {
    pub(crate) fn new() -> Recorder {
        Recorder(Mutex::new((Profile::default(), Instant::now())))
    }

    /// A pass begins.
    pub(crate) fn begin(&self) {
        let (profile, last) = &mut *self.lock();
        profile.passes += 1;
        *last = Instant::now();
    }

    /// A step has ended on all threads.
    pub(crate) fn end(&self, step: Step) {
        let (profile, last) = &mut *self.lock();
        let now = Instant::now();
        profile.times[step as usize] += now - *last;
        *last = now;
    }

    /// What was recorded, which begins anew.
    pub(crate) fn take(&self) -> Profile {
        std::mem::take(&mut self.lock().0)
    }

    fn lock(&self) -> MutexGuard<'_, (Profile, Instant)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_numbered_as_listed_and_named_once() {
        for (i, step) in Step::ALL.into_iter().enumerate() {
            assert_eq!(step as usize, i);
            assert!(
                Step::ALL[..i]
                    .iter()
                    .all(|other| other.name() != step.name())
            );
        }
    }

    #[test]
    fn times_add_up_and_taking_them_begins_anew() {
        let recorder = Recorder::new();
        recorder.begin();
        for step in Step::ALL {
            recorder.end(step);
        }
        let first = recorder.take();
        assert_eq!(first.passes(), 1);
        assert_eq!(
            first.total(),
            Step::ALL.iter().map(|&s| first.time(s)).sum()
        );
        assert_eq!(recorder.take(), Profile::default());
        let mut twice = first;
        twice += first;
        assert_eq!((twice.passes(), twice.total()), (2, 2 * first.total()));
    }
}
