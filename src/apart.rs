//! Code from strangers, templates and grammars, runs on a stack of its own.

use crate::error::{Error, Result};

/// Stack of the thread. A chain of attributes, of `not` or of `elif` in a template is a tree as deep as it is long, and the longest that
/// is allowed must fit; only what is used takes memory.
const STACK: usize = 128 << 20;

/// Runs what a stranger's `name` might blow the stack with. `None` if it panicked.
///
/// # Errors
/// If the system has no thread left.
pub(crate) fn apart<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<Option<T>> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK);
        match thread.spawn_scoped(scope, work) {
            Ok(thread) => Ok(thread.join().ok()),
            Err(error) => Err(Error::Resources(format!(
                "no thread for the {name}: {error}"
            ))),
        }
    })
}
