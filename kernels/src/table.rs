//! The one place where formats and levels meet.
//!
//! A [`Matrix`] is bytes, a shape and the kernel of its format. [`matmul`] is one step of a region: it hands out row
//! ranges of one or more matrices that share their inputs.

use crate::dot::{FEW, SmallFew, SuperFew};
use crate::float::FloatRows;
use crate::format::{Float, FormatId, Small, Super};
use crate::input::{InputKind, Inputs};
use crate::isa::shared::{ColsMut, GRANULE, Shared};
use crate::isa::{Isa, Level, with_isa};
use crate::panel::{SmallMany, SuperMany, TileSums};
use crate::pool::Team;
use std::marker::PhantomData;
use std::ops::Range;

/// The bytes of a matrix and the length of its rows.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) cols: usize,
}

impl<'a> Weights<'a> {
    /// The matrix as blocks; the length and alignment were checked by [`Matrix::new`].
    #[inline(always)]
    pub(crate) fn blocks<B: bytemuck::Pod>(&self) -> &'a [B] {
        bytemuck::cast_slice(self.bytes)
    }
}

/// A piece of a matrix multiply: some rows against all tokens.
pub(crate) struct Work<'a, 'o> {
    pub(crate) weights: Weights<'a>,
    pub(crate) input: &'a Inputs<'a>,
    pub(crate) rows: Range<usize>,
    pub(crate) out: &'a mut ColsMut<'o, f32>,
    /// Room for sums that wait for more.
    pub(crate) scratch: &'a mut Vec<TileSums>,
}

/// What can be done with the rows of a format.
struct Kernel {
    input: InputKind,
    align: usize,
    few: fn(Level, Work<'_, '_>),
    many: fn(Level, Work<'_, '_>),
}

fn of_super<F: Super>() -> Kernel {
    Kernel {
        input: InputKind::Super,
        align: align_of::<F::Block>(),
        few: |level, work| with_isa!(level, isa => isa.run(SuperFew::<F>(work, PhantomData))),
        many: |level, work| with_isa!(level, isa => isa.run(SuperMany::<F>(work, PhantomData))),
    }
}

fn of_small<F: Small>() -> Kernel {
    Kernel {
        input: InputKind::Small,
        align: align_of::<F::Block>(),
        few: |level, work| with_isa!(level, isa => isa.run(SmallFew::<F>(work, PhantomData))),
        many: |level, work| with_isa!(level, isa => isa.run(SmallMany::<F>(work, PhantomData))),
    }
}

fn of_float<F: Float>() -> Kernel {
    let run = |level, work: Work<'_, '_>| with_isa!(level, isa => isa.run(FloatRows::<F>(work, PhantomData)));
    Kernel {
        input: InputKind::Float,
        align: align_of::<F::Block>(),
        few: run,
        many: run,
    }
}

/// The kernel of each format: `float`, `small` or `super` says which walk it takes.
macro_rules! kernels {
    ($(($variant:ident, $format:ident, $family:ident)),+ $(,)?) => {
        fn kernel(format: FormatId) -> Kernel {
            match format {
                $(FormatId::$variant => family!($family, $format)),+
            }
        }
    };
}
macro_rules! family {
    (float, $format:ident) => {
        of_float::<crate::format::$format>()
    };
    (small, $format:ident) => {
        of_small::<crate::format::$format>()
    };
    (super, $format:ident) => {
        of_super::<crate::format::$format>()
    };
}
crate::format::formats!(kernels);

/// A matrix of `rows x cols` weights: blocks of one format, row after row.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    format: FormatId,
    rows: usize,
    weights: Weights<'a>,
}

impl<'a> Matrix<'a> {
    /// Checks that `bytes` are a matrix of that shape.
    ///
    /// # Errors
    /// If the rows are not whole blocks, or the number or alignment of the bytes is not what the format needs.
    pub fn new(
        format: FormatId,
        rows: usize,
        cols: usize,
        bytes: &'a [u8],
    ) -> Result<Matrix<'a>, String> {
        if !cols.is_multiple_of(format.block_len()) {
            return Err(format!(
                "rows of {cols} are not whole blocks of {} ({format})",
                format.block_len()
            ));
        }
        let needed = rows
            .checked_mul(cols / format.block_len())
            .and_then(|n| n.checked_mul(format.block_bytes()));
        if needed != Some(bytes.len()) {
            return Err(format!(
                "{} bytes are not {rows} x {cols} of {format}",
                bytes.len()
            ));
        }
        if !bytes.as_ptr().addr().is_multiple_of(kernel(format).align) {
            return Err(format!("{format} data begins at an odd address"));
        }
        Ok(Matrix {
            format,
            rows,
            weights: Weights { bytes, cols },
        })
    }

    /// The format.
    pub fn format(&self) -> FormatId {
        self.format
    }

    /// Rows: values of the output.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns: values of an input.
    pub fn cols(&self) -> usize {
        self.weights.cols
    }

    /// Bytes of a row.
    fn row_bytes(&self) -> usize {
        self.weights.cols / self.format.block_len() * self.format.block_bytes()
    }

    /// The matrix of some of its rows.
    ///
    /// # Panics
    /// If there are no such rows.
    pub fn part(&self, rows: Range<usize>) -> Matrix<'a> {
        let bytes = self.row_bytes();
        Matrix {
            format: self.format,
            rows: rows.len(),
            weights: Weights {
                bytes: &self.weights.bytes[rows.start * bytes..rows.end * bytes],
                cols: self.weights.cols,
            },
        }
    }

    /// One row as floats.
    ///
    /// # Panics
    /// If there is no such row, or `out` is not one row long.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        let bytes = self.row_bytes();
        crate::format::dequantize(
            self.format,
            &self.weights.bytes[row * bytes..][..bytes],
            out,
        );
    }
}

/// How a format wants its inputs.
pub fn input_kind(format: FormatId) -> InputKind {
    kernel(format).input
}

/// One product of a step: `out[t][row] = matrix row . input t`.
pub struct Product<'a> {
    /// The weights.
    pub matrix: Matrix<'a>,
    /// Where the sums go: at least as many rows as there are tokens, at least as many columns as the matrix has rows. Of columns
    /// beyond those, up to 15 may be written too.
    pub out: &'a Shared<f32>,
}

/// How the rows of a step are cut into tickets: first a long one for each thread, then short ones that even out what one thread
/// had to wait for.
struct Cut {
    total: usize,
    threads: usize,
    first: usize,
    rest: usize,
}

impl Cut {
    /// Of a few tokens the streams of a ticket begin and end with memory that nobody asked for ahead, so there are few tickets.
    /// Of many tokens the sums of a ticket stay in the cache.
    fn new(total: usize, threads: usize, tokens: usize) -> Cut {
        let whole = |rows: usize| (rows / GRANULE).max(1) * GRANULE;
        let (first, rest) = match (tokens <= FEW, threads) {
            (true, 1) => (total, total),
            (true, _) => (
                whole(total * 3 / 4 / threads),
                whole((total / (threads * 16)).clamp(32, 256)),
            ),
            (false, _) => {
                let share = whole((total / (threads * 6)).clamp(32, 64));
                (share, share)
            }
        };
        Cut {
            total,
            threads,
            first,
            rest,
        }
    }

    /// Tickets.
    fn count(&self) -> usize {
        let first = self.first * self.threads;
        self.total.min(first).div_ceil(self.first.max(1))
            + self.total.saturating_sub(first).div_ceil(self.rest.max(1))
    }

    /// The rows of a ticket.
    fn rows(&self, ticket: usize) -> Range<usize> {
        let start = |i: usize| {
            let long = i.min(self.threads);
            self.total.min(long * self.first + (i - long) * self.rest)
        };
        start(ticket)..start(ticket + 1)
    }
}

/// A step of a region: multiplies one or more matrices with the same inputs, and waits for all threads.
///
/// # Panics
/// If a shape does not fit, or `input` lacks the kind that a format needs.
pub fn matmul(team: &Team<'_>, level: Level, input: &Inputs<'_>, products: &[Product<'_>]) {
    // Tickets begin at granules of the outputs.
    let padded = |p: &Product<'_>| p.matrix.rows.next_multiple_of(GRANULE);
    let cut = Cut::new(products.iter().map(padded).sum(), team.size(), input.tokens);
    team.split(cut.count(), 1, |ticket| {
        let ticket = cut.rows(ticket.start);
        let mut before = 0;
        for product in products {
            let all = product.matrix.rows;
            let start = ticket.start.saturating_sub(before).min(all);
            let end = ticket.end.saturating_sub(before).min(all);
            before += padded(product);
            if start == end {
                continue;
            }
            assert_eq!(
                product.matrix.cols(),
                input.cols,
                "the inputs fit the matrix"
            );
            let cols = start..end.next_multiple_of(GRANULE).min(product.out.cols());
            let mut out = product.out.write_cols(cols);
            let kernel = kernel(product.matrix.format);
            let work = Work {
                weights: product.matrix.weights,
                input,
                rows: start..end,
                out: &mut out,
                scratch: &mut team.scratch(),
            };
            (if input.tokens <= FEW {
                kernel.few
            } else {
                kernel.many
            })(level, work);
        }
    });
}
