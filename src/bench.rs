//! How fast a model is on this machine, and how fast it could be.
//!
//! A [`Test`] reads so many tokens and generates so many more, at a depth of so many held before; [`Bench::run`] repeats it and
//! gives an [`Outcome`]. Tests are named as llama-bench names them (`pp512`, `tg128 @ d4096`), and as there, turning text into
//! tokens and drawing them is not timed.
//!
//! * [`Subject`]: the model, and what a forward pass of it must move and multiply at least ([`Work`]).
//! * [`Limits`]: how fast this machine moves and multiplies, measured in the same run. A result divided by its limit says how
//!   much is left to gain ([`Share`]).
//! * [`Rates`]: mean, spread, best, and the smallest difference that means something.
//! * [`Versus`]: another program, measured in turn with ours, so that what disturbs one disturbs the other.
//! * [`Weather`]: how warm it was and how fast the clocks ran, and whether something held them down.
//! * [`synthetic`]: models of random weights, to learn the speed of a model before it is downloaded.
//!
//! ```no_run
//! use smolq::bench::{Bench, Known, Settings, Subject, Test};
//! use smolq::machine::Sensors;
//! use smolq::model::LoadOptions;
//! use std::sync::atomic::AtomicBool;
//!
//! # fn main() -> smolq::Result<()> {
//! let subject = Subject::load("model.gguf".as_ref(), &LoadOptions::default())?;
//! let (sensors, stop) = (Sensors::here(), AtomicBool::new(false));
//! let bench = Bench { subject: &subject, settings: Settings::default(), versus: None, sensors: &sensors, known: Known::default(), stop: &stop };
//! let test = Test { n_prompt: 0, n_gen: 128, n_depth: 0 };
//! if let Some(outcome) = bench.run(test, &mut |_| ())? {
//!     println!("{test}: {:.2} tokens/s", outcome.rates().median);
//! }
//! # Ok(())
//! # }
//! ```

mod limits;
mod rates;
mod record;
mod subject;
pub mod synthetic;
mod versus;

pub use limits::{Bound, Cost, Limits, Share, Work};
pub use rates::{Rates, TELLING};
pub use record::{Field, Kind, record};
pub use subject::Subject;
pub use versus::Versus;

use crate::error::{Error, Result};
use crate::machine::{self, Sensors, Watch, Weather};
use crate::model::{KvType, Profile, Session, SessionOptions};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// What is timed: reading `n_prompt` tokens, then generating `n_gen`, after `n_depth` that are not timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Test {
    /// Tokens read.
    pub n_prompt: usize,
    /// Tokens generated.
    pub n_gen: usize,
    /// Tokens held before.
    pub n_depth: usize,
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (self.n_prompt, self.n_gen) {
            (pp, 0) => format!("pp{pp}"),
            (0, tg) => format!("tg{tg}"),
            (pp, tg) => format!("pp{pp}+tg{tg}"),
        };
        match self.n_depth {
            0 => f.pad(&name),
            depth => f.pad(&format!("{name} @ d{depth}")),
        }
    }
}

/// How tests are run.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Tokens of a prompt handed over at once.
    pub n_batch: usize,
    /// Tokens of a prompt in one pass.
    pub n_ubatch: usize,
    /// How keys are stored.
    pub cache_k: KvType,
    /// How values are stored.
    pub cache_v: KvType,
    /// Threads; 0 means one for each fast core.
    pub threads: usize,
    /// How often a test is repeated, at least once.
    pub repetitions: usize,
    /// Whether a part of each test is run before it is timed, so that weights and buffers are in memory.
    pub warmup: bool,
    /// Whether the machine's limits are measured before and after each test.
    pub limits: bool,
    /// Whether time is recorded by kind of step.
    pub profile: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            n_batch: 2048,
            n_ubatch: 512,
            cache_k: KvType::F16,
            cache_v: KvType::F16,
            threads: 0,
            repetitions: 5,
            warmup: true,
            limits: true,
            profile: false,
        }
    }
}

/// What happens next; for a person who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A part of the test that is not timed.
    Warmup,
    /// The machine's limits.
    Limits,
    /// A repetition, from 0.
    Run(usize),
    /// The other program's turn after a repetition.
    Versus(usize),
}

/// A model, settings, and when to stop.
pub struct Bench<'a> {
    /// The model.
    pub subject: &'a Subject,
    /// How tests are run.
    pub settings: Settings,
    /// Another program to measure in turn.
    pub versus: Option<&'a Versus>,
    /// Where temperatures and clocks are read.
    pub sensors: &'a Sensors,
    /// What tests before with as many threads gave.
    pub known: Known,
    /// Ends the run when it becomes true; what was measured by then counts.
    pub stop: &'a AtomicBool,
}

/// What a test leaves to the next ones with as many threads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Known {
    /// Limits; they count where they are higher than those measured then.
    pub limits: Option<Limits>,
    /// The highest clock of the fast cores, in MHz; one well below it was held down.
    pub mhz: Option<f64>,
}

/// What came out of a test.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The test.
    pub test: Test,
    /// Threads used.
    pub threads: usize,
    /// When it began.
    pub time: SystemTime,
    /// Each repetition.
    pub samples: Vec<Duration>,
    /// Of each repetition, the time until the first logits were there.
    pub first_token: Vec<Duration>,
    /// What this machine could do at best during this test.
    pub limits: Option<Limits>,
    /// The best repetition as a share of its limit.
    pub share: Option<Share>,
    /// The most memory the process held during the test, mapped files included, in bytes.
    pub peak_memory: Option<u64>,
    /// Memory that no file stands behind, at the end of the test, in bytes.
    pub anonymous_memory: Option<u64>,
    /// How warm it was and how fast the clocks ran, where sensors tell.
    pub weather: Option<Weather>,
    /// Time by kind of step, over all repetitions.
    pub profile: Option<Profile>,
    /// Tokens per second of the other program.
    pub versus: Option<Rates>,
}

impl Outcome {
    /// Tokens per second.
    pub fn rates(&self) -> Rates {
        let tokens = (self.test.n_prompt + self.test.n_gen) as f64;
        let rate = |time: &Duration| tokens / time.as_secs_f64().max(1e-9);
        Rates::of(self.samples.iter().map(rate).collect())
    }

    /// The median of [`Outcome::first_token`].
    pub fn time_to_first_token(&self) -> Duration {
        let mut times = self.first_token.clone();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    /// What the next tests with as many threads should know.
    pub fn known(&self) -> Known {
        Known {
            limits: self.limits,
            mhz: self.weather.as_ref().and_then(|weather| weather.mhz_max),
        }
    }

    /// How many times as fast as the other program, median by median.
    pub fn ratio(&self) -> Option<f64> {
        let versus = self.versus.as_ref()?;
        Some(self.rates().median / versus.median)
    }
}

impl Bench<'_> {
    /// Runs a test. `None` if it was stopped before its first repetition was done.
    ///
    /// # Errors
    /// If a setting cannot be honoured, memory or threads are not to be had, or the other program gives no result.
    pub fn run(&self, test: Test, tell: &mut dyn FnMut(Event)) -> Result<Option<Outcome>> {
        let wrong = |field, why: &str| {
            let why = why.to_owned();
            Err(Error::Request { field, why })
        };
        if test.n_prompt == 0 && test.n_gen == 0 {
            return wrong("test", "neither reads nor generates a token");
        }
        if self.settings.repetitions == 0 {
            return wrong("--repetitions", "must be at least 1");
        }
        if self.settings.n_batch == 0 {
            return wrong("--batch-size", "must be at least 1");
        }
        let mut run = Run::new(self, test)?;
        if self.settings.warmup {
            tell(Event::Warmup);
            run.warm_up()?;
        }
        let mut limits = self.known.limits;
        self.measure_limits(&run, &mut limits, tell)?;
        let mut outcome = Outcome {
            test,
            threads: run.session.threads(),
            time: SystemTime::now(),
            samples: Vec::new(),
            first_token: Vec::new(),
            limits: None,
            share: None,
            peak_memory: None,
            anonymous_memory: None,
            weather: None,
            profile: None,
            versus: None,
        };
        // The figure of a test must not be that of a test before, nor of the measuring of limits.
        machine::reset_peak_memory();
        run.dive()?;
        let mut others = Vec::new();
        // The cores have been busy until now, so the clock is that of work.
        let mut watch = Watch::new(self.sensors, outcome.threads, self.known.mhz);
        for repetition in 0..self.settings.repetitions {
            tell(Event::Run(repetition));
            let Some((time, first)) = watch.during(|| run.once())? else {
                break;
            };
            outcome.samples.push(time);
            outcome.first_token.push(first);
            if let Some(profile) = run.session.take_profile() {
                *outcome.profile.get_or_insert_default() += profile;
            }
            if let Some(versus) = self.versus.filter(|_| !self.stopped()) {
                tell(Event::Versus(repetition));
                match versus.rates(self.subject, outcome.threads, test) {
                    Ok(rates) => others.extend(rates),
                    // Ctrl-C reaches the other program too.
                    Err(_) if self.stopped() => break,
                    Err(error) => return Err(error),
                }
            }
        }
        if outcome.samples.is_empty() {
            return Ok(None);
        }
        outcome.peak_memory = machine::peak_memory();
        outcome.anonymous_memory = machine::anonymous_memory();
        outcome.weather = watch.weather();
        outcome.versus = (!others.is_empty()).then(|| Rates::of(others));
        self.measure_limits(&run, &mut limits, tell)?;
        if let Some(limits) = &limits {
            let best = outcome.samples.iter().min().copied().unwrap_or_default();
            let work = self.subject.work();
            outcome.share = work.share(test, run.pass, self.kv_bytes(), limits, best);
        }
        outcome.limits = limits;
        Ok(Some(outcome))
    }

    /// Measures the limits once more. Memory that others use too is faster at one time than at another; the best counts.
    fn measure_limits(
        &self,
        run: &Run<'_>,
        limits: &mut Option<Limits>,
        tell: &mut dyn FnMut(Event),
    ) -> Result<()> {
        if !self.settings.limits || self.stopped() {
            return Ok(());
        }
        tell(Event::Limits);
        let now = Limits::measure(&self.subject.model, run.session.pool())?;
        limits.get_or_insert(now).raise(now);
        Ok(())
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Bytes of a position in the cache.
    fn kv_bytes(&self) -> u64 {
        let c = self.subject.model.config();
        let values = c.n_layer * c.n_head_kv * c.head_dim;
        (self.settings.cache_k.bytes(values) + self.settings.cache_v.bytes(values)) as u64
    }
}

/// A test under way.
struct Run<'a> {
    bench: &'a Bench<'a>,
    test: Test,
    session: Session,
    /// Tokens of a pass.
    pass: usize,
    /// As many tokens as the test has, spread over the vocabulary.
    ids: Vec<u32>,
}

impl Run<'_> {
    fn new<'a>(bench: &'a Bench<'a>, test: Test) -> Result<Run<'a>> {
        let settings = &bench.settings;
        let pass = settings.n_ubatch.min(settings.n_batch);
        let n_ctx = [test.n_prompt, test.n_gen, test.n_depth]
            .into_iter()
            .fold(0, usize::saturating_add);
        let options = SessionOptions {
            n_ctx,
            cache_k: settings.cache_k,
            cache_v: settings.cache_v,
            n_ubatch: pass,
            threads: settings.threads,
        };
        let session = Session::new(Arc::clone(&bench.subject.model), &options)?;
        let n_vocab = bench.subject.model.config().n_vocab;
        // A prime step visits the vocabulary without a pattern that a cache could like.
        let ids = (0..n_ctx).map(|i| (i.wrapping_mul(7919) % n_vocab) as u32);
        Ok(Run {
            bench,
            test,
            session,
            pass,
            ids: ids.collect(),
        })
    }

    /// One full pass and one token: every weight and every buffer has then been used.
    fn warm_up(&mut self) -> Result<()> {
        let Test {
            n_prompt, n_gen, ..
        } = self.test;
        if n_prompt > 0 {
            let n = n_prompt.min(self.pass);
            self.read(0, n)?;
        }
        if n_gen > 0 {
            self.session.truncate(0);
            self.read(0, 1)?;
        }
        self.session.truncate(0);
        Ok(())
    }

    /// Reads what is held before the test; it stays for all repetitions.
    fn dive(&mut self) -> Result<()> {
        if self.test.n_depth > 0 {
            self.read(0, self.test.n_depth)?;
        }
        self.session.set_profiling(self.bench.settings.profile);
        Ok(())
    }

    /// One repetition: its time, and the time until the first logits. `None` if it was stopped.
    fn once(&mut self) -> Result<Option<(Duration, Duration)>> {
        let Test {
            n_prompt,
            n_gen,
            n_depth,
        } = self.test;
        if self.session.pos() < n_depth || self.bench.stopped() {
            return Ok(None);
        }
        self.session.truncate(n_depth);
        let start = Instant::now();
        let mut first = None;
        if n_prompt > 0 {
            if !self.read(n_depth, n_prompt)? {
                return Ok(None);
            }
            first = Some(start.elapsed());
        }
        for i in 0..n_gen {
            self.read(n_depth + n_prompt + i, 1)?;
            first.get_or_insert_with(|| start.elapsed());
            if self.bench.stopped() && i + 1 < n_gen {
                return Ok(None);
            }
        }
        let time = start.elapsed();
        Ok(Some((time, first.unwrap_or(time))))
    }

    /// Reads `n` tokens from the `from`-th on; whether all were read.
    fn read(&mut self, from: usize, n: usize) -> Result<bool> {
        let stop = self.bench.stop;
        let ids = &self.ids[from..from + n];
        let logits = self
            .session
            .prefill(ids, &mut |_| !stop.load(Ordering::Relaxed))?;
        Ok(logits.is_some())
    }
}
