//! Deliveries of one connection that were taken off its socket and not handed out yet.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::letter::Letter;
use crate::broker::bell::Bell;

/// Bounded by what the server may push. It names each consumer once and for all, so that what is for one
/// that has ended is never taken for another's.
#[derive(Debug)]
pub(super) struct Inbox {
    letters: Mutex<Letters>,
    bell: Arc<Bell>,
}

/// Letters of each consumer, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Letters(HashMap<String, VecDeque<Letter>>);

impl Inbox {
    /// An empty one that rings when something comes.
    pub(super) fn new(bell: Arc<Bell>) -> Self {
        Self {
            letters: Mutex::default(),
            bell,
        }
    }

    /// Adds what has arrived together, and rings once for all of it.
    pub(super) fn put(&self, arrived: &mut Vec<Letter>) {
        if arrived.is_empty() {
            return;
        }
        let mut letters = self.letters.lock();
        for letter in arrived.drain(..) {
            letters.put(letter);
        }
        drop(letters);
        self.bell.ring();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock()
    }
}

impl Letters {
    fn put(&mut self, letter: Letter) {
        if let Some(waiting) = self.0.get_mut(&letter.envelope.consumer_tag) {
            waiting.push_back(letter);
        } else {
            let consumer_tag = letter.envelope.consumer_tag.clone();
            self.0.insert(consumer_tag, VecDeque::from([letter]));
        }
    }

    /// The oldest of a consumer.
    pub(super) fn take(&mut self, consumer_tag: &str) -> Option<Letter> {
        self.0.get_mut(consumer_tag)?.pop_front()
    }

    /// Whether nothing is there of a consumer.
    pub(super) fn is_empty_of(&self, consumer_tag: &str) -> bool {
        self.0.get(consumer_tag).is_none_or(VecDeque::is_empty)
    }

    /// All that is left of a consumer that has ended.
    pub(super) fn take_rest(&mut self, consumer_tag: &str) -> VecDeque<Letter> {
        self.0.remove(consumer_tag).unwrap_or_default()
    }

    /// Forgets everything: its channel has ended, and the server delivers it again.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
