//! A grammar of terminals in Lark's notation.

use super::lexemes::{Lexemes, Part};
use super::node::repeat;
use std::fmt::Write;

impl Lexemes {
    pub(super) fn to_lark(&self) -> String {
        let mut writer = Writer {
            out: "start: r0\n".to_owned(),
            groups: 0,
        };
        for (i, part) in self.rules.iter().enumerate() {
            if let Some(part) = part {
                writer.rule(&format!("r{i}"), part, self);
            }
        }
        for (i, term) in self.terms.iter().enumerate() {
            match &term.opened {
                Some(part) => writer.rule(&format!("o{i}"), part, self),
                None => writer.out.push_str(&format!("T{i}: /{}/\n", term.regex)),
            }
        }
        writer.out
    }
}

/// Writes rules without nesting, of which Lark's readers bear little.
struct Writer {
    out: String,
    groups: usize,
}

impl Writer {
    fn rule(&mut self, name: &str, part: &Part, lexemes: &Lexemes) {
        let body = match part {
            Part::Seq(parts) => self.sequence(parts, lexemes),
            Part::Alt(parts) => {
                let options: Vec<String> =
                    parts.iter().map(|part| self.atom(part, lexemes)).collect();
                options.join(" | ")
            }
            part => self.atom(part, lexemes),
        };
        let _ = writeln!(self.out, "{name}: {body}");
    }

    fn sequence(&mut self, parts: &[Part], lexemes: &Lexemes) -> String {
        if parts.is_empty() {
            return "\"\"".to_owned();
        }
        let items: Vec<String> = parts.iter().map(|part| self.atom(part, lexemes)).collect();
        items.join(" ")
    }

    fn atom(&mut self, part: &Part, lexemes: &Lexemes) -> String {
        match part {
            Part::Term(term) if lexemes.terms[*term].opened.is_none() => format!("T{term}"),
            Part::Term(term) => format!("o{term}"),
            Part::Rule(rule) => format!("r{rule}"),
            Part::Repeat(inner, low, high) => {
                let mut out = match **inner {
                    Part::Repeat(..) => self.group(inner, lexemes),
                    _ => self.atom(inner, lexemes),
                };
                repeat(*low, *high, &mut out);
                out
            }
            Part::Seq(parts) if parts.is_empty() => "\"\"".to_owned(),
            Part::Seq(_) | Part::Alt(_) => self.group(part, lexemes),
        }
    }

    fn group(&mut self, part: &Part, lexemes: &Lexemes) -> String {
        self.groups += 1;
        let name = format!("g{}", self.groups);
        self.rule(&name, part, lexemes);
        name
    }
}
