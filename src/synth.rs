//! Models made up of random weights, in the shape of real ones.
//!
//! `smolq synth smollm3-3b:Q4_K_M -o FILE` writes a valid GGUF file of the real size with random blocks and a synthetic
//! vocabulary, in seconds and without a download: to learn how fast a model will be here, and to test loaders and kernels
//! on files of the real shape. What it says is noise.

use crate::catalogue::{Entry, Shape};
use crate::error::{Error, Result};
use crate::mix::{self, Mix, fitting};
use smolq_gguf::{TensorType, Value, Writer};
use std::io::Write;

/// Names that [`write()`] takes.
pub use crate::mix::NAMES as MIXES;

/// A tensor to be written: name, type, dims (row length first).
struct Plan {
    name: String,
    kind: TensorType,
    dims: Vec<u64>,
}

fn plan(shape: &Shape, mix: &Mix) -> Vec<Plan> {
    let mut tensors = Vec::new();
    let mut matrix = |name: String, kind: TensorType, cols: usize, rows: usize| {
        tensors.push(Plan {
            name,
            kind: fitting(kind, cols),
            dims: vec![cols as u64, rows as u64],
        });
    };
    let (n_embd, n_ff) = (shape.n_embd, shape.n_ff);
    let (n_q, n_kv) = (
        shape.n_head * shape.head_dim,
        shape.n_head_kv * shape.head_dim,
    );
    matrix(
        "token_embd.weight".into(),
        if shape.tied { mix.output } else { mix.base },
        n_embd,
        shape.n_vocab,
    );
    if !shape.tied {
        matrix("output.weight".into(), mix.output, n_embd, shape.n_vocab);
    }
    let n = shape.n_layer;
    for il in 0..n {
        let mut part = |part: &str, cols: usize, rows: usize| {
            let kind = mix.of_layer(part, il, n);
            matrix(format!("blk.{il}.{part}.weight"), kind, cols, rows);
        };
        part("attn_q", n_embd, n_q);
        part("attn_k", n_embd, n_kv);
        part("attn_v", n_embd, n_kv);
        part("attn_output", n_q, n_embd);
        part("ffn_gate", n_embd, n_ff);
        part("ffn_up", n_embd, n_ff);
        part("ffn_down", n_ff, n_embd);
    }
    let mut vector = |name: String, n: usize| {
        tensors.push(Plan {
            name,
            kind: TensorType::F32,
            dims: vec![n as u64],
        });
    };
    vector("output_norm.weight".into(), n_embd);
    for il in 0..n {
        vector(format!("blk.{il}.attn_norm.weight"), n_embd);
        vector(format!("blk.{il}.ffn_norm.weight"), n_embd);
        if shape.qk_norm {
            vector(format!("blk.{il}.attn_q_norm.weight"), shape.head_dim);
            vector(format!("blk.{il}.attn_k_norm.weight"), shape.head_dim);
        }
        if shape.qkv_bias {
            vector(format!("blk.{il}.attn_q.bias"), n_q);
            vector(format!("blk.{il}.attn_k.bias"), n_kv);
            vector(format!("blk.{il}.attn_v.bias"), n_kv);
        }
    }
    tensors
}

/// A fast generator of words (xorshift64*, Vigna 2016); quality does not matter here, speed over gigabytes does.
#[derive(Clone)]
struct Words(u64);

impl Words {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Half-precision scales of a block: byte offset, and value for weights of standard deviation about 1.
///
/// With random codes, a block's values have a spread that follows from its layout; dividing by it makes every type alike.
/// Minimums are chosen so that the mean is about zero.
fn scales(kind: TensorType) -> &'static [(usize, f32)] {
    use TensorType::*;
    match kind {
        Q4_0 | IQ4_NL => &[(0, 0.2)],
        Q4_1 => &[(0, 0.21), (2, -1.6)],
        Q5_0 => &[(0, 0.1)],
        Q5_1 => &[(0, 0.11), (2, -1.7)],
        Q8_0 => &[(0, 0.0135)],
        Q2_K => &[(80, 0.085), (82, 0.13)],
        Q3_K => &[(108, 0.023)],
        Q4_K => &[(0, 0.0055), (2, 0.041)],
        Q5_K => &[(0, 0.0027), (2, 0.041)],
        Q6_K => &[(208, 0.00073)],
        IQ4_XS => &[(0, 0.0008)],
        _ => &[],
    }
}

/// Fills `block`s of a type with random codes and scales for a standard deviation of `spread`.
fn fill(kind: TensorType, words: &mut Words, spread: f32, out: &mut [u8]) {
    let uniform = |bits: u64| ((bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * 1.73 * spread;
    match kind {
        TensorType::F32 => {
            for x in out.chunks_exact_mut(4) {
                x.copy_from_slice(&uniform(words.next()).to_le_bytes());
            }
        }
        TensorType::F16 => {
            for x in out.chunks_exact_mut(2) {
                x.copy_from_slice(&half::f16::from_f32(uniform(words.next())).to_le_bytes());
            }
        }
        TensorType::BF16 => {
            for x in out.chunks_exact_mut(2) {
                x.copy_from_slice(&half::bf16::from_f32(uniform(words.next())).to_le_bytes());
            }
        }
        _ => {
            for word in out.chunks_mut(8) {
                word.copy_from_slice(&words.next().to_le_bytes()[..word.len()]);
            }
            for block in out.chunks_exact_mut(kind.block_bytes()) {
                for &(at, scale) in scales(kind) {
                    block[at..at + 2]
                        .copy_from_slice(&half::f16::from_f32(scale * spread).to_le_bytes());
                }
            }
        }
    }
}

/// Writes one tensor: ones (with a little noise) for norms, small noise for biases, random blocks for matrices.
fn write_tensor(plan: &Plan, seed: u64, out: &mut dyn Write) -> std::io::Result<()> {
    let mut words = Words(seed);
    let elements: u64 = plan.dims.iter().product();
    if plan.dims.len() == 1 {
        let center = if plan.name.ends_with("norm.weight") {
            1.0
        } else {
            0.0
        };
        for _ in 0..elements {
            let noise = (words.next() >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
            out.write_all(&(center + 0.1 * noise).to_le_bytes())?;
        }
        return Ok(());
    }
    // Inputs of each matrix keep their size through it.
    let spread = if plan.name == "token_embd.weight" {
        0.05
    } else {
        1.0 / (plan.dims[0] as f32).sqrt()
    };
    let blocks = elements as usize / plan.kind.block_len();
    let mut buffer = Vec::new();
    let mut left = blocks;
    while left > 0 {
        let now = left.min((1 << 20) / plan.kind.block_bytes());
        buffer.resize(now * plan.kind.block_bytes(), 0);
        fill(plan.kind, &mut words, spread, &mut buffer);
        out.write_all(&buffer)?;
        left -= now;
    }
    Ok(())
}

/// A byte-level BPE vocabulary: the 256 bytes, then every string of two, three, ... letters, each with the merges that make
/// it, then the special tokens.
struct Vocabulary {
    tokens: Vec<String>,
    types: Vec<i32>,
    merges: Vec<String>,
}

/// Special tokens at the end, in order; the last two are the end of a turn and of a text.
const SPECIAL: &[&str] = &[
    "<think>",
    "</think>",
    "<tool_response>",
    "</tool_response>",
    "<tool_call>",
    "</tool_call>",
    "<code>",
    "</code>",
    "<|im_start|>",
    "<|begin_of_text|>",
    "<|im_end|>",
    "<|end_of_text|>",
];

fn vocabulary(n_vocab: usize) -> Vocabulary {
    // The printable stand-ins of the bytes, as GPT-2 has them.
    let printable = |b: u32| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let mut next = 256;
    let bytes = (0..256u32).map(|b| {
        let code = if printable(b) {
            b
        } else {
            next += 1;
            next - 1
        };
        char::from_u32(code).unwrap_or('?').to_string()
    });
    let special = SPECIAL.len().min(n_vocab / 2);
    let mut tokens: Vec<String> = bytes.take(n_vocab - special).collect();
    let mut merges = Vec::new();
    let letters: Vec<String> = ('a'..='z').chain(['\u{120}']).map(String::from).collect();
    let mut shorter = letters.clone();
    'grow: loop {
        let mut longer = Vec::new();
        for head in &shorter {
            for letter in letters.iter().take(26) {
                if tokens.len() + special >= n_vocab {
                    break 'grow;
                }
                let whole = format!("{head}{letter}");
                merges.push(format!("{head} {letter}"));
                if let Some((at, _)) = whole
                    .char_indices()
                    .nth(1)
                    .filter(|_| whole.chars().count() > 2)
                {
                    let (first, rest) = whole.split_at(at);
                    // Its other half, where that is a token too.
                    if !rest.contains('\u{120}') {
                        merges.push(format!("{first} {rest}"));
                    }
                }
                tokens.push(whole.clone());
                longer.push(whole);
            }
        }
        shorter = longer;
    }
    let mut types = vec![1; tokens.len()];
    tokens.extend(
        SPECIAL[SPECIAL.len() - special..]
            .iter()
            .map(|&s| s.to_owned()),
    );
    types.resize(tokens.len(), 3);
    Vocabulary {
        tokens,
        types,
        merges,
    }
}

/// Writes a model of the shape of `entry`, quantized as `quant`, to `path`; gives its length.
///
/// # Errors
/// If the quantization is not known, or writing fails.
pub fn write(entry: &Entry, quant: &str, seed: u64, path: &std::path::Path) -> Result<u64> {
    let mix = mix::named(quant).ok_or_else(|| Error::Request {
        field: "quantization",
        why: format!("{quant:?} is not one of {}", MIXES.join(", ")),
    })?;
    let shape = &entry.shape;
    let mut writer = Writer::new();
    let arch = entry.arch.as_str();
    let key = |suffix: &str| format!("{arch}.{suffix}");
    writer.set("general.architecture", arch);
    writer.set("general.name", format!("{} (random weights)", entry.title));
    writer.set("general.file_type", mix.file_type);
    writer.set("general.quantization_version", 2u32);
    for (suffix, n) in [
        ("block_count", shape.n_layer),
        ("context_length", entry.context),
        ("embedding_length", shape.n_embd),
        ("feed_forward_length", shape.n_ff),
        ("attention.head_count", shape.n_head),
        ("attention.head_count_kv", shape.n_head_kv),
        ("attention.key_length", shape.head_dim),
        ("attention.value_length", shape.head_dim),
        ("rope.dimension_count", shape.head_dim),
        ("vocab_size", shape.n_vocab),
    ] {
        writer.set(key(suffix), n as u32);
    }
    writer.set(key("attention.layer_norm_rms_epsilon"), shape.norm_eps);
    writer.set(key("rope.freq_base"), shape.rope_freq_base);

    let vocabulary = vocabulary(shape.n_vocab);
    let id = |text: &str| {
        vocabulary
            .tokens
            .iter()
            .rposition(|token| token == text)
            .map(|id| id as u32)
    };
    writer.set("tokenizer.ggml.model", "gpt2");
    writer.set("tokenizer.ggml.pre", "smaug-bpe");
    for (name, text) in [
        ("bos", "<|begin_of_text|>"),
        ("eos", "<|im_end|>"),
        ("padding", "<|im_end|>"),
    ] {
        if let Some(id) = id(text) {
            writer.set(format!("tokenizer.ggml.{name}_token_id"), id);
        }
    }
    writer.set("tokenizer.ggml.tokens", Value::from(vocabulary.tokens));
    writer.set("tokenizer.ggml.token_type", Value::from(vocabulary.types));
    writer.set("tokenizer.ggml.merges", Value::from(vocabulary.merges));
    for (i, plan) in plan(shape, &mix).into_iter().enumerate() {
        let seed = (seed ^ (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1;
        let (name, kind, dims) = (plan.name.clone(), plan.kind, plan.dims.clone());
        writer.tensor(name, kind, &dims, move |out: &mut dyn Write| {
            write_tensor(&plan, seed, out)
        });
    }
    Ok(writer.write_file(path)?)
}
