//! How often who held a message died.
//!
//! Quorum queues count lost consumers, in a header. Nobody on the server counts processes of a
//! worker, and none may change a message in its queue: that one is published to its queue once more,
//! with a header of ours, and acked when the server has it. It loses its place in front.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use super::aside;
use super::custody::Held;
use super::delayed;
use super::link::Link;
use crate::error::Result;
use crate::wire::message::Target;

/// A header of ours: a table with the members below.
pub(super) const HEADER: &str = "celeriac_losses";
const COUNT: &str = "count";
const EXCHANGE: &str = "exchange";
const ROUTING_KEY: &str = "routing_key";
/// The server's own.
pub(super) const DELIVERY_COUNT: &str = "x-delivery-count";

/// What is known of a delivery's losses.
///
/// A server before 4.3 counts what was handed back in order, too; a classic queue counts nothing.
pub(super) fn of(properties: &BasicProperties) -> u32 {
    let Some(headers) = properties.headers() else {
        return 0;
    };
    let theirs = headers.inner().get(DELIVERY_COUNT).map_or(0, number);
    let ours = mark(properties)
        .and_then(|mark| mark.inner().get(COUNT))
        .map_or(0, number);
    theirs.saturating_add(ours)
}

fn mark(properties: &BasicProperties) -> Option<&FieldTable> {
    let AMQPValue::FieldTable(mark) = properties.headers().as_ref()?.inner().get(HEADER)? else {
        return None;
    };
    Some(mark)
}

/// A number of whatever width, as somebody else may have written it; 0 for anything else.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is no whole number counts nothing"
)]
pub(super) fn number(value: &AMQPValue) -> u32 {
    let number = match value {
        AMQPValue::ShortShortInt(number) => i64::from(*number),
        AMQPValue::ShortShortUInt(number) => i64::from(*number),
        AMQPValue::ShortInt(number) => i64::from(*number),
        AMQPValue::ShortUInt(number) => i64::from(*number),
        AMQPValue::LongInt(number) => i64::from(*number),
        AMQPValue::LongUInt(number) => i64::from(*number),
        AMQPValue::LongLongInt(number) => *number,
        _ => 0,
    };
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// A message that was published again, as it was before.
pub(super) fn restored(properties: &BasicProperties) -> Option<(Target, BasicProperties)> {
    let mark = mark(properties)?;
    let text = |name: &str| match mark.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        _ => String::new(),
    };
    let target = Target {
        exchange: text(EXCHANGE),
        routing_key: text(ROUTING_KEY),
    };
    let mut headers = properties.headers().as_ref()?.inner().clone();
    headers.remove(HEADER);
    Some((target, properties.clone().with_headers(headers.into())))
}

/// Publishes a delivery to its queue with one loss more; the server has it when this returns.
///
/// # Errors
/// The server refuses, or is lost: the delivery is still where it was.
pub(super) async fn publish_again(link: &Link, held: &Held) -> Result<()> {
    let live = link.live().await?;
    let properties = marked(held)?;
    aside::publish(link, &live.channel, &held.queue, &held.body, properties).await
}

fn marked(held: &Held) -> Result<BasicProperties> {
    let properties = held.properties.read()?;
    let mut mark = FieldTable::default();
    let count = i64::from(held.losses.saturating_add(1));
    mark.insert(COUNT.into(), AMQPValue::LongLongInt(count));
    for (name, value) in [(EXCHANGE, &held.exchange), (ROUTING_KEY, &held.routing_key)] {
        mark.insert(name.into(), AMQPValue::LongString(value.as_str().into()));
    }
    // The server's count begins anew with the copy.
    let mut headers = delayed::stripped(&properties);
    headers.insert(HEADER.into(), AMQPValue::FieldTable(mark));
    Ok(properties.into_owned().with_headers(headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(losses: u32, headers: FieldTable) -> Held {
        Held {
            queue: "q".to_owned(),
            exchange: "celery".to_owned(),
            routing_key: "k".to_owned(),
            properties: BasicProperties::default().with_headers(headers).into(),
            body: bytes::Bytes::new(),
            losses,
        }
    }

    #[test]
    fn a_loss_more_is_counted_and_the_message_is_as_before() {
        let mut headers = FieldTable::default();
        headers.insert("id".into(), AMQPValue::LongString("i".into()));
        let sent = headers.clone();
        headers.insert(DELIVERY_COUNT.into(), AMQPValue::LongLongInt(2));
        let first = held(2, headers);
        assert_eq!(of(&first.properties.read().unwrap()), 2);
        let again = marked(&first).unwrap();
        assert_eq!(of(&again), 3);
        let (target, properties) = restored(&again).unwrap();
        assert_eq!(
            (target.exchange.as_str(), target.routing_key.as_str()),
            ("celery", "k")
        );
        assert_eq!(properties.headers(), &Some(sent));
    }

    #[test]
    fn the_servers_count_is_added_to_ours() {
        let again = marked(&held(4, FieldTable::default())).unwrap();
        let mut headers = again.headers().clone().unwrap();
        headers.insert(DELIVERY_COUNT.into(), AMQPValue::LongInt(2));
        assert_eq!(of(&again.with_headers(headers)), 7);
    }

    #[test]
    fn what_is_no_number_counts_nothing() {
        for value in [
            AMQPValue::Void,
            AMQPValue::LongInt(-3),
            AMQPValue::LongString("9".into()),
        ] {
            let mut headers = FieldTable::default();
            headers.insert(DELIVERY_COUNT.into(), value.clone());
            headers.insert(HEADER.into(), value);
            assert_eq!(of(&BasicProperties::default().with_headers(headers)), 0);
        }
    }
}
