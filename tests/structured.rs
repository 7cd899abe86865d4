//! Structured output as a chat has it: after a thought or without one, drawn boldly by the model inside the program.
#![cfg(feature = "embedded-model")]

#[path = "common/engine.rs"]
mod engine;
#[path = "common/schemas.rs"]
mod schemas;

use schemas::{check, schemas, validator};
use serde_json::{Map, Value, json};
use smolq::chat::{Call, Chat, ReplyEvent, ReplyRules, ThinkBudget, ToolChoice};
use smolq::constrain::Grammar;
use smolq::converse::{Control, Front, Permission, TurnEvent, TurnOptions};
use smolq::generate::StopReason;
use smolq::sample::SampleOptions;
use smolq::tools::Toolbox;
use std::path::Path;

/// What is said, told apart.
#[derive(Default)]
struct Heard {
    prompt: String,
    thought: String,
    answer: String,
    calls: usize,
    results: usize,
}

impl Front for Heard {
    fn event(&mut self, event: TurnEvent<'_>) -> smolq::Result<()> {
        match event {
            TurnEvent::Reply(ReplyEvent::Thought(text)) => self.thought.push_str(&text),
            TurnEvent::Reply(ReplyEvent::Answer(text)) => self.answer.push_str(&text),
            TurnEvent::Reply(ReplyEvent::CallEnd { .. }) => self.calls += 1,
            TurnEvent::Prompt(text) => self.prompt.push_str(text),
            TurnEvent::Result { .. } => self.results += 1,
            _ => {}
        }
        Ok(())
    }
    fn permit(&mut self, _: &Call, _: &str, _: bool) -> smolq::Result<Permission> {
        Ok(Permission::Refused)
    }
}

/// The schema with texts, lists and objects that end: a model this small, drawn so boldly, would go on with some until its context is full.
fn bounded(schema: &Value) -> Value {
    match schema {
        Value::Array(items) => items.iter().map(bounded).collect(),
        Value::Object(entries) => {
            let mut out: Map<String, Value> = entries
                .iter()
                .map(|(key, value)| {
                    // Parts of a whole are not closed one by one.
                    let kept = matches!(key.as_str(), "enum" | "const" | "allOf");
                    let key = key.replace("[a-z]+", "[a-z]{1,6}");
                    (key, if kept { value.clone() } else { bounded(value) })
                })
                .collect();
            let free = |keys: &[&str]| keys.iter().all(|key| !entries.contains_key(*key));
            if entries.get("type") == Some(&json!("string"))
                && free(&["pattern", "format", "maxLength"])
            {
                out.insert("maxLength".to_owned(), json!(24));
            }
            if entries.get("type") == Some(&json!("array"))
                && free(&["prefixItems", "maxItems"])
                && entries.get("items").is_some_and(Value::is_object)
            {
                out.insert("maxItems".to_owned(), json!(4));
            }
            // The whole knows the properties of its parts, and no others.
            if let Some(parts) = entries.get("allOf").and_then(Value::as_array) {
                let names = parts
                    .iter()
                    .filter_map(|part| part["properties"].as_object());
                let names: Map<String, Value> = names
                    .flat_map(|properties| properties.keys().map(|name| (name.clone(), json!({}))))
                    .collect();
                out.insert("properties".to_owned(), Value::Object(names));
                out.insert("additionalProperties".to_owned(), json!(false));
            }
            // A tree whose nodes have one child at most.
            if entries
                .get("items")
                .is_some_and(|items| items.get("$ref").is_some())
            {
                out.insert("maxItems".to_owned(), json!(1));
            }
            if entries.get("properties").is_some_and(Value::is_object)
                && !entries
                    .get("additionalProperties")
                    .is_some_and(Value::is_boolean)
            {
                out.insert("additionalProperties".to_owned(), json!(false));
            }
            Value::Object(out)
        }
        other => other.clone(),
    }
}

#[test]
fn answers_of_a_chat_are_by_their_schema_without_thinking() {
    assert_eq!(answers_by_their_schema(false), 240);
}

#[test]
fn answers_of_a_chat_are_by_their_schema_after_a_thought() {
    assert_eq!(answers_by_their_schema(true), 260);
}

/// Asks for answers by each schema, with a thought or without, and asserts that each keeps to its own. How many there were.
fn answers_by_their_schema(think: bool) -> usize {
    let (mut engine, template) = engine::open(Path::new("tiny"));
    let now = jiff::civil::date(2026, 1, 1).at(0, 0, 0, 0);
    let mut valid = 0;
    for schema in schemas().iter().map(bounded) {
        let validator = validator(&schema);
        for seed in (0..25).filter(|seed| (seed % 2 == 0) == think) {
            let mut chat = Chat::new(template.clone(), engine.tokenizer(), now);
            chat.think = Some(think);
            let options = TurnOptions {
                sample: SampleOptions {
                    temp: 1.5,
                    // Or the digits of a number would have no end.
                    frequency_penalty: 0.5,
                    repeat_last_n: 256,
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
    valid
}

#[test]
fn tools_that_are_not_to_be_called_are_neither_told_of_nor_run() {
    let (mut engine, template) = engine::open(Path::new("tiny"));
    let mut toolbox = Toolbox::from_spec(&["get_time".to_owned()], None).unwrap();
    let now = jiff::civil::date(2026, 1, 1).at(0, 0, 0, 0);
    let mut chat = Chat::new(template, engine.tokenizer(), now);
    chat.think = Some(false);
    chat.tools = toolbox.declarations();
    // The answer has to look like a call; whether it is one is what the choice says.
    let call = "<tool_call>\n{\"name\": \"get_time\", \"arguments\": {}}\n</tool_call>";
    let pattern =
        r#"<tool_call>\n\{"name": "get_time", "arguments": \{\}\}\n</tool_call>"#.to_owned();
    for (tool_choice, calls) in [(ToolChoice::None, 0), (ToolChoice::Auto, 1)] {
        chat.clear();
        let options = TurnOptions {
            sample: SampleOptions {
                temp: 0.0,
                ..SampleOptions::default()
            },
            rules: ReplyRules {
                grammar: Some(Grammar::Regex(pattern.clone())),
                tool_choice,
                parallel: false,
                ..ReplyRules::default()
            },
            max_steps: 1,
            ..TurnOptions::default()
        };
        let mut heard = Heard::default();
        let turn = engine.turn(
            &mut chat,
            Some("What is the time in UTC?"),
            Some(&mut toolbox),
            &options,
            &Control::default(),
            &mut heard,
        );
        turn.unwrap();
        assert_eq!(
            heard.prompt.contains("get_time"),
            calls > 0,
            "{}",
            heard.prompt
        );
        assert_eq!((heard.calls, heard.results), (calls, calls));
        assert_eq!(heard.answer, if calls == 0 { call } else { "" });
        // They may be called the next time.
        assert_eq!(chat.tools.len(), 1);
    }
}
