//! A delivery as the worker sees it.

use std::sync::Arc;

use bytes::Bytes;
use celeriac_core::Result;
use celeriac_core::compress::DEFAULT_MAX_BYTES;
use celeriac_core::intake::Held;
use celeriac_core::wire::message::Message;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::errors::OrRaise;
use crate::{carried, convert};

/// A message leased to this worker: what it decides on, read from the headers without decoding
/// the rest. `error` says why a message is malformed; every other field of a malformed one is
/// `None` or empty.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct Delivery {
    held: Arc<Held>,
}

impl Delivery {
    pub(crate) fn new(held: Arc<Held>) -> Self {
        Self { held }
    }

    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }

    fn message(&self) -> Result<&Message> {
        self.held.message.as_ref().map_err(Clone::clone)
    }
}

#[pymethods]
impl Delivery {
    /// Why the message is malformed.
    #[getter]
    fn error(&self) -> Option<String> {
        self.held.message.as_ref().err().map(ToString::to_string)
    }

    /// Name of the task; `None`: not a message of protocol 2.
    #[getter]
    fn task(&self) -> Option<&str> {
        self.held.peek.task.as_deref()
    }

    /// The task's id.
    #[getter]
    fn id(&self) -> Option<&str> {
        self.held.peek.id.as_deref()
    }

    /// Earliest start, ISO-8601.
    #[getter]
    fn eta(&self) -> Option<&str> {
        self.held.peek.eta.as_deref()
    }

    /// When it is too late, ISO-8601.
    #[getter]
    fn expires(&self) -> Option<&str> {
        self.held.peek.expires.as_deref()
    }

    /// Attempts already made.
    #[getter]
    fn retries(&self) -> u32 {
        self.held.peek.retries
    }

    /// Hard and soft time limit in seconds.
    #[getter]
    fn timelimit(&self) -> (Option<f64>, Option<f64>) {
        self.held.peek.timelimit
    }

    /// Whether its result is wanted by nobody; `None` leaves it to the task.
    #[getter]
    fn ignore_result(&self) -> Option<bool> {
        self.held.peek.ignore_result
    }

    /// Whether nothing about it needs a closer look: a task of protocol 2 with JSON, without eta,
    /// expiry, compression, or anything to do after it.
    #[getter]
    fn is_plain(&self) -> bool {
        self.held.is_plain
    }

    /// Whether people see it by another name than the task's, the header `shadow`.
    #[getter]
    fn is_shadowed(&self) -> bool {
        self.held.peek.is_shadowed
    }

    /// MIME type (or kombu's alias) of the body's compression.
    #[getter]
    fn compression(&self) -> Option<&str> {
        self.held.peek.compression.as_deref()
    }

    /// MIME type of the body.
    #[getter]
    fn content_type(&self) -> &str {
        self.message()
            .map_or("", |message| &message.properties.content_type)
    }

    /// `utf-8` or `binary`.
    #[getter]
    fn content_encoding(&self) -> &str {
        self.message()
            .map_or("", |message| &message.properties.content_encoding)
    }

    /// Whether it was delivered before.
    #[getter]
    fn redelivered(&self) -> bool {
        self.held.redelivered
    }

    /// How often who held it died, as far as the broker can tell.
    #[getter]
    fn losses(&self) -> u32 {
        self.held.losses
    }

    /// The queue it was taken from.
    #[getter]
    fn queue(&self) -> &str {
        &self.held.queue
    }

    /// Its exchange.
    #[getter]
    fn exchange(&self) -> &str {
        &self.held.target.exchange
    }

    /// Its routing key.
    #[getter]
    fn routing_key(&self) -> &str {
        &self.held.target.routing_key
    }

    /// Whether it was acked, requeued, rejected or set aside.
    #[getter]
    fn is_settled(&self) -> bool {
        self.held.is_settled()
    }

    /// The headers. Raises `DecodeError`.
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let message = self.message().or_raise(py)?;
        carried::headers(py, message).or_raise(py)
    }

    /// The properties, with `delivery_info`. Raises `DecodeError`.
    fn properties<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let message = self.message().or_raise(py)?;
        carried::properties(py, message, &self.held.target, self.held.redelivered).or_raise(py)
    }

    /// The body as it was sent. Raises `DecodeError`.
    fn raw_body<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let message = self.message().or_raise(py)?;
        Ok(carried::raw_body(py, message))
    }

    /// `(args, kwargs)` of a plain message; `None` for any other, which `body` takes apart.
    fn plain_arguments<'py>(&self, py: Python<'py>) -> Option<(Bound<'py, PyList>, Bound<'py, PyDict>)> {
        let message = self.held.message.as_ref().ok()?;
        self.held
            .is_plain
            .then(|| carried::plain_arguments(py, message))
            .flatten()
    }

    /// The result document of this task's success, where nothing but its value matters. Raises
    /// `EncodeError`.
    #[pyo3(signature = (value, date_done, /))]
    fn success_document<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        date_done: &str,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let py = value.py();
        let document = carried::success_document(&self.held.peek, value, date_done).or_raise(py)?;
        Ok(PyBytes::new(py, &document))
    }

    /// The decoded body. Raises `DecodeError`, `ContentDisallowed`.
    #[pyo3(signature = (max_bytes = DEFAULT_MAX_BYTES, /))]
    fn body<'py>(&self, py: Python<'py>, max_bytes: usize) -> PyResult<Bound<'py, PyAny>> {
        let message = self.message().or_raise(py)?;
        carried::body(py, message, self.held.peek.compression.as_deref(), max_bytes).or_raise(py)
    }

    /// The same delivery as a message of protocol 2: `fields` are those of protocol 1 but for what
    /// is in `body`. Settling one settles both. Raises `DecodeError`, `EncodeError`.
    fn translated(&self, py: Python<'_>, fields: &Bound<'_, PyDict>, body: &[u8]) -> PyResult<Self> {
        let fields = convert::to_json(fields.as_any(), "fields").or_raise(py)?;
        let body = Bytes::copy_from_slice(body);
        let held = self.held.translated(&fields, body).or_raise(py)?;
        Ok(Self::new(Arc::new(held)))
    }

    fn __repr__(&self) -> String {
        let name = self.held.peek.task.as_deref().unwrap_or("malformed");
        let id = self.held.peek.id.as_deref().unwrap_or("-");
        format!("<Delivery {name}[{id}] of {}>", self.held.queue)
    }
}
