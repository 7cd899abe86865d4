//! llama.cpp's grammar notation, translated to Lark.
//!
//! A GBNF grammar is about characters. The engine has a lexer, which takes each terminal as long as it can and never goes back, so terminals
//! must be such that this loses nothing. Every part without recursion begins as one terminal, since lexing is far cheaper than parsing. Then any
//! terminal that could run on where another one has ended and its follower begins is opened into its parts, until no two are in each other's
//! way; single characters never are.

use super::{MAX_LENGTH, too_long};
use llguidance::derivre::{RegexAst, RegexBuilder};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;

/// Deeper nesting is refused.
const MAX_DEPTH: usize = 200;
/// More repetitions are refused.
const MAX_REPEAT: u32 = 10_000;
/// Rules, and terminals, that a grammar may have.
const MAX_RULES: usize = 2_000;
const MAX_TERMS: usize = 2_000;
/// Characters, classes and groups, as written and as opened.
const MAX_NODES: usize = 60_000;
/// A part of more nodes, or of more levels, does not become one terminal.
const MAX_TERM: usize = 2_000;
const MAX_HEIGHT: usize = 80;
/// Pairs of terminals that are compared exactly; beyond, any that look alike count as in each other's way.
const MAX_PAIRS: usize = 2_000;
/// What one comparison may take.
const PAIR_FUEL: u64 = 10_000;

/// A grammar in Lark's notation for one in llama.cpp's.
pub(super) fn to_lark(source: &str) -> Result<String, String> {
    let rules = Parser::parse(source)?;
    Lexemes::of(&rules)?.lark()
}

/// Ranges of characters, ascending, not touching.
type Set = Vec<(u32, u32)>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Node {
    /// One character of these; never empty.
    Chars(Set),
    Seq(Vec<Node>),
    Alt(Vec<Node>),
    Repeat(Box<Node>, u32, Option<u32>),
    Rule(usize),
}

impl Node {
    fn rules(&self, found: &mut Vec<usize>) {
        match self {
            Node::Chars(_) => {}
            Node::Seq(items) | Node::Alt(items) => items.iter().for_each(|item| item.rules(found)),
            Node::Repeat(item, ..) => item.rules(found),
            Node::Rule(rule) => found.push(*rule),
        }
    }
}

/// A rule; its place is where its name first stands.
struct Rule {
    name: String,
    at: usize,
    body: Node,
}

fn normal(mut ranges: Set) -> Set {
    ranges.sort_unstable();
    let mut out: Set = Vec::with_capacity(ranges.len());
    for (low, high) in ranges {
        match out.last_mut() {
            Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
            _ => out.push((low, high)),
        }
    }
    out
}

/// All characters but these. Surrogates are none.
fn others(set: &Set) -> Set {
    let mut out = Vec::new();
    let mut next = 0;
    for &(low, high) in set
        .iter()
        .chain([&(0xd800, 0xdfff), &(0x11_0000, u32::MAX)])
        .collect::<BTreeSet<_>>()
    {
        if low > next {
            out.push((next, low - 1));
        }
        next = next.max(high.saturating_add(1));
    }
    out
}

fn meet(a: &Set, b: &Set) -> bool {
    a.iter().any(|x| b.iter().any(|y| x.0 <= y.1 && y.0 <= x.1))
}

struct Parser<'a> {
    source: &'a str,
    at: usize,
    nodes: usize,
    names: HashMap<&'a str, usize>,
    /// Name, place of its first mention, and body.
    rules: Vec<(&'a str, usize, Option<Node>)>,
}

impl<'a> Parser<'a> {
    /// The rules of a grammar, `root` first; all are used and come to an end.
    fn parse(source: &'a str) -> Result<Vec<Rule>, String> {
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

/// The only item, or all as `what`.
fn single(mut items: Vec<Node>, what: impl Fn(Vec<Node>) -> Node) -> Node {
    match items.len() {
        1 => items.swap_remove(0),
        _ => what(items),
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

/// Whether a node without rules has the empty text.
fn is_nullable(node: &Node) -> bool {
    match node {
        Node::Chars(_) | Node::Rule(_) => false,
        Node::Seq(items) => items.iter().all(is_nullable),
        Node::Alt(items) => items.iter().any(is_nullable),
        Node::Repeat(item, low, _) => *low == 0 || is_nullable(item),
    }
}

/// A node without rules, without its empty text; nothing if it has no other.
fn nonempty(node: &Node) -> Option<Node> {
    if !is_nullable(node) {
        return Some(node.clone());
    }
    match node {
        Node::Chars(_) | Node::Rule(_) => Some(node.clone()),
        Node::Seq(items) => {
            // The first that is not empty, and all after it.
            let options = (0..items.len()).filter_map(|i| {
                let mut rest = vec![nonempty(&items[i])?];
                rest.extend_from_slice(&items[i + 1..]);
                Some(single(rest, Node::Seq))
            });
            some(options.collect())
        }
        Node::Alt(items) => some(items.iter().filter_map(nonempty).collect()),
        Node::Repeat(item, low, high) => {
            let low = if is_nullable(item) { 1 } else { (*low).max(1) };
            Some(Node::Repeat(Box::new(nonempty(item)?), low, *high))
        }
    }
}

fn some(options: Vec<Node>) -> Option<Node> {
    (!options.is_empty()).then(|| single(options, Node::Alt))
}

/// The characters that texts of a node without rules begin with.
fn first_chars(node: &Node, out: &mut Set) {
    match node {
        Node::Chars(set) => out.extend_from_slice(set),
        Node::Seq(items) => {
            for item in items {
                first_chars(item, out);
                if !is_nullable(item) {
                    break;
                }
            }
        }
        Node::Alt(items) => items.iter().for_each(|item| first_chars(item, out)),
        Node::Repeat(item, ..) => first_chars(item, out),
        Node::Rule(_) => {}
    }
}

/// The characters that are in a node without rules.
fn all_chars(node: &Node, out: &mut Set) {
    match node {
        Node::Chars(set) => out.extend_from_slice(set),
        Node::Seq(items) | Node::Alt(items) => items.iter().for_each(|item| all_chars(item, out)),
        Node::Repeat(item, ..) => all_chars(item, out),
        Node::Rule(_) => {}
    }
}

/// All characters that begin with the same byte as one of these: the lexer decides byte by byte.
fn widened(set: &Set) -> Set {
    let mut out = Vec::new();
    for &(low, high) in set {
        for (first, last, bits) in [
            (0, 0x7f, 0),
            (0x80, 0x7ff, 6),
            (0x800, 0xffff, 12),
            (0x1_0000, 0x10_ffff, 18),
        ] {
            let (low, high) = (low.max(first), high.min(last));
            if low <= high {
                out.push((
                    (low >> bits << bits).max(first),
                    (high | ((1 << bits) - 1)).min(last),
                ));
            }
        }
    }
    let out = normal(out);
    others(&others(&out))
}

fn class(set: &Set) -> String {
    let mut out = String::from("[");
    for &(low, high) in set {
        // Surrogates are no ends of a range.
        let _ = if low == high {
            write!(out, "\\x{{{low:X}}}")
        } else {
            write!(out, "\\x{{{low:X}}}-\\x{{{high:X}}}")
        };
    }
    out.push(']');
    out
}

/// The regular expression of a node without rules.
fn regex(node: &Node, out: &mut String) {
    let group = |item: &Node, out: &mut String| {
        if matches!(item, Node::Chars(_)) {
            regex(item, out);
        } else {
            out.push_str("(?:");
            regex(item, out);
            out.push(')');
        }
    };
    match node {
        Node::Chars(set) => out.push_str(&class(set)),
        Node::Seq(items) => {
            for item in items {
                match item {
                    Node::Alt(_) => group(item, out),
                    _ => regex(item, out),
                }
            }
        }
        Node::Alt(items) => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push('|');
                }
                regex(item, out);
            }
        }
        Node::Repeat(item, low, high) => {
            group(item, out);
            repeat(*low, *high, out);
        }
        Node::Rule(_) => {}
    }
}

fn repeat(low: u32, high: Option<u32>, out: &mut String) {
    let _ = match (low, high) {
        (0, None) => write!(out, "*"),
        (1, None) => write!(out, "+"),
        (0, Some(1)) => write!(out, "?"),
        (low, None) => write!(out, "{{{low},}}"),
        (low, Some(high)) => write!(out, "{{{low},{high}}}"),
    };
}

/// A grammar over terminals.
#[derive(Clone, Debug)]
enum Part {
    Term(usize),
    Rule(usize),
    Seq(Vec<Part>),
    Alt(Vec<Part>),
    Repeat(Box<Part>, u32, Option<u32>),
}

/// A set of terminals, a bit for each.
type Terms = Vec<u64>;

fn join(a: &mut Terms, b: &Terms) -> bool {
    let mut changed = false;
    if a.len() < b.len() {
        a.resize(b.len(), 0);
    }
    for (a, b) in a.iter_mut().zip(b) {
        changed |= *b & !*a != 0;
        *a |= b;
    }
    changed
}

struct Term {
    node: Node,
    regex: String,
    first: Set,
    chars: Set,
    /// Its parts, if it was in the way.
    opened: Option<Part>,
}

/// The terminals of a grammar, and its rules over them.
struct Lexemes {
    rules: Vec<Option<Part>>,
    terms: Vec<Term>,
    numbers: HashMap<Node, usize>,
    /// Nodes and levels of the rules that have no recursion, inlined.
    sizes: Vec<Option<(usize, usize)>>,
    parts: usize,
}

/// What is known of the rules, and after them of the opened terminals.
#[derive(Default)]
struct Known {
    nullable: Vec<bool>,
    first: Vec<Terms>,
    follow: Vec<Terms>,
    term_follow: Vec<Terms>,
}

impl Lexemes {
    fn of(rules: &[Rule]) -> Result<Lexemes, String> {
        let mut sizes = vec![None; rules.len()];
        loop {
            let mut changed = false;
            for i in (0..rules.len()).rev() {
                if sizes[i].is_none() {
                    let size = size(&rules[i].body, &sizes);
                    sizes[i] = size.filter(|size| size.0 <= MAX_TERM && size.1 <= MAX_HEIGHT);
                    changed |= sizes[i].is_some();
                }
            }
            if !changed {
                break;
            }
        }
        let mut lexemes = Lexemes {
            rules: vec![None; rules.len()],
            terms: Vec::new(),
            numbers: HashMap::new(),
            sizes,
            parts: 0,
        };
        // Only what is still a rule of its own is lowered; `root` always is.
        let mut waiting = vec![0];
        while let Some(rule) = waiting.pop() {
            if lexemes.rules[rule].is_some() {
                continue;
            }
            let part = lexemes.lower(&rules[rule].body, rules)?;
            named(&part, &mut waiting);
            lexemes.rules[rule] = Some(part);
        }
        lexemes.separate()?;
        Ok(lexemes)
    }

    fn lower(&mut self, node: &Node, rules: &[Rule]) -> Result<Part, String> {
        self.grow()?;
        if self.is_small(node) {
            return self.term(inlined(node, rules));
        }
        match node {
            Node::Chars(_) => self.term(node.clone()),
            Node::Rule(rule) => Ok(Part::Rule(*rule)),
            Node::Repeat(item, low, high) => Ok(Part::Repeat(
                Box::new(self.lower(item, rules)?),
                *low,
                *high,
            )),
            Node::Seq(items) => {
                // Neighbours that have no recursion are one terminal, as far as it is not too large.
                let mut parts = Vec::new();
                let mut run: Vec<Node> = Vec::new();
                for item in items {
                    run.push(item.clone());
                    if self.is_small(&Node::Seq(run.clone())) {
                        continue;
                    }
                    let last = run.pop();
                    if !run.is_empty() {
                        let run = single(std::mem::take(&mut run), Node::Seq);
                        parts.push(self.term(inlined(&run, rules))?);
                    }
                    match last {
                        Some(item) if self.is_small(&item) => run.push(item),
                        Some(item) => parts.push(self.lower(&item, rules)?),
                        None => {}
                    }
                }
                if !run.is_empty() {
                    let run = single(run, Node::Seq);
                    parts.push(self.term(inlined(&run, rules))?);
                }
                Ok(Part::Seq(parts))
            }
            Node::Alt(items) => {
                let (small, large): (Vec<&Node>, Vec<&Node>) =
                    items.iter().partition(|item| self.is_small(item));
                let mut parts = Vec::new();
                let small: Vec<Node> = small.into_iter().cloned().collect();
                if self.is_small(&Node::Alt(small.clone())) {
                    if !small.is_empty() {
                        parts.push(self.term(inlined(&single(small, Node::Alt), rules))?);
                    }
                } else {
                    for item in &small {
                        parts.push(self.term(inlined(item, rules))?);
                    }
                }
                for item in large {
                    parts.push(self.lower(item, rules)?);
                }
                Ok(Part::Alt(parts))
            }
        }
    }

    fn is_small(&self, node: &Node) -> bool {
        size(node, &self.sizes).is_some_and(|size| size.0 <= MAX_TERM && size.1 <= MAX_HEIGHT)
    }

    fn grow(&mut self) -> Result<(), String> {
        self.parts += 1;
        if self.parts > MAX_NODES || self.terms.len() > MAX_TERMS {
            return Err("it is too large, or too many of its rules run into each other".to_owned());
        }
        Ok(())
    }

    /// A node without rules as a terminal, which has no empty text.
    fn term(&mut self, node: Node) -> Result<Part, String> {
        self.grow()?;
        let nullable = is_nullable(&node);
        if let Node::Seq(items) = &node
            && nullable
            && items.len() > 8
        {
            // What each of them may leave out would be written out.
            let parts = items.iter().map(|item| self.term(item.clone()));
            return Ok(Part::Seq(parts.collect::<Result<_, _>>()?));
        }
        let Some(node) = nonempty(&node) else {
            return Ok(Part::Seq(Vec::new()));
        };
        let number = match self.numbers.get(&node) {
            Some(&number) => number,
            None => {
                let (mut first, mut chars, mut text) = (Vec::new(), Vec::new(), String::new());
                first_chars(&node, &mut first);
                all_chars(&node, &mut chars);
                regex(&node, &mut text);
                self.terms.push(Term {
                    node: node.clone(),
                    regex: text,
                    first: normal(first),
                    chars: widened(&normal(chars)),
                    opened: None,
                });
                self.numbers.insert(node, self.terms.len() - 1);
                self.terms.len() - 1
            }
        };
        let term = Part::Term(number);
        Ok(if nullable {
            Part::Repeat(Box::new(term), 0, Some(1))
        } else {
            term
        })
    }

    /// Opens terminals until none is in the way of another.
    fn separate(&mut self) -> Result<(), String> {
        let mut seen: HashMap<(usize, usize, Set), bool> = HashMap::new();
        loop {
            let follow = self.follow();
            let used = self.used();
            let mut open = BTreeSet::new();
            for &a in &used {
                let mut next = Vec::new();
                for (b, term) in self.terms.iter().enumerate() {
                    if follow[a]
                        .get(b / 64)
                        .is_some_and(|bits| bits >> (b % 64) & 1 == 1)
                    {
                        next.extend_from_slice(&term.first);
                    }
                }
                let next = widened(&normal(next));
                if next.is_empty() {
                    continue;
                }
                for &b in &used {
                    let (one, other) = (&self.terms[a], &self.terms[b]);
                    let runs_on = !matches!(other.node, Node::Chars(_))
                        && meet(&one.first, &other.first)
                        && meet(&next, &other.chars);
                    if !runs_on || open.contains(&b) {
                        continue;
                    }
                    let budget = seen.len() < MAX_PAIRS;
                    let is_in_the_way = *seen
                        .entry((a, b, next.clone()))
                        .or_insert_with(|| !budget || runs_into(&one.regex, &next, &other.regex));
                    if is_in_the_way {
                        open.insert(b);
                    }
                }
            }
            if open.is_empty() {
                return Ok(());
            }
            for term in open {
                let part = match self.terms[term].node.clone() {
                    Node::Seq(items) => {
                        let parts = items.into_iter().map(|item| self.term(item));
                        Part::Seq(parts.collect::<Result<_, _>>()?)
                    }
                    Node::Alt(items) => {
                        let parts = items.into_iter().map(|item| self.term(item));
                        Part::Alt(parts.collect::<Result<_, _>>()?)
                    }
                    Node::Repeat(item, low, high) => {
                        Part::Repeat(Box::new(self.term(*item)?), low, high)
                    }
                    Node::Chars(_) | Node::Rule(_) => continue,
                };
                self.terms[term].opened = Some(part);
            }
        }
    }

    /// The terminals that are in use and not opened.
    fn used(&self) -> Vec<usize> {
        let mut found = BTreeSet::new();
        let mut done = HashSet::new();
        let mut waiting: Vec<&Part> = self.rules.iter().flatten().collect();
        while let Some(part) = waiting.pop() {
            match part {
                Part::Term(term) => match &self.terms[*term].opened {
                    Some(part) => {
                        if done.insert(*term) {
                            waiting.push(part);
                        }
                    }
                    None => {
                        found.insert(*term);
                    }
                },
                Part::Rule(_) => {}
                Part::Seq(parts) | Part::Alt(parts) => waiting.extend(parts),
                Part::Repeat(part, ..) => waiting.push(part),
            }
        }
        found.into_iter().collect()
    }

    /// The terminals that may follow each terminal.
    fn follow(&self) -> Vec<Terms> {
        let n = self.rules.len() + self.terms.len();
        let mut known = Known {
            nullable: vec![false; n],
            first: vec![Terms::new(); n],
            follow: vec![Terms::new(); n],
            term_follow: vec![Terms::new(); self.terms.len()],
        };
        let opened = self.terms.iter().map(|term| term.opened.as_ref());
        let bodies: Vec<Option<&Part>> = self
            .rules
            .iter()
            .map(Option::as_ref)
            .chain(opened)
            .collect();
        loop {
            let mut changed = false;
            for i in (0..n).rev() {
                if let Some(body) = bodies[i] {
                    let (first, nullable) = self.first(body, &known);
                    changed |= join(&mut known.first[i], &first) || nullable != known.nullable[i];
                    known.nullable[i] = nullable;
                }
            }
            if !changed {
                break;
            }
        }
        loop {
            let mut changed = false;
            for (i, body) in bodies.iter().enumerate() {
                if let Some(body) = body {
                    let after = known.follow[i].clone();
                    self.spread(body, after, &mut known, &mut changed);
                }
            }
            if !changed {
                return known.term_follow;
            }
        }
    }

    fn first(&self, part: &Part, known: &Known) -> (Terms, bool) {
        match part {
            Part::Term(term) if self.terms[*term].opened.is_none() => {
                let mut set = vec![0; term / 64 + 1];
                set[term / 64] = 1 << (term % 64);
                (set, false)
            }
            Part::Term(term) => {
                let i = self.rules.len() + term;
                (known.first[i].clone(), known.nullable[i])
            }
            Part::Rule(rule) => (known.first[*rule].clone(), known.nullable[*rule]),
            Part::Seq(parts) => {
                let mut all = Terms::new();
                for part in parts {
                    let (first, nullable) = self.first(part, known);
                    join(&mut all, &first);
                    if !nullable {
                        return (all, false);
                    }
                }
                (all, true)
            }
            Part::Alt(parts) => {
                let mut all = (Terms::new(), false);
                for part in parts {
                    let (first, nullable) = self.first(part, known);
                    join(&mut all.0, &first);
                    all.1 |= nullable;
                }
                all
            }
            Part::Repeat(part, low, _) => {
                let (first, nullable) = self.first(part, known);
                (first, nullable || *low == 0)
            }
        }
    }

    /// Notes what may come after the parts of a part, which `after` may come after. Returns what may come after what is before it.
    fn spread(
        &self,
        part: &Part,
        mut after: Terms,
        known: &mut Known,
        changed: &mut bool,
    ) -> Terms {
        match part {
            Part::Term(term) if self.terms[*term].opened.is_none() => {
                *changed |= join(&mut known.term_follow[*term], &after);
            }
            Part::Term(term) => {
                *changed |= join(&mut known.follow[self.rules.len() + term], &after);
            }
            Part::Rule(rule) => *changed |= join(&mut known.follow[*rule], &after),
            Part::Seq(parts) => {
                for part in parts.iter().rev() {
                    after = self.spread(part, after, known, changed);
                }
                return after;
            }
            Part::Alt(parts) => {
                let mut before = Terms::new();
                for part in parts {
                    let first = self.spread(part, after.clone(), known, changed);
                    join(&mut before, &first);
                }
                return before;
            }
            Part::Repeat(inner, low, high) => {
                let (first, _) = self.first(inner, known);
                let mut around = after.clone();
                if *high != Some(1) {
                    join(&mut around, &first);
                }
                let mut before = self.spread(inner, around, known, changed);
                if *low == 0 {
                    join(&mut before, &after);
                }
                return before;
            }
        }
        let (mut first, nullable) = self.first(part, known);
        if nullable {
            join(&mut first, &after);
        }
        first
    }

    fn lark(&self) -> Result<String, String> {
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
        Ok(writer.out)
    }
}

fn named(part: &Part, found: &mut Vec<usize>) {
    match part {
        Part::Term(_) => {}
        Part::Rule(rule) => found.push(*rule),
        Part::Seq(parts) | Part::Alt(parts) => parts.iter().for_each(|part| named(part, found)),
        Part::Repeat(part, ..) => named(part, found),
    }
}

/// Nodes and levels of a node with its rules inlined; none if it needs a rule that is not to be.
fn size(node: &Node, sizes: &[Option<(usize, usize)>]) -> Option<(usize, usize)> {
    match node {
        Node::Chars(set) => Some((set.len(), 1)),
        Node::Rule(rule) => sizes[*rule],
        Node::Repeat(item, ..) => size(item, sizes).map(|(nodes, levels)| (nodes + 1, levels + 1)),
        Node::Seq(items) | Node::Alt(items) => {
            let mut all = (1usize, 1);
            for item in items {
                let (nodes, levels) = size(item, sizes)?;
                all = (all.0.saturating_add(nodes), all.1.max(levels + 1));
            }
            Some(all)
        }
    }
}

fn inlined(node: &Node, rules: &[Rule]) -> Node {
    let all = |items: &[Node]| items.iter().map(|item| inlined(item, rules)).collect();
    match node {
        Node::Chars(set) => Node::Chars(set.clone()),
        Node::Seq(items) => Node::Seq(all(items)),
        Node::Alt(items) => Node::Alt(all(items)),
        Node::Repeat(item, low, high) => Node::Repeat(Box::new(inlined(item, rules)), *low, *high),
        Node::Rule(rule) => inlined(&rules[*rule].body, rules),
    }
}

/// Whether a text of `one`, with one of the characters `next` after it, begins a text of `other`; also if that takes too long to tell.
fn runs_into(one: &str, next: &Set, other: &str) -> bool {
    let regex = |text: &str| RegexAst::Regex(text.to_owned());
    let running_on = RegexAst::Concat(vec![regex(one), regex(&class(next)), regex("(?s:.*)")]);
    let mut builder = RegexBuilder::new();
    let Ok(both) = builder.mk(&RegexAst::And(vec![running_on, regex(other)])) else {
        return true;
    };
    match builder.to_regex_limited(both, PAIR_FUEL) {
        Ok(mut both) => !both.always_empty(),
        Err(_) => true,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constrain::{Constraint, Grammar, Vocabulary};
    use crate::tokenizer::{Tokenizer, Vocab};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// Bytes and an end, and nothing longer.
    static BYTES: LazyLock<Vocabulary> = LazyLock::new(|| {
        let names: Vec<String> = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect();
        let mut tokens: Vec<&[u8]> = vec![b"<unk>", b"<s>", b"</s>"];
        tokens.extend(names.iter().map(|name| name.as_bytes()));
        let mut types = vec![2, 3, 3];
        types.resize(tokens.len(), 6);
        let vocab = Vocab {
            model: "llama",
            scores: Some(vec![0.0; tokens.len()]),
            types: Some(types),
            tokens,
            ..Vocab::default()
        };
        Vocabulary::new(&Tokenizer::new(&vocab, false).unwrap()).unwrap()
    });

    /// How much of a text the grammar goes along with, and whether the whole is an answer.
    fn follow(constraint: &mut Constraint, text: &str) -> (usize, bool) {
        for (i, byte) in text.bytes().enumerate() {
            if constraint.accept(u32::from(byte) + 3).is_err() {
                return (i, false);
            }
        }
        (text.len(), constraint.is_complete())
    }

    fn constraint(source: &str) -> Constraint {
        Constraint::new(&BYTES, &Grammar::Gbnf(source.to_owned()))
            .unwrap_or_else(|e| panic!("{source}\n{e}"))
    }

    /// The same by trying everything: where texts of a node may end that begin at `from`.
    fn by_hand(
        node: &Node,
        text: &[u32],
        from: usize,
        known: &HashMap<(usize, usize), BTreeSet<usize>>,
    ) -> BTreeSet<usize> {
        let all = |node: &Node, starts: &BTreeSet<usize>| -> BTreeSet<usize> {
            starts
                .iter()
                .flat_map(|&at| by_hand(node, text, at, known))
                .collect()
        };
        let start = BTreeSet::from([from]);
        match node {
            Node::Chars(set) => match text.get(from) {
                Some(&c) if set.iter().any(|range| (range.0..=range.1).contains(&c)) => {
                    BTreeSet::from([from + 1])
                }
                _ => BTreeSet::new(),
            },
            Node::Seq(items) => items.iter().fold(start, |at, item| all(item, &at)),
            Node::Alt(items) => items
                .iter()
                .flat_map(|item| by_hand(item, text, from, known))
                .collect(),
            Node::Repeat(item, low, high) => {
                let mut at = start;
                for _ in 0..*low {
                    at = all(item, &at);
                }
                let mut found = at.clone();
                for _ in *low..high.unwrap_or(*low + text.len() as u32 + 1) {
                    at = all(item, &at);
                    found.extend(&at);
                }
                found
            }
            Node::Rule(rule) => known.get(&(*rule, from)).cloned().unwrap_or_default(),
        }
    }

    fn accepts(rules: &[Rule], text: &str) -> bool {
        let text: Vec<u32> = text.chars().map(u32::from).collect();
        let mut known = HashMap::new();
        loop {
            let before = known.clone();
            for (i, rule) in rules.iter().enumerate() {
                for from in 0..=text.len() {
                    let found = by_hand(&rule.body, &text, from, &known);
                    known.insert((i, from), found);
                }
            }
            if known == before {
                return known[&(0, 0)].contains(&text.len());
            }
        }
    }

    const ARITHMETIC: &str = r#"
root  ::= (expr "=" ws term "\n")+   # as llama.cpp's example
expr  ::= term ([-+*/] ws term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
"#;

    const JSON: &str = r#"root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws

object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws

array  ::=
  "[" ws (
            value
    ("," ws value)*
  )? "]" ws

string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws

number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws

# Optional space: by convention, applied in this grammar after literal chars when allowed
ws ::= | " " | "\n" [ \t]{0,20}
"#;

    #[test]
    fn grammars_as_they_are_written() {
        let list =
            "root ::= item+\nitem ::= \"- \" [^\\r\\n\\x0b\\x0c\\x85\\u2028\\u2029]+ \"\\n\"\n";
        let cases: [(&str, &[&str], &[&str]); 8] = [
            (
                ARITHMETIC,
                &[
                    "1=2\n",
                    "x1 + (2*y) = 3\n",
                    "a=b\n\n\nc=d\n",
                    "((((q))))=0 \n",
                ],
                &["1=2", "x=\n", "(1=2)\n", "1==2\n", "X=1\n"],
            ),
            (
                JSON,
                &[
                    r#"{}"#,
                    r#"{"a": [1, -2.5e3, "é\u00e9\n"], "b":{"c" :null}}"#,
                    "{\n  \"a\":true}",
                ],
                &["[]", "{\"a\":01}", "{\"a\" 1}", "{'a':1}", "{\"\u{1}\":1}"],
            ),
            (
                list,
                &["- a\n", "- é b\n- c\n"],
                &["- \n", "- a", "-a\n", "- a\r\n"],
            ),
            // Terminals that a greedy lexer would get lost in.
            (
                "root ::= a\na ::= [a-z]+ \"x\" a?",
                &["ax", "xx", "axbx", "abxx"],
                &["a", "x", "aX"],
            ),
            (
                "root ::= a\na ::= \"a\" \"bc\" | \"ab\" \"d\" | \"(\" a \")\"",
                &["abc", "abd", "(abc)"],
                &["ab", "abcd"],
            ),
            (
                "root ::= a\na ::= [à-ä]+ [é]* \"(\" a? \")\"",
                &["àäé()", "à(ä())"],
                &["é()", "à"],
            ),
            (
                "root ::= root \"+\" root | [0-9]+",
                &["1", "1+22+3"],
                &["+", "1+", "1++2"],
            ),
            (
                "root ::= \"a\"{2,3} b{0} | .{2}\nb ::= \"\"\n  | root \"z\"",
                &["aa", "aaa", "é\n"],
                &["a", "aaaa"],
            ),
        ];
        for (source, good, bad) in cases {
            let rules = Parser::parse(source).unwrap();
            for (texts, wanted) in [(good, true), (bad, false)] {
                for text in texts {
                    assert_eq!(accepts(&rules, text), wanted, "{source}: {text:?} by hand");
                    assert_eq!(
                        follow(&mut constraint(source), text).1,
                        wanted,
                        "{source}: {text:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn errors_name_line_and_column() {
        for (source, part) in [
            (
                "root ::= \"a\"\nb ::= \"x",
                "line 2, column 7: a literal is not closed",
            ),
            (
                "root ::= (\"a\"\n",
                "line 2, column 1: a group is not closed",
            ),
            ("root ::= [a-z", "line 1, column 10: a class is not closed"),
            ("root ::= [z-a]", "line 1, column 11: the range ends before"),
            ("root ::= []", "line 1, column 10: the class is empty"),
            (
                "root ::= [\\uD800-\\uDFFF]",
                "line 1, column 11: that is no character",
            ),
            ("root ::= \"\\xé0\"", "2 hexadecimal digits"),
            ("root ::= \"\\q\"", "line 1, column 11: the escapes are"),
            (
                "root ::= *",
                "line 1, column 10: there is nothing to repeat",
            ),
            (
                "root ::= \"a\"{3,2}",
                "line 1, column 13: the second number is less",
            ),
            ("root ::= \"a\"{,2}", "a number is missing"),
            ("root ::= \"a\"{99999}", "more than 10000 repetitions"),
            (
                "root = \"a\"",
                "line 1, column 6: after the name \"root\" comes ::=",
            ),
            (
                "\n\n  ::= \"a\"",
                "line 3, column 3: a rule begins with its name",
            ),
            (
                "root ::= \"a\" )",
                "line 1, column 14: ')' has no meaning here",
            ),
            (
                "root ::= \"a\"\nroot ::= \"b\"",
                "line 2, column 1: there is a rule \"root\" already",
            ),
            (
                "root ::= (\n a)",
                "line 2, column 2: there is no rule \"a\"",
            ),
            ("a ::= \"a\"", "there is no rule \"root\""),
            (
                "root ::= \"a\" | b\nb ::= b b",
                "line 1, column 16: the rule \"b\" never ends",
            ),
            ("root ::= <|end|>", "line 1, column 10: single tokens"),
        ] {
            let error = to_lark(source).expect_err(source);
            assert!(error.contains(part), "{source:?}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    /// A small grammar over few characters, with recursion at its heart: what is around it are terminals, often in each other's way.
    fn grammars() -> impl Strategy<Value = String> {
        let texts = [
            "\"a\"", "\"b\"", "\"ab\"", "\"ba\"", "\"aab\"", "[ab]", "[bc]", "\"é\"", "[è-ê]",
            "\"\"",
        ];
        let atom = prop_oneof![
            8 => prop::sample::select(texts.to_vec()).prop_map(str::to_owned),
            1 => prop::sample::select(vec!["root", "rec"]).prop_map(str::to_owned),
        ];
        let item = atom.prop_recursive(2, 6, 3, |inner| {
            prop_oneof![
                (
                    inner.clone(),
                    prop::sample::select(vec!["*", "+", "?", "{2}", "{1,2}"])
                )
                    .prop_map(|(x, op)| format!("({x}){op}")),
                prop::collection::vec(inner.clone(), 1..3).prop_map(|items| items.join(" ")),
                prop::collection::vec(inner, 2..3)
                    .prop_map(|items| format!("({})", items.join(" | "))),
            ]
        });
        prop::array::uniform4(item).prop_map(|[one, two, three, four]| {
            format!("root ::= {one} rec? {two} | \"c\"\nrec ::= {three} rec {four} | \"b\"\n")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
        #[test]
        fn lexing_loses_nothing(source in grammars(), texts in prop::collection::vec("[aab]{0,4}[abcé]{0,3}", 24)) {
            let rules = Parser::parse(&source).unwrap();
            for text in texts {
                let mut constraint = constraint(&source);
                prop_assert_eq!(follow(&mut constraint, &text).1, accepts(&rules, &text), "{}: {:?}", source, text);
            }
        }

        #[test]
        fn whatever_is_written_ends(source in "(root|a)? ?(::=)? ?[\\\\\"\\[\\](){}|*+?.^a-z0-9 \n-]{0,40}") {
            if let Ok(lark) = to_lark(&source) {
                prop_assert!(lark.starts_with("start: "));
            }
        }
    }
}
