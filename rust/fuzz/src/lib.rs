//! What the targets share. Each target is one reader; it says what holds for every input.
#![forbid(unsafe_code)]

use celeriac_core::{Error, Result};

/// What was read. An error must say that the input is to blame.
///
/// # Panics
/// It says something else.
pub fn answered<T>(outcome: Result<T>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(Error::Malformed { .. }) => None,
        Err(other) => panic!("an error that does not blame the input: {other}"),
    }
}
