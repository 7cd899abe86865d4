//! A reply as it streams: the thought, then the answer, and calls of tools in it.
//!
//! Events never take back what they said. Text is held back only while it may be the beginning of a tag, or blanks that would be left
//! out; a call is announced when its name is whole, and its arguments stream from there.

use super::call::{self, Call};
use super::dialect::{CallForm, compact};
use regex::Regex;
use serde_json::Value as Json;
use std::sync::LazyLock;

/// What the parts of a reply are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyEvent {
    /// A part of the thought.
    Thought(String),
    /// A part of the answer.
    Answer(String),
    /// A call of a tool began.
    CallBegin {
        /// Which of the reply's calls, from 0.
        index: usize,
        /// The tool's name.
        name: String,
    },
    /// A part of a call's arguments, which together are JSON.
    CallArguments {
        /// Which of the reply's calls.
        index: usize,
        /// The part.
        text: String,
    },
    /// A call is whole; or what should have been one is not, for a reason that the model may be told.
    CallEnd {
        /// Which of the reply's calls.
        index: usize,
        /// The call.
        call: Result<Call, String>,
    },
}

pub(super) const OPEN: &str = "<think>";
pub(super) const CLOSE: &str = "</think>";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but blanks so far.
    Start,
    Thinking,
    /// The blanks between thought and answer.
    Between,
    Answering,
    Calling,
}

/// The tools whose calls are looked for.
#[derive(Clone, Debug)]
struct Tools {
    form: CallForm,
    /// Names and parameters.
    signatures: Vec<(String, Vec<String>)>,
}

impl Tools {
    fn parameters(&self, name: &str) -> Option<Vec<String>> {
        let tool = self.signatures.iter().find(|(known, _)| known == name);
        tool.map(|(_, parameters)| parameters.clone())
    }
}

/// Splits a reply into thought, answer and calls.
#[derive(Debug)]
pub struct ReplyParser {
    state: State,
    held: String,
    tools: Option<Tools>,
    calls: usize,
    progress: Progress,
}

/// How far a call has been told.
#[derive(Debug, Default)]
struct Progress {
    /// Where in the held text the arguments begin, once the name has been told.
    arguments: Option<usize>,
    /// How much of the held text has been looked at and, as far as it is arguments, told.
    told: usize,
    object: Object,
}

/// Finds where a JSON object ends.
#[derive(Clone, Copy, Debug, Default)]
struct Object {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Object {
    /// Whether the object ends with this byte.
    fn ends(&mut self, byte: u8) -> bool {
        match (self.in_string, byte) {
            (true, _) if self.escaped => self.escaped = false,
            (true, b'\\') => self.escaped = true,
            (_, b'"') => self.in_string = !self.in_string,
            (false, b'{' | b'[') => self.depth += 1,
            (false, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }

    /// How long the object at the beginning of a text is, once it is whole.
    fn length(text: &str) -> Option<usize> {
        let mut object = Object::default();
        text.bytes()
            .position(|byte| object.ends(byte))
            .map(|at| at + 1)
    }
}

/// What comes before the arguments of a call, where its name comes first.
static HEAD: LazyLock<Regex> = LazyLock::new(|| {
    let pattern =
        r#"^\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*\{"#;
    Regex::new(pattern).expect("a sound pattern")
});

impl ReplyParser {
    /// A parser of the reply to `prompt`, which may already have opened the thought.
    pub fn new(prompt: &str) -> ReplyParser {
        let opened = prompt.trim_end().ends_with(OPEN);
        ReplyParser {
            state: if opened {
                State::Thinking
            } else {
                State::Start
            },
            held: String::new(),
            tools: None,
            calls: 0,
            progress: Progress::default(),
        }
    }

    /// The parser that also looks for calls of these tools, which are given as chat APIs have them. Without any, what looks like a call
    /// is text.
    pub fn with_tools(mut self, form: CallForm, tools: &[Json]) -> ReplyParser {
        let signature = |tool: &Json| {
            let tool = tool.get("function").unwrap_or(tool);
            let properties = tool["parameters"]["properties"].as_object();
            let parameters = properties
                .into_iter()
                .flatten()
                .map(|(name, _)| name.clone());
            Some((tool["name"].as_str()?.to_owned(), parameters.collect()))
        };
        if !tools.is_empty() {
            let signatures = tools.iter().filter_map(signature).collect();
            self.tools = Some(Tools { form, signatures });
        }
        self
    }

    /// Whether a thought has begun, and not ended.
    pub fn is_thinking(&self) -> bool {
        self.state == State::Thinking
    }

    /// Takes text; gives what is certain.
    pub fn push(&mut self, text: &str) -> Vec<ReplyEvent> {
        self.held.push_str(text);
        let mut events = Vec::new();
        while self.step(&mut events) {}
        events
    }

    /// The end of the reply: what was held back was no tag, and a call that is not whole will not be.
    pub fn finish(mut self) -> Vec<ReplyEvent> {
        let mut events = Vec::new();
        let rest = std::mem::take(&mut self.held);
        match self.state {
            State::Thinking => push(&mut events, ReplyEvent::Thought, rest.trim_end()),
            State::Calling => self.end_call(&rest, &mut events),
            State::Answering if self.tools.is_some() => {
                push(&mut events, ReplyEvent::Answer, rest.trim_end())
            }
            _ if self.may_be_call(&rest) == Some(true) => self.end_call(&rest, &mut events),
            _ => push(&mut events, ReplyEvent::Answer, rest.trim_end()),
        }
        events
    }

    /// Goes on by one state, if what is held is enough for that.
    fn step(&mut self, events: &mut Vec<ReplyEvent>) -> bool {
        match self.state {
            State::Start => self.start(),
            State::Thinking => self.think(events),
            State::Between => {
                // Calls without tags are told apart by blanks and semicolons.
                let bare = self
                    .tools
                    .as_ref()
                    .is_some_and(|tools| tools.form == CallForm::Bare);
                let blank = |c: char| c.is_whitespace() || (c == ';' && bare && self.calls > 0);
                let rest = self.held.trim_start_matches(blank).len();
                self.held.drain(..self.held.len() - rest);
                if self.held.is_empty() || self.may_be_call(&self.held).is_none() {
                    return false;
                }
                self.begin_answer();
                true
            }
            State::Answering => self.answer(events),
            State::Calling => self.call(events),
        }
    }

    fn start(&mut self) -> bool {
        let blanks = self.held.len() - self.held.trim_start().len();
        let rest = &self.held[blanks..];
        if rest.starts_with(OPEN) {
            self.held.drain(..blanks + OPEN.len());
            self.state = State::Thinking;
        } else if OPEN.starts_with(rest) || self.may_be_call(rest).is_none() {
            return false;
        } else {
            self.begin_answer();
        }
        true
    }

    fn think(&mut self, events: &mut Vec<ReplyEvent>) -> bool {
        match self.held.find(CLOSE) {
            Some(at) => {
                let rest = self.held.split_off(at + CLOSE.len());
                self.held.truncate(at);
                let thought = std::mem::replace(&mut self.held, rest);
                push(events, ReplyEvent::Thought, thought.trim_end());
                self.state = State::Between;
                true
            }
            None => {
                // Blanks and the beginning of a tag wait for what follows.
                let text = &self.held[..self.held.len() - begun(&self.held, CLOSE)];
                let rest = self.held.split_off(text.trim_end().len());
                let thought = std::mem::replace(&mut self.held, rest);
                push(events, ReplyEvent::Thought, &thought);
                false
            }
        }
    }

    /// Whether the beginning of an answer is a call without tags; `None` while it may become one.
    fn may_be_call(&self, text: &str) -> Option<bool> {
        if self
            .tools
            .as_ref()
            .is_none_or(|tools| tools.form != CallForm::Bare)
        {
            return Some(false);
        }
        let text = text.trim_start();
        let (tag, _) = CallForm::Bare.tags();
        let text = match text.strip_prefix(tag) {
            Some(rest) => rest,
            None if tag.starts_with(text) => return None,
            None => text,
        };
        const BEGINNING: &str = "{\"name\":";
        let mut wanted = BEGINNING.chars();
        for c in text.chars().filter(|c| !c.is_whitespace()) {
            match wanted.next() {
                None => return Some(true),
                Some(w) if w == c => {}
                Some(_) => return Some(false),
            }
        }
        if wanted.as_str().is_empty() {
            Some(true)
        } else {
            None
        }
    }

    fn begin_answer(&mut self) {
        self.state = State::Answering;
        if self.may_be_call(&self.held) == Some(true) {
            let (tag, _) = CallForm::Bare.tags();
            if let Some(rest) = self.held.trim_start().strip_prefix(tag) {
                self.held = rest.to_owned();
            }
            self.begin_call();
        }
    }

    fn begin_call(&mut self) {
        self.state = State::Calling;
        self.progress = Progress::default();
    }

    fn answer(&mut self, events: &mut Vec<ReplyEvent>) -> bool {
        let Some(tools) = &self.tools else {
            push(events, ReplyEvent::Answer, &self.held);
            self.held.clear();
            return false;
        };
        let (open, _) = tools.form.tags();
        if let Some(at) = self.held.find(open) {
            push(events, ReplyEvent::Answer, self.held[..at].trim_end());
            self.held.drain(..at + open.len());
            self.begin_call();
            return true;
        }
        // Blanks may stand before a call, which leaves them out.
        let text = &self.held[..self.held.len() - begun(&self.held, open)];
        let rest = self.held.split_off(text.trim_end().len());
        let answer = std::mem::replace(&mut self.held, rest);
        push(events, ReplyEvent::Answer, &answer);
        false
    }

    fn call(&mut self, events: &mut Vec<ReplyEvent>) -> bool {
        let Some(form) = self.tools.as_ref().map(|tools| tools.form) else {
            return false;
        };
        if form != CallForm::Python {
            self.tell_call(events);
        }
        let end = match form {
            CallForm::Bare => Object::length(&self.held).map(|end| (end, end)),
            CallForm::Tagged | CallForm::Python => {
                let (_, close) = form.tags();
                // In the arguments the tag would be text.
                let from = self.progress.told;
                let inside = self.progress.arguments.is_some() && self.progress.object.depth > 0;
                let found = self.held[from..].find(close).filter(|_| !inside);
                found.map(|at| (from + at, from + at + close.len()))
            }
        };
        let Some((end, after)) = end else {
            return false;
        };
        let rest = self.held.split_off(after);
        self.held.truncate(end);
        let call = std::mem::replace(&mut self.held, rest);
        self.end_call(&call, events);
        self.state = State::Between;
        true
    }

    /// Tells the name of a call as soon as it is whole, and the arguments as they come.
    fn tell_call(&mut self, events: &mut Vec<ReplyEvent>) {
        let index = self.calls;
        if self.progress.arguments.is_none() {
            let Some(head) = HEAD.captures(&self.held) else {
                return;
            };
            let Ok(name) = serde_json::from_str(&head[1]) else {
                return;
            };
            let start = head[0].len() - 1;
            self.progress = Progress {
                arguments: Some(start),
                told: start,
                object: Object::default(),
            };
            events.push(ReplyEvent::CallBegin { index, name });
        }
        let from = self.progress.told;
        let started = from > self.progress.arguments.unwrap_or(0);
        if started && self.progress.object.depth == 0 {
            return;
        }
        let rest = &self.held.as_bytes()[from..];
        let end = rest
            .iter()
            .position(|&byte| self.progress.object.ends(byte));
        let length = end.map_or(rest.len(), |at| at + 1);
        let text = self.held[from..from + length].to_owned();
        self.progress.told += length;
        if !text.is_empty() {
            events.push(ReplyEvent::CallArguments { index, text });
        }
    }

    /// The end of a call, whose text is all there will be of it.
    fn end_call(&mut self, text: &str, events: &mut Vec<ReplyEvent>) {
        let told = self.progress.arguments.is_some();
        let form = self.tools.as_ref().map(|tools| tools.form);
        let calls = match (form, &self.tools) {
            (Some(CallForm::Python), Some(tools)) => {
                call::from_python(text, &|name| tools.parameters(name))
                    .map(|calls| calls.into_iter().map(Ok).collect())
            }
            _ => match serde_json::from_str::<Json>(text.trim()) {
                Ok(Json::Array(calls)) => Ok(calls.iter().map(whole).collect()),
                Ok(call) => Ok(vec![whole(&call)]),
                Err(error) => Err(format!("the call is no JSON: {error}")),
            },
        };
        let calls: Vec<Result<Call, String>> = calls.unwrap_or_else(|why| vec![Err(why)]);
        for call in calls {
            let index = self.calls;
            self.calls += 1;
            if let (Ok(call), false) = (&call, told) {
                events.push(ReplyEvent::CallBegin {
                    index,
                    name: call.name.clone(),
                });
                events.push(ReplyEvent::CallArguments {
                    index,
                    text: compact(&call.arguments),
                });
            }
            events.push(ReplyEvent::CallEnd { index, call });
        }
        self.progress = Progress::default();
    }
}

fn whole(json: &Json) -> Result<Call, String> {
    Call::from_json(json)
        .ok_or_else(|| "the call has no name, or arguments that are no object".to_owned())
}

/// How much of a text's end is the beginning of a tag.
fn begun(text: &str, tag: &str) -> usize {
    let possible = (1..tag.len()).rev();
    possible
        .into_iter()
        .find(|&n| text.ends_with(&tag[..n]))
        .unwrap_or(0)
}

fn push(events: &mut Vec<ReplyEvent>, kind: fn(String) -> ReplyEvent, text: &str) {
    if !text.is_empty() {
        events.push(kind(text.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// A reply's events, joined: thought, answer, calls.
    #[derive(Debug, Default, PartialEq)]
    struct Whole {
        thought: String,
        answer: String,
        calls: Vec<Result<Call, String>>,
    }

    /// What a reply is when it is pushed in pieces of `n` characters.
    fn split_by(mut parser: ReplyParser, reply: &str, n: usize) -> Whole {
        let chars: Vec<char> = reply.chars().collect();
        let mut events = Vec::new();
        for piece in chars.chunks(n) {
            events.extend(parser.push(&piece.iter().collect::<String>()));
        }
        events.extend(parser.finish());
        let mut whole = Whole::default();
        let mut open: Option<(usize, String, String)> = None;
        for event in events {
            match event {
                ReplyEvent::Thought(text) => whole.thought.push_str(&text),
                ReplyEvent::Answer(text) => whole.answer.push_str(&text),
                ReplyEvent::CallBegin { index, name } => {
                    assert_eq!(index, whole.calls.len());
                    assert!(open.replace((index, name, String::new())).is_none());
                }
                ReplyEvent::CallArguments { index, text } => {
                    let (current, _, arguments) = open.as_mut().expect("a call");
                    assert_eq!(index, *current);
                    arguments.push_str(&text);
                }
                ReplyEvent::CallEnd { index, call } => {
                    assert_eq!(index, whole.calls.len());
                    if let (Some((_, name, arguments)), Ok(call)) = (open.take(), &call) {
                        // What was told on the way is what it came to.
                        assert_eq!(name, call.name);
                        assert_eq!(
                            serde_json::from_str::<Json>(&arguments).unwrap(),
                            call.arguments
                        );
                    }
                    whole.calls.push(call);
                }
            }
        }
        whole
    }

    fn split(prompt: &str, reply: &str, n: usize) -> (String, String) {
        let whole = split_by(ReplyParser::new(prompt), reply, n);
        assert!(whole.calls.is_empty());
        (whole.thought, whole.answer)
    }

    fn tools() -> Vec<Json> {
        let properties = json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}});
        vec![json!({"type": "function", "function": {"name": "weather", "parameters": properties}})]
    }

    fn call(name: &str, arguments: Json) -> Result<Call, String> {
        Ok(Call {
            name: name.to_owned(),
            arguments,
        })
    }

    #[test]
    fn thought_and_answer_are_told_apart_however_the_text_is_cut() {
        let cases = [
            (
                "",
                "<think>\n2 + 2.\nSo 4.\n</think>\n\nFour. <b>",
                "\n2 + 2.\nSo 4.",
                "Four. <b>",
            ),
            ("", "Just <think> an answer", "", "Just <think> an answer"),
            ("", "\n<thin ice", "", "\n<thin ice"),
            (
                "assistant\n<think>\n",
                "é </thin\n</think>ok",
                "é </thin",
                "ok",
            ),
            ("", "<think> cut off </th", " cut off </th", ""),
            ("", "<think></think>", "", ""),
            ("<think>\n\n</think>\n", "Hello.", "", "Hello."),
            ("", "", "", ""),
            (
                "",
                "<tool_call>\n{}\n</tool_call>",
                "",
                "<tool_call>\n{}\n</tool_call>",
            ),
        ];
        for (prompt, reply, thought, answer) in cases {
            for n in [1, 2, 3, 7, 100] {
                let expected = (thought.to_owned(), answer.to_owned());
                assert_eq!(split(prompt, reply, n), expected, "{reply:?} by {n}");
            }
        }
    }

    #[test]
    fn calls_are_found_however_the_text_is_cut() {
        use CallForm::{Bare, Python, Tagged};
        let paris = || call("weather", json!({"city": "Paris"}));
        let cases = [
            (
                Tagged,
                "<think>\nHm.\n</think>\n\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>",
                "\nHm.",
                "",
                vec![paris()],
            ),
            (
                Tagged,
                "I look.\n<tool_call>{\"name\":\"weather\",\"arguments\":{\"city\":\"a } </tool_call> \\\" {\"}}</tool_call>\n<tool_call>\n{\"arguments\": {}, \"name\": \"b\"}\n</tool_call>\nDone.\n",
                "",
                "I look.Done.",
                vec![
                    call("weather", json!({"city": "a } </tool_call> \" {"})),
                    call("b", json!({})),
                ],
            ),
            (Tagged, "a <tool b < c", "", "a <tool b < c", vec![]),
            (
                Tagged,
                "<tool_call>\n[{\"name\": \"a\"}, {\"name\": \"b\"}]\n</tool_call>",
                "",
                "",
                vec![call("a", json!({})), call("b", json!({}))],
            ),
            (
                Bare,
                "{\"name\": \"weather\", \"parameters\": {\"city\": \"Paris\"}}",
                "",
                "",
                vec![paris()],
            ),
            (
                Bare,
                "<|python_tag|>{\"name\": \"weather\", \"parameters\": {\"city\": \"Paris\"}}; {\"name\": \"b\", \"parameters\": {}}",
                "",
                "",
                vec![paris(), call("b", json!({}))],
            ),
            (Bare, "{\"nome\": 1}", "", "{\"nome\": 1}", vec![]),
            (Bare, "{ \"na", "", "{ \"na", vec![]),
            (
                Python,
                "<code>\nweather('Paris')\nweather(city=\"Rome\", days=2)\n</code>",
                "",
                "",
                vec![paris(), call("weather", json!({"city": "Rome", "days": 2}))],
            ),
        ];
        for (form, reply, thought, answer, calls) in cases {
            let expected = Whole {
                thought: thought.to_owned(),
                answer: answer.to_owned(),
                calls,
            };
            for n in [1, 2, 3, 7, 1000] {
                let parser = ReplyParser::new("").with_tools(form, &tools());
                assert_eq!(split_by(parser, reply, n), expected, "{reply:?} by {n}");
            }
        }
    }

    #[test]
    fn what_is_no_call_says_why() {
        use CallForm::{Python, Tagged};
        for (form, reply) in [
            (Tagged, "<tool_call>\nweather in Paris\n</tool_call>"),
            (
                Tagged,
                "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Par",
            ),
            (Tagged, "<tool_call>\n{\"arguments\": {}}\n</tool_call>"),
            (Python, "<code>\nimport os\n</code>"),
        ] {
            for n in [1, 5, 1000] {
                let parser = ReplyParser::new("").with_tools(form, &tools());
                let whole = split_by(parser, reply, n);
                assert!(matches!(&whole.calls[..], [Err(_)]), "{reply:?}: {whole:?}");
                assert_eq!(whole.answer, "");
            }
        }
    }

    #[test]
    fn text_streams_as_soon_as_it_is_certain() {
        let mut parser = ReplyParser::new("").with_tools(CallForm::Tagged, &tools());
        assert_eq!(parser.push("<think>"), []);
        assert_eq!(parser.push("one "), [ReplyEvent::Thought("one".to_owned())]);
        assert_eq!(parser.push("two"), [ReplyEvent::Thought(" two".to_owned())]);
        assert_eq!(parser.push("\n</think>\n\n"), []);
        assert_eq!(parser.push("A"), [ReplyEvent::Answer("A".to_owned())]);
        assert_eq!(parser.push(" "), []);
        assert_eq!(parser.push("b"), [ReplyEvent::Answer(" b".to_owned())]);
        assert_eq!(parser.push("<tool_call>\n{\"name\": \"weat"), []);
        assert_eq!(parser.push("her\", \"arguments\": "), []);
        let begin = ReplyEvent::CallBegin {
            index: 0,
            name: "weather".to_owned(),
        };
        let part = |text: &str| ReplyEvent::CallArguments {
            index: 0,
            text: text.to_owned(),
        };
        assert_eq!(parser.push("{\"ci"), [begin, part("{\"ci")]);
        assert_eq!(parser.push("ty\": 1"), [part("ty\": 1")]);
        assert_eq!(parser.push("}}"), [part("}")]);
        let end = ReplyEvent::CallEnd {
            index: 0,
            call: call("weather", json!({"city": 1})),
        };
        assert_eq!(parser.push("\n</tool_call>"), [end]);
    }

    #[test]
    fn a_thought_is_open_until_its_tag_is_whole() {
        let mut parser = ReplyParser::new("");
        assert!(!parser.is_thinking());
        parser.push("<think>Hm</thi");
        assert!(parser.is_thinking());
        parser.push("nk>");
        assert!(!parser.is_thinking());
        assert!(ReplyParser::new("<think>\n").is_thinking());
    }

    proptest! {
        #[test]
        fn no_cut_changes_what_a_reply_is(parts in prop::collection::vec(prop::sample::select(vec![
            "<think>", "</think>", "<tool_call>", "</tool_call>", "{\"name\": \"a\", \"arguments\": {\"b\": [1, \"}\"]}}", "{", "}", "\"", "\\", "text", "\n", " ", "é", "<", ";",
        ]), 0..12), n in 1..6usize, form in prop::sample::select(vec![CallForm::Tagged, CallForm::Bare, CallForm::Python])) {
            let reply = parts.concat();
            let parser = || ReplyParser::new("").with_tools(form, &tools());
            prop_assert_eq!(split_by(parser(), &reply, n), split_by(parser(), &reply, 10_000));
        }
    }
}
