//! The models that smolq is made for: `models.toml`, built in.

use crate::error::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The text of the catalogue.
const TEXT: &str = include_str!("../models.toml");

/// A model of the catalogue.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What users call it.
    pub name: String,
    /// Its full name.
    pub title: String,
    /// The value of `general.architecture`.
    pub arch: String,
    /// Weights.
    pub parameters: u64,
    /// Positions that it was trained for.
    pub context: usize,
    /// Licence of the weights.
    pub licence: String,
    /// Repository on the Hugging Face Hub that has its GGUF files.
    pub repository: String,
    /// File of each quantization.
    pub files: BTreeMap<String, String>,
    /// What its makers advise.
    #[serde(default)]
    pub sampling: Sampling,
    /// Whether it can think before it answers.
    #[serde(default)]
    pub think: bool,
    /// Whether it was trained to call tools.
    #[serde(default)]
    pub tools: bool,
    /// Sizes.
    pub shape: Shape,
}

impl Entry {
    /// The address of the file of a quantization, and its name.
    pub fn download(&self, quantization: &str) -> Option<(String, &str)> {
        let file = self.files.get(quantization)?;
        let address = format!(
            "https://huggingface.co/{}/resolve/main/{file}",
            self.repository
        );
        Some((address, file))
    }
}

/// Advice on sampling; what is absent is left at its default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Temperature.
    pub temp: Option<f32>,
    /// Top-p.
    pub top_p: Option<f32>,
    /// Top-k.
    pub top_k: Option<i32>,
}

/// Sizes of a model; names as in [`crate::model::Config`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub struct Shape {
    pub n_layer: usize,
    pub n_embd: usize,
    pub n_head: usize,
    pub n_head_kv: usize,
    pub head_dim: usize,
    pub n_ff: usize,
    pub n_vocab: usize,
    /// Whether the embedding serves as output matrix.
    pub tied: bool,
    pub rope_freq_base: f32,
    pub norm_eps: f32,
    /// Whether Q, K and V have biases.
    #[serde(default)]
    pub qkv_bias: bool,
    /// Whether the heads of Q and K are normed.
    #[serde(default)]
    pub qk_norm: bool,
}

impl Shape {
    /// Weights of a model of this shape.
    pub fn parameters(&self) -> u64 {
        let (n_q, n_kv) = (self.n_head * self.head_dim, self.n_head_kv * self.head_dim);
        let attention = 2 * self.n_embd * n_q + 2 * self.n_embd * n_kv;
        let biases = if self.qkv_bias { n_q + 2 * n_kv } else { 0 };
        let norms = 2 * self.n_embd + if self.qk_norm { 2 * self.head_dim } else { 0 };
        let layer = attention + 3 * self.n_embd * self.n_ff + biases + norms;
        let embeddings = self.n_vocab * self.n_embd * if self.tied { 1 } else { 2 };
        (embeddings + self.n_layer * layer + self.n_embd) as u64
    }
}

#[derive(Deserialize)]
struct File {
    model: Vec<Entry>,
}

/// All models.
///
/// # Errors
/// If `models.toml` is broken; a test sees to it that it is not.
pub fn all() -> Result<Vec<Entry>> {
    let file: File =
        toml::from_str(TEXT).map_err(|e| Error::Resources(format!("models.toml: {e}")))?;
    Ok(file.model)
}

/// How to come to a real model, in a few words.
///
/// # Errors
/// As [`all`].
pub fn advice() -> Result<String> {
    let real = find("smollm3-3b")?;
    let (address, file) = real
        .download("Q4_K_M")
        .ok_or_else(|| Error::Resources("models.toml has no file".into()))?;
    Ok(format!("download {address} and run: smolq run {file}"))
}

/// The model of that name.
///
/// # Errors
/// If there is none; the message lists those that there are.
pub fn find(name: &str) -> Result<Entry> {
    let all = all()?;
    let names: Vec<_> = all.iter().map(|entry| entry.name.clone()).collect();
    let found = all
        .into_iter()
        .find(|entry| entry.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| Error::Request {
        field: "model",
        why: format!(
            "no model of the catalogue is named {name:?}; there are {}",
            names.join(", ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Arch;

    #[test]
    fn every_entry_is_consistent() {
        let all = all().unwrap();
        assert!(all.len() >= 12);
        for (i, entry) in all.iter().enumerate() {
            let shape = &entry.shape;
            assert!(
                all[..i].iter().all(|other| other.name != entry.name),
                "{} twice",
                entry.name
            );
            assert!(Arch::named(&entry.arch).is_some(), "{}", entry.name);
            assert_eq!(shape.parameters(), entry.parameters, "{}", entry.name);
            assert!(
                shape.n_head.is_multiple_of(shape.n_head_kv),
                "{}",
                entry.name
            );
            assert!(
                !entry.files.is_empty() && entry.files.values().all(|file| file.ends_with(".gguf")),
                "{}",
                entry.name
            );
            assert!(
                entry.repository.split('/').count() == 2 && entry.context >= 8192,
                "{}",
                entry.name
            );
        }
    }
}
