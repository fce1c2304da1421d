//! What the intake hands out, and when.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here fails the test"
)]

mod support;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::broker::{Delivery, Verdict};
use celeriac_core::intake::{Config, Event, Held, Intake, TroubleKind};
use celeriac_core::links::{ChildChannel, Report};
use celeriac_core::time::{Clock, Deadline, ManualClock};
use support::{Fake, PATIENCE, Seen, at_once, delivery, lost, soon, with_headers};

/// 2030-01-01T00:00:00Z
const NEW_YEAR_MS: u64 = 1_893_456_000_000;

fn started(fake: &Arc<Fake>, clock: &Arc<ManualClock>, config: &Config) -> Intake {
    let consumer = Arc::clone(fake);
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
    let intake = Intake::new(consumer, None, clock, config).unwrap();
    intake.start().unwrap();
    intake
}

fn with_prefetch(prefetch: usize) -> Config {
    Config {
        prefetch,
        ..Config::default()
    }
}

fn deliveries(events: Vec<Event>) -> Vec<Arc<Held>> {
    let delivery = |event| match event {
        Event::Delivery(held) => held,
        Event::Child(_) | Event::Trouble(_) => unreachable!("{event:?}"),
    };
    events.into_iter().map(delivery).collect()
}

fn next(intake: &Intake, count: usize) -> Vec<Arc<Held>> {
    let mut found = Vec::new();
    let deadline = soon();
    while found.len() < count {
        assert!(!deadline.has_passed(), "only {found:?}");
        found.extend(deliveries(
            intake.next_events(count - found.len(), deadline).unwrap(),
        ));
    }
    found
}

fn ids(found: &[Arc<Held>]) -> Vec<&str> {
    found
        .iter()
        .map(|held| held.peek.id.as_deref().unwrap_or("-"))
        .collect()
}

#[test]
fn deliveries_are_handed_out_in_order_and_in_batches() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    fake.answer(["a", "b", "c"].map(|tag| Ok(delivery(tag, None))));
    let intake = started(&fake, &clock, &with_prefetch(10));
    assert_eq!(ids(&next(&intake, 3)), ["a", "b", "c"]);
    assert_eq!(intake.held(), 3);
    assert!(intake.next_events(10, at_once()).unwrap().is_empty());
}

#[test]
fn no_more_is_reserved_than_the_prefetch_leaves_room_for() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    fake.answer(["a", "b", "c"].map(|tag| Ok(delivery(tag, None))));
    let intake = started(&fake, &clock, &with_prefetch(2));
    let found = next(&intake, 2);
    assert_eq!(intake.held(), 2);
    intake.settle(&found[0], Verdict::Ack, None).unwrap();
    assert_eq!(ids(&next(&intake, 1)), ["c"]);
    assert_eq!(fake.wait_rooms(2)[..2], [2, 1]);
}

#[test]
fn a_larger_prefetch_lets_more_in_at_once() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    fake.answer(["a", "b", "c"].map(|tag| Ok(delivery(tag, None))));
    let intake = started(&fake, &clock, &with_prefetch(1));
    assert_eq!(ids(&next(&intake, 1)), ["a"]);
    intake.set_prefetch(3);
    assert_eq!(ids(&next(&intake, 2)), ["b", "c"]);
}

#[test]
fn prefetch_zero_is_bounded_by_65535() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    let _intake = started(&fake, &clock, &with_prefetch(0));
    assert_eq!(fake.wait_rooms(1), [65_535]);
}

#[test]
fn an_eta_waits_until_its_millisecond_and_not_longer() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    let eta = Some("2030-01-01T01:00:02.500+01:00");
    fake.answer([
        Ok(delivery("later", eta)),
        Ok(delivery("in UTC", Some("2030-01-01T00:00:03"))),
        Ok(delivery("now", None)),
    ]);
    let intake = started(&fake, &clock, &with_prefetch(10));
    assert_eq!(ids(&next(&intake, 1)), ["now"]);
    let due: Vec<u64> = intake.delayed().into_iter().map(|(due_ms, _)| due_ms).collect();
    assert_eq!(due, [NEW_YEAR_MS + 2500, NEW_YEAR_MS + 3000]);
    clock.advance(2499);
    assert!(intake.next_events(10, at_once()).unwrap().is_empty());
    clock.advance(1);
    let due = deliveries(intake.next_events(10, at_once()).unwrap());
    assert_eq!(ids(&due), ["later"]);
    assert_eq!(intake.delayed().len(), 1);
}

#[test]
fn an_eta_in_the_past_or_unreadable_is_handed_out_at_once() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    fake.answer([
        Ok(delivery("past", Some("2029-12-31T23:59:59+00:00"))),
        Ok(delivery("odd", Some("next week"))),
    ]);
    let intake = started(&fake, &clock, &with_prefetch(10));
    assert_eq!(ids(&next(&intake, 2)), ["past", "odd"]);
}

#[test]
fn waiting_etas_leave_the_prefetch_to_others_up_to_their_bound() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    // So near that the way to the broker and back would take too long.
    let eta = Some("2030-01-01T00:00:02Z");
    fake.answer(["e1", "e2", "e3"].map(|tag| Ok(delivery(tag, eta))));
    let config = Config {
        eta_room: 2,
        ..with_prefetch(2)
    };
    let intake = started(&fake, &clock, &config);
    // Two wait for nothing, the third counts: 2 - (3 - 2) = 1 is left.
    assert_eq!(fake.wait_rooms(3)[..3], [2, 2, 1]);
    assert_eq!(intake.held(), 3);
    fake.answer([Ok(delivery("a", None)), Ok(delivery("b", None))]);
    assert_eq!(ids(&next(&intake, 1)), ["a"]);
    assert!(intake.next_events(10, at_once()).unwrap().is_empty());
}

/// What the broker was told to keep, and until when.
fn kept(fake: &Fake, count: usize) -> Vec<(String, Verdict)> {
    let seen = fake.wait_seen(count).into_iter().flat_map(|seen| match seen {
        Seen::Settled(settled) => settled,
        Seen::Stored(_) | Seen::Closed => unreachable!("{seen:?}"),
    });
    seen.map(|(tag, verdict, _)| (tag, verdict)).collect()
}

#[test]
fn an_eta_beyond_the_horizon_waits_in_the_broker() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    fake.answer([
        Ok(delivery("near", Some("2030-01-01T00:10:00Z"))),
        Ok(delivery("far", Some("2030-01-01T00:10:00.001Z"))),
        Ok(delivery("next year", Some("2031-01-01T00:00:00Z"))),
    ]);
    let intake = started(&fake, &clock, &with_prefetch(10));
    let until = |until_unix_ms| Verdict::Delay { until_unix_ms };
    let told = kept(&fake, 1);
    assert_eq!(
        told,
        [
            ("far".to_owned(), until(NEW_YEAR_MS + 600_001)),
            ("next year".to_owned(), until(NEW_YEAR_MS + 365 * 86_400_000)),
        ]
    );
    assert_eq!(intake.delayed().len(), 1);
    // What the broker has is held no more; the first reserve after it says so.
    fake.answer([Ok(delivery("now", None))]);
    assert_eq!(ids(&next(&intake, 1)), ["now"]);
}

#[test]
fn what_a_worker_has_no_room_for_waits_in_the_broker_however_near_it_is() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    let eta = Some("2030-01-01T00:00:30Z");
    fake.answer(["e1", "e2", "e3"].map(|tag| Ok(delivery(tag, eta))));
    let config = Config {
        eta_room: 2,
        ..with_prefetch(4)
    };
    let intake = started(&fake, &clock, &config);
    assert_eq!(kept(&fake, 1)[0].0, "e3");
    assert_eq!(intake.delayed().len(), 2);
}

#[test]
fn a_far_time_that_the_worker_read_itself_is_the_brokers_too() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    fake.answer([Ok(delivery("old", None))]);
    let intake = started(&fake, &clock, &with_prefetch(10));
    let held = next(&intake, 1).remove(0);
    let until_unix_ms = NEW_YEAR_MS + 600_001;
    assert!(!intake.delay_until(held, until_unix_ms));
    assert_eq!(
        kept(&fake, 1),
        [("old".to_owned(), Verdict::Delay { until_unix_ms })]
    );
}

#[test]
fn what_the_broker_refuses_to_keep_waits_in_the_worker() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    fake.poison(Some("far"));
    fake.answer([Ok(delivery("far", Some("2030-01-01T01:00:00Z")))]);
    let intake = started(&fake, &clock, &with_prefetch(10));
    let deadline = soon();
    while intake.delayed().is_empty() {
        assert!(!deadline.has_passed(), "it is neither here nor there");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    clock.advance(3_600_000);
    fake.poison(None);
    let due = next(&intake, 1).remove(0);
    intake.settle(&due, Verdict::Ack, None).unwrap();
    assert_eq!(kept(&fake, 1), [("far".to_owned(), Verdict::Ack)]);
}

/// A wall clock that somebody sets.
#[derive(Debug)]
struct Settable {
    base: Arc<ManualClock>,
    set_by_ms: AtomicI64,
}

impl Clock for Settable {
    fn unix_ms(&self) -> u64 {
        let set_by_ms = self.set_by_ms.load(Ordering::SeqCst);
        self.base.unix_ms().saturating_add_signed(set_by_ms)
    }

    fn monotonic_ms(&self) -> u64 {
        self.base.monotonic_ms()
    }
}

/// An intake that holds one delivery, due in 10 seconds, and its clock.
fn due_in_ten_seconds() -> (Intake, Arc<Settable>) {
    let fake = Fake::new(false);
    fake.answer([Ok(delivery("a", None))]);
    let clock = Arc::new(Settable {
        base: ManualClock::at(NEW_YEAR_MS),
        set_by_ms: AtomicI64::new(0),
    });
    let shared: Arc<dyn Clock> = Arc::<Settable>::clone(&clock);
    let intake = Intake::new(fake, None, shared, &with_prefetch(10)).unwrap();
    intake.start().unwrap();
    let held = next(&intake, 1).remove(0);
    intake.delay_until(held, NEW_YEAR_MS + 10_000);
    (intake, clock)
}

#[test]
fn a_wall_clock_set_back_fires_no_eta_early() {
    let (intake, clock) = due_in_ten_seconds();
    clock.set_by_ms.store(-60_000, Ordering::SeqCst);
    clock.base.advance(69_999);
    assert!(intake.next_events(10, at_once()).unwrap().is_empty());
    clock.base.advance(1);
    assert_eq!(intake.next_events(10, at_once()).unwrap().len(), 1);
}

#[test]
fn a_wall_clock_set_forward_fires_what_is_due_by_it() {
    let (intake, clock) = due_in_ten_seconds();
    clock.set_by_ms.store(9_999, Ordering::SeqCst);
    assert!(intake.next_events(10, at_once()).unwrap().is_empty());
    // Steps up to half a second are made up for only when a timer fires.
    clock.set_by_ms.store(11_000, Ordering::SeqCst);
    assert_eq!(intake.next_events(10, at_once()).unwrap().len(), 1);
}

#[test]
fn a_wall_clock_that_slewed_back_fires_no_eta_early() {
    let (intake, clock) = due_in_ten_seconds();
    clock.set_by_ms.store(-400, Ordering::SeqCst);
    clock.base.advance(10_399);
    assert!(intake.next_events(10, at_once()).unwrap().is_empty());
    clock.base.advance(1);
    assert_eq!(intake.next_events(10, at_once()).unwrap().len(), 1);
}

#[test]
fn a_delayed_delivery_can_be_cancelled_by_its_task() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    fake.answer(["a", "b"].map(|tag| Ok(delivery(tag, None))));
    let intake = started(&fake, &clock, &with_prefetch(10));
    for held in next(&intake, 2) {
        intake.delay_until(held, NEW_YEAR_MS + 1000);
    }
    assert_eq!(ids(&intake.cancel_delayed("a")), ["a"]);
    assert!(intake.cancel_delayed("a").is_empty());
    clock.advance(1000);
    let due = deliveries(intake.next_events(10, at_once()).unwrap());
    assert_eq!(ids(&due), ["b"]);
}

#[test]
fn a_delivery_settled_while_it_waits_is_not_handed_out() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    fake.answer([Ok(delivery("a", None))]);
    let intake = started(&fake, &clock, &with_prefetch(10));
    let held = next(&intake, 1).remove(0);
    intake.delay_until(Arc::clone(&held), NEW_YEAR_MS + 1000);
    intake.settle(&held, Verdict::Ack, None).unwrap();
    clock.advance(1000);
    assert!(intake.next_events(10, at_once()).unwrap().is_empty());
}

#[test]
fn a_plain_message_is_told_from_one_that_needs_a_closer_look() {
    let plain = |tag: &str, headers: &str, body: &[u8]| {
        let mut delivery = with_headers(tag, headers);
        if let Ok(message) = &mut delivery.message {
            message.body = Bytes::copy_from_slice(body);
        }
        Ok(delivery)
    };
    let embed = |chain: &str| {
        format!(r#"[[1], {{}}, {{"callbacks": null, "errbacks": null, "chain": {chain}, "chord": null}}]"#)
    };
    let (nothing, chain) = (embed("null"), embed("[{}]"));
    let (fake, clock) = (Fake::new(true), ManualClock::at(0));
    fake.answer([
        plain(
            "plain",
            r#"{"task": "t", "id": "plain", "eta": null}"#,
            nothing.as_bytes(),
        ),
        plain("chain", r#"{"task": "t", "id": "chain"}"#, chain.as_bytes()),
        plain(
            "packed",
            r#"{"task": "t", "id": "packed", "compression": "zstd"}"#,
            nothing.as_bytes(),
        ),
        plain(
            "late",
            r#"{"task": "t", "id": "late", "expires": "2030-01-01T00:00:00"}"#,
            nothing.as_bytes(),
        ),
        plain("old", r#"{"id": "old"}"#, nothing.as_bytes()),
    ]);
    let intake = started(&fake, &clock, &with_prefetch(10));
    let found: Vec<bool> = next(&intake, 5).iter().map(|held| held.is_plain).collect();
    assert_eq!(found, [true, false, false, false, false]);
}

#[test]
fn malformed_headers_are_handed_out_with_the_reason() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    fake.answer([Ok(with_headers("a", r#"{"task": "t"}"#))]);
    let intake = started(&fake, &clock, &with_prefetch(10));
    let held = next(&intake, 1).remove(0);
    let error = held.message.as_ref().unwrap_err().to_string();
    assert_eq!(
        error,
        r#"malformed headers: "id": missing beside the header "task""#
    );
    assert_eq!(held.peek.task, None);
}

#[test]
fn losing_and_finding_the_broker_is_said_once_each() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    fake.answer([Err(lost()), Err(lost()), Err(lost()), Ok(delivery("a", None))]);
    let intake = started(&fake, &clock, &with_prefetch(10));
    let mut events = Vec::new();
    let deadline = soon();
    while events.len() < 3 {
        assert!(!deadline.has_passed(), "only {events:?}");
        events.extend(intake.next_events(10, deadline).unwrap());
    }
    let kinds: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::Trouble(trouble) => Some(trouble.kind),
            Event::Delivery(_) | Event::Child(_) => None,
        })
        .collect();
    let expected = [
        Some(TroubleKind::Disconnected),
        Some(TroubleKind::Reconnected),
        None,
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn a_wake_or_a_signal_ends_the_wait_with_nothing() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    let intake = started(&fake, &clock, &with_prefetch(10));
    intake.wake();
    assert!(intake.next_events(10, soon()).unwrap().is_empty());
    let signal = intake.wakeup_fd().try_clone_to_owned().unwrap();
    UnixStream::from(signal).write_all(b"\x0f").unwrap();
    let deadline = soon();
    assert!(intake.next_events(10, deadline).unwrap().is_empty());
    assert!(!deadline.has_passed(), "the wait ran into its deadline");
}

#[test]
fn what_children_say_arrives_among_the_events() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    let intake = started(&fake, &clock, &with_prefetch(10));
    let (parent, end) = UnixStream::pair().unwrap();
    let _link = intake.link(4, parent).unwrap();
    let child = ChildChannel::new(end, 1000).unwrap();
    child.ready().unwrap();
    let events = intake.next_events(10, soon()).unwrap();
    let [Event::Child(event)] = &events[..] else {
        unreachable!("{events:?}")
    };
    assert_eq!((event.slot, &event.report), (4, &Report::Ready));
}

#[test]
fn closing_hands_back_what_is_unsettled_the_newest_first() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    let eta = Some("2030-01-01T00:01:00Z");
    fake.answer([
        Ok(delivery("a", None)),
        Ok(delivery("b", None)),
        Ok(delivery("c", eta)),
        Ok(delivery("d", None)),
    ]);
    let intake = started(&fake, &clock, &with_prefetch(10));
    let found = next(&intake, 3);
    fake.hold_settling(true);
    intake.settle(&found[0], Verdict::Ack, None).unwrap();
    fake.hold_settling(false);
    intake.close(soon()).unwrap();
    let mut settled = Vec::new();
    let seen = fake.seen();
    for seen in &seen {
        if let Seen::Settled(batch) = seen {
            settled.extend(
                batch
                    .iter()
                    .map(|(tag, verdict, _)| (tag.as_str(), verdict.clone())),
            );
        }
    }
    let expected = [
        ("a", Verdict::Ack),
        ("d", Verdict::Requeue),
        ("c", Verdict::Requeue),
        ("b", Verdict::Requeue),
    ];
    assert_eq!(settled, expected);
    assert_eq!(seen.last(), Some(&Seen::Closed));
    assert_eq!(intake.held(), 0);
    intake.close(at_once()).unwrap();
}

#[test]
fn nothing_is_reserved_after_reserving_was_stopped() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    let intake = started(&fake, &clock, &with_prefetch(10));
    fake.wait_rooms(1);
    intake.stop_reserving();
    intake.close(Deadline::after(PATIENCE)).unwrap();
    fake.answer([Ok(delivery("a", None))]);
    assert!(intake.next_events(1, soon()).unwrap().is_empty());
    assert!(fake.wait_rooms(1).len() <= 2);
}

#[test]
fn an_intake_that_was_never_started_closes_at_once() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    let consumer = Arc::clone(&fake);
    let intake = Intake::new(consumer, None, clock, &with_prefetch(10)).unwrap();
    intake.close(Deadline::after(Duration::from_secs(5))).unwrap();
    assert_eq!(fake.seen(), [Seen::Closed]);
}

/// What the server delivers a second time, over the connection that followed.
fn again(tag: &str, eta: Option<&str>) -> Delivery {
    let mut delivery = delivery(tag, eta);
    delivery.token.epoch = 2;
    delivery
}

#[test]
fn an_eta_whose_connection_was_lost_is_handed_out_once() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    let eta = Some("2030-01-01T00:00:05Z");
    fake.answer([Ok(delivery("later", eta)), Ok(delivery("running", None))]);
    let intake = started(&fake, &clock, &with_prefetch(10));
    assert_eq!(ids(&next(&intake, 1)), ["running"]);
    assert_eq!(intake.delayed().len(), 1);
    fake.take_back_before(2);
    fake.answer([Ok(again("later", eta)), Ok(again("marker", None))]);
    assert_eq!(ids(&next(&intake, 1)), ["marker"]);
    assert_eq!(intake.delayed().len(), 1);
    // What was begun is held until it ends, what was forgotten is not.
    assert_eq!(intake.held(), 3);
    clock.advance(5_000);
    assert_eq!(ids(&next(&intake, 1)), ["later"]);
    clock.advance(5_000);
    assert!(intake.next_events(10, at_once()).unwrap().is_empty());
}

#[test]
fn what_arrives_after_its_connection_was_lost_is_not_begun() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    let intake = started(&fake, &clock, &with_prefetch(2));
    fake.take_back_before(2);
    assert!(intake.next_events(10, at_once()).unwrap().is_empty());
    // They were on their way here; they take no room from those that come again.
    fake.answer([Ok(delivery("a", None)), Ok(delivery("b", None))]);
    fake.answer([Ok(again("a", None)), Ok(again("b", None))]);
    let found = next(&intake, 2);
    assert_eq!(ids(&found), ["a", "b"]);
    assert_eq!(intake.held(), 2);
    // One that is put off after that is forgotten, too.
    fake.take_back_before(3);
    assert!(intake.next_events(10, at_once()).unwrap().is_empty());
    intake.delay_until(Arc::clone(&found[0]), NEW_YEAR_MS + 1);
    assert!(intake.delayed().is_empty());
    assert_eq!(intake.held(), 1);
}

#[test]
fn health_tells_a_proof_from_a_full_prefetch_and_from_a_lost_connection() {
    let (fake, clock) = (Fake::new(false), ManualClock::at(NEW_YEAR_MS));
    let intake = started(&fake, &clock, &with_prefetch(1));
    clock.advance(20_000);
    fake.answer([Ok(delivery("only", None))]);
    let held = next(&intake, 1);
    wait_until(|| intake.health().is_full);
    clock.advance(90_000);
    assert_eq!(intake.health().proved_ms_ago, 90_000);
    fake.answer([Err(lost())]);
    intake.settle(&held[0], Verdict::Ack, None).unwrap();
    wait_until(|| intake.health().is_lost && !intake.health().is_full);
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = soon();
    while !condition() {
        assert!(!deadline.has_passed());
        std::thread::yield_now();
    }
}
