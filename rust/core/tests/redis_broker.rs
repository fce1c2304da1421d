//! What is special to Redis as a broker: kombu's keys and bytes, leases, and what breaks.
#![expect(clippy::unwrap_used, reason = "a broken assumption ends the test")]

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
use celeriac_core::broker::topology::QueueSpec;
use celeriac_core::broker::url::BrokerUrl;
use celeriac_core::broker::{self, Consumer, ConsumerConfig, Delivery, Publisher, Settlement, Verdict};
use celeriac_core::error::Error;
use celeriac_core::ledger::Ledger;
use celeriac_core::time::Deadline;
use celeriac_core::wire::envelope;
use celeriac_core::wire::message::Outgoing;
use proxy::Proxy;
use redis::Commands;
use redis_message::message;
use space::Space;

const RECORD_OF_CELERY: &str = r#"[{"body": "W10=", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"task": "add", "id": "7", "n": 12345678901234567890}, "properties": {"delivery_info": {"exchange": "", "routing_key": "q"}, "priority": 4, "body_encoding": "base64", "delivery_tag": "tag-7"}}, "", "q"]"#;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn in_ms(wait_ms: u64) -> Deadline {
    Deadline::after(Duration::from_millis(wait_ms))
}

fn queue(name: &str) -> QueueSpec {
    QueueSpec::named(name)
}

fn send_all(publisher: &dyn Publisher, messages: Vec<Outgoing>) -> Vec<(Arc<str>, Error)> {
    let window = Ledger::new(messages.len(), usize::MAX);
    for outgoing in messages {
        let id: Arc<str> = outgoing.message.properties.delivery_tag.as_str().into();
        let receipt = window.enter(id, 0, soon()).unwrap();
        publisher.send(outgoing, None, receipt, soon());
    }
    window.wait_empty(soon()).unwrap();
    window.take_failed()
}

fn consumer(url: &BrokerUrl) -> Arc<dyn Consumer> {
    let config = ConsumerConfig {
        node: "celery@test".to_owned(),
        queues: vec![queue("q")],
        prefetch: 0,
        eta_room: 0,
    };
    broker::open_consumer(url, config).unwrap()
}

fn reserve(consumer: &dyn Consumer, count: usize) -> Vec<Delivery> {
    let deadline = soon();
    let mut all = Vec::new();
    while all.len() < count {
        let found = consumer.reserve(count - all.len(), deadline);
        // A broken connection is repaired by the next call; nothing else may go wrong.
        if !matches!(found, Err(Error::Disconnected { .. })) {
            all.extend(found.unwrap());
        }
        assert!(
            !deadline.has_passed(),
            "{} of {count} messages arrived",
            all.len()
        );
    }
    all
}

fn settle(consumer: &dyn Consumer, deliveries: Vec<Delivery>, verdict: &Verdict) {
    let batch = deliveries.into_iter().map(|delivery| Settlement {
        token: delivery.token,
        verdict: verdict.clone(),
        put: None,
    });
    consumer.settle(batch.collect(), soon()).unwrap();
}

fn texts(deliveries: &[Delivery]) -> Vec<String> {
    let bodies = deliveries
        .iter()
        .map(|delivery| delivery.message.as_ref().unwrap().body.clone());
    bodies
        .map(|body| String::from_utf8(body.to_vec()).unwrap())
        .collect()
}

#[test]
fn a_message_lies_where_kombu_looks_and_reads_as_kombu_writes() {
    let space = Space::fresh();
    let publisher = broker::open_publisher(&space.url("")).unwrap();
    let (plain, urgent) = (message("q", "t1", 0), message("q", "t2", 5));
    assert_eq!(send_all(&*publisher, vec![plain.clone(), urgent.clone()]), []);
    let mut raw = space.connect();
    let at_zero: Vec<Vec<u8>> = raw.lrange(format!("{}q", space.prefix), 0, -1).unwrap();
    let at_three: Vec<Vec<u8>> = raw.lrange(format!("{}q\x06\x163", space.prefix), 0, -1).unwrap();
    assert_eq!(at_zero, [envelope::encode(&plain)]);
    assert_eq!(at_three, [envelope::encode(&urgent)]);
}

#[test]
fn declaring_binds_as_kombu_does() {
    let space = Space::fresh();
    let publisher = broker::open_publisher(&space.url("")).unwrap();
    let lasting = QueueSpec {
        exchange: "ex".to_owned(),
        routing_key: "key".to_owned(),
        ..queue("q")
    };
    let passing = QueueSpec {
        name: "tmp".to_owned(),
        arguments: vec![("x-expires".to_owned(), "1000".to_owned())],
        ..lasting.clone()
    };
    publisher.declare(&lasting, soon()).unwrap();
    publisher.declare(&passing, soon()).unwrap();
    let mut raw = space.connect();
    let mut all: Vec<String> = raw
        .smembers(format!("{}_kombu.binding.ex", space.prefix))
        .unwrap();
    all.sort();
    assert_eq!(all, ["key\x06\x16\x06\x16q", "key\x06\x16\x06\x16tmp"]);
    let permanent: Vec<String> = raw
        .smembers(format!("{}_kombu.binding_permanent.ex", space.prefix))
        .unwrap();
    assert_eq!(permanent, ["key\x06\x16\x06\x16q"]);
    let deadline_ms: f64 = raw
        .zscore(format!("{}_kombu.binding_deadlines", space.prefix), "ex")
        .unwrap();
    let (seconds, _): (f64, f64) = redis::cmd("TIME").query(&mut raw).unwrap();
    assert!((deadline_ms / 1000.0 - seconds - 3600.0).abs() < 60.0);
}

#[test]
fn a_reserved_message_is_recorded_as_celery_records_it() {
    let space = Space::fresh();
    let url = space.url("");
    let publisher = broker::open_publisher(&url).unwrap();
    let sent = message("q", "t1", 0);
    send_all(&*publisher, vec![sent.clone()]);
    let consumer = consumer(&url);
    let held = reserve(&*consumer, 1);
    assert_eq!(held[0].token.tag, "t1");
    let mut raw = space.connect();
    let record: Vec<u8> = raw.hget(format!("{}unacked", space.prefix), "t1").unwrap();
    let expected = [b"[".as_slice(), &envelope::encode(&sent), br#", "", "q"]"#].concat();
    assert_eq!(record, expected);
    let score: f64 = raw
        .zscore(format!("{}unacked_index", space.prefix), "t1")
        .unwrap();
    let (seconds, _): (f64, f64) = redis::cmd("TIME").query(&mut raw).unwrap();
    assert!(
        (seconds - score).abs() < 30.0,
        "{score} is not the server's time {seconds}"
    );
    settle(&*consumer, held, &Verdict::Ack);
    assert!(!raw.exists::<_, bool>(format!("{}unacked", space.prefix)).unwrap());
    assert!(
        !raw.exists::<_, bool>(format!("{}unacked_index", space.prefix))
            .unwrap()
    );
}

#[test]
fn what_is_no_message_is_set_aside_and_hurts_no_other() {
    let space = Space::fresh();
    let url = space.url("");
    let publisher = broker::open_publisher(&url).unwrap();
    let mut raw = space.connect();
    let list = format!("{}q", space.prefix);
    for item in [b"not json".as_slice(), b"[1, 2]", b"\xff\xfe", b"{}"] {
        raw.lpush::<_, _, ()>(&list, item).unwrap();
    }
    send_all(&*publisher, vec![message("q", "good", 0)]);
    let consumer = consumer(&url);
    let held = reserve(&*consumer, 5);
    let (good, bad): (Vec<_>, Vec<_>) = held.into_iter().partition(|delivery| delivery.message.is_ok());
    assert_eq!(texts(&good), ["good"]);
    // It is kept before anybody settles it.
    assert_eq!(publisher.list_aside("q", 10, soon()).unwrap().len(), 4);
    settle(
        &*consumer,
        bad,
        &Verdict::SetAside("malformed envelope".to_owned()),
    );
    let kept = publisher.list_aside("q", 10, soon()).unwrap();
    let reasons: Vec<&str> = kept.iter().map(|aside| aside.reason.as_str()).collect();
    assert_eq!(reasons, ["malformed envelope"; 4]);
    consumer.close(soon());
    assert_eq!(publisher.depth("q", soon()).unwrap(), 1);
}

#[test]
fn messages_without_a_usable_tag_or_with_anothers_are_delivered_and_acked() {
    let space = Space::fresh();
    let url = space.url("");
    let mut raw = space.connect();
    let list = format!("{}q", space.prefix);
    let without = r#"{"body": "[]", "content-type": "application/json", "headers": {"task": "t", "id": "1"}, "properties": {"delivery_info": {"exchange": "", "routing_key": "q"}}}"#;
    let number = without.replace("\"properties\": {", "\"properties\": {\"delivery_tag\": 12, ");
    let twin = String::from_utf8(envelope::encode(&message("q", "twin", 0))).unwrap();
    for item in [without, &number, &twin, &twin] {
        raw.lpush::<_, _, ()>(&list, item).unwrap();
    }
    let consumer = consumer(&url);
    let held = reserve(&*consumer, 4);
    assert!(held.iter().all(|delivery| delivery.message.is_ok()));
    assert_eq!(held[1].token.tag, "12");
    assert_ne!(held[2].token.tag, held[3].token.tag);
    assert_eq!(raw.hlen::<_, u64>(format!("{}unacked", space.prefix)).unwrap(), 4);
    settle(&*consumer, held, &Verdict::Ack);
    assert_eq!(raw.hlen::<_, u64>(format!("{}unacked", space.prefix)).unwrap(), 0);
}

#[test]
fn what_celery_left_unacked_is_restored_by_its_rule() {
    let space = Space::fresh();
    let mut raw = space.connect();
    raw.hset::<_, _, _, ()>(format!("{}unacked", space.prefix), "tag-7", RECORD_OF_CELERY)
        .unwrap();
    raw.zadd::<_, _, _, ()>(format!("{}unacked_index", space.prefix), "tag-7", 1_000)
        .unwrap();
    let consumer = consumer(&space.url(""));
    let held = reserve(&*consumer, 1);
    assert!(held[0].redelivered);
    assert_eq!(held[0].token.tag, "tag-7");
    let record: String = raw.hget(format!("{}unacked", space.prefix), "tag-7").unwrap();
    assert!(record.contains("12345678901234567890"), "{record}");
    assert!(
        !raw.exists::<_, bool>(format!("{}unacked_mutex", space.prefix))
            .unwrap()
    );
}

#[test]
fn nothing_is_swept_that_is_not_due_or_while_celery_sweeps() {
    let space = Space::fresh();
    let mut raw = space.connect();
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query(&mut raw).unwrap();
    raw.hset::<_, _, _, ()>(format!("{}unacked", space.prefix), "tag-7", RECORD_OF_CELERY)
        .unwrap();
    raw.zadd::<_, _, _, ()>(format!("{}unacked_index", space.prefix), "tag-7", seconds - 3_000)
        .unwrap();
    let early = consumer(&space.url(""));
    assert!(early.reserve(1, in_ms(300)).unwrap().is_empty());
    raw.set::<_, _, ()>(format!("{}unacked_mutex", space.prefix), "celery's")
        .unwrap();
    let barred = consumer(&space.url("visibility_timeout=100"));
    assert!(barred.reserve(1, in_ms(300)).unwrap().is_empty());
    let lock: String = raw.get(format!("{}unacked_mutex", space.prefix)).unwrap();
    assert_eq!(lock, "celery's");
}

#[test]
fn what_is_reserved_with_a_settlement_comes_next_or_goes_back() {
    let space = Space::fresh();
    let url = space.url("");
    let publisher = broker::open_publisher(&url).unwrap();
    let messages = ["1", "2", "3", "4"].map(|tag| message("q", tag, 0));
    assert_eq!(send_all(&*publisher, messages.into()), []);
    let consumer = consumer(&url);
    consumer.reserve_ahead(true);
    for next in ["1", "2"] {
        let taken = reserve(&*consumer, 1);
        assert_eq!(texts(&taken), [next]);
        settle(&*consumer, taken, &Verdict::Ack);
    }
    assert_eq!(publisher.depth("q", soon()).unwrap(), 1, "the third is reserved");
    consumer.reserve_ahead(false);
    assert_eq!(publisher.depth("q", soon()).unwrap(), 2);
    assert_eq!(texts(&reserve(&*consumer, 2)), ["3", "4"]);
}

#[test]
fn an_ack_after_a_takeover_does_nothing() {
    let space = Space::fresh();
    let url = space.url("");
    let publisher = broker::open_publisher(&url).unwrap();
    send_all(&*publisher, vec![message("q", "t1", 0)]);
    let consumer = consumer(&url);
    let held = reserve(&*consumer, 1);
    let mut raw = space.connect();
    let owners: Vec<String> = raw
        .zrange(format!("{}unacked_owners", space.prefix), 0, -1)
        .unwrap();
    assert_eq!(owners.len(), 1);
    let mine = format!("{}unacked_owner.{}", space.prefix, owners[0]);
    let theirs = format!("{}unacked_owner.other", space.prefix);
    raw.smove::<_, _, _, ()>(mine, theirs, "t1").unwrap();
    settle(&*consumer, held, &Verdict::Ack);
    assert!(
        raw.hexists::<_, _, bool>(format!("{}unacked", space.prefix), "t1")
            .unwrap()
    );
}

#[test]
fn the_index_is_rewritten_with_the_servers_time_while_a_message_is_held() {
    let space = Space::fresh();
    let url = space.url("visibility_timeout=1");
    let publisher = broker::open_publisher(&url).unwrap();
    send_all(&*publisher, vec![message("q", "t1", 0)]);
    let (busy, idle) = (consumer(&url), consumer(&url));
    let held = reserve(&*busy, 1);
    let mut raw = space.connect();
    let index = format!("{}unacked_index", space.prefix);
    let before: f64 = raw.zscore(&index, "t1").unwrap();
    assert!(idle.reserve(1, in_ms(2_500)).unwrap().is_empty());
    let after: f64 = raw.zscore(&index, "t1").unwrap();
    assert!(after >= before + 1.5, "{before} {after}");
    settle(&*busy, held, &Verdict::Ack);
}

#[test]
fn pipelines_in_flight_keep_the_order_of_their_producer() {
    let space = Space::fresh();
    let publisher = broker::open_publisher(&space.url("")).unwrap();
    let count = 3_000;
    let messages = (0..count)
        .map(|number| message("q", &format!("t{number}"), 0))
        .collect();
    assert_eq!(send_all(&*publisher, messages), []);
    let items: Vec<Vec<u8>> = space
        .connect()
        .lrange(format!("{}q", space.prefix), 0, -1)
        .unwrap();
    let arrived: Vec<String> = items
        .iter()
        .rev()
        .map(|item| envelope::decode(item).unwrap().message.properties.delivery_tag)
        .collect();
    let sent: Vec<String> = (0..count).map(|number| format!("t{number}")).collect();
    assert_eq!(arrived, sent);
}

#[test]
fn a_mandatory_message_that_no_queue_takes_fails_its_receipt() {
    let space = Space::fresh();
    let publisher = broker::open_publisher(&space.url("")).unwrap();
    let mut stray = message("q", "t1", 0);
    stray.target.exchange = "nowhere".to_owned();
    assert_eq!(send_all(&*publisher, vec![stray.clone()]), []);
    stray.mandatory = Some(true);
    let failed = send_all(&*publisher, vec![stray]);
    assert!(
        failed[0].1.to_string().contains("no queue is bound"),
        "{failed:?}"
    );
}

#[test]
fn a_refused_message_fails_alone() {
    let space = Space::fresh();
    let publisher = broker::open_publisher(&space.url("")).unwrap();
    space
        .connect()
        .set::<_, _, ()>(format!("{}text", space.prefix), "not a list")
        .unwrap();
    let failed = send_all(
        &*publisher,
        vec![
            message("q", "a", 0),
            message("text", "b", 0),
            message("q", "c", 0),
        ],
    );
    assert_eq!(failed.len(), 1);
    assert_eq!(&*failed[0].0, "b");
    assert!(failed[0].1.to_string().contains("WRONGTYPE"), "{failed:?}");
    assert_eq!(publisher.depth("q", soon()).unwrap(), 2);
}

#[test]
fn nothing_is_lost_when_the_connection_breaks_while_publishing() {
    let space = Space::fresh();
    let proxy = Proxy::before(&space.address());
    let publisher = broker::open_publisher(&space.url_at(proxy.port, "")).unwrap();
    let window = Ledger::new(10_000, usize::MAX);
    for number in 0..10_000 {
        if number % 2_000 == 1_000 {
            proxy.cut();
        }
        let outgoing = message("q", &format!("t{number}"), 0);
        let receipt = window.enter(number.to_string().into(), 0, soon()).unwrap();
        publisher.send(outgoing, None, receipt, soon());
    }
    window.wait_empty(soon()).unwrap();
    assert_eq!(window.take_failed(), []);
    let items: Vec<Vec<u8>> = space
        .connect()
        .lrange(format!("{}q", space.prefix), 0, -1)
        .unwrap();
    let read = items.iter().map(|item| envelope::decode(item).unwrap().message);
    let (mut bodies, mut tags): (Vec<Bytes>, Vec<String>) = read
        .map(|message| (message.body, message.properties.delivery_tag))
        .unzip();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 10_000);
    tags.sort();
    tags.dedup();
    // A copy that was sent again has a lease, and so a tag, of its own.
    assert_eq!(tags.len(), items.len());
}

#[test]
fn a_publisher_without_a_server_fails_at_the_deadline_and_names_the_url() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let url = BrokerUrl::parse(&format!("redis://u:secret@127.0.0.1:{port}/0"), Vec::new()).unwrap();
    let publisher = broker::open_publisher(&url).unwrap();
    let window = Ledger::new(1, usize::MAX);
    let receipt = window.enter("a".into(), 0, soon()).unwrap();
    publisher.send(message("q", "a", 0), None, receipt, in_ms(300));
    window.wait_empty(soon()).unwrap();
    let failed = window.take_failed();
    assert!(matches!(failed[0].1, Error::Disconnected { .. }), "{failed:?}");
    assert!(!failed[0].1.to_string().contains("secret"));
}

#[test]
fn a_consumer_comes_back_with_what_it_holds_and_hands_back_what_it_never_saw() {
    let space = Space::fresh();
    let proxy = Proxy::before(&space.address());
    let publisher = broker::open_publisher(&space.url("")).unwrap();
    send_all(
        &*publisher,
        vec![message("q", "held", 0), message("q", "unseen", 0)],
    );
    let consumer = consumer(&space.url_at(proxy.port, ""));
    let mut held = reserve(&*consumer, 1);
    // As a reservation leaves it whose answer is lost with the connection.
    let mut raw = space.connect();
    let item: Vec<u8> = raw.rpop(format!("{}q", space.prefix), None).unwrap();
    let record = [b"[".as_slice(), &item, br#", "", "q"]"#].concat();
    raw.hset::<_, _, _, ()>(format!("{}unacked", space.prefix), "unseen", record)
        .unwrap();
    raw.zadd::<_, _, _, ()>(
        format!("{}unacked_index", space.prefix),
        "unseen",
        4_000_000_000_u64,
    )
    .unwrap();
    let owners: Vec<String> = raw
        .zrange(format!("{}unacked_owners", space.prefix), 0, -1)
        .unwrap();
    raw.sadd::<_, _, ()>(format!("{}unacked_owner.{}", space.prefix, owners[0]), "unseen")
        .unwrap();
    proxy.cut();
    let seen = reserve(&*consumer, 1);
    assert_eq!(texts(&seen), ["unseen"]);
    assert!(seen[0].redelivered);
    held.extend(seen);
    settle(&*consumer, held, &Verdict::Ack);
    assert_eq!(raw.hlen::<_, u64>(format!("{}unacked", space.prefix)).unwrap(), 0);
    assert!(proxy.connections() >= 1);
}

#[test]
fn connections_that_fall_silent_together_cost_one_time_out() {
    let space = Space::fresh();
    let proxy = Proxy::before(&space.address());
    let publisher = broker::open_publisher(&space.url("")).unwrap();
    let messages = ["first", "second", "third"].map(|tag| message("q", tag, 0));
    send_all(&*publisher, messages.into());
    let consumer = consumer(&space.url_at(proxy.port, "socket_timeout=6"));
    let held = reserve(&*consumer, 1);
    settle(&*consumer, held, &Verdict::Ack);
    let held = reserve(&*consumer, 1);
    proxy.mute();
    // The connection for this one is found out by its time-out, as the other ones would be.
    settle(&*consumer, held, &Verdict::Ack);
    let another_time_out = in_ms(6_000);
    let arrived = consumer.reserve(1, another_time_out).unwrap();
    assert_eq!(texts(&arrived), ["third"]);
    assert!(!another_time_out.has_passed());
}

#[test]
fn what_a_settlement_reserves_again_is_not_asked_about_over_a_connection_that_fell_silent() {
    let space = Space::fresh();
    let proxy = Proxy::before(&space.address());
    let publisher = broker::open_publisher(&space.url("")).unwrap();
    assert_eq!(
        send_all(&*publisher, vec![message("q", "1", 0), message("q", "2", 0)]),
        []
    );
    let consumer = consumer(&space.url_at(proxy.port, ""));
    consumer.reserve_ahead(true);
    let held = reserve(&*consumer, 1);
    // The one that settles is opened after this.
    proxy.mute();
    let a_time_out = in_ms(8_000);
    settle(&*consumer, held, &Verdict::RequeueLost);
    assert!(!a_time_out.has_passed());
    let again = consumer.take_reserved();
    assert_eq!(texts(&again), ["1"]);
    assert_eq!(again[0].losses, 1);
}

#[test]
fn what_a_settlement_has_reserved_without_an_answer_is_handed_back() {
    let space = Space::fresh();
    let proxy = Proxy::before(&space.address());
    let publisher = broker::open_publisher(&space.url("")).unwrap();
    let messages = ["1", "2", "3", "4"].map(|tag| message("q", tag, 0));
    assert_eq!(send_all(&*publisher, messages.into()), []);
    let consumer = consumer(&space.url_at(proxy.port, ""));
    let first = reserve(&*consumer, 1);
    settle(&*consumer, first, &Verdict::Ack);
    consumer.reserve_ahead(true);
    let second = reserve(&*consumer, 1);
    proxy.lose_answers_of_the_last();
    let [second] = <[Delivery; 1]>::try_from(second).unwrap();
    let settlement = Settlement {
        token: second.token,
        verdict: Verdict::Ack,
        put: None,
    };
    let unsettled = consumer.settle(vec![settlement], in_ms(300)).unwrap_err();
    assert!(matches!(unsettled.error, Error::TimedOut { .. }), "{unsettled}");
    assert_eq!(publisher.depth("q", soon()).unwrap(), 1, "the third is reserved");
    let third = reserve(&*consumer, 1);
    assert_eq!(texts(&third), ["3"]);
    assert!(third[0].redelivered);
}

fn seconds_now(raw: &mut redis::Connection) -> f64 {
    let (seconds, microseconds): (f64, f64) = redis::cmd("TIME").query(raw).unwrap();
    seconds + microseconds / 1e6
}

fn delay(consumer: &dyn Consumer, held: Vec<Delivery>, by_ms: u64) {
    let until_unix_ms = celeriac_core::time::SystemClock::shared().unix_ms() + by_ms;
    settle(consumer, held, &Verdict::Delay { until_unix_ms });
}

/// A queue whose one message is delayed; its name in the record.
fn delayed(space: &Space, options: &str, by_ms: u64) -> (Arc<dyn Consumer>, String) {
    let url = space.url(options);
    send_all(
        &*broker::open_publisher(&url).unwrap(),
        vec![message("q", "t1", 0)],
    );
    let consumer = consumer(&url);
    delay(&*consumer, reserve(&*consumer, 1), by_ms);
    let names: Vec<String> = space.connect().hkeys(format!("{}unacked", space.prefix)).unwrap();
    assert_eq!(names.len(), 1);
    (consumer, names.into_iter().next().unwrap())
}

#[test]
fn what_is_delayed_stays_where_celery_restores_from_and_not_before_its_time() {
    let space = Space::fresh();
    let mut raw = space.connect();
    for (by_ms, until_restored_s) in [(7_200_000, 3_600.0), (60_000, 0.0)] {
        let (consumer, name) = delayed(&space, "", by_ms);
        let rest = name.strip_prefix("celeriac.delayed.").unwrap();
        assert_eq!(rest.split_once('.').unwrap().1, "q");
        let now_s = seconds_now(&mut raw);
        let score: f64 = raw
            .zscore(format!("{}unacked_index", space.prefix), &name)
            .unwrap();
        assert!((score - now_s - until_restored_s).abs() < 30.0, "{score} {now_s}");
        let due_ms: f64 = raw
            .zscore(format!("{}unacked_delayed.q", space.prefix), &name)
            .unwrap();
        let wait_s = Duration::from_millis(by_ms).as_secs_f64();
        assert!((due_ms / 1000.0 - now_s - wait_s).abs() < 30.0);
        consumer.close(soon());
        raw.del::<_, ()>(format!("{}unacked", space.prefix)).unwrap();
    }
}

#[test]
fn what_celery_has_restored_is_not_delivered_again_when_it_is_due() {
    let space = Space::fresh();
    let mut raw = space.connect();
    let (consumer, name) = delayed(&space, "", 1_500);
    // As kombu restores.
    let (unacked, index) = (
        format!("{}unacked", space.prefix),
        format!("{}unacked_index", space.prefix),
    );
    let record: String = raw.hget(&unacked, &name).unwrap();
    let envelope = &record[1..record.len() - r#", "", "q"]"#.len()];
    redis::pipe()
        .atomic()
        .hdel(&unacked, &name)
        .zrem(&index, &name)
        .rpush(format!("{}q", space.prefix), envelope)
        .exec(&mut raw)
        .unwrap();
    let restored = reserve(&*consumer, 1);
    assert_eq!(restored[0].token.tag, "t1");
    assert!(consumer.reserve(1, in_ms(2_500)).unwrap().is_empty());
    settle(&*consumer, restored, &Verdict::Ack);
    let left: u64 = raw.zcard(format!("{}unacked_delayed.q", space.prefix)).unwrap();
    assert_eq!(left, 0);
}

#[test]
fn a_sweep_takes_what_is_due_once() {
    let space = Space::fresh();
    let options = "visibility_timeout=1&unacked_restore_interval=0.3&unacked_restore_throttle=1";
    let (first, _) = delayed(&space, options, 1_500);
    first.close(soon());
    // It sweeps, and consumes another queue.
    let url = space.url(options);
    let config = ConsumerConfig {
        node: "celery@sweeper".to_owned(),
        queues: vec![queue("other")],
        prefetch: 0,
        eta_room: 0,
    };
    let sweeper = broker::open_consumer(&url, config).unwrap();
    assert!(sweeper.reserve(1, in_ms(2_500)).unwrap().is_empty());
    let second = consumer(&url);
    let held = reserve(&*second, 1);
    assert!(second.reserve(1, in_ms(500)).unwrap().is_empty());
    settle(&*second, held, &Verdict::Ack);
}

#[test]
fn everything_that_is_held_is_kept_from_celerys_sweep_however_much_it_is() {
    const COUNT: usize = 2_000;
    let space = Space::fresh();
    let url = space.url("visibility_timeout=1");
    let messages = (0..COUNT).map(|number| message("q", &format!("t{number}"), 0));
    send_all(&*broker::open_publisher(&url).unwrap(), messages.collect());
    let consumer = consumer(&url);
    let mut held = Vec::new();
    while held.len() < COUNT {
        held.extend(consumer.reserve(COUNT, soon()).unwrap());
    }
    let mut raw = space.connect();
    let reserved_s = seconds_now(&mut raw);
    let index = format!("{}unacked_index", space.prefix);
    let deadline = soon();
    loop {
        let known: usize = raw.zcard(&index).unwrap();
        assert_eq!(known, COUNT);
        let old: usize = raw.zcount(&index, "-inf", reserved_s).unwrap();
        if old == 0 {
            break;
        }
        assert!(!deadline.has_passed(), "{old} were not written anew");
        assert!(consumer.reserve(1, in_ms(20)).unwrap().is_empty());
    }
    settle(&*consumer, held, &Verdict::Ack);
}

fn counts(space: &Space) -> Vec<(String, u32)> {
    let key = format!("{}unacked_losses", space.prefix);
    space.connect().hgetall(key).unwrap()
}

#[test]
fn the_count_of_losses_goes_with_its_message() {
    let space = Space::fresh();
    let publisher = broker::open_publisher(&space.url("")).unwrap();
    let consumer = consumer(&space.url(""));
    for end in [Verdict::Ack, Verdict::SetAside("why".to_owned())] {
        assert_eq!(send_all(&*publisher, vec![message("q", "tag", 0)]), []);
        settle(&*consumer, reserve(&*consumer, 1), &Verdict::RequeueLost);
        assert_eq!(counts(&space), [("tag".to_owned(), 1)]);
        settle(&*consumer, reserve(&*consumer, 1), &end);
        assert_eq!(counts(&space), []);
    }
}

#[test]
fn what_celery_restores_keeps_its_count() {
    let space = Space::fresh();
    let publisher = broker::open_publisher(&space.url("")).unwrap();
    let (first, second) = (consumer(&space.url("")), consumer(&space.url("")));
    assert_eq!(send_all(&*publisher, vec![message("q", "tag", 0)]), []);
    settle(&*first, reserve(&*first, 1), &Verdict::RequeueLost);
    let _held = reserve(&*first, 1);
    let mut connection = space.connect();
    let unacked = format!("{}unacked", space.prefix);
    let record: String = connection.hget(&unacked, "tag").unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let restored = envelope::mark_redelivered(record[0].to_string().as_bytes()).unwrap();
    let _gone: u32 = connection.hdel(&unacked, "tag").unwrap();
    let _length: u32 = connection.rpush(format!("{}q", space.prefix), restored).unwrap();
    let again = reserve(&*second, 1);
    assert_eq!((again[0].losses, again[0].redelivered), (1, true));
}
