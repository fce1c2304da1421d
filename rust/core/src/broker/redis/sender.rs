//! The task that carries messages to Redis: batches what waits, keeps a few pipelines in flight,
//! and says of each message, once, what became of it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::ConnectionLike;
use redis::{RedisError, Value};
use tokio::sync::mpsc;

use super::hub::Hub;
use super::link::{Backoff, Link, Live, is_lost, is_of_replica};
use super::names::Names;
use super::routing::{self, Exchanges, Table};
use crate::broker::topology::QueueSpec;
use crate::error::{Error, Result};
use crate::ledger::Receipt;
use crate::time::{Deadline, SystemClock};
use crate::wire::envelope;
use crate::wire::message::{Outgoing, Target};

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
    /// Whether it is an error that nobody has subscribed to its channel.
    must_be_heard: bool,
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
            must_be_heard: false,
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
    /// Counts what was learned: a table that is older does not have it.
    version: u64,
}

impl Declared {
    pub(super) fn learn(&mut self, queue: &QueueSpec) {
        self.exchanges.learn(queue);
        self.version += 1;
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
        dropped: 0,
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
    tables: HashMap<String, Known>,
    /// Messages that no queue wanted.
    dropped: u64,
    backoff: Backoff,
}

/// The bindings of an exchange as they were.
struct Known {
    until: Deadline,
    version: u64,
    table: Table,
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
        let version = self.shared.declared.lock().version;
        let unknown: HashSet<String> = self
            .waiting
            .iter()
            .take(MAX_BATCH)
            .map(|parcel| &parcel.outgoing.target)
            .filter(|target| !target.exchange.is_empty() && !self.knows(target, version))
            .map(|target| target.exchange.clone())
            .collect();
        for exchange in unknown {
            let table = routing::table(&mut live.connection, &self.shared.names, &exchange)
                .await
                .map_err(|error| self.shared.link.failed(live.serial, &error))?;
            let known = Known {
                until: Deadline::after(TABLE_LIFETIME),
                version,
                table,
            };
            self.tables.insert(exchange, known);
        }
        Ok(live)
    }

    /// Whether what is known of an exchange says where this goes. That it goes nowhere is never
    /// taken from memory.
    fn knows(&self, target: &Target, version: u64) -> bool {
        if self.shared.declared.lock().exchanges.is_fanout(&target.exchange) {
            return true;
        }
        self.tables.get(&target.exchange).is_some_and(|known| {
            !known.until.has_passed()
                && known.version == version
                && !routing::queues(target, &known.table).is_empty()
        })
    }

    /// No connection: gives up what is overdue, then waits a little.
    async fn wait_after(&mut self, error: Error) {
        // Said first: who learns of the error below logs what there is.
        self.backoff.failed();
        tracing::warn!(%error, wait_ms = self.backoff.wait().as_millis(), "publishing is held up");
        let refuses = matches!(error, Error::Refused { passing: false, .. });
        self.expire(&error, refuses);
        if matches!(error, Error::Disconnected { .. }) {
            self.report_to_those_who_wait(&error);
        }
        let nearest = self.waiting.iter().map(|parcel| parcel.deadline.left()).min();
        let wait = nearest.map_or(Duration::ZERO, |left| left.min(self.backoff.wait()));
        tokio::time::sleep(wait).await;
        self.expire(&error, false);
    }

    /// Who waits for one message decides about further tries by a policy of its own.
    fn report_to_those_who_wait(&mut self, error: &Error) {
        let (awaited, kept): (Vec<Parcel>, Vec<Parcel>) = self
            .waiting
            .drain(..)
            .partition(|parcel| parcel.receipt.is_awaited());
        self.waiting.extend(kept);
        for parcel in awaited {
            parcel.receipt.fail(error.clone());
        }
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
            if pipe.len() == before {
                parcel.receipt.confirm();
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
        &mut self,
        pipe: &mut redis::Pipeline,
        parcel: &mut Parcel,
        hub: Option<&Hub>,
        serial: u64,
    ) -> Result<()> {
        parcel.renew();
        if let (Some(task_id), Some(hub)) = (&parcel.subscribe_to, hub) {
            let channel = hub.channel(task_id);
            if hub.is_wanted(&channel) {
                hub.carry(&channel, &self.shared.link, serial);
                pipe.cmd("SUBSCRIBE").arg(channel);
            }
        }
        let Outgoing { message, target, .. } = &parcel.outgoing;
        if self.shared.declared.lock().exchanges.is_fanout(&target.exchange) {
            let channel = self
                .shared
                .names
                .fanout_channel(&target.exchange, &target.routing_key);
            pipe.cmd("PUBLISH").arg(channel).arg(&parcel.envelope);
            parcel.must_be_heard = parcel.outgoing.is_mandatory();
        } else {
            let none = Table::new();
            let table = self
                .tables
                .get(&target.exchange)
                .map_or(&none, |known| &known.table);
            let queues = routing::queues(target, table);
            for (number, queue) in queues.iter().enumerate() {
                let list = self.shared.names.list(queue, message.properties.priority);
                // Each copy has a lease of its own, so it needs a tag of its own.
                if number == 0 {
                    pipe.lpush(list, &parcel.envelope);
                } else {
                    pipe.lpush(list, fresh_copy(&parcel.outgoing));
                }
            }
            if queues.is_empty() {
                return self.reach_nobody(&parcel.outgoing);
            }
        }
        parcel.was_sent = true;
        Ok(())
    }

    /// Compat: what nobody is bound for is dropped, as by every exchange; the sender may ask for an
    /// error instead.
    fn reach_nobody(&mut self, outgoing: &Outgoing) -> Result<()> {
        if outgoing.is_mandatory() {
            return Err(self.shared.link.refused(&outgoing.target.unroutable(), false));
        }
        let Target {
            exchange,
            routing_key,
        } = &outgoing.target;
        self.dropped += 1;
        if self.dropped.is_power_of_two() {
            tracing::warn!(
                exchange,
                routing_key,
                dropped = self.dropped,
                "a message is dropped: no queue is bound to its exchange with that key (mandatory=True \
                 makes this an error)"
            );
        }
        Ok(())
    }

    /// Tells the receipts what the server said, or takes the parcels back.
    async fn land(&mut self, landed: Landed) {
        match landed.answers {
            Ok(answers) => {
                let left = self.tell(landed.parcels, &answers);
                if left.is_empty() {
                    self.backoff.succeeded();
                } else {
                    self.follow_master(landed.serial, left).await;
                }
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

    /// The master has become a replica: what it did not take goes to the new one.
    async fn follow_master(&mut self, serial: u64, parcels: Vec<Parcel>) {
        self.shared.link.drop_connection(serial);
        for parcel in parcels.into_iter().rev() {
            self.waiting.push_front(parcel);
        }
        let refused = self.shared.link.refused("the master has become a replica", true);
        self.wait_after(refused).await;
    }

    /// Returns the parcels that another server may take.
    fn tell(&self, parcels: Vec<(Parcel, usize)>, answers: &[Value]) -> Vec<Parcel> {
        let follows_master = self.shared.link.follows_master();
        let mut left = Vec::new();
        let mut answers = answers.iter();
        for (parcel, commands) in parcels {
            let (mut found, mut last) = (None, &Value::Nil);
            for answer in answers.by_ref().take(commands) {
                found = found.or_else(|| refusal(answer));
                last = answer;
            }
            match found {
                None if parcel.must_be_heard && *last == Value::Int(0) => {
                    let cause = parcel.outgoing.target.unroutable();
                    parcel.receipt.fail(self.shared.link.refused(&cause, false));
                }
                None => parcel.receipt.confirm(),
                Some(error) if follows_master && is_of_replica(&error) => left.push(parcel),
                Some(error) => parcel.receipt.fail(self.shared.link.error(&error)),
            }
        }
        left
    }

    /// The connection broke: everything in flight on it comes back, oldest first.
    async fn take_back(&mut self, parcels: Vec<(Parcel, usize)>, error: &Error) {
        let mut back: Vec<Parcel> = parcels.into_iter().map(|(parcel, _)| parcel).collect();
        for flight in std::mem::take(&mut self.flights) {
            let landed = flight.await;
            match landed.answers {
                Ok(answers) => back.extend(self.tell(landed.parcels, &answers)),
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

fn refusal(value: &Value) -> Option<RedisError> {
    if let Value::ServerError(error) = value {
        return Some(error.clone().into());
    }
    None
}
