//! Consumers end, messages do not.

use celeriac_core::broker::Verdict;

use crate::stage::{Fixture, Stage, bodies, body, in_ms, reserve, settle, soon};

pub(crate) fn closing_hands_unsettled_messages_back_in_front<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a", "b", "c", "d"]);
    let first = stage.bounded_consumer(&["q"], 3);
    let mut held = reserve(&*first, 3);
    settle(&*first, vec![held.remove(1)], &Verdict::Ack);
    first.close(soon());
    stage.assert_depth("q", 3);
    let second = stage.consumer(&["q"]);
    let mut arrived = reserve(&*second, 3);
    if !F::requeues_in_front() {
        arrived.sort_by_key(body);
    }
    assert_eq!(bodies(&arrived), ["a", "c", "d"]);
    let redelivered: Vec<bool> = arrived.iter().map(|delivery| delivery.redelivered).collect();
    // The ack of b made room for d: a server that pushes has pushed it.
    assert_eq!(redelivered, [true, true, F::TAKES_AHEAD]);
}

pub(crate) fn the_messages_of_a_killed_consumer_come_back<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a", "b", "c"]);
    let survivor = stage.consumer(&["q"]);
    stage.fixture.kill_a_consumer_holding(&stage.name("q"), 2);
    let mut arrived = reserve(&*survivor, 3);
    arrived.sort_by_key(body);
    assert_eq!(bodies(&arrived), ["a", "b", "c"]);
    let redelivered: Vec<bool> = arrived.iter().map(|delivery| delivery.redelivered).collect();
    assert_eq!(redelivered, [true, true, false]);
}

pub(crate) fn a_lease_is_renewed_while_its_consumer_lives<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a"]);
    let (busy, idle) = (stage.consumer(&["q"]), stage.consumer(&["q"]));
    let held = reserve(&*busy, 1);
    // Three times the length of a lease.
    assert!(idle.reserve(1, in_ms(3_000)).unwrap().is_empty());
    settle(&*busy, held, &Verdict::Ack);
    stage.assert_depth("q", 0);
}
