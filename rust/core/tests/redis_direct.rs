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

use celeriac_core::broker::topology::QueueSpec;
use celeriac_core::broker::{self, Publisher};
use celeriac_core::error::Error;
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
