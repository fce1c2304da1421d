//! What wakes a waiting `reserve`: a change of a list, room in the window, or an interruption.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::FutureExt as _;
use tokio::sync::Notify;

use crate::time::Deadline;

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

    /// Takes a ring of before back: who looks at everything after this has heard it. Returns whether
    /// there was one.
    pub(crate) fn hear(&self) -> bool {
        self.rung.notified().now_or_never().is_some()
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
    #[must_use = "the ring is taken: who waited looks"]
    pub(crate) async fn wait(&self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.rung.notified()).await.is_ok()
    }

    /// Waits for a ring until then.
    #[must_use = "the ring is taken: who waited looks"]
    pub(crate) async fn wait_until(&self, end: Deadline) -> bool {
        let rung = self.rung.notified();
        tokio::time::timeout_at(end.instant().into(), rung).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a wait ends by a ring.
    async fn rings(bell: &Bell) -> bool {
        tokio::time::timeout(Duration::from_millis(1), bell.rung.notified())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn a_ring_that_was_heard_ends_no_wait_and_a_later_one_does() {
        let bell = Bell::default();
        bell.ring();
        assert!(bell.hear());
        assert!(!bell.hear());
        assert!(!rings(&bell).await);
        bell.ring();
        assert!(rings(&bell).await);
    }

    #[tokio::test]
    async fn an_interruption_is_kept_when_its_ring_was_heard() {
        let bell = Bell::default();
        bell.interrupt();
        bell.hear();
        assert!(bell.take_interruption());
    }
}
