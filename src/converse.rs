//! A turn of a conversation: from a question to an answer, through as many calls of tools as it takes.
//!
//! [`Engine::turn`] renders the chat, lets the model reply under a guide, runs the calls in the reply, adds results to the chat, and goes
//! round until a reply has no call. A [`Front`] is told what happens and is asked before a tool runs; this module knows no terminal
//! and no network.

use crate::chat::{Call, Chat, ReplyEvent, ReplyGuide, ReplyRules, ToolChoice};
use crate::constrain::Vocabulary;
use crate::error::Result;
use crate::generate::{Event, Outcome, Request, StopReason, generate_guided};
use crate::model::Session;
use crate::sample::SampleOptions;
use crate::speculate::Speculator;
use crate::tokenizer::Tokenizer;
use crate::tools::{ToolResult, Toolbox};
use serde_json::json;
use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is asked of each turn.
#[derive(Clone, Debug)]
pub struct TurnOptions {
    /// How tokens are chosen.
    pub sample: SampleOptions,
    /// Tokens of a reply at most; `None` goes on until the model or the context ends.
    pub n_predict: Option<usize>,
    /// Texts that end a reply; they are not part of it.
    pub stop: Vec<String>,
    /// Whether the model's own end of text is forbidden.
    pub ignore_eos: bool,
    /// What a reply must keep to.
    pub rules: ReplyRules,
    /// Replies in one turn at most.
    pub max_steps: usize,
}

impl Default for TurnOptions {
    fn default() -> TurnOptions {
        TurnOptions {
            sample: SampleOptions::default(),
            n_predict: None,
            stop: Vec::new(),
            ignore_eos: false,
            rules: ReplyRules::default(),
            max_steps: 10,
        }
    }
}

/// What a caller may set while a turn runs, from another thread or from within [`Front::event`].
#[derive(Debug, Default)]
pub struct Control {
    /// Ends the reply.
    pub cancel: AtomicBool,
    /// Ends the thought, and lets the model answer.
    pub end_thought: AtomicBool,
}

impl Control {
    /// Nothing is asked for.
    pub const fn new() -> Control {
        Control {
            cancel: AtomicBool::new(false),
            end_thought: AtomicBool::new(false),
        }
    }
}

/// What happens in a turn.
#[derive(Debug)]
pub enum TurnEvent<'a> {
    /// So many tokens of the prompt are read.
    Reading {
        /// Tokens read.
        done: usize,
        /// Tokens to read.
        total: usize,
    },
    /// The prompt is read; the model replies to this text.
    Prompt(&'a str),
    /// A part of the reply.
    Reply(ReplyEvent),
    /// A call was run, or not: its result as the model is told it.
    Result {
        /// The call; `None` if there was none to be read.
        call: Option<&'a Call>,
        /// What came of it.
        result: &'a ToolResult,
    },
    /// A reply begins in which calls of a tool are not held to its schema.
    Loose {
        /// The tool.
        tool: &'a str,
        /// Why its schema cannot be held.
        why: &'a str,
    },
    /// A reply is whole.
    Step(&'a Outcome),
}

/// What a person says to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Run it.
    Granted,
    /// Do not run it; the model is told.
    Refused,
    /// Do not run it, and end the turn.
    Stop,
}

/// Who is told of a turn, and asked.
pub trait Front {
    /// Something happens.
    ///
    /// # Errors
    /// Ends the turn.
    fn event(&mut self, event: TurnEvent<'_>) -> Result<()>;

    /// Whether a call may run. `preview` says in one line what it would do.
    ///
    /// # Errors
    /// Ends the turn.
    fn permit(&mut self, call: &Call, preview: &str, harmless: bool) -> Result<Permission>;
}

/// How a turn went.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// How each reply went.
    pub steps: Vec<Outcome>,
    /// Whether it ended because there were too many of them.
    pub exhausted: bool,
}

impl Turn {
    /// Why the last reply ended.
    pub fn reason(&self) -> StopReason {
        self.steps
            .last()
            .map_or(StopReason::Cancelled, |step| step.reason)
    }

    /// All replies together: counts and times are sums, what the session held already is that of the first.
    pub fn total(&self) -> Option<Outcome> {
        let mut steps = self.steps.iter();
        let mut total = *steps.next()?;
        for step in steps {
            total.reason = step.reason;
            total.prompt_tokens += step.prompt_tokens;
            total.prompt_time += step.prompt_time;
            total.tokens += step.tokens;
            total.time += step.time;
            total.counts.passes += step.counts.passes;
            total.counts.drafted += step.counts.drafted;
            total.counts.accepted += step.counts.accepted;
        }
        Some(total)
    }
}

/// A model at work: a session and what it needs to be talked to.
pub struct Engine {
    /// What has been read.
    pub session: Session,
    /// What drafts.
    pub speculator: Speculator,
    tokenizer: Tokenizer,
    /// Built where a grammar needs it.
    vocabulary: OnceCell<Vocabulary>,
    /// Whether the last chat was to think.
    think: Option<Option<bool>>,
    /// What had been read when that was last changed, as [`Session::write_state`] wrote it, and the mode it was read in.
    aside: Option<(Option<bool>, Vec<u8>)>,
}

/// What is read in the other mode is kept up to this size, in bytes.
const MOST_ASIDE: u64 = 512 << 20;

impl Engine {
    /// A model at work.
    pub fn new(session: Session, speculator: Speculator, tokenizer: Tokenizer) -> Engine {
        Engine {
            session,
            speculator,
            tokenizer,
            vocabulary: OnceCell::new(),
            think: None,
            aside: None,
        }
    }

    /// The vocabulary of its texts.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The vocabulary as grammars want it.
    ///
    /// # Errors
    /// As [`Vocabulary::new`].
    pub fn vocabulary(&self) -> Result<&Vocabulary> {
        if let Some(vocabulary) = self.vocabulary.get() {
            return Ok(vocabulary);
        }
        let vocabulary = Vocabulary::new(&self.tokenizer)?;
        Ok(self.vocabulary.get_or_init(|| vocabulary))
    }

    /// Whether a model thinks stands at the beginning of its prompt, so nothing that was read in one mode serves in the other. What was read
    /// is put aside when the mode changes, and taken up again when it changes back.
    fn change_mode(&mut self, think: Option<bool>) -> Result<()> {
        let before = self.think.replace(think);
        let Some(before) = before.filter(|before| *before != think) else {
            return Ok(());
        };
        let mut read = Vec::new();
        if self.session.state_bytes() <= MOST_ASIDE {
            self.session.write_state(&mut read)?;
        }
        match self.aside.replace((before, read)) {
            Some((mode, state)) if mode == think && !state.is_empty() => {
                self.session.read_state(&mut state.as_slice())
            }
            _ => Ok(()),
        }
    }

    /// Continues a text, without chat.
    ///
    /// # Errors
    /// As [`generate_guided`].
    pub fn complete(
        &mut self,
        request: &Request,
        guide: &mut dyn crate::generate::Guide,
        cancel: &AtomicBool,
        on_event: &mut dyn FnMut(Event<'_>) -> Result<()>,
    ) -> Result<Outcome> {
        let Engine {
            session,
            speculator,
            tokenizer,
            ..
        } = self;
        generate_guided(
            session, speculator, tokenizer, request, guide, cancel, on_event,
        )
    }

    /// Runs a turn: adds `message` to the chat (`None` answers the last one anew) and replies, until a reply has no call that could be
    /// run. With the tools of the chat but without a toolbox, the calls are left to the caller. Under [`ToolChoice::None`] the chat is
    /// as one without tools: the model is told of none, and what looks like a call is text.
    ///
    /// # Errors
    /// If the template refuses, the prompt does not fit, a grammar is not sound, or the front fails. The chat is then as it was.
    pub fn turn(
        &mut self,
        chat: &mut Chat,
        message: Option<&str>,
        toolbox: Option<&mut Toolbox>,
        options: &TurnOptions,
        control: &Control,
        front: &mut dyn Front,
    ) -> Result<Turn> {
        let before = chat.messages().len();
        let withheld = match options.rules.tool_choice {
            ToolChoice::None => std::mem::take(&mut chat.tools),
            _ => Vec::new(),
        };
        if let Some(message) = message {
            chat.push("user", message);
        }
        let turn = self.steps(chat, toolbox, options, control, front);
        if turn.is_err() {
            chat.truncate(before);
        }
        if !withheld.is_empty() {
            chat.tools = withheld;
        }
        turn
    }

    fn steps(
        &mut self,
        chat: &mut Chat,
        mut toolbox: Option<&mut Toolbox>,
        options: &TurnOptions,
        control: &Control,
        front: &mut dyn Front,
    ) -> Result<Turn> {
        let mut turn = Turn {
            steps: Vec::new(),
            exhausted: false,
        };
        let mut rules = options.rules.clone();
        loop {
            let (outcome, calls) = self.reply(chat, options, &rules, control, front)?;
            front.event(TurnEvent::Step(&outcome))?;
            turn.steps.push(outcome);
            let Some(toolbox) = toolbox.as_deref_mut().filter(|_| !calls.is_empty()) else {
                return Ok(turn);
            };
            // A reply that was cut off is no call.
            if !matches!(outcome.reason, StopReason::EndOfText | StopReason::Stop) {
                return Ok(turn);
            }
            for call in &calls {
                let Some(result) = permitted(toolbox, call, control, front)? else {
                    return Ok(turn);
                };
                let call = call.as_ref().ok();
                front.event(TurnEvent::Result {
                    call,
                    result: &result,
                })?;
                let name = call.map_or("", |call| call.name.as_str());
                // What ends the last line of a program's output is not said.
                let text = result.text.trim_end();
                chat.push_message(json!({"role": "tool", "name": name, "content": text}));
            }
            if turn.steps.len() >= options.max_steps {
                turn.exhausted = true;
                return Ok(turn);
            }
            // What had to be called has been called.
            if matches!(
                rules.tool_choice,
                ToolChoice::Required | ToolChoice::Named(_)
            ) {
                rules.tool_choice = ToolChoice::Auto;
            }
        }
    }

    /// One reply, which is added to the chat, and the calls in it.
    fn reply(
        &mut self,
        chat: &mut Chat,
        options: &TurnOptions,
        rules: &ReplyRules,
        control: &Control,
        front: &mut dyn Front,
    ) -> Result<(Outcome, Vec<std::result::Result<Call, String>>)> {
        let prompt = chat.prompt()?;
        self.change_mode(chat.think)?;
        if rules.grammar.is_some() || !chat.tools.is_empty() {
            self.vocabulary()?;
        }
        let Engine {
            session,
            speculator,
            tokenizer,
            vocabulary,
            ..
        } = self;
        let request = Request {
            prompt: prompt.encode_after(tokenizer, session.tokens())?,
            n_predict: options.n_predict,
            stop: options.stop.clone(),
            ignore_eos: options.ignore_eos,
            special: true,
            sample: options.sample.clone(),
            ..Request::default()
        };
        control.end_thought.store(false, Ordering::Relaxed);
        let mut guide = ReplyGuide::new(
            tokenizer,
            vocabulary.get(),
            chat.dialect(),
            &chat.tools,
            rules,
            &prompt.text,
            &control.end_thought,
        )?;
        for (tool, why) in guide.loose() {
            front.event(TurnEvent::Loose { tool, why })?;
        }
        let mut parser = chat.parser(&prompt.text);
        let mut text = String::new();
        let mut calls = Vec::new();
        let mut tell = |front: &mut dyn Front, events: Vec<ReplyEvent>| -> Result<()> {
            for event in events {
                if let ReplyEvent::CallEnd { call, .. } = &event {
                    calls.push(call.clone());
                }
                front.event(TurnEvent::Reply(event))?;
            }
            Ok(())
        };
        let mut told = false;
        let outcome = generate_guided(
            session,
            speculator,
            tokenizer,
            &request,
            &mut guide,
            &control.cancel,
            &mut |event| match event {
                Event::Prompt { done, total } => {
                    front.event(TurnEvent::Reading { done, total })?;
                    if done == total && !told {
                        told = true;
                        front.event(TurnEvent::Prompt(&prompt.text))?;
                    }
                    Ok(())
                }
                Event::Piece(piece) => {
                    text.push_str(piece);
                    tell(front, parser.push(piece))
                }
            },
        )?;
        let thinking = parser.is_thinking();
        tell(front, parser.finish())?;
        chat.push_reply(&text, thinking);
        Ok((outcome, calls))
    }
}

/// Runs a call if it may run; `None` if the turn is to end.
fn permitted(
    toolbox: &mut Toolbox,
    call: &std::result::Result<Call, String>,
    control: &Control,
    front: &mut dyn Front,
) -> Result<Option<ToolResult>> {
    let failed = |text: String| Some(ToolResult { text, failed: true });
    let call = match call {
        Ok(call) => call,
        Err(why) => return Ok(failed(format!("error: {why}"))),
    };
    if let (Some(tool), Some(arguments)) = (toolbox.get(&call.name), call.arguments.as_object()) {
        let preview = tool.preview(arguments);
        match front.permit(call, &preview, tool.declaration().harmless)? {
            Permission::Granted => {}
            Permission::Refused => {
                return Ok(failed(
                    "error: the user does not allow this call".to_owned(),
                ));
            }
            Permission::Stop => return Ok(None),
        }
    }
    let result = toolbox.call(&call.name, &call.arguments, &control.cancel);
    Ok(Some(result).filter(|_| !control.cancel.load(Ordering::Relaxed)))
}
