//! JSON, byte for byte as Python's `json.dumps` with its default arguments writes it.
//!
//! ASCII only, `", "` and `": "` between tokens, floats as `repr` gives them, `NaN` and the
//! infinities as bare words, keys that are numbers, booleans or null as strings. The decoder takes
//! what `json.loads` takes.
//!
//! Source: Python 3.11 `json.encoder`, `json.decoder`; `tests/vectors/celery-5.7`.

mod de;
mod escape;
mod float;
pub(crate) mod raw;
mod reader;
mod ser;
mod wide;

use serde::Serialize;
use serde::de::DeserializeSeed;

use super::Limits;
use crate::error::Result;
pub(crate) use escape::append_str;

/// Appends a value's JSON text to `out`. What was appended before an error stays in `out`.
///
/// # Errors
/// [`crate::Error::Unencodable`] for bytes, keys that are no scalars, and nesting deeper than
/// [`super::MAX_ENCODED_DEPTH`].
pub fn append<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<()> {
    value.serialize(&mut ser::Serializer::new(out))
}

/// Decodes one JSON text; only white space may follow it.
///
/// Integers outside of 64 bits and strings with lone surrogates arrive as [`super::BIG_INT`] and
/// [`super::WTF8`] describe.
///
/// # Errors
/// [`crate::Error::Malformed`] with the offset in bytes, and whatever `seed` refuses.
pub fn from_slice<'de, S: DeserializeSeed<'de>>(
    data: &'de [u8],
    seed: S,
    limits: Limits,
) -> Result<S::Value> {
    read(reader::Reader::new(data, limits)?, seed)
}

/// Decodes one JSON text for a visitor that takes long strings as UTF-16.
///
/// As [`from_slice`], but a string that is long, has escapes and has characters beyond ASCII may
/// arrive by `visit_byte_buf`: its UTF-16 in this machine's byte order after a byte order mark, lone
/// surrogates included. It is what Python's decoder of UTF-16 takes, and reads in half the time
/// that UTF-8 takes (`benches/python/codec_ratios.py`).
///
/// # Errors
/// As [`from_slice`].
pub fn from_slice_wide<'de, S: DeserializeSeed<'de>>(
    data: &'de [u8],
    seed: S,
    limits: Limits,
) -> Result<S::Value> {
    let mut reader = reader::Reader::new(data, limits)?;
    reader.widen();
    read(reader, seed)
}

fn read<'de, S: DeserializeSeed<'de>>(mut reader: reader::Reader<'de>, seed: S) -> Result<S::Value> {
    let value = seed.deserialize(&mut de::Deserializer::new(&mut reader))?;
    reader.end()?;
    Ok(value)
}
