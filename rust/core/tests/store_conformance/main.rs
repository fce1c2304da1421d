//! What every result store promises: one suite, run for each of them.
//!
//! A store joins with a [`stage::Fixture`] in a file of its own and one line of `conformance!`.
#![expect(clippy::unwrap_used, reason = "a broken assumption ends the test")]

#[macro_use]
mod suite;
mod chords;
mod documents;
mod memory;
mod raw;
mod redis;
#[path = "../support/redis.rs"]
#[expect(dead_code, reason = "each test file uses its part")]
mod space;
mod sqlite;
mod stage;
mod waiting;
