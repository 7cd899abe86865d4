//! Sizes and settings of a model, from the metadata; every number is checked before it is used.

use super::arch::{ARCHS, Arch};
use crate::error::{Error, Result};
use smolq_gguf::{Gguf, Metadata, Value};

/// More layers than any model of this kind has; a larger count is a damaged file.
const MAX_LAYERS: usize = 1024;

/// Sizes and settings of a model. Names as the field has them.
#[derive(Clone, Debug)]
pub struct Config {
    /// The architecture.
    pub arch: Arch,
    /// Tokens in the vocabulary.
    pub n_vocab: usize,
    /// Positions that the model was trained for (after scaling).
    pub n_ctx: usize,
    /// Values of the residual stream.
    pub n_embd: usize,
    /// Layers.
    pub n_layer: usize,
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads.
    pub n_head_kv: usize,
    /// Values of a head.
    pub head_dim: usize,
    /// Values inside the feed-forward network.
    pub n_ff: usize,
    /// Values of a head that rotate.
    pub n_rot: usize,
    /// Added under the root of the norms.
    pub norm_eps: f32,
    /// How positions become angles.
    pub rope: RopeConfig,
}

/// How positions become angles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RopeConfig {
    /// Base of the frequencies.
    pub freq_base: f32,
    /// Positions are multiplied by this (1 / factor).
    pub freq_scale: f32,
    /// Kind of scaling.
    pub scaling: RopeScaling,
    /// YaRN: context of the training before scaling.
    pub orig_ctx: usize,
    /// YaRN: how much of the high frequencies is left as it was (1 = as published, 0 = interpolate all).
    pub ext_factor: f32,
    /// YaRN: factor of the attention's magnitude, beside the one that YaRN itself prescribes.
    pub attn_factor: f32,
    /// YaRN: rotations above which a frequency is left as it was.
    pub beta_fast: f32,
    /// YaRN: rotations below which a frequency is interpolated.
    pub beta_slow: f32,
}

/// How positions beyond the training are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Positions divided by a factor.
    Linear,
    /// YaRN (Peng et al. 2023, arXiv:2309.00071).
    Yarn,
}

impl std::str::FromStr for RopeScaling {
    type Err = String;
    fn from_str(name: &str) -> std::result::Result<RopeScaling, String> {
        match name {
            "none" => Ok(RopeScaling::None),
            "linear" => Ok(RopeScaling::Linear),
            "yarn" => Ok(RopeScaling::Yarn),
            other => Err(format!(
                "unknown RoPE scaling {other:?}: none, linear or yarn"
            )),
        }
    }
}

/// What overrides the file's word on positions; `None` leaves it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RopeOptions {
    /// `--rope-scaling`.
    pub scaling: Option<RopeScaling>,
    /// `--rope-scale`: the factor by which the context grows.
    pub scale: Option<f32>,
    /// `--rope-freq-base`.
    pub freq_base: Option<f32>,
    /// `--yarn-orig-ctx`.
    pub orig_ctx: Option<usize>,
    /// `--yarn-ext-factor`.
    pub ext_factor: Option<f32>,
    /// `--yarn-attn-factor`.
    pub attn_factor: Option<f32>,
    /// `--yarn-beta-fast`.
    pub beta_fast: Option<f32>,
    /// `--yarn-beta-slow`.
    pub beta_slow: Option<f32>,
}

/// Keys that change what a model computes and that this decoder does not implement. Where one is present and not zero, the
/// answer would be silently wrong.
const FOREIGN: &[&str] = &[
    "expert_count",
    "attention.sliding_window",
    "attention.clamp_kqv",
    "attention.scale",
    "attention.logit_softcapping",
    "final_logit_softcapping",
    "logit_scale",
    "embedding_scale",
    "residual_scale",
];

impl Config {
    /// Reads the metadata.
    ///
    /// # Errors
    /// If the architecture is not known, a key is missing or of the wrong type, or a number makes no sense.
    pub fn from_gguf(gguf: &Gguf, options: &RopeOptions) -> Result<Config> {
        let meta = gguf.metadata();
        let name = meta.str("general.architecture")?;
        let Some(arch) = Arch::named(name) else {
            let known: Vec<_> = ARCHS.iter().map(|arch| arch.name).collect();
            return Err(Error::Model(format!(
                "{}: architecture {} is not known; this version runs {}",
                gguf.path().display(),
                shown(meta, "general.architecture"),
                known.join(", ")
            )));
        };
        let key = |suffix: &str| format!("{name}.{suffix}");
        let bad = |suffix: &str, why: String| {
            Error::Model(format!("{}: {name}.{suffix} {why}", gguf.path().display()))
        };
        for suffix in FOREIGN {
            if let Some(value) = meta.get(&key(suffix)) {
                let text = value.to_string();
                if !matches!(text.as_str(), "0" | "0.0" | "false") {
                    return Err(bad(
                        suffix,
                        format!("is {text}: this decoder does not implement it"),
                    ));
                }
            }
        }
        let size = |suffix: &str, most: usize| -> Result<usize> {
            let value = meta.u32(&key(suffix))? as usize;
            if value == 0 || value > most {
                return Err(bad(suffix, format!("is {value}, expected 1 to {most}")));
            }
            Ok(value)
        };
        // A count that may be given for each layer; the decoder wants them equal.
        let heads = |suffix: &str| -> Result<Option<usize>> {
            let Some(value) = meta.get(&key(suffix)) else {
                return Ok(None);
            };
            if !matches!(value, Value::Array(_)) {
                return Ok(Some(size(suffix, 1 << 16)?));
            }
            let each = meta.opt_u32s(&key(suffix))?.unwrap_or_default();
            match each.first() {
                Some(&first)
                    if first > 0 && first <= 1 << 16 && each.iter().all(|&n| n == first) =>
                {
                    Ok(Some(first as usize))
                }
                _ => Err(bad(
                    suffix,
                    format!("is {value}: layers with different head counts are not supported"),
                )),
            }
        };
        let optional = |suffix: &str| -> Result<Option<usize>> {
            match meta.get(&key(suffix)) {
                Some(_) => size(suffix, 1 << 20).map(Some),
                None => Ok(None),
            }
        };

        let n_embd = size("embedding_length", 1 << 20)?;
        let n_layer = size("block_count", MAX_LAYERS)?;
        let n_head = heads("attention.head_count")?
            .ok_or_else(|| bad("attention.head_count", "is missing".to_owned()))?;
        let n_head_kv = heads("attention.head_count_kv")?.unwrap_or(n_head);
        if !n_head.is_multiple_of(n_head_kv) {
            return Err(bad(
                "attention.head_count",
                format!("is {n_head}, no multiple of {n_head_kv} KV heads"),
            ));
        }
        let head_dim = match optional("attention.key_length")? {
            Some(length) => length,
            None if n_embd.is_multiple_of(n_head) => n_embd / n_head,
            None => {
                return Err(bad(
                    "embedding_length",
                    format!("is {n_embd}, no multiple of {n_head} heads"),
                ));
            }
        };
        if let Some(length) =
            optional("attention.value_length")?.filter(|&length| length != head_dim)
        {
            return Err(bad(
                "attention.value_length",
                format!("is {length}, keys have {head_dim}: not supported"),
            ));
        }
        let n_rot = optional("rope.dimension_count")?.unwrap_or(head_dim);
        if n_rot > head_dim || n_rot % 2 != 0 {
            return Err(bad(
                "rope.dimension_count",
                format!("is {n_rot}, expected an even number up to {head_dim}"),
            ));
        }
        let norm_eps = meta.f32(&key("attention.layer_norm_rms_epsilon"))?;
        if !(norm_eps > 0.0 && norm_eps < 1.0) {
            return Err(bad(
                "attention.layer_norm_rms_epsilon",
                format!("is {norm_eps}, expected a small positive number"),
            ));
        }
        let train_ctx = size("context_length", 1 << 30)?;
        let rope = rope_config(gguf, name, train_ctx, options)?;
        // A file with scaling in its metadata states the context after it; an override of the user extends it.
        let n_ctx = match (options.scale, rope.scaling) {
            (Some(scale), RopeScaling::Linear | RopeScaling::Yarn) => {
                (rope.orig_ctx as f64 * f64::from(scale)) as usize
            }
            _ => train_ctx,
        };
        let n_vocab = match gguf.tensor("token_embd.weight") {
            Some(tensor) if tensor.rows() == 0 => {
                return Err(Error::Model(format!(
                    "{}: tensor \"token_embd.weight\" has no rows: the vocabulary is empty",
                    gguf.path().display()
                )));
            }
            Some(tensor) => tensor.rows(),
            None => {
                return Err(Error::Model(format!(
                    "{}: tensor \"token_embd.weight\" is missing: the file holds no model (a vocabulary only?)",
                    gguf.path().display()
                )));
            }
        };
        Ok(Config {
            arch,
            n_vocab,
            n_ctx: n_ctx.max(train_ctx),
            n_embd,
            n_layer,
            n_head,
            n_head_kv,
            head_dim,
            n_ff: size("feed_forward_length", 1 << 24)?,
            n_rot,
            norm_eps,
            rope,
        })
    }
}

/// What the file says under `key`, as it may stand in a message.
fn shown(meta: &Metadata, key: &str) -> String {
    meta.get(key).map_or_else(String::new, Value::to_string)
}

fn rope_config(
    gguf: &Gguf,
    arch: &str,
    train_ctx: usize,
    options: &RopeOptions,
) -> Result<RopeConfig> {
    let meta = gguf.metadata();
    let key = |suffix: &str| format!("{arch}.rope.{suffix}");
    let bad = |suffix: &str, why: String| {
        Error::Model(format!(
            "{}: {arch}.rope.{suffix} {why}",
            gguf.path().display()
        ))
    };
    // A number from the command line or the file, checked.
    let number = |option: Option<f32>,
                  flag: &'static str,
                  suffix: &str,
                  ok: fn(f32) -> bool|
     -> Result<Option<f32>> {
        if let Some(value) = option {
            let why = || format!("{value} is out of range");
            return if ok(value) {
                Ok(Some(value))
            } else {
                Err(Error::Request {
                    field: flag,
                    why: why(),
                })
            };
        }
        match meta.opt_f32(&key(suffix))? {
            Some(value) if !ok(value) => Err(bad(suffix, format!("is {value}: out of range"))),
            value => Ok(value),
        }
    };
    let positive = |x: f32| x.is_finite() && x > 0.0;
    let finite = |x: f32| x.is_finite() && x >= 0.0;

    let stated = meta.opt_str(&key("scaling.type"))?;
    let scaling = match (options.scaling, stated) {
        (Some(scaling), _) => scaling,
        (None, Some(text)) => text.parse().map_err(|_: String| {
            let text = shown(meta, &key("scaling.type"));
            bad(
                "scaling.type",
                format!("is {text}; none, linear and yarn are known"),
            )
        })?,
        (None, None) => RopeScaling::None,
    };
    let factor = match number(options.scale, "--rope-scale", "scaling.factor", positive)? {
        Some(factor) => Some(factor),
        None => number(None, "--rope-scale", "scale_linear", positive)?,
    };
    // A bare factor means linear scaling; that of a file which says "none" means nothing.
    let bare = options.scale.is_some() || (stated.is_none() && factor.is_some());
    let scaling = match scaling {
        RopeScaling::None if options.scaling.is_none() && bare => RopeScaling::Linear,
        scaling => scaling,
    };
    let file_orig = meta
        .opt_u32(&key("scaling.original_context_length"))?
        .map(|n| n as usize);
    let orig_ctx = options.orig_ctx.or(file_orig).unwrap_or(train_ctx);
    if orig_ctx == 0 {
        return Err(bad("scaling.original_context_length", "is 0".to_owned()));
    }
    let yarn = scaling == RopeScaling::Yarn;
    let attn = number(
        options.attn_factor,
        "--yarn-attn-factor",
        "scaling.yarn_attn_factor",
        positive,
    )?;
    let attn = match attn {
        Some(attn) => Some(attn),
        None => number(None, "--yarn-attn-factor", "scaling.attn_factor", positive)?,
    };
    let ext = number(
        options.ext_factor,
        "--yarn-ext-factor",
        "scaling.yarn_ext_factor",
        finite,
    )?;
    Ok(RopeConfig {
        freq_base: number(options.freq_base, "--rope-freq-base", "freq_base", positive)?
            .unwrap_or(10_000.0),
        freq_scale: if scaling == RopeScaling::None {
            1.0
        } else {
            1.0 / factor.unwrap_or(1.0)
        },
        scaling,
        orig_ctx,
        ext_factor: if yarn { ext.unwrap_or(1.0) } else { 0.0 },
        attn_factor: attn.unwrap_or(1.0),
        beta_fast: number(
            options.beta_fast,
            "--yarn-beta-fast",
            "scaling.yarn_beta_fast",
            positive,
        )?
        .unwrap_or(32.0),
        beta_slow: number(
            options.beta_slow,
            "--yarn-beta-slow",
            "scaling.yarn_beta_slow",
            positive,
        )?
        .unwrap_or(1.0),
    })
}
