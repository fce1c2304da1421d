//! What a worker is handed.

use std::sync::Arc;

use super::held::Held;
use crate::links::ChildEvent;

/// One thing to do or to know.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message to execute (or to refuse): new, or due after a delay.
    Delivery(Arc<Held>),
    /// A child said something, or is gone.
    Child(ChildEvent),
    /// Something behind the intake went wrong, or works again.
    Trouble(Trouble),
}

/// What went wrong, for the worker to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What kind of thing.
    pub kind: TroubleKind,
    /// The reason in words; URLs are redacted.
    pub detail: String,
}

/// Kinds of [`Trouble`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// Reserving fails. Said once, until it works again.
    Disconnected,
    /// Reserving works again.
    Reconnected,
    /// Settling fails and goes on failing; it is still tried.
    Unsettled,
    /// The broker or the result store takes long to settle.
    Slow,
}
