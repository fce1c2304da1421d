//! `RabbitMQ`, spoken to as Celery speaks to it. The only room that names lapin.
//!
//! lapin's own recovery stays off: it forgets what was published and not confirmed. A lost
//! connection is replaced by a new one here, the topology declared again, queues consumed again,
//! and what was not confirmed sent again.
//!
//! One queue is ours: `celeriac.aside.<queue>`, durable, made with the first message that is set
//! aside, the dead letters among them. What waits for a far eta is in Celery's delay queues.

mod aside;
mod consumer;
mod cursor;
mod custody;
mod delayed;
mod direct;
mod headers;
mod inbox;
mod leaving;
mod letter;
mod link;
mod losses;
mod mail;
mod parcel;
mod patience;
mod properties;
mod publisher;
mod remedies;
mod sender;
mod settling;
mod socket;
mod table_text;
mod tap;
mod topology;
mod windows;

use std::sync::Arc;

use super::mail::{Mailbox, MailboxSpec, Remote, Tray};
use super::url::BrokerUrl;
use super::{Consumer, ConsumerConfig, Publisher};
use crate::error::Result;

pub(super) fn publisher(url: &BrokerUrl) -> Result<Arc<dyn Publisher>> {
    Ok(Arc::new(publisher::AmqpPublisher::open(url)?))
}

pub(super) fn consumer(url: &BrokerUrl, config: ConsumerConfig) -> Result<Arc<dyn Consumer>> {
    Ok(Arc::new(consumer::AmqpConsumer::open(url, config)?))
}

pub(super) fn mailbox(url: &BrokerUrl, spec: MailboxSpec, tray: Arc<Tray>) -> Result<Arc<dyn Mailbox>> {
    Ok(Arc::new(Remote::new(mail::AmqpCorrespondent::new(
        url, spec, tray,
    )?)))
}
