//! `smolq inspect`: what is in a model file, what becomes of it, and what it needs.

use super::args::InspectArgs;
use super::load::{self, DEFAULT_CTX};
use super::{memory, one_line, print};
use crate::embedded;
use crate::error::Result;
use crate::machine::{Holder, Memory};
use crate::model::{Fit, LoadOptions, Model, SessionOptions, Verdict};
use crate::speculate::SpeculateOptions;
use serde_json::{Map, Value as Json, json};
use smolq_gguf::{Gguf, TensorInfo, Value};
use std::collections::BTreeMap;

/// Characters of a value that are shown.
const SHOWN: usize = 160;

pub(super) fn run(args: &InspectArgs) -> Result<()> {
    let options = LoadOptions {
        open: args.model.open(),
        rope: args.rope.options(),
        level: None,
    };
    let gguf = embedded::open(&args.model.model, &options.open)?;
    // A file that smolq cannot run can still be looked at.
    let looked = match Model::resolve(&gguf, &options) {
        Ok(resolved) => Ok(plan(args, resolved.with(gguf))),
        Err(error) => Err((gguf, one_line(&error.to_string()))),
    };
    let gguf = looked
        .as_ref()
        .map_or_else(|(gguf, _)| gguf, |plan| plan.model.gguf());
    let plan = looked.as_ref().map_err(|(_, why)| why.as_str());
    let mix = mix(gguf);
    if args.json {
        let mut out = Map::new();
        out.insert("file".into(), file_json(gguf));
        let metadata = gguf
            .metadata()
            .iter()
            .map(|(key, value)| (key.to_owned(), value_json(value)));
        out.insert("metadata".into(), Json::Object(metadata.collect()));
        out.insert(
            "types".into(),
            mix.iter()
                .map(|(name, (count, bytes))| {
                    (name.clone(), json!({"tensors": count, "bytes": bytes}))
                })
                .collect(),
        );
        out.insert(
            "tensors".into(),
            gguf.tensors().iter().map(tensor_json).collect(),
        );
        match plan {
            Ok(plan) => out.insert("plan".into(), plan.json()),
            Err(why) => out.insert("not_runnable".into(), json!(why)),
        };
        let text = serde_json::to_string_pretty(&Json::Object(out)).unwrap_or_default();
        return print((text + "\n").as_bytes());
    }
    let mut out = String::new();
    text(args, gguf, &mix, plan, &mut out);
    print(out.as_bytes())
}

/// How many tensors and bytes there are of each type.
fn mix(gguf: &Gguf) -> BTreeMap<String, (usize, u64)> {
    let mut mix = BTreeMap::new();
    for tensor in gguf.tensors() {
        let (count, bytes) = mix.entry(tensor.kind.name().to_owned()).or_insert((0, 0));
        *count += 1;
        *bytes += tensor.bytes;
    }
    mix
}

/// What smolq makes of the file.
struct Plan {
    model: Model,
    options: SessionOptions,
    rows: usize,
    memory: Option<Memory>,
}

fn plan(args: &InspectArgs, model: Model) -> Plan {
    Plan {
        options: args.session.options(model.config().n_ctx.min(DEFAULT_CTX)),
        // As `run` reads ahead, where it is not told otherwise.
        rows: SpeculateOptions::default().draft_max + 1,
        memory: Memory::here(),
        model,
    }
}

impl Plan {
    /// What is needed beside what there is; where the system does not tell, as if there were enough.
    fn fit(&self) -> Fit<'_> {
        let memory = self.memory.unwrap_or(Memory {
            total: u64::MAX,
            room: u64::MAX,
            holder: Holder::Machine,
        });
        Fit::of(&self.model, &self.options, self.rows, memory)
    }

    fn memory_json(&self) -> Json {
        let fit = self.fit();
        let need = fit.need();
        let known = self.memory.is_some();
        let sizes = fit.quantizations().into_iter();
        let sizes: Map<_, _> = sizes
            .map(|(name, bytes)| (name.to_owned(), json!(bytes)))
            .collect();
        let ways: Vec<_> = fit.ways().iter().map(ToString::to_string).collect();
        json!({
            "n_ctx": self.options.n_ctx,
            "weights": need.weights,
            "cache": need.cache,
            "scratch": need.scratch,
            "total": need.total(),
            "available": self.memory.map(|memory| memory.room),
            "fits": known.then(|| fit.verdict() == Verdict::Fits),
            "longest_ctx": if known { json!(fit.longest()) } else { json!(null) },
            "what_fits": ways,
            "quantizations": sizes,
        })
    }

    /// Lines about what is needed, what there is, and what would fit.
    fn memory_text(&self, line: &mut dyn FnMut(&str)) {
        let fit = self.fit();
        let need = fit.need();
        line(&format!("memory at a context of {}", self.options.n_ctx));
        let mut row = |name: &str, bytes: u64, more: &str| {
            line(&format!("  {name:<9} {:>10}{more}", memory::human(bytes)));
        };
        row(
            "weights",
            need.weights,
            " (mapped: shared with the page cache)",
        );
        row("KV cache", need.cache, "");
        row("buffers", need.scratch, "");
        row("together", need.total(), "");
        if let Some(memory) = &self.memory {
            line(&format!("  {}", load::room(memory)));
            match load::consequence(&fit) {
                Some(consequence) => line(&format!("  does not fit: {consequence}")),
                None => line("  fits"),
            }
            if let Some(advice) = fit.advice() {
                line(&format!("  {advice}"));
            }
            if let Some(longest) = fit.longest() {
                line(&format!("  longest context that fits: {longest}"));
            }
        }
        let sizes: Vec<_> = fit
            .quantizations()
            .iter()
            .map(|(name, bytes)| format!("{name} {}", memory::human(*bytes)))
            .collect();
        if !sizes.is_empty() {
            line(&format!("  smaller files, about: {}", sizes.join(", ")));
        }
    }

    fn without_rope(&self) -> Vec<usize> {
        let layers = self.model.layers().iter().enumerate();
        layers
            .filter(|(_, layer)| layer.rope.is_none())
            .map(|(il, _)| il)
            .collect()
    }

    /// Name and value of each size.
    fn sizes(&self) -> Vec<(&'static str, usize)> {
        let c = self.model.config();
        vec![
            ("n_vocab", c.n_vocab),
            ("n_ctx", c.n_ctx),
            ("n_embd", c.n_embd),
            ("n_layer", c.n_layer),
            ("n_head", c.n_head),
            ("n_head_kv", c.n_head_kv),
            ("head_dim", c.head_dim),
            ("n_ff", c.n_ff),
            ("n_rot", c.n_rot),
        ]
    }

    fn json(&self) -> Json {
        let c = self.model.config();
        let sizes: Map<_, _> = self
            .sizes()
            .into_iter()
            .map(|(name, n)| (name.to_owned(), json!(n)))
            .collect();
        let layers = self.model.layers().iter().enumerate().map(|(il, layer)| {
            json!({
                "layer": il,
                "rope": layer.rope.map(|pairs| format!("{pairs:?}").to_lowercase()),
                "qkv_bias": layer.q.bias.is_some(),
                "qk_norm": layer.q_norm.is_some(),
                "types": {
                    "q": layer.q.format.name(), "k": layer.k.format.name(), "v": layer.v.format.name(),
                    "o": layer.o.format.name(), "gate": layer.gate.format.name(), "up": layer.up.format.name(),
                    "down": layer.down.format.name(),
                },
            })
        });
        json!({
            "sizes": sizes,
            "norm_eps": c.norm_eps,
            "rope": format!("{:?}", c.rope),
            "tied_output": self.model.tied(),
            "layers_without_rope": self.without_rope(),
            "layers": layers.collect::<Vec<_>>(),
            "memory": self.memory_json(),
            "warnings": self.model.warnings(),
        })
    }
}

fn file_json(gguf: &Gguf) -> Json {
    let elements: u64 = gguf.tensors().iter().map(TensorInfo::elements).sum();
    json!({
        "path": gguf.path().display().to_string(),
        "version": gguf.version(),
        "alignment": gguf.alignment(),
        "shards": gguf.shards(),
        "bytes": gguf.file_bytes(),
        "tensors": gguf.tensors().len(),
        "parameters": elements,
    })
}

fn tensor_json(tensor: &TensorInfo) -> Json {
    json!({ "name": tensor.name, "type": tensor.kind.name(), "dims": tensor.dims, "offset": tensor.offset, "bytes": tensor.bytes })
}

/// A value as JSON.
fn value_json(value: &Value) -> Json {
    match value {
        Value::U8(v) => json!(v),
        Value::I8(v) => json!(v),
        Value::U16(v) => json!(v),
        Value::I16(v) => json!(v),
        Value::U32(v) => json!(v),
        Value::I32(v) => json!(v),
        Value::U64(v) => json!(v),
        Value::I64(v) => json!(v),
        Value::F32(v) => json!(v),
        Value::F64(v) => json!(v),
        Value::Bool(v) => json!(v),
        Value::String(v) => json!(v),
        // Long arrays and bytes that are no text, as a person would see them.
        Value::Array(_) | Value::Bytes(_) => json!(value.to_string()),
    }
}

/// A text cut to [`SHOWN`] characters, on one line.
fn short(text: &str) -> String {
    let text = one_line(text);
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}... ({} characters)", &text[..at], text.chars().count()),
        None => text,
    }
}

fn text(
    args: &InspectArgs,
    gguf: &Gguf,
    mix: &BTreeMap<String, (usize, u64)>,
    plan: std::result::Result<&Plan, &str>,
    out: &mut String,
) {
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    let elements: u64 = gguf.tensors().iter().map(TensorInfo::elements).sum();
    let bytes: u64 = gguf.tensors().iter().map(|tensor| tensor.bytes).sum();
    line(&format!("{}", gguf.path().display()));
    let shards = if gguf.shards() > 1 {
        format!(", {} files", gguf.shards())
    } else {
        String::new()
    };
    line(&format!(
        "  GGUF version {}, {}{shards}",
        gguf.version(),
        memory::human(gguf.file_bytes())
    ));
    if elements > 0 {
        let bits = bytes as f64 * 8.0 / elements as f64;
        line(&format!(
            "  {:.2} M parameters, {bits:.2} bits each",
            elements as f64 / 1e6
        ));
    }
    line("");
    line("metadata");
    for (key, value) in gguf.metadata().iter() {
        line(&format!(
            "  {} = {}",
            one_line(key),
            short(&value.to_string())
        ));
    }
    line("");
    line("types");
    for (name, (count, bytes)) in mix {
        line(&format!(
            "  {name:<8} {count:>5} tensors  {:>10}",
            memory::human(*bytes)
        ));
    }
    if args.tensors {
        line("");
        line("tensors");
        let width = gguf
            .tensors()
            .iter()
            .map(|t| t.name.chars().count())
            .max()
            .unwrap_or(0)
            .min(48);
        for tensor in gguf.tensors() {
            let dims: Vec<_> = tensor.dims.iter().map(u64::to_string).collect();
            let name = one_line(&tensor.name);
            line(&format!(
                "  {name:<width$}  {:<8} {:>16}  {:>10}",
                tensor.kind.name(),
                dims.join(" x "),
                memory::human(tensor.bytes)
            ));
        }
    }
    line("");
    let plan = match plan {
        Ok(plan) => plan,
        Err(why) => return line(&format!("smolq cannot run this file: {why}")),
    };
    line("plan");
    let c = plan.model.config();
    for (name, n) in plan.sizes() {
        line(&format!("  {name:<10} {n}"));
    }
    line(&format!("  {:<10} {:e}", "norm_eps", c.norm_eps));
    let rope = &c.rope;
    line(&format!(
        "  {:<10} base {}, scaling {:?}, factor {}",
        "rope",
        rope.freq_base,
        rope.scaling,
        1.0 / rope.freq_scale
    ));
    line(&format!(
        "  {:<10} {}",
        "output",
        if plan.model.tied() {
            "the embedding (tied)"
        } else {
            "a matrix of its own"
        }
    ));
    let without = plan.without_rope();
    let list = without
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    line(&format!(
        "  layers without RoPE: {}",
        if without.is_empty() {
            "none".to_owned()
        } else {
            list
        }
    ));
    for warning in plan.model.warnings() {
        line(&format!("  warning: {}", one_line(warning)));
    }
    line("");
    plan.memory_text(&mut line);
}
