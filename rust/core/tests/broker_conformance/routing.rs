//! Exchanges, bindings, queues.

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::broker::topology::{ExchangeType, QueueSpec};
use celeriac_core::broker::{Consumer, Verdict};
use celeriac_core::wire::message::Outgoing;

use crate::stage::{Fixture, Stage, bodies, reserve, reserve_now, settle, soon};

pub(crate) fn the_default_exchange_routes_to_the_queue_that_the_key_names<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a"]);
    stage.assert_depth("q", 1);
    stage.assert_depth("other", 0);
}

pub(crate) fn a_direct_exchange_routes_by_equal_keys<F: Fixture>() {
    let stage = Stage::<F>::set();
    for spec in [
        stage.bound("fast", "work", "quick"),
        stage.bound("slow", "work", "heavy"),
    ] {
        stage.publisher.declare(&spec, soon()).unwrap();
    }
    stage.send(stage.message("work", "heavy", "a"));
    stage.assert_depth("fast", 0);
    let arrived = reserve(&*stage.consumer(&["fast", "slow"]), 1).remove(0);
    assert_eq!(arrived.queue, stage.name("slow"));
    assert_eq!(arrived.target.exchange, stage.name("work"));
    assert_eq!(arrived.target.routing_key, "heavy");
}

pub(crate) fn a_message_reaches_every_queue_that_is_bound<F: Fixture>() {
    let stage = Stage::<F>::set();
    for spec in [
        stage.bound("one", "work", "key"),
        stage.bound("two", "work", "key"),
    ] {
        stage.publisher.declare(&spec, soon()).unwrap();
    }
    stage.send(stage.message("work", "key", "a"));
    let consumer = stage.consumer(&["one"]);
    let batch = reserve(&*consumer, 1);
    settle(&*consumer, batch, &Verdict::Ack);
    assert_eq!(bodies(&reserve(&*stage.consumer(&["two"]), 1)), ["a"]);
}

pub(crate) fn a_topic_exchange_routes_by_patterns<F: Fixture>() {
    let stage = Stage::<F>::set();
    for (word, key) in [("one", "feed.*"), ("any", "feed.#"), ("exact", "feed.a")] {
        let spec = QueueSpec {
            exchange_type: ExchangeType::Topic,
            ..stage.bound(word, "news", key)
        };
        stage.publisher.declare(&spec, soon()).unwrap();
    }
    for (key, body) in [
        ("feed.a", "1"),
        ("feed.b", "2"),
        ("feed.a.b", "3"),
        ("other", "4"),
    ] {
        stage.send(stage.message("news", key, body));
    }
    for (word, expected) in [
        ("one", &["1", "2"][..]),
        ("any", &["1", "2", "3"]),
        ("exact", &["1"]),
    ] {
        let consumer = stage.consumer(&[word]);
        let batch = reserve(&*consumer, expected.len());
        assert_eq!(bodies(&batch), expected, "{word}");
        settle(&*consumer, batch, &Verdict::Ack);
        assert!(reserve_now(&*consumer).is_empty(), "{word}");
    }
}

pub(crate) fn a_queue_gets_what_comes_through_each_of_its_bindings<F: Fixture>() {
    let stage = Stage::<F>::set();
    let topic = QueueSpec {
        exchange_type: ExchangeType::Topic,
        ..stage.bound("many", "news", "feed.*")
    };
    let spec = QueueSpec {
        more: vec![stage.bound("many", "work", "quick"), topic],
        ..stage.bound("many", "work", "heavy")
    };
    stage.publisher.declare(&spec, soon()).unwrap();
    let consumer = stage.consumer_of(vec![spec], 0);
    for (exchange, key) in [("work", "heavy"), ("work", "quick"), ("news", "feed.a")] {
        stage.send(stage.message(exchange, key, key));
    }
    let batch = reserve(&*consumer, 3);
    assert_eq!(bodies(&batch), ["heavy", "quick", "feed.a"]);
    settle(&*consumer, batch, &Verdict::Ack);
    assert!(reserve_now(&*consumer).is_empty());
}

pub(crate) fn a_queue_may_be_bound_to_a_fanout_exchange_beside_another<F: Fixture>() {
    let stage = Stage::<F>::set();
    let spec = QueueSpec {
        more: vec![broadcast(&stage, "both")],
        auto_delete: true,
        arguments: Vec::new(),
        ..stage.bound("both", "work", "heavy")
    };
    let consumer = stage.consumer_of(vec![spec], 0);
    assert!(reserve_now(&*consumer).is_empty());
    stage.publisher.declare(&exchange_alone(&stage), soon()).unwrap();
    for (exchange, key) in [("work", "heavy"), ("all", "key")] {
        stage.send(stage.message(exchange, key, key));
        let batch = reserve(&*consumer, 1);
        assert_eq!(bodies(&batch), [key]);
        settle(&*consumer, batch, &Verdict::Ack);
    }
}

/// The queue of one consumer of a fanout exchange.
fn broadcast<F: Fixture>(stage: &Stage<F>, word: &str) -> QueueSpec {
    QueueSpec {
        exchange_type: ExchangeType::Fanout,
        auto_delete: true,
        // Whatever other queues are: no quorum queue ends with its consumer.
        arguments: Vec::new(),
        ..stage.bound(word, "all", "key")
    }
}

/// The exchange alone, as its senders know it.
fn exchange_alone<F: Fixture>(stage: &Stage<F>) -> QueueSpec {
    QueueSpec {
        name: String::new(),
        ..broadcast(stage, "")
    }
}

/// A consumer that listens.
fn listener<F: Fixture>(stage: &Stage<F>, word: &str) -> Arc<dyn Consumer> {
    let consumer = stage.consumer_of(vec![broadcast(stage, word), stage.queue("q")], 0);
    assert!(reserve_now(&*consumer).is_empty());
    consumer
}

pub(crate) fn a_broadcast_reaches_every_consumer_once<F: Fixture>() {
    let stage = Stage::<F>::set();
    let consumers = ["w1", "w2"].map(|word| listener(&stage, word));
    stage.publisher.declare(&exchange_alone(&stage), soon()).unwrap();
    stage.send(stage.message("all", "key", "a"));
    stage.send(stage.message("all", "key", "b"));
    for consumer in &consumers {
        let batch = reserve(&**consumer, 2);
        assert_eq!(bodies(&batch), ["a", "b"]);
        assert_eq!(batch[0].target.exchange, stage.name("all"));
        assert!(!batch[0].redelivered);
        settle(&**consumer, batch, &Verdict::Ack);
        assert!(reserve_now(&**consumer).is_empty());
    }
    stage.publish("q", &["c"]);
    assert_eq!(bodies(&reserve(&*consumers[0], 1)), ["c"]);
}

pub(crate) fn a_broadcast_is_handed_back_to_its_own_consumer<F: Fixture>() {
    let stage = Stage::<F>::set();
    let consumers = ["w1", "w2"].map(|word| listener(&stage, word));
    stage.publisher.declare(&exchange_alone(&stage), soon()).unwrap();
    stage.send(stage.message("all", "key", "a"));
    for consumer in &consumers {
        let batch = reserve(&**consumer, 1);
        settle(&**consumer, batch, &Verdict::Requeue);
        let again = reserve(&**consumer, 1);
        assert!(again[0].redelivered);
        settle(&**consumer, again, &Verdict::Ack);
        assert!(reserve_now(&**consumer).is_empty());
    }
}

pub(crate) fn a_broadcast_ends_with_its_consumer<F: Fixture>() {
    let stage = Stage::<F>::set();
    let consumer = listener(&stage, "w");
    stage.publisher.declare(&exchange_alone(&stage), soon()).unwrap();
    let mandatory = |body: &'static str| Outgoing {
        mandatory: Some(true),
        ..stage.message("all", "key", body)
    };
    assert_eq!(stage.failures(mandatory("a")), 0);
    assert_eq!(bodies(&reserve(&*consumer, 1)), ["a"]);
    consumer.close(soon());
    let deadline = soon();
    // A server may need a moment to see that the connection is gone.
    while stage.failures(mandatory("b")) == 0 {
        assert!(!deadline.has_passed(), "the queue is still there");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    stage.assert_depth("w", 0);
}

pub(crate) fn what_no_queue_wants_is_dropped_unless_it_is_mandatory<F: Fixture>() {
    let stage = Stage::<F>::set();
    let spec = stage.bound("q2", "work", "key");
    stage.publisher.declare(&spec, soon()).unwrap();
    assert_eq!(stage.failures(stage.message("work", "other", "a")), 0);
    let mandatory = |key: &str| Outgoing {
        mandatory: Some(true),
        ..stage.message("work", key, "b")
    };
    assert_eq!(stage.failures(mandatory("other")), 1);
    assert_eq!(stage.failures(mandatory("key")), 0);
    stage.assert_depth("q2", 1);
}

pub(crate) fn declaring_twice_binds_once<F: Fixture>() {
    let stage = Stage::<F>::set();
    let spec = stage.bound("q", "work", "key");
    stage.publisher.declare(&spec, soon()).unwrap();
    stage.publisher.declare(&spec, soon()).unwrap();
    stage.send(stage.message("work", "key", "a"));
    stage.assert_depth("q", 1);
}

pub(crate) fn an_added_queue_is_consumed<F: Fixture>() {
    let stage = Stage::<F>::set();
    let consumer = stage.consumer(&["q"]);
    stage.publish("late", &["a"]);
    assert!(reserve_now(&*consumer).is_empty());
    consumer.add_queue(&stage.queue("late"), soon()).unwrap();
    assert_eq!(bodies(&reserve(&*consumer, 1)), ["a"]);
}

pub(crate) fn a_cancelled_queue_is_left_alone<F: Fixture>() {
    let stage = Stage::<F>::set();
    let consumer = stage.consumer(&["q", "other"]);
    stage.publish("q", &["held", "left"]);
    let held = consumer.reserve(1, soon()).unwrap();
    consumer.cancel_queue(&stage.name("q"));
    assert!(reserve_now(&*consumer).is_empty());
    settle(&*consumer, held, &Verdict::Ack);
    stage.assert_depth("q", 1);
}

pub(crate) fn purge_empties_one_queue_and_counts<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish_numbers("q", 5);
    stage.publish("other", &["a"]);
    let consumer = stage.bounded_consumer(&["q"], 1);
    let held = reserve(&*consumer, 1);
    assert_eq!(stage.publisher.purge(&stage.name("q"), soon()).unwrap(), 4);
    stage.assert_depth("q", 0);
    stage.assert_depth("other", 1);
    consumer.cancel_queue(&stage.name("q"));
    settle(&*consumer, held, &Verdict::Requeue);
    stage.assert_depth("q", 1);
}
