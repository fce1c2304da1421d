//! What becomes of a delivery.

use celeriac_core::broker::{Settlement, Verdict};

use crate::stage::{Fixture, Stage, bodies, body, duplicate, reserve, reserve_now, settle, soon};

pub(crate) fn an_acked_message_is_gone<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish_numbers("q", 3);
    let consumer = stage.consumer(&["q"]);
    let batch = reserve(&*consumer, 3);
    settle(&*consumer, batch, &Verdict::Ack);
    consumer.close(soon());
    stage.assert_depth("q", 0);
    assert!(reserve_now(&*stage.consumer(&["q"])).is_empty());
    assert!(
        stage
            .publisher
            .list_aside(&stage.name("q"), 10, soon())
            .unwrap()
            .is_empty()
    );
}

pub(crate) fn a_rejected_message_is_gone<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a"]);
    let consumer = stage.consumer(&["q"]);
    let batch = reserve(&*consumer, 1);
    settle(&*consumer, batch, &Verdict::Reject);
    consumer.close(soon());
    assert!(reserve_now(&*stage.consumer(&["q"])).is_empty());
}

pub(crate) fn a_requeued_message_comes_back_in_front_and_redelivered<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a", "b"]);
    let consumer = stage.bounded_consumer(&["q"], 1);
    let first = reserve(&*consumer, 1);
    settle(&*consumer, first, &Verdict::Requeue);
    let mut both = Vec::new();
    for _ in 0..2 {
        let one = reserve(&*consumer, 1);
        both.push((bodies(&one).remove(0), one[0].redelivered));
        settle(&*consumer, one, &Verdict::Ack);
    }
    if !F::requeues_in_front() {
        both.sort_unstable();
    }
    assert_eq!(both, [("a".to_owned(), true), ("b".to_owned(), false)]);
}

pub(crate) fn what_is_reserved_with_its_own_hand_back_is_held<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a"]);
    let consumer = stage.bounded_consumer(&["q"], 1);
    consumer.reserve_ahead(true);
    let mut held = reserve(&*consumer, 1);
    for _ in 0..3 {
        settle(&*consumer, held, &Verdict::Requeue);
        held = consumer.take_reserved();
        if held.is_empty() {
            held = reserve(&*consumer, 1);
        }
    }
    // It counts against the prefetch, and goes where it came from.
    stage.publish("q", &["b"]);
    assert!(reserve_now(&*consumer).is_empty());
    settle(&*consumer, held, &Verdict::SetAside("kept".to_owned()));
    let kept = stage.publisher.list_aside(&stage.name("q"), 10, soon()).unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].reason, "kept");
}

pub(crate) fn what_is_handed_back_while_another_thread_reserves_is_held<F: Fixture>() {
    // A quorum queue of RabbitMQ 4.0 counts them, and drops a message after twenty.
    let hand_backs = if F::may_count_hand_backs() { 15 } else { 300 };
    let stage = Stage::<F>::set();
    stage.publish("q", &["a"]);
    let consumer = stage.bounded_consumer(&["q"], 2);
    std::thread::scope(|scope| {
        let (found, to_settle) = std::sync::mpsc::channel();
        scope.spawn({
            let consumer = &consumer;
            move || {
                for _ in 0..=hand_backs {
                    let batch = reserve(&**consumer, 1);
                    found.send(batch).unwrap();
                }
            }
        });
        for _ in 0..hand_backs {
            settle(&*consumer, to_settle.recv().unwrap(), &Verdict::Requeue);
        }
        settle(&*consumer, to_settle.recv().unwrap(), &Verdict::Ack);
    });
    stage.assert_depth("q", 0);
    consumer.close(soon());
    // Nothing of it was left leased, nor set aside.
    assert!(reserve_now(&*stage.consumer(&["q"])).is_empty());
    assert!(
        stage
            .publisher
            .list_aside(&stage.name("q"), 10, soon())
            .unwrap()
            .is_empty()
    );
}

pub(crate) fn what_is_set_aside_keeps_message_and_reason<F: Fixture>() {
    let stage = Stage::<F>::set();
    let sent = stage.message("", "q", "a");
    stage.send(sent.clone());
    let consumer = stage.consumer(&["q"]);
    let batch = reserve(&*consumer, 1);
    settle(
        &*consumer,
        batch,
        &Verdict::SetAside("time limits are not supported".to_owned()),
    );
    consumer.close(soon());
    assert!(reserve_now(&*stage.consumer(&["q"])).is_empty());
    let kept = stage.publisher.list_aside(&stage.name("q"), 10, soon()).unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].reason, "time limits are not supported");
    assert_eq!(kept[0].target, sent.target);
    let kept = kept[0].message.as_ref().unwrap();
    assert_eq!(kept.body, sent.message.body);
    assert_eq!(
        kept.properties.correlation_id,
        sent.message.properties.correlation_id
    );
    assert!(
        stage
            .publisher
            .list_aside(&stage.name("other"), 10, soon())
            .unwrap()
            .is_empty()
    );
}

pub(crate) fn what_is_set_aside_can_be_put_back<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a", "b", "c"]);
    let consumer = stage.consumer(&["q"]);
    for delivery in reserve(&*consumer, 3) {
        let reason = body(&delivery);
        settle(&*consumer, vec![delivery], &Verdict::SetAside(reason));
    }
    let kept = stage.publisher.list_aside(&stage.name("q"), 10, soon()).unwrap();
    let tag_of_b = kept.iter().find(|aside| aside.reason == "b").unwrap().tag.clone();
    let tags = [tag_of_b, "no such tag".to_owned()];
    assert_eq!(
        stage
            .publisher
            .restore_aside(&stage.name("other"), &tags, soon())
            .unwrap(),
        0
    );
    assert_eq!(
        stage
            .publisher
            .restore_aside(&stage.name("q"), &tags, soon())
            .unwrap(),
        1
    );
    assert_eq!(
        stage
            .publisher
            .restore_aside(&stage.name("q"), &tags, soon())
            .unwrap(),
        0
    );
    assert_eq!(bodies(&reserve_now(&*consumer)), ["b"]);
    assert_eq!(
        stage
            .publisher
            .list_aside(&stage.name("q"), 1, soon())
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        stage
            .publisher
            .list_aside(&stage.name("q"), 10, soon())
            .unwrap()
            .len(),
        2
    );
}

pub(crate) fn a_purge_leaves_what_is_set_aside<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a", "b"]);
    let consumer = stage.bounded_consumer(&["q"], 1);
    let batch = reserve(&*consumer, 1);
    consumer.cancel_queue(&stage.name("q"));
    settle(&*consumer, batch, &Verdict::SetAside("kept".to_owned()));
    assert_eq!(stage.publisher.purge(&stage.name("q"), soon()).unwrap(), 1);
    assert_eq!(
        stage
            .publisher
            .list_aside(&stage.name("q"), 10, soon())
            .unwrap()
            .len(),
        1
    );
}

pub(crate) fn settling_twice_changes_nothing<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a", "b"]);
    let consumer = stage.bounded_consumer(&["q"], 2);
    let mut held = reserve(&*consumer, 2);
    let again = Settlement {
        token: duplicate(&held[0].token),
        verdict: Verdict::Requeue,
        put: None,
    };
    settle(&*consumer, vec![held.remove(0)], &Verdict::Ack);
    consumer.settle(vec![again], soon()).unwrap();
    stage.assert_depth("q", 0);
    // The second settlement made no room either: one message is still held of two.
    stage.publish("q", &["c", "d"]);
    assert_eq!(bodies(&reserve_now(&*consumer)), ["c"]);
}

pub(crate) fn an_old_token_does_not_settle_anothers_lease<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a"]);
    let (first, second) = (stage.consumer(&["q"]), stage.consumer(&["q"]));
    let lost = reserve(&*first, 1);
    let old = duplicate(&lost[0].token);
    first.cancel_queue(&stage.name("q"));
    settle(&*first, lost, &Verdict::Requeue);
    let _held = reserve(&*second, 1);
    let late = Settlement {
        token: old,
        verdict: Verdict::Ack,
        put: None,
    };
    first.settle(vec![late], soon()).unwrap();
    second.close(soon());
    assert_eq!(bodies(&reserve(&*stage.consumer(&["q"]), 1)), ["a"]);
}

pub(crate) fn an_old_token_does_not_settle_a_later_message<F: Fixture>() {
    let stage = Stage::<F>::set();
    let consumer = stage.consumer(&["q"]);
    stage.publish("q", &["a"]);
    let first = reserve(&*consumer, 1);
    let old = duplicate(&first[0].token);
    settle(&*consumer, first, &Verdict::Ack);
    stage.publish("q", &["b"]);
    let _held = reserve(&*consumer, 1);
    let late = Settlement {
        token: old,
        verdict: Verdict::Ack,
        put: None,
    };
    consumer.settle(vec![late], soon()).unwrap();
    consumer.close(soon());
    stage.assert_depth("q", 1);
}
