//! What a consumer does again and again beside reserving: it renews, looks for dead owners, takes over
//! and sweeps.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::custody::Custody;
use super::watch::Watch;
use crate::broker::bell::Bell;
use crate::error::Result;
use crate::time::{Clock, Deadline, SystemClock};

/// When each thing is done again.
#[derive(Debug)]
struct Due {
    renewal: Deadline,
    extension: Deadline,
    sweep: Deadline,
    look: Deadline,
}

impl Due {
    fn at_once() -> Self {
        let now = Deadline::after(Duration::ZERO);
        Self {
            renewal: now,
            extension: now,
            sweep: now,
            look: now,
        }
    }

    fn next(&self) -> Duration {
        let first = self.renewal.min(self.extension).min(self.sweep);
        first.min(self.look).left()
    }
}

/// Goes on until the consumer is gone, or has left.
pub(super) async fn keep(custody: Weak<Custody>, ring: Arc<Bell>) {
    let clock = SystemClock::shared();
    let (mut due, mut watch) = (Due::at_once(), Watch::default());
    loop {
        let Some(kept) = custody.upgrade().filter(|kept| !kept.pulse.is_over()) else {
            return;
        };
        let pause = match round(&kept, &mut due, &mut watch, &*clock).await {
            Ok(restored) => {
                if restored > 0 {
                    tracing::info!(messages = restored, "restored what nobody held any more");
                    ring.ring();
                }
                due.next()
            }
            Err(error) => {
                tracing::warn!(%error, "leases could not be renewed");
                Duration::from_secs(1).min(kept.renewal_interval())
            }
        };
        let stirred = kept.pulse.stirred();
        drop(kept);
        let pause = pause.max(Duration::from_millis(10));
        if tokio::time::timeout(pause, stirred.notified()).await.is_ok() {
            // Subscribes again before others have looked twice, or says that it does not any more.
            due.renewal = Deadline::after(Duration::ZERO);
        }
    }
}

async fn round(custody: &Custody, due: &mut Due, watch: &mut Watch, clock: &dyn Clock) -> Result<usize> {
    let mut live = custody.link.live().await?;
    let mut restored = 0;
    if due.renewal.has_passed() {
        custody.renew(&mut live).await?;
        restored += custody.take_over(&mut live).await?;
        due.renewal = Deadline::after(custody.renewal_interval());
    }
    if due.extension.has_passed() {
        // From before it began: what is written first is the first to be old.
        let next = Deadline::after(custody.extension_interval());
        custody.extend(&mut live, false).await?;
        due.extension = next;
    }
    if due.sweep.has_passed() {
        restored += custody.sweep(&mut live).await?;
        due.sweep = Deadline::after(custody.names.sweep_interval);
    }
    if custody.pulse.take_company() || due.look.has_passed() {
        let (ended, pause) = custody.look(&mut live, watch, clock).await?;
        if ended > 0 {
            restored += custody.take_over(&mut live).await?;
        }
        due.look = Deadline::after(pause);
    }
    Ok(restored)
}
