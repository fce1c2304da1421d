//! When what a consumer holds on Redis comes to another: soon after its process has died, and not before
//! its lease ends where it only cannot be seen.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a broken assumption ends the test")]

#[path = "support/proxy.rs"]
#[expect(dead_code, reason = "each test file uses its part")]
mod proxy;
#[path = "support/redis_message.rs"]
mod redis_message;
#[path = "support/redis_server.rs"]
mod redis_server;
#[path = "support/redis.rs"]
mod space;

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::broker::topology::QueueSpec;
use celeriac_core::broker::url::BrokerUrl;
use celeriac_core::broker::{self, Consumer, ConsumerConfig, Delivery, Settlement, Verdict};
use celeriac_core::ledger::Ledger;
use celeriac_core::time::Deadline;
use proxy::Proxy;
use redis::Commands;
use redis_message::message;
use redis_server::Server;
use space::Space;

/// Longer than it takes to see that a process has ended.
const SEEN_MS: u64 = 7_500;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn in_ms(wait_ms: u64) -> Deadline {
    Deadline::after(Duration::from_millis(wait_ms))
}

fn send(url: &BrokerUrl, tags: &[&str]) {
    let publisher = broker::open_publisher(url).unwrap();
    let window = Ledger::new(tags.len(), usize::MAX);
    for tag in tags {
        let receipt = window.enter((*tag).into(), 0, soon()).unwrap();
        publisher.send(message("q", tag, 0), None, receipt, soon());
    }
    window.wait_empty(soon()).unwrap();
    assert_eq!(window.take_failed(), []);
}

/// A consumer that has come to the server.
fn consumer(url: &BrokerUrl) -> Arc<dyn Consumer> {
    let config = ConsumerConfig {
        node: "celery@test".to_owned(),
        queues: vec![QueueSpec::named("q")],
        prefetch: 0,
        eta_room: 0,
    };
    let consumer = broker::open_consumer(url, config).unwrap();
    assert!(consumer.reserve(1, in_ms(1)).unwrap().is_empty());
    consumer
}

fn reserve(consumer: &dyn Consumer, count: usize, deadline: Deadline) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(consumer.reserve(count - all.len(), deadline).unwrap());
        assert!(!deadline.has_passed(), "{} of {count} messages came", all.len());
    }
    all
}

/// Nothing comes, whatever becomes of the connection meanwhile.
fn gets_nothing(consumer: &dyn Consumer, wait_ms: u64) {
    let deadline = in_ms(wait_ms);
    while !deadline.has_passed() {
        let came = consumer.reserve(1, deadline).unwrap_or_default();
        assert!(came.is_empty(), "{came:?}");
    }
}

fn acknowledge(consumer: &dyn Consumer, held: Vec<Delivery>) {
    let end = |delivery: Delivery| Settlement {
        token: delivery.token,
        verdict: Verdict::Ack,
        put: None,
    };
    consumer
        .settle(held.into_iter().map(end).collect(), soon())
        .unwrap();
}

fn unacked(raw: &mut redis::Connection, prefix: &str) -> usize {
    raw.hlen(format!("{prefix}unacked")).unwrap()
}

#[test]
fn what_dead_consumers_held_comes_to_another_within_seconds() {
    let space = Space::fresh();
    let url = space.url("");
    // The first to come looks after the others; it dies, too.
    let (first, second) = (consumer(&url), consumer(&url));
    let peer = consumer(&url);
    send(&url, &["a", "b"]);
    let _held = [reserve(&*first, 1, soon()), reserve(&*second, 1, soon())];
    drop((first, second));
    let came = reserve(&*peer, 2, in_ms(6_000));
    assert!(
        came.iter()
            .all(|delivery| delivery.redelivered && delivery.losses == 1)
    );
    acknowledge(&*peer, came);
    let mut raw = space.connect();
    let of_owners = ["unacked_owners", "unacked_subscribed"].map(|key| format!("{}{key}", space.prefix));
    let left: (usize, usize) = (
        raw.zcard(&of_owners[0]).unwrap(),
        raw.scard(&of_owners[1]).unwrap(),
    );
    assert_eq!(left, (1, 1), "only the peer is an owner");
}

#[test]
fn who_has_left_is_no_owner_any_more() {
    let space = Space::fresh();
    let consumer = consumer(&space.url(""));
    consumer.close(soon());
    let mut raw = space.connect();
    for key in ["unacked_owners", "unacked_subscribed"] {
        assert!(!raw.exists::<_, bool>(format!("{}{key}", space.prefix)).unwrap());
    }
}

#[test]
fn what_a_silent_consumer_holds_is_not_taken_over_while_its_connections_are_open() {
    let space = Space::fresh();
    let proxy = Proxy::before(&space.address());
    let peer = consumer(&space.url(""));
    let silent = consumer(&space.url_at(proxy.port, ""));
    send(&space.url(""), &["a"]);
    let held = reserve(&*silent, 1, soon());
    proxy.mute();
    gets_nothing(&*peer, SEEN_MS);
    acknowledge(&*silent, held);
    assert_eq!(unacked(&mut space.connect(), &space.prefix), 0);
}

#[test]
fn what_a_consumer_holds_that_has_lost_its_connections_is_not_taken_over() {
    let space = Space::fresh();
    let proxy = Proxy::before(&space.address());
    let peer = consumer(&space.url(""));
    let cut_off = consumer(&space.url_at(proxy.port, ""));
    send(&space.url(""), &["a"]);
    let held = reserve(&*cut_off, 1, soon());
    // Nobody asks it for anything meanwhile: it comes back by itself.
    proxy.cut();
    gets_nothing(&*peer, SEEN_MS);
    acknowledge(&*cut_off, held);
    assert_eq!(unacked(&mut space.connect(), &space.prefix), 0);
}

/// Makes an owner that holds the message with this tag, as a reservation leaves it.
fn owner(raw: &mut redis::Connection, prefix: &str, tag: &str, lease_ms: u64) {
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query(raw).unwrap();
    let item = celeriac_core::wire::envelope::encode(&message("q", tag, 0));
    let record = [b"[".as_slice(), &item, br#", "", "q"]"#].concat();
    redis::pipe()
        .hset(format!("{prefix}unacked"), tag, record)
        .zadd(format!("{prefix}unacked_index"), tag, seconds)
        .sadd(format!("{prefix}unacked_owner.other"), tag)
        .zadd(
            format!("{prefix}unacked_owners"),
            "other",
            seconds * 1_000 + lease_ms,
        )
        .exec(raw)
        .unwrap();
}

#[test]
fn an_owner_that_does_not_subscribe_keeps_what_it_holds_until_its_lease_ends() {
    let space = Space::fresh();
    let mut raw = space.connect();
    let peer = consumer(&space.url("lease_timeout=3"));
    owner(&mut raw, &space.prefix, "a", SEEN_MS + 1_500);
    gets_nothing(&*peer, SEEN_MS);
    assert_eq!(reserve(&*peer, 1, soon())[0].token.tag, "a");
}

#[test]
fn nothing_is_taken_over_while_all_come_back_to_a_server_that_has_restarted() {
    let mut server = Server::start();
    let mut raw = server.connect();
    let peer = consumer(&server.url());
    let subscribed = subscribe_as_other(&server);
    owner(&mut raw, "", "a", 60_000);
    raw.sadd::<_, _, ()>("unacked_subscribed", "other").unwrap();
    gets_nothing(&*peer, SEEN_MS);
    drop(subscribed);
    server.restart();
    // It takes its time to come back, and comes.
    gets_nothing(&*peer, 3_500);
    let _subscribed = subscribe_as_other(&server);
    gets_nothing(&*peer, SEEN_MS);
    assert_eq!(unacked(&mut server.connect(), ""), 1);
}

fn subscribe_as_other(server: &Server) -> redis::Connection {
    let mut connection = server.connect();
    let channel = "/0.celeriac.alive.other";
    connection
        .send_packed_command(&redis::cmd("SUBSCRIBE").arg(channel).get_packed_command())
        .unwrap();
    let mut raw = server.connect();
    let deadline = soon();
    while subscribers(&mut raw, channel) == 0 {
        assert!(!deadline.has_passed(), "it does not subscribe");
    }
    connection
}

fn subscribers(raw: &mut redis::Connection, channel: &str) -> u64 {
    let (_, count): (String, u64) = redis::cmd("PUBSUB").arg(&["NUMSUB", channel]).query(raw).unwrap();
    count
}

#[test]
fn what_a_newcomer_held_comes_to_the_one_that_was_alone_before() {
    let space = Space::fresh();
    let url = space.url("");
    let alone = consumer(&url);
    gets_nothing(&*alone, 500);
    let newcomer = consumer(&url);
    send(&url, &["a"]);
    let _held = reserve(&*newcomer, 1, soon());
    let (mut raw, deadline) = (space.connect(), soon());
    while !raw
        .exists::<_, bool>(format!("{}unacked_looker", space.prefix))
        .unwrap()
    {
        assert!(!deadline.has_passed(), "the newcomer does not look");
    }
    drop(newcomer);
    assert_eq!(reserve(&*alone, 1, in_ms(6_000))[0].token.tag, "a");
}
