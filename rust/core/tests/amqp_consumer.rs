//! What is special to `RabbitMQ` when consuming: lost connections, cancelled consumers, acks.
#![expect(clippy::unwrap_used, reason = "a broken assumption ends the test")]

#[path = "support/proxy.rs"]
#[expect(dead_code, reason = "each test file uses its part")]
mod proxy;
#[path = "support/amqp.rs"]
mod yard;

use std::collections::BTreeSet;
use std::sync::Arc;

use celeriac_core::broker::topology::QueueSpec;
use celeriac_core::broker::url::BrokerUrl;
use celeriac_core::broker::{self, Consumer, ConsumerConfig, Publisher, Verdict};
use celeriac_core::error::Error;
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeleteOptions};
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
    assert_eq!(publisher.depth(&name, soon()).unwrap(), 3);
    drop(again);
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
    let left = publisher.depth(&name, soon()).unwrap() + publisher.depth(&other, soon()).unwrap();
    assert_eq!(usize::try_from(left).unwrap(), 600 - handled);
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
