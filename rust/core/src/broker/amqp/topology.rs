//! Declarations as Celery makes them: any other argument is refused by the server (406).
//!
//! Source: kombu `entity.py` (`Queue.declare`, `Exchange.declare`); `protocol.md` 5.2.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

use super::headers::{self, short};
use super::link::Fault;
use crate::broker::topology::{ExchangeType, QueueSpec};
use crate::error::Result;

/// What a queue needs on the server, encoded.
pub(super) struct Declaration {
    pub(super) queue: ShortString,
    exchange: ShortString,
    kind: ExchangeKind,
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
            kind: match spec.exchange_type {
                ExchangeType::Direct => ExchangeKind::Direct,
                ExchangeType::Topic => ExchangeKind::Topic,
                ExchangeType::Fanout => ExchangeKind::Fanout,
                ExchangeType::Headers => ExchangeKind::Headers,
            },
            routing_key: short("a routing key", &spec.routing_key)?,
            options: QueueDeclareOptions {
                durable: spec.durable,
                auto_delete: spec.auto_delete,
                ..QueueDeclareOptions::default()
            },
            arguments,
        })
    }

    /// Declares exchange, queue and binding.
    pub(super) async fn make(&self, channel: &Channel) -> Result<(), Fault> {
        let exchange = self.exchange.as_str();
        // The server's own exchanges exist.
        if !exchange.is_empty() && !exchange.starts_with("amq.") {
            let options = ExchangeDeclareOptions {
                durable: true,
                ..ExchangeDeclareOptions::default()
            };
            let none = FieldTable::default();
            channel
                .exchange_declare(self.exchange.clone(), self.kind.clone(), options, none)
                .await?;
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
