//! The vocabulary as the file gives it, before anything is built from it.

use crate::error::{Error, Result};
use smolq_gguf::Metadata;

/// The metadata a tokenizer is built from. Nothing here has been checked.
///
/// Tokens and merges are bytes: a file is free to hold strings that are not UTF-8. An absent flag or id means
/// that the model type or the split rule decides.
#[derive(Clone, Debug, Default)]
pub struct Vocab<'a> {
    /// `tokenizer.ggml.model`: `gpt2` for byte-level BPE, `llama` for SentencePiece-style.
    pub model: &'a str,
    /// `tokenizer.ggml.pre`: the split rule, of byte-level BPE only.
    pub pre: Option<&'a str>,
    /// `general.name`: some models want white space dropped after their special tokens and only the name tells.
    pub name: Option<&'a str>,
    /// `tokenizer.ggml.tokens`: each token's text, its place is its id.
    pub tokens: Vec<&'a [u8]>,
    /// `tokenizer.ggml.scores`: the higher, the sooner merged; of SentencePiece-style only.
    pub scores: Option<Vec<f32>>,
    /// `tokenizer.ggml.token_type`, see [`TokenKind`].
    pub types: Option<Vec<i32>>,
    /// `tokenizer.ggml.merges`: `left right`, the soonest first; of byte-level BPE only.
    pub merges: Option<Vec<&'a [u8]>>,
    /// `tokenizer.ggml.bos_token_id`: begins a text.
    pub bos: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`: ends a text or an answer.
    pub eos: Option<u32>,
    /// `tokenizer.ggml.eot_token_id`: ends a turn.
    pub eot: Option<u32>,
    /// `tokenizer.ggml.eom_token_id`: ends a message that waits for a tool.
    pub eom: Option<u32>,
    /// `tokenizer.ggml.unknown_token_id`: stands for what has no token.
    pub unk: Option<u32>,
    /// `tokenizer.ggml.padding_token_id`: fills up.
    pub pad: Option<u32>,
    /// `tokenizer.ggml.fim_pad_token_id`: ends a fill-in-the-middle answer, as the next two do.
    pub fim_pad: Option<u32>,
    /// `tokenizer.ggml.fim_rep_token_id`: names a repository.
    pub fim_rep: Option<u32>,
    /// `tokenizer.ggml.fim_sep_token_id`: separates files.
    pub fim_sep: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`
    pub add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`
    pub add_space_prefix: Option<bool>,
    /// Whether a word that is a token as a whole is that token, whatever the merges would make of it; in no key
    /// of the file, the split rule decides.
    pub ignore_merges: Option<bool>,
}

/// What a token is for: the values of `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A piece of text, reached by merging.
    Normal,
    /// Stands for what has no token.
    Unknown,
    /// Steers the model; not text.
    Control,
    /// Text that is always one token.
    UserDefined,
    /// A place in the table nobody uses.
    Unused,
    /// One byte, written `<0x0A>`.
    Byte,
}

impl TokenKind {
    /// The kind a file's number means.
    pub(super) fn from_id(id: i32) -> Option<Self> {
        Some(match id {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }
}

/// Collects what is wrong but bearable; under `strict` nothing is.
#[derive(Debug)]
pub(super) struct Notes {
    strict: bool,
    pub(super) warnings: Vec<String>,
}

impl Notes {
    pub(super) fn new(strict: bool) -> Self {
        Self {
            strict,
            warnings: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, warning: String) -> Result<()> {
        if self.strict {
            return Err(Error::Tokenizer(warning));
        }
        self.warnings.push(format!("tokenizer: {warning}"));
        Ok(())
    }

    /// Notes that `count` things are wrong, naming the first of them.
    pub(super) fn note_many(
        &mut self,
        count: usize,
        what: &str,
        first: Option<String>,
    ) -> Result<()> {
        match first {
            Some(first) => self.note(format!("{what}: {count} of them, the first is {first}")),
            None => Ok(()),
        }
    }
}

/// The byte a token `<0x0A>` stands for.
pub(super) fn byte_of(text: &[u8]) -> Option<u8> {
    let [b'<', b'0', b'x', high, low, b'>'] = *text else {
        return None;
    };
    let digit = |c: u8| char::from(c).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// A token's text in an error message: short, on one line.
pub(super) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(96)]);
    let short: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    format!("'{short}'")
}
impl<'a> Vocab<'a> {
    /// Gathers the keys of a file. Only their types are checked.
    pub fn from_metadata(meta: &'a Metadata) -> Result<Self> {
        let strings = |key| -> Result<Option<Vec<&'a [u8]>>> {
            let Some(array) = meta.opt_strings(key)? else {
                return Ok(None);
            };
            Ok(Some(
                (0..array.len())
                    .filter_map(|i| array.get_bytes(i))
                    .collect(),
            ))
        };
        let id = |key| meta.opt_u32(key);
        Ok(Self {
            model: meta.str("tokenizer.ggml.model")?,
            pre: meta.opt_str("tokenizer.ggml.pre")?,
            name: meta.opt_str("general.name")?,
            tokens: strings("tokenizer.ggml.tokens")?.ok_or_else(|| {
                Error::Tokenizer("the key 'tokenizer.ggml.tokens' is missing".into())
            })?,
            scores: meta.opt_f32s("tokenizer.ggml.scores")?,
            types: meta.opt_i32s("tokenizer.ggml.token_type")?,
            merges: strings("tokenizer.ggml.merges")?,
            bos: id("tokenizer.ggml.bos_token_id")?,
            eos: id("tokenizer.ggml.eos_token_id")?,
            eot: id("tokenizer.ggml.eot_token_id")?,
            eom: id("tokenizer.ggml.eom_token_id")?,
            unk: id("tokenizer.ggml.unknown_token_id")?,
            pad: id("tokenizer.ggml.padding_token_id")?,
            fim_pad: id("tokenizer.ggml.fim_pad_token_id")?,
            fim_rep: id("tokenizer.ggml.fim_rep_token_id")?,
            fim_sep: id("tokenizer.ggml.fim_sep_token_id")?,
            add_bos: meta.opt_bool("tokenizer.ggml.add_bos_token")?,
            add_eos: meta.opt_bool("tokenizer.ggml.add_eos_token")?,
            add_space_prefix: meta.opt_bool("tokenizer.ggml.add_space_prefix")?,
            ignore_merges: None,
        })
    }
}
