//! From a producer to the queue.

use std::sync::Arc;

use celeriac_core::error::Error;
use celeriac_core::ledger::Ledger;

use crate::stage::{Fixture, Stage, soon};

pub(crate) fn every_receipt_is_told_exactly_once<F: Fixture>() {
    let stage = Stage::<F>::set();
    let window = Ledger::new(100, usize::MAX);
    for number in 0..1_000 {
        // A receipt that is never told fills the window; one told twice underflows its count.
        let receipt = window.enter("task".into(), 0, soon()).unwrap();
        stage
            .publisher
            .send(stage.message("", "q", number.to_string()), None, receipt, soon());
    }
    window.wait_empty(soon()).unwrap();
    assert_eq!(window.pending(), 0);
    assert_eq!(window.take_failed(), []);
    stage.assert_depth("q", 1_000);
}

pub(crate) fn many_threads_publish_at_once<F: Fixture>() {
    let stage = Stage::<F>::set();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| stage.publish("q", &["a"; 25]));
        }
    });
    stage.assert_depth("q", 200);
}

pub(crate) fn close_sends_what_is_queued<F: Fixture>() {
    let stage = Stage::<F>::set();
    let window = Ledger::new(500, usize::MAX);
    for _ in 0..500 {
        let receipt = window.enter("task".into(), 0, soon()).unwrap();
        stage
            .publisher
            .send(stage.message("", "q", "a"), None, receipt, soon());
    }
    stage.publisher.close(soon());
    assert_eq!(window.pending(), 0);
    assert_eq!(window.take_failed(), []);
    let other = celeriac_core::broker::open_publisher(&stage.fixture.url()).unwrap();
    assert_eq!(other.depth(&stage.name("q"), soon()).unwrap(), 500);
}

pub(crate) fn a_message_after_close_fails_its_receipt<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["before"]);
    stage.publisher.close(soon());
    for size in [1, 10] {
        let window = Ledger::new(size, usize::MAX);
        let receipt = window.enter("late".into(), 0, soon()).unwrap();
        stage
            .publisher
            .send(stage.message("", "q", "after"), None, receipt, soon());
        window.wait_empty(soon()).unwrap();
        let told = Error::Closed { what: "publisher" };
        assert_eq!(window.take_failed(), [(Arc::from("late"), told)]);
    }
    let other = celeriac_core::broker::open_publisher(&stage.fixture.url()).unwrap();
    assert_eq!(other.depth(&stage.name("q"), soon()).unwrap(), 1);
}
