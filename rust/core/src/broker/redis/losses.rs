//! How often who held a message died: a hash beside the record of what is in flight.
//!
//! A field is the delivery tag in the message's own properties: it survives a restore, ours and
//! Celery's. The count goes with the message's end. What Celery ends, or a purge, leaves a field
//! behind: the hash goes when nobody has died for 30 days.

use redis::RedisError;

use super::custody::Custody;
use super::link::{Link, Live};
use crate::broker::Delivery;
use crate::error::Result;

/// The name of a message's count; `None` where its sender gave it no tag: it is not counted.
pub(super) fn field(delivery: &Delivery) -> Option<&str> {
    let message = delivery.message.as_ref().ok()?;
    Some(message.properties.delivery_tag.as_str()).filter(|tag| !tag.is_empty())
}

impl Custody {
    /// Says of deliveries how often who held them died. What comes for the first time costs nothing.
    ///
    /// A server that does not answer ends nothing here: the messages are reserved, and run.
    pub(super) async fn recall_losses(&self, link: &Link, live: &Live, deliveries: &mut [Delivery]) {
        let again: Vec<&mut Delivery> = deliveries
            .iter_mut()
            .filter(|delivery| delivery.redelivered && field(delivery).is_some())
            .collect();
        if again.is_empty() {
            return;
        }
        let fields: Vec<String> = again
            .iter()
            .filter_map(|delivery| field(delivery))
            .map(str::to_owned)
            .collect();
        match self.losses(link, live, &fields).await {
            Ok(counts) => {
                for (delivery, count) in again.into_iter().zip(counts) {
                    delivery.losses = count.unwrap_or(0);
                }
            }
            Err(error) => tracing::warn!(%error, "nobody knows how often who held a message died"),
        }
    }

    async fn losses(&self, link: &Link, live: &Live, fields: &[String]) -> Result<Vec<Option<u32>>> {
        // What is read over a connection that tracks rings when it changes. The other one may have fallen
        // silent long ago, and whoever settles waits for this.
        let (link, mut live) = if live.has_tracking {
            (&self.link, self.link.proved().await?)
        } else {
            (link, live.clone())
        };
        let read: std::result::Result<Vec<Option<u32>>, RedisError> = redis::cmd("HMGET")
            .arg(&self.names.losses)
            .arg(fields)
            .query_async(&mut live.connection)
            .await;
        read.map_err(|error| link.failed(live.serial, &error))
    }
}
