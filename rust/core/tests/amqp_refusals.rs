//! What `RabbitMQ` refuses while somebody consumes: it is told with its remedy, and consuming goes on.
#![expect(clippy::unwrap_used, reason = "a broken assumption ends the test")]

#[path = "support/proxy.rs"]
#[expect(dead_code, reason = "each test file uses its part")]
mod proxy;
#[path = "support/amqp.rs"]
mod yard;

use std::sync::Arc;

use celeriac_core::broker::topology::QueueSpec;
use celeriac_core::broker::url::BrokerUrl;
use celeriac_core::broker::{self, Consumer, ConsumerConfig, Delivery, Publisher, Verdict};
use celeriac_core::error::Error;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions};
use lapin::types::FieldTable;
use proxy::Proxy;
use yard::{Yard, body, in_ms, is_quorum, message, numbered, queue, reserve, send_all, settle, soon};

fn consumer(url: &BrokerUrl, queues: Vec<QueueSpec>) -> Arc<dyn Consumer> {
    let config = ConsumerConfig {
        node: "celery@test".to_owned(),
        queues,
        prefetch: 10,
        eta_room: 0,
    };
    broker::open_consumer(url, config).unwrap()
}

fn filled(count: usize) -> (Yard, String, Arc<dyn Publisher>) {
    let yard = Yard::fresh();
    let publisher = broker::open_publisher(&yard.url("")).unwrap();
    let name = yard.name("q");
    publisher.declare(&queue(&name), soon()).unwrap();
    assert_eq!(send_all(&*publisher, numbered(&name, count)), []);
    (yard, name, publisher)
}

/// Reserves until there is something; what was refused before.
fn reserve_in_spite(consumer: &dyn Consumer) -> (Vec<Delivery>, Vec<String>) {
    let deadline = soon();
    let mut told = Vec::new();
    loop {
        match consumer.reserve(10, in_ms(1_000)) {
            Ok(found) if !found.is_empty() => return (found, told),
            Ok(_) => {}
            Err(error) => told.push(error.to_string()),
        }
        assert!(!deadline.has_passed(), "nothing arrived after {told:?}");
    }
}

/// `channel.close` of channel 1 with the words of a server whose `consumer_timeout` has passed.
fn timed_out() -> Vec<u8> {
    let words = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value \
                 used: 1800000 ms. This timeout value can be configured";
    let mut method = vec![0, 20, 0, 40];
    method.extend(406_u16.to_be_bytes());
    method.push(u8::try_from(words.len()).unwrap());
    method.extend(words.as_bytes());
    method.extend([0, 0, 0, 0]);
    let mut frame = vec![1, 0, 1];
    frame.extend(u32::try_from(method.len()).unwrap().to_be_bytes());
    frame.extend(method);
    frame.push(0xce);
    frame
}

#[test]
fn a_consumer_timeout_is_told_with_its_remedy_and_what_was_held_comes_again() {
    let (yard, name, _publisher) = filled(1);
    let proxy = Proxy::before(&yard.address());
    let consumer = consumer(&yard.url_at(proxy.port, ""), vec![queue(&name)]);
    let held = reserve(&*consumer, 1);
    proxy.inject(&timed_out());
    let (again, told) = reserve_in_spite(&*consumer);
    assert!(again[0].redelivered);
    assert!(told[0].contains("timed out"), "{told:?}");
    assert!(told[0].contains("consumer_timeout: raise that"), "{told:?}");
    settle(&*consumer, held, &Verdict::Ack);
    settle(&*consumer, again, &Verdict::Ack);
}

#[test]
fn how_long_a_delivery_may_stay_unacked_can_be_said_and_an_older_server_passes_it_over() {
    let (yard, name, _publisher) = filled(2);
    let consumer = consumer(&yard.url("consumer_timeout=7200"), vec![queue(&name)]);
    settle(&*consumer, reserve(&*consumer, 2), &Verdict::Ack);
    let config = ConsumerConfig {
        node: "celery@test".to_owned(),
        queues: vec![queue(&name)],
        prefetch: 10,
        eta_room: 0,
    };
    let refused = broker::open_consumer(&yard.url("consumer_timeout=long"), config).unwrap_err();
    assert!(matches!(refused, Error::BadUrl { .. }), "{refused}");
}

#[test]
fn a_queue_in_exclusive_use_is_told_and_consumed_when_it_is_free() {
    let (yard, name, _publisher) = filled(1);
    let consumer = consumer(&yard.url(""), vec![queue(&name)]);
    yard.raw(async |channel| {
        let options = BasicConsumeOptions {
            exclusive: true,
            ..BasicConsumeOptions::default()
        };
        let theirs = channel.basic_consume(name.as_str().into(), "".into(), options, FieldTable::default());
        let theirs = theirs.await.unwrap();
        let refused = Arc::clone(&consumer);
        let refused = tokio::task::spawn_blocking(move || refused.reserve(1, in_ms(2_000)));
        match refused.await.unwrap() {
            Err(error) => assert!(error.to_string().contains("end that consumer"), "{error}"),
            // A quorum queue lets a second consumer in, and gives it nothing.
            Ok(found) => assert!(is_quorum() && found.is_empty(), "{found:?}"),
        }
        let ended = channel.basic_cancel(theirs.tag(), BasicCancelOptions::default());
        ended.await.unwrap();
    });
    let (found, _) = reserve_in_spite(&*consumer);
    assert_eq!(body(&found[0]), "0");
}

#[test]
fn a_name_that_the_server_keeps_for_itself_is_refused_with_a_remedy() {
    let (_yard, name, publisher) = filled(0);
    let told = publisher
        .declare(&queue("amq.mine"), soon())
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("ACCESS_REFUSED") && told.contains("choose a name"),
        "{told}"
    );
    assert_eq!(send_all(&*publisher, numbered(&name, 1)), []);
}

#[test]
fn a_message_beyond_the_servers_limit_fails_alone_and_says_so() {
    let (_yard, name, publisher) = filled(0);
    let mut large = message(&name, "large");
    // 128 MiB, and a byte.
    large.message.body = vec![b'x'; (128 << 20) + 1].into();
    let failed = send_all(&*publisher, vec![large, message(&name, "small")]);
    assert_eq!(failed.len(), 1, "{failed:?}");
    let (id, told) = (&*failed[0].0, failed[0].1.to_string());
    assert_eq!(id, "large");
    assert!(told.contains("max_message_size"), "{told}");
}
