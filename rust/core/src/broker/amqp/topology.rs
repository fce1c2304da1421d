//! Declarations as Celery makes them: any other argument is refused by the server (406).
//!
//! Source: kombu `entity.py` (`Queue.declare`, `Exchange.declare`); `protocol.md` 5.2.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

use super::headers::{self, short};
use super::link::Fault;
use crate::broker::mail::MailboxSpec;
use crate::broker::topology::{ExchangeType, QueueSpec};
use crate::error::Result;

/// What a queue needs on the server, encoded.
pub(super) struct Declaration {
    /// Empty where only the exchange is meant.
    pub(super) queue: ShortString,
    exchange: ShortString,
    kind: ExchangeKind,
    is_exchange_durable: bool,
    routing_key: ShortString,
    options: QueueDeclareOptions,
    arguments: FieldTable,
}

impl Declaration {
    /// # Errors
    /// [`crate::Error::Unencodable`] for names and arguments that AMQP cannot carry.
    pub(super) fn of(spec: &QueueSpec) -> Result<Self> {
        let mut arguments = FieldTable::default();
        for (name, json) in &spec.arguments {
            let value = headers::value(json.as_bytes())?;
            arguments.insert(short("the name of a queue's argument", name)?, value);
        }
        Ok(Self {
            queue: short("the name of a queue", &spec.name)?,
            exchange: short("the name of an exchange", &spec.exchange)?,
            kind: kind_of(&spec.exchange_type),
            is_exchange_durable: true,
            routing_key: short("a routing key", &spec.routing_key)?,
            options: QueueDeclareOptions {
                durable: spec.durable,
                auto_delete: spec.auto_delete,
                ..QueueDeclareOptions::default()
            },
            arguments,
        })
    }

    /// A mailbox is as short-lived as its connection, and so is its exchange.
    ///
    /// # Errors
    /// As [`Declaration::of`].
    pub(super) fn of_mailbox(spec: &MailboxSpec) -> Result<Self> {
        let mut declaration = Self::of(&spec.queue)?;
        declaration.is_exchange_durable = false;
        declaration.options.exclusive = spec.is_exclusive;
        Ok(declaration)
    }

    /// Declares exchange, queue and binding.
    pub(super) async fn make(&self, channel: &Channel) -> Result<(), Fault> {
        let exchange = self.exchange.as_str();
        // The server's own exchanges exist.
        if !exchange.is_empty() && !exchange.starts_with("amq.") {
            let options = ExchangeDeclareOptions {
                durable: self.is_exchange_durable,
                ..ExchangeDeclareOptions::default()
            };
            let none = FieldTable::default();
            channel
                .exchange_declare(self.exchange.clone(), self.kind.clone(), options, none)
                .await?;
        }
        if self.queue.as_str().is_empty() {
            return Ok(());
        }
        channel
            .queue_declare(self.queue.clone(), self.options, self.arguments.clone())
            .await?;
        if !exchange.is_empty() {
            channel
                .queue_bind(
                    self.queue.clone(),
                    self.exchange.clone(),
                    self.routing_key.clone(),
                    QueueBindOptions::default(),
                    FieldTable::default(),
                )
                .await?;
        }
        Ok(())
    }
}

/// The exchange's type as lapin names it.
pub(super) fn kind_of(exchange_type: &ExchangeType) -> ExchangeKind {
    match exchange_type {
        ExchangeType::Direct => ExchangeKind::Direct,
        ExchangeType::Topic => ExchangeKind::Topic,
        ExchangeType::Fanout => ExchangeKind::Fanout,
        ExchangeType::Headers => ExchangeKind::Headers,
    }
}

/// How many messages wait in a queue; `None` where there is no such queue.
///
/// Asking for a missing one closes the channel.
pub(super) async fn depth(channel: &Channel, queue: ShortString) -> Result<Option<u64>, Fault> {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let found = channel
        .queue_declare(queue, options, FieldTable::default())
        .await
        .map_err(Fault::from);
    match found {
        Ok(found) => Ok(Some(u64::from(found.message_count()))),
        Err(fault) if fault.is_not_found() => Ok(None),
        Err(fault) => Err(fault),
    }
}
