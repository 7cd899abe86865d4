//! SentencePiece-style merging: the model behind `tokenizer.ggml.model = llama`.
//!
//! ```text
//! cut the text into characters
//! while two neighbours together are a token: join the pair whose token has the highest score,
//!     of equal ones the leftmost
//! a character that is part of no token is written as its bytes
//! ```
//!
//! This is not BPE with a table of merges, and the `tokenizers` crate has no model that is the same: there a
//! pair joins only if the table names exactly this pair, here whenever the joined text is a token; and scores
//! may be equal, where ranks never are. So the loop is ours. Candidates wait in a heap; one that was overtaken
//! is recognised when it comes out, by its left side being gone or the pair's length having changed. Each
//! join adds at most two candidates, so the whole is O(n log n).
//!
//! Control, unknown and byte tokens are never the result of joining (as in SentencePiece itself): text that
//! looks like them stays text.

use std::collections::BinaryHeap;
use std::collections::HashMap;

use super::bpe::twice;
use super::long::{NO_TOKEN, Unit, merge_in_parts};
use super::vocab::{Notes, TokenKind, Vocab, byte_of, shown};
use crate::error::{Error, Result};

/// Text to id.
type Ids = HashMap<Box<[u8]>, u32, ahash::RandomState>;

/// Merges texts into tokens.
#[derive(Debug)]
pub(super) struct Spm {
    /// All tokens that text can become, by text.
    ids: Ids,
    /// The other tokens, by text.
    others: Ids,
    /// Per id: the score, as a number that orders as the scores do.
    ranks: Vec<u32>,
    /// The token of each byte.
    bytes: [Option<u32>; 256],
    /// The length in bytes of the longest token.
    longest: usize,
    unk: Option<u32>,
}

/// The text cannot be longer: places in it are kept in 32 bits.
const MAX_TEXT: usize = u32::MAX as usize - 1;

/// No symbol.
const NONE: u32 = u32::MAX;

/// A stretch of the text that is, or may become, one token. `len` 0: it was joined to its left neighbour.
#[derive(Clone, Copy)]
struct Symbol {
    start: u32,
    len: u32,
    prev: u32,
    next: u32,
    id: u32,
}

/// Two neighbours that are a token together. Ordered by `key`: score first, then the leftmost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    key: u64,
    len: u32,
    id: u32,
}

impl Candidate {
    fn left(self) -> u32 {
        !(self.key as u32)
    }
}

impl Spm {
    pub(super) fn new(
        vocab: &Vocab<'_>,
        kinds: &[TokenKind],
        unk: Option<u32>,
        notes: &mut Notes,
    ) -> Result<Self> {
        let mut ids = Ids::with_capacity_and_hasher(vocab.tokens.len(), ahash::RandomState::new());
        let mut others = Ids::default();
        let mut bytes = [None; 256];
        let mut longest = 0;
        for ((id, &token), &kind) in (0u32..).zip(&vocab.tokens).zip(kinds) {
            if token.is_empty() {
                continue;
            }
            if let Some(byte) = byte_of(token) {
                bytes[usize::from(byte)] = Some(id);
            }
            let reachable = !matches!(
                kind,
                TokenKind::Control | TokenKind::Unknown | TokenKind::Byte
            );
            let table = if reachable {
                longest = longest.max(token.len());
                &mut ids
            } else {
                &mut others
            };
            if let Some(first) = table.insert(token.into(), id) {
                return Err(twice(token, first, id));
            }
        }
        if let Some((token, &again)) = others.iter().find(|(token, _)| ids.contains_key(*token)) {
            return Err(twice(token, ids[token], again));
        }
        for (byte, id) in bytes.iter_mut().enumerate() {
            if id.is_none() {
                // Some vocabularies write the byte itself.
                *id = ids.get([byte as u8].as_slice()).copied();
            }
        }
        let missing = bytes.iter().filter(|id| id.is_none()).count();
        if missing > 0 && unk.is_none() {
            notes.note(format!(
                "tokenizer.ggml.tokens: {missing} of the 256 bytes have no token, some text cannot be encoded"
            ))?;
        }
        let ranks = match &vocab.scores {
            Some(scores) => {
                let wrong: Vec<usize> = (0..scores.len())
                    .filter(|&id| scores[id].is_nan())
                    .collect();
                notes.note_many(
                    wrong.len(),
                    "tokenizer.ggml.scores: not a number (taken for the lowest)",
                    wrong.first().map(|id| format!("of token {id}")),
                )?;
                scores.iter().map(|&score| rank(score)).collect()
            }
            None => {
                notes.note(
                    "the key 'tokenizer.ggml.scores' is missing, all tokens merge alike".into(),
                )?;
                vec![0; vocab.tokens.len()]
            }
        };
        Ok(Self {
            ids,
            others,
            ranks,
            bytes,
            longest,
            unk,
        })
    }

    pub(super) fn token_id(&self, text: &str) -> Option<u32> {
        let text = text.as_bytes();
        self.ids
            .get(text)
            .or_else(|| self.others.get(text))
            .copied()
    }

    /// Appends the ids of `text`, whose spaces are already written as U+2581.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        let mut rest = text.as_bytes();
        for unit in merge_in_parts(text, |part, units| self.merge(part, units))? {
            let (symbol, after) = rest.split_at(unit.len);
            self.write(symbol, unit.id, ids)?;
            rest = after;
        }
        Ok(())
    }

    /// Appends what merging leaves of `text`; characters that joined nothing have no id yet.
    fn merge(&self, text: &str, units: &mut Vec<Unit>) -> Result<()> {
        if text.len() > MAX_TEXT {
            return Err(Error::Tokenizer(format!(
                "the text has {} bytes, the limit is {MAX_TEXT}",
                text.len()
            )));
        }
        let bytes = text.as_bytes();
        let mut symbols = symbols_of(text);
        let mut heap = self.first_candidates(bytes, &symbols);
        while let Some(best) = heap.pop() {
            let left = symbols[best.left() as usize];
            if left.len == 0 || left.next == NONE {
                continue;
            }
            let right = symbols[left.next as usize];
            if left.len + right.len != best.len {
                continue;
            }
            symbols[left.next as usize].len = 0;
            if right.next != NONE {
                symbols[right.next as usize].prev = best.left();
            }
            let joined = &mut symbols[best.left() as usize];
            joined.len = best.len;
            joined.next = right.next;
            joined.id = best.id;
            let joined = *joined;
            heap.extend(self.candidate(bytes, &symbols, joined.prev));
            heap.extend(self.candidate(bytes, &symbols, best.left()));
        }
        let left = symbols.iter().filter(|symbol| symbol.len > 0);
        units.extend(left.map(|symbol| Unit {
            len: symbol.len as usize,
            id: symbol.id,
        }));
        Ok(())
    }

    fn first_candidates(&self, text: &[u8], symbols: &[Symbol]) -> BinaryHeap<Candidate> {
        // A heap made of all at once costs O(n), not O(n log n).
        let all = 0..symbols.len() as u32;
        BinaryHeap::from_iter(all.filter_map(|left| self.candidate(text, symbols, left)))
    }

    /// The pair of the symbol `left` and its right neighbour, if the two are a token.
    fn candidate(&self, text: &[u8], symbols: &[Symbol], left: u32) -> Option<Candidate> {
        let symbol = symbols.get(left as usize)?;
        let right = symbols.get(symbol.next as usize)?;
        let len = symbol.len as usize + right.len as usize;
        if len > self.longest {
            return None;
        }
        let id = *self.ids.get(&text[symbol.start as usize..][..len])?;
        Some(Candidate {
            key: u64::from(self.ranks[id as usize]) << 32 | u64::from(!left),
            len: len as u32,
            id,
        })
    }

    /// Appends one symbol: as its token, or as its bytes.
    fn write(&self, text: &[u8], joined: u32, out: &mut Vec<u32>) -> Result<()> {
        if joined != NO_TOKEN {
            out.push(joined);
        } else if let Some(&id) = self.ids.get(text) {
            out.push(id);
        } else if text
            .iter()
            .all(|&byte| self.bytes[usize::from(byte)].is_some())
        {
            out.extend(
                text.iter()
                    .filter_map(|&byte| self.bytes[usize::from(byte)]),
            );
        } else if let Some(unk) = self.unk {
            out.push(unk);
        } else {
            return Err(Error::Tokenizer(format!(
                "the vocabulary has no token for {}",
                shown(text)
            )));
        }
        Ok(())
    }
}

fn symbols_of(text: &str) -> Vec<Symbol> {
    let mut symbols: Vec<Symbol> = (0u32..)
        .zip(text.char_indices())
        .map(|(at, (start, character))| Symbol {
            start: start as u32,
            len: character.len_utf8() as u32,
            prev: at.wrapping_sub(1),
            next: at + 1,
            id: NO_TOKEN,
        })
        .collect();
    if let Some(last) = symbols.last_mut() {
        last.next = NONE;
    }
    symbols
}

/// A score as a number that orders in the same way. The two zeros are equal; NaN is below all.
fn rank(score: f32) -> u32 {
    if score.is_nan() {
        return 0;
    }
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_order_as_scores_do() {
        let scores = [
            f32::NEG_INFINITY,
            -1e9,
            -2.0,
            -1.0,
            -0.5,
            0.0,
            1e-30,
            3.0,
            f32::INFINITY,
        ];
        assert!(scores.windows(2).all(|two| rank(two[0]) < rank(two[1])));
        assert_eq!(rank(-0.0), rank(0.0));
        assert!(rank(f32::NAN) < rank(f32::NEG_INFINITY));
    }
}
