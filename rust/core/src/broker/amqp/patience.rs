//! How long the server lets a delivery stay unacked, where its consumer may say that.

use std::collections::HashSet;

use lapin::types::{AMQPValue, FieldTable};
use parking_lot::Mutex;

use super::link::Fault;
use crate::broker::url::BrokerUrl;
use crate::error::Result;

const CONSUMER_TIMEOUT: &str = "x-consumer-timeout";

/// What consuming a queue begins with.
#[derive(Debug)]
pub(super) struct Patience {
    arguments: FieldTable,
    /// Queues for which the server has refused that.
    refused: Mutex<HashSet<String>>,
}

impl Patience {
    /// As the URL's option `consumer_timeout` says; servers before 4.3 pass over it.
    pub(super) fn of(url: &BrokerUrl) -> Result<Self> {
        let mut arguments = FieldTable::default();
        if let Some(timeout) = url.options.seconds("consumer_timeout")? {
            let timeout_ms = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
            arguments.insert(CONSUMER_TIMEOUT.into(), AMQPValue::LongLongInt(timeout_ms));
        }
        Ok(Self {
            arguments,
            refused: Mutex::default(),
        })
    }

    /// What consuming this queue begins with.
    pub(super) fn arguments(&self, queue: &str) -> FieldTable {
        if self.refused.lock().contains(queue) {
            return FieldTable::default();
        }
        self.arguments.clone()
    }

    /// Whether this queue is consumed without a timeout from now on, after a failure: `RabbitMQ` 4.3 takes
    /// one for quorum queues alone, refuses it for others, and closes the channel.
    pub(super) fn goes_without(&self, queue: &str, fault: &Fault) -> bool {
        let is_refused = fault.is_refusal() && fault.words().contains(CONSUMER_TIMEOUT);
        if !is_refused || !self.refused.lock().insert(queue.to_owned()) {
            return false;
        }
        tracing::warn!(
            queue,
            "consumer_timeout is for quorum queues on this server: here its own holds (30 minutes, unless it \
             is set there), or make this a quorum queue"
        );
        true
    }
}
