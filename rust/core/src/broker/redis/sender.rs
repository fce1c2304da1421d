//! The task that carries messages to Redis: batches what waits, keeps a few pipelines in flight,
//! and says of each message, once, what became of it.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::ConnectionLike;
use redis::{RedisError, Value};
use tokio::sync::mpsc;

use super::hub::Hub;
use super::link::{Backoff, Link, Live, is_lost};
use super::names::Names;
use super::routing::{self, Exchanges, Table};
use crate::broker::topology::{ExchangeType, QueueSpec};
use crate::error::{Error, Result};
use crate::ledger::Receipt;
use crate::time::{Deadline, SystemClock};
use crate::wire::envelope;
use crate::wire::message::Outgoing;

/// Messages in one pipeline.
const MAX_BATCH: usize = 256;
/// Bytes after which a pipeline takes no further message.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// Pipelines that wait for their answers.
const MAX_FLIGHTS: usize = 4;
/// How long an exchange's bindings are taken as known.
const TABLE_LIFETIME: Duration = Duration::from_secs(1);

/// A message on its way.
#[derive(Debug)]
pub(super) struct Parcel {
    outgoing: Outgoing,
    envelope: Vec<u8>,
    subscribe_to: Option<String>,
    pub(super) receipt: Receipt,
    pub(super) deadline: Deadline,
    /// Wait that the caller granted, for the error that says so.
    granted: Duration,
    was_sent: bool,
}

impl Parcel {
    /// Encodes a message; done by the caller's thread.
    pub(super) fn new(
        outgoing: Outgoing,
        subscribe_to: Option<&str>,
        receipt: Receipt,
        deadline: Deadline,
    ) -> Self {
        Self {
            envelope: envelope::encode(&outgoing),
            outgoing,
            subscribe_to: subscribe_to.map(str::to_owned),
            receipt,
            deadline,
            granted: deadline.left(),
            was_sent: false,
        }
    }

    /// Gives the message a new delivery tag: the first copy may have arrived, and two copies with
    /// one tag would share one lease.
    fn renew(&mut self) {
        if self.was_sent {
            self.envelope = fresh_copy(&self.outgoing);
        }
    }

    /// Nobody knows, or the server was never reached.
    fn give_up(self, cause: Error) {
        let waited_ms = u64::try_from(self.granted.as_millis()).unwrap_or(u64::MAX);
        self.receipt.fail(if self.was_sent {
            Error::Unconfirmed { waited_ms }
        } else {
            cause
        });
    }
}

fn fresh_copy(outgoing: &Outgoing) -> Vec<u8> {
    let mut copy = outgoing.clone();
    copy.message.properties.delivery_tag = uuid::Uuid::new_v4().to_string();
    envelope::encode(&copy)
}

/// What the sending task and its publisher both use.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) link: Arc<Link>,
    pub(super) names: Arc<Names>,
    /// Where results are waited for, when this publisher subscribes to them.
    pub(super) hub: Arc<Mutex<Option<Arc<Hub>>>>,
    pub(super) declared: Mutex<Declared>,
}

/// The queues declared here, and over which connection.
#[derive(Debug, Default)]
pub(super) struct Declared {
    queues: HashMap<QueueSpec, u64>,
    exchanges: Exchanges,
}

impl Declared {
    pub(super) fn learn(&mut self, queue: &QueueSpec) {
        self.exchanges.learn(queue);
        self.queues.entry(queue.clone()).or_insert(0);
    }

    pub(super) fn is_done(&self, queue: &QueueSpec, serial: u64) -> bool {
        self.queues.get(queue) == Some(&serial)
    }

    fn missing(&self, serial: u64) -> Vec<QueueSpec> {
        self.queues
            .iter()
            .filter(|(_, done)| **done != serial)
            .map(|(queue, _)| queue.clone())
            .collect()
    }
}

/// Declares queues over a connection, and remembers that.
pub(super) async fn declare(live: &mut Live, shared: &Shared, queues: &[QueueSpec]) -> Result<()> {
    let now_ms = SystemClock::shared().unix_ms();
    let mut pipe = redis::pipe();
    for queue in queues {
        routing::declare(&mut pipe, &shared.names, queue, now_ms);
    }
    if !pipe.is_empty() {
        let done = pipe.query_async::<()>(&mut live.connection).await;
        done.map_err(|error| shared.link.failed(live.serial, &error))?;
    }
    let mut declared = shared.declared.lock();
    for queue in queues {
        declared.queues.insert(queue.clone(), live.serial);
    }
    Ok(())
}

/// A pipeline on its way, and what it carries.
type Flight = Pin<Box<dyn Future<Output = Landed> + Send>>;

/// Parcels with the number of commands each has in its pipeline, and the answers.
struct Landed {
    serial: u64,
    parcels: Vec<(Parcel, usize)>,
    answers: Result<Vec<Value>, RedisError>,
}

/// Runs until the inlet is closed and everything is answered.
pub(super) async fn run(shared: Arc<Shared>, mut outlet: mpsc::Receiver<Parcel>) {
    let mut desk = Sender {
        shared,
        waiting: VecDeque::new(),
        flights: Vec::new(),
        tables: HashMap::new(),
        backoff: Backoff::default(),
    };
    let mut batch = Vec::with_capacity(MAX_BATCH);
    let mut is_open = true;
    while is_open || !desk.is_idle() {
        desk.depart().await;
        let takes_more = is_open && desk.waiting.is_empty() && desk.flights.len() < MAX_FLIGHTS;
        tokio::select! {
            biased;
            landed = next_landed(&mut desk.flights), if !desk.flights.is_empty() => desk.land(landed).await,
            count = outlet.recv_many(&mut batch, MAX_BATCH), if takes_more => {
                is_open = count > 0;
                desk.waiting.extend(batch.drain(..));
            }
        }
    }
}

/// Polls all flights, in the order of their departure: that is the order on the wire.
async fn next_landed(flights: &mut Vec<Flight>) -> Landed {
    std::future::poll_fn(|context| {
        let mut found = None;
        for (at, flight) in flights.iter_mut().enumerate() {
            if let Poll::Ready(landed) = flight.as_mut().poll(context) {
                found = Some((at, landed));
                break;
            }
        }
        match found {
            Some((at, landed)) => {
                drop(flights.remove(at));
                Poll::Ready(landed)
            }
            None => Poll::Pending,
        }
    })
    .await
}

struct Sender {
    shared: Arc<Shared>,
    waiting: VecDeque<Parcel>,
    flights: Vec<Flight>,
    tables: HashMap<String, (Deadline, Table)>,
    backoff: Backoff,
}

impl Sender {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.flights.is_empty()
    }

    /// Sends what waits, as far as flights are free. A lost connection is opened again here.
    async fn depart(&mut self) {
        while !self.waiting.is_empty() && self.flights.len() < MAX_FLIGHTS {
            match self.ready().await {
                Ok(live) => {
                    let parcels = self.take_batch();
                    self.launch(live, parcels);
                }
                Err(error) => self.wait_after(error).await,
            }
        }
    }

    /// A connection over which everything needed is declared and known.
    async fn ready(&mut self) -> Result<Live> {
        let mut live = self.shared.link.live().await?;
        let missing = self.shared.declared.lock().missing(live.serial);
        if !missing.is_empty() {
            declare(&mut live, &self.shared, &missing).await?;
        }
        let unknown: Vec<String> = self
            .waiting
            .iter()
            .take(MAX_BATCH)
            .map(|parcel| &parcel.outgoing.target.exchange)
            .filter(|exchange| !exchange.is_empty() && !self.knows(exchange))
            .cloned()
            .collect();
        for exchange in unknown {
            if !self.knows(&exchange) {
                let table = routing::table(&mut live.connection, &self.shared.names, &exchange)
                    .await
                    .map_err(|error| self.shared.link.failed(live.serial, &error))?;
                self.tables
                    .insert(exchange, (Deadline::after(TABLE_LIFETIME), table));
            }
        }
        Ok(live)
    }

    fn knows(&self, exchange: &str) -> bool {
        self.tables
            .get(exchange)
            .is_some_and(|(until, _)| !until.has_passed())
    }

    /// No connection: gives up what is overdue, then waits a little.
    async fn wait_after(&mut self, error: Error) {
        let refuses = matches!(error, Error::Refused { passing: false, .. });
        self.expire(&error, refuses);
        self.backoff.failed();
        tracing::warn!(%error, wait_ms = self.backoff.wait().as_millis(), "publishing is held up");
        let nearest = self.waiting.iter().map(|parcel| parcel.deadline.left()).min();
        let wait = nearest.map_or(Duration::ZERO, |left| left.min(self.backoff.wait()));
        tokio::time::sleep(wait).await;
        self.expire(&error, false);
    }

    fn expire(&mut self, error: &Error, all: bool) {
        let (overdue, kept): (Vec<Parcel>, Vec<Parcel>) = self
            .waiting
            .drain(..)
            .partition(|parcel| all || parcel.deadline.has_passed());
        self.waiting.extend(kept);
        for parcel in overdue {
            parcel.give_up(error.clone());
        }
    }

    fn take_batch(&mut self) -> Vec<Parcel> {
        let mut bytes = 0;
        let mut parcels = Vec::new();
        while parcels.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES {
            let Some(parcel) = self.waiting.pop_front() else {
                break;
            };
            bytes += parcel.envelope.len();
            parcels.push(parcel);
        }
        parcels
    }

    /// Puts parcels into one pipeline and sends it off.
    fn launch(&mut self, live: Live, parcels: Vec<Parcel>) {
        let mut pipe = redis::Pipeline::with_capacity(parcels.len());
        let hub = self.shared.hub.lock().clone();
        let mut laden = Vec::with_capacity(parcels.len());
        for mut parcel in parcels {
            let before = pipe.len();
            if let Err(error) = self.load(&mut pipe, &mut parcel, hub.as_deref(), live.serial) {
                parcel.receipt.fail(error);
                continue;
            }
            laden.push((parcel, pipe.len() - before));
        }
        if laden.is_empty() {
            return;
        }
        let (serial, mut connection) = (live.serial, live.connection);
        self.flights.push(Box::pin(async move {
            let answers = connection.req_packed_commands(&pipe, 0, pipe.len()).await;
            Landed {
                serial,
                parcels: laden,
                answers,
            }
        }));
    }

    fn load(
        &self,
        pipe: &mut redis::Pipeline,
        parcel: &mut Parcel,
        hub: Option<&Hub>,
        serial: u64,
    ) -> Result<()> {
        let target = &parcel.outgoing.target;
        let kind = self.shared.declared.lock().exchanges.kind(&target.exchange);
        if matches!(kind, ExchangeType::Fanout | ExchangeType::Headers) {
            return Err(Error::Unsupported {
                feature: format!(
                    "publishing to the {kind:?} exchange {:?} on Redis",
                    target.exchange
                ),
            });
        }
        let known = Table::new();
        let table = self
            .tables
            .get(&target.exchange)
            .map_or(&known, |(_, table)| table);
        let queues = routing::queues(target, &kind, table);
        let Some((first, others)) = queues.split_first() else {
            return Err(self.shared.link.refused(
                &format!(
                    "no queue is bound to exchange {:?} with routing key {:?}; declare one",
                    target.exchange, target.routing_key
                ),
                false,
            ));
        };
        parcel.renew();
        if let (Some(task_id), Some(hub)) = (&parcel.subscribe_to, hub) {
            let channel = hub.channel(task_id);
            if hub.is_wanted(&channel) {
                hub.carry(&channel, &self.shared.link, serial);
                pipe.cmd("SUBSCRIBE").arg(channel);
            }
        }
        let priority = parcel.outgoing.message.properties.priority;
        pipe.lpush(self.shared.names.list(first, priority), &parcel.envelope);
        for queue in others {
            // Each copy has a lease of its own, so it needs a tag of its own.
            pipe.lpush(
                self.shared.names.list(queue, priority),
                fresh_copy(&parcel.outgoing),
            );
        }
        parcel.was_sent = true;
        Ok(())
    }

    /// Tells the receipts what the server said, or takes the parcels back.
    async fn land(&mut self, landed: Landed) {
        match landed.answers {
            Ok(answers) => {
                self.backoff.succeeded();
                self.tell(landed.parcels, &answers);
            }
            Err(error) if is_lost(&error) => {
                let error = self.shared.link.failed(landed.serial, &error);
                self.take_back(landed.parcels, &error).await;
            }
            Err(error) => {
                let error = self.shared.link.failed(landed.serial, &error);
                for (parcel, _) in landed.parcels {
                    parcel.receipt.fail(error.clone());
                }
            }
        }
    }

    fn tell(&self, parcels: Vec<(Parcel, usize)>, answers: &[Value]) {
        let mut answers = answers.iter();
        for (parcel, commands) in parcels {
            let refusal = answers
                .by_ref()
                .take(commands)
                .fold(None, |found, answer| found.or_else(|| refusal(answer)));
            match refusal {
                None => parcel.receipt.confirm(),
                Some(cause) => {
                    let passing =
                        cause.contains("OOM") || cause.contains("LOADING") || cause.contains("BUSY");
                    parcel.receipt.fail(self.shared.link.refused(&cause, passing));
                }
            }
        }
    }

    /// The connection broke: everything in flight on it comes back, oldest first.
    async fn take_back(&mut self, parcels: Vec<(Parcel, usize)>, error: &Error) {
        let mut back: Vec<Parcel> = parcels.into_iter().map(|(parcel, _)| parcel).collect();
        for flight in std::mem::take(&mut self.flights) {
            let landed = flight.await;
            match landed.answers {
                Ok(answers) => self.tell(landed.parcels, &answers),
                Err(_) => back.extend(landed.parcels.into_iter().map(|(parcel, _)| parcel)),
            }
        }
        tracing::warn!(%error, messages = back.len(), "unanswered messages are sent again");
        for parcel in back.into_iter().rev() {
            self.waiting.push_front(parcel);
        }
        self.expire(error, false);
    }
}

fn refusal(value: &Value) -> Option<String> {
    if let Value::ServerError(error) = value {
        return Some(error.to_string());
    }
    None
}
