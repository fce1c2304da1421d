//! The SQLite broker: one file, many processes of one machine.
//!
//! * [`file`] finds the file and refuses what SQLite cannot be trusted with;
//! * [`schema`] and [`messages`] are all the SQL of the queues;
//! * [`database`] opens connections, one set for each process, and retries what is busy;
//! * [`publisher`] gathers messages into transactions;
//! * [`consumer`] leases messages and settles them, [`keeper`] shows that it lives and takes over
//!   from those that do not;
//! * [`mail`] is the mailboxes of remote control;
//! * [`wakeup`] rings at other processes instead of letting them poll.

mod consumer;
pub(crate) mod database;
mod file;
mod keeper;
mod mail;
mod messages;
mod publisher;
mod rows;
mod schema;
pub(crate) mod wakeup;

use std::sync::Arc;

use super::mail::{Mailbox, MailboxSpec, Tray};
use super::url::BrokerUrl;
use super::{Consumer, ConsumerConfig, Publisher};
use crate::error::Result;

pub(super) fn publisher(url: &BrokerUrl) -> Result<Arc<dyn Publisher>> {
    let handle = database::Handle::new(url)?;
    Ok(Arc::new(publisher::SqlitePublisher::new(handle)))
}

pub(super) fn consumer(url: &BrokerUrl, config: ConsumerConfig) -> Result<Arc<dyn Consumer>> {
    let handle = database::Handle::new(url)?;
    Ok(Arc::new(consumer::SqliteConsumer::new(handle, config)))
}

pub(super) fn mailbox(url: &BrokerUrl, spec: MailboxSpec, tray: Arc<Tray>) -> Result<Arc<dyn Mailbox>> {
    Ok(Arc::new(mail::SqliteMailbox::new(
        database::Handle::new(url)?,
        spec,
        tray,
    )))
}
