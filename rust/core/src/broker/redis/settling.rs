//! What a settlement asks of the server.

use super::consumer::RedisConsumer;
use super::custody::{Delayed, End};
use super::fanout;
use super::held::Held;
use super::link::Backoff;
use super::names::record_suffix;
use super::restoring::{BACK, LOST};
use crate::backend::Put;
use crate::broker::{AckToken, Settlement, Verdict};
use crate::error::{Error, Remedy, Result};
use crate::time::{Deadline, SystemClock};
use crate::wire::redis_keys;

const NO_MESSAGE: &str = "it was handed back, and is not a message";
/// In front of the tag of what is set aside already.
pub(super) const ASIDE: &str = "aside:";

impl RedisConsumer {
    /// Tries until everything is settled or `deadline` passes.
    pub(super) async fn settle_until(&self, batch: &[Settlement], deadline: Deadline) -> Result<()> {
        let mut backoff = Backoff::default();
        loop {
            match self.settle_once(batch).await {
                Ok(()) => return Ok(()),
                Err(error) if error.remedy() == Remedy::GiveUp => return Err(error),
                Err(error) => {
                    self.doubt(batch);
                    backoff.failed();
                    if deadline.left() <= backoff.wait() {
                        return Err(error);
                    }
                    tokio::time::sleep(backoff.wait()).await;
                }
            }
        }
    }

    async fn settle_once(&self, batch: &[Settlement]) -> Result<()> {
        let is_delayed_copy = |Settlement { token, verdict, .. }: &Settlement| {
            fanout::was_heard(&token.tag) && matches!(verdict, Verdict::Delay { .. })
        };
        if batch.iter().any(is_delayed_copy) {
            return Err(Error::Unsupported {
                feature: "keeping a broadcast, of which the server has no copy".to_owned(),
            });
        }
        let mut live = self.custody.settling_live().await?;
        let back: Vec<String> = {
            let held = self.custody.held.lock();
            let is_back = |verdict: &Verdict| matches!(verdict, Verdict::Requeue | Verdict::RequeueLost);
            batch
                .iter()
                .filter(|Settlement { token, verdict, .. }| is_back(verdict) && held.get(token).is_some())
                .filter(|settlement| !fanout::was_heard(&settlement.token.tag))
                .map(|settlement| settlement.token.tag.clone())
                .collect()
        };
        let records = self.custody.records(&mut live, &back).await?;
        self.custody.delay(&mut live, &self.to_delay(batch)).await?;
        let mut ends: Vec<(u64, End)> = batch
            .iter()
            .filter_map(|settlement| self.plan(settlement, &records))
            .collect();
        // What goes back to the front is pushed last first, so that its order stays.
        ends.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        let (back, mut others): (Vec<_>, Vec<_>) = ends
            .into_iter()
            .partition(|(_, end)| matches!(end.verdict, BACK | LOST));
        others.reverse();
        let ends: Vec<End> = others.into_iter().chain(back).map(|(_, end)| end).collect();
        // One after the other on one connection: one write, one answer.
        let also = live.clone();
        let ended = self.custody.end(&mut live, &ends);
        let (ended, ()) = tokio::join!(ended, self.reserve_more(&also, batch.len()));
        self.tell_missed(ended?);
        Ok(())
    }

    pub(super) fn doubt(&self, batch: &[Settlement]) {
        let tokens = batch.iter().map(|settlement| &settlement.token);
        self.custody.held.lock().doubt(tokens);
    }

    /// Whose lease has passed to another while they were executed here. What was settled before,
    /// with or without an answer, has no lease for that reason; what was heard never had one.
    fn tell_missed(&self, mut tags: Vec<String>) {
        let held = self.custody.held.lock();
        tags.retain(|tag| !fanout::was_heard(tag) && !held.is_in_doubt(tag));
        drop(held);
        if !tags.is_empty() {
            tracing::warn!(
                ?tags,
                "settled too late: the lease has passed to another, who executes it again"
            );
        }
    }

    /// What goes to the delayed store.
    fn to_delay(&self, batch: &[Settlement]) -> Vec<Delayed> {
        let now_unix_ms = SystemClock::shared().unix_ms();
        let held = self.custody.held.lock();
        let delayed = batch.iter().filter_map(|Settlement { token, verdict, .. }| {
            let Verdict::Delay { until_unix_ms } = verdict else {
                return None;
            };
            Some(Delayed {
                tag: token.tag.clone(),
                queue: held.get(token)?.queue.clone(),
                wait_ms: until_unix_ms.saturating_sub(now_unix_ms),
            })
        });
        delayed.collect()
    }

    /// What a settlement asks of the script, with the delivery's number; nothing of what went to
    /// the delayed store.
    fn plan(&self, settlement: &Settlement, records: &[(String, Vec<u8>)]) -> Option<(u64, End)> {
        let AckToken { tag, epoch } = &settlement.token;
        let Some(held) = self.custody.held.lock().get(&settlement.token).cloned() else {
            // A try without an answer has ended this delivery: its message may be ours again by now,
            // as another one. Its result is stored all the same.
            let put = settlement.put.as_ref()?;
            let mut end = End {
                verdict: "ack",
                ..End::default()
            };
            self.add_put(&mut end, put);
            return Some((*epoch, end));
        };
        let mut end = match &settlement.verdict {
            // What was heard has no lease; its result is stored all the same.
            _ if fanout::was_heard(tag) => End {
                verdict: "ack",
                ..End::default()
            },
            Verdict::Ack | Verdict::Reject if tag.starts_with(ASIDE) => End {
                verdict: "ack",
                key: self.custody.names.aside(&held.queue),
                ..End::default()
            },
            Verdict::Ack | Verdict::Reject => End {
                verdict: "ack",
                text: held
                    .losses
                    .as_ref()
                    .map_or_else(Vec::new, |(count, _)| count.clone().into()),
                ..End::default()
            },
            Verdict::SetAside(reason) => self.aside(&held, reason, 0),
            Verdict::SetAsideLost(reason) => self.aside(&held, reason, 1),
            Verdict::Requeue => self.requeue(tag, &held, records, BACK),
            Verdict::RequeueLost => self.requeue(tag, &held, records, LOST),
            Verdict::Delay { .. } => return None,
        };
        tag.clone_into(&mut end.tag);
        if let Some(put) = &settlement.put {
            self.add_put(&mut end, put);
        }
        Some((held.number, end))
    }

    fn aside(&self, held: &Held, reason: &str, more_losses: u32) -> End {
        End {
            verdict: "aside",
            key: self.custody.names.aside(&held.queue),
            text: self.custody.note(reason, Some(held), more_losses),
            suffix: record_suffix(&held.queue),
            ..End::default()
        }
    }

    fn requeue(&self, tag: &str, held: &Held, records: &[(String, Vec<u8>)], how: &'static str) -> End {
        let suffix = record_suffix(&held.queue);
        let Some((_, record)) = records.iter().find(|(known, _)| known == tag) else {
            // No lease of it is left, or it never was a message: then it stays set aside.
            return self.aside(held, NO_MESSAGE, 0);
        };
        let raw = record
            .strip_suffix(suffix.as_bytes())
            .and_then(|record| record.strip_prefix(b"["));
        raw.and_then(|raw| self.custody.back(tag, &held.queue, raw, how))
            .unwrap_or_else(|| {
                tracing::error!(
                    tag, queue = %held.queue,
                    "set aside, since it cannot be handed back: its record is no message (`celeriac dead list`)"
                );
                self.aside(held, NO_MESSAGE, 0)
            })
    }

    fn add_put(&self, end: &mut End, put: &Put) {
        end.put_key = redis_keys::task_meta(&self.result_prefix.lock(), &put.task_id);
        end.put_lifetime = lifetime(put);
        end.put_document = put.document.clone();
    }

    pub(super) fn forget(&self, batch: &[Settlement]) {
        let mut held = self.custody.held.lock();
        for settlement in batch {
            held.remove(&settlement.token);
            self.ear.settle(&settlement.token.tag, &settlement.verdict);
        }
        drop(held);
        self.bell.ring();
    }
}

/// A document's lifetime as the scripts take it. Celery: a lifetime of 0 is none.
pub(crate) fn lifetime(put: &Put) -> String {
    match put.expires_s {
        None | Some(0) => String::new(),
        Some(seconds) => seconds.to_string(),
    }
}
