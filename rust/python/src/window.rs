//! Windows: many messages in flight, every failure reported by task id.

use std::sync::Arc;

use celeriac_core::Error;
use celeriac_core::ledger::{Ledger, Receipt};
use celeriac_core::time::Deadline;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::errors::{Fault, OrRaise, Outcome};
use crate::parts::letter_of_parts;
use crate::publisher::{Publisher, is_empty};
use crate::template::{Letter, Template};
use crate::topology::queue_specs;
use crate::waits;

/// A bounded window of one publisher.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct Window {
    publisher: Py<Publisher>,
    ledger: Arc<Ledger>,
}

impl Window {
    /// A window of at most `max_messages` and `max_bytes` in flight.
    pub(crate) fn new(publisher: Py<Publisher>, max_messages: usize, max_bytes: usize) -> Self {
        Self {
            publisher,
            ledger: Ledger::new(max_messages.max(1), max_bytes),
        }
    }

    /// Hands a message over; waits, detached, only while the window is full.
    fn send(&self, py: Python<'_>, letter: Letter, deadline: Deadline) -> Outcome<()> {
        let publisher = self.publisher.get().here()?;
        let Letter { task_id, outgoing } = letter;
        let receipt = self.enter(py, &task_id.into(), outgoing.message.body.len(), deadline)?;
        py.detach(|| publisher.send(outgoing, None, receipt, deadline));
        Ok(())
    }

    fn enter(
        &self,
        py: Python<'_>,
        task_id: &Arc<str>,
        bytes: usize,
        deadline: Deadline,
    ) -> Outcome<Receipt> {
        let attempt = |end: Deadline| match self.ledger.enter(Arc::clone(task_id), bytes, end) {
            Ok(receipt) => Ok(Some(receipt)),
            Err(Error::TimedOut { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        // Attached at first: mostly there is room, and giving Python back costs more than looking.
        if let Some(receipt) = attempt(waits::deadline(0.0))? {
            return Ok(receipt);
        }
        let waited_ms = waits::whole_ms(deadline.left().as_secs_f64());
        waits::in_slices(py, deadline, attempt)?.ok_or_else(|| {
            Error::TimedOut {
                what: "a full publishing window",
                waited_ms,
            }
            .into()
        })
    }
}

#[pymethods]
impl Window {
    /// How many messages are not confirmed yet.
    #[getter]
    fn pending(&self) -> usize {
        self.ledger.pending()
    }

    /// Hands one call of a task over and returns the task's id. Waits only while the window is
    /// full; raises `OperationalError` when it still is after `wait_s` seconds.
    #[expect(clippy::too_many_arguments, reason = "one crossing per message")]
    #[pyo3(signature = (template, args, kwargs, call, wait_s, /))]
    fn publish<'py>(
        &self,
        py: Python<'py>,
        template: &Bound<'py, Template>,
        args: &Bound<'py, PyAny>,
        kwargs: &Bound<'py, PyAny>,
        call: Option<&Bound<'py, PyDict>>,
        wait_s: f64,
    ) -> PyResult<Bound<'py, PyString>> {
        let deadline = waits::deadline(wait_s);
        let template = template.get();
        let letter = template.letter(args, kwargs, call).or_raise(py)?;
        self.publisher
            .get()
            .declare_for(py, template, deadline)
            .or_raise(py)?;
        let task_id = PyString::new(py, &letter.task_id);
        self.send(py, letter, deadline).or_raise(py)?;
        Ok(task_id)
    }

    /// Hands a message over whose headers, properties and body are given.
    #[expect(clippy::too_many_arguments, reason = "the parts of a message")]
    #[pyo3(signature = (headers, properties, body, exchange, routing_key, declare, wait_s, /))]
    fn publish_parts(
        &self,
        py: Python<'_>,
        headers: &Bound<'_, PyAny>,
        properties: &Bound<'_, PyAny>,
        body: &Bound<'_, PyBytes>,
        exchange: String,
        routing_key: String,
        declare: &Bound<'_, PyAny>,
        wait_s: f64,
    ) -> PyResult<()> {
        let deadline = waits::deadline(wait_s);
        let letter = letter_of_parts(headers, properties, body, (exchange, routing_key)).or_raise(py)?;
        let queues = queue_specs(declare).or_raise(py)?;
        self.publisher
            .get()
            .declare_all(py, &queues, deadline)
            .or_raise(py)?;
        self.send(py, letter, deadline).or_raise(py)
    }

    /// Waits, detached, until every message is confirmed or has failed; returns the failures since
    /// the last flush as `(task_id, exception)`. What is unconfirmed after `wait_s` seconds is among
    /// them: it may be queued.
    #[pyo3(signature = (wait_s, /))]
    fn flush<'py>(&self, py: Python<'py>, wait_s: f64) -> PyResult<Vec<(String, Bound<'py, PyAny>)>> {
        if !is_empty(py, &self.ledger, waits::deadline(wait_s)).or_raise(py)? {
            self.ledger.give_up(waits::whole_ms(wait_s));
        }
        let failed = self.ledger.take_failed();
        let report = |(task_id, error): (Arc<str>, Error)| {
            let exception = Fault::from(error).into_exception(py).into_value(py);
            (task_id.to_string(), exception.into_bound(py).into_any())
        };
        Ok(failed.into_iter().map(report).collect())
    }
}
