//! Where the end of a text stood before: an index of its n-grams.
//!
//! For a few lengths ([`ORDERS`]), a table leads from the hash of an n-gram to where it ended last. One more token costs one
//! insertion for each length, and the entry that the insertion replaces is the answer to "where did this end stand before?";
//! nothing is ever searched. Hashes come from one polynomial over the text so far, so that those of all lengths cost a
//! multiplication each; a hit is compared with the text before it is believed.

use ahash::AHashMap;

/// Lengths of n-grams, ascending. Single tokens recur by chance in any text; past the longest, the length of a match says
/// nothing new, and is found by comparing.
const ORDERS: [usize; 5] = [2, 3, 5, 8, 16];
/// How far back a match is followed.
const LONGEST: usize = 64;
/// Base of the polynomial; odd, so that no power of it is zero.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

/// An earlier place that reads like the end of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Where it ends: the index of the token after it.
    pub end: usize,
    /// Tokens that agree, at most 64.
    pub len: usize,
}

/// A text of tokens that knows where its end stood before.
#[derive(Clone, Debug)]
pub struct NgramIndex {
    tokens: Vec<u32>,
    /// `hashes[i]` is the polynomial of the first `i` tokens.
    hashes: Vec<u64>,
    /// For each order, its power of [`BASE`] and where the n-grams of that length ended last.
    tables: [(u64, AHashMap<u64, u32>); ORDERS.len()],
    found: Option<Match>,
}

impl Default for NgramIndex {
    fn default() -> NgramIndex {
        let power = |n: usize| (0..n).fold(1u64, |power, _| power.wrapping_mul(BASE));
        NgramIndex {
            tokens: Vec::new(),
            hashes: vec![0],
            tables: ORDERS.map(|n| (power(n), AHashMap::new())),
            found: None,
        }
    }
}

impl NgramIndex {
    /// The lengths of n-grams that are looked for, ascending.
    pub const ORDERS: &[usize] = &ORDERS;

    /// The text.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Forgets the text.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.hashes.truncate(1);
        for (_, table) in &mut self.tables {
            table.clear();
        }
        self.found = None;
    }

    /// Adds a token to the text.
    pub fn push(&mut self, id: u32) {
        self.tokens.push(id);
        let n = self.tokens.len();
        let hash = self.hashes[n - 1]
            .wrapping_mul(BASE)
            .wrapping_add(u64::from(id) + 1);
        self.hashes.push(hash);
        self.found = None;
        let Ok(end) = u32::try_from(n) else {
            // Past 4 billion tokens the text goes on without being looked at.
            return;
        };
        // Ascending: of all orders that stood before, the longest has the last word.
        for (order, (power, table)) in ORDERS.into_iter().zip(&mut self.tables) {
            if order > n {
                break;
            }
            let key = hash.wrapping_sub(self.hashes[n - order].wrapping_mul(*power));
            if let Some(before) = table.insert(key, end) {
                let len = common_end(&self.tokens[..before as usize], &self.tokens);
                if len >= order {
                    self.found = Some(Match {
                        end: before as usize,
                        len,
                    });
                }
            }
        }
    }

    /// The earlier place where the longest n-gram of [`NgramIndex::ORDERS`] that ends the text ended too; of several, the
    /// last one.
    pub fn find(&self) -> Option<Match> {
        self.found
    }

    /// The `n` tokens that followed a match. A match that runs into the end of the text is taken to repeat on.
    pub fn continuation(&self, found: Match, n: usize) -> impl Iterator<Item = u32> + '_ {
        let period = self.tokens.len() - found.end;
        (0..n).map(move |i| self.tokens[found.end + i % period])
    }
}

/// How many tokens at the ends of two texts agree, at most [`LONGEST`].
fn common_end(a: &[u32], b: &[u32]) -> usize {
    let pairs = a.iter().rev().zip(b.iter().rev());
    pairs.take(LONGEST).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index(tokens: &[u32]) -> NgramIndex {
        let mut index = NgramIndex::default();
        for &id in tokens {
            index.push(id);
        }
        index
    }

    /// What [`NgramIndex::find`] promises, by looking everywhere.
    fn searched(tokens: &[u32]) -> Option<Match> {
        for &order in ORDERS.iter().rev().filter(|&&n| n <= tokens.len()) {
            let wanted = &tokens[tokens.len() - order..];
            let end = (order..tokens.len())
                .rev()
                .find(|&end| &tokens[end - order..end] == wanted);
            if let Some(end) = end {
                let len = (1..=LONGEST.min(end))
                    .take_while(|n| tokens[end - n] == tokens[tokens.len() - n])
                    .count();
                return Some(Match { end, len });
            }
        }
        None
    }

    #[test]
    fn the_longest_then_the_last_place_is_found() {
        assert_eq!(index(&[]).find(), None);
        assert_eq!(index(&[7]).find(), None);
        assert_eq!(index(&[7, 7]).find(), None);
        // Two places read 1 2, the later one is taken; a third reads 9 1 2 and is longer.
        let found = index(&[1, 2, 3, 1, 2, 4, 1, 2]).find();
        assert_eq!(found, Some(Match { end: 5, len: 2 }));
        let longer = index(&[9, 1, 2, 3, 8, 1, 2, 4, 9, 1, 2]);
        assert_eq!(longer.find(), Some(Match { end: 3, len: 3 }));
        let continuation: Vec<u32> = longer.continuation(longer.find().unwrap(), 4).collect();
        assert_eq!(continuation, [3, 8, 1, 2]);
    }

    #[test]
    fn a_text_that_runs_into_its_end_repeats_on() {
        let looped = index(&[5, 1, 2, 3, 1, 2, 3, 1, 2, 3]);
        let found = looped.find().unwrap();
        assert_eq!(found, Match { end: 7, len: 6 });
        let continuation: Vec<u32> = looped.continuation(found, 7).collect();
        assert_eq!(continuation, [1, 2, 3, 1, 2, 3, 1]);
    }

    #[test]
    fn clearing_forgets_everything() {
        let mut cleared = index(&[1, 2, 3, 1, 2]);
        cleared.clear();
        assert_eq!((cleared.find(), cleared.tokens()), (None, &[][..]));
        cleared.push(1);
        cleared.push(2);
        assert_eq!(cleared.find(), None);
    }

    proptest! {
        /// Few different tokens, so that matches of all lengths come up; and the places before are looked at after every push.
        #[test]
        fn the_index_finds_what_a_search_finds(
            tokens in (1u32..6).prop_flat_map(|n| prop::collection::vec(0..n, 0..160))
        ) {
            let mut index = NgramIndex::default();
            for n in 0..tokens.len() {
                index.push(tokens[n]);
                prop_assert_eq!(index.find(), searched(&tokens[..=n]), "{:?}", &tokens[..=n]);
            }
        }

        /// A text said again with some tokens changed: long matches, with the shorter ones elsewhere.
        #[test]
        fn the_index_finds_what_a_search_finds_in_a_repetition(
            text in prop::collection::vec(0u32..50, 1..80),
            changes in prop::collection::vec((0usize..80, 0u32..50), 0..4)
        ) {
            let mut again = text.clone();
            for (at, id) in changes {
                let at = at % again.len();
                again[at] = id;
            }
            let tokens = [text, again].concat();
            let mut index = NgramIndex::default();
            for n in 0..tokens.len() {
                index.push(tokens[n]);
                prop_assert_eq!(index.find(), searched(&tokens[..=n]));
            }
        }
    }
}
