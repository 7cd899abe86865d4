//! The split rules: how a text falls into the words that are merged one by one.
//!
//! `tokenizer.ggml.pre` names a rule; [`RULES`] says what the name means. A rule is a list of passes. Each
//! pass is a regular expression applied to every piece the pass before it left: its matches become pieces,
//! and so does what lies between two matches.
//!
//! Nearly all expressions end in `\s+(?!\S)|\s+`: a run of white space leaves its last character to the word
//! that follows. Only that needs a look ahead, and a backtracking engine pays for it dearly: on a long run of
//! spaces it gives up with an error, which the `tokenizers` crate's own splitter takes for the end of the
//! text. So the tables hold the expressions as they are published, and [`Pass::compile`] takes the tail off:
//!
//! ```text
//! compile "...|\s+(?!\S)|\s+"  as  "...|\s+", which a linear-time engine can run
//! a match of that last branch which is not at the end of the piece and longer than one character
//!     gives its last character back
//! ```
//!
//! The last branch is recognised by what it matched: no other branch ends in white space, except those that
//! end in a line break; where a rule has such branches, they take every run that holds a line break, and what
//! is left for the last branch ends in something else.

use std::ops::Range;

use regex::Regex;

use crate::error::{Error, Result};

/// A split rule and what else follows from its name.
#[derive(Debug)]
pub(super) struct Rule {
    /// The values of `tokenizer.ggml.pre` that mean this rule.
    names: &'static [&'static str],
    /// The expressions, in the order in which they are applied.
    passes: &'static [&'static str],
    /// A word that is a token as a whole is that token, whatever the merges would make of it.
    pub(super) ignore_merges: bool,
    /// Whether a text starts with the BOS token if the file does not say.
    pub(super) add_bos: bool,
}

/// The English contractions, in either case.
macro_rules! contractions {
    () => {
        "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
    };
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";

const LLAMA3: &str = concat!(
    contractions!(),
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

const QWEN2: &str = concat!(
    contractions!(),
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Letters that have case, of the scripts that rule knows. By number: some of them look like others and are
/// replaced by them when text is normalized.
const DEEPSEEK_LETTERS: &str = concat!(
    r"\s?[",
    r"A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF}",
    r"\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}",
    r"\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}",
    r"\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}",
    r"\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}",
    r"\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}",
    r"\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}",
    r"\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}",
    r"\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}",
    r"\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}",
    r"\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}",
    r"\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}",
    r"\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}",
    r"\x{1E900}-\x{1E943}",
    "]+"
);

/// The rule of a vocabulary that names none.
pub(super) const DEFAULT: &str = "default";

/// Every rule known, each under all its names.
static RULES: &[Rule] = &[
    Rule::new(
        &[DEFAULT],
        &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    ),
    Rule::new(
        &[
            "llama3",
            "llama-v3",
            "llama-bpe",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
        &[LLAMA3],
    )
    .ignoring_merges()
    .adding_bos(),
    Rule::new(&["smaug-bpe", "dbrx", "glm4", "chatglm-bpe"], &[LLAMA3]),
    Rule::new(
        &[
            "qwen2",
            "deepseek-r1-qwen",
            "kormo",
            "f2llmv2",
            "megrez",
            "stablelm2",
            "hunyuan",
            "solar-open",
            "grok-2",
        ],
        &[QWEN2],
    ),
    Rule::new(
        &["qwen35"],
        &[concat!(
            contractions!(),
            r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )],
    ),
    Rule::new(
        &[
            "gpt-2",
            "phi-2",
            "jina-es",
            "jina-de",
            "gigachat",
            "jina-v2-es",
            "jina-v2-de",
            "jina-v1-en",
            "jina-v2-code",
            "roberta-bpe",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
            "exaone4",
        ],
        &[GPT2],
    ),
    Rule::new(
        &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
        &[r"\p{N}", GPT2],
    ),
    Rule::new(
        &["falcon"],
        &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    ),
    Rule::new(
        &["deepseek-llm"],
        &[
            "[\r\n]",
            DEEPSEEK_LETTERS,
            r"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+",
            r"\s+$",
            r"[\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+",
            r"\p{N}+",
        ],
    ),
    Rule::new(
        &["deepseek-coder"],
        &[
            "[\r\n]",
            r"\s?\p{L}+",
            r"\s?\p{P}+",
            r"[\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+",
            r"\p{N}",
        ],
    ),
    Rule::new(
        &["deepseek-v3", "hunyuan-dense", "hy_v4", "joyai-llm"],
        &[
            r"\p{N}{1,3}",
            r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+",
            concat!(
                r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
                r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            ),
        ],
    ),
    Rule::new(
        &["tekken"],
        &[concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]*[\p{L}&&[^A-Z]]+|[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]+[\p{L}&&[^A-Z]]*",
            r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )],
    )
    .ignoring_merges()
    .adding_bos(),
    Rule::new(
        &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
        &[concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]*[\p{L}&&[^A-Z]]+",
            contractions!(),
            r"?|[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]+[\p{L}&&[^A-Z]]*",
            contractions!(),
            r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )],
    ),
    Rule::new(
        &["bloom", "gpt3-finnish", "poro-chat"],
        &[r" ?[^(\s|.,!?…。，、।۔،)]+"],
    ),
    Rule::new(&["viking"], &[r" ?[^(\s|.,!?…。，、।۔،)]+", r"\p{N}"]),
    Rule::new(
        &["bailingmoe", "bailingmoe2", "llada-moe"],
        &[concat!(
            r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
        )],
    ),
    Rule::new(
        &["seed-coder"],
        &[concat!(
            contractions!(),
            r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
        )],
    ),
    Rule::new(
        &["exaone-moe"],
        &[concat!(
            contractions!(),
            r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?",
            r"|\s*[\r\n]|\s+(?!\S)|\s+"
        )],
    ),
    Rule::new(
        &["minicpm5"],
        &[
            r"\p{N}{1,3}",
            concat!(
                contractions!(),
                r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            ),
        ],
    )
    .ignoring_merges(),
    Rule::new(
        &["ufakzeka"],
        &[r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    ),
    Rule::new(&["laguna"], &[r"[^\n]+|[\n]+", QWEN2]),
    Rule::new(
        &["chameleon"],
        &[
            "<sentinel:[0-9]+>",
            "(?:IMGIMG)(?:A|B|C|D|E|F|G|H|I){1,4}Z",
            "[\\t\\n]|    |  ",
            r"\p{N}",
            r"[\p{P}!-/:-@\[-`{-~]",
            GPT2,
        ],
    )
    .adding_bos(),
];

impl Rule {
    const fn new(names: &'static [&'static str], passes: &'static [&'static str]) -> Self {
        Self {
            names,
            passes,
            ignore_merges: false,
            add_bos: false,
        }
    }

    const fn ignoring_merges(mut self) -> Self {
        self.ignore_merges = true;
        self
    }

    const fn adding_bos(mut self) -> Self {
        self.add_bos = true;
        self
    }

    /// The rule that a value of `tokenizer.ggml.pre` means.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.names.contains(&name))
    }
}

/// A rule made ready to split text.
#[derive(Debug)]
pub(super) struct PreTokenizer {
    passes: Vec<Pass>,
}

impl PreTokenizer {
    /// Compiles a rule's expressions.
    pub(super) fn new(rule: &Rule) -> Result<Self> {
        let passes = rule.passes.iter().map(|pattern| Pass::compile(pattern));
        Ok(Self {
            passes: passes.collect::<Result<_>>()?,
        })
    }

    /// The pieces of `text`, in order and without gaps.
    pub(super) fn split(&self, text: &str) -> Vec<Range<usize>> {
        let whole = 0..text.len();
        let mut pieces = vec![whole];
        for pass in &self.passes {
            let mut finer = Vec::with_capacity(pieces.len());
            for piece in pieces {
                pass.split(&text[piece.clone()], piece.start, &mut finer);
            }
            pieces = finer;
        }
        pieces
    }
}

/// What a match of a pass's last branch, a run of white space, does with its last character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    /// The expression has no such branch.
    None,
    /// It gives it back, whatever it is.
    Any,
    /// It gives it back unless it is a line break: the match is then another branch's.
    NoLineBreak,
}

#[derive(Debug)]
struct Pass {
    regex: Regex,
    tail: Tail,
}

impl Pass {
    fn compile(pattern: &str) -> Result<Self> {
        let head = pattern
            .strip_suffix(r"|\s+(?!\S)|\s+")
            .or_else(|| pattern.strip_suffix(r"|\s+(?!\S)"));
        let tail = match head {
            None => Tail::None,
            Some(head) if head.contains(r"|\s*[\r\n]") => Tail::NoLineBreak,
            Some(_) => Tail::Any,
        };
        let linear = head.map_or_else(|| pattern.to_owned(), |head| format!(r"{head}|\s+"));
        let regex = Regex::new(&linear)
            .map_err(|error| Error::Tokenizer(format!("split rule '{pattern}': {error}")))?;
        Ok(Self { regex, tail })
    }

    /// Appends the pieces of `text`, moved by `base`.
    fn split(&self, text: &str, base: usize, out: &mut Vec<Range<usize>>) {
        let mut done = 0;
        let mut at = 0;
        while let Some(found) = self.regex.find_at(text, at) {
            let end = self.end_of(text, found.range());
            if done < found.start() {
                out.push(base + done..base + found.start());
            }
            if end == found.start() {
                // No rule of the table matches the empty string; one that did must not stand still.
                done = end;
                match text[end..].chars().next() {
                    Some(skipped) => at = end + skipped.len_utf8(),
                    None => break,
                }
                continue;
            }
            out.push(base + found.start()..base + end);
            done = end;
            at = end;
        }
        if done < text.len() {
            out.push(base + done..base + text.len());
        }
    }

    /// Where a match ends once its last branch has given back what is not its own.
    fn end_of(&self, text: &str, found: Range<usize>) -> usize {
        if self.tail == Tail::None || found.end == text.len() {
            return found.end;
        }
        let Some(last) = text[found.clone()].chars().next_back() else {
            return found.end;
        };
        let anothers = self.tail == Tail::NoLineBreak && matches!(last, '\r' | '\n');
        let shorter = found.end - last.len_utf8();
        if !last.is_whitespace() || anothers || shorter == found.start {
            found.end
        } else {
            shorter
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The published expressions, applied as they stand by a backtracking engine.
    fn split_by_the_book(passes: &[fancy_regex::Regex], text: &str) -> Vec<Range<usize>> {
        let whole = 0..text.len();
        let mut pieces = vec![whole];
        for regex in passes {
            let mut finer = Vec::new();
            for piece in pieces {
                let mut done = piece.start;
                for found in regex.find_iter(&text[piece.clone()]) {
                    let found = found.unwrap();
                    let (start, end) = (piece.start + found.start(), piece.start + found.end());
                    if done < start {
                        finer.push(done..start);
                    }
                    finer.push(start..end);
                    done = end;
                }
                if done < piece.end {
                    finer.push(done..piece.end);
                }
            }
            pieces = finer;
        }
        pieces
    }

    #[test]
    fn every_name_means_one_rule() {
        let mut names: Vec<_> = RULES.iter().flat_map(|rule| rule.names).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(Rule::named("no-such-rule").is_none());
    }

    #[test]
    fn white_space_leaves_its_last_character_to_the_word() {
        let words = |name, text: &'static str| -> Vec<&str> {
            let split = PreTokenizer::new(Rule::named(name).unwrap()).unwrap();
            split.split(text).into_iter().map(|r| &text[r]).collect()
        };
        assert_eq!(words("gpt-2", "a   b"), ["a", "  ", " b"]);
        assert_eq!(words("gpt-2", "a\n\nb  "), ["a", "\n", "\n", "b", "  "]);
        assert_eq!(
            words("llama3", "a \n\n b 1234"),
            ["a", " \n\n", " b", " ", "123", "4"]
        );
        assert_eq!(words("smollm", " 12 don't"), [" ", "1", "2", " don", "'t"]);
    }

    /// Short texts of the characters the rules tell apart, line breaks and white space of every kind first.
    fn texts() -> impl Strategy<Value = String> {
        let characters = " \t\r\n\u{a0}\u{2003}\u{3000}aZbéßЖ中の한ก\u{301}\u{0e34}0９½Ⅷ'stvedl.,!?-_#$€<|>^`+=~…。「😀\u{200d}\0";
        let characters: Vec<char> = characters.chars().collect();
        proptest::collection::vec(proptest::sample::select(characters), 0..24)
            .prop_map(|characters| characters.into_iter().collect())
    }

    #[test]
    fn linear_split_is_the_published_split() {
        for rule in RULES {
            let split = PreTokenizer::new(rule).unwrap();
            let compile = |pattern: &&str| fancy_regex::Regex::new(pattern).unwrap();
            let book: Vec<_> = rule.passes.iter().map(compile).collect();
            let cases = ProptestConfig::with_cases(1000);
            proptest!(cases, |(text in texts())| {
                let pieces = split.split(&text);
                prop_assert_eq!(&pieces, &split_by_the_book(&book, &text), "{:?} {:?}", rule.names, text);
                let whole: String = pieces.into_iter().map(|piece| &text[piece]).collect();
                prop_assert_eq!(whole, text);
            });
        }
    }
}
