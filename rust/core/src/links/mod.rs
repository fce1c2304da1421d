//! Frames between a worker and its children, over one socket pair for each child.
//!
//! The worker's side is a [`ParentLink`] for each child and one [`Pump`] thread for all of them;
//! the child's side is a [`ChildChannel`]. A frame is `[u32 length][u8 kind][payload]`, all numbers
//! little-endian. To the child go JOB, RECALL and STOP; back come READY, TAKEN, OUTCOME, RECALLED.
//!
//! * A job is *taken up* by the child's `next`, which says so (TAKEN) before it hands the job
//!   out: from then on a recall does not give it back, and an early ack may be given.
//! * What a child says is written in one piece: an outcome waits for the TAKEN of the next
//!   job when there is one, and goes at once when there is none.
//! * Both sides learn of the other's end by the end of the stream, nothing else.

mod channel;
mod frame;
mod job;
mod parent;
mod pump;
mod report;
mod stream;

pub use channel::{ChildChannel, Next};
pub use job::{Job, Outgoing};
pub use parent::ParentLink;
pub use pump::Pump;
pub use report::{ChildEvent, Report, Sink};
pub use stream::{Stream, WakeupFd, borrow, pair};

/// Longest frame accepted from the other side unless told otherwise: 512 MiB, as much as Redis
/// stores under one key.
pub const MAX_FRAME_BYTES: usize = 512 << 20;
