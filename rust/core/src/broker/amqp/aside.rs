//! What is set aside from a queue: kept in a durable queue of ours, whole, with the reason.

use std::collections::HashSet;

use lapin::options::{BasicAckOptions, BasicGetOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};

use super::custody::Held;
use super::headers::short;
use super::link::{Fault, Link, Live, Role, open_channel};
use super::losses;
use super::properties;
use super::topology;
use crate::broker::{Aside, History};
use crate::error::{Error, Result};
use crate::wire::message::Target;

/// A header of ours: a table with the members below.
const HEADER: &str = "celeriac_aside";
const ID: &str = "id";
const REASON: &str = "reason";
const EXCHANGE: &str = "exchange";
const ROUTING_KEY: &str = "routing_key";
const WORKER: &str = "worker";
const AT: &str = "at_unix_ms";
const LOSSES: &str = "losses";
/// The message's own, which would end its stay here.
const EXPIRATION: &str = "expiration";

fn queue_of(queue: &str) -> String {
    format!("celeriac.aside.{queue}")
}

/// Stores a delivery with the reason; the server has it when this returns.
///
/// # Errors
/// The server refuses, or is lost: the delivery is still where it was.
pub(super) async fn put(link: &Link, held: &Held, reason: &str, history: &History) -> Result<()> {
    let live = link.live().await?;
    let name = queue_of(&held.queue);
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = live
        .channel
        .queue_declare(
            short("the name of a queue", &name)?,
            options,
            FieldTable::default(),
        )
        .await;
    declared.map_err(|error| link.error(&error.into()))?;
    let properties = marked(held, reason, history)?.with_delivery_mode(2);
    publish(link, &live.channel, &name, &held.body, properties).await
}

fn marked(held: &Held, reason: &str, history: &History) -> Result<BasicProperties> {
    // Of what cannot be read the body is kept: it must not stay in the way of its queue.
    let properties = held.properties.read().unwrap_or_default();
    let mut message = properties::from_amqp(&properties, bytes::Bytes::new(), 0);
    let expiration = message.properties.expiration.take().unwrap_or_default();
    // The server compares it with who publishes now.
    message.properties.extra.retain(|(name, _)| name != "user_id");
    message.headers = bytes::Bytes::from_static(b"{}");
    let mut mark = FieldTable::default();
    for (name, value) in [
        (ID, uuid::Uuid::new_v4().to_string().as_str()),
        (REASON, reason),
        (EXCHANGE, &held.exchange),
        (ROUTING_KEY, &held.routing_key),
        (WORKER, &history.worker),
        (EXPIRATION, &expiration),
    ] {
        mark.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    let at_unix_ms = i64::try_from(history.at_unix_ms).unwrap_or(i64::MAX);
    mark.insert(AT.into(), AMQPValue::LongLongInt(at_unix_ms));
    mark.insert(LOSSES.into(), AMQPValue::LongLongInt(history.losses.into()));
    let mut headers = properties.headers().clone().unwrap_or_default();
    headers.insert(HEADER.into(), AMQPValue::FieldTable(mark));
    Ok(properties::to_amqp(&message)?.with_headers(headers))
}

/// Publishes straight to a queue, and waits until the server has it there.
pub(super) async fn publish(
    link: &Link,
    channel: &Channel,
    queue: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<()> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let routing_key = short("the name of a queue", queue)?;
    let sent = async {
        let confirm = channel
            .basic_publish("".into(), routing_key, options, body, properties)
            .await?;
        confirm.await
    };
    match sent.await {
        Ok(Confirmation::Ack(None)) => Ok(()),
        Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => {
            Err(link.refused(&format!("there is no queue {queue:?}; declare it first"), false))
        }
        Ok(Confirmation::Nack(None) | Confirmation::NotRequested) => {
            Err(link.refused(&format!("the queue {queue:?} did not take the message"), true))
        }
        Err(error) => Err(link.error(&error.into())),
    }
}

/// What was set aside from a queue, oldest first.
///
/// # Errors
/// The server refuses, or is lost.
pub(super) async fn list(link: &Link, queue: &str, max: usize) -> Result<Vec<Aside>> {
    let live = link.live().await?;
    let mut found = Vec::new();
    // Everything is back in its place when the channel closes.
    let walked = walk(&live, queue, max, async |_, _, letter| {
        found.push(letter.aside());
        Ok(Walk::Goes)
    });
    walked.await.map_err(|trouble| trouble.told(link))?;
    Ok(found)
}

/// Puts what has one of these tags back into its queue; says how much that was.
///
/// # Errors
/// The server refuses, or is lost; what was put back until then is.
pub(super) async fn restore(link: &Link, queue: &str, tags: &[String]) -> Result<u64> {
    let live = link.live().await?;
    let mut restored = 0;
    let mut wanted: HashSet<String> = tags.iter().cloned().collect();
    // A channel of its own: a returned message must not reach another publisher's confirm.
    let opened = open_channel(&live.connection, Role::Confirms).await;
    let outlet = opened.map_err(|fault| link.error(&fault))?;
    let walked = walk(&live, queue, usize::MAX, async |channel, tag, letter| {
        if !wanted.remove(&letter.mark(ID)) {
            return Ok(Walk::Goes);
        }
        let properties = letter.unmarked();
        publish(link, &outlet, queue, &letter.body, properties).await?;
        let acked = channel.basic_ack(tag, BasicAckOptions::default()).await;
        acked.map_err(Fault::from)?;
        restored += 1;
        Ok(Walk::on(!wanted.is_empty()))
    });
    let walked = walked.await;
    if let Err(error) = outlet.close(200, "done".into()).await {
        tracing::debug!(%error, "a channel was gone before it was closed");
    }
    walked.map_err(|trouble| trouble.told(link))?;
    Ok(restored)
}

/// Deletes what has one of these tags; says how much that was.
///
/// # Errors
/// The server refuses, or is lost; what was deleted until then is.
pub(super) async fn drop_these(link: &Link, queue: &str, tags: &[String]) -> Result<u64> {
    let live = link.live().await?;
    let mut dropped = 0;
    let mut wanted: HashSet<String> = tags.iter().cloned().collect();
    let walked = walk(&live, queue, usize::MAX, async |channel, tag, letter| {
        if wanted.remove(&letter.mark(ID)) {
            let acked = channel.basic_ack(tag, BasicAckOptions::default()).await;
            acked.map_err(Fault::from)?;
            dropped += 1;
        }
        Ok(Walk::on(!wanted.is_empty()))
    });
    walked.await.map_err(|trouble| trouble.told(link))?;
    Ok(dropped)
}

/// What ends a walk early.
enum Trouble {
    Channel(Fault),
    Told(Error),
}

impl Trouble {
    fn told(self, link: &Link) -> Error {
        match self {
            Self::Channel(fault) => link.error(&fault),
            Self::Told(error) => error,
        }
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Channel(fault)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

/// Whether there is more to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    Goes,
    Ends,
}

impl Walk {
    fn on(goes: bool) -> Self {
        if goes { Self::Goes } else { Self::Ends }
    }
}

/// Shows what is in the queue of what was set aside, each once. What `visit` does not ack stays.
async fn walk(
    live: &Live,
    queue: &str,
    max: usize,
    mut visit: impl AsyncFnMut(&Channel, u64, Letter) -> Result<Walk, Trouble>,
) -> Result<(), Trouble> {
    let name = short("the name of a queue", &queue_of(queue))?;
    let channel = open_channel(&live.connection, Role::Plain).await?;
    let Some(count) = topology::depth(&channel, name.clone()).await? else {
        return Ok(());
    };
    for _ in 0..count.min(u64::try_from(max).unwrap_or(u64::MAX)) {
        let found = channel
            .basic_get(name.clone(), BasicGetOptions::default())
            .await
            .map_err(Fault::from)?;
        let Some(found) = found else {
            break;
        };
        let delivery = found.delivery;
        let letter = Letter {
            properties: delivery.properties,
            body: delivery.data,
        };
        if visit(&channel, delivery.delivery_tag, letter).await? == Walk::Ends {
            break;
        }
    }
    channel.close(200, "done".into()).await.map_err(Fault::from)?;
    Ok(())
}

/// A message with our mark.
struct Letter {
    properties: BasicProperties,
    body: Vec<u8>,
}

impl Letter {
    /// A member of the mark; empty where somebody else put the message there.
    fn mark(&self, name: &str) -> String {
        match self.value(name) {
            Some(AMQPValue::LongString(text)) => text.to_string(),
            _ => String::new(),
        }
    }

    fn value(&self, name: &str) -> Option<&AMQPValue> {
        let AMQPValue::FieldTable(mark) = self.properties.headers().as_ref()?.inner().get(HEADER)? else {
            return None;
        };
        mark.inner().get(name)
    }

    fn history(&self) -> History {
        let at_unix_ms = match self.value(AT) {
            Some(AMQPValue::LongLongInt(at_unix_ms)) => u64::try_from(*at_unix_ms).unwrap_or_default(),
            _ => 0,
        };
        History {
            at_unix_ms,
            worker: self.mark(WORKER),
            losses: self.value(LOSSES).map_or(0, losses::number),
        }
    }

    fn unmarked(&self) -> BasicProperties {
        let mut headers = self
            .properties
            .headers()
            .as_ref()
            .map(|headers| headers.inner().clone())
            .unwrap_or_default();
        headers.remove(HEADER);
        // The server would go on from it, and the count is to begin anew.
        headers.remove(losses::DELIVERY_COUNT);
        let properties = self.properties.clone().with_headers(headers.into());
        match short("expiration", &self.mark(EXPIRATION)) {
            Ok(expiration) if !expiration.as_str().is_empty() => properties.with_expiration(expiration),
            Ok(_) | Err(_) => properties,
        }
    }

    fn aside(self) -> Aside {
        Aside {
            tag: self.mark(ID),
            reason: self.mark(REASON),
            target: Target {
                exchange: self.mark(EXCHANGE),
                routing_key: self.mark(ROUTING_KEY),
            },
            history: self.history(),
            message: Ok(properties::from_amqp(&self.unmarked(), self.body.into(), 0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::{Kept, RawProperties};
    use super::*;

    #[test]
    fn what_cannot_be_read_is_set_aside_all_the_same() {
        let not_in_utf_8 = RawProperties(bytes::Bytes::from_static(b"\x80\0\x01\xff"));
        assert!(not_in_utf_8.message(bytes::Bytes::new(), 1).is_err());
        let held = Held {
            queue: "q".to_owned(),
            exchange: "celery".to_owned(),
            routing_key: "k".to_owned(),
            properties: Kept::Raw(not_in_utf_8),
            body: bytes::Bytes::from_static(b"kept"),
            losses: 0,
        };
        let history = History {
            at_unix_ms: 1,
            worker: "w".to_owned(),
            losses: 0,
        };
        let properties = marked(&held, "strange", &history).unwrap();
        assert!(
            properties
                .headers()
                .as_ref()
                .unwrap()
                .inner()
                .contains_key(HEADER)
        );
    }
}
