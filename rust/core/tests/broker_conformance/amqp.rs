//! The suite on `RabbitMQ`.

use std::collections::BTreeMap;

use bytes::Bytes;
use celeriac_core::broker::topology::QueueSpec;
use celeriac_core::broker::url::BrokerUrl;
use celeriac_core::wire::message::Message;

use crate::stage::Fixture;
use crate::yard::{self, Yard};

pub(crate) struct Amqp(Yard);

impl Fixture for Amqp {
    const TAKES_AHEAD: bool = true;
    /// The delay queues count in seconds.
    const DELAYS_IN_MS: u64 = 1_000;
    /// Confirmed in the delay queues, and not acked yet.
    const MOST_COPIES_AFTER_A_CRASH: usize = 2;
    /// The highest first, each number a class of its own.
    const PRIORITY_ORDER: [&str; 6] = ["9", "6", "4", "3", "2", "0"];

    fn counts_late() -> bool {
        yard::is_quorum()
    }

    /// A quorum queue may have the next one on its way already; on 4.3 a new one comes before those handed back.
    fn requeues_in_front() -> bool {
        !yard::is_quorum()
    }

    /// A quorum queue before 4.3.
    fn may_count_hand_backs() -> bool {
        yard::is_quorum()
    }

    /// A classic queue only says that a message was delivered before.
    fn counts_killed() -> bool {
        yard::is_quorum()
    }

    fn fresh() -> Self {
        Self(Yard::fresh())
    }

    fn url(&self) -> BrokerUrl {
        self.0.url("")
    }

    fn with_priorities(queue: QueueSpec) -> QueueSpec {
        QueueSpec {
            arguments: vec![("x-max-priority".to_owned(), "10".to_owned())],
            ..queue
        }
    }

    /// A table of headers has no order that can be relied on, and the server numbers deliveries.
    fn as_delivered(sent: Message, arrived: &Message) -> Message {
        let headers: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&sent.headers).unwrap();
        let headers: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("\"{name}\": {value}"))
            .collect();
        let mut message = sent;
        message.headers = Bytes::from(format!("{{{}}}", headers.join(", ")));
        message
            .properties
            .delivery_tag
            .clone_from(&arrived.properties.delivery_tag);
        message
    }

    fn name(&self, word: &str) -> String {
        self.0.name(word)
    }
}

conformance!(Amqp);
