//! Brokers: the two traits, what passes through them, and one door to open them by URL.
//!
//! Every broker keeps this promise: at each moment a message is in its queue, in the record of
//! what is in flight, or in the delayed store; never only in memory.

pub mod amqp;
mod bell;
mod dial;
pub mod mail;
pub mod memory;
pub mod options;
mod reconnect;
pub mod redis;
mod rotation;
mod spare;
pub mod sqlite;
pub mod topology;
pub mod url;

use std::sync::Arc;
use std::time::Duration;

use crate::backend::Put;
use crate::error::{Error, Result};
use crate::ledger::Receipt;
use crate::time::Deadline;
use crate::wire::letter::Letter;
use crate::wire::message::{Message, Outgoing, Target};
use topology::QueueSpec;

/// Sends messages. Safe for many threads.
pub trait Publisher: Send + Sync + std::fmt::Debug + 'static {
    /// Takes a message over and tells `receipt`, once, when the broker has it or cannot get it.
    ///
    /// Returns as soon as the message is taken over. Waits at most until `deadline` when the
    /// (bounded) queue in front of the connection is full; the receipt is then failed.
    ///
    /// `subscribe_to`: the id of a result to subscribe to in the same round trip (only if
    /// [`Publisher::carries_results_of`] says so, otherwise ignored).
    fn post(&self, letter: Letter, subscribe_to: Option<&str>, receipt: Receipt, deadline: Deadline);

    /// [`Publisher::post`] if that waits for nothing now; gives back what it does not take.
    ///
    /// # Errors
    /// The message and its receipt: there is no room, or posting never comes without a wait.
    fn try_post(
        &self,
        letter: Letter,
        receipt: Receipt,
        _deadline: Deadline,
    ) -> Result<(), (Letter, Receipt)> {
        Err((letter, receipt))
    }

    /// [`Publisher::post`] by a thread that waits for this message and does nothing else: a broker may have
    /// it do the round trip itself.
    ///
    /// # Errors
    /// The message and its receipt: this one is to be posted.
    fn send_here(
        &self,
        letter: Letter,
        receipt: Receipt,
        _deadline: Deadline,
    ) -> Result<Box<dyn Underway>, (Letter, Receipt)> {
        Err((letter, receipt))
    }

    /// [`Publisher::post`] of a message in parts.
    fn send(&self, message: Outgoing, subscribe_to: Option<&str>, receipt: Receipt, deadline: Deadline) {
        self.post(message.into(), subscribe_to, receipt, deadline);
    }

    /// Whether messages leave in kombu's envelope, so that a sealed [`Letter`] is the quick one.
    fn carries_envelopes(&self) -> bool {
        false
    }

    /// Makes sure that exchange, queue and binding exist. Remembered for each connection, and
    /// repeated after a reconnect.
    ///
    /// # Errors
    /// The broker cannot be reached before `deadline`, or refuses.
    fn declare(&self, queue: &QueueSpec, deadline: Deadline) -> Result<()>;

    /// Deletes what waits in a queue; returns how many messages that was.
    ///
    /// # Errors
    /// The broker cannot be reached before `deadline`, or refuses.
    fn purge(&self, queue: &str, deadline: Deadline) -> Result<u64>;

    /// How many messages wait in a queue.
    ///
    /// # Errors
    /// The broker cannot be reached before `deadline`, or refuses.
    fn depth(&self, queue: &str, deadline: Deadline) -> Result<u64>;

    /// What was set aside from a queue, oldest first, at most `max` messages.
    ///
    /// # Errors
    /// The broker cannot be reached before `deadline`, or refuses.
    fn list_aside(&self, queue: &str, max: usize, deadline: Deadline) -> Result<Vec<Aside>>;

    /// Puts messages that were set aside from `queue` back into it; returns how many those were.
    /// Unknown tags are passed over.
    ///
    /// # Errors
    /// The broker cannot be reached before `deadline`, or refuses.
    fn restore_aside(&self, queue: &str, tags: &[String], deadline: Deadline) -> Result<u64>;

    /// Deletes messages that were set aside from `queue`; returns how many those were. Unknown tags
    /// are passed over.
    ///
    /// # Errors
    /// The broker cannot be reached before `deadline`, or refuses.
    fn drop_aside(&self, queue: &str, tags: &[String], deadline: Deadline) -> Result<u64>;

    /// Whether `send(subscribe_to)` reaches the server of the result store with this URL.
    fn carries_results_of(&self, result_url: &str) -> bool;

    /// Sends what is queued, then closes; what is not confirmed by `deadline` fails its receipt.
    fn close(&self, deadline: Deadline);
}

/// A message that its sender's own thread sends, see [`Publisher::send_here`].
pub trait Underway: Send {
    /// Works on it for some 50 ms at most. True: there is nothing more to be done here, and its receipt
    /// is, or will be, told.
    fn go_on(&mut self) -> bool;
}

/// Reserves messages of some queues and settles them. `reserve` is called by one thread,
/// `settle` by another, `interrupt` by any.
pub trait Consumer: Send + Sync + std::fmt::Debug + 'static {
    /// Waits for messages, at most `room` of them, and leases them to this consumer.
    ///
    /// Returns an empty list when `deadline` passed and the broker has answered since then, or when
    /// [`Consumer::interrupt`] was called.
    ///
    /// # Errors
    /// The connection is lost. The next call reconnects (with back-off) and re-claims.
    fn reserve(&self, room: usize, deadline: Deadline) -> Result<Vec<Delivery>>;

    /// When a reservation of about `wait` is best over: one that finds nothing wakes a process, which may have
    /// other reasons to wake.
    fn proof_due(&self, wait: Duration) -> Deadline {
        Deadline::after(wait)
    }

    /// Settles a batch: stores what is to be stored, then acks, requeues or sets aside, in as
    /// few round trips as the broker allows.
    ///
    /// # Errors
    /// What could not be settled before `deadline` comes back with the reason.
    fn settle(&self, batch: Vec<Settlement>, deadline: Deadline) -> Result<(), Unsettled>;

    /// Whether [`Settlement::put`] reaches the result store with this URL. Where it does not,
    /// the caller stores first and settles then.
    fn stores_results_of(&self, result_url: &str) -> bool;

    /// Says whether the caller goes on reserving: a broker may then reserve in the round trip of
    /// a settlement what the next `reserve` returns. With `false`, what was reserved so and not
    /// returned yet goes back to its queue's front.
    fn reserve_ahead(&self, _is_wanted: bool) {}

    /// What settlements have reserved in their round trips so far, for the thread that settles: by way of
    /// the one that reserves it would be two changes of threads later.
    fn take_reserved(&self) -> Vec<Delivery> {
        Vec::new()
    }

    /// Says that the caller waits out what is left of a delay that ends early, by so much at most.
    /// A broker that cannot tell how long it takes to pass on what is due at the same time then
    /// ends delays early instead of late.
    fn may_end_delays_early(&self, _by: Duration) {}

    /// The oldest [`AckToken::epoch`] that still settles something. What came with an older one is
    /// in its queue again, and is delivered again: who begins it makes it run twice.
    fn valid_from(&self) -> u64 {
        0
    }

    /// Makes a waiting `reserve` return now.
    fn interrupt(&self);

    /// Adds a queue to those consumed.
    ///
    /// # Errors
    /// The broker refuses the queue.
    fn add_queue(&self, queue: &QueueSpec, deadline: Deadline) -> Result<()>;

    /// Stops consuming a queue; what is reserved of it stays reserved.
    fn cancel_queue(&self, queue: &str);

    /// Ends the consumer: leases that are still open go back to their queues' front.
    fn close(&self, deadline: Deadline);
}

/// The right to settle one delivery, once. Not `Clone`: a second ack does not compile.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a delivery whose token is dropped stays leased until its worker ends"]
pub struct AckToken {
    /// The broker's name for the delivery (Redis: delivery tag; SQLite: row id; AMQP: delivery tag).
    pub tag: String,
    /// Which delivery of that name, since what is handed back may come again under the same one.
    /// AMQP: the connection it came over, and one of an older connection settles nothing; Redis: its
    /// place among the consumer's deliveries; SQLite: who leased it.
    pub epoch: u64,
}

/// A message leased to this process.
#[derive(Debug)]
#[must_use]
pub struct Delivery {
    /// The message, or what is wrong with it. A malformed one is leased all the same, so that it
    /// can be set aside.
    pub message: Result<Message, Error>,
    /// Its exchange and routing key.
    pub target: Target,
    /// The queue it was taken from.
    pub queue: String,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// How often who held it died, as far as the broker can tell: a process that executed it
    /// ([`Verdict::RequeueLost`]), or a whole consumer. What was handed back in order does not count.
    pub losses: u32,
    /// The right to settle it.
    pub token: AckToken,
}

/// What becomes of a delivery at the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done: forget it.
    Ack,
    /// Back to its queue, to be delivered again (unstarted: to the front).
    Requeue,
    /// The same, because the process that executed it died: it counts as a loss.
    RequeueLost,
    /// Refused: forget it (a dead-letter exchange of the user's gets it where there is one).
    Reject,
    /// Kept where an operator can look at it and put it back, with the reason.
    SetAside(String),
    /// The same, because the process that executed it died once too often: a loss more.
    SetAsideLost(String),
    /// To the broker's delayed store, which delivers it again at that moment and not before. A
    /// broker without any work left for it there (less than it can measure) delivers it at once.
    Delay {
        /// When, by this machine's clock.
        until_unix_ms: u64,
    },
}

impl Verdict {
    /// Whether the process that executed the message died.
    pub(crate) fn is_loss(&self) -> bool {
        matches!(self, Self::RequeueLost | Self::SetAsideLost(_))
    }
}

/// A message that was set aside, as an operator sees it.
#[derive(Clone, Debug)]
pub struct Aside {
    /// Its name for [`Publisher::restore_aside`].
    pub tag: String,
    /// Why it was set aside.
    pub reason: String,
    /// The message, or what is wrong with it.
    pub message: Result<Message, Error>,
    /// Its exchange and routing key.
    pub target: Target,
    /// What is known of how it came there.
    pub history: History,
}

/// When a message was set aside, by whom, and what had happened to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// When, by the clock of the broker, or of the worker where the broker has none; 0: unknown.
    pub at_unix_ms: u64,
    /// The node name of the worker; empty: unknown.
    pub worker: String,
    /// How often who held it had died, see [`Delivery::losses`].
    pub losses: u32,
}

/// A verdict, and the result to store before it is carried out.
#[derive(Debug)]
pub struct Settlement {
    /// Which delivery.
    pub token: AckToken,
    /// What becomes of it.
    pub verdict: Verdict,
    /// A document to store, in the same round trip.
    pub put: Option<Put>,
}

/// What [`Consumer::settle`] could not do in time.
#[derive(Debug, thiserror::Error)]
#[error("{} deliveries could not be settled: {error}", batch.len())]
pub struct Unsettled {
    /// Why.
    pub error: Error,
    /// The settlements, to be tried again.
    pub batch: Vec<Settlement>,
}

/// Who consumes, and how much.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// Node name (`celery@host`), for records that people read.
    pub node: String,
    /// The queues, in the order given by the user.
    pub queues: Vec<QueueSpec>,
    /// How many deliveries may be unsettled; 0 is unlimited (capped by the broker).
    pub prefetch: usize,
    /// How many more may be, when the caller asks for them: it holds as many that wait for their
    /// eta, and has room for others meanwhile.
    pub eta_room: usize,
}

impl ConsumerConfig {
    /// How many deliveries may be unsettled at most; `unlimited` where the user sets no limit.
    pub fn most(&self, unlimited: usize) -> usize {
        match self.prefetch {
            0 => unlimited,
            prefetch => prefetch.saturating_add(self.eta_room),
        }
    }
}

/// Beyond how many seconds an eta waits in the broker's delayed store, where nobody says so.
///
/// `RabbitMQ` counts what is held against a window that is fixed when consuming begins, and ends
/// the channel of who holds something for half an hour.
pub fn default_eta_horizon_s(scheme: url::Scheme) -> f64 {
    match scheme {
        url::Scheme::Amqp => 5.0,
        url::Scheme::Memory | url::Scheme::Sqlite | url::Scheme::Redis => 600.0,
    }
}

/// Opens a publisher. No I/O happens before it is used.
///
/// # Errors
/// [`Error::BadUrl`] names the schemes and options that exist.
pub fn open_publisher(url: &url::BrokerUrl) -> Result<Arc<dyn Publisher>> {
    match url.scheme() {
        url::Scheme::Memory => Ok(memory::publisher(url)),
        url::Scheme::Sqlite => sqlite::publisher(url),
        url::Scheme::Redis => redis::publisher(url),
        url::Scheme::Amqp => amqp::publisher(url),
    }
}

/// Opens a consumer. No I/O happens before it is used.
///
/// # Errors
/// [`Error::BadUrl`] names the schemes and options that exist.
pub fn open_consumer(url: &url::BrokerUrl, config: ConsumerConfig) -> Result<Arc<dyn Consumer>> {
    if url.scheme() != url::Scheme::Amqp {
        config.queues.iter().try_for_each(QueueSpec::check_emulated)?;
    }
    match url.scheme() {
        url::Scheme::Memory => Ok(memory::consumer(url, config)),
        url::Scheme::Sqlite => sqlite::consumer(url, config),
        url::Scheme::Redis => redis::consumer(url, config),
        url::Scheme::Amqp => amqp::consumer(url, config),
    }
}
