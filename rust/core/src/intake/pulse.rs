//! When it was proved last that this intake takes messages: what a probe asks for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::time::Clock;

/// What is known of an intake's consuming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Milliseconds since messages came, or since the broker has answered that there are none;
    /// at first, since the start.
    pub proved_ms_ago: u64,
    /// All places of the prefetch are taken: nothing is asked for, and nothing is wrong.
    pub is_full: bool,
    /// The last try has failed.
    pub is_lost: bool,
}

#[derive(Debug)]
pub(super) struct Pulse {
    clock: Arc<dyn Clock>,
    proved_ms: AtomicU64,
    is_full: AtomicBool,
    is_lost: AtomicBool,
}

impl Pulse {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            proved_ms: AtomicU64::new(clock.monotonic_ms()),
            clock,
            is_full: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
        }
    }

    pub(super) fn proved(&self) {
        self.proved_ms.store(self.clock.monotonic_ms(), Ordering::Relaxed);
        self.is_lost.store(false, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
    }

    pub(super) fn full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    pub(super) fn health(&self) -> Health {
        let now_ms = self.clock.monotonic_ms();
        Health {
            proved_ms_ago: now_ms.saturating_sub(self.proved_ms.load(Ordering::Relaxed)),
            is_full: self.is_full.load(Ordering::Relaxed),
            is_lost: self.is_lost.load(Ordering::Relaxed),
        }
    }
}
