//! Opening a model with something to look at.

use super::note;
use crate::embedded;
use crate::error::{Error, Result};
use crate::model::{LoadOptions, Model};
use crate::tokenizer::Tokenizer;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use smolq_gguf::OpenOptions;
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The context where none is asked for: what the model was trained for, but not more than this. A 64k context of a 3B model
/// is 5 GB of cache; whoever wants it says so.
pub(super) const DEFAULT_CTX: usize = 4096;

/// A spinner or bar on stderr, if a person is there to see it.
pub(super) fn progress(length: Option<u64>, what: &'static str) -> ProgressBar {
    let bar = match length {
        Some(length) => ProgressBar::new(length),
        None => ProgressBar::new_spinner(),
    };
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    bar.set_draw_target(target);
    let style = match length {
        Some(_) => ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}"),
        None => ProgressStyle::with_template("{spinner} {msg}"),
    };
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Loads a model and its tokenizer, the two at once.
pub(super) fn model(
    path: &Path,
    options: &LoadOptions,
    strict: bool,
) -> Result<(Arc<Model>, Tokenizer)> {
    let bar = progress(None, "loading");
    let gguf = embedded::open(path, &options.open)?;
    // The pages of the weights come in while the vocabulary is built.
    gguf.will_need();
    let (tokenizer, model) = std::thread::scope(|scope| {
        let metadata = gguf.metadata();
        let tokenizer = scope.spawn(move || Tokenizer::from_metadata(metadata, strict));
        let model = Model::resolve(&gguf, options);
        (tokenizer.join(), model)
    });
    bar.finish_and_clear();
    let tokenizer =
        tokenizer.map_err(|_| Error::Tokenizer("reading the vocabulary failed".to_owned()))??;
    let model = model?.with(gguf);
    for warning in model.warnings().iter().chain(tokenizer.warnings()) {
        note(&format!("smolq: warning: {}", super::one_line(warning)));
    }
    Ok((Arc::new(model), tokenizer))
}

/// The vocabulary alone; the file need hold nothing else.
pub(super) fn tokenizer(path: &Path, options: &OpenOptions, strict: bool) -> Result<Tokenizer> {
    let gguf = embedded::open(path, options)?;
    let tokenizer = Tokenizer::from_metadata(gguf.metadata(), strict)?;
    for warning in tokenizer.warnings() {
        note(&format!("smolq: warning: {}", super::one_line(warning)));
    }
    Ok(tokenizer)
}

/// The text of a file, or of standard input for `-`.
pub(super) fn text(path: &Path) -> Result<String> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map_err(io)?;
        return Ok(text);
    }
    std::fs::read_to_string(path).map_err(io)
}
