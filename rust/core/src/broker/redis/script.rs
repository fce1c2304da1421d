//! The Lua scripts; each file says what it takes and returns.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        $($(#[$doc])* pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!($file)));)*
    };
}

scripts! {
    /// From the lists into the record of what is in flight.
    RESERVE = "reserve.lua";
    /// Who waits for messages waits no more.
    DISARM = "disarm.lua";
    /// Results are stored, then leases end.
    SETTLE = "settle.lua";
    /// Leased messages go to the delayed store.
    DELAY = "delay.lua";
    /// A result is stored and published.
    PUT = "put.lua";
    /// An owner says that it lives.
    RENEW = "renew.lua";
    /// Owners whose process has ended are found.
    LOOK = "look.lua";
    /// A page of what an owner holds is still held.
    EXTEND = "extend.lua";
    /// The leases of owners that do not live any more change hands.
    TAKE_OVER = "take_over.lua";
    /// Celery's messages whose visibility timeout has passed change hands.
    SWEEP = "sweep.lua";
    /// From what was set aside into a list.
    RESTORE_ASIDE = "restore_aside.lua";
    /// A part of a chord is counted.
    CHORD_PART = "chord_part.lua";
    /// The claim on a chord is renewed, or the chord closed.
    CHORD_CLAIM = "chord_claim.lua";
    /// A lock goes, if it is still ours.
    UNLOCK = "unlock.lua";
}
