//! Time as an argument. The only file that reads a clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of wall and monotonic time. Tests turn [`ManualClock`] by hand.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Milliseconds since the Unix epoch.
    fn unix_ms(&self) -> u64;
    /// Milliseconds since some fixed moment of this process; never goes back.
    fn monotonic_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn shared() -> Arc<dyn Clock> {
        #[expect(clippy::disallowed_methods, reason = "this is the file that reads the clock")]
        let started = Instant::now();
        Arc::new(Self { started })
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        #[expect(clippy::disallowed_methods, reason = "this is the file that reads the clock")]
        let now = SystemTime::now();
        now.duration_since(UNIX_EPOCH).map_or(0, whole_ms)
    }

    fn monotonic_ms(&self) -> u64 {
        whole_ms(self.started.elapsed())
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct ManualClock {
    unix_ms: AtomicU64,
    monotonic_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at `unix_ms`.
    pub fn at(unix_ms: u64) -> Arc<Self> {
        Arc::new(Self {
            unix_ms: AtomicU64::new(unix_ms),
            monotonic_ms: AtomicU64::new(0),
        })
    }

    /// Moves both times forward.
    pub fn advance(&self, by_ms: u64) {
        self.unix_ms.fetch_add(by_ms, Ordering::SeqCst);
        self.monotonic_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix_ms(&self) -> u64 {
        self.unix_ms.load(Ordering::SeqCst)
    }

    fn monotonic_ms(&self) -> u64 {
        self.monotonic_ms.load(Ordering::SeqCst)
    }
}

/// The moment at which a wait ends. Every wait has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline `wait` from now.
    pub fn after(wait: Duration) -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the file that reads the clock")]
        let now = Instant::now();
        // A century stands for "for ever": adding more could overflow.
        Self(now + wait.min(Duration::from_secs(3_155_760_000)))
    }

    /// The first moment not before this one that is a multiple of `beat` after `begun`.
    #[must_use]
    pub fn at_a_beat(self, begun: Self, beat: Duration) -> Self {
        let since = self.0.saturating_duration_since(begun.0);
        let over_ns = since.as_nanos() % beat.as_nanos().max(1);
        let Ok(over_ns) = u64::try_from(over_ns) else {
            return self;
        };
        if over_ns == 0 {
            return self;
        }
        Self(self.0 + beat.saturating_sub(Duration::from_nanos(over_ns)))
    }

    /// What is left, zero when it has passed.
    pub fn left(self) -> Duration {
        #[expect(clippy::disallowed_methods, reason = "this is the file that reads the clock")]
        let now = Instant::now();
        self.0.saturating_duration_since(now)
    }

    /// Whether nothing is left.
    pub fn has_passed(self) -> bool {
        self.left().is_zero()
    }

    /// The moment itself, for waits that take one.
    pub fn instant(self) -> Instant {
        self.0
    }
}
