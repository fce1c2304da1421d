//! The intake for Python: one thread fetches batches, detached while it waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::backend::Put;
use celeriac_core::broker::{self, ConsumerConfig, Verdict};
use celeriac_core::intake::{self, Config, Event, Results, TroubleKind};
use celeriac_core::time::{Deadline, SystemClock};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::backend::ResultStore;
use crate::delivery::Delivery;
use crate::descriptor::number_of;
use crate::errors::{OrRaise, Outcome};
use crate::home::Homebound;
use crate::links::ChildEvent;
use crate::topology::{queue_spec, queue_specs};
use crate::url::broker_url;
use crate::{logs, waits};

/// Without a wake-up descriptor a signal waits this long for its handler; an idle worker wakes
/// no more often.
const SLICE: Duration = Duration::from_secs(5);

/// Something went wrong behind the intake: "disconnected", "reconnected", "unsettled", "slow".
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct Trouble {
    inner: intake::Trouble,
}

#[pymethods]
impl Trouble {
    /// What kind of thing.
    #[getter]
    fn kind(&self) -> &'static str {
        match self.inner.kind {
            TroubleKind::Disconnected => "disconnected",
            TroubleKind::Reconnected => "reconnected",
            TroubleKind::Unsettled => "unsettled",
            TroubleKind::Slow => "slow",
        }
    }

    /// The reason in words, without passwords.
    #[getter]
    fn detail(&self) -> &str {
        &self.inner.detail
    }
}

/// One event, as the class that stands for it.
#[derive(IntoPyObject)]
enum PyEvent {
    Delivery(Delivery),
    Child(ChildEvent),
    Trouble(Trouble),
}

/// Appends an event; what a child says of the same job, and of the one after it, becomes one.
fn hand_out(mut events: Vec<PyEvent>, event: Event) -> Vec<PyEvent> {
    let Event::Child(child) = event else {
        events.push(event.into());
        return events;
    };
    let Some(PyEvent::Child(last)) = events.last_mut() else {
        events.push(PyEvent::Child(ChildEvent::new(child)));
        return events;
    };
    if let Some(child) = last.join(child) {
        events.push(PyEvent::Child(ChildEvent::new(child)));
    } else if let Some(PyEvent::Child(executed)) = events.pop() {
        match events.last_mut() {
            Some(PyEvent::Child(before)) => {
                if let Some(executed) = before.gather(executed) {
                    events.push(PyEvent::Child(executed));
                }
            }
            _ => events.push(PyEvent::Child(executed)),
        }
    }
    events
}

impl From<Event> for PyEvent {
    fn from(event: Event) -> Self {
        match event {
            Event::Delivery(held) => Self::Delivery(Delivery::new(held)),
            Event::Child(event) => Self::Child(ChildEvent::new(event)),
            Event::Trouble(inner) => Self::Trouble(Trouble { inner }),
        }
    }
}

/// A worker's one door to what it has to do: deliveries, what children say, what went wrong.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct Intake {
    inner: Homebound<intake::Intake>,
}

impl Intake {
    /// The intake itself; refuses in a forked child.
    pub(crate) fn here(&self) -> Outcome<&Arc<intake::Intake>> {
        self.inner.here()
    }
}

#[pymethods]
impl Intake {
    /// Opens an intake over the queues of a broker. No I/O happens and no thread runs before
    /// `start`. `prefetch` 0 is unlimited (65,535). What is due within `eta_horizon_s` (by default
    /// 600, on RabbitMQ 5) waits in the timer, at most `eta_room` deliveries (10,000); all others
    /// in the broker. Raises `ImproperlyConfigured`.
    #[expect(clippy::too_many_arguments, reason = "keyword arguments in Python")]
    #[new]
    #[pyo3(signature = (url, options, queues, *, node, prefetch, results, eta_horizon_s = None, eta_room = None))]
    fn new(
        py: Python<'_>,
        url: &str,
        options: Option<&Bound<'_, PyAny>>,
        queues: &Bound<'_, PyAny>,
        node: String,
        prefetch: usize,
        results: Option<&ResultStore>,
        eta_horizon_s: Option<f64>,
        eta_room: Option<usize>,
    ) -> PyResult<Self> {
        logs::install();
        let open = || {
            let url = broker_url(py, url, options)?;
            let defaults = Config::default();
            let config = Config {
                prefetch,
                eta_horizon_s: eta_horizon_s.unwrap_or_else(|| broker::default_eta_horizon_s(url.scheme())),
                eta_room: eta_room.unwrap_or(defaults.eta_room),
                ..defaults
            };
            let consumer_config = ConsumerConfig {
                node,
                queues: queue_specs(queues)?,
                prefetch,
                eta_room: config.eta_room,
            };
            let consumer = broker::open_consumer(&url, consumer_config)?;
            let results = results.map(results_of).transpose()?;
            let intake = intake::Intake::new(consumer, results, SystemClock::shared(), &config)?;
            let intake = Arc::new(intake);
            logs::nudge(&intake);
            Ok(Homebound::new(intake, "intake"))
        };
        let opened: Outcome<_> = open();
        opened.map(|inner| Self { inner }).or_raise(py)
    }

    /// A descriptor for `signal.set_wakeup_fd`: a signal then ends `next_events` at once.
    #[getter]
    fn wakeup_fd(&self, py: Python<'_>) -> PyResult<i64> {
        let intake = self.here().or_raise(py)?;
        Ok(number_of(intake.wakeup_fd()))
    }

    /// Ends `next_events` at once; from any thread.
    fn wake(&self, py: Python<'_>) -> PyResult<()> {
        self.here().map(|intake| intake.wake()).or_raise(py)
    }

    /// How many deliveries are not settled at the broker.
    #[getter]
    fn held(&self, py: Python<'_>) -> PyResult<usize> {
        self.here().map(|intake| intake.held()).or_raise(py)
    }

    /// `(milliseconds since it was proved that messages are taken, whether the prefetch is used up,
    /// whether the last try has failed)`.
    fn health(&self, py: Python<'_>) -> PyResult<(u64, bool, bool)> {
        let health = self.here().map(|intake| intake.health()).or_raise(py)?;
        Ok((health.proved_ms_ago, health.is_full, health.is_lost))
    }

    /// Starts to reserve, to settle and to listen to children.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        let intake = self.here().or_raise(py)?;
        intake.start().or_raise(py)
    }

    /// Waits (detached) for something to do. Empty when `wait_s` passed or a signal came; its
    /// handler has run then. Raises `OperationalError` when a thread of the intake broke.
    #[pyo3(signature = (max_events, wait_s, /))]
    fn next_events(&self, py: Python<'_>, max_events: usize, wait_s: f64) -> PyResult<Vec<PyEvent>> {
        let intake = self.here().or_raise(py)?;
        let deadline = waits::deadline(wait_s);
        loop {
            let slice = Deadline::after(SLICE).min(deadline);
            let events = py.detach(|| intake.next_events(max_events, slice)).or_raise(py)?;
            if !events.is_empty() {
                let room = Vec::with_capacity(events.len());
                return Ok(events.into_iter().fold(room, hand_out));
            }
            // Before its end only a signal (or `wake`) ends a slice with nothing.
            let is_woken = !slice.has_passed();
            py.check_signals()?;
            if is_woken || deadline.has_passed() {
                return Ok(Vec::new());
            }
        }
    }

    /// Acknowledges deliveries in the background, with the next `next_events`, `flush`, or `settle`
    /// that is not for later. Those that are settled already stay as they are.
    #[pyo3(signature = (deliveries, /))]
    fn ack_later(&self, py: Python<'_>, deliveries: &Bound<'_, PyList>) -> PyResult<()> {
        let intake = self.here().or_raise(py)?;
        for delivery in deliveries {
            let delivery = delivery.cast::<Delivery>()?;
            let settled = intake.settle_later(delivery.get().held(), Verdict::Ack, None);
            settled.or_raise(py)?;
        }
        Ok(())
    }

    /// Settles a delivery in the background, storing `document` before. On a delivery that is
    /// settled already only the document is stored. `reason` goes with "aside" and
    /// "aside lost". With `later` it
    /// begins with the next `next_events`, `flush`, or `settle` without it.
    #[expect(
        clippy::too_many_arguments,
        reason = "a verdict and a document with its fields"
    )]
    #[pyo3(signature = (delivery, verdict, reason = "", document = None, is_final = true, expires_s = None, *, later = false))]
    fn settle(
        &self,
        py: Python<'_>,
        delivery: &Delivery,
        verdict: &str,
        reason: &str,
        document: Option<&[u8]>,
        is_final: bool,
        expires_s: Option<u64>,
        later: bool,
    ) -> PyResult<()> {
        let verdict = match verdict {
            "ack" => Verdict::Ack,
            "requeue" => Verdict::Requeue,
            "requeue lost" => Verdict::RequeueLost,
            "reject" => Verdict::Reject,
            "aside" => Verdict::SetAside(reason.to_owned()),
            "aside lost" => Verdict::SetAsideLost(reason.to_owned()),
            other => {
                let known = "expected \"ack\", \"requeue\", \"requeue lost\", \"reject\", \"aside\" or \"aside lost\"";
                return Err(PyValueError::new_err(format!(
                    "unknown verdict {other:?}: {known}"
                )));
            }
        };
        let held = delivery.held();
        let task_id = held.peek.id.clone();
        let put = match (document, task_id) {
            (Some(document), Some(task_id)) => Some(Put {
                task_id,
                document: Bytes::copy_from_slice(document),
                is_final,
                expires_s,
                reply: None,
            }),
            (Some(_), None) => return Err(PyValueError::new_err("a document needs a delivery with an id")),
            (None, _) => None,
        };
        let intake = self.here().or_raise(py)?;
        let settled = if later {
            intake.settle_later(held, verdict, put)
        } else {
            intake.settle(held, verdict, put)
        };
        settled.or_raise(py)
    }

    /// Waits until nothing waits to be settled; false when `wait_s` passed first.
    #[pyo3(signature = (wait_s, /))]
    fn flush(&self, py: Python<'_>, wait_s: f64) -> PyResult<bool> {
        let intake = self.here().or_raise(py)?;
        let deadline = waits::deadline(wait_s);
        let flushed = waits::in_slices(py, deadline, |slice| Ok(intake.flush(slice).then_some(())));
        Ok(flushed.or_raise(py)?.is_some())
    }

    /// Hands a delivery out again at a moment of the wall clock (ms since the epoch). False: the
    /// broker keeps it until then, and it comes as a new one.
    #[pyo3(signature = (delivery, unix_ms, /))]
    fn delay_until(&self, py: Python<'_>, delivery: &Delivery, unix_ms: u64) -> PyResult<bool> {
        let intake = self.here().or_raise(py)?;
        Ok(intake.delay_until(Arc::clone(delivery.held()), unix_ms))
    }

    /// Takes the deliveries of a task out of the timer; they are still to be settled.
    #[pyo3(signature = (task_id, /))]
    fn cancel_delayed(&self, py: Python<'_>, task_id: &str) -> PyResult<Vec<Delivery>> {
        let intake = self.here().or_raise(py)?;
        let cancelled = intake.cancel_delayed(task_id);
        Ok(cancelled.into_iter().map(Delivery::new).collect())
    }

    /// What waits in the timer, as `(due in ms since the epoch, delivery)`, the earliest first.
    fn delayed(&self, py: Python<'_>) -> PyResult<Vec<(u64, Delivery)>> {
        let delayed = self.here().or_raise(py)?.delayed();
        Ok(delayed
            .into_iter()
            .map(|(due_ms, held)| (due_ms, Delivery::new(held)))
            .collect())
    }

    /// Changes how many deliveries may be held; 0 is unlimited (65,535).
    #[pyo3(signature = (prefetch, /))]
    fn set_prefetch(&self, py: Python<'_>, prefetch: usize) -> PyResult<()> {
        let intake = self.here().or_raise(py)?;
        intake.set_prefetch(prefetch);
        Ok(())
    }

    /// Adds a queue to those consumed. Raises `OperationalError`.
    #[pyo3(signature = (queue, wait_s, /))]
    fn add_queue(&self, py: Python<'_>, queue: &Bound<'_, PyAny>, wait_s: f64) -> PyResult<()> {
        let queue = queue_spec(queue).or_raise(py)?;
        let intake = Arc::clone(self.here().or_raise(py)?);
        let add = move |deadline| intake.add_queue(&queue, deadline);
        waits::whole(py, waits::deadline(wait_s), add).or_raise(py)
    }

    /// Stops consuming a queue; what is reserved of it stays reserved.
    #[pyo3(signature = (queue, /))]
    fn cancel_queue(&self, py: Python<'_>, queue: &str) -> PyResult<()> {
        let intake = self.here().or_raise(py)?;
        py.detach(|| intake.cancel_queue(queue));
        Ok(())
    }

    /// Reserves nothing any more; what is on its way is still handed out.
    fn stop_reserving(&self, py: Python<'_>) -> PyResult<()> {
        let intake = self.here().or_raise(py)?;
        py.detach(|| intake.stop_reserving());
        Ok(())
    }

    /// Carries out what is to be settled and hands every other delivery back to the front of its
    /// queue. Raises `OperationalError` when that did not end within `wait_s`.
    #[pyo3(signature = (wait_s, /))]
    fn close(&self, py: Python<'_>, wait_s: f64) -> PyResult<()> {
        let intake = Arc::clone(self.here().or_raise(py)?);
        waits::whole(py, waits::deadline(wait_s), move |deadline| {
            intake.close(deadline)
        })
        .or_raise(py)
    }
}

fn results_of(store: &ResultStore) -> Outcome<Results> {
    Ok(Results {
        store: Arc::clone(store.store()?),
        url: store.raw_url().to_owned(),
    })
}
