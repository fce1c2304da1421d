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
    options: QueueDeclareOptions,
    arguments: FieldTable,
    no_declare: bool,
    bindings: Vec<Binding>,
}

/// An exchange, and how the queue is bound to it.
struct Binding {
    exchange: ShortString,
    kind: ExchangeKind,
    is_declared: bool,
    options: ExchangeDeclareOptions,
    exchange_arguments: FieldTable,
    routing_key: ShortString,
    arguments: FieldTable,
}

impl Declaration {
    /// # Errors
    /// [`crate::Error::Unencodable`] for names and arguments that AMQP cannot carry.
    pub(super) fn of(spec: &QueueSpec) -> Result<Self> {
        Ok(Self {
            queue: short("the name of a queue", &spec.name)?,
            options: QueueDeclareOptions {
                durable: spec.durable,
                auto_delete: spec.auto_delete,
                ..QueueDeclareOptions::default()
            },
            arguments: table("the name of a queue's argument", &spec.arguments)?,
            no_declare: spec.no_declare,
            bindings: spec.bindings().map(Binding::of).collect::<Result<_>>()?,
        })
    }

    /// A mailbox is as short-lived as its connection, and so is its exchange.
    ///
    /// # Errors
    /// As [`Declaration::of`].
    pub(super) fn of_mailbox(spec: &MailboxSpec) -> Result<Self> {
        let mut declaration = Self::of(&spec.queue)?;
        declaration.options.exclusive = spec.is_exclusive;
        Ok(declaration)
    }

    /// Declares exchange, queue and bindings, in kombu's order.
    pub(super) async fn make(&self, channel: &Channel) -> Result<(), Fault> {
        if self.no_declare {
            return Ok(());
        }
        for (number, binding) in self.bindings.iter().enumerate() {
            binding.declare_exchange(channel).await?;
            if self.queue.as_str().is_empty() {
                continue;
            }
            if number == 0 {
                channel
                    .queue_declare(self.queue.clone(), self.options, self.arguments.clone())
                    .await?;
            }
            binding.bind(channel, &self.queue).await?;
        }
        Ok(())
    }
}

impl Binding {
    fn of(spec: &QueueSpec) -> Result<Self> {
        let own = &spec.exchange_options;
        // The server's own exchanges exist.
        let is_theirs = spec.exchange.is_empty() || spec.exchange.starts_with("amq.");
        Ok(Self {
            exchange: short("the name of an exchange", &spec.exchange)?,
            kind: kind_of(&spec.exchange_type),
            is_declared: !is_theirs && !own.no_declare,
            options: ExchangeDeclareOptions {
                durable: own.durable,
                auto_delete: own.auto_delete,
                passive: own.passive,
                ..ExchangeDeclareOptions::default()
            },
            exchange_arguments: table("the name of an exchange's argument", &own.arguments)?,
            routing_key: short("a routing key", &spec.routing_key)?,
            arguments: table("the name of a binding's argument", &spec.binding_arguments)?,
        })
    }

    async fn declare_exchange(&self, channel: &Channel) -> Result<(), Fault> {
        if !self.is_declared {
            return Ok(());
        }
        let (name, arguments) = (self.exchange.clone(), self.exchange_arguments.clone());
        Ok(channel
            .exchange_declare(name, self.kind.clone(), self.options, arguments)
            .await?)
    }

    async fn bind(&self, channel: &Channel, queue: &ShortString) -> Result<(), Fault> {
        if self.exchange.as_str().is_empty() {
            return Ok(());
        }
        Ok(channel
            .queue_bind(
                queue.clone(),
                self.exchange.clone(),
                self.routing_key.clone(),
                QueueBindOptions::default(),
                self.arguments.clone(),
            )
            .await?)
    }
}

fn table(what: &str, members: &[(String, String)]) -> Result<FieldTable> {
    let mut table = FieldTable::default();
    for (name, json) in members {
        table.insert(short(what, name)?, headers::value(json.as_bytes())?);
    }
    Ok(table)
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
