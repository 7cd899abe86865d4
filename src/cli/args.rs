//! What was typed, and no more: flags, their help, their names in the environment.
//!
//! Names are llama.cpp's, where it has one. Its short flags of several letters (`-ctk q8_0`) are rewritten to their long forms
//! before parsing, because no parser of the usual kind knows them.

use super::chat::{ChatArgs, GrammarArgs, Think, ToolArgs, Variables, variables};
use crate::embedded;
use crate::model::{KvType, LoadOptions, RopeOptions, RopeScaling, SessionOptions};
use crate::sample::SampleOptions;
use crate::speculate::{Mode, SpeculateOptions};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use smolq_gguf::OpenOptions;
use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Short flags of several letters, and what they stand for.
const SHORT_FORMS: &[(&str, &str)] = &[
    ("-ctk", "--cache-type-k"),
    ("-ctv", "--cache-type-v"),
    ("-oe", "--output-err"),
    ("-pg", "--pg"),
    ("-ub", "--ubatch-size"),
    ("-md", "--draft-model"),
    ("-sys", "--system-prompt"),
    ("-sysf", "--system-prompt-file"),
    ("-rea", "--think"),
    ("-jf", "--json-schema-file"),
    ("-st", "--single-turn"),
    ("-no-cnv", "--no-conversation"),
];

/// Rewrites [`SHORT_FORMS`], as `-ctk q8_0` or `-ctk=q8_0`.
pub(super) fn expand(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut literal = false;
    let mut expand = |argument: OsString| {
        literal |= argument == "--";
        let Some(text) = argument.to_str().filter(|_| !literal) else {
            return argument;
        };
        let (name, value) = text
            .split_once('=')
            .map_or((text, None), |(name, value)| (name, Some(value)));
        match (SHORT_FORMS.iter().find(|(short, _)| *short == name), value) {
            (Some((_, long)), None) => OsString::from(long),
            (Some((_, long)), Some(value)) => OsString::from(format!("{long}={value}")),
            (None, _) => argument,
        }
    };
    arguments.into_iter().map(&mut expand).collect()
}

/// Reads what was typed, and the environment. A variable that a flag contradicts yields to it: it says what is usual, the flag what is
/// wanted now.
pub(super) fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let contradiction = match Cli::try_parse_from(arguments) {
        Err(error) if error.kind() == ErrorKind::ArgumentConflict => error,
        parsed => return parsed,
    };
    // If the flags contradict each other, this fails too.
    let typed = Cli::command()
        .mut_subcommands(|command| command.mut_args(deaf))
        .try_get_matches_from(arguments);
    let Some((name, typed)) = typed.as_ref().ok().and_then(|typed| typed.subcommand()) else {
        return Err(contradiction);
    };
    let matches = Cli::command()
        .mut_subcommands(|command| {
            if command.get_name() != name {
                return command;
            }
            let yielding = contradicted(&command, typed);
            command.mut_args(|arg| match yielding.contains(arg.get_id()) {
                true => deaf(arg),
                false => arg,
            })
        })
        .try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches)
}

/// An argument without its variable.
fn deaf(arg: clap::Arg) -> clap::Arg {
    arg.env(None::<&'static str>)
}

/// The arguments that typed ones contradict.
fn contradicted(command: &clap::Command, typed: &clap::ArgMatches) -> Vec<clap::Id> {
    let is_typed =
        |id: &clap::Id| typed.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    let mut found = Vec::new();
    for arg in command.get_arguments() {
        for other in command.get_arg_conflicts_with(arg) {
            // It is said of one of them, and holds for both.
            for (one, other) in [(arg, other), (other, arg)] {
                if is_typed(one.get_id()) {
                    found.push(other.get_id().clone());
                }
            }
        }
    }
    for group in command.get_groups() {
        if !group.clone().is_multiple() && group.get_args().any(is_typed) {
            found.extend(group.get_args().cloned());
        }
    }
    found
}

/// What the help ends with. A program without a model inside it chats with none unasked.
fn after_help() -> String {
    let (unasked, chat) = if embedded::is_available() {
        (
            "Without any argument, smolq chats with the small model that is built in.\n\n",
            "smolq run -p \"What is 23 + 45?\"\n  ",
        )
    } else {
        ("", "")
    };
    format!(
        "{unasked}Examples:\n  \
        {chat}smolq run model.gguf -p \"Once upon a time\" -n 60\n  \
        smolq inspect model.gguf -c 8192\n  \
        smolq tokenize model.gguf -p \"Hello\" --json\n\n\
        Most flags can be set in the environment too, as their help says: --ctx-size as SMOLQ_CTX_SIZE. SMOLQ_LEVEL forces a kernel level."
    )
}

/// The help of `run`'s model.
fn model_help() -> String {
    let default = if embedded::is_available() {
        "; by default tiny, the model inside the program"
    } else {
        ""
    };
    format!("A GGUF file, or the first of a split one (NAME-00001-of-0000N.gguf){default}")
}

/// Runs GGUF language models on the CPU.
#[derive(Debug, Parser)]
#[command(
    name = "smolq",
    version,
    about,
    long_about = "Runs GGUF language models (SmolLM3, SmolLM2, Llama, Qwen2, Qwen3) on the CPU: fast, faithful to the file, \
                  and with the same bits on every CPU, for any number of threads.",
    after_help = after_help(),
    max_term_width = 100
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Chat with a model, or let it continue a text.
    #[command(visible_alias = "chat")]
    Run(Box<RunArgs>),
    /// Write the logits of given tokens to a .npy file.
    Logits(LogitsArgs),
    /// Show the text that a model reads of a conversation.
    Template(TemplateArgs),
    /// Turn text into token ids.
    Tokenize(TokenizeArgs),
    /// Turn token ids into text.
    Detokenize(DetokenizeArgs),
    /// Show what is in a model file, and what it needs.
    Inspect(InspectArgs),
    /// Measure how fast models are here, and how fast they could be.
    Bench(super::bench::BenchArgs),
    /// Show what this CPU can do, and which kernels are used.
    Cpu,
    /// Write a model of random weights in the shape of a real one.
    Synth(SynthArgs),
    /// Print a completion script for a shell.
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
}

/// How a model file is read.
#[derive(Debug, Args)]
pub(super) struct ReadArgs {
    /// Read the file into memory instead of mapping it
    #[arg(long, env = "SMOLQ_NO_MMAP", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    no_mmap: bool,
    /// Keep the file's pages in memory
    #[arg(long, env = "SMOLQ_MLOCK", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    mlock: bool,
}

impl ReadArgs {
    pub(super) fn open(&self) -> OpenOptions {
        OpenOptions {
            mmap: !self.no_mmap,
            mlock: self.mlock,
        }
    }
}

/// A model, and how its file is read.
#[derive(Debug, Args)]
pub(super) struct ModelArgs {
    /// A GGUF file, the first of a split one (NAME-00001-of-0000N.gguf), or tiny: the model inside the program
    pub(super) model: PathBuf,
    #[command(flatten)]
    read: ReadArgs,
}

impl ModelArgs {
    pub(super) fn open(&self) -> OpenOptions {
        self.read.open()
    }
}

/// How positions become angles.
#[derive(Debug, Args)]
#[command(next_help_heading = "Position scaling (by default as the file says)")]
pub(super) struct RopeArgs {
    /// none, linear or yarn
    #[arg(long, env = "SMOLQ_ROPE_SCALING", value_name = "KIND")]
    rope_scaling: Option<RopeScaling>,
    /// The factor by which the context grows
    #[arg(long, env = "SMOLQ_ROPE_SCALE", value_name = "N")]
    rope_scale: Option<f32>,
    /// Base of the frequencies
    #[arg(long, env = "SMOLQ_ROPE_FREQ_BASE", value_name = "N")]
    rope_freq_base: Option<f32>,
    /// YaRN: the context that the model was trained for
    #[arg(long, env = "SMOLQ_YARN_ORIG_CTX", value_name = "N")]
    yarn_orig_ctx: Option<usize>,
    /// YaRN: share of extrapolation
    #[arg(long, env = "SMOLQ_YARN_EXT_FACTOR", value_name = "N")]
    yarn_ext_factor: Option<f32>,
    /// YaRN: factor of the attention's magnitude
    #[arg(long, env = "SMOLQ_YARN_ATTN_FACTOR", value_name = "N")]
    yarn_attn_factor: Option<f32>,
    /// YaRN: rotations above which nothing is interpolated
    #[arg(long, env = "SMOLQ_YARN_BETA_FAST", value_name = "N")]
    yarn_beta_fast: Option<f32>,
    /// YaRN: rotations below which everything is interpolated
    #[arg(long, env = "SMOLQ_YARN_BETA_SLOW", value_name = "N")]
    yarn_beta_slow: Option<f32>,
}

impl RopeArgs {
    pub(super) fn options(&self) -> RopeOptions {
        RopeOptions {
            scaling: self.rope_scaling,
            scale: self.rope_scale,
            freq_base: self.rope_freq_base,
            orig_ctx: self.yarn_orig_ctx,
            ext_factor: self.yarn_ext_factor,
            attn_factor: self.yarn_attn_factor,
            beta_fast: self.yarn_beta_fast,
            beta_slow: self.yarn_beta_slow,
        }
    }
}

/// How the cache is stored.
#[derive(Debug, Args)]
pub(super) struct CacheArgs {
    /// Store keys as f16, f32 or q8_0 [-ctk]
    #[arg(long, env = "SMOLQ_CACHE_TYPE_K", value_name = "TYPE", default_value_t)]
    cache_type_k: KvType,
    /// Store values as f16, f32 or q8_0 [-ctv]
    #[arg(long, env = "SMOLQ_CACHE_TYPE_V", value_name = "TYPE", default_value_t)]
    cache_type_v: KvType,
}

/// `--threads`.
#[derive(Debug, Args)]
pub(super) struct ThreadArgs {
    /// Threads; 0 is one for each fast core (see `smolq cpu`)
    #[arg(
        short,
        long,
        env = "SMOLQ_THREADS",
        value_name = "N",
        default_value_t = 0
    )]
    threads: usize,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(super) struct RunArgs {
    #[arg(required = !embedded::is_available(), help = model_help())]
    model: Option<PathBuf>,
    #[command(flatten)]
    read: ReadArgs,
    /// The message, or the text to continue (or -p, -f, or standard input)
    #[arg(value_name = "PROMPT", conflicts_with_all = ["prompt", "file"])]
    pub(super) text: Option<String>,
    /// The message, or the text to continue
    #[arg(
        short,
        long,
        env = "SMOLQ_PROMPT",
        value_name = "TEXT",
        conflicts_with = "file"
    )]
    pub(super) prompt: Option<String>,
    /// A file with the message or the text to continue; - is standard input
    #[arg(short, long, env = "SMOLQ_FILE", value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Tokens to generate; -1 goes on until the model ends or the context is full
    #[arg(short = 'n', long = "predict", alias = "n-predict", env = "SMOLQ_PREDICT", value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub(super) predict: i64,
    /// Continue the text as it is, even if the model has a chat template [-no-cnv]
    #[arg(long, env = "SMOLQ_NO_CONVERSATION", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub(super) no_conversation: bool,
    /// Leave after one answer [-st]
    #[arg(long)]
    pub(super) single_turn: bool,
    /// Print the prompt before the answer
    #[arg(long)]
    pub(super) echo: bool,
    /// Interpret \n, \t, \\ and the like in the prompt
    #[arg(short, long)]
    pub(super) escape: bool,
    /// Text that ends the answer; may be given several times
    #[arg(
        short = 'r',
        long = "reverse-prompt",
        alias = "stop",
        value_name = "TEXT"
    )]
    pub(super) stop: Vec<String>,
    /// Go on past the model's end of text
    #[arg(long)]
    pub(super) ignore_eos: bool,
    /// Show control tokens in the continued text
    #[arg(long)]
    pub(super) special: bool,
    /// Refuse vocabularies whose rules are not known instead of guessing
    #[arg(long, env = "SMOLQ_STRICT", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub(super) strict: bool,
    /// Print timings and memory on stderr
    #[arg(short, long, env = "SMOLQ_VERBOSE", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub(super) verbose: bool,
    #[command(flatten)]
    pub(super) chat: ChatArgs,
    #[command(flatten)]
    pub(super) tools: ToolArgs,
    #[command(flatten)]
    pub(super) grammar: GrammarArgs,
    #[command(flatten)]
    pub(super) session: SessionArgs,
    #[command(flatten)]
    pub(super) draft: DraftArgs,
    #[command(flatten)]
    sample: SampleArgs,
    #[command(flatten)]
    pub(super) rope: RopeArgs,
}

impl RunArgs {
    pub(super) fn model(&self) -> &Path {
        self.model.as_deref().unwrap_or(Path::new(embedded::NAME))
    }

    pub(super) fn load(&self) -> LoadOptions {
        LoadOptions {
            open: self.read.open(),
            rope: self.rope.options(),
            level: None,
        }
    }

    /// How tokens are chosen, `advised` where the flags do not say it.
    pub(super) fn sample(&self, advised: SampleOptions) -> SampleOptions {
        self.sample.options(advised)
    }
}

/// Context, batches, threads, cache.
#[derive(Debug, Args)]
#[command(next_help_heading = "Context and speed")]
pub(super) struct SessionArgs {
    /// Positions of the context; 0 is what the model was trained for, at most 4096
    #[arg(
        short,
        long,
        env = "SMOLQ_CTX_SIZE",
        value_name = "N",
        default_value_t = 0
    )]
    pub(super) ctx_size: usize,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Tokens of a prompt handed over at once
    #[arg(
        short,
        long,
        env = "SMOLQ_BATCH_SIZE",
        value_name = "N",
        default_value_t = 2048
    )]
    batch_size: usize,
    /// Tokens of a prompt in one pass [-ub]
    #[arg(
        long,
        env = "SMOLQ_UBATCH_SIZE",
        value_name = "N",
        default_value_t = 512
    )]
    ubatch_size: usize,
    #[command(flatten)]
    cache: CacheArgs,
}

impl SessionArgs {
    /// `n_ctx` is the context to use where none was asked for.
    pub(super) fn options(&self, n_ctx: usize) -> SessionOptions {
        SessionOptions {
            n_ctx: if self.ctx_size == 0 {
                n_ctx
            } else {
                self.ctx_size
            },
            cache_k: self.cache.cache_type_k,
            cache_v: self.cache.cache_type_v,
            n_ubatch: self.ubatch_size.min(self.batch_size),
            threads: self.threads.threads,
        }
    }
}

/// How tokens are read ahead.
#[derive(Debug, Args)]
#[command(next_help_heading = "Drafting (faster; the answer is the same)")]
pub(super) struct DraftArgs {
    /// Draft what followed the last words where they stood before: on, off, or auto (where it pays)
    #[arg(long, env = "SMOLQ_DRAFT_NGRAM", value_name = "MODE", default_value_t = SpeculateOptions::default().ngram)]
    draft_ngram: Mode,
    /// A small model of the same vocabulary that drafts, where it pays [-md]
    #[arg(
        long,
        alias = "model-draft",
        env = "SMOLQ_DRAFT_MODEL",
        value_name = "FILE"
    )]
    pub(super) draft_model: Option<PathBuf>,
    /// Drafts in one pass at most; 0 turns drafting off
    #[arg(long, visible_alias = "draft", alias = "draft-n", env = "SMOLQ_DRAFT_MAX", value_name = "N", default_value_t = SpeculateOptions::default().draft_max)]
    draft_max: usize,
    /// Do not try fewer drafts than this
    #[arg(long, alias = "draft-n-min", env = "SMOLQ_DRAFT_MIN", value_name = "N", default_value_t = SpeculateOptions::default().draft_min)]
    draft_min: usize,
}

impl DraftArgs {
    pub(super) fn options(&self) -> SpeculateOptions {
        SpeculateOptions {
            ngram: self.draft_ngram,
            draft_max: self.draft_max,
            draft_min: self.draft_min,
            ..SpeculateOptions::default()
        }
    }
}

/// What a flag is where neither it nor the file says anything.
fn usual() -> SampleOptions {
    SampleOptions::default()
}

/// The help of a flag whose default the model's file may advise.
fn advised(what: &str, usual: impl Display) -> String {
    format!("{what} [default: as the file advises, else {usual}]")
}

/// How tokens are chosen.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
struct SampleArgs {
    /// Seed of the draws; -1 is a fresh one
    #[arg(short, long, env = "SMOLQ_SEED", value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    seed: i64,
    #[arg(long, help = advised("Temperature; 0 takes the best token always", usual().temp), alias = "temperature", env = "SMOLQ_TEMP", value_name = "N")]
    temp: Option<f32>,
    #[arg(long, help = advised("Keep the N best tokens; 0 keeps all", usual().top_k), env = "SMOLQ_TOP_K", value_name = "N", allow_negative_numbers = true)]
    top_k: Option<i32>,
    #[arg(long, help = advised("Keep the likeliest tokens that together have this probability", usual().top_p), env = "SMOLQ_TOP_P", value_name = "P")]
    top_p: Option<f32>,
    #[arg(long, help = advised("Keep tokens at least this many times as likely as the likeliest", usual().min_p), env = "SMOLQ_MIN_P", value_name = "P")]
    min_p: Option<f32>,
    /// Keep tokens of typical surprise that together have this probability
    #[arg(long, alias = "typical-p", env = "SMOLQ_TYPICAL", value_name = "P", default_value_t = SampleOptions::default().typical)]
    typical: f32,
    #[arg(long, help = advised("Divide the scores of tokens already said", usual().repeat_penalty), env = "SMOLQ_REPEAT_PENALTY", value_name = "N")]
    repeat_penalty: Option<f32>,
    #[arg(long, help = advised("How many of the last tokens the penalties look at; -1 is all", usual().repeat_last_n), env = "SMOLQ_REPEAT_LAST_N", value_name = "N", allow_negative_numbers = true)]
    repeat_last_n: Option<i32>,
    /// Take this off the score of tokens already said
    #[arg(
        long,
        env = "SMOLQ_PRESENCE_PENALTY",
        value_name = "N",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    presence_penalty: f32,
    /// Take this off for each time a token was said
    #[arg(
        long,
        env = "SMOLQ_FREQUENCY_PENALTY",
        value_name = "N",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    frequency_penalty: f32,
    /// Change the score of a token: ID+N, ID-N or ID-inf; may be given several times
    #[arg(short, long, value_name = "ID(+/-)N", value_parser = logit_bias)]
    logit_bias: Vec<(u32, f32)>,
}

/// `15043+1`, `15043-1.5`, `15043-inf`.
fn logit_bias(text: &str) -> Result<(u32, f32), String> {
    let wrong = || format!("{text:?} is not ID+N or ID-N, for example 15043-1.5 or 15043-inf");
    let at = text.find(['+', '-']).ok_or_else(wrong)?;
    let (id, bias) = text.split_at(at);
    Ok((
        id.parse().map_err(|_| wrong())?,
        bias.parse().map_err(|_| wrong())?,
    ))
}

impl SampleArgs {
    /// What was typed, and `advised` where nothing was.
    fn options(&self, advised: SampleOptions) -> SampleOptions {
        SampleOptions {
            temp: self.temp.unwrap_or(advised.temp),
            top_k: self.top_k.unwrap_or(advised.top_k),
            top_p: self.top_p.unwrap_or(advised.top_p),
            min_p: self.min_p.unwrap_or(advised.min_p),
            typical: self.typical,
            repeat_penalty: self.repeat_penalty.unwrap_or(advised.repeat_penalty),
            repeat_last_n: self.repeat_last_n.unwrap_or(advised.repeat_last_n),
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            logit_bias: self.logit_bias.clone(),
            forced: Vec::new(),
            seed: u64::try_from(self.seed).ok(),
        }
    }
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(super) struct LogitsArgs {
    #[command(flatten)]
    pub(super) model: ModelArgs,
    /// A JSON array of token ids, or an object with one under "tokens"; - is standard input
    #[arg(long, value_name = "FILE.json")]
    pub(super) tokens: PathBuf,
    /// Where to write float32 logits, [tokens, vocabulary]
    #[arg(short, long, value_name = "OUT.npy")]
    pub(super) output: PathBuf,
    /// Tokens in one pass; the logits do not depend on it
    #[arg(long, value_name = "N", default_value_t = 512)]
    chunk: usize,
    #[command(flatten)]
    threads: ThreadArgs,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    pub(super) rope: RopeArgs,
}

impl LogitsArgs {
    pub(super) fn load(&self) -> LoadOptions {
        LoadOptions {
            open: self.model.open(),
            rope: self.rope.options(),
            level: None,
        }
    }

    pub(super) fn session(&self, n_ctx: usize) -> SessionOptions {
        SessionOptions {
            n_ctx,
            cache_k: self.cache.cache_type_k,
            cache_v: self.cache.cache_type_v,
            n_ubatch: self.chunk,
            threads: self.threads.threads,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct TemplateArgs {
    /// The model whose template and special tokens are used
    #[arg(required_unless_present = "template")]
    pub(super) model: Option<PathBuf>,
    #[command(flatten)]
    pub(super) read: ReadArgs,
    /// A Jinja2 template in place of the model's: a file, or chatml, llama3 or smollm3
    #[arg(long, value_name = "FILE|NAME")]
    pub(super) template: Option<String>,
    /// A JSON array of messages, or an object with one under "messages" and perhaps "tools"; - is standard input
    #[arg(long, value_name = "FILE.json")]
    pub(super) messages: PathBuf,
    /// A JSON array of tools, as chat APIs have them
    #[arg(long, value_name = "FILE.json")]
    pub(super) tools: Option<PathBuf>,
    /// More variables of the template, as a JSON object
    #[arg(long, value_name = "JSON", value_parser = variables)]
    pub(super) kwargs: Option<Variables>,
    /// Whether the model is to think; by default as the template says
    #[arg(long, value_name = "on|off|auto")]
    pub(super) think: Option<Think>,
    /// End after the last message, not where the model's answer begins
    #[arg(long)]
    pub(super) no_generation_prompt: bool,
    /// The text of the token that begins a text; by default the model's
    #[arg(long, value_name = "TEXT")]
    pub(super) bos: Option<String>,
    /// The text of the token that ends a text; by default the model's
    #[arg(long, value_name = "TEXT")]
    pub(super) eos: Option<String>,
    /// The date that the template may tell; by default today's
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(super) date: Option<jiff::civil::Date>,
    /// Print token ids
    #[arg(long)]
    pub(super) ids: bool,
}

#[derive(Debug, Args)]
pub(super) struct TokenizeArgs {
    #[command(flatten)]
    pub(super) model: ModelArgs,
    /// The text
    #[arg(short, long, value_name = "TEXT", conflicts_with = "file")]
    pub(super) prompt: Option<String>,
    /// A file with the text; - is standard input
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Do not add the token that begins a text
    #[arg(long)]
    pub(super) no_bos: bool,
    /// Take the text of special tokens as plain text
    #[arg(long)]
    pub(super) no_special: bool,
    /// Print one JSON array of ids
    #[arg(long)]
    pub(super) json: bool,
    /// Refuse vocabularies whose rules are not known instead of guessing
    #[arg(long)]
    pub(super) strict: bool,
}

#[derive(Debug, Args)]
pub(super) struct DetokenizeArgs {
    #[command(flatten)]
    pub(super) model: ModelArgs,
    /// Token ids; without any, a JSON array or ids between spaces are read from standard input
    pub(super) ids: Vec<u32>,
    /// Leave control tokens out
    #[arg(long)]
    pub(super) no_special: bool,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    #[command(flatten)]
    pub(super) model: ModelArgs,
    /// Print everything as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// List every tensor
    #[arg(long)]
    pub(super) tensors: bool,
    #[command(flatten)]
    pub(super) session: SessionArgs,
    #[command(flatten)]
    pub(super) rope: RopeArgs,
}

#[derive(Debug, Args)]
pub(super) struct SynthArgs {
    /// A model of the catalogue and a quantization: smollm3-3b:Q4_K_M
    #[arg(value_name = "NAME:QUANT")]
    pub(super) what: String,
    /// Where to write the file
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: PathBuf,
    /// Seed of the weights
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn short_forms_are_rewritten_before_the_double_dash_only() {
        let typed = ["smolq", "-ctk", "q8_0", "-ub=5", "-c", "7", "--", "-ctv"].map(OsString::from);
        let wanted = [
            "smolq",
            "--cache-type-k",
            "q8_0",
            "--ubatch-size=5",
            "-c",
            "7",
            "--",
            "-ctv",
        ];
        assert_eq!(expand(typed), wanted.map(OsString::from));
    }

    #[test]
    fn logit_biases_are_ids_with_a_sign() {
        assert_eq!(logit_bias("15043+1"), Ok((15043, 1.0)));
        assert_eq!(logit_bias("2-inf"), Ok((2, f32::NEG_INFINITY)));
        assert!(
            logit_bias("x+1").is_err()
                && logit_bias("15043").is_err()
                && logit_bias("3-x").is_err()
        );
    }
}
