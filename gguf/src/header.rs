//! The first bytes: is this GGUF at all, and of which version?

use std::path::Path;

use crate::cursor::Cursor;
use crate::error::{DAMAGED, Error, show};

/// Reads magic and version. A file that is not GGUF, or not of a version that is read, is named as what it is.
pub(crate) fn version(cursor: &mut Cursor<'_>, bytes: &[u8]) -> Result<u32, Error> {
    let path = cursor.path();
    let place = || "header".to_owned();
    if !bytes.starts_with(b"GGUF") {
        let (found, advice) = looks_like(bytes);
        return Err(Error::NotGguf {
            path: path.to_owned(),
            found,
            advice,
        });
    }
    cursor.take(4, &place)?;
    let version = cursor.u32(&place)?;
    match version {
        2 | 3 => Ok(version),
        _ => Err(refused_version(path, version)),
    }
}

fn refused_version(path: &Path, version: u32) -> Error {
    const BIG_ENDIAN: &str =
        "use a little-endian file of the model, or convert again without --bigendian";
    let (found, advice) = match version {
        0 => ("version 0, which does not exist".to_owned(), DAMAGED),
        1 => (
            "GGUF version 1, of 2023, which is no longer read".to_owned(),
            "download a current file of the model, or convert it again with a current llama.cpp",
        ),
        // The lower half of a version number is never zero, unless it was written the other way round.
        _ if version & 0xffff == 0 => (
            format!("big-endian GGUF (version {})", version.swap_bytes()),
            BIG_ENDIAN,
        ),
        _ => (
            format!("GGUF version {version}; versions 2 and 3 are read"),
            "update this program",
        ),
    };
    Error::Version {
        path: path.to_owned(),
        found,
        advice,
    }
}

/// What a file is that is not GGUF, and what to do.
fn looks_like(bytes: &[u8]) -> (String, &'static str) {
    const CONVERT: &str = "convert the model to GGUF with llama.cpp's convert_hf_to_gguf.py, or download a .gguf file of it";
    const UNPACK: &str = "unpack it first";
    const OLD: &str = "download a current .gguf file of the model";
    const NOT_DOWNLOADED: &str = "the model itself was not downloaded, download it again";

    if bytes.is_empty() {
        return ("the file is empty".into(), "download it again");
    }
    if bytes.len() < 4 {
        return (
            format!("the file has only {} bytes", bytes.len()),
            "download it again",
        );
    }
    if bytes.iter().take(4096).all(|&b| b == 0) {
        return (
            "only zero bytes".into(),
            "the download did not finish, download it again",
        );
    }

    let head = &bytes[..bytes.len().min(512)];
    let text = head
        .trim_ascii_start()
        .strip_prefix("\u{feff}".as_bytes())
        .unwrap_or(head.trim_ascii_start());
    let text_begins = |word: &[u8]| {
        text.get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    // A safetensors file is an 8-byte length, then JSON.
    let json_at_8 = head.get(8).is_some_and(|&b| b == b'{')
        && head[..8]
            .try_into()
            .is_ok_and(|n| u64::from_le_bytes(n) < bytes.len() as u64);

    let (found, advice): (&str, _) = if head.starts_with(b"FUGG") {
        (
            "a byte-swapped GGUF file",
            "use a little-endian file of the model",
        )
    } else if json_at_8 {
        ("it looks like a safetensors file", CONVERT)
    } else if text_begins(b"<!doctype") || text_begins(b"<html") {
        ("it looks like a web page (HTML)", NOT_DOWNLOADED)
    } else if text_begins(b"version https://git-lfs") {
        (
            "it looks like a git-lfs pointer",
            "fetch the model itself with `git lfs pull`, or download it",
        )
    } else if head.starts_with(b"PK\x03\x04") {
        (
            "it looks like a zip archive or a PyTorch checkpoint",
            "unpack the archive, or download a .gguf file of the model",
        )
    } else if head.starts_with(b"\x1f\x8b") {
        ("it looks like a gzip archive", UNPACK)
    } else if head.starts_with(b"\x28\xb5\x2f\xfd") {
        ("it looks like a zstd archive", UNPACK)
    } else if head.starts_with(b"\xfd7zXZ\0") {
        ("it looks like an xz archive", UNPACK)
    } else if head.starts_with(b"7z\xbc\xaf\x27\x1c") {
        ("it looks like a 7z archive", UNPACK)
    } else if head.starts_with(b"lmgg") || head.starts_with(b"fmgg") || head.starts_with(b"tjgg") {
        (
            "it looks like a GGML file of before August 2023 (ggml, ggmf or ggjt)",
            OLD,
        )
    } else if head.starts_with(b"algg") {
        (
            "it looks like a GGML adapter (ggla) of before August 2023",
            OLD,
        )
    } else if head.starts_with(b"\x80\x02") || head.starts_with(b"\x80\x04") {
        (
            "it looks like a Python pickle, a PyTorch checkpoint",
            CONVERT,
        )
    } else if head.starts_with(b"\x93NUMPY") {
        ("it looks like a NumPy array", CONVERT)
    } else if head.starts_with(b"MZ") || head.starts_with(b"\x7fELF") {
        (
            "it looks like a program, perhaps a llamafile",
            "give a .gguf file; one can be taken out of a llamafile with unzip",
        )
    } else if text_begins(b"{") || text_begins(b"[") {
        (
            "it looks like JSON",
            "give the .gguf file of the model, not its configuration",
        )
    } else {
        return (
            format!("begins with {}", show(&head[..4])),
            "give a .gguf file, or download it again",
        );
    };
    (found.into(), advice)
}
