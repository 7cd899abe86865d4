//! What is measured, beside what the machine can do.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use smolq_kernels::{Level, Pool, limit};
use std::cell::OnceCell;
use std::time::{Duration, Instant};

/// Memory that no cache holds, in bytes.
pub(crate) const COLD: usize = 400 << 20;

/// Threads that each cell is measured with.
pub(crate) const THREADS: [usize; 2] = [1, 2];

/// Random words whose bytes, taken as half-precision numbers, are neither infinite nor NaN, for any mix of formats.
pub(crate) fn words(bytes: usize) -> Vec<u64> {
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        state & 0x3bbb_3bbb_3bbb_3bbb
    };
    (0..bytes.div_ceil(8)).map(|_| next()).collect()
}

/// Floats between -1 and 1.
pub(crate) fn floats(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0)
        .collect()
}

/// Threads and what they can do at best, each measured when it is first asked for.
pub(crate) struct Machine {
    /// The threads.
    pub(crate) pool: Pool,
    level: Level,
    read: OnceCell<f64>,
    peak: OnceCell<f64>,
}

impl Machine {
    /// The machine as so many threads of a level see it.
    pub(crate) fn new(level: Level, threads: usize) -> Machine {
        Machine {
            pool: Pool::new(threads).expect("the system gives threads"),
            level,
            read: OnceCell::new(),
            peak: OnceCell::new(),
        }
    }

    /// Bytes per second of memory.
    fn read(&self) -> f64 {
        *self
            .read
            .get_or_init(|| limit::read_bandwidth(&self.pool, self.level, &words(COLD)))
    }

    /// Integer multiply-accumulates per second.
    fn peak(&self) -> f64 {
        *self
            .peak
            .get_or_init(|| limit::integer_peak(&self.pool, self.level))
    }
}

/// What a run of a cell does.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// Reads so many bytes.
    Bytes(usize),
    /// Multiplies and adds so many times.
    Macs(usize),
}

/// A group of cells that take about a second each.
pub(crate) fn group<'c>(c: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = c.benchmark_group(name);
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    group
}

/// Measures one cell, unless the filter on the command line leaves it out, and prints what its best run is worth beside
/// what the machine can do. `prepare` makes what is timed, which is told how often it was called before.
pub(crate) fn cell<R: FnMut(usize)>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    machine: &Machine,
    work: Work,
    prepare: impl FnOnce() -> R,
) {
    group.throughput(match work {
        Work::Bytes(n) => Throughput::Bytes(n as u64),
        Work::Macs(n) => Throughput::Elements(n as u64),
    });
    let mut best = Duration::MAX;
    let mut calls = 0;
    let mut prepare = Some(prepare);
    let mut run = None;
    group.bench_function(name, |b| {
        if let Some(prepare) = prepare.take() {
            run = Some(prepare());
        }
        let run = run.as_mut().expect("prepared above");
        b.iter_custom(|times| {
            let mut sum = Duration::ZERO;
            for _ in 0..times {
                let start = Instant::now();
                run(calls);
                let time = start.elapsed();
                calls += 1;
                best = best.min(time);
                sum += time;
            }
            sum
        });
    });
    if calls > 0 {
        let (done, limit, unit) = match work {
            Work::Bytes(n) => (n, machine.read(), "GB/s"),
            Work::Macs(n) => (n, machine.peak(), "GMAC/s"),
        };
        let rate = done as f64 / best.as_secs_f64();
        println!(
            "    best run: {:.1} {unit}, {:.0}% of the {:.1} {unit} this machine can do",
            rate / 1e9,
            100.0 * rate / limit,
            limit / 1e9
        );
    }
}
