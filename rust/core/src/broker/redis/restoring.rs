//! Messages go back to their queues: what this consumer held, and what nobody holds any more.

use std::borrow::Cow;

use redis::RedisError;

use super::custody::{BATCH, Custody, End, millis};
use super::held::Held;
use super::link::Live;
use super::names::{DELAYED, record_suffix};
use super::{routing, script};
use crate::codec::json::raw;
use crate::error::{Error, Result};
use crate::wire::envelope;
use crate::wire::message::Target;

/// The message goes back to the front of its queue.
pub(super) const BACK: &str = "back";
/// The same, and who held it has died.
pub(super) const LOST: &str = "lost";

impl Custody {
    /// Puts leased messages back to the front of their queues, marked as redelivered. The first
    /// of `tags` will be the first to be served.
    pub(super) async fn hand_back(&self, live: &mut Live, tags: &[String]) -> Result<()> {
        for tags in tags.rchunks(BATCH) {
            let found = self.records(live, tags).await?;
            self.restore(live, found, BACK).await?;
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
    async fn restore(&self, live: &mut Live, found: Vec<(String, Vec<u8>)>, how: &'static str) -> Result<()> {
        let mut ends = Vec::with_capacity(found.len());
        // The last one pushed is the first one served.
        for (tag, record) in found.into_iter().rev() {
            let end = match self.way_back(live, &tag, &record, how).await? {
                Some(end) => end,
                None => self.not_restorable(tag, &record),
            };
            ends.push(end);
        }
        let missed = self.end(live, &ends).await?;
        if !missed.is_empty() {
            tracing::warn!(tags = ?missed, "restored by somebody else meanwhile: they are not restored twice");
        }
        Ok(())
    }

    /// How a record goes back; `None` when nobody could read it, or no queue would take it.
    async fn way_back(
        &self,
        live: &mut Live,
        tag: &str,
        record: &[u8],
        how: &'static str,
    ) -> Result<Option<End>> {
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
        Ok(queue.and_then(|queue| self.back(tag, &queue, raw, how)))
    }

    /// A message's way back to the front of a queue; `None` when it is no message.
    pub(super) fn back(&self, tag: &str, queue: &str, raw: &[u8], how: &'static str) -> Option<End> {
        let marked = envelope::mark_redelivered(raw).ok()?;
        let properties = envelope::decode(raw).ok().map(|read| read.message.properties);
        let (priority, count) = properties.map_or((None, String::new()), |properties| {
            (properties.priority, properties.delivery_tag)
        });
        Some(End {
            verdict: how,
            tag: tag.to_owned(),
            key: self.names.list(queue, priority),
            text: marked,
            suffix: if how == LOST { count } else { String::new() },
            ..End::default()
        })
    }

    /// What is said of a message that is set aside: why, by whom, how often who held it died, and
    /// the name of that count.
    pub(super) fn note(&self, reason: &str, held: Option<&Held>, more_losses: u32) -> Vec<u8> {
        let worker = self.owner.rsplit_once('.').map_or("", |(node, _)| node);
        let (count, losses) = match held.and_then(|held| held.losses.as_ref()) {
            Some((count, losses)) => (count.as_str(), *losses),
            None => ("", 0),
        };
        let losses = losses.saturating_add(more_losses);
        // Strings and a number into memory: nothing of it can fail.
        rmp_serde::to_vec(&(reason, worker, losses, count)).unwrap_or_default()
    }

    fn not_restorable(&self, tag: String, record: &[u8]) -> End {
        let target = read_record(record).map(|(_, target)| target);
        let queue = target.map(|target| target.routing_key).unwrap_or_default();
        tracing::error!(%queue, "set aside: an unacked message that no queue takes back");
        End {
            verdict: "aside",
            tag,
            key: self.names.aside(&queue),
            text: self.note("it was unacked for too long, and could not be restored", None, 0),
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
                .key(&self.names.subscribed)
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
            self.restore(live, pairs(found), LOST).await?;
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
        // Nobody says whether who held these died, or was slow.
        let done = self.restore(live, pairs(found), BACK).await;
        let unlocked: Result<u64, RedisError> = script::UNLOCK
            .key(&self.names.unacked_mutex)
            .arg(&token)
            .invoke_async(&mut live.connection)
            .await;
        unlocked.map_err(|error| self.failed(live, &error))?;
        done.map(|()| restored)
    }
}

/// Cuts a record into its envelope and its target.
fn read_record(record: &[u8]) -> Result<(&[u8], Target)> {
    let elements = raw::elements(record)?;
    let [envelope, exchange, routing_key] = elements[..] else {
        return Err(Error::Malformed {
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
    fn record_suffix_is_what_kombu_reads_back() {
        let record = [b"[{}", record_suffix("a\"b").as_bytes()].concat();
        assert_eq!(read_record(&record).unwrap().1.routing_key, "a\"b");
    }
}
