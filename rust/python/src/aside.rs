//! What was set aside, as the command line shows it.

use celeriac_core::broker;
use celeriac_core::wire::headers::Peek;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::carried;
use crate::errors::OrRaise;

/// A message that was set aside. `error` says what is wrong with a malformed one, which has neither
/// task nor id.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct Aside {
    inner: broker::Aside,
    queue: String,
    peek: Peek,
}

impl Aside {
    pub(crate) fn new(inner: broker::Aside, queue: &str) -> Self {
        let peek = inner
            .message
            .as_ref()
            .ok()
            .and_then(|message| Peek::parse(&message.headers).ok());
        Self {
            inner,
            queue: queue.to_owned(),
            peek: peek.unwrap_or_default(),
        }
    }

    fn message(&self) -> celeriac_core::Result<&celeriac_core::wire::message::Message> {
        self.inner.message.as_ref().map_err(Clone::clone)
    }
}

#[pymethods]
impl Aside {
    /// Its name among what was set aside from its queue.
    #[getter]
    fn tag(&self) -> &str {
        &self.inner.tag
    }

    /// The queue it was taken from.
    #[getter]
    fn queue(&self) -> &str {
        &self.queue
    }

    /// Why it was set aside.
    #[getter]
    fn reason(&self) -> &str {
        &self.inner.reason
    }

    /// When, in ms since 1970; 0: unknown.
    #[getter]
    fn at_unix_ms(&self) -> u64 {
        self.inner.history.at_unix_ms
    }

    /// The node name of the worker that set it aside; empty: unknown.
    #[getter]
    fn worker(&self) -> &str {
        &self.inner.history.worker
    }

    /// How often who held it had died.
    #[getter]
    fn losses(&self) -> u32 {
        self.inner.history.losses
    }

    /// Its exchange.
    #[getter]
    fn exchange(&self) -> &str {
        &self.inner.target.exchange
    }

    /// Its routing key.
    #[getter]
    fn routing_key(&self) -> &str {
        &self.inner.target.routing_key
    }

    /// Name of the task.
    #[getter]
    fn task(&self) -> Option<&str> {
        self.peek.task.as_deref()
    }

    /// The task's id.
    #[getter]
    fn id(&self) -> Option<&str> {
        self.peek.id.as_deref()
    }

    /// What is wrong with a malformed message.
    #[getter]
    fn error(&self) -> Option<String> {
        self.inner.message.as_ref().err().map(ToString::to_string)
    }

    /// The headers. Raises `DecodeError`.
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let message = self.message().or_raise(py)?;
        carried::headers(py, message).or_raise(py)
    }

    /// The properties, with `delivery_info`. Raises `DecodeError`.
    fn properties<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let message = self.message().or_raise(py)?;
        carried::properties(py, message, &self.inner.target, self.inner.history.losses > 0).or_raise(py)
    }

    /// The body as it was sent. Raises `DecodeError`.
    fn raw_body<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let message = self.message().or_raise(py)?;
        Ok(carried::raw_body(py, message))
    }

    fn __repr__(&self) -> String {
        let name = self.peek.task.as_deref().unwrap_or("malformed");
        format!("<Aside {name} {} of {}>", self.inner.tag, self.queue)
    }
}
