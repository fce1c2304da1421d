//! What is special to Redis as a result store: keys, subscriptions that publishers carry, breaks.
#![expect(clippy::unwrap_used, reason = "a broken assumption ends the test")]

#[path = "support/proxy.rs"]
#[expect(dead_code, reason = "each test file uses its part")]
mod proxy;
#[path = "support/redis.rs"]
mod space;

use std::time::Duration;

use bytes::Bytes;
use celeriac_core::backend::{self, Put, ResultStore};
use celeriac_core::broker;
use celeriac_core::ledger::Ledger;
use celeriac_core::time::Deadline;
use celeriac_core::wire::message::{Message, Outgoing, Properties, Target};
use proxy::Proxy;
use redis::Commands;
use space::Space;

const SUCCESS: &str = r#"{"status": "SUCCESS", "result": 3}"#;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn put(store: &dyn ResultStore, task_id: &str, document: &'static str, expires_s: Option<u64>) {
    let put = Put {
        task_id: task_id.to_owned(),
        document: Bytes::from_static(document.as_bytes()),
        is_final: true,
        expires_s,
        reply: None,
    };
    store.put(vec![put], soon()).unwrap();
}

fn message(queue: &str) -> Outgoing {
    Outgoing {
        message: Message {
            headers: Bytes::from_static(b"{}"),
            properties: Properties {
                content_type: "application/json".to_owned(),
                content_encoding: "utf-8".to_owned(),
                correlation_id: None,
                reply_to: None,
                delivery_mode: 2,
                priority: None,
                expiration: None,
                delivery_tag: "t".to_owned(),
                extra: Vec::new(),
            },
            body: Bytes::from_static(b"[[], {}, {}]"),
        },
        target: Target {
            exchange: String::new(),
            routing_key: queue.to_owned(),
        },
        mandatory: None,
    }
}

fn listeners(raw: &mut redis::Connection, channel: &str) -> u64 {
    let (_, count): (String, u64) = redis::cmd("PUBSUB")
        .arg("NUMSUB")
        .arg(channel)
        .query(raw)
        .unwrap();
    count
}

/// Looks until `condition` holds; for what only the server knows.
fn eventually(mut condition: impl FnMut() -> bool) {
    let deadline = soon();
    let (_never, pause) = std::sync::mpsc::channel::<()>();
    while !condition() {
        assert!(!deadline.has_passed(), "it did not happen in time");
        assert!(pause.recv_timeout(Duration::from_millis(5)).is_err());
    }
}

#[test]
fn a_document_has_celerys_key_and_lifetime() {
    let space = Space::fresh();
    let store = backend::open(&space.url("")).unwrap();
    put(&*store, "a", SUCCESS, Some(86_400));
    put(&*store, "b", SUCCESS, None);
    let mut raw = space.connect();
    let key = format!("{}celery-task-meta-a", space.prefix);
    assert_eq!(raw.get::<_, String>(&key).unwrap(), SUCCESS);
    assert!((86_390..=86_400).contains(&raw.ttl::<_, i64>(&key).unwrap()));
    let endless = format!("{}celery-task-meta-b", space.prefix);
    assert_eq!(raw.ttl::<_, i64>(&endless).unwrap(), -1);
}

#[test]
fn a_success_that_another_serializer_wrote_stays() {
    let space = Space::fresh();
    let store = backend::open(&space.url("")).unwrap();
    let mut raw = space.connect();
    let key = |id: &str| format!("{}celery-task-meta-{id}", space.prefix);
    let msgpack: &[u8] = b"\x82\xa6result\x01\xa6status\xa7SUCCESS";
    let pickle: &[u8] =
        b"\x80\x04\x95\x00\x00\x00\x00}\x94(\x8c\x06status\x94\x8c\x07SUCCESS\x94\x8c\x06resultu.";
    let json: &[u8] = br#"{"result": {"status": "FAILURE"}, "status": "SUCCESS"}"#;
    let failure: &[u8] = br#"{"status": "FAILURE", "result": "SUCCESS"}"#;
    for (id, document) in [("m", msgpack), ("p", pickle), ("j", json), ("f", failure)] {
        raw.set::<_, _, ()>(key(id), document).unwrap();
        put(&*store, id, r#"{"status": "RETRY"}"#, None);
    }
    assert_eq!(raw.get::<_, Vec<u8>>(key("m")).unwrap(), msgpack);
    assert_eq!(raw.get::<_, Vec<u8>>(key("p")).unwrap(), pickle);
    assert_eq!(raw.get::<_, Vec<u8>>(key("j")).unwrap(), json);
    assert_eq!(raw.get::<_, String>(key("f")).unwrap(), r#"{"status": "RETRY"}"#);
}

#[test]
fn a_publisher_subscribes_with_the_message_and_the_handles_end_ends_it() {
    let space = Space::fresh();
    let url = space.url("");
    let store = backend::open(&url).unwrap();
    let publisher = broker::open_publisher(&url).unwrap();
    assert!(publisher.carries_results_of(&url.with_options()));
    let subscription = store.subscribe("a", true, soon()).unwrap();
    let window = Ledger::new(1, usize::MAX);
    let receipt = window.enter("a".into(), 0, soon()).unwrap();
    publisher.send(message("q"), Some("a"), receipt, soon());
    window.wait_empty(soon()).unwrap();
    assert_eq!(window.take_failed(), []);
    let mut raw = space.connect();
    let channel = format!("{}celery-task-meta-a", space.prefix);
    assert_eq!(listeners(&mut raw, &channel), 1);
    put(&*backend::open(&url).unwrap(), "a", SUCCESS, None);
    assert_eq!(subscription.next(soon()).unwrap().unwrap(), SUCCESS);
    drop(subscription);
    eventually(|| listeners(&mut raw, &channel) == 0);
}

#[test]
fn a_publisher_elsewhere_does_not_carry_results() {
    let space = Space::fresh();
    let publisher = broker::open_publisher(&space.url("")).unwrap();
    assert!(!publisher.carries_results_of("redis://127.0.0.2:6399/0"));
    assert!(!publisher.carries_results_of("memory://"));
}

#[test]
fn a_result_that_was_published_during_a_break_arrives_after_it() {
    let space = Space::fresh();
    let proxy = Proxy::before(&space.address());
    let store = backend::open(&space.url_at(proxy.port, "")).unwrap();
    let subscription = store.subscribe("a", false, soon()).unwrap();
    proxy.cut();
    put(&*backend::open(&space.url("")).unwrap(), "a", SUCCESS, None);
    assert_eq!(subscription.next(soon()).unwrap().unwrap(), SUCCESS);
}

#[test]
fn what_a_publishers_lost_connection_carried_goes_on_over_the_stores() {
    let space = Space::fresh();
    let proxy = Proxy::before(&space.address());
    let url = space.url_at(proxy.port, "");
    let store = backend::open(&url).unwrap();
    let publisher = broker::open_publisher(&url).unwrap();
    assert!(publisher.carries_results_of(&url.with_options()));
    let subscription = store.subscribe("a", true, soon()).unwrap();
    let window = Ledger::new(1, usize::MAX);
    let receipt = window.enter("a".into(), 0, soon()).unwrap();
    publisher.send(message("q"), Some("a"), receipt, soon());
    window.wait_empty(soon()).unwrap();
    proxy.cut();
    let mut raw = space.connect();
    let channel = format!("{}celery-task-meta-a", space.prefix);
    eventually(|| listeners(&mut raw, &channel) == 1);
    put(&*backend::open(&space.url("")).unwrap(), "a", SUCCESS, None);
    assert_eq!(subscription.next(soon()).unwrap().unwrap(), SUCCESS);
}
