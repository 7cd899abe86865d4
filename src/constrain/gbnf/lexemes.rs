//! A grammar of characters as one of terminals, none of which is in another's way.

use super::MAX_NODES;
use super::node::{
    Node, Rule, Set, all_chars, class, first_chars, is_nullable, meet, nonempty, normal, regex,
    single, widened,
};
use llguidance::derivre::{RegexAst, RegexBuilder};
use std::collections::{BTreeSet, HashMap, HashSet};

/// More terminals are refused.
const MAX_TERMS: usize = 2_000;
/// A part of more nodes, or of more levels, does not become one terminal.
const MAX_TERM: usize = 2_000;
const MAX_HEIGHT: usize = 80;
/// Pairs of terminals that are compared exactly; beyond, any that look alike count as in each other's way.
const MAX_PAIRS: usize = 2_000;
/// What one comparison may take.
const PAIR_FUEL: u64 = 10_000;

/// A grammar over terminals.
#[derive(Clone, Debug)]
pub(super) enum Part {
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

pub(super) struct Term {
    node: Node,
    pub(super) regex: String,
    first: Set,
    chars: Set,
    /// Its parts, if it was in the way.
    pub(super) opened: Option<Part>,
}

/// The terminals of a grammar, and its rules over them.
pub(super) struct Lexemes {
    pub(super) rules: Vec<Option<Part>>,
    pub(super) terms: Vec<Term>,
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
    pub(super) fn of(rules: &[Rule]) -> Result<Lexemes, String> {
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
