//! The tokenizer against recorded cases, small vocabularies and hostile ones.

use std::path::{Path, PathBuf};
use std::time::Instant;

use proptest::prelude::*;
use smolq::tokenizer::{EncodeOptions, TokenKind, Tokenizer, Vocab};
use smolq_gguf::{Gguf, OpenOptions};

const TEXT: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: false,
};
const SPECIAL: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: true,
};
const WHOLE: EncodeOptions = EncodeOptions {
    add_special: true,
    parse_special: true,
};

fn load(path: &Path) -> Tokenizer {
    let gguf = Gguf::open(path, &OpenOptions::default()).unwrap();
    Tokenizer::from_metadata(gguf.metadata(), false).unwrap()
}

/// Where the recorded cases are, if they are.
fn fixtures() -> Option<PathBuf> {
    let path = std::env::var_os("SMOLQ_FIXTURES");
    if path.is_none() {
        println!("SMOLQ_FIXTURES is not set: skipped");
    }
    path.map(PathBuf::from)
}

const RECORDED: [&str; 4] = ["llama-spm", "llama-bpe", "gpt-2", "qwen2"];

#[test]
fn fixture_tokenizer_cases() {
    let Some(fixtures) = fixtures() else { return };
    for name in RECORDED {
        let path = fixtures.join(format!("tokenizers/ggml-vocab-{name}.gguf"));
        let tokenizer = load(&path);
        let read = |end: &str| std::fs::read_to_string(format!("{}{end}", path.display())).unwrap();
        let (inputs, outputs) = (read(".inp"), read(".out"));
        let mut inputs: Vec<&str> = inputs.split("\n__ggml_vocab_test__\n").collect();
        let outputs: Vec<&str> = outputs.lines().collect();
        // The last case is followed by a separator too.
        assert_eq!(inputs.pop(), Some(""));
        assert_eq!(inputs.len(), outputs.len(), "{name}");
        for (input, output) in inputs.iter().zip(&outputs) {
            let wanted: Vec<u32> = output
                .split_whitespace()
                .map(|id| id.parse().unwrap())
                .collect();
            let ids = tokenizer.encode(input, TEXT).unwrap();
            assert_eq!(ids, wanted, "{name}: {input:?}");
            assert_eq!(&tokenizer.decode_from_start(&ids, false), input, "{name}");
        }
        println!("{name}: {} cases", inputs.len());
    }
}

#[test]
fn fixture_story_prompt() {
    let Some(fixtures) = fixtures() else { return };
    let tokenizer = load(&fixtures.join("models/stories260K-f32.gguf"));
    let recorded =
        std::fs::read_to_string(fixtures.join("logits/stories260K-greedy.json")).unwrap();
    let recorded: serde_json::Value = serde_json::from_str(&recorded).unwrap();
    let case = &recorded["stories260K-f32"];
    let ids = |key: &str| -> Vec<u32> {
        case[key]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap() as u32)
            .collect()
    };
    let prompt = case["prompt"].as_str().unwrap();
    assert_eq!(
        tokenizer.encode(prompt, WHOLE).unwrap(),
        ids("prompt_tokens")
    );
    assert_eq!(
        tokenizer.decode(&ids("tokens"), false),
        case["text"].as_str().unwrap()
    );
}

/// Long runs of one kind of text, whose times are printed but not judged: machines differ and are shared.
#[test]
fn fixture_long_words_survive_a_round_trip() {
    let Some(fixtures) = fixtures() else { return };
    const LEN: usize = if cfg!(debug_assertions) {
        1 << 18
    } else {
        1 << 20
    };
    let mut state = 1u64;
    let random = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        char::from(b'a' + (state >> 59) as u8 % 26)
    });
    let texts = [
        ("random letters", random.take(LEN).collect::<String>()),
        ("a", "a".repeat(LEN)),
        ("spaces", " ".repeat(LEN)),
        ("line breaks", "\n".repeat(LEN)),
        ("digits", "7".repeat(LEN)),
        ("dots", ".".repeat(LEN)),
        ("Han", "中".repeat(LEN / 3)),
        ("emoji", "😀".repeat(LEN / 4)),
        (
            "words",
            "Once upon a time, there was a little girl. ".repeat(LEN / 43),
        ),
    ];
    for name in RECORDED {
        let start = Instant::now();
        let tokenizer = load(&fixtures.join(format!("tokenizers/ggml-vocab-{name}.gguf")));
        println!("{name}, loading: {:.2?}", start.elapsed());
        for (what, text) in &texts {
            let start = Instant::now();
            let ids = tokenizer.encode(text, WHOLE).unwrap();
            println!("{name}, {LEN} bytes of {what}: {:.2?}", start.elapsed());
            assert!(
                tokenizer.decode_from_start(&ids, false) == *text,
                "{name}, {what}"
            );
        }
    }
}

/// A small vocabulary, for tests to change.
#[derive(Clone, Debug)]
struct Small {
    model: &'static str,
    pre: Option<String>,
    name: &'static str,
    tokens: Vec<Vec<u8>>,
    scores: Option<Vec<f32>>,
    types: Option<Vec<i32>>,
    merges: Option<Vec<Vec<u8>>>,
    ids: [Option<u32>; 3],
    add_bos: Option<bool>,
    add_eos: Option<bool>,
    add_space_prefix: Option<bool>,
}

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

impl Small {
    /// Byte-level BPE: the 256 letters, then what `merges` make, then special tokens.
    fn bpe(merges: &[&str]) -> Self {
        let mut next = 0x100..;
        let letters = (0..=255u8).map(|byte| match byte {
            0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
            _ => char::from_u32(next.next().unwrap()).unwrap(),
        });
        let mut small = Self {
            model: "gpt2",
            pre: Some("gpt-2".into()),
            name: "",
            tokens: letters
                .map(|letter| letter.to_string().into_bytes())
                .collect(),
            scores: None,
            types: None,
            merges: Some(
                merges
                    .iter()
                    .map(|merge| merge.as_bytes().to_vec())
                    .collect(),
            ),
            ids: [None; 3],
            add_bos: None,
            add_eos: None,
            add_space_prefix: None,
        };
        let joined = merges
            .iter()
            .map(|merge| merge.replacen(' ', "", 1).into_bytes());
        small.tokens.extend(joined);
        small.types = Some(vec![NORMAL; small.tokens.len()]);
        small
    }

    /// SentencePiece-style: `<unk>`, `<s>`, `</s>`, the bytes, then `tokens` with their scores.
    fn spm(tokens: &[(&str, f32)]) -> Self {
        let mut small = Self {
            model: "llama",
            pre: None,
            tokens: ["<unk>", "<s>", "</s>"]
                .map(|token| token.as_bytes().to_vec())
                .to_vec(),
            types: Some(vec![UNKNOWN, CONTROL, CONTROL]),
            scores: Some(vec![0.0; 3]),
            merges: None,
            ..Self::bpe(&[])
        };
        for byte in 0..=255 {
            small.push(&format!("<0x{byte:02X}>"), BYTE);
        }
        for (token, score) in tokens {
            small.push(token, NORMAL);
            *small.scores.as_mut().unwrap().last_mut().unwrap() = *score;
        }
        small
    }

    fn push(&mut self, token: &str, kind: i32) -> u32 {
        self.tokens.push(token.into());
        self.types.as_mut().unwrap().push(kind);
        if let Some(scores) = &mut self.scores {
            scores.push(0.0);
        }
        self.tokens.len() as u32 - 1
    }

    fn build(&self, strict: bool) -> smolq::Result<Tokenizer> {
        let vocab = Vocab {
            model: self.model,
            pre: self.pre.as_deref(),
            name: Some(self.name),
            tokens: self.tokens.iter().map(Vec::as_slice).collect(),
            scores: self.scores.clone(),
            types: self.types.clone(),
            merges: self
                .merges
                .as_ref()
                .map(|all| all.iter().map(Vec::as_slice).collect()),
            bos: self.ids[0],
            eos: self.ids[1],
            unk: self.ids[2],
            add_bos: self.add_bos,
            add_eos: self.add_eos,
            add_space_prefix: self.add_space_prefix,
            ..Vocab::default()
        };
        Tokenizer::new(&vocab, strict)
    }

    fn tokenizer(&self) -> Tokenizer {
        let tokenizer = self.build(true).unwrap();
        assert!(tokenizer.warnings().is_empty());
        tokenizer
    }
}

/// The pieces that a text becomes.
fn pieces(tokenizer: &Tokenizer, text: &str, options: EncodeOptions) -> Vec<String> {
    let ids = tokenizer.encode(text, options).unwrap();
    ids.iter()
        .map(|&id| String::from_utf8_lossy(tokenizer.piece(id)).into_owned())
        .collect()
}

#[test]
fn merges_join_the_first_in_the_table() {
    let small = Small::bpe(&["b c", "a b", "l o", "lo w", "Ġ low", "e r"]);
    let tokenizer = small.tokenizer();
    assert_eq!(
        pieces(&tokenizer, "abc low lower", TEXT),
        ["a", "bc", " low", " low", "er"]
    );
    assert_eq!(pieces(&tokenizer, "é", TEXT).len(), 2);
    assert!(tokenizer.encode("", WHOLE).unwrap().is_empty());
    assert_eq!(
        tokenizer.token_id("Ġlow"),
        tokenizer.encode(" low", TEXT).unwrap().first().copied()
    );
    assert_eq!(tokenizer.n_vocab(), 262);
    assert_eq!(tokenizer.piece(262), b"");
}

#[test]
fn whole_words_only_where_the_rule_says_so() {
    // "abc" is a token that no merge makes.
    let mut small = Small::bpe(&["b c"]);
    small.push("abc", NORMAL);
    let bos = small.push("<|begin|>", CONTROL);
    small.ids[0] = Some(bos);
    for (pre, wanted, adds_bos) in [
        ("llama-bpe", vec!["abc"], true),
        ("smaug-bpe", vec!["a", "bc"], false),
        ("qwen2", vec!["a", "bc"], false),
        ("tekken", vec!["abc"], true),
    ] {
        small.pre = Some(pre.into());
        small.add_bos = None;
        let tokenizer = small.tokenizer();
        assert_eq!(pieces(&tokenizer, "abc", TEXT), wanted, "{pre}");
        assert_eq!(tokenizer.add_bos(), adds_bos, "{pre}");
        small.add_bos = Some(!adds_bos);
        assert_eq!(small.tokenizer().add_bos(), !adds_bos, "{pre}");
    }
}

#[test]
fn scores_join_the_best_and_of_equal_ones_the_leftmost() {
    let small = Small::spm(&[
        ("\u{2581}", -1.0),
        ("a", -1.0),
        ("b", -1.0),
        ("ab", -3.0),
        ("bb", -2.0),
        ("aa", -5.0),
        ("\u{2581}a", -9.0),
    ]);
    let tokenizer = small.tokenizer();
    assert_eq!(pieces(&tokenizer, "abb", TEXT), [" a", "bb"]);
    assert_eq!(pieces(&tokenizer, "bab", TEXT), [" ", "b", "ab"]);
    assert_eq!(pieces(&tokenizer, "baaa", TEXT), [" ", "b", "aa", "a"]);
    // What is no token is bytes; what looks like a control token is text.
    assert_eq!(
        tokenizer.encode("é", TEXT).unwrap()[1..],
        [3 + 0xC3, 3 + 0xA9]
    );
    assert!(!tokenizer.encode("<s>", TEXT).unwrap().contains(&1));
    assert_eq!(tokenizer.encode("a", WHOLE).unwrap(), [1, 265]);
    assert_eq!(
        tokenizer.encode("<s>a</s>a", WHOLE).unwrap(),
        [1, 1, 265, 2, 265]
    );
    assert_eq!(tokenizer.encode("", WHOLE).unwrap(), [1]);
    assert_eq!(tokenizer.decode(&[1, 265], false), " a");
    assert_eq!(tokenizer.decode_from_start(&[1, 265], false), "a");
    assert_eq!(tokenizer.decode_from_start(&[1, 265], true), "<s>a");
}

#[test]
fn special_tokens_are_found_longest_first() {
    let mut small = Small::bpe(&[]);
    let end = small.push("<|im_end|>", CONTROL);
    let xab = small.push("xab", USER_DEFINED);
    let abcd = small.push("abcd", USER_DEFINED);
    let tokenizer = small.tokenizer();
    assert_eq!(
        tokenizer.encode("xabcd", TEXT).unwrap(),
        [u32::from(b'x'), abcd]
    );
    assert_eq!(
        tokenizer.encode("xabxabcd", TEXT).unwrap(),
        [xab, u32::from(b'x'), abcd]
    );
    assert_eq!(tokenizer.encode("<|im_end|>", TEXT).unwrap().len(), 10);
    assert_eq!(
        tokenizer.encode("xab<|im_end|>xab", SPECIAL).unwrap(),
        [xab, end, xab]
    );
    assert_eq!(tokenizer.decode(&[xab, end, abcd], false), "xababcd");
    assert_eq!(
        tokenizer.decode(&[xab, end, abcd], true),
        "xab<|im_end|>abcd"
    );
    assert!(tokenizer.is_control(end) && !tokenizer.is_control(xab));
    assert_eq!(tokenizer.kind(xab), Some(TokenKind::UserDefined));
    assert_eq!(tokenizer.kind(9999), None);
}

#[test]
fn white_space_after_special_tokens_of_phi3_is_theirs() {
    let mut small = Small::spm(&[("\u{2581}", -1.0), ("a", -1.0)]);
    let end = small.push("<|end|>", CONTROL);
    for (name, wanted) in [
        ("Phi-3 mini", vec![end, 259, 260]),
        ("other", vec![end, 259, 3 + 0x0A, 260]),
    ] {
        small.name = name;
        assert_eq!(
            small.tokenizer().encode("<|end|>\na", SPECIAL).unwrap(),
            wanted,
            "{name}"
        );
    }
}

#[test]
fn answers_end_at_named_and_at_known_tokens() {
    let mut small = Small::bpe(&["< /", "</ s", "</s >"]);
    let ends: Vec<u32> = [
        "<|im_end|>",
        "<|end_of_text|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|endoftext|>",
        "<end_of_turn>",
    ]
    .map(|text| small.push(text, CONTROL))
    .to_vec();
    let named = small.push("STOP", CONTROL);
    let other = small.push("<|im_start|>", CONTROL);
    small.ids[1] = Some(named);
    let tokenizer = small.tokenizer();
    assert!(ends.iter().chain([&named]).all(|&id| tokenizer.is_eog(id)));
    assert!(!tokenizer.is_eog(other) && !tokenizer.is_eog(9999));
    // In this vocabulary it is text, made by merging.
    assert!(!tokenizer.is_eog(tokenizer.token_id("</s>").unwrap()));
    assert_eq!(tokenizer.eog_ids().len(), 7);

    // `<|...|>` is never text, whatever the file says; that it says so is worth a warning.
    small.types.as_mut().unwrap()[ends[0] as usize] = NORMAL;
    let tokenizer = small.build(false).unwrap();
    assert!(tokenizer.is_eog(ends[0]) && tokenizer.is_control(ends[0]));
    assert_eq!(tokenizer.warnings().len(), 1);
    assert!(small.build(true).is_err());
}

#[test]
fn unknown_split_rules_are_a_warning_or_an_error() {
    let mut small = Small::bpe(&[]);
    for pre in [None, Some("martian".to_owned())] {
        small.pre = pre;
        let warnings = small.build(false).unwrap().warnings().to_vec();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("tokenizer.ggml.pre"), "{warnings:?}");
        assert!(small.build(true).is_err());
    }
}

#[test]
fn hostile_vocabularies_get_an_error_or_a_meaning() {
    type Change = fn(&mut Small);
    // What is done to a good vocabulary, and a part of the error; or of the warning, after a '~'.
    let bpe: &[(Change, &str)] = &[
        (|small| small.model = "t5", "'t5' is not supported"),
        (|small| small.model = "", "'' is not supported"),
        (|small| small.tokens.clear(), "vocabulary is empty"),
        (
            |small| small.tokens[7] = b"a".to_vec(),
            "'a' is there twice, as 7 and as 97",
        ),
        (
            |small| small.merges = None,
            "'tokenizer.ggml.merges' is missing",
        ),
        (
            |small| small.types.as_mut().unwrap().truncate(9),
            "token_type: 9 values for 257 tokens",
        ),
        (
            |small| small.types = None,
            "~'tokenizer.ggml.token_type' is missing",
        ),
        (
            |small| small.types.as_mut().unwrap().push(1),
            "~258 values for 257 tokens",
        ),
        (
            |small| small.types.as_mut().unwrap()[5] = -7,
            "~the first is -7 of token 5",
        ),
        (
            |small| small.merges.as_mut().unwrap().push(b"ab".to_vec()),
            "~the first is 'ab'",
        ),
        (
            |small| small.merges.as_mut().unwrap().push(b"".to_vec()),
            "~1 of them, the first is ''",
        ),
        (
            |small| small.merges.as_mut().unwrap().push(b" ".to_vec()),
            "~1 of them, the first is ' '",
        ),
        (
            |small| small.merges.as_mut().unwrap().push(b"a \xFF".to_vec()),
            "~not two texts",
        ),
        (
            |small| small.merges.as_mut().unwrap().push(b"a zz".to_vec()),
            "~'zz' of 'a zz'",
        ),
        (
            |small| small.merges.as_mut().unwrap().push(b"a c".to_vec()),
            "~'ac' of 'a c'",
        ),
        (
            |small| small.merges.as_mut().unwrap().push(b"a b".to_vec()),
            "~given twice: 1 of them, the first is 'a b'",
        ),
        (
            |small| small.tokens[256] = Vec::new(),
            "~empty texts: 1 of them, the first is token 256",
        ),
        (
            |small| small.tokens[200] = b"\xFF\xFE".to_vec(),
            "~1 of the 256 bytes have no token",
        ),
        (
            |small| small.ids[0] = Some(257),
            "~bos_token_id: the id 257 is not one of the 257 tokens",
        ),
        (
            |small| small.ids[1] = Some(u32::MAX),
            "~eos_token_id: the id 4294967295 is not",
        ),
        (
            |small| small.add_bos = Some(true),
            "~add_bos_token: the file names no such token",
        ),
        (
            |small| small.types.as_mut().unwrap()[97] = BYTE,
            "~byte tokens not written as <0x0A>",
        ),
    ];
    let spm: &[(Change, &str)] = &[
        (
            |small| small.scores.as_mut().unwrap().truncate(9),
            "scores: 9 values for 261 tokens",
        ),
        (
            |small| small.scores = None,
            "~'tokenizer.ggml.scores' is missing",
        ),
        (
            |small| small.scores.as_mut().unwrap()[260] = f32::NAN,
            "~the first is of token 260",
        ),
        (
            |small| small.tokens[260] = b"<s>".to_vec(),
            "'<s>' is there twice, as 260 and as 1",
        ),
        (
            |small| small.tokens[3] = b"<0xZZ>".to_vec(),
            "~'<0xZZ>' (id 3)",
        ),
        (
            |small| small.tokens[3] = b"<0x-1>".to_vec(),
            "~'<0x-1>' (id 3)",
        ),
        (|small| small.tokens[260] = Vec::new(), "~empty texts"),
    ];
    for (good, changes) in [
        (Small::bpe(&["a b"]), bpe),
        (Small::spm(&[("\u{2581}", 0.0), ("ab", 1.0)]), spm),
    ] {
        good.tokenizer();
        for (change, wanted) in changes {
            let mut small = good.clone();
            change(&mut small);
            let strict = small.build(true).unwrap_err().to_string();
            assert!(!strict.contains('\n') && strict.len() < 300, "{strict}");
            match (small.build(false), wanted.strip_prefix('~')) {
                (Err(error), None) => {
                    assert!(error.to_string().contains(wanted), "{error}: {wanted}")
                }
                (Ok(tokenizer), Some(wanted)) => {
                    let warnings = tokenizer.warnings();
                    assert!(
                        warnings.iter().any(|warning| warning.contains(wanted)),
                        "{warnings:?}: {wanted}"
                    );
                    assert!(strict.starts_with("tokenizer: "), "{strict}");
                    // Text that cannot be written is an error, never left out.
                    if let Ok(ids) = tokenizer.encode("ab", TEXT) {
                        assert_eq!(tokenizer.decode_from_start(&ids, true), "ab", "{wanted}");
                    }
                }
                (built, _) => panic!(
                    "{wanted}: {:?}",
                    built.map(|tokenizer| tokenizer.warnings().to_vec())
                ),
            }
        }
    }
}

#[test]
fn bytes_without_a_token_are_the_unknown_token_or_an_error() {
    let mut small = Small::bpe(&["a b"]);
    small.tokens[usize::from(b'x')] = b"long".to_vec();
    let error = small
        .build(false)
        .unwrap()
        .encode("abxab", TEXT)
        .unwrap_err()
        .to_string();
    assert!(error.contains("0x78 of 'abxab'"), "{error}");
    small.ids[2] = Some(0);
    assert_eq!(
        small.tokenizer().encode("abxab", TEXT).unwrap(),
        [256, 0, 256]
    );
}

/// A vocabulary that can write every byte, of each model, with special tokens of every kind.
fn complete() -> Vec<Tokenizer> {
    let mut bpe = Small::bpe(&["a b", "Ġ a", "b b", "ab b", "Ġ Ġ", "Ċ Ċ", "Ã ©"]);
    let mut spm = Small::spm(&[
        ("\u{2581}", -1.0),
        ("\u{2581}\u{2581}", -2.0),
        ("a", -3.0),
        ("ab", -4.0),
        ("\u{2581}a", -5.0),
        ("éa", -6.0),
    ]);
    for small in [&mut bpe, &mut spm] {
        small.push("<|x|>", CONTROL);
        small.push("<u>", USER_DEFINED);
    }
    let mut all = vec![spm.tokenizer()];
    for pre in [
        "gpt-2",
        "llama3",
        "smollm",
        "default",
        "deepseek-llm",
        "tekken",
    ] {
        bpe.pre = Some(pre.into());
        bpe.ids[0] = Some(0);
        all.push(bpe.tokenizer());
    }
    spm.add_space_prefix = Some(false);
    all.push(spm.tokenizer());
    all
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab é\n<u>|x]{0,40}",
        "\\PC{0,20}",
        proptest::collection::vec(any::<char>(), 0..20).prop_map(String::from_iter),
    ]
}

proptest! {
    #[test]
    fn decoding_gives_the_text_back(text in texts()) {
        for tokenizer in complete() {
            let ids = tokenizer.encode(&text, TEXT).unwrap();
            prop_assert_eq!(&tokenizer.decode_from_start(&ids, false), &text);
            let mut stream = tokenizer.stream(false);
            let mut streamed = String::new();
            for &id in &ids {
                let new = stream.push(id);
                // Only a text that has it shows it.
                let replaced = char::REPLACEMENT_CHARACTER;
                prop_assert!(!new.contains(replaced) || text.contains(replaced));
                streamed.push_str(&new);
            }
            prop_assert_eq!(stream.finish(), "");
            prop_assert_eq!(streamed, tokenizer.decode(&ids, false));
        }
    }

    #[test]
    fn streams_are_what_decoding_is(ids in proptest::collection::vec(0u32..280, 0..40), special: bool) {
        for tokenizer in complete() {
            let mut stream = tokenizer.stream(special);
            let mut streamed: String = ids.iter().map(|&id| stream.push(id)).collect();
            streamed.push_str(&stream.finish());
            prop_assert_eq!(streamed, tokenizer.decode(&ids, special));
        }
    }

    #[test]
    fn no_vocabulary_makes_it_panic(
        spm: bool,
        tokens in proptest::collection::vec(prop_oneof![
            "[ab<>x|\u{2581}Ġ]{0,4}".prop_map(String::into_bytes),
            "<0x[0-9A-Z]{2}>".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..4),
        ], 0..40),
        merges in proptest::collection::vec("[abx ]{0,3} ?[abx ]{0,3}", 0..20),
        scores in proptest::option::of(proptest::collection::vec(any::<f32>(), 40)),
        types in proptest::option::of(proptest::collection::vec(-1..8, 40)),
        ids: [Option<u8>; 3],
        flags: [Option<bool>; 3],
        text in texts(),
    ) {
        let mut tokens = tokens;
        tokens.sort();
        tokens.dedup();
        let small = Small {
            model: if spm { "llama" } else { "gpt2" },
            tokens,
            scores,
            types,
            merges: Some(merges.into_iter().map(String::into_bytes).collect()),
            ids: ids.map(|id| id.map(u32::from)),
            add_bos: flags[0],
            add_eos: flags[1],
            add_space_prefix: flags[2],
            ..Small::bpe(&[])
        };
        let _ = small.build(true);
        if let Ok(tokenizer) = small.build(false) {
            for options in [TEXT, WHOLE] {
                if let Ok(ids) = tokenizer.encode(&text, options) {
                    prop_assert!(ids.iter().all(|&id| (id as usize) < tokenizer.n_vocab()));
                    tokenizer.decode_from_start(&ids, true);
                }
            }
        }
    }
}
