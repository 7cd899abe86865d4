//! Structured output: which tokens may come next so that an answer becomes what was asked for.
//!
//! ```text
//! JSON schema, tools -> schema (checked, made exact) ─┐
//! GBNF -> gbnf (parsed, lexed without loss) -> Lark ──┼─> llguidance -> a bit for each token
//! Lark, regular expression (looked at) ───────────────┘
//! ```
//!
//! The engine is the crate `llguidance`: an Earley parser over lexemes, and a walk of the vocabulary's trie. Here is what it needs to be
//! told, and what keeps strangers' grammars in bounds: they are limited in length, nesting, repetition, classes of characters, intersections
//! and in the work of each step, they are compiled on a stack of their own, and a grammar that allows nothing is refused before anything is
//! computed.

mod gbnf;
mod lark;
mod pattern;
mod schema;

use crate::apart::apart;
use crate::error::{Error, Result};
use crate::tokenizer::{TokenKind, Tokenizer};
use llguidance::api::{GrammarInit, ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};
use pattern::Patterns;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use schema::Calls;

/// Longer grammars are refused.
pub const MAX_SOURCE: usize = 256 << 10;
/// Longer answers cannot be asked for: what must come is written out in advance.
const MAX_LENGTH: usize = 20_000;
/// What the lexer's first step may take, of some 100 nanoseconds each. The engine does not count there, and what is intersected can make it
/// look for an end among as many states as all parts have together.
const FIRST_FUEL: u64 = 1_000_000;
/// Longer tokens are never allowed: the trie's nodes count no further.
const MAX_PIECE: usize = 1000;

/// What an answer must be.
#[derive(Clone, Debug)]
pub enum Grammar {
    /// A JSON object, whatever is in it.
    Json,
    /// JSON by this schema. What cannot be held to by single tokens (`not`, `if`, `uniqueItems`, ...) is refused, and so are whole numbers
    /// beyond 2^53, which are others in floating point; bounds there mean none if only 64-bit integers know them. Formats that are
    /// not known are remarks, as the standard has it; `date-time`, `time`, `date`, `duration`, `email`, `hostname`, `ipv4`, `ipv6`,
    /// `uuid` and `uri` are held to.
    Schema(Value),
    /// Text that matches this regular expression as a whole, in the syntax of the crate `regex`.
    Regex(String),
    /// A grammar in llama.cpp's notation.
    Gbnf(String),
    /// A grammar in Lark's notation, as llguidance reads it: its terminals take what they can.
    Lark(String),
    /// A tool call, see [`calls`].
    Calls(Calls),
}

/// Tool calls: one JSON object `{"name": ..., "arguments": ...}` with these two keys, in this order and written just so. The name is
/// one of the `tools`, the arguments are by that tool's schema; without one (null) they are any object.
///
/// Schemas of tools are followed as far as they can be: keywords that a grammar cannot hold to are passed over, and so are whole schemas
/// that make it fail all the same ([`Constraint::loose`]). A schema that lists `properties` and is silent about others allows none.
/// `end` must follow the object: tokens often hold the last braces and the line's end together, and a model that was trained on these
/// would not know how to go on without them.
pub fn calls(tools: &[(String, Value)], name_key: &str, arguments_key: &str, end: &str) -> Grammar {
    Grammar::Calls(Calls {
        tools: tools.to_vec(),
        name_key: name_key.to_owned(),
        arguments_key: arguments_key.to_owned(),
        end: end.to_owned(),
    })
}

/// JSON by this schema, also where it is wrapped as OpenAI's `response_format` has it: people paste it from there.
pub fn by_schema(mut schema: Value) -> Grammar {
    if schema["type"] == "json_schema" && schema["json_schema"].is_object() {
        schema = schema["json_schema"].take();
    }
    // A schema that says no more than that would say nothing.
    let known = ["name", "description", "strict", "schema"];
    let is_wrapped = schema.as_object().is_some_and(|entries| {
        entries.get("name").is_some_and(Value::is_string)
            && entries.get("schema").is_some_and(Value::is_object)
            && entries.keys().all(|key| known.contains(&key.as_str()))
    });
    if is_wrapped {
        schema = schema["schema"].take();
    }
    Grammar::Schema(schema)
}

impl Grammar {
    /// What errors call it.
    fn field(&self) -> &'static str {
        match self {
            Grammar::Json | Grammar::Schema(_) => "json schema",
            Grammar::Regex(_) => "regex",
            Grammar::Gbnf(_) | Grammar::Lark(_) => "grammar",
            Grammar::Calls(_) => "tools",
        }
    }

    /// What the engine is to run, or what is wrong.
    fn compile(&self) -> std::result::Result<TopLevelGrammar, String> {
        let within = |source: &str| match source.len() {
            0 => Err("it is empty".to_owned()),
            n if n > MAX_SOURCE => Err(format!(
                "it has {n} bytes, more than the {MAX_SOURCE} that are allowed"
            )),
            _ => Ok(()),
        };
        Ok(match self {
            Grammar::Json => TopLevelGrammar::from_json_schema(schema::any_object()),
            Grammar::Schema(schema) => TopLevelGrammar::from_json_schema(schema::prepare(schema)?),
            Grammar::Calls(calls) if calls.end.is_empty() => {
                TopLevelGrammar::from_json_schema(calls.prepare()?)
            }
            Grammar::Calls(calls) => {
                let (call, end) = (calls.prepare()?, Value::from(calls.end.as_str()));
                TopLevelGrammar::from_lark(format!("start: call {end}\ncall: %json {call}\n"))
            }
            Grammar::Regex(pattern) => {
                within(pattern)?;
                TopLevelGrammar::from_regex(regular(pattern)?)
            }
            Grammar::Gbnf(source) => {
                within(source)?;
                TopLevelGrammar::from_lark(gbnf::to_lark(source)?)
            }
            Grammar::Lark(source) => {
                within(source)?;
                lark::check(source)?;
                TopLevelGrammar::from_lark(source.clone())
            }
        })
    }
}

/// A pattern without the anchors that say it is the whole text: it always is, and the engine knows no anchors.
fn regular(pattern: &str) -> std::result::Result<&str, String> {
    let column = |at: usize| pattern[..at].chars().count() + 1;
    let start = pattern.len() - pattern.strip_prefix('^').unwrap_or(pattern).len();
    let inner = &pattern[start..];
    let inner = match inner.strip_suffix('$') {
        // An even number of backslashes before it are pairs.
        Some(inner) if inner.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 0 => inner,
        _ => inner,
    };
    let parsed = Patterns::default().read(inner);
    let parsed = parsed.map_err(|(at, why)| format!("column {}: {why}", column(start + at)))?;
    let properties = parsed.properties();
    if !properties.look_set().is_empty() {
        return Err(
            "anchors and word boundaries within it are not supported: the whole text must match"
                .to_owned(),
        );
    }
    match properties.minimum_len() {
        None => Err("nothing satisfies it".to_owned()),
        Some(length) if length > MAX_LENGTH => Err(too_long(length)),
        Some(_) => Ok(inner),
    }
}

fn too_long(length: usize) -> String {
    format!(
        "it asks for {length} characters at least, more than the {MAX_LENGTH} that can be asked for"
    )
}

/// The vocabulary as grammars need it: a trie of the tokens' bytes, with what depends on no grammar. Built once for a model, cheap
/// to clone.
#[derive(Clone)]
pub struct Vocabulary(Arc<Tokens>);

struct Tokens {
    factory: ParserFactory,
    n_vocab: usize,
    /// A bit for each token that is text: the others are never allowed, whatever a grammar says.
    texts: Vec<u32>,
    /// The tokens that end an answer, ascending.
    ends: Vec<u32>,
    /// The last tools whose schemas made a grammar fail: each reply of a chat, and each call in it, begins with the same ones.
    held: Mutex<Option<Arc<Held>>>,
}

/// Tools of which some cannot be held to their schemas.
struct Held {
    asked: Calls,
    /// What can be: the schemas of the others are null.
    held: Calls,
    loose: Vec<(String, String)>,
}

/// The tokenizer as the engine asks it.
struct Environment {
    tokenizer: Tokenizer,
    trie: TokTrie,
    /// Whether there is a token for every byte that text has: what must come can then be encoded.
    canonical: bool,
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        let encode = |text: &str| match self.tokenizer.encode_on(text) {
            // Some tokens stand for other bytes than those they were made from.
            Ok(ids) if self.trie.decode_raw(&ids) == text.as_bytes() => ids,
            _ => self.trie.greedy_tokenize(text.as_bytes()),
        };
        self.trie.tokenize_with_greedy_fallback(bytes, encode)
    }

    fn tokenize_is_canonical(&self) -> bool {
        self.canonical
    }
}

impl Vocabulary {
    /// Builds the trie of a vocabulary.
    ///
    /// # Errors
    /// If no token ends an answer, or the vocabulary is too large.
    pub fn new(tokenizer: &Tokenizer) -> Result<Vocabulary> {
        let built = apart("vocabulary", || {
            llguidance::panic_utils::catch_unwind(|| Ok(Tokens::new(tokenizer)))
        })?;
        match built {
            Some(Ok(tokens)) => Ok(Vocabulary(Arc::new(tokens?))),
            Some(Err(_)) | None => Err(Error::Tokenizer(
                "the vocabulary is too large for grammars".to_owned(),
            )),
        }
    }
}

impl Tokens {
    fn held(&self) -> MutexGuard<'_, Option<Arc<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new(tokenizer: &Tokenizer) -> Result<Tokens> {
        let n_vocab = tokenizer.n_vocab();
        let ends = tokenizer.eog_ids().to_vec();
        let Some(&end) = ends.first() else {
            return Err(Error::Tokenizer(
                "no token ends an answer: no grammar can be followed".to_owned(),
            ));
        };
        let mut texts = vec![0u32; n_vocab.div_ceil(32)];
        let mut single = [false; 256];
        let words: Vec<Vec<u8>> = (0..n_vocab as u32)
            .map(|id| {
                let piece = tokenizer.piece(id);
                let is_end = tokenizer.is_eog(id);
                // `<think>`, `<tool_call>`: text to the tokenizer, but what comes after it in a string would be no string to the model.
                let is_tag = piece.len() > 2 && piece.starts_with(b"<") && piece.ends_with(b">");
                let is_text = match tokenizer.kind(id) {
                    Some(TokenKind::Normal | TokenKind::Byte) => true,
                    Some(TokenKind::UserDefined) => !is_tag,
                    _ => false,
                } && piece.len() <= MAX_PIECE
                    // The byte that marks control tokens; no text has it.
                    && !piece.contains(&TokTrie::SPECIAL_TOKEN_MARKER);
                if is_text && !is_end && !piece.is_empty() {
                    texts[id as usize / 32] |= 1 << (id % 32);
                }
                if is_end || tokenizer.is_control(id) {
                    let name = &piece[..piece.len().min(MAX_PIECE)];
                    [&[TokTrie::SPECIAL_TOKEN_MARKER], name].concat()
                } else if is_text {
                    if let [byte] = piece {
                        single[usize::from(*byte)] = true;
                    }
                    piece.to_vec()
                } else {
                    Vec::new()
                }
            })
            .collect();
        let trie =
            TokTrie::from(&TokRxInfo::new(n_vocab as u32, end), &words).with_eos_tokens(&ends);
        // The bytes that UTF-8 never has.
        let canonical = (0..=255u8)
            .filter(|byte| !matches!(byte, 0xc0 | 0xc1 | 0xf5..))
            .all(|byte| single[usize::from(byte)]);
        let environment: TokEnv = Arc::new(Environment {
            tokenizer: tokenizer.clone(),
            trie,
            canonical,
        });
        let mut factory = ParserFactory::new(
            &environment,
            InferenceCapabilities::default(),
            &SlicedBiasComputer::json_slices(),
        )
        .map_err(|error| Error::Tokenizer(format!("no trie for grammars: {error}")))?;
        factory.quiet();
        *factory.limits_mut() = ParserLimits {
            // The worst steps then take some 20 ms, and all states some 50 MB.
            max_lexer_states: 30_000,
            max_grammar_size: 200_000,
            // Some for each property that may come next.
            max_items_in_row: 20_000,
            // Grammars of characters, as GBNF may be, make an item for each character of each token.
            step_max_items: 400_000,
            verbose_errors: false,
            ..ParserLimits::default()
        };
        Ok(Tokens {
            factory,
            n_vocab,
            texts,
            ends,
            held: Mutex::new(None),
        })
    }
}

/// A grammar at work on one answer.
pub struct Constraint {
    tokens: Arc<Tokens>,
    field: &'static str,
    matcher: Matcher,
    /// Whether places in errors are in what the caller wrote.
    places: bool,
    loose: Vec<(String, String)>,
    /// What may come next, if `known`.
    mask: Vec<u32>,
    known: bool,
    /// Whether a token that ends the answer was accepted.
    ended: bool,
}

impl Constraint {
    /// Sets a grammar to work at the beginning of an answer.
    ///
    /// # Errors
    /// If the grammar is not sound, too large, or allows no answer.
    pub fn new(vocabulary: &Vocabulary, grammar: &Grammar) -> Result<Constraint> {
        let tokens = &vocabulary.0;
        let field = grammar.field();
        let built = apart("grammar", || match grammar {
            Grammar::Calls(calls) => Constraint::of_calls(tokens, calls),
            _ => Constraint::of(tokens, grammar),
        })?;
        let built = built.unwrap_or_else(|| Err(FAILED.to_owned()));
        built.map_err(|why| Error::Request { field, why })
    }

    /// The tools of which no schema is held, and why: their arguments are any object.
    pub fn loose(&self) -> &[(String, String)] {
        &self.loose
    }

    /// Of tool calls. Where schemas make a grammar fail, which do is found out one by one, and kept in mind.
    fn of_calls(tokens: &Arc<Tokens>, calls: &Calls) -> std::result::Result<Constraint, String> {
        let of = |calls: &Calls| Constraint::of(tokens, &Grammar::Calls(calls.clone()));
        let known = tokens.held().clone();
        if let Some(known) = known.filter(|known| known.asked == *calls) {
            let mut built = of(&known.held)?;
            built.loose = known.loose.clone();
            return Ok(built);
        }
        if let Ok(built) = of(calls) {
            return Ok(built);
        }
        let mut held = calls.clone();
        let mut loose = Vec::new();
        for (i, (name, _)) in calls.tools.iter().enumerate() {
            if let Err(why) = of(&calls.only(i)) {
                held.tools[i].1 = Value::Null;
                loose.push((name.clone(), why));
            }
        }
        let mut built = of(&held);
        if let Err(why) = &built {
            // Together they are too much.
            let free = |(name, _): &(String, Value)| (name.clone(), Value::Null);
            let told = |(name, _): &(String, Value)| (name.clone(), why.clone());
            loose = calls.tools.iter().map(told).collect();
            held.tools = calls.tools.iter().map(free).collect();
            built = of(&held);
        }
        let mut built = built?;
        built.loose = loose.clone();
        let asked = calls.clone();
        *tokens.held() = Some(Arc::new(Held { asked, held, loose }));
        Ok(built)
    }

    /// Of a grammar as it is.
    fn of(tokens: &Arc<Tokens>, grammar: &Grammar) -> std::result::Result<Constraint, String> {
        let built = llguidance::panic_utils::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Ok(Constraint::build(tokens, grammar))
        }));
        built.unwrap_or_else(|_| Err(FAILED.to_owned()))
    }

    fn build(tokens: &Arc<Tokens>, grammar: &Grammar) -> std::result::Result<Constraint, String> {
        let places = matches!(grammar, Grammar::Lark(_));
        let limits = tokens.factory.limits();
        let environment = tokens.factory.tok_env().clone();
        let read = GrammarInit::Serialized(grammar.compile()?);
        let read = read.to_internal(Some(environment), limits.clone());
        let (rules, lexemes) = read.map_err(|error| explain(&causes(error.chain()), places))?;
        let first = lexemes.to_regex_vec(&mut limits.clone());
        let mut first = first.map_err(|error| explain(&causes(error.chain()), places))?;
        first.set_fuel(FIRST_FUEL);
        let start = first.initial_state(&lexemes.all_lexemes());
        for byte in 0..=u8::MAX {
            first.transition(start, byte);
        }
        if first.has_error() {
            return Err(TOO_LARGE.to_owned());
        }
        let read = GrammarInit::Internal(rules, lexemes);
        let parser = tokens.factory.create_parser_from_init_default(read);
        let parser = parser.map_err(|error| explain(&causes(error.chain()), places))?;
        let mut constraint = Constraint {
            tokens: Arc::clone(tokens),
            field: grammar.field(),
            matcher: Matcher::new(Ok(parser)),
            places,
            loose: Vec::new(),
            mask: Vec::new(),
            known: false,
            ended: false,
        };
        // The first step tells what allows nothing, and what takes too much.
        match constraint.compute() {
            Ok(()) if constraint.mask.iter().all(|&bits| bits == 0) => {
                Err("nothing satisfies it".to_owned())
            }
            Ok(()) => Ok(constraint),
            Err(why) if why == NO_TOKEN => {
                Err("nothing satisfies it that the vocabulary can write".to_owned())
            }
            Err(why) => Err(why),
        }
    }

    /// One bit for each token that may come next: bit `id % 32` of the word `id / 32`. Tokens that end an answer are among them
    /// exactly where it may end. Where only one text can follow, so can only the tokens that the tokenizer writes it with.
    ///
    /// # Errors
    /// If the grammar has become too complex, or the vocabulary cannot write what must follow.
    pub fn allowed(&mut self) -> Result<&[u32]> {
        if !self.known {
            self.compute().map_err(|why| self.broken(why))?;
        }
        Ok(&self.mask)
    }

    /// Computes `mask`.
    fn compute(&mut self) -> std::result::Result<(), String> {
        let words = self.tokens.n_vocab.div_ceil(32);
        self.mask.clear();
        if !self.ended && !self.matcher.is_stopped() {
            let found = self.matcher.compute_mask();
            let found = found.map_err(|error| explain(&[error.to_string()], self.places))?;
            let both = found.as_slice().iter().zip(&self.tokens.texts);
            self.mask.extend(both.map(|(found, texts)| found & texts));
        }
        self.mask.resize(words, 0);
        if self.is_complete() {
            for &id in &self.tokens.ends {
                self.mask[id as usize / 32] |= 1 << (id % 32);
            }
        }
        self.known = true;
        Ok(())
    }

    /// The tokens that must come next as far as that is certain, by the tokenizer's own spelling. May be empty, and never holds a token
    /// that ends the answer.
    pub fn certain(&mut self) -> Vec<u32> {
        if self.is_over() {
            return Vec::new();
        }
        let texts = &self.tokens.texts;
        let is_text = |id: &u32| {
            let bits = texts.get(*id as usize / 32).copied().unwrap_or(0);
            bits >> (id % 32) & 1 == 1
        };
        let mut certain = self.matcher.compute_ff_tokens();
        let text = certain.iter().take_while(|id| is_text(id)).count();
        certain.truncate(text);
        certain
    }

    /// Takes note of a token of the answer.
    ///
    /// # Errors
    /// If it may not come next; nothing has changed then.
    pub fn accept(&mut self, id: u32) -> Result<()> {
        if self.tokens.ends.binary_search(&id).is_ok() {
            if !self.is_complete() {
                return Err(self.broken(format!("token {id} ends an answer that is not complete")));
            }
            self.ended = true;
            self.known = false;
            return Ok(());
        }
        let taken = !self.ended
            && match self.matcher.try_consume_tokens(&[id]) {
                Ok(taken) => taken == 1,
                Err(error) => {
                    let why = explain(&[error.to_string()], self.places);
                    return Err(self.broken(why));
                }
            };
        if !taken {
            return Err(self.broken(format!("token {id} may not come next")));
        }
        self.known = false;
        Ok(())
    }

    /// Whether the text so far is a whole answer.
    pub fn is_complete(&mut self) -> bool {
        if self.ended {
            return true;
        }
        if self.matcher.is_stopped() {
            return self.matcher.stop_reason().is_ok();
        }
        self.matcher.is_accepting().unwrap_or(false)
    }

    /// Whether nothing but the end can follow.
    pub fn is_over(&mut self) -> bool {
        if self.ended || self.matcher.is_stopped() {
            return self.is_complete();
        }
        if !self.is_complete() || self.allowed().is_err() {
            return false;
        }
        // Bits of ends can only be counted: the mask has no others if there are no more.
        let bits: u32 = self.mask.iter().map(|bits| bits.count_ones()).sum();
        bits as usize == self.tokens.ends.len()
    }

    fn broken(&self, why: String) -> Error {
        let field = self.field;
        Error::Request { field, why }
    }
}

/// Why a step has nothing that is allowed.
const NO_TOKEN: &str = "the vocabulary has no token for what must follow";

/// What is said where the engine panicked.
const FAILED: &str = "it made the grammar engine fail: simplify it";

/// What is said where the lexer has too much to do.
const TOO_LARGE: &str = "its regular expressions are too large";

/// What the engine says, and what we say.
const WORDS: [(&str, &str); 12] = [
    (
        "oneOf constraints",
        "oneOf whose options are not told apart by a type or a constant is not supported: use anyOf",
    ),
    ("lexer configuration (grammar) too big", TOO_LARGE),
    ("lexer precomputation failed", TOO_LARGE),
    ("fuel exhausted", TOO_LARGE),
    (
        "Unable to determine if regex is empty",
        "a pattern, with its lengths and other patterns, is too large: simplify it",
    ),
    ("grammar size", "it is too large"),
    (
        "Current row has",
        "there are too many ways to go on: simplify it",
    ),
    ("NoExtensionBias", NO_TOKEN),
    ("no_extension_bias", NO_TOKEN),
    ("panic:", FAILED),
    ("lexer error:", TOO_LARGE),
    ("lexer error", "that is neither a name nor a literal"),
];

/// What the engine says went wrong, the outermost first.
fn causes<'a>(chain: impl Iterator<Item = &'a (dyn std::error::Error + 'static)>) -> Vec<String> {
    chain.map(|cause| cause.to_string()).collect()
}

/// The engine's errors in one line: place, if it is one that the caller knows, and cause, without its drawings.
fn explain(causes: &[String], places: bool) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in causes {
        // Errors of regular expressions draw the pattern first and end with the reason.
        let line = match cause.find("\nerror: ") {
            Some(at) => &cause[at + "\nerror: ".len()..],
            None => cause,
        };
        let line = line.lines().next().unwrap_or("").trim();
        let line: String = line.chars().take(300).collect();
        if !line.is_empty() && !parts.iter().any(|part| part.contains(&line)) {
            parts.push(line);
        }
    }
    let text = parts
        .join(": ")
        .replace("Unsatisfiable schema", "nothing satisfies it");
    let place = text.strip_prefix("at ").unwrap_or(&text).split_once("): ");
    let place = place.and_then(|(place, rest)| Some((place.split_once('(')?, rest)));
    let (place, text) = match place {
        Some(((line, column), rest))
            if format!("{line}{column}")
                .bytes()
                .all(|b| b.is_ascii_digit()) =>
        {
            let place = format!("line {line}, column {column}: ");
            (if places { place } else { String::new() }, rest)
        }
        _ => (String::new(), text.as_str()),
    };
    let within = text.strip_prefix("failed to compile JSON schema: ");
    let text = within.unwrap_or(text);
    let ours = WORDS.iter().find(|(theirs, _)| text.contains(theirs));
    place + ours.map_or(text, |(_, ours)| *ours)
}
