//! The ids of a prompt, so that what a session holds of it stays as it is.
//!
//! A model does not always cut its own reply into tokens as the tokenizer would. The next prompt repeats the reply as text; encoded anew,
//! its ids could differ from the ones held, and everything after them would be read again. So the held tokens are followed along the text
//! as far as they say the same, and only the rest is encoded, from a place where the tokenizer would begin anew in any case.

use crate::error::Result;
use crate::tokenizer::{EncodeOptions, TokenKind, Tokenizer};

/// The ids of `text`, which begin with those of `held` as far as both say the same.
///
/// # Errors
/// As [`Tokenizer::encode`].
pub fn encode_after(tokenizer: &Tokenizer, held: &[u32], text: &str) -> Result<Vec<u32>> {
    let options = EncodeOptions {
        add_special: false,
        parse_special: true,
    };
    let mut places = vec![0];
    let mut at = 0;
    for &id in held {
        let piece = tokenizer.piece(id);
        if piece.is_empty() || !text.as_bytes()[at..].starts_with(piece) {
            break;
        }
        at += piece.len();
        places.push(at);
    }
    // Nothing is merged across a special token, so the text may be cut beside one.
    let special = |id: u32| {
        matches!(
            tokenizer.kind(id),
            Some(TokenKind::Control | TokenKind::UserDefined)
        )
    };
    let cut = (1..places.len()).rev().find(|&n| {
        let at = places[n];
        text.is_char_boundary(at)
            && (special(held[n - 1]) || at == text.len() || tokenizer.begins_special(&text[at..]))
    });
    match cut {
        None => tokenizer.encode(text, options),
        Some(n) => {
            let mut ids = held[..n].to_vec();
            ids.extend(tokenizer.encode(&text[places[n]..], options)?);
            Ok(ids)
        }
    }
}
