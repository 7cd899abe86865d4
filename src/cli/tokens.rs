//! `smolq tokenize` and `smolq detokenize`.

use super::args::{DetokenizeArgs, TokenizeArgs};
use super::{load, logits, one_line, print};
use crate::error::{Error, Result};
use crate::tokenizer::EncodeOptions;

pub(super) fn tokenize(args: &TokenizeArgs) -> Result<()> {
    let text = match (&args.prompt, &args.file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => load::text(path)?,
        (None, None) => load::text("-".as_ref())?,
    };
    let tokenizer = load::tokenizer(&args.model.model, &args.model.open(), args.strict)?;
    let options = EncodeOptions {
        add_special: !args.no_bos,
        parse_special: !args.no_special,
    };
    let ids = tokenizer.encode(&text, options)?;
    if args.json {
        let list = ids
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        return print(format!("[{list}]\n").as_bytes());
    }
    let mut out = String::new();
    for id in ids {
        let piece = one_line(&String::from_utf8_lossy(tokenizer.piece(id)));
        out.push_str(&format!(
            "{id:>6} -> '{piece}'
"
        ));
    }
    print(out.as_bytes())
}

pub(super) fn detokenize(args: &DetokenizeArgs) -> Result<()> {
    let ids = if args.ids.is_empty() {
        let text = load::text("-".as_ref())?;
        if text.trim_start().starts_with(['[', '{']) {
            logits::token_ids(&text)?
        } else {
            let id = |word: &str| {
                let why = || format!("{word:?} is not a token id");
                word.parse().map_err(|_| Error::Request {
                    field: "ids",
                    why: why(),
                })
            };
            text.split_whitespace().map(id).collect::<Result<_>>()?
        }
    } else {
        args.ids.clone()
    };
    let tokenizer = load::tokenizer(&args.model.model, &args.model.open(), false)?;
    if let Some(id) = ids.iter().find(|&&id| id as usize >= tokenizer.n_vocab()) {
        let why = format!("{id} is not in the vocabulary of {}", tokenizer.n_vocab());
        return Err(Error::Request { field: "ids", why });
    }
    print((tokenizer.decode(&ids, !args.no_special) + "\n").as_bytes())
}
