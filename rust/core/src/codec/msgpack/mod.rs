//! MessagePack, as Python's `msgpack.packb(use_bin_type=True)` writes it and
//! `unpackb(raw=False)` reads it.
//!
//! Source: msgpack-python 1.x; `tests/vectors/celery-5.7/messages.json`.

mod de;
mod ser;

use serde::Serialize;
use serde::de::DeserializeSeed;

use super::Limits;
use crate::error::{Error, Result};

/// Appends a value to `out`, each number in its shortest form. What was appended before an error
/// stays in `out`.
///
/// # Errors
/// [`Error::Unencodable`] for integers outside of 64 bits, strings with lone surrogates, and
/// nesting deeper than [`super::MAX_ENCODED_DEPTH`].
pub fn append<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<()> {
    value.serialize(&mut ser::Serializer::new(out))
}

/// Decodes one value; nothing may follow it. Bytes arrive as `visit_borrowed_bytes`. A length
/// that the data cannot hold is refused before anything is built for it.
///
/// # Errors
/// [`Error::Malformed`] with the offset in bytes, and whatever `seed` refuses.
pub fn from_slice<'de, S: DeserializeSeed<'de>>(
    data: &'de [u8],
    seed: S,
    limits: Limits,
) -> Result<S::Value> {
    if data.len() > limits.max_bytes {
        let (found, limit) = (data.len(), limits.max_bytes);
        return Err(malformed(format!("{found} bytes, the limit is {limit}")));
    }
    let mut deserializer = de::Deserializer::new(data, limits.max_depth);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

fn malformed(detail: String) -> Error {
    Error::Malformed {
        what: "msgpack",
        detail,
    }
}
