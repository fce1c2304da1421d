//! What was handed over and is not confirmed yet: receipts, and windows of them.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::error::{Error, Result};
use crate::time::Deadline;
use crate::wake::Wake;
use crate::wire::letter::Letter;

/// The duty to say, exactly once, what became of a message. Dropping it says [`Error::Closed`].
#[derive(Debug)]
#[must_use = "dropping a receipt reports the message as lost"]
pub struct Receipt {
    entry: Option<Entry>,
}

#[derive(Debug)]
struct Entry {
    ledger: Arc<Ledger>,
    number: u64,
}

impl Receipt {
    /// The broker has the message.
    pub fn confirm(mut self) {
        if let Some(entry) = self.entry.take() {
            entry.ledger.settle(entry.number, None);
        }
    }

    /// The broker has all these messages: who waits for them is told once.
    pub fn confirm_all(receipts: impl IntoIterator<Item = Self>) {
        // All of them before the first lock: what the iterator does may fail others of the same window.
        let entries: Vec<Entry> = receipts
            .into_iter()
            .filter_map(|mut receipt| receipt.entry.take())
            .collect();
        let mut entries = entries.into_iter();
        let mut next = entries.next();
        while let Some(first) = next {
            let ledger = first.ledger;
            let mut account = ledger.account.lock();
            account.settle(first.number, None);
            next = None;
            for entry in entries.by_ref() {
                if !Arc::ptr_eq(&entry.ledger, &ledger) {
                    next = Some(entry);
                    break;
                }
                account.settle(entry.number, None);
            }
            ledger.tell(account);
        }
    }

    /// The broker does not have it, or nobody knows.
    pub fn fail(mut self, error: Error) {
        if let Some(entry) = self.entry.take() {
            entry.ledger.settle(entry.number, Some(error));
        }
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

/// A message that the broker does not have, or of which nobody knows.
#[derive(Debug)]
pub struct Failure {
    /// Whose it is.
    pub task_id: Arc<str>,
    /// Why.
    pub error: Error,
    /// The message, where it was entered with it ([`Ledger::enter_letter`]).
    pub letter: Option<Letter>,
}

#[derive(Debug)]
struct Open {
    task_id: Arc<str>,
    bytes: usize,
    letter: Option<Letter>,
}

impl Open {
    fn failed(self, error: Error) -> Failure {
        Failure {
            task_id: self.task_id,
            error,
            letter: self.letter,
        }
    }
}

#[derive(Debug, Default)]
struct Account {
    /// What is in flight, by the order of entry; what is settled is `None` until all before it is.
    slots: VecDeque<Option<Open>>,
    /// The number of the first slot.
    first: u64,
    open: usize,
    bytes: usize,
    failed: Vec<Failure>,
    /// How many threads wait for room, and how many for the end.
    entering: usize,
    emptying: usize,
    wake: Option<Wake>,
}

impl Account {
    fn settle(&mut self, number: u64, failure: Option<Error>) {
        let slot = number
            .checked_sub(self.first)
            .and_then(|at| self.slots.get_mut(usize::try_from(at).ok()?));
        // Given up before: it was reported then.
        let Some(open) = slot.and_then(Option::take) else {
            return;
        };
        self.open -= 1;
        self.bytes -= open.bytes;
        if let Some(error) = failure {
            self.failed.push(open.failed(error));
        }
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first += 1;
        }
    }

    fn forget_open(&mut self) -> Vec<Open> {
        self.first += u64::try_from(self.slots.len()).unwrap_or(0);
        (self.open, self.bytes) = (0, 0);
        std::mem::take(&mut self.slots).into_iter().flatten().collect()
    }
}

/// A bounded window of messages in flight. A plain `delay()` uses one of size one.
#[derive(Debug)]
pub struct Ledger {
    max_messages: usize,
    max_bytes: usize,
    account: Mutex<Account>,
    changed: Condvar,
}

/// Slots for each message of a full window: settled ones wait for those before them.
const SLOTS_EACH: usize = 4;

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
        let letter = None;
        self.enter_open(
            Open {
                task_id,
                bytes,
                letter,
            },
            deadline,
        )
    }

    /// Waits for room, then enters a message, which its failure gives back.
    ///
    /// # Errors
    /// As [`Ledger::enter`].
    pub fn enter_letter(
        self: &Arc<Self>,
        task_id: Arc<str>,
        letter: &Letter,
        deadline: Deadline,
    ) -> Result<Receipt> {
        let open = Open {
            task_id,
            bytes: letter.bytes(),
            letter: Some(letter.clone()),
        };
        self.enter_open(open, deadline)
    }

    /// Enters a message, which its failure gives back, if there is room now.
    pub fn try_enter_letter(self: &Arc<Self>, task_id: &Arc<str>, letter: &Letter) -> Option<Receipt> {
        let bytes = letter.bytes();
        let mut account = self.account.lock();
        self.has_room(&account, bytes).then(|| {
            let open = Open {
                task_id: Arc::clone(task_id),
                bytes,
                letter: Some(letter.clone()),
            };
            self.receipt(&mut account, open)
        })
    }

    fn enter_open(self: &Arc<Self>, open: Open, deadline: Deadline) -> Result<Receipt> {
        let mut account = self.account.lock();
        if !self.has_room(&account, open.bytes) {
            self.wait_for_room(&mut account, open.bytes, deadline)?;
        }
        Ok(self.receipt(&mut account, open))
    }

    fn receipt(self: &Arc<Self>, account: &mut Account, open: Open) -> Receipt {
        account.open += 1;
        account.bytes += open.bytes;
        let number = account.first + u64::try_from(account.slots.len()).unwrap_or(0);
        account.slots.push_back(Some(open));
        Receipt {
            entry: Some(Entry {
                ledger: Arc::clone(self),
                number,
            }),
        }
    }

    fn has_room(&self, account: &Account, bytes: usize) -> bool {
        account.open == 0
            || (account.open < self.max_messages
                && account.slots.len() < self.max_messages.saturating_mul(SLOTS_EACH)
                && account.bytes + bytes <= self.max_bytes)
    }

    #[cold]
    fn wait_for_room(
        &self,
        account: &mut MutexGuard<'_, Account>,
        bytes: usize,
        deadline: Deadline,
    ) -> Result<()> {
        let wait = deadline.left();
        while !self.has_room(account, bytes) {
            account.entering += 1;
            let waited = self.changed.wait_until(account, deadline.instant());
            account.entering -= 1;
            if waited.timed_out() && !self.has_room(account, bytes) {
                let waited_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                return Err(Error::TimedOut {
                    what: "a full publishing window",
                    waited_ms,
                });
            }
        }
        Ok(())
    }

    /// Waits until nothing is in flight.
    ///
    /// # Errors
    /// [`Error::Unconfirmed`] when something still is at `deadline`.
    pub fn wait_empty(&self, deadline: Deadline) -> Result<()> {
        let wait = deadline.left();
        let mut account = self.account.lock();
        while account.open > 0 {
            account.emptying += 1;
            let waited = self.changed.wait_until(&mut account, deadline.instant());
            account.emptying -= 1;
            if waited.timed_out() && account.open > 0 {
                return Err(Error::Unconfirmed {
                    waited_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                });
            }
        }
        Ok(())
    }

    /// Has `wake` called whenever messages are confirmed or have failed.
    pub fn watch(&self, wake: Wake) {
        self.account.lock().wake = Some(wake);
    }

    /// How many messages are in flight.
    pub fn pending(&self) -> usize {
        self.account.lock().open
    }

    /// How many messages were entered so far.
    pub fn entered(&self) -> u64 {
        let account = self.account.lock();
        account.first + u64::try_from(account.slots.len()).unwrap_or(0)
    }

    /// Takes the failures reported so far, with the ids of their tasks.
    pub fn take_failed(&self) -> Vec<(Arc<str>, Error)> {
        let failures = self.take_failures().into_iter();
        failures.map(|failure| (failure.task_id, failure.error)).collect()
    }

    /// Takes the failures reported so far, with their messages.
    pub fn take_failures(&self) -> Vec<Failure> {
        std::mem::take(&mut self.account.lock().failed)
    }

    /// Reports everything in flight as unconfirmed, in the order of entry; what becomes of it
    /// later is not reported again.
    pub fn give_up(&self, waited_ms: u64) {
        let mut account = self.account.lock();
        let open = account.forget_open().into_iter();
        let unconfirmed = open.map(|one| one.failed(Error::Unconfirmed { waited_ms }));
        account.failed.extend(unconfirmed);
        drop(account);
        self.changed.notify_all();
    }

    fn settle(&self, number: u64, failure: Option<Error>) {
        let mut account = self.account.lock();
        account.settle(number, failure);
        self.tell(account);
    }

    /// Tells who waits for what is there now. Who waits for room in a full window is let in when
    /// half of it is free: waking for each message would cost more than building one.
    fn tell(&self, account: MutexGuard<'_, Account>) {
        let is_half_free = account.open == 0
            || (account.open <= self.max_messages / 2 && account.bytes <= self.max_bytes / 2);
        let is_told = (account.entering > 0 && is_half_free) || (account.emptying > 0 && account.open == 0);
        let wake = account.wake.clone();
        drop(account);
        if is_told {
            self.changed.notify_all();
        }
        if let Some(wake) = wake {
            wake.call();
        }
    }
}

impl Drop for Ledger {
    /// Says what has failed and nobody has asked for: a window that was left without being flushed.
    fn drop(&mut self) {
        let failed = &self.account.get_mut().failed;
        if let Some(Failure { task_id, error, .. }) = failed.first() {
            let tasks = failed.len();
            tracing::error!(tasks, first = %task_id, %error, "not confirmed, and nobody waits for them");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn letter() -> Letter {
        let task = crate::wire::template::Task {
            name: "tasks.add".into(),
            shadow: None,
            timelimit: "[null, null]".into(),
            origin: "gen1@host".into(),
            ignore_result: None,
            content_type: "application/json".into(),
            content_encoding: "utf-8".into(),
            reply_to: None,
            delivery_mode: 2,
            priority: None,
            target: crate::wire::message::Target::default(),
            headers: Vec::new(),
            compression: None,
        };
        let call = crate::wire::template::Call::default();
        let template = crate::wire::template::Template::new(task);
        template
            .build(&call, bytes::Bytes::from_static(b"[]"), "()", "{}")
            .into()
    }

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
    fn a_failure_gives_back_the_message_it_was_entered_with() {
        let ledger = Ledger::new(10, 10_000);
        let letter = letter();
        let kept = ledger.enter_letter("kept".into(), &letter, now()).unwrap();
        kept.fail(Error::Unconfirmed { waited_ms: 5 });
        let [failure] = &ledger.take_failures()[..] else {
            panic!("one failure");
        };
        let Some(Letter::Open(given_back)) = &failure.letter else {
            panic!("with its message");
        };
        let Letter::Open(entered) = &letter else { panic!() };
        assert!(Arc::ptr_eq(given_back, entered));
    }

    #[test]
    fn a_batch_is_confirmed_at_once_whichever_windows_it_is_of() {
        let (one, other) = (Ledger::new(10, 100), Ledger::new(10, 100));
        let (tell, told) = crossbeam_channel::unbounded();
        one.watch(Wake::new(move || tell.send(()).unwrap()));
        let enter = |ledger: &Arc<Ledger>| ledger.enter("a".into(), 1, now()).unwrap();
        let batch = [enter(&one), enter(&one), enter(&other), enter(&one)];
        let left = enter(&other);
        Receipt::confirm_all(batch);
        assert_eq!((one.pending(), other.pending()), (0, 1));
        assert_eq!(told.try_iter().count(), 2);
        left.confirm();
        assert_eq!(other.pending(), 0);
    }

    #[test]
    fn a_batch_may_fail_some_while_it_is_gathered() {
        let ledger = Ledger::new(10, 100);
        let batch: Vec<Receipt> = (0..4)
            .map(|_| ledger.enter("a".into(), 1, now()).unwrap())
            .collect();
        let error = Error::Unconfirmed { waited_ms: 5 };
        Receipt::confirm_all(batch.into_iter().enumerate().filter_map(|(number, receipt)| {
            if number % 2 == 0 {
                return Some(receipt);
            }
            receipt.fail(error.clone());
            None
        }));
        assert_eq!((ledger.pending(), ledger.take_failed().len()), (0, 2));
    }

    #[test]
    fn what_is_settled_out_of_order_is_forgotten_with_what_was_before_it() {
        let ledger = Ledger::new(2, 100);
        let oldest = ledger.enter("oldest".into(), 1, now()).unwrap();
        for _ in 0..7 {
            ledger.enter("next".into(), 1, now()).unwrap().confirm();
        }
        let behind_the_oldest = ledger.enter("more".into(), 1, now());
        assert!(matches!(behind_the_oldest, Err(Error::TimedOut { .. })));
        oldest.confirm();
        assert_eq!((ledger.pending(), ledger.entered()), (0, 8));
        assert!(ledger.enter("more".into(), 1, now()).is_ok());
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
    }
}
