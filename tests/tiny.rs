//! The model inside the program: what it can do, on prompts whose fillers it never saw, and that it is computed as transformers does.
//!
//! The prompts and their answers are made by `tools/tiny/evaluate.py --export`, the recordings by `tools/tiny/export.py`. `SMOLQ_TINY_FILES` names
//! a folder of such files of another run, to be tested in place of the model inside the program.
#![cfg(feature = "embedded-model")]

mod common;
#[path = "common/engine.rs"]
mod engine;

use common::{fails, smolq, stdout};
use serde_json::Value as Json;
use smolq::chat::{Call, Chat, ReplyEvent, ReplyParser, Template};
use smolq::converse::{Control, Engine, Front, Permission, TurnEvent, TurnOptions};
use smolq::generate::{Event, Free, Request};
use smolq::sample::SampleOptions;
use smolq::tokenizer::EncodeOptions;
use smolq_gguf::OpenOptions;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// The folder of another run's files, where one is named.
fn another() -> Option<PathBuf> {
    std::env::var_os("SMOLQ_TINY_FILES").map(PathBuf::from)
}

/// A file beside the model that is tested.
fn data(name: &str) -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    another().unwrap_or_else(own).join(name)
}

fn json(name: &str) -> Json {
    serde_json::from_str(&std::fs::read_to_string(data(name)).unwrap()).unwrap()
}

/// A model that answers, always with the best token.
struct Answerer {
    template: Template,
    engine: Engine,
}

/// What looks on without a word.
struct Silent;

impl Front for Silent {
    fn event(&mut self, _: TurnEvent<'_>) -> smolq::Result<()> {
        Ok(())
    }
    fn permit(&mut self, _: &Call, _: &str, _: bool) -> smolq::Result<Permission> {
        Ok(Permission::Granted)
    }
}

fn greedy() -> SampleOptions {
    SampleOptions {
        temp: 0.0,
        ..SampleOptions::default()
    }
}

impl Answerer {
    fn open(path: &Path) -> Answerer {
        let (engine, template) = engine::open(path);
        Answerer { template, engine }
    }

    /// Answers a held-out prompt as a chat does. Gives the prompt and the reply.
    fn answer(&mut self, case: &Json, think: bool) -> (String, String) {
        let now = jiff::civil::date(2026, 1, 1).at(0, 0, 0, 0);
        let mut chat = Chat::new(self.template.clone(), self.engine.tokenizer(), now);
        chat.restore(&case["messages"]).unwrap();
        chat.think = Some(think);
        chat.tools = case["tools"].as_array().cloned().unwrap_or_default();
        let prompt = chat.prompt().unwrap().text;
        let options = TurnOptions {
            sample: greedy(),
            n_predict: Some(220),
            ..TurnOptions::default()
        };
        let control = Control::default();
        self.engine
            .turn(&mut chat, None, None, &options, &control, &mut Silent)
            .unwrap();
        let reply = chat.messages().last().unwrap()["content"].as_str().unwrap();
        (prompt, reply.to_owned())
    }

    /// Continues a prompt as it is.
    fn reply(&mut self, prompt: &str, most: usize) -> String {
        let request = Request {
            prompt: self.encode(prompt),
            n_predict: Some(most),
            special: true,
            sample: greedy(),
            ..Request::default()
        };
        let mut text = String::new();
        let stop = AtomicBool::new(false);
        self.engine
            .complete(&request, &mut Free, &stop, &mut |event| {
                if let Event::Piece(piece) = event {
                    text.push_str(piece);
                }
                Ok(())
            })
            .unwrap();
        text
    }

    fn encode(&self, prompt: &str) -> Vec<u32> {
        let options = EncodeOptions {
            add_special: false,
            parse_special: true,
        };
        self.engine.tokenizer().encode(prompt, options).unwrap()
    }
}

/// The thought and the answer of a reply.
fn split(prompt: &str, reply: &str) -> (String, String) {
    let mut parser = ReplyParser::new(prompt);
    let (mut thought, mut answer) = (String::new(), String::new());
    for event in parser.push(reply).into_iter().chain(parser.finish()) {
        match event {
            ReplyEvent::Thought(text) => thought.push_str(&text),
            ReplyEvent::Answer(text) => answer.push_str(&text),
            other => panic!("{other:?} without tools"),
        }
    }
    (thought.trim().to_owned(), answer.trim().to_owned())
}

/// The calls in an answer; `None` where one is no JSON.
fn tool_calls(answer: &str) -> Option<Vec<Json>> {
    let calls = answer.split("<tool_call>").skip(1);
    calls
        .map(|call| serde_json::from_str(call.split("</tool_call>").next()?).ok())
        .collect()
}

fn names(calls: &[Json]) -> Vec<&str> {
    calls
        .iter()
        .filter_map(|call| call["name"].as_str())
        .collect()
}

/// Words of letters, in lower case.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphabetic());
    words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Whether an answer is right.
fn passes(case: &Json, answer: &str, markers: &Json) -> bool {
    let expected = &case["expected"];
    let contains = || {
        let parts = expected.as_array().unwrap();
        parts
            .iter()
            .all(|part| answer.contains(part.as_str().unwrap()))
    };
    match case["check"].as_str().unwrap() {
        // The last number is the expected one.
        "number" => {
            let last = answer
                .split(|c: char| !c.is_ascii_digit())
                .rfind(|digits| !digits.is_empty());
            last == expected.as_str()
        }
        "contains" => contains(),
        "story" => answer.split_whitespace().count() >= 40 && contains(),
        "calls" => tool_calls(answer).as_ref() == expected.as_array(),
        // No language has more of its words in the answer.
        "language" => {
            let words = words(answer);
            let count = |known: &Json| {
                let known = known.as_array().unwrap();
                words
                    .iter()
                    .filter(|word| known.iter().any(|k| k.as_str() == Some(word)))
                    .count()
            };
            let found = count(&markers[expected.as_str().unwrap()]);
            let languages = markers.as_object().unwrap();
            found > 0 && languages.values().all(|known| count(known) <= found)
        }
        other => panic!("no check is named {other}"),
    }
}

/// How many of how many were right.
#[derive(Default)]
struct Score {
    right: usize,
    asked: usize,
}

impl Score {
    fn add(&mut self, right: bool) {
        self.right += usize::from(right);
        self.asked += 1;
    }
    fn percent(&self) -> f64 {
        100.0 * self.right as f64 / self.asked as f64
    }
}

/// What is asked of each skill, in percent.
const BARS: &[(&str, f64)] = &[
    ("addition, thinking", 95.0),
    ("addition", 80.0),
    ("arithmetic", 90.0),
    ("counting", 75.0),
    ("tool chosen", 97.0),
    ("arguments", 95.0),
    ("tool_result", 95.0),
    ("mode", 100.0),
    ("language", 95.0),
    ("translation", 90.0),
    ("manual", 90.0),
    ("story", 90.0),
    ("system_prompt", 90.0),
    ("talk", 90.0),
    ("facts", 90.0),
    ("unknown", 90.0),
    ("memory", 90.0),
];

/// Asks all held-out prompts and compares each skill with its bar.
fn answers_held_out_prompts(path: &Path) {
    let mut answerer = Answerer::open(path);
    let file = json("tiny-heldout.json");
    let mut scores: BTreeMap<&str, Score> = BTreeMap::new();
    for case in file["prompts"].as_array().unwrap() {
        let think = case["think"].as_bool().unwrap();
        let (prompt, reply) = answerer.answer(case, think);
        let (thought, answer) = split(&prompt, &reply);
        let right = passes(case, &answer, &file["markers"]);
        if !right {
            println!(
                "{}: {} was wanted, not {answer}",
                case["skill"], case["expected"]
            );
        }
        let respected = if think {
            !thought.is_empty()
        } else {
            !reply.contains("<think>")
        };
        scores.entry("mode").or_default().add(respected);
        let mut score = |name| scores.entry(name).or_default().add(right);
        match case["skill"].as_str().unwrap() {
            "addition" if think => score("addition, thinking"),
            "tool_call" | "two_calls" => score("arguments"),
            "tool_missing" | "tool_idle" => {}
            skill => {
                let bar = BARS.iter().find(|(name, _)| *name == skill);
                score(bar.unwrap_or_else(|| panic!("no bar for {skill}")).0);
            }
        }
        if case["check"] == "calls" {
            let expected = case["expected"].as_array().unwrap();
            let chosen = tool_calls(&answer).is_some_and(|calls| names(&calls) == names(expected));
            scores.entry("tool chosen").or_default().add(chosen);
        }
    }
    let mut low = Vec::new();
    for &(name, bar) in BARS {
        let score = &scores[name];
        let line = format!(
            "{name}: {} of {}, {:.1} % of {bar} %",
            score.right,
            score.asked,
            score.percent()
        );
        println!("{line}");
        assert!(score.asked >= 50, "{line}");
        if score.percent() < bar {
            low.push(line);
        }
    }
    assert!(low.is_empty(), "{low:#?}");
}

#[test]
fn the_model_inside_the_program_answers_held_out_prompts() {
    let file = another().map(|folder| folder.join("tiny-q8_0.gguf"));
    answers_held_out_prompts(file.as_deref().unwrap_or(Path::new("tiny")));
}

#[test]
fn the_f16_file_answers_held_out_prompts() {
    answers_held_out_prompts(&data("tiny-f16.gguf"));
}

/// The numbers of a .npy file of little-endian f32 with two dimensions.
fn rows(name: &str, width: usize) -> Vec<Vec<f32>> {
    let bytes = std::fs::read(data(name)).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY\x01"));
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let floats = bytes[10 + header..].as_chunks::<4>().0;
    let floats: Vec<f32> = floats.iter().map(|b| f32::from_le_bytes(*b)).collect();
    assert!(!floats.is_empty() && floats.len().is_multiple_of(width));
    floats.chunks_exact(width).map(<[f32]>::to_vec).collect()
}

#[test]
fn the_f16_file_is_computed_as_by_transformers() {
    let mut answerer = Answerer::open(&data("tiny-f16.gguf"));
    let records = json("tiny-goldens.json");
    let records = records.as_array().unwrap();
    let n_vocab = answerer.engine.session.model().config().n_vocab;
    let truth = rows("tiny-goldens.npy", n_vocab);
    assert_eq!(truth.len(), records.len());
    let mut largest = 0.0f32;
    for (record, truth) in records.iter().zip(&truth) {
        let ids: Vec<u32> = serde_json::from_value(record["tokens"].clone()).unwrap();
        let prompt = record["prompt"].as_str().unwrap();
        assert_eq!(answerer.encode(prompt), ids);
        let most = record["reply_tokens"].as_array().unwrap().len();
        assert_eq!(
            answerer.reply(prompt, most),
            record["reply"].as_str().unwrap(),
            "after {prompt}"
        );
        answerer.engine.session.truncate(0);
        let logits = answerer
            .engine
            .session
            .prefill(&ids, &mut |_| true)
            .unwrap();
        for (ours, theirs) in logits.unwrap().iter().zip(truth) {
            largest = largest.max((ours - theirs).abs());
        }
    }
    println!("largest difference of logits: {largest}");
    assert!(largest < 0.02, "{largest}");
}

#[test]
fn the_file_is_small_and_used_in_place() {
    let gguf = smolq::embedded::open(Path::new("tiny"), &OpenOptions::default()).unwrap();
    assert!(gguf.file_bytes() <= 6_000_000);
    // A second opening shows the same bytes, so neither has copied them.
    let again = smolq::embedded::open(Path::new("tiny"), &OpenOptions::default()).unwrap();
    for tensor in gguf.tensors() {
        let bytes = gguf.data(tensor);
        assert_eq!(bytes.as_ptr(), again.data(tensor).as_ptr());
        assert_eq!(bytes.as_ptr().align_offset(64), 0);
    }
}

#[test]
fn a_file_of_its_name_is_meant_by_a_path() {
    let output = smolq()
        .args(["inspect", "./tiny"])
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    fails(&output, 1, &["./tiny"]);
}

#[test]
fn without_a_model_the_built_in_one_answers_and_says_what_it_is() {
    let folder = std::env::temp_dir();
    for arguments in [
        &["run", "-p", "What is 23 + 45?"][..],
        &["run", "tiny", "What is 23 + 45?"],
    ] {
        let output = smolq()
            .args(arguments)
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(stdout(&output).contains("68"), "{}", stdout(&output));
        let errors = String::from_utf8(output.stderr.clone()).unwrap();
        let first = errors.lines().next().unwrap();
        assert!(
            first.contains("inside smolq")
                && first.contains(
                    "https://huggingface.co/ggml-org/SmolLM3-3B-GGUF/resolve/main/SmolLM3-Q4_K_M.gguf"
                ),
            "{first}"
        );
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

#[test]
fn without_any_argument_a_piped_message_is_answered() {
    use std::io::Write;
    let mut child = smolq()
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"What is 23 + 45?\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(stdout(&output).contains("68"), "{}", stdout(&output));
}

/// A turn of the built-in model without a terminal.
fn turn(flags: &[&str]) -> std::process::Output {
    let mut command = smolq();
    command.args(["run", "tiny", "--temp", "0"]).args(flags);
    command.output().unwrap()
}

#[test]
fn events_are_json_lines() {
    let output = turn(&["--json", "--think", "on", "-p", "What is 23 + 45?"]);
    let text = stdout(&output);
    let events: Vec<Json> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let all = |kind: &str| -> String {
        let parts = events.iter().filter(|event| event["event"] == kind);
        parts.map(|event| event["text"].as_str().unwrap()).collect()
    };
    assert!(all("thought").contains("3 + 5 = 8"), "{text}");
    assert_eq!(all("answer"), "23 + 45 = 68.");
    let done = events.last().unwrap();
    assert_eq!(
        (&done["event"], &done["reason"]),
        (&Json::from("done"), &Json::from("end"))
    );
    assert_eq!(done["cached_tokens"], 0);
}

#[test]
fn where_nobody_can_be_asked_tools_need_leave_beforehand() {
    let folder = std::env::temp_dir().join(format!("smolq-tiny-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("tools.json");
    let tools = serde_json::json!([{"name": "get_weather", "description": "Get the weather of a city", "command": ["printf", "{\"weather\": \"21 degrees\"}%.0s", "{city}"],
        "stdin": "none", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}]);
    std::fs::write(&file, tools.to_string()).unwrap();
    let ask = |more: &[&str]| {
        let flags = [
            "--think",
            "off",
            "--tools",
            file.to_str().unwrap(),
            "-p",
            "What is the weather in Lisbon?",
        ];
        turn(&[&flags[..], more].concat())
    };
    let output = ask(&["--yes"]);
    assert_eq!(stdout(&output), "The weather in Lisbon is 21 degrees.\n");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("-> get_weather {\"city\":\"Lisbon\"}"),
        "{errors}"
    );
    let output = ask(&[]);
    stdout(&output);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("--yes") && errors.contains("does not allow"),
        "{errors}"
    );
}

#[test]
fn what_a_chat_cannot_do_is_said_in_one_line() {
    for (flags, parts) in [
        (
            &["--session", "/no/such/folder/chat.smolq"][..],
            &["--session", "/no/such/folder"][..],
        ),
        (&["--format", "{\"type\":"], &["--format", "line 1"]),
        (&["--format", "{\"enum\": []}"], &["json schema"]),
        (&["--regex", "(("], &["regex"]),
        (&["--tool-choice", "required"], &["tool choice"]),
        (&["--tools", "/no/such.json"], &["/no/such.json"]),
        (&["--chat-template", "nope"], &["nope", "smollm3"]),
    ] {
        let output = turn(&[flags, &["-p", "Hello"]].concat());
        assert_eq!(output.status.code(), Some(1), "{flags:?}");
        assert!(output.stdout.is_empty(), "{flags:?}");
        let errors = String::from_utf8(output.stderr).unwrap();
        // The first line says which model it is.
        let error = errors.lines().nth(1).unwrap();
        assert_eq!(errors.lines().count(), 2, "{errors}");
        for part in parts {
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
    }
}
