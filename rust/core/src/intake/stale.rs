//! Deliveries whose connection was lost: the server delivers them again, so those of them that
//! nobody has begun are forgotten. Otherwise each lost connection would make everything that
//! waits for its eta run once more.

use super::desk::State;
use super::event::Event;

impl State {
    /// Forgets what waits here and came over a connection before `valid_from`; says whether that
    /// was something.
    pub(super) fn forget_stale(&mut self, valid_from: u64) -> bool {
        if valid_from <= self.valid_from {
            return false;
        }
        self.valid_from = valid_from;
        let mut stale: Vec<u64> = self
            .delays
            .take_before(valid_from)
            .iter()
            .map(|held| held.number)
            .collect();
        self.events.retain(|event| match event {
            Event::Delivery(held) if held.epoch < valid_from => {
                stale.push(held.number);
                false
            }
            Event::Delivery(_) | Event::Child(_) | Event::Trouble(_) => true,
        });
        for number in &stale {
            self.held.remove(number);
        }
        if !stale.is_empty() {
            tracing::info!(
                messages = stale.len(),
                "their connection was lost before they were begun: they come again"
            );
        }
        !stale.is_empty()
    }
}
