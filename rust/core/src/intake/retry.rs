//! Pauses between tries.

use std::time::Duration;

/// A pause that doubles with every failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Pause {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// How long to wait now; the time after it is twice as long.
    pub(super) fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = now.saturating_mul(2).min(self.longest);
        now
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_over_after_a_reset() {
        let ms = Duration::from_millis;
        let mut pause = Pause::new(ms(50), ms(300));
        assert_eq!([(); 5].map(|()| pause.next()), [50, 100, 200, 300, 300].map(ms));
        pause.reset();
        assert_eq!(pause.next(), ms(50));
    }
}
