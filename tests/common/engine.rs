//! A model at work without the command line.

use smolq::chat::Template;
use smolq::converse::Engine;
use smolq::model::{LoadOptions, Model, Session, SessionOptions};
use smolq::speculate::Speculator;
use smolq::tokenizer::Tokenizer;
use std::path::Path;
use std::sync::Arc;

/// A file, or the model inside the program, and its template. One thread: tests run side by side already, and the answers are the same.
pub(crate) fn open(path: &Path) -> (Engine, Template) {
    let options = LoadOptions::default();
    let gguf = smolq::embedded::open(path, &options.open).unwrap();
    let template = Template::from_metadata(gguf.metadata()).unwrap().unwrap();
    let tokenizer = Tokenizer::from_metadata(gguf.metadata(), true).unwrap();
    let model = Arc::new(Model::from_gguf(gguf, &options).unwrap());
    let options = SessionOptions {
        n_ctx: 8192,
        threads: 1,
        ..SessionOptions::default()
    };
    let session = Session::new(model, &options).unwrap();
    (Engine::new(session, Speculator::off(), tokenizer), template)
}
