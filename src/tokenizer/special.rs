//! Special tokens: finding them in text, and which of them end an answer.
//!
//! A text is first cut at its special tokens, then the rest is merged. The longest token goes first, over the
//! whole text; a shorter one only finds what the longer ones left. (So it is not the leftmost match that
//! wins.) That is one search of the text per special token, and vocabularies hold thousands. Almost none of
//! them occur in a text, and almost all are ruled out by the pairs of neighbouring bytes that occur in it.

use std::ops::Range;

use memchr::memmem::Finder;

use super::vocab::{Notes, TokenKind, Vocab, shown};
use crate::error::Result;

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fragment {
    /// Bytes still to be merged; never empty.
    Text(Range<usize>),
    /// A special token.
    Token(u32),
}

/// The special tokens of a vocabulary, the longest first, equally long ones by id.
#[derive(Debug)]
pub(super) struct Specials(Vec<Special>);

#[derive(Debug)]
struct Special {
    id: u32,
    finder: Finder<'static>,
    /// Found even where special tokens are not to be read from text: a user-defined one is text.
    always: bool,
    /// White space before it, or after it, belongs to it.
    strip_left: bool,
    strip_right: bool,
}

impl Specials {
    pub(super) fn new(vocab: &Vocab<'_>, kinds: &[TokenKind]) -> Self {
        // Which tokens swallow white space is in no key of the file; that these models' do is known.
        let name = vocab.name.unwrap_or_default().to_lowercase();
        let is_phi3 = name.contains("phi-3") || name.contains("phi3");
        let pre = vocab.pre.unwrap_or_default();
        let mask: &[u8] = if ["jina-v2-de", "jina-v2-es", "jina-v2-code"].contains(&pre) {
            b"<mask>"
        } else if name.contains("modern-bert") {
            b"[MASK]"
        } else {
            b""
        };
        let plain: [&[u8]; 3] = [b"<unk>", b"<s>", b"<|endoftext|>"];
        let mut specials: Vec<Special> = (0u32..)
            .zip(vocab.tokens.iter().zip(kinds))
            .filter(|(_, (token, kind))| {
                let special = matches!(
                    kind,
                    TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown
                );
                // Text is UTF-8; what is not could only match inside a character.
                special && !token.is_empty() && std::str::from_utf8(token).is_ok()
            })
            .map(|(id, (&token, &kind))| Special {
                id,
                finder: Finder::new(token).into_owned(),
                always: kind == TokenKind::UserDefined,
                strip_left: token == mask,
                strip_right: is_phi3 && !plain.contains(&token),
            })
            .collect();
        specials.sort_by_key(|special| std::cmp::Reverse(special.finder.needle().len()));
        Self(specials)
    }

    /// Whether a text begins with a special token.
    pub(super) fn begin(&self, text: &[u8]) -> bool {
        self.0
            .iter()
            .any(|special| text.starts_with(special.finder.needle()))
    }

    /// Where in `text` the names of special tokens that are not user-defined begin, ascending; also of those inside others.
    pub(super) fn names(&self, text: &str) -> Vec<usize> {
        let text = text.as_bytes();
        let pairs = BytePairs::of(text);
        let mut places = Vec::new();
        for special in &self.0 {
            let needle = special.finder.needle();
            if special.always || !pairs.may_hold(needle) {
                continue;
            }
            let mut from = 0;
            while let Some(at) = special.find(text, from..text.len(), &[]) {
                places.push(at);
                from = at + 1;
            }
        }
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Cuts `text` at its special tokens: at all of them but those that begin at `literal` (ascending), or only at the user-defined.
    pub(super) fn partition(
        &self,
        text: &str,
        parse_special: bool,
        literal: &[usize],
    ) -> Vec<Fragment> {
        if text.is_empty() {
            return Vec::new();
        }
        let pairs = BytePairs::of(text.as_bytes());
        let mut fragments = vec![Fragment::Text(0..text.len())];
        for special in &self.0 {
            if (special.always || parse_special) && pairs.may_hold(special.finder.needle()) {
                special.cut(text.as_bytes(), literal, &mut fragments);
            }
        }
        fragments
    }
}

impl Special {
    /// Where this token first begins in `range`, but for the places where its name is text.
    fn find(&self, text: &[u8], range: Range<usize>, literal: &[usize]) -> Option<usize> {
        let mut from = range.start;
        loop {
            let at = from + self.finder.find(&text[from..range.end])?;
            if self.always || literal.binary_search(&at).is_err() {
                return Some(at);
            }
            from = at + 1;
        }
    }

    /// Cuts the text that is left at every place where this token is.
    fn cut(&self, text: &[u8], literal: &[usize], fragments: &mut Vec<Fragment>) {
        let occurs = |fragment: &Fragment| match fragment {
            Fragment::Text(range) => self.find(text, range.clone(), literal).is_some(),
            Fragment::Token(_) => false,
        };
        let Some(first) = fragments.iter().position(occurs) else {
            return;
        };
        for fragment in fragments.split_off(first) {
            let Fragment::Text(mut rest) = fragment else {
                fragments.push(fragment);
                continue;
            };
            while let Some(start) = self.find(text, rest.clone(), literal) {
                let mut before = rest.start..start;
                if self.strip_left {
                    before.end -= text[before.clone()]
                        .iter()
                        .rev()
                        .take_while(|c| is_space(**c))
                        .count();
                }
                if !before.is_empty() {
                    fragments.push(Fragment::Text(before));
                }
                fragments.push(Fragment::Token(self.id));
                rest.start = start + self.finder.needle().len();
                if self.strip_right {
                    rest.start += text[rest.clone()]
                        .iter()
                        .take_while(|c| is_space(**c))
                        .count();
                }
            }
            if !rest.is_empty() {
                fragments.push(Fragment::Text(rest));
            }
        }
    }
}

/// What C's `isspace` takes for white space.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

/// The pairs of neighbouring bytes of a text: one bit for each of the 65,536.
struct BytePairs(Vec<u64>);

impl BytePairs {
    fn of(text: &[u8]) -> Self {
        let mut bits = vec![0; 1024];
        for pair in text.windows(2) {
            bits[usize::from(pair[0]) * 4 + usize::from(pair[1] >> 6)] |= 1 << (pair[1] & 63);
        }
        Self(bits)
    }

    fn may_hold(&self, needle: &[u8]) -> bool {
        needle.windows(2).all(|pair| {
            self.0[usize::from(pair[0]) * 4 + usize::from(pair[1] >> 6)] >> (pair[1] & 63) & 1 == 1
        })
    }
}

/// Texts of tokens that end an answer, in the vocabularies of many models.
const ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
    // These end a fill-in-the-middle answer.
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
];

/// The tokens that end an answer, by id, ascending: those the file names and those known by their text.
///
/// A token known by its text becomes a control token. It must be special already, since `</s>` is also a thing
/// people write; but `<|...|>` is not, and there the file's type is taken for a mistake.
pub(super) fn ends_of_generation(
    vocab: &Vocab<'_>,
    named: &[Option<u32>],
    kinds: &mut [TokenKind],
    notes: &mut Notes,
) -> Result<Vec<u32>> {
    let mut ends: Vec<u32> = named.iter().copied().flatten().collect();
    for ((id, &token), kind) in (0u32..).zip(&vocab.tokens).zip(kinds) {
        // Comparing all of them with each of the ends would take longer than the rest of loading.
        if !matches!(token.first(), Some(b'<' | b'[' | b'_'))
            || !ENDS.iter().any(|end| end.as_bytes() == token)
        {
            continue;
        }
        if *kind == TokenKind::Normal {
            if !token.starts_with(b"<|") {
                continue;
            }
            notes.note(format!(
                "tokenizer.ggml.token_type: {} (id {id}) is a normal token, taken for a control token",
                shown(token)
            ))?;
        }
        *kind = TokenKind::Control;
        ends.push(id);
    }
    ends.sort_unstable();
    ends.dedup();

    // In these vocabularies `<|end|>` ends a channel of an answer, not the answer.
    let has = |text: &str| {
        ends.iter()
            .any(|&id| vocab.tokens[id as usize] == text.as_bytes())
    };
    let calls = has("<|call|>") || has("<|calls|>");
    if calls && (has("<|return|>") || has("<|flush|>")) {
        ends.retain(|&id| vocab.tokens[id as usize] != b"<|end|>");
    }
    Ok(ends)
}
