//! Numbers as they are: F32, F16, BF16. A block is one number.

use super::*;

/// Formats whose blocks are single numbers; the walk in `float.rs` takes 16 at a time.
pub trait Float: Format {
    /// Sixteen numbers as floats.
    fn wide<I: Isa>(isa: I, from: &[Self::Block; 16]) -> I::Wide;
}

macro_rules! float {
    ($(#[$doc:meta])* $name:ident($block:ty): $one:expr, $verb:ident) => {
        $(#[$doc])*
        pub struct $name;

        impl Format for $name {
            type Block = $block;
            const LEN: usize = 1;
            fn dequantize(block: &$block, out: &mut [f32]) {
                out[0] = $one(*block);
            }
        }

        impl Float for $name {
            #[inline(always)]
            fn wide<I: Isa>(isa: I, from: &[$block; 16]) -> I::Wide {
                isa.$verb(from)
            }
        }
    };
}

float! {
    /// 32 bits, as they are.
    F32(f32): std::convert::identity, wide
}
float! {
    /// IEEE half precision.
    F16(u16): f16, widen_f16
}
float! {
    /// The upper half of a 32-bit float.
    BF16(u16): |bits: u16| f32::from_bits(u32::from(bits) << 16), widen_bf16
}
