//! Real files, in the folder that SMOLQ_FIXTURES names.

mod common;

use std::path::{Path, PathBuf};
use std::time::Instant;

use smolq_gguf::{Gguf, OpenOptions, Value, Writer};

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "gguf")
        {
            found.push(path);
        }
    }
}

fn fixtures() -> Vec<PathBuf> {
    let mut found = Vec::new();
    match std::env::var_os("SMOLQ_FIXTURES") {
        Some(folder) => {
            files(folder.as_ref(), &mut found);
            found.sort();
            assert!(!found.is_empty(), "SMOLQ_FIXTURES has no .gguf files");
        }
        None => println!("skipped: SMOLQ_FIXTURES is not set"),
    }
    found
}

#[test]
fn fixture_every_file_opens() {
    for path in fixtures() {
        let started = Instant::now();
        let gguf = Gguf::open(&path, &OpenOptions::default()).unwrap();
        println!(
            "{}: {:?}, {gguf:?}",
            path.file_name().unwrap().display(),
            started.elapsed()
        );
        assert!(
            !gguf
                .metadata()
                .str("general.architecture")
                .unwrap()
                .is_empty()
        );
        let read = Gguf::open(
            &path,
            &OpenOptions {
                mmap: false,
                mlock: false,
            },
        )
        .unwrap();
        assert_eq!(common::walk(&gguf), common::walk(&read));
    }
}

/// Written again, a file is the same but for the padding at its end.
#[test]
fn fixture_every_file_is_written_as_it_was() {
    for path in fixtures() {
        let gguf = Gguf::open(&path, &OpenOptions::default()).unwrap();
        let mut writer = Writer::new();
        writer.version(gguf.version());
        for (key, value) in gguf.metadata().iter() {
            match value {
                Value::U32(n) if key == "general.alignment" => writer.alignment(*n),
                value => writer.set(key, value.clone()),
            };
        }
        for tensor in gguf.tensors() {
            writer.tensor(
                tensor.name.as_str(),
                tensor.kind,
                &tensor.dims,
                gguf.data(tensor).to_vec(),
            );
        }
        let (old, new) = (std::fs::read(&path).unwrap(), writer.to_vec().unwrap());
        let len = old.len().min(new.len());
        assert!(old[..len] == new[..len], "{}", path.display());
        assert!(
            old.len().abs_diff(new.len()) < gguf.alignment(),
            "{}",
            path.display()
        );
    }
}

/// Every proper beginning of the header of a real file is refused.
#[test]
fn fixture_cut_short_is_refused() {
    for path in fixtures() {
        let bytes: &'static [u8] = std::fs::read(&path).unwrap().leak();
        let tensors = Gguf::from_static("f", bytes, &OpenOptions::default())
            .unwrap()
            .tensors()
            .len();
        if tensors == 0 {
            continue;
        }
        for len in (0..64)
            .chain((1..200).map(|i| bytes.len() * i / 200))
            .chain([bytes.len() - 64])
        {
            let error = Gguf::from_static("cut.gguf", &bytes[..len], &OpenOptions::default())
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("cut.gguf: "), "{error}");
        }
    }
}
