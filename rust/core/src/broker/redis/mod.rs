//! Redis as kombu uses it: lists, a record of what is unacked, and scripts between them.
//!
//! Beside kombu's keys there are ours, all behind the same prefix:
//!
//! * `unacked_owners`, a sorted set: consumer → milliseconds at which its leases end;
//! * `unacked_owner.<consumer>`, a set: the delivery tags it holds;
//! * `unacked_subscribed`, a set: those whose channel `/<db>.celeriac.alive.<consumer>` has a subscriber for
//!   as long as their process lives; `unacked_looker`: the one that looks at these channels for all;
//! * `unacked_losses`, a hash: delivery tag → how often who held the message died;
//! * `unacked_armed.<queue>`, `unacked_idle.<queue>`, sorted sets: consumers that wait for messages;
//! * `unacked_wake.<consumer>`: written to wake one;
//! * `celeriac.aside.<queue>`, a stream: messages set aside, fields `reason`, `message`, `worker` and
//!   `losses`.

mod arrival;
mod cargo;
mod consumer;
mod custody;
mod direct;
mod doorbell;
mod fanout;
mod held;
pub(crate) mod hub;
mod inlet;
mod keeping;
pub(crate) mod link;
mod losses;
mod mail;
mod names;
mod parcel;
mod publisher;
mod pulse;
mod reservation;
mod restoring;
mod routing;
pub(crate) mod script;
mod sender;
mod sentinel;
mod settling;
mod watch;

use std::sync::Arc;

use super::mail::{Mailbox, MailboxSpec, Remote, Tray};
use super::url::BrokerUrl;
use super::{Consumer, ConsumerConfig, Publisher};
use crate::error::Result;

pub(crate) use settling::lifetime;

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
