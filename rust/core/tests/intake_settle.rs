//! What the intake tells the broker and the result store, in which order, and under failures.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here fails the test"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::broker::Verdict;
use celeriac_core::intake::{Config, Event, Held, Intake, Results, TroubleKind};
use celeriac_core::time::{Clock, ManualClock};
use support::{Fake, Seen, at_once, delivery, lost, put, refused, soon};

fn config() -> Config {
    Config {
        prefetch: 10,
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(4),
        ..Config::default()
    }
}

/// An intake that holds one delivery for each tag.
fn holding(fake: &Arc<Fake>, clock: &Arc<ManualClock>, tags: &[&str]) -> (Intake, Vec<Arc<Held>>) {
    fake.answer(tags.iter().map(|tag| Ok(delivery(tag, None))));
    let results = Results {
        store: Arc::<Fake>::clone(fake),
        url: "fake://".to_owned(),
    };
    let consumer = Arc::<Fake>::clone(fake);
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
    let intake = Intake::new(consumer, Some(results), clock, &config()).unwrap();
    intake.start().unwrap();
    let mut held = Vec::new();
    while held.len() < tags.len() {
        for event in intake.next_events(10, soon()).unwrap() {
            match event {
                Event::Delivery(delivery) => held.push(delivery),
                Event::Child(_) | Event::Trouble(_) => unreachable!("{event:?}"),
            }
        }
    }
    (intake, held)
}

fn ack(tag: &str, put: Option<&str>) -> (String, Verdict, Option<String>) {
    (tag.to_owned(), Verdict::Ack, put.map(ToOwned::to_owned))
}

fn trouble(intake: &Intake) -> String {
    let events = intake.next_events(1, soon()).unwrap();
    let [Event::Trouble(trouble)] = &events[..] else {
        unreachable!("{events:?}")
    };
    assert_eq!(trouble.kind, TroubleKind::Unsettled);
    trouble.detail.clone()
}

#[test]
fn a_document_goes_with_its_settlement_where_the_broker_stores_it() {
    let (fake, clock) = (Fake::new(true), ManualClock::at(0));
    let (intake, held) = holding(&fake, &clock, &["a"]);
    intake.settle(&held[0], Verdict::Ack, Some(put("a"))).unwrap();
    assert!(intake.flush(soon()));
    assert_eq!(fake.seen(), [Seen::Settled(vec![ack("a", Some("a"))])]);
    assert_eq!(intake.held(), 0);
}

#[test]
fn a_document_is_stored_before_the_ack_where_the_store_is_elsewhere() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(0));
    let (intake, held) = holding(&fake, &clock, &["a"]);
    intake.settle(&held[0], Verdict::Ack, Some(put("a"))).unwrap();
    assert!(intake.flush(soon()));
    let expected = [
        Seen::Stored(vec!["a".to_owned()]),
        Seen::Settled(vec![ack("a", None)]),
    ];
    assert_eq!(fake.seen(), expected);
}

#[test]
fn what_is_settled_later_goes_in_one_batch_with_the_next_wait_for_events() {
    let (fake, clock) = (Fake::new(true), ManualClock::at(0));
    let (intake, held) = holding(&fake, &clock, &["a", "b", "c"]);
    for delivery in &held {
        intake.settle_later(delivery, Verdict::Ack, None).unwrap();
    }
    intake.next_events(1, at_once()).unwrap();
    let expected = Seen::Settled(vec![ack("a", None), ack("b", None), ack("c", None)]);
    assert_eq!(fake.wait_seen(1), [expected]);
}

#[test]
fn a_document_joins_the_early_ack_that_waits_for_company() {
    let (fake, clock) = (Fake::new(true), ManualClock::at(0));
    let (intake, held) = holding(&fake, &clock, &["a"]);
    intake.settle_later(&held[0], Verdict::Ack, None).unwrap();
    intake.settle(&held[0], Verdict::Ack, Some(put("a"))).unwrap();
    assert_eq!(fake.wait_seen(1), [Seen::Settled(vec![ack("a", Some("a"))])]);
}

#[test]
fn a_plain_ack_that_stays_alone_goes_all_the_same() {
    let (fake, clock) = (Fake::new(true), ManualClock::at(0));
    let (intake, held) = holding(&fake, &clock, &["a"]);
    intake.settle(&held[0], Verdict::Ack, None).unwrap();
    assert_eq!(fake.wait_seen(1), [Seen::Settled(vec![ack("a", None)])]);
}

#[test]
fn what_waits_while_a_batch_is_under_way_goes_in_one_batch() {
    let (fake, clock) = (Fake::new(true), ManualClock::at(0));
    let (intake, held) = holding(&fake, &clock, &["a", "b", "c", "d"]);
    fake.hold_settling(true);
    for delivery in &held {
        intake.settle(delivery, Verdict::Ack, None).unwrap();
    }
    fake.hold_settling(false);
    assert!(intake.flush(soon()));
    let batches = fake.seen().len();
    assert!(batches <= 2, "{batches} batches for four settlements");
}

#[test]
fn a_delivery_settles_once_and_its_document_may_follow() {
    let (fake, clock) = (Fake::new(true), ManualClock::at(0));
    let (intake, held) = holding(&fake, &clock, &["a"]);
    intake.settle(&held[0], Verdict::Ack, None).unwrap();
    assert!(held[0].is_settled());
    assert!(intake.flush(soon()));
    intake.settle(&held[0], Verdict::Requeue, None).unwrap();
    intake.settle(&held[0], Verdict::Ack, Some(put("a"))).unwrap();
    assert!(intake.flush(soon()));
    let expected = [
        Seen::Settled(vec![ack("a", None)]),
        Seen::Stored(vec!["a".to_owned()]),
    ];
    assert_eq!(fake.seen(), expected);
}

#[test]
fn a_lost_connection_is_tried_again_and_stays_held_until_then() {
    let (fake, clock) = (Fake::new(true), ManualClock::at(0));
    let (intake, held) = holding(&fake, &clock, &["a", "b"]);
    fake.fail_settling([lost(), lost(), lost()]);
    fake.hold_settling(true);
    intake.settle(&held[0], Verdict::Ack, None).unwrap();
    assert!(!intake.flush(at_once()));
    assert_eq!(intake.held(), 2);
    fake.hold_settling(false);
    assert!(intake.flush(soon()));
    assert_eq!(fake.seen(), [Seen::Settled(vec![ack("a", None)])]);
    assert_eq!(intake.held(), 1);
}

#[test]
fn a_document_that_cannot_be_stored_for_the_moment_holds_its_ack_back() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(0));
    let (intake, held) = holding(&fake, &clock, &["a"]);
    fake.fail_storing([lost(), lost()]);
    intake.settle(&held[0], Verdict::Ack, Some(put("a"))).unwrap();
    assert!(intake.flush(soon()));
    let expected = [
        Seen::Stored(vec!["a".to_owned()]),
        Seen::Settled(vec![ack("a", None)]),
    ];
    assert_eq!(fake.seen(), expected);
}

#[test]
fn an_ack_that_failed_after_its_document_was_stored_is_tried_without_it() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(0));
    let (intake, held) = holding(&fake, &clock, &["a"]);
    fake.fail_settling([lost()]);
    intake.settle(&held[0], Verdict::Ack, Some(put("a"))).unwrap();
    assert!(intake.flush(soon()));
    let expected = [
        Seen::Stored(vec!["a".to_owned()]),
        Seen::Settled(vec![ack("a", None)]),
    ];
    assert_eq!(fake.seen(), expected);
}

#[test]
fn settling_that_fails_beyond_patience_is_reported_once() {
    let (fake, clock) = (Fake::new(true), ManualClock::at(0));
    let (intake, held) = holding(&fake, &clock, &["a"]);
    fake.lose(true);
    intake.settle(&held[0], Verdict::Ack, None).unwrap();
    fake.wait_failures(2);
    clock.advance(29_999);
    fake.wait_failures(5);
    assert!(intake.next_events(1, at_once()).unwrap().is_empty());
    clock.advance(30_000);
    let detail = trouble(&intake);
    assert_eq!(
        detail,
        "1 deliveries wait to be settled and are tried again: no connection to fake://: pulled the plug"
    );
    fake.lose(false);
    assert!(intake.flush(soon()));
    assert!(intake.next_events(10, at_once()).unwrap().is_empty());
}

#[test]
fn one_poisoned_settlement_does_not_hold_up_the_others() {
    let (fake, clock) = (Fake::new(true), ManualClock::at(0));
    let (intake, held) = holding(&fake, &clock, &["a", "b", "c"]);
    fake.poison(Some("b"));
    fake.hold_settling(true);
    for delivery in &held {
        intake.settle(delivery, Verdict::Ack, None).unwrap();
    }
    fake.hold_settling(false);
    let detail = trouble(&intake);
    assert!(detail.ends_with("fake:// refused: never"), "{detail}");
    fake.wait_seen(2);
    fake.wait_next_failure();
    assert_eq!(intake.held(), 1);
    fake.poison(None);
    assert!(intake.flush(soon()));
    assert_eq!(intake.held(), 0);
}

#[test]
fn closing_with_a_broker_that_is_gone_ends_at_the_deadline_and_says_so() {
    let (fake, clock) = (Fake::new(true), ManualClock::at(0));
    let (intake, held) = holding(&fake, &clock, &["a"]);
    fake.poison(Some("a"));
    intake.settle(&held[0], Verdict::Ack, None).unwrap();
    let deadline = celeriac_core::time::Deadline::after(Duration::from_millis(100));
    let error = intake.close(deadline).unwrap_err().to_string();
    assert!(
        error.starts_with("settling what the worker held did not end within"),
        "{error}"
    );
}

#[test]
fn a_document_without_a_result_store_is_an_error() {
    let fake = Fake::new(true);
    fake.answer([Ok(delivery("a", None))]);
    let consumer = Arc::<Fake>::clone(&fake);
    let intake = Intake::new(consumer, None, ManualClock::at(0), &config()).unwrap();
    intake.start().unwrap();
    let events = intake.next_events(1, soon()).unwrap();
    let [Event::Delivery(held)] = &events[..] else {
        unreachable!("{events:?}")
    };
    let error = intake.settle(held, Verdict::Ack, Some(put("a"))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "storing a result without a result store is not supported by this version"
    );
    assert!(!held.is_settled());
    assert_eq!(refused().remedy(), celeriac_core::Remedy::GiveUp);
}

#[test]
fn a_result_store_that_is_slower_than_the_broker_is_named_and_bounds_what_is_held() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(0));
    let tags: Vec<String> = (0..10).map(|number| format!("t{number}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let (intake, held) = holding(&fake, &clock, &tags);
    fake.answer((10..30).map(|number| Ok(delivery(&format!("t{number}"), None))));
    fake.hold_settling(true);
    for delivery in &held {
        let document = put(delivery.peek.id.as_deref().unwrap());
        intake.settle(delivery, Verdict::Ack, Some(document)).unwrap();
    }
    fake.wait_held();
    clock.advance(2_500);
    // All that is finished waits for its document, and nothing more was taken meanwhile.
    assert_eq!(intake.held(), 10);
    assert!(intake.next_events(100, at_once()).unwrap().is_empty());
    fake.hold_settling(false);
    let slow = loop {
        let events = intake.next_events(100, soon()).unwrap();
        let trouble = events.into_iter().find_map(|event| match event {
            Event::Trouble(trouble) => Some(trouble),
            Event::Delivery(_) | Event::Child(_) => None,
        });
        if let Some(trouble) = trouble {
            break trouble;
        }
    };
    assert_eq!(slow.kind, TroubleKind::Slow);
    assert!(
        slow.detail.starts_with("the result store is the bottleneck"),
        "{}",
        slow.detail
    );
    assert!(slow.detail.contains("2500 ms"), "{}", slow.detail);
}
