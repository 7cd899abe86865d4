//! Byte-level BPE: the model behind `tokenizer.ggml.model = gpt2`.
//!
//! ```text
//! write each byte of a word as one letter of a fixed alphabet of 256
//! while two neighbours are a merge of the table: join the pair whose merge comes first in it
//! ```
//!
//! The merging is the `tokenizers` crate's. The splitting and the byte alphabet are not: the crate keeps
//! sixteen bytes of alignment for every byte of text, and takes an error of its backtracking splitter for the
//! end of the text (see [`super::pretokenizer`]). Its cache of merged words is off: it never forgets, keeps
//! one user's words while serving another, and buys little.

use std::collections::HashSet;

use tokenizers::Model;
use tokenizers::models::bpe::{BPE, Merges, Vocab as Ids};

use super::long::{Unit, merge_in_parts};
use super::vocab::{Notes, Vocab, shown};
use crate::error::{Error, Result};

/// Merges words into tokens.
pub(super) struct Bpe {
    model: BPE,
    ignore_merges: bool,
    /// Which bytes have a token of their own.
    known: [bool; 256],
    unk: Option<u32>,
}

impl Bpe {
    pub(super) fn new(
        vocab: &Vocab<'_>,
        ignore_merges: bool,
        unk: Option<u32>,
        notes: &mut Notes,
    ) -> Result<Self> {
        let own = |pairs: &[(&str, &str)]| -> Merges {
            pairs
                .iter()
                .map(|(left, right)| ((*left).to_owned(), (*right).to_owned()))
                .collect()
        };
        // Reading the two tables is a good part of the time a large vocabulary takes to load.
        let (ids, merges) = std::thread::scope(|scope| {
            let ids = scope.spawn(|| ids_of(vocab));
            let merges = pairs_of(vocab, notes).map(|pairs| (own(&pairs), pairs));
            let panicked = |_| Err(Error::Tokenizer("reading the tokens panicked".into()));
            (ids.join().unwrap_or_else(panicked), merges)
        });
        let (ids, (merges, pairs)) = (ids?, merges?);
        let build = |ids: Ids, merges: Merges| {
            BPE::builder()
                .vocab_and_merges(ids, merges)
                .cache_capacity(0)
                .build()
                .map_err(|error| Error::Tokenizer(format!("tokenizer.ggml.merges: {error}")))
        };
        let model = match build(ids, merges) {
            Ok(model) => model,
            // The crate refuses the whole table for one merge of a token that is not there.
            Err(_) => {
                let usable = without_strangers(vocab, pairs, notes)?;
                build(ids_of(vocab)?, own(&usable))?
            }
        };
        let mut known = [false; 256];
        for byte in 0..=255 {
            known[usize::from(byte)] = model
                .token_to_id(letter(byte).encode_utf8(&mut [0; 4]))
                .is_some();
        }
        let missing = known.iter().filter(|known| !**known).count();
        if missing > 0 && unk.is_none() {
            notes.note(format!(
                "tokenizer.ggml.tokens: {missing} of the 256 bytes have no token, text that holds one cannot be encoded"
            ))?;
        }
        Ok(Self {
            model,
            ignore_merges,
            known,
            unk,
        })
    }

    pub(super) fn token_id(&self, text: &str) -> Option<u32> {
        self.model.token_to_id(text)
    }

    /// Appends the ids of one word. `letters` is scratch space.
    pub(super) fn encode_word(
        &self,
        word: &str,
        letters: &mut String,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        letters.clear();
        for byte in word.bytes() {
            if self.known[usize::from(byte)] {
                letters.push(letter(byte));
                continue;
            }
            let Some(unk) = self.unk else {
                return Err(Error::Tokenizer(format!(
                    "the vocabulary has no token for the byte 0x{byte:02X} of {}",
                    shown(word.as_bytes())
                )));
            };
            self.merge(letters, ids)?;
            letters.clear();
            ids.push(unk);
        }
        self.merge(letters, ids)
    }

    fn merge(&self, letters: &str, ids: &mut Vec<u32>) -> Result<()> {
        // The crate could look for whole words too, but it would also find them in parts of a word.
        if self.ignore_merges
            && let Some(id) = self.token_id(letters)
        {
            ids.push(id);
            return Ok(());
        }
        let units = merge_in_parts(letters, |part, units| {
            let tokens = self.model.tokenize(part).map_err(|error| {
                Error::Tokenizer(format!("{}: {error}", shown(part.as_bytes())))
            })?;
            units.extend(tokens.into_iter().map(|token| Unit {
                len: token.offsets.1 - token.offsets.0,
                id: token.id,
            }));
            Ok(())
        })?;
        ids.extend(units.into_iter().map(|unit| unit.id));
        Ok(())
    }
}

impl std::fmt::Debug for Bpe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.model.fmt(f)
    }
}

/// Text to id. A token that is not UTF-8 is in no alphabet of letters and cannot be reached.
fn ids_of(vocab: &Vocab<'_>) -> Result<Ids> {
    let mut ids = Ids::with_capacity(vocab.tokens.len());
    for (id, token) in (0u32..).zip(&vocab.tokens) {
        let Ok(text) = std::str::from_utf8(token) else {
            continue;
        };
        if text.is_empty() {
            continue;
        }
        if let Some(first) = ids.insert(text.to_owned(), id) {
            return Err(twice(token, first, id));
        }
    }
    Ok(ids)
}

/// The merges as pairs, first come first, without those that cannot be read or come again.
fn pairs_of<'a>(vocab: &Vocab<'a>, notes: &mut Notes) -> Result<Vec<(&'a str, &'a str)>> {
    let merges = vocab.merges.as_ref().ok_or_else(|| {
        Error::Tokenizer(
            "the key 'tokenizer.ggml.merges' is missing: convert the model again".into(),
        )
    })?;
    let mut pairs = Vec::with_capacity(merges.len());
    let mut first_bad = None;
    for merge in merges {
        // The first letter may itself be a space in vocabularies that do not write it as another letter.
        let pair = std::str::from_utf8(merge).ok().and_then(|text| {
            let second = text.char_indices().nth(1)?.0;
            let space = second + text[second..].find(' ')?;
            Some((&text[..space], &text[space + 1..]))
        });
        match pair {
            Some(pair) => pairs.push(pair),
            None if first_bad.is_none() => first_bad = Some(shown(merge)),
            None => {}
        }
    }
    let bad = merges.len() - pairs.len();
    notes.note_many(
        bad,
        "tokenizer.ggml.merges: not two texts with a space between",
        first_bad,
    )?;

    let mut sorted: Vec<u64> = pairs.iter().map(hash).collect();
    sorted.sort_unstable();
    if sorted.windows(2).any(|two| two[0] == two[1]) {
        let mut seen = HashSet::with_capacity(pairs.len());
        let before = pairs.len();
        let mut first_again = None;
        pairs.retain(|pair| {
            let new = seen.insert(*pair);
            if !new && first_again.is_none() {
                first_again = Some(shown(format!("{} {}", pair.0, pair.1).as_bytes()));
            }
            new
        });
        notes.note_many(
            before - pairs.len(),
            "tokenizer.ggml.merges: given twice",
            first_again,
        )?;
    }
    Ok(pairs)
}

/// The merges whose three tokens exist.
fn without_strangers<'a>(
    vocab: &Vocab<'_>,
    mut pairs: Vec<(&'a str, &'a str)>,
    notes: &mut Notes,
) -> Result<Vec<(&'a str, &'a str)>> {
    let ids = ids_of(vocab)?;
    let before = pairs.len();
    let mut joined = String::new();
    let mut first_stranger = None;
    pairs.retain(|&(left, right)| {
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        let stranger = [left, right, joined.as_str()]
            .into_iter()
            .find(|text| !ids.contains_key(*text));
        if let Some(text) = stranger
            && first_stranger.is_none()
        {
            let merge = format!("{left} {right}");
            first_stranger = Some(format!(
                "{} of {}",
                shown(text.as_bytes()),
                shown(merge.as_bytes())
            ));
        }
        stranger.is_none()
    });
    let count = before - pairs.len();
    notes.note_many(
        count,
        "tokenizer.ggml.merges: merges of tokens that do not exist",
        first_stranger,
    )?;
    Ok(pairs)
}

fn hash(pair: &(&str, &str)) -> u64 {
    // Fixed keys: equal hashes only lead to a second look.
    ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(pair)
}

/// The error of two tokens with one text: which of the two ids a text means would be a guess.
pub(super) fn twice(token: &[u8], first: u32, again: u32) -> Error {
    Error::Tokenizer(format!(
        "tokenizer.ggml.tokens: {} is there twice, as {first} and as {again}",
        shown(token)
    ))
}

/// The letter that stands for a byte: itself where that can be seen, else the next one from U+0100 on.
fn letter(byte: u8) -> char {
    LETTERS[usize::from(byte)]
}

/// The byte that a letter stands for.
pub(super) fn byte_of_letter(letter: char) -> Option<u8> {
    let byte = *BYTES.get(letter as usize)?;
    u8::try_from(byte).ok()
}

const fn is_visible(byte: usize) -> bool {
    matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF)
}

const LETTERS: [char; 256] = {
    let mut letters = ['\0'; 256];
    let mut next = 0x100;
    let mut byte = 0;
    while byte < 256 {
        let code = if is_visible(byte) { byte as u32 } else { next };
        if !is_visible(byte) {
            next += 1;
        }
        letters[byte] = match char::from_u32(code) {
            Some(letter) => letter,
            None => unreachable!(),
        };
        byte += 1;
    }
    letters
};

/// The inverse of [`LETTERS`]; -1 for a character that is no letter.
const BYTES: [i16; 0x144] = {
    let mut bytes = [-1; 0x144];
    let mut byte = 0;
    while byte < 256 {
        bytes[LETTERS[byte] as usize] = byte as i16;
        byte += 1;
    }
    bytes
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_bytes_are_inverse() {
        for byte in 0..=255 {
            assert_eq!(byte_of_letter(letter(byte)), Some(byte));
        }
        assert_eq!(letter(b' '), 'Ġ');
        assert_eq!(letter(b'\n'), 'Ċ');
        assert_eq!(letter(b'a'), 'a');
        assert_eq!(byte_of_letter('\u{144}'), None);
        assert_eq!(byte_of_letter('中'), None);
        assert_eq!(byte_of_letter(' '), None);
    }
}
