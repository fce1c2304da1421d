//! How a loop of asyncio waits for Rust: it watches a descriptor, and no thread of ours touches
//! Python.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use celeriac_core::ledger::Ledger;
use celeriac_core::links::{Stream, borrow, pair};
use celeriac_core::wake::Wake;
use celeriac_core::{Error, Result, backend};
use parking_lot::Mutex;
use pyo3::prelude::*;

use crate::backend::Subscription;
use crate::descriptor::number_of;
use crate::errors::OrRaise;

/// Tells one loop what is ready: tokens, and a descriptor that is readable while there are any.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct Bell {
    far: Stream,
    shared: Arc<Rung>,
}

#[derive(Debug)]
struct Rung {
    near: Stream,
    tokens: Mutex<Vec<u64>>,
}

impl Rung {
    fn ring(&self, token: u64) {
        let mut tokens = self.tokens.lock();
        tokens.push(token);
        // One byte for all that come before the loop looks: the pair never fills up.
        if tokens.len() == 1
            && let Err(error) = (&self.near).write(&[1])
        {
            tracing::debug!(%error, "a loop that is closed is not woken");
        }
    }
}

impl Bell {
    /// What rings `token`.
    pub(crate) fn wake(&self, token: u64) -> Wake {
        let shared = Arc::clone(&self.shared);
        Wake::new(move || shared.ring(token))
    }
}

#[pymethods]
impl Bell {
    /// A bell of a loop. Raises `OSError` where there are no more descriptors.
    #[new]
    fn new() -> PyResult<Self> {
        let (near, far) = pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let tokens = Mutex::default();
        Ok(Self {
            far,
            shared: Arc::new(Rung { near, tokens }),
        })
    }

    /// The descriptor to watch; it is closed with the bell.
    fn fileno(&self) -> i64 {
        number_of(borrow(&self.far))
    }

    /// Takes what is ready; a token may come more than once.
    fn take(&self) -> Vec<u64> {
        let mut tokens = self.shared.tokens.lock();
        let mut byte = [0; 8];
        if let Err(error) = (&self.far).read(&mut byte) {
            tracing::trace!(%error, "nobody has rung");
        }
        std::mem::take(&mut *tokens)
    }
}

/// Something that was handed over, and what came of it.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct Errand {
    answer: Arc<Answer>,
}

/// Where the answer to an errand is put.
#[derive(Debug)]
pub(crate) struct Answer {
    ledger: Arc<Ledger>,
    wake: Wake,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the message is with the publisher: its ledger knows the rest.
    is_sent: bool,
    failure: Option<Error>,
    subscription: Option<Box<dyn backend::Subscription>>,
}

impl Errand {
    /// An errand that was not begun; `wake` tells that it is done.
    pub(crate) fn new(wake: Wake) -> Self {
        let ledger = Ledger::new(1, usize::MAX);
        ledger.watch(wake.clone());
        let state = Mutex::default();
        Self {
            answer: Arc::new(Answer { ledger, wake, state }),
        }
    }

    /// Where to put its answer.
    pub(crate) fn answer(&self) -> Arc<Answer> {
        Arc::clone(&self.answer)
    }
}

impl Answer {
    /// Does the work that enters the message in the ledger.
    pub(crate) fn start(&self, work: impl FnOnce(&Arc<Ledger>) -> Result<()>) -> Result<()> {
        work(&self.ledger)?;
        self.done();
        Ok(())
    }

    /// Keeps the subscription to the result.
    pub(crate) fn listens(&self, subscription: Box<dyn backend::Subscription>) {
        self.state.lock().subscription = Some(subscription);
    }

    /// Says that nothing more is done here.
    pub(crate) fn done(&self) {
        self.state.lock().is_sent = true;
        self.wake.call();
    }

    /// Says that it failed.
    pub(crate) fn fail(&self, error: Error) {
        self.state.lock().failure = Some(error);
        self.wake.call();
    }
}

#[pymethods]
impl Errand {
    /// Whether `take` has something to say.
    #[getter]
    fn is_done(&self) -> bool {
        let state = self.answer.state.lock();
        state.failure.is_some() || (state.is_sent && self.answer.ledger.pending() == 0)
    }

    /// The subscription that was asked for, once it is done; raises `OperationalError`.
    fn take(&self, py: Python<'_>) -> PyResult<Option<Subscription>> {
        let mut state = self.answer.state.lock();
        let refused = self.answer.ledger.take_failed().pop().map(|(_, error)| error);
        let (failure, subscription) = (state.failure.take().or(refused), state.subscription.take());
        drop(state);
        match failure {
            Some(error) => Err(error).or_raise(py),
            None => Ok(subscription.map(Subscription::new)),
        }
    }
}
