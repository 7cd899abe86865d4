//! llama.cpp's grammar notation, translated to Lark.
//!
//! A GBNF grammar is about characters. The engine has a lexer, which takes each terminal as long as it can and never goes back, so terminals
//! must be such that this loses nothing. Every part without recursion begins as one terminal, since lexing is far cheaper than parsing. Then any
//! terminal that could run on where another one has ended and its follower begins is opened into its parts, until no two are in each other's
//! way; single characters never are.

mod lexemes;
mod node;
mod parse;
#[cfg(test)]
mod tests;
mod write;

use lexemes::Lexemes;
use parse::Parser;

/// Characters, classes and groups, as written and as opened.
const MAX_NODES: usize = 60_000;

/// A grammar in Lark's notation for one in llama.cpp's.
pub(super) fn to_lark(source: &str) -> Result<String, String> {
    let rules = Parser::parse(source)?;
    Ok(Lexemes::of(&rules)?.to_lark())
}
