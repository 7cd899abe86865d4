//! Text to tokens and back: `cargo bench --bench tokenizer -- [FILTER]`.
//!
//! Two vocabularies: `tiny`, the 320 tokens of the models in `tests/data`, and `synthetic`, the 128,256 that `smolq synth`
//! makes up. Two texts, both made up from a seed so that figures of different days compare: `prose`, words and sentences,
//! and `code`, short names, numbers and indentation.

use criterion::{Criterion, Throughput};
use smolq::sample::Random;
use smolq::tokenizer::{EncodeOptions, Tokenizer};
use smolq::{catalogue, synth};
use smolq_gguf::{Gguf, OpenOptions};
use std::hint::black_box;
use std::path::Path;

/// Bytes of a text, at least.
const LENGTH: usize = 64 << 10;

/// A number below `n`.
fn below(random: &mut Random, n: usize) -> usize {
    (random.next_u64() % n as u64) as usize
}

/// A word of one to four syllables, the short ones more often.
fn word(random: &mut Random) -> String {
    const STARTS: [&str; 12] = ["b", "st", "l", "m", "th", "r", "s", "n", "tr", "w", "k", ""];
    const ENDS: [&str; 12] = [
        "a", "en", "er", "ing", "o", "ai", "ed", "i", "ur", "é", "ess", "al",
    ];
    let syllables = 1 + below(random, 4).min(below(random, 4));
    let syllable = |_| [STARTS[below(random, 12)], ENDS[below(random, 12)]].concat();
    (0..syllables).map(syllable).collect()
}

fn prose() -> String {
    let mut random = Random::from_seed(1);
    let mut text = String::new();
    while text.len() < LENGTH {
        let first = word(&mut random);
        let mut letters = first.chars();
        text.extend(letters.next().into_iter().flat_map(char::to_uppercase));
        text.push_str(letters.as_str());
        for _ in 0..4 + below(&mut random, 14) {
            text.push_str([" ", " ", " ", " ", " ", ", ", " - "][below(&mut random, 7)]);
            text.push_str(&word(&mut random));
        }
        text.push_str([". ", ". ", "? ", ".\n\n"][below(&mut random, 4)]);
    }
    text
}

fn code() -> String {
    let mut random = Random::from_seed(2);
    let mut text = String::new();
    while text.len() < LENGTH {
        text.push_str(&"    ".repeat(below(&mut random, 4)));
        let (name, call) = (word(&mut random), word(&mut random));
        let (start, end) = (below(&mut random, 10), below(&mut random, 100_000));
        text.push_str(&format!(
            "let {name} = {call}_{start}(&x[{start}..{end}])?;\n"
        ));
    }
    text
}

fn load(path: &Path) -> Tokenizer {
    let gguf = Gguf::open(path, &OpenOptions::default()).expect("a GGUF file");
    Tokenizer::from_metadata(gguf.metadata(), false).expect("a vocabulary")
}

/// The vocabulary of SmolLM3's size, in a model as small as can be.
fn synthetic() -> Tokenizer {
    let mut entry = catalogue::find("smollm3-3b").expect("in the catalogue");
    (entry.shape.n_layer, entry.shape.n_embd, entry.shape.n_ff) = (1, 32, 32);
    let path = std::env::temp_dir().join(format!("smolq-bench-{}.gguf", std::process::id()));
    synth::write(&entry, "Q8_0", 1, &path).expect("room for a small file");
    let tokenizer = load(&path);
    std::fs::remove_file(&path).expect("the file just written");
    tokenizer
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/smollm3-f16.gguf");
    let plain = EncodeOptions {
        add_special: false,
        parse_special: false,
    };
    for (vocabulary, tokenizer) in [("tiny", load(&tiny)), ("synthetic", synthetic())] {
        let mut group = c.benchmark_group(format!("tokenizer/{vocabulary}"));
        group.sample_size(20);
        for (name, text) in [("prose", prose()), ("code", code())] {
            let ids = tokenizer
                .encode(&text, plain)
                .expect("every byte is a token");
            assert_eq!(tokenizer.decode_from_start(&ids, false), text);
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(format!("encode/{name}"), |b| {
                b.iter(|| tokenizer.encode(black_box(&text), plain))
            });
            group.bench_function(format!("decode/{name}"), |b| {
                b.iter(|| tokenizer.decode(black_box(&ids), false))
            });
        }
        group.finish();
    }
}
