//! Structured output from outside: what a grammar lets through is what was asked for, whatever the logits say, and grammars of strangers
//! end in an error or at work, soon.

#[path = "common/schemas.rs"]
mod schemas;

use schemas::{check, schemas, validator};
use serde_json::{Value, json};
use smolq::constrain::{Constraint, Grammar, Vocabulary, by_schema, calls};
use smolq::model::{LoadOptions, Model, Session, SessionOptions};
use smolq::sample::{Random, SampleOptions, Sampler};
use smolq::tokenizer::{TokenKind, Tokenizer};
use smolq_gguf::{Gguf, OpenOptions};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// A vocabulary, its trie, and which of its tokens bring an answer nearer to its end.
struct Words {
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    closing: Vec<f32>,
}

impl Words {
    fn of(gguf: &Gguf) -> Words {
        let tokenizer = Tokenizer::from_metadata(gguf.metadata(), false).unwrap();
        // The sign of mail addresses is not about an end, but few tokens have it. A quote ends a text, in which a brace ends nothing.
        let closes = |id: u32| {
            let piece = tokenizer.piece(id);
            match piece {
                b"\"" => 2.0,
                _ if tokenizer.is_eog(id) => 1.0,
                [_, ..] if piece.iter().all(|b| b"\"}]@".contains(b)) => 1.0,
                _ => 0.0,
            }
        };
        Words {
            vocabulary: Vocabulary::new(&tokenizer).unwrap(),
            closing: (0..tokenizer.n_vocab() as u32).map(closes).collect(),
            tokenizer,
        }
    }

    fn constraint(&self, grammar: &Grammar) -> Constraint {
        Constraint::new(&self.vocabulary, grammar).unwrap_or_else(|e| panic!("{grammar:?}: {e}"))
    }

    /// Follows an answer of random tokens, or of `logits` asked for each step, to its end. Closing tokens become the likelier the longer it is.
    fn walk(
        &self,
        grammar: &Grammar,
        seed: u64,
        mut logits: impl FnMut(&[u32]) -> Vec<f32>,
    ) -> String {
        let n_vocab = self.tokenizer.n_vocab();
        let options = SampleOptions {
            temp: 1.5,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            seed: Some(seed),
            ..SampleOptions::default()
        };
        let mut sampler = Sampler::new(&options, n_vocab).unwrap();
        let mut constraint = self.constraint(grammar);
        let mut ids = Vec::new();
        for step in 0..600 {
            let is_complete = constraint.is_complete();
            let allowed = constraint.allowed().unwrap_or_else(|e| {
                panic!(
                    "{grammar:?}: {e} after {:?}",
                    self.tokenizer.decode(&ids, true)
                )
            });
            let mut scores = logits(&ids);
            for (score, closes) in scores.iter_mut().zip(&self.closing) {
                *score += closes * (4.0 + 0.1 * step as f32);
            }
            let id = sampler.sample_among(&scores, allowed).unwrap();
            // Ends are among what is allowed exactly where the answer is complete.
            for &end in self.tokenizer.eog_ids() {
                let is_allowed = allowed[end as usize / 32] >> (end % 32) & 1 == 1;
                assert_eq!(is_allowed, is_complete);
            }
            constraint.accept(id).unwrap();
            if self.tokenizer.is_eog(id) {
                assert!(constraint.is_over() && constraint.is_complete());
                return self.tokenizer.decode(&ids, true);
            }
            ids.push(id);
        }
        panic!(
            "{grammar:?} does not end: {}",
            self.tokenizer.decode(&ids, true)
        );
    }

    /// Of random logits.
    fn stroll(&self, grammar: &Grammar, seed: u64) -> String {
        let mut random = Random::from_seed(seed);
        let n_vocab = self.tokenizer.n_vocab();
        self.walk(grammar, seed, |_| {
            (0..n_vocab)
                .map(|_| 6.0 * random.next_unit() as f32)
                .collect()
        })
    }

    /// How much of a text a grammar goes along with, written by the tokenizer, and whether it may end there.
    fn follow(&self, grammar: &Grammar, text: &str) -> (String, bool) {
        let mut constraint = self.constraint(grammar);
        let mut taken = Vec::new();
        for id in self.tokenizer.encode_on(text).unwrap() {
            if constraint.accept(id).is_err() {
                // Nothing has changed: another token may still come.
                assert!(constraint.allowed().is_ok());
                return (self.tokenizer.decode(&taken, false), false);
            }
            taken.push(id);
        }
        (
            self.tokenizer.decode(&taken, false),
            constraint.is_complete(),
        )
    }
}

fn gguf() -> Gguf {
    smolq::embedded::open("tiny".as_ref(), &OpenOptions::default()).unwrap()
}

static TINY: LazyLock<Words> = LazyLock::new(|| Words::of(&gguf()));

fn fixtures() -> Option<PathBuf> {
    let path = std::env::var_os("SMOLQ_FIXTURES");
    if path.is_none() {
        println!("SMOLQ_FIXTURES is not set: skipped");
    }
    path.map(PathBuf::from)
}

#[test]
fn random_answers_are_by_their_schema() {
    let mut valid = 0;
    for schema in schemas() {
        let validator = validator(&schema);
        for seed in 0..25 {
            let answer = TINY.stroll(&Grammar::Schema(schema.clone()), seed);
            check(&validator, &schema, &answer);
            valid += 1;
        }
    }
    assert_eq!(valid, 500);
}

#[test]
fn a_models_answers_are_by_their_schema() {
    let model = Arc::new(Model::from_gguf(gguf(), &LoadOptions::default()).unwrap());
    let options = SessionOptions {
        n_ctx: 1024,
        threads: 1,
        ..SessionOptions::default()
    };
    let mut session = Session::new(model, &options).unwrap();
    let prompt = TINY.tokenizer.encode_on("Write JSON:\n").unwrap();
    for schema in schemas() {
        let validator = validator(&schema);
        for seed in 0..2 {
            let answer = TINY.walk(&Grammar::Schema(schema.clone()), seed, |ids| {
                if ids.is_empty() {
                    session.truncate(0);
                    session.read(&prompt).unwrap();
                } else {
                    session.read(&ids[ids.len() - 1..]).unwrap();
                }
                session.logits().row(0).to_vec()
            });
            check(&validator, &schema, &answer);
        }
    }
}

#[test]
fn json_mode_is_an_object() {
    for seed in 0..25 {
        let answer = TINY.stroll(&Grammar::Json, seed);
        let parsed: Value =
            serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"));
        assert!(parsed.is_object(), "{answer}");
    }
    let json = |text: &str| TINY.follow(&Grammar::Json, text).1;
    assert!(json("{\n  \"a\": [1, {}],\n  \"b\": \"é\"\n}"));
    // White space is no way to go on forever.
    assert!(!json(&format!("{{{}}}", "\n".repeat(5))));
    assert!(!json("[1]") && !json(" {}") && !json("{} "));
}

#[test]
fn calls_are_written_as_models_learn_it() {
    let weather = json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "not": {}}, "at": {"$ref": "#/$defs/at"}},
        "required": ["city"], "$defs": {"at": {"type": "string", "format": "date"}}});
    let tools = [
        ("weather".to_owned(), weather.clone()),
        ("now".to_owned(), Value::Null),
        (
            "on \"quotes\"".to_owned(),
            json!({"properties": {"x": {"type": "number"}}}),
        ),
    ];
    let grammar = calls(&tools, "name", "arguments", "");
    let is_call = |text: &str| TINY.follow(&grammar, text).1;
    for text in [
        r#"{"name": "weather", "arguments": {"city": "Bern"}}"#,
        r#"{"name": "weather", "arguments": {"city": "Bern", "days": 3, "at": "2024-02-29"}}"#,
        r#"{"name": "now", "arguments": {}}"#,
        r#"{"name": "now", "arguments": {"any": [1, "thing"]}}"#,
        r#"{"name": "on \"quotes\"", "arguments": {"x": 1.5}}"#,
    ] {
        assert!(is_call(text), "{text}: {:?}", TINY.follow(&grammar, text));
    }
    for text in [
        r#"{"name":"now", "arguments": {}}"#,
        r#"{"name": "now","arguments": {}}"#,
        r#"{ "name": "now", "arguments": {}}"#,
        r#"{"name": "now", "arguments": []}"#,
        r#"{"name": "now"}"#,
        r#"{"arguments": {}, "name": "now"}"#,
        r#"{"name": "weather", "arguments": {}}"#,
        r#"{"name": "weather", "arguments": {"days": 3, "city": "Bern"}}"#,
        r#"{"name": "weather", "arguments": {"city": "Bern", "at": "2023-02-29"}}"#,
        r#"{"name": "weather", "arguments": {"city": 1}}"#,
        r#"{"name": "other", "arguments": {}}"#,
        r#"{"name": "on \"quotes\"", "arguments": {"x": "1"}}"#,
        r#"{"name": "on \"quotes\"", "arguments": {"x": 1, "y": 1}}"#,
    ] {
        assert!(!is_call(text), "{text}");
    }
    // What is said of other parameters, or left to other schemas, stays as it is.
    for schema in [
        json!({"properties": {"x": {"type": "number"}}, "additionalProperties": true}),
        json!({"properties": {"x": {"type": "number"}}, "patternProperties": {"^y": {}}}),
        json!({"properties": {"x": {"type": "number"}}, "allOf": [{"properties": {"y": {}}}]}),
        json!({"properties": {"x": {"type": "number"}}, "required": ["y"]}),
    ] {
        let grammar = calls(&[("f".to_owned(), schema)], "name", "arguments", "");
        let text = r#"{"name": "f", "arguments": {"x": 1, "y": 1}}"#;
        assert!(TINY.follow(&grammar, text).1, "{text}");
    }
    for seed in 0..25 {
        let answer = TINY.stroll(&grammar, seed);
        let parsed: Value =
            serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"));
        let keys: Vec<&String> = parsed.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["name", "arguments"], "{answer}");
        assert!(answer.contains("\": "), "{answer}");
        assert!(
            parsed["name"] != "weather" || parsed["arguments"]["city"].is_string(),
            "{answer}"
        );
    }
    // What must come is known at once, and stays so until there is a choice.
    let mut constraint = TINY.constraint(&calls(&tools[..1], "name", "arguments", ""));
    let certain = constraint.certain();
    let text = TINY.tokenizer.decode(&certain, false);
    let must = r#"{"name": "weather", "arguments": {"city": ""#;
    assert!(
        must.starts_with(&text) && text.len() > must.len() / 2,
        "{text}"
    );
    for id in certain {
        let allowed = constraint.allowed().unwrap();
        assert_eq!(allowed.iter().map(|bits| bits.count_ones()).sum::<u32>(), 1);
        assert_eq!(allowed[id as usize / 32] >> (id % 32) & 1, 1);
        constraint.accept(id).unwrap();
    }
    for (tools, key, part) in [
        (&tools[..0], "arguments", "there are none"),
        (&tools[..], "name", "the same key \"name\""),
    ] {
        let error = Constraint::new(&TINY.vocabulary, &calls(tools, "name", key, ""));
        let error = error.err().unwrap().to_string();
        assert!(
            error.starts_with("tools: ") && error.contains(part),
            "{error}"
        );
    }
}

#[test]
fn tools_whose_schemas_cannot_be_held_are_called_all_the_same() {
    let weather = json!({"properties": {"city": {"type": "string"}}, "required": ["city"], "minProperties": 1});
    let nine: Vec<Value> = (0..9).map(|i| json!({"pattern": i.to_string()})).collect();
    // What is passed over, and what stays. The last two cannot be held at all.
    let cases = [
        (json!({"type": "string", "pattern": "(?=a)b"}), "\"q\"", "1"),
        (
            json!({"type": "string", "pattern": "\\bfoo\\b"}),
            "\"q\"",
            "1",
        ),
        (json!({"type": "string", "pattern": "a\\x01"}), "\"q\"", "1"),
        (
            json!({"type": "number", "multipleOf": 0.07}),
            "0.5",
            "\"q\"",
        ),
        (json!({"type": "integer", "multipleOf": 1e9}), "5", "0.5"),
        (json!({"type": "string", "minLength": 20_000}), "\"\"", "1"),
        (json!({"type": "integer", "minimum": i64::MIN}), "-5", "0.5"),
        (json!({"type": "integer", "minimum": i64::MAX}), "-5", "0.5"),
        (json!({"type": "any"}), "[null]", "nul]"),
        (json!({"type": ["string", {"type": "null"}]}), "5", "nul]"),
        (json!({"type": "string", "required": true}), "\"q\"", "1"),
        (json!({"type": "string", "enum": []}), "\"q\"", "1"),
        (json!({"type": "string", "anyOf": []}), "\"q\"", "1"),
        (json!({"type": "string", "enum": ["a\u{1}"]}), "\"q\"", "1"),
        (
            json!({"type": "integer", "const": (1_u64 << 53) + 1}),
            "9",
            "\"q\"",
        ),
        (json!({"$ref": "http://x/y"}), "5", "nul]"),
        (json!("string"), "5", "nul]"),
        (
            json!({"patternProperties": {"(?=a)": {}}, "additionalProperties": false}),
            "{\"b\": 1}",
            "{b",
        ),
        (
            json!({"type": "object", "properties": {"a": {}}, "required": ["b"], "minProperties": 4}),
            "{\"b\": 1}",
            "{}",
        ),
        (json!({"type": "string", "allOf": nine}), "\"q\"", "1"),
        (
            json!({"patternProperties": {"^a": {}, "b$": {}}}),
            "[1]",
            "nul]",
        ),
        (json!({"not": {}, "$ref": "#/properties/x"}), "[1]", "nul]"),
    ];
    for (i, (schema, good, bad)) in cases.iter().enumerate() {
        let tools = [
            (
                "odd".to_owned(),
                json!({"properties": {"x": schema}, "required": ["x"]}),
            ),
            ("weather".to_owned(), weather.clone()),
        ];
        for end in ["", "\n"] {
            let grammar = calls(&tools, "name", "arguments", end);
            let is_call = |name: &str, arguments: &str| {
                let text = format!("{{\"name\": \"{name}\", \"arguments\": {arguments}}}{end}");
                TINY.follow(&grammar, &text).1
            };
            assert!(is_call("odd", &format!("{{\"x\": {good}}}")), "{schema}");
            assert!(!is_call("odd", &format!("{{\"x\": {bad}}}")), "{schema}");
            assert!(is_call("weather", "{\"city\": \"Bern\"}"), "{schema}");
            assert!(!is_call("weather", "{\"city\": 1}"), "{schema}");
            let constraint = TINY.constraint(&grammar);
            let is_loose = i + 2 >= cases.len();
            assert_eq!(constraint.loose().len(), usize::from(is_loose), "{schema}");
            for (name, why) in constraint.loose() {
                assert_eq!(name, "odd");
                assert!(!why.contains("line ") && !why.contains("at 2"), "{why}");
            }
        }
    }
    // No schema at all; and one that a tool cannot have with any other.
    for schema in [json!([]), json!(false)] {
        let grammar = calls(&[("f".to_owned(), schema)], "name", "arguments", "");
        assert_eq!(TINY.constraint(&grammar).loose()[0].0, "f");
        let text = r#"{"name": "f", "arguments": {"any": 1}}"#;
        assert!(TINY.follow(&grammar, text).1);
    }
    // One declared property at least: the engine counts that where there are no others.
    let some = json!({"properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}, "minProperties": 1});
    let grammar = calls(&[("f".to_owned(), some)], "name", "arguments", "");
    assert!(
        TINY.follow(&grammar, r#"{"name": "f", "arguments": {"y": 1}}"#)
            .1
    );
    assert!(!TINY.follow(&grammar, r#"{"name": "f", "arguments": {}}"#).1);
}

/// Whether an answer by this schema may be these texts, and may not be those.
fn assert_held(schema: &Value, good: &[&str], bad: &[&str]) {
    let grammar = Grammar::Schema(schema.clone());
    for text in good {
        assert!(TINY.follow(&grammar, text).1, "{schema}: {text}");
    }
    for text in bad {
        assert!(!TINY.follow(&grammar, text).1, "{schema}: {text}");
    }
}

fn refusal(schema: &Value) -> String {
    match Constraint::new(&TINY.vocabulary, &Grammar::Schema(schema.clone())) {
        Ok(_) => panic!("{schema} is not refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_key_has_one_spelling() {
    assert_held(
        &json!({"type": "object", "properties": {"䑄": {"type": "integer"}}, "additionalProperties": {"const": "x"}}),
        &["{\"䑄\":1}", "{\"b\":\"x\"}", r#"{"b\n\"":"x"}"#],
        &[r#"{"\u4444":"x"}"#, "{\"䑄\":\"x\"}", r#"{"\u0062":"x"}"#],
    );
    let open = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "string"}});
    assert_held(
        &open,
        &[r#"{"a":1,"é😀\n\"\\":"日\t"}"#],
        &[r#"{"\u0061":"x"}"#, r#"{"a":1,"\u0061":"x"}"#],
    );
    let grammar = calls(&[("f".to_owned(), open)], "name", "arguments", "\n");
    let call = |arguments: &str| {
        let text = format!("{{\"name\": \"f\", \"arguments\": {arguments}}}\n");
        TINY.follow(&grammar, &text).1
    };
    assert!(call(r#"{"a": 1, "b": "x"}"#) && !call(r#"{"\u0061": "x"}"#));
    // Control characters have no other spelling: names may have them, texts may not.
    assert_held(
        &json!({"type": "object", "properties": {"\u{1}": {"const": "\n\u{8}"}}, "required": ["\u{1}"]}),
        &[r#"{"\u0001":"\n\b"}"#],
        &[r#"{"\u0001":"\n"}"#],
    );
    for (schema, place) in [
        (json!({"enum": ["b", "a\u{1}"]}), "#/enum/1: the control "),
        (json!({"const": [{"k": "\u{7f}"}]}), "#/const: the control "),
        (
            json!({"pattern": "a|b\\x00"}),
            "#/pattern: it asks for control ",
        ),
    ] {
        let error = refusal(&schema);
        assert!(error.contains(place), "{error}");
    }
    assert_held(
        &json!({"type": "string", "pattern": "^[^a]$"}),
        &["\"é\"", r#""\n""#],
        &["\"a\"", r#""\u0001""#],
    );
}

#[test]
fn whole_numbers_stay_what_they_are() {
    let most = 1_i64 << 53;
    for (schema, place) in [
        (json!({"const": most + 1}), "#/const: 9007199254740993 "),
        (
            json!({"enum": [1, [{"a": -most - 1}]]}),
            "#/enum/1: -9007199254740993 ",
        ),
        (json!({"const": u64::MAX}), "#/const: "),
        (
            json!({"type": "integer", "minimum": most + 1}),
            "#/minimum: ",
        ),
        (
            json!({"items": {"maximum": -most - 1}}),
            "#/items/maximum: ",
        ),
        (json!({"exclusiveMinimum": most}), "#/exclusiveMinimum: "),
        (
            json!({"minimum": most, "exclusiveMinimum": true}),
            "#/minimum: ",
        ),
        (json!({"minimum": 1e30}), "#/minimum: "),
        (json!({"maximum": i64::MIN}), "#/maximum: "),
        (json!({"multipleOf": 0.07}), "#/multipleOf: steps of 0.07 "),
        (json!({"multipleOf": 0}), "#/multipleOf: "),
        (json!({"multipleOf": 1_000_003}), "#/multipleOf: "),
        (json!({"multipleOf": 4_000_000_000_u64}), "#/multipleOf: "),
        (json!({"type": "any"}), "#/type: \"any\" is no type"),
        (json!({"type": []}), "#/type: it is empty"),
    ] {
        let error = refusal(&schema);
        assert!(error.contains(place), "{schema}: {error}");
    }
    assert_held(
        &json!({"const": most}),
        &["9007199254740992"],
        &["9007199254740993", "9007199254740991"],
    );
    assert_held(
        &json!({"type": "integer", "exclusiveMinimum": most - 2, "maximum": most}),
        &["9007199254740991", "9007199254740992"],
        &["9007199254740990", "9007199254740993"],
    );
    // The ends of 64-bit integers, and what is beyond them, are no bounds.
    let long = "-123456789012345678901";
    for (low, high) in [
        (json!(i64::MIN), json!(i64::MAX)),
        (json!(-1e30), json!(u64::MAX)),
    ] {
        let both = json!({"type": "integer", "minimum": low, "maximum": high});
        assert_held(&both, &[long, "7"], &["0.5"]);
        let both = json!({"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": high});
        assert_held(&both, &[long, "1e400"], &["\"\""]);
        let high = json!({"type": "integer", "minimum": 3, "maximum": high});
        assert_held(&high, &["3", &long[1..]], &["2", "-3"]);
    }
    assert_held(
        &json!({"type": "number", "multipleOf": 0.05, "minimum": 0, "maximum": 1}),
        &["0.15"],
        &["0.12"],
    );
    assert_held(
        &json!({"type": "integer", "multipleOf": 86_400, "minimum": 1}),
        &["86400", "864000"],
        &["86401", "0"],
    );
}

#[test]
fn steps_that_are_promised_are_counted() {
    // A step that takes too long is refused with its place, whatever else there is; all others work.
    let mut refused = 0;
    for step in [
        7, 3600, 20_736, 65_536, 86_400, 100_000, 1_000_000, 1_048_576,
    ] {
        for bounds in [
            json!({}),
            json!({"minimum": 1}),
            json!({"maximum": 99_999_999}),
        ] {
            let mut number = json!({"type": "integer", "multipleOf": step});
            for (key, bound) in bounds.as_object().unwrap() {
                number[key] = bound.clone();
            }
            let schema = json!({"type": "object", "properties": {"x": number}});
            match Constraint::new(&TINY.vocabulary, &Grammar::Schema(schema.clone())) {
                Ok(_) => assert_held(
                    &schema,
                    &[&format!("{{\"x\":{}}}", 10 * step)],
                    &[&format!("{{\"x\":{}}}", 10 * step + 1)],
                ),
                Err(error) => {
                    refused += 1;
                    let error = error.to_string();
                    let place = format!("#/properties/x/multipleOf: steps of {step} ");
                    assert!(error.contains(&place), "{error}");
                }
            }
            // A tool loses no more than the step.
            let grammar = calls(&[("f".to_owned(), schema)], "name", "arguments", "");
            assert!(TINY.constraint(&grammar).loose().is_empty(), "{number}");
            let call = |x: &str| {
                let text = format!("{{\"name\": \"f\", \"arguments\": {{\"x\": {x}}}}}");
                TINY.follow(&grammar, &text).1
            };
            assert!(call(&step.to_string()) && !call("\"q\""), "{number}");
        }
    }
    assert!((1..20).contains(&refused), "{refused}");
    for step in [65_536, 100_000, 1_000_000] {
        let step = json!({"type": "integer", "multipleOf": step});
        assert_held(&step, &["0", "-1000000000000000000"], &["1"]);
    }
}

#[test]
fn what_says_nothing_is_passed_over() {
    let record = |more: Value| {
        let mut schema = json!({"type": "object", "additionalProperties": {"type": "integer"}});
        for (key, value) in more.as_object().unwrap() {
            schema[key] = value.clone();
        }
        schema
    };
    for more in [
        json!({"propertyNames": {"type": "string"}}),
        json!({"propertyNames": true}),
        json!({"propertyNames": {}}),
        json!({"minProperties": 0, "uniqueItems": false, "not": false}),
        json!({"minItems": 0, "minLength": 0, "minContains": 1, "maxContains": 2}),
        json!({"then": {"type": "null"}, "else": false}),
        json!({"dependentRequired": {}, "unevaluatedProperties": true}),
    ] {
        assert_held(&record(more), &["{\"a\":1}", "{}"], &["{\"a\":\"b\"}"]);
    }
    for more in [
        json!({"propertyNames": {"type": "string", "pattern": "^a"}}),
        json!({"propertyNames": {"type": "integer"}}),
        json!({"propertyNames": false}),
        json!({"dependentRequired": {"a": ["b"]}}),
        json!({"unevaluatedProperties": false}),
    ] {
        let error = refusal(&record(more));
        assert!(error.contains("is not supported"), "{error}");
    }
}

#[test]
fn keywords_mean_the_same_in_any_order() {
    for schema in [
        json!({"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "string"}, "additionalItems": false}),
        json!({"additionalItems": false, "allOf": [{"minItems": 1}], "items": {"type": "string"}, "type": "array", "prefixItems": [{"type": "integer"}]}),
        json!({"type": "array", "items": [{"type": "integer"}], "allOf": [{"minItems": 1}], "additionalItems": {"type": "string"}}),
        json!({"additionalItems": {"type": "string"}, "anyOf": [{"minItems": 1}], "type": "array", "items": [{"type": "integer"}]}),
    ] {
        assert_held(&schema, &["[1,\"a\"]", "[1]"], &["[\"a\"]", "[1,2]"]);
    }
    assert_held(
        &json!({"additionalItems": false, "items": [{"type": "integer"}], "type": "array"}),
        &["[1]", "[]"],
        &["[1,2]", "[true]"],
    );
    for schema in [
        json!({"type": "integer", "exclusiveMaximum": true, "allOf": [{"minimum": 0}], "maximum": 5}),
        json!({"maximum": 5, "anyOf": [{"minimum": 0, "exclusiveMinimum": false}], "exclusiveMaximum": true, "type": "integer"}),
        json!({"allOf": [{"exclusiveMinimum": true, "minimum": -1}], "type": "integer", "exclusiveMaximum": 5}),
    ] {
        assert_held(&schema, &["0", "4"], &["5", "-1"]);
    }
    for schema in [
        json!({"type": "object", "patternProperties": {"^a": {"type": "integer"}}, "allOf": [{"required": ["a1"]}], "additionalProperties": false}),
        json!({"additionalProperties": false, "allOf": [{"required": ["a1"]}], "patternProperties": {"^a": {"type": "integer"}}, "type": "object"}),
    ] {
        assert_held(
            &schema,
            &["{\"a1\":1}", "{\"a1\":1,\"a2\":2}"],
            &["{\"a1\":true}", "{\"a1\":1,\"b\":2}", "{}"],
        );
    }
}

#[test]
fn patterns_count_where_they_intersect() {
    let field = |schema: &Value| {
        let fields = (0..12).map(|i| (format!("f{i}"), schema.clone()));
        let fields: serde_json::Map<String, Value> = fields.collect();
        json!({"type": "object", "properties": fields, "$defs": {"id": {"type": "string", "pattern": "^[a-z]+$"}}})
    };
    // A format beside its pattern, as zod writes it; a described reference, as Pydantic does.
    let day = json!({"type": "string", "format": "date", "pattern": "^\\d\\d-\\d\\d$"});
    assert_held(
        &field(&day),
        &["{\"f0\":\"12-31\",\"f11\":\"01-01\"}"],
        &["{\"f0\":\"2024-01-01\"}", "{\"f0\":1}"],
    );
    let name = json!({"allOf": [{"$ref": "#/$defs/id"}], "title": "Id", "description": "A name.", "default": "a"});
    let mut named = field(&json!({"type": "string", "pattern": "^[0-9]$"}));
    named["properties"]["g"] = name;
    assert_held(
        &named,
        &["{\"f0\":\"1\",\"g\":\"ab\"}"],
        &["{\"g\":\"1\"}", "{\"f0\":\"a\"}"],
    );
    // An intersection of its own counts no patterns that stand elsewhere.
    let mut both = field(&json!({"type": "string", "pattern": "^[0-9]$"}));
    both["properties"]["g"] =
        json!({"type": "string", "allOf": [{"pattern": "a"}, {"pattern": "b"}]});
    assert_held(
        &both,
        &["{\"g\":\"ba\"}"],
        &["{\"g\":\"a\"}", "{\"f0\":\"a\"}"],
    );
    // A pattern that is found anywhere leaves the format in force.
    assert_held(
        &json!({"type": "string", "format": "date", "pattern": "^2024"}),
        &["\"2024-02-29\""],
        &["\"2024\"", "\"2023-01-01\""],
    );
    // What a reference brings in may be all there is.
    both["properties"]["g"] = json!({"allOf": [{"$ref": "#/$defs/id"}, {"minLength": 2}]});
    let error = refusal(&both);
    assert!(error.contains("more than 8 patterns"), "{error}");
    // A tool loses its patterns before its schema.
    let grammar = calls(&[("f".to_owned(), both)], "name", "arguments", "");
    assert!(TINY.constraint(&grammar).loose().is_empty());
    let call = |arguments: &str| {
        let text = format!("{{\"name\": \"f\", \"arguments\": {arguments}}}");
        TINY.follow(&grammar, &text).1
    };
    assert!(call("{\"f0\": \"a\"}") && call("{\"g\": \"12\"}"));
    assert!(!call("{\"f0\": 1}") && !call("{\"g\": \"1\"}") && !call("{\"h\": 1}"));
}

/// The second time nothing is looked for; what is said stays the same.
#[test]
fn what_was_found_loose_is_said_again() {
    let vocabulary = Vocabulary::new(&TINY.tokenizer).unwrap();
    let good = json!({"properties": {"x": {"type": "integer"}}, "required": ["x"]});
    let mut tools: Vec<(String, Value)> =
        (0..40).map(|i| (format!("f{i}"), good.clone())).collect();
    tools.push(("odd".to_owned(), json!(false)));
    let grammar = calls(&tools, "name", "arguments", "");
    for _ in 0..2 {
        let constraint = Constraint::new(&vocabulary, &grammar).unwrap();
        let loose: Vec<&str> = constraint
            .loose()
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(loose, ["odd"]);
        let is_call = |text: &str| TINY.follow(&grammar, text).1;
        assert!(is_call(r#"{"name": "odd", "arguments": {"any": 1}}"#));
        assert!(!is_call(r#"{"name": "f0", "arguments": {"x": "any"}}"#));
    }
    // Other tools are others.
    let grammar = calls(&tools[..40], "name", "arguments", "");
    let constraint = Constraint::new(&vocabulary, &grammar).unwrap();
    assert!(constraint.loose().is_empty());
}

#[test]
fn what_wraps_a_schema_is_taken_off() {
    let number = json!({"type": "integer"});
    let named = json!({"name": "n", "strict": true, "schema": number});
    for wrapped in [
        json!({"type": "json_schema", "json_schema": named}),
        json!({"type": "json_schema", "json_schema": {"name": "n", "description": "A number.", "schema": number}}),
        named,
        number.clone(),
    ] {
        let Grammar::Schema(schema) = by_schema(wrapped) else {
            panic!("no schema");
        };
        assert_eq!(schema, number);
    }
    // What says more is a schema itself.
    let own = json!({"name": "n", "schema": {}, "type": "object"});
    let Grammar::Schema(schema) = by_schema(own.clone()) else {
        panic!("no schema");
    };
    assert_eq!(schema, own);
}

#[test]
fn a_repeated_name_makes_up_no_number() {
    for schema in [
        json!({"type": "object", "patternProperties": {"^a": {}}, "minProperties": 2}),
        json!({"type": "object", "minProperties": 2}),
        json!({"type": "object", "required": ["a", "a"], "minProperties": 3}),
    ] {
        let error = refusal(&schema);
        assert!(error.contains("#/minProperties: of "), "{error}");
    }
    assert_held(
        &json!({"type": "object", "minProperties": 1}),
        &["{\"a\":1}"],
        &["{}"],
    );
    assert_held(
        &json!({"type": "object", "required": ["a"], "minProperties": 2}),
        &["{\"a\":1,\"b\":2}"],
        &["{\"a\":1}", "{\"a\":1,\"a\":2}", r#"{"a":1,"\u0061":2}"#],
    );
    assert_held(
        &json!({"type": "object", "properties": {"a": {}, "b": {}}, "required": ["b", "a"], "minProperties": 2}),
        &["{\"a\":1,\"b\":2}"],
        &["{\"a\":1}"],
    );
}

#[test]
fn expressions_and_lark_match_as_a_whole() {
    let regex = |pattern: &str| Grammar::Regex(pattern.to_owned());
    let lark = |source: &str| Grammar::Lark(source.to_owned());
    for (grammar, good, bad) in [
        (regex("[0-9]{3}"), vec!["123"], vec!["12", "1234", "a"]),
        (
            regex(r"^(yes|no)\$?$"),
            vec!["yes", "no$"],
            vec!["y", "yes$$", "^yes"],
        ),
        (regex(r"a/b\\"), vec!["a/b\\"], vec!["a/b"]),
        (regex("(?i:é+)x?"), vec!["éÉ", "éx"], vec!["e", "x"]),
        (
            lark("start: NAME (\",\" NAME)*\nNAME: /[a-z]+/\n%ignore / /"),
            vec!["a", "ab, c,d"],
            vec!["", "A", "a,"],
        ),
        (
            lark("start: \"<\" x \">\" // <no> token\nx: \"<\"?"),
            vec!["<>", "<<>"],
            vec!["<"],
        ),
    ] {
        for text in good {
            assert!(TINY.follow(&grammar, text).1, "{grammar:?}: {text}");
        }
        for text in bad {
            assert!(!TINY.follow(&grammar, text).1, "{grammar:?}: {text}");
        }
    }
    let pattern = regex("[a-f]{2}(-[0-9]+)?");
    let check = regex::Regex::new("^[a-f]{2}(-[0-9]+)?$").unwrap();
    for seed in 0..50 {
        let answer = TINY.stroll(&pattern, seed);
        assert!(check.is_match(&answer), "{answer}");
    }
}

#[test]
fn no_grammar_lets_control_tokens_through() {
    // This one takes every text, also bytes that are none.
    let any =
        Grammar::Lark("%llguidance {\"allow_invalid_utf8\": true}\nstart: /(?s:.*)/".to_owned());
    let mut constraint = TINY.constraint(&any);
    let allowed = constraint.allowed().unwrap().to_vec();
    let mut texts = 0;
    for id in 0..TINY.tokenizer.n_vocab() as u32 {
        let is_allowed = allowed[id as usize / 32] >> (id % 32) & 1 == 1;
        match TINY.tokenizer.kind(id).unwrap() {
            _ if TINY.tokenizer.is_eog(id) => assert!(is_allowed),
            TokenKind::Control | TokenKind::Unknown | TokenKind::Unused => {
                assert!(!is_allowed, "{id}");
                assert!(constraint.accept(id).is_err());
            }
            _ => texts += u32::from(is_allowed),
        }
    }
    assert!(texts > 1900, "{texts}");
    // Nor does its name make one: the text of a control token is other tokens.
    let name = Grammar::Regex(r"<\|im_end\|>".to_owned());
    let answer = TINY.stroll(&name, 1);
    assert_eq!(answer, "<|im_end|>");
    let mut constraint = TINY.constraint(&name);
    for &end in TINY.tokenizer.eog_ids() {
        let error = constraint.accept(end).unwrap_err().to_string();
        assert!(error.contains("not complete"), "{error}");
    }
    assert!(constraint.accept(u32::MAX).is_err());
}

#[test]
fn an_answer_that_is_over_is_over() {
    let mut constraint = TINY.constraint(&Grammar::Regex("ab?".to_owned()));
    let id = |text: &str| TINY.tokenizer.encode_on(text).unwrap()[0];
    assert!(!constraint.is_complete() && !constraint.is_over());
    constraint.accept(id("a")).unwrap();
    assert!(constraint.is_complete() && !constraint.is_over());
    constraint.accept(id("b")).unwrap();
    assert!(constraint.is_complete() && constraint.is_over());
    assert!(constraint.certain().is_empty());
    assert!(constraint.accept(id("b")).is_err());
    constraint.accept(TINY.tokenizer.eog_ids()[0]).unwrap();
    assert!(constraint.is_over());
    assert!(constraint.accept(id("b")).is_err());
}

/// Grammars of strangers, with a part of the error; none where the grammar is odd and nothing else, an empty one where either is sound.
fn hostile() -> Vec<(Grammar, Option<&'static str>)> {
    let deep =
        |open: &str, close: &str| format!("{}x{}", open.repeat(60_000), close.repeat(60_000));
    let nested = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!({"items": inner}));
    let chain: serde_json::Map<String, Value> = (0..900)
        .map(|i| {
            (
                format!("a{i}"),
                json!({"$ref": format!("#/$defs/a{}", (i + 1) % 900)}),
            )
        })
        .collect();
    let mut long = chain.clone();
    long.insert("a899".to_owned(), json!({"type": "null"}));
    let wide: serde_json::Map<String, Value> =
        (0..3000).map(|i| (format!("p{i}"), json!({}))).collect();
    let names = |many: usize| {
        let names = (0..many).map(|i| (format!("^k{i:03}_"), json!({})));
        let names: serde_json::Map<String, Value> = names.collect();
        json!({"type": "object", "patternProperties": names})
    };
    let choices = (0..50).fold(json!({}), |inner, i| {
        json!({"type": "string", "pattern": format!("[a-z]{{{}}}", 30 * i), "anyOf": [inner]})
    });
    let nine: Vec<Value> = (0..9).map(|i| json!({"pattern": i.to_string()})).collect();
    let letters = (0..300).map(|i| json!({"pattern": format!(r"(?i)\pL{i}")}));
    let letters: Vec<Value> = letters.collect();
    let all = r"[!-\u{10FFFF}]".repeat(100);
    // Intersected, these have as many states as their product.
    let primes = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41];
    let primes = primes.map(|prime| format!("/([a-z]{{{prime}}})*/"));
    let doubling: String = (0..60)
        .map(|i| format!("r{i} ::= r{} r{}\n", i + 1, i + 1))
        .collect();
    let schema = |value: Value| Grammar::Schema(value);
    let regex = |text: &str| Grammar::Regex(text.to_owned());
    let gbnf = |text: &str| Grammar::Gbnf(text.to_owned());
    let lark = |text: &str| Grammar::Lark(text.to_owned());
    vec![
        (schema(json!(false)), Some("nothing satisfies it")),
        (schema(json!({"enum": []})), Some("#/enum: it is empty")),
        (
            schema(json!({"not": {}})),
            Some("#: \"not\" is not supported"),
        ),
        (
            schema(json!({"properties": {"a/b": {"if": {}}}})),
            Some("#/properties/a~1b: \"if\""),
        ),
        (
            schema(json!({"type": "string", "enum": [1, 2]})),
            Some("nothing satisfies it"),
        ),
        (
            schema(json!({"type": "integer", "minimum": 5, "maximum": 2})),
            Some("nothing satisfies it"),
        ),
        (
            schema(json!({"type": "string", "minLength": 5, "maxLength": 2})),
            Some("nothing satisfies it"),
        ),
        (
            schema(json!({"type": "string", "pattern": "^a$", "minLength": 2})),
            Some("nothing satisfies it"),
        ),
        (schema(json!({"$ref": "#"})), Some("requires itself")),
        (
            schema(json!({"$ref": "#/$defs/a0", "$defs": chain})),
            Some("requires itself"),
        ),
        (schema(json!({"$ref": "#/$defs/a0", "$defs": long})), None),
        (
            schema(
                json!({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}),
            ),
            Some("requires itself"),
        ),
        (
            schema(json!({"$ref": "#/nowhere"})),
            Some("there is no \"#/nowhere\""),
        ),
        (
            schema(json!({"$ref": "https://json-schema.org/draft/2020-12/schema"})),
            Some("not fetched"),
        ),
        (
            schema(json!({"$ref": "file:///etc/passwd"})),
            Some("not fetched"),
        ),
        (
            schema(json!({"type": "array", "minItems": 1_000_000_000_000_u64})),
            Some("#/minItems: 1000000000000"),
        ),
        (schema(json!({"type": "array", "maxItems": u64::MAX})), None),
        (
            schema(json!({"type": "array", "minItems": -1})),
            Some("a whole number from 0"),
        ),
        (
            schema(
                json!({"type": "array", "minItems": 9000, "maxItems": 900_000, "items": {"type": "array", "minItems": 9999, "items": {"type": "array", "minItems": 9999}}}),
            ),
            None,
        ),
        (
            schema(json!({"type": "string", "minLength": 10_000, "maxLength": 999_999})),
            None,
        ),
        (
            schema(json!({"type": "string", "pattern": "^(([a-z])+.)+[A-Z]([a-z])+$"})),
            Some(""),
        ),
        (
            schema(json!({"type": "string", "pattern": "(?=a)b"})),
            Some("look-around"),
        ),
        (
            schema(json!({"type": "string", "pattern": "("})),
            Some("unclosed group"),
        ),
        (schema(json!({"type": "é".repeat(200)})), Some("is no type")),
        (
            schema(json!({"minimum": "é".repeat(200)})),
            Some("#/minimum: a number is needed"),
        ),
        (
            schema(json!({"required": [1]})),
            Some("#/required: a list of names"),
        ),
        (
            schema(json!({"properties": [], "type": "object"})),
            Some("#/properties: an object is needed"),
        ),
        (
            schema(json!({"oneOf": [{"type": "integer"}, {"type": "number"}]})),
            Some("use anyOf"),
        ),
        (
            schema(json!({"x-guidance": {"lenient": true}, "not": {}})),
            Some("not supported"),
        ),
        (schema(json!({"type": "object", "properties": wide})), None),
        (schema(nested(60)), None),
        (schema(nested(200)), Some("nested more than 128 deep")),
        (
            schema(json!({"const": "x".repeat(300_000)})),
            Some("more than 262144 bytes"),
        ),
        (
            schema(
                json!({"allOf": (0..300).map(|i| json!({"pattern": format!("[a-z]{{{i}}}")})).collect::<Vec<_>>()}),
            ),
            Some("more than 8 patterns"),
        ),
        (
            schema(
                json!({"allOf": (0..8).map(|i| json!({"pattern": format!("[a-z]{{{}}}", 30 * i)})).collect::<Vec<_>>()}),
            ),
            Some(""),
        ),
        (schema(choices), Some("more than 8 patterns")),
        (
            schema(names(250)),
            Some("#/patternProperties: the names of an object can have 32 patterns"),
        ),
        (schema(names(32)), None),
        (
            schema(json!({"items": {"pattern": format!("(?i){all}")}})),
            Some("#/items/pattern: its classes of characters are too many"),
        ),
        (
            schema(json!({"anyOf": letters})),
            Some("/pattern: its classes of characters are too many"),
        ),
        (
            regex(&format!("(?i){all}")),
            Some("its classes of characters are too many"),
        ),
        (
            regex(&format!("(?i){}", r"\pL".repeat(4000))),
            Some("its classes of characters are too many"),
        ),
        (
            regex(&format!("(?i){}[^a]{}", "[b".repeat(50), "]".repeat(50))),
            Some("its classes of characters are too many"),
        ),
        (
            regex(&r"[\pL\pN]".repeat(30_000)),
            Some("its classes of characters are too many"),
        ),
        (regex(r"(?i)[\w.+-]+@[\w-]+\.[a-z]{2,}"), None),
        (
            lark(&format!("start: /{all}/i")),
            Some("line 1, column 8: its classes of characters are too many"),
        ),
        (
            lark(&format!("start: T\nT: {}", primes.join(" & "))),
            Some("more than 7 signs"),
        ),
        (
            lark(&format!("start: T\nT: ~(~{})", primes.join("\n | ~"))),
            Some("more than 7 signs"),
        ),
        (
            lark(&format!("start: T\nT: {}", primes[..8].join(" & "))),
            Some("regular expressions are too large"),
        ),
        (
            lark("start: T\nT: /([a-z]{1009})*/ & /([a-z]{1013})*/"),
            Some("regular expressions are too large"),
        ),
        (
            lark(&format!(
                "start: \"&\" /~&\\/&/ {} # & & & & & & & &",
                "\"a\" ~ 1..2 ".repeat(9)
            )),
            None,
        ),
        (
            lark(&format!("start: %json {}", names(250))),
            Some("line 1, column 8: the names of an object can have 32 patterns"),
        ),
        (
            lark(&format!("start: a\na: %json {}", json!({"allOf": nine}))),
            Some("line 2, column 4: it has allOf"),
        ),
        (
            lark("start: /a\n\"/ <|im_end|>"),
            Some("line 2, column 4: single tokens"),
        ),
        (regex(""), Some("empty")),
        (regex(&deep("(", ")")), Some("column ")),
        (regex(&"x".repeat(300_000)), Some("more than the 262144")),
        (regex("(a*)*b"), None),
        (regex("((a|b)*c){10000}"), None),
        (regex("(.*a){300}(.*b){300}"), Some("")),
        (regex("[a-z]{1000000}"), Some("1000000 characters at least")),
        (
            regex("((((a{100}){100}){100}){100}){100}"),
            Some("can be asked for"),
        ),
        (regex("[a&&b]"), Some("nothing satisfies it")),
        (regex(r"\bfoo\b"), Some("word boundaries")),
        (regex(r"x(a)\1"), Some("column 5: backreferences")),
        (regex(r"\u{110000}"), Some("Unicode scalar value")),
        (
            lark(&format!("start: {}", deep("(", ")"))),
            Some("line 1, column "),
        ),
        (lark("start: a\na: b\nb: a"), Some("nothing satisfies it")),
        (
            lark("start: \"a\"\n  b: <|im_end|>"),
            Some("line 2, column 6: single tokens"),
        ),
        (
            lark("start: \"a\" foo"),
            Some("line 1, column 8: unknown name"),
        ),
        (lark("start: ~"), Some("line 1, column ")),
        (
            lark("start: a a a a\na: b b b b\nb: \"x\"{1000000}"),
            Some(""),
        ),
        (lark("start: start start | \"a\" |"), None),
        (lark("start: /(((a{99}){99}){99}){99}/"), Some("")),
        (
            gbnf(&format!("root ::= {}", deep("(", ")"))),
            Some("nested more than 200 deep"),
        ),
        (
            gbnf(&format!("root ::= {}", "\"a\"|".repeat(65_000))),
            Some("too large"),
        ),
        (
            gbnf(&format!("{doubling}r60 ::= \"x\"\nroot ::= r0")),
            Some("can be asked for"),
        ),
        (
            gbnf(&format!("{doubling}r60 ::= \"x\"?\nroot ::= r0")),
            Some(""),
        ),
        (
            gbnf("root ::= (((\"a\"{9999}){9999}){9999}){9999}"),
            Some("can be asked for"),
        ),
        (
            gbnf("root ::= (((\"a\"{0,9999}){0,9999}){0,9999}){0,9999}"),
            Some(""),
        ),
        (gbnf("root ::= root | root root"), Some("never ends")),
        (gbnf("root ::= (\"a\"? \"b\"? root?)* | root root"), None),
        (gbnf("root ::= []"), Some("the class is empty")),
        (gbnf("root ::= \"\\uD800\""), Some("that is no character")),
        (
            gbnf(
                &(0..3000)
                    .map(|i| format!("r{i} ::= \"a\" r{}\n", i + 1))
                    .collect::<String>(),
            ),
            Some("more than 2000 rules"),
        ),
    ]
}

#[test]
fn grammars_of_strangers_end_soon() {
    let cases = hostile();
    assert!(cases.len() > 50);
    for (grammar, part) in cases {
        let mut shown = format!("{grammar:?}");
        shown.truncate(shown.floor_char_boundary(100));
        let start = Instant::now();
        match (Constraint::new(&TINY.vocabulary, &grammar), part) {
            (Err(error), Some(part)) => {
                let error = error.to_string();
                assert!(error.contains(part), "{shown}: {error}");
                assert_eq!(error.lines().count(), 1, "{error}");
                assert!(error.len() < 1000, "{error}");
            }
            (Ok(mut constraint), None | Some("")) => {
                // A few tokens on, whatever they are: an error is sound too.
                for _ in 0..20 {
                    drop(constraint.certain());
                    let Ok(allowed) = constraint.allowed() else {
                        break;
                    };
                    let Some(word) = allowed.iter().position(|&bits| bits != 0) else {
                        panic!("{shown}: nothing allowed and no error");
                    };
                    let id = word as u32 * 32 + allowed[word].trailing_zeros();
                    match constraint.accept(id) {
                        Err(error) if part.is_none() => panic!("{shown}: {error}"),
                        Ok(()) if !constraint.is_over() => {}
                        _ => break,
                    }
                }
            }
            (Ok(_), Some(part)) => panic!("{shown}: no error {part:?}"),
            (Err(error), None) => panic!("{shown}: {error}"),
        }
        // Far more than any takes, and far less than a hang.
        let taken = start.elapsed();
        println!("{taken:>10.1?} {shown}");
        assert!(taken < Duration::from_secs(20), "{shown}: {taken:?}");
    }
}

#[test]
fn a_vocabulary_without_an_end_is_refused() {
    let vocab = smolq::tokenizer::Vocab {
        model: "gpt2",
        pre: Some("gpt-2"),
        tokens: vec![b"a", b"b"],
        types: Some(vec![1, 1]),
        merges: Some(vec![]),
        ..smolq::tokenizer::Vocab::default()
    };
    let tokenizer = Tokenizer::new(&vocab, false).unwrap();
    let error = Vocabulary::new(&tokenizer).err().unwrap().to_string();
    assert!(error.contains("no token ends an answer"), "{error}");
    // One that lacks letters, and has a token too long for the trie.
    let long = vec![b'a'; 5000];
    let vocab = smolq::tokenizer::Vocab {
        tokens: vec![b"a", b"b", &long, b"</s>"],
        types: Some(vec![1, 1, 1, 3]),
        eos: Some(3),
        ..vocab
    };
    let tokenizer = Tokenizer::new(&vocab, false).unwrap();
    let vocabulary = Vocabulary::new(&tokenizer).unwrap();
    let new = |pattern: &str| Constraint::new(&vocabulary, &Grammar::Regex(pattern.to_owned()));
    assert_eq!(new("a+").unwrap().allowed().unwrap(), [1]);
    let error = new("c").err().unwrap().to_string();
    assert!(
        error.contains("nothing satisfies it that the vocabulary can write"),
        "{error}"
    );
    let mut constraint = new("ac").unwrap();
    constraint.accept(0).unwrap();
    let error = constraint.allowed().unwrap_err().to_string();
    assert!(error.contains("no token for what must follow"), "{error}");
}

#[test]
fn fixture_vocabularies_follow_schemas() {
    let Some(fixtures) = fixtures() else { return };
    for name in ["llama-bpe", "gpt-2", "qwen2", "llama-spm"] {
        let path = fixtures.join(format!("tokenizers/ggml-vocab-{name}.gguf"));
        let words = Words::of(&Gguf::open(&path, &OpenOptions::default()).unwrap());
        for (i, schema) in schemas().into_iter().enumerate() {
            let validator = validator(&schema);
            let answer = words.stroll(&Grammar::Schema(schema.clone()), i as u64);
            check(&validator, &schema, &answer);
        }
        // What must come is spelled as the tokenizer spells it.
        let grammar = Grammar::Regex("Hello, world!".to_owned());
        let certain = words.constraint(&grammar).certain();
        let wanted = words.tokenizer.encode_on("Hello, world!").unwrap();
        assert!(
            !certain.is_empty() && wanted.starts_with(&certain),
            "{name}: {certain:?} {wanted:?}"
        );
    }
}
