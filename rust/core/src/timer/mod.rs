//! Timers without a clock and without a thread: whoever owns the wheel tells it the time.

mod slab;
mod wheel;

pub use slab::Key;
pub use wheel::Wheel;
