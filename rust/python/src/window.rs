//! Windows: many messages in flight, every failure reported by task id.

use std::collections::HashMap;
use std::sync::Arc;

use celeriac_core::Error;
use celeriac_core::ledger::{Ledger, Receipt};
use celeriac_core::time::Deadline;
use celeriac_core::wire::message::Outgoing;
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::errors::{Fault, OrRaise, Outcome};
use crate::parts::letter_of_parts;
use crate::publisher::{Publisher, is_empty};
use crate::template::{Letter, Template};
use crate::topology::queue_specs;
use crate::waits;

/// A message that a window could not get confirmed, to be sent once more.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct Unsent {
    task_id: Arc<str>,
    outgoing: Outgoing,
}

#[pymethods]
impl Unsent {
    /// Id of the task.
    #[getter]
    fn task_id(&self) -> &str {
        &self.task_id
    }
}

/// Copies of the messages that may have to be sent once more (their bytes are shared, not copied).
#[derive(Debug, Default)]
struct Kept {
    messages: HashMap<Arc<str>, Outgoing>,
    bytes: usize,
    /// Looked through when there are more messages, or more bytes, than this.
    tidy_above: (usize, usize),
}

impl Kept {
    fn add(&mut self, task_id: &Arc<str>, outgoing: &Outgoing) {
        self.bytes += outgoing.message.body.len();
        self.messages.insert(Arc::clone(task_id), outgoing.clone());
    }

    fn retain_unsettled(&mut self, ledger: &Ledger) {
        let unsettled = ledger.unsettled();
        self.messages.retain(|task_id, _| unsettled.contains(task_id));
        let bodies = self.messages.values().map(|one| one.message.body.len());
        self.bytes = bodies.sum();
    }

    fn is_much(&self) -> bool {
        self.messages.len() > self.tidy_above.0 || self.bytes > self.tidy_above.1
    }
}

/// A failure as Python gets it: the task's id, why, and the message.
type Failure<'py> = (String, Bound<'py, PyAny>, Option<Unsent>);

/// A bounded window of one publisher.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct Window {
    publisher: Py<Publisher>,
    ledger: Arc<Ledger>,
    kept: Mutex<Kept>,
    /// A full window, in messages and bytes.
    full: (usize, usize),
}

impl Window {
    /// A window of at most `max_messages` and `max_bytes` in flight.
    pub(crate) fn new(publisher: Py<Publisher>, max_messages: usize, max_bytes: usize) -> Self {
        Self {
            publisher,
            ledger: Ledger::new(max_messages.max(1), max_bytes),
            kept: Mutex::default(),
            full: (max_messages.max(64), max_bytes),
        }
    }

    /// Hands a message over; waits, detached, only while the window is full.
    fn send(&self, py: Python<'_>, letter: Letter, deadline: Deadline) -> Outcome<()> {
        let publisher = self.publisher.get().here()?;
        let Letter { task_id, outgoing } = letter;
        let task_id: Arc<str> = task_id.into();
        let receipt = self.enter(py, &task_id, outgoing.message.body.len(), deadline)?;
        self.keep(&task_id, &outgoing);
        py.detach(|| publisher.send(outgoing, None, receipt, deadline));
        Ok(())
    }

    /// Keeps a copy of what is in the ledger already: a thread that tidies up meanwhile sees it.
    fn keep(&self, task_id: &Arc<str>, outgoing: &Outgoing) {
        let mut kept = self.kept.lock();
        kept.add(task_id, outgoing);
        if kept.is_much() {
            kept.retain_unsettled(&self.ledger);
            // What is left may all have failed: looking again after each message would take long.
            kept.tidy_above = (
                kept.messages.len().saturating_mul(2).max(self.full.0),
                kept.bytes.saturating_mul(2).max(self.full.1),
            );
        }
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

    /// Hands a message over once more, under its task's id.
    #[pyo3(signature = (unsent, wait_s, /))]
    fn resend(&self, py: Python<'_>, unsent: &Bound<'_, Unsent>, wait_s: f64) -> PyResult<()> {
        let unsent = unsent.get();
        let mut outgoing = unsent.outgoing.clone();
        // The first copy may have arrived; two with one tag would share one lease on Redis.
        outgoing.message.properties.delivery_tag = uuid::Uuid::new_v4().to_string();
        let letter = Letter {
            task_id: unsent.task_id.to_string(),
            outgoing,
        };
        self.send(py, letter, waits::deadline(wait_s)).or_raise(py)
    }

    /// Waits, detached, until every message is confirmed or has failed, or `wait_s` seconds are
    /// over; returns whether none is in flight.
    #[pyo3(signature = (wait_s, /))]
    fn wait(&self, py: Python<'_>, wait_s: f64) -> PyResult<bool> {
        is_empty(py, &self.ledger, waits::deadline(wait_s)).or_raise(py)
    }

    /// Waits, detached, until every message is confirmed or has failed; returns the failures since
    /// the last flush as `(task_id, exception, message)`. What is unconfirmed after `wait_s` seconds
    /// is among them: it may be queued.
    #[pyo3(signature = (wait_s, /))]
    fn flush<'py>(&self, py: Python<'py>, wait_s: f64) -> PyResult<Vec<Failure<'py>>> {
        if !is_empty(py, &self.ledger, waits::deadline(wait_s)).or_raise(py)? {
            self.ledger.give_up(waits::whole_ms(wait_s));
        }
        let mut kept = self.kept.lock();
        let failed = self.ledger.take_failed();
        let report = |(task_id, error): (Arc<str>, Error)| {
            let exception = Fault::from(error).into_exception(py).into_value(py);
            let name = task_id.to_string();
            let outgoing = kept.messages.remove(&task_id);
            let unsent = outgoing.map(|outgoing| Unsent { task_id, outgoing });
            (name, exception.into_bound(py).into_any(), unsent)
        };
        let failures = failed.into_iter().map(report).collect();
        kept.retain_unsettled(&self.ledger);
        Ok(failures)
    }
}
