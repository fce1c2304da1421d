//! What was handed over and is not confirmed yet: receipts, and windows of them.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Result};
use crate::time::Deadline;

/// The duty to say, exactly once, what became of a message. Dropping it says [`Error::Closed`].
#[derive(Debug)]
#[must_use = "dropping a receipt reports the message as lost"]
pub struct Receipt {
    entry: Option<Entry>,
}

#[derive(Debug)]
struct Entry {
    ledger: Arc<Ledger>,
    task_id: Arc<str>,
    bytes: usize,
}

impl Receipt {
    /// The broker has the message.
    pub fn confirm(mut self) {
        if let Some(entry) = self.entry.take() {
            entry.ledger.settle(&entry, None);
        }
    }

    /// The broker does not have it, or nobody knows.
    pub fn fail(mut self, error: Error) {
        if let Some(entry) = self.entry.take() {
            entry.ledger.settle(&entry, Some(error));
        }
    }

    /// The task whose message this is.
    pub fn task_id(&self) -> &str {
        self.entry.as_ref().map_or("", |entry| &entry.task_id)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            entry
                .ledger
                .settle(&entry, Some(Error::Closed { what: "publisher" }));
        }
    }
}

#[derive(Debug, Default)]
struct Account {
    messages: usize,
    bytes: usize,
    failed: Vec<(Arc<str>, Error)>,
}

/// A bounded window of messages in flight. A plain `delay()` uses one of size one.
#[derive(Debug)]
pub struct Ledger {
    max_messages: usize,
    max_bytes: usize,
    account: Mutex<Account>,
    changed: Condvar,
}

impl Ledger {
    /// A window of at most `max_messages` and `max_bytes` (one message is always let in).
    pub fn new(max_messages: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            max_messages,
            max_bytes,
            account: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Waits for room, then enters a message.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when the window stays full until `deadline`.
    pub fn enter(self: &Arc<Self>, task_id: Arc<str>, bytes: usize, deadline: Deadline) -> Result<Receipt> {
        let wait = deadline.left();
        let mut account = self.account.lock();
        while account.messages >= self.max_messages
            || (account.messages > 0 && account.bytes + bytes > self.max_bytes)
        {
            if self
                .changed
                .wait_until(&mut account, deadline.instant())
                .timed_out()
            {
                let waited_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                return Err(Error::TimedOut {
                    what: "a full publishing window",
                    waited_ms,
                });
            }
        }
        account.messages += 1;
        account.bytes += bytes;
        Ok(Receipt {
            entry: Some(Entry {
                ledger: Arc::clone(self),
                task_id,
                bytes,
            }),
        })
    }

    /// Waits until nothing is in flight.
    ///
    /// # Errors
    /// [`Error::Unconfirmed`] when something still is at `deadline`.
    pub fn wait_empty(&self, deadline: Deadline) -> Result<()> {
        let wait = deadline.left();
        let mut account = self.account.lock();
        while account.messages > 0 {
            if self
                .changed
                .wait_until(&mut account, deadline.instant())
                .timed_out()
            {
                return Err(Error::Unconfirmed {
                    waited_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                });
            }
        }
        Ok(())
    }

    /// How many messages are in flight.
    pub fn pending(&self) -> usize {
        self.account.lock().messages
    }

    /// Takes the failures reported so far, with the ids of their tasks.
    pub fn take_failed(&self) -> Vec<(Arc<str>, Error)> {
        std::mem::take(&mut self.account.lock().failed)
    }

    fn settle(&self, entry: &Entry, failure: Option<Error>) {
        let mut account = self.account.lock();
        account.messages -= 1;
        account.bytes -= entry.bytes;
        if let Some(error) = failure {
            account.failed.push((Arc::clone(&entry.task_id), error));
        }
        drop(account);
        self.changed.notify_all();
    }
}
