//! Text to token ids and back, from the file's metadata alone.
//!
//! ```text
//! encode:  text -> cut at special tokens -> split into words (BPE) -> merge -> ids
//! decode:  ids -> the bytes of each token -> whole characters
//! ```
//!
//! Two kinds of vocabulary are read: byte-level BPE (`gpt2`, the split rule named by `tokenizer.ggml.pre`) and
//! SentencePiece-style (`llama`). Ids are those of llama.cpp, whose test cases the tests run. On purpose it is
//! otherwise here:
//!
//! * a byte that the vocabulary cannot write is the unknown token or an error, never left out;
//! * text never becomes a control token by merging scores (SentencePiece agrees);
//! * `</s>` and its like end an answer only if the file gives them a special type: else they are text;
//! * a byte-level BPE file that names no BOS or EOS has none, rather than token 11.
//!
//! The file is not trusted. What cannot be given a meaning is an error; what can is a warning, or under
//! `strict` an error too.

mod bpe;
mod long;
mod pretokenizer;
mod special;
mod spm;
mod stream;
mod vocab;

use crate::error::{Error, Result};
use bpe::Bpe;
use pretokenizer::{DEFAULT, PreTokenizer, Rule};
use smolq_gguf::Metadata;
use special::{Fragment, Specials};
use spm::Spm;
use std::sync::Arc;
use vocab::{Notes, byte_of, shown};

pub use stream::DecodeStream;
pub use vocab::{TokenKind, Vocab};

/// How to read a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Put BOS before and EOS after it, each if the model wants it.
    pub add_special: bool,
    /// Read the texts of control tokens as these tokens. Text from outside must not be read so (see [`Tokenizer::encode_prompt`]).
    /// (The texts of user-defined tokens always are.)
    pub parse_special: bool,
}

/// A vocabulary ready to encode and decode. Clones share what is large.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    model: Arc<Model>,
    kinds: Arc<[TokenKind]>,
    /// The bytes of all pieces one after the other; the piece `id` ends at `ends[id]`.
    pieces: Arc<[u8]>,
    ends: Arc<[u32]>,
    specials: Arc<Specials>,
    eog: Vec<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    unk: Option<u32>,
    pad: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    add_space_prefix: bool,
    warnings: Vec<String>,
}

#[derive(Debug)]
enum Model {
    Bpe(PreTokenizer, Box<Bpe>),
    Spm(Box<Spm>),
}

/// How SentencePiece-style vocabularies write a space.
const SPACE: &str = "\u{2581}";

impl Tokenizer {
    /// Builds the tokenizer of a file. Under `strict` every warning is an error.
    pub fn from_metadata(meta: &Metadata, strict: bool) -> Result<Self> {
        Self::new(&Vocab::from_metadata(meta)?, strict)
    }

    /// Builds a tokenizer from the parts of a vocabulary. Under `strict` every warning is an error.
    pub fn new(vocab: &Vocab<'_>, strict: bool) -> Result<Self> {
        let mut notes = Notes::new(strict);
        let is_spm = match vocab.model {
            "llama" => true,
            "gpt2" => false,
            other => {
                return Err(Error::Tokenizer(format!(
                    "tokenizer.ggml.model: {} is not supported, only 'gpt2' and 'llama' are",
                    shown(other.as_bytes())
                )));
            }
        };
        check_lengths(vocab, &mut notes)?;
        let mut kinds = kinds_of(vocab, is_spm, &mut notes)?;
        let mut checked = |key: &str, id: Option<u32>, default: Option<u32>| {
            let known = |id: &u32| (*id as usize) < vocab.tokens.len();
            if let Some(id) = id.filter(|id| !known(id)) {
                let count = vocab.tokens.len();
                notes.note(format!(
                    "tokenizer.ggml.{key}: the id {id} is not one of the {count} tokens"
                ))?;
            }
            Ok::<_, Error>(id.filter(known).or(default.filter(known)))
        };
        // A BPE vocabulary has no customary ids; a SentencePiece-style one has these.
        let usual = |id: u32| is_spm.then_some(id);
        let bos = checked("bos_token_id", vocab.bos, usual(1))?;
        let eos = checked("eos_token_id", vocab.eos, usual(2))?;
        let unk = checked("unknown_token_id", vocab.unk, usual(0))?;
        let pad = checked("padding_token_id", vocab.pad, None)?;
        let ends = [
            eos,
            checked("eot_token_id", vocab.eot, None)?,
            checked("eom_token_id", vocab.eom, None)?,
            checked("fim_pad_token_id", vocab.fim_pad, None)?,
            checked("fim_rep_token_id", vocab.fim_rep, None)?,
            checked("fim_sep_token_id", vocab.fim_sep, None)?,
        ];
        let eog = special::ends_of_generation(vocab, &ends, &mut kinds, &mut notes)?;

        let (model, model_adds_bos) = if is_spm {
            (
                Model::Spm(Box::new(Spm::new(vocab, &kinds, unk, &mut notes)?)),
                true,
            )
        } else {
            let rule = rule_of(vocab, &mut notes)?;
            let split = PreTokenizer::new(rule)?;
            let ignore_merges = vocab.ignore_merges.unwrap_or(rule.ignore_merges);
            let bpe = Bpe::new(vocab, ignore_merges, unk, &mut notes)?;
            (Model::Bpe(split, Box::new(bpe)), rule.add_bos)
        };
        let mut has = |key: &str, add: bool, id: Option<u32>| {
            if add && id.is_none() {
                notes.note(format!(
                    "tokenizer.ggml.add_{key}_token: the file names no such token, none is added"
                ))?;
            }
            Ok::<_, Error>(add && id.is_some())
        };
        let add_bos = has("bos", vocab.add_bos.unwrap_or(model_adds_bos), bos)?;
        let add_eos = has("eos", vocab.add_eos.unwrap_or(false), eos)?;
        let (pieces, ends) = pieces_of(vocab, &kinds, is_spm, &mut notes)?;
        Ok(Self {
            model: Arc::new(model),
            specials: Arc::new(Specials::new(vocab, &kinds)),
            kinds: kinds.into(),
            pieces: pieces.into(),
            ends: ends.into(),
            eog,
            bos,
            eos,
            unk,
            pad,
            add_bos,
            add_eos,
            // Byte-level BPE keeps spaces as they are, whatever the key says.
            add_space_prefix: is_spm && vocab.add_space_prefix.unwrap_or(true),
            warnings: notes.warnings,
        })
    }

    /// What is wrong with the vocabulary, a line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The ids of a text.
    ///
    /// An error means that the vocabulary cannot write the text: it lacks a byte and has no token for what
    /// it lacks.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<u32>> {
        self.encode_from(text, options, true, &[])
    }

    /// The ids of a prompt: the names of control tokens are read as these tokens, but for those that begin at the bytes `literal`
    /// (ascending), which are text.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_prompt(&self, text: &str, literal: &[usize]) -> Result<Vec<u32>> {
        let options = EncodeOptions {
            add_special: false,
            parse_special: true,
        };
        self.encode_from(text, options, true, literal)
    }

    /// Where in a text the names of control tokens begin, in bytes, ascending; also of those inside others.
    pub fn control_names(&self, text: &str) -> Vec<usize> {
        self.specials.names(text)
    }

    /// The ids of a text that goes on from another: without what goes before a whole text, and without control tokens.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_on(&self, text: &str) -> Result<Vec<u32>> {
        let options = EncodeOptions {
            add_special: false,
            parse_special: false,
        };
        self.encode_from(text, options, false, &[])
    }

    fn encode_from(
        &self,
        text: &str,
        options: EncodeOptions,
        start: bool,
        literal: &[usize],
    ) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        if options.add_special && self.add_bos {
            ids.extend(self.bos);
        }
        let specials = &self.specials;
        let fragments = specials.partition(text, options.parse_special, literal);
        match &*self.model {
            Model::Bpe(split, bpe) => {
                let mut letters = String::new();
                for fragment in fragments {
                    match fragment {
                        Fragment::Token(id) => ids.push(id),
                        Fragment::Text(range) => {
                            let text = &text[range];
                            for word in split.split(text) {
                                bpe.encode_word(&text[word], &mut letters, &mut ids)?;
                            }
                        }
                    }
                }
            }
            Model::Spm(spm) => {
                // The prefix also goes before text that follows a special token.
                let mut at_start = start;
                for fragment in fragments {
                    match fragment {
                        Fragment::Token(id) => ids.push(id),
                        Fragment::Text(ref range) => {
                            let mut escaped = text[range.clone()].replace(' ', SPACE);
                            if at_start && self.add_space_prefix {
                                escaped.insert_str(0, SPACE);
                            }
                            spm.encode(&escaped, &mut ids)?;
                        }
                    }
                    at_start = matches!(fragment, Fragment::Token(_));
                }
            }
        }
        if options.add_special && self.add_eos {
            ids.extend(self.eos);
        }
        Ok(ids)
    }

    /// Whether a text begins with a special token, before which a text is cut in any case.
    pub fn begins_special(&self, text: &str) -> bool {
        self.specials.begin(text.as_bytes())
    }

    /// The bytes of a token as they appear in text; a control token's are its name. Unknown ids have none.
    pub fn piece(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else {
            return &[];
        };
        let start = id.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.pieces[start as usize..end as usize]
    }

    /// The bytes a token puts into text, where control tokens count only if `special`.
    fn visible(&self, id: u32, special: bool) -> &[u8] {
        match self.kind(id) {
            Some(TokenKind::Control | TokenKind::Unknown) if !special => &[],
            _ => self.piece(id),
        }
    }

    /// The text of tokens: their pieces one after the other, those of control tokens only if `special`.
    ///
    /// Bytes that are no character become U+FFFD. A space that [`encode`](Self::encode) put before the text is
    /// part of it; see [`decode_from_start`](Self::decode_from_start).
    pub fn decode(&self, ids: &[u32], special: bool) -> String {
        text_of(
            ids.iter()
                .flat_map(|&id| self.visible(id, special))
                .copied()
                .collect(),
        )
    }

    /// The text that [`encode`](Self::encode) made these tokens from: as [`decode`](Self::decode), but without
    /// the spaces that the vocabulary wants before a text and that `encode` put there.
    pub fn decode_from_start(&self, ids: &[u32], special: bool) -> String {
        let mut bytes = Vec::new();
        let mut at_start = self.add_space_prefix;
        for &id in ids {
            let piece = self.visible(id, special);
            let is_text = matches!(
                self.kind(id),
                Some(TokenKind::Normal | TokenKind::Byte | TokenKind::Unused)
            );
            let prefix: &[u8] = if at_start && is_text { b" " } else { b"" };
            bytes.extend_from_slice(piece.strip_prefix(prefix).unwrap_or(piece));
            at_start = self.add_space_prefix && !is_text;
        }
        text_of(bytes)
    }

    /// Decodes one token at a time, to the same text as [`decode`](Self::decode).
    pub fn stream(&self, special: bool) -> DecodeStream<'_> {
        DecodeStream::new(self, special)
    }

    /// What a token is for.
    pub fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(id as usize).copied()
    }

    /// Whether a token steers the model and is not text.
    pub fn is_control(&self, id: u32) -> bool {
        self.kind(id) == Some(TokenKind::Control)
    }

    /// Whether a token ends an answer.
    pub fn is_eog(&self, id: u32) -> bool {
        self.eog.binary_search(&id).is_ok()
    }

    /// All tokens that end an answer, ascending.
    pub fn eog_ids(&self) -> &[u32] {
        &self.eog
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The token for what has none.
    pub fn unk(&self) -> Option<u32> {
        self.unk
    }

    /// The token that fills up.
    pub fn pad(&self) -> Option<u32> {
        self.pad
    }

    /// Whether [`EncodeOptions::add_special`] puts BOS before a text.
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// Whether [`EncodeOptions::add_special`] puts EOS after a text.
    pub fn add_eos(&self) -> bool {
        self.add_eos
    }

    /// How many tokens there are.
    pub fn n_vocab(&self) -> usize {
        self.kinds.len()
    }

    /// The token whose text in the file is `text`.
    pub fn token_id(&self, text: &str) -> Option<u32> {
        match &*self.model {
            Model::Bpe(_, bpe) => bpe.token_id(text),
            Model::Spm(spm) => spm.token_id(text),
        }
    }
}

fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn check_lengths(vocab: &Vocab<'_>, notes: &mut Notes) -> Result<()> {
    let count = vocab.tokens.len();
    if count == 0 {
        return Err(Error::Tokenizer(
            "tokenizer.ggml.tokens: the vocabulary is empty".into(),
        ));
    }
    if count > i32::MAX as usize {
        return Err(Error::Tokenizer(format!(
            "tokenizer.ggml.tokens: {count} tokens are too many"
        )));
    }
    let arrays = [
        ("scores", vocab.scores.as_ref().map(Vec::len)),
        ("token_type", vocab.types.as_ref().map(Vec::len)),
    ];
    for (key, len) in arrays {
        match len {
            Some(len) if len < count => {
                return Err(Error::Tokenizer(format!(
                    "tokenizer.ggml.{key}: {len} values for {count} tokens"
                )));
            }
            Some(len) if len > count => notes.note(format!(
                "tokenizer.ggml.{key}: {len} values for {count} tokens, the last ones are left out"
            ))?,
            _ => {}
        }
    }
    Ok(())
}

fn kinds_of(vocab: &Vocab<'_>, is_spm: bool, notes: &mut Notes) -> Result<Vec<TokenKind>> {
    let Some(types) = &vocab.types else {
        notes.note(
            "the key 'tokenizer.ggml.token_type' is missing, types are guessed by text".into(),
        )?;
        let named = [vocab.bos, vocab.eos, vocab.eot, vocab.eom, vocab.pad];
        return Ok((0u32..)
            .zip(&vocab.tokens)
            .map(|(id, token)| match *token {
                b"<s>" | b"</s>" if is_spm => TokenKind::Control,
                b"<unk>" if is_spm => TokenKind::Unknown,
                _ if is_spm && byte_of(token).is_some() => TokenKind::Byte,
                _ if token.starts_with(b"<|") && named.contains(&Some(id)) => TokenKind::Control,
                _ => TokenKind::Normal,
            })
            .collect());
    };
    let mut bad = 0;
    let mut first_bad = None;
    let kinds = (0..vocab.tokens.len())
        .map(|id| {
            TokenKind::from_id(types[id]).unwrap_or_else(|| {
                bad += 1;
                first_bad.get_or_insert_with(|| format!("{} of token {id}", types[id]));
                TokenKind::Normal
            })
        })
        .collect();
    notes.note_many(
        bad,
        "tokenizer.ggml.token_type: unknown types, taken for normal",
        first_bad,
    )?;
    Ok(kinds)
}

fn rule_of(vocab: &Vocab<'_>, notes: &mut Notes) -> Result<&'static Rule> {
    if let Some(rule) = vocab.pre.and_then(Rule::named) {
        return Ok(rule);
    }
    notes.note(match vocab.pre {
        None => "the key 'tokenizer.ggml.pre' is missing: text is split by the default rule, answers may be worse".into(),
        Some(name) => format!(
            "tokenizer.ggml.pre: the split rule {} is not known: text is split by the default rule, answers may be worse",
            shown(name.as_bytes())
        ),
    })?;
    Rule::named(DEFAULT).ok_or_else(|| Error::Tokenizer("no default split rule".into()))
}

/// The bytes each token stands for, and where each ends.
fn pieces_of(
    vocab: &Vocab<'_>,
    kinds: &[TokenKind],
    is_spm: bool,
    notes: &mut Notes,
) -> Result<(Vec<u8>, Vec<u32>)> {
    let mut pieces = Vec::with_capacity(vocab.tokens.iter().map(|token| token.len()).sum());
    let mut ends = Vec::with_capacity(vocab.tokens.len());
    let mut bad_bytes = (0, None);
    let mut empty = (0, None);
    for (id, (&token, kind)) in vocab.tokens.iter().zip(kinds).enumerate() {
        if token.is_empty() {
            empty.0 += 1;
            empty.1.get_or_insert_with(|| format!("token {id}"));
        }
        match (kind, byte_of(token)) {
            (TokenKind::Byte, Some(byte)) => pieces.push(byte),
            (TokenKind::Control | TokenKind::Unknown | TokenKind::UserDefined, _) => {
                pieces.extend_from_slice(token);
            }
            (kind, _) => {
                if *kind == TokenKind::Byte {
                    bad_bytes.0 += 1;
                    bad_bytes
                        .1
                        .get_or_insert_with(|| format!("{} (id {id})", shown(token)));
                }
                match std::str::from_utf8(token) {
                    Ok(text) if is_spm => {
                        pieces.extend_from_slice(text.replace(SPACE, " ").as_bytes())
                    }
                    Ok(text) => spell(text, &mut pieces),
                    Err(_) => pieces.extend_from_slice(token),
                }
            }
        }
        ends.push(u32::try_from(pieces.len()).map_err(|_| {
            Error::Tokenizer("tokenizer.ggml.tokens: the texts take more than 4 GiB".into())
        })?);
    }
    notes.note_many(empty.0, "tokenizer.ggml.tokens: empty texts", empty.1)?;
    notes.note_many(
        bad_bytes.0,
        "tokenizer.ggml.tokens: byte tokens not written as <0x0A>, taken as they are",
        bad_bytes.1,
    )?;
    Ok((pieces, ends))
}

/// Appends the bytes that letters stand for; what is no letter stands for itself.
fn spell(letters: &str, bytes: &mut Vec<u8>) {
    for letter in letters.chars() {
        match bpe::byte_of_letter(letter) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}
