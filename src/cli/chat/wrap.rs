//! Text on a terminal as it streams: lines broken between words, code in another colour.

use console::measure_text_width;

/// Formats streaming text. What is held back is the last word, or what may become the fence of a code block.
#[derive(Debug)]
pub(super) struct Wrap {
    /// Columns of the terminal; `None` breaks no lines.
    width: Option<usize>,
    colour: bool,
    /// Columns used in this line.
    column: usize,
    /// The blanks and the word that are not yet written.
    blanks: String,
    word: String,
    /// Whether the word's beginning is written: one that is longer than a line is not held back.
    long: bool,
    /// This line's text as far as it may be a fence.
    fence: Option<String>,
    in_code: bool,
}

const CODE: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

impl Wrap {
    pub(super) fn new(width: Option<usize>, colour: bool) -> Wrap {
        Wrap {
            width,
            colour,
            column: 0,
            blanks: String::new(),
            word: String::new(),
            long: false,
            fence: Some(String::new()),
            in_code: false,
        }
    }

    /// Takes text; gives what is to be written.
    pub(super) fn push(&mut self, text: &str) -> String {
        let mut out = String::new();
        for c in text.chars() {
            match self.fence.take() {
                // A fence is a line that begins with three backticks, perhaps indented.
                Some(mut start)
                    if c != '\n'
                        && "```".starts_with(start.trim_start())
                        && (c == '`' || c == ' ' && start.trim().is_empty()) =>
                {
                    start.push(c);
                    if start.ends_with("```") {
                        self.in_code = !self.in_code;
                        if self.in_code && self.colour {
                            out.push_str(CODE);
                        }
                        self.column += measure_text_width(&start);
                        out.push_str(&start);
                        // The rest of the fence's line is code too, and its end is past it.
                        self.word = String::new();
                    } else {
                        self.fence = Some(start);
                    }
                }
                Some(start) => {
                    for c in start.chars() {
                        self.letter(c, &mut out);
                    }
                    self.letter(c, &mut out);
                }
                None => self.letter(c, &mut out),
            }
        }
        out
    }

    fn letter(&mut self, c: char, out: &mut String) {
        match c {
            '\n' => {
                self.flush(out);
                self.long = false;
                if !self.in_code && self.colour {
                    out.push_str(PLAIN);
                }
                out.push('\n');
                self.column = 0;
                self.fence = Some(String::new());
            }
            // Code is not broken, nor held back.
            c if self.in_code || self.width.is_none() => {
                self.column += 1;
                out.push(c);
            }
            c if c.is_whitespace() => {
                if !self.word.is_empty() {
                    self.flush(out);
                }
                self.long = false;
                self.blanks.push(c);
            }
            c => {
                self.word.push(c);
                // The terminal breaks a word that is longer than a line.
                if self
                    .width
                    .is_some_and(|width| measure_text_width(&self.word) >= width)
                {
                    self.flush(out);
                    self.long = true;
                }
            }
        }
    }

    /// Writes what is held back of this line.
    fn flush(&mut self, out: &mut String) {
        let (blanks, word) = (
            std::mem::take(&mut self.blanks),
            std::mem::take(&mut self.word),
        );
        let (before, after) = (measure_text_width(&blanks), measure_text_width(&word));
        let broken = self
            .width
            .is_some_and(|width| self.column > 0 && self.column + before + after > width);
        if self.long {
            self.column = (self.column + after) % self.width.unwrap_or(usize::MAX);
        } else if broken && !word.is_empty() {
            out.push('\n');
            self.column = after;
        } else {
            out.push_str(&blanks);
            self.column += before + after;
        }
        out.push_str(&word);
    }

    /// Whether something stands in the last line.
    pub(super) fn in_line(&self) -> bool {
        self.column > 0
    }

    /// The end of the text: gives the rest.
    pub(super) fn finish(&mut self) -> String {
        let mut out = String::new();
        if let Some(start) = self.fence.take() {
            for c in start.chars() {
                self.letter(c, &mut out);
            }
        }
        self.flush(&mut out);
        if self.in_code && self.colour {
            out.push_str(PLAIN);
        }
        self.in_code = false;
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str, width: Option<usize>, colour: bool) -> String {
        let mut results: Vec<String> = Vec::new();
        for n in [1, 3, 1000] {
            let mut wrap = Wrap::new(width, colour);
            let chars: Vec<char> = text.chars().collect();
            let mut out: String = chars
                .chunks(n)
                .map(|piece| wrap.push(&piece.iter().collect::<String>()))
                .collect();
            out.push_str(&wrap.finish());
            results.push(out);
        }
        results.dedup();
        assert_eq!(results.len(), 1, "{results:?}");
        results.remove(0)
    }

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(
            wrapped("one two three four", Some(9), false),
            "one two\nthree\nfour"
        );
        assert_eq!(wrapped("a\n\n  b c ", Some(9), false), "a\n\n  b c ");
        assert_eq!(wrapped("日本語 日本語", Some(9), false), "日本語\n日本語");
        assert_eq!(
            wrapped("abcdefghijkl m nop", Some(5), false),
            "abcdefghijkl m\nnop"
        );
        assert_eq!(wrapped("one two three", None, false), "one two three");
    }

    #[test]
    fn code_is_not_broken_and_has_a_colour_of_its_own() {
        let text = "see\n```rust\nlet a = 1; let b = 2;\n```\nthen done now";
        let expected = "see\n```rust\nlet a = 1; let b = 2;\n```\nthen done\nnow";
        assert_eq!(wrapped(text, Some(9), false), expected);
        let colours = wrapped(text, Some(9), true);
        assert_eq!(console::strip_ansi_codes(&colours), expected);
        assert!(
            colours.contains("\x1b[36m```rust") && colours.contains("```\x1b[0m\nthen"),
            "{colours:?}"
        );
        assert_eq!(wrapped("`` a", Some(9), false), "`` a");
    }
}
