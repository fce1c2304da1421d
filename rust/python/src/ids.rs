//! Fresh ids for Python.

use celeriac_core::ids;
use pyo3::prelude::*;
use pyo3::types::PyString;
use uuid::Uuid;

/// A fresh task id: the text of a UUID4.
#[pyfunction]
pub(crate) fn new_id(py: Python<'_>) -> Bound<'_, PyString> {
    PyString::new(
        py,
        ids::fresh().hyphenated().encode_lower(&mut Uuid::encode_buffer()),
    )
}
