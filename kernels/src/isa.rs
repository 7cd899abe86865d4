//! The second axis: what the CPU can do.
//!
//! An [`Isa`] is a token: holding one proves that its instructions exist, so its verbs are safe to call. The verbs work
//! on a fixed logical vector of 32 bytes (or 16 floats), whatever the width of the registers, and are as few as the
//! formats and the walks need. A level overrides the verbs that its instructions do better; no verb may differ in its
//! result by a single bit from the scalar one.
//!
//! Almost all `unsafe` of the project lives below this module: intrinsics and their entry ([`Isa::run`]), and the
//! run-time checked sharing of buffers between the threads of a region ([`shared`]).

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512vnni;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(target_arch = "aarch64")]
mod dotprod;
mod fronts;
#[cfg(target_arch = "aarch64")]
mod i8mm;
mod level;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
pub(crate) mod shared;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512vnni::Avx512Vnni;
#[cfg(target_arch = "x86_64")]
pub(crate) use avxvnni::AvxVnni;
#[cfg(target_arch = "aarch64")]
pub(crate) use dotprod::Dotprod;
pub(crate) use fronts::{Ahead, Fronts};
#[cfg(target_arch = "aarch64")]
pub(crate) use i8mm::I8mm;
pub use level::Level;
pub(crate) use level::with_isa;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use scalar::Scalar;

use crate::format::{b16, b32};
use crate::input::{SmallPair, TILE_TOKENS};
use crate::panel::{Codes4, Pairs};
use bytemuck::{Pod, Zeroable};

/// Sixteen floats in a cache line of their own: vectors that lie across two lines take twice as long to load.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [f32; 16]);

/// What blocks of four rows begin with.
#[derive(Clone, Copy)]
pub struct Heads6<I: Isa> {
    /// Scales of the scales.
    pub(crate) d: I::Quad,
    /// Scales of the minimums.
    pub(crate) dmin: I::Quad,
    /// Scales of each 32 values.
    pub(crate) scales: I::Eights,
    /// Minimums of each 32 values.
    pub(crate) mins: I::Eights,
}

/// Work to be compiled for a level: the body of [`Isa::run`].
pub trait Task {
    /// What the work gives.
    type Out;
    /// Does the work. Implementations are `#[inline(always)]`, so that the verbs land inside the entry that enables
    /// the level's instructions.
    fn run<I: Isa>(self, isa: I) -> Self::Out;
}

/// The verbs of a level.
pub trait Isa: Copy + Send + Sync + 'static {
    /// 32 bytes, signed or unsigned by the verb.
    type Bytes: Copy;
    /// 16 integers of 16 bits, lane `i` for values `16 i .. 16 i + 16` of a super-block.
    type Shorts: Copy;
    /// Eight partial sums of 32 bits; only their total has a meaning.
    type Sums: Copy;
    /// Four 32-bit floats, one for each row of a tile.
    type Quad: Copy;
    /// Four integers of 32 bits, one for each row of a tile.
    type Whole: Copy;
    /// 64 bytes: those of two blocks.
    type Bytes2: Copy;
    /// Partial sums of a super-block, 64 bytes at a time; only the whole total has a meaning.
    type Sums2: Copy;
    /// Partial sums of two small blocks; only the total of each has a meaning.
    type PairSums: Copy;
    /// Eight 32-bit floats: one for each row of a tile in a first block, then in a second.
    type Octet: Copy;
    /// 16 sums of 32 bits, one for each row of a panel.
    type Rows: Copy;
    /// Products of 16 rows on their way to [`Isa::Rows`]; only their total in each row has a meaning.
    type Dots: Copy;
    /// Eight integers of 16 bits of each of four rows, where [`Isa::SHARED_INPUTS`] is.
    type Eights: Copy;
    /// Sixteen 32-bit floats.
    type Wide: Copy;

    /// Runs `task` with this level's instructions enabled.
    fn run<T: Task>(self, task: T) -> T::Out;

    /// Asks the cache for the line `ahead` bytes after the beginning of `at`, if there is one.
    fn prefetch<T>(self, at: &T, ahead: usize);

    // Bytes: unpacking.

    /// 32 bytes, the first lowest in the first word. What is put together from small pieces goes this way: a load of what was
    /// just stored in pieces would wait for the stores.
    fn words(self, from: [u64; 4]) -> Self::Bytes;
    /// Loads 32 bytes.
    fn bytes(self, from: &[u8; 32]) -> Self::Bytes;
    /// Low nibbles of 16 bytes, then their high nibbles.
    fn nibbles(self, from: &[u8; 16]) -> Self::Bytes;
    /// The same with bit `j` of `bits` above nibble `j`.
    #[inline(always)]
    fn fives(self, from: &[u8; 16], bits: u32) -> Self::Bytes {
        self.or(
            self.nibbles(from),
            self.and(self.bits(bits), self.splat(16)),
        )
    }
    /// One byte 32 times.
    fn splat(self, byte: u8) -> Self::Bytes;
    /// `bits` as bytes: byte `j` is 0xFF where bit `j` is set, else 0.
    fn bits(self, bits: u32) -> Self::Bytes;
    /// Bitwise and.
    fn and(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// Bitwise or.
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// Each byte shifted right by `N` in 0..=7, zeros entering.
    fn shr<const N: i32>(self, a: Self::Bytes) -> Self::Bytes;
    /// Each byte shifted left by `N` in 0..=7, zeros entering.
    fn shl<const N: i32>(self, a: Self::Bytes) -> Self::Bytes;
    /// Wrapping difference of each byte.
    fn sub(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// `table[index]` for each byte; every index is below 16.
    fn lookup(self, table: &[i8; 16], index: Self::Bytes) -> Self::Bytes;
    /// The bytes, in order.
    fn to_bytes(self, a: Self::Bytes) -> [u8; 32];
    /// Eight rows of eight 4-byte groups, transposed: group `j` of the eight rows, for each `j`; or as [`Isa::add_quad`] wants them.
    fn transpose(self, rows: [Self::Bytes; 8]) -> [[u8; 32]; 8];

    // Integer dot products: a few rows by one token, lane = position in the row.

    /// Loads 16 shorts.
    fn shorts(self, from: &[i16; 16]) -> Self::Shorts;
    /// Loads 16 signed bytes as shorts.
    fn widened(self, from: &[i8; 16]) -> Self::Shorts;
    /// 16 signed bytes, the first lowest in the first word, as shorts.
    fn widened_words(self, from: [u64; 2]) -> Self::Shorts;
    /// Eight signed bytes, the first lowest, as shorts, each twice.
    fn doubled(self, from: u64) -> Self::Shorts;
    /// Two times eight signed bytes as shorts, each twice: those in the lower halves of the two words, and in the upper halves.
    fn doubled_halves(self, from: [u64; 2]) -> [Self::Shorts; 2];
    /// From the first 16 bytes of two blocks, eight 6-bit scales and eight 6-bit minimums as in `scales6` in their last 12 bytes:
    /// the scales of the first block, then of the second; and so the minimums.
    fn scales6(self, from: [&[u8; 16]; 2]) -> [Self::Shorts; 2];
    /// From the first bytes of two blocks, eight pairs of bits in bytes 2 and 3, eight nibbles in the next four, which together are
    /// eight numbers of six bits, 32 too large: those of the first block, then of the second.
    fn scales_split6(self, from: [&[u8; 16]; 2]) -> Self::Shorts;
    /// From 16 bytes, nibbles in bytes 2 to 9 and pairs of bits in the four bytes after them, which together are 16 numbers of six
    /// bits, 32 too large: the low nibbles with the lowest pairs, four at a time, then the high nibbles.
    fn scales_split6_16(self, from: &[u8; 16]) -> Self::Shorts;
    /// Loads eight shorts, twice.
    fn eight_twice(self, from: &[i16; 8]) -> Self::Shorts;
    /// The first eight, twice; and the last eight, twice.
    fn halves_twice(self, a: Self::Shorts) -> [Self::Shorts; 2];
    /// The first 16 bytes, signed, as shorts.
    fn low_shorts(self, a: Self::Bytes) -> Self::Shorts;
    /// The last 16 bytes, signed, as shorts.
    fn high_shorts(self, a: Self::Bytes) -> Self::Shorts;
    /// Stores 16 shorts.
    fn put_shorts(self, a: Self::Shorts, to: &mut [i16; 16]);
    /// Eight rows of eight pairs of shorts, transposed: pair `j` of the eight rows, for each `j`.
    fn transpose_shorts(self, rows: [Self::Shorts; 8]) -> [Self::Shorts; 8];
    /// Shorts of even places from `a`, of odd places from `b`.
    fn alternate(self, a: Self::Shorts, b: Self::Shorts) -> Self::Shorts;
    /// Of each pair of shorts, the first twice; and the second twice.
    fn each_twice(self, a: Self::Shorts) -> [Self::Shorts; 2];
    /// One short 16 times.
    fn splat_short(self, value: i16) -> Self::Shorts;
    /// Products, which must fit into 16 bits.
    fn mul_shorts(self, a: Self::Shorts, b: Self::Shorts) -> Self::Shorts;
    /// Sums whose total is `total`.
    fn sums(self, total: i32) -> Self::Sums;
    /// Adds the products `a[i] * b[i]`.
    fn mac_shorts(self, sums: Self::Sums, a: Self::Shorts, b: Self::Shorts) -> Self::Sums;
    /// Adds `codes * input` of 32 values. Codes are unsigned, at most 127.
    fn dot(self, sums: Self::Sums, codes: Self::Bytes, input: &[i8; 32]) -> Self::Sums;
    /// As [`Isa::dot`] with signed codes.
    fn dot_signed(self, sums: Self::Sums, codes: Self::Bytes, input: &[i8; 32]) -> Self::Sums;
    /// The totals of four rows, as floats rounded to nearest even.
    fn totals(self, rows: [Self::Sums; 4]) -> Self::Quad;
    /// The totals of four rows, where [`Isa::SHARED_INPUTS`] is.
    fn whole(self, _: [Self::Sums; 4]) -> Self::Whole {
        unreachable!("blocks are met two at a time")
    }
    /// What [`Isa::whole`] gave less what it gave before, and `times` the number that is there eight times, as floats rounded to
    /// nearest even.
    fn whole_from(
        self,
        _: Self::Whole,
        _: Self::Whole,
        _number: &[i32; 8],
        _times: i32,
    ) -> Self::Quad {
        unreachable!("blocks are met two at a time")
    }
    /// Takes the next block of each of four rows, where [`Isa::SHARED_INPUTS`] is; and gives the half-precision numbers with which
    /// they begin as floats.
    fn next_quad<'a, B: Pod>(self, _: &mut Ahead<'_, 'a, B>) -> ([&'a B; 4], Self::Quad) {
        unreachable!("blocks are met two at a time")
    }
    /// Takes the next block of each of four rows, where [`Isa::SHARED_INPUTS`] is. They begin with two half-precision numbers, and
    /// eight 6-bit scales and minimums as in `scales6`.
    fn next_heads6<'a, B: Pod>(self, _: &mut Ahead<'_, 'a, B>) -> ([&'a B; 4], Heads6<Self>) {
        unreachable!("rows are met one at a time")
    }
    /// The scales of each row times `refine`, as the level's [`Isa::wide_mac2`] wants them.
    fn eights_refined(self, _: Self::Eights, _refine: &[i16; 8]) -> [Self::Shorts; 4] {
        unreachable!("rows are met one at a time")
    }
    /// The total of each row's products with `by`, as floats rounded to nearest even.
    fn eights_totals(self, _: Self::Eights, _by: &[i16; 8]) -> Self::Quad {
        unreachable!("rows are met one at a time")
    }
    /// Of four rows of eight shorts, two in each of `rows`, the total of the products with eight shorts that `by` holds twice, as
    /// floats rounded to nearest even.
    fn dot_eights(self, rows: [Self::Shorts; 2], by: Self::Shorts) -> Self::Quad;

    // The same for 64 bytes at a time.

    /// Whether rows take turns with each 64 bytes of inputs, which are loaded once for all: where products have no operands in
    /// memory. Else a row takes all 256.
    const SHARED_INPUTS: bool = false;

    /// The same, which is there before what is loaded later, where otherwise registers run out.
    #[inline(always)]
    fn settled(self, sums: Self::Sums) -> Self::Sums {
        sums
    }
    /// As [`Isa::settled`].
    #[inline(always)]
    fn settled2(self, sums: Self::Sums2) -> Self::Sums2 {
        sums
    }
    /// 64 bytes of two times 32.
    fn join(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes2;
    /// Loads 64 bytes.
    fn bytes2(self, from: &[u8; 64]) -> Self::Bytes2;
    /// Low nibbles of 32 bytes, then their high nibbles.
    fn nibbles2(self, from: &[u8; 32]) -> Self::Bytes2;
    /// 32 bytes twice: shifted left by `A`, then by `B`, to the right where negative. Bits of neighbours may enter: mask them.
    fn turn2<const A: i32, const B: i32>(self, from: &[u8; 32]) -> Self::Bytes2;
    /// 128 numbers of six bits: their low four bits in the low nibbles of 64 bytes, then in the high ones; their high two bits in four
    /// pairs of bits of 32 bytes, the lowest first.
    #[inline(always)]
    fn sixes(self, low: &[u8; 64], high: &[u8; 32]) -> [Self::Bytes2; 2] {
        let packed = self.bytes2(low);
        let join = |low, high| self.or2(self.and2(low, 15), self.and2(high, 0x30));
        [
            join(packed, self.turn2::<4, 2>(high)),
            join(self.shr2::<4>(packed), self.turn2::<0, -2>(high)),
        ]
    }
    /// Each byte shifted right by `N` in 0..=7. Bits of neighbours may enter: mask them.
    fn shr2<const N: i32>(self, a: Self::Bytes2) -> Self::Bytes2;
    /// Bitwise and of each byte with `mask`.
    fn and2(self, a: Self::Bytes2, mask: u8) -> Self::Bytes2;
    /// Bitwise or.
    fn or2(self, a: Self::Bytes2, b: Self::Bytes2) -> Self::Bytes2;
    /// 128 added to each byte, wrapping.
    fn flip2(self, a: Self::Bytes2) -> Self::Bytes2;
    /// `table[index]` for each byte; every index is below 16.
    fn lookup2(self, table: &[i8; 16], index: Self::Bytes2) -> Self::Bytes2;
    /// Sixteen scales as the level's [`Isa::mac2`] wants them.
    #[inline(always)]
    fn stepped(self, scales: Self::Shorts) -> Self::Shorts {
        scales
    }
    /// Eight scales, which are there twice, as the level's [`Isa::wide_mac2`] wants them.
    #[inline(always)]
    fn wide_stepped(self, scales: Self::Shorts) -> Self::Shorts {
        scales
    }
    /// Sums whose total is that of `sums`.
    fn spread2(self, sums: Self::Sums) -> Self::Sums2;
    /// Adds `codes * input * scale` of the `i`-th 64 values of a super-block, `scales[4 i + j]` for the `j`-th 16 of them, which went
    /// through [`Isa::stepped`]. All parts of a super-block are added, in order. Codes are unsigned, at most 127.
    fn mac2(
        self,
        sums: Self::Sums2,
        codes: Self::Bytes2,
        input: &[i8; 64],
        scales: Self::Shorts,
        i: usize,
    ) -> Self::Sums2;
    /// As [`Isa::mac2`] with signed codes.
    fn mac2_signed(
        self,
        sums: Self::Sums2,
        codes: Self::Bytes2,
        input: &[i8; 64],
        scales: Self::Shorts,
        i: usize,
    ) -> Self::Sums2;
    /// As [`Isa::mac2`] with scales of 32 values: `scales[2 i + j]` for the `j`-th 32 of them. The eight scales are there twice,
    /// and went through [`Isa::wide_stepped`].
    fn wide_mac2(
        self,
        sums: Self::Sums2,
        codes: Self::Bytes2,
        input: &[i8; 64],
        scales: Self::Shorts,
        i: usize,
    ) -> Self::Sums2;
    /// As [`Isa::wide_mac2`] with signed codes.
    fn wide_mac2_signed(
        self,
        sums: Self::Sums2,
        codes: Self::Bytes2,
        input: &[i8; 64],
        scales: Self::Shorts,
        i: usize,
    ) -> Self::Sums2;
    /// As [`Isa::wide_mac2_signed`] where codes and inputs of 64 values come as the first halves of both 32, then the second halves.
    /// Where the level is [`Isa::BIASED`], the codes are unsigned, up to 255.
    fn halves_mac2(
        self,
        sums: Self::Sums2,
        codes: Self::Bytes2,
        input: &[[[i8; 16]; 2]; 2],
        scales: Self::Shorts,
        i: usize,
    ) -> Self::Sums2;
    /// The whole totals of four rows, as floats rounded to nearest even.
    fn whole_totals(self, rows: [Self::Sums2; 4]) -> Self::Quad;
    /// The same with `times` the numbers of `more` added, where [`Isa::SHARED_INPUTS`] is.
    fn whole_totals_from(self, _: [Self::Sums2; 4], _more: Self::Whole, _times: i32) -> Self::Quad {
        unreachable!("rows are met one at a time")
    }

    // Two small blocks at a time, which are never met so where [`Isa::SHARED_INPUTS`] is. Their 64 values lie in an order of the
    // level's own, the same for codes and inputs.

    /// The 32 bytes of a block, and of its neighbour.
    #[inline(always)]
    fn join_pair(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes2 {
        self.join(a, b)
    }
    /// The 32 bytes `at` bytes into each of two neighbouring blocks of an even length.
    #[inline(always)]
    fn pair_bytes<B: Pod>(self, [a, b]: &[B; 2], at: usize) -> Self::Bytes2 {
        let (a, b) = (bytemuck::bytes_of(a), bytemuck::bytes_of(b));
        self.join_pair(self.bytes(b32(a, at)), self.bytes(b32(b, at)))
    }
    /// Low nibbles, as values 0..16, and high ones, 16..32, of the 16 bytes `at` bytes into each of two neighbouring blocks of an
    /// even length.
    #[inline(always)]
    fn pair_nibbles<B: Pod>(self, [a, b]: &[B; 2], at: usize) -> Self::Bytes2 {
        let (a, b) = (bytemuck::bytes_of(a), bytemuck::bytes_of(b));
        self.join_pair(self.nibbles(b16(a, at)), self.nibbles(b16(b, at)))
    }
    /// Adds `value` to each byte whose bit is set in the number of its block. It shares no bits with the bytes.
    #[inline(always)]
    fn pair_add_bits(self, a: Self::Bytes2, bits: [u32; 2], value: u8) -> Self::Bytes2 {
        let bits = self.join_pair(self.bits(bits[0]), self.bits(bits[1]));
        self.or2(a, self.and2(bits, value))
    }
    /// The rounded values of two blocks of inputs.
    #[inline(always)]
    fn pair_inputs(self, pair: &SmallPair) -> Self::Bytes2 {
        self.bytes2(bytemuck::cast_ref(&pair.qs))
    }
    /// Products `codes * input` of two blocks. Codes are unsigned, at most `max`, which is above 127 only where the level is
    /// [`Isa::BIASED`].
    fn pair_dot(self, _codes: Self::Bytes2, _input: Self::Bytes2, _max: u8) -> Self::PairSums {
        unreachable!("blocks are met one at a time")
    }
    /// As [`Isa::pair_dot`] with signed codes; never used where the level is [`Isa::BIASED`].
    fn pair_dot_signed(self, _codes: Self::Bytes2, _input: Self::Bytes2) -> Self::PairSums {
        unreachable!("blocks are met one at a time")
    }
    /// The totals of four rows, of their first block and of their second, each with `times` the number of its block added, which is
    /// there eight times, as floats rounded to nearest even.
    fn pair_totals(
        self,
        _rows: [Self::PairSums; 4],
        _numbers: &[[i32; 8]; 2],
        _times: i32,
    ) -> [Self::Quad; 2] {
        unreachable!("blocks are met one at a time")
    }
    /// Eight floats.
    fn octet(self, from: [f32; 8]) -> Self::Octet;
    /// Stores eight floats.
    fn put_octet(self, a: Self::Octet, to: &mut [f32; 8]);
    /// Four half-precision numbers as floats.
    #[inline(always)]
    fn quad_halves(self, bits: [u16; 4]) -> Self::Quad {
        self.octet_quads(self.octet_halves([bits[0], bits[1], bits[2], bits[3], 0, 0, 0, 0]))[0]
    }
    /// Eight half-precision numbers as floats.
    fn octet_halves(self, bits: [u16; 8]) -> Self::Octet;
    /// Four pairs of half-precision numbers as floats: the lower ones, then the upper ones.
    fn octet_half_pairs(self, pairs: [u32; 4]) -> Self::Octet;
    /// The half-precision number `at` bytes into each of two neighbouring blocks of four rows, as floats: of the first blocks, then
    /// of the second. There are at least 16 bytes from there to the end of a block, and the length of blocks is even.
    fn pair_halves<B: Pod>(self, _rows: [&[B; 2]; 4], _at: usize) -> Self::Octet {
        unreachable!("blocks are met one at a time")
    }
    /// Products.
    fn octet_mul(self, a: Self::Octet, b: Self::Octet) -> Self::Octet;
    /// The first four, and the last four.
    fn octet_quads(self, a: Self::Octet) -> [Self::Quad; 2];

    /// A half-precision number as a float.
    fn half(self, bits: u16) -> f32;
    /// Four floats.
    fn quad(self, from: [f32; 4]) -> Self::Quad;
    /// The four floats.
    fn quad_array(self, a: Self::Quad) -> [f32; 4];
    /// With the other sign.
    fn quad_neg(self, a: Self::Quad) -> Self::Quad;
    /// Products.
    fn quad_mul(self, a: Self::Quad, b: Self::Quad) -> Self::Quad;
    /// `a * b + c`, rounded once.
    fn quad_fma(self, a: Self::Quad, b: Self::Quad, c: Self::Quad) -> Self::Quad;

    // Integer dot products: 16 rows of a panel by one token, lane = row.

    /// Panels that meet the same tokens at once: 1, or 2 where the registers hold that many sums.
    const TILE_PANELS: usize;
    /// Whether four tokens meet a panel at once; else two.
    const TILE_QUAD: bool = true;
    /// Whether signed codes go into products 128 too large, as unsigned ones, because products of signed ones would be slow.
    const BIASED: bool;
    /// How many groups of four positions [`Isa::add_dots`] may add up, given the largest code: a divisor of 8, or more.
    fn together(self, signed: bool, max: u8) -> usize;
    /// The same number for each row.
    fn rows(self, value: i32) -> Self::Rows;
    /// No products yet.
    fn dots(self) -> Self::Dots;
    /// Adds the products of four unsigned codes of each row with four inputs.
    fn add_dots(self, dots: Self::Dots, codes: &Codes4, input: [i8; 4]) -> Self::Dots;
    /// As [`Isa::add_dots`] with signed codes.
    fn add_dots_signed(self, dots: Self::Dots, codes: &Codes4, input: [i8; 4]) -> Self::Dots;
    /// Groups of four positions that [`Isa::add_quad`] takes, 1 or 2; 0 where [`Isa::add_dots`] is as good.
    const QUAD_GROUPS: usize = 0;
    /// Adds the products of all codes of each row in these groups with those inputs of the four tokens from `first` on. `T` is 4.
    /// Until [`Isa::settle`], the sums lie as the level likes.
    fn add_quad<const T: usize>(
        self,
        _dots: [Self::Dots; T],
        _codes: &[Codes4],
        _inputs: &[[[i8; 4]; TILE_TOKENS]],
        _first: usize,
    ) -> [Self::Dots; T] {
        unreachable!("a token at a time is as good")
    }
    /// The products of each token.
    #[inline(always)]
    fn settle<const T: usize>(self, dots: [Self::Dots; T]) -> [Self::Dots; T] {
        dots
    }
    /// Adds `dots * scale * refine`, the scale of each row being there twice. `scale * refine` fits into 16 bits.
    fn weigh(self, sums: Self::Rows, dots: Self::Dots, scales: &Pairs, refine: i32) -> Self::Rows;
    /// Adds `dots`.
    fn gather(self, sums: Self::Rows, dots: Self::Dots) -> Self::Rows;
    /// Adds the two products of each row's pair with `input`.
    fn add_pairs(self, sums: Self::Rows, pairs: &Pairs, input: [i16; 2]) -> Self::Rows;
    /// The sums as floats, rounded to nearest even.
    fn rows_to_wide(self, sums: Self::Rows) -> Self::Wide;

    // Floats, 16 at a time.

    /// Loads 16 floats.
    fn wide(self, from: &[f32; 16]) -> Self::Wide;
    /// One float 16 times.
    fn splat_wide(self, value: f32) -> Self::Wide;
    /// The 16 floats.
    fn wide_array(self, a: Self::Wide) -> [f32; 16];
    /// Stores 16 floats.
    fn put(self, a: Self::Wide, to: &mut [f32; 16]);
    /// Sums.
    fn add(self, a: Self::Wide, b: Self::Wide) -> Self::Wide;
    /// Products.
    fn mul(self, a: Self::Wide, b: Self::Wide) -> Self::Wide;
    /// Quotients.
    fn div(self, a: Self::Wide, b: Self::Wide) -> Self::Wide;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::Wide, b: Self::Wide, c: Self::Wide) -> Self::Wide;
    /// `a` where `a > b`, else `b`.
    fn max(self, a: Self::Wide, b: Self::Wide) -> Self::Wide;
    /// `a` where `a < b`, else `b`.
    fn min(self, a: Self::Wide, b: Self::Wide) -> Self::Wide;
    /// Magnitudes.
    fn abs(self, a: Self::Wide) -> Self::Wide;
    /// The larger by the order of bit patterns, for magnitudes: a NaN wins over everything.
    fn max_bits(self, a: Self::Wide, b: Self::Wide) -> Self::Wide;
    /// Rounded to the nearest whole number, ties to even.
    fn round(self, a: Self::Wide) -> Self::Wide;
    /// `2^n` for whole `n` in -126..=127, 1 for a NaN, and anything for anything else.
    fn pow2(self, n: Self::Wide) -> Self::Wide;
    /// The sum by the fixed tree: lanes `j` and `j + 8`, then 4, 2, 1 apart.
    fn sum(self, a: Self::Wide) -> f32;
    /// Whole numbers of at most 127 in magnitude as bytes.
    fn to_i8(self, a: Self::Wide) -> [i8; 16];
    /// Half-precision numbers as floats.
    fn widen_f16(self, from: &[u16; 16]) -> Self::Wide;
    /// Floats as half-precision numbers, rounded to nearest even.
    fn to_f16(self, a: Self::Wide) -> [u16; 16];
    /// bfloat16 numbers as floats.
    fn widen_bf16(self, from: &[u16; 16]) -> Self::Wide;
    /// One half-precision number 16 times, as floats.
    fn splat_half(self, bits: u16) -> Self::Wide;
    /// Sixteen signed bytes as floats.
    fn widen_i8(self, from: &[i8; 16]) -> Self::Wide;
    /// How many queries meet four keys at once: 1, or 4 where the registers hold 16 vectors of sums and more.
    const SCORES: usize;
    /// The sixteen sums of sixteen vectors, each by the tree of [`Isa::sum`].
    #[inline(always)]
    fn sums16(self, a: [Self::Wide; 16]) -> Self::Wide {
        let mut out = [0.0; 16];
        for (out, four) in out
            .as_chunks_mut::<4>()
            .0
            .iter_mut()
            .zip(a.as_chunks::<4>().0)
        {
            *out = self.sum4(*four);
        }
        self.wide(&out)
    }
    /// The largest of each of sixteen vectors, by the same tree and the comparison of [`Isa::max`].
    fn maxs16(self, a: [Self::Wide; 16]) -> Self::Wide;
    /// The four sums of four vectors, each by the tree of [`Isa::sum`].
    fn sum4(self, a: [Self::Wide; 4]) -> [f32; 4] {
        a.map(|a| self.sum(a))
    }
}
