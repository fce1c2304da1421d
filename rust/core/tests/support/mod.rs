//! A consumer and a result store that do what a test says, and remember what they were told.
#![expect(dead_code, reason = "each test file uses its part")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::Result;
use celeriac_core::backend::{Put, ResultStore, Subscription};
use celeriac_core::broker::topology::QueueSpec;
use celeriac_core::broker::{AckToken, Consumer, Delivery, Settlement, Unsettled, Verdict};
use celeriac_core::error::Error;
use celeriac_core::time::Deadline;
use celeriac_core::wire::message::{Message, Properties, Target};
use parking_lot::{Condvar, Mutex, MutexGuard};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

pub(crate) fn at_once() -> Deadline {
    Deadline::after(Duration::ZERO)
}

/// A delivery whose task id is its tag.
pub(crate) fn delivery(tag: &str, eta: Option<&str>) -> Delivery {
    let eta = eta.map_or("null".to_owned(), |eta| format!("{eta:?}"));
    let headers = format!(r#"{{"task": "t", "id": "{tag}", "eta": {eta}}}"#);
    with_headers(tag, &headers)
}

pub(crate) fn with_headers(tag: &str, headers: &str) -> Delivery {
    Delivery {
        message: Ok(Message {
            headers: Bytes::from(headers.to_owned()),
            properties: Properties {
                content_type: "application/json".to_owned(),
                content_encoding: "utf-8".to_owned(),
                correlation_id: None,
                reply_to: None,
                delivery_mode: 2,
                priority: None,
                expiration: None,
                delivery_tag: tag.to_owned(),
                extra: Vec::new(),
            },
            body: Bytes::from_static(b"[[], {}, {}]"),
        }),
        target: Target::default(),
        queue: "celery".to_owned(),
        redelivered: false,
        losses: 0,
        token: AckToken {
            tag: tag.to_owned(),
            epoch: 1,
        },
    }
}

pub(crate) fn lost() -> Error {
    Error::Disconnected {
        url: "fake://".to_owned(),
        cause: "pulled the plug".to_owned(),
    }
}

pub(crate) fn refused() -> Error {
    Error::Refused {
        url: "fake://".to_owned(),
        cause: "never".to_owned(),
        passing: false,
    }
}

pub(crate) fn put(task_id: &str) -> Put {
    Put {
        task_id: task_id.to_owned(),
        document: Bytes::from_static(b"{}"),
        is_final: true,
        expires_s: None,
        reply: None,
    }
}

/// What happened at the fakes, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Settled(Vec<(String, Verdict, Option<String>)>),
    Stored(Vec<String>),
    Closed,
}

#[derive(Debug, Default)]
struct State {
    /// What `reserve` answers, one by one; errors last for one call.
    answers: VecDeque<Result<Delivery>>,
    rooms: Vec<usize>,
    interrupts: usize,
    seen: Vec<Seen>,
    settle_errors: VecDeque<Error>,
    store_errors: VecDeque<Error>,
    /// A settlement with this tag is always refused for good, with its whole batch.
    poison: Option<String>,
    is_held: bool,
    /// How many settlements wait inside.
    waiting: usize,
    is_lost: bool,
    failures: usize,
    valid_from: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Fake {
    state: Mutex<State>,
    changed: Condvar,
    pub(crate) carries_results: bool,
}

impl Fake {
    pub(crate) fn new(carries_results: bool) -> Arc<Self> {
        Arc::new(Self {
            carries_results,
            ..Self::default()
        })
    }

    pub(crate) fn answer(&self, answers: impl IntoIterator<Item = Result<Delivery>>) {
        self.state.lock().answers.extend(answers);
        self.changed.notify_all();
    }

    pub(crate) fn fail_settling(&self, errors: impl IntoIterator<Item = Error>) {
        self.state.lock().settle_errors.extend(errors);
    }

    pub(crate) fn fail_storing(&self, errors: impl IntoIterator<Item = Error>) {
        self.state.lock().store_errors.extend(errors);
    }

    pub(crate) fn poison(&self, tag: Option<&str>) {
        self.state.lock().poison = tag.map(ToOwned::to_owned);
    }

    fn wait_inside(&self, state: &mut MutexGuard<'_, State>) {
        state.waiting += 1;
        self.changed.notify_all();
        while state.is_held {
            let wait = self.changed.wait_for(state, PATIENCE);
            assert!(!wait.timed_out(), "nobody let settling go");
        }
        state.waiting -= 1;
    }

    /// Waits until a settlement or a document waits inside.
    pub(crate) fn wait_held(&self) {
        let mut state = self.state.lock();
        while state.waiting == 0 {
            let wait = self.changed.wait_for(&mut state, PATIENCE);
            assert!(!wait.timed_out(), "nothing is settled");
        }
    }

    /// Makes `settle` and `put` wait inside, until let go.
    pub(crate) fn hold_settling(&self, is_held: bool) {
        self.state.lock().is_held = is_held;
        self.changed.notify_all();
    }

    /// Makes every settlement fail as if the connection were lost, until told otherwise.
    pub(crate) fn lose(&self, is_lost: bool) {
        self.state.lock().is_lost = is_lost;
    }

    /// What came over a connection before `epoch` is in its queue again.
    pub(crate) fn take_back_before(&self, epoch: u64) {
        self.state.lock().valid_from = epoch;
    }

    /// Waits for one more failure: what was settled before is released then.
    pub(crate) fn wait_next_failure(&self) {
        let count = self.state.lock().failures + 1;
        self.wait_failures(count);
    }

    pub(crate) fn wait_failures(&self, count: usize) {
        let mut state = self.state.lock();
        while state.failures < count {
            let wait = self.changed.wait_for(&mut state, PATIENCE);
            assert!(!wait.timed_out(), "only {} failures", state.failures);
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().seen.clone()
    }

    pub(crate) fn wait_seen(&self, count: usize) -> Vec<Seen> {
        let mut state = self.state.lock();
        while state.seen.len() < count {
            let wait = self.changed.wait_for(&mut state, PATIENCE);
            assert!(!wait.timed_out(), "seen only {:?}", state.seen);
        }
        state.seen.clone()
    }

    /// Waits until `reserve` was called this often; the rooms it was called with.
    pub(crate) fn wait_rooms(&self, count: usize) -> Vec<usize> {
        let mut state = self.state.lock();
        while state.rooms.len() < count {
            let wait = self.changed.wait_for(&mut state, PATIENCE);
            assert!(!wait.timed_out(), "reserved only {:?}", state.rooms);
        }
        state.rooms.clone()
    }
}

impl Consumer for Fake {
    fn reserve(&self, room: usize, deadline: Deadline) -> Result<Vec<Delivery>> {
        let mut state = self.state.lock();
        state.rooms.push(room);
        self.changed.notify_all();
        while state.answers.is_empty() && state.interrupts == 0 {
            if self
                .changed
                .wait_until(&mut state, deadline.instant())
                .timed_out()
            {
                return Ok(Vec::new());
            }
        }
        state.interrupts = 0;
        let mut reserved = Vec::new();
        while reserved.len() < room {
            match state.answers.pop_front() {
                Some(Ok(delivery)) => reserved.push(delivery),
                Some(Err(error)) => return Err(error),
                None => break,
            }
        }
        Ok(reserved)
    }

    fn settle(&self, batch: Vec<Settlement>, _deadline: Deadline) -> Result<(), Unsettled> {
        let mut state = self.state.lock();
        self.wait_inside(&mut state);
        let error = state.is_lost.then(lost);
        if let Some(error) = error.or_else(|| state.settle_errors.pop_front()) {
            state.failures += 1;
            self.changed.notify_all();
            return Err(Unsettled { error, batch });
        }
        if batch
            .iter()
            .any(|settlement| state.poison.as_ref() == Some(&settlement.token.tag))
        {
            state.failures += 1;
            self.changed.notify_all();
            return Err(Unsettled {
                error: refused(),
                batch,
            });
        }
        let settled = batch.into_iter().map(|settlement| {
            let put = settlement.put.map(|put| put.task_id);
            (settlement.token.tag, settlement.verdict, put)
        });
        let settled = settled.collect();
        state.seen.push(Seen::Settled(settled));
        self.changed.notify_all();
        Ok(())
    }

    fn stores_results_of(&self, _result_url: &str) -> bool {
        self.carries_results
    }

    fn valid_from(&self) -> u64 {
        self.state.lock().valid_from
    }

    fn interrupt(&self) {
        self.state.lock().interrupts += 1;
        self.changed.notify_all();
    }

    fn add_queue(&self, _queue: &QueueSpec, _deadline: Deadline) -> Result<()> {
        Ok(())
    }

    fn cancel_queue(&self, _queue: &str) {}

    fn close(&self, _deadline: Deadline) {
        self.state.lock().seen.push(Seen::Closed);
    }
}

impl ResultStore for Fake {
    fn put(&self, puts: Vec<Put>, _deadline: Deadline) -> Result<()> {
        let mut state = self.state.lock();
        self.wait_inside(&mut state);
        if let Some(error) = state.store_errors.pop_front() {
            return Err(error);
        }
        let stored = puts.into_iter().map(|put| put.task_id).collect();
        state.seen.push(Seen::Stored(stored));
        self.changed.notify_all();
        Ok(())
    }

    fn get(&self, _task_id: &str, _deadline: Deadline) -> Result<Option<Bytes>> {
        Ok(None)
    }

    fn get_many(&self, task_ids: &[String], _deadline: Deadline) -> Result<Vec<Option<Bytes>>> {
        Ok(vec![None; task_ids.len()])
    }

    fn forget(&self, _task_id: &str, _deadline: Deadline) -> Result<()> {
        Ok(())
    }

    fn subscribe(&self, _: &str, _: bool, _: Deadline) -> Result<Box<dyn Subscription>> {
        Err(refused())
    }

    fn put_raw(&self, _: &str, _: Bytes, _: Option<u64>, _: Deadline) -> Result<()> {
        Ok(())
    }

    fn get_raw(&self, _: &str, _: Deadline) -> Result<Option<Bytes>> {
        Ok(None)
    }

    fn forget_raw(&self, _: &str, _: Deadline) -> Result<()> {
        Ok(())
    }

    fn cleanup(&self, _: Deadline) -> Result<u64> {
        Ok(0)
    }
}
