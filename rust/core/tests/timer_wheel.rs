//! The timer wheel against a sorted map.
#![expect(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use std::collections::BTreeMap;

use celeriac_core::timer::{Key, Wheel};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Insert { delay: i64 },
    Cancel { which: usize },
    Advance { by: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let delay = prop_oneof![-50..200_i64, 0..300_000_i64, 0..(1_i64 << 38)];
    let by = prop_oneof![0..200_u64, 0..300_000_u64, 0..(1_u64 << 37)];
    prop_oneof![
        4 => delay.prop_map(|delay| Step::Insert { delay }),
        1 => any::<usize>().prop_map(|which| Step::Cancel { which }),
        2 => by.prop_map(|by| Step::Advance { by }),
    ]
}

/// What the wheel promises: order by due tick, then by insertion.
#[derive(Default)]
struct Model {
    timers: BTreeMap<(u64, usize), usize>,
}

impl Model {
    fn advance(&mut self, now: u64) -> Vec<usize> {
        let later = self.timers.split_off(&(now + 1, 0));
        std::mem::replace(&mut self.timers, later).into_values().collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_wheel_does_what_a_sorted_map_does(steps in prop::collection::vec(step(), 1..120)) {
        let mut now = 1_000_000_u64;
        let mut wheel = Wheel::new(now);
        let mut model = Model::default();
        let mut keys: Vec<(u64, Key)> = Vec::new();
        for step in steps {
            match step {
                Step::Insert { delay } => {
                    let due = now.saturating_add_signed(delay);
                    model.timers.insert((due, keys.len()), keys.len());
                    keys.push((due, wheel.insert(due, keys.len())));
                }
                Step::Cancel { which } => {
                    if let Some(number) = which.checked_rem(keys.len()) {
                        let (due, key) = keys[number];
                        prop_assert_eq!(wheel.cancel(key), model.timers.remove(&(due, number)));
                    }
                }
                Step::Advance { by } => {
                    now += by;
                    let fired: Vec<usize> = wheel.advance(now).into_iter().map(|(_, value)| value).collect();
                    prop_assert_eq!(fired, model.advance(now));
                }
            }
            prop_assert_eq!(wheel.len(), model.timers.len());
            let earliest = model.timers.first_key_value().map(|(&(due, _), _)| due.max(now));
            prop_assert_eq!(wheel.next_tick().is_some(), earliest.is_some());
            if let (Some(bound), Some(earliest)) = (wheel.next_tick(), earliest) {
                prop_assert!(bound >= now && bound <= earliest);
            }
        }
    }
}

/// What this process has in memory.
#[cfg(target_os = "linux")]
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn a_million_timers_take_at_most_300_bytes_each() {
    const COUNT: u64 = 1_000_000;
    let before = resident_bytes();
    let mut wheel = Wheel::new(0);
    for number in 0..COUNT {
        // As the intake's: a moment and a pointer.
        wheel.insert(number * 7_919 % 600_000_000, (number, Box::new(())));
    }
    let each = resident_bytes().saturating_sub(before) / COUNT;
    assert_eq!(wheel.len(), 1_000_000);
    assert!((50..=300).contains(&each), "{each} bytes each");
}
