//! Models in several files.

mod common;

use std::path::{Path, PathBuf};

use smolq_gguf::{Gguf, OpenOptions, TensorType, Writer};

fn name(no: u16) -> String {
    format!("m-{:05}-of-00003.gguf", no + 1)
}

/// Shard `no` of 3, with two tensors named after it. `change` makes it a wrong one.
fn shard(no: u16, change: impl FnOnce(&mut Writer)) -> Writer {
    let mut w = Writer::new();
    if no == 0 {
        w.set("general.architecture", "llama");
    }
    w.set("split.no", no)
        .set("split.count", 3u16)
        .set("split.tensors.count", 6i32);
    // Each shard has an alignment of its own.
    w.alignment(32 << no);
    for part in ["a", "b"] {
        w.tensor(
            format!("{part}.{no}"),
            TensorType::I8,
            &[10],
            vec![no as u8; 10],
        );
    }
    change(&mut w);
    w
}

fn model(folder: &str) -> PathBuf {
    let folder = common::folder(folder);
    for no in 0..3 {
        shard(no, |_| ()).write_file(folder.join(name(no))).unwrap();
    }
    folder
}

fn open(path: &Path) -> Result<Gguf, String> {
    Gguf::open(path, &OpenOptions::default()).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(path: &Path, expect: &str) {
    let message = open(path).unwrap_err();
    assert!(
        message.contains(expect) && message.lines().count() == 1,
        "{message:?} lacks {expect:?}"
    );
}

#[test]
fn all_parts_are_opened_from_the_first() {
    let folder = model("split ok");
    let gguf = open(&folder.join(name(0))).unwrap();
    assert_eq!(
        (gguf.shards(), gguf.tensors().len(), gguf.alignment()),
        (3, 6, 32)
    );
    assert_eq!(
        gguf.metadata().str("general.architecture").unwrap(),
        "llama"
    );
    let bytes = (0..3)
        .map(|no| folder.join(name(no)).metadata().unwrap().len())
        .sum::<u64>();
    assert_eq!(gguf.file_bytes(), bytes);
    for no in 0..3u8 {
        let tensor = gguf.tensor(&format!("b.{no}")).unwrap();
        assert_eq!(tensor.shard, u32::from(no));
        assert_eq!(*gguf.data(tensor), [no; 10]);
    }
    // All of a part in one piece: two tensors of ten bytes, the second at the next multiple of the alignment.
    let pieces: Vec<_> = gguf.tensor_data().collect();
    assert_eq!(pieces.len(), 3);
    for (no, piece) in (0..).zip(&pieces) {
        assert_eq!(piece.len(), (32 << no) + 10);
        let ends = piece[..10].iter().chain(&piece[32 << no..]);
        assert!(ends.copied().all(|byte| byte == no));
    }
    assert!(gguf.unchanged());
    std::fs::OpenOptions::new()
        .write(true)
        .open(folder.join(name(2)))
        .unwrap()
        .set_len(1)
        .unwrap();
    assert!(!gguf.unchanged());
}

#[test]
fn a_single_part_is_a_whole() {
    let path = common::folder("split single").join("any.gguf");
    Writer::new()
        .set("split.count", 1u16)
        .set("split.no", 0u16)
        .write_file(&path)
        .unwrap();
    let gguf = open(&path).unwrap();
    assert_eq!((gguf.shards(), gguf.tensor_data().count()), (1, 0));
}

/// A number of parts is believed only as far as so many files can be open.
#[test]
fn more_parts_than_can_be_are_refused_at_once() {
    let folder = common::folder("split many");
    let mut writer = Writer::new();
    writer.set("split.no", 0u32).set("split.count", u32::MAX);
    let path = folder.join("m-00001-of-4294967295.gguf");
    writer.write_file(&path).unwrap();
    refused(
        &path,
        "key \"split.count\" is 4294967295, at most 1024 parts",
    );
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let folder = model("split bad");
    let first = folder.join(name(0));

    refused(
        &folder.join(name(1)),
        "split model: it is part 2 of 3; give the first, ",
    );
    refused(&folder.join(name(1)), &name(0));

    let other = folder.join("renamed.gguf");
    std::fs::rename(&first, &other).unwrap();
    refused(
        &other,
        "it is part 1 of 3, but not named so; give it back its name, NAME-00001-of-00003.gguf",
    );
    let other2 = folder.join("m-00001-of-00004.gguf");
    std::fs::rename(&other, &other2).unwrap();
    refused(&other2, "give it back its name, m-00001-of-00003.gguf");
    std::fs::rename(&other2, &first).unwrap();

    // The second shard, each time wrong in another way.
    let wrong = |change: fn(&mut Writer), expect: &str| {
        shard(1, change).write_file(folder.join(name(1))).unwrap();
        refused(&first, expect);
        refused(&first, "m-0000");
    };
    wrong(
        |w| {
            w.set("split.no", 2u16);
        },
        "key \"split.no\" is 2, expected 1",
    );
    wrong(
        |w| {
            w.set("split.no", "one");
        },
        "key \"split.no\": expected an integer",
    );
    wrong(
        |w| {
            w.set("split.count", 4u16);
        },
        "key \"split.count\" is 4, but the first part says 3",
    );
    wrong(
        |w| {
            w.set("split.tensors.count", 7);
        },
        "key \"split.tensors.count\" is 7, but the first part says 6",
    );
    wrong(
        |w| {
            w.tensor("more", TensorType::I8, &[1], vec![0]);
        },
        "key \"split.tensors.count\" is 6, but the 3 parts have 7 tensors",
    );
    shard(0, |w| {
        w.set("split.tensors.count", 7);
    })
    .write_file(&first)
    .unwrap();
    wrong(
        |w| {
            w.set("split.tensors.count", 7)
                .tensor("a.0", TensorType::I8, &[1], vec![0]);
        },
        "key \"split.tensors.count\" is 6, but the first part says 7",
    );
    shard(2, |w| {
        w.set("split.tensors.count", 7);
    })
    .write_file(folder.join(name(2)))
    .unwrap();
    refused(&first, "tensor \"a.0\": is given twice, in parts 1 and 2");

    std::fs::write(folder.join(name(1)), b"<html>").unwrap();
    refused(
        &first,
        "m-00002-of-00003.gguf: not a GGUF file: at byte 0: it looks like a web page",
    );
    std::fs::remove_file(folder.join(name(1))).unwrap();
    refused(&first, "m-00002-of-00003.gguf is missing; download it");
    std::fs::remove_file(folder.join(name(2))).unwrap();
    refused(
        &first,
        "m-00002-of-00003.gguf is missing and 1 more; download",
    );
}
