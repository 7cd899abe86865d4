//! What a GGUF file does not say about its architecture. The only place in the engine where architectures have names.

use smolq_kernels::ops::RopePairs;

/// An architecture that the decoder can run.
#[derive(Clone, Copy, Debug)]
pub struct Arch {
    /// The value of `general.architecture`.
    pub name: &'static str,
    /// Which values of a head rotate together.
    pub rope_pairs: RopePairs,
    /// Every so many-th layer has no rotary embedding: layer `il` where `(il + 1) % n == 0`.
    pub rope_skip_every: Option<usize>,
}

/// All of them.
///
/// The exporters of `llama` and `smollm3` permute the rows of Q and K so that pairs are adjacent; those of `qwen2` and
/// `qwen3` leave them in halves. SmolLM3's layers without RoPE ("NoPE", 3, 7, 11, ...) are hard-wired in its exporter.
pub const ARCHS: &[Arch] = &[
    Arch {
        name: "llama",
        rope_pairs: RopePairs::Adjacent,
        rope_skip_every: None,
    },
    Arch {
        name: "qwen2",
        rope_pairs: RopePairs::Halves,
        rope_skip_every: None,
    },
    Arch {
        name: "qwen3",
        rope_pairs: RopePairs::Halves,
        rope_skip_every: None,
    },
    Arch {
        name: "smollm3",
        rope_pairs: RopePairs::Adjacent,
        rope_skip_every: Some(4),
    },
];

impl Arch {
    /// The architecture of that name.
    pub fn named(name: &str) -> Option<Arch> {
        ARCHS.iter().copied().find(|arch| arch.name == name)
    }

    /// Whether layer `il` has rotary embedding.
    pub fn has_rope(&self, il: usize) -> bool {
        self.rope_skip_every
            .is_none_or(|n| !(il + 1).is_multiple_of(n))
    }
}
