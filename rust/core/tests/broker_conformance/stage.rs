//! What the behaviours stand on: a fixture for each broker, and short words for what they do.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::broker::topology::{ExchangeType, QueueSpec};
use celeriac_core::broker::url::BrokerUrl;
use celeriac_core::broker::{
    self, AckToken, Consumer, ConsumerConfig, Delivery, Publisher, Settlement, Verdict,
};
use celeriac_core::ledger::Ledger;
use celeriac_core::time::Deadline;
use celeriac_core::wire::message::{Message, Outgoing, Properties, Target};

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

    /// The order in which messages of the priorities 9, 6, 3, 2, 0, 4 arrive.
    ///
    /// Redis and what follows it: 0 to 2 are one class, 3 to 5 the next; the lowest first, and in
    /// a class the order stays.
    const PRIORITY_ORDER: [&str; 6] = ["2", "0", "3", "4", "6", "9"];

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
        reserve_and_die(&self.url(), queue, room);
    }
}

pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

pub(crate) fn in_ms(wait_ms: u64) -> Deadline {
    Deadline::after(Duration::from_millis(wait_ms))
}

pub(crate) fn queue(name: &str) -> QueueSpec {
    QueueSpec {
        name: name.to_owned(),
        exchange: String::new(),
        exchange_type: ExchangeType::Direct,
        routing_key: String::new(),
        durable: true,
        auto_delete: false,
        arguments: Vec::new(),
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
        queue(&self.name(word))
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
            let spec = queue(&outgoing.target.routing_key);
            self.publisher.declare(&spec, soon()).unwrap();
        }
        self.send_declared(outgoing);
    }

    pub(crate) fn send_declared(&self, outgoing: Outgoing) {
        let window = Ledger::new(1, usize::MAX);
        let receipt = window.enter("task".into(), 0, soon()).unwrap();
        self.publisher.send(outgoing, None, receipt, soon());
        window.wait_empty(soon()).unwrap();
        assert_eq!(window.take_failed(), []);
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

/// Runs [`victim`] in a process of its own and returns when that is dead.
pub(crate) fn reserve_and_die(url: &BrokerUrl, queue: &str, room: usize) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["stage::victim", "--exact", "--ignored", "--quiet"])
        .env(URL, &url.raw)
        .env(QUEUE, queue)
        .env(ROOM, room.to_string())
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
    let consumer = open_consumer(&url, vec![queue(&std::env::var(QUEUE).unwrap())], room, 0);
    assert_eq!(reserve(&*consumer, room).len(), room);
    std::process::abort();
}
