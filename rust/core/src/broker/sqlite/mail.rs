//! Mailboxes in the file: a row for each, its letters, and a socket to ring at.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Transaction, params};

use super::database::{Database, Handle};
use super::wakeup::{Ear, Kind};
use crate::broker::mail::{Mail, Mailbox, MailboxSpec, Outbox, Tray};
use crate::broker::reconnect::wait_for;
use crate::broker::topology::ExchangeType;
use crate::error::{Error, Result};
use crate::time::Deadline;
use crate::wire::envelope;

/// How often a mailbox is looked at although nobody rings: rings can be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How long a letter may wait for other processes' transactions.
const PATIENCE: Duration = Duration::from_secs(5);
/// Who has so many letters does not read: it gets no more events.
const MAX_UNREAD: u32 = 10_000;

#[derive(Debug)]
pub(super) struct SqliteMailbox {
    handle: Handle,
    spec: MailboxSpec,
    tray: Arc<Tray>,
    reader: Mutex<Option<Arc<Reader>>>,
    outbox: Mutex<Option<Outbox>>,
}

/// What the thread that listens has.
#[derive(Debug)]
struct Reader {
    database: Arc<Database>,
    ear: Ear,
    tray: Arc<Tray>,
    is_closed: AtomicBool,
}

impl SqliteMailbox {
    pub(super) fn new(handle: Handle, spec: MailboxSpec, tray: Arc<Tray>) -> Self {
        Self {
            handle,
            spec,
            tray,
            reader: Mutex::default(),
            outbox: Mutex::default(),
        }
    }

    fn deliver(&self, mail: &Mail, deadline: Deadline) -> Result<()> {
        let database = self.handle.database()?;
        let raw = envelope::encode(&mail.outgoing);
        let reached = database.write(deadline, |transaction| {
            let mut reached = Vec::new();
            for socket in addressees(transaction, mail)? {
                if database.bell.is_gone(&socket) {
                    remove(transaction, &socket)?;
                    continue;
                }
                put(transaction, &socket, &raw)?;
                reached.push(socket);
            }
            Ok(reached)
        })?;
        database
            .bell
            .ring(Kind::Mailboxes, reached.iter().map(String::as_str));
        Ok(())
    }

    fn start_outbox(&self) -> Result<Outbox> {
        let database = self.handle.database()?;
        Outbox::start(move |mails| {
            let database = Arc::clone(&database);
            async move {
                // It waits for other processes' transactions.
                let work = move || announce(&database, &mails);
                tokio::task::spawn_blocking(work)
                    .await
                    .unwrap_or(Err(Error::Closed { what: "mailbox" }))
            }
        })
    }
}

/// Lays events into the mailboxes that want them; nothing is written where nobody listens.
fn announce(database: &Database, mails: &[Mail]) -> Result<()> {
    let deadline = Deadline::after(PATIENCE);
    let is_wanted = database.read(deadline, |snapshot| {
        for mail in mails {
            if !addressees(snapshot, mail)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    })?;
    if !is_wanted {
        return Ok(());
    }
    let reached = database.write(deadline, |transaction| {
        let mut reached = BTreeSet::new();
        for mail in mails {
            let raw = envelope::encode(&mail.outgoing);
            for socket in addressees(transaction, mail)? {
                if database.bell.is_gone(&socket) {
                    remove(transaction, &socket)?;
                } else if unread(transaction, &socket)? < MAX_UNREAD {
                    put(transaction, &socket, &raw)?;
                    reached.insert(socket);
                }
            }
        }
        Ok(reached)
    })?;
    let rung = reached.iter().map(String::as_str);
    database.bell.ring(Kind::Mailboxes, rung);
    Ok(())
}

fn put(transaction: &Transaction<'_>, socket: &str, raw: &[u8]) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO letters (socket, envelope) VALUES (?1, ?2)")?
        .execute(params![socket, raw])?;
    Ok(())
}

fn unread(transaction: &Transaction<'_>, socket: &str) -> rusqlite::Result<u32> {
    transaction
        .prepare_cached("SELECT count(*) FROM letters WHERE socket = ?1")?
        .query_row([socket], |row| row.get(0))
}

fn addressees(transaction: &Transaction<'_>, mail: &Mail) -> rusqlite::Result<Vec<String>> {
    let target = &mail.outgoing.target;
    let mut select = transaction.prepare_cached(
        "SELECT socket, exchange_type, routing_key FROM mailboxes
         WHERE exchange = ?1 OR (?1 = '' AND queue = ?2)",
    )?;
    let rows = select.query_map([&target.exchange, &target.routing_key], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    let mut sockets = Vec::new();
    for row in rows {
        let (socket, kind, key): (String, String, String) = row?;
        let kind = ExchangeType::from_name(&kind).unwrap_or_default();
        if target.exchange.is_empty() || kind.routes(&key, &target.routing_key) {
            sockets.push(socket);
        }
    }
    Ok(sockets)
}

fn remove(transaction: &Transaction<'_>, socket: &str) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM mailboxes WHERE socket = ?1", [socket])?;
    transaction.execute("DELETE FROM letters WHERE socket = ?1", [socket])?;
    Ok(())
}

impl Reader {
    fn run(&self) {
        while !self.is_closed.load(Ordering::Acquire) {
            // A ring that came meanwhile is still in the socket.
            if let Err(error) = self.read() {
                tracing::warn!(%error, "control messages could not be read; trying again");
            }
            self.ear.wait(LOOK_AGAIN);
        }
    }

    fn read(&self) -> Result<()> {
        let socket = self.ear.name();
        let deadline = Deadline::after(PATIENCE);
        let is_waiting: bool = self.database.read(deadline, |snapshot| {
            snapshot.query_row(
                "SELECT EXISTS (SELECT 1 FROM letters WHERE socket = ?1)",
                [socket],
                |row| row.get(0),
            )
        })?;
        if !is_waiting {
            return Ok(());
        }
        let letters: Vec<(i64, Vec<u8>)> = self.database.write(deadline, |transaction| {
            transaction
                .prepare_cached("DELETE FROM letters WHERE socket = ?1 RETURNING id, envelope")?
                .query_map([socket], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        self.lay_down(letters);
        Ok(())
    }

    fn lay_down(&self, mut letters: Vec<(i64, Vec<u8>)>) {
        letters.sort_unstable_by_key(|(id, _)| *id);
        for (_, raw) in letters {
            match envelope::decode(&raw) {
                Ok(read) => self.tray.put(read.message),
                Err(error) => tracing::warn!(%error, "a control message is dropped"),
            }
        }
    }
}

impl Mailbox for SqliteMailbox {
    fn open(&self, deadline: Deadline) -> Result<()> {
        let mut reader = self.reader.lock();
        if reader.is_some() {
            return Ok(());
        }
        let database = self.handle.database()?;
        let ear = Ear::bind(&database.bell, Kind::Mailboxes)?;
        let queue = &self.spec.queue;
        database.write(deadline, |transaction| {
            transaction.execute(
                "INSERT INTO mailboxes (socket, queue, exchange, exchange_type, routing_key)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    ear.name(),
                    queue.name,
                    queue.exchange,
                    queue.exchange_type.name(),
                    queue.routing_key
                ],
            )
        })?;
        let begun = Arc::new(Reader {
            database,
            ear,
            tray: Arc::clone(&self.tray),
            is_closed: AtomicBool::new(false),
        });
        let runs = Arc::clone(&begun);
        std::thread::Builder::new()
            .name("celeriac-mail".to_owned())
            .spawn(move || runs.run())
            .map_err(|error| Error::Refused {
                url: "the operating system".to_owned(),
                cause: format!("no thread for remote control: {error}"),
                passing: true,
            })?;
        *reader = Some(begun);
        Ok(())
    }

    fn send(&self, mail: Mail, deadline: Deadline) -> Result<()> {
        self.deliver(&mail, deadline)
    }

    fn post(&self, mail: Mail) {
        if let Err(error) = self.deliver(&mail, Deadline::after(PATIENCE)) {
            tracing::warn!(%error, "a control message could not be sent");
        }
    }

    fn announce(&self, mail: Mail) {
        Outbox::put_in(&self.outbox, mail, || self.start_outbox());
    }

    fn close(&self, deadline: Deadline) {
        if let Some(outbox) = self.outbox.lock().take() {
            let closed = wait_for("sending the last events", deadline, async {
                outbox.close().await;
                Ok(())
            });
            if let Err(error) = closed {
                tracing::debug!(%error, "the last events are dropped");
            }
        }
        let Some(reader) = self.reader.lock().take() else {
            return;
        };
        reader.is_closed.store(true, Ordering::Release);
        reader.ear.wake();
        let socket = reader.ear.name();
        let removed = reader
            .database
            .write(deadline, |transaction| remove(transaction, socket));
        if let Err(error) = removed {
            tracing::debug!(%error, "the mailbox is removed by who writes to it next");
        }
    }
}

impl Drop for SqliteMailbox {
    fn drop(&mut self) {
        self.close(Deadline::after(PATIENCE));
    }
}
