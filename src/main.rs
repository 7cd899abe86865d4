//! The `smolq` command.
fn main() {}
