//! The memory broker: queues of one process, for tests and for eager programs.
//!
//! Nothing survives the process, so leases need no deadline: they end with their consumer.

mod consumer;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use self::consumer::MemoryConsumer;
use super::topology::{ExchangeType, QueueSpec, priority_step};
use super::url::BrokerUrl;
use super::{AckToken, Aside, Consumer, ConsumerConfig, Delivery, History, Publisher, Verdict};
use crate::error::{Error, Result};
use crate::ledger::Receipt;
use crate::per_process::PerProcess;
use crate::time::Deadline;
use crate::wire::letter::Letter;
use crate::wire::message::{Outgoing, Target};

static SPACES: PerProcess<Mutex<HashMap<String, Arc<Space>>>> = PerProcess::new();

pub(super) fn publisher(url: &BrokerUrl) -> Arc<dyn Publisher> {
    Arc::new(MemoryPublisher {
        name: url.path().to_owned(),
        is_closed: AtomicBool::new(false),
    })
}

pub(super) fn consumer(url: &BrokerUrl, config: ConsumerConfig) -> Arc<dyn Consumer> {
    Arc::new(MemoryConsumer::new(url.path().to_owned(), config))
}

fn space(name: &str) -> Arc<Space> {
    let mut spaces = SPACES.get_or_init(Mutex::default).lock();
    Arc::clone(spaces.entry(name.to_owned()).or_default())
}

/// Where a message stands in its queue: its priority's class, then its number.
type Place = (u8, u64);

#[derive(Debug)]
struct Stored {
    outgoing: Outgoing,
    queue: String,
    deliveries: u32,
    losses: u32,
}

#[derive(Debug)]
struct SetAside {
    reason: String,
    history: History,
    stored: Stored,
}

#[derive(Debug)]
struct Binding {
    exchange: String,
    exchange_type: ExchangeType,
    key: String,
    queue: String,
    /// The consumer with which the queue ends.
    owner: Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    last_number: u64,
    bindings: Vec<Binding>,
    waiting: HashMap<String, BTreeMap<Place, Stored>>,
    leased: HashMap<Place, (u64, Stored)>,
    /// By the moment before which they are not delivered (milliseconds since the epoch).
    delayed: BTreeMap<(u64, Place), Stored>,
    aside: BTreeMap<Place, SetAside>,
}

#[derive(Debug, Default)]
struct Space {
    state: Mutex<State>,
    changed: Condvar,
}

impl State {
    /// Returns whether a queue has it.
    fn publish(&mut self, outgoing: &Outgoing) -> bool {
        let queues = self.route(&outgoing.target);
        let is_taken = !queues.is_empty();
        for queue in queues {
            self.last_number += 1;
            let place = (
                priority_step(outgoing.message.properties.priority),
                self.last_number,
            );
            let outgoing = outgoing.clone();
            self.put_back(
                place,
                Stored {
                    outgoing,
                    queue,
                    deliveries: 0,
                    losses: 0,
                },
            );
        }
        is_taken
    }

    fn route(&self, target: &Target) -> Vec<String> {
        if target.exchange.is_empty() {
            return vec![target.routing_key.clone()];
        }
        let mut queues: Vec<String> = self
            .bindings
            .iter()
            .filter(|binding| binding.exchange == target.exchange)
            .filter(|binding| binding.exchange_type.routes(&binding.key, &target.routing_key))
            .map(|binding| binding.queue.clone())
            .collect();
        queues.sort_unstable();
        queues.dedup();
        queues
    }

    fn declare(&mut self, queue: &QueueSpec, owner: Option<u64>) {
        queue.bindings().for_each(|binding| self.bind(binding, owner));
    }

    fn bind(&mut self, spec: &QueueSpec, owner: Option<u64>) {
        // The queue of one consumer is there as long as that is.
        if spec.is_exchange() || spec.no_declare || spec.is_broadcast() && owner.is_none() {
            return;
        }
        let is_known = self.bindings.iter().any(|binding| {
            binding.exchange == spec.exchange && binding.key == spec.routing_key && binding.queue == spec.name
        });
        if !spec.exchange.is_empty() && !is_known {
            self.bindings.push(Binding {
                exchange: spec.exchange.clone(),
                exchange_type: spec.exchange_type.clone(),
                key: spec.routing_key.clone(),
                queue: spec.name.clone(),
                owner: owner.filter(|_| spec.is_broadcast()),
            });
        }
    }

    /// A message keeps its place wherever it goes, so that what comes back comes back in front.
    fn put_back(&mut self, place: Place, stored: Stored) {
        self.waiting
            .entry(stored.queue.clone())
            .or_default()
            .insert(place, stored);
    }

    fn lease(&mut self, queue: &str, owner: u64) -> Option<Delivery> {
        let (place, mut stored) = self.waiting.get_mut(queue)?.pop_first()?;
        stored.deliveries += 1;
        let delivery = Delivery {
            message: Ok(stored.outgoing.message.clone()),
            target: stored.outgoing.target.clone(),
            queue: queue.to_owned(),
            redelivered: stored.deliveries > 1,
            losses: stored.losses,
            token: AckToken {
                tag: tag_of(place),
                epoch: owner,
            },
        };
        self.leased.insert(place, (owner, stored));
        Some(delivery)
    }

    /// Carries a verdict out; `false` when the lease is not `owner`'s any more. `history` is that of
    /// what is set aside, but for the losses.
    fn settle(&mut self, token: &AckToken, verdict: Verdict, history: &History) -> bool {
        let Some(place) = place_of(&token.tag) else {
            return false;
        };
        if self
            .leased
            .get(&place)
            .is_none_or(|(owner, _)| *owner != token.epoch)
        {
            return false;
        }
        let Some((_, mut stored)) = self.leased.remove(&place) else {
            return false;
        };
        stored.losses = stored.losses.saturating_add(u32::from(verdict.is_loss()));
        match verdict {
            Verdict::Ack | Verdict::Reject => {}
            Verdict::Requeue | Verdict::RequeueLost => self.put_back(place, stored),
            Verdict::SetAside(reason) | Verdict::SetAsideLost(reason) => {
                let history = History {
                    losses: std::mem::take(&mut stored.losses),
                    ..history.clone()
                };
                let aside = SetAside {
                    reason,
                    history,
                    stored,
                };
                self.aside.insert(place, aside);
            }
            Verdict::Delay { until_unix_ms } => {
                let deliveries = stored.deliveries.saturating_sub(1);
                let stored = Stored { deliveries, ..stored };
                self.delayed.insert((until_unix_ms, place), stored);
            }
        }
        true
    }

    fn take_aside(&mut self, queue: &str, tags: &[String]) -> Vec<(Place, SetAside)> {
        let is_there = |state: &Self, place: &Place| {
            let aside = state.aside.get(place);
            aside.is_some_and(|aside| aside.stored.queue == queue)
        };
        let mut taken = Vec::new();
        for place in tags.iter().filter_map(|tag| place_of(tag)) {
            if is_there(self, &place)
                && let Some(aside) = self.aside.remove(&place)
            {
                taken.push((place, aside));
            }
        }
        taken
    }

    /// Puts what is due back to its place.
    fn promote(&mut self, now_unix_ms: u64) {
        while let Some(first) = self
            .delayed
            .first_entry()
            .filter(|first| first.key().0 <= now_unix_ms)
        {
            let ((_, place), stored) = first.remove_entry();
            self.put_back(place, stored);
        }
    }

    /// How long nothing that is delayed is due.
    fn next_due(&self, now_unix_ms: u64) -> Option<Duration> {
        let ((due_unix_ms, _), _) = self.delayed.first_key_value()?;
        Some(Duration::from_millis(due_unix_ms.saturating_sub(now_unix_ms)))
    }

    /// Hands back what `owner` holds; with `is_lost` it is counted as a loss.
    fn release(&mut self, owner: u64, is_lost: bool) {
        let (gone, kept): (Vec<Binding>, Vec<Binding>) = std::mem::take(&mut self.bindings)
            .into_iter()
            .partition(|binding| binding.owner == Some(owner));
        self.bindings = kept;
        let places: Vec<Place> = self
            .leased
            .iter()
            .filter_map(|(place, (holder, _))| (*holder == owner).then_some(*place))
            .collect();
        for place in places {
            if let Some((_, mut stored)) = self.leased.remove(&place) {
                stored.losses = stored.losses.saturating_add(u32::from(is_lost));
                self.put_back(place, stored);
            }
        }
        for binding in gone {
            self.waiting.remove(&binding.queue);
        }
    }
}

fn tag_of((step, number): Place) -> String {
    format!("{step}-{number}")
}

fn place_of(tag: &str) -> Option<Place> {
    let (step, number) = tag.split_once('-')?;
    Some((step.parse().ok()?, number.parse().ok()?))
}

#[derive(Debug)]
struct MemoryPublisher {
    name: String,
    is_closed: AtomicBool,
}

impl Publisher for MemoryPublisher {
    fn post(&self, letter: Letter, _subscribe_to: Option<&str>, receipt: Receipt, _deadline: Deadline) {
        if self.is_closed.load(Ordering::Acquire) {
            return receipt.fail(Error::Closed { what: "publisher" });
        }
        let message = match letter.open() {
            Ok(message) => message,
            Err(error) => return receipt.fail(error),
        };
        let space = space(&self.name);
        let is_taken = space.state.lock().publish(&message);
        space.changed.notify_all();
        if is_taken || !message.is_mandatory() {
            receipt.confirm();
        } else {
            receipt.fail(Error::Refused {
                url: format!("memory://{}", self.name),
                cause: message.target.unroutable(),
                passing: false,
            });
        }
    }

    fn declare(&self, queue: &QueueSpec, _deadline: Deadline) -> Result<()> {
        queue.check_emulated()?;
        space(&self.name).state.lock().declare(queue, None);
        Ok(())
    }

    fn purge(&self, queue: &str, _deadline: Deadline) -> Result<u64> {
        let waiting = space(&self.name).state.lock().waiting.remove(queue);
        Ok(count(waiting.map_or(0, |messages| messages.len())))
    }

    fn depth(&self, queue: &str, _deadline: Deadline) -> Result<u64> {
        let space = space(&self.name);
        let state = space.state.lock();
        Ok(count(state.waiting.get(queue).map_or(0, BTreeMap::len)))
    }

    fn list_aside(&self, queue: &str, max: usize, _deadline: Deadline) -> Result<Vec<Aside>> {
        let space = space(&self.name);
        let state = space.state.lock();
        let mut found: Vec<_> = state
            .aside
            .iter()
            .filter(|(_, aside)| aside.stored.queue == queue)
            .collect();
        found.sort_unstable_by_key(|((_, number), _)| *number);
        let describe = |(place, aside): (&Place, &SetAside)| Aside {
            tag: tag_of(*place),
            reason: aside.reason.clone(),
            message: Ok(aside.stored.outgoing.message.clone()),
            target: aside.stored.outgoing.target.clone(),
            history: aside.history.clone(),
        };
        Ok(found.into_iter().take(max).map(describe).collect())
    }

    fn restore_aside(&self, queue: &str, tags: &[String], _deadline: Deadline) -> Result<u64> {
        let space = space(&self.name);
        let mut state = space.state.lock();
        let taken = state.take_aside(queue, tags);
        let restored = count(taken.len());
        for (place, aside) in taken {
            state.put_back(place, aside.stored);
        }
        drop(state);
        space.changed.notify_all();
        Ok(restored)
    }

    fn drop_aside(&self, queue: &str, tags: &[String], _deadline: Deadline) -> Result<u64> {
        let taken = space(&self.name).state.lock().take_aside(queue, tags);
        Ok(count(taken.len()))
    }

    fn carries_results_of(&self, _result_url: &str) -> bool {
        false
    }

    fn close(&self, _deadline: Deadline) {
        self.is_closed.store(true, Ordering::Release);
    }
}

fn count(messages: usize) -> u64 {
    u64::try_from(messages).unwrap_or(u64::MAX)
}
