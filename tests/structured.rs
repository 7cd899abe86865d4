//! Structured output as a chat has it: after a thought or without one, drawn boldly by the model inside the program.
#![cfg(feature = "embedded-model")]

#[path = "common/schemas.rs"]
mod schemas;

use schemas::{check, schemas, validator};
use smolq::chat::{Call, Chat, ReplyEvent, ReplyRules, Template, ThinkBudget};
use smolq::constrain::Grammar;
use smolq::converse::{Control, Engine, Front, Permission, TurnEvent, TurnOptions};
use smolq::generate::StopReason;
use smolq::model::{LoadOptions, Model, Session, SessionOptions};
use smolq::sample::SampleOptions;
use smolq::speculate::Speculator;
use smolq::tokenizer::Tokenizer;
use std::path::Path;
use std::sync::Arc;

/// What is said, told apart.
#[derive(Default)]
struct Heard {
    thought: String,
    answer: String,
}

impl Front for Heard {
    fn event(&mut self, event: TurnEvent<'_>) -> smolq::Result<()> {
        match event {
            TurnEvent::Reply(ReplyEvent::Thought(text)) => self.thought.push_str(&text),
            TurnEvent::Reply(ReplyEvent::Answer(text)) => self.answer.push_str(&text),
            _ => {}
        }
        Ok(())
    }
    fn permit(&mut self, _: &Call, _: &str, _: bool) -> smolq::Result<Permission> {
        Ok(Permission::Refused)
    }
}

#[test]
fn answers_of_a_chat_are_by_their_schema_with_and_without_thinking() {
    let load = LoadOptions::default();
    let gguf = smolq::embedded::open(Path::new("tiny"), &load.open).unwrap();
    let template = Template::from_metadata(gguf.metadata()).unwrap().unwrap();
    let tokenizer = Tokenizer::from_metadata(gguf.metadata(), true).unwrap();
    let model = Arc::new(Model::from_gguf(gguf, &load).unwrap());
    let options = SessionOptions {
        n_ctx: 8192,
        ..SessionOptions::default()
    };
    let session = Session::new(model, &options).unwrap();
    let mut engine = Engine::new(session, Speculator::off(), tokenizer);
    let now = jiff::civil::date(2026, 1, 1).at(0, 0, 0, 0);
    for think in [true, false] {
        let mut valid = 0;
        for schema in schemas() {
            let validator = validator(&schema);
            for seed in 0..25 {
                let mut chat = Chat::new(template.clone(), engine.tokenizer(), now);
                chat.think = Some(think);
                let options = TurnOptions {
                    sample: SampleOptions {
                        temp: 1.5,
                        seed: Some(seed),
                        ..SampleOptions::default()
                    },
                    rules: ReplyRules {
                        budget: ThinkBudget {
                            tokens: Some(48),
                            time: None,
                        },
                        grammar: Some(Grammar::Schema(schema.clone())),
                        ..ReplyRules::default()
                    },
                    ..TurnOptions::default()
                };
                let mut heard = Heard::default();
                let control = Control::default();
                let turn = engine.turn(
                    &mut chat,
                    Some("Describe it as JSON."),
                    None,
                    &options,
                    &control,
                    &mut heard,
                );
                let reason = turn.unwrap().reason();
                assert_eq!(
                    reason,
                    StopReason::EndOfText,
                    "{schema}, seed {seed}: {}",
                    heard.answer
                );
                check(&validator, &schema, &heard.answer);
                assert_eq!(!heard.thought.is_empty(), think, "{schema}, seed {seed}");
                valid += 1;
            }
        }
        println!("thinking {think}: {valid} of 500");
        assert_eq!(valid, 500);
    }
}
