//! Decoding one token at a time: tokens end where they like, characters do not.

use super::Tokenizer;

/// Turns tokens into text as they come; made by [`Tokenizer::stream`].
///
/// What [`push`](Self::push) returns is whole characters only. Bytes that may yet become one wait for the next
/// token; bytes that never can become U+FFFD as soon as that is certain. Everything pushed together with what
/// [`finish`](Self::finish) returns is what [`Tokenizer::decode`] makes of the same tokens.
#[derive(Clone, Debug)]
pub struct DecodeStream<'t> {
    tokenizer: &'t Tokenizer,
    special: bool,
    /// The beginning of a character: at most three bytes between two calls.
    waiting: Vec<u8>,
}

impl<'t> DecodeStream<'t> {
    pub(super) fn new(tokenizer: &'t Tokenizer, special: bool) -> Self {
        Self {
            tokenizer,
            special,
            waiting: Vec::new(),
        }
    }

    /// Takes one token and returns the characters that are now complete.
    pub fn push(&mut self, id: u32) -> String {
        self.waiting
            .extend_from_slice(self.tokenizer.visible(id, self.special));
        let mut text = String::new();
        let mut done = 0;
        loop {
            match std::str::from_utf8(&self.waiting[done..]) {
                Ok(rest) => {
                    text.push_str(rest);
                    done = self.waiting.len();
                    break;
                }
                Err(error) => {
                    let valid = &self.waiting[done..][..error.valid_up_to()];
                    text.push_str(&String::from_utf8_lossy(valid));
                    done += valid.len();
                    let Some(wrong) = error.error_len() else {
                        break;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    done += wrong;
                }
            }
        }
        self.waiting.drain(..done);
        text
    }

    /// Ends the text: a character that was begun and not ended becomes U+FFFD.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.waiting).into_owned()
    }
}
