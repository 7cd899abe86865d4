//! Tensors resolved to layers: the one place where GGUF types become kernel formats.
//!
//! Sizes come from the [`Config`], optional parts (biases, Q/K norms, an output matrix of its own, frequency factors) from
//! the presence of their tensors. Every mismatch is reported, all at once, by tensor name. A tensor inside a layer that is
//! not read would silently change the answer, so it is an error; elsewhere it is a warning.

use super::config::Config;
use super::rope::Frequencies;
use crate::error::{Error, Result};
use smolq_gguf::{Gguf, TensorData, TensorInfo, TensorType};
use smolq_kernels::ops::RopePairs;
use smolq_kernels::{FormatId, Matrix, Product, Shared, dequantize};
use std::collections::HashSet;

/// How many problems of a file are named before the rest is only counted.
const NAMED_PROBLEMS: usize = 8;

/// A matrix with an optional bias: `y = W x + b`.
pub struct Linear {
    /// Name of the weight tensor.
    pub name: String,
    /// Format of the weights.
    pub format: FormatId,
    /// Values of the output.
    pub rows: usize,
    /// Values of the input.
    pub cols: usize,
    /// Added to the output, `[rows]`.
    pub bias: Option<Vec<f32>>,
    data: TensorData,
}

impl Linear {
    /// The product of this matrix with the inputs of a step, into `out`.
    pub(crate) fn product<'a>(&'a self, out: &'a Shared<f32>) -> Product<'a> {
        Product {
            matrix: self.matrix(),
            out,
        }
    }

    /// The matrix over the mapped bytes.
    pub(crate) fn matrix(&self) -> Matrix<'_> {
        Matrix::new(self.format, self.rows, self.cols, &self.data)
            .expect("checked when the model was loaded")
    }
}

/// Weights of an RMSNorm, widened to floats.
pub struct Norm(pub Vec<f32>);

/// One block of the decoder.
pub struct Layer {
    /// Before attention, `[n_embd]`.
    pub attn_norm: Norm,
    /// `[n_head * head_dim, n_embd]`.
    pub q: Linear,
    /// `[n_head_kv * head_dim, n_embd]`.
    pub k: Linear,
    /// `[n_head_kv * head_dim, n_embd]`.
    pub v: Linear,
    /// `[n_embd, n_head * head_dim]`.
    pub o: Linear,
    /// Of each query head, before the rotation, `[head_dim]`.
    pub q_norm: Option<Norm>,
    /// Of each key head, before the rotation, `[head_dim]`.
    pub k_norm: Option<Norm>,
    /// Pairs that rotate; `None` on a layer without rotary embedding.
    pub rope: Option<RopePairs>,
    /// Before the feed-forward network, `[n_embd]`.
    pub ffn_norm: Norm,
    /// `[n_ff, n_embd]`.
    pub gate: Linear,
    /// `[n_ff, n_embd]`.
    pub up: Linear,
    /// `[n_embd, n_ff]`.
    pub down: Linear,
}

/// All weights of a model.
pub(crate) struct Weights {
    pub(crate) embedding: Linear,
    pub(crate) layers: Vec<Layer>,
    pub(crate) output_norm: Norm,
    /// `None`: the embedding serves (tied).
    pub(crate) output: Option<Linear>,
    pub(crate) frequencies: Frequencies,
}

impl Weights {
    /// The output matrix, `[n_vocab, n_embd]`.
    pub(crate) fn head(&self) -> &Linear {
        self.output.as_ref().unwrap_or(&self.embedding)
    }

    /// Finds every tensor, or says everything that is wrong.
    pub(crate) fn resolve(gguf: &Gguf, config: &Config) -> Result<(Weights, Vec<String>)> {
        let mut find = Finder {
            gguf,
            read: HashSet::new(),
            problems: Vec::new(),
        };
        let Config {
            n_embd,
            n_ff,
            n_vocab,
            head_dim,
            ..
        } = *config;
        let (n_q, n_kv) = (config.n_head * head_dim, config.n_head_kv * head_dim);

        let embedding = find.linear("token_embd", n_vocab, n_embd);
        let output_norm = find.norm("output_norm.weight", n_embd);
        let output = gguf
            .tensor("output.weight")
            .map(|_| find.linear("output", n_vocab, n_embd));
        let factors = gguf
            .tensor("rope_freqs.weight")
            .map(|_| find.norm("rope_freqs.weight", config.n_rot / 2));
        let mut layers = Vec::new();
        for il in 0..config.n_layer {
            let name = |part: &str| format!("blk.{il}.{part}");
            let before = find.problems.len();
            let layer = (
                find.norm(&name("attn_norm.weight"), n_embd),
                [
                    find.linear(&name("attn_q"), n_q, n_embd),
                    find.linear(&name("attn_k"), n_kv, n_embd),
                    find.linear(&name("attn_v"), n_kv, n_embd),
                    find.linear(&name("attn_output"), n_embd, n_q),
                ],
                [
                    find.optional_norm(&name("attn_q_norm.weight"), head_dim),
                    find.optional_norm(&name("attn_k_norm.weight"), head_dim),
                ],
                find.norm(&name("ffn_norm.weight"), n_embd),
                [
                    find.linear(&name("ffn_gate"), n_ff, n_embd),
                    find.linear(&name("ffn_up"), n_ff, n_embd),
                    find.linear(&name("ffn_down"), n_embd, n_ff),
                ],
            );
            if find.problems.len() > before && find.problems.len() > 64 {
                break; // A file that lies about its layers has said enough.
            }
            if let (
                Some(attn_norm),
                [Some(q), Some(k), Some(v), Some(o)],
                [q_norm, k_norm],
                Some(ffn_norm),
                [Some(gate), Some(up), Some(down)],
            ) = layer
            {
                let rope = config.arch.has_rope(il).then_some(config.arch.rope_pairs);
                layers.push(Layer {
                    attn_norm,
                    q,
                    k,
                    v,
                    o,
                    q_norm,
                    k_norm,
                    rope,
                    ffn_norm,
                    gate,
                    up,
                    down,
                });
            }
        }
        let warnings = find.unread();
        let mut problems = find.problems;
        if let Some(Some(factors)) = &factors
            && factors.0.iter().any(|f| !f.is_finite() || *f <= 0.0)
        {
            problems.push("\"rope_freqs.weight\" holds a factor that is not positive".to_owned());
        }
        if !problems.is_empty() {
            let more = problems.len().saturating_sub(NAMED_PROBLEMS);
            problems.truncate(NAMED_PROBLEMS);
            let more = if more > 0 {
                format!("; and {more} more")
            } else {
                String::new()
            };
            return Err(Error::Model(format!(
                "{}: {}{more}",
                gguf.path().display(),
                problems.join("; ")
            )));
        }
        let (Some(embedding), Some(output_norm)) = (embedding, output_norm) else {
            return Err(Error::Model(format!(
                "{}: incomplete model",
                gguf.path().display()
            )));
        };
        let frequencies =
            Frequencies::new(config, factors.flatten().as_ref().map(|f| f.0.as_slice()));
        Ok((
            Weights {
                embedding,
                layers,
                output_norm,
                output: output.flatten(),
                frequencies,
            },
            warnings,
        ))
    }
}

/// Looks up tensors and collects what is wrong with them.
struct Finder<'a> {
    gguf: &'a Gguf,
    read: HashSet<&'a str>,
    problems: Vec<String>,
}

impl<'a> Finder<'a> {
    /// A tensor of a shape, noted as read.
    fn tensor(&mut self, name: &str, rows: usize, cols: usize) -> Option<&'a TensorInfo> {
        let Some(tensor) = self.gguf.tensor(name) else {
            self.problems.push(format!("tensor {name:?} is missing"));
            return None;
        };
        self.read.insert(&tensor.name);
        if tensor.cols() != cols || tensor.rows() != rows {
            self.problems.push(format!(
                "tensor {name:?} is {} x {}, expected {cols} x {rows}",
                tensor.cols(),
                tensor.rows()
            ));
            return None;
        }
        Some(tensor)
    }

    fn format(&mut self, tensor: &TensorInfo) -> Option<FormatId> {
        let format = format_of(tensor.kind);
        if format.is_none() {
            self.problems.push(format!(
                "tensor {:?} has type {}, which holds no weights",
                tensor.name,
                tensor.kind.name()
            ));
        }
        format
    }

    fn linear(&mut self, name: &str, rows: usize, cols: usize) -> Option<Linear> {
        let bias_name = format!("{name}.bias");
        let bias = match self.gguf.tensor(&bias_name) {
            Some(_) => Some(self.norm(&bias_name, rows)?.0),
            None => None,
        };
        let name = format!("{name}.weight");
        let tensor = self.tensor(&name, rows, cols)?;
        let format = self.format(tensor)?;
        let data = self.gguf.data(tensor);
        if let Err(why) = Matrix::new(format, rows, cols, &data) {
            self.problems.push(format!("tensor {name:?}: {why}"));
            return None;
        }
        Some(Linear {
            name,
            format,
            rows,
            cols,
            bias,
            data,
        })
    }

    /// A vector of `n` values, whatever its format.
    fn norm(&mut self, name: &str, n: usize) -> Option<Norm> {
        let tensor = self.tensor(name, 1, n)?;
        let format = self.format(tensor)?;
        let mut values = vec![0.0; n];
        let data = self.gguf.data(tensor);
        match Matrix::new(format, 1, n, &data) {
            Ok(_) => dequantize(format, &data, &mut values),
            Err(why) => {
                self.problems.push(format!("tensor {name:?}: {why}"));
                return None;
            }
        }
        Some(Norm(values))
    }

    fn optional_norm(&mut self, name: &str, n: usize) -> Option<Norm> {
        self.gguf.tensor(name)?;
        self.norm(name, n)
    }

    /// Tensors that nobody read: problems inside a layer, warnings elsewhere.
    fn unread(&mut self) -> Vec<String> {
        let mut warnings = Vec::new();
        for tensor in self
            .gguf
            .tensors()
            .iter()
            .filter(|t| !self.read.contains(t.name.as_str()))
        {
            let name = &tensor.name;
            if name.starts_with("blk.")
                || name.starts_with("output")
                || name.starts_with("rope_")
                || name.starts_with("token_embd")
            {
                self.problems.push(format!(
                    "tensor {name:?} is not known to this decoder and would change the answer"
                ));
            } else {
                warnings.push(format!("tensor {name:?} is not used"));
            }
        }
        warnings
    }
}

/// The kernel format of a tensor type; `None` for integers and for types that only inputs have.
pub(crate) fn format_of(kind: TensorType) -> Option<FormatId> {
    FormatId::ALL
        .iter()
        .copied()
        .find(|format| format.name() == kind.name())
}
