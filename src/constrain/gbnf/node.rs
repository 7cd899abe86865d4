//! Grammars of characters as a tree, and what is known of its texts.

use std::collections::BTreeSet;
use std::fmt::Write;

/// Ranges of characters, ascending, not touching.
pub(super) type Set = Vec<(u32, u32)>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Node {
    /// One character of these; never empty.
    Chars(Set),
    Seq(Vec<Node>),
    Alt(Vec<Node>),
    Repeat(Box<Node>, u32, Option<u32>),
    Rule(usize),
}

impl Node {
    pub(super) fn rules(&self, found: &mut Vec<usize>) {
        match self {
            Node::Chars(_) => {}
            Node::Seq(items) | Node::Alt(items) => items.iter().for_each(|item| item.rules(found)),
            Node::Repeat(item, ..) => item.rules(found),
            Node::Rule(rule) => found.push(*rule),
        }
    }
}

/// A rule; its place is where its name first stands.
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) at: usize,
    pub(super) body: Node,
}

pub(super) fn normal(mut ranges: Set) -> Set {
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
pub(super) fn others(set: &Set) -> Set {
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

pub(super) fn meet(a: &Set, b: &Set) -> bool {
    a.iter().any(|x| b.iter().any(|y| x.0 <= y.1 && y.0 <= x.1))
}

/// The only item, or all as `what`.
pub(super) fn single(mut items: Vec<Node>, what: impl Fn(Vec<Node>) -> Node) -> Node {
    match items.len() {
        1 => items.swap_remove(0),
        _ => what(items),
    }
}

/// Whether a node without rules has the empty text.
pub(super) fn is_nullable(node: &Node) -> bool {
    match node {
        Node::Chars(_) | Node::Rule(_) => false,
        Node::Seq(items) => items.iter().all(is_nullable),
        Node::Alt(items) => items.iter().any(is_nullable),
        Node::Repeat(item, low, _) => *low == 0 || is_nullable(item),
    }
}

/// A node without rules, without its empty text; nothing if it has no other.
pub(super) fn nonempty(node: &Node) -> Option<Node> {
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
pub(super) fn first_chars(node: &Node, out: &mut Set) {
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
pub(super) fn all_chars(node: &Node, out: &mut Set) {
    match node {
        Node::Chars(set) => out.extend_from_slice(set),
        Node::Seq(items) | Node::Alt(items) => items.iter().for_each(|item| all_chars(item, out)),
        Node::Repeat(item, ..) => all_chars(item, out),
        Node::Rule(_) => {}
    }
}

/// All characters that begin with the same byte as one of these: the lexer decides byte by byte.
pub(super) fn widened(set: &Set) -> Set {
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

pub(super) fn class(set: &Set) -> String {
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
pub(super) fn regex(node: &Node, out: &mut String) {
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

pub(super) fn repeat(low: u32, high: Option<u32>, out: &mut String) {
    let _ = match (low, high) {
        (0, None) => write!(out, "*"),
        (1, None) => write!(out, "+"),
        (0, Some(1)) => write!(out, "?"),
        (low, None) => write!(out, "{{{low},}}"),
        (low, Some(high)) => write!(out, "{{{low},{high}}}"),
    };
}
