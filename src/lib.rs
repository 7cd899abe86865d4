//! smolq: a CPU-only engine for GGUF language models.
#![forbid(unsafe_code)]

pub mod error;
pub mod model;
pub mod tokenizer;

pub use error::{Error, Result};
