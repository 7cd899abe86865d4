//! A matrix that the threads of a region share, with borrowing checked at run time.
//!
//! In one parallel region every thread walks the same steps, with a barrier between. In a step, some buffers are only
//! read, and each written one is written by several threads in disjoint pieces. [`Shared`] makes that safe without
//! making it slow: taking a piece costs a few atomic operations, using it costs nothing. It is a `RefCell` for regions:
//! it never waits, and a step that breaks the rules panics, because that is a bug of the step.
//!
//! The rules: at any moment a matrix has either readers of the whole, or writers of disjoint row ranges, or writers of
//! disjoint column ranges. Column ranges begin at multiples of [`GRANULE`].

#![allow(
    unsafe_code,
    reason = "this is the checked home of data shared between the threads of a region"
)]

use bytemuck::Zeroable;
use bytemuck::allocation::{try_zeroed_slice_box, zeroed_slice_box};
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Columns are written in ranges that begin at a multiple of this.
pub(crate) const GRANULE: usize = 16;

/// Three counters of 21 bits in one word: readers, writers by rows, writers by columns.
const READER: u64 = 1;
const ROW_WRITER: u64 = 1 << 21;
const COL_WRITER: u64 = 1 << 42;
const COUNTER: u64 = (1 << 21) - 1;
/// Users of one kind that there may be: half of what a counter holds, so that threads on their way to being refused cannot make
/// it run over into the next one.
const MOST: u64 = 1 << 20;

/// A `rows x cols` matrix of `T`, row after row, shared between the threads of a region.
pub struct Shared<T> {
    cells: Box<[UnsafeCell<T>]>,
    rows: usize,
    cols: usize,
    users: AtomicU64,
    row_taken: Box<[AtomicBool]>,
    /// A bit for each granule.
    granule_taken: Box<[AtomicU64]>,
}

// SAFETY: all access to the cells goes through `read`, `write_rows` and `write_cols`, which hand out a shared borrow only
// while there is no writer, and mutable ones only of disjoint pieces while there is no reader.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T: Zeroable> Shared<T> {
    /// A matrix of zeros. Pages are taken from the system as they are touched.
    ///
    /// # Errors
    /// If the memory is not to be had.
    pub fn zeroed(rows: usize, cols: usize) -> Result<Shared<T>, String> {
        let bytes = rows
            .checked_mul(cols)
            .and_then(|n| n.checked_mul(size_of::<T>()));
        let refused = || match bytes {
            Some(bytes) => format!("no memory for a buffer of {} MiB", bytes >> 20),
            None => "a buffer larger than the address space".to_owned(),
        };
        bytes.ok_or_else(refused)?;
        let cells = try_zeroed_slice_box::<T>(rows * cols).map_err(|()| refused())?;
        Ok(Shared::from_box(rows, cols, cells))
    }
}

/// Buffers from this size on ask for huge pages: fewer faults when they are first touched, and fewer walks of the page tables
/// when they are read.
const HUGE: usize = 4 << 20;

/// Tells the system that fresh memory may lie in huge pages. That it declines is no error: the memory is as good.
fn ask_for_huge_pages<T>(memory: &[T]) {
    #[cfg(target_os = "linux")]
    if size_of_val(memory) >= HUGE {
        // madvise wants whole pages; those at the ends, which others may use too, are left as they are. No page of any
        // system is larger than 64 KiB.
        const PAGE: usize = 64 << 10;
        let start = memory.as_ptr().addr().next_multiple_of(PAGE);
        let end = (memory.as_ptr().addr() + size_of_val(memory)) / PAGE * PAGE;
        if start < end {
            let at = memory.as_ptr().with_addr(start).cast_mut().cast();
            // SAFETY: the range lies inside `memory`; this advice changes no content and no mapping that is visible.
            unsafe { libc::madvise(at, end - start, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}

/// Flags that nobody has taken. Most matrices are never written by columns, or never by rows: pages of flags are taken from the
/// system as they are touched.
fn flags<T: Zeroable>(n: usize) -> Box<[T]> {
    zeroed_slice_box(n)
}

/// The words that hold the bits `range`, each with those of them.
#[inline(always)]
fn words(range: Range<usize>) -> impl Iterator<Item = (usize, u64)> {
    let end = range.end.div_ceil(64);
    let start = if range.is_empty() {
        end
    } else {
        range.start / 64
    };
    (start..end).map(move |word| {
        let from = range.start.max(64 * word) - 64 * word;
        let count = range.end.min(64 * word + 64) - 64 * word - from;
        (word, (!0 >> (64 - count)) << from)
    })
}

impl<T> Shared<T> {
    /// A matrix filled with `value`.
    ///
    /// # Panics
    /// If there cannot be so many values.
    pub fn new(rows: usize, cols: usize, value: T) -> Shared<T>
    where
        T: Clone,
    {
        let Some(values) = rows.checked_mul(cols) else {
            panic!("a buffer of {rows} x {cols} values is larger than the address space");
        };
        Shared::from_box(rows, cols, vec![value; values].into_boxed_slice())
    }

    /// What every matrix is made by.
    ///
    /// # Panics
    /// If there are not `rows * cols` cells: that there are is what makes borrows of rows and columns sound.
    fn from_box(rows: usize, cols: usize, cells: Box<[T]>) -> Shared<T> {
        assert_eq!(
            rows.checked_mul(cols),
            Some(cells.len()),
            "{rows} x {cols} cells"
        );
        // SAFETY: `UnsafeCell<T>` has the layout of `T`, and the box is owned.
        let cells = unsafe { Box::from_raw(Box::into_raw(cells) as *mut [UnsafeCell<T>]) };
        Shared {
            cells,
            rows,
            cols,
            users: AtomicU64::new(0),
            row_taken: flags(rows),
            granule_taken: flags(cols.div_ceil(64 * GRANULE)),
        }
    }
}

impl<T> Shared<T> {
    /// The same, where it is large in huge pages if the system likes: for buffers that will be used whole. One that may stay
    /// mostly untouched, as a cache for a long context, would take memory that nobody needs.
    pub fn in_huge_pages(self) -> Shared<T> {
        ask_for_huge_pages(&self.cells);
        self
    }

    /// Makes it a matrix of another shape, with values left from the old one. It never shrinks or grows: the shape says which part
    /// of its memory is used.
    ///
    /// # Panics
    /// If the memory is too small.
    pub fn reshape(&mut self, rows: usize, cols: usize) {
        let values = rows.checked_mul(cols);
        assert!(
            values.is_some_and(|values| values <= self.cells.len()),
            "{rows} x {cols} of {}",
            self.cells.len()
        );
        (self.rows, self.cols) = (rows, cols);
        if self.row_taken.len() < rows {
            self.row_taken = flags(rows);
        }
        if self.granule_taken.len() < cols.div_ceil(64 * GRANULE) {
            self.granule_taken = flags(cols.div_ceil(64 * GRANULE));
        }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Enters as one more user of a kind.
    ///
    /// # Panics
    /// If there are users of another kind, or [`MOST`] of this one.
    #[track_caller]
    fn enter(&self, kind: u64) {
        let before = self.users.fetch_add(kind, Ordering::AcqRel);
        let others = before & !(COUNTER * kind);
        let full = before & (MOST * kind);
        if others | full != 0 {
            self.users.fetch_sub(kind, Ordering::AcqRel);
            assert!(
                others != 0,
                "a buffer has {MOST} users: borrows of it are never given back"
            );
            panic!(
                "a step reads and writes one buffer at a time, or writes it by rows and by columns"
            );
        }
    }

    fn leave(&self, kind: u64) {
        self.users.fetch_sub(kind, Ordering::AcqRel);
    }

    /// Takes rows `range`, all or (by panicking) none.
    #[track_caller]
    fn take_rows(&self, range: Range<usize>) {
        for i in range.clone() {
            if self.row_taken[i].swap(true, Ordering::AcqRel) {
                for flag in &self.row_taken[range.start..i] {
                    flag.store(false, Ordering::Release);
                }
                self.leave(ROW_WRITER);
                panic!("two threads write one piece of a buffer");
            }
        }
    }

    /// Takes granules `range`, all or (by panicking) none.
    #[track_caller]
    fn take_granules(&self, range: Range<usize>) {
        for (word, bits) in words(range.clone()) {
            let before = self.granule_taken[word].fetch_or(bits, Ordering::AcqRel);
            if before & bits != 0 {
                self.granule_taken[word].fetch_and(!bits | before, Ordering::Release);
                self.give_granules(range.start..(64 * word).max(range.start));
                self.leave(COL_WRITER);
                panic!("two threads write one piece of a buffer");
            }
        }
    }

    /// Gives granules back.
    fn give_granules(&self, range: Range<usize>) {
        for (word, bits) in words(range) {
            self.granule_taken[word].fetch_and(!bits, Ordering::Release);
        }
    }

    /// Borrows the whole for reading.
    ///
    /// # Panics
    /// If a writer is active: the step lacks a barrier.
    #[track_caller]
    pub fn read(&self) -> Ref<'_, T> {
        self.enter(READER);
        // SAFETY: no writer is active, none can enter while the guard counts as a reader, and `UnsafeCell<T>` has the
        // layout of `T`.
        let slice = unsafe {
            std::slice::from_raw_parts(self.cells.as_ptr().cast::<T>(), self.cells.len())
        };
        Ref {
            shared: self,
            slice,
        }
    }

    /// Borrows rows for writing: one contiguous slice.
    ///
    /// # Panics
    /// If the rows do not exist, another thread has one of them, or there are users of another kind.
    #[track_caller]
    pub fn write_rows(&self, rows: Range<usize>) -> RowsMut<'_, T> {
        assert!(
            rows.start <= rows.end && rows.end <= self.rows,
            "rows {rows:?} of {}",
            self.rows
        );
        self.enter(ROW_WRITER);
        self.take_rows(rows.clone());
        let start = self.cells[rows.start * self.cols..].as_ptr();
        // SAFETY: the rows lie inside the allocation; no reader or column writer is active and none can enter; the
        // flags of these rows are ours until the guard is dropped, so no other borrow covers them.
        let slice = unsafe {
            std::slice::from_raw_parts_mut(
                UnsafeCell::raw_get(start),
                (rows.end - rows.start) * self.cols,
            )
        };
        RowsMut {
            shared: self,
            rows,
            slice,
        }
    }

    /// Borrows columns of all rows for writing.
    ///
    /// # Panics
    /// If the columns do not exist, do not begin and end at a granule (or at the end), another thread has one of them,
    /// or there are users of another kind.
    #[track_caller]
    pub fn write_cols(&self, cols: Range<usize>) -> ColsMut<'_, T> {
        assert!(
            cols.start <= cols.end && cols.end <= self.cols,
            "columns {cols:?} of {}",
            self.cols
        );
        assert!(
            cols.start.is_multiple_of(GRANULE)
                && (cols.end.is_multiple_of(GRANULE) || cols.end == self.cols)
        );
        self.enter(COL_WRITER);
        let granules = cols.start / GRANULE..cols.end.div_ceil(GRANULE);
        self.take_granules(granules.clone());
        ColsMut {
            shared: self,
            cols,
            granules,
            unique: PhantomData,
        }
    }
}

/// A shared borrow of the whole matrix.
pub struct Ref<'a, T> {
    shared: &'a Shared<T>,
    slice: &'a [T],
}

impl<'a, T> Ref<'a, T> {
    /// One row.
    pub fn row(&self, row: usize) -> &[T] {
        &self.slice[row * self.shared.cols..][..self.shared.cols]
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.slice
    }
}

impl<T> Drop for Ref<'_, T> {
    fn drop(&mut self) {
        self.shared.leave(READER);
    }
}

/// A mutable borrow of some rows.
pub struct RowsMut<'a, T> {
    shared: &'a Shared<T>,
    rows: Range<usize>,
    slice: &'a mut [T],
}

impl<T> Deref for RowsMut<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.slice
    }
}

impl<T> DerefMut for RowsMut<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.slice
    }
}

impl<T> Drop for RowsMut<'_, T> {
    fn drop(&mut self) {
        for flag in &self.shared.row_taken[self.rows.clone()] {
            flag.store(false, Ordering::Release);
        }
        self.shared.leave(ROW_WRITER);
    }
}

/// A mutable borrow of some columns of all rows.
pub struct ColsMut<'a, T> {
    shared: &'a Shared<T>,
    cols: Range<usize>,
    granules: Range<usize>,
    unique: PhantomData<&'a mut T>,
}

impl<T> ColsMut<'_, T> {
    /// The columns.
    pub fn cols(&self) -> Range<usize> {
        self.cols.clone()
    }

    /// The borrowed columns of one row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.shared.rows, "row {row} of {}", self.shared.rows);
        let start = self.shared.cells[row * self.shared.cols + self.cols.start..].as_ptr();
        // SAFETY: row and columns lie inside the allocation; no reader or row writer is active and none can enter; the
        // flags of these columns are ours until the guard is dropped; `&mut self` keeps rows from being borrowed twice.
        unsafe {
            std::slice::from_raw_parts_mut(
                UnsafeCell::raw_get(start),
                self.cols.end - self.cols.start,
            )
        }
    }

    /// The borrowed columns of each of the first `N` rows.
    ///
    /// # Panics
    /// If there are not so many rows.
    pub fn first_rows<const N: usize>(&mut self) -> [&mut [T]; N] {
        std::array::from_fn(|row| {
            let columns: *mut [T] = self.row(row);
            // SAFETY: rows do not overlap, each is handed out once, and `self` stays borrowed as long as they are.
            unsafe { &mut *columns }
        })
    }
}

impl<T> Drop for ColsMut<'_, T> {
    fn drop(&mut self) {
        self.shared.give_granules(self.granules.clone());
        self.shared.leave(COL_WRITER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn refused<R>(f: impl FnOnce() -> R) -> bool {
        catch_unwind(AssertUnwindSafe(|| drop(f()))).is_err()
    }

    #[test]
    fn disjoint_pieces_are_written_and_read_back() {
        let m = Shared::new(3, 40, 0);
        {
            let (mut a, mut b) = (m.write_cols(0..16), m.write_cols(16..40));
            a.row(1).fill(1);
            b.row(2).fill(2);
        }
        {
            let mut first = m.write_rows(0..1);
            let _last = m.write_rows(2..3);
            first[39] = 7;
        }
        let all = m.read();
        let _again = m.read();
        assert_eq!(
            (all[39], all.row(1)[15], all.row(1)[16], all.row(2)[39]),
            (7, 1, 0, 2)
        );
    }

    #[test]
    fn granules_of_several_words_are_taken_all_or_none() {
        assert_eq!(words(5..5).count(), 0);
        let all: Vec<_> = words(60..129).collect();
        assert_eq!(all, [(0, 0xf << 60), (1, !0), (2, 1)]);
        let m = Shared::new(1, 200 * GRANULE, 0u8);
        let middle = m.write_cols(130 * GRANULE..131 * GRANULE);
        assert!(refused(|| m.write_cols(3 * GRANULE..140 * GRANULE)));
        // What the refused one had taken is free again, and what was taken still is.
        drop(m.write_cols(0..130 * GRANULE));
        assert!(refused(|| m.write_cols(130 * GRANULE..132 * GRANULE)));
        drop(middle);
        drop(m.write_cols(0..200 * GRANULE));
    }

    #[test]
    fn rows_of_columns_are_written_side_by_side() {
        let m = Shared::new(3, 32, 0);
        {
            let mut right = m.write_cols(16..32);
            let [first, second] = right.first_rows::<2>();
            (first[0], second[15]) = (1, 2);
            assert!(refused(|| {
                right.first_rows::<4>();
            }));
        }
        let all = m.read();
        assert_eq!((all[16], all[63]), (1, 2));
        assert_eq!(all.iter().sum::<i32>(), 3);
    }

    #[test]
    fn more_values_than_there_can_be_are_refused() {
        // The product is zero, if nobody looks.
        let half = usize::MAX / 2 + 1;
        assert!(refused(|| Shared::new(half, 2, 0u8)));
        assert!(Shared::<u8>::zeroed(half, 2).is_err());
    }

    #[test]
    fn a_counter_does_not_run_over_into_the_next() {
        let m = Shared::new(4, 64, 0u8);
        for kind in [READER, ROW_WRITER, COL_WRITER] {
            m.users.store((MOST - 1) * kind, Ordering::Relaxed);
            m.enter(kind);
            assert!(refused(|| m.enter(kind)));
            assert_eq!(m.users.load(Ordering::Relaxed), MOST * kind);
            m.leave(kind);
        }
        m.users.store(0, Ordering::Relaxed);
        drop(m.write_rows(0..4));
    }

    #[test]
    fn overlaps_are_refused_and_leave_no_trace() {
        let m = Shared::new(4, 64, 0u8);
        {
            let _w = m.write_rows(1..3);
            assert!(refused(|| m.write_rows(0..2)));
            assert!(refused(|| m.read()));
            assert!(refused(|| m.write_cols(0..16)));
            let _other = m.write_rows(0..1);
        }
        {
            let _w = m.write_cols(16..32);
            assert!(refused(|| m.write_cols(0..32)));
            assert!(refused(|| m.write_rows(0..1)));
            let _other = m.write_cols(0..16);
        }
        {
            let _r = m.read();
            assert!(refused(|| m.write_rows(0..1)));
        }
        assert!(refused(|| m.write_cols(8..16)));
        assert!(refused(|| m.write_rows(0..5)));
        drop(m.write_rows(0..4));
        drop(m.write_cols(0..64));
    }
}
