//! What is written is read again; what is not written by us is survived.

mod common;

use proptest::prelude::*;
use smolq_gguf::{Array, Gguf, TensorType, Value, Writer};

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        // Without NaN, which does not equal itself.
        (-1e30f32..1e30).prop_map(Value::F32),
        (-1e300f64..1e300).prop_map(Value::F64),
        any::<bool>().prop_map(Value::Bool),
        ".{0,20}".prop_map(Value::String),
    ]
}

fn array() -> impl Strategy<Value = Array> {
    fn of<T: std::fmt::Debug + Clone>(
        element: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Array>
    where
        Value: From<Vec<T>>,
    {
        prop::collection::vec(element, 0..20)
            .prop_map(|v| Value::from(v).as_array().unwrap().clone())
    }
    let leaf = prop_oneof![
        of(any::<u8>()),
        of(any::<i8>()),
        of(any::<u16>()),
        of(any::<i16>()),
        of(any::<u32>()),
        of(any::<i32>()),
        of(any::<u64>()),
        of(any::<i64>()),
        of(any::<f32>()),
        of(any::<f64>()),
        of(any::<bool>()),
        of(".{0,8}"),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 0..8)
            .prop_map(Array::from_strings),
    ];
    leaf.prop_recursive(6, 64, 4, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(Array::from_arrays)
    })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![scalar(), array().prop_map(Value::Array)]
}

/// Type, dimensions and a byte to fill it with.
fn tensor() -> impl Strategy<Value = (TensorType, Vec<u64>, u8)> {
    let dims = prop::collection::vec(0u64..4, 1..=4);
    (prop::sample::select(TensorType::ALL), dims, any::<u8>()).prop_map(|(kind, mut dims, fill)| {
        dims[0] *= kind.block_len() as u64;
        (kind, dims, fill)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn files_read_as_they_were_written(
        version in 2u32..=3,
        alignment in prop::option::of((3u32..=20).prop_map(|shift| 1 << shift)),
        keys in prop::collection::btree_map("[^g].{0,30}", value(), 0..12),
        tensors in prop::collection::btree_map("[ -~]{1,64}", tensor(), 0..6),
    ) {
        // In an order of their own.
        let keys: Vec<_> = keys.into_iter().rev().collect();
        let tensors: Vec<_> = tensors.into_iter().rev().collect();
        let size = |kind: TensorType, dims: &[u64]| {
            dims.iter().product::<u64>() as usize / kind.block_len() * kind.block_bytes()
        };
        let mut writer = Writer::new();
        writer.version(version);
        if let Some(alignment) = alignment {
            writer.alignment(alignment);
        }
        for (key, value) in &keys {
            writer.set(key.as_str(), value.clone());
        }
        for (name, (kind, dims, fill)) in &tensors {
            writer.tensor(name.as_str(), *kind, dims, vec![*fill; size(*kind, dims)]);
        }
        let bytes = writer.to_vec().unwrap();
        prop_assert_eq!(&bytes, &writer.to_vec().unwrap());

        let gguf = Gguf::from_bytes("f", bytes).unwrap();
        common::walk(&gguf);
        prop_assert_eq!(gguf.version(), version);
        prop_assert_eq!(gguf.alignment(), alignment.unwrap_or(32) as usize);
        let read: Vec<_> = gguf.metadata().iter().filter(|(key, _)| *key != "general.alignment").collect();
        prop_assert_eq!(read.len(), keys.len());
        for ((key, value), (k, v)) in keys.iter().zip(read) {
            prop_assert_eq!((key.as_str(), value), (k, v));
            prop_assert_eq!(gguf.metadata().get(key), Some(value));
        }
        prop_assert_eq!(gguf.tensors().len(), tensors.len());
        for ((name, (kind, dims, fill)), info) in tensors.iter().zip(gguf.tensors()) {
            prop_assert_eq!((name, kind, dims), (&info.name, &info.kind, &info.dims));
            prop_assert_eq!(info.offset % gguf.alignment() as u64, 0);
            prop_assert_eq!(&*gguf.data(info), vec![*fill; size(*kind, dims)]);
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400), header in any::<bool>(), counts in any::<[u8; 2]>()) {
        let mut file = Vec::new();
        if header {
            // Small counts, so that the parser gets further than the header.
            file = common::Raw::header((counts[0] % 4).into(), (counts[1] % 4).into()).0;
        }
        file.extend(bytes);
        if let Ok(gguf) = Gguf::from_bytes("f", file) {
            common::walk(&gguf);
        }
    }

    /// Files that are nearly right get deeper: names and lengths are right, types and values are anything.
    #[test]
    fn nearly_valid_files_are_survived(
        keys in prop::collection::vec((0u32..15, prop::collection::vec(0u8..14, 0..60)), 0..6),
        tensors in prop::collection::vec((prop::collection::vec(0u64..300, 0..6), 0u32..45, 0u64..9), 0..6),
        rest in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let mut raw = common::Raw::header(tensors.len() as u64, keys.len() as u64);
        for (i, (kind, value)) in keys.iter().enumerate() {
            raw = raw.key(i.to_string(), *kind).bytes(value);
        }
        for (i, (dims, kind, offset)) in tensors.iter().enumerate() {
            raw = raw.tensor(i.to_string(), dims, *kind, offset * 32);
        }
        if let Ok(gguf) = Gguf::from_bytes("f", raw.bytes(&rest).0) {
            common::walk(&gguf);
        }
    }
}

#[test]
fn what_cannot_be_read_cannot_be_written() {
    let refused = |change: &dyn Fn(&mut Writer), expect: &str| {
        let mut writer = Writer::new();
        change(&mut writer);
        let message = writer.to_vec().unwrap_err().to_string();
        assert!(message.contains(expect), "{message:?} lacks {expect:?}");
    };
    use TensorType::{F32, I8, Q4_K};
    refused(
        &|w| {
            w.version(1);
        },
        "version 1, only 2 and 3",
    );
    refused(
        &|w| {
            w.alignment(48);
        },
        "alignment 48",
    );
    refused(
        &|w| {
            w.alignment(4);
        },
        "alignment 4",
    );
    refused(
        &|w| {
            w.set("general.alignment", 64u32);
        },
        "key \"general.alignment\": 64, but the alignment is 32",
    );
    refused(
        &|w| {
            w.set("", 1u8);
        },
        "key \"\": its name has 0 bytes",
    );
    refused(
        &|w| {
            w.tensor("", F32, &[1], vec![0; 4]);
        },
        "tensor \"\": its name has 0 bytes",
    );
    refused(
        &|w| {
            w.tensor("x".repeat(65), F32, &[1], vec![0; 4]);
        },
        "its name has 65 bytes",
    );
    refused(
        &|w| {
            w.tensor("t", F32, &[], vec![]);
        },
        "tensor \"t\": 0 dimensions",
    );
    refused(
        &|w| {
            w.tensor("t", F32, &[1; 5], vec![]);
        },
        "tensor \"t\": 5 dimensions",
    );
    refused(
        &|w| {
            w.tensor("t", Q4_K, &[255], vec![]);
        },
        "tensor \"t\": rows of 255 values",
    );
    refused(
        &|w| {
            w.tensor("t", F32, &[1], vec![0; 3]);
        },
        "tensor \"t\": the source gave 3 bytes, expected 4",
    );
    refused(
        &|w| {
            w.tensor("t", I8, &[u64::MAX], vec![]);
        },
        "too big",
    );
    refused(
        &|w| {
            w.tensor("t", I8, &[1], vec![0])
                .tensor("t", I8, &[1], vec![0]);
        },
        "tensor \"t\": is given twice",
    );
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let folder = common::folder("whole");
    let path = folder.join("m.gguf");
    let mut writer = Writer::new();
    writer.set("k", 1u8);
    let n = writer.write_file(&path).unwrap();
    assert_eq!(n, path.metadata().unwrap().len());
    writer.tensor("t", TensorType::F32, &[1], vec![0; 3]);
    assert!(writer.write_file(&path).is_err());
    // The old file is still there, and nothing else.
    assert_eq!(path.metadata().unwrap().len(), n);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    assert!(
        writer
            .write_file(folder.join("absent/m.gguf"))
            .unwrap_err()
            .to_string()
            .contains("cannot write: ")
    );
}

#[cfg(unix)]
#[test]
fn links_stay_links_and_pipes_are_written_to() {
    let folder = common::folder("links");
    let mut writer = Writer::new();
    writer.set("k", 1u8);
    let bytes = writer.to_vec().unwrap();
    let (link, target) = (folder.join("link.gguf"), folder.join("target.gguf"));
    // Twice: to where nothing is yet, then to where something is.
    std::os::unix::fs::symlink("target.gguf", &link).unwrap();
    for _ in 0..2 {
        writer.write_file(&link).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert!(target.symlink_metadata().unwrap().is_file());
        assert_eq!(std::fs::read(&target).unwrap(), bytes);
    }
    let circle = folder.join("circle.gguf");
    std::os::unix::fs::symlink("circle.gguf", &circle).unwrap();
    let error = writer.write_file(&circle).unwrap_err().to_string();
    assert!(error.contains("too many symbolic links"), "{error}");

    let pipe = folder.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    writer.write_file(&pipe).unwrap();
    assert_eq!(reader.join().unwrap(), bytes);
    assert!(!pipe.symlink_metadata().unwrap().is_file());
}

fn numbers(of: &[u8]) -> Array {
    match Value::from(of) {
        Value::Array(array) => array,
        value => panic!("{value} is no array"),
    }
}

#[test]
fn values_that_no_reader_takes_are_not_written() {
    let mut nested = numbers(&[1]);
    for _ in 0..8 {
        nested = Array::from_arrays([nested]);
    }
    for value in [
        Value::String("x".repeat((16 << 20) + 1)),
        Value::Array(nested),
    ] {
        let mut writer = Writer::new();
        writer.set("k", value);
        let error = writer.to_vec().unwrap_err().to_string();
        assert!(error.contains("key \"k\": its value has"), "{error}");
    }
}

/// What is shown of an array stays short, however deep it is.
#[test]
fn nested_arrays_are_shown_by_their_sizes() {
    let mut array = numbers(&[1, 2]);
    assert_eq!(array.to_string(), "u8[2] [1, 2]");
    for _ in 0..3 {
        array = Array::from_arrays([array.clone(), array]);
    }
    assert_eq!(array.to_string(), "array[2] [array[2], array[2]]");
}
