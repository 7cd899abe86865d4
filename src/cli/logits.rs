//! `smolq logits`: the instrument for comparing engines.

use super::args::LogitsArgs;
use super::load;
use crate::embedded;
use crate::error::{Error, Result};
use crate::model::{Model, Session};
use serde_json::Value;
use smolq_gguf::{Access, replace};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

pub(super) fn run(args: &LogitsArgs) -> Result<()> {
    let ids = token_ids(&load::text(&args.tokens)?)?;
    let options = args.load();
    let gguf = embedded::open(&args.model.model, &options.open)?;
    let model = Arc::new(Model::from_gguf(gguf, &options)?);
    let n_vocab = model.config().n_vocab;
    let mut session = Session::new(model, &args.session(ids.len()))?;
    let header = npy_header(&[ids.len(), n_vocab]);
    if args.output == Path::new("-") {
        return write_logits(
            &mut session,
            &ids,
            &header,
            &mut std::io::stdout().lock(),
            "standard output".as_ref(),
        );
    }
    let failed = |source| Error::Io {
        path: args.output.clone(),
        source,
    };
    replace(&args.output, Access::Usual, failed, |out| {
        write_logits(&mut session, &ids, &header, out, &args.output)
    })
}

fn write_logits(
    session: &mut Session,
    ids: &[u32],
    header: &[u8],
    out: &mut dyn Write,
    path: &Path,
) -> Result<()> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    out.write_all(header).map_err(io)?;
    session.logits_all(ids, &mut |rows| {
        // Little-endian on every machine.
        let mut bytes = Vec::with_capacity(4 * rows.len());
        bytes.extend(rows.iter().flat_map(|x| x.to_le_bytes()));
        out.write_all(&bytes).map_err(io)
    })?;
    out.flush().map_err(io)
}

/// The ids of `[1, 2, 3]` or `{"tokens": [1, 2, 3]}`.
pub(super) fn token_ids(text: &str) -> Result<Vec<u32>> {
    let wrong = |why: String| Error::Request {
        field: "tokens",
        why,
    };
    let value: Value = serde_json::from_str(text).map_err(|e| wrong(format!("not JSON: {e}")))?;
    let list = value.get("tokens").unwrap_or(&value).as_array();
    let list = list.ok_or_else(|| {
        wrong("neither a JSON array nor an object with one under \"tokens\"".to_owned())
    })?;
    if list.is_empty() {
        return Err(wrong("the list is empty".to_owned()));
    }
    let id = |(i, value): (usize, &Value)| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| wrong(format!("entry {i} is {value}, not a token id")))
    };
    list.iter().enumerate().map(id).collect()
}

/// The header of a version 1 .npy file of little-endian float32 in C order.
fn npy_header(shape: &[usize]) -> Vec<u8> {
    let dims: Vec<_> = shape.iter().map(usize::to_string).collect();
    let mut dict = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}",
        dims.join(", ")
    );
    // Magic, version and length are 10 bytes; the data begins at a multiple of 64, after a newline.
    while !(10 + dict.len() + 1).is_multiple_of(64) {
        dict.push(' ');
    }
    dict.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((dict.len() as u16).to_le_bytes());
    header.extend(dict.as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_lists_are_read_or_refused_in_one_line() {
        assert_eq!(token_ids("[1, 2]").unwrap(), [1, 2]);
        assert_eq!(token_ids(r#"{"tokens": [7]}"#).unwrap(), [7]);
        for bad in [
            "",
            "{}",
            "[]",
            "[-1]",
            "[1.5]",
            "[4294967296]",
            "[\"a\"]",
            "3",
            "[1",
        ] {
            let message = token_ids(bad).unwrap_err().to_string();
            assert!(
                message.starts_with("tokens: ") && !message.contains('\n'),
                "{bad}: {message}"
            );
        }
    }

    #[test]
    fn the_header_ends_at_a_multiple_of_64() {
        let header = npy_header(&[34, 1024]);
        assert_eq!(header.len() % 64, 0);
        assert!(String::from_utf8_lossy(&header).contains("'shape': (34, 1024), }"));
    }
}
