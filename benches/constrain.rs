//! What a constraint costs for each token: `cargo bench --bench constrain -- [GGUF]`.
//!
//! Prints the time to build the vocabulary's trie and to set a grammar to work, and of `allowed` the median, the 99th hundredth and the most over
//! random answers. Without a file, the vocabulary is the one of the model inside the program.

use serde_json::json;
use smolq::constrain::{Constraint, Grammar, Vocabulary};
use smolq::sample::{Random, SampleOptions, Sampler};
use smolq::tokenizer::Tokenizer;
use smolq_gguf::OpenOptions;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const JSON: &str = include_str!("../tests/data/grammars/json.gbnf");
const SUMS: &str = include_str!("../tests/data/grammars/sums.gbnf");

fn main() {
    let path = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let path = PathBuf::from(path.unwrap_or_else(|| "tiny".to_owned()));
    let gguf = smolq::embedded::open(&path, &OpenOptions::default()).expect("a model's file");
    let tokenizer = Tokenizer::from_metadata(gguf.metadata(), false).expect("a vocabulary");
    let start = Instant::now();
    let vocabulary = Vocabulary::new(&tokenizer).expect("a trie");
    println!(
        "{} tokens: trie in {:.1?}",
        tokenizer.n_vocab(),
        start.elapsed()
    );
    let person = json!({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "mail": {"type": "string", "format": "email"}, "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 5}}, "required": ["name", "age"]});
    let tree = json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"value": {"type": "string", "maxLength": 40},
        "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}, "required": ["value"], "additionalProperties": false}}});
    let code = json!({"type": "object", "properties": {"id": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}(-[a-z]{2,8})*$"}, "at": {"type": "string", "format": "date-time"}},
        "required": ["id", "at"], "additionalProperties": false});
    let grammars = [
        ("json", Grammar::Json),
        ("person", Grammar::Schema(person)),
        ("tree", Grammar::Schema(tree)),
        ("code, time", Grammar::Schema(code)),
        (
            "regex",
            Grammar::Regex(r"[A-Z][a-z]+( [a-z]+){3,20}\.".to_owned()),
        ),
        ("gbnf json", Grammar::Gbnf(JSON.to_owned())),
        ("gbnf sums", Grammar::Gbnf(SUMS.to_owned())),
    ];
    for (name, grammar) in grammars {
        let start = Instant::now();
        drop(Constraint::new(&vocabulary, &grammar).expect("a sound grammar"));
        let made = start.elapsed();
        let mut times = Vec::new();
        for seed in 0..20 {
            run(&tokenizer, &vocabulary, &grammar, seed, &mut times);
        }
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 100];
        println!(
            "{name:>10}: set up in {made:>8.1?}; allowed: median {:>8.1?}, p99 {:>8.1?}, most {:>8.1?} of {}",
            at(50),
            at(99),
            at(100),
            times.len(),
        );
    }
}

/// Times each step of a random answer of at most 100 tokens.
fn run(
    tokenizer: &Tokenizer,
    vocabulary: &Vocabulary,
    grammar: &Grammar,
    seed: u64,
    times: &mut Vec<Duration>,
) {
    let options = SampleOptions {
        temp: 1.0,
        seed: Some(seed),
        ..SampleOptions::default()
    };
    let n_vocab = tokenizer.n_vocab();
    let mut sampler = Sampler::new(&options, n_vocab).expect("valid options");
    let mut random = Random::from_seed(seed);
    let mut constraint = Constraint::new(vocabulary, grammar).expect("a sound grammar");
    for _ in 0..100 {
        let start = Instant::now();
        let allowed = constraint.allowed().expect("a step");
        times.push(start.elapsed());
        let logits: Vec<f32> = (0..n_vocab).map(|_| random.next_unit() as f32).collect();
        let id = sampler.sample_among(&logits, allowed).expect("a token");
        if tokenizer.is_eog(id) {
            break;
        }
        constraint.accept(id).expect("a token that is allowed");
    }
}
