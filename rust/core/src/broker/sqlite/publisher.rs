//! Gathers messages into transactions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender};
use parking_lot::Mutex;

use super::database::Handle;
use super::messages;
use super::wakeup::Kind;
use crate::broker::topology::QueueSpec;
use crate::broker::{Aside, Publisher};
use crate::error::{Error, Result};
use crate::ledger::Receipt;
use crate::per_process::PerProcess;
use crate::time::Deadline;
use crate::wire::letter::Letter;
use crate::wire::message::{Outgoing, Target};

/// Messages that wait for the thread. Beyond that, `send` waits.
const MAX_QUEUED: usize = 4_096;
/// Messages and bytes of one transaction.
const MAX_BATCH: usize = 512;
const MAX_BATCH_BYTES: usize = 8 << 20;

#[derive(Debug)]
struct Job {
    outgoing: Arc<Outgoing>,
    receipt: Receipt,
    deadline: Deadline,
}

/// The thread that commits what is published through windows.
#[derive(Debug)]
struct Lane {
    jobs: Sender<Job>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

#[derive(Debug)]
pub(super) struct SqlitePublisher {
    handle: Arc<Handle>,
    lane: PerProcess<Mutex<Option<Lane>>>,
    is_closed: AtomicBool,
    /// The time to close is over: what is still queued is given up.
    is_abandoned: Arc<AtomicBool>,
}

impl SqlitePublisher {
    pub(super) fn new(handle: Handle) -> Self {
        Self {
            handle: Arc::new(handle),
            lane: PerProcess::new(),
            is_closed: AtomicBool::new(false),
            is_abandoned: Arc::default(),
        }
    }

    fn jobs(&self) -> Result<Sender<Job>> {
        let mut lane = self.lane.get_or_init(Mutex::default).lock();
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::Closed { what: "publisher" });
        }
        if let Some(lane) = &*lane {
            return Ok(lane.jobs.clone());
        }
        let started = start(Arc::clone(&self.handle), Arc::clone(&self.is_abandoned))?;
        Ok(lane.insert(started).jobs.clone())
    }
}

fn start(handle: Arc<Handle>, is_abandoned: Arc<AtomicBool>) -> Result<Lane> {
    let (jobs, queued) = crossbeam_channel::bounded(MAX_QUEUED);
    let (running, ended) = crossbeam_channel::bounded(0);
    let work = move || {
        let _running: Sender<()> = running;
        while let Ok(first) = queued.recv() {
            if is_abandoned.load(Ordering::Acquire) {
                drop(first);
                continue;
            }
            commit(&handle, gather(first, &queued));
        }
    };
    let thread = std::thread::Builder::new()
        .name("celeriac-sqlite".to_owned())
        .spawn(work);
    thread
        .map(|_| Lane { jobs, ended })
        .map_err(|error| Error::Refused {
            url: "the operating system".to_owned(),
            cause: format!("no thread for publishing: {error}"),
            passing: true,
        })
}

/// The first job and what waits behind it; nothing is waited for.
fn gather(first: Job, queued: &Receiver<Job>) -> Vec<Job> {
    let mut bytes = first.outgoing.message.body.len();
    let mut batch = vec![first];
    while batch.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES {
        let Ok(job) = queued.try_recv() else { break };
        bytes += job.outgoing.message.body.len();
        batch.push(job);
    }
    batch
}

/// Stores messages in one transaction, rings at who consumes them, and tells the receipts.
fn commit(handle: &Handle, batch: Vec<Job>) {
    let Some(deadline) = batch.iter().map(|job| job.deadline).max() else {
        return;
    };
    let stored = handle.database().and_then(|database| {
        let routes = database.write(deadline, |transaction| {
            messages::insert(transaction, batch.iter().map(|job| &*job.outgoing))
        })?;
        let queues = routes.iter().flatten();
        database.bell.ring(Kind::Consumers, queues.map(String::as_str));
        Ok(routes)
    });
    match stored {
        Err(error) => batch.into_iter().for_each(|job| job.receipt.fail(error.clone())),
        Ok(routes) => {
            let told = batch.into_iter().zip(routes).filter_map(|(job, route)| {
                // An exchange drops what nobody is bound for, unless the sender asks for an error.
                if route.is_empty() && job.outgoing.is_mandatory() {
                    job.receipt.fail(unroutable(handle, &job.outgoing.target));
                    return None;
                }
                Some(job.receipt)
            });
            Receipt::confirm_all(told);
        }
    }
}

fn unroutable(handle: &Handle, target: &Target) -> Error {
    Error::Refused {
        url: format!("sqlite:///{}", handle.config.path.display()),
        cause: target.unroutable(),
        passing: false,
    }
}

impl Publisher for SqlitePublisher {
    fn post(&self, letter: Letter, _subscribe_to: Option<&str>, receipt: Receipt, deadline: Deadline) {
        if self.is_closed.load(Ordering::Acquire) {
            return receipt.fail(Error::Closed { what: "publisher" });
        }
        let outgoing = match letter.open() {
            Ok(outgoing) => outgoing,
            Err(error) => return receipt.fail(error),
        };
        let job = Job {
            outgoing,
            receipt,
            deadline,
        };
        // Its sender waits for it alone: two changes of threads would cost more than the commit.
        if job.receipt.is_awaited() {
            return commit(&self.handle, vec![job]);
        }
        match self.jobs() {
            Err(error) => job.receipt.fail(error),
            Ok(jobs) => {
                let given = deadline.left();
                match jobs.send_deadline(job, deadline.instant()) {
                    Ok(()) => {}
                    Err(SendTimeoutError::Timeout(job)) => job.receipt.fail(full(given)),
                    Err(SendTimeoutError::Disconnected(job)) => {
                        job.receipt.fail(Error::Closed { what: "publisher" });
                    }
                }
            }
        }
    }

    fn declare(&self, queue: &QueueSpec, deadline: Deadline) -> Result<()> {
        queue.check_emulated()?;
        let database = self.handle.database()?;
        for binding in queue.bindings() {
            // The queue of one consumer is there as long as that is.
            let is_there = binding.is_broadcast()
                || database.read(deadline, |snapshot| messages::is_bound(snapshot, binding))?;
            if !is_there {
                database.write(deadline, |transaction| messages::bind(transaction, binding, None))?;
            }
        }
        Ok(())
    }

    fn purge(&self, queue: &str, deadline: Deadline) -> Result<u64> {
        let database = self.handle.database()?;
        database.write(deadline, |transaction| messages::purge(transaction, queue))
    }

    fn depth(&self, queue: &str, deadline: Deadline) -> Result<u64> {
        let database = self.handle.database()?;
        database.read(deadline, |snapshot| messages::depth(snapshot, queue))
    }

    fn list_aside(&self, queue: &str, max: usize, deadline: Deadline) -> Result<Vec<Aside>> {
        let database = self.handle.database()?;
        database.read(deadline, |snapshot| messages::list_aside(snapshot, queue, max))
    }

    fn restore_aside(&self, queue: &str, tags: &[String], deadline: Deadline) -> Result<u64> {
        let database = self.handle.database()?;
        let restored = database.write(deadline, |transaction| {
            messages::restore_aside(transaction, queue, tags)
        })?;
        database.bell.ring(Kind::Consumers, std::iter::once(queue));
        Ok(restored)
    }

    fn drop_aside(&self, queue: &str, tags: &[String], deadline: Deadline) -> Result<u64> {
        let database = self.handle.database()?;
        database.write(deadline, |transaction| {
            messages::drop_aside(transaction, queue, tags)
        })
    }

    fn carries_results_of(&self, _result_url: &str) -> bool {
        false
    }

    fn close(&self, deadline: Deadline) {
        self.is_closed.store(true, Ordering::Release);
        let Some(lane) = self.lane.get_or_init(Mutex::default).lock().take() else {
            return;
        };
        drop(lane.jobs);
        if lane.ended.recv_timeout(deadline.left()) == Err(RecvTimeoutError::Timeout) {
            self.is_abandoned.store(true, Ordering::Release);
        }
    }
}

fn full(given: Duration) -> Error {
    Error::TimedOut {
        what: "a full queue of messages to publish",
        waited_ms: u64::try_from(given.as_millis()).unwrap_or(u64::MAX),
    }
}
