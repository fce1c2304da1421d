//! Leases messages and settles them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::database::{Database, Handle};
use super::keeper::{self, Keeper, Owner};
use super::messages::{self, Outlook};
use super::wakeup::{Ear, Heard, Kind, hash};
use crate::backend::sqlite::documents;
use crate::broker::topology::QueueSpec;
use crate::broker::{Consumer, ConsumerConfig, Delivery, History, Settlement, Unsettled};
use crate::error::{Error, Result};
use crate::time::Deadline;

/// What a consumer has once it has begun.
#[derive(Debug)]
struct Session {
    database: Arc<Database>,
    owner: Owner,
    ear: Ear,
    _keeper: Keeper,
    pid: u32,
}

/// What a look into the tables finds.
enum Found {
    Some(Vec<Delivery>),
    /// Nothing is due for so long.
    Until(Duration),
}

#[derive(Debug)]
pub(super) struct SqliteConsumer {
    handle: Handle,
    node: String,
    prefetch: usize,
    queues: Mutex<Vec<String>>,
    to_bind: Mutex<Vec<QueueSpec>>,
    /// Tags of what is leased and not settled, and the [`Database::opening`] it came with.
    held: Mutex<HashMap<String, u64>>,
    session: Mutex<Option<Arc<Session>>>,
    is_interrupted: AtomicBool,
    is_closed: AtomicBool,
}

impl SqliteConsumer {
    pub(super) fn new(handle: Handle, config: ConsumerConfig) -> Self {
        Self {
            handle,
            prefetch: config.most(usize::MAX),
            node: config.node,
            queues: Mutex::new(config.queues.iter().map(|queue| queue.name.clone()).collect()),
            to_bind: Mutex::new(
                config
                    .queues
                    .iter()
                    .flat_map(QueueSpec::bindings)
                    .cloned()
                    .collect(),
            ),
            held: Mutex::default(),
            session: Mutex::default(),
            is_interrupted: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        }
    }

    fn session(&self, deadline: Deadline) -> Result<Arc<Session>> {
        let mut session = self.session.lock();
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::Closed { what: "consumer" });
        }
        if let Some(session) = &*session {
            // Its leases are the parent's, which still works on them.
            return (session.pid == std::process::id())
                .then(|| Arc::clone(session))
                .ok_or(Error::Closed {
                    what: "a consumer of another process",
                });
        }
        let database = self.handle.database()?;
        let ear = Ear::bind(&database.bell, Kind::Consumers)?;
        let owner = keeper::enroll(&database, &self.node, ear.name(), deadline)?;
        let keeper = Keeper::start(Arc::clone(&database), owner.clone(), self.handle.config.lease)?;
        let begun = Session {
            database,
            owner,
            ear,
            _keeper: keeper,
            pid: std::process::id(),
        };
        Ok(Arc::clone(session.insert(Arc::new(begun))))
    }

    /// Binds what is not bound yet, and again what ended because this owner was taken for dead.
    fn bind_queues(&self, session: &Session, deadline: Deadline) -> Result<()> {
        let mut to_bind = self.to_bind.lock();
        if to_bind.is_empty() {
            return Ok(());
        }
        let database = &session.database;
        let missing = database.read(deadline, |snapshot| {
            let mut missing = Vec::new();
            for queue in &*to_bind {
                if !messages::is_bound(snapshot, queue)? {
                    missing.push(queue.clone());
                }
            }
            Ok(missing)
        })?;
        if !missing.is_empty() {
            let id = session.owner.id;
            database.write(deadline, |transaction| {
                keeper::ensure(transaction, &session.owner)?;
                missing.iter().try_for_each(|queue| {
                    messages::bind(transaction, queue, queue.is_broadcast().then_some(id))
                })
            })?;
        }
        to_bind.retain(QueueSpec::is_broadcast);
        Ok(())
    }

    /// Leases what there is. The next call begins with the next queue.
    fn take(&self, session: &Session, room: usize, deadline: Deadline) -> Result<Found> {
        let room = room.min(self.prefetch.saturating_sub(self.held.lock().len()));
        let queues = {
            let mut queues = self.queues.lock();
            if !queues.is_empty() {
                queues.rotate_left(1);
            }
            queues.clone()
        };
        let database = &session.database;
        let now_ms = database.unix_ms();
        let outlook = if room == 0 {
            Outlook::Nothing
        } else {
            database.read(deadline, |snapshot| messages::outlook(snapshot, &queues, now_ms))?
        };
        match outlook {
            Outlook::Now => {}
            Outlook::At(due_ms) => {
                let wait_ms = u64::try_from(due_ms.saturating_sub(now_ms)).unwrap_or(0);
                return Ok(Found::Until(Duration::from_millis(wait_ms)));
            }
            Outlook::Nothing => return Ok(Found::Until(Duration::MAX)),
        }
        let taken = database.write(deadline, |transaction| {
            keeper::ensure(transaction, &session.owner)?;
            messages::promote(transaction, &queues, now_ms, room)?;
            let taken = messages::lease(transaction, &queues, session.owner.id, room)?;
            Ok((database.opening(), taken))
        })?;
        let (opening, taken) = taken;
        let tags = taken.iter().map(|delivery| delivery.token.tag.clone());
        self.held.lock().extend(tags.map(|tag| (tag, opening)));
        Ok(Found::Some(taken))
    }

    fn concerns(&self, heard: &Heard) -> bool {
        heard.all
            || self
                .queues
                .lock()
                .iter()
                .any(|queue| heard.hashes.contains(&hash(queue)))
    }
}

impl Consumer for SqliteConsumer {
    fn reserve(&self, room: usize, deadline: Deadline) -> Result<Vec<Delivery>> {
        let session = self.session(deadline)?;
        self.bind_queues(&session, deadline)?;
        loop {
            if self.is_closed.load(Ordering::Acquire) {
                return Err(Error::Closed { what: "consumer" });
            }
            if self.is_interrupted.swap(false, Ordering::AcqRel) {
                return Ok(Vec::new());
            }
            let taken = self.take(&session, room, Deadline::after(BUSY_PATIENCE))?;
            match taken {
                Found::Some(taken) if !taken.is_empty() || deadline.has_passed() => return Ok(taken),
                Found::Some(_) => {}
                Found::Until(_) if deadline.has_passed() => return Ok(Vec::new()),
                Found::Until(due) => wait(self, &session, Deadline::after(due).min(deadline)),
            }
        }
    }

    fn settle(&self, batch: Vec<Settlement>, deadline: Deadline) -> Result<(), Unsettled> {
        let session = match self.session(deadline) {
            Ok(session) => session,
            Err(error) => return Err(Unsettled { error, batch }),
        };
        // A tag that is not held was settled before, and its id may be another message's by now.
        // Not held from here on: what is handed back may be reserved again, under the same tag,
        // before its settlement returns.
        let came_with: Vec<Option<u64>> = {
            let mut held = self.held.lock();
            batch
                .iter()
                .map(|settlement| held.remove(&settlement.token.tag))
                .collect()
        };
        let settled = settle_all(&session, &batch, &came_with, deadline);
        let requeued = match settled {
            Ok(requeued) => requeued,
            Err(error) => {
                let still_held = batch
                    .iter()
                    .zip(came_with)
                    .filter_map(|(settlement, opening)| Some((settlement.token.tag.clone(), opening?)));
                self.held.lock().extend(still_held);
                return Err(Unsettled { error, batch });
            }
        };
        let bell = &session.database.bell;
        let stored = batch.iter().filter_map(|settlement| settlement.put.as_ref());
        bell.ring(Kind::Waiters, stored.map(|put| put.task_id.as_str()));
        bell.ring(Kind::Consumers, requeued.iter().map(String::as_str));
        if self.prefetch != usize::MAX {
            session.ear.wake();
        }
        Ok(())
    }

    fn stores_results_of(&self, result_url: &str) -> bool {
        self.handle.is_of(result_url)
    }

    fn interrupt(&self) {
        self.is_interrupted.store(true, Ordering::Release);
        if let Some(session) = &*self.session.lock() {
            session.ear.wake();
        }
    }

    fn add_queue(&self, queue: &QueueSpec, deadline: Deadline) -> Result<()> {
        queue.check_emulated()?;
        self.to_bind.lock().extend(queue.bindings().cloned());
        let session = self.session(deadline)?;
        self.bind_queues(&session, deadline)?;
        {
            let mut queues = self.queues.lock();
            if !queues.contains(&queue.name) {
                queues.push(queue.name.clone());
            }
        }
        session.ear.wake();
        Ok(())
    }

    fn cancel_queue(&self, queue: &str) {
        self.to_bind.lock().retain(|known| known.name != queue);
        self.queues.lock().retain(|name| name != queue);
    }

    fn close(&self, deadline: Deadline) {
        self.is_closed.store(true, Ordering::Release);
        let Some(session) = self.session.lock().take() else {
            return;
        };
        session.ear.wake();
        if session.pid == std::process::id()
            && let Err(error) = release(&session, deadline)
        {
            tracing::warn!(%error, "leases could not be handed back; others take them over");
        }
    }
}

impl Drop for SqliteConsumer {
    fn drop(&mut self) {
        self.close(Deadline::after(BUSY_PATIENCE));
    }
}

/// A transaction may wait so long for those of other processes, whatever a reserve's deadline is.
const BUSY_PATIENCE: Duration = Duration::from_secs(10);

/// Waits until somebody rings about a queue of this consumer, or wakes it, or it is time to look.
fn wait(consumer: &SqliteConsumer, session: &Session, deadline: Deadline) {
    let look = Deadline::after(consumer.handle.config.poll_interval).min(deadline);
    loop {
        let heard = session.ear.wait(look.left());
        let is_named = !heard.hashes.is_empty();
        // A wake names nothing: room was made, or a queue added, or it is an interrupt.
        if look.has_passed() || !is_named || consumer.concerns(&heard) {
            return;
        }
    }
}

fn settle_all(
    session: &Session,
    batch: &[Settlement],
    came_with: &[Option<u64>],
    deadline: Deadline,
) -> Result<Vec<String>> {
    let database = &session.database;
    let now_ms = database.unix_ms();
    let history = History {
        at_unix_ms: now_ms.unsigned_abs(),
        worker: session.owner.node.clone(),
        losses: 0,
    };
    database.write(deadline, |transaction| {
        let mut requeued = Vec::new();
        documents::store(
            transaction,
            batch.iter().filter_map(|settlement| settlement.put.as_ref()),
            now_ms,
        )?;
        // In a file that has taken the other's place, its id is another message's.
        let opening = Some(database.opening());
        let held = batch.iter().zip(came_with).filter(|(_, with)| **with == opening);
        for (settlement, _) in held {
            requeued.extend(messages::settle(
                transaction,
                &settlement.token,
                &settlement.verdict,
                &history,
            )?);
        }
        Ok(requeued)
    })
}

fn release(session: &Session, deadline: Deadline) -> Result<()> {
    let released = session.database.write(deadline, |transaction| {
        messages::release(transaction, session.owner.id, false)
    })?;
    if released > 0 {
        session.database.bell.ring_all(Kind::Consumers);
    }
    Ok(())
}
