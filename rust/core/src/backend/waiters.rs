//! Who waits for which result, and what has arrived for them. Shared by all stores.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::Subscription;
use crate::error::{Error, Result};
use crate::time::Deadline;
use crate::wake::Wake;

/// Documents kept for one waiter that does not fetch them; beyond that the oldest go.
const MAX_QUEUED: usize = 1_000;

/// A change in the set of ids that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The id has its first waiter.
    First,
    /// The id lost its last waiter.
    Last,
}

/// Told of every [`Change`], in order and under the registry's lock: it must not wait.
pub type Listener = Box<dyn Fn(Change, &str) + Send + Sync>;

/// A registry of waiters by result id. Clones share it.
#[derive(Clone)]
pub struct Waiters {
    shared: Arc<Shared>,
}

struct Shared {
    by_id: Mutex<HashMap<Arc<str>, Vec<Arc<Mailbox>>>>,
    listener: Option<Listener>,
}

#[derive(Debug, Default)]
struct Mailbox {
    content: Mutex<Content>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Content {
    documents: VecDeque<Bytes>,
    lost: Option<Error>,
    wake: Option<Wake>,
}

impl Mailbox {
    fn push(&self, document: Bytes) {
        let mut content = self.content.lock();
        if content.documents.len() == MAX_QUEUED {
            content.documents.pop_front();
        }
        content.documents.push_back(document);
        self.tell(content);
    }
}

impl Mailbox {
    /// Wakes who waits, without the lock.
    fn tell(&self, content: MutexGuard<'_, Content>) {
        let wake = content.wake.clone();
        drop(content);
        self.changed.notify_all();
        if let Some(wake) = wake {
            wake.call();
        }
    }
}

impl Default for Waiters {
    fn default() -> Self {
        Self::new()
    }
}

impl Waiters {
    /// A registry that tells nobody.
    pub fn new() -> Self {
        Self::build(None)
    }

    /// A registry whose `listener` hears which ids begin and cease to be waited for.
    pub fn with_listener(listener: Listener) -> Self {
        Self::build(Some(listener))
    }

    fn build(listener: Option<Listener>) -> Self {
        Self {
            shared: Arc::new(Shared {
                by_id: Mutex::default(),
                listener,
            }),
        }
    }

    /// Starts to collect the documents of `id` until the handle is dropped.
    pub fn subscribe(&self, id: &str) -> WaiterHandle {
        self.enter(id, true)
    }

    /// The same, where the server knows already: the listener is not told of [`Change::First`].
    pub fn subscribe_sent(&self, id: &str) -> WaiterHandle {
        self.enter(id, false)
    }

    fn enter(&self, id: &str, tell: bool) -> WaiterHandle {
        let mailbox = Arc::new(Mailbox::default());
        let id: Arc<str> = Arc::from(id);
        let mut by_id = self.shared.by_id.lock();
        let boxes = by_id.entry(Arc::clone(&id)).or_default();
        boxes.push(Arc::clone(&mailbox));
        if tell
            && boxes.len() == 1
            && let Some(listener) = &self.shared.listener
        {
            listener(Change::First, &id);
        }
        drop(by_id);
        WaiterHandle {
            shared: Arc::clone(&self.shared),
            id,
            mailbox,
        }
    }

    /// Queues a document for everybody who waits for `id`; `false` when nobody does.
    pub fn deliver(&self, id: &str, document: &Bytes) -> bool {
        let boxes = self.shared.by_id.lock().get(id).cloned().unwrap_or_default();
        for mailbox in &boxes {
            mailbox.push(document.clone());
        }
        !boxes.is_empty()
    }

    /// Whether anybody waits for `id`.
    pub fn contains(&self, id: &str) -> bool {
        self.shared.by_id.lock().contains_key(id)
    }

    /// How many ids are waited for.
    pub fn len(&self) -> usize {
        self.shared.by_id.lock().len()
    }

    /// Whether nobody waits for anything.
    pub fn is_empty(&self) -> bool {
        self.shared.by_id.lock().is_empty()
    }

    /// The ids that are waited for: what to subscribe to after a reconnect.
    pub fn ids(&self) -> Vec<Arc<str>> {
        self.shared.by_id.lock().keys().cloned().collect()
    }

    /// The connection is gone: who waits learns why when its deadline passes.
    pub fn lost(&self, error: &Error) {
        self.set_lost(Some(error));
    }

    /// The connection is back.
    pub fn found(&self) {
        self.set_lost(None);
    }

    fn set_lost(&self, error: Option<&Error>) {
        for mailbox in self.shared.by_id.lock().values().flatten() {
            mailbox.content.lock().lost = error.cloned();
        }
    }
}

impl std::fmt::Debug for Waiters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids = self.shared.by_id.lock().len();
        formatter.debug_struct("Waiters").field("ids", &ids).finish()
    }
}

/// One waiter. Dropping it ends its subscription.
#[must_use = "dropping the handle ends the subscription"]
pub struct WaiterHandle {
    shared: Arc<Shared>,
    id: Arc<str>,
    mailbox: Arc<Mailbox>,
}

impl WaiterHandle {
    /// The result's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Puts the document that was stored before the subscription in front, unless the same bytes
    /// have arrived meanwhile.
    pub fn start_with(&self, current: Bytes) {
        let mut content = self.mailbox.content.lock();
        if content.documents.contains(&current) {
            return;
        }
        content.documents.push_front(current);
        self.mailbox.tell(content);
    }
}

impl Subscription for WaiterHandle {
    fn next(&self, deadline: Deadline) -> Result<Option<Bytes>> {
        let mut content = self.mailbox.content.lock();
        loop {
            if let Some(document) = content.documents.pop_front() {
                return Ok(Some(document));
            }
            if deadline.has_passed() {
                return content.lost.clone().map_or(Ok(None), Err);
            }
            self.mailbox.changed.wait_until(&mut content, deadline.instant());
        }
    }

    fn watch(&self, wake: Wake) -> bool {
        let mut content = self.mailbox.content.lock();
        let is_late = !content.documents.is_empty();
        content.wake = Some(wake.clone());
        drop(content);
        if is_late {
            wake.call();
        }
        true
    }

    fn take(&self) -> Option<Bytes> {
        self.mailbox.content.lock().documents.pop_front()
    }
}

impl Drop for WaiterHandle {
    fn drop(&mut self) {
        let mut by_id = self.shared.by_id.lock();
        let Some(boxes) = by_id.get_mut(&self.id) else {
            return;
        };
        boxes.retain(|mailbox| !Arc::ptr_eq(mailbox, &self.mailbox));
        if boxes.is_empty() {
            by_id.remove(&self.id);
            if let Some(listener) = &self.shared.listener {
                listener(Change::Last, &self.id);
            }
        }
    }
}

impl std::fmt::Debug for WaiterHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("WaiterHandle")
            .field("id", &self.id)
            .finish_non_exhaustive()
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
    fn documents_arrive_in_order_and_only_for_their_id() {
        let waiters = Waiters::new();
        let handle = waiters.subscribe("a");
        assert!(waiters.deliver("a", &Bytes::from_static(b"1")));
        assert!(waiters.deliver("a", &Bytes::from_static(b"2")));
        assert!(!waiters.deliver("b", &Bytes::from_static(b"3")));
        assert_eq!(handle.next(now()).unwrap().unwrap(), "1");
        assert_eq!(handle.next(now()).unwrap().unwrap(), "2");
        assert_eq!(handle.next(now()).unwrap(), None);
    }

    #[test]
    fn a_waiting_thread_wakes_when_a_document_arrives() {
        let waiters = Waiters::new();
        let handle = waiters.subscribe("a");
        let waiting = std::thread::spawn(move || handle.next(soon()).unwrap());
        waiters.deliver("a", &Bytes::from_static(b"1"));
        assert_eq!(waiting.join().unwrap().unwrap(), "1");
    }

    #[test]
    fn a_watcher_is_woken_for_each_document_and_at_once_for_what_was_there() {
        let waiters = Waiters::new();
        let handle = waiters.subscribe("a");
        waiters.deliver("a", &Bytes::from_static(b"1"));
        let (tell, told) = crossbeam_channel::unbounded();
        assert!(handle.watch(Wake::new(move || tell.send(()).unwrap())));
        assert_eq!(told.try_iter().count(), 1);
        waiters.deliver("a", &Bytes::from_static(b"2"));
        handle.start_with(Bytes::from_static(b"0"));
        assert_eq!(told.try_iter().count(), 2);
        let taken: Vec<_> = std::iter::from_fn(|| handle.take()).collect();
        assert_eq!(taken, ["0", "1", "2"]);
    }

    #[test]
    fn the_listener_hears_of_the_first_and_the_last_waiter_only() {
        let (tell, told) = crossbeam_channel::unbounded();
        let waiters = Waiters::with_listener(Box::new(move |change, id| {
            tell.send((change, id.to_owned())).unwrap();
        }));
        let first = waiters.subscribe("a");
        let second = waiters.subscribe("a");
        drop(first);
        assert!(waiters.contains("a"));
        drop(second);
        let heard: Vec<_> = told.try_iter().collect();
        assert_eq!(
            heard,
            [(Change::First, "a".to_owned()), (Change::Last, "a".to_owned())]
        );
        assert!(waiters.is_empty());
    }

    #[test]
    fn the_oldest_documents_go_when_nobody_fetches_them() {
        let waiters = Waiters::new();
        let handle = waiters.subscribe("a");
        for number in 0..=MAX_QUEUED {
            waiters.deliver("a", &Bytes::from(number.to_string()));
        }
        assert_eq!(handle.next(now()).unwrap().unwrap(), "1");
    }

    #[test]
    fn the_current_document_comes_first_and_once() {
        let waiters = Waiters::new();
        let handle = waiters.subscribe("a");
        waiters.deliver("a", &Bytes::from_static(b"later"));
        handle.start_with(Bytes::from_static(b"current"));
        handle.start_with(Bytes::from_static(b"later"));
        assert_eq!(handle.next(now()).unwrap().unwrap(), "current");
        assert_eq!(handle.next(now()).unwrap().unwrap(), "later");
        assert_eq!(handle.next(now()).unwrap(), None);
    }

    #[test]
    fn a_lost_store_is_reported_at_the_deadline_until_it_is_found() {
        let waiters = Waiters::new();
        let handle = waiters.subscribe("a");
        let error = Error::Closed { what: "store" };
        waiters.lost(&error);
        assert_eq!(handle.next(now()), Err(error));
        waiters.found();
        assert_eq!(handle.next(now()), Ok(None));
    }
}
