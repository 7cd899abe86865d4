//! What can go wrong, each in one line: what, where, and what to do.

use std::path::PathBuf;

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not a sound GGUF file, or lacks a key.
    #[error(transparent)]
    Gguf(#[from] smolq_gguf::Error),
    /// The file is sound, but not a model that can be run.
    #[error("{0}")]
    Model(String),
    /// The vocabulary or the text is at fault.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The chat template is at fault, or refuses the messages.
    #[error("chat template: {0}")]
    Template(String),
    /// More tokens than the context holds.
    #[error(
        "{needed} tokens do not fit the context of {n_ctx}: shorten the prompt or raise -c/--ctx-size"
    )]
    Context {
        /// Tokens held and asked for.
        needed: usize,
        /// Positions there are.
        n_ctx: usize,
    },
    /// A setting that cannot be honoured.
    #[error("{field}: {why}")]
    Request {
        /// The setting's name.
        field: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// The model's output is not a number.
    #[error(
        "non-finite logits ({value} for token {token}): the model file is damaged or its weights overflow"
    )]
    NonFinite {
        /// The first token whose logit is not finite.
        token: u32,
        /// Its logit.
        value: f32,
    },
    /// The system refuses memory or threads.
    #[error("{0}")]
    Resources(String),
    /// Ctrl-C came before everything was done.
    #[error("{0}")]
    Interrupted(String),
    /// A state that cannot be restored ([`read_state`](crate::model::Session::read_state)).
    #[error("saved state: at byte {offset}: {problem}")]
    State {
        /// Where in the state.
        offset: u64,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// What a state is read from or written to failed.
    #[error("saved state: {0}")]
    Stream(std::io::Error),
    /// A session file that cannot be used ([`saved`](crate::saved)).
    #[error("{}: {problem}", path.display())]
    Saved {
        /// The file.
        path: PathBuf,
        /// Where and what is wrong, and what to do.
        problem: String,
    },
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
}

/// What the engine's functions give.
pub type Result<T> = std::result::Result<T, Error>;
