//! A message that its sender's own thread writes to Redis: where it lies, and what breaks.
#![expect(clippy::unwrap_used, reason = "a broken assumption ends the test")]

#[path = "support/direct.rs"]
mod direct;
#[path = "support/proxy.rs"]
#[expect(dead_code, reason = "each test file uses its part")]
mod proxy;
#[path = "support/redis_message.rs"]
mod redis_message;
#[path = "support/redis.rs"]
mod space;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::backend::{self, Put, ResultStore};
use celeriac_core::broker::topology::QueueSpec;
use celeriac_core::broker::{self, Publisher};
use celeriac_core::error::Error;
use celeriac_core::ledger::Ledger;
use celeriac_core::time::Deadline;
use celeriac_core::wire::envelope;
use direct::send;
use proxy::Proxy;
use redis::Commands;
use redis_message::message;
use space::Space;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn in_ms(wait_ms: u64) -> Deadline {
    Deadline::after(Duration::from_millis(wait_ms))
}

/// A publisher that has a connection.
fn publisher(url: &celeriac_core::broker::url::BrokerUrl) -> Arc<dyn Publisher> {
    let publisher = broker::open_publisher(url).unwrap();
    publisher.declare(&QueueSpec::named("q"), soon()).unwrap();
    publisher
}

fn waiting(space: &Space) -> Vec<Vec<u8>> {
    space
        .connect()
        .lrange(format!("{}q", space.prefix), 0, -1)
        .unwrap()
}

#[test]
fn it_lies_where_the_sending_task_would_have_put_it() {
    let space = Space::fresh();
    let publisher = publisher(&space.url(""));
    let first = message("q", "t1", 0);
    assert_eq!(send(&*publisher, first.clone(), soon()), (true, vec![]));
    assert_eq!(waiting(&space), [envelope::encode(&first)]);
}

#[test]
fn without_a_connection_to_go_beside_or_to_a_users_exchange_it_goes_the_other_way() {
    let space = Space::fresh();
    let fresh = broker::open_publisher(&space.url("")).unwrap();
    assert_eq!(send(&*fresh, message("q", "t1", 0), soon()), (false, vec![]));
    assert_eq!(send(&*fresh, message("q", "t2", 0), soon()), (true, vec![]));
    let mut to_exchange = message("q", "t3", 0);
    to_exchange.target.exchange = "an-exchange".to_owned();
    assert!(!send(&*fresh, to_exchange, soon()).0);
    let large = "x".repeat(100_000);
    assert_eq!(send(&*fresh, message("q", &large, 0), soon()), (false, vec![]));
    assert_eq!(waiting(&space).len(), 3);
}

#[test]
fn what_the_server_refuses_is_refused_in_the_words_of_the_sending_task() {
    let space = Space::fresh();
    let publisher = publisher(&space.url(""));
    let _: () = space
        .connect()
        .set(format!("{}q", space.prefix), "no list")
        .unwrap();
    let (is_taken, failed) = send(&*publisher, message("q", "t1", 0), soon());
    assert!(is_taken);
    assert!(
        matches!(&failed[..], [Error::Refused { cause, .. }] if cause.contains("WRONGTYPE")),
        "{failed:?}"
    );
}

#[test]
fn a_connection_that_broke_brings_the_message_again_under_another_tag() {
    let space = Space::fresh();
    let proxy = Proxy::before(&space.address());
    let publisher = publisher(&space.url_at(proxy.port, ""));
    assert_eq!(send(&*publisher, message("q", "t1", 0), soon()), (true, vec![]));
    proxy.cut();
    assert_eq!(send(&*publisher, message("q", "t2", 0), soon()).1, []);
    assert_eq!(send(&*publisher, message("q", "t3", 0), soon()).1, []);
    let bodies =
        |text: &[u8]| String::from_utf8_lossy(&envelope::decode(text).unwrap().message.body).into_owned();
    let found: Vec<String> = waiting(&space).iter().rev().map(|text| bodies(text)).collect();
    assert_eq!(found, ["t1", "t2", "t3"]);
}

#[test]
fn a_server_that_falls_silent_is_waited_for_until_the_deadline_and_no_longer() {
    let space = Space::fresh();
    let proxy = Proxy::before(&space.address());
    let publisher = publisher(&space.url_at(proxy.port, ""));
    assert_eq!(send(&*publisher, message("q", "t1", 0), soon()), (true, vec![]));
    proxy.mute();
    let deadline = Deadline::after(Duration::from_millis(300));
    let (is_taken, failed) = send(&*publisher, message("q", "t2", 0), deadline);
    assert!(is_taken);
    assert!(matches!(failed[..], [Error::Unconfirmed { .. }]), "{failed:?}");
}

/// A publisher whose messages' results a store listens to, and that store.
fn with_results(url: &celeriac_core::broker::url::BrokerUrl) -> (Arc<dyn Publisher>, Arc<dyn ResultStore>) {
    let publisher = publisher(url);
    assert!(publisher.carries_results_of(&url.with_options()));
    (publisher, backend::open(url).unwrap())
}

/// Sends a message on this thread, and has its result listened to.
fn send_listening(publisher: &dyn Publisher, task_id: &str) {
    let window = Ledger::new(1, usize::MAX);
    let receipt = window.enter(task_id.into(), 0, soon()).unwrap();
    let letter = message("q", task_id, 0).into();
    let mut underway = publisher
        .send_here(letter, Some(task_id), receipt, soon())
        .unwrap();
    while !underway.go_on() {}
    assert_eq!(window.take_failed(), []);
}

fn put(url: &celeriac_core::broker::url::BrokerUrl, task_id: &str) {
    let put = Put {
        task_id: task_id.to_owned(),
        document: Bytes::from_static(SUCCESS.as_bytes()),
        is_final: true,
        expires_s: None,
        reply: None,
    };
    backend::open(url).unwrap().put(vec![put], soon()).unwrap();
}

const SUCCESS: &str = r#"{"status": "SUCCESS"}"#;

#[test]
fn its_result_is_listened_to_without_being_waited_for() {
    let space = Space::fresh();
    let url = space.url("");
    let (publisher, store) = with_results(&url);
    let subscription = store.subscribe("a", true, soon()).unwrap();
    send_listening(&*publisher, "a");
    put(&url, "a");
    assert_eq!(subscription.next(soon()).unwrap().unwrap(), SUCCESS);
}

#[test]
fn a_result_that_was_there_before_it_was_listened_to_is_found() {
    let space = Space::fresh();
    let url = space.url("");
    let (publisher, store) = with_results(&url);
    put(&url, "a");
    let subscription = store.subscribe("a", true, soon()).unwrap();
    send_listening(&*publisher, "a");
    assert_eq!(subscription.next(soon()).unwrap().unwrap(), SUCCESS);
}

#[test]
fn where_results_are_asked_for_at_once_they_are_listened_to_in_the_messages_own_round_trip() {
    let space = Space::fresh();
    let url = space.url("");
    let (publisher, store) = with_results(&url);
    let is_sent_here = |task_id: &str| {
        let window = Ledger::new(1, usize::MAX);
        let receipt = window.enter(task_id.into(), 0, soon()).unwrap();
        let letter = message("q", task_id, 0).into();
        publisher
            .send_here(letter, Some(task_id), receipt, soon())
            .map(|mut underway| while !underway.go_on() {})
            .is_ok()
    };
    let asked = store.subscribe("a", true, soon()).unwrap();
    assert!(is_sent_here("a"));
    assert_eq!(asked.next(in_ms(1)).unwrap(), None);
    let unasked = store.subscribe("b", true, soon()).unwrap();
    assert!(!is_sent_here("b"));
    drop(unasked);
    assert!(is_sent_here("c"));
}

#[test]
fn a_result_that_nobody_keeps_the_handle_of_is_not_listened_to_for_ever() {
    let space = Space::fresh();
    let (publisher, store) = with_results(&space.url(""));
    let kept = store.subscribe("kept", true, soon()).unwrap();
    send_listening(&*publisher, "kept");
    let mut raw = space.connect();
    let mut listeners = |task_id: &str| -> usize {
        let channel = format!("{}celery-task-meta-{task_id}", space.prefix);
        let counted: (String, usize) = redis::cmd("PUBSUB")
            .arg("NUMSUB")
            .arg(&channel)
            .query(&mut raw)
            .unwrap();
        counted.1
    };
    let until = soon();
    while listeners("kept") == 0 {
        assert!(!until.has_passed());
    }
    for number in 0..50 {
        let task_id = format!("t{number}");
        drop(store.subscribe(&task_id, true, soon()).unwrap());
        send_listening(&*publisher, &task_id);
        let short = store.subscribe(&task_id, true, soon()).unwrap();
        send_listening(&*publisher, &task_id);
        drop(short);
    }
    // The last of them is subscribed to, if it is, before this one is.
    let last = store.subscribe("last", true, soon()).unwrap();
    send_listening(&*publisher, "last");
    while (0..50).any(|number| listeners(&format!("t{number}")) > 0) || listeners("last") == 0 {
        assert!(!until.has_passed());
    }
    assert_eq!(listeners("kept"), 1);
    drop((kept, last));
}

#[test]
fn a_result_of_a_message_that_was_sent_here_outlives_the_connection_that_listens() {
    let space = Space::fresh();
    let proxy = Proxy::before(&space.address());
    let url = space.url_at(proxy.port, "");
    let (publisher, store) = with_results(&url);
    let subscription = store.subscribe("a", true, soon()).unwrap();
    send_listening(&*publisher, "a");
    proxy.cut();
    put(&space.url(""), "a");
    assert_eq!(subscription.next(soon()).unwrap().unwrap(), SUCCESS);
}
