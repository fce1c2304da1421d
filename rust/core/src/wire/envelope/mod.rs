//! kombu's JSON envelope, in which a message lies in a Redis list.
//!
//! Source: kombu 5.7 `transport/virtual/base.py`; the order of its keys is part of the format.

mod decode;
mod encode;
mod restore;

pub use decode::decode;
pub use encode::encode;
pub(super) use encode::{AFTER_TAG, BODY_AT, Parts, append, append_base64, append_tag, encode_open};
pub use restore::mark_redelivered;

use super::message::{Message, Target};

/// A message as it lay in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The message.
    pub message: Message,
    /// Where it was sent to.
    pub target: Target,
    /// Whether kombu restored it.
    pub redelivered: bool,
}
