//! Files put together byte by byte, since a writer would refuse to write most of them.

#![allow(dead_code, reason = "each test uses a part")]

use std::path::PathBuf;

use smolq_gguf::{Array, Gguf, TensorType, Value, Writer};

/// The bytes of a file so far.
#[derive(Clone, Default)]
pub(crate) struct Raw(pub(crate) Vec<u8>);

pub(crate) const U8: u32 = 0;
pub(crate) const I32: u32 = 5;
pub(crate) const U32: u32 = 4;
pub(crate) const BOOL: u32 = 7;
pub(crate) const STRING: u32 = 8;
pub(crate) const ARRAY: u32 = 9;

impl Raw {
    /// A header of version 3: 24 bytes.
    pub(crate) fn header(tensors: u64, keys: u64) -> Raw {
        Raw::default().bytes(b"GGUF").u32(3).u64(tensors).u64(keys)
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Raw {
        self.0.extend(bytes);
        self
    }

    pub(crate) fn u8(self, v: u8) -> Raw {
        self.bytes(&[v])
    }

    pub(crate) fn u32(self, v: u32) -> Raw {
        self.bytes(&v.to_le_bytes())
    }

    pub(crate) fn u64(self, v: u64) -> Raw {
        self.bytes(&v.to_le_bytes())
    }

    pub(crate) fn string(self, v: impl AsRef<[u8]>) -> Raw {
        self.u64(v.as_ref().len() as u64).bytes(v.as_ref())
    }

    /// A key and the type of its value.
    pub(crate) fn key(self, key: impl AsRef<[u8]>, kind: u32) -> Raw {
        self.string(key).u32(kind)
    }

    pub(crate) fn tensor(
        self,
        name: impl AsRef<[u8]>,
        dims: &[u64],
        kind: u32,
        offset: u64,
    ) -> Raw {
        let mut raw = self.string(name).u32(dims.len() as u32);
        for &dim in dims {
            raw = raw.u64(dim);
        }
        raw.u32(kind).u64(offset)
    }

    pub(crate) fn pad(mut self, alignment: usize) -> Raw {
        self.0.resize(self.0.len().next_multiple_of(alignment), 0);
        self
    }

    pub(crate) fn zeros(mut self, n: usize) -> Raw {
        self.0.resize(self.0.len() + n, 0);
        self
    }
}

/// A valid file with every value type, several tensor types and shapes.
pub(crate) fn valid() -> Vec<u8> {
    let mut w = Writer::new();
    w.set("general.architecture", "llama")
        .set("general.name", "a \"valid\" file")
        .set("b", true);
    w.set("u8", 1u8)
        .set("i8", -1i8)
        .set("u16", 2u16)
        .set("i16", -2i16)
        .set("u32", 3u32)
        .set("i32", -3i32);
    w.set("u64", 4u64)
        .set("i64", -4i64)
        .set("f32", 0.5f32)
        .set("f64", -0.25f64);
    w.set("tokens", vec!["<s>", "", "a", "\u{2581}the"])
        .set("scores", vec![0.0f32, -1.5]);
    w.set("bools", vec![true, false])
        .set("types", vec![1i32, 2, 3])
        .set("nothing", Vec::<u64>::new());
    w.set("raw", Value::Bytes(vec![0xff, 0xfe]));
    let inner = Array::from_strings(["x", "y"]);
    w.set(
        "nested",
        Array::from_arrays([
            Array::from_arrays([inner.clone()]),
            Array::from_arrays([inner]),
        ]),
    );
    w.tensor(
        "token_embd.weight",
        TensorType::Q4_K,
        &[256, 2],
        vec![1; 288],
    );
    w.tensor("output_norm.weight", TensorType::F32, &[5], vec![2; 20]);
    w.tensor(
        "blk.0.attn_q.weight",
        TensorType::Q8_0,
        &[64, 1, 2, 1],
        vec![3; 136],
    );
    w.tensor("empty", TensorType::F16, &[0, 3], vec![]);
    w.to_vec().unwrap()
}

/// Looks at everything in a model, as one that trusts it would.
pub(crate) fn walk(gguf: &Gguf) -> u64 {
    let mut sum = gguf.file_bytes() + gguf.version() as u64 + gguf.alignment() as u64;
    let metadata = gguf.metadata();
    for (key, value) in metadata.iter() {
        assert!(metadata.get(key).is_some());
        sum += value.to_string().len() as u64;
        let _ = (
            metadata.opt_u32(key),
            metadata.opt_u64(key),
            metadata.opt_f32(key),
            metadata.opt_bool(key),
        );
        let _ = (
            metadata.str(key),
            metadata.opt_f32s(key),
            metadata.opt_i32s(key),
            metadata.opt_u32s(key),
        );
        if let Some(array) = value.as_array() {
            assert_eq!(array.iter().count(), array.len());
        }
        if let Ok(Some(strings)) = metadata.opt_strings(key) {
            assert_eq!(strings.iter().count(), strings.len());
            sum += strings.iter_bytes().map(|s| s.len() as u64).sum::<u64>();
            let _ = strings.first_invalid();
        }
    }
    for tensor in gguf.tensors() {
        assert!(gguf.tensor(&tensor.name).is_some());
        let data = gguf.data(tensor);
        assert_eq!(data.len() as u64, tensor.bytes);
        assert_eq!(
            tensor.cols() as u64 * tensor.rows() as u64,
            tensor.elements()
        );
        sum += data.iter().map(|&b| u64::from(b)).sum::<u64>();
    }
    assert!(gguf.unchanged());
    sum
}

/// A folder of this test's own, emptied first.
pub(crate) fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}
