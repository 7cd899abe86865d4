//! What tells one model from another: a state is worth nothing under other weights.

use super::config::{Config, RopeConfig, RopeScaling};
use sha2::{Digest, Sha256};
use smolq_gguf::Gguf;

/// Changes when the engine's bits do, so that no older state is continued with other numbers.
const NUMERICS: &[u8] = b"smolq fingerprint 1";

/// Bytes at each end of a tensor that count. A file of gigabytes need not be read whole, and weights that differ anywhere
/// (other training, other quantization) differ in the first rows of nearly every tensor.
const END: usize = 4096;

/// SHA-256 of what decides a model's logits; each part is preceded by its length.
///
/// That is: the architecture and its keys (`llama.*` and so on) by name, the number of tensors, and of each by name its type, shape,
/// length and the first and last 4 KiB; and the rope settings in force. It is not: names, licences, the tokenizer and the chat
/// template, which change no logits; how a file is divided, ordered, padded or read.
pub(super) fn fingerprint(gguf: &Gguf, config: &Config) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(NUMERICS);
    part(config.arch.name.as_bytes());

    let prefix = format!("{}.", config.arch.name);
    let keys = gguf.metadata().iter();
    let mut keys: Vec<_> = keys.filter(|(key, _)| key.starts_with(&prefix)).collect();
    keys.sort_unstable_by_key(|(key, _)| *key);
    part(&(keys.len() as u64).to_le_bytes());
    for (key, value) in keys {
        part(key.as_bytes());
        part(&value.kind().id().to_le_bytes());
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        part(&bytes);
    }

    let mut tensors: Vec<_> = gguf.tensors().iter().collect();
    tensors.sort_unstable_by_key(|tensor| tensor.name.as_str());
    part(&(tensors.len() as u64).to_le_bytes());
    for tensor in tensors {
        part(tensor.name.as_bytes());
        part(tensor.kind.name().as_bytes());
        let dims: Vec<u8> = tensor.dims.iter().flat_map(|n| n.to_le_bytes()).collect();
        part(&dims);
        let data = gguf.data(tensor);
        part(&(data.len() as u64).to_le_bytes());
        let (first, rest) = data.split_at(data.len().min(END));
        part(first);
        part(&rest[rest.len().saturating_sub(END)..]);
    }

    // By fields, so that a new one cannot be forgotten.
    let RopeConfig {
        freq_base,
        freq_scale,
        scaling,
        orig_ctx,
        ext_factor,
        attn_factor,
        beta_fast,
        beta_slow,
    } = config.rope;
    part(match scaling {
        RopeScaling::None => b"none",
        RopeScaling::Linear => b"linear",
        RopeScaling::Yarn => b"yarn",
    });
    part(&(orig_ctx as u64).to_le_bytes());
    for x in [
        freq_base,
        freq_scale,
        ext_factor,
        attn_factor,
        beta_fast,
        beta_slow,
    ] {
        part(&x.to_bits().to_le_bytes());
    }
    hash.finalize().into()
}
