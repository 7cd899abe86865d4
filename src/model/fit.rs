//! Whether a model fits the memory that is there, and what would.
//!
//! A mapped file runs in any memory that holds cache and buffers: weights that find no room are read from disk again, for every token.
//! That is slow, so it is said before.

use super::{KvType, Model, Session, SessionOptions};
use crate::machine::{Memory, human};
use crate::mix;
use std::fmt;

/// Quantizations that are proposed, the best first.
const PROPOSED: &[&str] = &["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K"];

/// Memory that a model in use takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The files.
    pub weights: u64,
    /// The KV cache, once it is full.
    pub cache: u64,
    /// Buffers of a forward pass.
    pub scratch: u64,
}

impl Need {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.own())
    }

    /// What no file stands behind.
    fn own(&self) -> u64 {
        self.cache.saturating_add(self.scratch)
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (weights {}, KV cache {}, buffers {})",
            human(self.total()),
            human(self.weights),
            human(self.cache),
            human(self.scratch)
        )
    }
}

/// How a need and the room for it compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it finds room.
    Fits,
    /// So many bytes of mapped weights find none, and are read from disk again for every token.
    Reread(u64),
    /// So many bytes that no file stands behind find none: the process will be swapped out, or killed.
    Short(u64),
}

/// One thing that would make a model fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// A file of another quantization, with about so many bytes.
    Quantization {
        /// As users know it.
        name: &'static str,
        /// Bytes of the file.
        bytes: u64,
    },
    /// Keys and values as q8_0.
    Cache,
    /// A shorter context, of so many positions.
    Context(usize),
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Advice::Quantization { name, bytes } => {
                write!(f, "a {name} file (about {})", human(*bytes))
            }
            Advice::Cache => f.write_str("-ctk q8_0 -ctv q8_0"),
            Advice::Context(n_ctx) => write!(f, "-c {n_ctx}"),
        }
    }
}

/// Things that make a model fit, all together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way(pub Vec<Advice>);

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(Advice::to_string).collect();
        f.write_str(&parts.join(" with "))
    }
}

/// A model, a way to use it, and the memory for it.
pub struct Fit<'a> {
    model: &'a Model,
    options: SessionOptions,
    rows: usize,
    memory: Memory,
    need: Need,
}

impl<'a> Fit<'a> {
    /// Compares what a session with these options needs, of which the logits of up to `rows` tokens are wanted at once, with the memory
    /// that there was before the model was loaded.
    pub fn of(model: &'a Model, options: &SessionOptions, rows: usize, memory: Memory) -> Fit<'a> {
        let mut options = options.clone();
        if options.n_ctx == 0 {
            options.n_ctx = model.config().n_ctx;
        }
        let weights = model.gguf().file_bytes();
        Fit {
            need: need(model, &options, rows, weights),
            model,
            options,
            rows,
            memory,
        }
    }

    /// What is needed.
    pub fn need(&self) -> Need {
        self.need
    }

    /// What there is.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// How the two compare.
    pub fn verdict(&self) -> Verdict {
        let room = self.memory.room;
        let short = self.need.total().saturating_sub(room);
        let own = self.need.own().saturating_sub(room);
        match (short, own) {
            (0, _) => Verdict::Fits,
            (_, 0) if self.model.gguf().mapped() => Verdict::Reread(short.min(self.need.weights)),
            (_, 0) => Verdict::Short(short),
            (_, own) => Verdict::Short(own),
        }
    }

    /// What would fit, each way by itself; nothing where it fits as it is, or nothing helps. What does all alone comes first: a smaller
    /// file (the best that fits), a cache of 8 bits, a shorter context. Only where nothing does, they are put together.
    pub fn ways(&self) -> Vec<Way> {
        if self.verdict() == Verdict::Fits {
            return Vec::new();
        }
        let as_it_is = (self.need.weights, &self.options);
        let small = self.quantizations();
        let narrow = self.narrow();
        let (n_ctx, weights) = (self.options.n_ctx, self.need.weights);
        let context = |weights, options: &SessionOptions| {
            let n_ctx = self.longest_of(weights, options, n_ctx)?;
            Some(Advice::Context(n_ctx)).filter(|_| n_ctx < options.n_ctx)
        };
        let mut ways = Vec::new();
        if let Some(&(name, bytes)) = small.iter().find(|q| self.fits(q.1, as_it_is.1)) {
            ways.push(vec![Advice::Quantization { name, bytes }]);
        }
        if narrow
            .as_ref()
            .is_some_and(|narrow| self.fits(weights, narrow))
        {
            ways.push(vec![Advice::Cache]);
        }
        ways.extend(context(weights, &self.options).map(|advice| vec![advice]));
        if ways.is_empty()
            && let Some(narrow) = &narrow
        {
            ways.extend(context(weights, narrow).map(|advice| vec![advice, Advice::Cache]));
        }
        if ways.is_empty() {
            let options = narrow.as_ref().unwrap_or(&self.options);
            let smaller = small.iter().find_map(|&(name, bytes)| {
                let mut way = vec![Advice::Quantization { name, bytes }];
                way.extend(narrow.is_some().then_some(Advice::Cache));
                if !self.fits(bytes, options) {
                    way.push(context(bytes, options)?);
                }
                Some(way)
            });
            ways.extend(smaller);
        }
        ways.into_iter().map(Way).collect()
    }

    /// The same as a sentence: `what fits: A, or B`.
    pub fn advice(&self) -> Option<String> {
        let ways: Vec<_> = self.ways().iter().map(Way::to_string).collect();
        (!ways.is_empty()).then(|| format!("what fits: {}", ways.join(", or ")))
    }

    /// The longest context that fits, up to what the model was trained for: a multiple of 1024, or of 256 below that.
    pub fn longest(&self) -> Option<usize> {
        let most = self.model.config().n_ctx;
        self.longest_of(self.need.weights, &self.options, most)
    }

    /// Quantizations of this model with smaller files than this one, and about how large those are, the best first.
    pub fn quantizations(&self) -> Vec<(&'static str, u64)> {
        let tensors = self.model.gguf().tensors();
        let now: u64 = tensors.iter().map(|tensor| tensor.bytes).sum();
        // Metadata stay.
        let beside = self.need.weights.saturating_sub(now);
        let of = |&name: &&'static str| {
            let bytes = mix::named(name)?.bytes(tensors);
            (bytes < now).then(|| (name, bytes.saturating_add(beside)))
        };
        PROPOSED.iter().filter_map(of).collect()
    }

    /// The same options with a cache of 8 bits, where that is smaller and this model can.
    fn narrow(&self) -> Option<SessionOptions> {
        let narrow = SessionOptions {
            cache_k: KvType::Q8_0,
            cache_v: KvType::Q8_0,
            ..self.options.clone()
        };
        let can = self.model.config().head_dim.is_multiple_of(32);
        let is = (self.options.cache_k, self.options.cache_v);
        (can && is != (KvType::Q8_0, KvType::Q8_0)).then_some(narrow)
    }

    fn fits(&self, weights: u64, options: &SessionOptions) -> bool {
        need(self.model, options, self.rows, weights).total() <= self.memory.room
    }

    fn longest_of(&self, weights: u64, options: &SessionOptions, most: usize) -> Option<usize> {
        let fits = |n_ctx: usize| {
            let options = SessionOptions {
                n_ctx,
                ..options.clone()
            };
            self.fits(weights, &options)
        };
        for (step, most) in [(1024, most), (256, most.min(1023))] {
            // More positions never need less: the last that fits lies between `low`, which does (or is 0), and `high`, which does not.
            let (mut low, mut high) = (0, most / step + 1);
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                if fits(middle * step) {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            if low > 0 {
                return Some(low * step);
            }
        }
        None
    }
}

fn need(model: &Model, options: &SessionOptions, rows: usize, weights: u64) -> Need {
    let memory = Session::memory(model, options, rows);
    Need {
        weights,
        cache: memory.cache as u64,
        scratch: memory.scratch as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;
    use crate::machine::Holder;
    use crate::model::LoadOptions;
    use crate::synth;

    /// A model of 32 KiB a position and some MB of weights.
    fn model(quantization: &str, head_dim: usize) -> Model {
        let mut entry = catalogue::find("smollm3-3b").unwrap();
        let shape = &mut entry.shape;
        (shape.n_layer, shape.n_embd, shape.n_ff) = (8, 256, 1024);
        (shape.n_head, shape.n_head_kv, shape.head_dim) =
            (1024 / head_dim, 1024 / head_dim, head_dim);
        (shape.n_vocab, entry.context) = (2048, 32768);
        let name = format!("smolq-fit-{}-{quantization}-{head_dim}", std::process::id());
        let path = std::env::temp_dir().join(name);
        synth::write(&entry, quantization, 1, &path).unwrap();
        let model = Model::load(&path, &LoadOptions::default()).unwrap();
        // The mapping holds it.
        std::fs::remove_file(path).unwrap();
        model
    }

    fn fit<'a>(model: &'a Model, options: &SessionOptions, room: u64) -> Fit<'a> {
        let memory = Memory {
            total: 1 << 40,
            room,
            holder: Holder::Machine,
        };
        Fit::of(model, options, 1, memory)
    }

    fn options(n_ctx: usize) -> SessionOptions {
        SessionOptions {
            n_ctx,
            ..SessionOptions::default()
        }
    }

    #[test]
    fn verdicts_lie_where_the_sums_say() {
        let model = model("Q8_0", 64);
        let need = fit(&model, &options(4096), 0).need();
        assert_eq!(need.cache, 4096 * (32 << 10));
        assert_eq!(need.weights, model.gguf().file_bytes());
        assert_eq!(need.total(), need.weights + need.cache + need.scratch);
        let verdict = |room| fit(&model, &options(4096), room).verdict();
        let own = need.cache + need.scratch;
        assert_eq!(verdict(need.total()), Verdict::Fits);
        assert_eq!(verdict(need.total() - 5), Verdict::Reread(5));
        assert_eq!(verdict(own), Verdict::Reread(need.weights));
        assert_eq!(verdict(own - 7), Verdict::Short(7));
        assert!(fit(&model, &options(4096), need.total()).ways().is_empty());
    }

    #[test]
    fn each_way_fits_and_the_next_better_one_does_not() {
        let model = model("F16", 64);
        let sum = |options: &SessionOptions, weights| need(&model, options, 1, weights).total();
        let weights = model.gguf().file_bytes();
        let asked = options(8192);
        // A little less than as it is: everything helps by itself.
        let room = sum(&asked, weights) - 1;
        let fit_ = fit(&model, &asked, room);
        let ways = fit_.ways();
        let [a, b, c] = &ways[..] else {
            panic!("{ways:?}")
        };
        assert!(matches!(
            a.0[..],
            [Advice::Quantization { name: "Q8_0", .. }]
        ));
        assert_eq!(b.0, [Advice::Cache]);
        assert_eq!(c.0, [Advice::Context(7168)]);
        assert!(
            fit_.advice()
                .unwrap()
                .ends_with(", or -ctk q8_0 -ctv q8_0, or -c 7168")
        );

        // Room for half of the weights, and of the cache as asked for: only a smaller file.
        let room = sum(&asked, weights / 2);
        let ways = fit(&model, &asked, room).ways();
        let Advice::Quantization { name, bytes } = ways[0].0[0] else {
            panic!("{ways:?}")
        };
        assert!(sum(&asked, bytes) <= room);
        let all = fit(&model, &asked, room).quantizations();
        let at = all.iter().position(|q| q.0 == name).unwrap();
        assert!(
            at > 0 && sum(&asked, all[at - 1].1) > room,
            "{name} of {all:?}"
        );
    }

    #[test]
    fn what_helps_only_together_is_put_together() {
        let model = model("Q2_K", 64);
        let weights = model.gguf().file_bytes();
        let narrow = |n_ctx| SessionOptions {
            cache_k: KvType::Q8_0,
            cache_v: KvType::Q8_0,
            ..options(n_ctx)
        };
        let total = |options: &SessionOptions| need(&model, options, 1, weights).total();
        // 256 positions fit at 8 bits only; there is no smaller file.
        let room = total(&narrow(256));
        assert!(total(&options(256)) > room);
        let ways = fit(&model, &options(4096), room).ways();
        assert_eq!(ways, [Way(vec![Advice::Context(256), Advice::Cache])]);
        assert_eq!(ways[0].to_string(), "-c 256 with -ctk q8_0 -ctv q8_0");
        assert!(fit(&model, &options(4096), weights).ways().is_empty());
    }

    #[test]
    fn advice_that_does_not_apply_is_not_given() {
        // Heads of 16 values have no q8_0.
        let model = model("Q4_0", 16);
        let need = fit(&model, &options(8192), 0).need();
        let ways = fit(&model, &options(8192), need.total() - 1).ways();
        assert!(
            !ways.iter().any(|way| way.0.contains(&Advice::Cache)),
            "{ways:?}"
        );
        let names: Vec<_> = fit(&model, &options(1), 0)
            .quantizations()
            .iter()
            .map(|q| q.0)
            .collect();
        assert_eq!(names, ["Q3_K_M", "Q2_K"], "the others are no smaller");
    }

    #[test]
    fn the_longest_context_is_the_last_that_fits() {
        let model = model("Q8_0", 64);
        let longest = |room| fit(&model, &options(4096), room).longest();
        let total = |n_ctx| fit(&model, &options(n_ctx), 0).need().total();
        assert_eq!(longest(u64::MAX), Some(32768));
        assert_eq!(longest(total(9 * 1024)), Some(9 * 1024));
        assert_eq!(longest(total(9 * 1024) - 1), Some(8 * 1024));
        assert_eq!(longest(total(1024) - 1), Some(768));
        assert_eq!(longest(total(256) - 1), None);
        // Absurd numbers overflow nothing.
        let absurd = SessionOptions {
            n_ubatch: usize::MAX,
            ..options(usize::MAX)
        };
        let fit = Fit::of(
            &model,
            &absurd,
            usize::MAX,
            fit(&model, &absurd, 1 << 30).memory(),
        );
        assert!(matches!(fit.verdict(), Verdict::Short(_)));
        drop(fit.ways());
    }
}
