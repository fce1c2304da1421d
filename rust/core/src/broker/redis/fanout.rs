//! What a consumer hears of fanout exchanges: PUB/SUB, as kombu has it.
//!
//! Nothing is kept on the server: who does not listen gets nothing, and nobody acknowledges. What
//! was heard lies in a bounded pile until it is reserved.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;
use redis::{PushInfo, PushKind, RedisResult, Value};

use super::link::Live;
use super::names::Names;
use crate::broker::Verdict;
use crate::broker::topology::{ExchangeType, QueueSpec};

/// Messages that wait to be reserved; more are dropped.
const MAX_HEARD: usize = 10_000;
/// Bytes of them.
const MAX_HEARD_BYTES: usize = 64 << 20;
/// In front of the tag of what was heard: there is no lease behind it.
const TAG: &str = "fanout:";

/// A message that was heard, for one queue.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) queue: String,
    pub(super) raw: Bytes,
    pub(super) was_delivered: bool,
    /// How often the process that executed it died.
    pub(super) losses: u32,
}

/// The subscriptions of one consumer.
#[derive(Debug, Default)]
pub(super) struct Ear(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Patterns of channels, and the queue of each.
    listens: Vec<(String, String)>,
    heard: VecDeque<Heard>,
    bytes: usize,
    /// What was handed out and may be handed back.
    handed: HashMap<String, Heard>,
    number: u64,
    dropped: u64,
}

/// Whether messages come through this binding to who listens, instead of to the queue's list.
fn is_heard(binding: &QueueSpec) -> bool {
    binding.exchange_type == ExchangeType::Fanout && !binding.exchange.is_empty()
}

/// Whether a queue has a list that is to be read; kombu reads none of a queue that is heard, too.
pub(super) fn is_read(queue: &QueueSpec) -> bool {
    !queue.bindings().all(is_heard)
}

/// Whether a delivery of this tag was heard.
pub(super) fn was_heard(tag: &str) -> bool {
    tag.starts_with(TAG)
}

/// Subscribes to patterns over a connection; twice is once.
pub(super) async fn subscribe(live: &mut Live, patterns: &[String]) -> RedisResult<()> {
    let mut pipe = redis::pipe();
    for pattern in patterns {
        pipe.cmd("PSUBSCRIBE").arg(pattern).ignore();
    }
    if patterns.is_empty() {
        // Nothing else tells of a connection that died without a word.
        pipe.cmd("PING").ignore();
    }
    pipe.query_async(&mut live.connection).await
}

impl Ear {
    /// Listens for a queue from now on; returns the patterns to subscribe to.
    pub(super) fn listen(&self, names: &Names, queue: &QueueSpec) -> Vec<String> {
        let patterns: Vec<String> = queue
            .bindings()
            .filter(|binding| is_heard(binding))
            .map(|binding| names.fanout_pattern(&binding.exchange, &binding.routing_key))
            .collect();
        let mut state = self.0.lock();
        state.listens.retain(|(_, known)| *known != queue.name);
        let listens = patterns
            .iter()
            .map(|pattern| (pattern.clone(), queue.name.clone()));
        state.listens.extend(listens);
        patterns
    }

    /// What the server still sends for this queue is not heard any more.
    pub(super) fn leave(&self, queue: &str) {
        self.0.lock().listens.retain(|(_, known)| known != queue);
    }

    /// What is to be subscribed to.
    pub(super) fn patterns(&self) -> Vec<String> {
        let mut patterns: Vec<String> = self.0.lock().listens.iter().map(|(to, _)| to.clone()).collect();
        patterns.sort_unstable();
        patterns.dedup();
        patterns
    }

    /// Takes what the server pushes; whether there is something to reserve now.
    pub(super) fn hear(&self, push: &PushInfo) -> bool {
        if push.kind != PushKind::PMessage {
            return false;
        }
        let [Value::BulkString(pattern), _, Value::BulkString(raw)] = &push.data[..] else {
            return false;
        };
        let mut state = self.0.lock();
        let queues: Vec<String> = state
            .listens
            .iter()
            .filter(|(known, _)| known.as_bytes() == &pattern[..])
            .map(|(_, queue)| queue.clone())
            .collect();
        let raw = Bytes::copy_from_slice(raw);
        for queue in &queues {
            state.pile_up(Heard {
                queue: queue.clone(),
                raw: raw.clone(),
                was_delivered: false,
                losses: 0,
            });
        }
        !queues.is_empty()
    }

    /// Whether messages wait to be handed out.
    pub(super) fn has_news(&self) -> bool {
        !self.0.lock().heard.is_empty()
    }

    /// Hands out at most `room` messages, each with its tag.
    pub(super) fn take(&self, room: usize) -> Vec<(String, Heard)> {
        let mut state = self.0.lock();
        let count = room.min(state.heard.len());
        let mut taken = Vec::with_capacity(count);
        for _ in 0..count {
            let Some(heard) = state.heard.pop_front() else {
                break;
            };
            state.bytes -= heard.raw.len();
            state.number += 1;
            let tag = format!("{TAG}{}", state.number);
            state.handed.insert(tag.clone(), heard.clone());
            taken.push((tag, heard));
        }
        taken
    }

    /// Carries a verdict out. What is handed back waits here; nobody else has this copy.
    pub(super) fn settle(&self, tag: &str, verdict: &Verdict) {
        let mut state = self.0.lock();
        let Some(mut heard) = state.handed.remove(tag) else {
            return;
        };
        match verdict {
            // A delay is refused before.
            Verdict::Ack | Verdict::Reject | Verdict::Delay { .. } => {}
            Verdict::Requeue | Verdict::RequeueLost => {
                heard.was_delivered = true;
                heard.losses += u32::from(verdict.is_loss());
                state.bytes += heard.raw.len();
                state.heard.push_front(heard);
            }
            Verdict::SetAside(reason) | Verdict::SetAsideLost(reason) => {
                // Every consumer has a copy, and the queue ends with it: there is no way back.
                tracing::error!(queue = %heard.queue, %reason, "a broadcast message is dropped");
            }
        }
    }
}

impl State {
    fn pile_up(&mut self, heard: Heard) {
        if self.heard.len() >= MAX_HEARD || self.bytes + heard.raw.len() > MAX_HEARD_BYTES {
            self.dropped += 1;
            if self.dropped.is_power_of_two() {
                tracing::warn!(
                    queue = %heard.queue,
                    dropped = self.dropped,
                    "broadcast messages are dropped: {} wait already",
                    self.heard.len()
                );
            }
            return;
        }
        self.bytes += heard.raw.len();
        self.heard.push_back(heard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(pattern: &str, raw: &str) -> PushInfo {
        PushInfo {
            kind: PushKind::PMessage,
            data: [pattern, pattern, raw]
                .map(|text| Value::BulkString(text.as_bytes().to_vec()))
                .to_vec(),
        }
    }

    fn listening(queues: &[&str]) -> Ear {
        let ear = Ear::default();
        for queue in queues {
            ear.0.lock().listens.push(("p".to_owned(), (*queue).to_owned()));
        }
        ear
    }

    #[test]
    fn each_queue_of_a_pattern_gets_a_copy_and_others_none() {
        let ear = listening(&["a", "b"]);
        assert!(ear.hear(&message("p", "x")));
        assert!(!ear.hear(&message("other", "y")));
        let queues: Vec<String> = ear.take(9).into_iter().map(|(_, heard)| heard.queue).collect();
        assert_eq!(queues, ["a", "b"]);
    }

    #[test]
    fn what_is_handed_back_comes_next_and_was_delivered() {
        let ear = listening(&["a"]);
        ear.hear(&message("p", "1"));
        ear.hear(&message("p", "2"));
        let first = ear.take(1).remove(0);
        ear.settle(&first.0, &Verdict::Requeue);
        let again = ear.take(2);
        assert_eq!(&again[0].1.raw[..], b"1");
        assert!(again[0].1.was_delivered && !again[1].1.was_delivered);
        ear.settle(&again[0].0, &Verdict::Ack);
        assert!(ear.take(1).is_empty());
    }

    #[test]
    fn no_more_is_kept_than_the_bound() {
        let ear = listening(&["a"]);
        let large = "x".repeat(MAX_HEARD_BYTES / 2);
        for _ in 0..3 {
            ear.hear(&message("p", &large));
        }
        assert_eq!(ear.take(9).len(), 2);
        for _ in 0..=MAX_HEARD {
            ear.hear(&message("p", "x"));
        }
        assert_eq!(ear.take(usize::MAX).len(), MAX_HEARD);
    }
}
