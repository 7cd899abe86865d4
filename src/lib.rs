//! smolq: a CPU-only engine for GGUF language models.
//!
//! ```no_run
//! use smolq::generate::{Event, Request, generate};
//! use smolq::model::{LoadOptions, Model, Session, SessionOptions};
//! use smolq::tokenizer::{EncodeOptions, Tokenizer};
//! use std::sync::{Arc, atomic::AtomicBool};
//!
//! # fn main() -> smolq::Result<()> {
//! let model = Arc::new(Model::load("model.gguf".as_ref(), &LoadOptions::default())?);
//! let tokenizer = Tokenizer::from_metadata(model.gguf().metadata(), false)?;
//! let mut session = Session::new(model, &SessionOptions { n_ctx: 4096, ..SessionOptions::default() })?;
//! let prompt = tokenizer.encode("Once upon a time", EncodeOptions { add_special: true, parse_special: true })?;
//! let request = Request { prompt, n_predict: Some(60), ..Request::default() };
//! generate(&mut session, &tokenizer, &request, &AtomicBool::new(false), &mut |event| {
//!     if let Event::Piece(text) = event {
//!         print!("{text}");
//!     }
//!     Ok(())
//! })?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod apart;
pub mod bench;
pub mod catalogue;
pub mod chat;
pub mod cli;
pub mod constrain;
pub mod converse;
pub mod embedded;
pub mod error;
pub mod generate;
pub mod machine;
mod mix;
pub mod model;
pub mod sample;
pub mod saved;
pub mod speculate;
pub mod synth;
pub mod tokenizer;
pub mod tools;

pub use error::{Error, Result};
