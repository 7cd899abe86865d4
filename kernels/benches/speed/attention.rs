//! Attention by depth: one layer in the shape of SmolLM3, 4 KV heads of 128 values, each with 4 query heads. Cells are called
//! `attention/CACHE/LEVEL/THREADS/TOKENS/DEPTH`, where depth counts the positions that the last token sees.
//!
//! The figure is bytes of keys and values per second, each counted once however many tokens attend to them. As in a model,
//! every call is for another layer, and all layers together are more than a cache holds.

use crate::cell::{Machine, THREADS, Work, cell, floats, group};
use criterion::Criterion;
use smolq_kernels::format::BlockQ8_0;
use smolq_kernels::ops::attention::{Attend, AttendScratch, KvRowMut, KvRows, attend, store};
use smolq_kernels::{Level, Shared};
use std::sync::Mutex;

const HEADS: usize = 4;
const GROUP: usize = 4;
const HEAD_DIM: usize = 128;
const DEPTHS: [usize; 4] = [256, 1024, 4096, 16384];
const TOKENS: [usize; 2] = [1, 64];
/// Tokens that one thread takes at a time, as the model does.
const TOKENS_PER_JOB: usize = 16;
/// Keys and values that no cache holds, in bytes.
const COLD: usize = 256 << 20;

/// Keys or values of all heads, one row each.
enum Half {
    F16(Shared<u16>),
    Q8_0(Shared<BlockQ8_0>),
}

const CACHES: [&str; 2] = ["f16", "q8_0"];

impl Half {
    /// Random ones. Every position of a head holds one of the same few rows, since storing many takes long.
    fn new(cache: &str, level: Level, depth: usize) -> Half {
        const ROWS: usize = 37;
        let x = floats(ROWS * HEAD_DIM);
        let mut f16 = vec![0; ROWS * HEAD_DIM];
        let mut q8_0 = vec![bytemuck::Zeroable::zeroed(); ROWS * HEAD_DIM / 32];
        for (i, x) in x.chunks_exact(HEAD_DIM).enumerate() {
            let blocks = HEAD_DIM / 32;
            store(
                level,
                x,
                KvRowMut::F16(&mut f16[i * HEAD_DIM..][..HEAD_DIM]),
            );
            store(level, x, KvRowMut::Q8_0(&mut q8_0[i * blocks..][..blocks]));
        }
        if cache == "f16" {
            Half::F16(repeated(&f16, depth * HEAD_DIM))
        } else {
            Half::Q8_0(repeated(&q8_0, depth * HEAD_DIM / 32))
        }
    }

    fn head<R>(&self, head: usize, use_it: impl FnOnce(KvRows<'_>) -> R) -> R {
        match self {
            Half::F16(all) => use_it(KvRows::F16(all.read().row(head))),
            Half::Q8_0(all) => use_it(KvRows::Q8_0(all.read().row(head))),
        }
    }
}

/// `HEADS` rows of `len` values that repeat `values`.
fn repeated<T: bytemuck::Zeroable + Copy>(values: &[T], len: usize) -> Shared<T> {
    let all = Shared::zeroed(HEADS, len).expect("memory");
    for head in 0..HEADS {
        for (to, from) in all
            .write_rows(head..head + 1)
            .iter_mut()
            .zip(values.iter().cycle())
        {
            *to = *from;
        }
    }
    all
}

/// Every kind of cache at every level of this machine.
pub(crate) fn attention_cells(c: &mut Criterion) {
    for level in Level::available() {
        let machines = THREADS.map(|threads| Machine::new(level, threads));
        for cache in CACHES {
            let mut group = group(c, &format!("attention/{cache}"));
            for machine in &machines {
                for (tokens, depth) in TOKENS.into_iter().flat_map(|n| DEPTHS.map(|d| (n, d))) {
                    let name = format!("{level}/{}t/{tokens}tok/{depth}", machine.pool.size());
                    let work = Work::Bytes(bytes(cache, depth));
                    cell(&mut group, &name, machine, work, || {
                        prepare(machine, level, cache, tokens, depth)
                    });
                }
            }
            group.finish();
        }
    }
}

/// Bytes of keys and values of a layer.
fn bytes(cache: &str, depth: usize) -> usize {
    let values = 2 * HEADS * HEAD_DIM * depth;
    if cache == "f16" {
        2 * values
    } else {
        values / 32 * size_of::<BlockQ8_0>()
    }
}

/// Attention of `tokens` tokens, the last of which sees `depth` positions, to one layer of many, the next one each time.
fn prepare(
    machine: &Machine,
    level: Level,
    cache: &str,
    tokens: usize,
    depth: usize,
) -> impl FnMut(usize) {
    let layers: Vec<[Half; 2]> = (0..COLD / bytes(cache, depth) + 1)
        .map(|_| [(); 2].map(|()| Half::new(cache, level, depth)))
        .collect();
    let queries = floats(tokens * GROUP * HEAD_DIM);
    let out = Shared::new(HEADS * tokens, GROUP * HEAD_DIM, 0.0f32);
    let pool = &machine.pool;
    let scratch: Vec<Mutex<AttendScratch>> = (0..pool.size()).map(|_| Mutex::default()).collect();
    let jobs = tokens.div_ceil(TOKENS_PER_JOB);
    move |call| {
        let [keys, values] = &layers[call % layers.len()];
        pool.run(|team| {
            team.split(HEADS * jobs, 1, |job| {
                let (head, start) = (job.start / jobs, job.start % jobs * TOKENS_PER_JOB);
                let end = tokens.min(start + TOKENS_PER_JOB);
                let mut out = out.write_rows(head * tokens + start..head * tokens + end);
                let mut scratch = scratch[team.index()].lock().expect("no thread panicked");
                keys.head(head, |keys| {
                    values.head(head, |values| {
                        let job = Attend {
                            keys,
                            values,
                            head_dim: HEAD_DIM,
                            scale: 1.0 / (HEAD_DIM as f32).sqrt(),
                            first: depth - tokens + start,
                            tokens: end - start,
                            group: GROUP,
                            queries: &queries[start * GROUP * HEAD_DIM..end * GROUP * HEAD_DIM],
                        };
                        attend(level, &job, &mut scratch, &mut out);
                    });
                });
            });
        });
    }
}
