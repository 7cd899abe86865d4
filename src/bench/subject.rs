//! The model under test, by the name that llama-bench would give it.

use super::limits::Work;
use crate::embedded;
use crate::error::Result;
use crate::model::{LoadOptions, Model};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A model to be measured.
pub struct Subject {
    pub(super) model: Arc<Model>,
    load_time: Duration,
    work: Work,
    mapped: bool,
}

impl Subject {
    /// Loads a model and notes how long it takes. Of a mapped file, weights are read when they are first used.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Subject> {
        let start = Instant::now();
        let gguf = embedded::open(path, &options.open)?;
        let model = Arc::new(Model::from_gguf(gguf, options)?);
        let load_time = start.elapsed();
        let work = Work::of(&model);
        Ok(Subject {
            model,
            load_time,
            work,
            mapped: options.open.mmap,
        })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The time that loading took.
    pub fn load_time(&self) -> Duration {
        self.load_time
    }

    /// What a forward pass must move and multiply.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// Whether the file is mapped, not read.
    pub fn mapped(&self) -> bool {
        self.mapped
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.model.gguf().path()
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        self.model.gguf().tensors().iter().map(|t| t.bytes).sum()
    }

    /// Weights of all tensors.
    pub fn parameters(&self) -> u64 {
        let tensors = self.model.gguf().tensors().iter();
        tensors.map(|t| t.elements()).sum()
    }

    /// Architecture, size and quantization: `smollm3 3B Q4_K - Medium`.
    pub fn name(&self) -> String {
        let meta = self.model.gguf().metadata();
        // Keys of another type than they should have are of no interest here: the file was accepted without them.
        let label = meta.opt_str("general.size_label").ok().flatten();
        let size = label.map_or_else(|| size_class(self.parameters()), str::to_owned);
        let file_type = meta.opt_u32("general.file_type").ok().flatten();
        let quantization = match file_type.and_then(file_type_name) {
            Some(name) => name.to_owned(),
            None => self.commonest_type(),
        };
        format!("{} {size} {quantization}", self.model.config().arch.name)
    }

    /// The type of most bytes.
    fn commonest_type(&self) -> String {
        let tensors = self.model.gguf().tensors();
        let bytes_of = |name: &str| -> u64 {
            let alike = tensors.iter().filter(|t| t.kind.name() == name);
            alike.map(|t| t.bytes).sum()
        };
        let names = tensors.iter().map(|t| t.kind.name());
        names
            .max_by_key(|name| bytes_of(name))
            .unwrap_or("no weights")
            .to_owned()
    }
}

/// A number of weights as people call it: 135M, 1.7B, 3B.
fn size_class(parameters: u64) -> String {
    let billions = parameters as f64 / 1e9;
    if parameters < 999_500 {
        return format!("{:.0}K", parameters as f64 / 1e3);
    }
    if billions < 0.9995 {
        return format!("{:.0}M", parameters as f64 / 1e6);
    }
    // Makers round generously: a "3B" has 3.08 billion weights.
    if (billions - billions.round()).abs() < 0.15 {
        format!("{billions:.0}B")
    } else {
        format!("{billions:.1}B")
    }
}

/// What llama.cpp calls a value of `general.file_type`.
fn file_type_name(file_type: u32) -> Option<&'static str> {
    Some(match file_type {
        0 => "all F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K - Medium",
        11 => "Q3_K - Small",
        12 => "Q3_K - Medium",
        13 => "Q3_K - Large",
        14 => "Q4_K - Small",
        15 => "Q4_K - Medium",
        16 => "Q5_K - Small",
        17 => "Q5_K - Medium",
        18 => "Q6_K",
        19 => "IQ2_XXS - 2.0625 bpw",
        20 => "IQ2_XS - 2.3125 bpw",
        21 => "Q2_K - Small",
        22 => "IQ3_XS - 3.3 bpw",
        23 => "IQ3_XXS - 3.0625 bpw",
        24 => "IQ1_S - 1.5625 bpw",
        25 => "IQ4_NL - 4.5 bpw",
        26 => "IQ3_S - 3.4375 bpw",
        27 => "IQ3_S mix - 3.66 bpw",
        28 => "IQ2_S - 2.5 bpw",
        29 => "IQ2_M - 2.7 bpw",
        30 => "IQ4_XS - 4.25 bpw",
        31 => "IQ1_M - 1.75 bpw",
        32 => "BF16",
        36 => "TQ1_0 - 1.69 bpw ternary",
        37 => "TQ2_0 - 2.06 bpw ternary",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_what_people_call_them() {
        for (parameters, name) in [
            (135_808, "136K"),
            (999_500, "1M"),
            (134_515_008, "135M"),
            (361_821_120, "362M"),
            (999_600_000, "1B"),
            (1_711_376_384, "1.7B"),
            (3_075_098_624, "3B"),
            (7_615_616_512, "7.6B"),
            (8_030_261_248, "8B"),
        ] {
            assert_eq!(size_class(parameters), name);
        }
    }
}
