//! What the process uses, for people.

pub(super) use crate::machine::{anonymous_memory as anonymous, human, peak_memory as peak};
