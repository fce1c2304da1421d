//! Codecs for Python: everything here runs attached and waits for nothing.

use std::cell::Cell;

use celeriac_core::wire::times;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::convert::{self, Hooks, ReprLimits, Shown, Style};
use crate::errors::{Fault, OrRaise};

/// Encodes a value as Celery's JSON encoder does, byte for byte.
///
/// `what` is the root of the path in the message of an `EncodeError` (`args[1]["when"]`).
#[pyfunction]
#[pyo3(signature = (value, /, *, what = "value"))]
pub(crate) fn encode_json<'py>(value: &Bound<'py, PyAny>, what: &str) -> PyResult<Bound<'py, PyBytes>> {
    let py = value.py();
    let mut out = SCRATCH.take();
    out.clear();
    let appended = convert::append(&mut out, value, what, Style::Json);
    let json = appended.map(|()| PyBytes::new(py, &out)).or_raise(py);
    if out.capacity() <= KEPT_BYTES {
        SCRATCH.set(out);
    }
    json
}

thread_local! {
    /// Memory for the next JSON, which the system would otherwise have to clear for each large one.
    /// Who encodes while something is encoded begins with a new one.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
/// What a thread keeps at most.
const KEPT_BYTES: usize = 1024 * 1024;

/// Decodes JSON, as UTF-8 or as text, typed objects included. Raises `DecodeError`.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub(crate) fn decode_json<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = data.py();
    let json = match data.cast::<PyString>() {
        Ok(text) => text.to_str().map_err(no_utf8).or_raise(py)?.as_bytes(),
        Err(_) => data.extract::<&[u8]>()?,
    };
    convert::from_json(py, json).or_raise(py)
}

/// JSON escapes lone surrogates; bare ones are in no text that UTF-8 can carry.
fn no_utf8(cause: PyErr) -> Fault {
    Fault::Decode {
        detail: format!("malformed json: {cause}"),
        cause: Some(cause),
    }
}

/// Encodes a value as `MessagePack`: text as `str`, bytes as `bin`, no extension types.
#[pyfunction]
#[pyo3(signature = (value, /, *, what = "value"))]
pub(crate) fn encode_msgpack<'py>(value: &Bound<'py, PyAny>, what: &str) -> PyResult<Bound<'py, PyBytes>> {
    let py = value.py();
    let mut out = Vec::with_capacity(128);
    convert::append(&mut out, value, what, Style::Msgpack).or_raise(py)?;
    Ok(PyBytes::new(py, &out))
}

/// Decodes `MessagePack`. Raises `DecodeError`.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub(crate) fn decode_msgpack<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    convert::from_msgpack(py, data).or_raise(py)
}

/// A shortened `repr`: at most about `max_chars` characters, containers `max_levels` deep.
#[pyfunction]
#[pyo3(signature = (value, /, max_chars = 1024, max_levels = 3))]
pub(crate) fn safe_repr<'py>(
    value: &Bound<'py, PyAny>,
    max_chars: usize,
    max_levels: usize,
) -> PyResult<Bound<'py, PyString>> {
    Shown::of(
        value,
        ReprLimits {
            max_chars,
            max_levels,
        },
    )?
    .into_python(value.py())
}

/// Milliseconds since the epoch of an ISO 8601 time (as if UTC when it has no offset), and whether
/// it has one. Raises `DecodeError`.
#[pyfunction]
#[pyo3(signature = (text, /))]
pub(crate) fn parse_iso_ms(py: Python<'_>, text: &str) -> PyResult<(i64, bool)> {
    let time = times::parse_iso(text).or_raise(py)?;
    Ok((time.unix_ms, time.has_offset))
}

/// Sets what is asked about types that JSON has no word for; `None` asks nobody.
///
/// `encode(value)` returns what stands for the value, `decode(marker, value)` what a typed object
/// means; both return `NotImplemented` for what is not theirs. With `come_first` they are asked
/// before the built-in types.
#[pyfunction]
#[pyo3(signature = (encode, decode, /, *, come_first = false))]
pub(crate) fn set_json_hooks(encode: Option<Py<PyAny>>, decode: Option<Py<PyAny>>, come_first: bool) {
    convert::set_hooks(Hooks {
        encode,
        decode,
        come_first,
    });
}
