//! The core of celeriac: bytes, sockets, timers, acks. It knows no Python.
//!
//! The rooms, in the order a message passes them:
//!
//! * [`wire`]: what Celery and kombu put on the wire, and nothing else decides that format;
//! * [`codec`]: content type to bytes and back, generic over serde;
//! * [`compress`]: what bodies are made smaller with;
//! * [`broker`]: publish, reserve, settle, behind one pair of traits;
//! * [`timer`]: a wheel without a clock and without a thread;
//! * [`intake`]: deliveries and what children report, handed out in batches;
//! * [`links`]: frames between a worker and its children;
//! * [`backend`]: documents of results, and who waits for them.
//!
//! The rules: no `unsafe`; no clock but [`time`]; no wait without a [`time::Deadline`]; no queue
//! without a bound; an error says what the caller can do ([`error::Error::remedy`]).
#![forbid(unsafe_code)]

pub mod backend;
pub mod broker;
pub mod codec;
pub mod compress;
pub mod error;
pub mod ids;
pub mod intake;
pub mod ledger;
pub mod links;
pub mod per_process;
pub mod runtime;
pub mod time;
pub mod timer;
pub mod wake;
pub mod wire;

pub use error::{Error, Remedy, Result};
