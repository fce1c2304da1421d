//! Mailboxes: a private queue of one process, for what is not work.
//!
//! A worker's mailbox hears a fanout exchange (orders to all workers), a client's holds the answers
//! to one question, a monitor's hears the exchange of events. Letters are small, transient, and nobody acknowledges them; what arrives lies
//! in a bounded [`Tray`] until somebody takes it. A mailbox that lost its server listens again by
//! itself; what was sent meanwhile is gone, as it is with kombu.

pub(super) mod memory;
mod outbox;
mod remote;
mod tray;

use std::sync::Arc;

pub(super) use outbox::Outbox;
pub(super) use remote::{Begun, Correspondent, Remote};
pub use tray::Tray;

use super::topology::{ExchangeType, QueueSpec};
use super::url::{BrokerUrl, Scheme};
use super::{amqp, redis, sqlite};
use crate::error::Result;
use crate::time::Deadline;
use crate::wire::message::{Outgoing, Target};

/// Which letters a mailbox gets.
#[derive(Clone, Debug)]
pub struct MailboxSpec {
    /// Its queue, exchange and routing key.
    pub queue: QueueSpec,
    /// Whether no other connection may use the queue (`RabbitMQ`).
    pub is_exclusive: bool,
}

/// A letter and the exchange it goes to, which may have to be declared.
#[derive(Clone, Debug)]
pub struct Mail {
    /// What, and whither.
    pub outgoing: Outgoing,
    /// Type of the exchange.
    pub exchange_type: ExchangeType,
    /// Whether the exchange survives a restart of the server (`RabbitMQ`): that of events does,
    /// those of remote control do not.
    pub is_durable: bool,
}

/// A private queue, and a way to send letters to others'. Safe for many threads.
pub trait Mailbox: Send + Sync + std::fmt::Debug + 'static {
    /// Begins to listen and waits until it does. Goes on trying when that fails.
    ///
    /// # Errors
    /// The broker cannot be reached before `deadline`, or refuses.
    fn open(&self, deadline: Deadline) -> Result<()>;

    /// Sends a letter and waits until the broker has it. Nobody may be there to get it.
    ///
    /// # Errors
    /// The broker cannot be reached before `deadline`, or refuses.
    fn send(&self, mail: Mail, deadline: Deadline) -> Result<()>;

    /// Sends a letter without waiting; a failure is logged.
    fn post(&self, mail: Mail);

    /// Sends a letter behind those announced before, without waiting, without a confirm. What finds
    /// no room is dropped and counted.
    fn announce(&self, mail: Mail);

    /// Sends what was posted and announced, listens no more and removes the queue.
    fn close(&self, deadline: Deadline);
}

/// Makes a mailbox whose letters go to `tray`. No I/O happens before it is used.
///
/// # Errors
/// [`crate::Error::BadUrl`] names the schemes and options that exist.
pub fn open_mailbox(url: &BrokerUrl, spec: MailboxSpec, tray: Arc<Tray>) -> Result<Arc<dyn Mailbox>> {
    match url.scheme() {
        Scheme::Memory => Ok(memory::mailbox(url, spec, tray)),
        Scheme::Sqlite => sqlite::mailbox(url, spec, tray),
        Scheme::Redis => redis::mailbox(url, spec, tray),
        Scheme::Amqp => amqp::mailbox(url, spec, tray),
    }
}

impl MailboxSpec {
    /// Whether a letter sent to `target` reaches this mailbox.
    fn gets(&self, target: &Target) -> bool {
        let queue = &self.queue;
        if target.exchange.is_empty() {
            return target.routing_key == queue.name;
        }
        target.exchange == queue.exchange
            && queue
                .exchange_type
                .routes(&queue.routing_key, &target.routing_key)
    }
}
