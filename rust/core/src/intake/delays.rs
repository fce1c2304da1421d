//! Deliveries that wait for a moment of the wall clock.
//!
//! The wheel turns with the monotonic clock, so that a wall clock set back fires nothing early;
//! when the two have moved against each other, everything is put in anew.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::held::Held;
use crate::time::Clock;
use crate::timer::{Key, Wheel};

/// Smaller steps of the wall clock (slewing) are made up for when a timer fires.
const STEP_MS: u64 = 500;

#[derive(Debug)]
pub(super) struct Delays {
    clock: Arc<dyn Clock>,
    wheel: Wheel<Waiting>,
    /// By the hash of the task's id, of which there may be millions.
    by_task: HashMap<u64, Keys>,
    hasher: RandomState,
    /// What the wall clock read when the monotonic one read zero.
    offset_ms: u64,
}

/// What waits under one hash: nearly always one.
#[derive(Debug)]
enum Keys {
    One(Key),
    Many(Vec<Key>),
}

impl Keys {
    fn list(self) -> Vec<Key> {
        match self {
            Self::One(key) => vec![key],
            Self::Many(keys) => keys,
        }
    }
}

#[derive(Debug)]
struct Waiting {
    due_unix_ms: u64,
    delivery: Arc<Held>,
}

impl Delays {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            wheel: Wheel::new(clock.monotonic_ms()),
            offset_ms: offset_ms(&*clock),
            by_task: HashMap::new(),
            hasher: RandomState::new(),
            clock,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.wheel.len()
    }

    pub(super) fn insert(&mut self, delivery: Arc<Held>, due_unix_ms: u64) {
        let wait_ms = due_unix_ms.saturating_sub(self.clock.unix_ms());
        let hash = self.hash(&delivery);
        let due_tick = self.clock.monotonic_ms().saturating_add(wait_ms);
        let waiting = Waiting {
            due_unix_ms,
            delivery,
        };
        let key = self.wheel.insert(due_tick, waiting);
        match self.by_task.entry(hash) {
            Entry::Vacant(free) => {
                free.insert(Keys::One(key));
            }
            Entry::Occupied(mut taken) => match taken.get_mut() {
                Keys::One(other) => *taken.get_mut() = Keys::Many(vec![*other, key]),
                Keys::Many(keys) => keys.push(key),
            },
        }
    }

    fn hash(&self, delivery: &Held) -> u64 {
        self.hasher
            .hash_one(delivery.peek.id.as_deref().unwrap_or_default())
    }

    /// What is due, the earliest first.
    pub(super) fn take_due(&mut self) -> Vec<Arc<Held>> {
        if self.wheel.is_empty() {
            return Vec::new();
        }
        self.follow_the_wall_clock();
        let now_unix_ms = self.clock.unix_ms();
        let mut due = Vec::new();
        for (key, waiting) in self.wheel.advance(self.clock.monotonic_ms()) {
            self.forget(key, &waiting);
            if waiting.due_unix_ms > now_unix_ms {
                self.insert(waiting.delivery, waiting.due_unix_ms);
            } else if !waiting.delivery.is_settled() {
                due.push(waiting.delivery);
            }
        }
        due
    }

    /// How long nothing is due; `None` when nothing waits.
    pub(super) fn next_wait_ms(&self) -> Option<u64> {
        let tick = self.wheel.next_tick()?;
        Some(tick.saturating_sub(self.clock.monotonic_ms()))
    }

    pub(super) fn cancel(&mut self, task_id: &str) -> Vec<Arc<Held>> {
        let keys = self.by_task.remove(&self.hasher.hash_one(task_id));
        let found = keys.map(Keys::list).unwrap_or_default();
        let found = found.into_iter().filter_map(|key| self.wheel.cancel(key));
        let (meant, others): (Vec<_>, Vec<_>) = found
            .collect::<Vec<_>>()
            .into_iter()
            .partition(|waiting| waiting.delivery.peek.id.as_deref().unwrap_or_default() == task_id);
        // Two ids of one hash.
        for waiting in others {
            self.insert(waiting.delivery, waiting.due_unix_ms);
        }
        meant.into_iter().map(|waiting| waiting.delivery).collect()
    }

    /// Takes out what came over a connection before `epoch`.
    pub(super) fn take_before(&mut self, epoch: u64) -> Vec<Arc<Held>> {
        let (older, kept): (Vec<_>, Vec<_>) = self
            .list()
            .into_iter()
            .partition(|(_, delivery)| delivery.epoch < epoch);
        if !older.is_empty() {
            self.begin_with(kept);
        }
        older.into_iter().map(|(_, delivery)| delivery).collect()
    }

    pub(super) fn list(&self) -> Vec<(u64, Arc<Held>)> {
        let entries = self.wheel.iter();
        let mut list: Vec<_> = entries
            .map(|(_, waiting)| (waiting.due_unix_ms, Arc::clone(&waiting.delivery)))
            .collect();
        list.sort_by_key(|(due_unix_ms, delivery)| (*due_unix_ms, delivery.number));
        list
    }

    fn forget(&mut self, key: Key, waiting: &Waiting) {
        let Entry::Occupied(mut known) = self.by_task.entry(self.hash(&waiting.delivery)) else {
            return;
        };
        let is_last = match known.get_mut() {
            Keys::One(only) => *only == key,
            Keys::Many(keys) => {
                keys.retain(|other| *other != key);
                keys.is_empty()
            }
        };
        if is_last {
            known.remove();
        }
    }

    fn follow_the_wall_clock(&mut self) {
        let offset_ms = offset_ms(&*self.clock);
        if offset_ms.abs_diff(self.offset_ms) <= STEP_MS {
            return;
        }
        self.offset_ms = offset_ms;
        let list = self.list();
        self.begin_with(list);
    }

    fn begin_with(&mut self, list: Vec<(u64, Arc<Held>)>) {
        self.wheel = Wheel::new(self.clock.monotonic_ms());
        self.by_task.clear();
        for (due_unix_ms, delivery) in list {
            self.insert(delivery, due_unix_ms);
        }
    }
}

fn offset_ms(clock: &dyn Clock) -> u64 {
    clock.unix_ms().saturating_sub(clock.monotonic_ms())
}
