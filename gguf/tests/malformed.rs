//! Hostile files, each built by hand. Each must be refused with a message of one line that names the place.

mod common;

use common::{ARRAY, BOOL, I32, Raw, STRING, U8, U32};
use smolq_gguf::{Error, Gguf};

const MIB: u64 = 1 << 20;

/// A file and what the message must contain.
struct Case {
    name: &'static str,
    file: Raw,
    expect: Vec<&'static str>,
}

fn case(name: &'static str, file: Raw, expect: &[&'static str]) -> Case {
    Case {
        name,
        file,
        expect: expect.to_vec(),
    }
}

/// One tensor, whose description begins at byte 24: the name's length at 24, name at 32, dimensions at 33, ...
fn tensor(dims: &[u64], kind: u32, offset: u64, data: usize) -> Raw {
    Raw::header(1, 0)
        .tensor("t", dims, kind, offset)
        .pad(32)
        .zeros(data)
}

/// The key `k`: its name's length at byte 24, name at 32, type at 33, value at 37.
fn key(kind: u32) -> Raw {
    Raw::header(0, 1).key("k", kind)
}

fn alignment(n: u32) -> Raw {
    Raw::header(0, 1).key("general.alignment", U32).u32(n)
}

/// `depth` arrays, each the only element of the one around it, around no bytes.
fn nested(depth: u32) -> Raw {
    let mut raw = key(ARRAY);
    for _ in 1..depth {
        raw = raw.u32(ARRAY).u64(1);
    }
    raw.u32(U8).u64(0)
}

#[rustfmt::skip] // A table: one case, one line.
fn cases() -> Vec<Case> {
    let max = u64::MAX;
    vec![
        // Header.
        case("empty", Raw::default(), &["at byte 0", "the file is empty"]),
        case("one byte", Raw::default().bytes(b"G"), &["at byte 0", "only 1 bytes"]),
        case("magic only", Raw::default().bytes(b"GGUF"), &["at byte 4: header: 4 bytes should follow", "only 0 more"]),
        case("no counts", Raw::default().bytes(b"GGUF").u32(3), &["at byte 8: header"]),
        case("half a header", Raw::default().bytes(b"GGUF").u32(3).u64(0), &["at byte 16: header"]),
        case("version 0", Raw::default().bytes(b"GGUF").u32(0).zeros(16), &["at byte 4: version 0"]),
        case("version 1", Raw::default().bytes(b"GGUF").u32(1).zeros(16), &["at byte 4: GGUF version 1, of 2023", "convert it again"]),
        case("version 4", Raw::default().bytes(b"GGUF").u32(4).zeros(16), &["at byte 4: GGUF version 4", "update this program"]),
        case("version -1", Raw::default().bytes(b"GGUF").u32(u32::MAX).zeros(16), &["GGUF version 4294967295"]),
        case("big-endian", Raw::default().bytes(b"GGUF").u32(3u32.swap_bytes()).zeros(16), &["at byte 4: big-endian GGUF (version 3)", "little-endian"]),
        case("byte-swapped magic", Raw::default().bytes(b"FUGG").zeros(20), &["byte-swapped GGUF"]),
        case("tensor count -1", Raw::header(max, 0), &["at byte 8: header", "18446744073709551615 tensors"]),
        case("key count -1", Raw::header(0, max), &["at byte 16: header", "18446744073709551615 keys"]),
        // 2^60 records of 16 bytes or more: the product wraps to a small number.
        case("tensor count wraps", Raw::header(1 << 60, 0), &["at byte 8", "at most 1000000"]),
        case("key count wraps", Raw::header(0, 1 << 60), &["at byte 16", "at most 100000"]),
        case("counts beyond the file", Raw::header(0, 99_999).zeros(100), &["at byte 16", "99999 keys", "only 100 more"]),
        case("tensors beyond the file", Raw::header(999_999, 0).zeros(100), &["at byte 8", "999999 tensors", "only 108 more"]),
        // Keys.
        case("key length -1", Raw::header(0, 1).u64(max).zeros(20), &["at byte 24: name of key 1 of 1", "18446744073709551615 bytes"]),
        case("key length 2^48", Raw::header(0, 1).u64(1 << 48).zeros(20), &["at byte 24: name of key 1 of 1"]),
        case("empty key", Raw::header(0, 1).key("", U8).zeros(20), &["at byte 24: name of key 1 of 1: it is empty"]),
        case("key not UTF-8", Raw::header(0, 1).key(b"a\xff", U8).u8(0), &["at byte 24: name of key 1 of 1", "not UTF-8"]),
        case("second key", Raw::header(0, 2).key("first", U8).u8(0).u64(max).zeros(20), &["at byte 42: name of key 2 of 2, after \"first\""]),
        case("value type", key(13).zeros(9), &["at byte 33: key \"k\": unknown value type 13"]),
        case("value type -1", key(u32::MAX).zeros(9), &["at byte 33: key \"k\": unknown value type 4294967295"]),
        case("value cut short", Raw::header(0, 1).key("key", U32).u8(0), &["at byte 39: key \"key\": 4 bytes should follow", "only 1 more"]),
        case("bool 2", key(BOOL).u8(2), &["at byte 37: key \"k\": a bool must be 0 or 1, found 2"]),
        case("duplicate key", Raw::header(0, 2).key("k", U8).u8(0).key("k", U32).u32(0), &["at byte 38: key \"k\": is given twice"]),
        case("hostile key", Raw::header(0, 1).key("k\n\x1b[2J\0", 99).u8(0), &["key \"k\\n\\u{1b}[2J\\u{0}\": unknown value type 99"]),
        // Strings.
        case("string length -1", key(STRING).u64(max).zeros(8), &["at byte 37: key \"k\": a string of 18446744073709551615 bytes", "only 8 more"]),
        case("string length past the end", key(STRING).u64(9).zeros(8), &["at byte 37: key \"k\": a string of 9 bytes", "only 8 more"]),
        case("string over the cap", key(STRING).u64(16 * MIB + 1).zeros(16 * MIB as usize + 1), &["at byte 37: key \"k\"", "at most 16777216"]),
        // Arrays.
        case("array cut short", key(ARRAY).u32(U8).u32(0), &["at byte 41: key \"k\": 8 bytes should follow"]),
        case("array length -1", key(ARRAY).u32(U8).u64(max), &["at byte 41: key \"k\": 18446744073709551615 array elements"]),
        case("array length 2^63", key(ARRAY).u32(STRING).u64(1 << 63), &["at byte 41: key \"k\": 9223372036854775808 array elements"]),
        // 2^62 elements of 4 bytes: the product wraps to 0.
        case("array size wraps", key(ARRAY).u32(U32).u64(1 << 62), &["at byte 41: key \"k\""]),
        case("array past the end", key(ARRAY).u32(U32).u64(3).zeros(11), &["at byte 41: key \"k\": 3 array elements take at least 4 bytes each", "only 11 more"]),
        case("strings past the end", key(ARRAY).u32(STRING).u64(3).zeros(23), &["at byte 41: key \"k\": 3 array elements take at least 8"]),
        case("string in array past the end", key(ARRAY).u32(STRING).u64(2).string("ab").u64(7).zeros(6), &["at byte 59: key \"k\": a string of 7 bytes"]),
        case("array over the cap", key(ARRAY).u32(U8).u64(16 * MIB + 1).zeros(16 * MIB as usize + 1), &["at byte 41: key \"k\"", "at most 16777216"]),
        case("array element type", key(ARRAY).u32(13).u64(0), &["at byte 37: key \"k\": unknown array element type 13"]),
        case("bool in array", key(ARRAY).u32(BOOL).u64(3).bytes(&[0, 1, 255]), &["at byte 51: key \"k\": a bool must be 0 or 1, found 255"]),
        case("nested too deep", nested(9), &["at byte 133: key \"k\": arrays nest more than 8 deep"]),
        case("nested 100,000 deep", nested(100_000), &["key \"k\": arrays nest more than 8 deep"]),
        case("nested past the end", key(ARRAY).u32(ARRAY).u64(2).u32(U8).u64(12).zeros(12), &["at byte 73: key \"k\": 4 bytes should follow"]),
        // Alignment.
        case("alignment 0", alignment(0), &["key \"general.alignment\": expected a u32, a power of two", "found u32 0"]),
        case("alignment 1", alignment(1), &["key \"general.alignment\"", "found u32 1"]),
        case("alignment 4", alignment(4), &["key \"general.alignment\"", "found u32 4"]),
        case("alignment 13", alignment(13), &["key \"general.alignment\"", "found u32 13"]),
        case("alignment 2 MiB", alignment(1 << 21), &["key \"general.alignment\"", "found u32 2097152"]),
        case("alignment 2^31", alignment(1 << 31), &["key \"general.alignment\"", "found u32 2147483648"]),
        case("alignment -1", alignment(u32::MAX), &["key \"general.alignment\"", "found u32 4294967295"]),
        case("alignment of type i32", Raw::header(0, 1).key("general.alignment", I32).u32(32), &["key \"general.alignment\"", "found i32 32"]),
        case("alignment of type string", Raw::header(0, 1).key("general.alignment", STRING).string("32"), &["key \"general.alignment\"", "found string \"32\""]),
        case("alignment of type array", Raw::header(0, 1).key("general.alignment", ARRAY).u32(U32).u64(1).u32(32), &["found array u32[1] [32]"]),
        // Tensors.
        case("tensor name length -1", Raw::header(1, 0).u64(max).zeros(30), &["at byte 24: name of tensor 1 of 1"]),
        case("tensor name of 65 bytes", Raw::header(1, 0).tensor([b'x'; 65], &[1], 0, 0).pad(32).zeros(4), &["at byte 24: name of tensor 1 of 1", "at most 64"]),
        case("empty tensor name", Raw::header(1, 0).tensor("", &[1], 0, 0).pad(32).zeros(4), &["at byte 24: name of tensor 1 of 1: it is empty"]),
        case("tensor name not UTF-8", Raw::header(1, 0).tensor([0xc0, 0x80], &[1], 0, 0).pad(32).zeros(4), &["at byte 24", "not UTF-8"]),
        case("hostile tensor name", Raw::header(1, 0).tensor("t\r\n\u{202e}x", &[1], 99, 0), &["tensor \"t\\r\\n\\u{202e}x\""]),
        case("second tensor", Raw::header(2, 0).tensor("first", &[1], 0, 0).u64(max).zeros(30), &["at byte 61: name of tensor 2 of 2, after \"first\""]),
        case("five dimensions", tensor(&[1; 5], 0, 0, 4), &["at byte 33: tensor \"t\": 5 dimensions, at most 4"]),
        case("2^32 - 1 dimensions", Raw::header(1, 0).string("t").u32(u32::MAX).zeros(64), &["at byte 33: tensor \"t\": 4294967295 dimensions"]),
        case("dimension -1", tensor(&[max], 24, 0, 64), &["at byte 37: tensor \"t\"", "too big"]),
        // Their product is 2^64: wraps to 0.
        case("elements wrap", tensor(&[1 << 32, 1 << 32], 0, 0, 64), &["at byte 37: tensor \"t\"", "too big"]),
        case("elements wrap in four", tensor(&[1 << 16; 4], 0, 0, 64), &["at byte 37: tensor \"t\"", "too big"]),
        case("elements wrap before a zero", tensor(&[1 << 32, 1 << 32, 0], 0, 0, 64), &["at byte 37: tensor \"t\"", "too big"]),
        case("elements wrap behind a zero", tensor(&[0, 1 << 32, 1 << 32], 0, 0, 64), &["at byte 37: tensor \"t\"", "too big"]),
        // The elements fit 63 bits, the bytes wrap to 0.
        case("bytes wrap", tensor(&[1 << 62], 0, 0, 64), &["tensor \"t\""]),
        case("bytes wrap in f64", tensor(&[(1 << 61) + 1], 28, 0, 64), &["tensor \"t\""]),
        // As bytes they fit, padded to the alignment they would wrap to 0.
        case("padding wraps", tensor(&[max - 15], 24, 0, 64), &["at byte 37: tensor \"t\"", "too big"]),
        case("rows are not whole blocks", tensor(&[31, 32], 2, 0, 4096), &["at byte 37: tensor \"t\": rows of 31 values, but Q4_0 comes in blocks of 32"]),
        case("scalar of blocks", tensor(&[], 12, 0, 4096), &["tensor \"t\": rows of 1 values, but Q4_K comes in blocks of 256"]),
        case("type -1", tensor(&[1], u32::MAX, 0, 4), &["at byte 45: tensor \"t\": type id 4294967295 is not a GGML type"]),
        case("offset -1", tensor(&[1], 0, max, 64), &["at byte 49: tensor \"t\": offset 18446744073709551615 is not a multiple"]),
        case("offset near the end wraps", tensor(&[64], 0, max - 31, 64), &["tensor \"t\": 256 bytes (F32 [64]) should be at offset 18446744073709551584"]),
        case("offset not aligned", tensor(&[1], 0, 4, 64), &["at byte 49: tensor \"t\": offset 4 is not a multiple of the alignment 32"]),
        case("offset past the end", tensor(&[1], 0, 64, 64), &["at byte 128: tensor \"t\": 4 bytes (F32 [1])", "ends at byte 128"]),
        case("one byte short", tensor(&[17], 0, 0, 67), &["at byte 64: tensor \"t\": 68 bytes (F32 [17])", "ends at byte 131"]),
        case("no data", tensor(&[1], 0, 0, 0), &["at byte 64: tensor \"t\""]),
        case("no padding", Raw::header(1, 0).tensor("t", &[1], 0, 0).zeros(4), &["at byte 64: tensor \"t\"", "ends at byte 61"]),
        case("same place", Raw::header(2, 0).tensor("a", &[8], 0, 0).tensor("b", &[8], 0, 0).pad(32).zeros(64), &["at byte 96: tensor", "overlaps tensor"]),
        case("overlap", Raw::header(2, 0).tensor("a", &[9], 0, 0).tensor("b", &[8], 0, 32).pad(32).zeros(64), &["at byte 128: tensor \"b\": overlaps tensor \"a\""]),
        case("overlap out of order", Raw::header(2, 0).tensor("b", &[8], 0, 32).tensor("a", &[9], 0, 0).pad(32).zeros(64), &["at byte 128: tensor \"b\": overlaps tensor \"a\""]),
        case("inside another", Raw::header(3, 0).tensor("a", &[32], 0, 0).tensor("e", &[0], 0, 32).tensor("b", &[1], 0, 64).pad(32).zeros(128), &["tensor \"b\": overlaps tensor \"a\""]),
        case("duplicate tensor", Raw::header(2, 0).tensor("a", &[8], 0, 0).tensor("a", &[8], 0, 32).pad(32).zeros(64), &["at byte 128: tensor \"a\": is given twice"]),
        case("split in memory", Raw::header(0, 2).key("split.count", U32).u32(2).key("split.no", U32).u32(0), &["split model: it is one of 2 parts", "merge them first"]),
        case("split count of type string", Raw::header(0, 1).key("split.count", STRING).string("2"), &["key \"split.count\": expected an integer"]),
        case("split without number", Raw::header(0, 1).key("split.count", U32).u32(2), &["key \"split.no\" is missing"]),
    ]
}

#[test]
fn hostile_files_are_refused_with_their_place() {
    for Case { name, file, expect } in cases() {
        let error = Gguf::from_bytes("dir/file.gguf", file.0).expect_err(name);
        let message = error.to_string();
        for part in expect {
            assert!(message.contains(part), "{name}: {message:?} lacks {part:?}");
        }
        assert!(message.starts_with("dir/file.gguf: "), "{name}: {message}");
        assert!(
            !message.contains(|c: char| c.is_control()) && message.len() < 500,
            "{name}: {message:?}"
        );
    }
}

#[test]
fn types_that_are_not_read_have_their_own_advice() {
    let cases = [
        (4, "type id 4 (Q4_2) was removed"),
        (31, "type id 31 (Q4_0_4_4) is an interleaved layout"),
        (38, "type id 38 (IQ4_NL_8_8) is an interleaved layout"),
        (40, "type id 40 (NVFP4) is newer than this program"),
        (42, "type id 42 (Q2_0) is newer than this program"),
        (133, "type id 133 (Q6_0) belongs to the fork ik_llama.cpp"),
        (157, "type id 157 (IQ2_KL) belongs to the fork ik_llama.cpp"),
        (
            339,
            "type id 339 (IQ4_K_R4) belongs to the fork ik_llama.cpp",
        ),
        (1000, "type id 1000 is not a GGML type"),
    ];
    for (id, expect) in cases {
        let error = Gguf::from_bytes("f", tensor(&[256], id, 0, 4096).0).unwrap_err();
        assert!(
            matches!(&error, Error::Type { offset: 45, .. }),
            "{error:?}"
        );
        let message = error.to_string();
        assert!(
            message.starts_with(&format!("f: at byte 45: tensor \"t\": {expect}")),
            "{message}"
        );
    }
}

#[test]
fn other_files_are_named_as_what_they_are() {
    let mut safetensors = 40u64.to_le_bytes().to_vec();
    safetensors.extend(b"{\"__metadata__\":{\"format\":\"pt\"},\"a\":{}}      ");
    let cases: &[(&[u8], &str)] = &[
        (&safetensors, "a safetensors file; convert"),
        (
            b"<!DOCTYPE html><html>",
            "a web page (HTML); the model itself was not downloaded",
        ),
        (b"\n <HTML lang=en>", "a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00",
            "a git-lfs pointer; fetch",
        ),
        (
            b"PK\x03\x04........",
            "a zip archive or a PyTorch checkpoint",
        ),
        (b"\x1f\x8b\x08\0\0\0", "a gzip archive; unpack"),
        (b"\x28\xb5\x2f\xfd..", "a zstd archive"),
        (b"\xfd7zXZ\0..", "an xz archive"),
        (b"lmgg\0\x7d\0\0", "a GGML file of before August 2023"),
        (b"fmgg\x01\0\0\0", "a GGML file of before August 2023"),
        (b"tjgg\x03\0\0\0", "a GGML file of before August 2023"),
        (b"algg\x01\0\0\0", "a GGML adapter"),
        (b"\x80\x02}q\0", "a Python pickle"),
        (b"\x93NUMPY\x01\0", "a NumPy array"),
        (b"\x7fELF\x02\x01", "a program"),
        (b"MZqFpD='\n", "llamafile"),
        (b"{\"architectures\": []}", "JSON; give the .gguf"),
        (
            b"\0\0\0\0\0\0\0\0",
            "only zero bytes; the download did not finish",
        ),
        (b"hello\n", "begins with \"hell\"; give a .gguf file"),
        (b"\x1b[2J", "begins with \"\\u{1b}[2J\""),
        (b"gguf", "begins with \"gguf\""),
    ];
    for (bytes, expect) in cases {
        let message = Gguf::from_bytes("f", bytes.to_vec())
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("f: not a GGUF file: at byte 0: "),
            "{message}"
        );
        assert!(message.contains(expect), "{message:?} lacks {expect:?}");
    }
}

#[test]
fn odd_but_valid_files_open() {
    let open = |raw: Raw| {
        let gguf = Gguf::from_bytes("f", raw.0).unwrap();
        common::walk(&gguf);
        gguf
    };
    assert_eq!(open(Raw::header(0, 0)).tensors().len(), 0);
    assert_eq!(open(Raw::header(0, 0).bytes(b"trailing")).file_bytes(), 32);
    let v2 = open(Raw::default().bytes(b"GGUF").u32(2).zeros(16));
    assert_eq!(v2.version(), 2);

    let scalar = open(tensor(&[], 0, 0, 4));
    assert_eq!(scalar.tensors()[0].dims, [1]);
    let zero = open(tensor(&[0, 1 << 20], 0, 0, 0));
    assert_eq!(
        (zero.tensors()[0].elements(), zero.tensors()[0].rows()),
        (0, 1 << 20)
    );
    open(Raw::header(1, 0).tensor("t", &[4, 0], 0, 1 << 40));

    let order = open(
        Raw::header(2, 0)
            .tensor("b", &[8], 0, 64)
            .tensor("a", &[8], 0, 0)
            .pad(32)
            .zeros(96),
    );
    assert_eq!(
        order
            .tensors()
            .iter()
            .map(|t| t.name.as_str())
            .collect::<Vec<_>>(),
        ["b", "a"]
    );
    assert_eq!(order.tensor("a").unwrap().offset, 96);

    let name = "nul\0and\nline";
    let odd = open(Raw::header(1, 0).tensor(name, &[1], 0, 0).pad(32).zeros(4));
    assert!(odd.tensor(name).is_some());
}

/// Each limit, at the cap and one over it.
#[test]
fn caps_are_exact() {
    let ok = |what: &str, raw: Raw| {
        if let Err(error) = Gguf::from_bytes("f", raw.0) {
            panic!("{what} at its cap: {error}");
        }
    };
    let refused = |what: &str, raw: Raw, expect: &str| {
        let message = Gguf::from_bytes("f", raw.0).expect_err(what).to_string();
        assert!(
            message.contains(expect),
            "{what}: {message:?} lacks {expect:?}"
        );
    };
    let keys = |n: u32| {
        (0..n).fold(Raw::header(0, n.into()), |raw, i| {
            raw.key(i.to_string(), U8).u8(0)
        })
    };
    ok("keys", keys(100_000));
    refused(
        "keys",
        keys(100_001),
        "at byte 16: header: 100001 keys, at most 100000",
    );

    let tensors = |n: u32| {
        (0..n)
            .fold(Raw::header(n.into(), 0), |raw, i| {
                raw.tensor(i.to_string(), &[0], 0, 0)
            })
            .pad(32)
    };
    ok("tensors", tensors(1_000_000));
    refused(
        "tensors",
        tensors(1_000_001),
        "at byte 8: header: 1000001 tensors, at most 1000000",
    );

    let cap = 16 << 20;
    ok("string", key(STRING).u64(cap as u64).zeros(cap));
    ok("array", key(ARRAY).u32(U8).u64(cap as u64).zeros(cap));
    ok(
        "string in array",
        key(ARRAY).u32(STRING).u64(1).u64(cap as u64).zeros(cap),
    );
    refused(
        "string in array",
        key(ARRAY)
            .u32(STRING)
            .u64(1)
            .u64(cap as u64 + 1)
            .zeros(cap + 1),
        "at byte 49: key \"k\"",
    );

    ok("nesting", nested(8));
    refused("nesting", nested(9), "arrays nest more than 8 deep");
    ok("dimensions", tensor(&[1; 4], 0, 0, 4));
    refused("dimensions", tensor(&[1; 5], 0, 0, 4), "5 dimensions");
    for n in (3..=20).map(|shift| 1 << shift) {
        ok("alignment", alignment(n));
    }
    refused("alignment", alignment(1 << 21), "general.alignment");
    ok(
        "key length",
        Raw::header(0, 1).key([b'x'; 65_535], U8).u8(0),
    );
    refused(
        "key length",
        Raw::header(0, 1).key([b'x'; 65_536], U8).u8(0),
        "at most 65535",
    );
    ok(
        "tensor name",
        Raw::header(1, 0)
            .tensor([b'x'; 64], &[1], 0, 0)
            .pad(32)
            .zeros(4),
    );
}

/// The getters refuse what does not fit, and say what is there.
#[test]
fn getters_name_key_and_value() {
    let gguf = Gguf::from_bytes("m.gguf", common::valid()).unwrap();
    let m = gguf.metadata();
    assert_eq!(
        (
            m.u32("u8").unwrap(),
            m.u32("i64").is_err(),
            m.u64("u64").unwrap()
        ),
        (1, true, 4)
    );
    assert_eq!(
        (
            m.f32("f32").unwrap(),
            m.f32("f64").unwrap(),
            m.bool("b").unwrap()
        ),
        (0.5, -0.25, true)
    );
    assert_eq!(m.opt_u32s("types").unwrap().unwrap(), [1, 2, 3]);
    assert_eq!(m.opt_i32s("nothing").unwrap().unwrap(), []);
    assert_eq!(m.opt_f32s("scores").unwrap().unwrap(), [0.0, -1.5]);
    assert_eq!(
        m.opt_strings("tokens").unwrap().unwrap().get(3),
        Some("\u{2581}the")
    );
    assert!(m.opt_u32("absent").unwrap().is_none() && m.opt_strings("absent").unwrap().is_none());

    let messages = [
        (
            m.u32("absent").unwrap_err(),
            "m.gguf: key \"absent\" is missing;",
        ),
        (
            m.u32("i32").unwrap_err(),
            "m.gguf: key \"i32\": expected an integer from 0 to 4294967295, found i32 -3;",
        ),
        (
            m.u32("f32").unwrap_err(),
            "key \"f32\": expected an integer from 0 to 4294967295, found f32 0.5;",
        ),
        (
            m.str("u8").unwrap_err(),
            "key \"u8\": expected a string, found u8 1;",
        ),
        (
            m.str("raw").unwrap_err(),
            "key \"raw\": expected a string, found a string that is not UTF-8,",
        ),
        (
            m.opt_bool("u8").unwrap_err(),
            "key \"u8\": expected a bool, found u8 1;",
        ),
        (
            m.opt_f32("u8").unwrap_err(),
            "key \"u8\": expected a float, found u8 1;",
        ),
        (
            m.opt_strings("types").unwrap_err(),
            "key \"types\": expected an array of strings, found i32[3] [1, 2, 3];",
        ),
        (
            m.opt_f32s("nothing").unwrap_err(),
            "key \"nothing\": expected an array of floats, found u64[0] [];",
        ),
        (
            m.opt_u32s("tokens").unwrap_err(),
            "found string[4] [\"<s>\", \"\", \"a\", ...];",
        ),
    ];
    for (error, expect) in messages {
        assert!(error.to_string().contains(expect), "{error} lacks {expect}");
    }
}
