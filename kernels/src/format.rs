//! The first axis: what the bits of a block mean.
//!
//! A format knows its block layout and three things about it: the scalar [`Format::dequantize`], which is the definition
//! and the oracle of every test; its *header* (float scales and small-integer sub-block scales); and how 32 packed values
//! become 32 bytes of integers, written once in the verbs of `Isa` and so compiled for every level.
//!
//! There are two families. In a *small* block 32 values share one float scale; in a *super-block* 256 values share one,
//! refined by an integer scale for each 16 of them. That is all that the walks in `dot.rs` and `panel.rs` know about formats.
//!
//! Integer values are called *codes*. With the header's scales, value `i` of a block is
//!
//! ```text
//! small:  d * (code[i] - OFFSET) + min
//! super:  d * scales[i / 16] * (code[i] - OFFSET) - dmin * mins[i / 16]
//! ```

use crate::isa::Isa;
use crate::panel::unsigned_codes;
use bytemuck::Pod;

mod float;
mod grid;
mod grids;
mod iq1;
mod k;
mod legacy;
mod table4;
mod ternary;

pub use float::*;
pub use grid::*;
pub use iq1::*;
pub use k::*;
pub use legacy::*;
pub use table4::*;
pub use ternary::*;

/// A block format: layout and definition.
pub trait Format: 'static {
    /// The packed block as it lies in a GGUF file.
    type Block: Pod + Send + Sync;
    /// Values in a block.
    const LEN: usize;
    /// Writes the `LEN` values of `block` to `out`: the definition of the format.
    ///
    /// # Panics
    /// If `out.len() != LEN`.
    fn dequantize(block: &Self::Block, out: &mut [f32]);
}

/// How the codes of a quantized format enter an integer dot product.
pub trait Codes: Format {
    /// Whether codes are `i8` (else `u8`).
    const SIGNED: bool;
    /// Subtracted from every (unsigned) code; 0 for signed ones.
    const OFFSET: i16;
    /// Largest absolute code. Says how many products of it with 127 fit into 16 bits.
    const MAX: u8;
    /// Codes `32 * i .. 32 * i + 32` of the block in natural order.
    fn codes<I: Isa>(isa: I, block: &Self::Block, i: usize) -> I::Bytes;
    /// Codes `64 * i .. 64 * i + 64` of the block in natural order, where it has that many.
    #[inline(always)]
    fn codes2<I: Isa>(isa: I, block: &Self::Block, i: usize) -> I::Bytes2 {
        isa.join(
            Self::codes(isa, block, 2 * i),
            Self::codes(isa, block, 2 * i + 1),
        )
    }
    /// Codes `128 * half .. 128 * half + 128`, as [`Codes::codes2`].
    #[inline(always)]
    fn codes4<I: Isa>(isa: I, block: &Self::Block, half: usize) -> [I::Bytes2; 2] {
        [
            Self::codes2(isa, block, 2 * half),
            Self::codes2(isa, block, 2 * half + 1),
        ]
    }
}

/// A format whose 32 values share one float scale.
pub trait Small: Codes {
    /// Whether [`Small::header`] gives a minimum that is not always zero.
    const MIN: bool;
    /// Whether a block begins with its scale, in half precision.
    const SCALE_FIRST: bool = false;
    /// The scale `d` and the added minimum.
    fn header<I: Isa>(isa: I, block: &Self::Block) -> (f32, f32);
    /// The same of eight blocks at once.
    #[inline(always)]
    fn headers<I: Isa>(isa: I, blocks: [&Self::Block; 8]) -> (I::Octet, I::Octet) {
        let (mut d, mut m) = ([0.0; 8], [0.0; 8]);
        for i in 0..8 {
            (d[i], m[i]) = Self::header(isa, blocks[i]);
        }
        (isa.octet(d), isa.octet(m))
    }
    /// The same of a block of each of four rows.
    #[inline(always)]
    fn quad_headers<I: Isa>(isa: I, rows: [&Self::Block; 4]) -> (I::Quad, I::Quad) {
        let (mut d, mut m) = ([0.0; 4], [0.0; 4]);
        for i in 0..4 {
            (d[i], m[i]) = Self::header(isa, rows[i]);
        }
        (isa.quad(d), isa.quad(m))
    }
    /// Codes of two neighbours, signed ones 128 too large where the level is biased.
    #[inline(always)]
    fn pair<I: Isa>(isa: I, blocks: &[Self::Block; 2]) -> I::Bytes2 {
        isa.join_pair(
            unsigned_codes::<I, Self>(isa, &blocks[0], 0),
            unsigned_codes::<I, Self>(isa, &blocks[1], 0),
        )
    }
    /// As [`Small::headers`] of two neighbours in each of four rows: the first ones, then the second ones.
    #[inline(always)]
    fn pair_headers<I: Isa>(isa: I, rows: [&[Self::Block; 2]; 4]) -> (I::Octet, I::Octet) {
        let [a, b, c, d] = rows;
        Self::headers(
            isa,
            [&a[0], &b[0], &c[0], &d[0], &a[1], &b[1], &c[1], &d[1]],
        )
    }
}

/// A format of super-blocks: 256 values share one float scale, each 16 of them an integer one.
pub trait Super: Codes {
    /// Whether `dmin` and `mins` are used.
    const MINS: bool;
    /// Whether scales `2 i` and `2 i + 1` are always equal (sub-blocks of 32).
    const WIDE: bool;
    /// What the stored float scale is multiplied with: a power of two.
    const FACTOR: f32 = 1.0;
    /// The stored float scale of the super-block, f16.
    fn d(block: &Self::Block) -> u16;
    /// The float scale of the minimums, f16.
    fn dmin(_: &Self::Block) -> u16 {
        0
    }
    /// The integers of each 16 values: lane `i` for values `16 i .. 16 i + 16`.
    fn scales<I: Isa>(isa: I, block: &Self::Block) -> Scales<I>;
    /// The integers of each 32 values of two blocks, where the format is [`Super::WIDE`]: lanes 0..8 for the first block, lanes
    /// 8..16 for the second.
    fn wide_scales<I: Isa>(_: I, _: [&Self::Block; 2]) -> Scales<I> {
        unreachable!("the scales are of 16 values each")
    }
    /// Whether a block begins with `d`, `dmin` and twelve bytes of `scales6`.
    const HEADS6: bool = false;
    /// Whether a few tokens meet [`Super::halves2`]. Such a format is signed and [`Super::WIDE`], and has no minimums.
    const HALVES: bool = false;
    /// Codes `64 * i .. 64 * i + 64`: the first halves of both 32, then the second halves; 128 too large where the level is biased.
    /// For formats whose bytes hold value `j` and `j + 16`, which are unpacked 32 bytes at a time so.
    fn halves2<I: Isa>(_: I, _: &Self::Block, _: usize) -> I::Bytes2 {
        unreachable!("the codes are met in natural order")
    }
}

/// The integer scales of a super-block.
///
/// Bounds that keep every sum exact: `|scales[i]| * MAX <= 128 * 64`, so that 256 products with inputs of up to `127 * 8` stay
/// below `2^31`, and `0 <= mins[i] <= 63`.
#[derive(Clone, Copy)]
pub struct Scales<I: Isa> {
    /// Scales.
    pub scales: I::Shorts,
    /// Minimums.
    pub mins: I::Shorts,
}

/// A half-precision number as the file holds it.
///
/// Written out because it stands on the hot path of every header: the exponent and mantissa moved into place are the number
/// times `2^-112`, denormals included, so one exact multiplication makes it right.
#[inline(always)]
pub(crate) fn f16(bits: u16) -> f32 {
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let scaled = f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23);
    let special = if magnitude >= 0x0f80_0000 {
        0x7f80_0000
    } else {
        0
    };
    f32::from_bits(scaled.to_bits() | special | u32::from(bits & 0x8000) << 16)
}

/// The functions of the headers of a [`Small`] format that keeps its scale `d`, and its minimum `m` where it has one, as f16.
macro_rules! half_headers {
    ($block:ty) => {
        const SCALE_FIRST: bool = std::mem::offset_of!($block, d) == 0;
        #[inline(always)]
        fn header<I: Isa>(isa: I, block: &$block) -> (f32, f32) {
            (isa.half(block.d), 0.0)
        }
        #[inline(always)]
        fn headers<I: Isa>(isa: I, blocks: [&$block; 8]) -> (I::Octet, I::Octet) {
            let mut d = [0; 8];
            for i in 0..8 {
                d[i] = blocks[i].d;
            }
            (isa.octet_halves(d), isa.octet([0.0; 8]))
        }
        #[inline(always)]
        fn quad_headers<I: Isa>(isa: I, [a, b, c, e]: [&$block; 4]) -> (I::Quad, I::Quad) {
            (isa.quad_halves([a.d, b.d, c.d, e.d]), isa.quad([0.0; 4]))
        }
        #[inline(always)]
        fn pair_headers<I: Isa>(isa: I, rows: [&[$block; 2]; 4]) -> (I::Octet, I::Octet) {
            let d = isa.pair_halves(rows, std::mem::offset_of!($block, d));
            (d, isa.octet([0.0; 8]))
        }
    };
    ($block:ty, with m) => {
        const SCALE_FIRST: bool = std::mem::offset_of!($block, d) == 0;
        #[inline(always)]
        fn header<I: Isa>(isa: I, block: &$block) -> (f32, f32) {
            (isa.half(block.d), isa.half(block.m))
        }
        #[inline(always)]
        fn headers<I: Isa>(isa: I, blocks: [&$block; 8]) -> (I::Octet, I::Octet) {
            let (mut d, mut m) = ([0; 8], [0; 8]);
            for i in 0..8 {
                (d[i], m[i]) = (blocks[i].d, blocks[i].m);
            }
            (isa.octet_halves(d), isa.octet_halves(m))
        }
        #[inline(always)]
        fn quad_headers<I: Isa>(isa: I, [a, b, c, e]: [&$block; 4]) -> (I::Quad, I::Quad) {
            (
                isa.quad_halves([a.d, b.d, c.d, e.d]),
                isa.quad_halves([a.m, b.m, c.m, e.m]),
            )
        }
        #[inline(always)]
        fn pair_headers<I: Isa>(isa: I, rows: [&[$block; 2]; 4]) -> (I::Octet, I::Octet) {
            (
                isa.pair_halves(rows, std::mem::offset_of!($block, d)),
                isa.pair_halves(rows, std::mem::offset_of!($block, m)),
            )
        }
    };
}
pub(crate) use half_headers;

/// 32 bytes of a slice, for the verbs that load them.
#[inline(always)]
pub(crate) fn b32(bytes: &[u8], at: usize) -> &[u8; 32] {
    bytes[at..at + 32].try_into().expect("a range of 32 bytes")
}

/// 64 bytes of a slice.
#[inline(always)]
pub(crate) fn b64(bytes: &[u8], at: usize) -> &[u8; 64] {
    bytes[at..at + 64].try_into().expect("a range of 64 bytes")
}

/// 16 bytes of a slice.
#[inline(always)]
pub(crate) fn b16(bytes: &[u8], at: usize) -> &[u8; 16] {
    bytes[at..at + 16].try_into().expect("a range of 16 bytes")
}

/// Declares a block with its layout and proves its size.
macro_rules! block {
    ($(#[$doc:meta])* $name:ident[$bytes:literal] { $($(#[$fdoc:meta])* $field:ident: $ty:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(C)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty),+ }
        const _: () = assert!(size_of::<$name>() == $bytes && align_of::<$name>() <= 2);
    };
}
pub(crate) use block;

/// One row for each format: its name in the field, its type here, and the walk it takes (`float`, `small` or `super`).
/// Everything that enumerates formats is made from this list, by handing it to a macro.
macro_rules! formats {
    ($callback:ident) => {
        $callback! {
            (F32, F32, float),
            (F16, F16, float),
            (BF16, BF16, float),
            (Q4_0, Q4_0, small),
            (Q4_1, Q4_1, small),
            (Q5_0, Q5_0, small),
            (Q5_1, Q5_1, small),
            (Q8_0, Q8_0, small),
            (IQ4_NL, IQ4NL, small),
            (MXFP4, MXFP4, small),
            (Q2_K, Q2K, super),
            (Q3_K, Q3K, super),
            (Q4_K, Q4K, super),
            (Q5_K, Q5K, super),
            (Q6_K, Q6K, super),
            (IQ4_XS, IQ4XS, super),
            (IQ3_XXS, IQ3XXS, super),
            (IQ3_S, IQ3S, super),
            (IQ2_XXS, IQ2XXS, super),
            (IQ2_XS, IQ2XS, super),
            (IQ2_S, IQ2S, super),
            (IQ1_S, IQ1S, super),
            (IQ1_M, IQ1M, super),
            (TQ1_0, TQ1_0, super),
            (TQ2_0, TQ2_0, super),
        }
    };
}
pub(crate) use formats;

macro_rules! ids {
    ($(($variant:ident, $format:ident, $family:ident)),+ $(,)?) => {
        /// A format, as a value.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[allow(missing_docs, non_camel_case_types, reason = "the field's names")]
        pub enum FormatId { $($variant),+ }

        impl FormatId {
            /// Every format.
            pub const ALL: &[FormatId] = &[$(FormatId::$variant),+];

            /// The name in the field: `Q4_K`.
            pub fn name(self) -> &'static str {
                match self { $(FormatId::$variant => stringify!($variant)),+ }
            }

            /// Values in a block.
            pub fn block_len(self) -> usize {
                match self { $(FormatId::$variant => $format::LEN),+ }
            }

            /// Bytes of a block.
            pub fn block_bytes(self) -> usize {
                match self { $(FormatId::$variant => size_of::<<$format as Format>::Block>()),+ }
            }
        }

        /// Writes the values of whole blocks to `out`.
        ///
        /// # Panics
        /// If `bytes` are not whole, aligned blocks, or `out` is not as long as their values.
        pub fn dequantize(format: FormatId, bytes: &[u8], out: &mut [f32]) {
            match format {
                $(FormatId::$variant => dequantize_blocks::<$format>(bytes, out)),+
            }
        }
    };
}
formats!(ids);

fn dequantize_blocks<F: Format>(bytes: &[u8], out: &mut [f32]) {
    let blocks: &[F::Block] = bytemuck::cast_slice(bytes);
    assert_eq!(
        out.len(),
        blocks.len() * F::LEN,
        "an output as long as the values"
    );
    for (block, out) in blocks.iter().zip(out.chunks_exact_mut(F::LEN)) {
        F::dequantize(block, out);
    }
}

impl std::fmt::Display for FormatId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
