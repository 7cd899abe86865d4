//! What a value of a template counts when all that it holds is counted.
//!
//! Values share what they hold. `{% set a = [a, a] %}`, sixty times over, takes hardly any room, but nobody who compares, sorts or prints
//! it comes to an end. So what a template makes is counted as one finds it who walks through it, each thing as often as it stands there,
//! and refused where that is too much; and who walks through a value pays for it in steps.

use super::python;
use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

/// What is counted for one step of a template.
const COUNT_OF_A_STEP: usize = 16;

/// What a value may count at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(usize);

impl Limit {
    /// The limit where the caller's own values have about so many bytes. They count a fraction of that, so there is room to make larger
    /// ones of them, also to cut their texts into single characters.
    pub(super) fn of(input: usize) -> Limit {
        Limit(python::MAX_ITEMS.saturating_add(input))
    }

    /// What it is: also how many items a list may have.
    pub(super) fn most(self) -> usize {
        self.0
    }

    /// Takes the steps of a walk through a value, and gives what it counts.
    ///
    /// # Errors
    /// If it is too large, or the steps are used up.
    pub(super) fn pay(self, state: &State<'_, '_>, value: &Value) -> Result<usize, Error> {
        let mut left = self.0;
        weigh(value, true, &mut left)?;
        let count = self.0 - left;
        state.consume_fuel((count / COUNT_OF_A_STEP) as u64)?;
        Ok(count)
    }

    /// A value that is not too large. A view of another one, which is made anew in each walk, becomes a list: views of views would be slow.
    ///
    /// # Errors
    /// As [`Limit::pay`].
    pub(super) fn hold(self, state: &State<'_, '_>, value: Value) -> Result<Value, Error> {
        let value = match value.kind() {
            ValueKind::Iterable => {
                let items = value.try_iter()?.checked().take(self.0);
                Value::from(items.collect::<Result<Vec<Value>, Error>>()?)
            }
            _ => value,
        };
        self.pay(state, &value)?;
        Ok(value)
    }
}

/// Takes what a value counts from what is left. It ends where nothing is left, so it takes no longer than the limit is large. `alone`
/// says that nothing holds the value.
fn weigh(value: &Value, alone: bool, left: &mut usize) -> Result<(), Error> {
    // Values from JSON know what they count.
    if let Some(count) = python::weight(value) {
        return take(count, left);
    }
    take(1, left)?;
    if let Some(items) = value.downcast_object_ref::<Vec<Value>>() {
        for item in items {
            weigh(item, false, left)?;
        }
        return Ok(());
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            for item in value.try_iter()?.checked() {
                weigh(&item?, false, left)?;
            }
        }
        // Also arguments by name, macros and loops.
        ValueKind::Map => {
            // It shows other items later, which were never counted.
            if !alone && is_loop(value) {
                return Err(refused("a list or map cannot hold a loop"));
            }
            for key in value.try_iter()?.checked() {
                let key = key?;
                // As in Python. Looking it up would be a walk through it.
                if key.as_object().is_some() {
                    return Err(refused("a list or map cannot be a key"));
                }
                weigh(&key, false, left)?;
                weigh(&value.get_item(&key)?, false, left)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn take(count: usize, left: &mut usize) -> Result<(), Error> {
    match left.checked_sub(count) {
        Some(rest) => {
            *left = rest;
            Ok(())
        }
        None => Err(refused("a value is too large, with all that it holds")),
    }
}

/// Whether it is what templates know as `loop`; the engine has no other name for it.
fn is_loop(value: &Value) -> bool {
    let object = value.as_object();
    object.is_some_and(|object| object.type_name().ends_with("::Loop"))
}

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, why.to_owned())
}
