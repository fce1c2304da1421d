//! Reserves messages from Redis lists and settles them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::PushKind;
use tokio::sync::Notify;

use super::custody::Custody;
use super::fanout::{self, Ear};
use super::held::Ledger;
use super::hub::prefix_of;
use super::link::{Backoff, Link, OnPush, is_goodbye, until, wait_for};
use super::names::Names;
use super::pulse::Pulse;
use super::reservation::delivery;
use crate::broker::bell::Bell;
use crate::broker::topology::QueueSpec;
use crate::broker::url::{BrokerUrl, Scheme};
use crate::broker::{Consumer, ConsumerConfig, Delivery, Settlement, Unsettled, Verdict};
use crate::error::{Error, Result};
use crate::time::Deadline;

/// Messages in one reservation: bounds how long the script holds the server.
pub(super) const MAX_RESERVED: usize = 256;
/// An armed consumer looks this often even when nothing rings.
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// The same of one that others wake, or that takes the place of one that died.
const LOOK_WHEN_IDLE: Duration = Duration::from_secs(5);
/// The same, where the server cannot ring.
const POLL: Duration = Duration::from_millis(50);
/// How long handing back what was reserved ahead may take.
const HAND_BACK: Duration = Duration::from_secs(2);
/// Deliveries that may be unsettled when the user sets no limit.
const MAX_UNSETTLED: usize = 16_384;

/// The consumer of one URL.
#[derive(Debug)]
pub(super) struct RedisConsumer {
    pub(super) url: BrokerUrl,
    pub(super) prefetch: usize,
    pub(super) custody: Arc<Custody>,
    /// For reserving only: what is read over it rings when it changes. Read by the thread that reserves,
    /// unless exchanges send to all over it: that is heard while nobody reserves, too.
    pub(super) link: Link,
    pub(super) bell: Arc<Bell>,
    pub(super) ear: Arc<Ear>,
    pub(super) turn: Mutex<Turn>,
    pub(super) result_prefix: Mutex<String>,
    /// Reserved together with a settlement, for the next `reserve`.
    pub(super) ahead: Mutex<Vec<Delivery>>,
    pub(super) reserves_ahead: AtomicBool,
    /// Held while a settlement reserves, and while what came without an answer is looked for; whether
    /// there may be such.
    pub(super) unanswered: tokio::sync::Mutex<bool>,
    /// The answer to what a settlement reserves is waited for no more.
    pub(super) called_off: Notify,
    /// Whether the last reservation found as much as it asked for: there is more where that was.
    pub(super) has_backlog: AtomicBool,
    pub(super) is_closed: AtomicBool,
}

/// What the next reservation asks for.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) queues: Vec<QueueSpec>,
    /// Rotates, so that no queue is always first.
    pub(super) first: usize,
    /// The connection over which everything is declared and reclaimed.
    pub(super) serial: u64,
    /// The ones for everything else, as they were when that one was last known to answer.
    pub(super) others: [Option<u64>; 2],
    pub(super) backoff: Backoff,
    pub(super) is_kept: bool,
    /// When to look again unless it rings; `None` where the last look did not find that out.
    next_look: Option<Deadline>,
}

/// What a look has found.
enum Looked {
    Found(Vec<Delivery>),
    /// Something came while it took its place: it is to look again at once.
    TooLate,
    /// And when to look again.
    Nothing(Deadline),
}

impl RedisConsumer {
    pub(super) fn open(url: &BrokerUrl, config: ConsumerConfig) -> Result<Self> {
        let names = Names::of(url)?;
        let bell = Arc::new(Bell::default());
        let ear = Arc::new(Ear::default());
        let (rings, listens) = (Arc::clone(&bell), Arc::clone(&ear));
        let on_push: OnPush = Arc::new(move |_, push| {
            // A null invalidation (the server forgot everything) and a goodbye mean "look again" too.
            if push.kind == PushKind::Invalidate || is_goodbye(push) || listens.hear(push) {
                rings.ring();
            }
        });
        let prefetch = config.most(MAX_UNSETTLED);
        for queue in &config.queues {
            ear.listen(&names, queue);
        }
        let queues = config.queues.into_iter().filter(fanout::is_read).collect();
        let owner = format!("{}.{}", config.node, uuid::Uuid::new_v4().simple());
        let custody = Custody {
            link: Link::new(url, None, false)?,
            settling: Link::new(url, None, false)?.read_by_who_waits(),
            suspect_from: Mutex::new(Deadline::after(Duration::ZERO)),
            pulse: Pulse::new(url, format!("{}{owner}", names.alive_prefix))?,
            names,
            owner,
            held: Mutex::new(Ledger::default()),
        };
        let link = Link::new(url, Some(on_push), true)?.read_by_who_waits();
        if !ear.patterns().is_empty() {
            link.share();
        }
        Ok(Self {
            url: url.clone(),
            prefetch,
            custody: Arc::new(custody),
            link,
            bell,
            ear,
            turn: Mutex::new(Turn {
                queues,
                first: 0,
                serial: 0,
                others: [None; 2],
                backoff: Backoff::default(),
                is_kept: false,
                next_look: None,
            }),
            result_prefix: Mutex::default(),
            ahead: Mutex::default(),
            reserves_ahead: AtomicBool::new(false),
            unanswered: tokio::sync::Mutex::default(),
            called_off: Notify::new(),
            has_backlog: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        })
    }

    /// Waits until there is something, `deadline` passes or somebody interrupts.
    fn reserve_until(&self, room: usize, deadline: Deadline) -> Result<Vec<Delivery>> {
        loop {
            // All that rang before this is seen below; a settlement of our own always has.
            let has_rung = self.bell.hear();
            if self.bell.take_interruption() {
                return Ok(Vec::new());
            }
            if self.is_closed.load(Ordering::SeqCst) {
                return Err(Error::Closed { what: "consumer" });
            }
            let here = self.take_here(room);
            if !here.is_empty() {
                return Ok(here);
            }
            let known = self.turn.lock().next_look;
            let next_look = match known {
                // Nothing was found a moment ago, and nothing has rung since. But who returns with
                // nothing says that the server has answered.
                Some(next_look) if !has_rung && !next_look.has_passed() && !deadline.has_passed() => {
                    next_look
                }
                _ => match self.link.block_on(self.look(room, deadline))? {
                    Looked::Found(deliveries) => return Ok(deliveries),
                    Looked::TooLate => continue,
                    Looked::Nothing(next_look) => next_look,
                },
            };
            if deadline.has_passed() {
                return Ok(Vec::new());
            }
            let wait = next_look.min(deadline).left();
            if self.link.block_on(async { Ok(self.bell.wait(wait).await) })? {
                self.turn.lock().next_look = None;
            }
        }
    }

    /// Looks once for what there is to reserve.
    async fn look(&self, room: usize, deadline: Deadline) -> Result<Looked> {
        self.turn.lock().next_look = None;
        let room = room.min(self.free(0)).min(MAX_RESERVED);
        if room == 0 {
            return Ok(Looked::Nothing(Deadline::after(LOOK_AGAIN)));
        }
        let live = self.ready(deadline).await?;
        let found = self
            .reserve_once(&self.link, &live, room, live.has_tracking)
            .await?;
        if !found.deliveries.is_empty() {
            return Ok(Looked::Found(found.deliveries));
        }
        let waiting = found.waiting;
        if waiting.is_over {
            return Ok(Looked::TooLate);
        }
        let look_again = if !live.has_tracking {
            POLL
        } else if waiting.is_idle {
            LOOK_WHEN_IDLE
        } else {
            LOOK_AGAIN
        };
        let next_look = Deadline::after(waiting.next_due.map_or(look_again, |due| due.min(look_again)));
        self.turn.lock().next_look = Some(next_look);
        Ok(Looked::Nothing(next_look))
    }

    /// What is to be handed out without asking the server.
    fn take_here(&self, room: usize) -> Vec<Delivery> {
        let ahead = self.take_ahead(room);
        if ahead.is_empty() {
            return self.take_heard(room.min(self.free(0)).min(MAX_RESERVED));
        }
        ahead
    }

    /// How much may be reserved when so many of what is held are settled.
    pub(super) fn free(&self, settled: usize) -> usize {
        let held = self.custody.held.lock().len();
        self.prefetch.saturating_sub(held.saturating_sub(settled))
    }

    fn take_ahead(&self, room: usize) -> Vec<Delivery> {
        let mut ahead = self.ahead.lock();
        let count = ahead.len().min(room);
        ahead.drain(..count).collect()
    }

    /// What fanout exchanges have sent. It counts as held, so that the prefetch bounds it, too.
    fn take_heard(&self, room: usize) -> Vec<Delivery> {
        let news = self.ear.take(room);
        let mut held = self.custody.held.lock();
        let deliver = |(tag, heard): (String, fanout::Heard)| {
            let token = held.enter(tag, &heard.queue);
            let mut delivery = delivery(token, heard.queue, &heard.raw);
            delivery.redelivered |= heard.was_delivered;
            delivery.losses = heard.losses;
            delivery
        };
        news.into_iter().map(deliver).collect()
    }
}

impl Consumer for RedisConsumer {
    fn reserve(&self, room: usize, deadline: Deadline) -> Result<Vec<Delivery>> {
        if room == 0 {
            return Ok(Vec::new());
        }
        // The connection has deadlines of its own: one that is open when ours passes is not cut
        // off in the middle of a reservation.
        self.reserve_until(room, deadline)
    }

    fn settle(&self, batch: Vec<Settlement>, deadline: Deadline) -> Result<(), Unsettled> {
        let settled = until(deadline, "settling", self.settle_until(&batch, deadline));
        let done = self.custody.settling.block_on(settled);
        match done {
            Ok(()) => {
                self.forget(&batch);
                Ok(())
            }
            Err(error) => {
                self.doubt(&batch);
                Err(Unsettled { error, batch })
            }
        }
    }

    fn stores_results_of(&self, result_url: &str) -> bool {
        let Ok(url) = BrokerUrl::parse(result_url, Vec::new()) else {
            return false;
        };
        let is_ours =
            url.scheme() == Scheme::Redis && url.server() == self.url.server() && url.db() == self.url.db();
        match prefix_of(&url) {
            Ok(prefix) if is_ours => {
                *self.result_prefix.lock() = prefix;
                true
            }
            _ => false,
        }
    }

    fn reserve_ahead(&self, is_wanted: bool) {
        self.reserves_ahead.store(is_wanted, Ordering::SeqCst);
        let unwanted = if is_wanted {
            Vec::new()
        } else {
            self.take_ahead(usize::MAX)
        };
        if unwanted.is_empty() {
            return;
        }
        let back = |delivery: Delivery| Settlement {
            token: delivery.token,
            verdict: Verdict::Requeue,
            put: None,
        };
        let back = unwanted.into_iter().map(back).collect();
        if let Err(unsettled) = self.settle(back, Deadline::after(HAND_BACK)) {
            tracing::warn!(error = %unsettled.error, "what was reserved ahead goes back when the worker ends");
        }
    }

    fn take_reserved(&self) -> Vec<Delivery> {
        self.take_ahead(usize::MAX)
    }

    fn interrupt(&self) {
        self.bell.interrupt();
    }

    fn add_queue(&self, queue: &QueueSpec, deadline: Deadline) -> Result<()> {
        queue.check_emulated()?;
        let patterns = self.ear.listen(&self.custody.names, queue);
        if !patterns.is_empty() {
            self.link.share();
            wait_for("adding a queue", deadline, async {
                let mut live = self.link.live().await?;
                self.subscribe(&mut live, &patterns).await
            })?;
        }
        if !fanout::is_read(queue) {
            return Ok(());
        }
        wait_for("adding a queue", deadline, async {
            let mut live = self.custody.link.live().await?;
            self.declare(&mut live, std::slice::from_ref(queue)).await
        })?;
        let mut turn = self.turn.lock();
        turn.queues.retain(|known| known.name != queue.name);
        turn.queues.push(queue.clone());
        drop(turn);
        self.bell.ring();
        Ok(())
    }

    fn cancel_queue(&self, queue: &str) {
        self.ear.leave(queue);
        self.turn.lock().queues.retain(|known| known.name != queue);
    }

    fn close(&self, deadline: Deadline) {
        self.reserves_ahead.store(false, Ordering::SeqCst);
        if self.is_closed.swap(true, Ordering::SeqCst) {
            return;
        }
        self.bell.ring();
        if let Err(error) = wait_for("closing a consumer", deadline, self.leave()) {
            tracing::warn!(%error, "leases stay until others take them over");
        }
        self.custody.pulse.end();
    }
}
