//! Takes messages from `RabbitMQ` and settles them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::FutureExt;
use futures_util::stream::StreamExt;
use lapin::BasicProperties;
use lapin::options::BasicConsumeOptions;
use lapin::types::ShortString;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::custody::{Custody, Held};
use super::delayed::{self, Delayer};
use super::headers::short;
use super::inbox::Inbox;
use super::letter::{Kept, Letter, RawProperties};
use super::link::{ANSWER_WITHIN, Fault, Link, Live, Role, open_channel};
use super::losses;
use super::patience::Patience;
use super::properties;
use super::topology::{self, Declaration};
use crate::broker::bell::Bell;
use crate::broker::reconnect::{Backoff, wait_for};
use crate::broker::topology::QueueSpec;
use crate::broker::url::BrokerUrl;
use crate::broker::{AckToken, Consumer, ConsumerConfig, Delivery, Settlement, Unsettled};
use crate::error::{Error, Result};
use crate::runtime;
use crate::time::{Clock, Deadline, SystemClock};
use crate::wire::message::Target;

/// Deliveries handed out at once.
const MAX_RESERVED: usize = 1_024;
/// How often a waiting reservation looks whether its connection still stands.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// By how much later than asked for a wait may end, so that it ends when the process is awake anyway.
const LATE: Duration = Duration::from_millis(500);
/// How long leaving a queue may take.
const CANCEL_WITHIN: Duration = Duration::from_secs(5);

/// The consumer of one URL.
#[derive(Debug)]
pub(super) struct AmqpConsumer {
    /// The node's name.
    pub(super) node: String,
    /// How long the server lets a delivery stay unacked.
    pub(super) patience: Patience,
    /// What the server may push of each queue. AMQP's largest stands for "unlimited".
    pub(super) prefetch: u16,
    /// What may be held in all.
    most: usize,
    pub(super) link: Link,
    /// For what is set aside: the server stops connections that publish when it has an alarm, and
    /// this must not stop acks.
    pub(super) aside: Link,
    pub(super) delayer: Delayer,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) custody: Mutex<Custody>,
    bell: Arc<Bell>,
    pub(super) turn: Mutex<Turn>,
    pub(super) arriving: tokio::sync::Mutex<()>,
    is_closed: AtomicBool,
}

/// What is consumed.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) queues: Vec<QueueSpec>,
    pub(super) streams: Vec<Stream>,
    /// The channel of the streams.
    serial: u64,
    /// What arrives over its connection.
    inbox: Option<Arc<Inbox>>,
    /// Rotates, so that no queue is always first.
    first: usize,
    backoff: Backoff,
}

/// The consuming of one queue. What arrives is in the inbox, bounded by the server's prefetch; lapin tells
/// when it has ended, and why.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) queue: String,
    pub(super) consumer: lapin::Consumer,
    pub(super) consumer_tag: ShortString,
    /// How much of it the server may push.
    pub(super) window: u16,
    /// The server pushes nothing more; there may be something left.
    pub(super) has_ended: bool,
}

impl AmqpConsumer {
    pub(super) fn open(url: &BrokerUrl, config: ConsumerConfig) -> Result<Self> {
        let prefetch = match config.prefetch {
            0 => u16::MAX,
            prefetch => u16::try_from(prefetch).unwrap_or(u16::MAX),
        };
        let bell = Arc::new(Bell::default());
        Ok(Self {
            prefetch,
            most: config.most(usize::from(u16::MAX)),
            link: Link::new(url, &config.node, Role::Plain)?.with_inbox(&bell),
            aside: Link::new(url, &format!("{} (sets aside)", config.node), Role::Confirms)?,
            delayer: Delayer::new(url, &config.node)?,
            node: config.node,
            patience: Patience::of(url)?,
            clock: SystemClock::shared(),
            custody: Mutex::default(),
            bell,
            turn: Mutex::new(Turn {
                queues: config.queues,
                ..Turn::default()
            }),
            arriving: tokio::sync::Mutex::default(),
            is_closed: AtomicBool::new(false),
        })
    }

    /// Waits until there is something, `deadline` passes or somebody interrupts.
    ///
    /// Nothing is found only when the server has answered after `deadline`: over a connection that
    /// fell silent nothing comes either.
    async fn reserve_until(&self, room: usize, deadline: Deadline) -> Result<Vec<Delivery>> {
        let mut asked = None;
        loop {
            if self.bell.take_interruption() {
                return Ok(Vec::new());
            }
            if self.is_closed.load(Ordering::SeqCst) {
                return Err(Error::Closed { what: "consumer" });
            }
            self.ready(deadline).await?;
            // Whoever looks at everything after this has heard it.
            self.bell.hear();
            let free = self.most.saturating_sub(self.custody.lock().len());
            let room = room.min(free).min(MAX_RESERVED);
            let serial = self.turn.lock().serial;
            if let Some(live) = self.link.current(serial) {
                let fitted = self.fit_windows(&live, room).await;
                fitted.map_err(|fault| self.link.error(&fault))?;
                if deadline.has_passed() && asked.is_none() {
                    asked = Some(Box::pin(self.answer(live)));
                }
            }
            let left = deadline.left();
            let end = if left.is_zero() {
                Deadline::after(LOOK_AGAIN)
            } else {
                deadline.min(Deadline::after(LOOK_AGAIN + LATE))
            };
            let answer = async {
                match &mut asked {
                    Some(answer) => answer.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                found = std::future::poll_fn(|context| self.poll_take(context, room)), if room > 0 => {
                    let found = found?;
                    if !found.is_empty() {
                        return Ok(found);
                    }
                }
                answered = answer => return answered.map(|()| Vec::new()),
                _rung_or_not = self.bell.wait_until(end) => {}
            }
        }
    }

    /// Waits for an answer of the server, which changes nothing.
    async fn answer(&self, live: Live) -> Result<()> {
        match timeout(ANSWER_WITHIN, self.set_qos(&live)).await {
            Ok(answered) => answered.map_err(|fault| self.link.error(&fault)),
            Err(_) => Err(self.link.disconnected(&format!(
                "the server has not answered for {} s",
                ANSWER_WITHIN.as_secs()
            ))),
        }
    }

    /// Sees to it that every queue is consumed.
    async fn ready(&self, deadline: Deadline) -> Result<()> {
        if self.is_consuming() {
            return Ok(());
        }
        if let Some(refusal) = self.take_refusal() {
            return Err(refusal);
        }
        let wait = self.turn.lock().backoff.jittered().min(deadline.left());
        tokio::time::sleep(wait).await;
        let done = self.arrive().await;
        let mut turn = self.turn.lock();
        match &done {
            Ok(()) => turn.backoff.succeeded(),
            Err(_) => turn.backoff.failed(),
        }
        done
    }

    fn is_consuming(&self) -> bool {
        let turn = self.turn.lock();
        self.link.is_usable(turn.serial) && turn.missing().is_empty()
    }

    /// Why the server closed the channel of what is consumed, told once. What had arrived over it
    /// comes again.
    fn take_refusal(&self) -> Option<Error> {
        let mut turn = self.turn.lock();
        if turn.streams.is_empty() || self.link.is_usable(turn.serial) {
            return None;
        }
        turn.streams.drain(..).find_map(|mut stream| {
            while let Some(Some(arrived)) = stream.consumer.next().now_or_never() {
                if let Err(error) = arrived {
                    let fault = Fault::from(error);
                    return fault.is_refusal().then(|| self.link.error(&fault));
                }
            }
            None
        })
    }

    async fn arrive(&self) -> Result<()> {
        let _one_arrives = self.arriving.lock().await;
        let live = self.link.live().await?;
        self.begin(&live);
        let missing = self.turn.lock().missing();
        if !missing.is_empty() {
            self.set_qos(&live)
                .await
                .map_err(|fault| self.link.error(&fault))?;
        }
        for queue in &missing {
            self.consume(&live, queue).await?;
        }
        if !missing.is_empty() {
            let settled = self.settle_down(&live, &missing).await;
            settled.map_err(|fault| self.link.error(&fault))?;
        }
        Ok(())
    }

    /// What belonged to an older channel is gone with it.
    fn begin(&self, live: &Live) {
        let mut turn = self.turn.lock();
        if turn.serial != live.serial {
            self.custody.lock().begin(live.serial);
            turn.serial = live.serial;
            turn.streams.clear();
            turn.inbox.clone_from(&live.inbox);
            if let Some(inbox) = &turn.inbox {
                inbox.lock().clear();
            }
        }
    }

    async fn consume(&self, live: &Live, queue: &QueueSpec) -> Result<()> {
        let declaration = Declaration::of(queue)?;
        // Over a channel of its own: a refusal closes it, and ours carries deliveries.
        let begun = async {
            let channel = open_channel(&live.connection, Role::Plain).await?;
            declaration.make(&channel).await?;
            delayed::bind_if_there(channel, &queue.name).await?;
            let consumer = live.channel.basic_consume(
                declaration.queue.clone(),
                "".into(),
                BasicConsumeOptions::default(),
                self.patience.arguments(&queue.name),
            );
            Ok::<_, Fault>(consumer.await?)
        };
        let consumer = begun.await.map_err(|fault| {
            if self.patience.goes_without(&queue.name, &fault) {
                let cause = "its channel was closed, and is opened again without consumer_timeout";
                return self.link.disconnected(cause);
            }
            self.link.error(&fault)
        })?;
        self.turn.lock().streams.push(Stream {
            queue: queue.name.clone(),
            consumer_tag: consumer.tag(),
            consumer,
            window: self.prefetch,
            has_ended: false,
        });
        Ok(())
    }

    /// Waits for the first deliveries of queues that have some, so that the first reservation
    /// takes from all of them in turn. A queue answers after it has delivered, a channel after
    /// it has passed that on.
    async fn settle_down(&self, live: &Live, queues: &[QueueSpec]) -> Result<(), Fault> {
        for queue in queues {
            let name = short("the name of a queue", &queue.name);
            if let Ok(name) = name {
                topology::depth(&live.channel, name).await?;
            }
        }
        self.set_qos(live).await
    }

    /// Takes what has arrived, one of each queue in turn. Ready with nothing when a queue is not
    /// consumed any more: the server has cancelled us (the queue was deleted, its leader moved).
    fn poll_take(&self, context: &mut Context<'_>, room: usize) -> Poll<Result<Vec<Delivery>>> {
        let mut turn = self.turn.lock();
        let serial = turn.serial;
        // Before the letters: whatever came before an end is there when it is seen.
        if let Err(error) = turn.poll_ends(context) {
            return Poll::Ready(Err(self.link.error(&error.into())));
        }
        let found = turn.take_letters(room);
        let ended = turn.forget_ended();
        drop(turn);
        for queue in &ended {
            tracing::warn!(%queue, "the server has ended the consuming of a queue; it begins again");
        }
        if found.is_empty() && ended.is_empty() {
            return Poll::Pending;
        }
        let found = found
            .into_iter()
            .map(|(queue, letter)| self.hand_out(serial, queue, letter))
            .collect();
        Poll::Ready(Ok(found))
    }

    fn hand_out(&self, serial: u64, queue: String, letter: Letter) -> Delivery {
        let Letter {
            envelope,
            properties,
            body,
        } = letter;
        let tag = envelope.delivery_tag;
        let mut target = Target {
            exchange: envelope.exchange,
            routing_key: envelope.routing_key,
        };
        let mut losses = 0;
        let (message, properties) = match marked(&properties) {
            Some(read) => {
                losses = losses::of(&read);
                let known = delayed::restored(&read).or_else(|| losses::restored(&read));
                let (known_target, read) = known.unwrap_or((target, read));
                target = known_target;
                (
                    Ok(properties::from_amqp(&read, body.clone(), tag)),
                    Kept::from(read),
                )
            }
            None => (properties.message(body.clone(), tag), Kept::Raw(properties)),
        };
        let held = Held {
            queue: queue.clone(),
            exchange: target.exchange.clone(),
            routing_key: target.routing_key.clone(),
            properties,
            body,
            losses,
        };
        self.custody.lock().enter(tag, held);
        Delivery {
            message,
            target,
            queue,
            // What was published again was delivered before.
            redelivered: envelope.redelivered || losses > 0,
            losses,
            token: AckToken {
                tag: tag.to_string(),
                epoch: serial,
            },
        }
    }
}

/// The properties of a message that the server or one of us has marked; few are.
fn marked(properties: &RawProperties) -> Option<BasicProperties> {
    let marks = [losses::HEADER, losses::DELIVERY_COUNT, delayed::HEADER];
    if !properties.may_have(&marks) {
        return None;
    }
    properties.read().ok()
}

impl Turn {
    /// Notes whose consuming has ended.
    fn poll_ends(&mut self, context: &mut Context<'_>) -> Result<(), lapin::Error> {
        for stream in &mut self.streams {
            if let Poll::Ready(end) = stream.consumer.poll_next_unpin(context) {
                end.transpose()?;
                stream.has_ended = true;
            }
        }
        Ok(())
    }

    /// Takes what has arrived, with its queue.
    fn take_letters(&mut self, room: usize) -> Vec<(String, Letter)> {
        let mut found = Vec::new();
        let (count, Some(inbox)) = (self.streams.len(), &self.inbox) else {
            return found;
        };
        self.first = self.first.wrapping_add(1);
        let mut letters = inbox.lock();
        let mut is_more = count > 0;
        while is_more {
            is_more = false;
            for at in (0..count).map(|step| (self.first + step) % count) {
                if found.len() == room {
                    return found;
                }
                let stream = &self.streams[at];
                if let Some(letter) = letters.take(stream.consumer_tag.as_str()) {
                    is_more = true;
                    found.push((stream.queue.clone(), letter));
                }
            }
        }
        found
    }

    /// Forgets those that have ended and of which nothing is left; returns their queues.
    fn forget_ended(&mut self) -> Vec<String> {
        let Some(inbox) = &self.inbox else {
            return Vec::new();
        };
        let letters = inbox.lock();
        let is_over =
            |stream: &mut Stream| stream.has_ended && letters.is_empty_of(stream.consumer_tag.as_str());
        let ended = self.streams.extract_if(.., is_over);
        ended.map(|stream| stream.queue).collect()
    }

    /// The queues that are not consumed.
    fn missing(&self) -> Vec<QueueSpec> {
        let is_consumed = |queue: &&QueueSpec| !self.streams.iter().any(|stream| stream.queue == queue.name);
        self.queues.iter().filter(is_consumed).cloned().collect()
    }
}

impl Consumer for AmqpConsumer {
    fn reserve(&self, room: usize, deadline: Deadline) -> Result<Vec<Delivery>> {
        if room == 0 {
            return Ok(Vec::new());
        }
        // The connection has deadlines of its own: one that is open when ours passes is used.
        runtime::handle()?.block_on(self.reserve_until(room, deadline))
    }

    fn proof_due(&self, wait: Duration) -> Deadline {
        if wait < LOOK_AGAIN {
            return Deadline::after(wait);
        }
        runtime::beats().before(wait + LATE)
    }

    fn settle(&self, batch: Vec<Settlement>, deadline: Deadline) -> Result<(), Unsettled> {
        if batch.iter().any(|settlement| settlement.put.is_some()) {
            let error = Error::Unsupported {
                feature: "storing results together with acks on AMQP".to_owned(),
            };
            return Err(Unsettled { error, batch });
        }
        let handle = match runtime::handle() {
            Ok(handle) => handle,
            Err(error) => return Err(Unsettled { error, batch }),
        };
        let unsettled = handle.block_on(self.settle_until(batch, deadline));
        self.bell.ring();
        unsettled.map_or(Ok(()), Err)
    }

    fn stores_results_of(&self, _result_url: &str) -> bool {
        false
    }

    fn may_end_delays_early(&self, by: Duration) {
        self.delayer.may_end_early(by);
    }

    /// The server takes back what was delivered over a channel when that ends.
    fn valid_from(&self) -> u64 {
        let serial = self.custody.lock().serial();
        if self.link.is_usable(serial) {
            serial
        } else {
            serial + 1
        }
    }

    fn interrupt(&self) {
        self.bell.interrupt();
    }

    fn add_queue(&self, queue: &QueueSpec, deadline: Deadline) -> Result<()> {
        let before = {
            let mut turn = self.turn.lock();
            let before = turn.queues.clone();
            turn.queues.retain(|known| known.name != queue.name);
            turn.queues.push(queue.clone());
            before
        };
        let added = wait_for("adding a queue", deadline, self.arrive());
        if added.is_err() {
            self.turn.lock().queues = before;
        }
        self.bell.ring();
        added
    }

    fn cancel_queue(&self, queue: &str) {
        let (serial, streams) = {
            let mut turn = self.turn.lock();
            turn.queues.retain(|known| known.name != queue);
            let (left, kept) = std::mem::take(&mut turn.streams)
                .into_iter()
                .partition::<Vec<_>, _>(|stream| stream.queue == queue);
            turn.streams = kept;
            (turn.serial, left)
        };
        let Some(live) = self.link.current(serial) else {
            return;
        };
        let left = wait_for("leaving a queue", Deadline::after(CANCEL_WITHIN), async {
            for stream in streams {
                let left = self.leave(&live, stream).await;
                left.map_err(|fault| self.link.error(&fault))?;
            }
            Ok(())
        });
        if let Err(error) = left {
            tracing::warn!(queue, %error, "what had arrived of a queue goes back when the connection ends");
        }
    }

    fn close(&self, deadline: Deadline) {
        if self.is_closed.swap(true, Ordering::SeqCst) {
            return;
        }
        self.bell.ring();
        let streams = std::mem::take(&mut self.turn.lock().streams);
        let serial = self.turn.lock().serial;
        let closed = wait_for("closing a consumer", deadline, async {
            if let Some(live) = self.link.current(serial) {
                self.stop_consuming(&live, streams).await;
            }
            self.link.close().await;
            self.aside.close().await;
            self.delayer.close().await;
            Ok(())
        });
        if let Err(error) = closed {
            tracing::warn!(%error, "the server notices by itself that the consumer has gone");
        }
    }
}
