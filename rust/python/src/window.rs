//! Windows: many messages in flight, every failure reported by task id.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use celeriac_core::Error;
use celeriac_core::ledger::{self, Ledger, Receipt};
use celeriac_core::time::Deadline;
use celeriac_core::wire::letter::Letter;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::errors::{Fault, OrRaise, Outcome};
use crate::parts::letter_of_parts;
use crate::publisher::{Publisher, is_empty};
use crate::template::{Addressed, Plainly, Said, Template};
use crate::topology::queue_specs;
use crate::waits;

/// A message that a window could not get confirmed, to be sent once more.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct Unsent {
    task_id: Arc<str>,
    letter: Letter,
}

#[pymethods]
impl Unsent {
    /// Id of the task.
    #[getter]
    fn task_id(&self) -> &str {
        &self.task_id
    }
}

/// How long a full window is nothing to speak of.
const PATIENCE: Duration = Duration::from_secs(1);
/// From how many bytes on other threads may run while a message is handed over.
const LARGE: usize = 64 << 10;

/// A failure as Python gets it: the task's id, why, and the message.
type Failure<'py> = (String, Bound<'py, PyAny>, Option<Unsent>);

/// A bounded window of one publisher.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct Window {
    publisher: Py<Publisher>,
    ledger: Arc<Ledger>,
    /// Whether it was said that the broker is what is slow.
    has_warned: AtomicBool,
}

impl Window {
    /// A window of at most `max_messages` and `max_bytes` in flight.
    pub(crate) fn new(publisher: Py<Publisher>, max_messages: usize, max_bytes: usize) -> Self {
        Self {
            publisher,
            ledger: Ledger::new(max_messages.max(1), max_bytes),
            has_warned: AtomicBool::new(false),
        }
    }

    /// Builds a message and hands it over.
    pub(crate) fn deliver<'py>(
        &self,
        template: &Bound<'py, Template>,
        (args, kwargs): (&Bound<'py, PyAny>, &Bound<'py, PyAny>),
        said: Said<'_, 'py>,
        wait_s: f64,
    ) -> Outcome<Bound<'py, PyString>> {
        let py = template.py();
        let deadline = waits::deadline(wait_s);
        let (template, publisher) = (template.get(), self.publisher.get());
        let addressed = template.letter(args, kwargs, said, publisher.is_sealing)?;
        publisher.declare_for(py, template, deadline)?;
        let task_id = PyString::new(py, &addressed.task_id);
        self.send(py, addressed, deadline)?;
        Ok(task_id)
    }

    /// Hands a message over; waits, detached, only while the window is full.
    fn send(&self, py: Python<'_>, addressed: Addressed, deadline: Deadline) -> Outcome<()> {
        let publisher = self.publisher.get().here()?;
        let Addressed { task_id, letter } = addressed;
        // Attached at first: mostly there is room, and giving Python back costs more than looking.
        let receipt = match self.ledger.try_enter_letter(&task_id, &letter) {
            Some(receipt) => receipt,
            None => self.enter(py, &task_id, &letter, deadline)?,
        };
        let (letter, receipt) = if letter.bytes() < LARGE {
            match publisher.try_post(letter, receipt, deadline) {
                Ok(()) => return Ok(()),
                Err(given_back) => given_back,
            }
        } else {
            (letter, receipt)
        };
        py.detach(|| publisher.post(letter, None, receipt, deadline));
        Ok(())
    }

    /// Waits, detached, until there is room.
    fn enter(
        &self,
        py: Python<'_>,
        task_id: &Arc<str>,
        letter: &Letter,
        deadline: Deadline,
    ) -> Outcome<Receipt> {
        let attempt = |end: Deadline| match self.ledger.enter_letter(Arc::clone(task_id), letter, end) {
            Ok(receipt) => Ok(Some(receipt)),
            Err(Error::TimedOut { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        let waited_ms = waits::whole_ms(deadline.left().as_secs_f64());
        let patience = Deadline::after(PATIENCE).min(deadline);
        if let Some(receipt) = waits::in_slices(py, patience, attempt)? {
            return Ok(receipt);
        }
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            let (url, pending) = (self.publisher.get().url(), self.ledger.pending());
            tracing::warn!(
                url,
                pending,
                "publishing waits for the broker: a full window was not confirmed for a second"
            );
        }
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

    /// How many messages were handed over so far.
    #[getter]
    fn entered(&self) -> u64 {
        self.ledger.entered()
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
        self.deliver(template, (args, kwargs), Said::of(call), wait_s)
            .or_raise(py)
    }

    /// As `publish`, of a call that says nothing but the queue of its caller's replies.
    #[pyo3(signature = (template, args, kwargs, reply_to, wait_s, /))]
    fn publish_plain<'py>(
        &self,
        template: &Bound<'py, Template>,
        args: &Bound<'py, PyAny>,
        kwargs: &Bound<'py, PyAny>,
        reply_to: &Bound<'py, PyString>,
        wait_s: f64,
    ) -> PyResult<Bound<'py, PyString>> {
        let said = Said::Plain(Plainly {
            reply_to,
            task_id: None,
            group: None,
        });
        self.deliver(template, (args, kwargs), said, wait_s)
            .or_raise(template.py())
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
        // The first copy may have arrived; two with one tag would share one lease on Redis.
        let again = Addressed {
            task_id: Arc::clone(&unsent.task_id),
            letter: unsent.letter.again(),
        };
        self.send(py, again, waits::deadline(wait_s)).or_raise(py)
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
        let report = |failure: ledger::Failure| {
            let ledger::Failure {
                task_id,
                error,
                letter,
            } = failure;
            let exception = Fault::from(error).into_exception(py).into_value(py);
            let name = task_id.to_string();
            let unsent = letter.map(|letter| Unsent { task_id, letter });
            (name, exception.into_bound(py).into_any(), unsent)
        };
        Ok(self.ledger.take_failures().into_iter().map(report).collect())
    }
}
