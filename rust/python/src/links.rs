//! Both ends of the link between a worker and a child, for Python.

use std::time::Duration;

use bytes::Bytes;
use celeriac_core::Error;
use celeriac_core::compress::DEFAULT_MAX_BYTES;
use celeriac_core::links::{self, MAX_FRAME_BYTES, Next, ParentLink, Report};
use celeriac_core::time::Deadline;
use pyo3::exceptions::PyEOFError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::delivery::Delivery;
use crate::descriptor::stream_of;
use crate::errors::OrRaise;
use crate::intake::Intake;
use crate::{carried, logs, waits};

/// How long a signal waits for its handler in an idle child; it wakes no more often.
const SLICE: Duration = Duration::from_secs(10);

/// What a child said: "ready", "taken", "outcome", "recalled", or "gone" (its socket closed);
/// "executed" stands for jobs of which "taken" and "outcome" came together.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct ChildEvent {
    slot: u64,
    said: Said,
}

#[derive(Debug)]
enum Said {
    Report(Report),
    Executed(Vec<Executed>),
}

/// How a job ended that was taken up just before.
#[derive(Debug)]
struct Executed {
    seq: u64,
    code: u32,
    document: Option<Bytes>,
    detail: Bytes,
}

impl ChildEvent {
    pub(crate) fn new(event: links::ChildEvent) -> Self {
        Self {
            slot: event.slot,
            said: Said::Report(event.report),
        }
    }

    /// Makes one event of this one and the next of the same child, where this is possible.
    pub(crate) fn join(&mut self, next: links::ChildEvent) -> Option<links::ChildEvent> {
        if next.slot != self.slot {
            return Some(next);
        }
        match (&mut self.said, next.report) {
            (
                Said::Report(Report::Taken { seq: taken }),
                Report::Outcome {
                    seq,
                    code,
                    document,
                    detail,
                },
            ) if *taken == seq => {
                let executed = Executed {
                    seq,
                    code,
                    document,
                    detail,
                };
                self.said = Said::Executed(vec![executed]);
                None
            }
            (_, report) => Some(links::ChildEvent {
                slot: next.slot,
                report,
            }),
        }
    }

    /// Takes another one of the same child in that was executed, too; otherwise it comes back.
    pub(crate) fn gather(&mut self, next: Self) -> Option<Self> {
        if next.slot != self.slot {
            return Some(next);
        }
        match (&mut self.said, next.said) {
            (Said::Executed(all), Said::Executed(more)) => {
                all.extend(more);
                None
            }
            (_, said) => Some(Self {
                slot: next.slot,
                said,
            }),
        }
    }

    fn report(&self) -> Option<&Report> {
        match &self.said {
            Said::Report(report) => Some(report),
            Said::Executed(_) => None,
        }
    }
}

/// `(seq, code, document, detail)`.
type ExecutedFields<'py> = (u64, u32, Option<Bound<'py, PyBytes>>, Option<Bound<'py, PyBytes>>);

#[pymethods]
impl ChildEvent {
    /// What was said.
    #[getter]
    fn kind(&self) -> &'static str {
        match self.report() {
            None => "executed",
            Some(Report::Ready) => "ready",
            Some(Report::Taken { .. }) => "taken",
            Some(Report::Outcome { .. }) => "outcome",
            Some(Report::Recalled { .. }) => "recalled",
            Some(Report::Gone { .. }) => "gone",
        }
    }

    /// Which child: the number its link was made with.
    #[getter]
    fn slot(&self) -> u64 {
        self.slot
    }

    /// The job of "taken" and "outcome"; otherwise 0.
    #[getter]
    fn seq(&self) -> u64 {
        match self.report() {
            Some(Report::Taken { seq } | Report::Outcome { seq, .. }) => *seq,
            _ => 0,
        }
    }

    /// How a job ended, in the worker's own numbers; otherwise 0.
    #[getter]
    fn code(&self) -> u32 {
        match self.report() {
            Some(Report::Outcome { code, .. }) => *code,
            _ => 0,
        }
    }

    /// The result document of an "outcome", to be stored with the ack.
    #[getter]
    fn document<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        match self.report() {
            Some(Report::Outcome { document, .. }) => {
                document.as_ref().map(|document| PyBytes::new(py, document))
            }
            _ => None,
        }
    }

    /// More about an "outcome"; the reason of "gone" as UTF-8.
    #[getter]
    fn detail<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        match self.report() {
            Some(Report::Outcome { detail, .. }) => PyBytes::new(py, detail),
            Some(Report::Gone { reason }) => PyBytes::new(py, reason.as_bytes()),
            _ => PyBytes::new(py, b""),
        }
    }

    /// The jobs that "recalled" gives back, in the order in which they had been sent.
    #[getter]
    fn seqs(&self) -> Vec<u64> {
        match self.report() {
            Some(Report::Recalled { seqs }) => seqs.clone(),
            _ => Vec::new(),
        }
    }

    /// The jobs of "executed" in their order, each as `(seq, code, document, detail)`; the last two
    /// are `None` where they are empty.
    #[getter]
    fn executed<'py>(&self, py: Python<'py>) -> Vec<ExecutedFields<'py>> {
        let Said::Executed(all) = &self.said else {
            return Vec::new();
        };
        let fields = |executed: &Executed| {
            let document = executed
                .document
                .as_ref()
                .map(|document| PyBytes::new(py, document));
            let detail = &executed.detail;
            let detail = (!detail.is_empty()).then(|| PyBytes::new(py, detail));
            (executed.seq, executed.code, document, detail)
        };
        all.iter().map(fields).collect()
    }

    fn __repr__(&self) -> String {
        format!(
            "<ChildEvent {} of slot {}, seq {}>",
            self.kind(),
            self.slot(),
            self.seq()
        )
    }
}

/// The worker's end of a socket pair. Nothing here waits.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct ChildLink {
    link: ParentLink,
}

#[pymethods]
impl ChildLink {
    /// Takes the descriptor of a Unix stream socket over: only this object closes it from now on.
    /// What the child says becomes events of `intake`, under the number `slot`.
    #[new]
    #[pyo3(signature = (intake, slot, fd))]
    fn new(py: Python<'_>, intake: &Intake, slot: u64, fd: i64) -> PyResult<Self> {
        let intake = intake.here().or_raise(py)?;
        let link = intake.link(slot, stream_of(fd)?).or_raise(py)?;
        Ok(Self { link })
    }

    /// Sends a delivery to the child as job `seq`, with the next `flush`. When the child is gone, the
    /// "gone" event is the answer. Raises `OperationalError` after `close`, `DecodeError` for a
    /// malformed one.
    #[pyo3(signature = (seq, delivery, extra, /))]
    fn send(&self, py: Python<'_>, seq: u64, delivery: &Delivery, extra: &[u8]) -> PyResult<()> {
        let held = delivery.held();
        let message = held.message.as_ref().map_err(Clone::clone).or_raise(py)?;
        let job = links::Outgoing {
            seq,
            extra,
            message,
            peek: &held.peek,
            target: &held.target,
            queue: &held.queue,
            redelivered: held.redelivered,
        };
        self.link.send_later(&job).or_raise(py)
    }

    /// Writes what waits to be sent.
    fn flush(&self) {
        self.link.flush();
    }

    /// Asks for all jobs that are not taken up; the answer is a "recalled" event.
    fn recall(&self, py: Python<'_>) -> PyResult<()> {
        self.link.recall().or_raise(py)
    }

    /// Asks the child to end after the jobs it has.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        self.link.stop().or_raise(py)
    }

    /// Closes the socket; no event of this child follows.
    fn close(&self) {
        self.link.close();
    }
}

/// The child's end. A thread of its own fills a queue; `next` takes a job up and says so.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct ChildChannel {
    channel: links::ChildChannel,
}

#[pymethods]
impl ChildChannel {
    /// Takes the descriptor over. To be made in the child, after the fork.
    #[new]
    #[pyo3(signature = (fd))]
    fn new(py: Python<'_>, fd: i64) -> PyResult<Self> {
        logs::install();
        let channel = links::ChildChannel::new(stream_of(fd)?, MAX_FRAME_BYTES).or_raise(py)?;
        Ok(Self { channel })
    }

    /// Says that this child is ready for jobs. Raises `EOFError`.
    fn ready(&self, py: Python<'_>) -> PyResult<()> {
        let said = py.detach(|| self.channel.ready());
        self.or_end(py, said)
    }

    /// Waits (detached) for the next job; `None` when `wait_s` passed. Raises `EOFError` when
    /// there will be no more: the worker asked to stop, or is gone.
    #[pyo3(signature = (wait_s, /))]
    fn next(&self, py: Python<'_>, wait_s: f64) -> PyResult<Option<Job>> {
        let deadline = waits::deadline(wait_s);
        loop {
            let slice = Deadline::after(SLICE).min(deadline);
            match py.detach(|| self.channel.next(slice)) {
                Next::Job(job) => return Ok(Some(Job { job })),
                Next::End => return Err(PyEOFError::new_err("the worker sends no more jobs")),
                Next::Nothing => py.check_signals()?,
            }
            if deadline.has_passed() {
                return Ok(None);
            }
        }
    }

    /// Says how a job ended. Raises `EOFError` when the worker is gone, `DecodeError` when it is
    /// longer than a frame may be.
    #[pyo3(signature = (seq, code, document, detail, /))]
    fn reply(
        &self,
        py: Python<'_>,
        seq: u64,
        code: u32,
        document: Option<&[u8]>,
        detail: &[u8],
    ) -> PyResult<()> {
        let document = document.map(Bytes::copy_from_slice);
        let detail = Bytes::copy_from_slice(detail);
        let said = py.detach(|| self.channel.reply(seq, code, document, detail));
        self.or_end(py, said)
    }
}

impl ChildChannel {
    #[expect(clippy::unused_self, reason = "reads as a step of its callers")]
    fn or_end(&self, py: Python<'_>, said: celeriac_core::Result<()>) -> PyResult<()> {
        match said {
            Err(error @ Error::Closed { .. }) => Err(PyEOFError::new_err(error.to_string())),
            other => other.or_raise(py),
        }
    }
}

/// A delivery as its child sees it.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct Job {
    job: Box<links::Job>,
}

#[pymethods]
impl Job {
    /// Names the job between worker and child.
    #[getter]
    fn seq(&self) -> u64 {
        self.job.seq
    }

    /// What the worker tells beside the message.
    #[getter]
    fn extra<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.job.extra)
    }

    /// Name of the task.
    #[getter]
    fn task(&self) -> Option<&str> {
        self.job.peek.task.as_deref()
    }

    /// The task's id.
    #[getter]
    fn id(&self) -> Option<&str> {
        self.job.peek.id.as_deref()
    }

    /// Hard and soft time limit in seconds.
    #[getter]
    fn timelimit(&self) -> (Option<f64>, Option<f64>) {
        self.job.peek.timelimit
    }

    /// Whether its result is wanted by nobody; `None` leaves it to the task.
    #[getter]
    fn ignore_result(&self) -> Option<bool> {
        self.job.peek.ignore_result
    }

    /// Whether people see it by another name than the task's, the header `shadow`.
    #[getter]
    fn is_shadowed(&self) -> bool {
        self.job.peek.is_shadowed
    }

    /// MIME type (or kombu's alias) of the body's compression.
    #[getter]
    fn compression(&self) -> Option<&str> {
        self.job.peek.compression.as_deref()
    }

    /// MIME type of the body.
    #[getter]
    fn content_type(&self) -> &str {
        &self.job.message.properties.content_type
    }

    /// `utf-8` or `binary`.
    #[getter]
    fn content_encoding(&self) -> &str {
        &self.job.message.properties.content_encoding
    }

    /// Whether it was delivered before.
    #[getter]
    fn redelivered(&self) -> bool {
        self.job.redelivered
    }

    /// The queue it was taken from.
    #[getter]
    fn queue(&self) -> &str {
        &self.job.queue
    }

    /// Its exchange.
    #[getter]
    fn exchange(&self) -> &str {
        &self.job.target.exchange
    }

    /// Its routing key.
    #[getter]
    fn routing_key(&self) -> &str {
        &self.job.target.routing_key
    }

    /// The headers. Raises `DecodeError`.
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        carried::headers(py, &self.job.message).or_raise(py)
    }

    /// The properties, with `delivery_info`. Raises `DecodeError`.
    fn properties<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let job = &self.job;
        carried::properties(py, &job.message, &job.target, job.redelivered).or_raise(py)
    }

    /// The body as it was sent.
    fn raw_body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        carried::raw_body(py, &self.job.message)
    }

    /// `(args, kwargs)` of a plain message; `None` for any other, which `body` takes apart.
    fn plain_arguments<'py>(&self, py: Python<'py>) -> Option<(Bound<'py, PyList>, Bound<'py, PyDict>)> {
        let message = &self.job.message;
        let is_plain =
            self.job.peek.compression.is_none() && message.properties.content_type == "application/json";
        is_plain.then(|| carried::plain_arguments(py, message)).flatten()
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
        let document = carried::success_document(&self.job.peek, value, date_done).or_raise(py)?;
        Ok(PyBytes::new(py, &document))
    }

    /// The decoded body. Raises `DecodeError`, `ContentDisallowed`.
    #[pyo3(signature = (max_bytes = DEFAULT_MAX_BYTES, /))]
    fn body<'py>(&self, py: Python<'py>, max_bytes: usize) -> PyResult<Bound<'py, PyAny>> {
        carried::body(py, &self.job.message, self.compression(), max_bytes).or_raise(py)
    }

    fn __repr__(&self) -> String {
        let name = self.task().unwrap_or("no task");
        format!("<Job {} {name}[{}]>", self.seq(), self.id().unwrap_or("-"))
    }
}
