//! A delivery that a worker holds.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::backend::Reply;
use crate::broker::{AckToken, Delivery};
use crate::error::Error;
use crate::wire::body;
use crate::wire::headers::Peek;
use crate::wire::message::{Message, Target};
use crate::wire::protocol1;

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
    /// How often who held it died, see [`Delivery::losses`].
    pub losses: u32,
    /// Whether nothing about it needs a closer look: a task of protocol 2 with JSON, without eta,
    /// expiry, compression, or anything to do after it.
    pub is_plain: bool,
    /// The broker's name for it.
    pub(super) tag: String,
    /// The connection it came over.
    pub(super) epoch: u64,
    /// Shared by a delivery and its translation: the right is one.
    token: Arc<Mutex<Option<AckToken>>>,
}

impl Held {
    pub(super) fn new(number: u64, delivery: Delivery) -> Self {
        let (peek, message) = delivery.message.map_or_else(malformed, |message| {
            looked_at(protocol1::read(&message).unwrap_or(message))
        });
        Self {
            number,
            is_plain: is_plain(&peek, &message),
            message,
            redelivered: delivery.redelivered || peek.redelivered,
            losses: delivery.losses,
            peek,
            target: delivery.target,
            queue: delivery.queue,
            tag: delivery.token.tag.clone(),
            epoch: delivery.token.epoch,
            token: Arc::new(Mutex::new(Some(delivery.token))),
        }
    }

    /// The same delivery with a message of protocol 2 in place of one of protocol 1 that only its
    /// reader could take apart.
    ///
    /// # Errors
    /// The message's, or [`Error::Malformed`] when the fields are not a JSON object.
    pub fn translated(&self, fields: &[u8], body: Bytes) -> Result<Self, Error> {
        let original = self.message.as_ref().map_err(Clone::clone)?;
        let (peek, message) = looked_at(Message {
            headers: protocol1::headers(fields, &original.headers)?,
            properties: original.properties.clone(),
            body,
        });
        Ok(Self {
            number: self.number,
            is_plain: is_plain(&peek, &message),
            message,
            peek,
            target: self.target.clone(),
            queue: self.queue.clone(),
            redelivered: self.redelivered,
            losses: self.losses,
            tag: self.tag.clone(),
            epoch: self.epoch,
            token: Arc::clone(&self.token),
        })
    }

    /// Whether it was settled: acked, requeued, rejected or set aside.
    pub fn is_settled(&self) -> bool {
        self.token.lock().is_none()
    }

    /// Where its caller waits for the result; `None` where nobody does.
    pub(super) fn reply(&self) -> Option<Reply> {
        let properties = &self.message.as_ref().ok()?.properties;
        let queue = properties.reply_to.clone().filter(|queue| !queue.is_empty())?;
        let correlation_id = properties
            .correlation_id
            .clone()
            .or_else(|| self.peek.id.clone())?;
        Some(Reply {
            queue,
            correlation_id,
        })
    }

    /// What was asked for did not happen: somebody else may settle it.
    pub(super) fn put_back_token(&self, token: AckToken) {
        *self.token.lock() = Some(token);
    }

    pub(super) fn take_token(&self) -> Option<AckToken> {
        self.token.lock().take()
    }
}

fn looked_at(message: Message) -> (Peek, Result<Message, Error>) {
    Peek::parse(&message.headers).map_or_else(malformed, |peek| (peek, Ok(message)))
}

fn is_plain(peek: &Peek, message: &Result<Message, Error>) -> bool {
    peek.is_plain()
        && message.as_ref().is_ok_and(|message| {
            message.properties.content_type == "application/json" && body::ends_plainly(&message.body)
        })
}

fn malformed(error: Error) -> (Peek, Result<Message, Error>) {
    (Peek::default(), Err(error))
}
