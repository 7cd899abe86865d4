//! Opening a model with something to look at.

use super::{memory, note};
use crate::embedded;
use crate::error::{Error, Result};
use crate::generate::same_vocabulary;
use crate::machine::{Holder, Memory};
use crate::model::{Fit, LoadOptions, Model, Session, SessionOptions, Verdict};
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

/// A session. That the model does not fit the memory that there was `before` it was loaded is a warning: it may run all the same.
pub(super) fn session(
    model: &Arc<Model>,
    options: &SessionOptions,
    rows: usize,
    before: Option<Memory>,
) -> Result<Session> {
    let session = Session::new(Arc::clone(model), options)?;
    warn_unless_fits(model, options, rows, before);
    Ok(session)
}

/// Warns if a model that is used so does not fit into memory.
pub(super) fn warn_unless_fits(
    model: &Model,
    options: &SessionOptions,
    rows: usize,
    before: Option<Memory>,
) {
    let Some(fit) = before.map(|memory| Fit::of(model, options, rows, memory)) else {
        return;
    };
    if let Some(consequence) = consequence(&fit) {
        let advice = fit.advice().map_or_else(String::new, |a| format!("; {a}"));
        let (need, room) = (fit.need(), room(&fit.memory()));
        note(&format!(
            "smolq: warning: {need} needed, {room}: {consequence}{advice}"
        ));
    }
}

/// What comes of a need that finds no room; `None` if it does.
pub(super) fn consequence(fit: &Fit<'_>) -> Option<String> {
    match fit.verdict() {
        Verdict::Fits => None,
        Verdict::Reread(bytes) => Some(format!(
            "{} of weights will be read from disk again for every token",
            memory::human(bytes)
        )),
        Verdict::Short(bytes) => Some(format!(
            "{} too little, the system will swap or end the program as the context fills",
            memory::human(bytes)
        )),
    }
}

/// How much memory there is, and what bounds it.
pub(super) fn room(memory: &Memory) -> String {
    let holder = match memory.holder {
        Holder::Machine => "",
        Holder::Group => " by the limit of a control group",
    };
    format!("{} to be had{holder}", memory::human(memory.room))
}

/// Loads a model and its tokenizer, the two at once.
pub(super) fn model(
    path: &Path,
    options: &LoadOptions,
    strict: bool,
) -> Result<(Arc<Model>, Tokenizer)> {
    let bar = progress(None, "loading");
    let before = Memory::here();
    let gguf = embedded::open(path, &options.open)?;
    // The pages of the weights come in while the vocabulary is built. Where they do not fit, the first would be gone again before
    // they are used.
    if before.is_none_or(|memory| gguf.file_bytes() <= memory.room) {
        gguf.will_need();
    }
    let (tokenizer, model) = std::thread::scope(|scope| {
        let metadata = gguf.metadata();
        let tokenizer = scope.spawn(move || Tokenizer::from_metadata(metadata, strict));
        let model = Model::resolve(&gguf, options);
        (tokenizer.join(), model)
    });
    bar.finish_and_clear();
    let tokenizer =
        tokenizer.map_err(|_| Error::Tokenizer("reading the vocabulary failed".to_owned()))??;
    // The vocabulary has its own copy of what it needs.
    gguf.release_metadata();
    let model = model?.with(gguf);
    same_vocabulary(&model, &tokenizer)?;
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
