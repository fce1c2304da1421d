//! Type tests that cost nothing when they fail.
//!
//! `cast` of `PyO3` builds an error that holds a reference to the type: about 10 ns for each type that
//! an object is not (`benches/python/test_codec_bench.py`).

use pyo3::prelude::*;
use pyo3::{PyTypeCheck, PyTypeInfo};

/// The object as a `T`, if that is its very type.
pub(super) fn exactly<'a, 'py, T: PyTypeInfo>(value: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, T>> {
    if value.is_exact_instance_of::<T>() {
        value.cast_exact().ok()
    } else {
        None
    }
}

/// The object as a `T`, if it is one or of a subclass.
pub(super) fn any<'a, 'py, T: PyTypeCheck>(value: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, T>> {
    if value.is_instance_of::<T>() {
        value.cast().ok()
    } else {
        None
    }
}
