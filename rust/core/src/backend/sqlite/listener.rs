//! The thread that hears of new documents and hands them to who waits.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::Transaction;

use super::documents;
use crate::backend::Subscription;
use crate::backend::waiters::{Change, WaiterHandle, Waiters};
use crate::broker::sqlite::database::Database;
use crate::broker::sqlite::wakeup::{Ear, Heard, Kind, hash};
use crate::error::{Error, Result};
use crate::time::Deadline;
use crate::wake::Wake;

/// A look at the database may wait this long for other processes.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Shared {
    database: Arc<Database>,
    ear: Ear,
    waiters: Waiters,
    /// Hashes of the ids that are waited for: a ring about others costs nothing.
    wanted: Arc<Mutex<HashSet<u64>>>,
    /// The number of the last document that was looked at.
    seen: Mutex<Seen>,
    has_ended: AtomicBool,
}

/// How far documents were looked at, and in which file ([`Database::opening`]).
#[derive(Clone, Copy, Debug)]
struct Seen {
    opening: u64,
    seq: i64,
}

impl Seen {
    /// Where to go on: a file that has taken the other's place is read from its beginning.
    fn after(self, opening: u64) -> i64 {
        if self.opening == opening { self.seq } else { 0 }
    }
}

/// Listens until it and all its subscriptions are dropped.
#[derive(Debug)]
pub(super) struct Listener {
    shared: Arc<Shared>,
}

impl Listener {
    pub(super) fn start(
        database: Arc<Database>,
        poll_interval: Duration,
        deadline: Deadline,
    ) -> Result<Self> {
        let ear = Ear::bind(&database.bell, Kind::Waiters)?;
        let wanted: Arc<Mutex<HashSet<u64>>> = Arc::default();
        let waiters = Waiters::with_listener({
            let wanted = Arc::clone(&wanted);
            Box::new(move |change, id| {
                match change {
                    Change::First => wanted.lock().insert(hash(id)),
                    Change::Last => wanted.lock().remove(&hash(id)),
                };
            })
        });
        let seen = database.read(deadline, |snapshot| {
            Ok(Seen {
                opening: database.opening(),
                seq: documents::last_seq(snapshot)?,
            })
        })?;
        let shared = Arc::new(Shared {
            database,
            ear,
            waiters,
            wanted,
            seen: Mutex::new(seen),
            has_ended: AtomicBool::new(false),
        });
        let listening = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("celeriac-results".to_owned());
        match thread.spawn(move || listening.run(poll_interval)) {
            Ok(_) => Ok(Self { shared }),
            Err(error) => Err(Error::Refused {
                url: "the operating system".to_owned(),
                cause: format!("no thread for listening to results: {error}"),
                passing: true,
            }),
        }
    }

    pub(super) fn subscribe(
        this: &Arc<Self>,
        task_id: &str,
        already_sent: bool,
        deadline: Deadline,
    ) -> Result<Hearing> {
        let handle = this.shared.subscribe(task_id, already_sent, deadline)?;
        Ok(Hearing {
            handle,
            _listener: Arc::clone(this),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::Release);
        self.shared.ear.wake();
    }
}

impl Shared {
    fn run(&self, poll_interval: Duration) {
        let mut look = Deadline::after(poll_interval);
        while !self.has_ended.load(Ordering::Acquire) {
            let heard = self.ear.wait(look.left());
            let is_time = look.has_passed();
            if is_time {
                look = Deadline::after(poll_interval);
            }
            if (is_time || self.concerns(&heard))
                && !self.waiters.is_empty()
                && let Err(error) = self.advance()
            {
                tracing::warn!(%error, "new results could not be read; trying again");
            }
        }
    }

    fn concerns(&self, heard: &Heard) -> bool {
        heard.all || {
            let wanted = self.wanted.lock();
            heard.hashes.iter().any(|hash| wanted.contains(hash))
        }
    }

    /// Hands out what was stored since the last look.
    fn advance(&self) -> Result<()> {
        let mut seen = self.seen.lock();
        *seen = self.database.read(Deadline::after(PATIENCE), |snapshot| {
            self.hand_out(snapshot, *seen)
        })?;
        Ok(())
    }

    fn hand_out(&self, snapshot: &Transaction<'_>, seen: Seen) -> rusqlite::Result<Seen> {
        let opening = self.database.opening();
        let seq = documents::each_after(
            snapshot,
            seen.after(opening),
            |task_id| self.waiters.contains(task_id),
            |task_id, document| {
                self.waiters.deliver(task_id, document);
            },
        )?;
        Ok(Seen { opening, seq })
    }

    /// Enters a waiter between two documents: what is stored before is seen, what comes after is
    /// delivered.
    fn subscribe(&self, task_id: &str, already_sent: bool, deadline: Deadline) -> Result<WaiterHandle> {
        let now_ms = self.database.unix_ms();
        let mut seen = self.seen.lock();
        let current = self.database.read(deadline, |snapshot| {
            // Seen even if this is repeated: nobody is handed a document twice.
            *seen = if self.waiters.is_empty() {
                Seen {
                    opening: self.database.opening(),
                    seq: documents::last_seq(snapshot)?,
                }
            } else {
                self.hand_out(snapshot, *seen)?
            };
            if already_sent {
                return Ok(None);
            }
            documents::current(snapshot, task_id, now_ms)
        })?;
        let handle = self.waiters.subscribe(task_id);
        if let Some(current) = current {
            handle.start_with(current);
        }
        Ok(handle)
    }
}

/// A subscription, which keeps its listener running.
#[derive(Debug)]
pub(super) struct Hearing {
    handle: WaiterHandle,
    _listener: Arc<Listener>,
}

impl Subscription for Hearing {
    fn next(&self, deadline: Deadline) -> Result<Option<Bytes>> {
        self.handle.next(deadline)
    }

    fn watch(&self, wake: Wake) -> bool {
        self.handle.watch(wake)
    }

    fn take(&self) -> Option<Bytes> {
        self.handle.take()
    }
}
