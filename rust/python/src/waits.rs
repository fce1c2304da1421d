//! How a Python thread waits for Rust: detached, with a deadline, and open to Ctrl-C.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use celeriac_core::time::Deadline;
use celeriac_core::{Error, Result};
use pyo3::intern;
use pyo3::prelude::*;

use crate::errors::Outcome;
use crate::{errands, logs};

/// How long a signal waits for its handler at most.
const SLICE: Duration = Duration::from_millis(50);

/// The moment `wait_s` seconds from now; nothing to wait for when that is negative or no number.
pub(crate) fn deadline(wait_s: f64) -> Deadline {
    let wait = match Duration::try_from_secs_f64(wait_s) {
        Ok(wait) => wait,
        Err(_) if wait_s > 0.0 => Duration::MAX,
        Err(_) => Duration::ZERO,
    };
    Deadline::after(wait)
}

/// Seconds as whole milliseconds, for messages.
pub(crate) fn whole_ms(wait_s: f64) -> u64 {
    Duration::try_from_secs_f64(wait_s).map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

/// Repeats a wait that can be cut short until it yields something or the deadline passes; lets
/// Python's signal handlers run in between. `attempt` gets the end of its slice.
pub(crate) fn in_slices<T: Send>(
    py: Python<'_>,
    deadline: Deadline,
    attempt: impl Fn(Deadline) -> Result<Option<T>> + Sync,
) -> Outcome<Option<T>> {
    loop {
        let slice = Deadline::after(SLICE).min(deadline);
        let found = py.detach(|| attempt(slice));
        logs::tell(py)?;
        if let Some(value) = found? {
            return Ok(Some(value));
        }
        py.check_signals()?;
        if deadline.has_passed() {
            return Ok(None);
        }
    }
}

/// [`whole`], unless no network is involved: a file answers at once, another thread costs some 30 us.
pub(crate) fn whole_if_remote<T: Send + 'static>(
    py: Python<'_>,
    is_local: bool,
    deadline: Deadline,
    operation: impl FnOnce(Deadline) -> Result<T> + Send + 'static,
) -> Outcome<T> {
    if is_local {
        let answer = py.detach(|| operation(deadline));
        logs::tell(py)?;
        return Ok(answer?);
    }
    whole(py, deadline, operation)
}

/// Runs an operation that cannot be cut short. Only the main thread runs signal handlers, so only
/// there it goes to a thread of its own, which ends by `deadline` whatever happens here.
pub(crate) fn whole<T: Send + 'static>(
    py: Python<'_>,
    deadline: Deadline,
    operation: impl FnOnce(Deadline) -> Result<T> + Send + 'static,
) -> Outcome<T> {
    if !is_main_thread(py)? {
        let answer = py.detach(|| operation(deadline));
        logs::tell(py)?;
        return Ok(answer?);
    }
    let (tell, mut told) = sync_channel(1);
    let errand = move || {
        // Nobody listens any more after Ctrl-C.
        drop(tell.send(operation(deadline)));
    };
    errands::run(errand).map_err(PyErr::from)?;
    loop {
        let (answer, back) = py.detach(move || (told.recv_timeout(SLICE), told));
        told = back;
        logs::tell(py)?;
        match answer {
            Ok(answer) => return Ok(answer?),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::Closed {
                    what: "the operation's thread",
                }
                .into());
            }
        }
    }
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import(intern!(py, "threading"))?;
    let here = threading.call_method0(intern!(py, "get_ident"))?;
    let main = threading
        .call_method0(intern!(py, "main_thread"))?
        .getattr(intern!(py, "ident"))?;
    here.eq(main)
}
