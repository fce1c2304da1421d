//! Result stores for Python. Every method with `wait_s` waits detached.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::backend::chords::{ChordStore, Join, Part};
use celeriac_core::backend::rpc::{self, Post};
use celeriac_core::backend::{self, Put, Reply};
use celeriac_core::time::Deadline;
use celeriac_core::{Error, Remedy, Result};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::bell::{Bell, Errand};
use crate::errands;
use crate::errors::{OrRaise, Outcome};
use crate::home::Homebound;
use crate::url;
use crate::waits;

/// A store of result documents, shared by all threads of this process.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct ResultStore {
    inner: Homebound<dyn backend::ResultStore>,
    url: String,
    raw_url: String,
    serial: u64,
    is_local: bool,
}

impl ResultStore {
    fn of(inner: Arc<dyn backend::ResultStore>, url: String, raw_url: String, is_local: bool) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        Self {
            inner: Homebound::new(inner, "result store"),
            url,
            raw_url,
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            is_local,
        }
    }

    /// The store itself.
    pub(crate) fn store(&self) -> Outcome<&Arc<dyn backend::ResultStore>> {
        self.inner.here()
    }

    /// The URL with its password and transport options, for comparing servers.
    pub(crate) fn raw_url(&self) -> &str {
        &self.raw_url
    }

    /// Unique in this process.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    fn whole<T: Send + 'static>(
        &self,
        py: Python<'_>,
        wait_s: f64,
        operation: impl FnOnce(&dyn backend::ResultStore, Deadline) -> Result<T> + Send + 'static,
    ) -> PyResult<T> {
        let store = Arc::clone(self.store().or_raise(py)?);
        waits::whole_if_remote(py, self.is_local, waits::deadline(wait_s), move |deadline| {
            operation(&*store, deadline)
        })
        .or_raise(py)
    }
}

#[pymethods]
impl ResultStore {
    /// Opens a store; no I/O happens before it is used. Raises `ImproperlyConfigured`.
    #[new]
    #[pyo3(signature = (url, options = None))]
    fn new(py: Python<'_>, url: &str, options: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let parsed = url::broker_url(py, url, options).or_raise(py)?;
        let inner = backend::open(&parsed).or_raise(py)?;
        let is_local = url::is_local(&parsed);
        Ok(Self::of(
            inner,
            parsed.redacted(),
            parsed.with_options(),
            is_local,
        ))
    }

    /// Opens a store that sends results over a broker to the queues of who asked for them.
    ///
    /// `queue_expires_ms` is the time after which the server deletes a client's unused queue.
    #[staticmethod]
    #[expect(clippy::too_many_arguments, reason = "a broker, and how results are sent")]
    #[pyo3(signature = (broker_url, options, *, content_type, content_encoding, persistent, queue_expires_ms))]
    fn rpc(
        py: Python<'_>,
        broker_url: &str,
        options: Option<&Bound<'_, PyAny>>,
        content_type: String,
        content_encoding: String,
        persistent: bool,
        queue_expires_ms: Option<u64>,
    ) -> PyResult<Self> {
        let broker = url::broker_url(py, broker_url, options).or_raise(py)?;
        let post = Post {
            content_type,
            content_encoding,
            is_persistent: persistent,
            queue_expires_ms,
        };
        let inner = rpc::store(&broker, post).or_raise(py)?;
        // No broker carries these: they are messages of their own.
        Ok(Self::of(inner, "rpc://".to_owned(), "rpc://".to_owned(), false))
    }

    /// The URL without its password.
    #[getter]
    fn url(&self) -> &str {
        &self.url
    }

    /// The current document of a task, `None` where there is none.
    #[pyo3(signature = (task_id, wait_s, /))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        task_id: String,
        wait_s: f64,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let found = self.whole(py, wait_s, move |store, deadline| store.get(&task_id, deadline))?;
        Ok(found.map(|document| PyBytes::new(py, &document)))
    }

    /// The current documents of many tasks, in the order of their ids, in one round trip.
    #[pyo3(signature = (task_ids, wait_s, /))]
    fn get_many<'py>(
        &self,
        py: Python<'py>,
        task_ids: Vec<String>,
        wait_s: f64,
    ) -> PyResult<Vec<Option<Bound<'py, PyBytes>>>> {
        let found = self.whole(py, wait_s, move |store, deadline| {
            store.get_many(&task_ids, deadline)
        })?;
        Ok(found
            .into_iter()
            .map(|document| document.map(|document| PyBytes::new(py, &document)))
            .collect())
    }

    /// Stores a document and wakes who waits for it. A stored success stays.
    #[expect(clippy::too_many_arguments, reason = "the fields of a stored document")]
    ///
    /// `reply` is queue and correlation id of the caller, for a store that sends results.
    #[pyo3(signature = (task_id, document, is_final, expires_s, wait_s, /, reply = None))]
    fn put(
        &self,
        py: Python<'_>,
        task_id: String,
        document: &[u8],
        is_final: bool,
        expires_s: Option<u64>,
        wait_s: f64,
        reply: Option<(String, String)>,
    ) -> PyResult<()> {
        let document = Bytes::copy_from_slice(document);
        let put = Put {
            task_id,
            document,
            is_final,
            expires_s,
            reply: reply.map(|(queue, correlation_id)| Reply {
                queue,
                correlation_id,
            }),
        };
        self.whole(py, wait_s, move |store, deadline| store.put(vec![put], deadline))
    }

    /// Deletes a document.
    #[pyo3(signature = (task_id, wait_s, /))]
    fn forget(&self, py: Python<'_>, task_id: String, wait_s: f64) -> PyResult<()> {
        self.whole(py, wait_s, move |store, deadline| {
            store.forget(&task_id, deadline)
        })
    }

    /// Sees to it that results sent to a queue reach this process.
    #[pyo3(signature = (queue, wait_s, /))]
    fn listen(&self, py: Python<'_>, queue: String, wait_s: f64) -> PyResult<()> {
        self.whole(py, wait_s, move |store, deadline| store.listen(&queue, deadline))
    }

    /// Listens for the documents of a task; the current one comes first.
    #[pyo3(signature = (task_id, wait_s, /))]
    fn subscribe(&self, py: Python<'_>, task_id: String, wait_s: f64) -> PyResult<Subscription> {
        let inner = self.whole(py, wait_s, move |store, deadline| {
            store.subscribe(&task_id, false, deadline)
        })?;
        Ok(Subscription::new(inner))
    }

    /// Stores raw bytes under a key of the store's name space.
    #[pyo3(signature = (key, value, expires_s, wait_s, /))]
    fn put_raw(
        &self,
        py: Python<'_>,
        key: String,
        value: &[u8],
        expires_s: Option<u64>,
        wait_s: f64,
    ) -> PyResult<()> {
        let value = Bytes::copy_from_slice(value);
        self.whole(py, wait_s, move |store, deadline| {
            store.put_raw(&key, value, expires_s, deadline)
        })
    }

    /// Reads such bytes.
    #[pyo3(signature = (key, wait_s, /))]
    fn get_raw<'py>(
        &self,
        py: Python<'py>,
        key: String,
        wait_s: f64,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let found = self.whole(py, wait_s, move |store, deadline| store.get_raw(&key, deadline))?;
        Ok(found.map(|value| PyBytes::new(py, &value)))
    }

    /// Deletes such bytes.
    #[pyo3(signature = (key, wait_s, /))]
    fn forget_raw(&self, py: Python<'_>, key: String, wait_s: f64) -> PyResult<()> {
        self.whole(py, wait_s, move |store, deadline| {
            store.forget_raw(&key, deadline)
        })
    }

    /// Whether the store joins chords.
    #[getter]
    fn has_chords(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.store().or_raise(py)?.chords().is_some())
    }

    /// Says how many parts a chord waits for.
    #[pyo3(signature = (group_id, size, expires_s, wait_s, /))]
    fn set_chord_size(
        &self,
        py: Python<'_>,
        group_id: String,
        size: u64,
        expires_s: Option<u64>,
        wait_s: f64,
    ) -> PyResult<()> {
        self.whole(py, wait_s, move |store, deadline| {
            joining(store)?.set_chord_size(&group_id, size, expires_s, deadline)
        })
    }

    /// Lets a chord wait for more parts.
    #[pyo3(signature = (group_id, more, expires_s, wait_s, /))]
    fn add_to_chord(
        &self,
        py: Python<'_>,
        group_id: String,
        more: u64,
        expires_s: Option<u64>,
        wait_s: f64,
    ) -> PyResult<()> {
        self.whole(py, wait_s, move |store, deadline| {
            joining(store)?.add_to_chord(&group_id, more, expires_s, deadline)
        })
    }

    /// Counts a part of a chord. Returns what became of the chord (`open`, `taken`, `done` or
    /// `complete`) and, when it is complete, all its parts: who gets those sends the body.
    #[expect(clippy::too_many_arguments, reason = "the fields of a part")]
    #[pyo3(signature = (group_id, task_id, position, content, is_ordered, expires_s, token, claim_s, wait_s, /))]
    fn join_chord<'py>(
        &self,
        py: Python<'py>,
        group_id: String,
        task_id: String,
        position: Option<u64>,
        content: &[u8],
        is_ordered: bool,
        expires_s: Option<u64>,
        token: String,
        claim_s: u64,
        wait_s: f64,
    ) -> PyResult<(&'static str, Vec<Bound<'py, PyBytes>>)> {
        let part = Part {
            group_id,
            task_id,
            position,
            content: Bytes::copy_from_slice(content),
            is_ordered,
            expires_s,
            token,
            claim_s,
        };
        let join = self.whole(py, wait_s, move |store, deadline| {
            joining(store)?.join(&part, deadline)
        })?;
        Ok(match join {
            Join::Open => ("open", Vec::new()),
            Join::Taken => ("taken", Vec::new()),
            Join::Done => ("done", Vec::new()),
            Join::Complete(parts) => {
                let parts = parts.iter().map(|part| PyBytes::new(py, part));
                ("complete", parts.collect())
            }
        })
    }

    /// Renews a claim before the body is sent; False: it is somebody else's now.
    #[pyo3(signature = (group_id, token, claim_s, wait_s, /))]
    fn keep_chord_claim(
        &self,
        py: Python<'_>,
        group_id: String,
        token: String,
        claim_s: u64,
        wait_s: f64,
    ) -> PyResult<bool> {
        self.whole(py, wait_s, move |store, deadline| {
            joining(store)?.keep_claim(&group_id, &token, claim_s, deadline)
        })
    }

    /// Deletes a chord whose body was sent; False: the claim was lost.
    #[pyo3(signature = (group_id, token, done_s, wait_s, /))]
    fn close_chord(
        &self,
        py: Python<'_>,
        group_id: String,
        token: String,
        done_s: u64,
        wait_s: f64,
    ) -> PyResult<bool> {
        self.whole(py, wait_s, move |store, deadline| {
            joining(store)?.close_chord(&group_id, &token, done_s, deadline)
        })
    }

    /// Lets no further part of a chord that has failed do anything.
    #[pyo3(signature = (group_id, wait_s, /))]
    fn fail_chord(&self, py: Python<'_>, group_id: String, wait_s: f64) -> PyResult<()> {
        self.whole(py, wait_s, move |store, deadline| {
            joining(store)?.fail_chord(&group_id, deadline)
        })
    }

    /// Subscribes without waiting: `bell` rings `token` when the subscription is there.
    #[pyo3(signature = (task_id, wait_s, bell, token, /))]
    fn post_subscribe(
        &self,
        py: Python<'_>,
        task_id: String,
        wait_s: f64,
        bell: &Bound<'_, Bell>,
        token: u64,
    ) -> PyResult<Errand> {
        let (store, deadline) = (Arc::clone(self.store().or_raise(py)?), waits::deadline(wait_s));
        let errand = Errand::new(bell.get().wake(token));
        let answer = errand.answer();
        errands::run(move || match store.subscribe(&task_id, false, deadline) {
            Ok(subscription) => {
                answer.listens(subscription);
                answer.done();
            }
            Err(error) => answer.fail(error),
        })?;
        Ok(errand)
    }

    /// Does as `listen` without waiting: `bell` rings `token` when results are heard.
    #[pyo3(signature = (queue, wait_s, bell, token, /))]
    fn post_listen(
        &self,
        py: Python<'_>,
        queue: String,
        wait_s: f64,
        bell: &Bound<'_, Bell>,
        token: u64,
    ) -> PyResult<Errand> {
        let (store, deadline) = (Arc::clone(self.store().or_raise(py)?), waits::deadline(wait_s));
        let errand = Errand::new(bell.get().wake(token));
        let answer = errand.answer();
        errands::run(move || match store.listen(&queue, deadline) {
            Ok(()) => answer.done(),
            Err(error) => answer.fail(error),
        })?;
        Ok(errand)
    }

    /// Deletes what has expired, where the store does not do that by itself; returns how many.
    #[pyo3(signature = (wait_s, /))]
    fn cleanup(&self, py: Python<'_>, wait_s: f64) -> PyResult<u64> {
        self.whole(py, wait_s, backend::ResultStore::cleanup)
    }
}

/// How a store joins chords.
fn joining(store: &dyn backend::ResultStore) -> Result<&dyn ChordStore> {
    store.chords().ok_or_else(|| Error::Unsupported {
        feature: "joining chords on this result store".to_owned(),
    })
}

/// The documents of one task in the order in which they were stored.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct Subscription {
    /// `None` once closed.
    inner: Mutex<Option<Homebound<dyn backend::Subscription>>>,
}

impl Subscription {
    /// Takes a subscription of the core over.
    pub(crate) fn new(inner: Box<dyn backend::Subscription>) -> Self {
        let inner = Homebound::new(Arc::from(inner), "subscription");
        Self {
            inner: Mutex::new(Some(inner)),
        }
    }

    fn open(&self) -> Outcome<Arc<dyn backend::Subscription>> {
        match &*self.inner.lock() {
            Some(inner) => inner.here().cloned(),
            None => Err(Error::Closed { what: "subscription" }.into()),
        }
    }
}

/// How long a lost connection to the results may stay away while somebody waits: about as long as
/// Celery tries by default.
const LOST_PATIENCE: Duration = Duration::from_secs(20);

/// Waits in slices. A lost connection is told at the end of the whole wait, not at a slice's: it is
/// mostly back before.
fn wait_for_next(py: Python<'_>, inner: &dyn backend::Subscription, end: Deadline) -> Outcome<Option<Bytes>> {
    let lost_until = Mutex::new(None);
    waits::in_slices(py, end, |slice| match inner.next(slice) {
        Err(error) if error.remedy() != Remedy::GiveUp && !end.has_passed() => {
            let patience = || Deadline::after(LOST_PATIENCE);
            if lost_until.lock().get_or_insert_with(patience).has_passed() {
                return Err(error);
            }
            Ok(None)
        }
        told => {
            *lost_until.lock() = None;
            told
        }
    })
}

#[pymethods]
impl Subscription {
    /// The next document, `None` when `wait_s` passed. Ctrl-C is let through.
    #[pyo3(signature = (wait_s, /))]
    fn next<'py>(&self, py: Python<'py>, wait_s: f64) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let inner = self.open().or_raise(py)?;
        let next = wait_for_next(py, &*inner, waits::deadline(wait_s)).or_raise(py)?;
        Ok(next.map(|document| PyBytes::new(py, &document)))
    }

    /// Has `bell` ring `token` whenever there is a document to take; False: it cannot be.
    #[pyo3(signature = (bell, token, /))]
    fn watch(&self, py: Python<'_>, bell: &Bound<'_, Bell>, token: u64) -> PyResult<bool> {
        Ok(self.open().or_raise(py)?.watch(bell.get().wake(token)))
    }

    /// The next document that is here already, if there is one.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let taken = self.open().or_raise(py)?.take();
        Ok(taken.map(|document| PyBytes::new(py, &document)))
    }

    /// Stops listening.
    fn close(&self) {
        let closed = self.inner.lock().take();
        // Ended without the lock: that may wait for the store's own.
        drop(closed);
    }
}
