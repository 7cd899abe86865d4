//! Classes of evidence: how much speaks for a draft before it is tried.

/// Matches of fewer tokens than the first bound, than the second, ...; longer ones are a class of their own.
const BOUNDS: [usize; 5] = [3, 5, 8, 16, 32];
/// The class of what a draft model says.
pub(super) const MODEL: usize = BOUNDS.len() + 1;
/// Classes there are.
pub(super) const CLASSES: usize = MODEL + 1;
/// The chance that a draft is right, as long as nothing is known about the text. Prose repeats two tokens by chance all the
/// time; who repeats thirty is quoting.
pub(super) const PRIOR: [f64; CLASSES] = [0.3, 0.45, 0.6, 0.75, 0.85, 0.9, 0.6];

/// The class of a draft that follows a match of `len` tokens.
pub(super) fn of_match(len: usize) -> usize {
    BOUNDS.iter().take_while(|&&bound| len >= bound).count()
}
