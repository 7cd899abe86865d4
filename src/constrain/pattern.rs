//! Regular expressions of strangers, looked at before the engine reads them.
//!
//! A class of characters takes time and memory for each of its ranges, and for each of its characters where case does not count; a few
//! kilobytes can name the largest classes a thousand times. So what they take is counted on the pattern as it is written, over all patterns
//! of a grammar, and too much is refused before anything is translated.

use super::{FIRST_FUEL, MAX_LENGTH, too_long};
use llguidance::api::{GrammarInit, ParserLimits, TopLevelGrammar};
use llguidance::derivre::{RegexAst, RegexBuilder};
use regex_syntax::ast::{self, Ast, ClassSetItem};
use regex_syntax::hir::translate::Translator;
use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::Value;
use std::collections::HashMap;

/// What the classes of a grammar's patterns may take, in steps of some ten nanoseconds.
const MAX_WORK: u64 = 1 << 23;
/// Steps that a range of characters takes: it becomes parts of an automaton.
const RANGE: u64 = 16;
/// All characters that there are.
const CHARACTERS: u64 = 0x11_0000;

/// What all steps of numbers may take of the lexer's first step; the rest is for what else there is.
const STEPS_FUEL: u64 = FIRST_FUEL / 8 * 7;

/// Where a pattern is wrong, in bytes, and why.
pub(super) type Wrong = (usize, String);

/// The patterns of one grammar.
#[derive(Default)]
pub(super) struct Patterns {
    work: u64,
    /// Whether more was asked for than may be.
    pub(super) exceeded: bool,
    /// Ranges and characters of the classes that have names.
    named: HashMap<String, (u64, u64)>,
    /// Says which anchors it can do without.
    engine: RegexBuilder,
    /// What steps of numbers take so far, and the numbers that were looked at.
    stepped: u64,
    numbers: HashMap<String, bool>,
}

impl Patterns {
    /// A pattern, translated.
    pub(super) fn read(&mut self, pattern: &str) -> Result<Hir, Wrong> {
        let ast = ast::parse::Parser::new()
            .parse(pattern)
            .map_err(|error| (error.span().start.offset, error.kind().to_string()))?;
        let before = self.work;
        let classes = Classes {
            pattern,
            patterns: &mut *self,
            folds: false,
            class: Size::default(),
        };
        if let Err(wrong) = ast::visit(&ast, classes) {
            self.work = before;
            self.exceeded = true;
            return Err(wrong);
        }
        Translator::new()
            .translate(pattern, &ast)
            .map_err(|error| (error.span().start.offset, error.kind().to_string()))
    }

    /// Why a text of JSON cannot be held to a pattern that is to be found in it.
    pub(super) fn search(&mut self, pattern: &str) -> Result<(), String> {
        let pattern = llguidance::regex_to_lark(pattern, "dw");
        let parsed = self.read(&pattern).map_err(|(_, why)| why)?;
        match parsed.properties().minimum_len() {
            None => return Err("nothing satisfies it".to_owned()),
            Some(length) if length > MAX_LENGTH => return Err(too_long(length)),
            Some(_) => {}
        }
        let has_anchors = !parsed.properties().look_set().is_empty();
        if has_anchors && self.engine.mk(&RegexAst::SearchRegex(pattern)).is_err() {
            return Err(
                "anchors within a pattern and word boundaries are not supported".to_owned(),
            );
        }
        if asks_for_control(&parsed) {
            return Err(
                "it asks for control characters that have no short escape in JSON".to_owned(),
            );
        }
        Ok(())
    }

    /// Whether the engine finds a way among the remainders of a number's steps, with what other steps have left. It looks in depth for a first
    /// one, so no size tells: 65,536 takes it less than 20,736, and bounds change both.
    pub(super) fn can_count(&mut self, number: &Value) -> bool {
        let text = number.to_string();
        if let Some(&known) = self.numbers.get(&text) {
            return known;
        }
        let taken = first_step(number.clone(), STEPS_FUEL - self.stepped);
        self.stepped += taken.unwrap_or(0);
        self.numbers.insert(text, taken.is_some());
        taken.is_some()
    }
}

/// What the lexer's first step takes for a number; none if that is all of `fuel`.
fn first_step(number: Value, fuel: u64) -> Option<u64> {
    let mut limits = ParserLimits {
        initial_lexer_fuel: fuel,
        ..ParserLimits::default()
    };
    let read = GrammarInit::Serialized(TopLevelGrammar::from_json_schema(number));
    let Ok((_, lexemes)) = read.to_internal(None, limits.clone()) else {
        // What else is wrong with it is told with the whole.
        return Some(0);
    };
    let mut first = lexemes.to_regex_vec(&mut limits).ok()?;
    first.set_fuel(fuel);
    let start = first.initial_state(&lexemes.all_lexemes());
    for byte in 0..=u8::MAX {
        first.transition(start, byte);
    }
    if first.has_error() {
        return None;
    }
    // Either is counted by itself.
    let left = limits.initial_lexer_fuel.min(first.get_fuel());
    Some(fuel.saturating_sub(left))
}

/// Whether the engine cannot write a character in a text of JSON without `\uXXXX`.
pub(super) fn is_unwritable(c: char) -> bool {
    matches!(c, '\0'..='\x07' | '\x0b' | '\x0e'..='\x1f' | '\x7f')
}

/// Whether a part of a pattern is nothing but characters that cannot be written.
fn asks_for_control(pattern: &Hir) -> bool {
    let mut waiting = vec![pattern];
    while let Some(part) = waiting.pop() {
        let ranges: Vec<(char, char)> = match part.kind() {
            HirKind::Literal(text) if text.0.iter().any(|&b| is_unwritable(char::from(b))) => {
                return true;
            }
            HirKind::Class(Class::Unicode(class)) => {
                let ranges = class.ranges().iter();
                ranges.map(|range| (range.start(), range.end())).collect()
            }
            HirKind::Class(Class::Bytes(class)) => {
                let ranges = class.ranges().iter();
                ranges
                    .map(|range| (char::from(range.start()), char::from(range.end())))
                    .collect()
            }
            _ => Vec::new(),
        };
        let unwritable =
            |&(first, last): &(char, char)| last <= '\x7f' && (first..=last).all(is_unwritable);
        if !ranges.is_empty() && ranges.iter().all(unwritable) {
            return true;
        }
        waiting.extend(part.kind().subs());
    }
    false
}

/// Counts what the classes of a pattern take.
struct Classes<'a> {
    pattern: &'a str,
    patterns: &'a mut Patterns,
    /// Whether there was a word that case does not count; it is not looked for where that ends.
    folds: bool,
    /// The class in brackets at hand.
    class: Size,
}

/// The size of a class in brackets.
#[derive(Default)]
struct Size {
    items: u64,
    ranges: u64,
    characters: u64,
    /// The classes in brackets and the operations within it.
    inner: u64,
}

impl Classes<'_> {
    fn flags(&mut self, flags: &ast::Flags) {
        self.folds |= flags.flag_state(ast::Flag::CaseInsensitive) == Some(true);
    }

    fn spend(&mut self, work: u64, span: &ast::Span) -> Result<(), Wrong> {
        self.patterns.work = self.patterns.work.saturating_add(work);
        if self.patterns.work > MAX_WORK {
            let why = "its classes of characters are too many or too large: use smaller ones, or mind the case";
            return Err((span.start.offset, why.to_owned()));
        }
        Ok(())
    }

    /// The ranges and characters of a class that has a name, like `\pL` and `\w`.
    fn named(&mut self, span: &ast::Span) -> (u64, u64) {
        let name = &self.pattern[span.start.offset..span.end.offset];
        if let Some(&known) = self.patterns.named.get(name) {
            return known;
        }
        let size = match regex_syntax::parse(name).as_ref().map(Hir::kind) {
            Ok(HirKind::Class(Class::Unicode(class))) => {
                let ranges = class.ranges();
                let characters = ranges.iter().map(|range| range.len() as u64);
                (ranges.len() as u64, characters.sum::<u64>())
            }
            // There is none, or it is written in a way of its own.
            _ => (1000, CHARACTERS),
        };
        self.patterns.named.insert(name.to_owned(), size);
        size
    }
}

impl ast::Visitor for Classes<'_> {
    type Output = ();
    type Err = Wrong;

    fn finish(self) -> Result<(), Wrong> {
        Ok(())
    }

    fn visit_pre(&mut self, node: &Ast) -> Result<(), Wrong> {
        match node {
            Ast::Flags(set) => self.flags(&set.flags),
            Ast::Group(group) => {
                if let Some(flags) = group.flags() {
                    self.flags(flags);
                }
            }
            Ast::ClassBracketed(_) => self.class = Size::default(),
            _ => {}
        }
        Ok(())
    }

    fn visit_post(&mut self, node: &Ast) -> Result<(), Wrong> {
        match node {
            Ast::Literal(literal) if self.folds => self.spend(RANGE, &literal.span),
            Ast::ClassPerl(class) => {
                let (ranges, _) = self.named(&class.span);
                self.spend(RANGE * ranges, &class.span)
            }
            Ast::ClassUnicode(class) => {
                let (ranges, characters) = self.named(&class.span);
                let folded = if self.folds { characters } else { 0 };
                self.spend(RANGE * ranges + folded, &class.span)
            }
            Ast::ClassBracketed(class) => {
                let size = std::mem::take(&mut self.class);
                // Each item is joined with those before it, and case is done away with at each level.
                let joined = size.items.saturating_mul(size.ranges);
                let folded = match self.folds {
                    true => size.characters.saturating_mul(size.inner + 1),
                    false => 0,
                };
                let work = joined.saturating_add(folded);
                self.spend(work.saturating_add(RANGE * size.ranges), &class.span)
            }
            _ => Ok(()),
        }
    }

    fn visit_class_set_item_post(&mut self, item: &ClassSetItem) -> Result<(), Wrong> {
        let (ranges, characters) = match item {
            ClassSetItem::Empty(_) | ClassSetItem::Union(_) => return Ok(()),
            ClassSetItem::Literal(_) => (1, 1),
            ClassSetItem::Range(range) => {
                let (first, last) = (u32::from(range.start.c), u32::from(range.end.c));
                (1, u64::from(last.saturating_sub(first)) + 1)
            }
            ClassSetItem::Ascii(class) if class.negated => (4, CHARACTERS),
            ClassSetItem::Ascii(_) => (4, 128),
            ClassSetItem::Unicode(class) => self.named(&class.span),
            ClassSetItem::Perl(class) => self.named(&class.span),
            ClassSetItem::Bracketed(class) => {
                self.class.inner += 1;
                // Its items are counted already.
                (1, if class.negated { CHARACTERS } else { 0 })
            }
        };
        self.class.items += 1;
        self.class.ranges += ranges;
        self.class.characters += characters;
        Ok(())
    }

    fn visit_class_set_binary_op_post(&mut self, _: &ast::ClassSetBinaryOp) -> Result<(), Wrong> {
        self.class.items += 1;
        self.class.inner += 1;
        Ok(())
    }
}
