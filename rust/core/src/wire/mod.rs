//! What Celery and kombu put on the wire. Source: docs/wire-format.md and `tests/vectors`.
pub mod message;
