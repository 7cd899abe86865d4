//! smolq: a CPU-only engine for GGUF language models.
#![forbid(unsafe_code)]
