//! What every broker promises: one suite, run for each of them.
//!
//! A broker joins with a [`stage::Fixture`] in a file of its own and one line of `conformance!`.
#![expect(clippy::unwrap_used, reason = "a broken assumption ends the test")]

#[macro_use]
mod suite;
mod amqp;
mod delaying;
mod delivering;
mod losing;
mod mailing;
mod memory;
mod publishing;
mod redis;
mod routing;
mod settling;
#[path = "../support/redis.rs"]
#[expect(dead_code, reason = "each test file uses its part")]
mod space;
mod sqlite;
mod stage;
mod storing;
mod surviving;
#[path = "../support/amqp.rs"]
#[expect(dead_code, reason = "each test file uses its part")]
mod yard;
