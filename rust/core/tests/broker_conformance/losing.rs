//! Who holds a message may die: how often is counted, and told.

use std::time::Duration;

use celeriac_core::broker::{Delivery, Verdict};
use celeriac_core::time::SystemClock;

use crate::stage::{Fixture, Stage, bodies, reserve, reserve_now, settle, soon};

fn losses(deliveries: &[Delivery]) -> Vec<u32> {
    deliveries.iter().map(|delivery| delivery.losses).collect()
}

pub(crate) fn a_lost_process_is_counted_and_the_message_stays_as_it_was<F: Fixture>() {
    let stage = Stage::<F>::set();
    let queue = stage.bound("q", "x", "k");
    stage.publisher.declare(&queue, soon()).unwrap();
    let sent = stage.message("x", "k", "a");
    stage.send_declared(sent.clone());
    let consumer = stage.consumer_of(vec![queue], 0);
    for expected in 0..3 {
        let held = reserve(&*consumer, 1);
        assert_eq!((held[0].losses, held[0].redelivered), (expected, expected > 0));
        assert_eq!(held[0].target, sent.target);
        assert_eq!(held[0].queue, stage.name("q"));
        let arrived = held[0].message.as_ref().unwrap();
        let mut expected = F::as_delivered(sent.message.clone(), arrived);
        // Redis: a restore marks the headers, ours as Celery's.
        expected.headers.clone_from(&arrived.headers);
        assert_eq!(*arrived, expected);
        settle(&*consumer, held, &Verdict::RequeueLost);
    }
    assert_eq!(losses(&reserve(&*consumer, 1)), [3]);
}

pub(crate) fn what_is_handed_back_in_order_is_no_loss<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a"]);
    let first = stage.consumer(&["q"]);
    settle(&*first, reserve(&*first, 1), &Verdict::RequeueLost);
    let held = reserve(&*first, 1);
    settle(&*first, held, &Verdict::Requeue);
    let _held = reserve(&*first, 1);
    first.close(soon());
    let again = reserve(&*stage.consumer(&["q"]), 1);
    let most = if F::may_count_hand_backs() { 3 } else { 1 };
    assert!((1..=most).contains(&again[0].losses), "{}", again[0].losses);
}

pub(crate) fn a_killed_consumer_is_counted<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a", "b"]);
    let survivor = stage.consumer(&["q"]);
    stage.fixture.kill_a_consumer_holding(&stage.name("q"), 1);
    let mut arrived = reserve(&*survivor, 2);
    arrived.sort_by_key(|delivery| std::cmp::Reverse(delivery.redelivered));
    assert_eq!(losses(&arrived), [u32::from(F::counts_killed()), 0]);
}

pub(crate) fn what_is_set_aside_tells_its_history_and_begins_anew<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a"]);
    let consumer = stage.consumer(&["q"]);
    let before_ms = SystemClock::shared().unix_ms();
    settle(&*consumer, reserve(&*consumer, 1), &Verdict::RequeueLost);
    settle(
        &*consumer,
        reserve(&*consumer, 1),
        &Verdict::SetAsideLost("lost".to_owned()),
    );
    let kept = stage.publisher.list_aside(&stage.name("q"), 10, soon()).unwrap();
    let history = &kept[0].history;
    assert_eq!(
        (history.losses, history.worker.as_str()),
        (2, "celery@conformance")
    );
    // Clocks of servers are not ours.
    let distance_ms = history.at_unix_ms.abs_diff(before_ms);
    assert!(u128::from(distance_ms) < Duration::from_secs(60).as_millis());
    let tags = [kept[0].tag.clone()];
    let restored = stage.publisher.restore_aside(&stage.name("q"), &tags, soon());
    assert_eq!(restored.unwrap(), 1);
    assert_eq!(losses(&reserve(&*consumer, 1)), [0]);
}

pub(crate) fn what_is_set_aside_can_be_dropped<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a", "b"]);
    let consumer = stage.consumer(&["q"]);
    settle(
        &*consumer,
        reserve(&*consumer, 2),
        &Verdict::SetAside("why".to_owned()),
    );
    let kept = stage.publisher.list_aside(&stage.name("q"), 10, soon()).unwrap();
    let tags = [kept[0].tag.clone(), "no such tag".to_owned()];
    let drop = |queue| {
        stage
            .publisher
            .drop_aside(&stage.name(queue), &tags, soon())
            .unwrap()
    };
    assert_eq!((drop("other"), drop("q"), drop("q")), (0, 1, 0));
    let left = stage.publisher.list_aside(&stage.name("q"), 10, soon()).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].tag, kept[1].tag);
    assert!(bodies(&reserve_now(&*consumer)).is_empty());
}
