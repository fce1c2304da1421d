//! Reserves messages from Redis lists and settles them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::{PushKind, RedisResult};

use super::custody::{self, Custody, Delayed, End, Held, Ledger, millis};
use super::fanout::{self, Ear};
use super::hub::prefix_of;
use super::link::{Backoff, Link, Live, OnPush, is_goodbye, wait_for};
use super::names::{Names, record_suffix};
use super::routing;
use super::script;
use crate::backend::Put;
use crate::broker::bell::Bell;
use crate::broker::topology::QueueSpec;
use crate::broker::url::{BrokerUrl, Scheme};
use crate::broker::{AckToken, Consumer, ConsumerConfig, Delivery, Settlement, Unsettled, Verdict};
use crate::error::{Error, Remedy, Result};
use crate::runtime;
use crate::time::{Deadline, SystemClock};
use crate::wire::envelope;
use crate::wire::message::Target;
use crate::wire::redis_keys;

/// Messages in one reservation: bounds how long the script holds the server.
const MAX_RESERVED: usize = 256;
/// An armed consumer looks this often even when nothing rings.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The same, where the server cannot ring.
const POLL: Duration = Duration::from_millis(50);
/// How long handing back what was reserved ahead may take.
const HAND_BACK: Duration = Duration::from_secs(2);
/// Deliveries that may be unsettled when the user sets no limit.
const MAX_UNSETTLED: usize = 16_384;

/// The consumer of one URL.
#[derive(Debug)]
pub(super) struct RedisConsumer {
    url: BrokerUrl,
    prefetch: usize,
    custody: Arc<Custody>,
    /// For reserving only: what is read over it rings when it changes.
    link: Link,
    bell: Arc<Bell>,
    ear: Arc<Ear>,
    turn: Mutex<Turn>,
    result_prefix: Mutex<String>,
    /// Reserved together with a settlement, for the next `reserve`.
    ahead: Mutex<Vec<Delivery>>,
    reserves_ahead: AtomicBool,
    /// Whether the last reservation found as much as it asked for: there is more where that was.
    has_backlog: AtomicBool,
    is_closed: AtomicBool,
}

/// What the next reservation asks for.
#[derive(Debug)]
struct Turn {
    queues: Vec<QueueSpec>,
    /// Rotates, so that no queue is always first.
    first: usize,
    /// The connection over which everything is declared and reclaimed.
    serial: u64,
    backoff: Backoff,
    is_kept: bool,
}

/// What `reserve.lua` answers.
type Reserved = (i64, Vec<(String, usize, Vec<u8>)>);

/// What a reservation found.
#[derive(Default)]
struct Found {
    deliveries: Vec<Delivery>,
    /// Where it found nothing: how long nothing that is delayed is due.
    next_due: Option<Duration>,
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
        let custody = Custody {
            names,
            owner: format!("{}.{}", config.node, uuid::Uuid::new_v4().simple()),
            link: Link::new(url, None, false)?,
            held: Mutex::new(Ledger::default()),
        };
        Ok(Self {
            url: url.clone(),
            prefetch,
            custody: Arc::new(custody),
            link: Link::new(url, Some(on_push), true)?,
            bell,
            ear,
            turn: Mutex::new(Turn {
                queues,
                first: 0,
                serial: 0,
                backoff: Backoff::default(),
                is_kept: false,
            }),
            result_prefix: Mutex::default(),
            ahead: Mutex::default(),
            reserves_ahead: AtomicBool::new(false),
            has_backlog: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        })
    }

    /// Waits until there is something, `deadline` passes or somebody interrupts.
    async fn reserve_until(&self, room: usize, deadline: Deadline) -> Result<Vec<Delivery>> {
        loop {
            if self.bell.take_interruption() {
                return Ok(Vec::new());
            }
            if self.is_closed.load(Ordering::SeqCst) {
                return Err(Error::Closed { what: "consumer" });
            }
            let ahead = self.take_ahead(room);
            if !ahead.is_empty() {
                return Ok(ahead);
            }
            let room = room.min(self.free(0)).min(MAX_RESERVED);
            let heard = self.take_heard(room);
            if !heard.is_empty() {
                return Ok(heard);
            }
            let mut look_again = LOOK_AGAIN;
            if room > 0 {
                let live = self.ready(deadline).await?;
                let found = self.reserve_once(&self.link, &live, room).await?;
                if !found.deliveries.is_empty() {
                    return Ok(found.deliveries);
                }
                if !live.has_tracking {
                    look_again = POLL;
                }
                look_again = found.next_due.map_or(look_again, |due| due.min(look_again));
            }
            if deadline.has_passed() {
                return Ok(Vec::new());
            }
            self.bell.wait(look_again.min(deadline.left())).await;
        }
    }

    /// How much may be reserved when so many of what is held are settled.
    fn free(&self, settled: usize) -> usize {
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
        let taken = self.ear.take(room);
        let mut held = self.custody.held.lock();
        let deliver = |(tag, heard): (String, fanout::Heard)| {
            held.enter(&tag, &heard.queue);
            let mut delivery = delivery(tag, heard.queue, &heard.raw, 0);
            delivery.redelivered |= heard.was_delivered;
            delivery
        };
        taken.into_iter().map(deliver).collect()
    }

    /// Reserves in the round trip of a settlement of so many, while there is a backlog. What
    /// fails here fails again, and is told, where somebody waits for it.
    async fn reserve_more(&self, live: &Live, settled: usize) {
        // No more than the caller will have room for: what waits for its eta takes none of it.
        let room = settled.min(self.free(settled)).min(MAX_RESERVED);
        let is_wanted = self.reserves_ahead.load(Ordering::SeqCst) && self.has_backlog.load(Ordering::SeqCst);
        if !is_wanted || room == 0 {
            return;
        }
        match self.reserve_once(&self.custody.link, live, room).await {
            Ok(found) => self.ahead.lock().extend(found.deliveries),
            Err(error) => tracing::debug!(%error, "nothing reserved with a settlement"),
        }
    }

    /// A connection over which everything is declared, and what we hold is ours again.
    async fn ready(&self, deadline: Deadline) -> Result<Live> {
        if let Some(live) = self.link.current()
            && self.turn.lock().serial == live.serial
        {
            return Ok(live);
        }
        let wait = self.turn.lock().backoff.wait().min(deadline.left());
        tokio::time::sleep(wait).await;
        let done = self.arrive().await;
        let mut turn = self.turn.lock();
        match &done {
            Ok(live) => {
                turn.backoff.succeeded();
                turn.serial = live.serial;
            }
            Err(_) => turn.backoff.failed(),
        }
        done
    }

    async fn arrive(&self) -> Result<Live> {
        let mut live = self.link.live().await?;
        let patterns = self.ear.patterns();
        if !patterns.is_empty() {
            self.subscribe(&mut live, &patterns).await?;
        }
        let mut work = self.custody.link.proved().await?;
        self.custody.reclaim(&mut work).await?;
        let queues = self.turn.lock().queues.clone();
        self.declare(&mut work, &queues).await?;
        let starts = !std::mem::replace(&mut self.turn.lock().is_kept, true);
        if starts {
            let kept = Arc::downgrade(&self.custody);
            tokio::spawn(custody::keep(kept, Arc::clone(&self.bell)));
        }
        Ok(live)
    }

    async fn subscribe(&self, live: &mut Live, patterns: &[String]) -> Result<()> {
        let done = fanout::subscribe(live, patterns).await;
        done.map_err(|error| self.link.failed(live.serial, &error))
    }

    async fn declare(&self, live: &mut Live, queues: &[QueueSpec]) -> Result<()> {
        let now_ms = SystemClock::shared().unix_ms();
        let mut pipe = redis::pipe();
        for queue in queues {
            routing::declare(&mut pipe, &self.custody.names, queue, now_ms);
        }
        if pipe.is_empty() {
            return Ok(());
        }
        let done = pipe.query_async::<()>(&mut live.connection).await;
        done.map_err(|error| self.custody.link.failed(live.serial, &error))
    }

    async fn reserve_once(&self, link: &Link, live: &Live, room: usize) -> Result<Found> {
        let queues = self.next_turn();
        if queues.is_empty() {
            self.subscribe(&mut live.clone(), &[]).await?;
            return Ok(Found::default());
        }
        let call = self.reservation(&queues, room);
        let mut connection = live.connection.clone();
        let found: RedisResult<Reserved> = call.invoke_async(&mut connection).await;
        let (wait_ms, found) = found.map_err(|error| link.failed(live.serial, &error))?;
        self.has_backlog.store(found.len() >= room, Ordering::SeqCst);
        let mut held = self.custody.held.lock();
        let mut deliveries = Vec::with_capacity(found.len());
        for (tag, queue, item) in found {
            let queue = queues.get(queue).cloned().unwrap_or_default();
            held.enter(&tag, &queue);
            deliveries.push(delivery(tag, queue, &item, live.serial));
        }
        Ok(Found {
            deliveries,
            next_due: u64::try_from(wait_ms).ok().map(Duration::from_millis),
        })
    }

    /// The queues in the order of this turn.
    fn next_turn(&self) -> Vec<String> {
        let mut turn = self.turn.lock();
        let mut names: Vec<String> = turn.queues.iter().map(|queue| queue.name.clone()).collect();
        if !names.is_empty() {
            turn.first = (turn.first + 1) % names.len();
            names.rotate_left(turn.first);
        }
        names
    }

    fn reservation(&self, queues: &[String], room: usize) -> redis::ScriptInvocation<'static> {
        let names = &self.custody.names;
        let mut call = script::RESERVE.key(&names.unacked);
        call.key(&names.unacked_index)
            .key(names.owner(&self.custody.owner))
            .key(&names.owners);
        for queue in queues {
            call.key(names.aside(queue));
        }
        for queue in queues {
            call.key(names.delayed(queue));
        }
        let lists: Vec<Vec<String>> = queues.iter().map(|queue| names.lists(queue).collect()).collect();
        for step in 0..names.steps.len() {
            for of_queue in &lists {
                call.key(&of_queue[step]);
            }
        }
        call.arg(&self.custody.owner)
            .arg(millis(names.lease_timeout))
            .arg(room)
            .arg(uuid::Uuid::new_v4().to_string())
            .arg(queues.len());
        for queue in queues {
            call.arg(record_suffix(queue));
        }
        call
    }

    /// Tries until everything is settled or `deadline` passes.
    async fn settle_until(&self, batch: &[Settlement], deadline: Deadline) -> Result<()> {
        let mut backoff = Backoff::default();
        loop {
            match self.settle_once(batch).await {
                Ok(()) => return Ok(()),
                Err(error) if error.remedy() == Remedy::GiveUp => return Err(error),
                Err(error) => {
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
        let mut live = self.custody.link.live().await?;
        let back: Vec<String> = batch
            .iter()
            .filter(|settlement| settlement.verdict == Verdict::Requeue)
            .filter(|settlement| !fanout::was_heard(&settlement.token.tag))
            .map(|settlement| settlement.token.tag.clone())
            .collect();
        let records = self.custody.records(&mut live, &back).await?;
        self.custody.delay(&mut live, &self.to_delay(batch)).await?;
        let mut ends: Vec<(u64, End)> = batch
            .iter()
            .filter_map(|settlement| self.plan(settlement, &records))
            .collect();
        // What goes back to the front is pushed last first, so that its order stays.
        ends.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        let (back, mut others): (Vec<_>, Vec<_>) =
            ends.into_iter().partition(|(_, end)| end.verdict == "back");
        others.reverse();
        let ends: Vec<End> = others.into_iter().chain(back).map(|(_, end)| end).collect();
        // One after the other on one connection: one write, one answer.
        let also = live.clone();
        let ended = self.custody.end(&mut live, &ends);
        let (ended, ()) = tokio::join!(ended, self.reserve_more(&also, batch.len()));
        ended?;
        Ok(())
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
                queue: held.get(&token.tag)?.queue,
                wait_ms: until_unix_ms.saturating_sub(now_unix_ms),
            })
        });
        delayed.collect()
    }

    /// What a settlement asks of the script, with the delivery's number; nothing of what went to
    /// the delayed store.
    fn plan(&self, settlement: &Settlement, records: &[(String, Vec<u8>)]) -> Option<(u64, End)> {
        let tag = &settlement.token.tag;
        let held = self.custody.held.lock().get(tag).unwrap_or(Held {
            queue: String::new(),
            number: 0,
        });
        let mut end = match &settlement.verdict {
            // What was heard has no lease; its result is stored all the same.
            _ if fanout::was_heard(tag) => End {
                verdict: "ack",
                ..End::default()
            },
            Verdict::Ack | Verdict::Reject => End {
                verdict: "ack",
                key: self.custody.names.aside(&held.queue),
                ..End::default()
            },
            Verdict::SetAside(reason) => self.aside(&held.queue, reason),
            Verdict::Requeue => self.requeue(tag, &held.queue, records),
            Verdict::Delay { .. } => return None,
        };
        tag.clone_into(&mut end.tag);
        if let Some(put) = &settlement.put {
            self.add_put(&mut end, put);
        }
        Some((held.number, end))
    }

    fn aside(&self, queue: &str, reason: &str) -> End {
        End {
            verdict: "aside",
            key: self.custody.names.aside(queue),
            text: reason.as_bytes().to_vec(),
            suffix: record_suffix(queue),
            ..End::default()
        }
    }

    fn requeue(&self, tag: &str, queue: &str, records: &[(String, Vec<u8>)]) -> End {
        let suffix = record_suffix(queue);
        let Some((_, record)) = records.iter().find(|(known, _)| known == tag) else {
            // No lease of it is left, or it never was a message: then it stays set aside.
            return self.aside(queue, "it was handed back, and is not a message");
        };
        let raw = record
            .strip_suffix(suffix.as_bytes())
            .and_then(|record| record.strip_prefix(b"["));
        raw.and_then(|raw| self.custody.back(tag, queue, raw))
            .unwrap_or_else(|| self.aside(queue, "it was handed back, and is not a message"))
    }

    fn add_put(&self, end: &mut End, put: &Put) {
        end.put_key = redis_keys::task_meta(&self.result_prefix.lock(), &put.task_id);
        end.put_lifetime = lifetime(put);
        end.put_document = put.document.clone();
    }

    fn forget(&self, batch: &[Settlement]) {
        let mut held = self.custody.held.lock();
        for settlement in batch {
            held.remove(&settlement.token.tag);
            self.ear.settle(&settlement.token.tag, &settlement.verdict);
        }
        drop(held);
        self.bell.ring();
    }

    async fn leave(&self) -> Result<()> {
        // Subscriptions end with their connection.
        if let Some(live) = self.link.current() {
            self.link.drop_connection(live.serial);
        }
        let mut live = self.custody.link.live().await?;
        let mut held = self.custody.held.lock().drain();
        held.retain(|tag| !tag.starts_with(ASIDE) && !fanout::was_heard(tag));
        self.custody.hand_back(&mut live, &held).await?;
        self.custody.retire(&mut live).await
    }
}

/// In front of the tag of what is set aside already.
const ASIDE: &str = "aside:";

/// A document's lifetime as the scripts take it. Celery: a lifetime of 0 is none.
pub(crate) fn lifetime(put: &Put) -> String {
    match put.expires_s {
        None | Some(0) => String::new(),
        Some(seconds) => seconds.to_string(),
    }
}

fn delivery(tag: String, queue: String, item: &[u8], epoch: u64) -> Delivery {
    let token = AckToken { tag, epoch };
    match envelope::decode(item) {
        Ok(read) => Delivery {
            message: Ok(read.message),
            target: read.target,
            queue,
            redelivered: read.redelivered,
            token,
        },
        Err(error) => Delivery {
            message: Err(error),
            target: Target::default(),
            queue,
            redelivered: false,
            token,
        },
    }
}

impl Consumer for RedisConsumer {
    fn reserve(&self, room: usize, deadline: Deadline) -> Result<Vec<Delivery>> {
        if room == 0 {
            return Ok(Vec::new());
        }
        // The connection has deadlines of its own: one that is open when ours passes is not cut
        // off in the middle of a reservation.
        runtime::handle()?.block_on(self.reserve_until(room, deadline))
    }

    fn settle(&self, batch: Vec<Settlement>, deadline: Deadline) -> Result<(), Unsettled> {
        let done = wait_for("settling", deadline, self.settle_until(&batch, deadline));
        match done {
            Ok(()) => {
                self.forget(&batch);
                Ok(())
            }
            Err(error) => Err(Unsettled { error, batch }),
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

    fn interrupt(&self) {
        self.bell.interrupt();
    }

    fn add_queue(&self, queue: &QueueSpec, deadline: Deadline) -> Result<()> {
        queue.check_emulated()?;
        let patterns = self.ear.listen(&self.custody.names, queue);
        if !patterns.is_empty() {
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
            tracing::warn!(%error, "leases stay until they end by themselves");
        }
    }
}
