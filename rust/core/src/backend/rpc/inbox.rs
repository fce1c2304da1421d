//! What has arrived at a client, and who waits for it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::backend::waiters::{WaiterHandle, Waiters};

/// Results that somebody has waited for already: kept for those who ask once more.
const MAX_SEEN: usize = 10_000;
/// Results that nobody has asked for yet.
const MAX_UNSEEN: usize = 1_000_000;

/// The last document of each task.
#[derive(Debug)]
pub(super) struct Inbox {
    waiters: Waiters,
    content: Mutex<Content>,
}

#[derive(Debug)]
struct Content {
    unseen: Shelf,
    seen: Shelf,
}

impl Default for Inbox {
    fn default() -> Self {
        Self::of_size(MAX_UNSEEN, MAX_SEEN)
    }
}

impl Inbox {
    fn of_size(max_unseen: usize, max_seen: usize) -> Self {
        Self {
            waiters: Waiters::new(),
            content: Mutex::new(Content {
                unseen: Shelf::new(max_unseen),
                seen: Shelf::new(max_seen),
            }),
        }
    }

    /// Takes a document in and wakes who waits for it.
    pub(super) fn arrived(&self, task_id: &str, document: Bytes) {
        // Delivered under the lock, so that a subscriber misses nothing and sees their order.
        let mut content = self.content.lock();
        let is_seen = self.waiters.deliver(task_id, &document);
        let dropped = if is_seen {
            content.unseen.remove(task_id);
            content.seen.put(task_id, document);
            None
        } else {
            content.seen.remove(task_id);
            content.unseen.put(task_id, document)
        };
        drop(content);
        if let Some(task_id) = dropped {
            tracing::warn!(
                %task_id,
                "{MAX_UNSEEN} results have arrived that nobody asked for; the oldest is given up. \
                 Publish with ignore_result=True what nobody waits for"
            );
        }
    }

    /// The last document that has arrived.
    pub(super) fn latest(&self, task_id: &str) -> Option<Bytes> {
        let content = self.content.lock();
        content.unseen.get(task_id).or_else(|| content.seen.get(task_id))
    }

    /// Waits for what arrives from now on; what has arrived comes first.
    pub(super) fn subscribe(&self, task_id: &str) -> WaiterHandle {
        let mut content = self.content.lock();
        let handle = self.waiters.subscribe(task_id);
        if let Some(document) = content.unseen.remove(task_id) {
            content.seen.put(task_id, document);
        }
        if let Some(current) = content.seen.get(task_id) {
            handle.start_with(current);
        }
        handle
    }

    pub(super) fn forget(&self, task_id: &str) {
        let mut content = self.content.lock();
        content.unseen.remove(task_id);
        content.seen.remove(task_id);
    }

    /// The connection is gone: who waits learns why when its deadline passes.
    pub(super) fn lost(&self, error: &crate::error::Error) {
        self.waiters.lost(error);
    }

    /// The connection is back.
    pub(super) fn found(&self) {
        self.waiters.found();
    }
}

/// Documents by task, a limited number of them.
#[derive(Debug)]
struct Shelf {
    max: usize,
    documents: HashMap<Arc<str>, (u64, Bytes)>,
    /// In the order of arrival, with the number of the entry: one that was replaced is passed over.
    order: VecDeque<(u64, Arc<str>)>,
    last: u64,
}

impl Shelf {
    fn new(max: usize) -> Self {
        Self {
            max,
            documents: HashMap::new(),
            order: VecDeque::new(),
            last: 0,
        }
    }

    fn get(&self, task_id: &str) -> Option<Bytes> {
        self.documents.get(task_id).map(|(_, document)| document.clone())
    }

    fn remove(&mut self, task_id: &str) -> Option<Bytes> {
        self.documents.remove(task_id).map(|(_, document)| document)
    }

    /// Puts a document in the place of the task's last; returns whose had to go for it.
    fn put(&mut self, task_id: &str, document: Bytes) -> Option<Arc<str>> {
        self.last += 1;
        let name: Arc<str> = task_id.into();
        self.documents.insert(Arc::clone(&name), (self.last, document));
        self.order.push_back((self.last, name));
        if self.order.len() > self.documents.len() * 2 + 16 {
            self.compact();
        }
        let mut dropped = None;
        while self.documents.len() > self.max
            && let Some((number, oldest)) = self.order.pop_front()
        {
            if self
                .documents
                .get(&oldest)
                .is_some_and(|(current, _)| *current == number)
            {
                self.documents.remove(&oldest);
                dropped = Some(oldest);
            }
        }
        dropped
    }

    /// Forgets the places of what was replaced or removed.
    fn compact(&mut self) {
        let documents = &self.documents;
        self.order
            .retain(|(number, name)| documents.get(name).is_some_and(|(current, _)| current == number));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backend::Subscription;
    use crate::time::Deadline;

    fn now() -> Deadline {
        Deadline::after(Duration::ZERO)
    }

    #[test]
    fn what_arrived_before_somebody_waits_comes_first_and_stays_for_the_next() {
        let inbox = Inbox::default();
        inbox.arrived("a", Bytes::from_static(b"1"));
        inbox.arrived("a", Bytes::from_static(b"2"));
        for _ in 0..2 {
            let handle = inbox.subscribe("a");
            assert_eq!(handle.next(now()).unwrap().unwrap(), "2");
            assert_eq!(handle.next(now()).unwrap(), None);
        }
        assert_eq!(inbox.latest("a").unwrap(), "2");
        inbox.forget("a");
        assert_eq!(inbox.latest("a"), None);
    }

    #[test]
    fn every_state_reaches_who_waits() {
        let inbox = Inbox::default();
        let handle = inbox.subscribe("a");
        inbox.arrived("a", Bytes::from_static(b"1"));
        inbox.arrived("a", Bytes::from_static(b"2"));
        assert_eq!(handle.next(now()).unwrap().unwrap(), "1");
        assert_eq!(handle.next(now()).unwrap().unwrap(), "2");
    }

    #[test]
    fn the_oldest_that_nobody_asked_for_goes_when_there_are_too_many() {
        let inbox = Inbox::of_size(2, 1);
        for task_id in ["a", "b", "c"] {
            inbox.arrived(task_id, Bytes::from_static(b"1"));
        }
        assert_eq!(inbox.latest("a"), None);
        assert!(inbox.latest("b").is_some() && inbox.latest("c").is_some());
    }

    #[test]
    fn a_shelf_keeps_no_more_places_than_documents_for_long() {
        let mut shelf = Shelf::new(10);
        for number in 0..10_000 {
            shelf.put(if number % 2 == 0 { "a" } else { "b" }, Bytes::new());
        }
        assert!(shelf.order.len() <= 20, "{}", shelf.order.len());
        for number in 0..1_000 {
            let name = number.to_string();
            shelf.put(&name, Bytes::new());
            shelf.remove(&name);
        }
        assert!(shelf.order.len() <= 40, "{}", shelf.order.len());
        assert!(shelf.get("a").is_some());
    }
}
