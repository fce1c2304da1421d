//! The memory result store: documents of one process.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::chords::{Chord, ChordStore, Join, Part, later_ms};
use super::waiters::Waiters;
use super::{Put, ResultStore, Subscription, is_success};
use crate::broker::url::BrokerUrl;
use crate::error::Result;
use crate::per_process::PerProcess;
use crate::time::{Clock, Deadline, SystemClock};

static SHELVES: PerProcess<Mutex<HashMap<String, Arc<Shelf>>>> = PerProcess::new();

pub(super) fn store(url: &BrokerUrl) -> Arc<dyn ResultStore> {
    Arc::new(MemoryStore {
        name: url.path().to_owned(),
    })
}

/// The documents of the space `name` in this process.
pub(crate) fn shelf(name: &str) -> Arc<Shelf> {
    let mut shelves = SHELVES.get_or_init(Mutex::default).lock();
    let shelf = shelves.entry(name.to_owned());
    Arc::clone(shelf.or_insert_with(|| Arc::new(Shelf::new(SystemClock::shared()))))
}

#[derive(Debug)]
struct Value {
    content: Bytes,
    expires_ms: Option<u64>,
}

#[derive(Debug, Default)]
struct Content {
    documents: HashMap<String, Value>,
    raw: HashMap<String, Value>,
    chords: HashMap<String, Chord>,
}

/// What is stored under one URL.
#[derive(Debug)]
pub(crate) struct Shelf {
    clock: Arc<dyn Clock>,
    content: Mutex<Content>,
    waiters: Waiters,
}

impl Shelf {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            content: Mutex::default(),
            waiters: Waiters::new(),
        }
    }

    fn value(&self, content: Bytes, expires_s: Option<u64>) -> Value {
        let lifetime_ms = expires_s.map(|seconds| seconds.saturating_mul(1_000));
        Value {
            content,
            expires_ms: lifetime_ms.map(|later_ms| self.clock.unix_ms().saturating_add(later_ms)),
        }
    }

    fn read(&self, values: &HashMap<String, Value>, key: &str) -> Option<Bytes> {
        let value = values.get(key).filter(|value| !self.has_expired(value))?;
        Some(value.content.clone())
    }

    /// Does something with a chord, which lives on for `expires_s` if that is given.
    fn with_chord<T>(
        &self,
        group_id: &str,
        expires_s: Option<u64>,
        work: impl FnOnce(&mut Chord, u64) -> T,
    ) -> T {
        let now_ms = self.clock.unix_ms();
        let mut content = self.content.lock();
        let chord = content.chords.entry(group_id.to_owned()).or_default();
        if let Some(seconds) = expires_s {
            chord.expires_ms = Some(later_ms(now_ms, seconds));
        }
        work(chord, now_ms)
    }

    fn has_expired(&self, value: &Value) -> bool {
        value
            .expires_ms
            .is_some_and(|expires_ms| expires_ms <= self.clock.unix_ms())
    }
}

impl ResultStore for Shelf {
    fn put(&self, puts: Vec<Put>, _deadline: Deadline) -> Result<()> {
        // Delivered under the lock, so that subscribers see the order in which they were stored.
        let mut content = self.content.lock();
        for put in puts {
            let current = self.read(&content.documents, &put.task_id);
            if current.is_some_and(|document| is_success(&document)) {
                continue;
            }
            self.waiters.deliver(&put.task_id, &put.document);
            let value = self.value(put.document, put.expires_s);
            content.documents.insert(put.task_id, value);
        }
        Ok(())
    }

    fn get(&self, task_id: &str, _deadline: Deadline) -> Result<Option<Bytes>> {
        Ok(self.read(&self.content.lock().documents, task_id))
    }

    fn get_many(&self, task_ids: &[String], _deadline: Deadline) -> Result<Vec<Option<Bytes>>> {
        let content = self.content.lock();
        Ok(task_ids
            .iter()
            .map(|task_id| self.read(&content.documents, task_id))
            .collect())
    }

    fn forget(&self, task_id: &str, _deadline: Deadline) -> Result<()> {
        self.content.lock().documents.remove(task_id);
        Ok(())
    }

    fn subscribe(&self, task_id: &str, already_sent: bool, _: Deadline) -> Result<Box<dyn Subscription>> {
        let content = self.content.lock();
        let handle = self.waiters.subscribe(task_id);
        if !already_sent && let Some(current) = self.read(&content.documents, task_id) {
            handle.start_with(current);
        }
        Ok(Box::new(handle))
    }

    fn put_raw(&self, key: &str, value: Bytes, expires_s: Option<u64>, _deadline: Deadline) -> Result<()> {
        let value = self.value(value, expires_s);
        self.content.lock().raw.insert(key.to_owned(), value);
        Ok(())
    }

    fn get_raw(&self, key: &str, _deadline: Deadline) -> Result<Option<Bytes>> {
        Ok(self.read(&self.content.lock().raw, key))
    }

    fn forget_raw(&self, key: &str, _deadline: Deadline) -> Result<()> {
        self.content.lock().raw.remove(key);
        Ok(())
    }

    fn cleanup(&self, _deadline: Deadline) -> Result<u64> {
        let mut content = self.content.lock();
        let before = content.documents.len() + content.raw.len();
        content.documents.retain(|_, value| !self.has_expired(value));
        content.raw.retain(|_, value| !self.has_expired(value));
        let now_ms = self.clock.unix_ms();
        content
            .chords
            .retain(|_, chord| chord.expires_ms.is_none_or(|then_ms| then_ms > now_ms));
        let after = content.documents.len() + content.raw.len();
        Ok(u64::try_from(before - after).unwrap_or(u64::MAX))
    }
}

/// The store as its users hold it: a child of a fork finds a shelf of its own.
#[derive(Debug)]
struct MemoryStore {
    name: String,
}

impl ResultStore for MemoryStore {
    fn put(&self, puts: Vec<Put>, deadline: Deadline) -> Result<()> {
        shelf(&self.name).put(puts, deadline)
    }

    fn get(&self, task_id: &str, deadline: Deadline) -> Result<Option<Bytes>> {
        shelf(&self.name).get(task_id, deadline)
    }

    fn get_many(&self, task_ids: &[String], deadline: Deadline) -> Result<Vec<Option<Bytes>>> {
        shelf(&self.name).get_many(task_ids, deadline)
    }

    fn forget(&self, task_id: &str, deadline: Deadline) -> Result<()> {
        shelf(&self.name).forget(task_id, deadline)
    }

    fn subscribe(
        &self,
        task_id: &str,
        already_sent: bool,
        deadline: Deadline,
    ) -> Result<Box<dyn Subscription>> {
        shelf(&self.name).subscribe(task_id, already_sent, deadline)
    }

    fn put_raw(&self, key: &str, value: Bytes, expires_s: Option<u64>, deadline: Deadline) -> Result<()> {
        shelf(&self.name).put_raw(key, value, expires_s, deadline)
    }

    fn get_raw(&self, key: &str, deadline: Deadline) -> Result<Option<Bytes>> {
        shelf(&self.name).get_raw(key, deadline)
    }

    fn forget_raw(&self, key: &str, deadline: Deadline) -> Result<()> {
        shelf(&self.name).forget_raw(key, deadline)
    }

    fn chords(&self) -> Option<&dyn ChordStore> {
        Some(self)
    }

    fn cleanup(&self, deadline: Deadline) -> Result<u64> {
        shelf(&self.name).cleanup(deadline)
    }
}

impl ChordStore for MemoryStore {
    fn set_chord_size(&self, group_id: &str, size: u64, expires_s: Option<u64>, _: Deadline) -> Result<()> {
        shelf(&self.name).with_chord(group_id, expires_s, |chord, _| chord.set_size(size));
        Ok(())
    }

    fn add_to_chord(&self, group_id: &str, more: u64, expires_s: Option<u64>, _: Deadline) -> Result<()> {
        shelf(&self.name).with_chord(group_id, expires_s, |chord, _| chord.add(more));
        Ok(())
    }

    fn join(&self, part: &Part, _: Deadline) -> Result<Join> {
        let own = shelf(&self.name);
        Ok(own.with_chord(&part.group_id, part.expires_s, |chord, now_ms| {
            chord.join(part, now_ms)
        }))
    }

    fn keep_claim(&self, group_id: &str, token: &str, claim_s: u64, _: Deadline) -> Result<bool> {
        let own = shelf(&self.name);
        Ok(own.with_chord(group_id, None, |chord, now_ms| {
            chord.keep_claim(token, claim_s, now_ms)
        }))
    }

    fn close_chord(&self, group_id: &str, token: &str, done_s: u64, _: Deadline) -> Result<bool> {
        let own = shelf(&self.name);
        Ok(own.with_chord(group_id, None, |chord, now_ms| chord.close(token, done_s, now_ms)))
    }

    fn fail_chord(&self, group_id: &str, _: Deadline) -> Result<()> {
        shelf(&self.name).with_chord(group_id, None, |chord, _| chord.fail());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::ManualClock;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(10))
    }

    fn put(task_id: &str, expires_s: Option<u64>) -> Put {
        Put {
            task_id: task_id.to_owned(),
            document: Bytes::from_static(br#"{"status": "SUCCESS"}"#),
            is_final: true,
            expires_s,
            reply: None,
        }
    }

    #[test]
    fn a_document_lives_to_the_millisecond() {
        let clock = ManualClock::at(1_000_000);
        let shelf = Shelf::new(clock.clone());
        shelf.put(vec![put("a", Some(60))], soon()).unwrap();
        clock.advance(59_999);
        assert!(shelf.get("a", soon()).unwrap().is_some());
        clock.advance(1);
        assert_eq!(shelf.get("a", soon()).unwrap(), None);
    }

    #[test]
    fn cleanup_deletes_what_has_expired_and_nothing_else() {
        let clock = ManualClock::at(0);
        let shelf = Shelf::new(clock.clone());
        shelf
            .put(vec![put("short", Some(1)), put("eternal", None)], soon())
            .unwrap();
        shelf.put_raw("raw", Bytes::new(), Some(1), soon()).unwrap();
        assert_eq!(shelf.cleanup(soon()).unwrap(), 0);
        clock.advance(1_000);
        assert_eq!(shelf.cleanup(soon()).unwrap(), 2);
        assert!(shelf.get("eternal", soon()).unwrap().is_some());
    }

    #[test]
    fn an_expired_success_may_be_stored_anew() {
        let clock = ManualClock::at(0);
        let shelf = Shelf::new(clock.clone());
        shelf.put(vec![put("a", Some(1))], soon()).unwrap();
        clock.advance(1_000);
        shelf.put(vec![put("a", Some(1))], soon()).unwrap();
        assert!(shelf.get("a", soon()).unwrap().is_some());
    }
}
