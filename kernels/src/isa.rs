//! The second axis: what the CPU can do.
//!
//! An [`Isa`] is a token: holding one proves that its instructions exist, so its verbs are safe to call. The verbs work
//! on a fixed logical vector of 32 bytes (or 16 floats), whatever the width of the registers, and are as few as the
//! formats and the walks need. A level overrides the verbs that its instructions do better; no verb may differ in its
//! result by a single bit from the scalar one.
//!
//! Almost all `unsafe` of the project lives below this module: intrinsics and their entry ([`Isa::run`]), and the
//! run-time checked sharing of buffers between the threads of a region (`shared.rs`).

mod scalar;
pub(crate) use scalar::Scalar;

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
    /// Sixteen 32-bit floats.
    type Wide: Copy;

    /// Runs `task` with this level's instructions enabled.
    fn run<T: Task>(self, task: T) -> T::Out;

    // Bytes: unpacking.

    /// Loads 32 bytes.
    fn bytes(self, from: &[u8; 32]) -> Self::Bytes;
    /// Low nibbles of 16 bytes, then their high nibbles.
    fn nibbles(self, from: &[u8; 16]) -> Self::Bytes;
    /// 16 bytes, twice.
    fn twice(self, from: &[u8; 16]) -> Self::Bytes;
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
}
