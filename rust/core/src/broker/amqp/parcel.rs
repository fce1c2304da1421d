//! A message on its way to `RabbitMQ`, and what is said of it.

use std::time::Duration;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::BasicReturnMessage;
use lapin::types::ShortString;

use super::headers::short;
use super::link::Link;
use super::properties;
use crate::error::{Error, Result};
use crate::ledger::Receipt;
use crate::time::Deadline;
use crate::wire::message::Outgoing;

/// Which messages must reach a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mandatory {
    /// Those that name a queue: an event nobody listens to is legal.
    ToQueues,
    /// All.
    All,
    /// None.
    Never,
}

/// A message on its way.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
    pub(super) bytes: usize,
    /// Whether its sender wants to know that no queue takes it, where it says so.
    pub(super) mandatory: Option<bool>,
    receipt: Receipt,
    pub(super) deadline: Deadline,
    /// Wait that the caller granted, for the error that says so.
    granted: Duration,
    /// The server may have it.
    pub(super) was_sent: bool,
    /// The server has found no queue for it.
    pub(super) was_returned: bool,
}

impl Parcel {
    /// Encodes a message; done by the caller's thread. Tells the receipt when that fails.
    pub(super) fn new(outgoing: &Outgoing, receipt: Receipt, deadline: Deadline) -> Option<Self> {
        match encode(outgoing) {
            Ok((exchange, routing_key, properties)) => Some(Self {
                exchange,
                routing_key,
                properties,
                body: outgoing.message.body.clone(),
                bytes: outgoing.message.body.len() + outgoing.message.headers.len(),
                receipt,
                deadline,
                granted: deadline.left(),
                mandatory: outgoing.mandatory,
                was_sent: false,
                was_returned: false,
            }),
            Err(error) => {
                receipt.fail(error);
                None
            }
        }
    }

    /// Whether somebody waits for just this message.
    pub(super) fn is_awaited(&self) -> bool {
        self.receipt.is_awaited()
    }

    /// What the server has answered.
    pub(super) fn answer(self, link: &Link, is_acked: bool) {
        if self.was_returned {
            let cause = self.unroutable();
            self.fail(link.refused(&cause, false));
        } else if is_acked {
            self.receipt.confirm();
        } else {
            let cause = "the queue did not take the message (it is full, or has lost its majority)";
            self.fail(link.refused(cause, true));
        }
    }

    /// The server does not have it.
    pub(super) fn fail(self, error: Error) {
        self.receipt.fail(error);
    }

    /// Time is over: nobody knows, or the server was never reached.
    pub(super) fn give_up(self, cause: Error) {
        let waited_ms = u64::try_from(self.granted.as_millis()).unwrap_or(u64::MAX);
        self.receipt.fail(if self.was_sent {
            Error::Unconfirmed { waited_ms }
        } else {
            cause
        });
    }

    /// Why it has reached no queue, and what to do.
    fn unroutable(&self) -> String {
        let (exchange, key) = (self.exchange.as_str(), self.routing_key.as_str());
        if exchange.is_empty() {
            return format!("there is no queue {key:?}; declare it first");
        }
        format!("no queue is bound to exchange {exchange:?} with routing key {key:?}; declare one")
    }

    /// Whether `message` is a copy of this one.
    pub(super) fn is(&self, message: &BasicReturnMessage) -> bool {
        let copy = &message.delivery;
        self.routing_key == copy.routing_key
            && self.exchange == copy.exchange
            && self.properties.correlation_id() == copy.properties.correlation_id()
            && self.body == copy.data
    }
}

fn encode(outgoing: &Outgoing) -> Result<(ShortString, ShortString, BasicProperties)> {
    Ok((
        short("the name of an exchange", &outgoing.target.exchange)?,
        short("a routing key", &outgoing.target.routing_key)?,
        properties::to_amqp(&outgoing.message)?,
    ))
}
