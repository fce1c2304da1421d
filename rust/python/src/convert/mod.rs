//! Python objects to bytes and back: one walk, no tree in between.
//!
//! [`serialize`] walks a Python object for any serde serializer, [`deserialize`] builds one from
//! any deserializer, [`typed`] knows the objects that JSON carries as `{"__type__", "__value__"}`,
//! [`repr`] writes the shortened texts that people read.

mod deserialize;
mod hooks;
mod keys;
mod kinds;
mod repr;
mod serialize;
mod surrogates;
mod typed;

use celeriac_core::codec::{self, Limits};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::errors::Outcome;
use deserialize::Builder;
use serialize::Walk;

pub(crate) use hooks::{Hooks, set_hooks};
pub(crate) use repr::ReprLimits;
pub(crate) use serialize::items_of;

/// The two shapes in which Python objects travel; they differ in what a key or bytes may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// JSON as Celery's encoder writes it.
    Json,
    /// MessagePack with `bin` and without extension types.
    Msgpack,
}

/// Appends a Python object in one of the styles. `what` is the root of the path in an error.
pub(crate) fn append(out: &mut Vec<u8>, value: &Bound<'_, PyAny>, what: &str, style: Style) -> Outcome<()> {
    let walk = Walk::new(value.py(), style);
    let appended = match style {
        Style::Json => codec::json::append(out, &walk.of(value)),
        Style::Msgpack => codec::msgpack::append(out, &walk.of(value)),
    };
    appended.map_err(|error| walk.into_fault(what, error))
}

/// The JSON of a Python object.
pub(crate) fn to_json(value: &Bound<'_, PyAny>, what: &str) -> Outcome<Vec<u8>> {
    let mut out = Vec::with_capacity(128);
    append(&mut out, value, what, Style::Json)?;
    Ok(out)
}

/// Appends the JSON of a text with lone surrogates.
pub(crate) fn append_wtf8(out: &mut Vec<u8>, wtf8: &[u8]) -> Outcome<()> {
    Ok(codec::json::append(out, &serialize::Wtf8(wtf8))?)
}

/// The JSON of a Python object, as text.
pub(crate) fn to_json_text(value: &Bound<'_, PyAny>, what: &str) -> Outcome<String> {
    // The encoder escapes everything beyond ASCII, so nothing is ever replaced here.
    to_json(value, what).map(|json| match String::from_utf8(json) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// The Python object that JSON describes.
pub(crate) fn from_json<'py>(py: Python<'py>, data: &[u8]) -> Outcome<Bound<'py, PyAny>> {
    let builder = Builder::new(py, Style::Json);
    codec::json::from_slice_wide(data, builder.seed(), Limits::default())
        .map_err(|error| builder.into_fault(error))
}

/// The same for what a worker needs whole, however strange: a typed object of which Python makes
/// nothing stays a dict, and a number of more digits than Python reads stays text.
pub(crate) fn from_json_as_far_as_known<'py>(py: Python<'py>, data: &[u8]) -> Outcome<Bound<'py, PyAny>> {
    let builder = Builder::new(py, Style::Json).lenient();
    codec::json::from_slice_wide(data, builder.seed(), Limits::default())
        .map_err(|error| builder.into_fault(error))
}

/// The Python object that MessagePack describes.
pub(crate) fn from_msgpack<'py>(py: Python<'py>, data: &[u8]) -> Outcome<Bound<'py, PyAny>> {
    let builder = Builder::new(py, Style::Msgpack);
    codec::msgpack::from_slice(data, builder.seed(), Limits::default())
        .map_err(|error| builder.into_fault(error))
}

/// A shortened `repr`, as Celery writes it into `argsrepr`.
#[derive(Debug)]
pub(crate) enum Shown {
    /// Plain text.
    Text(String),
    /// UTF-8 with lone surrogates encoded like other characters.
    Wtf8(Vec<u8>),
}

impl Shown {
    /// The text of a value.
    pub(crate) fn of(value: &Bound<'_, PyAny>, limits: ReprLimits) -> PyResult<Self> {
        repr::safe_repr(value, limits)
    }

    /// As a Python string.
    pub(crate) fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyString>> {
        match self {
            Self::Text(text) => Ok(PyString::new(py, &text)),
            Self::Wtf8(wtf8) => PyString::from_encoded_object(
                PyBytes::new(py, &wtf8).as_any(),
                Some(c"utf-8"),
                Some(c"surrogatepass"),
            ),
        }
    }
}
