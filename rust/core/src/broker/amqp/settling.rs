//! Tells `RabbitMQ` what becomes of deliveries.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio::time::timeout;

use super::aside;
use super::consumer::AmqpConsumer;
use super::custody::Held;
use super::link::Fault;
use super::losses;
use crate::broker::{AckToken, History, Settlement, Unsettled, Verdict};
use crate::error::{Error, Result};
use crate::time::Deadline;

/// How many messages may be with the delay queues and not acked yet.
const HANDED_OVER_AT_ONCE: usize = 32;

/// A delivery for the delay queues: its tag, whole seconds, itself, its settlement.
type Far = (u64, u64, Held, Settlement);

impl AmqpConsumer {
    /// Sorts settlements into what the server is to be told. What belongs to an older connection,
    /// or is settled already, is passed over: the server delivers the one again, and has
    /// forgotten the other.
    async fn plan(&self, batch: Vec<Settlement>, deadline: Deadline) -> (Words, Option<Unsettled>) {
        let mut words = Words::default();
        let mut left = Vec::new();
        let mut trouble = None;
        let mut far = Vec::new();
        for settlement in batch {
            let Some((tag, held)) = self.take(&settlement.token) else {
                continue;
            };
            match &settlement.verdict {
                Verdict::Ack => words.acks.push(tag),
                Verdict::RequeueLost if self.count_loss(&held, deadline).await => words.acks.push(tag),
                Verdict::Requeue | Verdict::RequeueLost => drop(words.nacks.insert(tag, true)),
                Verdict::Reject => drop(words.nacks.insert(tag, false)),
                Verdict::Delay { until_unix_ms } => {
                    match self.delayer.wait_s(*until_unix_ms, self.clock.unix_ms()) {
                        0 => drop(words.nacks.insert(tag, true)),
                        wait_s => far.push((tag, wait_s, held, settlement)),
                    }
                }
                Verdict::SetAside(reason) | Verdict::SetAsideLost(reason) => match self
                    .set_aside(&held, reason, settlement.verdict.is_loss(), deadline)
                    .await
                {
                    Ok(()) => words.acks.push(tag),
                    Err(error) => {
                        self.custody.lock().enter(tag, held);
                        trouble = Some(error);
                        left.push(settlement);
                    }
                },
            }
        }
        for ((tag, _, held, settlement), done) in self.hand_over(far, deadline).await {
            match done {
                Ok(()) => words.acks.push(tag),
                Err(error) => {
                    self.custody.lock().enter(tag, held);
                    trouble = Some(error);
                    left.push(settlement);
                }
            }
        }
        words.acks.sort_unstable();
        let unsettled = trouble.map(|error| Unsettled { error, batch: left });
        (words, unsettled)
    }

    fn take(&self, token: &AckToken) -> Option<(u64, Held)> {
        let tag = token.tag.parse().ok()?;
        let mut custody = self.custody.lock();
        if custody.serial() != token.epoch {
            return None;
        }
        custody.take(tag).map(|held| (tag, held))
    }

    async fn set_aside(&self, held: &Held, reason: &str, is_loss: bool, deadline: Deadline) -> Result<()> {
        let wait = deadline.left();
        let history = History {
            at_unix_ms: self.clock.unix_ms(),
            worker: self.node.clone(),
            losses: held.losses.saturating_add(u32::from(is_loss)),
        };
        timeout(wait, aside::put(&self.aside, held, reason, &history))
            .await
            .unwrap_or_else(|_| {
                Err(Error::TimedOut {
                    what: "setting a message aside",
                    waited_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                })
            })
    }

    /// Publishes a message again with one loss more; `false` where that cannot be done: then it goes
    /// back uncounted.
    async fn count_loss(&self, held: &Held, deadline: Deadline) -> bool {
        let again = timeout(deadline.left(), losses::publish_again(&self.aside, held)).await;
        let cause = match again {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the server did not answer in time".to_owned(),
        };
        tracing::warn!(queue = %held.queue, cause, "a lost task goes back without being counted");
        false
    }

    /// Publishes to the delay queues. Nothing is acked before it is confirmed there: who dies in
    /// between doubles what was under way, and loses nothing.
    async fn hand_over(&self, far: Vec<Far>, deadline: Deadline) -> Vec<(Far, Result<()>)> {
        let wait = deadline.left();
        let letters: Vec<_> = far.iter().map(|(_, wait_s, held, _)| (*wait_s, held)).collect();
        let late = || Error::TimedOut {
            what: "handing messages to the delay queues",
            waited_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        };
        let done = if letters.is_empty() {
            Vec::new()
        } else {
            timeout(wait, self.delayer.put(&letters))
                .await
                .unwrap_or_else(|_| letters.iter().map(|_| Err(late())).collect())
        };
        far.into_iter().zip(done).collect()
    }

    /// Tells the server. A connection that is lost meanwhile has lost nothing else: what is not
    /// settled is delivered again.
    async fn say(&self, words: Words) -> Result<(), Fault> {
        if words.acks.is_empty() && words.nacks.is_empty() {
            return Ok(());
        }
        let serial = self.custody.lock().serial();
        let Some(live) = self.link.current(serial) else {
            tracing::warn!(
                messages = words.count(),
                "settled after their connection was lost: they come again"
            );
            return Ok(());
        };
        let channel = &live.channel;
        let is_handed_back = words.nacks.values().any(|requeue| *requeue);
        let nacks = words.nacks.iter().map(|(&tag, &requeue)| {
            let options = BasicNackOptions {
                multiple: false,
                requeue,
            };
            channel.basic_nack(tag, options)
        });
        let (up_to, others) = {
            let mut custody = self.custody.lock();
            for &tag in words.nacks.keys() {
                custody.settled(tag);
            }
            custody.ack_plan(&words.acks)
        };
        let up_to = up_to.map(|tag| (tag, true));
        let acks = up_to
            .into_iter()
            .chain(others.into_iter().map(|tag| (tag, false)))
            .map(|(tag, multiple)| channel.basic_ack(tag, BasicAckOptions { multiple }));
        // First what an ack up to a tag must not cover.
        for done in join_all(nacks).await {
            done?;
        }
        for done in join_all(acks).await {
            done?;
        }
        if is_handed_back {
            // An answer says that what was handed back is in its queue again.
            self.set_qos(&live).await?;
        }
        Ok(())
    }

    /// Carries a batch out; what comes back could not be set aside before `deadline`.
    pub(super) async fn settle_until(&self, batch: Vec<Settlement>, deadline: Deadline) -> Option<Unsettled> {
        let mut unsettled: Option<Unsettled> = None;
        for part in parts(batch) {
            let Some(mut more) = self.settle_part(part, deadline).await else {
                continue;
            };
            if let Some(before) = unsettled {
                more.batch.splice(0..0, before.batch);
            }
            unsettled = Some(more);
        }
        unsettled
    }

    async fn settle_part(&self, part: Vec<Settlement>, deadline: Deadline) -> Option<Unsettled> {
        let (words, unsettled) = self.plan(part, deadline).await;
        let count = words.count();
        match timeout(deadline.left(), self.say(words)).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => {
                let error = self.link.error(&fault);
                tracing::warn!(%error, messages = count, "the connection was lost while settling: some messages come again");
            }
            // They are queued in front of the socket, in order.
            Err(_) => tracing::warn!(messages = count, "the server is slow to take what was settled"),
        }
        unsettled
    }
}

/// What is settled together: all that is not handed over, then few at a time of what is. Whoever
/// dies between confirm and ack doubles no more than that.
fn parts(batch: Vec<Settlement>) -> Vec<Vec<Settlement>> {
    let is_far = |settlement: &Settlement| matches!(settlement.verdict, Verdict::Delay { .. });
    let (mut far, near): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_far);
    let mut parts = vec![near];
    while !far.is_empty() {
        let later = far.split_off(far.len().min(HANDED_OVER_AT_ONCE));
        parts.push(std::mem::replace(&mut far, later));
    }
    parts
}

/// What the server is to be told: tags to ack, ascending; tags to nack, and whether they go back.
#[derive(Debug, Default)]
struct Words {
    acks: Vec<u64>,
    nacks: BTreeMap<u64, bool>,
}

impl Words {
    fn count(&self) -> usize {
        self.acks.len() + self.nacks.len()
    }
}
