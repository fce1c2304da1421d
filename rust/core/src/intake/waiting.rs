//! What waits to be settled, and when it is worth a round trip.
//!
//! A plain ack waits up to [`LINGER`] for company, or until half of the window waits: nobody
//! looks for it, and a round trip for each costs more than a short task. Everything else goes at
//! once, and takes along what waits. A document that follows the early ack of its delivery joins
//! it where the broker stores both in one round trip.

use std::collections::VecDeque;
use std::time::Duration;

use super::held::Held;
use crate::backend::Put;
use crate::broker::{Settlement, Verdict};
use crate::time::Deadline;

/// How long a plain ack may wait for others. What dies within this time after its start is
/// delivered again, as it is while an ack is on its way.
const LINGER: Duration = Duration::from_millis(1);

/// Something to carry out.
#[derive(Debug)]
pub(super) enum Work {
    /// Settle a delivery.
    Settle { number: u64, settlement: Settlement },
    /// Store a document of a delivery whose verdict was given before.
    Store { number: u64, put: Put },
}

impl Work {
    pub(super) fn settle(delivery: &Held, settlement: Settlement) -> Self {
        Self::Settle {
            number: delivery.number,
            settlement,
        }
    }

    pub(super) fn store(delivery: &Held, put: Put) -> Self {
        Self::Store {
            number: delivery.number,
            put,
        }
    }

    fn can_linger(&self) -> bool {
        match self {
            Self::Settle { settlement, .. } => settlement.verdict == Verdict::Ack && settlement.put.is_none(),
            Self::Store { .. } => false,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Work>,
    /// To be tried one by one: their batch was refused for good.
    pub(super) alone: VecDeque<Work>,
    /// Refused alone, and tried again after the longest pause.
    pub(super) refused: VecDeque<Work>,
    /// Being carried out.
    pub(super) in_flight: usize,
    /// Nothing is tried before.
    pub(super) pause_ends: Option<Deadline>,
    pub(super) refused_again: Option<Deadline>,
    /// How many refused ones were reported.
    pub(super) reported: usize,
    /// Something waits that is to go at once.
    pub(super) is_urgent: bool,
    /// When the oldest plain ack has waited long enough.
    pub(super) lingers_until: Option<Deadline>,
    /// Whether the thread waits for that moment.
    pub(super) is_watched: bool,
    pub(super) is_stopped: bool,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.in_flight == 0 && self.waiting.is_empty() && self.alone.is_empty() && self.refused.is_empty()
    }

    /// Adds work; `joins` says that a document may go with the settlement of its delivery.
    pub(super) fn add(&mut self, work: Work, joins: bool) {
        if work.can_linger() {
            if self.lingers_until.is_none() {
                self.lingers_until = Some(Deadline::after(LINGER));
                self.is_watched = false;
            }
        } else {
            self.is_urgent = true;
        }
        let work = match work {
            Work::Store { number, put } if joins => match self.settlement_of(number) {
                Some(settlement) => {
                    settlement.put = Some(put);
                    return;
                }
                None => Work::Store { number, put },
            },
            work @ (Work::Store { .. } | Work::Settle { .. }) => work,
        };
        self.waiting.push_back(work);
    }

    /// The settlement of a delivery that waits without a document.
    fn settlement_of(&mut self, of: u64) -> Option<&mut Settlement> {
        self.waiting.iter_mut().rev().find_map(|work| match work {
            Work::Settle {
                number, settlement, ..
            } if *number == of && settlement.put.is_none() => Some(settlement),
            Work::Settle { .. } | Work::Store { .. } => None,
        })
    }

    /// Whether what waits is to go now: something urgent, `enough` of it, or for long enough.
    pub(super) fn is_worth_a_trip(&self, enough: usize) -> bool {
        !self.waiting.is_empty()
            && (self.is_urgent
                || self.waiting.len() >= enough
                || self.lingers_until.is_some_and(Deadline::has_passed))
    }

    /// Whether the thread has something to do, or a moment to wait for that it does not know.
    pub(super) fn needs_a_look(&self, enough: usize) -> bool {
        !self.waiting.is_empty() && (!self.is_watched || self.is_worth_a_trip(enough))
    }

    /// Takes what waits, at most `most` of it.
    pub(super) fn take(&mut self, most: usize) -> Vec<Work> {
        let count = self.waiting.len().min(most);
        let batch = self.waiting.drain(..count).collect();
        if self.waiting.is_empty() {
            self.is_urgent = false;
            self.lingers_until = None;
        }
        batch
    }
}
