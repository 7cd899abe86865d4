//! The notation, read.

use super::MAX_NODES;
use super::node::{Node, Rule, Set, normal, others, single};
use crate::constrain::{MAX_LENGTH, too_long};
use std::collections::HashMap;

/// Deeper nesting is refused.
const MAX_DEPTH: usize = 200;
/// More repetitions are refused.
const MAX_REPEAT: u32 = 10_000;
/// More rules are refused.
const MAX_RULES: usize = 2_000;

pub(super) struct Parser<'a> {
    source: &'a str,
    at: usize,
    nodes: usize,
    names: HashMap<&'a str, usize>,
    /// Name, place of its first mention, and body.
    rules: Vec<(&'a str, usize, Option<Node>)>,
}

impl<'a> Parser<'a> {
    /// The rules of a grammar, `root` first; all are used and come to an end.
    pub(super) fn parse(source: &'a str) -> Result<Vec<Rule>, String> {
        let mut parser = Parser {
            source,
            at: 0,
            nodes: 0,
            names: HashMap::from([("root", 0)]),
            rules: vec![("root", 0, None)],
        };
        parser.space(true);
        while parser.peek().is_some() {
            parser.rule()?;
            parser.space(true);
        }
        parser.rules()
    }

    fn wrong<T>(&self, at: usize, why: impl std::fmt::Display) -> Result<T, String> {
        let before = &self.source[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        Err(format!("line {line}, column {column}: {why}"))
    }

    fn peek(&self) -> Option<char> {
        self.source[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += next.map_or(0, char::len_utf8);
        next
    }

    fn take(&mut self, text: &str) -> bool {
        let is_there = self.source[self.at..].starts_with(text);
        if is_there {
            self.at += text.len();
        }
        is_there
    }

    /// Passes over blanks and comments, and over ends of lines if they mean nothing.
    fn space(&mut self, lines: bool) {
        while let Some(c) = self.peek() {
            match c {
                '#' => {
                    let rest = &self.source[self.at..];
                    self.at += rest.find(['\n', '\r']).unwrap_or(rest.len());
                }
                ' ' | '\t' => self.at += 1,
                '\n' | '\r' if lines => self.at += 1,
                _ => break,
            }
        }
    }

    fn name(&mut self) -> Option<&'a str> {
        let rest = &self.source[self.at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        let name = &rest[..end.unwrap_or(rest.len())];
        self.at += name.len();
        (!name.is_empty()).then_some(name)
    }

    fn number_of(&mut self, name: &'a str, at: usize) -> Result<usize, String> {
        if let Some(&rule) = self.names.get(name) {
            return Ok(rule);
        }
        if self.rules.len() == MAX_RULES {
            return self.wrong(at, format!("more than {MAX_RULES} rules"));
        }
        self.rules.push((name, at, None));
        self.names.insert(name, self.rules.len() - 1);
        Ok(self.rules.len() - 1)
    }

    fn rule(&mut self) -> Result<(), String> {
        let at = self.at;
        let Some(name) = self.name() else {
            let found = self.peek().unwrap_or(' ');
            return self.wrong(
                at,
                format!("a rule begins with its name, not with {found:?}"),
            );
        };
        self.space(false);
        if !self.take("::=") {
            return self.wrong(self.at, format!("after the name {name:?} comes ::="));
        }
        self.space(true);
        let body = self.alternatives(0)?;
        if let Some(found) = self.peek()
            && !matches!(found, '\n' | '\r')
        {
            return self.wrong(self.at, format!("{found:?} has no meaning here"));
        }
        let rule = self.number_of(name, at)?;
        if self.rules[rule].2.is_some() {
            return self.wrong(at, format!("there is a rule {name:?} already"));
        }
        self.rules[rule].2 = Some(body);
        Ok(())
    }

    fn alternatives(&mut self, depth: usize) -> Result<Node, String> {
        let mut options = vec![self.sequence(depth)?];
        loop {
            // The bar may begin the next line.
            let end = self.at;
            self.space(true);
            if !self.take("|") {
                self.at = end;
                break;
            }
            self.space(true);
            options.push(self.sequence(depth)?);
        }
        Ok(single(options, Node::Alt))
    }

    fn sequence(&mut self, depth: usize) -> Result<Node, String> {
        let mut items = Vec::new();
        loop {
            self.space(depth > 0);
            let at = self.at;
            self.nodes += 1;
            if self.nodes > MAX_NODES {
                return self.wrong(at, "the grammar is too large");
            }
            match self.peek() {
                Some('"') => items.push(self.literal()?),
                Some('[') => items.push(self.class()?),
                Some('.') => {
                    self.at += 1;
                    items.push(Node::Chars(others(&Vec::new())));
                }
                Some('(') => {
                    if depth == MAX_DEPTH {
                        return self
                            .wrong(at, format!("groups are nested more than {MAX_DEPTH} deep"));
                    }
                    self.at += 1;
                    items.push(self.alternatives(depth + 1)?);
                    self.space(true);
                    if !self.take(")") {
                        return self.wrong(self.at, "a group is not closed: ) is missing");
                    }
                }
                Some('*' | '+' | '?' | '{') => {
                    let (low, high) = self.repetition()?;
                    let Some(item) = items.pop() else {
                        return self.wrong(at, "there is nothing to repeat");
                    };
                    items.push(match high {
                        Some(0) => Node::Seq(Vec::new()),
                        _ => Node::Repeat(Box::new(item), low, high),
                    });
                }
                Some('<' | '!') => {
                    return self.wrong(at, "single tokens are not supported, write their text");
                }
                _ => match self.name() {
                    Some(name) => items.push(Node::Rule(self.number_of(name, at)?)),
                    None => break,
                },
            }
        }
        Ok(single(items, Node::Seq))
    }

    /// `*`, `+`, `?` or `{...}`.
    fn repetition(&mut self) -> Result<(u32, Option<u32>), String> {
        let at = self.at;
        match self.next() {
            Some('*') => return Ok((0, None)),
            Some('+') => return Ok((1, None)),
            Some('?') => return Ok((0, Some(1))),
            _ => {}
        }
        self.space(true);
        let Some(low) = self.count()? else {
            return self.wrong(self.at, "a number is missing: {m}, {m,} or {m,n}");
        };
        self.space(true);
        let mut high = Some(low);
        if self.take(",") {
            self.space(true);
            high = self.count()?;
            self.space(true);
        }
        if !self.take("}") {
            return self.wrong(self.at, "a repetition is {m}, {m,} or {m,n}");
        }
        if high.is_some_and(|high| high < low) {
            return self.wrong(at, "the second number is less than the first");
        }
        Ok((low, high))
    }

    fn count(&mut self) -> Result<Option<u32>, String> {
        let rest = &self.source[self.at..];
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        if end == 0 {
            return Ok(None);
        }
        match rest[..end].parse() {
            Ok(count) if count <= MAX_REPEAT => {
                self.at += end;
                Ok(Some(count))
            }
            _ => self.wrong(self.at, format!("more than {MAX_REPEAT} repetitions")),
        }
    }

    fn literal(&mut self) -> Result<Node, String> {
        let at = self.at;
        self.at += 1;
        let mut items = Vec::new();
        loop {
            match self.peek() {
                None => return self.wrong(at, "a literal is not closed: \" is missing"),
                Some('"') => break,
                Some(_) => {
                    let c = self.char()?;
                    items.push(Node::Chars(vec![(c, c)]));
                }
            }
        }
        self.at += 1;
        self.nodes += items.len();
        Ok(single(items, Node::Seq))
    }

    fn class(&mut self) -> Result<Node, String> {
        let at = self.at;
        self.at += 1;
        let is_not = self.take("^");
        let mut set = Vec::new();
        loop {
            match self.peek() {
                None => return self.wrong(at, "a class is not closed: ] is missing"),
                Some(']') => break,
                Some(_) => {
                    let place = self.at;
                    let low = self.char()?;
                    let mut high = low;
                    let rest = &self.source[self.at..];
                    if rest.starts_with('-') && !rest.starts_with("-]") {
                        self.at += 1;
                        if self.peek().is_none() {
                            return self.wrong(at, "a class is not closed: ] is missing");
                        }
                        high = self.char()?;
                    }
                    if high < low {
                        return self.wrong(place, "the range ends before it begins");
                    }
                    set.push((low, high));
                }
            }
        }
        self.at += 1;
        self.nodes += set.len();
        let mut set = normal(set);
        if is_not {
            set = others(&set);
        }
        // No text has surrogates.
        let set: Set = if is_not { set } else { others(&others(&set)) };
        if set.is_empty() {
            return self.wrong(at, "the class is empty: no character is in it");
        }
        Ok(Node::Chars(set))
    }

    /// A character of a literal or class, or what an escape stands for.
    fn char(&mut self) -> Result<u32, String> {
        let at = self.at;
        let escaped = match self.next() {
            Some('\\') => self.next(),
            Some(c) => return Ok(u32::from(c)),
            None => None,
        };
        let digits = match escaped {
            Some('t') => return Ok(9),
            Some('n') => return Ok(10),
            Some('r') => return Ok(13),
            Some(c @ ('\\' | '"' | '[' | ']' | '-' | '^' | '/')) => return Ok(u32::from(c)),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => {
                return self.wrong(
                    at,
                    r#"the escapes are \n \r \t \\ \" \[ \] \x00 \u0000 \U00000000"#,
                );
            }
        };
        let value = self.source.get(self.at..self.at + digits);
        let value = value.filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(value) = value.and_then(|text| u32::from_str_radix(text, 16).ok()) else {
            return self.wrong(at, format!("{digits} hexadecimal digits must follow"));
        };
        self.at += digits;
        match char::from_u32(value) {
            Some(_) => Ok(value),
            None => self.wrong(at, "that is no character"),
        }
    }

    /// The rules that `root` needs, if they are all there and all come to an end.
    fn rules(&self) -> Result<Vec<Rule>, String> {
        let mut order = vec![0];
        let mut numbers = HashMap::from([(0, 0)]);
        let mut i = 0;
        while i < order.len() {
            let (name, at, body) = &self.rules[order[i]];
            let Some(body) = body else {
                return if order[i] == 0 {
                    Err("there is no rule \"root\"".to_owned())
                } else {
                    self.wrong(*at, format!("there is no rule {name:?}"))
                };
            };
            let mut found = Vec::new();
            body.rules(&mut found);
            for rule in found {
                numbers.entry(rule).or_insert_with(|| {
                    order.push(rule);
                    order.len() - 1
                });
            }
            i += 1;
        }
        let rules: Vec<Rule> = order
            .iter()
            .filter_map(|&rule| {
                let (name, at, body) = &self.rules[rule];
                let body = renumbered(body.as_ref()?, &numbers);
                Some(Rule {
                    name: (*name).to_owned(),
                    at: *at,
                    body,
                })
            })
            .collect();
        let mut ending = vec![false; rules.len()];
        while fixed(&mut ending, |i, ending| ends(&rules[i].body, ending)) {}
        match ending.iter().position(|ends| !ends) {
            Some(rule) => {
                let rule = &rules[rule];
                let why = format!(
                    "the rule {:?} never ends: all it leads to needs itself",
                    rule.name
                );
                self.wrong(rule.at, why)
            }
            None => {
                let mut lengths = vec![None; rules.len()];
                // Each round knows the lengths of more rules, and none gets longer.
                while (0..rules.len()).rev().fold(false, |changed, i| {
                    let length = length(&rules[i].body, &lengths);
                    let shorter = length.is_some_and(|new| lengths[i].is_none_or(|old| new < old));
                    if shorter {
                        lengths[i] = length;
                    }
                    changed | shorter
                }) {}
                match lengths[0] {
                    Some(length) if length > MAX_LENGTH => Err(too_long(length)),
                    _ => Ok(rules),
                }
            }
        }
    }
}

/// The fewest characters of a text of the node, as far as the rules' are known.
fn length(node: &Node, known: &[Option<usize>]) -> Option<usize> {
    match node {
        Node::Chars(_) => Some(1),
        Node::Seq(items) => items.iter().try_fold(0, |all: usize, item| {
            Some(all.saturating_add(length(item, known)?))
        }),
        Node::Alt(items) => items.iter().filter_map(|item| length(item, known)).min(),
        Node::Repeat(_, 0, _) => Some(0),
        Node::Repeat(item, low, _) => Some(length(item, known)?.saturating_mul(*low as usize)),
        Node::Rule(rule) => known[*rule],
    }
}

fn renumbered(node: &Node, numbers: &HashMap<usize, usize>) -> Node {
    let all = |items: &[Node]| items.iter().map(|item| renumbered(item, numbers)).collect();
    match node {
        Node::Chars(set) => Node::Chars(set.clone()),
        Node::Seq(items) => Node::Seq(all(items)),
        Node::Alt(items) => Node::Alt(all(items)),
        Node::Repeat(item, low, high) => {
            Node::Repeat(Box::new(renumbered(item, numbers)), *low, *high)
        }
        Node::Rule(rule) => Node::Rule(numbers.get(rule).copied().unwrap_or(0)),
    }
}

/// Sets what holds now, last first, as later rules are more often needed by earlier ones; whether anything was.
fn fixed(holds: &mut [bool], now: impl Fn(usize, &[bool]) -> bool) -> bool {
    let mut changed = false;
    for i in (0..holds.len()).rev() {
        if !holds[i] && now(i, holds) {
            holds[i] = true;
            changed = true;
        }
    }
    changed
}

/// Whether a text of the node is finite, given the rules of which that is known.
fn ends(node: &Node, ending: &[bool]) -> bool {
    match node {
        Node::Chars(_) => true,
        Node::Seq(items) => items.iter().all(|item| ends(item, ending)),
        Node::Alt(items) => items.iter().any(|item| ends(item, ending)),
        Node::Repeat(item, low, _) => *low == 0 || ends(item, ending),
        Node::Rule(rule) => ending[*rule],
    }
}
