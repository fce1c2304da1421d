//! What Celery and kombu put on the wire. Source: docs/wire-format.md and `tests/vectors`.

pub mod body;
mod cuts;
pub mod envelope;
pub mod headers;
pub mod letter;
pub mod message;
mod mould;
pub mod protocol1;
pub mod redis_keys;
pub mod result_meta;
pub mod template;
pub mod times;
