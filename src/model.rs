//! A decoder-only transformer: token ids in, logits out.
//!
//! * [`arch`](ARCHS): the few facts about an architecture that no file states.
//! * [`Config`]: sizes, from the metadata.
//! * `weights`: tensors resolved to layers; parts from presence, shapes checked, nothing left unread.
//! * `rope`: the angles.
//! * `cache`: keys and values of the tokens seen.
//! * `forward`: one region of parallel steps for any number of tokens.
//! * [`Profile`]: time by kind of step.
//! * [`Fit`]: whether all that finds room in memory, and what would.
//! * [`Session`]: a conversation with a model: its cache, its threads, its scratch.
//! * `state`: what a session holds, as bytes.
//! * `fingerprint`: what tells one model from another.
//!
//! Nothing here knows text, files on disk (beyond what the GGUF crate hands out), a terminal or a server.

mod arch;
mod cache;
mod config;
mod fingerprint;
mod fit;
mod forward;
mod profile;
mod rope;
mod session;
mod state;
mod weights;

pub use arch::{ARCHS, Arch};
pub use cache::KvType;
pub use config::{Config, RopeConfig, RopeOptions, RopeScaling};
pub use fit::{Advice, Fit, Need, Verdict, Way};
pub use profile::{Profile, Step};
pub use session::{Logits, Session, SessionMemory, SessionOptions};
pub use weights::{Layer, Linear, Norm};

use crate::error::{Error, Result};
use smolq_gguf::{Gguf, OpenOptions};
use smolq_kernels::Level;
use std::path::Path;

/// How a model is opened.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// How the file is read.
    pub open: OpenOptions,
    /// What overrides the file's word on positions.
    pub rope: RopeOptions,
    /// The kernels to use; by default what the environment or the CPU says.
    pub level: Option<Level>,
}

/// A model, ready to run: resolved layers over mapped weights.
pub struct Model {
    gguf: Gguf,
    config: Config,
    pub(crate) weights: weights::Weights,
    pub(crate) level: Level,
    warnings: Vec<String>,
}

/// A model all but for its file.
pub struct Resolved {
    config: Config,
    weights: weights::Weights,
    level: Level,
    warnings: Vec<String>,
}

impl Resolved {
    /// The model over the file that it was resolved from.
    pub fn with(self, gguf: Gguf) -> Model {
        let Resolved {
            config,
            weights,
            level,
            warnings,
        } = self;
        Model {
            gguf,
            config,
            weights,
            level,
            warnings,
        }
    }
}

impl Model {
    /// Opens a GGUF file (or the first of a split one).
    ///
    /// # Errors
    /// If the file is broken, of an architecture that is not known, or its tensors do not fit its metadata.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Model> {
        Model::from_gguf(Gguf::open(path, &options.open)?, options)
    }

    /// Resolves an opened file.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_gguf(gguf: Gguf, options: &LoadOptions) -> Result<Model> {
        Ok(Model::resolve(&gguf, options)?.with(gguf))
    }

    /// Resolves an opened file that the caller still needs; [`Resolved::with`] makes it a model.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn resolve(gguf: &Gguf, options: &LoadOptions) -> Result<Resolved> {
        let level = match options.level {
            Some(level) => level,
            None => Level::choose().map_err(|why| Error::Request {
                field: "SMOLQ_LEVEL",
                why,
            })?,
        };
        let config = Config::from_gguf(gguf, &options.rope)?;
        let (weights, warnings) = weights::Weights::resolve(gguf, &config)?;
        Ok(Resolved {
            config,
            weights,
            level,
            warnings,
        })
    }

    /// Sizes and settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The file.
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }

    /// The resolved layers.
    pub fn layers(&self) -> &[Layer] {
        &self.weights.layers
    }

    /// Whether the embedding serves as output matrix.
    pub fn tied(&self) -> bool {
        self.weights.output.is_none()
    }

    /// The kernels in use.
    pub fn level(&self) -> Level {
        self.level
    }

    /// What tells this model from others: a SHA-256 of all that decides its logits, 32 bytes. The same for one model however its
    /// file is opened (mapped, read, part of the program) or divided.
    ///
    /// It covers the architecture and its metadata, name, type, shape and length of each tensor, the rope settings in force, and
    /// of each tensor the first and last 4 KiB, so that a large file need not be read whole: a change that spares the ends
    /// of all tensors is not seen.
    pub fn fingerprint(&self) -> [u8; 32] {
        fingerprint::fingerprint(&self.gguf, &self.config)
    }

    /// What is odd about the file but does no harm.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
