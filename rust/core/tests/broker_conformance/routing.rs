//! Exchanges, bindings, queues.

use celeriac_core::broker::Verdict;

use crate::stage::{Fixture, Stage, bodies, reserve, reserve_now, settle, soon};

pub(crate) fn the_default_exchange_routes_to_the_queue_that_the_key_names<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a"]);
    assert_eq!(stage.depth("q"), 1);
    assert_eq!(stage.depth("other"), 0);
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
    assert_eq!(stage.depth("fast"), 0);
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

pub(crate) fn declaring_twice_binds_once<F: Fixture>() {
    let stage = Stage::<F>::set();
    let spec = stage.bound("q", "work", "key");
    stage.publisher.declare(&spec, soon()).unwrap();
    stage.publisher.declare(&spec, soon()).unwrap();
    stage.send(stage.message("work", "key", "a"));
    assert_eq!(stage.depth("q"), 1);
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
    assert_eq!(stage.depth("q"), 1);
}

pub(crate) fn purge_empties_one_queue_and_counts<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish_numbers("q", 5);
    stage.publish("other", &["a"]);
    let consumer = stage.bounded_consumer(&["q"], 1);
    let held = reserve(&*consumer, 1);
    assert_eq!(stage.publisher.purge(&stage.name("q"), soon()).unwrap(), 4);
    assert_eq!(stage.depth("q"), 0);
    assert_eq!(stage.depth("other"), 1);
    consumer.cancel_queue(&stage.name("q"));
    settle(&*consumer, held, &Verdict::Requeue);
    assert_eq!(stage.depth("q"), 1);
}
