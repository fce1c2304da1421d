//! A hierarchical timer wheel: levels of 64 slots, each level 64 times coarser than the one below.
//!
//! One tick is whatever its owner says (the intake: 1 ms). Level 0 has a slot for each tick, level
//! 5 one for each 2^30 ticks. An entry lies at the level of the highest bit in which its due tick
//! differs from now, so its slot is always ahead of the present one and nothing ever wraps; what
//! differs above level 5 (2^36 ticks, 2.2 years of milliseconds) waits in a list of its own until
//! the present comes near. A slot that is reached either fires or spreads over the levels below.

use super::slab::{Entry, Key, Link, Slab};

const LEVELS: usize = 6;
const SLOTS: usize = 64;
const BITS_PER_LEVEL: usize = 6;
/// Index of the list of what differs from now above the top level.
const FAR: usize = LEVELS * SLOTS;
/// Index of the list of what was due when it was inserted.
const OVERDUE: usize = FAR + 1;
const TOP_BITS: usize = LEVELS * BITS_PER_LEVEL;

/// Timers, ordered by due tick and then by insertion.
#[derive(Debug)]
pub struct Wheel<T> {
    now_tick: u64,
    inserted: u64,
    slab: Slab<T>,
    heads: Vec<Link>,
    /// One bit for each slot that is not empty.
    occupied: [u64; LEVELS],
}

/// A moment at which a list has to be looked at.
#[derive(Clone, Copy)]
struct Stop {
    tick: u64,
    list: usize,
}

impl<T> Wheel<T> {
    /// An empty wheel that stands at `now_tick`.
    pub fn new(now_tick: u64) -> Self {
        Self {
            now_tick,
            inserted: 0,
            slab: Slab::new(),
            heads: vec![None; OVERDUE + 1],
            occupied: [0; LEVELS],
        }
    }

    /// Adds a timer. One that is due already fires with the next [`Wheel::advance`].
    pub fn insert(&mut self, due_tick: u64, value: T) -> Key {
        let list = list_of(self.now_tick, due_tick);
        let key = self.slab.insert(Entry {
            due_tick,
            order: self.inserted,
            list,
            previous: None,
            next: None,
            value,
        });
        self.inserted += 1;
        if let Some(index) = self.slab.find(key) {
            self.link(index, list);
        }
        key
    }

    /// Removes a timer; `None` when it has fired or was cancelled before.
    pub fn cancel(&mut self, key: Key) -> Option<T> {
        let index = self.slab.find(key)?;
        self.unlink(index);
        self.slab.remove(index).map(|entry| entry.value)
    }

    /// Moves the present to `now_tick` and returns what is due, the earliest first; among equals
    /// the first inserted is first. A present that lies behind changes nothing.
    pub fn advance(&mut self, now_tick: u64) -> Vec<(Key, T)> {
        let mut fired = Vec::new();
        while let Some(stop) = self.next_stop().filter(|stop| stop.tick <= now_tick) {
            self.now_tick = self.now_tick.max(stop.tick);
            self.reach(stop.list, &mut fired);
        }
        self.now_tick = self.now_tick.max(now_tick);
        fired
    }

    /// The tick before which nothing is due; `None` when the wheel is empty. A timer's own tick
    /// is never before it, and at most six such ticks lie on the way to it.
    pub fn next_tick(&self) -> Option<u64> {
        self.next_stop().map(|stop| stop.tick)
    }

    /// How many timers wait.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Due tick and value of every timer, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.slab.entries().map(|entry| (entry.due_tick, &entry.value))
    }

    fn next_stop(&self) -> Option<Stop> {
        if self.heads.get(OVERDUE).is_some_and(Option::is_some) {
            return Some(Stop {
                tick: self.now_tick,
                list: OVERDUE,
            });
        }
        // Everything at a level is due before anything at the level above it.
        let slots = self.occupied.iter().enumerate();
        let mut filled = slots.filter(|(_, bits)| **bits != 0);
        if let Some((level, bits)) = filled.next() {
            let slot = u64::from(bits.trailing_zeros());
            let shift = level * BITS_PER_LEVEL;
            let above = shift + BITS_PER_LEVEL;
            return Some(Stop {
                tick: (self.now_tick >> above << above) | (slot << shift),
                list: level * SLOTS + index_of(slot),
            });
        }
        let is_far = self.heads.get(FAR).is_some_and(Option::is_some);
        is_far.then(|| Stop {
            tick: ((self.now_tick >> TOP_BITS) + 1) << TOP_BITS,
            list: FAR,
        })
    }

    /// Fires what is due in a list, and links the rest anew.
    fn reach(&mut self, list: usize, fired: &mut Vec<(Key, T)>) {
        let mut due = Vec::new();
        let mut at = self.heads.get(list).copied().flatten();
        self.clear(list);
        while let Some(index) = at {
            let Some(entry) = self.slab.entry(index) else {
                break;
            };
            at = entry.next;
            if entry.due_tick <= self.now_tick {
                due.push((entry.due_tick, entry.order, index));
            } else {
                let home = list_of(self.now_tick, entry.due_tick);
                self.link(index, home);
            }
        }
        due.sort_unstable();
        fired.extend(due.into_iter().filter_map(|(_, _, index)| {
            let key = self.slab.key_at(index)?;
            Some((key, self.slab.remove(index)?.value))
        }));
    }

    fn link(&mut self, index: usize, list: usize) {
        let next = self.heads.get(list).copied().flatten();
        if let Some(entry) = self.slab.entry_mut(index) {
            (entry.list, entry.previous, entry.next) = (list, None, next);
        }
        if let Some(follower) = next.and_then(|next| self.slab.entry_mut(next)) {
            follower.previous = Some(index);
        }
        if let Some(head) = self.heads.get_mut(list) {
            *head = Some(index);
        }
        if let Some(bits) = self.occupied.get_mut(list / SLOTS) {
            *bits |= 1 << (list % SLOTS);
        }
    }

    fn unlink(&mut self, index: usize) {
        let Some(entry) = self.slab.entry(index) else {
            return;
        };
        let (list, previous, next) = (entry.list, entry.previous, entry.next);
        if let Some(follower) = next.and_then(|next| self.slab.entry_mut(next)) {
            follower.previous = previous;
        }
        match previous.and_then(|previous| self.slab.entry_mut(previous)) {
            Some(leader) => leader.next = next,
            None if next.is_none() => self.clear(list),
            None => {
                if let Some(head) = self.heads.get_mut(list) {
                    *head = next;
                }
            }
        }
    }

    fn clear(&mut self, list: usize) {
        if let Some(head) = self.heads.get_mut(list) {
            *head = None;
        }
        if let Some(bits) = self.occupied.get_mut(list / SLOTS) {
            *bits &= !(1 << (list % SLOTS));
        }
    }
}

/// The list in which an entry lies: by the highest bit in which due and now differ.
fn list_of(now_tick: u64, due_tick: u64) -> usize {
    if due_tick <= now_tick {
        return OVERDUE;
    }
    let highest_bit = index_of(u64::from((now_tick ^ due_tick).ilog2()));
    let level = highest_bit / BITS_PER_LEVEL;
    if level >= LEVELS {
        return FAR;
    }
    let slot = (due_tick >> (level * BITS_PER_LEVEL)) & 63;
    level * SLOTS + index_of(slot)
}

/// A number below 64 as an index.
fn index_of(small: u64) -> usize {
    usize::try_from(small).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(fired: Vec<(Key, u32)>) -> Vec<u32> {
        fired.into_iter().map(|(_, value)| value).collect()
    }

    #[test]
    fn a_list_is_chosen_by_the_highest_differing_bit() {
        assert_eq!(list_of(0, 1), 1);
        assert_eq!(list_of(0, 63), 63);
        assert_eq!(list_of(0, 64), SLOTS + 1);
        assert_eq!(list_of(63, 64), SLOTS + 1);
        assert_eq!(list_of(0, 4095), SLOTS + 63);
        assert_eq!(list_of(0, 4096), 2 * SLOTS + 1);
        assert_eq!(list_of(0, (1 << 36) - 1), 5 * SLOTS + 63);
        assert_eq!(list_of(0, 1 << 36), FAR);
        assert_eq!(list_of(7, 7), OVERDUE);
    }

    #[test]
    fn a_timer_fires_at_its_tick_and_not_before() {
        for due in [
            1,
            63,
            64,
            65,
            4095,
            4096,
            5000,
            262_144,
            1 << 30,
            1 << 36,
            (1 << 36) + 77,
        ] {
            let mut wheel = Wheel::new(0);
            wheel.insert(due, 1);
            assert!(values(wheel.advance(due - 1)).is_empty(), "before {due}");
            assert_eq!(values(wheel.advance(due)), [1], "at {due}");
            assert!(wheel.is_empty());
        }
    }

    #[test]
    fn what_is_overdue_fires_with_the_next_advance_in_order_of_due_ticks() {
        let mut wheel = Wheel::new(1000);
        wheel.insert(1001, 3);
        wheel.insert(1000, 2);
        wheel.insert(4, 1);
        assert_eq!(wheel.next_tick(), Some(1000));
        assert_eq!(values(wheel.advance(1001)), [1, 2, 3]);
    }

    #[test]
    fn equal_ticks_fire_in_the_order_of_insertion_whatever_level_they_came_from() {
        let mut wheel = Wheel::new(0);
        wheel.insert(70, 1);
        wheel.advance(60);
        wheel.insert(70, 2);
        wheel.advance(65);
        wheel.insert(70, 3);
        assert_eq!(values(wheel.advance(70)), [1, 2, 3]);
    }

    #[test]
    fn a_cancelled_timer_never_fires_and_its_key_never_finds_a_successor() {
        let mut wheel = Wheel::new(0);
        let first = wheel.insert(10, 1);
        assert_eq!(wheel.cancel(first), Some(1));
        let second = wheel.insert(10, 2);
        assert_ne!(first, second);
        assert_eq!(wheel.cancel(first), None);
        assert_eq!(values(wheel.advance(10)), [2]);
        assert_eq!(wheel.cancel(second), None);
    }

    #[test]
    fn a_present_that_lies_behind_changes_nothing() {
        let mut wheel = Wheel::new(500);
        wheel.insert(501, 1);
        assert!(values(wheel.advance(3)).is_empty());
        assert_eq!(wheel.next_tick(), Some(501));
    }

    #[test]
    fn next_tick_is_exact_within_64_ticks_and_a_lower_bound_beyond() {
        let mut wheel = Wheel::new(0);
        assert_eq!(wheel.next_tick(), None);
        wheel.insert(130, 1);
        assert_eq!(wheel.next_tick(), Some(128));
        wheel.advance(128);
        assert_eq!(wheel.next_tick(), Some(130));
    }
}
