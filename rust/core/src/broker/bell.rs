//! What wakes a waiting `reserve`: a change of a list, room in the window, or an interruption.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// Rings are kept: one that comes while nobody waits ends the next wait at once.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Notify,
    is_interrupted: AtomicBool,
}

impl Bell {
    /// There may be something to do.
    pub(crate) fn ring(&self) {
        self.rung.notify_one();
    }

    /// The wait is to end, whatever there is to do.
    pub(crate) fn interrupt(&self) {
        self.is_interrupted.store(true, Ordering::SeqCst);
        self.ring();
    }

    /// Whether the wait is to end; asked once per interruption.
    pub(crate) fn take_interruption(&self) -> bool {
        self.is_interrupted.swap(false, Ordering::SeqCst)
    }

    /// Waits for a ring, at most `wait`.
    pub(crate) async fn wait(&self, wait: Duration) {
        let _rung_or_not = tokio::time::timeout(wait, self.rung.notified()).await.is_ok();
    }
}
