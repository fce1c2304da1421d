//! Content type to bytes and back, generic over serde.
//!
//! Two things that Python has and serde's data model lacks travel under the magic names
//! [`BIG_INT`] and [`WTF8`]. A codec that cannot carry one says so; it never guesses.

pub mod json;
pub mod msgpack;

use std::fmt::Display;

use crate::error::Error;

/// Name of a newtype struct that holds an integer outside of 64 bits, as decimal text.
///
/// Encoding: `serialize_newtype_struct(BIG_INT, "123…")`. Decoding: `visit_map` with this one key
/// and a borrowed string of digits.
pub const BIG_INT: &str = "$celeriac::codec::BIG_INT";

/// Name of a newtype struct that holds a string with lone surrogates, as bytes: UTF-8 in which
/// each surrogate has three bytes of its own (Python's `"surrogatepass"`).
///
/// Encoding: `serialize_newtype_struct(WTF8, bytes)`. Decoding (JSON only): `visit_bytes`.
pub const WTF8: &str = "$celeriac::codec::WTF8";

/// How deep a value may nest when it is encoded. Smaller than what [`Limits`] lets in, so that
/// whatever we wrap around a user's value (a body, a result document) can be read back.
pub const MAX_ENCODED_DEPTH: usize = 500;

/// What a decoder takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many arrays and objects may be open at once.
    pub max_depth: usize,
    /// How many bytes the encoded value may have.
    pub max_bytes: usize,
}

impl Default for Limits {
    /// 512 levels (a 2 MB thread has room for them), 512 MiB (the largest string of Redis).
    fn default() -> Self {
        Self {
            max_depth: 512,
            max_bytes: 512 * 1024 * 1024,
        }
    }
}

impl serde::ser::Error for Error {
    fn custom<T: Display>(message: T) -> Self {
        Self::Unencodable {
            detail: message.to_string(),
        }
    }
}

impl serde::de::Error for Error {
    fn custom<T: Display>(message: T) -> Self {
        Self::Malformed {
            what: "value",
            detail: message.to_string(),
        }
    }
}
