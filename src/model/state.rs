//! A session's state as bytes: the tokens held, and their keys and values as the cache has them.
//!
//! ```text
//! tokens: u32   type of keys: u8   type of values: u8   0: u16   layers: u32   KV heads: u32   values of a head: u32
//! token id: u32 x tokens
//! layers x { KV heads x { keys of the positions held }, KV heads x { values of the positions held } }
//! ```
//!
//! All little-endian. Types are numbered as in GGUF: 0 is f32, 1 f16, 8 q8_0. Positions that hold nothing are not written, so a
//! state fits any context that is large enough. It says nothing of the model: who stores it must (see [`crate::saved`]).

use super::cache::KvType;
use super::session::Session;
use crate::error::{Error, Result};
use std::io::{ErrorKind, Read, Write};

// The cache is written as it lies in memory.
const _: () = assert!(cfg!(target_endian = "little"), "states are little-endian");

/// Bytes before the token ids.
const HEAD: usize = 20;

/// Token ids read at a time.
const IDS: usize = 4096;

fn id(kind: KvType) -> u8 {
    match kind {
        KvType::F32 => 0,
        KvType::F16 => 1,
        KvType::Q8_0 => 8,
    }
}

fn named(kind: u8) -> Option<KvType> {
    [KvType::F32, KvType::F16, KvType::Q8_0]
        .into_iter()
        .find(|&known| id(known) == kind)
}

/// A reader that knows how far it came.
struct Source<'a> {
    input: &'a mut dyn Read,
    at: u64,
}

impl Source<'_> {
    /// Fills `out`, which is a part of `place`.
    fn fill(&mut self, out: &mut [u8], place: &dyn Fn() -> String) -> Result<()> {
        let mut done = 0;
        while done < out.len() {
            match self.input.read(&mut out[done..]) {
                Ok(0) => {
                    return Err(Error::State {
                        offset: self.at,
                        problem: format!("it ends within {}; it is cut short", place()),
                    });
                }
                Ok(n) => {
                    done += n;
                    self.at += n as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Stream(error)),
            }
        }
        Ok(())
    }
}

impl Session {
    /// How many bytes [`Session::write_state`] writes.
    pub fn state_bytes(&self) -> u64 {
        self.state_bytes_of(self.tokens.len() as u64)
    }

    /// The bytes of a state of `n` tokens, at most `n_ctx`.
    fn state_bytes_of(&self, n: u64) -> u64 {
        let config = self.model.config();
        let (k, v) = self.cache.kinds();
        let row = (k.bytes(config.head_dim) + v.bytes(config.head_dim)) as u64;
        HEAD as u64 + n * (4 + row * (config.n_layer * config.n_head_kv) as u64)
    }

    /// Writes the tokens held, and their keys and values, in the cache's own types.
    ///
    /// # Errors
    /// [`Error::Stream`] with what `out` says.
    pub fn write_state(&self, out: &mut dyn Write) -> Result<()> {
        let config = self.model.config();
        let (k, v) = self.cache.kinds();
        let n = self.tokens.len();
        let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(Error::Stream);
        // A context of more than 2^32 positions is in no machine's memory.
        write(&(n as u32).to_le_bytes())?;
        write(&[id(k), id(v), 0, 0])?;
        for size in [config.n_layer, config.n_head_kv, config.head_dim] {
            write(&(size as u32).to_le_bytes())?;
        }
        write(bytemuck::cast_slice(&self.tokens))?;
        for layer in &self.cache.layers {
            let (keys, values) = layer.read();
            for (half, kind) in [(keys, k), (values, v)] {
                for head in 0..config.n_head_kv {
                    write(&half.bytes(head)[..n * kind.bytes(config.head_dim)])?;
                }
            }
        }
        Ok(())
    }

    /// Replaces what the session holds by what [`Session::write_state`] wrote, of a session of the same model and the same cache
    /// types. Context, threads and passes may differ. There are no [`Session::logits`] until something is read: to go on where
    /// the other session stood, read its last token again ([`Session::truncate`]); `generate` does.
    ///
    /// It reads no more than the state. That it is of the same model is the caller's promise; [`crate::saved`] keeps it.
    ///
    /// # Errors
    /// [`Error::State`] if it is no such state or cut short, [`Error::Context`] if it holds more tokens than there are positions,
    /// [`Error::Stream`] with what `input` says. The session is then empty, and can be used.
    pub fn read_state(&mut self, input: &mut dyn Read) -> Result<()> {
        self.restore(input, None)
    }

    /// Forgets all, logits too.
    pub(crate) fn clear(&mut self) {
        self.tokens.clear();
        self.wanted = 0;
    }

    /// As [`Session::read_state`], of a state that is `len` bytes long, if that is known.
    pub(crate) fn restore(&mut self, input: &mut dyn Read, len: Option<u64>) -> Result<()> {
        self.clear();
        // Rows are overwritten before anyone looks at them again: what a failure leaves in the cache does no harm.
        self.tokens = self.restored(&mut Source { input, at: 0 }, len)?;
        Ok(())
    }

    /// Fills the cache; gives the tokens.
    fn restored(&self, input: &mut Source<'_>, len: Option<u64>) -> Result<Vec<u32>> {
        let config = self.model.config();
        let mut head = [0; HEAD];
        input.fill(&mut head, &|| "its head".to_owned())?;
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| head[at + i]));
        let fault = |offset: usize, problem: String| {
            Err(Error::State {
                offset: offset as u64,
                problem,
            })
        };

        let (Some(k), Some(v)) = (named(head[4]), named(head[5])) else {
            let problem = format!(
                "cache types {} and {} are not known; it is damaged, or of a newer version",
                head[4], head[5]
            );
            return fault(4, problem);
        };
        let own = self.cache.kinds();
        if (k, v) != own {
            let problem = format!(
                "it holds keys as {k} and values as {v}, this session {} and {}; give --cache-type-k {k} --cache-type-v {v}",
                own.0, own.1
            );
            return fault(4, problem);
        }
        if head[6..8] != [0, 0] {
            return fault(
                6,
                "it is damaged, or of a newer version: a zero is missing".to_owned(),
            );
        }
        let sizes = [
            ("layers", config.n_layer),
            ("KV heads", config.n_head_kv),
            ("values of a head", config.head_dim),
        ];
        for (i, (what, size)) in sizes.into_iter().enumerate() {
            let at = 8 + 4 * i;
            if word(at) as usize != size {
                let problem = format!(
                    "{} {what}, the model has {size}; it is of another model",
                    word(at)
                );
                return fault(at, problem);
            }
        }
        let n = word(0) as usize;
        if n > self.n_ctx {
            return Err(Error::Context {
                needed: n,
                n_ctx: self.n_ctx,
            });
        }
        let needed = self.state_bytes_of(n as u64);
        if let Some(len) = len.filter(|&len| len != needed) {
            let problem = format!("{n} tokens take {needed} bytes, but it has {len}");
            return fault(0, problem);
        }

        let mut tokens = Vec::new();
        let mut piece = [0; IDS];
        while tokens.len() < n {
            let at = input.at;
            let piece = &mut piece[..(n - tokens.len()).min(IDS)];
            input.fill(bytemuck::cast_slice_mut(piece), &|| {
                "its token ids".to_owned()
            })?;
            let strange = piece.iter().position(|&id| id as usize >= config.n_vocab);
            if let Some(i) = strange {
                let problem = format!(
                    "token id {} is not in the vocabulary of {}; it is damaged, or of another model",
                    piece[i], config.n_vocab
                );
                return Err(Error::State {
                    offset: at + 4 * i as u64,
                    problem,
                });
            }
            tokens.extend_from_slice(piece);
        }
        for (il, layer) in self.cache.layers.iter().enumerate() {
            for keys in [true, false] {
                let (kind, what) = if keys { (k, "keys") } else { (v, "values") };
                for head in 0..config.n_head_kv {
                    let (of_keys, of_values) = layer.write(head);
                    let mut row = if keys { of_keys } else { of_values };
                    let held = &mut row.bytes_mut()[..n * kind.bytes(config.head_dim)];
                    input.fill(held, &|| format!("the {what} of layer {il}, head {head}"))?;
                }
            }
        }
        Ok(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_types_have_the_numbers_of_gguf() {
        use smolq_gguf::TensorType;
        for (kind, same) in [
            (KvType::F32, TensorType::F32),
            (KvType::F16, TensorType::F16),
            (KvType::Q8_0, TensorType::Q8_0),
        ] {
            assert_eq!(u32::from(id(kind)), same.id());
            assert_eq!(named(id(kind)), Some(kind));
        }
        assert_eq!(named(2), None);
    }
}
