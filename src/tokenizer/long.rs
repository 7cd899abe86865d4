//! Merging long texts in parts, with the same result as merging them whole.
//!
//! Merging is O(n log n), but its heap and its list of symbols are larger than any cache if the text is long,
//! and then most of the time is waiting for memory. Parts of a few kilobytes are several times faster.
//!
//! ```text
//! units = []
//! for each part of the text:
//!     fresh = merge(text of the last k units + part)
//!     if fresh begins with the first of these k units: replace the k units by fresh
//!     else: again with a larger k; if k is absurd, merge the whole text at once
//! ```
//!
//! Why this is exact. Merging always joins the best pair of neighbours, of equal ones the leftmost, and whether
//! two neighbours can join, and how well, depends on these two alone. Call two units *stable* if merging their
//! texts together gives these two units again.
//!
//! 1. Neighbours in any result are stable. The joins that happened inside the two never looked outside, and
//!    none crossed their borders; so merging their texts alone does the same joins in the same order.
//! 2. If all neighbours in a sequence of units are stable, the sequence is what merging its text gives.
//!    Suppose some join crosses a border between two units, and take the first that does. Until then each
//!    unit was merged as if alone; so merging the two units' texts alone comes to the same join, and they are
//!    not stable.
//!
//! The units kept are neighbours in an earlier result, those of `fresh` are neighbours in this one, and the
//! two at the seam were neighbours before, for `fresh` begins with the very unit that stood there.
//!
//! A new part changes the units before it only through a chain of ever better joins, which in real
//! vocabularies is a few units long.

use std::ops::RangeInclusive;

use crate::error::Result;

/// A stretch of text that merging left as one: its length in bytes and its token. A symbol of the text that
/// is no token has the id [`NO_TOKEN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) len: usize,
    pub(super) id: u32,
}

/// The id of what is no token.
pub(super) const NO_TOKEN: u32 = u32::MAX;

/// Bytes in a part: the heap and the symbols of so many fit the second-level cache.
const PART: usize = 4096;

/// How many units before a part are merged again with it: at first, and at most.
const OVERLAP: RangeInclusive<usize> = 8..=512;

/// Merges `text` with `merge`, which appends the units of the text it is given.
pub(super) fn merge_in_parts(
    text: &str,
    merge: impl FnMut(&str, &mut Vec<Unit>) -> Result<()>,
) -> Result<Vec<Unit>> {
    merge_in_parts_of(PART, OVERLAP, text, merge)
}

fn merge_in_parts_of(
    part: usize,
    overlap: RangeInclusive<usize>,
    text: &str,
    mut merge: impl FnMut(&str, &mut Vec<Unit>) -> Result<()>,
) -> Result<Vec<Unit>> {
    let mut units: Vec<Unit> = Vec::new();
    if text.len() <= 2 * part {
        merge(text, &mut units)?;
        return Ok(units);
    }
    let mut fresh = Vec::new();
    let mut done = 0;
    while done < text.len() {
        let end = text.ceil_char_boundary(done + part);
        let mut again = *overlap.start();
        loop {
            let kept = units.len().saturating_sub(again);
            let start = done - units[kept..].iter().map(|unit| unit.len).sum::<usize>();
            fresh.clear();
            merge(&text[start..end], &mut fresh)?;
            if kept == 0 || fresh.first() == units.get(kept) {
                units.truncate(kept);
                units.append(&mut fresh);
                break;
            }
            again *= 4;
            if again > *overlap.end() {
                units.clear();
                merge(text, &mut units)?;
                return Ok(units);
            }
        }
        done = end;
    }
    Ok(units)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Merges by the definition: the best pair, of equal ones the leftmost, until there is none.
    fn merge_naively(ranks: &[(&str, u32)], text: &str, out: &mut Vec<Unit>) {
        let mut parts: Vec<&str> = text.split_inclusive(|_| true).collect();
        let mut at: Vec<usize> = (0..text.len()).collect();
        loop {
            let best = (1..parts.len())
                .filter_map(|right| {
                    let joined = &text[at[right - 1]..at[right] + parts[right].len()];
                    let (_, rank) = ranks.iter().find(|(token, _)| *token == joined)?;
                    Some((*rank, right, joined))
                })
                .min_by_key(|&(rank, right, _)| (rank, right));
            let Some((_, right, joined)) = best else {
                break;
            };
            parts[right - 1] = joined;
            parts.remove(right);
            at.remove(right);
        }
        out.extend(parts.iter().map(|part| Unit {
            len: part.len(),
            id: part.bytes().fold(0, |id, byte| id * 31 + u32::from(byte)),
        }));
    }

    proptest! {
        #[test]
        fn parts_merge_as_the_whole(
            text in "[ab]{0,60}|[abc]{0,60}|(abc){0,20}|a{0,60}",
            tokens in proptest::collection::vec(("[ab]{2,5}|[abc]{2,4}", 0u32..6), 0..12),
            part in 1usize..9,
            overlap in 1usize..4,
        ) {
            let ranks: Vec<(&str, u32)> = tokens.iter().map(|(token, rank)| (token.as_str(), *rank)).collect();
            let mut whole = Vec::new();
            merge_naively(&ranks, &text, &mut whole);
            let parts = merge_in_parts_of(part, overlap..=overlap * 4, &text, |text, out| {
                merge_naively(&ranks, text, out);
                Ok(())
            });
            prop_assert_eq!(parts.unwrap(), whole);
        }
    }
}
