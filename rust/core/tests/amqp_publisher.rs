//! What is special to `RabbitMQ` when publishing: properties, confirms, returns, and what breaks.
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
use celeriac_core::broker::topology::{ExchangeType, QueueSpec};
use celeriac_core::broker::url::BrokerUrl;
use celeriac_core::broker::{self, Publisher};
use celeriac_core::error::Error;
use celeriac_core::ledger::Ledger;
use celeriac_core::time::Deadline;
use celeriac_core::wire::message::{Outgoing, Properties};
use lapin::options::BasicGetOptions;
use lapin::types::AMQPValue;
use proxy::Proxy;
use yard::{Yard, message, numbered, queue, send_all, soon};

/// `connection.blocked` with the reason "low on memory", and `connection.unblocked`.
const BLOCKED: &[u8] = b"\x01\x00\x00\x00\x00\x00\x12\x00\x0a\x00\x3c\x0dlow on memory\xce";
const UNBLOCKED: &[u8] = b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x3d\xce";

fn publisher(url: &BrokerUrl) -> Arc<dyn Publisher> {
    broker::open_publisher(url).unwrap()
}

/// A yard with a declared queue, its name, and a publisher.
fn set() -> (Yard, String, Arc<dyn Publisher>) {
    let yard = Yard::fresh();
    let publisher = publisher(&yard.url(""));
    let name = yard.name("q");
    publisher.declare(&queue(&name), soon()).unwrap();
    (yard, name, publisher)
}

fn refusal(failed: &[(Arc<str>, Error)]) -> String {
    assert_eq!(failed.len(), 1, "{failed:?}");
    failed[0].1.to_string()
}

#[test]
fn a_message_carries_the_properties_and_types_that_py_amqp_gives_it() {
    let (yard, name, publisher) = set();
    let mut sent = message(&name, "7");
    sent.message.headers = Bytes::from_static(
        br#"{"task": "t", "id": "7", "retries": 0, "big": 4294967296, "ratio": 0.5, "eta": null, "flag": true, "timelimit": [null, 9], "stamps": {"a": "b"}}"#,
    );
    sent.message.properties = Properties {
        reply_to: Some("answers".to_owned()),
        expiration: Some("60000".to_owned()),
        extra: vec![("origin".to_owned(), "\"gen1@host\"".to_owned())],
        ..sent.message.properties
    };
    assert_eq!(send_all(&*publisher, vec![sent]), []);
    let found = yard.raw(async |channel| {
        let options = BasicGetOptions { no_ack: true };
        let got = channel.basic_get(name.as_str().into(), options).await;
        got.unwrap().unwrap().delivery
    });
    let properties = &found.properties;
    let text = |value: &Option<lapin::types::ShortString>| value.as_ref().unwrap().to_string();
    assert_eq!(text(properties.content_type()), "application/json");
    assert_eq!(text(properties.content_encoding()), "utf-8");
    assert_eq!(text(properties.correlation_id()), "7");
    assert_eq!(text(properties.reply_to()), "answers");
    assert_eq!(text(properties.expiration()), "60000");
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(*properties.priority(), None);
    assert_eq!(*properties.message_id(), None);
    let headers = properties.headers().as_ref().unwrap().inner();
    assert_eq!(headers["task"], AMQPValue::LongString("t".into()));
    assert_eq!(headers["retries"], AMQPValue::LongInt(0));
    assert_eq!(headers["big"], AMQPValue::LongLongInt(4_294_967_296));
    assert_eq!(headers["ratio"], AMQPValue::Double(0.5));
    assert_eq!(headers["eta"], AMQPValue::Void);
    assert_eq!(headers["flag"], AMQPValue::Boolean(true));
    let limits = vec![AMQPValue::Void, AMQPValue::LongInt(9)];
    assert_eq!(headers["timelimit"], AMQPValue::FieldArray(limits.into()));
    assert!(matches!(headers["stamps"], AMQPValue::FieldTable(_)));
    // A quorum queue counts deliveries there.
    let ours = headers.keys().filter(|name| name.as_str() != "x-delivery-count");
    assert_eq!(ours.count(), 9);
}

#[test]
fn only_the_messages_without_a_queue_fail() {
    let (yard, name, publisher) = set();
    let nowhere = yard.name("nowhere");
    let lost: BTreeSet<usize> = (0..600).filter(|number| number % 7 == 3).collect();
    let messages = (0..600)
        .map(|number| {
            let queue = if lost.contains(&number) { &nowhere } else { &name };
            message(queue, &number.to_string())
        })
        .collect();
    let failed = send_all(&*publisher, messages);
    let told: BTreeSet<usize> = failed.iter().map(|(id, _)| id.parse().unwrap()).collect();
    assert_eq!(told, lost);
    assert!(
        failed[0].1.to_string().contains("declare it first"),
        "{}",
        failed[0].1
    );
    assert_eq!(publisher.depth(&name, soon()).unwrap(), 600 - 86);
}

#[test]
fn a_missing_exchange_fails_its_message_only() {
    let (yard, name, publisher) = set();
    let mut messages = numbered(&name, 50);
    messages[20].target.exchange = yard.name("no such exchange");
    let failed = send_all(&*publisher, messages);
    let told = refusal(&failed);
    assert!(told.contains("NOT_FOUND"), "{told}");
    assert!(told.contains("declare it first"), "{told}");
    assert_eq!(&*failed[0].0, "20");
    assert!(publisher.depth(&name, soon()).unwrap() >= 49);
}

#[test]
fn a_refusal_that_names_nothing_fails_its_message_only() {
    let (_yard, name, publisher) = set();
    let mut messages = numbered(&name, 20);
    // The server closes the channel for the sender's name, and says only what it should be.
    messages[8].message.properties.extra = vec![("user_id".to_owned(), "\"somebody\"".to_owned())];
    let failed = send_all(&*publisher, messages);
    let told = refusal(&failed);
    assert!(told.contains("user_id"), "{told}");
    assert_eq!(&*failed[0].0, "8");
    assert!(publisher.depth(&name, soon()).unwrap() >= 19);
}

#[test]
fn what_amqp_cannot_carry_fails_before_it_is_sent() {
    let (_yard, name, publisher) = set();
    let mut sent = message(&name, "7");
    sent.message.headers = Bytes::from_static(br#"{"task": "t", "n": 123456789012345678901234567890}"#);
    let mut long = message(&name, "8");
    long.message.properties.correlation_id = Some("x".repeat(256));
    let failed = send_all(&*publisher, vec![sent, long, message(&name, "9")]);
    assert_eq!(failed.len(), 2);
    for (_, error) in failed {
        assert!(matches!(error, Error::Unencodable { .. }), "{error}");
    }
    assert_eq!(publisher.depth(&name, soon()).unwrap(), 1);
}

#[test]
fn unconfirmed_messages_are_sent_again_after_a_cut() {
    let yard = Yard::fresh();
    let proxy = Proxy::before(&yard.address());
    let publisher = publisher(&yard.url_at(proxy.port, "confirm_timeout=20"));
    let name = yard.name("q");
    publisher.declare(&queue(&name), soon()).unwrap();
    let window = Ledger::new(2_000, usize::MAX);
    for number in 0..2_000 {
        if number == 1_000 {
            proxy.cut();
        }
        let receipt = window.enter("task".into(), 0, soon()).unwrap();
        publisher.send(message(&name, &number.to_string()), None, receipt, soon());
    }
    window.wait_empty(soon()).unwrap();
    assert_eq!(window.take_failed(), []);
    let depth = publisher.depth(&name, soon()).unwrap();
    let there: BTreeSet<Vec<u8>> = yard.raw(async |channel| {
        let mut bodies = BTreeSet::new();
        for _ in 0..depth {
            let options = BasicGetOptions { no_ack: true };
            let got = channel.basic_get(name.as_str().into(), options).await;
            bodies.insert(got.unwrap().unwrap().delivery.data);
        }
        bodies
    });
    assert_eq!(there.len(), 2_000);
}

#[test]
fn a_blockade_fails_messages_in_time_and_ends() {
    let yard = Yard::fresh();
    let proxy = Proxy::before(&yard.address());
    let publisher = publisher(&yard.url_at(proxy.port, "confirm_timeout=1"));
    let name = yard.name("q");
    publisher.declare(&queue(&name), soon()).unwrap();
    assert_eq!(send_all(&*publisher, numbered(&name, 1)), []);
    proxy.inject(BLOCKED);
    // The first ones may leave before the news arrives, one of them without its confirm; then
    // nothing does, and the error says why.
    let deadline = soon();
    let is_told = |(_, error): &(Arc<str>, Error)| error.to_string().contains("connection.blocked");
    while !send_all(&*publisher, vec![message(&name, "late")])
        .iter()
        .any(is_told)
    {
        assert!(!deadline.has_passed(), "nothing was held back");
    }
    // Nothing at all is written on a blocked connection: ask over another one.
    let other = broker::open_publisher(&yard.url("")).unwrap();
    let before = other.depth(&name, soon()).unwrap();
    let failed = send_all(&*publisher, numbered(&name, 10_000));
    assert_eq!(failed.len(), 10_000);
    assert_eq!(other.depth(&name, soon()).unwrap(), before);
    proxy.inject(UNBLOCKED);
    assert_eq!(send_all(&*publisher, numbered(&name, 10)), []);
}

#[test]
fn without_confirms_messages_are_sent_all_the_same() {
    let yard = Yard::fresh();
    let publisher = publisher(&yard.url("confirm_publish=False"));
    let name = yard.name("q");
    publisher.declare(&queue(&name), soon()).unwrap();
    assert_eq!(send_all(&*publisher, numbered(&name, 500)), []);
    // As Celery: nobody learns of it.
    assert_eq!(send_all(&*publisher, numbered(&yard.name("nowhere"), 1)), []);
    publisher.close(soon());
    let other = broker::open_publisher(&yard.url("")).unwrap();
    assert_eq!(other.depth(&name, soon()).unwrap(), 500);
    let contradiction = yard.url("confirm_publish=False&mandatory=True");
    assert!(matches!(
        broker::open_publisher(&contradiction),
        Err(Error::BadUrl { .. })
    ));
}

#[test]
fn a_users_exchange_may_have_no_listener_unless_that_is_asked_for() {
    let yard = Yard::fresh();
    let bound = QueueSpec {
        exchange: yard.name("news"),
        exchange_type: ExchangeType::Topic,
        routing_key: "a.#".to_owned(),
        ..queue(&yard.name("q"))
    };
    for (options, failures) in [("", 0), ("mandatory=True", 1), ("mandatory=False", 0)] {
        let publisher = publisher(&yard.url(options));
        publisher.declare(&bound, soon()).unwrap();
        let mut unheard = message("b.c", "1");
        unheard.target.exchange = yard.name("news");
        let mut heard = unheard.clone();
        heard.target.routing_key = "a.c".to_owned();
        let failed = send_all(&*publisher, vec![unheard, heard]);
        assert_eq!(failed.len(), failures, "{options}: {failed:?}");
    }
    let publisher = publisher(&yard.url(""));
    assert_eq!(publisher.depth(&yard.name("q"), soon()).unwrap(), 3);
}

#[test]
fn a_caller_may_ask_of_one_message_what_the_option_leaves_out() {
    let yard = Yard::fresh();
    let bound = QueueSpec {
        exchange: yard.name("news"),
        ..queue(&yard.name("q"))
    };
    for option in ["", "mandatory=True", "mandatory=False"] {
        let publisher = publisher(&yard.url(option));
        publisher.declare(&bound, soon()).unwrap();
        let mut unheard = message("nobody", "unheard");
        unheard.target.exchange = yard.name("news");
        let no_queue = message(&yard.name("nowhere"), "no queue");
        let heard = message(&bound.name, "heard");
        let messages = [unheard, no_queue, heard].map(|outgoing| Outgoing {
            mandatory: Some(true),
            ..outgoing
        });
        let failed = send_all(&*publisher, messages.into());
        let told: BTreeSet<&str> = failed.iter().map(|(id, _)| &**id).collect();
        assert_eq!(told, BTreeSet::from(["unheard", "no queue"]), "{option}");
        for (_, error) in failed {
            assert!(error.to_string().contains("declare"), "{error}");
        }
    }
}

#[test]
fn a_mandatory_message_without_confirms_is_refused_before_it_is_sent() {
    let yard = Yard::fresh();
    let publisher = publisher(&yard.url("confirm_publish=False"));
    let name = yard.name("q");
    publisher.declare(&queue(&name), soon()).unwrap();
    let mandatory = Outgoing {
        mandatory: Some(true),
        ..message(&name, "7")
    };
    let told = refusal(&send_all(&*publisher, vec![mandatory]));
    assert!(told.contains("confirm_publish"), "{told}");
    assert_eq!(publisher.depth(&name, soon()).unwrap(), 0);
}

/// Resident memory of this process.
#[cfg(target_os = "linux")]
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

#[cfg(target_os = "linux")]
#[test]
fn memory_stays_flat_while_the_server_takes_no_large_messages() {
    const BODY_BYTES: usize = 1 << 20;
    const WINDOW_BYTES: usize = 16 << 20;
    let yard = Yard::fresh();
    let proxy = Proxy::before(&yard.address());
    let publisher = publisher(&yard.url_at(proxy.port, "confirm_timeout=60"));
    let name = yard.name("q");
    publisher.declare(&queue(&name), soon()).unwrap();
    proxy.inject(BLOCKED);
    let before = resident_bytes();
    let window = Ledger::new(4_096, WINDOW_BYTES);
    let mut entered = 0;
    for number in 0..400 {
        let mut large = message(&name, &number.to_string());
        large.message.body = vec![b'x'; BODY_BYTES].into();
        let wait = Deadline::after(Duration::from_millis(5));
        if let Ok(receipt) = window.enter("task".into(), BODY_BYTES, wait) {
            publisher.send(large, None, receipt, soon());
            entered += 1;
        }
    }
    // A few may leave before the news of the blockade arrives.
    assert!((16..400).contains(&entered), "{entered}");
    // Once in the window, once more as frames on their way.
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 4 * WINDOW_BYTES, "{grown} bytes more");
    proxy.inject(UNBLOCKED);
    window.wait_empty(soon()).unwrap();
    assert_eq!(window.take_failed(), []);
    assert_eq!(publisher.depth(&name, soon()).unwrap(), entered);
}

#[test]
fn a_declaration_with_other_arguments_is_refused_with_a_remedy() {
    let (_yard, name, publisher) = set();
    let other = QueueSpec {
        arguments: vec![("x-max-priority".to_owned(), "10".to_owned())],
        ..queue(&name)
    };
    let told = publisher.declare(&other, soon()).unwrap_err().to_string();
    assert!(told.contains("PRECONDITION_FAILED"), "{told}");
    assert!(told.contains("delete it on the server"), "{told}");
    assert_eq!(send_all(&*publisher, numbered(&name, 3)), []);
}

#[test]
fn a_quorum_queue_with_arguments_is_declared_and_confirms() {
    let yard = Yard::fresh();
    let publisher = publisher(&yard.url(""));
    let spec = QueueSpec {
        arguments: vec![
            ("x-queue-type".to_owned(), "\"quorum\"".to_owned()),
            ("x-max-length".to_owned(), "100".to_owned()),
        ],
        ..queue(&yard.name("quorum"))
    };
    publisher.declare(&spec, soon()).unwrap();
    assert_eq!(send_all(&*publisher, numbered(&spec.name, 20)), []);
}

#[test]
fn a_queue_that_refuses_fails_the_message() {
    let yard = Yard::fresh();
    let publisher = publisher(&yard.url(""));
    let spec = QueueSpec {
        arguments: vec![
            ("x-max-length".to_owned(), "2".to_owned()),
            ("x-overflow".to_owned(), "\"reject-publish\"".to_owned()),
        ],
        ..queue(&yard.name("small"))
    };
    publisher.declare(&spec, soon()).unwrap();
    let failed = send_all(&*publisher, numbered(&spec.name, 3));
    let told = refusal(&failed);
    assert!(told.contains("full"), "{told}");
}

#[test]
fn a_stranger_is_told_what_to_check() {
    let yard = Yard::fresh();
    let address = yard.address();
    for (raw, remedy) in [
        (format!("amqp://guest:hush@{address}//"), "password"),
        (
            format!("amqp://guest:guest@{address}/no-such-vhost"),
            "virtual host",
        ),
    ] {
        let publisher = publisher(&BrokerUrl::parse(&raw, Vec::new()).unwrap());
        let error = publisher.declare(&queue("q"), soon()).unwrap_err();
        assert!(matches!(error, Error::Refused { passing: false, .. }), "{error}");
        assert!(error.to_string().contains(remedy), "{error}");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}

#[test]
fn a_missing_server_fails_messages_within_the_confirm_timeout() {
    let url = BrokerUrl::parse("amqp://127.0.0.1:1//?confirm_timeout=0.5", Vec::new()).unwrap();
    let publisher = publisher(&url);
    let begun = Deadline::after(Duration::from_secs(10));
    let failed = send_all(&*publisher, numbered("q", 3));
    assert_eq!(failed.len(), 3);
    assert!(
        matches!(failed[0].1, Error::Disconnected { .. }),
        "{}",
        failed[0].1
    );
    assert!(!begun.has_passed());
}

#[test]
fn a_silent_server_fails_messages_within_the_confirm_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let raw = format!("amqp://127.0.0.1:{port}//?confirm_timeout=0.5");
    let publisher = publisher(&BrokerUrl::parse(&raw, Vec::new()).unwrap());
    let begun = Deadline::after(Duration::from_secs(10));
    assert_eq!(send_all(&*publisher, numbered("q", 3)).len(), 3);
    assert!(!begun.has_passed());
}
