//! What names like Q4_K_M mean, tensor by tensor.

use smolq_gguf::{TensorInfo, TensorType};

/// A mix of tensor types, by the name users know it by.
pub(crate) struct Mix {
    /// `general.file_type`.
    pub(crate) file_type: u32,
    /// Most matrices.
    pub(crate) base: TensorType,
    /// The output matrix, or the embedding where it serves as one.
    pub(crate) output: TensorType,
    /// The parts of a layer that are quantized more finely.
    fine: TensorType,
    /// Which layers and parts those are.
    finer: Finer,
}

/// What a mix quantizes more finely.
#[derive(Clone, Copy, PartialEq)]
enum Finer {
    /// `attn_v` and `ffn_down` of the first and last eighth of the layers, and of every third between.
    Some,
    /// `attn_v`, `ffn_down` and `attn_output` of all layers.
    All,
}

/// The mixes that `llama-quantize` calls by these names, but for the two or three layers that some begin with in 5 bits. The
/// output matrix is quantized in 6 bits where the rest has fewer.
pub(crate) fn named(name: &str) -> Option<Mix> {
    use TensorType::*;
    let (file_type, base, output, fine) = match name.to_ascii_uppercase().as_str() {
        "F32" => (0, F32, F32, F32),
        "F16" => (1, F16, F16, F16),
        "BF16" => (32, BF16, BF16, BF16),
        "Q8_0" => (7, Q8_0, Q8_0, Q8_0),
        "Q4_0" => (2, Q4_0, Q6_K, Q4_0),
        "Q4_1" => (3, Q4_1, Q6_K, Q4_1),
        "Q5_0" => (8, Q5_0, Q6_K, Q5_0),
        "Q5_1" => (9, Q5_1, Q6_K, Q5_1),
        "Q3_K_S" => (11, Q3_K, Q6_K, Q3_K),
        "Q3_K_M" => (12, Q3_K, Q6_K, Q4_K),
        "Q4_K_S" => (14, Q4_K, Q6_K, Q4_K),
        "Q4_K_M" => (15, Q4_K, Q6_K, Q6_K),
        "Q5_K_S" => (16, Q5_K, Q6_K, Q5_K),
        "Q5_K_M" => (17, Q5_K, Q6_K, Q6_K),
        "Q6_K" => (18, Q6_K, Q6_K, Q6_K),
        "Q2_K" => (10, Q2_K, Q6_K, Q3_K),
        "IQ4_NL" => (25, IQ4_NL, Q6_K, IQ4_NL),
        "IQ4_XS" => (30, IQ4_XS, Q6_K, IQ4_XS),
        _ => return None,
    };
    let finer = match base {
        Q2_K | Q3_K => Finer::All,
        _ => Finer::Some,
    };
    Some(Mix {
        file_type,
        base,
        output,
        fine,
        finer,
    })
}

/// Their names.
pub const NAMES: &[&str] = &[
    "F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S",
    "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS", "Q3_K_M", "Q3_K_S", "Q2_K",
];

/// The type to use for rows of `cols`: super-blocks need whole ones, so narrower blocks stand in, as `llama-quantize` does.
pub(crate) fn fitting(kind: TensorType, cols: usize) -> TensorType {
    use TensorType::*;
    if cols.is_multiple_of(kind.block_len()) {
        return kind;
    }
    let small = match kind {
        Q2_K | Q3_K | IQ4_XS => IQ4_NL,
        Q4_K => Q5_0,
        Q5_K => Q5_1,
        _ => Q8_0,
    };
    if cols.is_multiple_of(small.block_len()) {
        small
    } else {
        F16
    }
}

/// The layer of a tensor, and its name there: `blk.3.attn_q.weight` is 3 and `attn_q.weight`.
fn layer(name: &str) -> Option<(usize, &str)> {
    let (il, part) = name.strip_prefix("blk.")?.split_once('.')?;
    // No model has more layers than that.
    Some((il.parse::<u16>().ok()?.into(), part))
}

impl Mix {
    /// The type of a part of a layer (`attn_q`), the `il`-th of `n`.
    pub(crate) fn of_layer(&self, part: &str, il: usize, n: usize) -> TensorType {
        let all = self.finer == Finer::All;
        let finer = all || il < n / 8 || il >= 7 * n / 8 || (il - n / 8) % 3 == 2;
        match part {
            "attn_v" | "ffn_down" if finer => self.fine,
            "attn_output" if all => self.fine,
            _ => self.base,
        }
    }

    /// The bytes that tensors take in this mix. It is what this program writes; `llama-quantize` differs in a layer or two.
    pub(crate) fn bytes(&self, tensors: &[TensorInfo]) -> u64 {
        let layers = tensors.iter().filter_map(|t| Some(layer(&t.name)?.0));
        let n = layers.max().map_or(0, |last: usize| last.saturating_add(1));
        let untied = tensors.iter().any(|t| t.name == "output.weight");
        let bytes = |tensor: &TensorInfo| {
            // Vectors stay as they are.
            if tensor.rows() < 2 {
                return tensor.bytes;
            }
            let kind = match (tensor.name.as_str(), layer(&tensor.name)) {
                ("output.weight", _) => self.output,
                ("token_embd.weight", _) if !untied => self.output,
                (_, Some((il, part))) => {
                    self.of_layer(part.strip_suffix(".weight").unwrap_or(part), il, n)
                }
                _ => self.base,
            };
            let kind = fitting(kind, tensor.cols());
            let blocks = tensor.elements() / kind.block_len() as u64;
            blocks.saturating_mul(kind.block_bytes() as u64)
        };
        tensors.iter().map(bytes).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalogue, synth};
    use smolq_gguf::{Gguf, OpenOptions};

    #[test]
    fn the_bytes_of_a_mix_are_those_of_its_file() {
        let mut entry = catalogue::find("smollm3-3b").unwrap();
        entry.shape.n_layer = 9;
        // Rows of one are no super-block.
        (entry.shape.n_embd, entry.shape.n_ff) = (256, 544);
        (entry.shape.n_head, entry.shape.n_head_kv) = (4, 2);
        (entry.shape.head_dim, entry.shape.n_vocab) = (64, 600);
        let folder = std::env::temp_dir().join(format!("smolq-mix-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for tied in [false, true] {
            entry.shape.tied = tied;
            let open = |name: &str| {
                let path = folder.join(format!("{name}-{tied}.gguf"));
                synth::write(&entry, name, 1, &path).unwrap();
                Gguf::open(&path, &OpenOptions::default()).unwrap()
            };
            let from = open("Q8_0");
            for &name in NAMES {
                let bytes: u64 = open(name).tensors().iter().map(|t| t.bytes).sum();
                let said = named(name).unwrap().bytes(from.tensors());
                assert_eq!(said, bytes, "{name}, tied: {tied}");
            }
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
