//! What is special to `RabbitMQ` when consuming: lost connections, cancelled consumers, acks.
#![expect(clippy::unwrap_used, reason = "a broken assumption ends the test")]

#[path = "support/proxy.rs"]
#[expect(dead_code, reason = "each test file uses its part")]
mod proxy;
#[path = "support/amqp.rs"]
#[expect(dead_code, reason = "each test file uses its part")]
mod yard;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::broker::topology::QueueSpec;
use celeriac_core::broker::url::BrokerUrl;
use celeriac_core::broker::{self, Consumer, ConsumerConfig, Publisher, Verdict};
use celeriac_core::error::Error;
use celeriac_core::intake::{self, Event, Intake};
use celeriac_core::time::{Deadline, ManualClock, SystemClock};
use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use proxy::Proxy;
use yard::{Yard, body, in_ms, numbered, queue, reserve, send_all, settle, soon};

fn consumer(url: &BrokerUrl, queues: Vec<QueueSpec>) -> Arc<dyn Consumer> {
    let config = ConsumerConfig {
        node: "celery@test".to_owned(),
        queues,
        prefetch: 400,
        eta_room: 0,
    };
    broker::open_consumer(url, config).unwrap()
}

/// A yard with a filled queue, its name, and a publisher.
fn filled(count: usize) -> (Yard, String, Arc<dyn Publisher>) {
    let yard = Yard::fresh();
    let publisher = broker::open_publisher(&yard.url("")).unwrap();
    let name = yard.name("q");
    publisher.declare(&queue(&name), soon()).unwrap();
    if count > 0 {
        assert_eq!(send_all(&*publisher, numbered(&name, count)), []);
    }
    (yard, name, publisher)
}

#[test]
fn a_cut_connection_consumes_again_and_its_old_tokens_settle_nothing() {
    let (yard, name, publisher) = filled(3);
    let proxy = Proxy::before(&yard.address());
    let consumer = consumer(&yard.url_at(proxy.port, ""), vec![queue(&name)]);
    let old = reserve(&*consumer, 3);
    proxy.cut();
    let again = reserve(&*consumer, 3);
    assert!(again.iter().all(|delivery| delivery.redelivered));
    // The tags are the same on both connections.
    settle(&*consumer, old, &Verdict::Ack);
    consumer.close(soon());
    wait_left(&*publisher, &[&name], 3);
    drop(again);
}

#[test]
fn a_connection_that_falls_silent_is_noticed_by_its_heartbeats() {
    let (yard, name, publisher) = filled(1);
    let proxy = Proxy::before(&yard.address());
    let consumer = consumer(&yard.url_at(proxy.port, "heartbeat=1"), vec![queue(&name)]);
    // Longer than the server waits for a sign of us: only heartbeats keep the connection.
    settle(&*consumer, reserve(&*consumer, 1), &Verdict::Ack);
    assert!(consumer.reserve(1, in_ms(4_000)).unwrap().is_empty());
    assert_eq!(proxy.connections(), 1);
    proxy.mute();
    assert_eq!(send_all(&*publisher, numbered(&name, 1)), []);
    let begun = Deadline::after(Duration::from_secs(5));
    let again = reserve(&*consumer, 1);
    assert!(!begun.has_passed(), "it took longer than five seconds");
    settle(&*consumer, again, &Verdict::Ack);
}

#[test]
fn a_wait_over_a_silent_connection_never_ends_as_if_there_was_nothing() {
    let (yard, name, _publisher) = filled(0);
    let proxy = Proxy::before(&yard.address());
    let consumer = consumer(&yard.url_at(proxy.port, "heartbeat=1"), vec![queue(&name)]);
    assert!(consumer.reserve(1, in_ms(1)).unwrap().is_empty());
    proxy.mute();
    let waited = consumer.reserve(1, in_ms(1));
    assert!(matches!(waited, Err(Error::Disconnected { .. })), "{waited:?}");
}

#[test]
fn a_crash_between_confirm_and_ack_doubles_what_was_handed_over_and_loses_nothing() {
    const COUNT: usize = 10;
    let (yard, name, publisher) = filled(COUNT);
    let proxy = Proxy::before(&yard.address());
    let dying = consumer(&yard.url_at(proxy.port, ""), vec![queue(&name)]);
    let held = reserve(&*dying, COUNT);
    // From here on the server hears nothing over this connection. The one to the delay queues is
    // opened with the first hand-over, and confirms.
    proxy.mute();
    let until_unix_ms = SystemClock::shared().unix_ms() + 2_900;
    settle(&*dying, held, &Verdict::Delay { until_unix_ms });
    proxy.cut();
    dying.close(in_ms(1_000));
    let survivor = consumer(&yard.url(""), vec![queue(&name)]);
    let arrived = reserve(&*survivor, 2 * COUNT);
    let ids: BTreeSet<String> = arrived.iter().map(body).collect();
    assert_eq!(ids.len(), COUNT);
    settle(&*survivor, arrived, &Verdict::Ack);
    survivor.close(soon());
    wait_left(&*publisher, &[&name], 0);
}

#[test]
fn what_was_delayed_again_and_again_still_arrives() {
    let (yard, name, _publisher) = filled(1);
    let consumer = consumer(&yard.url(""), vec![queue(&name)]);
    for _ in 0..3 {
        let held = reserve(&*consumer, 1);
        assert_eq!(held[0].target.routing_key, name);
        let until_unix_ms = SystemClock::shared().unix_ms() + 1_500;
        settle(&*consumer, held, &Verdict::Delay { until_unix_ms });
    }
    assert_eq!(reserve(&*consumer, 1).len(), 1);
}

#[test]
fn what_is_delayed_comes_early_to_who_waits_for_the_rest() {
    let (yard, name, _publisher) = filled(1);
    let consumer = consumer(&yard.url(""), vec![queue(&name)]);
    consumer.may_end_delays_early(Duration::from_secs(5));
    let delayed = reserve(&*consumer, 1);
    let due = Deadline::after(Duration::from_secs(7));
    let until_unix_ms = SystemClock::shared().unix_ms() + 7_000;
    settle(&*consumer, delayed, &Verdict::Delay { until_unix_ms });
    let again = reserve(&*consumer, 1);
    let left = due.left();
    assert!(
        left > Duration::from_secs(1) && left <= Duration::from_secs(5),
        "{left:?}"
    );
    settle(&*consumer, again, &Verdict::Ack);
}

#[test]
fn an_eta_that_waits_while_its_connection_is_lost_is_handed_out_once() {
    const COUNT: usize = 40;
    let (yard, name, publisher) = filled(0);
    let proxy = Proxy::before(&yard.address());
    let config = ConsumerConfig {
        node: "celery@test".to_owned(),
        queues: vec![queue(&name)],
        prefetch: 4,
        eta_room: 1_000,
    };
    let consumer = broker::open_consumer(&yard.url_at(proxy.port, ""), config).unwrap();
    // 2030-01-01T00:00:00Z, five seconds before the eta of all.
    let clock = ManualClock::at(1_893_456_000_000);
    let config = intake::Config {
        prefetch: 4,
        ..intake::Config::default()
    };
    let messages = numbered(&name, COUNT).into_iter().map(|mut outgoing| {
        let id = &outgoing.message.properties.delivery_tag;
        let headers = format!(r#"{{"task": "t", "id": "{id}", "eta": "2030-01-01T00:00:05Z"}}"#);
        outgoing.message.headers = Bytes::from(headers);
        outgoing
    });
    assert_eq!(send_all(&*publisher, messages.collect()), []);
    let intake = Intake::new(consumer, None, Arc::<ManualClock>::clone(&clock), &config).unwrap();
    intake.start().unwrap();
    for _ in 0..3 {
        wait_until(&intake, |intake| intake.delayed().len() == COUNT);
        proxy.cut();
        wait_until(&intake, |intake| intake.delayed().len() < COUNT);
    }
    wait_until(&intake, |intake| intake.delayed().len() == COUNT);
    clock.advance(5_000);
    let mut found = Vec::new();
    wait_until(&intake, |intake| {
        for event in intake.next_events(100, in_ms(1)).unwrap() {
            if let Event::Delivery(held) = event {
                found.push(held.peek.id.clone().unwrap());
                intake.settle(&held, Verdict::Ack, None).unwrap();
            }
        }
        found.len() >= COUNT
    });
    assert!(intake.flush(soon()));
    assert!(intake.delayed().is_empty());
    intake.close(soon()).unwrap();
    let once: BTreeSet<_> = found.iter().collect();
    assert_eq!((once.len(), found.len()), (COUNT, COUNT));
    assert_eq!(publisher.depth(&name, soon()).unwrap(), 0);
}

/// Takes events as a worker does, and drops them, until something is so.
fn wait_until(intake: &Intake, mut is_so: impl FnMut(&Intake) -> bool) {
    let deadline = soon();
    while !is_so(intake) {
        assert!(!deadline.has_passed(), "it did not happen");
        for event in intake.next_events(100, in_ms(5)).unwrap() {
            assert!(matches!(event, Event::Trouble(_)), "{event:?}");
        }
    }
}

#[test]
fn what_is_settled_after_a_cut_comes_again_without_an_error() {
    let (yard, name, _publisher) = filled(1);
    let proxy = Proxy::before(&yard.address());
    let consumer = consumer(&yard.url_at(proxy.port, ""), vec![queue(&name)]);
    let held = reserve(&*consumer, 1);
    proxy.cut();
    settle(&*consumer, held, &Verdict::Ack);
    let again = reserve(&*consumer, 1);
    assert_eq!(body(&again[0]), "0");
    settle(&*consumer, again, &Verdict::Ack);
}

#[test]
fn a_queue_that_was_deleted_is_declared_and_consumed_again() {
    let (yard, name, publisher) = filled(1);
    let other = yard.name("other");
    let consumer = consumer(&yard.url(""), vec![queue(&name), queue(&other)]);
    let held = reserve(&*consumer, 1);
    yard.raw(async |channel| {
        let options = QueueDeleteOptions::default();
        channel.queue_delete(name.as_str().into(), options).await.unwrap();
    });
    assert!(consumer.reserve(1, in_ms(500)).unwrap().is_empty());
    assert_eq!(send_all(&*publisher, numbered(&name, 2)), []);
    assert_eq!(reserve(&*consumer, 2).len(), 2);
    // The channel stands: the other queue goes on, and old tokens do no harm.
    settle(&*consumer, held, &Verdict::Ack);
    assert_eq!(send_all(&*publisher, numbered(&other, 1)), []);
    assert_eq!(reserve(&*consumer, 1)[0].queue, other);
}

/// Waits until so many messages are in the queues: quorum queues count by and by.
fn wait_left(publisher: &dyn Publisher, queues: &[&String], expected: usize) {
    let deadline = soon();
    let left = || -> u64 {
        let depths = queues.iter().map(|queue| publisher.depth(queue, soon()).unwrap());
        depths.sum()
    };
    while usize::try_from(left()).unwrap() != expected {
        assert!(!deadline.has_passed(), "{} are left, not {expected}", left());
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn what_was_acked_just_before_the_end_stays_acked_on_a_quorum_queue() {
    let yard = Yard::fresh();
    let publisher = broker::open_publisher(&yard.url("")).unwrap();
    let spec = QueueSpec {
        arguments: vec![("x-queue-type".to_owned(), "\"quorum\"".to_owned())],
        ..queue(&yard.name("quorum"))
    };
    publisher.declare(&spec, soon()).unwrap();
    assert_eq!(send_all(&*publisher, numbered(&spec.name, 400)), []);
    let consumer = consumer(&yard.url(""), vec![spec.clone()]);
    // The first one stays unsettled, so that each ack needs a word of its own.
    let mut all = reserve(&*consumer, 400);
    let kept = all.remove(0);
    settle(&*consumer, all, &Verdict::Ack);
    consumer.close(soon());
    wait_left(&*publisher, &[&spec.name], 1);
    drop(kept);
}

#[test]
fn acks_leave_exactly_what_was_not_acked() {
    let (yard, name, publisher) = filled(300);
    let other = yard.name("other");
    publisher.declare(&queue(&other), soon()).unwrap();
    assert_eq!(send_all(&*publisher, numbered(&other, 300)), []);
    let both = vec![queue(&name), queue(&other)];
    let first = consumer(&yard.url(""), both.clone());
    let mut kept = BTreeSet::new();
    let mut handled = 0;
    for round in 0..40 {
        let (acked, held): (Vec<_>, Vec<_>) = reserve(&*first, 10)
            .into_iter()
            .enumerate()
            .partition(|(at, _)| (at + round) % 4 != 0);
        kept.extend(
            held.iter()
                .map(|(_, delivery)| (delivery.queue.clone(), body(delivery))),
        );
        handled += acked.len();
        let acked = acked.into_iter().map(|(_, delivery)| delivery).rev().collect();
        settle(&*first, acked, &Verdict::Ack);
    }
    first.close(soon());
    wait_left(&*publisher, &[&name, &other], 600 - handled);
    let second = consumer(&yard.url(""), both);
    let back: BTreeSet<_> = reserve(&*second, 600 - handled)
        .iter()
        .map(|delivery| (delivery.queue.clone(), body(delivery)))
        .collect();
    assert!(back.is_superset(&kept));
}

#[test]
fn the_window_is_the_prefetch_again_when_etas_have_come() {
    let (yard, name, publisher) = filled(400);
    let config = ConsumerConfig {
        node: "celery@test".to_owned(),
        queues: vec![queue(&name)],
        prefetch: 4,
        eta_room: 1_000,
    };
    let consumer = broker::open_consumer(&yard.url(""), config).unwrap();
    let waiting: Vec<_> = (0..50).flat_map(|_| reserve(&*consumer, 4)).collect();
    settle(&*consumer, waiting, &Verdict::Ack);
    for _ in 0..30 {
        settle(&*consumer, reserve(&*consumer, 4), &Verdict::Ack);
    }
    // 320 are settled; what the server has pushed beside them is the prefetch.
    assert!(publisher.depth(&name, soon()).unwrap() >= 76);
}

#[test]
fn a_message_of_a_stranger_arrives_as_it_is() {
    let (yard, name, _publisher) = filled(0);
    yard.raw(async |channel| {
        let mut headers = FieldTable::default();
        headers.insert("n".into(), AMQPValue::ShortUInt(7));
        headers.insert("raw".into(), AMQPValue::LongString(vec![0xff].into()));
        let properties = BasicProperties::default().with_headers(headers);
        for (body, properties) in [
            (&b"bare"[..], BasicProperties::default()),
            (b"tabled", properties),
        ] {
            let options = BasicPublishOptions::default();
            let sent = channel.basic_publish("".into(), name.as_str().into(), options, body, properties);
            sent.await.unwrap();
        }
    });
    let consumer = consumer(&yard.url(""), vec![queue(&name)]);
    let found = reserve(&*consumer, 2);
    let bare = found[0].message.as_ref().unwrap();
    assert_eq!(&bare.headers[..], b"{}");
    assert_eq!(bare.properties.content_type, "");
    let tabled = found[1].message.as_ref().unwrap();
    let expected = br#"{"n": 7, "raw": {"__type__": "base64", "__value__": "/w=="}}"#;
    assert_eq!(&tabled.headers[..], expected);
    // Set aside and put back, nothing of it is lost.
    settle(&*consumer, found, &Verdict::SetAside("strange".to_owned()));
    let publisher = broker::open_publisher(&yard.url("")).unwrap();
    let kept = publisher.list_aside(&name, 10, soon()).unwrap();
    let tags: Vec<String> = kept.iter().map(|aside| aside.tag.clone()).collect();
    assert_eq!(publisher.restore_aside(&name, &tags, soon()).unwrap(), 2);
    let back = reserve(&*consumer, 2);
    let headers: Vec<_> = back
        .iter()
        .map(|delivery| delivery.message.as_ref().unwrap().headers.clone())
        .collect();
    assert_eq!(headers, [&b"{}"[..], expected]);
}

#[test]
fn a_queue_that_the_server_refuses_is_told_with_a_remedy_and_the_others_go_on() {
    let (yard, name, publisher) = filled(1);
    let consumer = consumer(&yard.url(""), vec![queue(&name)]);
    settle(&*consumer, reserve(&*consumer, 1), &Verdict::Ack);
    let limited = QueueSpec {
        arguments: vec![("x-max-length".to_owned(), "5".to_owned())],
        ..queue(&yard.name("limited"))
    };
    publisher.declare(&limited, soon()).unwrap();
    let refusal = consumer.add_queue(&queue(&limited.name), soon()).unwrap_err();
    assert!(
        matches!(refusal, Error::Refused { passing: false, .. }),
        "{refusal}"
    );
    assert!(
        refusal.to_string().contains("delete it on the server"),
        "{refusal}"
    );
    assert_eq!(send_all(&*publisher, numbered(&name, 1)), []);
    assert_eq!(reserve(&*consumer, 1).len(), 1);
}

#[test]
fn what_is_set_aside_outlives_its_expiry_and_has_it_again_when_it_is_put_back() {
    let (yard, name, publisher) = filled(0);
    let mut brief = numbered(&name, 1);
    brief[0].message.properties.expiration = Some("60000".to_owned());
    assert_eq!(send_all(&*publisher, brief), []);
    let consumer = consumer(&yard.url(""), vec![queue(&name)]);
    settle(
        &*consumer,
        reserve(&*consumer, 1),
        &Verdict::SetAside("why".to_owned()),
    );
    let expirations = yard.raw(async |channel| {
        let kept = format!("celeriac.aside.{name}");
        let found = channel
            .basic_get(kept.into(), BasicGetOptions::default())
            .await
            .unwrap();
        found.unwrap().delivery.properties.expiration().clone()
    });
    assert_eq!(expirations, None);
    let kept = publisher.list_aside(&name, 1, soon()).unwrap();
    let tags = [kept[0].tag.clone()];
    assert_eq!(publisher.restore_aside(&name, &tags, soon()).unwrap(), 1);
    let back = reserve(&*consumer, 1);
    let expiration = &back[0].message.as_ref().unwrap().properties.expiration;
    assert_eq!(expiration.as_deref(), Some("60000"));
}

#[test]
fn a_quorum_queue_counts_dead_consumers_and_a_lost_process_adds_to_it() {
    let yard = Yard::fresh();
    let publisher = broker::open_publisher(&yard.url("")).unwrap();
    let spec = QueueSpec {
        arguments: vec![("x-queue-type".to_owned(), "\"quorum\"".to_owned())],
        ..queue(&yard.name("quorum"))
    };
    publisher.declare(&spec, soon()).unwrap();
    assert_eq!(send_all(&*publisher, numbered(&spec.name, 1)), []);
    let proxy = Proxy::before(&yard.address());
    let consumer = consumer(&yard.url_at(proxy.port, ""), vec![spec]);
    let mut counts = Vec::new();
    for _ in 0..2 {
        let held = reserve(&*consumer, 1);
        counts.push(held[0].losses);
        proxy.cut();
    }
    settle(&*consumer, reserve(&*consumer, 1), &Verdict::RequeueLost);
    let held = reserve(&*consumer, 1);
    counts.push(held[0].losses);
    // Ends with an answer of the server: it has the ack of the first copy before the connection ends.
    assert!(consumer.reserve(1, in_ms(1)).unwrap().is_empty());
    proxy.cut();
    counts.push(reserve(&*consumer, 1)[0].losses);
    assert_eq!(counts, [0, 1, 3, 4]);
}
