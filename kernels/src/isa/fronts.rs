//! Four rows that are read front to back: a place in each, and for all of them one number of blocks that are left.

#![allow(unsafe_code, reason = "places in rows, whose number is checked")]

use std::marker::PhantomData;

/// What is left of four rows of blocks.
#[derive(Clone, Copy)]
pub(crate) struct Fronts<'a, B> {
    /// The next block of each row.
    at: [*const B; 4],
    /// How many blocks each row has from there on, at least.
    left: usize,
    rows: PhantomData<&'a [B]>,
}

impl<'a, B> Fronts<'a, B> {
    /// The whole of four rows, as far as the shortest goes.
    #[inline(always)]
    pub(crate) fn new(rows: [&'a [B]; 4]) -> Fronts<'a, B> {
        let [a, b, c, d] = rows;
        Fronts {
            at: [a.as_ptr(), b.as_ptr(), c.as_ptr(), d.as_ptr()],
            left: a.len().min(b.len()).min(c.len()).min(d.len()),
            rows: PhantomData,
        }
    }

    /// So many of their next blocks, which are thus checked once.
    ///
    /// # Panics
    /// If there are not so many.
    #[inline(always)]
    pub(crate) fn ahead(&mut self, blocks: usize) -> Ahead<'_, 'a, B> {
        assert!(self.left >= blocks, "blocks of each row");
        self.left -= blocks;
        Ahead {
            at: &mut self.at,
            left: blocks,
            rows: PhantomData,
        }
    }
}

/// The next blocks of four rows. Those that are left when it goes are no more read.
pub struct Ahead<'f, 'a, B> {
    /// The next block of each row.
    pub(super) at: &'f mut [*const B; 4],
    /// How many blocks each row has from there on, at least.
    pub(super) left: usize,
    rows: PhantomData<&'a [B]>,
}

impl<'a, B> Ahead<'_, 'a, B> {
    /// The next block of each.
    ///
    /// # Panics
    /// If there is none.
    #[inline(always)]
    pub(crate) fn blocks(&self) -> [&'a B; 4] {
        assert!(self.left > 0, "a block of each row");
        let [a, b, c, d] = *self.at;
        // SAFETY: each row has `left` more blocks from its place on, and is borrowed as long as these are.
        unsafe { [&*a, &*b, &*c, &*d] }
    }

    /// Takes the next block of each.
    ///
    /// # Panics
    /// If there is none.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> [&'a B; 4] {
        let blocks = self.blocks();
        for at in self.at.iter_mut() {
            // SAFETY: `blocks` has seen that there is one to pass.
            *at = unsafe { at.add(1) };
        }
        self.left -= 1;
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn blocks_come_in_order_as_far_as_the_shortest_row_goes() {
        let rows: [Vec<u16>; 4] = [5, 7, 5, 9].map(|n| (0..n).map(|i| 100 * n + i).collect());
        let mut fronts = Fronts::new([&rows[0], &rows[1], &rows[2], &rows[3]]);
        for pair in 0..2 {
            let mut two = fronts.ahead(2);
            for i in 0..2 {
                let at = 2 * pair + i;
                let expected = [&rows[0][at], &rows[1][at], &rows[2][at], &rows[3][at]];
                assert_eq!(two.blocks(), expected);
                assert_eq!(two.next(), expected);
            }
            assert!(catch_unwind(AssertUnwindSafe(|| two.next())).is_err());
        }
        assert!(catch_unwind(AssertUnwindSafe(|| fronts.ahead(2).next())).is_err());
        assert_eq!(*fronts.ahead(1).next()[3], 904);
        assert!(catch_unwind(AssertUnwindSafe(|| fronts.ahead(1).next())).is_err());
    }
}
