//! A message that its sender's own thread publishes to `RabbitMQ`: where it lies, and what breaks.
#![expect(clippy::unwrap_used, reason = "a broken assumption ends the test")]

#[path = "support/direct.rs"]
mod direct;
#[path = "support/proxy.rs"]
#[expect(dead_code, reason = "each test file uses its part")]
mod proxy;
#[path = "support/amqp.rs"]
#[expect(dead_code, reason = "each test file uses its part")]
mod yard;

use std::sync::Arc;

use celeriac_core::broker::url::BrokerUrl;
use celeriac_core::broker::{self, ConsumerConfig, Publisher};
use celeriac_core::error::Error;
use direct::send;
use proxy::Proxy;
use yard::{Yard, body, in_ms, message, queue, reserve, soon};

/// A queue that is declared, its name, and a publisher that has a connection.
fn set(url: &BrokerUrl, yard: &Yard) -> (String, Arc<dyn Publisher>) {
    let publisher = broker::open_publisher(url).unwrap();
    let name = yard.name("q");
    publisher.declare(&queue(&name), soon()).unwrap();
    (name, publisher)
}

/// The bodies of so many messages, in their order.
fn bodies(yard: &Yard, name: &str, count: usize) -> Vec<String> {
    let config = ConsumerConfig {
        node: "celery@test".to_owned(),
        queues: vec![queue(name)],
        prefetch: count,
        eta_room: 0,
    };
    let consumer = broker::open_consumer(&yard.url(""), config).unwrap();
    let found = reserve(&*consumer, count).iter().map(body).collect();
    consumer.close(soon());
    found
}

#[test]
fn it_lies_where_the_sending_task_would_have_put_it() {
    let yard = Yard::fresh();
    let (name, publisher) = set(&yard.url(""), &yard);
    for id in ["1", "2"] {
        assert_eq!(send(&*publisher, message(&name, id), soon()), (true, vec![]));
    }
    assert_eq!(bodies(&yard, &name, 2), ["1", "2"]);
}

#[test]
fn without_confirms_it_is_written_and_not_waited_for() {
    let yard = Yard::fresh();
    let (name, publisher) = set(&yard.url("confirm_publish=False"), &yard);
    assert_eq!(send(&*publisher, message(&name, "1"), soon()), (true, vec![]));
    assert_eq!(bodies(&yard, &name, 1), ["1"]);
}

#[test]
fn without_a_connection_it_goes_the_other_way() {
    let yard = Yard::fresh();
    let (name, _declared) = set(&yard.url(""), &yard);
    let fresh = broker::open_publisher(&yard.url("")).unwrap();
    assert_eq!(send(&*fresh, message(&name, "1"), soon()), (false, vec![]));
    assert_eq!(send(&*fresh, message(&name, "2"), soon()), (true, vec![]));
    assert_eq!(bodies(&yard, &name, 2), ["1", "2"]);
}

#[test]
fn what_no_queue_takes_is_refused_in_the_words_of_the_sending_task() {
    let yard = Yard::fresh();
    let (_, publisher) = set(&yard.url(""), &yard);
    let (is_taken, failed) = send(&*publisher, message(&yard.name("nowhere"), "1"), soon());
    assert!(is_taken);
    assert!(
        matches!(&failed[..], [Error::Refused { cause, .. }] if cause.contains("there is no queue")),
        "{failed:?}"
    );
}

#[test]
fn what_makes_the_server_close_the_channel_is_refused_and_the_next_message_is_not() {
    let yard = Yard::fresh();
    let (name, publisher) = set(&yard.url(""), &yard);
    let mut astray = message(&name, "1");
    astray.target.exchange = yard.name("no-such-exchange");
    let (is_taken, failed) = send(&*publisher, astray, soon());
    assert!(is_taken);
    assert!(
        matches!(&failed[..], [Error::Refused { cause, .. }] if cause.contains("no exchange")),
        "{failed:?}"
    );
    assert_eq!(send(&*publisher, message(&name, "2"), soon()).1, []);
    assert_eq!(bodies(&yard, &name, 1), ["2"]);
}

#[test]
fn a_connection_that_broke_brings_the_message_again() {
    let yard = Yard::fresh();
    let proxy = Proxy::before(&yard.address());
    let (name, publisher) = set(&yard.url_at(proxy.port, ""), &yard);
    assert_eq!(send(&*publisher, message(&name, "1"), soon()), (true, vec![]));
    proxy.cut();
    assert_eq!(send(&*publisher, message(&name, "2"), soon()).1, []);
    assert_eq!(send(&*publisher, message(&name, "3"), soon()).1, []);
    assert_eq!(bodies(&yard, &name, 3), ["1", "2", "3"]);
}

#[test]
fn a_server_that_falls_silent_is_waited_for_until_the_deadline_and_no_longer() {
    let yard = Yard::fresh();
    let proxy = Proxy::before(&yard.address());
    let (name, publisher) = set(&yard.url_at(proxy.port, ""), &yard);
    assert_eq!(send(&*publisher, message(&name, "1"), soon()), (true, vec![]));
    proxy.mute();
    let (is_taken, failed) = send(&*publisher, message(&name, "2"), in_ms(300));
    assert!(is_taken);
    assert!(matches!(failed[..], [Error::Unconfirmed { .. }]), "{failed:?}");
}
