//! Where letters lie until somebody takes them.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::time::Deadline;
use crate::wire::message::Message;

/// More letters than that are dropped: whoever sends them does not wait for so many answers.
const MAX_LETTERS: usize = 10_000;

type Bell = Arc<dyn Fn() + Send + Sync>;

/// A bounded pile of letters.
#[derive(Default)]
pub struct Tray {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    letters: VecDeque<Message>,
    dropped: u64,
    bell: Option<Bell>,
}

impl std::fmt::Debug for Tray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tray")
            .field("letters", &self.state.lock().letters.len())
            .finish_non_exhaustive()
    }
}

impl Tray {
    /// Rings `bell` for every letter from now on, and at once if some lie here.
    pub fn ring(&self, bell: impl Fn() + Send + Sync + 'static) {
        let bell: Bell = Arc::new(bell);
        let mut state = self.state.lock();
        let rings_now = (!state.letters.is_empty()).then(|| Arc::clone(&bell));
        state.bell = Some(bell);
        drop(state);
        if let Some(bell) = rings_now {
            bell();
        }
    }

    /// Lays a letter down; the newest is dropped where there is no room.
    pub fn put(&self, letter: Message) {
        let mut state = self.state.lock();
        if state.letters.len() >= MAX_LETTERS {
            state.dropped += 1;
            if state.dropped.is_power_of_two() {
                tracing::warn!(
                    dropped = state.dropped,
                    "control messages are dropped: {MAX_LETTERS} wait already"
                );
            }
            return;
        }
        state.letters.push_back(letter);
        let bell = state.bell.clone();
        drop(state);
        self.arrived.notify_all();
        if let Some(bell) = bell {
            bell();
        }
    }

    /// Takes what lies here, at most `max` letters, the oldest first.
    pub fn take(&self, max: usize) -> Vec<Message> {
        self.state.lock().take(max)
    }

    /// Waits for letters until `deadline`; empty when none came.
    pub fn wait(&self, max: usize, deadline: Deadline) -> Vec<Message> {
        let mut state = self.state.lock();
        while state.letters.is_empty() {
            if self
                .arrived
                .wait_until(&mut state, deadline.instant())
                .timed_out()
            {
                break;
            }
        }
        state.take(max)
    }
}

impl State {
    fn take(&mut self, max: usize) -> Vec<Message> {
        let count = max.min(self.letters.len());
        self.letters.drain(..count).collect()
    }
}
