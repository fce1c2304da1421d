//! Lone surrogates, for which Rust's text has no place, held by stand-ins.
//!
//! The last 2,048 characters of the last private plane stand for U+D800 to U+DFFF, one for one, so
//! that lengths stay what Python counts. Only what people read passes here (beside a lone surrogate,
//! such a character of the text's own is shown as one, too); values travel as
//! [`celeriac_core::codec::WTF8`].

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

const FIRST_SURROGATE: u32 = 0xD800;
const FIRST_STAND_IN: u32 = 0x0010_F800;

/// The text with stand-ins for its surrogates.
pub(super) fn with_stand_ins(text: &Bound<'_, PyString>) -> PyResult<String> {
    let py = text.py();
    let encoded = py.get_type::<PyString>().call_method1(
        intern!(py, "encode"),
        (text, intern!(py, "utf-32-le"), intern!(py, "surrogatepass")),
    )?;
    let encoded = encoded.cast::<PyBytes>()?;
    let (points, _) = encoded.as_bytes().as_chunks::<4>();
    Ok(points
        .iter()
        .map(|point| held(u32::from_le_bytes(*point)))
        .collect())
}

fn held(point: u32) -> char {
    char::from_u32(point)
        .or_else(|| char::from_u32(point - FIRST_SURROGATE + FIRST_STAND_IN))
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// UTF-8 in which the surrogates are encoded like other characters.
pub(super) fn wtf8(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u32::from(character).checked_sub(FIRST_STAND_IN) {
            Some(offset) => out.extend_from_slice(&three_bytes(FIRST_SURROGATE + offset)),
            None => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out
}

fn three_bytes(point: u32) -> [u8; 3] {
    let [low, middle, _, _] = point.to_le_bytes();
    [
        0xE0 | middle >> 4,
        0x80 | (middle & 0x0F) << 2 | low >> 6,
        0x80 | low & 0x3F,
    ]
}
