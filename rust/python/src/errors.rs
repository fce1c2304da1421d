//! The one place where a failure becomes a Python exception.
//!
//! The classes are written in Python (`celeriac.exceptions`), so that they pickle, carry docs and
//! keep users' `except` clauses working. They are looked up when the first one is raised.

use celeriac_core::Error;
use pyo3::exceptions::{PyConnectionError, PyOSError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// Why a call failed, before it is an exception.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The core said no.
    Core(Error),
    /// Python code that we called raised, or an argument is wrong: passed on as it is.
    Python(PyErr),
    /// An object with a connection is used in a process that inherited it over a fork.
    Strayed {
        /// What it is.
        what: &'static str,
        /// The process that made it.
        process: u32,
    },
    /// A value cannot be carried; `cause` is what Python code raised about it.
    Encode {
        /// Path, type and reason.
        detail: String,
        /// The exception behind it.
        cause: Option<PyErr>,
    },
    /// Bytes do not make a value; `cause` is what Python code raised about them.
    Decode {
        /// Where and why.
        detail: String,
        /// The exception behind it.
        cause: Option<PyErr>,
    },
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

impl From<PyErr> for Fault {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

/// Result of what has not been turned into an exception yet.
pub(crate) type Outcome<T> = Result<T, Fault>;

impl Fault {
    /// The exception, with its cause attached.
    pub(crate) fn into_exception(self, py: Python<'_>) -> PyErr {
        let (class, detail, cause) = match self {
            Self::Python(error) => return error,
            Self::Core(error) => (class_of(&error), error.to_string(), origin(&error)),
            Self::Strayed { what, process } => {
                let detail = format!(
                    "this {what} belongs to process {process} and does not work in a fork of it: open a new one"
                );
                ("OperationalError", detail, None)
            }
            Self::Encode { detail, cause } => ("EncodeError", detail, cause),
            Self::Decode { detail, cause } => ("DecodeError", detail, cause),
        };
        match exception_class(py, class) {
            Ok(class) => {
                let error = PyErr::from_type(class, (detail,));
                error.set_cause(py, cause);
                error
            }
            Err(import_failed) => import_failed,
        }
    }
}

/// Turns the error of a result into an exception.
pub(crate) trait OrRaise<T> {
    /// The value, or the exception that stands for the failure.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T, E: Into<Fault>> OrRaise<T> for Result<T, E> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| error.into().into_exception(py))
    }
}

/// The name of the Python class for a core error.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what a later core adds is first of all an operation that failed"
)]
fn class_of(error: &Error) -> &'static str {
    match error {
        Error::Malformed { .. } => "DecodeError",
        Error::Unencodable { .. } => "EncodeError",
        Error::ContentRefused { .. } => "ContentDisallowed",
        Error::BadUrl { .. } | Error::Unsupported { .. } => "ImproperlyConfigured",
        _ => "OperationalError",
    }
}

/// What Python's own sockets would have raised: users ask for the `__cause__` of an
/// `OperationalError`.
fn origin(error: &Error) -> Option<PyErr> {
    let Error::Disconnected { cause, .. } = error else {
        return None;
    };
    // The system's number is in the words of Rust's own error; Python finds the class by it.
    let number = cause
        .split_once("(os error ")
        .and_then(|(_, rest)| rest.split_once(')'))
        .and_then(|(number, _)| number.parse::<i32>().ok());
    Some(match number {
        Some(number) => PyOSError::new_err((number, cause.clone())),
        None => PyConnectionError::new_err(cause.clone()),
    })
}

/// The class to raise: where kombu's or Celery's own is loaded, a subclass of both.
fn exception_class<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyType>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = MODULE.get_or_try_init(py, || py.import("celeriac.exceptions").map(Bound::unbind))?;
    let module = module.bind(py);
    Ok(module
        .call_method1("raised", (module.getattr(name)?,))?
        .cast_into::<PyType>()?)
}
