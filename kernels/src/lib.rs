//! Quantized matrix kernels with the same bits on every CPU.
//!
//! # Three axes
//!
//! * A **format** ([`mod@format`]) knows its bits: how a packed block becomes small integers with integer and float scales.
//! * A **level** (`isa`) knows its registers: some 120 verbs on fixed logical vectors, and a register tile.
//! * An **order** knows the walk: `dot.rs` for a few tokens (decode), `panel.rs` for many (prefill), `float.rs`.
//!
//! Each is written without knowing the others; they meet in `table.rs`. A new format is one file and one row, a new level
//! one file and one row.
//!
//! # The same bits
//!
//! The axes are independent because of where the rounding happens. A block's integer sum is exact, whatever the order of its
//! products; it is then rounded once, by one fma into the one accumulator of its (row, token). Sums of floats have one
//! fixed shape of 16 lanes. Work is split over outputs only. So every kernel of every level, for every number of threads
//! and tokens, gives the bits of the scalar one, and the tests compare with `==`.

#![deny(unsafe_code)]
#![allow(
    clippy::needless_range_loop,
    reason = "rows, tokens and blocks are indices of several arrays at once, and closures would leave the level (see dot.rs)"
)]

mod dot;
mod float;
pub mod format;
pub mod input;
mod isa;
pub mod limit;
pub mod ops;
mod panel;
pub mod pool;
mod table;

pub use dot::FEW;
pub use format::{FormatId, dequantize};
pub use isa::Level;
pub use isa::shared::{ColsMut, Ref, RowsMut, Shared};
pub use pool::{Pool, Team};
pub use table::{Matrix, Product, input_kind, matmul};
