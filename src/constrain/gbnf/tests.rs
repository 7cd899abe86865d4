use super::node::{Node, Rule};
use super::parse::Parser;
use super::to_lark;
use crate::constrain::{Constraint, Grammar, Vocabulary};
use crate::tokenizer::{Tokenizer, Vocab};
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};
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

const SUMS: &str = include_str!("../../../tests/data/grammars/sums.gbnf");
const JSON: &str = include_str!("../../../tests/data/grammars/json.gbnf");

#[test]
fn grammars_as_they_are_written() {
    let list = "root ::= item+\nitem ::= \"- \" [^\\r\\n\\x0b\\x0c\\x85\\u2028\\u2029]+ \"\\n\"\n";
    let cases: [(&str, &[&str], &[&str]); 8] = [
        (
            SUMS,
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
        "\"a\"", "\"b\"", "\"ab\"", "\"ba\"", "\"aab\"", "[ab]", "[bc]", "\"é\"", "[è-ê]", "\"\"",
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
            prop::collection::vec(inner, 2..3).prop_map(|items| format!("({})", items.join(" | "))),
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
