//! A delivery that a worker holds.

use parking_lot::Mutex;

use crate::broker::{AckToken, Delivery};
use crate::error::Error;
use crate::wire::headers::Peek;
use crate::wire::message::{Message, Target};

/// A delivery, what a worker decides on read from its headers, and the right to settle it once.
#[derive(Debug)]
pub struct Held {
    /// Counts the deliveries of this intake.
    pub(super) number: u64,
    /// The message, or what is wrong with it.
    pub message: Result<Message, Error>,
    /// What a worker decides on; all empty where the message is malformed.
    pub peek: Peek,
    /// Exchange and routing key.
    pub target: Target,
    /// The queue it was taken from.
    pub queue: String,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// The broker's name for it.
    pub(super) tag: String,
    token: Mutex<Option<AckToken>>,
}

impl Held {
    pub(super) fn new(number: u64, delivery: Delivery) -> Self {
        let parsed = delivery
            .message
            .and_then(|message| Ok((Peek::parse(&message.headers)?, message)));
        let (peek, message) = match parsed {
            Ok((peek, message)) => (peek, Ok(message)),
            Err(error) => (Peek::default(), Err(error)),
        };
        Self {
            number,
            message,
            redelivered: delivery.redelivered || peek.redelivered,
            peek,
            target: delivery.target,
            queue: delivery.queue,
            tag: delivery.token.tag.clone(),
            token: Mutex::new(Some(delivery.token)),
        }
    }

    /// Whether it was settled: acked, requeued, rejected or set aside.
    pub fn is_settled(&self) -> bool {
        self.token.lock().is_none()
    }

    pub(super) fn take_token(&self) -> Option<AckToken> {
        self.token.lock().take()
    }
}
