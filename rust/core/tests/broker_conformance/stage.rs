//! What the behaviours stand on: a fixture for each broker, and short words for what they do.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::broker::topology::QueueSpec;
use celeriac_core::broker::url::{BrokerUrl, Scheme};
use celeriac_core::broker::{
    self, AckToken, Consumer, ConsumerConfig, Delivery, Publisher, Settlement, Verdict,
};
use celeriac_core::ledger::Ledger;
use celeriac_core::time::{Deadline, SystemClock};
use celeriac_core::wire::message::{Message, Outgoing, Properties, Target};

use crate::yard;

/// A broker under test, with a name space of its own.
pub(crate) trait Fixture: Send + Sync {
    /// A fresh name space, deleted when the fixture is dropped.
    ///
    /// Leases are to last about a second, and no poll is to happen within ten seconds, so that
    /// only wake-ups explain why something is prompt.
    fn fresh() -> Self;

    /// URL of the name space, options in its query. It is also a result store's, where the suite
    /// of stores is run.
    fn url(&self) -> BrokerUrl;

    /// Whether the server hands over, up to the prefetch, what nobody has reserved yet; that
    /// counts as delivered.
    const TAKES_AHEAD: bool = false;

    /// What is delayed may come so much earlier, in milliseconds: the broker counts in steps.
    const DELAYS_IN_MS: u64 = 1;

    /// How often a message may come whose consumer died while it delayed it.
    const MOST_COPIES_AFTER_A_CRASH: usize = 1;

    /// The order in which messages of the priorities 9, 6, 3, 2, 0, 4 arrive.
    ///
    /// Redis and what follows it: 0 to 2 are one class, 3 to 5 the next; the lowest first, and in
    /// a class the order stays.
    const PRIORITY_ORDER: [&str; 6] = ["2", "0", "3", "4", "6", "9"];

    /// Whether the number of waiting messages follows what happened a little later.
    fn counts_late() -> bool {
        false
    }

    /// Whether there are servers that count what was handed back in order as a loss, too.
    fn may_count_hand_backs() -> bool {
        false
    }

    /// Whether a consumer that dies as a whole is counted.
    fn counts_killed() -> bool {
        true
    }

    /// Whether what is requeued or handed back is the next of its queue.
    fn requeues_in_front() -> bool {
        true
    }

    /// A queue that regards priorities, where that is said with its arguments.
    fn with_priorities(queue: QueueSpec) -> QueueSpec {
        queue
    }

    /// What the broker makes of a message on its way; `arrived` says what nobody can foresee.
    fn as_delivered(sent: Message, _arrived: &Message) -> Message {
        sent
    }

    /// The name of a queue or exchange on a server without name spaces.
    fn name(&self, word: &str) -> String {
        word.to_owned()
    }

    /// Reserves `room` messages of `queue` with a consumer that dies without a word. Where the
    /// broker outlives processes that is a process of its own: see [`reserve_and_die`].
    fn kill_a_consumer_holding(&self, queue: &str, room: usize) {
        reserve_and_die(&self.url(), queue, room, None);
    }

    /// The same, but what it reserved it delays before it dies.
    fn kill_a_consumer_delaying(&self, queue: &str, room: usize, by_ms: u64) {
        reserve_and_die(&self.url(), queue, room, Some(by_ms));
    }
}

pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

pub(crate) fn in_ms(wait_ms: u64) -> Deadline {
    Deadline::after(Duration::from_millis(wait_ms))
}

/// A durable queue of the default exchange, of the type that is tested where there are types.
pub(crate) fn queue_at(url: &BrokerUrl, name: &str) -> QueueSpec {
    let arguments = match url.scheme() {
        Scheme::Amqp => yard::queue_arguments(),
        Scheme::Memory | Scheme::Sqlite | Scheme::Redis => Vec::new(),
    };
    QueueSpec {
        arguments,
        ..QueueSpec::named(name)
    }
}

/// A message with `body`, to the queue `routing_key` or through `exchange`.
fn message(exchange: &str, routing_key: &str, body: impl Into<Bytes>) -> Outgoing {
    let tag = uuid::Uuid::new_v4().to_string();
    Outgoing {
        message: Message {
            headers: Bytes::from(format!(r#"{{"lang": "py", "task": "add", "id": "{tag}"}}"#)),
            properties: Properties {
                content_type: "application/json".to_owned(),
                content_encoding: "utf-8".to_owned(),
                correlation_id: Some(tag.clone()),
                reply_to: None,
                delivery_mode: 2,
                priority: Some(0),
                expiration: None,
                delivery_tag: tag,
                extra: Vec::new(),
            },
            body: body.into(),
        },
        target: Target {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
        },
        mandatory: None,
    }
}

/// A fixture and what acts on it.
pub(crate) struct Stage<F> {
    pub(crate) fixture: F,
    pub(crate) publisher: Arc<dyn Publisher>,
}

impl<F: Fixture> Stage<F> {
    pub(crate) fn set() -> Self {
        let fixture = F::fresh();
        let publisher = broker::open_publisher(&fixture.url()).unwrap();
        let stage = Self { fixture, publisher };
        stage.publisher.declare(&stage.queue("q"), soon()).unwrap();
        stage
    }

    pub(crate) fn name(&self, word: &str) -> String {
        self.fixture.name(word)
    }

    /// A queue of the default exchange.
    pub(crate) fn queue(&self, word: &str) -> QueueSpec {
        queue_at(&self.fixture.url(), &self.name(word))
    }

    /// A queue that is bound to a direct exchange.
    pub(crate) fn bound(&self, word: &str, exchange: &str, routing_key: &str) -> QueueSpec {
        QueueSpec {
            exchange: self.name(exchange),
            routing_key: routing_key.to_owned(),
            ..self.queue(word)
        }
    }

    /// A message with `body`, to the queue `routing_key` or through `exchange`.
    pub(crate) fn message(&self, exchange: &str, routing_key: &str, body: impl Into<Bytes>) -> Outgoing {
        if exchange.is_empty() {
            message("", &self.name(routing_key), body)
        } else {
            message(&self.name(exchange), routing_key, body)
        }
    }

    /// A consumer without a bound on what is unsettled.
    pub(crate) fn consumer(&self, queues: &[&str]) -> Arc<dyn Consumer> {
        self.bounded_consumer(queues, 0)
    }

    pub(crate) fn bounded_consumer(&self, queues: &[&str], prefetch: usize) -> Arc<dyn Consumer> {
        self.consumer_of(queues.iter().map(|word| self.queue(word)).collect(), prefetch)
    }

    pub(crate) fn consumer_of(&self, queues: Vec<QueueSpec>, prefetch: usize) -> Arc<dyn Consumer> {
        open_consumer(&self.fixture.url(), queues, prefetch, 0)
    }

    /// A consumer that may hold more than its prefetch, when it is asked to.
    pub(crate) fn consumer_with_eta_room(&self, prefetch: usize, eta_room: usize) -> Arc<dyn Consumer> {
        open_consumer(&self.fixture.url(), vec![self.queue("q")], prefetch, eta_room)
    }

    /// Sends a message, to a queue that is declared before, and waits for its confirmation.
    pub(crate) fn send(&self, outgoing: Outgoing) {
        if outgoing.target.exchange.is_empty() {
            let spec = queue_at(&self.fixture.url(), &outgoing.target.routing_key);
            self.publisher.declare(&spec, soon()).unwrap();
        }
        self.send_declared(outgoing);
    }

    pub(crate) fn send_declared(&self, outgoing: Outgoing) {
        assert_eq!(self.failures(outgoing), 0);
    }

    /// Sends a message to an exchange that is there; how many failed of it.
    pub(crate) fn failures(&self, outgoing: Outgoing) -> usize {
        let window = Ledger::new(1, usize::MAX);
        let receipt = window.enter("task".into(), 0, soon()).unwrap();
        self.publisher.send(outgoing, None, receipt, soon());
        window.wait_empty(soon()).unwrap();
        window.take_failed().len()
    }

    /// Publishes texts to a queue, in order, each confirmed.
    pub(crate) fn publish(&self, queue: &str, bodies: &[&str]) {
        for body in bodies {
            self.send(self.message("", queue, (*body).to_owned()));
        }
    }

    /// Publishes `0`, `1`, ... through one window.
    pub(crate) fn publish_numbers(&self, queue: &str, count: usize) {
        self.publisher.declare(&self.queue(queue), soon()).unwrap();
        let window = Ledger::new(count, usize::MAX);
        for number in 0..count {
            let receipt = window.enter("task".into(), 0, soon()).unwrap();
            let outgoing = self.message("", queue, number.to_string());
            self.publisher.send(outgoing, None, receipt, soon());
        }
        window.wait_empty(soon()).unwrap();
        assert_eq!(window.take_failed(), []);
    }

    /// That so many messages wait: at once, or soon where the server counts by and by.
    #[track_caller]
    pub(crate) fn assert_depth(&self, queue: &str, expected: u64) {
        let deadline = soon();
        while F::counts_late() && self.depth(queue) != expected && !deadline.has_passed() {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        assert_eq!(self.depth(queue), expected);
    }

    pub(crate) fn depth(&self, queue: &str) -> u64 {
        self.publisher.depth(&self.name(queue), soon()).unwrap()
    }
}

fn open_consumer(
    url: &BrokerUrl,
    queues: Vec<QueueSpec>,
    prefetch: usize,
    eta_room: usize,
) -> Arc<dyn Consumer> {
    let config = ConsumerConfig {
        node: "celery@conformance".to_owned(),
        queues,
        prefetch,
        eta_room,
    };
    broker::open_consumer(url, config).unwrap()
}

/// Reserves until there are `count` deliveries.
pub(crate) fn reserve(consumer: &dyn Consumer, count: usize) -> Vec<Delivery> {
    let deadline = soon();
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(consumer.reserve(count - all.len(), deadline).unwrap());
        assert!(
            !deadline.has_passed(),
            "{} of {count} messages arrived",
            all.len()
        );
    }
    all
}

/// What can be reserved without waiting for more than a moment.
pub(crate) fn reserve_now(consumer: &dyn Consumer) -> Vec<Delivery> {
    consumer.reserve(1_000, in_ms(100)).unwrap()
}

pub(crate) fn body(delivery: &Delivery) -> String {
    let message = delivery.message.as_ref().unwrap();
    String::from_utf8(message.body.to_vec()).unwrap()
}

pub(crate) fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(body).collect()
}

pub(crate) fn settlement(delivery: Delivery, verdict: Verdict) -> Settlement {
    Settlement {
        token: delivery.token,
        verdict,
        put: None,
    }
}

pub(crate) fn settle(consumer: &dyn Consumer, deliveries: Vec<Delivery>, verdict: &Verdict) {
    let batch = deliveries
        .into_iter()
        .map(|delivery| settlement(delivery, verdict.clone()));
    consumer.settle(batch.collect(), soon()).unwrap();
}

/// A second token of the same lease, as a bug or a crash could leave it behind.
pub(crate) fn duplicate(token: &AckToken) -> AckToken {
    AckToken {
        tag: token.tag.clone(),
        epoch: token.epoch,
    }
}

const URL: &str = "CELERIAC_CONFORMANCE_URL";
const QUEUE: &str = "CELERIAC_CONFORMANCE_QUEUE";
const ROOM: &str = "CELERIAC_CONFORMANCE_ROOM";
const DELAY: &str = "CELERIAC_CONFORMANCE_DELAY_MS";

/// Runs [`victim`] in a process of its own and returns when that is dead.
pub(crate) fn reserve_and_die(url: &BrokerUrl, queue: &str, room: usize, delay_ms: Option<u64>) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["stage::victim", "--exact", "--ignored", "--quiet"])
        .env(URL, &url.raw)
        .env(QUEUE, queue)
        .env(ROOM, room.to_string())
        .envs(delay_ms.map(|by_ms| (DELAY, by_ms.to_string())))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(
        status.code().is_none_or(|code| code > 100),
        "the victim ended by itself: {status}"
    );
}

#[test]
#[ignore = "reserve_and_die runs it in a process of its own, which it aborts"]
fn victim() {
    let url = BrokerUrl::parse(&std::env::var(URL).unwrap(), Vec::new()).unwrap();
    let room: usize = std::env::var(ROOM).unwrap().parse().unwrap();
    // A server that pushes hands over no more than this.
    let consumer = open_consumer(
        &url,
        vec![queue_at(&url, &std::env::var(QUEUE).unwrap())],
        room,
        0,
    );
    let held = reserve(&*consumer, room);
    assert_eq!(held.len(), room);
    if let Ok(by_ms) = std::env::var(DELAY) {
        let until_unix_ms = SystemClock::shared().unix_ms() + by_ms.parse::<u64>().unwrap();
        settle(&*consumer, held, &Verdict::Delay { until_unix_ms });
    }
    std::process::abort();
}
