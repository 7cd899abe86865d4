//! The KV cache: keys and values of every layer, head by head, position after position.

use super::config::Config;
use crate::error::{Error, Result};
use crate::machine::human;
use smolq_kernels::Shared;
use smolq_kernels::format::BlockQ8_0;
use smolq_kernels::ops::attention::{KvRowMut, KvRows};
use smolq_kernels::{Ref, RowsMut};
use std::ops::Range;

/// How keys or values are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum KvType {
    /// 4 bytes a value.
    F32,
    /// 2 bytes a value.
    #[default]
    F16,
    /// 34 bytes for 32 values.
    Q8_0,
}

impl KvType {
    /// Bytes of `n` values; the most there is where it would be more.
    pub fn bytes(self, n: usize) -> usize {
        match self {
            KvType::F32 => n.saturating_mul(4),
            KvType::F16 => n.saturating_mul(2),
            KvType::Q8_0 => n.div_ceil(32).saturating_mul(34),
        }
    }
}

impl std::fmt::Display for KvType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
            KvType::Q8_0 => "q8_0",
        })
    }
}

impl std::str::FromStr for KvType {
    type Err = String;
    fn from_str(name: &str) -> std::result::Result<KvType, String> {
        match name.to_ascii_lowercase().as_str() {
            "f32" => Ok(KvType::F32),
            "f16" => Ok(KvType::F16),
            "q8_0" => Ok(KvType::Q8_0),
            _ => Err(format!("unknown cache type {name:?}: f16, f32 or q8_0")),
        }
    }
}

/// Keys or values of a layer: one row for each KV head, `n_ctx * head_dim` values long.
enum Half {
    F32(Shared<f32>),
    F16(Shared<u16>),
    Q8_0(Shared<BlockQ8_0>),
}

/// A [`Half`] borrowed for reading.
pub(crate) enum HalfRef<'a> {
    F32(Ref<'a, f32>),
    F16(Ref<'a, u16>),
    Q8_0(Ref<'a, BlockQ8_0>),
}

impl HalfRef<'_> {
    /// All positions of a head.
    pub(crate) fn head(&self, head: usize) -> KvRows<'_> {
        match self {
            HalfRef::F32(all) => KvRows::F32(all.row(head)),
            HalfRef::F16(all) => KvRows::F16(all.row(head)),
            HalfRef::Q8_0(all) => KvRows::Q8_0(all.row(head)),
        }
    }

    /// All positions of a head, as they lie in memory.
    pub(crate) fn bytes(&self, head: usize) -> &[u8] {
        match self {
            HalfRef::F32(all) => bytemuck::cast_slice(all.row(head)),
            HalfRef::F16(all) => bytemuck::cast_slice(all.row(head)),
            HalfRef::Q8_0(all) => bytemuck::cast_slice(all.row(head)),
        }
    }
}

/// One head of a [`Half`] borrowed for writing.
pub(crate) enum HeadMut<'a> {
    F32(RowsMut<'a, f32>),
    F16(RowsMut<'a, u16>),
    Q8_0(RowsMut<'a, BlockQ8_0>),
}

impl HeadMut<'_> {
    /// The place of one position.
    pub(crate) fn position(&mut self, position: usize, head_dim: usize) -> KvRowMut<'_> {
        let range = |unit: usize| -> Range<usize> {
            position * head_dim / unit..(position + 1) * head_dim / unit
        };
        match self {
            HeadMut::F32(row) => KvRowMut::F32(&mut row[range(1)]),
            HeadMut::F16(row) => KvRowMut::F16(&mut row[range(1)]),
            HeadMut::Q8_0(row) => KvRowMut::Q8_0(&mut row[range(32)]),
        }
    }

    /// All positions, as they lie in memory.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            HeadMut::F32(row) => bytemuck::cast_slice_mut(row),
            HeadMut::F16(row) => bytemuck::cast_slice_mut(row),
            HeadMut::Q8_0(row) => bytemuck::cast_slice_mut(row),
        }
    }
}

impl Half {
    fn new(kind: KvType, heads: usize, values: usize) -> std::result::Result<Half, String> {
        Ok(match kind {
            KvType::F32 => Half::F32(Shared::zeroed(heads, values)?),
            KvType::F16 => Half::F16(Shared::zeroed(heads, values)?),
            KvType::Q8_0 => Half::Q8_0(Shared::zeroed(heads, values / 32)?),
        })
    }

    fn read(&self) -> HalfRef<'_> {
        match self {
            Half::F32(all) => HalfRef::F32(all.read()),
            Half::F16(all) => HalfRef::F16(all.read()),
            Half::Q8_0(all) => HalfRef::Q8_0(all.read()),
        }
    }

    fn write(&self, head: usize) -> HeadMut<'_> {
        match self {
            Half::F32(all) => HeadMut::F32(all.write_rows(head..head + 1)),
            Half::F16(all) => HeadMut::F16(all.write_rows(head..head + 1)),
            Half::Q8_0(all) => HeadMut::Q8_0(all.write_rows(head..head + 1)),
        }
    }
}

/// Keys and values of one layer.
pub(crate) struct LayerCache {
    keys: Half,
    values: Half,
}

impl LayerCache {
    /// Both, for reading.
    pub(crate) fn read(&self) -> (HalfRef<'_>, HalfRef<'_>) {
        (self.keys.read(), self.values.read())
    }

    /// Both of one head, for writing.
    pub(crate) fn write(&self, head: usize) -> (HeadMut<'_>, HeadMut<'_>) {
        (self.keys.write(head), self.values.write(head))
    }
}

/// Keys and values of all layers. Which positions hold something is the session's business.
pub(crate) struct Cache {
    pub(crate) layers: Vec<LayerCache>,
    kinds: (KvType, KvType),
}

impl Cache {
    /// An empty cache of `n_ctx` positions.
    pub(crate) fn new(config: &Config, n_ctx: usize, k: KvType, v: KvType) -> Result<Cache> {
        for (field, kind) in [("--cache-type-k", k), ("--cache-type-v", v)] {
            if kind == KvType::Q8_0 && !config.head_dim.is_multiple_of(32) {
                let why = format!(
                    "q8_0 needs heads of a multiple of 32 values, this model's have {}",
                    config.head_dim
                );
                return Err(Error::Request { field, why });
            }
        }
        let values = n_ctx.saturating_mul(config.head_dim);
        let layer = || -> std::result::Result<LayerCache, String> {
            Ok(LayerCache {
                keys: Half::new(k, config.n_head_kv, values)?,
                values: Half::new(v, config.n_head_kv, values)?,
            })
        };
        let layers = (0..config.n_layer)
            .map(|_| layer())
            .collect::<std::result::Result<_, _>>();
        let layers = layers.map_err(|why| {
            let needed = human(Cache::bytes(config, n_ctx, k, v) as u64);
            Error::Resources(format!(
                "the KV cache of {n_ctx} positions needs {needed}: {why}"
            ))
        })?;
        Ok(Cache {
            layers,
            kinds: (k, v),
        })
    }

    /// How keys and values are stored.
    pub(crate) fn kinds(&self) -> (KvType, KvType) {
        self.kinds
    }

    /// Bytes of a cache.
    pub(crate) fn bytes(config: &Config, n_ctx: usize, k: KvType, v: KvType) -> usize {
        let values = config
            .n_head_kv
            .saturating_mul(config.head_dim)
            .saturating_mul(config.n_layer)
            .saturating_mul(n_ctx);
        k.bytes(values).saturating_add(v.bytes(values))
    }
}
