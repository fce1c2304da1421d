//! MessagePack, as Python's `msgpack.packb(use_bin_type=True)` writes it and
//! `unpackb(raw=False)` reads it.

use serde::Serialize;
use serde::de::DeserializeSeed;

use super::Limits;
use crate::error::{Error, Result};

/// Appends a value to `out`.
///
/// # Errors
/// [`Error::Unencodable`] for integers outside of 64 bits, strings with lone surrogates, and
/// nesting deeper than [`super::MAX_ENCODED_DEPTH`].
pub fn append<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<()> {
    let mut serializer = rmp_serde::Serializer::new(out).with_struct_map();
    value
        .serialize(&mut serializer)
        .map_err(|error| Error::Unencodable {
            detail: error.to_string(),
        })
}

/// Decodes one value; nothing may follow it. Bytes arrive as `visit_bytes`.
///
/// # Errors
/// [`Error::Malformed`], and whatever `seed` refuses.
pub fn from_slice<'de, S: DeserializeSeed<'de>>(
    data: &'de [u8],
    seed: S,
    limits: Limits,
) -> Result<S::Value> {
    let malformed = |detail| Error::Malformed {
        what: "msgpack",
        detail,
    };
    let mut rest = data;
    let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
    deserializer.set_max_depth(limits.max_depth);
    let value = seed
        .deserialize(&mut deserializer)
        .map_err(|error| malformed(error.to_string()))?;
    if rest.is_empty() {
        return Ok(value);
    }
    Err(malformed(format!("{} bytes after the value", rest.len())))
}
