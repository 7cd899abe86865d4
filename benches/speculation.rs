//! What reading ahead gains and costs: `cargo bench --bench speculation -- MODEL.gguf [TOKENS] [ROUNDS] [DRAFT.gguf]`.
//!
//! Answers are replayed, so any weights will do: whatever the logits say, the tokens of a fixed text are chosen. That is what
//! a good model would do in the first case and nobody's doing in the second:
//!
//! * *repeat*: the prompt is a text of TOKENS tokens, the answer the same with three words changed;
//! * *fresh*: the prompt is that text, the answer its continuation, which repeats nothing but what prose repeats by chance.
//!
//! Plain and reading-ahead decoding take turns, and each line is one turn of both; in the first of a case nothing is known
//! yet about the machine. A draft model is timed in a third case, *draft*: *fresh* with the model drafting where it pays.

use smolq::Result;
use smolq::generate::{Outcome, Request, generate_ahead};
use smolq::model::{LoadOptions, Model, Session, SessionOptions};
use smolq::sample::SampleOptions;
use smolq::speculate::{DraftModel, SpeculateOptions, Speculator};
use smolq::tokenizer::{EncodeOptions, Tokenizer};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const TEXT: &str = include_str!("speculation.txt");
/// Words of the text and what they are changed to, one in each third.
const CHANGES: [(&str, &str); 3] = [
    ("grandmother", "godfather"),
    ("bicycle", "telescope"),
    ("tea", "soup"),
];

fn open(path: &str) -> Result<(Session, Tokenizer)> {
    let model = Arc::new(Model::load(Path::new(path), &LoadOptions::default())?);
    let tokenizer = Tokenizer::from_metadata(model.gguf().metadata(), false)?;
    let options = SessionOptions {
        n_ctx: 4096.min(model.config().n_ctx),
        ..SessionOptions::default()
    };
    Ok((Session::new(model, &options)?, tokenizer))
}

fn replay(
    session: &mut Session,
    speculator: &mut Speculator,
    tokenizer: &Tokenizer,
    prompt: &[u32],
    answer: &[u32],
) -> Result<Outcome> {
    let request = Request {
        prompt: prompt.to_vec(),
        n_predict: Some(answer.len()),
        ignore_eos: true,
        sample: SampleOptions {
            forced: answer.to_vec(),
            ..SampleOptions::default()
        },
        ..Request::default()
    };
    let cancel = AtomicBool::new(false);
    generate_ahead(
        session,
        speculator,
        tokenizer,
        &request,
        &cancel,
        &mut |_| Ok(()),
    )
}

fn bench(model: &str, tokens: usize, rounds: usize, draft: Option<&str>) -> Result<()> {
    let (mut session, tokenizer) = open(model)?;
    let encode = |text: &str| {
        let options = EncodeOptions {
            add_special: false,
            parse_special: false,
        };
        tokenizer.encode(text, options)
    };
    let text = encode(TEXT)?;
    let prompt = &text[..tokens.min(text.len() / 2)];
    let mut changed = tokenizer.decode(prompt, false);
    for (word, other) in CHANGES {
        changed = changed.replacen(word, other, 1);
    }
    let rest = &text[prompt.len()..];
    let fresh = &rest[..rest.len().min(prompt.len())];
    let mut cases = vec![
        ("repeat", encode(&changed)?, None),
        ("fresh", fresh.to_vec(), None),
    ];
    if let Some(draft) = draft {
        let (draft, own) = open(draft)?;
        let draft = DraftModel::new(draft, &own, &tokenizer)?;
        cases.push(("draft", fresh.to_vec(), Some(draft)));
    }
    println!(
        "{:<8} {:>7} {:>12} {:>12} {:>7} {:>7} {:>9} {:>9}",
        "case", "tokens", "plain tok/s", "ahead tok/s", "ratio", "passes", "drafted", "accepted"
    );
    for (name, answer, draft) in cases {
        let mut plain = Speculator::off();
        let mut ahead = Speculator::new(SpeculateOptions::default(), draft)?;
        for _ in 0..rounds {
            let replay = |session: &mut Session, speculator: &mut Speculator| {
                let outcome = replay(session, speculator, &tokenizer, prompt, &answer)?;
                let rate = (outcome.tokens - 1) as f64 / outcome.time.as_secs_f64();
                Ok::<_, smolq::Error>((rate, outcome.counts))
            };
            let (slow, _) = replay(&mut session, &mut plain)?;
            let (fast, counts) = replay(&mut session, &mut ahead)?;
            println!(
                "{name:<8} {:>7} {slow:>12.2} {fast:>12.2} {:>7.3} {:>7} {:>9} {:>9}",
                answer.len(),
                fast / slow,
                counts.passes,
                counts.drafted,
                counts.accepted
            );
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    // Cargo says --bench to benches.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let number =
        |i: usize, default: usize| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let Some(model) = args.first() else {
        eprintln!(
            "usage: cargo bench --bench speculation -- MODEL.gguf [TOKENS] [ROUNDS] [DRAFT.gguf]"
        );
        return ExitCode::from(2);
    };
    let draft = args.get(3).map(String::as_str);
    match bench(model, number(1, 400), number(2, 2), draft) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
