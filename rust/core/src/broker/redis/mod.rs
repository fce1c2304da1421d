//! Redis as kombu uses it: lists, a record of what is unacked, and scripts between them.
//!
//! Beside kombu's keys there are ours, all behind the same prefix:
//!
//! * `unacked_owners`, a sorted set: consumer → milliseconds at which its leases end;
//! * `unacked_owner.<consumer>`, a set: the delivery tags it holds;
//! * `celeriac.aside.<queue>`, a stream: messages set aside, fields `reason` and `message`.

mod consumer;
mod custody;
mod fanout;
pub(crate) mod hub;
pub(crate) mod link;
mod mail;
mod names;
mod publisher;
mod routing;
pub(crate) mod script;
mod sender;
mod sentinel;

use std::sync::Arc;

use super::mail::{Mailbox, MailboxSpec, Remote, Tray};
use super::url::BrokerUrl;
use super::{Consumer, ConsumerConfig, Publisher};
use crate::error::Result;

pub(crate) use consumer::lifetime;

pub(super) fn publisher(url: &BrokerUrl) -> Result<Arc<dyn Publisher>> {
    Ok(Arc::new(publisher::RedisPublisher::open(url)?))
}

pub(super) fn consumer(url: &BrokerUrl, config: ConsumerConfig) -> Result<Arc<dyn Consumer>> {
    Ok(Arc::new(consumer::RedisConsumer::open(url, config)?))
}

pub(super) fn mailbox(url: &BrokerUrl, spec: MailboxSpec, tray: Arc<Tray>) -> Result<Arc<dyn Mailbox>> {
    Ok(Arc::new(Remote::new(mail::RedisCorrespondent::new(
        url, spec, tray,
    )?)))
}
