//! Shows that a consumer lives, and takes over from consumers that do not.
//!
//! A dead process is known at once: the kernel closes its socket. One that lives but does not
//! stir (stopped, or its socket was removed) loses its messages after a lease without a beat,
//! measured by the monotonic clock of who watches: a jump of the wall clock or a sleep of the
//! machine takes nothing from anybody.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rusqlite::{OptionalExtension, Transaction, params};

use super::database::Database;
use super::messages;
use super::wakeup::{Kind, Liveness};
use crate::error::{Error, Result};
use crate::time::Deadline;

/// How often the others are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Beats within the length of a lease.
const BEATS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(5);

/// Who a consumer is to the others.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) id: i64,
    pub(super) node: String,
    pub(super) socket: String,
}

/// Enters a consumer into the list of owners.
pub(super) fn enroll(database: &Database, node: &str, socket: &str, deadline: Deadline) -> Result<Owner> {
    let owner = Owner {
        id: fresh_id(),
        node: node.to_owned(),
        socket: socket.to_owned(),
    };
    database.write(deadline, |transaction| insert(transaction, &owner))?;
    Ok(owner)
}

/// Enters an owner again who was taken for dead, so that nothing it leases is without an owner.
pub(super) fn ensure(transaction: &Transaction<'_>, owner: &Owner) -> rusqlite::Result<()> {
    let is_there = transaction
        .prepare_cached("SELECT 1 FROM owners WHERE id = ?1")?
        .exists([owner.id])?;
    if is_there {
        return Ok(());
    }
    insert(transaction, owner)
}

/// Nobody else's in this file, nor in one that takes its place while the owner lives.
fn fresh_id() -> i64 {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    i64::try_from(random >> 2).unwrap_or(i64::MAX).max(1)
}

fn insert(transaction: &Transaction<'_>, owner: &Owner) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO owners (id, node, pid, socket) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![owner.id, owner.node, std::process::id(), owner.socket])?;
    Ok(())
}

/// The thread behind a consumer. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    _running: Sender<()>,
}

impl Keeper {
    /// Starts the thread; it looks at the others at once.
    pub(super) fn start(database: Arc<Database>, owner: Owner, lease: Duration) -> Result<Self> {
        let (running, stop) = crossbeam_channel::bounded(0);
        let mut watch = Watch {
            database,
            owner,
            lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            beaten_ms: None,
            seen: HashMap::new(),
        };
        let pause = LOOK.min(lease / BEATS);
        let work = move || watch.run(&stop, pause);
        let thread = std::thread::Builder::new()
            .name("celeriac-keeper".to_owned())
            .spawn(work);
        thread
            .map(|_| Self { _running: running })
            .map_err(|error| Error::Refused {
                url: "the operating system".to_owned(),
                cause: format!("no thread for keeping leases: {error}"),
                passing: true,
            })
    }
}

struct Peer {
    id: i64,
    node: String,
    socket: String,
    beat: i64,
}

struct Watch {
    database: Arc<Database>,
    owner: Owner,
    lease_ms: u64,
    /// When this owner last showed that it lives.
    beaten_ms: Option<u64>,
    /// Each peer's last beat, and when it was first seen.
    seen: HashMap<i64, (i64, u64)>,
}

impl Watch {
    fn run(&mut self, stop: &Receiver<()>, pause: Duration) {
        loop {
            if let Err(error) = self.look() {
                tracing::warn!(%error, "leases could not be kept; trying again");
            }
            if stop.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    fn look(&mut self) -> Result<()> {
        let deadline = Deadline::after(PATIENCE);
        let peers = self.peers(deadline)?;
        if self.beaten_ms.is_none() {
            let kept: Vec<String> = peers.iter().map(|peer| peer.socket.clone()).collect();
            self.database.bell.sweep(&kept);
        }
        self.beat(deadline)?;
        self.seen.retain(|id, _| peers.iter().any(|peer| peer.id == *id));
        for peer in peers {
            if self.is_gone(&peer) {
                self.take_over(&peer, deadline)?;
            }
        }
        Ok(())
    }

    fn peers(&self, deadline: Deadline) -> Result<Vec<Peer>> {
        self.database.read(deadline, |snapshot| {
            let mut select =
                snapshot.prepare_cached("SELECT id, node, socket, beat FROM owners WHERE id <> ?1")?;
            let rows = select.query_map([self.owner.id], |row| {
                Ok(Peer {
                    id: row.get(0)?,
                    node: row.get(1)?,
                    socket: row.get(2)?,
                    beat: row.get(3)?,
                })
            })?;
            rows.collect()
        })
    }

    fn beat(&mut self, deadline: Deadline) -> Result<()> {
        let now_ms = self.database.monotonic_ms();
        let interval_ms = self.lease_ms / u64::from(BEATS);
        if self
            .beaten_ms
            .is_some_and(|beaten_ms| now_ms - beaten_ms < interval_ms)
        {
            return Ok(());
        }
        self.database.write(deadline, |transaction| {
            ensure(transaction, &self.owner)?;
            transaction
                .prepare_cached("UPDATE owners SET beat = beat + 1 WHERE id = ?1")?
                .execute([self.owner.id])
        })?;
        self.beaten_ms = Some(now_ms);
        Ok(())
    }

    fn is_gone(&mut self, peer: &Peer) -> bool {
        let now_ms = self.database.monotonic_ms();
        let (beat, since_ms) = self.seen.entry(peer.id).or_insert((peer.beat, now_ms));
        if *beat != peer.beat {
            (*beat, *since_ms) = (peer.beat, now_ms);
        }
        now_ms - *since_ms > self.lease_ms || self.database.bell.is_alive(&peer.socket) == Liveness::Dead
    }

    /// Hands a peer's messages back, unless it has stirred meanwhile.
    fn take_over(&self, peer: &Peer, deadline: Deadline) -> Result<()> {
        let released = self.database.write(deadline, |transaction| {
            let beat: Option<i64> = transaction
                .prepare_cached("SELECT beat FROM owners WHERE id = ?1")?
                .query_row([peer.id], |row| row.get(0))
                .optional()?;
            if beat != Some(peer.beat) {
                return Ok(None);
            }
            messages::release(transaction, peer.id, true).map(Some)
        })?;
        if let Some(messages) = released {
            self.database.bell.forget(&peer.socket);
            self.database.bell.ring_all(Kind::Consumers);
            tracing::warn!(
                node = peer.node,
                messages,
                "a worker is gone; its messages are back in their queues"
            );
        }
        Ok(())
    }
}
