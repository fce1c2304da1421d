//! The task that carries messages to Redis: batches what waits, keeps a few pipelines in flight,
//! and says of each message, once, what became of it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::ConnectionLike;
use redis::{RedisError, Value};

use super::cargo::{Cargo, Manifest, Place, Places};
use super::hub::Hub;
use super::inlet::Inlet;
use super::link::{Backoff, Link, Live, is_lost, is_of_replica};
use super::names::Names;
use super::parcel::Parcel;
use super::routing::{self, Exchanges, Table};
use crate::broker::topology::QueueSpec;
use crate::error::{Error, Result};
use crate::ledger::Receipt;
use crate::time::{Deadline, SystemClock};
use crate::wire::letter::Sealed;
use crate::wire::message::Target;

/// Messages in one pipeline.
const MAX_BATCH: usize = 256;
/// Bytes after which a pipeline takes no further message.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// Pipelines that wait for their answers.
const MAX_FLIGHTS: usize = 4;
/// While one is on its way, only so many messages, or one that somebody waits for, make another: what
/// comes meanwhile goes together when that has landed.
const WORTH_A_FLIGHT: usize = 64;
/// How long an exchange's bindings are taken as known.
const TABLE_LIFETIME: Duration = Duration::from_secs(1);

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

    /// Whether everything is declared over this connection.
    pub(super) fn is_complete(&self, serial: u64) -> bool {
        self.queues.values().all(|done| *done == serial)
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

/// What a pipeline carried, and the answers.
struct Landed {
    serial: u64,
    manifest: Manifest,
    answers: Result<Vec<Value>, RedisError>,
}

/// Lets nothing more in when the sending task ends, however it does.
struct Closing(Arc<Inlet>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// Runs until the inlet is closed and everything is answered.
pub(super) async fn run(shared: Arc<Shared>, inlet: Arc<Inlet>) {
    let inlet = Closing(inlet);
    let mut desk = Sender {
        shared,
        waiting: VecDeque::new(),
        flights: Vec::new(),
        tables: HashMap::new(),
        dropped: 0,
        backoff: Backoff::default(),
    };
    let mut arrived = VecDeque::with_capacity(MAX_BATCH);
    let mut is_open = true;
    while is_open || !desk.is_idle() {
        desk.depart().await;
        let takes_more = is_open && desk.waiting.is_empty() && desk.flights.len() < MAX_FLIGHTS;
        let least = if desk.flights.is_empty() {
            1
        } else {
            WORTH_A_FLIGHT
        };
        tokio::select! {
            biased;
            landed = next_landed(&mut desk.flights), if !desk.flights.is_empty() => desk.land(landed).await,
            more = inlet.0.take(&mut arrived, least), if takes_more => {
                is_open = more;
                desk.waiting.append(&mut arrived);
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
            .map(|parcel| &*parcel.letter.target)
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

    fn take_batch(&mut self) -> (Vec<Parcel>, usize) {
        let mut bytes = 0;
        let mut parcels = Vec::with_capacity(self.waiting.len().min(MAX_BATCH));
        while parcels.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES {
            let Some(parcel) = self.waiting.pop_front() else {
                break;
            };
            bytes += parcel.letter.envelope.len();
            parcels.push(parcel);
        }
        (parcels, bytes)
    }

    /// Puts parcels into one pipeline and sends it off.
    fn launch(&mut self, live: Live, (parcels, bytes): (Vec<Parcel>, usize)) {
        let mut cargo = Cargo::of(parcels.len(), bytes);
        let hub = self.shared.hub.lock().clone();
        for mut parcel in parcels {
            match self.load(&mut cargo, &mut parcel, hub.as_deref(), live.serial) {
                Err(error) => parcel.receipt.fail(error),
                Ok(commands) if commands.is_empty() => parcel.receipt.confirm(),
                Ok(commands) => cargo.add(parcel, commands),
            }
        }
        if cargo.is_empty() {
            return;
        }
        let (serial, mut connection) = (live.serial, live.connection);
        let (pipe, manifest) = cargo.depart();
        self.flights.push(Box::pin(async move {
            let answers = connection.req_packed_commands(&pipe, 0, pipe.len()).await;
            Landed {
                serial,
                manifest,
                answers: answers.and_then(|answers| complete(answers, pipe.len())),
            }
        }));
    }

    fn load(
        &mut self,
        cargo: &mut Cargo,
        parcel: &mut Parcel,
        hub: Option<&Hub>,
        serial: u64,
    ) -> Result<Places> {
        parcel.renew();
        let mut places = Places::new();
        if let (Some(task_id), Some(hub)) = (&parcel.subscribe_to, hub) {
            let channel = hub.channel(task_id);
            if hub.is_wanted(&channel) {
                hub.carry(&channel, &self.shared.link, serial);
                places.push(cargo.subscribe(&channel));
            }
        }
        if let Some(place) = cargo.push_like_last(parcel) {
            places.push(place);
        } else {
            self.route(cargo, parcel, &mut places)?;
        }
        parcel.was_sent = true;
        Ok(places)
    }

    fn route(&mut self, cargo: &mut Cargo, parcel: &Parcel, places: &mut Places) -> Result<()> {
        let letter = &parcel.letter;
        let target = &*letter.target;
        if self.shared.declared.lock().exchanges.is_fanout(&target.exchange) {
            let channel = self
                .shared
                .names
                .fanout_channel(&target.exchange, &target.routing_key);
            places.push(cargo.publish(&channel, parcel.envelope()));
            return Ok(());
        }
        let none = Table::new();
        let known = self.tables.get(&target.exchange);
        let queues = routing::queues(target, known.map_or(&none, |known| &known.table));
        for (number, queue) in queues.iter().enumerate() {
            let list = self.shared.names.list(queue, letter.priority);
            // Each copy has a lease of its own, so it needs a tag of its own.
            places.push(if number == 0 {
                cargo.push(list, parcel.envelope())
            } else {
                cargo.push(list, &letter.copy())
            });
        }
        if queues.is_empty() {
            return self.reach_nobody(letter);
        }
        Ok(())
    }

    /// Compat: what nobody is bound for is dropped, as by every exchange; the sender may ask for an
    /// error instead.
    fn reach_nobody(&mut self, letter: &Sealed) -> Result<()> {
        if letter.is_mandatory() {
            return Err(self.shared.link.refused(&letter.target.unroutable(), false));
        }
        let Target {
            exchange,
            routing_key,
        } = &*letter.target;
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
                let left = self.tell(landed.manifest, &answers);
                if left.is_empty() {
                    self.backoff.succeeded();
                } else {
                    self.follow_master(landed.serial, left).await;
                }
            }
            Err(error) if is_lost(&error) => {
                let error = self.shared.link.failed(landed.serial, &error);
                self.take_back(landed.manifest, &error).await;
            }
            Err(error) => {
                let error = self.shared.link.failed(landed.serial, &error);
                for parcel in landed.manifest.into_parcels() {
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
    fn tell(&self, manifest: Manifest, answers: &[Value]) -> Vec<Parcel> {
        let link = &self.shared.link;
        let follows_master = link.follows_master();
        let mut left = Vec::new();
        let confirmed = manifest.with_answers(answers).filter_map(|(parcel, answers)| {
            let letter = &parcel.letter;
            let is_unheard = |(place, answer): &(Place, &Value)| place.is_unheard(answer);
            match answers.iter().find_map(|(_, answer)| refusal(answer)) {
                None if letter.is_mandatory() && answers.iter().any(is_unheard) => {
                    let cause = letter.target.unroutable();
                    parcel.receipt.fail(link.refused(&cause, false));
                }
                None => return Some(parcel.receipt),
                Some(error) if follows_master && is_of_replica(&error) => left.push(parcel),
                Some(error) => parcel.receipt.fail(link.error(&error)),
            }
            None
        });
        Receipt::confirm_all(confirmed);
        left
    }

    /// The connection broke: everything in flight on it comes back, oldest first.
    async fn take_back(&mut self, manifest: Manifest, error: &Error) {
        let mut back: Vec<Parcel> = manifest.into_parcels().collect();
        for flight in std::mem::take(&mut self.flights) {
            let landed = flight.await;
            match landed.answers {
                Ok(answers) => back.extend(self.tell(landed.manifest, &answers)),
                Err(_) => back.extend(landed.manifest.into_parcels()),
            }
        }
        tracing::warn!(%error, messages = back.len(), "unanswered messages are sent again");
        for parcel in back.into_iter().rev() {
            self.waiting.push_front(parcel);
        }
        self.expire(error, false);
    }
}

/// A message without an answer is not confirmed: it is as if the connection had broken before it.
fn complete(answers: Vec<Value>, commands: usize) -> Result<Vec<Value>, RedisError> {
    if answers.len() >= commands {
        return Ok(answers);
    }
    let missing = format!("{} answers to {commands} commands", answers.len());
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, missing).into())
}

fn refusal(value: &Value) -> Option<RedisError> {
    if let Value::ServerError(error) = value {
        return Some(error.clone().into());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_answer_confirms_nothing() {
        let all = vec![Value::Int(1), Value::Int(2)];
        assert_eq!(complete(all.clone(), 2).unwrap(), all);
        assert!(is_lost(&complete(all, 3).unwrap_err()));
    }
}
