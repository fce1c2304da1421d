//! A result goes with the ack of its task, where the broker is a result store, too.

use bytes::Bytes;
use celeriac_core::backend::{self, Put};
use celeriac_core::broker::{Settlement, Verdict};

use crate::stage::{Fixture, Stage, in_ms, reserve, reserve_now, soon};

pub(crate) fn a_put_is_stored_with_its_ack<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a"]);
    let consumer = stage.consumer(&["q"]);
    let url = stage.fixture.url();
    assert!(consumer.stores_results_of(&url.raw));
    let document = Bytes::from_static(br#"{"status": "SUCCESS", "result": 5}"#);
    let batch = reserve(&*consumer, 1).into_iter().map(|delivery| Settlement {
        token: delivery.token,
        verdict: Verdict::Ack,
        put: Some(Put {
            task_id: "some-task".to_owned(),
            document: document.clone(),
            is_final: true,
            expires_s: Some(60),
            reply: None,
        }),
    });
    consumer.settle(batch.collect(), soon()).unwrap();
    let store = backend::open(&url).unwrap();
    assert_eq!(store.get("some-task", soon()).unwrap(), Some(document));
    consumer.close(soon());
    assert!(reserve_now(&*stage.consumer(&["q"])).is_empty());
}

pub(crate) fn a_put_with_an_ack_wakes_who_waits<F: Fixture>() {
    let stage = Stage::<F>::set();
    stage.publish("q", &["a"]);
    let consumer = stage.consumer(&["q"]);
    let url = stage.fixture.url();
    assert!(consumer.stores_results_of(&url.raw));
    let store = backend::open(&url).unwrap();
    let subscription = store.subscribe("some-task", false, soon()).unwrap();
    let document = Bytes::from_static(br#"{"status": "SUCCESS", "result": 5}"#);
    let batch = reserve(&*consumer, 1).into_iter().map(|delivery| Settlement {
        token: delivery.token,
        verdict: Verdict::Ack,
        put: Some(Put {
            task_id: "some-task".to_owned(),
            document: document.clone(),
            is_final: true,
            expires_s: Some(60),
            reply: None,
        }),
    });
    consumer.settle(batch.collect(), soon()).unwrap();
    // Sooner than any poll.
    assert_eq!(subscription.next(in_ms(8_000)).unwrap(), Some(document));
}
