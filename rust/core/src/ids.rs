//! Fresh UUIDs: of tasks, and of deliveries.
//!
//! Random bytes are taken from the system for many of them at once: a call of it for each takes
//! longer than all else that is done to build a message. What a fork's child inherits of them is thrown
//! away, since its parent hands out the same bytes: two messages of one delivery tag would share one
//! lease on Redis. Generators of `rand` are not made anew after a fork, which is why `uuid` is used
//! without its `fast-rng`.

use std::cell::RefCell;

use uuid::{Builder, Uuid};

/// Random bytes that one call of the system gives.
const POOL: usize = 2_048;
const EACH: usize = 16;

struct Pool {
    bytes: [u8; POOL],
    used: usize,
    process: u32,
}

thread_local! {
    static RANDOM: RefCell<Pool> = const {
        RefCell::new(Pool { bytes: [0; POOL], used: POOL, process: 0 })
    };
}

impl Pool {
    fn take<const BYTES: usize>(&mut self) -> Option<[u8; BYTES]> {
        let process = std::process::id();
        if self.used + BYTES > POOL || self.process != process {
            getrandom::fill(&mut self.bytes).ok()?;
            (self.used, self.process) = (0, process);
        }
        let taken = self.bytes.get(self.used..)?.first_chunk().copied();
        self.used += BYTES;
        taken
    }
}

/// A fresh random UUID (version 4).
pub fn fresh() -> Uuid {
    let random = RANDOM.with(|pool| pool.try_borrow_mut().ok()?.take());
    random.map_or_else(Uuid::new_v4, of_random)
}

/// Two of them. Which process this is, is asked of the system once for both.
pub fn fresh_pair() -> (Uuid, Uuid) {
    let random = RANDOM.with(|pool| pool.try_borrow_mut().ok()?.take::<{ 2 * EACH }>());
    let halves = random.as_ref().and_then(|random| {
        let (first, second) = random.split_first_chunk::<EACH>()?;
        Some((of_random(*first), of_random(*second.first_chunk()?)))
    });
    halves.unwrap_or_else(|| (Uuid::new_v4(), Uuid::new_v4()))
}

fn of_random(random: [u8; EACH]) -> Uuid {
    Builder::from_random_bytes(random).into_uuid()
}

/// The same as text.
pub fn fresh_text() -> String {
    fresh().to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_random_uuids_and_differ_beyond_one_pool() {
        let made: HashSet<Uuid> = (0..1_000).map(|_| fresh()).collect();
        assert_eq!(made.len(), 1_000);
        let paired: HashSet<Uuid> = (0..500)
            .map(|_| fresh_pair())
            .flat_map(|(one, other)| [one, other])
            .collect();
        assert_eq!(made.union(&paired).count(), 2_000);
        assert!(paired.iter().all(|id| id.get_version_num() == 4));
        assert!(made.iter().all(|id| id.get_version_num() == 4));
    }

    #[test]
    fn what_another_process_has_drawn_is_not_handed_out() {
        let mut pool = Pool {
            bytes: [7; POOL],
            used: EACH,
            process: std::process::id().wrapping_add(1),
        };
        let drawn = pool.take().unwrap();
        assert_ne!(drawn, [7; EACH]);
        assert_eq!((pool.used, pool.process), (EACH, std::process::id()));
    }
}
