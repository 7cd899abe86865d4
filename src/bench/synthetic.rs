//! Models of random weights that are made once and kept: speed depends on the shape, not on what the weights say.

use crate::catalogue::{self, Entry};
use crate::error::{Error, Result};
use crate::synth;
use smolq_gguf::{Gguf, OpenOptions};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

/// Changes when [`synth`] writes other files than before, so that old ones are not taken for new.
const GENERATION: u32 = 2;
/// The seed of the weights.
const SEED: u64 = 1;

/// A shape and a quantization.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The model whose shape it is.
    pub entry: Entry,
    /// One of [`synth::MIXES`].
    pub quantization: String,
}

/// Reads `NAME:QUANT,QUANT;NAME:QUANT`: models of the catalogue, each in some quantizations.
///
/// # Errors
/// If a name or a quantization is not known, or one is missing.
pub fn parse(text: &str) -> Result<Vec<Spec>> {
    let mut specs = Vec::new();
    for model in text.split(';').map(str::trim).filter(|m| !m.is_empty()) {
        let (name, quantizations) = model.split_once(':').unwrap_or((model, ""));
        let entry = catalogue::find(name.trim())?;
        for quantization in quantizations.split(',').map(str::trim) {
            let known = synth::MIXES
                .iter()
                .find(|mix| mix.eq_ignore_ascii_case(quantization));
            let Some(known) = known else {
                let why = format!(
                    "{model:?} is not NAME:QUANT,QUANT with quantizations of {}",
                    synth::MIXES.join(", ")
                );
                return Err(Error::Request {
                    field: "--synthetic",
                    why,
                });
            };
            specs.push(Spec {
                entry: entry.clone(),
                quantization: (*known).to_owned(),
            });
        }
    }
    Ok(specs)
}

/// The folder for files that can be made again: `SMOLQ_CACHE`, or `smolq` in `XDG_CACHE_HOME` or in `.cache` of the home folder.
///
/// # Errors
/// If the environment names none of them.
pub fn folder() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = variable("SMOLQ_CACHE") {
        return Ok(folder.into());
    }
    let cache = match variable("XDG_CACHE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
            let none = "there is no home folder: set SMOLQ_CACHE to a folder for large files";
            home.ok_or_else(|| Error::Resources(none.to_owned()))?
                .join(".cache")
        }
    };
    Ok(cache.join("smolq"))
}

/// A file of random weights; a temporary one is removed when this is dropped.
#[derive(Debug)]
pub struct Made {
    path: PathBuf,
    temporary: bool,
}

impl Made {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.temporary {
            // That it cannot be removed concerns nobody who could do something about it.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

impl Spec {
    /// A file of this shape and quantization in `folder`. One that is there and whole is used again; otherwise it is written
    /// under another name and renamed, so that what has the name is whole.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn cached(&self, folder: &Path) -> Result<Made> {
        let path = folder.join(self.file_name());
        // Opening checks that every tensor lies inside the file.
        if path.is_file() && Gguf::open(&path, &OpenOptions::default()).is_ok() {
            return Ok(Made {
                path,
                temporary: false,
            });
        }
        self.write(path, false)
    }

    /// A file of this shape and quantization in `folder` that exists as long as what is returned.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn temporary(&self, folder: &Path) -> Result<Made> {
        let name = format!("{}.{}", std::process::id(), self.file_name());
        self.write(folder.join(name), true)
    }

    fn write(&self, path: PathBuf, temporary: bool) -> Result<Made> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| Error::Io {
                path: folder.to_owned(),
                source,
            })?;
        }
        synth::write(&self.entry, &self.quantization, SEED, &path)?;
        Ok(Made { path, temporary })
    }

    /// A name that tells a person what it is, and differs for all that the file depends on.
    fn file_name(&self) -> String {
        let mut hasher = DefaultHasher::new();
        let Entry {
            arch,
            title,
            context,
            shape,
            ..
        } = &self.entry;
        format!("{GENERATION} {SEED} {arch} {title} {context} {shape:?}").hash(&mut hasher);
        let hash = hasher.finish();
        let name = self.entry.name.replace(['/', '\\'], "-");
        format!("synthetic-{name}-{}-{hash:016x}.gguf", self.quantization)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_models_with_quantizations() {
        let names = |text: &str| -> Vec<String> {
            let specs = parse(text).unwrap();
            let name = |s: &Spec| format!("{}:{}", s.entry.name, s.quantization);
            specs.iter().map(name).collect()
        };
        assert_eq!(
            names("smollm3-3b:Q4_K_M, q8_0; SmolLM2-135M:F16;"),
            ["smollm3-3b:Q4_K_M", "smollm3-3b:Q8_0", "smollm2-135m:F16"]
        );
        for (bad, part) in [
            ("smollm3-3b", "NAME:QUANT"),
            ("smollm3-3b:", "NAME:QUANT"),
            ("smollm3-3b:Q4_K_M,,Q8_0", "Q4_K_M"),
            ("nobody:Q8_0", "smollm3-3b"),
            (":Q8_0", "no model"),
        ] {
            let message = parse(bad).unwrap_err().to_string();
            assert!(
                message.contains(part) && !message.contains('\n'),
                "{bad}: {message}"
            );
        }
    }

    #[test]
    fn names_differ_for_what_a_file_depends_on() {
        let specs = parse("smollm3-3b:Q4_K_M,Q8_0").unwrap();
        let mut other = specs[0].clone();
        other.entry.shape.n_layer -= 1;
        assert_ne!(specs[0].file_name(), specs[1].file_name());
        assert_ne!(specs[0].file_name(), other.file_name());
        assert_eq!(specs[0].file_name(), specs[0].clone().file_name());
        assert!(
            specs[0]
                .file_name()
                .starts_with("synthetic-smollm3-3b-Q4_K_M-")
        );
    }
}
