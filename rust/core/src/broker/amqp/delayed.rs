//! What waits for a far eta: in Celery's cascade of delay queues.
//!
//! Level n holds a message for 2^n seconds and passes it on to level n-1, or skips it, as bit n of
//! the delay says; the bits stand in front of the routing key. What leaves the last level reaches
//! an exchange to which each of our queues is bound. Celery binds task exchanges to it, and only
//! by topic: for the default queue that would deliver nothing.
//!
//! Source: kombu `native_delayed_delivery.py` (names, arguments, bindings).

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::{
    BasicPublishOptions, ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ExchangeKind};
use parking_lot::Mutex;

use super::custody::Held;
use super::headers::short;
use super::link::{Fault, Link, Live, Role, open_channel};
use super::properties;
use crate::broker::url::BrokerUrl;
use crate::error::Result;
use crate::wire::message::Target;

const LEVELS: u32 = 28;
/// Where messages come out.
const DELIVERY: &str = "celery_delayed_delivery";
/// Longer delays come out, and are handed over again.
const LONGEST_S: u64 = (1 << LEVELS) - 1;
/// What is due at the same time leaves the cascade one after the other: with one or two thousand
/// messages a second on two cores (`benches/eta`). So they leave it a little early.
const EARLY_S: u64 = 4;
/// A header of ours: a table with exchange and routing key of the message as it was published.
pub(super) const HEADER: &str = "celeriac_delayed";
const EXCHANGE: &str = "exchange";
const ROUTING_KEY: &str = "routing_key";
/// What the server adds on the way, and what would make it deliver copies. With the first of them
/// left, it takes a second round for a cycle, and drops the message without a word.
const STRIPPED: &[&str] = &[
    "x-death",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-last-death-exchange",
    "x-last-death-queue",
    "x-last-death-reason",
    "x-delivery-count",
    "CC",
    "BCC",
];

/// Publishes to the cascade, over a connection of its own that is opened when it is needed.
#[derive(Debug)]
pub(super) struct Delayer {
    link: Link,
    queue_type: String,
    /// How many seconds before it is due a message leaves.
    early_s: AtomicU64,
    /// What is declared over the link's present channel.
    declared: Mutex<Declared>,
}

#[derive(Debug, Default)]
struct Declared {
    serial: u64,
    queues: HashSet<String>,
}

impl Delayer {
    pub(super) fn new(url: &BrokerUrl, node: &str) -> Result<Self> {
        Ok(Self {
            link: Link::new(url, &format!("{node} (delays)"), Role::Confirms)?,
            queue_type: url
                .options
                .text("delayed_queue_type")?
                .unwrap_or_else(|| "quorum".to_owned()),
            early_s: AtomicU64::new(0),
            declared: Mutex::default(),
        })
    }

    /// See [`crate::broker::Consumer::may_end_delays_early`].
    pub(super) fn may_end_early(&self, by: Duration) {
        self.early_s.store(early_s(by), Ordering::Relaxed);
    }

    /// How long a message is to stay in the cascade; 0 where it cannot measure what is left.
    pub(super) fn wait_s(&self, until_unix_ms: u64, now_unix_ms: u64) -> u64 {
        wait_s(until_unix_ms, now_unix_ms, self.early_s.load(Ordering::Relaxed))
    }

    /// Hands deliveries over, each for so many seconds; says of each whether the server has it.
    pub(super) async fn put(&self, letters: &[(u64, &Held)]) -> Vec<Result<()>> {
        match self.ready(letters).await {
            Ok(live) => {
                let sent = letters
                    .iter()
                    .map(|(wait_s, held)| self.publish(&live.channel, *wait_s, held));
                join_all(sent).await
            }
            Err(error) => letters.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    pub(super) async fn close(&self) {
        self.link.close().await;
    }

    /// A channel, after cascade and bindings are declared.
    async fn ready(&self, letters: &[(u64, &Held)]) -> Result<Live> {
        let live = self.link.live().await?;
        let missing: HashSet<&str> = {
            let declared = self.declared.lock();
            let is_known = |queue: &str| declared.serial == live.serial && declared.queues.contains(queue);
            let queues = letters.iter().map(|(_, held)| held.queue.as_str());
            queues.filter(|queue| !is_known(queue)).collect()
        };
        if missing.is_empty() {
            return Ok(live);
        }
        let begun = self.declared.lock().serial == live.serial;
        let made = async {
            if !begun {
                declare(&live.connection, &self.queue_type).await?;
            }
            let channel = open_channel(&live.connection, Role::Plain).await?;
            for queue in &missing {
                bind(&channel, queue).await?;
            }
            channel.close(200, "done".into()).await?;
            Ok::<_, Fault>(())
        };
        made.await.map_err(|fault| self.link.error(&fault))?;
        let mut declared = self.declared.lock();
        if declared.serial != live.serial {
            *declared = Declared {
                serial: live.serial,
                queues: HashSet::new(),
            };
        }
        declared.queues.extend(missing.into_iter().map(str::to_owned));
        Ok(live)
    }

    async fn publish(&self, channel: &Channel, wait_s: u64, held: &Held) -> Result<()> {
        let key = short("a routing key with a delay", &delayed_key(wait_s, &held.queue))?;
        let properties = marked(held)?;
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let sent = async {
            let confirm = channel
                .basic_publish(entry(wait_s), key, options, &held.body, properties)
                .await?;
            confirm.await
        };
        match sent.await {
            Ok(Confirmation::Ack(None)) => Ok(()),
            Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => {
                // Somebody has deleted it: it is declared again with the next try.
                *self.declared.lock() = Declared::default();
                Err(self
                    .link
                    .refused("the delay queues are gone; they are declared again", true))
            }
            Ok(Confirmation::Nack(None) | Confirmation::NotRequested) => {
                let cause = "the delay queues take no message: they are full, or their leader is away";
                Err(self.link.refused(cause, true))
            }
            Err(error) => Err(self.link.error(&error.into())),
        }
    }
}

fn name(level: u32) -> ShortString {
    ShortString::from(format!("celery_delayed_{level}"))
}

/// Where a message goes in: at the first level that keeps it. Through each one above, the server
/// would look for its way, which takes more than all the rest.
fn entry(wait_s: u64) -> ShortString {
    name(wait_s.clamp(1, LONGEST_S).ilog2())
}

/// The delay in binary, and the queue as one word: a dot in its name would make it look like
/// another queue's at its end.
fn delayed_key(wait_s: u64, queue: &str) -> String {
    let wait_s = wait_s.min(LONGEST_S);
    let mut key = String::new();
    for level in (0..LEVELS).rev() {
        key.push_str(if wait_s >> level & 1 == 1 { "1." } else { "0." });
    }
    key + &word(queue)
}

fn word(queue: &str) -> String {
    let mut word = String::with_capacity(queue.len());
    for letter in queue.chars() {
        match letter {
            '.' => word.push_str("%2E"),
            '*' => word.push_str("%2A"),
            '#' => word.push_str("%23"),
            '%' => word.push_str("%25"),
            other => word.push(other),
        }
    }
    word
}

/// Declares the cascade as Celery does. A queue that is there with other arguments stays as it is:
/// whoever made it wanted it so, and it delays all the same.
async fn declare(connection: &Connection, queue_type: &str) -> Result<(), Fault> {
    let channel = open_channel(connection, Role::Plain).await?;
    declare_exchange(&channel, DELIVERY.into()).await?;
    for level in 0..LEVELS {
        declare_exchange(&channel, name(level)).await?;
    }
    let ones = |level: u32| ShortString::from("*.".repeat(stars(level)) + "1.#");
    let zeros = |level: u32| ShortString::from("*.".repeat(stars(level)) + "0.#");
    for level in 0..LEVELS {
        declare_queue(connection, level, queue_type).await?;
        let bound = channel.queue_bind(
            name(level),
            name(level),
            ones(level),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await?;
        let next = level.checked_sub(1).map_or_else(|| DELIVERY.into(), name);
        let bound = channel.exchange_bind(
            next,
            name(level),
            zeros(level),
            ExchangeBindOptions::default(),
            FieldTable::default(),
        );
        bound.await?;
    }
    Ok(channel.close(200, "done".into()).await?)
}

/// How many bits stand in front of a level's.
fn stars(level: u32) -> usize {
    usize::try_from(LEVELS - 1 - level).unwrap_or(0)
}

async fn declare_exchange(channel: &Channel, exchange: ShortString) -> Result<(), Fault> {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let declared = channel.exchange_declare(exchange, ExchangeKind::Topic, options, FieldTable::default());
    Ok(declared.await?)
}

async fn declare_queue(connection: &Connection, level: u32, queue_type: &str) -> Result<(), Fault> {
    let mut arguments = FieldTable::default();
    let mut text = |key: &str, value: &str| {
        arguments.insert(key.into(), AMQPValue::LongString(value.into()));
    };
    text("x-queue-type", queue_type);
    text("x-overflow", "reject-publish");
    let next = level
        .checked_sub(1)
        .map_or_else(|| DELIVERY.to_owned(), |next| name(next).to_string());
    text("x-dead-letter-exchange", &next);
    if queue_type == "quorum" {
        text("x-dead-letter-strategy", "at-least-once");
    }
    // As py-amqp writes them: what fits into 32 bits, and what does not.
    let ttl_ms = 1000_i64 << level;
    let ttl = i32::try_from(ttl_ms).map_or(AMQPValue::LongLongInt(ttl_ms), AMQPValue::LongInt);
    arguments.insert("x-message-ttl".into(), ttl);
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    // A refusal closes the channel.
    let channel = open_channel(connection, Role::Plain).await?;
    match channel.queue_declare(name(level), options, arguments).await {
        Ok(_) => Ok(channel.close(200, "done".into()).await?),
        Err(error) => {
            let fault = Fault::from(error);
            if !fault.is_refusal() {
                return Err(fault);
            }
            tracing::warn!(level, refusal = %fault.words(), "a delay queue is declared otherwise already; it is used as it is");
            let channel = open_channel(connection, Role::Plain).await?;
            let passive = QueueDeclareOptions {
                passive: true,
                ..options
            };
            channel
                .queue_declare(name(level), passive, FieldTable::default())
                .await?;
            Ok(channel.close(200, "done".into()).await?)
        }
    }
}

async fn bind(channel: &Channel, queue: &str) -> Result<(), Fault> {
    let Ok(queue_name) = short("the name of a queue", queue) else {
        return Ok(());
    };
    let bound = channel.queue_bind(
        queue_name,
        DELIVERY.into(),
        ShortString::from(format!("#.{}", word(queue))),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    Ok(bound.await?)
}

/// Binds a queue that is about to be consumed, where there is a cascade: it may be a new one of an
/// old name, for which messages wait. Closes the channel.
pub(super) async fn bind_if_there(channel: Channel, queue: &str) -> Result<(), Fault> {
    let passive = ExchangeDeclareOptions {
        passive: true,
        ..ExchangeDeclareOptions::default()
    };
    let found = channel
        .exchange_declare(
            DELIVERY.into(),
            ExchangeKind::Topic,
            passive,
            FieldTable::default(),
        )
        .await;
    match found.map_err(Fault::from) {
        Ok(()) => {
            bind(&channel, queue).await?;
            Ok(channel.close(200, "done".into()).await?)
        }
        Err(fault) if fault.is_refusal() => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// A delivery's properties for the cascade. Its expiry would end its wait early; the header
/// `expires`, which Celery's workers regard, stays.
fn marked(held: &Held) -> Result<BasicProperties> {
    let properties = held.properties.read()?;
    let mut headers = stripped(&properties);
    let mut mark = FieldTable::default();
    mark.insert(
        EXCHANGE.into(),
        AMQPValue::LongString(held.exchange.as_str().into()),
    );
    mark.insert(
        ROUTING_KEY.into(),
        AMQPValue::LongString(held.routing_key.as_str().into()),
    );
    headers.insert(HEADER.into(), AMQPValue::FieldTable(mark));
    let mut message = properties::from_amqp(&properties, bytes::Bytes::new(), 0);
    message.properties.expiration = None;
    // The server compares it with who publishes now.
    message.properties.extra.retain(|(name, _)| name != "user_id");
    message.headers = bytes::Bytes::from_static(b"{}");
    Ok(properties::to_amqp(&message)?.with_headers(headers))
}

pub(super) fn stripped(properties: &BasicProperties) -> FieldTable {
    let headers = properties.headers().as_ref();
    let mut kept = headers.map(|headers| headers.inner().clone()).unwrap_or_default();
    kept.retain(|name, _| !STRIPPED.contains(&name.as_str()));
    kept.into()
}

/// A message that comes out of the cascade, as it was before one of us put it there.
pub(super) fn restored(properties: &BasicProperties) -> Option<(Target, BasicProperties)> {
    let AMQPValue::FieldTable(mark) = properties.headers().as_ref()?.inner().get(HEADER)? else {
        return None;
    };
    let text = |name: &str| match mark.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        _ => String::new(),
    };
    let target = Target {
        exchange: text(EXCHANGE),
        routing_key: text(ROUTING_KEY),
    };
    let mut headers = stripped(properties).inner().clone();
    headers.remove(HEADER);
    Some((target, properties.clone().with_headers(headers.into())))
}

/// How many seconds early messages leave for a worker that waits out `by` at most, of which a second
/// is what the cascade cannot measure.
fn early_s(by: Duration) -> u64 {
    by.as_secs().saturating_sub(1).min(EARLY_S)
}

fn wait_s(until_unix_ms: u64, now_unix_ms: u64, early_s: u64) -> u64 {
    let left_s = until_unix_ms.saturating_sub(now_unix_ms) / 1000;
    // What would come back so soon is not worth a second way.
    if left_s > early_s + 1 {
        left_s - early_s
    } else {
        left_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_in_at_the_first_level_that_keeps_it() {
        let levels = [1, 2, 3, 256, 511, LONGEST_S, u64::MAX].map(|wait_s| entry(wait_s).to_string());
        let expected = [0, 1, 1, 8, 8, LEVELS - 1, LEVELS - 1].map(|level| name(level).to_string());
        assert_eq!(levels, expected);
    }

    #[test]
    fn a_delay_stands_in_front_of_the_key_in_binary() {
        let key = delayed_key(5, "celery");
        assert_eq!(key, format!("{}1.0.1.celery", "0.".repeat(25)));
        assert!(delayed_key(u64::MAX, "q").starts_with(&"1.".repeat(28)));
    }

    #[test]
    fn a_queue_is_one_word_so_that_no_other_queues_pattern_matches() {
        assert_eq!(word("mail.high"), "mail%2Ehigh");
        assert_ne!(word("a%2Eb"), word("a.b"));
    }

    #[test]
    fn a_delay_is_cut_to_whole_seconds_so_that_it_is_never_late() {
        assert_eq!(wait_s(11_999, 10_000, 0), 1);
        assert_eq!(wait_s(9_000, 10_000, 0), 0);
    }

    #[test]
    fn a_delay_ends_early_for_who_waits_for_the_rest() {
        let horizons_s = [0.2, 1.0, 2.0, 5.0, 600.0].map(Duration::from_secs_f64);
        assert_eq!(horizons_s.map(early_s), [0, 0, 1, 4, 4]);
        let wait_s = |left_ms: u64| wait_s(10_000 + left_ms, 10_000, 4);
        assert_eq!([60_900, 6_000, 5_999, 1_000, 0].map(wait_s), [56, 2, 5, 1, 0]);
    }

    #[test]
    fn what_comes_out_is_what_went_in() {
        let mut headers = FieldTable::default();
        headers.insert("id".into(), AMQPValue::LongString("i".into()));
        let sent = BasicProperties::default()
            .with_headers(headers.clone())
            .with_expiration("60000".into())
            .with_priority(3);
        let held = Held {
            queue: "q".to_owned(),
            exchange: "celery".to_owned(),
            routing_key: "k".to_owned(),
            properties: sent.into(),
            body: bytes::Bytes::new(),
            losses: 0,
        };
        let mut on_its_way = marked(&held).unwrap();
        assert_eq!(on_its_way.expiration(), &None);
        let mut table = on_its_way.headers().clone().unwrap().inner().clone();
        table.insert("x-death".into(), AMQPValue::Void);
        on_its_way = on_its_way.with_headers(table.into());
        let (target, properties) = restored(&on_its_way).unwrap();
        assert_eq!(
            (target.exchange.as_str(), target.routing_key.as_str()),
            ("celery", "k")
        );
        assert_eq!(properties.headers(), &Some(headers));
        assert_eq!(properties.priority(), &Some(3));
    }
}
