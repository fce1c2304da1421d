//! Compression for Python. Only what is large lets go of the interpreter: that has its price, too.

use std::borrow::Cow;

use celeriac_core::compress::{self, Method};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::{OrRaise, Outcome};

/// From how many bytes on other threads may run meanwhile.
const LARGE: usize = 4096;

/// Compresses; other threads run while something large is at it.
pub(crate) fn compress(py: Python<'_>, method: Method, data: &[u8]) -> Outcome<Vec<u8>> {
    let small = if data.len() < LARGE {
        method.compress(data)
    } else {
        py.detach(|| method.compress(data))
    };
    Ok(small?)
}

/// Gives a body back as it was before it was compressed, if it was.
pub(crate) fn unpacked<'a>(
    py: Python<'_>,
    body: &'a [u8],
    compression: Option<&str>,
    max_bytes: usize,
) -> Outcome<Cow<'a, [u8]>> {
    // However small it is: it may be a bomb.
    Ok(match compression {
        None => Cow::Borrowed(body),
        Some(_) => py.detach(|| compress::unpacked(body, compression, max_bytes))?,
    })
}

/// The method of this content type or alias.
pub(crate) fn method_named(name: &str) -> PyResult<Method> {
    Method::named(name)
        .ok_or_else(|| PyValueError::new_err(format!("no compression is called {name:?} here")))
}

/// Compresses with one of the built-in methods, named by content type or alias.
#[pyfunction(name = "compress")]
#[pyo3(signature = (data, method, /))]
pub(crate) fn compress_bytes<'py>(
    py: Python<'py>,
    data: &[u8],
    method: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let small = compress(py, method_named(method)?, data).or_raise(py)?;
    Ok(PyBytes::new(py, &small))
}

/// Decompresses to at most `max_bytes`. Raises `DecodeError`.
#[pyfunction(name = "decompress")]
#[pyo3(signature = (data, method, max_bytes, /))]
pub(crate) fn decompress_bytes<'py>(
    py: Python<'py>,
    data: &[u8],
    method: &str,
    max_bytes: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let large = unpacked(py, data, Some(method), max_bytes).or_raise(py)?;
    Ok(PyBytes::new(py, &large))
}
