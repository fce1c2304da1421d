//! Owners whose process has ended, so that others take over what they held before the leases end.
//!
//! One consumer looks for all, every two seconds; the others look, more rarely the more of them there
//! are, whether that one lives. Who is gone in two looks was not only between two connections. After a
//! reconnect of our own the server may have just begun: then everybody is gone for a moment.

use std::collections::HashMap;
use std::time::Duration;

use redis::RedisError;

use super::custody::{Custody, millis};
use super::link::Live;
use super::script;
use crate::error::{Error, Result};
use crate::time::Clock;

/// Between two looks of the one that looks for all; the least of all others.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Without a look for so long, another one looks for all.
const LOOKS_FOR_ALL: Duration = Duration::from_secs(6);
/// Between two looks of the others: so much for each owner there is, and at most.
const PER_OWNER: Duration = Duration::from_millis(500);
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(10);
/// How long an owner is gone before what it held is taken over.
const GONE_MS: u64 = 2_000;
/// How long after our own reconnect nothing is taken over.
const SETTLED_MS: u64 = 5_000;

/// What this consumer has seen of others.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The connection over which it looks, and since when, in ms.
    connection: Option<(u64, u64)>,
    /// Owners that are gone, and since when.
    gone: HashMap<String, u64>,
    /// The server did not count our own subscription the last time: it may have been lost just then.
    is_uncounted: bool,
    is_refusal_told: bool,
}

/// What `look.lua` answers.
type Looked = (i8, u32, usize, Vec<String>);

impl Watch {
    /// Those that have been gone for long enough.
    fn dead(&mut self, serial: u64, now_ms: u64) -> Vec<String> {
        if self.connection.is_none_or(|(known, _)| known != serial) {
            self.gone.clear();
            self.connection = Some((serial, now_ms));
        }
        let gone = self.gone.iter();
        gone.filter(|(_, since_ms)| now_ms >= self.dead_at_ms(**since_ms))
            .map(|(owner, _)| owner.clone())
            .collect()
    }

    /// When one that is gone since then is dead.
    fn dead_at_ms(&self, gone_since_ms: u64) -> u64 {
        let (_, connected_ms) = self.connection.unwrap_or_default();
        (gone_since_ms + GONE_MS).max(connected_ms + SETTLED_MS)
    }

    /// When the one that looks for all looks again.
    fn next_look(&self, now_ms: u64) -> Duration {
        let first = self
            .gone
            .values()
            .map(|since_ms| self.dead_at_ms(*since_ms))
            .min();
        first.map_or(LOOK_EVERY, |dead_at_ms| {
            Duration::from_millis(dead_at_ms.saturating_sub(now_ms)).min(LOOK_EVERY)
        })
    }

    /// Takes note of who is gone now.
    fn note(&mut self, gone: Vec<String>, now_ms: u64) {
        let before = std::mem::take(&mut self.gone);
        let since = |owner: String| {
            let since_ms = before.get(&owner).copied().unwrap_or(now_ms);
            (owner, since_ms)
        };
        self.gone = gone.into_iter().map(since).collect();
    }

    fn tell_refusal(&mut self, cause: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.is_refusal_told, true) {
            tracing::warn!(
                %cause,
                "no PUBSUB NUMSUB: what killed workers held is taken over when their leases end"
            );
        }
    }
}

impl Custody {
    /// Looks for owners that are gone, and ends the leases of those that stay so; returns how many, and
    /// when to look again.
    pub(super) async fn look(
        &self,
        live: &mut Live,
        watch: &mut Watch,
        clock: &dyn Clock,
    ) -> Result<(usize, Duration)> {
        if !self.pulse.is_subscribed() {
            // Who cannot be seen cannot know whether the others can.
            return Ok((0, LOOK_AT_LEAST_EVERY));
        }
        let mut call = script::LOOK.key(&self.names.owners);
        call.key(&self.names.subscribed)
            .key(&self.names.looker)
            .arg(&self.owner)
            .arg(&self.names.alive_prefix)
            .arg(millis(LOOKS_FOR_ALL));
        for owner in watch.dead(live.serial, clock.monotonic_ms()) {
            call.arg(owner);
        }
        let looked: std::result::Result<Looked, RedisError> = call.invoke_async(&mut live.connection).await;
        match looked.map_err(|error| self.failed(live, &error)) {
            Ok((-1, ..)) => {
                self.pulse.restart();
                if std::mem::replace(&mut watch.is_uncounted, true) {
                    watch.tell_refusal(&"the server does not count this worker's own subscription");
                    return Ok((0, LOOK_AT_LEAST_EVERY));
                }
                Ok((0, LOOK_EVERY))
            }
            Ok((looks, owners, ended, gone)) => {
                let now_ms = clock.monotonic_ms();
                watch.note(gone, now_ms);
                watch.is_uncounted = false;
                let looks_for_all = looks == 1;
                let next = if looks_for_all {
                    watch.next_look(now_ms)
                } else {
                    pause(owners)
                };
                Ok((ended, next))
            }
            Err(error @ Error::Refused { .. }) => {
                watch.tell_refusal(&error);
                Ok((0, LOOK_AT_LEAST_EVERY))
            }
            Err(error) => Err(error),
        }
    }
}

/// Between two looks of one that does not look for all; at random, so that not all look at once. Who is
/// alone is told when another one comes.
fn pause(owners: u32) -> Duration {
    if owners < 2 {
        return LOOK_AT_LEAST_EVERY;
    }
    let longest = PER_OWNER
        .saturating_mul(owners)
        .clamp(LOOK_EVERY, LOOK_AT_LEAST_EVERY);
    let [chance, ..] = uuid::Uuid::new_v4().into_bytes();
    longest * (768 + u32::from(chance)) / 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(watch: &mut Watch, now_ms: u64) {
        watch.note(vec!["a".to_owned()], now_ms);
    }

    #[test]
    fn who_is_gone_in_two_looks_far_enough_apart_is_dead() {
        let mut watch = Watch::default();
        assert!(watch.dead(1, 0).is_empty());
        gone(&mut watch, 10_000);
        assert!(watch.dead(1, 11_999).is_empty());
        gone(&mut watch, 11_999);
        assert_eq!(watch.dead(1, 12_000), ["a"]);
    }

    #[test]
    fn who_has_come_back_between_two_looks_begins_anew() {
        let mut watch = Watch::default();
        assert!(watch.dead(1, 0).is_empty());
        gone(&mut watch, 10_000);
        watch.note(Vec::new(), 12_000);
        gone(&mut watch, 14_000);
        assert!(watch.dead(1, 15_000).is_empty());
        assert_eq!(watch.dead(1, 16_000), ["a"]);
    }

    #[test]
    fn nobody_is_dead_in_the_first_seconds_of_a_connection() {
        let mut watch = Watch::default();
        assert!(watch.dead(1, 0).is_empty());
        gone(&mut watch, 10_000);
        assert!(watch.dead(2, 20_000).is_empty());
        gone(&mut watch, 20_000);
        assert!(watch.dead(2, 24_999).is_empty());
        assert_eq!(watch.dead(2, 25_000), ["a"]);
    }

    #[test]
    fn the_next_look_is_when_somebody_is_dead() {
        let mut watch = Watch::default();
        assert!(watch.dead(1, 0).is_empty());
        assert_eq!(watch.next_look(1_000), LOOK_EVERY);
        gone(&mut watch, 4_000);
        assert_eq!(watch.next_look(4_500), Duration::from_millis(1_500));
    }

    #[test]
    fn hundreds_and_one_alone_look_rarely_and_few_soon() {
        let (few, many) = (pause(2), pause(300));
        assert!(few >= LOOK_EVERY * 3 / 4 && few <= LOOK_EVERY);
        assert!(many >= LOOK_AT_LEAST_EVERY * 3 / 4 && many <= LOOK_AT_LEAST_EVERY);
        assert_eq!(pause(1), LOOK_AT_LEAST_EVERY);
    }
}
