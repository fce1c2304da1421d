//! Result stores for Python. Every method with `wait_s` waits detached.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use celeriac_core::backend::{self, Put};
use celeriac_core::time::Deadline;
use celeriac_core::{Error, Result};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::{OrRaise, Outcome};
use crate::home::Homebound;
use crate::url::{broker_url, is_local};
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
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let parsed = broker_url(py, url, options).or_raise(py)?;
        let inner = backend::open(&parsed).or_raise(py)?;
        Ok(Self {
            inner: Homebound::new(inner, "result store"),
            url: parsed.redacted(),
            is_local: is_local(&parsed),
            raw_url: parsed.with_options(),
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
        })
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
    #[pyo3(signature = (task_id, document, is_final, expires_s, wait_s, /))]
    fn put(
        &self,
        py: Python<'_>,
        task_id: String,
        document: &[u8],
        is_final: bool,
        expires_s: Option<u64>,
        wait_s: f64,
    ) -> PyResult<()> {
        let document = Bytes::copy_from_slice(document);
        let put = Put {
            task_id,
            document,
            is_final,
            expires_s,
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

    /// Deletes what has expired, where the store does not do that by itself; returns how many.
    #[pyo3(signature = (wait_s, /))]
    fn cleanup(&self, py: Python<'_>, wait_s: f64) -> PyResult<u64> {
        self.whole(py, wait_s, backend::ResultStore::cleanup)
    }
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

#[pymethods]
impl Subscription {
    /// The next document, `None` when `wait_s` passed. Ctrl-C is let through.
    #[pyo3(signature = (wait_s, /))]
    fn next<'py>(&self, py: Python<'py>, wait_s: f64) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let inner = self.open().or_raise(py)?;
        let next = waits::in_slices(py, waits::deadline(wait_s), |slice| inner.next(slice)).or_raise(py)?;
        Ok(next.map(|document| PyBytes::new(py, &document)))
    }

    /// Stops listening.
    fn close(&self) {
        let closed = self.inner.lock().take();
        // Ended without the lock: that may wait for the store's own.
        drop(closed);
    }
}
