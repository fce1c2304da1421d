//! From the queue to a consumer.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::broker::{Consumer, Verdict};
use celeriac_core::time::Deadline;
use celeriac_core::wire::message::Properties;

use crate::stage::{Fixture, Stage, bodies, in_ms, reserve, reserve_now, settle, soon};

pub(crate) fn messages_arrive_in_the_order_they_were_published<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish_numbers("q", 300);
    let consumer = stage.consumer(&["q"]);
    let deliveries = reserve(&*consumer, 300);
    let expected: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    assert_eq!(bodies(&deliveries), expected);
    assert!(
        deliveries
            .iter()
            .all(|delivery| !delivery.redelivered && delivery.queue == stage.name("q"))
    );
}

pub(crate) fn headers_properties_and_body_arrive_unchanged<F: Fixture>() {
    let stage = Stage::<F>::set();
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let mut sent = stage.message("", "q", every_byte);
    sent.message.properties = Properties {
        content_type: "application/x-python-serialize".to_owned(),
        content_encoding: "binary".to_owned(),
        reply_to: Some("answers".to_owned()),
        delivery_mode: 1,
        expiration: Some("60000".to_owned()),
        extra: vec![("app_id".to_owned(), r#""shop""#.to_owned())],
        ..sent.message.properties
    };
    stage.send(sent.clone());
    let arrived = reserve(&*stage.consumer(&["q"]), 1).remove(0);
    let message = arrived.message.unwrap();
    assert_eq!(message, F::as_delivered(sent.message, &message));
    assert_eq!(arrived.target, sent.target);
}

pub(crate) fn a_body_of_five_mebibytes_arrives_whole<F: Fixture>() {
    let stage = Stage::<F>::set();
    let big: Vec<u8> = (0..5 << 20).map(|index: usize| index.to_le_bytes()[1]).collect();
    stage.send(stage.message("", "q", big.clone()));
    let arrived = reserve(&*stage.consumer(&["q"]), 1).remove(0);
    assert!(
        arrived.message.unwrap().body == big,
        "the body changed on its way"
    );
}

pub(crate) fn an_empty_body_arrives<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &[""]);
    assert_eq!(bodies(&reserve(&*stage.consumer(&["q"]), 1)), [""]);
}

pub(crate) fn messages_arrive_in_the_order_of_their_priorities<F: Fixture>() {
    let stage = Stage::<F>::set();
    let spec = F::with_priorities(stage.queue("urgent"));
    stage.publisher.declare(&spec, soon()).unwrap();
    for priority in [9, 6, 3, 2, 0, 4] {
        let mut sent = stage.message("", "urgent", priority.to_string());
        sent.message.properties.priority = Some(priority);
        stage.send_declared(sent);
    }
    let consumer = stage.consumer_of(vec![spec], 0);
    assert_eq!(bodies(&reserve(&*consumer, 6)), F::PRIORITY_ORDER);
}

pub(crate) fn several_queues_are_served_in_turn<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish(
        "full",
        &["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9"],
    );
    stage.publish("short", &["s0", "s1"]);
    let consumer = stage.consumer(&["full", "short", "empty"]);
    let first = bodies(&reserve(&*consumer, 6));
    assert!(first.contains(&"s0".to_owned()), "{first:?}");
    assert!(first.contains(&"s1".to_owned()), "{first:?}");
    assert_eq!(
        bodies(&reserve(&*consumer, 6)),
        ["f4", "f5", "f6", "f7", "f8", "f9"]
    );
}

pub(crate) fn a_batch_is_no_larger_than_the_room<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish_numbers("q", 10);
    let consumer = stage.bounded_consumer(&["q"], 4);
    assert_eq!(bodies(&consumer.reserve(3, soon()).unwrap()), ["0", "1", "2"]);
    assert_eq!(bodies(&consumer.reserve(3, soon()).unwrap()), ["3"]);
    stage.assert_depth("q", 6);
}

pub(crate) fn the_prefetch_bounds_what_is_unsettled<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish_numbers("q", 10);
    let consumer = stage.bounded_consumer(&["q"], 3);
    let mut held = reserve(&*consumer, 3);
    assert!(reserve_now(&*consumer).is_empty());
    settle(&*consumer, vec![held.remove(0)], &Verdict::Ack);
    assert_eq!(bodies(&reserve_now(&*consumer)), ["3"]);
    assert!(reserve_now(&*consumer).is_empty());
}

pub(crate) fn what_waits_for_its_eta_does_not_hold_up_the_rest<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish_numbers("q", 30);
    let consumer = stage.consumer_with_eta_room(4, 20);
    // Each batch waits for its eta, and the caller has room for as many others.
    let waiting: Vec<_> = (0..6).flat_map(|_| reserve(&*consumer, 4)).collect();
    assert_eq!(bodies(&waiting).into_iter().collect::<HashSet<_>>().len(), 24);
    assert!(reserve_now(&*consumer).is_empty());
    settle(&*consumer, waiting, &Verdict::Ack);
    assert_eq!(reserve(&*consumer, 6).len(), 6);
}

pub(crate) fn settling_makes_room_for_a_waiting_reserve<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish_numbers("q", 2);
    let consumer = stage.bounded_consumer(&["q"], 1);
    let held = reserve(&*consumer, 1);
    let (tell, begun) = std::sync::mpsc::channel();
    let waiting = {
        let consumer = Arc::clone(&consumer);
        std::thread::spawn(move || {
            tell.send(()).unwrap();
            consumer.reserve(1, soon()).unwrap()
        })
    };
    begun.recv_timeout(Duration::from_secs(20)).unwrap();
    settle(&*consumer, held, &Verdict::Ack);
    assert_eq!(bodies(&waiting.join().unwrap()), ["1"]);
}

pub(crate) fn two_consumers_share_without_doubles<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish_numbers("q", 400);
    let drain = |consumer: Arc<dyn Consumer>| {
        std::thread::spawn(move || {
            let mut seen = Vec::new();
            loop {
                let batch = consumer.reserve(7, in_ms(500)).unwrap();
                if batch.is_empty() {
                    return seen;
                }
                seen.extend(bodies(&batch));
                settle(&*consumer, batch, &Verdict::Ack);
            }
        })
    };
    let (one, other) = (drain(stage.consumer(&["q"])), drain(stage.consumer(&["q"])));
    let mut all = one.join().unwrap();
    all.extend(other.join().unwrap());
    assert_eq!(all.len(), 400);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 400);
}

pub(crate) fn an_empty_queue_yields_nothing_at_the_deadline<F: Fixture>() {
    let stage = Stage::<F>::set();
    let consumer = stage.consumer(&["q"]);
    let deadline = in_ms(200);
    assert!(consumer.reserve(10, deadline).unwrap().is_empty());
    assert!(deadline.has_passed());
}

pub(crate) fn an_interrupt_ends_a_wait<F: Fixture>() {
    let stage = Stage::<F>::set();
    let consumer = stage.consumer(&["q"]);
    let deadline = soon();
    let waiting = {
        let consumer = Arc::clone(&consumer);
        std::thread::spawn(move || consumer.reserve(1, deadline).unwrap())
    };
    consumer.interrupt();
    assert!(waiting.join().unwrap().is_empty());
    assert!(deadline.left() > Duration::from_secs(10), "the wait ended late");
}

pub(crate) fn a_waiting_consumer_wakes_at_once_for_a_message<F: Fixture>() {
    let stage = Stage::<F>::set();
    let consumer = stage.consumer(&["q"]);
    let (arrive, arrived) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || {
        for _ in 0..20 {
            let batch = reserve(&*consumer, 1);
            arrive.send(bodies(&batch)).unwrap();
            settle(&*consumer, batch, &Verdict::Ack);
        }
    });
    // Twenty round trips in less than one poll: none of them can have waited for it.
    let deadline = Deadline::after(Duration::from_secs(8));
    for number in 0..20 {
        let body = number.to_string();
        stage.publish("q", &[&body]);
        assert_eq!(arrived.recv_timeout(deadline.left()).unwrap(), [body]);
    }
    waiting.join().unwrap();
}
