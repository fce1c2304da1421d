//! Redis as kombu uses it: lists, a record of what is unacked, and scripts between them.
//!
//! Beside kombu's keys there are ours, all behind the same prefix:
//!
//! * `unacked_owners`, a sorted set: consumer → milliseconds at which its leases end;
//! * `unacked_owner.<consumer>`, a set: the delivery tags it holds;
//! * `celeriac.aside.<queue>`, a stream: messages set aside, fields `reason` and `message`.

mod consumer;
mod custody;
pub(crate) mod hub;
pub(crate) mod link;
mod names;
mod publisher;
mod routing;
pub(crate) mod script;
mod sender;

use std::sync::Arc;

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
