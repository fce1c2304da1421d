//! Mailboxes of remote control for Python.

use std::sync::Arc;

use celeriac_core::broker::mail::{self, Mail, MailboxSpec, Tray};
use celeriac_core::broker::topology::ExchangeType;
use celeriac_core::wire::message::Message;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::carried;
use crate::errors::{OrRaise, Outcome};
use crate::home::Homebound;
use crate::intake::Intake;
use crate::parts::outgoing_of_parts;
use crate::topology::{exchange_type, queue_spec};
use crate::url::{broker_url, is_local};
use crate::waits;

/// `(headers, content type, body)`.
type PyLetter<'py> = (Bound<'py, PyDict>, String, Bound<'py, PyBytes>);

/// A private queue for letters of remote control, and a way to send them; for many threads.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct Mailbox {
    inner: Homebound<dyn mail::Mailbox>,
    tray: Arc<Tray>,
    is_local: bool,
}

#[pymethods]
impl Mailbox {
    /// Makes a mailbox for `queue` (as `Publisher.declare` takes it).
    /// No I/O happens before it is used. Raises `ImproperlyConfigured`.
    #[new]
    #[pyo3(signature = (url, options, queue, *, is_exclusive = true))]
    fn new(
        py: Python<'_>,
        url: &str,
        options: Option<&Bound<'_, PyAny>>,
        queue: &Bound<'_, PyAny>,
        is_exclusive: bool,
    ) -> PyResult<Self> {
        let tray = Arc::new(Tray::default());
        let open = || {
            let url = broker_url(py, url, options)?;
            let spec = MailboxSpec {
                queue: queue_spec(queue)?,
                is_exclusive,
            };
            let inner = mail::open_mailbox(&url, spec, Arc::clone(&tray))?;
            Ok((Homebound::new(inner, "mailbox"), is_local(&url)))
        };
        let opened: Outcome<_> = open();
        let (inner, is_local) = opened.or_raise(py)?;
        Ok(Self {
            inner,
            tray,
            is_local,
        })
    }

    /// Begins to listen and waits (detached) until it does; goes on trying when that fails.
    /// Raises `OperationalError`.
    #[pyo3(signature = (wait_s, /))]
    fn open(&self, py: Python<'_>, wait_s: f64) -> PyResult<()> {
        let mailbox = Arc::clone(self.inner.here().or_raise(py)?);
        let open = move |deadline| mailbox.open(deadline);
        waits::whole_if_remote(py, self.is_local, waits::deadline(wait_s), open).or_raise(py)
    }

    /// Ends `intake.next_events` for every letter from now on.
    #[pyo3(signature = (intake, /))]
    fn ring(&self, py: Python<'_>, intake: &Intake) -> PyResult<()> {
        let intake = Arc::downgrade(intake.here().or_raise(py)?);
        self.tray.ring(move || {
            if let Some(intake) = intake.upgrade() {
                intake.wake();
            }
        });
        Ok(())
    }

    /// Takes what has arrived, at most `max_letters`, as `(headers, content type, body)`.
    #[pyo3(signature = (max_letters, /))]
    fn take<'py>(&self, py: Python<'py>, max_letters: usize) -> Vec<PyLetter<'py>> {
        letters(py, self.tray.take(max_letters))
    }

    /// Waits (detached) for letters; empty when `wait_s` passed.
    #[pyo3(signature = (max_letters, wait_s, /))]
    fn receive<'py>(&self, py: Python<'py>, max_letters: usize, wait_s: f64) -> PyResult<Vec<PyLetter<'py>>> {
        let found = waits::in_slices(py, waits::deadline(wait_s), |slice| {
            let found = self.tray.wait(max_letters, slice);
            Ok((!found.is_empty()).then_some(found))
        });
        Ok(letters(py, found.or_raise(py)?.unwrap_or_default()))
    }

    /// Sends a letter. With `wait_s` it waits (detached) until the broker has it and raises
    /// `OperationalError`; without, a failure is logged.
    #[expect(clippy::too_many_arguments, reason = "the parts of a message")]
    #[pyo3(signature = (headers, properties, body, exchange, exchange_type, routing_key, wait_s = None, /))]
    fn send(
        &self,
        py: Python<'_>,
        headers: &Bound<'_, PyAny>,
        properties: &Bound<'_, PyAny>,
        body: &Bound<'_, PyBytes>,
        exchange: String,
        #[pyo3(from_py_with = kind_of)] exchange_type: ExchangeType,
        routing_key: String,
        wait_s: Option<f64>,
    ) -> PyResult<()> {
        let made = outgoing_of_parts(headers, properties, body, (exchange, routing_key));
        let mail = Mail {
            outgoing: made.or_raise(py)?.1,
            exchange_type,
            is_durable: false,
        };
        let mailbox = Arc::clone(self.inner.here().or_raise(py)?);
        let Some(wait_s) = wait_s else {
            py.detach(|| mailbox.post(mail));
            return Ok(());
        };
        let send = move |deadline| mailbox.send(mail, deadline);
        waits::whole_if_remote(py, self.is_local, waits::deadline(wait_s), send).or_raise(py)
    }

    /// Sends a letter to a durable exchange behind those announced before, without waiting; what
    /// finds no room is dropped, and the log counts it.
    #[expect(clippy::too_many_arguments, reason = "the parts of a message")]
    #[pyo3(signature = (headers, properties, body, exchange, exchange_type, routing_key, /))]
    fn announce(
        &self,
        py: Python<'_>,
        headers: &Bound<'_, PyAny>,
        properties: &Bound<'_, PyAny>,
        body: &Bound<'_, PyBytes>,
        exchange: String,
        #[pyo3(from_py_with = kind_of)] exchange_type: ExchangeType,
        routing_key: String,
    ) -> PyResult<()> {
        let made = outgoing_of_parts(headers, properties, body, (exchange, routing_key));
        let mail = Mail {
            outgoing: made.or_raise(py)?.1,
            exchange_type,
            is_durable: true,
        };
        let mailbox = Arc::clone(self.inner.here().or_raise(py)?);
        py.detach(|| mailbox.announce(mail));
        Ok(())
    }

    /// Sends what was posted and announced, then listens no more.
    #[pyo3(signature = (wait_s, /))]
    fn close(&self, py: Python<'_>, wait_s: f64) -> PyResult<()> {
        let mailbox = Arc::clone(self.inner.here().or_raise(py)?);
        let close = move |deadline| {
            mailbox.close(deadline);
            Ok(())
        };
        waits::whole_if_remote(py, self.is_local, waits::deadline(wait_s), close).or_raise(py)
    }
}

fn kind_of(name: &Bound<'_, PyAny>) -> PyResult<ExchangeType> {
    exchange_type(name.extract()?).or_raise(name.py())
}

/// A letter whose headers cannot be read is nothing that anybody of ours has sent.
fn letters(py: Python<'_>, found: Vec<Message>) -> Vec<PyLetter<'_>> {
    let letter = |message: Message| {
        let Ok(headers) = carried::headers(py, &message) else {
            tracing::warn!("a control message with unreadable headers is dropped");
            return None;
        };
        let body = carried::raw_body(py, &message);
        Some((headers, message.properties.content_type, body))
    };
    found.into_iter().filter_map(letter).collect()
}
