//! What a consumer holds of one connection, and which of its delivery tags are settled.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::letter::Kept;

/// A delivery as it came, so that it can be set aside as it came.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) queue: String,
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) properties: Kept,
    pub(super) body: Bytes,
    /// How often who held it died.
    pub(super) losses: u32,
}

/// The deliveries of one channel. Those of an older one are gone with it: the server delivers
/// them again.
#[derive(Debug, Default)]
pub(super) struct Custody {
    serial: u64,
    held: HashMap<u64, Held>,
    /// How many of them are of each queue: asked for after each settlement, and there may be tens
    /// of thousands that wait for their eta.
    by_queue: HashMap<String, usize>,
    settled: Ranges,
}

impl Custody {
    /// Begins anew with a channel, unless it is the one that is known.
    pub(super) fn begin(&mut self, serial: u64) {
        if self.serial != serial {
            *self = Self {
                serial,
                ..Self::default()
            };
        }
    }

    /// The channel's number.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// How many deliveries are handed out and not settled.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// The same of one queue.
    pub(super) fn len_of(&self, queue: &str) -> usize {
        self.by_queue.get(queue).copied().unwrap_or(0)
    }

    /// A delivery is handed out; or given back, since settling failed before the server heard of
    /// it.
    pub(super) fn enter(&mut self, tag: u64, held: Held) {
        match self.by_queue.get_mut(&held.queue) {
            Some(count) => *count += 1,
            None => drop(self.by_queue.insert(held.queue.clone(), 1)),
        }
        self.held.insert(tag, held);
    }

    /// Takes the right to settle a delivery; `None` when somebody had it already.
    pub(super) fn take(&mut self, tag: u64) -> Option<Held> {
        let held = self.held.remove(&tag)?;
        if let Some(count) = self.by_queue.get_mut(&held.queue) {
            *count -= 1;
        }
        Some(held)
    }

    /// Notes tags that are settled in a way of their own.
    pub(super) fn settled(&mut self, tag: u64) {
        self.settled.insert(tag);
    }

    /// How to ack `tags` (ascending) in the fewest words: up to which tag everything is settled,
    /// and the tags that need a word each.
    ///
    /// Tags that were delivered and not handed out yet are not settled, so that nothing is acked
    /// over them.
    pub(super) fn ack_plan(&mut self, tags: &[u64]) -> (Option<u64>, Vec<u64>) {
        for &tag in tags {
            self.settled.insert(tag);
        }
        let done = self.settled.without_gap();
        let (below, beyond): (Vec<u64>, Vec<u64>) = tags.iter().partition(|&&tag| tag <= done);
        (below.last().copied(), beyond)
    }
}

/// A set of numbers from 1 as ranges: as long as there are few gaps it is small.
#[derive(Debug, Default)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    fn insert(&mut self, number: u64) {
        let before = self.0.range(..=number).next_back().map(|(&from, &to)| (from, to));
        let (mut from, mut to) = (number, number);
        if let Some((earlier, end)) = before {
            if end >= number {
                return;
            }
            if end + 1 == number {
                from = earlier;
            }
        }
        if let Some(end) = self.0.remove(&(number + 1)) {
            to = end;
        }
        self.0.insert(from, to);
    }

    /// The greatest number up to which none is missing; 0 when 1 is.
    fn without_gap(&self) -> u64 {
        match self.0.first_key_value() {
            Some((1, &to)) => to,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_without_a_gap_are_acked_with_one_word() {
        let mut custody = Custody::default();
        assert_eq!(custody.ack_plan(&[1, 2, 3]), (Some(3), vec![]));
        assert_eq!(custody.ack_plan(&[5, 6]), (None, vec![5, 6]));
        assert_eq!(custody.ack_plan(&[4]), (Some(4), vec![]));
        assert_eq!(custody.ack_plan(&[7, 9]), (Some(7), vec![9]));
    }

    #[test]
    fn what_was_settled_otherwise_closes_a_gap() {
        let mut custody = Custody::default();
        custody.settled(2);
        assert_eq!(custody.ack_plan(&[1, 3]), (Some(3), vec![]));
    }

    #[test]
    fn a_new_channel_begins_with_nothing() {
        let mut custody = Custody::default();
        custody.begin(1);
        assert_eq!(custody.ack_plan(&[1]), (Some(1), vec![]));
        custody.begin(2);
        assert_eq!(custody.ack_plan(&[2]), (None, vec![2]));
        assert_eq!(custody.serial(), 2);
    }

    #[test]
    fn what_is_held_of_each_queue_is_counted() {
        let held = |queue: &str| Held {
            queue: queue.to_owned(),
            exchange: String::new(),
            routing_key: String::new(),
            properties: lapin::BasicProperties::default().into(),
            body: Bytes::new(),
            losses: 0,
        };
        let mut custody = Custody::default();
        for (tag, queue) in [(1, "mail"), (2, "mail"), (3, "images")] {
            custody.enter(tag, held(queue));
        }
        let taken = custody.take(2);
        assert!(custody.take(2).is_none());
        assert_eq!((custody.len_of("mail"), custody.len_of("images")), (1, 1));
        custody.enter(2, taken.unwrap());
        assert_eq!((custody.len_of("mail"), custody.len_of("none")), (2, 0));
        custody.begin(7);
        assert_eq!(custody.len_of("mail"), 0);
    }

    proptest! {
        #[test]
        fn ranges_know_the_first_gap(numbers in prop::collection::vec(1_u64..40, 0..60)) {
            let mut ranges = Ranges::default();
            let mut model = BTreeSet::new();
            for number in numbers {
                ranges.insert(number);
                model.insert(number);
                let first_gap = (1..=41).find(|number| !model.contains(number)).unwrap();
                prop_assert_eq!(ranges.without_gap(), first_gap - 1);
            }
        }
    }
}
