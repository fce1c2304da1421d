//! Publishers for Python: one call from arguments to the confirmed message.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use celeriac_core::broker::topology::QueueSpec;
use celeriac_core::broker::{self, Underway};
use celeriac_core::ledger::{Ledger, Receipt};
use celeriac_core::time::Deadline;
use celeriac_core::wake::Wake;
use celeriac_core::wire::letter::Letter;
use celeriac_core::{Error, Result};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::aside::Aside;
use crate::backend::{ResultStore, Subscription};
use crate::bell::{Bell, Errand};
use crate::errors::{OrRaise, Outcome};
use crate::home::Homebound;
use crate::parts::letter_of_parts;
use crate::template::{Addressed, Plainly, Said, Template};
use crate::topology::{queue_spec, queue_specs};
use crate::url::{broker_url, is_local};
use crate::window::Window;
use crate::{errands, logs, waits};

/// Sends messages over one connection of this process; safe for many threads.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct Publisher {
    inner: Homebound<dyn broker::Publisher>,
    url: String,
    serial: u64,
    is_local: bool,
    /// Whether messages leave in their envelope.
    pub(crate) is_sealing: bool,
    declared: Arc<Mutex<HashSet<QueueSpec>>>,
    /// Serial of the result store asked about last, doubled, plus one if messages carry its
    /// subscriptions.
    carried: AtomicU64,
}

#[pymethods]
impl Publisher {
    /// Opens a publisher; no I/O happens before it is used. Raises `ImproperlyConfigured`.
    #[new]
    #[pyo3(signature = (url, options = None))]
    fn new(py: Python<'_>, url: &str, options: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        logs::install();
        let parsed = broker_url(py, url, options).or_raise(py)?;
        let inner = broker::open_publisher(&parsed).or_raise(py)?;
        let is_sealing = inner.carries_envelopes();
        Ok(Self {
            inner: Homebound::new(inner, "publisher"),
            url: parsed.redacted(),
            is_local: is_local(&parsed),
            is_sealing,
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            declared: Arc::default(),
            carried: AtomicU64::new(0),
        })
    }

    /// The URL without its password.
    #[getter]
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Publishes one call of a task and waits, detached, until the broker has confirmed it.
    ///
    /// With `results`, listens for the task's result before the message is sent. Returns the task's
    /// id and that subscription. Raises `EncodeError` before anything is sent, `OperationalError`
    /// when the broker has not confirmed after `wait_s` seconds.
    #[expect(clippy::too_many_arguments, reason = "one crossing per message")]
    #[pyo3(signature = (template, args, kwargs, call, results, wait_s, /))]
    fn publish(
        &self,
        py: Python<'_>,
        template: &Bound<'_, Template>,
        args: &Bound<'_, PyAny>,
        kwargs: &Bound<'_, PyAny>,
        call: Option<&Bound<'_, PyDict>>,
        results: Option<&Bound<'_, ResultStore>>,
        wait_s: f64,
    ) -> PyResult<(String, Option<Subscription>)> {
        let deadline = waits::deadline(wait_s);
        let template = template.get();
        let letter = template
            .letter(args, kwargs, Said::of(call), self.is_sealing)
            .or_raise(py)?;
        self.declare_for(py, template, deadline).or_raise(py)?;
        let task_id = letter.task_id.to_string();
        let results = results.map(Bound::get);
        let subscription = self.send_and_wait(py, letter, results, deadline).or_raise(py)?;
        Ok((task_id, subscription))
    }

    /// As `publish`, of a call that says nothing but its id and the queue of its caller's replies.
    #[expect(clippy::too_many_arguments, reason = "one crossing per message")]
    #[pyo3(signature = (template, args, kwargs, reply_to, task_id, results, wait_s, /))]
    fn publish_plain(
        &self,
        template: &Bound<'_, Template>,
        args: &Bound<'_, PyAny>,
        kwargs: &Bound<'_, PyAny>,
        reply_to: &Bound<'_, PyString>,
        task_id: &Bound<'_, PyString>,
        results: Option<&Bound<'_, ResultStore>>,
        wait_s: f64,
    ) -> PyResult<Option<Subscription>> {
        let (py, deadline) = (template.py(), waits::deadline(wait_s));
        let template = template.get();
        let said = Said::Plain(Plainly {
            reply_to,
            task_id: Some(task_id),
            group: None,
        });
        let letter = template
            .letter(args, kwargs, said, self.is_sealing)
            .or_raise(py)?;
        self.declare_for(py, template, deadline).or_raise(py)?;
        let results = results.map(Bound::get);
        self.send_and_wait(py, letter, results, deadline).or_raise(py)
    }

    /// Publishes a message whose headers, properties and body are given; otherwise as `publish`.
    #[expect(clippy::too_many_arguments, reason = "the parts of a message")]
    #[pyo3(signature = (headers, properties, body, exchange, routing_key, declare, results, wait_s, /))]
    fn publish_parts(
        &self,
        py: Python<'_>,
        headers: &Bound<'_, PyAny>,
        properties: &Bound<'_, PyAny>,
        body: &Bound<'_, PyBytes>,
        exchange: String,
        routing_key: String,
        declare: &Bound<'_, PyAny>,
        results: Option<&Bound<'_, ResultStore>>,
        wait_s: f64,
    ) -> PyResult<Option<Subscription>> {
        let deadline = waits::deadline(wait_s);
        let letter = letter_of_parts(headers, properties, body, (exchange, routing_key)).or_raise(py)?;
        self.declare_all(py, &queue_specs(declare).or_raise(py)?, deadline)
            .or_raise(py)?;
        let results = results.map(Bound::get);
        self.send_and_wait(py, letter, results, deadline).or_raise(py)
    }

    /// Publishes as `publish`, and does not wait: `bell` rings `token` when the answer is there.
    #[expect(clippy::too_many_arguments, reason = "one crossing per message")]
    #[pyo3(signature = (template, args, kwargs, call, results, wait_s, bell, token, /))]
    fn post(
        &self,
        py: Python<'_>,
        template: &Bound<'_, Template>,
        args: &Bound<'_, PyAny>,
        kwargs: &Bound<'_, PyAny>,
        call: Option<&Bound<'_, PyDict>>,
        results: Option<&Bound<'_, ResultStore>>,
        wait_s: f64,
        bell: &Bound<'_, Bell>,
        token: u64,
    ) -> PyResult<Errand> {
        let template = template.get();
        let letter = template
            .letter(args, kwargs, Said::of(call), self.is_sealing)
            .or_raise(py)?;
        let queues = template.undeclared(self.serial);
        let results = results.map(Bound::get);
        self.hand_over(py, letter, queues, results, wait_s, bell.get().wake(token))
            .or_raise(py)
    }

    /// Publishes as `publish_parts`, and does not wait: see `post`.
    #[expect(clippy::too_many_arguments, reason = "the parts of a message")]
    #[pyo3(signature = (headers, properties, body, exchange, routing_key, declare, results, wait_s, bell, token, /))]
    fn post_parts(
        &self,
        py: Python<'_>,
        headers: &Bound<'_, PyAny>,
        properties: &Bound<'_, PyAny>,
        body: &Bound<'_, PyBytes>,
        exchange: String,
        routing_key: String,
        declare: &Bound<'_, PyAny>,
        results: Option<&Bound<'_, ResultStore>>,
        wait_s: f64,
        bell: &Bound<'_, Bell>,
        token: u64,
    ) -> PyResult<Errand> {
        let letter = letter_of_parts(headers, properties, body, (exchange, routing_key)).or_raise(py)?;
        let queues = queue_specs(declare).or_raise(py)?;
        let results = results.map(Bound::get);
        self.hand_over(py, letter, &queues, results, wait_s, bell.get().wake(token))
            .or_raise(py)
    }

    /// A window through which many messages are in flight at once, bounded by number and bytes.
    #[pyo3(signature = (max_messages = 4096, max_bytes = 16_777_216))]
    fn window(slf: &Bound<'_, Self>, max_messages: usize, max_bytes: usize) -> Window {
        Window::new(slf.clone().unbind(), max_messages, max_bytes)
    }

    /// Makes sure that a queue with its exchange and binding exists.
    #[pyo3(signature = (queue, wait_s, /))]
    fn declare(&self, py: Python<'_>, queue: &Bound<'_, PyAny>, wait_s: f64) -> PyResult<()> {
        let spec = queue_spec(queue).or_raise(py)?;
        self.whole(py, wait_s, move |publisher, deadline| {
            publisher.declare(&spec, deadline)
        })
    }

    /// Deletes what waits in a queue; returns how many messages that was.
    #[pyo3(signature = (queue, wait_s, /))]
    fn purge(&self, py: Python<'_>, queue: String, wait_s: f64) -> PyResult<u64> {
        self.whole(py, wait_s, move |publisher, deadline| {
            publisher.purge(&queue, deadline)
        })
    }

    /// How many messages wait in a queue.
    #[pyo3(signature = (queue, wait_s, /))]
    fn depth(&self, py: Python<'_>, queue: String, wait_s: f64) -> PyResult<u64> {
        self.whole(py, wait_s, move |publisher, deadline| {
            publisher.depth(&queue, deadline)
        })
    }

    /// What was set aside from a queue, oldest first, at most `max_messages`.
    #[pyo3(signature = (queue, max_messages, wait_s, /))]
    fn list_aside(
        &self,
        py: Python<'_>,
        queue: &str,
        max_messages: usize,
        wait_s: f64,
    ) -> PyResult<Vec<Aside>> {
        let name = queue.to_owned();
        let found = self.whole(py, wait_s, move |publisher, deadline| {
            publisher.list_aside(&name, max_messages, deadline)
        })?;
        Ok(found.into_iter().map(|aside| Aside::new(aside, queue)).collect())
    }

    /// Puts messages that were set aside back into their queue; returns how many those were.
    #[pyo3(signature = (queue, tags, wait_s, /))]
    fn restore_aside(&self, py: Python<'_>, queue: String, tags: Vec<String>, wait_s: f64) -> PyResult<u64> {
        self.whole(py, wait_s, move |publisher, deadline| {
            publisher.restore_aside(&queue, &tags, deadline)
        })
    }

    /// Deletes messages that were set aside; returns how many those were.
    #[pyo3(signature = (queue, tags, wait_s, /))]
    fn drop_aside(&self, py: Python<'_>, queue: String, tags: Vec<String>, wait_s: f64) -> PyResult<u64> {
        self.whole(py, wait_s, move |publisher, deadline| {
            publisher.drop_aside(&queue, &tags, deadline)
        })
    }

    /// Sends what is queued, then closes the connection; what is not confirmed after `wait_s`
    /// seconds is reported as failed.
    #[pyo3(signature = (wait_s, /))]
    fn close(&self, py: Python<'_>, wait_s: f64) -> PyResult<()> {
        self.whole(py, wait_s, |publisher, deadline| {
            publisher.close(deadline);
            Ok(())
        })
    }
}

impl Publisher {
    /// The publisher itself; refuses in a forked child.
    pub(crate) fn here(&self) -> Outcome<&Arc<dyn broker::Publisher>> {
        self.inner.here()
    }

    /// Declares a template's queues, once for each publisher.
    pub(crate) fn declare_for(&self, py: Python<'_>, template: &Template, deadline: Deadline) -> Outcome<()> {
        let queues = template.undeclared(self.serial);
        if !queues.is_empty() {
            self.declare_all(py, queues, deadline)?;
            template.declared(self.serial);
        }
        Ok(())
    }

    /// Declares what this publisher has not declared yet.
    pub(crate) fn declare_all(
        &self,
        py: Python<'_>,
        queues: &[QueueSpec],
        deadline: Deadline,
    ) -> Outcome<()> {
        for queue in queues {
            if self.declared.lock().contains(queue) {
                continue;
            }
            let (publisher, spec) = (Arc::clone(self.here()?), queue.clone());
            waits::whole_if_remote(py, self.is_local, deadline, move |deadline| {
                publisher.declare(&spec, deadline)
            })?;
            self.declared.lock().insert(queue.clone());
        }
        Ok(())
    }

    fn send_and_wait(
        &self,
        py: Python<'_>,
        letter: Addressed,
        results: Option<&ResultStore>,
        deadline: Deadline,
    ) -> Outcome<Option<Subscription>> {
        let waited_ms = waits::whole_ms(deadline.left().as_secs_f64());
        let publisher = self.here()?;
        let carries = results.is_some_and(|results| self.carries(&**publisher, results));
        let store = results.map(ResultStore::store).transpose()?;
        let ledger = Ledger::new(1, usize::MAX);
        let (subscription, underway) = py.detach(|| -> Result<_> {
            let Addressed { task_id, letter } = letter;
            let subscription = match store {
                Some(store) => Some(store.subscribe(&task_id, carries, deadline)?),
                None => None,
            };
            let receipt = ledger.enter(Arc::clone(&task_id), letter.bytes(), deadline)?;
            let underway = send_or_post(
                &**publisher,
                letter,
                carries.then_some(&*task_id),
                receipt,
                deadline,
            );
            Ok((subscription, underway))
        })?;
        if let Some(underway) = underway {
            finish(py, underway)?;
        }
        if !is_empty(py, &ledger, deadline)? {
            ledger.give_up(waited_ms);
        }
        match ledger.take_failed().pop() {
            Some((_, error)) => Err(error.into()),
            None => Ok(subscription.map(Subscription::new)),
        }
    }

    /// Hands a message over. What may wait (declaring, subscribing, a local file) is done by a
    /// thread of its own; mostly there is nothing of that.
    #[expect(clippy::too_many_arguments, reason = "one crossing per message")]
    fn hand_over(
        &self,
        py: Python<'_>,
        letter: Addressed,
        queues: &[QueueSpec],
        results: Option<&ResultStore>,
        wait_s: f64,
        wake: Wake,
    ) -> Outcome<Errand> {
        let deadline = waits::deadline(wait_s);
        let publisher = Arc::clone(self.here()?);
        let carries = results.is_some_and(|results| self.carries(&*publisher, results));
        let store = results.map(ResultStore::store).transpose()?.cloned();
        let undeclared: Vec<QueueSpec> = {
            let declared = self.declared.lock();
            queues
                .iter()
                .filter(|queue| !declared.contains(*queue))
                .cloned()
                .collect()
        };
        let is_quick = !self.is_local && undeclared.is_empty() && (store.is_none() || carries);
        let errand = Errand::new(wake);
        let (answer, declared) = (errand.answer(), Arc::clone(&self.declared));
        let work = move || {
            let answered = Arc::clone(&answer);
            let sent = answer.start(move |ledger| {
                for queue in undeclared {
                    publisher.declare(&queue, deadline)?;
                    declared.lock().insert(queue);
                }
                let Addressed { task_id, letter } = letter;
                if let Some(store) = store {
                    answered.listens(store.subscribe(&task_id, carries, deadline)?);
                }
                let receipt = ledger.enter(Arc::clone(&task_id), letter.bytes(), deadline)?;
                publisher.post(letter, carries.then_some(&*task_id), receipt, deadline);
                Ok(())
            });
            if let Err(error) = sent {
                answer.fail(error);
            }
        };
        if is_quick {
            py.detach(work);
        } else {
            errands::run(work).map_err(PyErr::from)?;
        }
        Ok(errand)
    }

    /// Whether a message may subscribe to its result on the same connection.
    fn carries(&self, publisher: &dyn broker::Publisher, results: &ResultStore) -> bool {
        let known = self.carried.load(Ordering::Relaxed);
        if known >> 1 == results.serial() {
            return known & 1 == 1;
        }
        let carries = publisher.carries_results_of(results.raw_url());
        self.carried
            .store(results.serial() << 1 | u64::from(carries), Ordering::Relaxed);
        carries
    }

    fn whole<T: Send + 'static>(
        &self,
        py: Python<'_>,
        wait_s: f64,
        operation: impl FnOnce(&dyn broker::Publisher, Deadline) -> Result<T> + Send + 'static,
    ) -> PyResult<T> {
        let publisher = Arc::clone(self.here().or_raise(py)?);
        waits::whole_if_remote(py, self.is_local, waits::deadline(wait_s), move |deadline| {
            operation(&*publisher, deadline)
        })
        .or_raise(py)
    }
}

/// Sends a message on this thread where that is possible, otherwise posts it. What is left to be done
/// here after the first slice of it.
fn send_or_post(
    publisher: &dyn broker::Publisher,
    letter: Letter,
    subscribe_to: Option<&str>,
    receipt: Receipt,
    deadline: Deadline,
) -> Option<Box<dyn Underway>> {
    let sent = match subscribe_to {
        // That goes over the connection which hears of the result.
        Some(_) => Err((letter, receipt)),
        None => publisher.send_here(letter, receipt, deadline),
    };
    match sent {
        Ok(mut underway) => (!underway.go_on()).then_some(underway),
        Err((letter, receipt)) => {
            publisher.post(letter, subscribe_to, receipt, deadline);
            None
        }
    }
}

/// Goes on with a message slice by slice, open to signals between them.
fn finish(py: Python<'_>, mut underway: Box<dyn Underway>) -> Outcome<()> {
    loop {
        py.check_signals()?;
        if py.detach(|| underway.go_on()) {
            return Ok(());
        }
    }
}

/// Waits until nothing of a ledger is in flight; false when something still is at `deadline`.
pub(crate) fn is_empty(py: Python<'_>, ledger: &Ledger, deadline: Deadline) -> Outcome<bool> {
    let done = waits::in_slices(py, deadline, |slice| match ledger.wait_empty(slice) {
        Ok(()) => Ok(Some(())),
        Err(Error::Unconfirmed { .. }) => Ok(None),
        Err(error) => Err(error),
    })?;
    Ok(done.is_some())
}
