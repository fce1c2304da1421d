//! Chords: each part counts once, and one sender of the body is found.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use celeriac_core::backend::ResultStore;
use celeriac_core::backend::chords::{ChordStore, Join, Part};

use crate::stage::{Fixture, eventually, soon};

fn part(task: u64) -> Part {
    Part {
        group_id: "group".to_owned(),
        task_id: format!("task-{task}"),
        position: Some(task),
        content: Bytes::from(format!("part {task}")),
        is_ordered: true,
        expires_s: Some(60),
        token: format!("token-{task}"),
        claim_s: 60,
    }
}

fn complete(tasks: &[u64]) -> Join {
    let parts = tasks.iter().map(|task| Bytes::from(format!("part {task}")));
    Join::Complete(parts.collect())
}

fn chords(store: &dyn ResultStore) -> &dyn ChordStore {
    store.chords().unwrap()
}

fn sized(store: &dyn ResultStore, size: u64) -> &dyn ChordStore {
    let chords = chords(store);
    chords.set_chord_size("group", size, Some(60), soon()).unwrap();
    chords
}

fn join(chords: &dyn ChordStore, task: u64) -> Join {
    chords.join(&part(task), soon()).unwrap()
}

pub(crate) fn a_chord_is_complete_with_its_last_part<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let chords = sized(&*store, 3);
    assert_eq!(join(chords, 0), Join::Open);
    assert_eq!(join(chords, 1), Join::Open);
    assert_eq!(join(chords, 2), complete(&[0, 1, 2]));
}

pub(crate) fn parts_come_back_by_position<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let chords = sized(&*store, 12);
    for task in [11, 3, 10, 0, 7, 1, 2, 9, 4, 6, 5] {
        assert_eq!(join(chords, task), Join::Open);
    }
    let all: Vec<u64> = (0..12).collect();
    assert_eq!(join(chords, 8), complete(&all));
}

pub(crate) fn parts_come_back_as_they_came_where_order_is_not_asked_for<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let chords = sized(&*store, 3);
    let last = [2, 0, 1].map(|task| {
        let unordered = Part {
            is_ordered: false,
            ..part(task)
        };
        chords.join(&unordered, soon()).unwrap()
    });
    assert_eq!(last, [Join::Open, Join::Open, complete(&[2, 0, 1])]);
}

pub(crate) fn a_part_that_returns_again_is_counted_once<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let chords = sized(&*store, 2);
    for _ in 0..3 {
        assert_eq!(join(chords, 0), Join::Open);
    }
    assert_eq!(join(chords, 1), complete(&[0, 1]));
    assert_eq!(join(chords, 0), Join::Taken);
}

pub(crate) fn a_chord_of_unknown_size_stays_open<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    assert_eq!(join(chords(&*store), 0), Join::Open);
    assert_eq!(join(chords(&*store), 1), Join::Open);
}

pub(crate) fn a_part_before_the_size_is_counted<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    assert_eq!(join(chords(&*store), 0), Join::Open);
    let chords = sized(&*store, 2);
    assert_eq!(join(chords, 1), complete(&[0, 1]));
}

pub(crate) fn only_one_of_many_threads_gets_the_claim<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    sized(&*store, 64);
    let completed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..4 {
            let (store, completed) = (&store, &completed);
            scope.spawn(move || {
                // Every part comes from two threads.
                for task in (0..64).filter(|task| task % 2 == thread % 2) {
                    if matches!(join(chords(&**store), task), Join::Complete(parts) if parts.len() == 64) {
                        completed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(completed.into_inner(), 1);
}

pub(crate) fn a_claim_that_ran_out_is_given_to_the_next_return<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let chords = sized(&*store, 1);
    let short = Part {
        claim_s: 1,
        ..part(0)
    };
    assert_eq!(chords.join(&short, soon()).unwrap(), complete(&[0]));
    assert_eq!(join(chords, 0), Join::Taken);
    eventually(|| join(chords, 0) == complete(&[0]));
}

pub(crate) fn a_claim_can_be_renewed_by_its_owner_only<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let chords = sized(&*store, 1);
    assert!(!chords.keep_claim("group", "token-0", 60, soon()).unwrap());
    assert_eq!(join(chords, 0), complete(&[0]));
    assert!(chords.keep_claim("group", "token-0", 60, soon()).unwrap());
    assert!(!chords.keep_claim("group", "another", 60, soon()).unwrap());
}

pub(crate) fn a_closed_chord_does_nothing_more<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let chords = sized(&*store, 2);
    join(chords, 0);
    assert_eq!(join(chords, 1), complete(&[0, 1]));
    assert!(chords.close_chord("group", "token-1", 60, soon()).unwrap());
    assert_eq!(join(chords, 1), Join::Done);
    assert_eq!(join(chords, 5), Join::Done);
}

pub(crate) fn only_the_owner_of_the_claim_closes_a_chord<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let chords = sized(&*store, 1);
    join(chords, 0);
    assert!(!chords.close_chord("group", "another", 60, soon()).unwrap());
    assert_eq!(join(chords, 0), Join::Taken);
}

pub(crate) fn an_added_part_is_waited_for<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let chords = sized(&*store, 2);
    assert_eq!(join(chords, 0), Join::Open);
    chords.add_to_chord("group", 1, Some(60), soon()).unwrap();
    assert_eq!(join(chords, 1), Join::Open);
    assert_eq!(join(chords, 2), complete(&[0, 1, 2]));
}

pub(crate) fn a_failed_chord_does_nothing_more<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let chords = sized(&*store, 2);
    join(chords, 0);
    chords.fail_chord("group", soon()).unwrap();
    assert_eq!(join(chords, 1), Join::Open);
}

pub(crate) fn a_group_id_that_is_used_again_starts_anew<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let chords = sized(&*store, 1);
    join(chords, 0);
    assert!(chords.close_chord("group", "token-0", 60, soon()).unwrap());
    chords.set_chord_size("group", 1, Some(60), soon()).unwrap();
    assert_eq!(join(chords, 0), complete(&[0]));
}
