//! What one consumer holds.

use std::collections::HashMap;

use crate::broker::AckToken;

/// One delivery that is held.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// The queue it was taken from.
    pub(super) queue: String,
    /// Its place in the order of deliveries: the epoch of its token.
    pub(super) number: u64,
    /// It was settled, and nobody knows whether that has reached the server.
    pub(super) in_doubt: bool,
    /// Where it was lost before: the name of its count, and the count.
    pub(super) losses: Option<(String, u32)>,
}

/// What was handed out and is not settled, by tag.
///
/// A message that is handed back keeps its tag, and may be delivered again before the answer to its
/// settlement is looked at: what concerns one delivery names it by its token.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    by_tag: HashMap<String, Held>,
    delivered: u64,
}

impl Ledger {
    /// Enters a delivery, and makes its token.
    pub(super) fn enter(&mut self, tag: String, queue: &str) -> AckToken {
        self.delivered += 1;
        let held = Held {
            queue: queue.to_owned(),
            number: self.delivered,
            in_doubt: false,
            losses: None,
        };
        self.by_tag.insert(tag.clone(), held);
        AckToken {
            tag,
            epoch: self.delivered,
        }
    }

    pub(super) fn count(&mut self, token: &AckToken, field: String, losses: u32) {
        if let Some(held) = self.get_mut(token) {
            held.losses = Some((field, losses));
        }
    }

    pub(super) fn get(&self, token: &AckToken) -> Option<&Held> {
        let held = self.by_tag.get(&token.tag);
        held.filter(|held| held.number == token.epoch)
    }

    fn get_mut(&mut self, token: &AckToken) -> Option<&mut Held> {
        let held = self.by_tag.get_mut(&token.tag);
        held.filter(|held| held.number == token.epoch)
    }

    /// Whether the answer to a settlement of the delivery that has this tag now did not come.
    pub(super) fn is_in_doubt(&self, tag: &str) -> bool {
        self.by_tag.get(tag).is_none_or(|held| held.in_doubt)
    }

    /// The answer to a settlement did not come.
    pub(super) fn doubt<'a>(&mut self, tokens: impl Iterator<Item = &'a AckToken>) {
        for token in tokens {
            if let Some(held) = self.get_mut(token) {
                held.in_doubt = true;
            }
        }
    }

    pub(super) fn remove(&mut self, token: &AckToken) {
        if self.get(token).is_some() {
            self.by_tag.remove(&token.tag);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_tag.len()
    }

    pub(super) fn contains(&self, tag: &str) -> bool {
        self.by_tag.contains_key(tag)
    }

    /// Takes everything out, in the order of its delivery.
    pub(super) fn drain(&mut self) -> Vec<String> {
        let mut all: Vec<(String, Held)> = self.by_tag.drain().collect();
        all.sort_by_key(|(_, held)| held.number);
        all.into_iter().map(|(tag, _)| tag).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_comes_out_in_the_order_of_its_delivery() {
        let mut ledger = Ledger::default();
        let tags: Vec<String> = (0..50).map(|number| format!("t{number}")).collect();
        for tag in &tags {
            let _token = ledger.enter(tag.clone(), "q");
        }
        assert_eq!(ledger.drain(), tags);
    }

    #[test]
    fn the_end_of_a_delivery_is_not_that_of_the_next_one_of_its_message() {
        let mut ledger = Ledger::default();
        let first = ledger.enter("t".into(), "q");
        let second = ledger.enter("t".into(), "q");
        ledger.doubt(std::iter::once(&first));
        ledger.remove(&first);
        assert_eq!(ledger.get(&second).map(|held| held.in_doubt), Some(false));
        ledger.remove(&second);
        assert_eq!(ledger.len(), 0);
    }
}
