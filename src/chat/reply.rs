//! A reply as it streams: the thought, then the answer.

/// What the parts of a reply are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyEvent {
    /// A part of the thought.
    Thought(String),
    /// A part of the answer.
    Answer(String),
}

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but blanks so far.
    Start,
    Thinking,
    /// The blanks between thought and answer.
    Between,
    Answering,
}

/// Splits a reply into thought and answer. Text is held back only while it may be the beginning of a tag, or blanks that would be
/// left out.
#[derive(Debug)]
pub struct ReplyParser {
    state: State,
    held: String,
}

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
        }
    }

    /// Takes text; gives what is certain.
    pub fn push(&mut self, text: &str) -> Vec<ReplyEvent> {
        self.held.push_str(text);
        let mut events = Vec::new();
        loop {
            match self.state {
                State::Start => {
                    let blanks = self.held.len() - self.held.trim_start().len();
                    let rest = &self.held[blanks..];
                    if rest.starts_with(OPEN) {
                        self.held.drain(..blanks + OPEN.len());
                        self.state = State::Thinking;
                    } else if OPEN.starts_with(rest) {
                        return events;
                    } else {
                        self.state = State::Answering;
                    }
                }
                State::Thinking => match self.held.find(CLOSE) {
                    Some(at) => {
                        let rest = self.held.split_off(at + CLOSE.len());
                        self.held.truncate(at);
                        let thought = std::mem::replace(&mut self.held, rest);
                        push(&mut events, ReplyEvent::Thought, thought.trim_end());
                        self.state = State::Between;
                    }
                    None => {
                        // Blanks and the beginning of a tag wait for what follows.
                        let kept = (1..CLOSE.len())
                            .rev()
                            .find(|&n| self.held.ends_with(&CLOSE[..n]))
                            .unwrap_or(0);
                        let text = &self.held[..self.held.len() - kept];
                        let rest = self.held.split_off(text.trim_end().len());
                        let thought = std::mem::replace(&mut self.held, rest);
                        push(&mut events, ReplyEvent::Thought, &thought);
                        return events;
                    }
                },
                State::Between => {
                    let rest = self.held.trim_start().len();
                    self.held.drain(..self.held.len() - rest);
                    if self.held.is_empty() {
                        return events;
                    }
                    self.state = State::Answering;
                }
                State::Answering => {
                    push(&mut events, ReplyEvent::Answer, &self.held);
                    self.held.clear();
                    return events;
                }
            }
        }
    }

    /// The end of the reply: what was held back was no tag.
    pub fn finish(mut self) -> Vec<ReplyEvent> {
        let mut events = Vec::new();
        let kind = match self.state {
            State::Thinking => ReplyEvent::Thought,
            _ => ReplyEvent::Answer,
        };
        push(&mut events, kind, std::mem::take(&mut self.held).trim_end());
        events
    }
}

fn push(events: &mut Vec<ReplyEvent>, kind: fn(String) -> ReplyEvent, text: &str) {
    if !text.is_empty() {
        events.push(kind(text.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thought and answer of a reply, pushed in pieces of `n` characters.
    fn split(prompt: &str, reply: &str, n: usize) -> (String, String) {
        let mut parser = ReplyParser::new(prompt);
        let (mut thought, mut answer) = (String::new(), String::new());
        let chars: Vec<char> = reply.chars().collect();
        let mut events = Vec::new();
        for piece in chars.chunks(n) {
            events.extend(parser.push(&piece.iter().collect::<String>()));
        }
        events.extend(parser.finish());
        for event in events {
            match event {
                ReplyEvent::Thought(text) => thought.push_str(&text),
                ReplyEvent::Answer(text) => answer.push_str(&text),
            }
        }
        (thought, answer)
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
        ];
        for (prompt, reply, thought, answer) in cases {
            for n in [1, 2, 3, 7, 100] {
                let expected = (thought.to_owned(), answer.to_owned());
                assert_eq!(split(prompt, reply, n), expected, "{reply:?} by {n}");
            }
        }
    }

    #[test]
    fn text_streams_as_soon_as_it_is_certain() {
        let mut parser = ReplyParser::new("");
        assert_eq!(parser.push("<think>"), []);
        assert_eq!(parser.push("one "), [ReplyEvent::Thought("one".to_owned())]);
        assert_eq!(parser.push("two"), [ReplyEvent::Thought(" two".to_owned())]);
        assert_eq!(parser.push("\n</think>\n\n"), []);
        assert_eq!(parser.push("A"), [ReplyEvent::Answer("A".to_owned())]);
        assert_eq!(parser.push(" "), [ReplyEvent::Answer(" ".to_owned())]);
    }
}
