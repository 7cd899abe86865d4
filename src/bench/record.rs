//! An outcome as named fields, in llama-bench's order and words, then ours.
//!
//! Scripts for llama-bench's output read this too: it has the fields that they compare by, those about accelerators with what
//! they are without one. Our own fields follow.

use super::{Outcome, Settings, Subject};
use crate::machine;
use crate::model::Step;
use serde_json::{Value, json};
use std::time::Duration;

/// A named figure of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name, an identifier.
    pub name: &'static str,
    /// What it holds where it is not null.
    pub kind: Kind,
    /// The figure; null where it was not measured.
    pub value: Value,
}

/// What a field holds, for formats that want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// True or false.
    Bool,
    /// A whole number.
    Integer,
    /// A number.
    Real,
    /// A list of numbers, for formats that have such.
    List,
}

/// All fields of an outcome: always the same ones in the same order.
pub fn record(subject: &Subject, settings: &Settings, outcome: &Outcome) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut put = |name, kind, value| fields.push(Field { name, kind, value });
    let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let rates = outcome.rates();
    let times: Vec<f64> = outcome.samples.iter().map(|t| ns(*t) as f64).collect();
    let times = super::Rates::of(times);
    let time = jiff::Timestamp::try_from(outcome.time).unwrap_or_default();

    put(
        "build_commit",
        Kind::Text,
        json!(concat!("smolq-", env!("CARGO_PKG_VERSION"))),
    );
    put("build_number", Kind::Integer, json!(0));
    put(
        "cpu_info",
        Kind::Text,
        json!(machine::cpu_name().unwrap_or_default()),
    );
    put("gpu_info", Kind::Text, json!(""));
    put("backends", Kind::Text, json!("CPU"));
    put(
        "model_filename",
        Kind::Text,
        json!(subject.path().to_string_lossy()),
    );
    put("model_type", Kind::Text, json!(subject.name()));
    put("model_size", Kind::Integer, json!(subject.bytes()));
    put("model_n_params", Kind::Integer, json!(subject.parameters()));
    put("n_batch", Kind::Integer, json!(settings.n_batch));
    put("n_ubatch", Kind::Integer, json!(settings.n_ubatch));
    put("n_threads", Kind::Integer, json!(outcome.threads));
    put("cpu_mask", Kind::Text, json!("0x0"));
    put("cpu_strict", Kind::Bool, json!(false));
    put("poll", Kind::Integer, json!(0));
    put("type_k", Kind::Text, json!(settings.cache_k.to_string()));
    put("type_v", Kind::Text, json!(settings.cache_v.to_string()));
    put("n_gpu_layers", Kind::Integer, json!(0));
    put("n_cpu_moe", Kind::Integer, json!(0));
    put("split_mode", Kind::Text, json!("none"));
    put("main_gpu", Kind::Integer, json!(0));
    put("no_kv_offload", Kind::Bool, json!(true));
    put("flash_attn", Kind::Bool, json!(true));
    put("devices", Kind::Text, json!("none"));
    put("tensor_split", Kind::Text, json!("0.00"));
    put("tensor_buft_overrides", Kind::Text, json!("none"));
    put("use_mmap", Kind::Bool, json!(subject.mapped()));
    put("embeddings", Kind::Bool, json!(false));
    put("no_op_offload", Kind::Bool, json!(true));
    put("n_prompt", Kind::Integer, json!(outcome.test.n_prompt));
    put("n_gen", Kind::Integer, json!(outcome.test.n_gen));
    put("n_depth", Kind::Integer, json!(outcome.test.n_depth));
    put("test_time", Kind::Text, json!(format!("{time:.0}")));
    put("avg_ns", Kind::Integer, json!(times.mean.round() as u64));
    put(
        "stddev_ns",
        Kind::Integer,
        json!(times.stddev.round() as u64),
    );
    put("avg_ts", Kind::Real, json!(rates.mean));
    put("stddev_ts", Kind::Real, json!(rates.stddev));
    let samples: Vec<u64> = outcome.samples.iter().map(|t| ns(*t)).collect();
    put("samples_ns", Kind::List, json!(samples));
    put("samples_ts", Kind::List, json!(rates.samples));

    put("level", Kind::Text, json!(subject.model().level().name()));
    put("min_ts", Kind::Real, json!(rates.min));
    put("median_ts", Kind::Real, json!(rates.median));
    put("max_ts", Kind::Real, json!(rates.max));
    put("resolution", Kind::Real, json!(rates.resolution()));
    put("noisy", Kind::Bool, json!(rates.noisy()));
    put("load_ns", Kind::Integer, json!(ns(subject.load_time())));
    put(
        "first_token_ns",
        Kind::Integer,
        json!(ns(outcome.time_to_first_token())),
    );
    put("peak_memory", Kind::Integer, json!(outcome.peak_memory));
    put(
        "anonymous_memory",
        Kind::Integer,
        json!(outcome.anonymous_memory),
    );
    let weather = outcome.weather.as_ref();
    for (name, value) in [
        ("celsius_before", weather.and_then(|w| w.celsius_before)),
        ("celsius_after", weather.and_then(|w| w.celsius_after)),
        ("celsius_max", weather.and_then(|w| w.celsius_max)),
        ("mhz_before", weather.and_then(|w| w.mhz_before)),
        ("mhz_after", weather.and_then(|w| w.mhz_after)),
        ("mhz_min", weather.and_then(|w| w.mhz_min)),
        ("mhz_max", weather.and_then(|w| w.mhz_max)),
    ] {
        put(name, Kind::Real, json!(value));
    }
    put(
        "throttled",
        Kind::Bool,
        json!(weather.map(|w| w.throttled.is_some())),
    );
    put(
        "throttled_by",
        Kind::Text,
        json!(weather.and_then(|w| w.throttled.as_deref())),
    );
    let limits = outcome.limits;
    put(
        "read_bandwidth",
        Kind::Real,
        json!(limits.map(|l| l.read_bandwidth)),
    );
    put(
        "integer_peak",
        Kind::Real,
        json!(limits.map(|l| l.integer_peak)),
    );
    put(
        "of_limit",
        Kind::Real,
        json!(outcome.share.map(|s| s.of_limit)),
    );
    put(
        "bound",
        Kind::Text,
        json!(outcome.share.map(|s| s.bound.name())),
    );
    let versus = outcome.versus.as_ref();
    put("versus_min_ts", Kind::Real, json!(versus.map(|v| v.min)));
    put(
        "versus_median_ts",
        Kind::Real,
        json!(versus.map(|v| v.median)),
    );
    put("versus_max_ts", Kind::Real, json!(versus.map(|v| v.max)));
    put("versus_ratio", Kind::Real, json!(outcome.ratio()));
    for (step, name) in Step::ALL.into_iter().zip(PROFILE) {
        put(
            name,
            Kind::Integer,
            json!(outcome.profile.map(|p| ns(p.time(step)))),
        );
    }
    fields
}

/// Names of the time spent in each kind of step, over all repetitions, in nanoseconds.
const PROFILE: [&str; Step::ALL.len()] = [
    "embed_ns",
    "norm_ns",
    "qkv_ns",
    "rope_store_ns",
    "attention_ns",
    "attention_output_ns",
    "gate_up_ns",
    "swiglu_ns",
    "down_ns",
    "logits_ns",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_fields_are_the_steps() {
        for (step, name) in Step::ALL.into_iter().zip(PROFILE) {
            assert_eq!(format!("{}_ns", step.name()), name);
        }
    }
}
