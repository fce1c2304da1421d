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

    /// URL of the name space, options in its query. It is also a result store's.
    fn url(&self) -> BrokerUrl;

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
    bound(name, "", "")
}

pub(crate) fn bound(name: &str, exchange: &str, routing_key: &str) -> QueueSpec {
    QueueSpec {
        name: name.to_owned(),
        exchange: exchange.to_owned(),
        exchange_type: ExchangeType::Direct,
        routing_key: routing_key.to_owned(),
        durable: true,
        auto_delete: false,
        arguments: Vec::new(),
    }
}

/// A message with `body`, to the queue `routing_key` or through `exchange`.
pub(crate) fn message(exchange: &str, routing_key: &str, body: impl Into<Bytes>) -> Outgoing {
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
        Self { fixture, publisher }
    }

    /// A consumer without a bound on what is unsettled.
    pub(crate) fn consumer(&self, queues: &[&str]) -> Arc<dyn Consumer> {
        self.bounded_consumer(queues, 0)
    }

    pub(crate) fn bounded_consumer(&self, queues: &[&str], prefetch: usize) -> Arc<dyn Consumer> {
        open_consumer(&self.fixture.url(), queues, prefetch)
    }

    /// Sends a message and waits for its confirmation.
    pub(crate) fn send(&self, outgoing: Outgoing) {
        let window = Ledger::new(1, usize::MAX);
        let receipt = window.enter("task".into(), 0, soon()).unwrap();
        self.publisher.send(outgoing, None, receipt, soon());
        window.wait_empty(soon()).unwrap();
        assert_eq!(window.take_failed(), []);
    }

    /// Publishes texts to a queue, in order, each confirmed.
    pub(crate) fn publish(&self, queue: &str, bodies: &[&str]) {
        for body in bodies {
            self.send(message("", queue, (*body).to_owned()));
        }
    }

    /// Publishes `0`, `1`, ... through one window.
    pub(crate) fn publish_numbers(&self, queue: &str, count: usize) {
        let window = Ledger::new(count, usize::MAX);
        for number in 0..count {
            let receipt = window.enter("task".into(), 0, soon()).unwrap();
            let outgoing = message("", queue, number.to_string());
            self.publisher.send(outgoing, None, receipt, soon());
        }
        window.wait_empty(soon()).unwrap();
        assert_eq!(window.take_failed(), []);
    }

    pub(crate) fn depth(&self, queue: &str) -> u64 {
        self.publisher.depth(queue, soon()).unwrap()
    }
}

fn open_consumer(url: &BrokerUrl, queues: &[&str], prefetch: usize) -> Arc<dyn Consumer> {
    let config = ConsumerConfig {
        node: "celery@conformance".to_owned(),
        queues: queues.iter().map(|name| queue(name)).collect(),
        prefetch,
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
    let consumer = open_consumer(&url, &[&std::env::var(QUEUE).unwrap()], 0);
    assert_eq!(reserve(&*consumer, room).len(), room);
    std::process::abort();
}
