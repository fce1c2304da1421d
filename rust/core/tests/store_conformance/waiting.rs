//! Who waits for a result hears of it.

use std::sync::Barrier;
use std::time::Duration;

use celeriac_core::time::Deadline;

use crate::stage::{
    FAILURE, Fixture, PROGRESS, STARTED, SUCCESS, document, in_ms, is_silent, next, put, soon, text,
};

pub(crate) fn a_subscriber_gets_the_current_document_first<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    put(&*store, "a", STARTED);
    let subscription = store.subscribe("a", false, soon()).unwrap();
    put(&*store, "a", SUCCESS);
    assert_eq!(next(&*subscription, 2), [STARTED, SUCCESS]);
    assert!(is_silent(&*subscription));
}

pub(crate) fn a_subscriber_that_was_announced_gets_no_earlier_document<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    put(&*store, "a", STARTED);
    let subscription = store.subscribe("a", true, soon()).unwrap();
    assert!(is_silent(&*subscription));
}

pub(crate) fn a_subscriber_gets_every_document_in_order<F: Fixture>() {
    let fixture = F::fresh();
    let (reader, writer) = (fixture.open(), fixture.open());
    let subscription = reader.subscribe("a", false, soon()).unwrap();
    let puts = [STARTED, PROGRESS, FAILURE].map(|content| document("a", content));
    writer.put(puts.to_vec(), soon()).unwrap();
    put(&*writer, "a", SUCCESS);
    assert_eq!(next(&*subscription, 4), [STARTED, PROGRESS, FAILURE, SUCCESS]);
}

pub(crate) fn a_subscriber_gets_what_another_process_stores_in_order<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let subscription = store.subscribe("a", false, soon()).unwrap();
    fixture.put_elsewhere("a", &[STARTED, PROGRESS, SUCCESS]);
    let deadline = Deadline::after(Duration::from_secs(5));
    for expected in [STARTED, PROGRESS, SUCCESS] {
        let arrived = subscription.next(deadline).unwrap().unwrap();
        assert_eq!(text(&arrived), expected);
    }
}

pub(crate) fn a_waiting_subscriber_wakes_without_a_poll<F: Fixture>() {
    let fixture = F::fresh();
    let (reader, writer) = (fixture.open(), fixture.open());
    // Twenty waits in less than one poll: none of them can have waited for it.
    let deadline = Deadline::after(Duration::from_secs(8));
    for number in 0..20 {
        let task_id = number.to_string();
        let subscription = reader.subscribe(&task_id, false, soon()).unwrap();
        let waiting = std::thread::spawn(move || subscription.next(deadline).unwrap());
        put(&*writer, &task_id, SUCCESS);
        assert_eq!(text(&waiting.join().unwrap().unwrap()), SUCCESS);
    }
}

pub(crate) fn a_subscriber_hears_nothing_of_other_results<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let subscription = store.subscribe("a", false, soon()).unwrap();
    put(&*store, "b", SUCCESS);
    assert!(is_silent(&*subscription));
}

pub(crate) fn two_subscribers_both_hear<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let one = store.subscribe("a", false, soon()).unwrap();
    let other = store.subscribe("a", false, soon()).unwrap();
    put(&*store, "a", STARTED);
    assert_eq!(next(&*one, 1), [STARTED]);
    drop(one);
    put(&*store, "a", SUCCESS);
    assert_eq!(next(&*other, 2), [STARTED, SUCCESS]);
}

pub(crate) fn an_unanswered_wait_ends_at_its_deadline<F: Fixture>() {
    let fixture = F::fresh();
    let subscription = fixture.open().subscribe("a", false, soon()).unwrap();
    let deadline = in_ms(150);
    assert_eq!(subscription.next(deadline).unwrap(), None);
    assert!(deadline.has_passed());
}

pub(crate) fn a_refused_overwrite_is_not_announced<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    put(&*store, "a", SUCCESS);
    let subscription = store.subscribe("a", false, soon()).unwrap();
    put(&*store, "a", FAILURE);
    assert_eq!(next(&*subscription, 1), [SUCCESS]);
    assert!(is_silent(&*subscription));
}

pub(crate) fn a_thousand_subscribers_on_many_threads_all_hear<F: Fixture>() {
    const THREADS: usize = 20;
    const EACH: usize = 50;
    let fixture = F::fresh();
    let (reader, writer) = (fixture.open(), fixture.open());
    let all_subscribed = Barrier::new(THREADS + 1);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (reader, all_subscribed) = (&reader, &all_subscribed);
            scope.spawn(move || {
                let ids = (0..EACH).map(|number| format!("{thread}-{number}"));
                let subscriptions: Vec<_> = ids
                    .map(|id| reader.subscribe(&id, false, soon()).unwrap())
                    .collect();
                all_subscribed.wait();
                for subscription in &subscriptions {
                    assert_eq!(next(&**subscription, 1), [SUCCESS]);
                }
            });
        }
        all_subscribed.wait();
        for thread in 0..THREADS {
            let ids = (0..EACH).map(|number| format!("{thread}-{number}"));
            let puts = ids.map(|id| document(&id, SUCCESS)).collect();
            writer.put(puts, soon()).unwrap();
        }
    });
}

pub(crate) fn a_subscription_ends_when_it_is_dropped<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    for _ in 0..200 {
        drop(store.subscribe("a", false, soon()).unwrap());
    }
    put(&*store, "a", STARTED);
    let subscription = store.subscribe("a", false, soon()).unwrap();
    put(&*store, "a", SUCCESS);
    assert_eq!(next(&*subscription, 2), [STARTED, SUCCESS]);
    assert!(is_silent(&*subscription));
}
