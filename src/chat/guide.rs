//! What has a say in a reply beside the model: a budget of thought, the form of calls, a grammar for the answer.
//!
//! A reply goes through phases, told apart by the text so far: an opening, in which it may turn out to be a thought, a call or an
//! answer; the thought; free text; a call; an answer under a grammar. Free text is the model's own. The thought ends by force when its
//! budget is spent: from three quarters of it on at the end of a sentence, at the latest with its last token. The arguments of a
//! call are held to the tool's schema from its first token to its last, and its tag is closed for it.

use super::dialect::{CallForm, Dialect};
use super::reply::{CLOSE, OPEN};
use crate::constrain::{self, Constraint, Grammar, Vocabulary};
use crate::error::{Error, Result};
use crate::generate::{Guide, Next};
use crate::tokenizer::{EncodeOptions, Tokenizer};
use serde_json::Value as Json;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a model may think.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThinkBudget {
    /// Tokens of the thought; `None` is no limit.
    pub tokens: Option<usize>,
    /// Time; `None` is no limit.
    pub time: Option<Duration>,
}

impl std::str::FromStr for ThinkBudget {
    type Err = String;
    /// `512` tokens, `30s`, `2m`; -1 is no limit.
    fn from_str(text: &str) -> std::result::Result<ThinkBudget, String> {
        let wrong = || format!("{text:?} is no number of tokens (512), nor a time (30s, 2m)");
        if text == "-1" {
            return Ok(ThinkBudget::default());
        }
        let time = |text: &str, unit: f64| {
            let number: f64 = text.parse().map_err(|_| wrong())?;
            let time = Duration::try_from_secs_f64(number * unit).map_err(|_| wrong())?;
            Ok(ThinkBudget {
                tokens: None,
                time: Some(time),
            })
        };
        match (
            text.strip_suffix("ms"),
            text.strip_suffix('s'),
            text.strip_suffix('m'),
        ) {
            (Some(number), ..) => time(number, 0.001),
            (_, Some(number), _) => time(number, 1.0),
            (.., Some(number)) => time(number, 60.0),
            _ => Ok(ThinkBudget {
                tokens: Some(text.parse().map_err(|_| wrong())?),
                time: None,
            }),
        }
    }
}

/// Whether tools are to be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// As the model likes.
    #[default]
    Auto,
    /// Not at all: the model is not told of any.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

impl std::str::FromStr for ToolChoice {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> std::result::Result<ToolChoice, Self::Err> {
        Ok(match text {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "required" => ToolChoice::Required,
            name => ToolChoice::Named(name.to_owned()),
        })
    }
}

/// What a reply must keep to.
#[derive(Clone, Debug)]
pub struct ReplyRules {
    /// How long the model may think.
    pub budget: ThinkBudget,
    /// What the answer must be, after the thought.
    pub grammar: Option<Grammar>,
    /// Whether tools are to be called.
    pub tool_choice: ToolChoice,
    /// Whether a reply may have several calls.
    pub parallel: bool,
}

impl Default for ReplyRules {
    fn default() -> ReplyRules {
        ReplyRules {
            budget: ThinkBudget::default(),
            grammar: None,
            tool_choice: ToolChoice::Auto,
            parallel: true,
        }
    }
}

/// Blanks that may stand between a thought and a constrained answer.
const MOST_BLANKS: usize = 2;

/// What a reply is at the moment.
enum Phase {
    /// Nothing but blanks so far.
    Opening,
    Thinking {
        tokens: usize,
        since: Instant,
    },
    /// Free text.
    Answer,
    /// A call; without a constraint if its beginning fits no tool, or is Python.
    Call(Option<Box<Constraint>>),
    /// An answer under the grammar.
    Bound(Box<Constraint>),
    Over,
}

/// The guide of one reply.
pub struct ReplyGuide<'a> {
    tokenizer: &'a Tokenizer,
    vocabulary: Option<&'a Vocabulary>,
    rules: &'a ReplyRules,
    end_thought: &'a AtomicBool,
    dialect: Dialect,
    /// Names and schemas.
    tools: Vec<(String, Json)>,
    phase: Phase,
    /// The text of this phase, or as much of its end as matters.
    text: Vec<u8>,
    /// The tokens of an answer that may turn out to be a call without tags.
    opening: Vec<u32>,
    /// Whether there may yet be a thought.
    thinkable: bool,
    /// The answer's grammar, until something else than a thought begins.
    begun: Option<Box<Constraint>>,
    /// The constraint of the first call, which showed that the schemas are sound.
    next_call: Option<Box<Constraint>>,
    /// Blanks since the thought.
    blanks: usize,
    calls: usize,
    forced: VecDeque<u32>,
    mask: Vec<u32>,
}

impl<'a> ReplyGuide<'a> {
    /// The guide of the reply to `prompt`. `tools` are given as chat APIs have them; setting `end_thought` ends a thought. Without a
    /// vocabulary, which grammars and tools need, these bind nothing.
    ///
    /// # Errors
    /// If the grammar or a schema is not sound, or no tool has the name that is to be called.
    pub fn new(
        tokenizer: &'a Tokenizer,
        vocabulary: Option<&'a Vocabulary>,
        dialect: Dialect,
        tools: &[Json],
        rules: &'a ReplyRules,
        prompt: &str,
        end_thought: &'a AtomicBool,
    ) -> Result<ReplyGuide<'a>> {
        let schema = |tool: &Json| {
            let tool = tool.get("function").unwrap_or(tool);
            let parameters = match &tool["parameters"] {
                Json::Null => serde_json::json!({"type": "object"}),
                schema => schema.clone(),
            };
            Some((tool["name"].as_str()?.to_owned(), parameters))
        };
        let mut tools: Vec<(String, Json)> = tools.iter().filter_map(schema).collect();
        match &rules.tool_choice {
            ToolChoice::None => tools.clear(),
            ToolChoice::Named(name) => {
                tools.retain(|(known, _)| known == name);
                if tools.is_empty() {
                    return Err(Error::Request {
                        field: "tool choice",
                        why: format!("no tool is named {name:?}"),
                    });
                }
            }
            ToolChoice::Required if tools.is_empty() => {
                return Err(Error::Request {
                    field: "tool choice",
                    why: "a call is required, and there are no tools".to_owned(),
                });
            }
            ToolChoice::Auto | ToolChoice::Required => {}
        }
        let prompt = prompt.trim_end();
        let opened = prompt.ends_with(OPEN);
        let mut guide = ReplyGuide {
            thinkable: !opened && !prompt.ends_with(CLOSE) && dialect.thinks,
            tokenizer,
            vocabulary,
            rules,
            end_thought,
            dialect,
            tools,
            phase: Phase::Opening,
            text: Vec::new(),
            opening: Vec::new(),
            begun: None,
            next_call: None,
            blanks: MOST_BLANKS,
            calls: 0,
            forced: VecDeque::new(),
            mask: Vec::new(),
        };
        // Unsound schemas are told before anything is read.
        if !guide.tools.is_empty() {
            guide.next_call = guide.call_constraint()?;
        }
        if let (Some(grammar), Some(vocabulary)) = (&rules.grammar, vocabulary) {
            guide.begun = Some(Box::new(Constraint::new(vocabulary, grammar)?));
        }
        match opened {
            true => guide.think(),
            false => guide.open()?,
        }
        Ok(guide)
    }

    /// The tools whose schemas cannot be held, and why, before the reply begins.
    pub fn loose(&self) -> &[(String, String)] {
        self.next_call.as_ref().map_or(&[], |call| call.loose())
    }

    fn call_constraint(&mut self) -> Result<Option<Box<Constraint>>> {
        if let Some(ready) = self.next_call.take() {
            return Ok(Some(ready));
        }
        let Some(vocabulary) = self
            .vocabulary
            .filter(|_| self.dialect.form != CallForm::Python)
        else {
            return Ok(None);
        };
        // A line ends between the object and the closing tag.
        let (_, close) = self.dialect.form.tags();
        let end = if close.is_empty() { "" } else { "\n" };
        let grammar = constrain::calls(&self.tools, "name", self.dialect.form.arguments_key(), end);
        Constraint::new(vocabulary, &grammar).map(|constraint| Some(Box::new(constraint)))
    }

    /// Whether the reply must have a call, and has none.
    fn must_call(&self) -> bool {
        let choice = &self.rules.tool_choice;
        self.calls == 0 && matches!(choice, ToolChoice::Required | ToolChoice::Named(_))
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer.encode(
            text,
            EncodeOptions {
                add_special: false,
                parse_special: true,
            },
        )
    }

    fn force(&mut self, text: &str) -> Result<()> {
        let ids = self.encode(text)?;
        self.forced.extend(ids);
        Ok(())
    }

    /// The token that is all of a text.
    fn single(&self, text: &str) -> Option<u32> {
        self.tokenizer.token_id(text)
    }

    fn think(&mut self) {
        self.thinkable = false;
        self.text.clear();
        self.phase = Phase::Thinking {
            tokens: 0,
            since: Instant::now(),
        };
    }

    /// Where a thought, a call or an answer may begin.
    fn open(&mut self) -> Result<()> {
        self.phase = Phase::Opening;
        self.text.clear();
        self.opening.clear();
        self.thinkable &= self.single(OPEN).is_some() || !self.is_bound();
        if self.must_call() && !self.thinkable {
            self.begin_forced_call()?;
        }
        Ok(())
    }

    /// Whether the answer's first token is not the model's own choice.
    fn is_bound(&self) -> bool {
        self.begun.is_some() || self.must_call()
    }

    fn begin_forced_call(&mut self) -> Result<()> {
        let (open, _) = self.dialect.form.tags();
        if self.dialect.form == CallForm::Bare {
            self.phase = Phase::Call(self.call_constraint()?);
            return Ok(());
        }
        // The tag leads to the call, as if the model had said it.
        self.phase = Phase::Answer;
        self.force(open)
    }

    /// A call begins, `rest` of which has been said.
    fn begin_call(&mut self, rest: &str) -> Result<()> {
        let constraint = self.call_constraint()?;
        self.text = rest.as_bytes().to_vec();
        self.begun = None;
        let ids = self.encode(rest.trim_start())?;
        if rest.is_empty() && self.dialect.form != CallForm::Bare {
            self.force("\n")?;
        }
        self.phase = Phase::Call(following(constraint, &ids));
        Ok(())
    }

    /// The arguments are whole: the tag is closed for the model.
    fn close_call(&mut self) -> Result<()> {
        let (_, close) = self.dialect.form.tags();
        if close.is_empty() {
            self.end_call();
            return Ok(());
        }
        self.phase = Phase::Call(None);
        self.text.clear();
        self.force(close)
    }

    fn end_call(&mut self) {
        self.calls += 1;
        self.text.clear();
        self.phase = if self.rules.parallel {
            Phase::Answer
        } else {
            Phase::Over
        };
    }

    /// Whether the thought must end now.
    fn thought_is_over(&self, tokens: usize, since: Instant) -> bool {
        if self.end_thought.load(Ordering::Relaxed) {
            return true;
        }
        let budget = self.rules.budget;
        let sentence = self.text.ends_with(b"\n")
            || [". ", "! ", "? "]
                .iter()
                .any(|end| self.text.ends_with(end.as_bytes()))
            || [b'.', b'!', b'?']
                .iter()
                .any(|end| self.text.last() == Some(end));
        let spent = |share: f64| match share {
            share if share >= 1.0 => true,
            share => share >= 0.75 && sentence,
        };
        budget
            .tokens
            .is_some_and(|most| most == 0 || spent(tokens as f64 / most as f64))
            || budget.time.is_some_and(|most| {
                most.is_zero() || spent(since.elapsed().as_secs_f64() / most.as_secs_f64())
            })
    }

    /// Sets the mask to what a bound answer may begin with: a thought, a call, the grammar's first tokens, and blanks after a thought.
    fn mask_opening(&mut self) -> Result<()> {
        let must_call = self.must_call();
        self.mask.clear();
        if let Some(constraint) = self.begun.as_mut().filter(|_| !must_call) {
            self.mask.extend_from_slice(constraint.allowed()?);
        }
        self.mask.resize(self.tokenizer.n_vocab().div_ceil(32), 0);
        let (open, _) = self.dialect.form.tags();
        let blanks = self.blanks < MOST_BLANKS;
        let more = [
            self.single(OPEN).filter(|_| self.thinkable),
            self.single(open).filter(|_| !self.tools.is_empty()),
            self.single("\n").filter(|_| blanks),
            self.single("\n\n").filter(|_| blanks),
        ];
        for id in more.into_iter().flatten() {
            self.mask[id as usize / 32] |= 1 << (id % 32);
        }
        Ok(())
    }

    /// Takes note of a token that may belong to a thought, a call or an answer.
    fn opening(&mut self, id: u32) -> Result<()> {
        let piece = self.tokenizer.piece(id);
        let blank = piece.iter().all(u8::is_ascii_whitespace)
            && self.text.iter().all(u8::is_ascii_whitespace);
        self.text.extend_from_slice(piece);
        self.opening.push(id);
        let text = String::from_utf8_lossy(&self.text).into_owned();
        let text = text.trim_start();
        if self.thinkable && text.starts_with(OPEN) {
            let rest = text.as_bytes()[OPEN.len()..].to_vec();
            self.think();
            self.text = rest;
            return Ok(());
        }
        if self.thinkable && OPEN.starts_with(text) && self.begun.is_none() {
            return Ok(());
        }
        if blank && self.blanks < MOST_BLANKS && self.is_bound() {
            self.blanks += 1;
            return Ok(());
        }
        let (open, _) = self.dialect.form.tags();
        if !self.tools.is_empty() && self.dialect.form != CallForm::Bare && text.starts_with(open) {
            let rest = text[open.len()..].to_owned();
            return self.begin_call(&rest);
        }
        if let Some(mut constraint) = self.begun.take() {
            constraint.accept(id)?;
            self.phase = Phase::Bound(constraint);
            return Ok(());
        }
        if blank {
            return Ok(());
        }
        if self.dialect.form == CallForm::Bare && !self.tools.is_empty() {
            return self.maybe_bare_call(text);
        }
        self.phase = Phase::Answer;
        self.watch()
    }

    /// An answer that begins like a call without tags is held to it from where it says that it is one.
    fn maybe_bare_call(&mut self, text: &str) -> Result<()> {
        let dense: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (tag, _) = CallForm::Bare.tags();
        let dense = dense.strip_prefix(tag).unwrap_or(&dense);
        const BEGINNING: &str = "{\"name\":";
        if dense.starts_with(BEGINNING) {
            let ids: Vec<u32> = self
                .opening
                .iter()
                .copied()
                .filter(|&id| self.tokenizer.piece(id) != tag.as_bytes())
                .collect();
            let constraint = self.call_constraint()?;
            self.phase = Phase::Call(following(constraint, &ids));
        } else if !BEGINNING.starts_with(dense) && !tag.starts_with(dense) {
            self.phase = Phase::Answer;
        }
        Ok(())
    }

    /// Looks for the beginning of a call in free text.
    fn watch(&mut self) -> Result<()> {
        if self.tools.is_empty() || self.dialect.form == CallForm::Bare {
            return Ok(());
        }
        let (open, _) = self.dialect.form.tags();
        match find(&self.text, open) {
            Some(at) => {
                let rest = String::from_utf8_lossy(&self.text[at + open.len()..]).into_owned();
                self.begin_call(&rest)
            }
            None => {
                forget(&mut self.text, open.len());
                Ok(())
            }
        }
    }
}

/// A constraint after these tokens; none if they do not keep to it.
fn following(constraint: Option<Box<Constraint>>, ids: &[u32]) -> Option<Box<Constraint>> {
    let mut constraint = constraint?;
    for &id in ids {
        let allowed = constraint.allowed().ok()?;
        let bit = allowed.get(id as usize / 32)? >> (id % 32) & 1;
        if bit == 0 {
            return None;
        }
        constraint.accept(id).ok()?;
    }
    Some(constraint)
}

fn find(text: &[u8], tag: &str) -> Option<usize> {
    memchr::memmem::find(text, tag.as_bytes())
}

/// Keeps what may be the beginning of a tag.
fn forget(text: &mut Vec<u8>, tag: usize) {
    let old = text.len().saturating_sub(tag);
    text.drain(..old);
}

impl Guide for ReplyGuide<'_> {
    fn next(&mut self) -> Result<Next<'_>> {
        if self.forced.is_empty() {
            match &mut self.phase {
                Phase::Thinking { tokens, since } => {
                    let (tokens, since) = (*tokens, *since);
                    if self.thought_is_over(tokens, since) {
                        let line = if self.text.ends_with(b"\n") { "" } else { "\n" };
                        self.force(&format!("{line}{CLOSE}{}", self.dialect.after_thought))?;
                    }
                }
                Phase::Call(Some(constraint)) => {
                    let whole = constraint.is_complete();
                    if whole {
                        self.close_call()?;
                    }
                }
                Phase::Bound(constraint) => {
                    let over = constraint.is_over();
                    if over {
                        self.phase = Phase::Over;
                    }
                }
                _ => {}
            }
        }
        if let Some(&id) = self.forced.front() {
            return Ok(Next::Exactly(id));
        }
        match self.phase {
            Phase::Over => Ok(Next::End),
            Phase::Opening if self.is_bound() => {
                self.mask_opening()?;
                Ok(Next::Among(&self.mask))
            }
            Phase::Call(Some(ref mut constraint)) | Phase::Bound(ref mut constraint) => {
                constraint.allowed().map(Next::Among)
            }
            _ => Ok(Next::Any),
        }
    }

    fn certain(&mut self) -> Vec<u32> {
        if !self.forced.is_empty() {
            return self.forced.iter().copied().collect();
        }
        match &mut self.phase {
            Phase::Call(Some(constraint)) | Phase::Bound(constraint) => constraint.certain(),
            _ => Vec::new(),
        }
    }

    fn accept(&mut self, id: u32) -> Result<()> {
        if self.forced.front() == Some(&id) {
            self.forced.pop_front();
        }
        let piece = self.tokenizer.piece(id);
        match &mut self.phase {
            Phase::Opening => self.opening(id)?,
            Phase::Thinking { tokens, .. } => {
                *tokens += 1;
                self.text.extend_from_slice(piece);
                match find(&self.text, CLOSE) {
                    Some(_) => {
                        self.blanks = 0;
                        self.open()?;
                    }
                    None => forget(&mut self.text, CLOSE.len()),
                }
            }
            Phase::Answer => {
                self.text.extend_from_slice(piece);
                self.watch()?;
            }
            Phase::Call(constraint) => match constraint {
                // The blank between the tag and the call is no part of it.
                Some(_) if self.text.is_empty() && piece.iter().all(u8::is_ascii_whitespace) => {}
                Some(constraint) => {
                    self.text.clear();
                    self.text.push(b'{');
                    constraint.accept(id)?;
                }
                None => {
                    self.text.extend_from_slice(piece);
                    let (_, close) = self.dialect.form.tags();
                    if !close.is_empty() {
                        match find(&self.text, close) {
                            Some(_) => self.end_call(),
                            None => forget(&mut self.text, close.len()),
                        }
                    }
                }
            },
            Phase::Bound(constraint) => constraint.accept(id)?,
            Phase::Over => {}
        }
        Ok(())
    }
}
