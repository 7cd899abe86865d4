//! What a mapped file keeps in memory, by the system's own account.
#![cfg(target_os = "linux")]

use smolq_gguf::{Gguf, OpenOptions, TensorType, Value, Writer};
use std::fs;

/// Bytes of the file of this name that this process holds.
fn held(name: &str) -> u64 {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = maps.lines().skip_while(|line| !line.ends_with(name));
    let line = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
    let kib: u64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kib << 10
}

#[test]
fn metadata_are_let_go_and_come_again() {
    let name = format!("smolq-pages-{}.gguf", std::process::id());
    let path = std::env::temp_dir().join(&name);
    let tokens: Vec<String> = (0..100_000).map(|i| format!("token number {i}")).collect();
    let mut writer = Writer::new();
    writer.set("general.architecture", "llama");
    writer.set("tokenizer.ggml.tokens", Value::from(tokens));
    let values: Vec<u8> = (0..4096u32)
        .flat_map(|i| (i as f32).to_le_bytes())
        .collect();
    writer.tensor(
        "output_norm.weight",
        TensorType::F32,
        &[4096],
        values.clone(),
    );
    writer.write_file(&path).unwrap();

    let gguf = Gguf::open(&path, &OpenOptions::default()).unwrap();
    assert!(gguf.mapped());
    // Opening has looked at all of it.
    let before = held(&name);
    assert!(before > 2 << 20, "{before}");
    gguf.release_metadata();
    let after = held(&name);
    assert!(after < before / 8, "{after} of {before}");
    let Some(Value::Array(all)) = gguf.metadata().get("tokenizer.ggml.tokens") else {
        panic!("no tokens")
    };
    let last = all.strings().unwrap().get(99_999);
    assert_eq!(last, Some("token number 99999"));
    let tensor = gguf.tensor("output_norm.weight").unwrap();
    assert_eq!(&gguf.data(tensor)[..], &values[..]);

    let options = OpenOptions {
        mmap: false,
        mlock: false,
    };
    let read = Gguf::open(&path, &options).unwrap();
    assert!(!read.mapped());
    read.release_metadata();
    assert_eq!(&read.data(tensor)[..], &values[..]);
    fs::remove_file(path).unwrap();
}
