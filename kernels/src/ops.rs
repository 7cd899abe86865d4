//! Everything between the matrices, in f32 with fixed shapes: norms, rotary embedding, SwiGLU, softmax, attention.

pub mod attention;
mod exp;
mod norm;
mod rope;
mod swiglu;

pub use norm::{add, rms_norm};
pub use rope::{RopePairs, RopeTable, rope};
pub use swiglu::swiglu;
