//! What was handed over and is not confirmed yet: receipts, and windows of them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Result};
use crate::time::Deadline;
use crate::wake::Wake;

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
    number: u64,
}

impl Receipt {
    /// The broker has the message.
    pub fn confirm(mut self) {
        if let Some(entry) = self.entry.take() {
            entry.ledger.settle(entry.number, None);
        }
    }

    /// The broker does not have it, or nobody knows.
    pub fn fail(mut self, error: Error) {
        if let Some(entry) = self.entry.take() {
            entry.ledger.settle(entry.number, Some(error));
        }
    }

    /// The task whose message this is.
    pub fn task_id(&self) -> &str {
        self.entry.as_ref().map_or("", |entry| &entry.task_id)
    }

    /// Whether its window holds one message: somebody waits for just this one, so that gathering
    /// more before it is written gains nothing.
    pub fn is_awaited(&self) -> bool {
        self.entry
            .as_ref()
            .is_some_and(|entry| entry.ledger.max_messages <= 1)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            entry
                .ledger
                .settle(entry.number, Some(Error::Closed { what: "publisher" }));
        }
    }
}

#[derive(Debug, Default)]
struct Account {
    /// Task id and size of what is in flight, by the order of entry.
    open: BTreeMap<u64, (Arc<str>, usize)>,
    entered: u64,
    bytes: usize,
    failed: Vec<(Arc<str>, Error)>,
    wake: Option<Wake>,
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
        while account.open.len() >= self.max_messages
            || (!account.open.is_empty() && account.bytes + bytes > self.max_bytes)
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
        account.entered += 1;
        account.bytes += bytes;
        let number = account.entered;
        account.open.insert(number, (Arc::clone(&task_id), bytes));
        Ok(Receipt {
            entry: Some(Entry {
                ledger: Arc::clone(self),
                task_id,
                number,
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
        while !account.open.is_empty() {
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

    /// Has `wake` called whenever a message is confirmed or has failed.
    pub fn watch(&self, wake: Wake) {
        self.account.lock().wake = Some(wake);
    }

    /// How many messages are in flight.
    pub fn pending(&self) -> usize {
        self.account.lock().open.len()
    }

    /// The ids of what is in flight, and of the failures that were not taken yet.
    pub fn unsettled(&self) -> HashSet<Arc<str>> {
        let account = self.account.lock();
        let open = account.open.values().map(|(task_id, _)| task_id);
        let failed = account.failed.iter().map(|(task_id, _)| task_id);
        open.chain(failed).cloned().collect()
    }

    /// Takes the failures reported so far, with the ids of their tasks.
    pub fn take_failed(&self) -> Vec<(Arc<str>, Error)> {
        std::mem::take(&mut self.account.lock().failed)
    }

    /// Reports everything in flight as unconfirmed, in the order of entry; what becomes of it
    /// later is not reported again.
    pub fn give_up(&self, waited_ms: u64) {
        let mut account = self.account.lock();
        let open = std::mem::take(&mut account.open);
        account.bytes = 0;
        let unconfirmed = |(task_id, _)| (task_id, Error::Unconfirmed { waited_ms });
        account.failed.extend(open.into_values().map(unconfirmed));
        drop(account);
        self.changed.notify_all();
    }

    fn settle(&self, number: u64, failure: Option<Error>) {
        let mut account = self.account.lock();
        let Some((task_id, bytes)) = account.open.remove(&number) else {
            return;
        };
        account.bytes -= bytes;
        if let Some(error) = failure {
            account.failed.push((task_id, error));
        }
        let wake = account.wake.clone();
        drop(account);
        self.changed.notify_all();
        if let Some(wake) = wake {
            wake.call();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn now() -> Deadline {
        Deadline::after(Duration::ZERO)
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(10))
    }

    #[test]
    fn a_full_window_lets_nothing_in_before_the_deadline() {
        let ledger = Ledger::new(2, 1_000);
        let _first = ledger.enter("a".into(), 1, now()).unwrap();
        let second = ledger.enter("b".into(), 1, now()).unwrap();
        let full = ledger.enter("c".into(), 1, now()).unwrap_err();
        assert!(matches!(full, Error::TimedOut { waited_ms: 0, .. }));
        second.confirm();
        assert!(ledger.enter("c".into(), 1, now()).is_ok());
    }

    #[test]
    fn bytes_bound_the_window_but_one_message_of_any_size_is_let_in() {
        let ledger = Ledger::new(10, 100);
        let big = ledger.enter("big".into(), 1_000, now()).unwrap();
        assert!(ledger.enter("small".into(), 1, now()).is_err());
        big.confirm();
        let _most = ledger.enter("most".into(), 99, now()).unwrap();
        assert!(ledger.enter("exact".into(), 1, now()).is_ok());
    }

    #[test]
    fn a_waiting_sender_enters_when_room_is_made() {
        let ledger = Ledger::new(1, 100);
        let first = ledger.enter("a".into(), 1, now()).unwrap();
        let waiting = {
            let ledger = Arc::clone(&ledger);
            std::thread::spawn(move || ledger.enter("b".into(), 1, soon()).map(Receipt::confirm))
        };
        first.confirm();
        assert_eq!(waiting.join().unwrap(), Ok(()));
        assert_eq!(ledger.wait_empty(soon()), Ok(()));
    }

    #[test]
    fn each_failure_is_told_once_with_its_task() {
        let ledger = Ledger::new(10, 100);
        let error = Error::Unconfirmed { waited_ms: 5 };
        ledger.enter("good".into(), 1, now()).unwrap().confirm();
        ledger.enter("bad".into(), 1, now()).unwrap().fail(error.clone());
        assert_eq!(ledger.pending(), 0);
        assert_eq!(ledger.take_failed(), [("bad".into(), error)]);
        assert_eq!(ledger.take_failed(), []);
    }

    #[test]
    fn what_is_in_flight_or_has_failed_is_unsettled_until_it_is_told() {
        let ledger = Ledger::new(10, 100);
        ledger.enter("good".into(), 1, now()).unwrap().confirm();
        let flying = ledger.enter("flying".into(), 1, now()).unwrap();
        let error = Error::Unconfirmed { waited_ms: 5 };
        ledger.enter("bad".into(), 1, now()).unwrap().fail(error);
        assert_eq!(ledger.unsettled(), HashSet::from(["flying".into(), "bad".into()]));
        assert_eq!(ledger.take_failed().len(), 1);
        flying.confirm();
        assert_eq!(ledger.unsettled(), HashSet::new());
    }

    #[test]
    fn a_dropped_receipt_says_that_the_publisher_is_closed() {
        let ledger = Ledger::new(10, 100);
        drop(ledger.enter("lost".into(), 1, now()).unwrap());
        assert_eq!(ledger.pending(), 0);
        let told = Error::Closed { what: "publisher" };
        assert_eq!(ledger.take_failed(), [("lost".into(), told)]);
    }

    #[test]
    fn waiting_for_an_empty_window_ends_unconfirmed_at_the_deadline() {
        let ledger = Ledger::new(10, 100);
        let receipt = ledger.enter("a".into(), 1, now()).unwrap();
        assert_eq!(ledger.wait_empty(now()), Err(Error::Unconfirmed { waited_ms: 0 }));
        receipt.confirm();
        assert_eq!(ledger.wait_empty(now()), Ok(()));
    }

    #[test]
    fn what_is_given_up_is_told_once_whatever_becomes_of_it_later() {
        let ledger = Ledger::new(2, 100);
        let (first, second) = (
            ledger.enter("a".into(), 60, now()).unwrap(),
            ledger.enter("b".into(), 40, now()).unwrap(),
        );
        ledger.give_up(7);
        let error = Error::Unconfirmed { waited_ms: 7 };
        assert_eq!(
            ledger.take_failed(),
            [("a".into(), error.clone()), ("b".into(), error)]
        );
        first.confirm();
        drop(second);
        assert_eq!((ledger.pending(), ledger.take_failed()), (0, vec![]));
        assert!(ledger.enter("c".into(), 100, now()).is_ok());
    }

    #[test]
    fn a_watcher_is_woken_after_the_account_has_changed() {
        let ledger = Ledger::new(2, 100);
        let (tell, told) = crossbeam_channel::unbounded();
        let watched = Arc::downgrade(&ledger);
        ledger.watch(Wake::new(move || {
            let pending = watched.upgrade().map(|ledger| ledger.pending());
            tell.send(pending).unwrap();
        }));
        let first = ledger.enter("a".into(), 1, now()).unwrap();
        let second = ledger.enter("b".into(), 1, now()).unwrap();
        first.confirm();
        drop(second);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [Some(1), Some(0)]);
    }

    #[test]
    fn only_the_message_of_a_window_of_one_is_awaited() {
        let alone = Ledger::new(1, 100).enter("a".into(), 1, now()).unwrap();
        let among_others = Ledger::new(2, 100).enter("b".into(), 1, now()).unwrap();
        assert!(alone.is_awaited());
        assert!(!among_others.is_awaited());
        assert_eq!(alone.task_id(), "a");
    }
}
