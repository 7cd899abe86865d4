//! One parallel region for each forward pass.
//!
//! Entering and leaving a region of the thread pool costs tens of microseconds; a forward pass has some ten steps a layer.
//! So a pass enters once ([`Pool::run`]), and inside all threads walk the same list of steps, with a barrier of their own
//! after each ([`Team::split`]). Work of a step is handed out in chunks by a shared counter, so that unequal cores, or a
//! core that another program uses, take what they can.
//!
//! Between passes the threads sleep in the pool; nothing spins while the process waits for input.

use crate::panel::TileSums;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often a waiting thread looks before it lets others run. One look is about 12 ns; a barrier of running threads
/// opens within a microsecond or two, so 2000 covers any imbalance worth spinning for. With more threads than cores the
/// one that everybody waits for may not be running at all: then yield at once.
const SPINS: u32 = 2000;
const SPINS_OVERSUBSCRIBED: u32 = 64;

/// The threads that run forward passes.
pub struct Pool {
    threads: Option<rayon::ThreadPool>,
    size: usize,
    spins: u32,
    /// Of each thread, what matrix kernels need to keep sums in; kept so that it is taken from the system once.
    scratch: Box<[Mutex<Vec<TileSums>>]>,
}

/// What the threads of a region share.
struct Region<'p> {
    pool: &'p Pool,
    size: usize,
    spins: u32,
    arrived: AtomicUsize,
    generation: AtomicUsize,
    ticket: AtomicUsize,
    stopped: AtomicBool,
}

/// Marks a panic that only follows another thread's.
struct Followed;

impl Pool {
    /// A pool of `size` threads; 0 means one for each core that this process may use.
    ///
    /// # Errors
    /// If the system refuses the threads.
    pub fn new(size: usize) -> Result<Pool, String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let size = if size == 0 { cores } else { size };
        let threads = match size {
            1 => None,
            _ => Some(
                rayon::ThreadPoolBuilder::new()
                    .num_threads(size)
                    .thread_name(|i| format!("smolq-{i}"))
                    .build()
                    .map_err(|e| format!("cannot start {size} threads: {e}"))?,
            ),
        };
        Ok(Pool {
            threads,
            size,
            scratch: (0..size).map(|_| Mutex::default()).collect(),
            spins: if size <= cores {
                SPINS
            } else {
                SPINS_OVERSUBSCRIBED
            },
        })
    }

    /// Threads in the pool.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Runs `steps` once on every thread: one region. Every thread must pass the same barriers.
    ///
    /// # Panics
    /// If a thread panics; the others are released from their barriers first.
    pub fn run(&self, steps: impl Fn(&Team<'_>) + Sync) {
        let region = Region {
            pool: self,
            size: self.size,
            spins: self.spins,
            arrived: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
            ticket: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        };
        let Some(threads) = &self.threads else {
            return steps(&Team {
                region: &region,
                index: 0,
            });
        };
        let results = threads.broadcast(|context| {
            let team = Team {
                region: &region,
                index: context.index(),
            };
            let result = catch_unwind(AssertUnwindSafe(|| steps(&team)));
            if result.is_err() {
                region.stopped.store(true, Ordering::Release);
            }
            result.err()
        });
        let mut panics: Vec<_> = results.into_iter().flatten().collect();
        // The panic that came first is the one to report.
        if let Some(first) = panics.iter().position(|p| !p.is::<Followed>()) {
            resume_unwind(panics.swap_remove(first));
        }
    }
}

/// One thread's view of a region.
pub struct Team<'a> {
    region: &'a Region<'a>,
    index: usize,
}

impl Team<'_> {
    /// This thread, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Threads in the region.
    pub fn size(&self) -> usize {
        self.region.size
    }

    /// This thread's room for sums.
    pub(crate) fn scratch(&self) -> MutexGuard<'_, Vec<TileSums>> {
        self.region.pool.scratch[self.index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out `0..n` in chunks of `chunk`, first one to each thread, then to whichever asks next, and waits for all.
    pub fn split(&self, n: usize, chunk: usize, mut work: impl FnMut(Range<usize>)) {
        let mut start = self.index * chunk;
        while start < n {
            work(start..n.min(start + chunk));
            start = self.size() * chunk + self.region.ticket.fetch_add(chunk, Ordering::Relaxed);
        }
        self.barrier();
    }

    /// Lets one thread do `work` while the others wait.
    pub fn single(&self, work: impl FnOnce()) {
        let mut work = Some(work);
        self.split(1, 1, |_| work.take().expect("one ticket was given")());
    }

    /// Waits until every thread is here.
    fn barrier(&self) {
        let region = self.region;
        if region.size == 1 {
            region.ticket.store(0, Ordering::Relaxed);
            return;
        }
        let generation = region.generation.load(Ordering::Acquire);
        if region.arrived.fetch_add(1, Ordering::AcqRel) + 1 == region.size {
            region.arrived.store(0, Ordering::Relaxed);
            region.ticket.store(0, Ordering::Relaxed);
            region
                .generation
                .store(generation.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut looks = 0;
        while region.generation.load(Ordering::Acquire) == generation {
            if region.stopped.load(Ordering::Acquire) {
                resume_unwind(Box::new(Followed));
            }
            if looks < region.spins {
                looks += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ticket_is_given_once_and_steps_do_not_overlap() {
        for size in 1..=4 {
            let pool = Pool::new(size).unwrap();
            let counts: Vec<_> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
            pool.run(|team| {
                for step in 0..50 {
                    team.split(counts.len(), 7, |range| {
                        for count in &counts[range] {
                            assert_eq!(count.fetch_add(1, Ordering::Relaxed), step);
                        }
                    });
                }
            });
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 50));
        }
    }

    #[test]
    fn a_panic_releases_the_others_and_is_the_one_reported() {
        let pool = Pool::new(3).unwrap();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            pool.run(|team| {
                team.split(3, 1, |_| {});
                team.single(|| panic!("this one"));
                team.split(3, 1, |_| {});
            });
        }));
        assert_eq!(
            caught.unwrap_err().downcast_ref::<&str>(),
            Some(&"this one")
        );
        pool.run(|team| team.split(1, 1, |_| {}));
    }
}
