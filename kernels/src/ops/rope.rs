//! Rotary position embedding (Su et al. 2021, arXiv:2104.09864).

/// Which values of a head rotate together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RopePairs {
    /// Values `2 i` and `2 i + 1`.
    Adjacent,
    /// Values `i` and `i + n / 2`.
    Halves,
}

/// Cosines and sines of one position: as many as there are pairs.
#[derive(Clone, Copy, Debug)]
pub struct RopeTable<'a> {
    /// Cosine of each pair's angle, times the attention factor.
    pub cos: &'a [f32],
    /// Sine of each pair's angle, times the attention factor.
    pub sin: &'a [f32],
}

/// Rotates the first `2 * table.cos.len()` values of a head in place; the rest stay.
///
/// # Panics
/// If the head is shorter than that.
pub fn rope(head: &mut [f32], pairs: RopePairs, table: RopeTable<'_>) {
    let n = table.cos.len();
    let turn = |a: f32, b: f32, i: usize| {
        let (cos, sin) = (table.cos[i], table.sin[i]);
        (a * cos - b * sin, a * sin + b * cos)
    };
    match pairs {
        RopePairs::Adjacent => {
            for (i, pair) in head[..2 * n].chunks_exact_mut(2).enumerate() {
                (pair[0], pair[1]) = turn(pair[0], pair[1], i);
            }
        }
        RopePairs::Halves => {
            let (low, high) = head[..2 * n].split_at_mut(n);
            for (i, (a, b)) in low.iter_mut().zip(high).enumerate() {
                (*a, *b) = turn(*a, *b, i);
            }
        }
    }
}
