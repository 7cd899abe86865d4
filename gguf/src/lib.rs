//! Reads and writes GGUF.
