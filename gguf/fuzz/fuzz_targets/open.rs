//! Opens any bytes as a model and looks at everything in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smolq_gguf::{Gguf, Writer};

fuzz_target!(|bytes: &[u8]| {
    let gguf = match Gguf::from_bytes("fuzz", bytes.to_vec()) {
        Ok(gguf) => gguf,
        Err(error) => {
            assert!(!error.to_string().contains(|c: char| c.is_control()));
            return;
        }
    };
    let metadata = gguf.metadata();
    let mut writer = Writer::new();
    writer
        .version(gguf.version())
        .alignment(gguf.alignment() as u32);
    for (key, value) in metadata.iter() {
        let _ = (
            value.to_string(),
            metadata.u64(key),
            metadata.f32(key),
            metadata.bool(key),
            metadata.str(key),
        );
        let _ = (
            metadata.opt_strings(key),
            metadata.opt_f32s(key),
            metadata.opt_i32s(key),
            metadata.opt_u32s(key),
        );
        if let Some(array) = value.as_array() {
            assert_eq!(array.iter().count(), array.len());
        }
        writer.set(key, value.clone());
    }
    for tensor in gguf.tensors() {
        let data = gguf.data(tensor);
        assert_eq!(data.len() as u64, tensor.bytes);
        assert_eq!(
            tensor.elements(),
            tensor.cols() as u64 * tensor.rows() as u64
        );
        writer.tensor(
            tensor.name.as_str(),
            tensor.kind,
            &tensor.dims,
            data.to_vec(),
        );
    }
    // What can be read can be written and read again.
    let again = Gguf::from_bytes("again", writer.to_vec().unwrap()).unwrap();
    assert_eq!(again.tensors().len(), gguf.tensors().len());
});
