//! The model inside the program: with it a fresh build talks, thinks and calls tools without a download.
//!
//! It is a SmolLM3 of five million weights, trained from nothing by `tools/tiny` of the repository, and is there unless the
//! feature `embedded-model` is off. The file is used where it lies in the program; nothing is copied.

use crate::catalogue;
use crate::error::{Error, Result};
use smolq_gguf::{Gguf, OpenOptions};
use std::hint::black_box;
use std::path::Path;

/// What users call the model. A file of that name is `./tiny`.
pub const NAME: &str = "tiny";

/// Kernels read weights best from the beginning of a cache line.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

#[cfg(feature = "embedded-model")]
static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!("../models/tiny-q8_0.gguf"));
#[cfg(not(feature = "embedded-model"))]
static FILE: &Aligned<[u8]> = &Aligned([]);

/// The file, or nothing if the program was built without. The compiler is kept from knowing which: the code is the same then, and a program
/// with the model is larger by the file alone.
fn file() -> &'static [u8] {
    &black_box(&FILE).0
}

/// Whether it is there.
pub fn is_available() -> bool {
    !file().is_empty()
}

/// Whether `path` means the model inside the program.
pub fn is_named(path: &Path) -> bool {
    is_available() && path == Path::new(NAME)
}

/// Opens the model that `path` names: a file, or the model inside the program.
///
/// # Errors
/// If the file cannot be read, or is no whole GGUF file; or if the model inside is asked for where none is, and no file has its name.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Gguf> {
    if is_named(path) {
        return Ok(Gguf::from_static(NAME, file(), options)?);
    }
    if path == Path::new(NAME) && !path.exists() {
        return Err(Error::Model(format!(
            "{NAME}: this smolq was built without the model inside it (feature embedded-model); for a real one, {}",
            catalogue::advice()?
        )));
    }
    Ok(Gguf::open(path, options)?)
}
