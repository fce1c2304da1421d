//! The task that carries messages to `RabbitMQ`: a bounded number of them in flight, a ledger of
//! what is not confirmed, and for each message, once, what became of it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::link::{ANSWER_WITHIN, Fault, Link, Live, Role, open_channel};
use super::parcel::{Mandatory, Parcel};
use super::topology::Declaration;
use crate::broker::reconnect::Backoff;
use crate::broker::topology::QueueSpec;
use crate::error::{Error, Result};
use crate::time::Deadline;

/// Messages that are published and not confirmed. More waits, which bounds what lapin queues.
const MAX_IN_FLIGHT: usize = 4_096;
/// Bytes of them; one message of any size is always let in.
const MAX_IN_FLIGHT_BYTES: usize = 16 << 20;
/// How often deadlines and the end of a blockade are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long a broken channel may take to tell what it broke.
const WRECKAGE_WITHIN: Duration = Duration::from_secs(1);

/// What the sending task and its publisher both use.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) link: Link,
    pub(super) mandatory: Mandatory,
    /// The queues declared here, and over which channel.
    pub(super) declared: Mutex<HashMap<QueueSpec, u64>>,
}

impl Shared {
    /// Declares a queue over a channel of its own: a refusal closes it.
    ///
    /// # Errors
    /// The server is lost, or refuses.
    pub(super) async fn declare(&self, live: &Live, queue: &QueueSpec) -> Result<()> {
        let declaration = Declaration::of(queue)?;
        let made = async {
            let channel = open_channel(&live.connection, Role::Plain).await?;
            declaration.make(&channel).await?;
            channel.close(200, "done".into()).await.map_err(Fault::from)
        };
        made.await.map_err(|fault| self.link.error(&fault))?;
        self.declared.lock().insert(queue.clone(), live.serial);
        Ok(())
    }

    /// What is not declared over the channel with this number.
    pub(super) fn missing(&self, serial: u64) -> Vec<QueueSpec> {
        let declared = self.declared.lock();
        declared
            .iter()
            .filter(|(_, done)| **done != serial)
            .map(|(queue, _)| queue.clone())
            .collect()
    }
}

/// A message between us and its confirmation.
type Flight = Pin<Box<dyn Future<Output = Landed> + Send>>;

struct Landed {
    number: u64,
    bytes: usize,
    /// Whether the whole message was written.
    was_sent: bool,
    answer: Result<Confirmation, Fault>,
}

/// Runs until the inlet is closed and everything is answered.
pub(super) async fn run(shared: Arc<Shared>, mut outlet: mpsc::Receiver<Parcel>) {
    let mut desk = Sender {
        shared,
        live: None,
        waiting: VecDeque::new(),
        ledger: BTreeMap::new(),
        flights: FuturesUnordered::new(),
        flying_bytes: 0,
        last_number: 0,
        suspects: 0,
        backoff: Backoff::default(),
    };
    let mut batch = Vec::new();
    let mut is_open = true;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while is_open || !desk.is_idle() {
        desk.depart().await;
        let takes_more = is_open && desk.waiting.len() < MAX_IN_FLIGHT;
        tokio::select! {
            biased;
            _ = tick.tick(), if !desk.is_idle() => desk.expire(None),
            Some(landed) = desk.flights.next() => desk.land(landed).await,
            count = outlet.recv_many(&mut batch, MAX_IN_FLIGHT), if takes_more => {
                is_open = count > 0;
                desk.waiting.extend(batch.drain(..));
            }
        }
    }
    desk.shared.link.close().await;
}

struct Sender {
    shared: Arc<Shared>,
    live: Option<Live>,
    waiting: VecDeque<Parcel>,
    /// What was published and is not answered, by number: the order of publishing.
    ledger: BTreeMap<u64, Parcel>,
    flights: FuturesUnordered<Flight>,
    flying_bytes: usize,
    last_number: u64,
    /// One of so many messages made the server close the channel: each is sent alone.
    suspects: usize,
    backoff: Backoff,
}

impl Sender {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.ledger.is_empty()
    }

    fn has_room(&self) -> bool {
        let most = if self.suspects > 0 { 1 } else { MAX_IN_FLIGHT };
        self.flights.len() < most && (self.flights.is_empty() || self.flying_bytes < MAX_IN_FLIGHT_BYTES)
    }

    /// Whether the server has asked publishers to stop (a memory or disk alarm).
    fn is_blocked(&self) -> bool {
        self.live
            .as_ref()
            .is_some_and(|live| live.connection.status().connected() && live.connection.status().blocked())
    }

    /// Sends what waits, as far as there is room. A lost connection is opened again here.
    async fn depart(&mut self) {
        while !self.waiting.is_empty() && self.has_room() && !self.is_blocked() {
            let nearest = self.waiting.iter().map(|parcel| parcel.deadline).min();
            let wait = nearest.map_or(Duration::ZERO, Deadline::left);
            match timeout(wait, self.ready()).await {
                Ok(Ok(live)) => self.launch_all(&live),
                Ok(Err(error)) => self.wait_after(error).await,
                Err(_) => self.expire(None),
            }
        }
    }

    /// A channel over which everything needed is declared.
    async fn ready(&mut self) -> Result<Live> {
        let live = self.shared.link.live().await?;
        for queue in self.shared.missing(live.serial) {
            match self.shared.declare(&live, &queue).await {
                Ok(()) => {}
                Err(error @ Error::Disconnected { .. }) => return Err(error),
                Err(error) => {
                    // Somebody has changed it since; messages to it may still pass.
                    tracing::warn!(queue = %queue.name, %error, "a queue could not be declared again");
                    self.shared.declared.lock().insert(queue, live.serial);
                }
            }
        }
        self.live = Some(live.clone());
        Ok(live)
    }

    fn launch_all(&mut self, live: &Live) {
        self.backoff.succeeded();
        while self.has_room() {
            let Some(parcel) = self.waiting.pop_front() else {
                break;
            };
            self.launch(live, parcel);
        }
    }

    fn launch(&mut self, live: &Live, parcel: Parcel) {
        self.last_number += 1;
        let (number, bytes) = (self.last_number, parcel.bytes);
        let published = publish(live.channel.clone(), &parcel, self.shared.mandatory);
        self.ledger.insert(number, parcel);
        self.flying_bytes += bytes;
        let mut flight: Flight = Box::pin(async move {
            let (was_sent, answer) = published.await;
            Landed {
                number,
                bytes,
                was_sent,
                answer: answer.map_err(Fault::from),
            }
        });
        // The first poll queues its frames: the order of these calls is the order on the wire.
        let begun = flight.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        match begun {
            std::task::Poll::Pending => self.flights.push(flight),
            std::task::Poll::Ready(landed) => self.flights.push(Box::pin(std::future::ready(landed))),
        }
    }

    /// No connection: gives up what is overdue, then waits a little.
    async fn wait_after(&mut self, error: Error) {
        // Said first: who learns of the error below logs what there is.
        self.backoff.failed();
        tracing::warn!(%error, wait_ms = self.backoff.wait().as_millis(), "publishing is held up");
        if matches!(error, Error::Refused { passing: false, .. }) {
            for parcel in self.waiting.drain(..) {
                parcel.give_up(error.clone());
            }
        }
        self.expire(Some(&error));
        if matches!(error, Error::Disconnected { .. }) {
            self.report_to_those_who_wait(&error);
        }
        let nearest = self.waiting.iter().map(|parcel| parcel.deadline.left()).min();
        let wait = nearest.map_or(Duration::ZERO, |left| left.min(self.backoff.jittered()));
        tokio::time::sleep(wait).await;
        self.expire(Some(&error));
    }

    /// Who waits for one message decides about further tries by a policy of its own.
    fn report_to_those_who_wait(&mut self, error: &Error) {
        let (awaited, kept): (Vec<Parcel>, Vec<Parcel>) =
            self.waiting.drain(..).partition(Parcel::is_awaited);
        self.waiting.extend(kept);
        for parcel in awaited {
            parcel.fail(error.clone());
        }
    }

    /// Gives up what is overdue.
    fn expire(&mut self, error: Option<&Error>) {
        let cause = match error {
            Some(error) => error.clone(),
            None if self.is_blocked() => self.shared.link.refused(
                "it accepts no messages at the moment (connection.blocked: a memory or disk alarm)",
                true,
            ),
            None => self
                .shared
                .link
                .refused("it did not take the message in time", true),
        };
        let (overdue, kept): (Vec<Parcel>, Vec<Parcel>) = self
            .waiting
            .drain(..)
            .partition(|parcel| parcel.deadline.has_passed());
        self.waiting.extend(kept);
        for parcel in overdue {
            parcel.give_up(cause.clone());
        }
        let overdue: Vec<u64> = self
            .ledger
            .iter()
            .filter(|(_, parcel)| parcel.deadline.has_passed())
            .map(|(number, _)| *number)
            .collect();
        // Their flights go on: lapin keeps what it is not asked about any more.
        for mut parcel in overdue.iter().filter_map(|number| self.ledger.remove(number)) {
            parcel.was_sent = true;
            parcel.give_up(cause.clone());
        }
    }

    /// Tells the receipts what the server said.
    async fn land(&mut self, first: Landed) {
        let mut landed = vec![first];
        self.collect_landed(&mut landed);
        self.finish_last_answer();
        self.collect_landed(&mut landed);
        let mut returned = Vec::new();
        let mut answered = Vec::new();
        let mut faults = Vec::new();
        for one in landed {
            self.flying_bytes -= one.bytes;
            match one.answer {
                Ok(Confirmation::Ack(message)) => {
                    returned.extend(message);
                    answered.push((one.number, true));
                }
                Ok(Confirmation::Nack(message)) => {
                    returned.extend(message);
                    answered.push((one.number, false));
                }
                Ok(Confirmation::NotRequested) => answered.push((one.number, true)),
                Err(fault) => {
                    self.note_sent(one.number, one.was_sent);
                    faults.push(fault);
                }
            }
        }
        for message in &returned {
            self.mark_returned(message);
        }
        for (number, is_acked) in answered {
            self.answer(number, is_acked);
        }
        if !faults.is_empty() {
            self.take_back(faults).await;
        }
    }

    fn collect_landed(&mut self, landed: &mut Vec<Landed>) {
        while let Some(Some(one)) = self.flights.next().now_or_never() {
            landed.push(one);
        }
    }

    /// Waits until lapin has handed out all that came with the frame it handed something out of.
    ///
    /// lapin attaches a returned message to any of the messages that one frame confirms, not to
    /// its own. All of them are confirmed under one lock, which this call takes and leaves.
    fn finish_last_answer(&self) {
        if let Some(live) = &self.live {
            drop(live.channel.wait_for_confirms().now_or_never());
        }
    }

    fn note_sent(&mut self, number: u64, was_sent: bool) {
        if let Some(parcel) = self.ledger.get_mut(&number) {
            parcel.was_sent |= was_sent;
        }
    }

    fn mark_returned(&mut self, message: &BasicReturnMessage) {
        let found = self
            .ledger
            .values_mut()
            .find(|parcel| !parcel.was_returned && parcel.is(message));
        if let Some(parcel) = found {
            parcel.was_returned = true;
        }
    }

    fn answer(&mut self, number: u64, is_acked: bool) {
        self.suspects = self.suspects.saturating_sub(1);
        // Gone: its time was over before.
        let Some(parcel) = self.ledger.remove(&number) else {
            return;
        };
        parcel.answer(&self.shared.link, is_acked);
    }

    /// The channel broke: everything in flight on it comes back, oldest first.
    async fn take_back(&mut self, mut faults: Vec<Fault>) {
        let wreckage = timeout(WRECKAGE_WITHIN, async {
            let mut rest = Vec::new();
            while let Some(landed) = self.flights.next().await {
                rest.push(landed);
            }
            rest
        });
        for landed in wreckage.await.unwrap_or_default() {
            match landed.answer {
                Ok(confirmation) => self.answer(landed.number, confirmation.is_ack()),
                Err(fault) => {
                    self.note_sent(landed.number, landed.was_sent);
                    faults.push(fault);
                }
            }
        }
        self.flights = FuturesUnordered::new();
        self.flying_bytes = 0;
        self.suspects = 0;
        let mut back: Vec<Parcel> = std::mem::take(&mut self.ledger).into_values().collect();
        match faults.iter().find(|fault| fault.is_refusal()) {
            Some(refusal) => back = self.without_culprits(back, refusal),
            None => self.report_loss(back.len(), faults.first()),
        }
        for parcel in back.into_iter().rev() {
            self.waiting.push_front(parcel);
        }
        self.expire(None);
    }

    fn report_loss(&self, messages: usize, fault: Option<&Fault>) {
        if let Some(error) = fault.map(|fault| self.shared.link.error(fault)) {
            tracing::warn!(%error, messages, "unconfirmed messages are sent again");
        }
    }

    /// Fails what the server has closed the channel for. Where its words do not tell what that
    /// is, everything is sent once more, each message alone.
    fn without_culprits(&mut self, back: Vec<Parcel>, refusal: &Fault) -> Vec<Parcel> {
        let error = self.shared.link.error(refusal);
        let words = refusal.words();
        let is_alone = back.len() == 1;
        let (culprits, innocent): (Vec<Parcel>, Vec<Parcel>) = back.into_iter().partition(|parcel| {
            let exchange = parcel.exchange.as_str();
            is_alone || !exchange.is_empty() && words.contains(&format!("'{exchange}'"))
        });
        if culprits.is_empty() {
            self.suspects = innocent.len();
        }
        for parcel in culprits {
            parcel.fail(error.clone());
        }
        innocent
    }
}

/// Publishes a message and waits for its answer; whether the whole of it was written, too.
pub(super) fn publish(
    channel: Channel,
    parcel: &Parcel,
    mandatory: Mandatory,
) -> impl Future<Output = (bool, lapin::Result<Confirmation>)> + Send + use<> {
    let options = BasicPublishOptions {
        mandatory: parcel.mandatory.unwrap_or_else(|| match mandatory {
            Mandatory::All => true,
            Mandatory::Never => false,
            Mandatory::ToQueues => parcel.exchange.as_str().is_empty(),
        }),
        ..BasicPublishOptions::default()
    };
    let (exchange, routing_key) = (parcel.exchange.clone(), parcel.routing_key.clone());
    let (properties, body) = (parcel.properties.clone(), parcel.body.clone());
    async move {
        let sent = channel
            .basic_publish(exchange, routing_key, options, &body, properties)
            .await;
        match sent {
            Ok(confirm) => (true, confirm.await),
            Err(error) => (false, Err(error)),
        }
    }
}

/// The longest a caller waits for an answer that the server gives at once.
pub(super) fn patience(deadline: Deadline) -> Deadline {
    deadline.min(Deadline::after(ANSWER_WITHIN))
}
