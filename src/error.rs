//! What can go wrong, each in one line: what, where, and what to do about it.

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The vocabulary in the file cannot be used, or a text cannot be written with it.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;
