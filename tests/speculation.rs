//! Reading ahead never changes an answer: text, tokens, reason, cached tokens and seed are those of plain decoding, whatever
//! is drafted and wherever the answer ends. What drafting gains is counted in passes; time is the bench's business
//! (`benches/speculation.rs`).

use smolq::Error;
use smolq::generate::{
    Event, Guide, Next, Outcome, Request, StopReason, generate, generate_ahead, generate_guided,
};
use smolq::model::{LoadOptions, Model, RopeOptions, RopeScaling, Session, SessionOptions};
use smolq::sample::SampleOptions;
use smolq::speculate::{Counts, DraftModel, Mode, SpeculateOptions, Speculator};
use smolq::tokenizer::{EncodeOptions, Tokenizer};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A model of tests/data with its vocabulary.
struct Tiny {
    model: Arc<Model>,
    tokenizer: Tokenizer,
}

impl Tiny {
    fn load(name: &str) -> Tiny {
        Tiny::load_with(name, RopeOptions::default())
    }

    /// The same with its positions a little closer together: a model that often agrees with the other, not always.
    fn load_skewed(name: &str) -> Tiny {
        let rope = RopeOptions {
            scale: Some(1.02),
            scaling: Some(RopeScaling::Linear),
            ..RopeOptions::default()
        };
        Tiny::load_with(name, rope)
    }

    fn load_with(name: &str, rope: RopeOptions) -> Tiny {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/{name}.gguf"));
        let options = LoadOptions {
            rope,
            ..LoadOptions::default()
        };
        let model = Model::load(&file, &options).unwrap_or_else(|e| panic!("{e}"));
        let tokenizer = Tokenizer::from_metadata(model.gguf().metadata(), false).unwrap();
        Tiny {
            model: Arc::new(model),
            tokenizer,
        }
    }

    fn session(&self, n_ctx: usize) -> Session {
        let options = SessionOptions {
            n_ctx,
            threads: 1,
            ..SessionOptions::default()
        };
        Session::new(Arc::clone(&self.model), &options).unwrap()
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        let options = EncodeOptions {
            add_special: true,
            parse_special: true,
        };
        self.tokenizer.encode(text, options).unwrap()
    }

    fn drafting_with(&self, draft: &Tiny, options: SpeculateOptions) -> Speculator {
        let draft = DraftModel::new(draft.session(256), &draft.tokenizer, &self.tokenizer);
        Speculator::new(options, Some(draft.unwrap())).unwrap()
    }
}

/// All that a caller sees of an answer, but for times and counts.
#[derive(Debug, PartialEq)]
struct Answer {
    text: String,
    end: Result<(StopReason, usize, usize, u64), String>,
    /// What the session holds in the end.
    tokens: Vec<u32>,
}

/// What the caller does after so many pieces of text.
#[derive(Clone, Copy, Debug)]
enum Interrupt {
    Never,
    Cancel(usize),
    Fail(usize),
}

fn answer(
    tiny: &Tiny,
    session: &mut Session,
    speculator: Option<&mut Speculator>,
    request: &Request,
    interrupt: Interrupt,
) -> (Answer, Counts) {
    let (mut text, mut pieces) = (String::new(), 0);
    let cancel = AtomicBool::new(false);
    let mut on_event = |event: Event<'_>| {
        if let Event::Piece(piece) = event {
            text.push_str(piece);
            pieces += 1;
            match interrupt {
                Interrupt::Cancel(at) if at == pieces => cancel.store(true, Ordering::Relaxed),
                Interrupt::Fail(at) if at == pieces => {
                    return Err(Error::Resources("the reader has gone".to_owned()));
                }
                _ => {}
            }
        }
        Ok(())
    };
    let tokenizer = &tiny.tokenizer;
    let end: smolq::Result<Outcome> = match speculator {
        None => generate(session, tokenizer, request, &cancel, &mut on_event),
        Some(speculator) => generate_ahead(
            session,
            speculator,
            tokenizer,
            request,
            &cancel,
            &mut on_event,
        ),
    };
    let counts = end.as_ref().map(|o| o.counts).unwrap_or_default();
    let answer = Answer {
        text,
        end: end
            .map(|o| (o.reason, o.tokens, o.cached_tokens, o.seed))
            .map_err(|e| e.to_string()),
        tokens: session.tokens().to_vec(),
    };
    (answer, counts)
}

/// Asserts that a request is answered with drafts as without; gives the answer and what drafting did.
fn same(
    tiny: &Tiny,
    n_ctx: usize,
    speculator: &mut Speculator,
    request: &Request,
    interrupt: Interrupt,
) -> (Answer, Counts) {
    let (plain, counts) = answer(tiny, &mut tiny.session(n_ctx), None, request, interrupt);
    assert_eq!((counts.drafted, counts.accepted), (0, 0));
    let session = &mut tiny.session(n_ctx);
    let (ahead, counts) = answer(tiny, session, Some(speculator), request, interrupt);
    assert_eq!(ahead, plain, "{request:?} {interrupt:?}");
    assert!(counts.accepted <= counts.drafted);
    (ahead, counts)
}

fn ngram(mode: Mode, draft_max: usize) -> Speculator {
    let options = SpeculateOptions {
        ngram: mode,
        draft_max,
        ..SpeculateOptions::default()
    };
    Speculator::new(options, None).unwrap()
}

fn add(sum: &mut Counts, counts: Counts) {
    sum.passes += counts.passes;
    sum.drafted += counts.drafted;
    sum.accepted += counts.accepted;
}

const TEXT: &str = "The old boat carries 324 green apples to the other station; the old boat is red here. The old boat";

/// Samplers of all kinds: greedy, cool, hot, with penalties, with biases.
fn samplers() -> Vec<SampleOptions> {
    let plain = SampleOptions::default();
    let mut all = vec![SampleOptions {
        temp: 0.0,
        ..plain.clone()
    }];
    for seed in [1, 2, 3] {
        let seed = Some(seed);
        all.push(SampleOptions {
            temp: 0.2,
            seed,
            ..plain.clone()
        });
        all.push(SampleOptions {
            temp: 0.7,
            repeat_penalty: 1.1,
            frequency_penalty: 0.2,
            repeat_last_n: 20,
            seed,
            ..plain.clone()
        });
        all.push(SampleOptions {
            temp: 1.5,
            presence_penalty: -1.0,
            logit_bias: vec![(258, 8.0), (265, 8.0), (299, f32::NEG_INFINITY)],
            seed,
            ..plain.clone()
        });
    }
    all
}

#[test]
fn answers_are_those_of_plain_decoding_for_every_model_and_sampler() {
    for name in [
        "smollm3-f16",
        "smollm3-q8_0",
        "smollm3-q4_0",
        "llama-f16",
        "qwen2-f16",
        "qwen3-f16",
    ] {
        let tiny = Tiny::load(name);
        let mut sum = Counts::default();
        for sample in samplers() {
            for ignore_eos in [false, true] {
                let request = Request {
                    prompt: tiny.encode(TEXT),
                    n_predict: Some(48),
                    ignore_eos,
                    special: true,
                    sample: SampleOptions {
                        seed: Some(sample.seed.unwrap_or(9)),
                        ..sample.clone()
                    },
                    ..Request::default()
                };
                for mut speculator in [ngram(Mode::On, 7), ngram(Mode::Auto, 16)] {
                    let (_, counts) = same(&tiny, 256, &mut speculator, &request, Interrupt::Never);
                    add(&mut sum, counts);
                }
            }
        }
        assert!(sum.accepted > 50, "{name}: {sum:?}");
        assert!(sum.drafted > sum.accepted + 50, "{name}: {sum:?}");
    }
}

/// A request whose answer is the prompt's text again, with some tokens changed: `changes` of them, evenly.
fn repetition(tiny: &Tiny, changes: usize) -> (Vec<u32>, Request) {
    let text: Vec<u32> = tiny.encode(TEXT).into_iter().cycle().take(150).collect();
    let mut said = text.clone();
    for i in 0..changes {
        let at = (i + 1) * said.len() / (changes + 1);
        said[at] = (said[at] + 7) % 200;
    }
    let request = Request {
        prompt: text,
        n_predict: Some(said.len()),
        ignore_eos: true,
        sample: SampleOptions {
            forced: said.clone(),
            seed: Some(1),
            ..SampleOptions::default()
        },
        ..Request::default()
    };
    (said, request)
}

#[test]
fn a_repeated_text_takes_a_fraction_of_the_passes() {
    let tiny = Tiny::load("llama-f16");
    let (said, request) = repetition(&tiny, 3);
    let speculator = &mut ngram(Mode::On, 15);
    let (answer, counts) = same(&tiny, 512, speculator, &request, Interrupt::Never);
    assert_eq!(
        answer.tokens[request.prompt.len()..],
        said[..said.len() - 1]
    );
    assert!(counts.passes <= said.len() / 4, "{counts:?}");
    // Every token but the last is read: in a pass of its own, or as a draft.
    assert_eq!(counts.passes + counts.accepted, said.len() - 1);
}

#[test]
fn a_limit_inside_a_draft_ends_the_answer_there() {
    let tiny = Tiny::load("llama-f16");
    let (_, request) = repetition(&tiny, 1);
    for n in 0..40 {
        let request = Request {
            n_predict: Some(n),
            ..request.clone()
        };
        let speculator = &mut ngram(Mode::On, 16);
        let (answer, counts) = same(&tiny, 512, speculator, &request, Interrupt::Never);
        assert_eq!(answer.end, Ok((StopReason::Limit, n, 0, 1)));
        // No draft is read that the limit makes useless.
        assert!(
            counts.passes + counts.drafted <= n.saturating_sub(1),
            "{n}: {counts:?}"
        );
    }
}

#[test]
fn a_full_context_inside_a_draft_ends_the_answer_there() {
    let tiny = Tiny::load("qwen3-f16");
    let (_, request) = repetition(&tiny, 1);
    for room in 0..40 {
        let n_ctx = request.prompt.len() + room;
        let speculator = &mut ngram(Mode::On, 16);
        let (answer, _) = same(&tiny, n_ctx, speculator, &request, Interrupt::Never);
        assert_eq!(answer.end, Ok((StopReason::ContextFull, room + 1, 0, 1)));
        assert_eq!(answer.tokens.len(), n_ctx);
    }
}

#[test]
fn stop_strings_and_stop_tokens_end_the_answer_inside_a_draft() {
    let tiny = Tiny::load("smollm3-f16");
    let (said, request) = repetition(&tiny, 1);
    let text = tiny.tokenizer.decode(&said, false);
    assert!(text.is_ascii(), "the slices below are of characters");
    let mut drafted = 0;
    for at in 3..60 {
        // Stop strings begin and end inside tokens, and span several.
        for len in [1, 4, 9] {
            let request = Request {
                stop: vec![text[at..at + len].to_owned(), "never said".to_owned()],
                ..request.clone()
            };
            let speculator = &mut ngram(Mode::On, 16);
            let (answer, counts) = same(&tiny, 512, speculator, &request, Interrupt::Never);
            assert!(
                matches!(answer.end, Ok((StopReason::Stop, ..))),
                "{answer:?}"
            );
            drafted += counts.drafted;
        }
        let request = Request {
            stop_tokens: vec![said[at]],
            ..request.clone()
        };
        let (answer, _) = same(
            &tiny,
            512,
            &mut ngram(Mode::On, 16),
            &request,
            Interrupt::Never,
        );
        assert!(
            matches!(answer.end, Ok((StopReason::Stop, ..))),
            "{answer:?}"
        );
    }
    assert!(drafted > 100, "{drafted}");
}

/// What could have begun a stop string is part of the answer if a stop token comes in its place.
#[test]
fn a_stop_token_ends_an_answer_that_is_told_whole() {
    let tiny = Tiny::load("smollm3-f16");
    let (said, request) = repetition(&tiny, 1);
    let at = (3..said.len())
        .find(|&at| !said[..at].contains(&said[at]))
        .expect("a token that was not said before");
    let text = tiny.tokenizer.decode(&said[..at], false);
    let last = text.chars().last().unwrap();
    let request = Request {
        stop: vec![format!("{last}, never said")],
        stop_tokens: vec![said[at]],
        ..request
    };
    let speculator = &mut ngram(Mode::On, 16);
    let (answer, _) = same(&tiny, 512, speculator, &request, Interrupt::Never);
    assert_eq!(answer.text, text);
    assert!(
        matches!(answer.end, Ok((StopReason::Stop, ..))),
        "{answer:?}"
    );
}

/// Wants these tokens and no others.
struct Dictated(Vec<u32>);

impl Guide for Dictated {
    fn next(&mut self) -> smolq::Result<Next<'_>> {
        Ok(self.0.first().map_or(Next::End, |&id| Next::Exactly(id)))
    }
    fn certain(&mut self) -> Vec<u32> {
        self.0.clone()
    }
    fn accept(&mut self, id: u32) -> smolq::Result<()> {
        assert_eq!(self.0.remove(0), id);
        Ok(())
    }
}

/// However long what is certain, a pass stays short: each of its tokens takes a row of logits.
#[test]
fn a_long_dictation_is_read_in_passes_of_bounded_size() {
    let tiny = Tiny::load("smollm3-f16");
    let said: Vec<u32> = (0..300).map(|i| (i * 7) % 250).collect();
    let request = Request {
        prompt: tiny.encode("The old boat"),
        ..Request::default()
    };
    let mut session = tiny.session(512);
    let outcome = generate_guided(
        &mut session,
        &mut Speculator::off(),
        &tiny.tokenizer,
        &request,
        &mut Dictated(said.clone()),
        &AtomicBool::new(false),
        &mut |_| Ok(()),
    )
    .unwrap();
    assert_eq!(
        (outcome.reason, outcome.tokens),
        (StopReason::EndOfText, 300)
    );
    assert!(session.tokens().ends_with(&said));
    // 300 tokens, by 33 a pass at most.
    assert!(
        (10..=20).contains(&outcome.counts.passes),
        "{:?}",
        outcome.counts
    );
}

#[test]
fn an_end_of_text_that_was_drafted_ends_the_answer() {
    let tiny = Tiny::load("llama-f16");
    let eos = tiny.tokenizer.eog_ids()[0];
    let (mut said, mut request) = repetition(&tiny, 0);
    for at in 20..40 {
        let there = std::mem::replace(&mut said[at], eos);
        request.prompt = said.clone();
        request.sample.forced = said.clone();
        request.ignore_eos = false;
        let speculator = &mut ngram(Mode::On, 16);
        let (answer, counts) = same(&tiny, 512, speculator, &request, Interrupt::Never);
        assert_eq!(answer.end, Ok((StopReason::EndOfText, at, 0, 1)));
        assert!(counts.accepted > 0);
        said[at] = there;
    }
}

#[test]
fn a_caller_that_cancels_or_fails_inside_a_draft_leaves_the_session_as_plain_decoding_does() {
    let tiny = Tiny::load("llama-f16");
    let (_, request) = repetition(&tiny, 2);
    for at in 1..40 {
        let speculator = &mut ngram(Mode::On, 16);
        let (answer, _) = same(&tiny, 512, speculator, &request, Interrupt::Cancel(at));
        assert!(
            matches!(answer.end, Ok((StopReason::Cancelled, ..))),
            "{answer:?}"
        );
        let speculator = &mut ngram(Mode::On, 16);
        let (answer, _) = same(&tiny, 512, speculator, &request, Interrupt::Fail(at));
        assert_eq!(answer.end, Err("the reader has gone".to_owned()));
    }
}

/// A session and its speculator live on from request to request.
#[test]
fn later_requests_of_a_session_are_answered_the_same() {
    let tiny = Tiny::load("smollm3-q8_0");
    let draft = Tiny::load_skewed("smollm3-q8_0");
    let mut sum = Counts::default();
    for model in [Mode::Off, Mode::On] {
        let options = SpeculateOptions {
            ngram: Mode::On,
            model,
            draft_max: 6,
            draft_min: 2,
        };
        let mut speculator = tiny.drafting_with(&draft, options);
        let (mut plain, mut ahead) = (tiny.session(256), tiny.session(256));
        let mut prompt = tiny.encode(TEXT);
        for (turn, change) in [None, Some("and again"), Some("station"), None, Some(TEXT)]
            .into_iter()
            .enumerate()
        {
            match change {
                // Goes on from the answer, or from the beginning with another text.
                Some(more) if turn < 3 => {
                    prompt = plain.tokens().to_vec();
                    prompt.extend(tiny.encode(more));
                }
                Some(text) => prompt = tiny.encode(text),
                None => prompt.truncate(20),
            }
            let request = Request {
                prompt: prompt.clone(),
                n_predict: Some(25),
                ignore_eos: true,
                sample: SampleOptions {
                    temp: 0.3,
                    seed: Some(turn as u64),
                    ..SampleOptions::default()
                },
                ..Request::default()
            };
            let (expected, _) = answer(&tiny, &mut plain, None, &request, Interrupt::Never);
            let speculator = Some(&mut speculator);
            let (found, counts) = answer(&tiny, &mut ahead, speculator, &request, Interrupt::Never);
            assert_eq!(found, expected, "turn {turn}");
            add(&mut sum, counts);
        }
    }
    assert!(sum.accepted > 0 && sum.drafted > sum.accepted, "{sum:?}");
}

#[test]
fn a_draft_model_that_is_the_model_is_always_right() {
    let tiny = Tiny::load("smollm3-f16");
    let options = SpeculateOptions {
        ngram: Mode::Off,
        model: Mode::On,
        draft_max: 4,
        ..SpeculateOptions::default()
    };
    let mut speculator = tiny.drafting_with(&tiny, options);
    for n in [1, 2, 3, 4, 5, 6, 31] {
        let request = Request {
            prompt: tiny.encode("The old boat"),
            n_predict: Some(n),
            sample: SampleOptions {
                temp: 0.0,
                seed: Some(1),
                ..SampleOptions::default()
            },
            ..Request::default()
        };
        let (answer, counts) = same(&tiny, 256, &mut speculator, &request, Interrupt::Never);
        assert_eq!(answer.end, Ok((StopReason::Limit, n, 0, 1)), "{answer:?}");
        assert_eq!(counts.accepted, counts.drafted, "{n}: {counts:?}");
        // Passes of five tokens, the first token coming with the prompt.
        assert_eq!(counts.passes, (n - 1).div_ceil(5), "{n}: {counts:?}");
    }
}

#[test]
fn another_draft_model_of_the_vocabulary_changes_nothing() {
    let tiny = Tiny::load("smollm3-q8_0");
    let draft = Tiny::load_skewed("smollm3-q8_0");
    let mut sum = Counts::default();
    for sample in samplers() {
        for (ngram, model) in [
            (Mode::Off, Mode::On),
            (Mode::Off, Mode::Auto),
            (Mode::On, Mode::On),
            (Mode::Auto, Mode::Auto),
        ] {
            let options = SpeculateOptions {
                ngram,
                model,
                draft_max: 5,
                ..SpeculateOptions::default()
            };
            let mut speculator = tiny.drafting_with(&draft, options);
            let request = Request {
                prompt: tiny.encode(TEXT),
                n_predict: Some(40),
                ignore_eos: true,
                sample: SampleOptions {
                    seed: Some(sample.seed.unwrap_or(9)),
                    ..sample.clone()
                },
                ..Request::default()
            };
            let (_, counts) = same(&tiny, 256, &mut speculator, &request, Interrupt::Never);
            add(&mut sum, counts);
        }
    }
    assert!(sum.accepted > 50, "{sum:?}");
    assert!(sum.drafted > sum.accepted + 50, "{sum:?}");
}

#[test]
fn a_draft_model_with_a_smaller_context_drafts_as_far_as_it_can() {
    let tiny = Tiny::load("smollm3-f16");
    let prompt = tiny.encode(TEXT);
    for room in [0, 1, 10] {
        let session = tiny.session(prompt.len() + room);
        let draft = DraftModel::new(session, &tiny.tokenizer, &tiny.tokenizer).unwrap();
        let options = SpeculateOptions {
            ngram: Mode::Off,
            model: Mode::On,
            draft_max: 4,
            ..SpeculateOptions::default()
        };
        let mut speculator = Speculator::new(options, Some(draft)).unwrap();
        let request = Request {
            prompt: prompt.clone(),
            n_predict: Some(30),
            ignore_eos: true,
            sample: SampleOptions {
                temp: 0.0,
                seed: Some(1),
                ..SampleOptions::default()
            },
            ..Request::default()
        };
        let (_, counts) = same(&tiny, 256, &mut speculator, &request, Interrupt::Never);
        assert_eq!(counts.drafted > 0, room > 0, "{room}: {counts:?}");
        assert!(counts.passes > 15, "{room}: {counts:?}");
    }
}

#[test]
fn a_draft_model_of_another_vocabulary_is_refused_by_its_first_difference() {
    let refused = |target: &str, draft: &str| {
        let (target, draft) = (Tiny::load(target), Tiny::load(draft));
        match DraftModel::new(draft.session(64), &draft.tokenizer, &target.tokenizer) {
            Ok(_) => panic!("it was accepted"),
            Err(error) => error.to_string(),
        }
    };
    let message = refused("smollm3-f16", "qwen2-f16");
    assert!(
        message.starts_with("--draft-model: it has 331 tokens and the model 320"),
        "{message}"
    );
    let message = refused("smollm3-f16", "llama-f16");
    assert!(message.starts_with("--draft-model: token 3"), "{message}");
    assert!(!message.contains('\n'), "{message}");
}

#[test]
fn fewer_drafts_than_asked_for_are_not_tried() {
    let tiny = Tiny::load("llama-f16");
    let (_, request) = repetition(&tiny, 0);
    let options = SpeculateOptions {
        ngram: Mode::On,
        draft_max: 8,
        draft_min: 8,
        ..SpeculateOptions::default()
    };
    let mut speculator = Speculator::new(options, None).unwrap();
    let (_, counts) = same(&tiny, 512, &mut speculator, &request, Interrupt::Never);
    assert!(counts.drafted > 0 && counts.drafted % 8 == 0, "{counts:?}");
    let (_, none) = same(
        &tiny,
        512,
        &mut ngram(Mode::On, 0),
        &request,
        Interrupt::Never,
    );
    assert_eq!(none.drafted, 0);
    for (draft_max, draft_min, field) in [(65, 0, "--draft-max"), (4, 5, "--draft-min")] {
        let options = SpeculateOptions {
            draft_max,
            draft_min,
            ..SpeculateOptions::default()
        };
        let error = Speculator::new(options, None).err().map(|e| e.to_string());
        assert!(
            error.as_ref().is_some_and(|e| e.starts_with(field)),
            "{error:?}"
        );
    }
}
