//! What waits in the broker for its time.

use std::collections::BTreeMap;
use std::time::Duration;

use celeriac_core::broker::{Consumer, Delivery, Verdict};
use celeriac_core::time::{Deadline, SystemClock};

use crate::stage::{Fixture, Stage, bodies, body, in_ms, reserve, reserve_now, settle, soon};

fn unix_ms() -> u64 {
    SystemClock::shared().unix_ms()
}

/// Delays deliveries by so much; returns the moment.
fn delay(consumer: &dyn Consumer, deliveries: Vec<Delivery>, by_ms: u64) -> u64 {
    let until_unix_ms = unix_ms() + by_ms;
    settle(consumer, deliveries, &Verdict::Delay { until_unix_ms });
    until_unix_ms
}

pub(crate) fn what_is_delayed_comes_when_it_is_due_and_not_before<F: Fixture>() {
    let stage = Stage::<F>::set();
    let sent = stage.message("", "q", "a");
    stage.send(sent.clone());
    let consumer = stage.bounded_consumer(&["q"], 1);
    let until_unix_ms = delay(&*consumer, reserve(&*consumer, 1), 2_500);
    stage.assert_depth("q", 0);
    let back = reserve(&*consumer, 1).remove(0);
    let now_unix_ms = unix_ms();
    assert!(
        now_unix_ms + F::DELAYS_IN_MS > until_unix_ms,
        "{now_unix_ms} came too long before {until_unix_ms}"
    );
    assert!(!back.redelivered);
    assert_eq!(back.target, sent.target);
    let arrived = back.message.as_ref().unwrap();
    assert_eq!(arrived, &F::as_delivered(sent.message, arrived));
    settle(&*consumer, vec![back], &Verdict::Ack);
    consumer.close(soon());
    assert!(reserve_now(&*stage.consumer(&["q"])).is_empty());
}

pub(crate) fn what_is_delayed_holds_up_nothing<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["later", "now"]);
    let consumer = stage.bounded_consumer(&["q"], 1);
    delay(&*consumer, reserve(&*consumer, 1), 3_600_000);
    assert_eq!(bodies(&reserve(&*consumer, 1)), ["now"]);
}

pub(crate) fn a_moment_in_the_past_delivers_at_once<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a"]);
    let consumer = stage.consumer(&["q"]);
    let held = reserve(&*consumer, 1);
    settle(&*consumer, held, &Verdict::Delay { until_unix_ms: 1_000 });
    assert_eq!(bodies(&reserve(&*consumer, 1)), ["a"]);
}

pub(crate) fn what_is_delayed_comes_back_to_its_own_queue<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a"]);
    let (consumer, other) = (stage.consumer(&["q"]), stage.consumer(&["other.q"]));
    delay(&*consumer, reserve(&*consumer, 1), 1_100);
    assert_eq!(bodies(&reserve(&*consumer, 1)), ["a"]);
    assert!(reserve_now(&*other).is_empty());
}

pub(crate) fn what_is_delayed_outlives_who_delayed_it<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a"]);
    let first = stage.consumer(&["q"]);
    delay(&*first, reserve(&*first, 1), 1_500);
    first.close(soon());
    let second = stage.consumer(&["q"]);
    assert_eq!(bodies(&reserve(&*second, 1)), ["a"]);
}

pub(crate) fn what_a_killed_consumer_delayed_comes_once<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish_numbers("q", 20);
    let survivor = stage.consumer(&["idle"]);
    stage
        .fixture
        .kill_a_consumer_delaying(&stage.name("q"), 20, 2_000);
    survivor.add_queue(&stage.queue("q"), soon()).unwrap();
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let deadline = soon();
    while times.len() < 20 && !deadline.has_passed() {
        count(&mut times, &survivor.reserve(100, in_ms(200)).unwrap());
    }
    count(
        &mut times,
        &survivor
            .reserve(100, Deadline::after(Duration::from_millis(2_500)))
            .unwrap(),
    );
    assert_eq!(times.len(), 20, "lost: only {:?} came", times.keys());
    let most = *times.values().max().unwrap();
    assert!(most <= F::MOST_COPIES_AFTER_A_CRASH, "{times:?}");
}

fn count(times: &mut BTreeMap<String, usize>, deliveries: &[Delivery]) {
    for delivery in deliveries {
        *times.entry(body(delivery)).or_default() += 1;
    }
}

pub(crate) fn a_purge_leaves_what_is_delayed<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a"]);
    let consumer = stage.consumer(&["q"]);
    delay(&*consumer, reserve(&*consumer, 1), 2_000);
    assert_eq!(stage.publisher.purge(&stage.name("q"), soon()).unwrap(), 0);
    assert_eq!(bodies(&reserve(&*consumer, 1)), ["a"]);
}

pub(crate) fn a_waiting_consumer_wakes_for_what_another_delays<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["in an hour", "soon"]);
    let (busy, idle) = (stage.consumer(&["q"]), stage.consumer(&["q"]));
    let mut held = reserve(&*busy, 2);
    busy.cancel_queue(&stage.name("q"));
    delay(&*busy, vec![held.remove(0)], 3_600_000);
    let arrived = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| idle.reserve(1, Deadline::after(Duration::from_secs(8))).unwrap());
        delay(&*busy, held, 1_500);
        waiting.join().unwrap()
    });
    assert_eq!(bodies(&arrived), ["soon"]);
}
