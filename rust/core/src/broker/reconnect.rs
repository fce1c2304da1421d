//! Waiting for a server: one wait with a deadline, and the pauses between tries.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::runtime;
use crate::time::Deadline;

/// Runs `work` on the process's runtime from a thread that is not its own, until `deadline`.
///
/// # Errors
/// What `work` returns, or [`Error::TimedOut`].
pub(crate) fn wait_for<T>(
    what: &'static str,
    deadline: Deadline,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    runtime::handle()?.block_on(until(deadline, what, work))
}

/// Lets `work` go on until `deadline`.
///
/// # Errors
/// What `work` returns, or [`Error::TimedOut`].
pub(crate) async fn until<T>(
    deadline: Deadline,
    what: &'static str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let wait = deadline.left();
    timeout(wait, work).await.unwrap_or_else(|_| {
        Err(Error::TimedOut {
            what,
            waited_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        })
    })
}

/// How long what is aborted may take to drop what it holds.
const GIVING_UP: Duration = Duration::from_millis(500);

/// Waits until a publisher's task has sent what it has. Where the time is over before, what it
/// still has is told as failed before this returns, so that a process that ends can say so.
pub(crate) fn end(task: &JoinHandle<()>, deadline: Deadline) {
    let ended = || async {
        while !task.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    };
    if wait_for("closing a publisher", deadline, ended()).is_err() {
        task.abort();
        if let Err(error) = wait_for("giving up what is not sent", Deadline::after(GIVING_UP), ended()) {
            tracing::warn!(%error, "what a publisher still holds is not accounted for");
        }
    }
}

/// Waits between tries: 0.1 s at first, doubled up to 3 s.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait before the next try; none before the first.
    pub(crate) fn wait(&self) -> Duration {
        match self.failures {
            0 => Duration::ZERO,
            failures => Duration::from_millis(100 << (failures - 1).min(5)).min(Duration::from_secs(3)),
        }
    }

    /// The same, shortened by up to a half at random: clients that lost one server together do
    /// not come back together.
    pub(crate) fn jittered(&self) -> Duration {
        let [chance, ..] = uuid::Uuid::new_v4().into_bytes();
        self.wait() * (256 + u32::from(chance)) / 512
    }

    /// A try failed.
    pub(crate) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// A try succeeded.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_bounded() {
        let mut backoff = Backoff::default();
        let mut waits = vec![backoff.wait().as_millis()];
        for _ in 0..8 {
            backoff.failed();
            waits.push(backoff.wait().as_millis());
        }
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3000, 3000, 3000]);
        let jittered = backoff.jittered();
        assert!(jittered >= Duration::from_millis(1_500) && jittered < Duration::from_secs(3));
        backoff.succeeded();
        assert_eq!(backoff.wait(), Duration::ZERO);
    }
}
