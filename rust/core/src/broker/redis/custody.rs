//! What this consumer holds, and what it does about it: renewing, taking over, sweeping, handing
//! back.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::{RedisError, Script};

use super::link::{Link, Live};
use super::names::{DELAYED, Names, delayed_name, record_suffix};
use super::routing;
use super::script;
use crate::codec::json::raw;
use crate::error::Result;
use crate::time::Deadline;
use crate::wire::envelope;
use crate::wire::message::Target;

/// Leases in one script call.
const BATCH: usize = 128;
/// Leases that one script call extends: a millisecond of the server's time.
const PAGE: usize = 500;

/// One delivery that is held.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// The queue it was taken from.
    pub(super) queue: String,
    /// Its place in the order of deliveries.
    pub(super) number: u64,
}

/// The leases of one consumer.
#[derive(Debug)]
pub(super) struct Custody {
    pub(super) names: Names,
    /// Name of this consumer among the owners.
    pub(super) owner: String,
    /// For everything but reserving.
    pub(super) link: Link,
    pub(super) held: Mutex<Ledger>,
}

/// What was handed out and is not settled, by tag.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    by_tag: HashMap<String, Held>,
    delivered: u64,
}

impl Ledger {
    pub(super) fn enter(&mut self, tag: &str, queue: &str) {
        self.delivered += 1;
        let held = Held {
            queue: queue.to_owned(),
            number: self.delivered,
        };
        self.by_tag.insert(tag.to_owned(), held);
    }

    pub(super) fn get(&self, tag: &str) -> Option<Held> {
        self.by_tag.get(tag).cloned()
    }

    pub(super) fn remove(&mut self, tag: &str) {
        self.by_tag.remove(tag);
    }

    pub(super) fn len(&self) -> usize {
        self.by_tag.len()
    }

    fn contains(&self, tag: &str) -> bool {
        self.by_tag.contains_key(tag)
    }

    /// Takes everything out, in the order of its delivery.
    pub(super) fn drain(&mut self) -> Vec<String> {
        let mut all: Vec<(String, Held)> = self.by_tag.drain().collect();
        all.sort_by_key(|(_, held)| held.number);
        all.into_iter().map(|(tag, _)| tag).collect()
    }
}

/// One delivery's end, as `settle.lua` takes it.
#[derive(Debug, Default)]
pub(super) struct End {
    pub(super) verdict: &'static str,
    pub(super) tag: String,
    /// Aside: the stream; back: the list.
    pub(super) key: String,
    /// Aside: the reason; back: the envelope.
    pub(super) text: Vec<u8>,
    /// What follows the envelope in the record.
    pub(super) suffix: String,
    pub(super) put_key: String,
    pub(super) put_lifetime: String,
    pub(super) put_document: bytes::Bytes,
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

    /// Carries ends out, in order.
    pub(super) async fn end(&self, live: &mut Live, ends: &[End]) -> Result<u64> {
        let mut ended = 0;
        for ends in ends.chunks(BATCH) {
            let mut call = self.call(&script::SETTLE);
            for end in ends {
                call.arg(end.verdict)
                    .arg(&end.tag)
                    .arg(&end.key)
                    .arg(&end.text)
                    .arg(&end.suffix)
                    .arg(&end.put_key)
                    .arg(&end.put_lifetime)
                    .arg(&end.put_document[..]);
            }
            let done: u64 = call
                .invoke_async(&mut live.connection)
                .await
                .map_err(|error| self.failed(live, &error))?;
            ended += done;
        }
        Ok(ended)
    }

    fn call<'a>(&self, script: &'a Script) -> redis::ScriptInvocation<'a> {
        let mut call = script.key(&self.names.unacked);
        call.key(&self.names.unacked_index)
            .key(self.names.owner(&self.owner));
        call
    }

    fn failed(&self, live: &Live, error: &RedisError) -> crate::Error {
        self.link.failed(live.serial, error)
    }

    /// Says that this owner lives.
    pub(super) async fn renew(&self, live: &mut Live) -> Result<()> {
        let mut call = script::RENEW.key(&self.names.owners);
        call.arg(&self.owner).arg(millis(self.names.lease_timeout));
        let done: std::result::Result<u64, RedisError> = call.invoke_async(&mut live.connection).await;
        done.map(drop).map_err(|error| self.failed(live, &error))
    }

    /// Says of everything it holds that it does, page by page; returns the tags if they are wanted.
    async fn extend(&self, live: &mut Live, wants_tags: bool) -> Result<Vec<String>> {
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

    /// Puts leased messages back to the front of their queues, marked as redelivered. The first
    /// of `tags` will be the first to be served.
    pub(super) async fn hand_back(&self, live: &mut Live, tags: &[String]) -> Result<()> {
        for tags in tags.rchunks(BATCH) {
            let found = self.records(live, tags).await?;
            self.restore(live, found).await?;
        }
        Ok(())
    }

    /// The records of leased messages, those that are there.
    pub(super) async fn records(&self, live: &mut Live, tags: &[String]) -> Result<Vec<(String, Vec<u8>)>> {
        if tags.is_empty() {
            return Ok(Vec::new());
        }
        let records: Vec<Option<Vec<u8>>> = redis::cmd("HMGET")
            .arg(&self.names.unacked)
            .arg(tags)
            .query_async(&mut live.connection)
            .await
            .map_err(|error| self.failed(live, &error))?;
        let pairs = tags.iter().zip(records);
        Ok(pairs
            .filter_map(|(tag, record)| Some((tag.clone(), record?)))
            .collect())
    }

    /// Restores records as Celery does: to the queues that their exchange and routing key name.
    async fn restore(&self, live: &mut Live, found: Vec<(String, Vec<u8>)>) -> Result<()> {
        let mut ends = Vec::with_capacity(found.len());
        // The last one pushed is the first one served.
        for (tag, record) in found.into_iter().rev() {
            let end = match self.way_back(live, &tag, &record).await? {
                Some(end) => end,
                None => self.not_restorable(tag, &record),
            };
            ends.push(end);
        }
        self.end(live, &ends).await?;
        Ok(())
    }

    /// How a record goes back; `None` when nobody could read it, or no queue would take it.
    async fn way_back(&self, live: &mut Live, tag: &str, record: &[u8]) -> Result<Option<End>> {
        let Ok((raw, target)) = read_record(record) else {
            return Ok(None);
        };
        let queue = if target.exchange.is_empty() {
            Some(target.routing_key)
        } else {
            let table = routing::table(&mut live.connection, &self.names, &target.exchange)
                .await
                .map_err(|error| self.failed(live, &error))?;
            routing::queues(&target, &table).into_iter().next()
        };
        Ok(queue.and_then(|queue| self.back(tag, &queue, raw)))
    }

    /// A message's way back to the front of a queue; `None` when it is no message.
    pub(super) fn back(&self, tag: &str, queue: &str, raw: &[u8]) -> Option<End> {
        let marked = envelope::mark_redelivered(raw).ok()?;
        let priority = envelope::decode(raw)
            .ok()
            .and_then(|read| read.message.properties.priority);
        Some(End {
            verdict: "back",
            tag: tag.to_owned(),
            key: self.names.list(queue, priority),
            text: marked,
            ..End::default()
        })
    }

    fn not_restorable(&self, tag: String, record: &[u8]) -> End {
        let target = read_record(record).map(|(_, target)| target);
        let queue = target.map(|target| target.routing_key).unwrap_or_default();
        tracing::error!(%queue, "set aside: an unacked message that no queue takes back");
        End {
            verdict: "aside",
            tag,
            key: self.names.aside(&queue),
            text: b"it was unacked for too long, and could not be restored".to_vec(),
            suffix: record_suffix(&queue),
            ..End::default()
        }
    }

    /// Takes over what dead owners held; returns how many messages went back to their queues.
    pub(super) async fn take_over(&self, live: &mut Live) -> Result<usize> {
        let mut restored = 0;
        loop {
            let mut call = self.call(&script::TAKE_OVER);
            call.key(&self.names.owners)
                .arg(self.names.owner_prefix())
                .arg(BATCH)
                .arg(&self.owner);
            let found: Vec<Vec<u8>> = call
                .invoke_async(&mut live.connection)
                .await
                .map_err(|error| self.failed(live, &error))?;
            if found.is_empty() {
                return Ok(restored);
            }
            restored += found.len() / 2;
            self.restore(live, pairs(found)).await?;
        }
    }

    /// Celery's own sweep, for messages without an owner; returns how many went back.
    pub(super) async fn sweep(&self, live: &mut Live) -> Result<usize> {
        let token = uuid::Uuid::new_v4().to_string();
        let mut call = self.call(&script::SWEEP);
        call.key(&self.names.owners)
            .key(&self.names.unacked_mutex)
            .arg(self.names.owner_prefix())
            .arg(self.names.sweep_limit)
            .arg(&token)
            .arg(millis(self.names.mutex_expire))
            .arg(self.names.visibility_timeout.as_secs_f64())
            .arg(self.names.delayed_prefix())
            .arg(DELAYED);
        let found: Vec<Vec<u8>> = call
            .invoke_async(&mut live.connection)
            .await
            .map_err(|error| self.failed(live, &error))?;
        let restored = found.len() / 2;
        let done = self.restore(live, pairs(found)).await;
        let unlocked: Result<u64, RedisError> = script::UNLOCK
            .key(&self.names.unacked_mutex)
            .arg(&token)
            .invoke_async(&mut live.connection)
            .await;
        unlocked.map_err(|error| self.failed(live, &error))?;
        done.map(|()| restored)
    }

    /// Between two renewals: often enough for our own lease, and for extensions to be in time.
    pub(super) fn renewal_interval(&self) -> Duration {
        (self.names.lease_timeout / 3).min(self.extension_interval())
    }

    /// Between two extensions: often enough for Celery's sweep.
    fn extension_interval(&self) -> Duration {
        self.names.visibility_timeout / 4
    }

    /// Removes this owner, which holds nothing any more.
    pub(super) async fn retire(&self, live: &mut Live) -> Result<()> {
        let removed: Result<(), RedisError> = redis::cmd("ZREM")
            .arg(&self.names.owners)
            .arg(&self.owner)
            .query_async(&mut live.connection)
            .await;
        removed.map_err(|error| self.failed(live, &error))
    }
}

/// When what is not done in every round is done again.
#[derive(Debug)]
struct Due {
    extension: Deadline,
    sweep: Deadline,
}

/// Renews, takes over and sweeps until the consumer is gone.
pub(super) async fn keep(custody: std::sync::Weak<Custody>, ring: Arc<crate::broker::bell::Bell>) {
    let mut due = Due {
        extension: Deadline::after(Duration::ZERO),
        sweep: Deadline::after(Duration::ZERO),
    };
    loop {
        let Some(kept) = custody.upgrade() else {
            return;
        };
        let round = round(&kept, &mut due).await;
        let pause = match round {
            Ok(restored) => {
                if restored > 0 {
                    tracing::info!(messages = restored, "restored what nobody held any more");
                    ring.ring();
                }
                let next = due.sweep.left().min(due.extension.left());
                kept.renewal_interval().min(next)
            }
            Err(error) => {
                tracing::warn!(%error, "leases could not be renewed");
                Duration::from_secs(1).min(kept.renewal_interval())
            }
        };
        drop(kept);
        tokio::time::sleep(pause.max(Duration::from_millis(10))).await;
    }
}

async fn round(custody: &Custody, due: &mut Due) -> Result<usize> {
    let mut live = custody.link.live().await?;
    custody.renew(&mut live).await?;
    if due.extension.has_passed() {
        // From before it began: what is written first is the first to be old.
        let next = Deadline::after(custody.extension_interval());
        custody.extend(&mut live, false).await?;
        due.extension = next;
    }
    let mut restored = custody.take_over(&mut live).await?;
    if due.sweep.has_passed() {
        restored += custody.sweep(&mut live).await?;
        due.sweep = Deadline::after(custody.names.sweep_interval);
    }
    Ok(restored)
}

/// Cuts a record into its envelope and its target.
fn read_record(record: &[u8]) -> Result<(&[u8], Target)> {
    let elements = raw::elements(record)?;
    let [envelope, exchange, routing_key] = elements[..] else {
        return Err(crate::Error::Malformed {
            what: "unacked record",
            detail: format!("{} elements instead of 3", elements.len()),
        });
    };
    let target = Target {
        exchange: text(exchange)?,
        routing_key: text(routing_key)?,
    };
    Ok((envelope.as_bytes(), target))
}

fn text(json: &str) -> Result<String> {
    Ok(raw::string(json)?.map(Cow::into_owned).unwrap_or_default())
}

fn pairs(flat: Vec<Vec<u8>>) -> Vec<(String, Vec<u8>)> {
    let mut flat = flat.into_iter();
    let mut pairs = Vec::new();
    while let (Some(tag), Some(record)) = (flat.next(), flat.next()) {
        pairs.push((String::from_utf8_lossy(&tag).into_owned(), record));
    }
    pairs
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_is_cut_without_touching_the_envelope() {
        let record = br#"[{"a": 1e400, "b": "]"}, "", "q\u00fc"]"#;
        let (raw, target) = read_record(record).unwrap();
        assert_eq!(raw, br#"{"a": 1e400, "b": "]"}"#);
        assert_eq!(
            (target.exchange.as_str(), target.routing_key.as_str()),
            ("", "qü")
        );
    }

    #[test]
    fn what_is_held_comes_out_in_the_order_of_its_delivery() {
        let mut ledger = Ledger::default();
        let tags: Vec<String> = (0..50).map(|number| format!("t{number}")).collect();
        for tag in &tags {
            ledger.enter(tag, "q");
        }
        assert_eq!(ledger.drain(), tags);
    }

    #[test]
    fn record_suffix_is_what_kombu_reads_back() {
        let record = [b"[{}", record_suffix("a\"b").as_bytes()].concat();
        assert_eq!(read_record(&record).unwrap().1.routing_key, "a\"b");
    }
}
