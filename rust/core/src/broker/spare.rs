//! Lines to a server for threads that wait for one message each: used by one thread at a time, kept for
//! the next one, never more than a few.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::time::Deadline;

/// Lines at the same time: who comes when all are in use goes another way.
const MOST: usize = 16;
/// After a line could not be opened no other is tried for so long.
const PAUSE: Duration = Duration::from_secs(5);

/// The lines that nobody uses at the moment.
#[derive(Debug)]
pub(super) struct Spares<T> {
    free: Mutex<Vec<Line<T>>>,
    /// How many there are, with those in use.
    open: Arc<AtomicUsize>,
    pause: Mutex<Deadline>,
}

/// One line.
#[derive(Debug)]
pub(super) struct Line<T> {
    pub(super) wire: T,
    _place: Place,
}

/// One of the [`MOST`].
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<T> Default for Spares<T> {
    fn default() -> Self {
        Self {
            free: Mutex::default(),
            open: Arc::default(),
            pause: Mutex::new(Deadline::after(Duration::ZERO)),
        }
    }
}

impl<T> Spares<T> {
    /// A line that can be used, or a new one. Those that cannot be used any more are closed.
    pub(super) fn take(
        &self,
        mut is_usable: impl FnMut(&mut T) -> bool,
        open: impl FnOnce() -> Option<T>,
    ) -> Option<Line<T>> {
        loop {
            // A statement of its own: the lock ends with it.
            let spare = self.free.lock().pop();
            let Some(mut line) = spare else {
                return self.open(open);
            };
            if is_usable(&mut line.wire) {
                return Some(line);
            }
        }
    }

    fn open(&self, open: impl FnOnce() -> Option<T>) -> Option<Line<T>> {
        if !self.pause.lock().has_passed() {
            return None;
        }
        let place = self.place()?;
        let opened = open();
        if opened.is_none() {
            *self.pause.lock() = Deadline::after(PAUSE);
        }
        opened.map(|wire| Line { wire, _place: place })
    }

    fn place(&self) -> Option<Place> {
        let place = Place(Arc::clone(&self.open));
        // Too many: dropping it counts it back.
        (self.open.fetch_add(1, Ordering::Relaxed) < MOST).then_some(place)
    }

    pub(super) fn give_back(&self, line: Line<T>) {
        self.free.lock().push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_used_again_and_one_that_cannot_be_is_replaced() {
        let spares = Spares::default();
        let first = spares.take(|_| true, || Some(1)).unwrap();
        spares.give_back(first);
        let again = spares.take(|_| true, || Some(2)).unwrap();
        assert_eq!(again.wire, 1);
        spares.give_back(again);
        assert_eq!(spares.take(|_| false, || Some(3)).unwrap().wire, 3);
    }

    #[test]
    fn there_are_no_more_than_a_few_and_a_closed_one_makes_room() {
        let spares = Spares::default();
        let mut all: Vec<_> = (0..MOST)
            .map(|_| spares.take(|_| true, || Some(0)).unwrap())
            .collect();
        assert!(spares.take(|_| true, || Some(0)).is_none());
        drop(all.pop());
        assert!(spares.take(|_| true, || Some(0)).is_some());
    }

    #[test]
    fn after_one_could_not_be_opened_no_other_is_tried_for_a_while() {
        let spares = Spares::<u8>::default();
        assert!(spares.take(|_| true, || None).is_none());
        let mut was_tried = false;
        let open = || {
            was_tried = true;
            Some(0)
        };
        assert!(spares.take(|_| true, open).is_none());
        assert!(!was_tried);
    }
}
