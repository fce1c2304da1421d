//! The leases of one consumer: they begin with a reservation, are renewed, and end.

use std::time::Duration;

use parking_lot::Mutex;
use redis::{RedisError, Script};

use super::held::Ledger;
use super::link::{Link, Live};
use super::names::{Names, delayed_name};
use super::pulse::Pulse;
use super::script;
use crate::error::Result;
use crate::time::Deadline;

/// Leases in one script call.
pub(super) const BATCH: usize = 128;
/// Leases that one script call extends: a millisecond of the server's time.
const PAGE: usize = 500;

/// The leases of one consumer.
#[derive(Debug)]
pub(super) struct Custody {
    pub(super) names: Names,
    /// Name of this consumer among the owners.
    pub(super) owner: String,
    /// For everything but reserving and settling.
    pub(super) link: Link,
    /// For settling only: read by the thread that settles.
    pub(super) settling: Link,
    /// When the connection for settling has to prove itself before it is used: it was idle, or another
    /// one to the same server was lost.
    pub(super) suspect_from: Mutex<Deadline>,
    pub(super) pulse: Pulse,
    pub(super) held: Mutex<Ledger>,
}

/// One delivery's end, as `settle.lua` takes it.
#[derive(Debug, Default)]
pub(super) struct End {
    pub(super) verdict: &'static str,
    pub(super) tag: String,
    /// Aside, and the end of what lies aside: the stream; back and lost: the list.
    pub(super) key: String,
    /// Aside: what is said of it, see [`Custody::note`]; back and lost: the envelope; ack: the name of
    /// its count, where it has one.
    pub(super) text: Vec<u8>,
    /// Aside: what follows the envelope in the record; lost: the name of its count.
    pub(super) suffix: String,
    pub(super) put_key: String,
    pub(super) put_lifetime: String,
    pub(super) put_document: bytes::Bytes,
}

impl End {
    /// Whether it is acknowledged and no more.
    fn is_plain(&self) -> bool {
        self.verdict == "ack" && self.put_key.is_empty() && self.key.is_empty() && self.text.is_empty()
    }
}

/// A delivery for the delayed store.
#[derive(Debug)]
pub(super) struct Delayed {
    pub(super) tag: String,
    pub(super) queue: String,
    /// From now; the server counts it, so that clocks need not agree.
    pub(super) wait_ms: u64,
}

impl Custody {
    /// Hands deliveries to the delayed store.
    pub(super) async fn delay(&self, live: &mut Live, delayed: &[Delayed]) -> Result<()> {
        for delayed in delayed.chunks(BATCH) {
            let mut call = self.call(&script::DELAY);
            call.arg(self.names.visibility_timeout.as_secs_f64());
            for Delayed { tag, queue, wait_ms } in delayed {
                call.arg(tag)
                    .arg(delayed_name(queue))
                    .arg(self.names.delayed(queue))
                    .arg(*wait_ms);
            }
            let done: std::result::Result<u64, RedisError> = call.invoke_async(&mut live.connection).await;
            done.map_err(|error| self.failed(live, &error))?;
        }
        Ok(())
    }

    /// Carries ends out, in order; returns the tags whose lease was not ours any more.
    pub(super) async fn end(&self, live: &mut Live, ends: &[End]) -> Result<Vec<String>> {
        let mut missed = Vec::new();
        for ends in ends.chunks(BATCH) {
            let mut call = self.call(&script::SETTLE);
            call.key(&self.names.losses);
            let (plain, others): (Vec<_>, Vec<_>) = ends.iter().partition(|end| end.is_plain());
            call.arg(plain.len());
            for end in plain {
                call.arg(&end.tag);
            }
            for end in others {
                call.arg(end.verdict)
                    .arg(&end.tag)
                    .arg(&end.key)
                    .arg(&end.text)
                    .arg(&end.suffix)
                    .arg(&end.put_key)
                    .arg(&end.put_lifetime)
                    .arg(&end.put_document[..]);
            }
            let done: Vec<String> = call
                .invoke_async(&mut live.connection)
                .await
                .map_err(|error| self.failed(live, &error))?;
            missed.extend(done);
        }
        Ok(missed)
    }

    /// The numbers of its connections, of those that there are.
    pub(super) fn serials(&self) -> [Option<u64>; 2] {
        [self.link.current_serial(), self.settling.current_serial()]
    }

    /// A connection to settle over.
    pub(super) async fn settling_live(&self) -> Result<Live> {
        let next = Deadline::after(self.renewal_interval());
        let suspect_from = std::mem::replace(&mut *self.suspect_from.lock(), next);
        if suspect_from.has_passed() {
            return self.settling.proved().await;
        }
        self.settling.live().await
    }

    pub(super) fn call<'a>(&self, script: &'a Script) -> redis::ScriptInvocation<'a> {
        let mut call = script.key(&self.names.unacked);
        call.key(&self.names.unacked_index)
            .key(self.names.owner(&self.owner));
        call
    }

    pub(super) fn failed(&self, live: &Live, error: &RedisError) -> crate::Error {
        let [_, settling] = self.serials();
        let link = if settling == Some(live.serial) {
            &self.settling
        } else {
            &self.link
        };
        link.failed(live.serial, error)
    }

    /// Says that this owner lives, and whether others would see its process end.
    pub(super) async fn renew(&self, live: &mut Live) -> Result<()> {
        let subscribes = self.pulse.beat().await;
        let mut call = script::RENEW.key(&self.names.owners);
        call.key(&self.names.subscribed)
            .arg(&self.owner)
            .arg(millis(self.names.lease_timeout))
            .arg(u8::from(subscribes));
        let done: std::result::Result<u64, RedisError> = call.invoke_async(&mut live.connection).await;
        done.map(drop).map_err(|error| self.failed(live, &error))
    }

    /// Says of everything it holds that it does, page by page; returns the tags if they are wanted.
    pub(super) async fn extend(&self, live: &mut Live, wants_tags: bool) -> Result<Vec<String>> {
        let mut tags = Vec::new();
        let mut cursor = "0".to_owned();
        let mut next_renewal = Deadline::after(self.renewal_interval());
        loop {
            let mut call = script::EXTEND.key(self.names.owner(&self.owner));
            call.key(&self.names.unacked_index)
                .arg(&cursor)
                .arg(PAGE)
                .arg(if wants_tags { "1" } else { "0" });
            let page: std::result::Result<(String, Vec<String>), RedisError> =
                call.invoke_async(&mut live.connection).await;
            let (next, found) = page.map_err(|error| self.failed(live, &error))?;
            tags.extend(found);
            if next == "0" {
                return Ok(tags);
            }
            cursor = next;
            if next_renewal.has_passed() {
                self.renew(live).await?;
                next_renewal = Deadline::after(self.renewal_interval());
            }
        }
    }

    /// After a reconnect: keeps what is still ours, and hands back what was reserved for us by an
    /// answer that never came.
    pub(super) async fn reclaim(&self, live: &mut Live) -> Result<()> {
        self.renew(live).await?;
        let tags = self.extend(live, true).await?;
        let orphans: Vec<String> = {
            let held = self.held.lock();
            tags.into_iter().filter(|tag| !held.contains(tag)).collect()
        };
        if !orphans.is_empty() {
            tracing::warn!(
                messages = orphans.len(),
                "handing back what was reserved without an answer"
            );
        }
        self.hand_back(live, &orphans).await
    }

    /// Between two renewals: often enough for our own lease, and for extensions to be in time.
    pub(super) fn renewal_interval(&self) -> Duration {
        (self.names.lease_timeout / 3).min(self.extension_interval())
    }

    /// Between two extensions: often enough for Celery's sweep.
    pub(super) fn extension_interval(&self) -> Duration {
        self.names.visibility_timeout / 4
    }

    /// Removes this owner, which holds nothing any more.
    pub(super) async fn retire(&self, live: &mut Live) -> Result<()> {
        self.pulse.end();
        let mut pipe = redis::pipe();
        pipe.zrem(&self.names.owners, &self.owner)
            .srem(&self.names.subscribed, &self.owner);
        let removed: Result<(), RedisError> = pipe.query_async(&mut live.connection).await;
        removed.map_err(|error| self.failed(live, &error))
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
