//! Chords: the results of a group, counted where they are stored, so that the body is sent once.
//!
//! Every part is counted by its task and position, not by how often it returns. Who brings the
//! last one gets a claim, sends the body and closes the chord; if it dies before, its claim runs
//! out, and the next return of any part claims again.
//!
//! Source: protocol, chord completion (celery 5.7, `on_chord_part_return` of its Redis backend).

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;

use crate::error::Result;
use crate::time::Deadline;

/// The position of a part that has none: behind all others.
const LAST: u64 = u64::MAX;

/// One member's result, as it joins its chord.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The chord's group id.
    pub group_id: String,
    /// The member's task id.
    pub task_id: String,
    /// The member's place among the results.
    pub position: Option<u64>,
    /// What the body's sender reads: `[1, task id, state, result]`, encoded.
    pub content: Bytes,
    /// Whether the parts come back by position, not in the order in which they came.
    pub is_ordered: bool,
    /// Lifetime of the chord in seconds; `None` keeps it for ever.
    pub expires_s: Option<u64>,
    /// Who would send the body.
    pub token: String,
    /// How long nobody else does.
    pub claim_s: u64,
}

impl Part {
    /// Tells two returns of one part from two parts (Celery writes it so, too).
    pub(crate) fn identity(&self) -> String {
        match self.position {
            Some(position) => format!("{}:{position}", self.task_id),
            None => format!("{}:+inf", self.task_id),
        }
    }

    /// The place among the parts.
    pub(crate) fn place(&self) -> u64 {
        self.position.unwrap_or(LAST)
    }
}

/// What became of a chord with a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Join {
    /// Parts are missing, or the size is not known (yet, or any more).
    Open,
    /// All parts are there, and who asks is to send the body with them.
    Complete(Vec<Bytes>),
    /// All parts are there, and somebody else sends the body.
    Taken,
    /// The body was sent.
    Done,
}

/// Joins chords. Each operation is one of the store's own, atomic among all processes.
pub trait ChordStore: Send + Sync {
    /// Says how many parts a chord waits for; a group id that is used again starts anew.
    ///
    /// # Errors
    /// The store cannot be reached before `deadline`, or refuses.
    fn set_chord_size(
        &self,
        group_id: &str,
        size: u64,
        expires_s: Option<u64>,
        deadline: Deadline,
    ) -> Result<()>;

    /// Lets a chord wait for more parts.
    ///
    /// # Errors
    /// As [`ChordStore::set_chord_size`].
    fn add_to_chord(
        &self,
        group_id: &str,
        more: u64,
        expires_s: Option<u64>,
        deadline: Deadline,
    ) -> Result<()>;

    /// Counts a part, once however often it comes.
    ///
    /// # Errors
    /// As [`ChordStore::set_chord_size`].
    fn join(&self, part: &Part, deadline: Deadline) -> Result<Join>;

    /// Renews a claim before the body is sent; false: it has run out, and is somebody else's.
    ///
    /// # Errors
    /// As [`ChordStore::set_chord_size`].
    fn keep_claim(&self, group_id: &str, token: &str, claim_s: u64, deadline: Deadline) -> Result<bool>;

    /// Deletes a chord whose body was sent; for `done_s` more a late part does nothing. False: the
    /// claim was lost.
    ///
    /// # Errors
    /// As [`ChordStore::set_chord_size`].
    fn close_chord(&self, group_id: &str, token: &str, done_s: u64, deadline: Deadline) -> Result<bool>;

    /// Lets no further part of a chord that has failed do anything.
    ///
    /// # Errors
    /// As [`ChordStore::set_chord_size`].
    fn fail_chord(&self, group_id: &str, deadline: Deadline) -> Result<()>;
}

/// A chord in memory.
#[derive(Debug, Default)]
pub(crate) struct Chord {
    size: Option<u64>,
    added: u64,
    parts: BTreeMap<(u64, usize), Bytes>,
    seen: HashSet<String>,
    claim: Option<(String, u64)>,
    done_until_ms: Option<u64>,
    /// When it is forgotten; `None`: never.
    pub(crate) expires_ms: Option<u64>,
}

impl Chord {
    pub(crate) fn set_size(&mut self, size: u64) {
        (self.size, self.claim, self.done_until_ms) = (Some(size), None, None);
    }

    pub(crate) fn add(&mut self, more: u64) {
        self.added = self.added.saturating_add(more);
    }

    pub(crate) fn join(&mut self, part: &Part, now_ms: u64) -> Join {
        if self.done_until_ms.is_some_and(|until_ms| until_ms > now_ms) {
            return Join::Done;
        }
        if self.seen.insert(part.identity()) {
            let place = if part.is_ordered { part.place() } else { LAST };
            self.parts.insert((place, self.parts.len()), part.content.clone());
        }
        let wanted = self.size.map(|size| size.saturating_add(self.added));
        let count = u64::try_from(self.parts.len()).unwrap_or(u64::MAX);
        if wanted.is_none_or(|wanted| count < wanted) {
            return Join::Open;
        }
        if self
            .claim
            .as_ref()
            .is_some_and(|(_, until_ms)| *until_ms > now_ms)
        {
            return Join::Taken;
        }
        self.claim = Some((part.token.clone(), later_ms(now_ms, part.claim_s)));
        Join::Complete(self.parts.values().cloned().collect())
    }

    pub(crate) fn keep_claim(&mut self, token: &str, claim_s: u64, now_ms: u64) -> bool {
        let is_ours = self.claim.as_ref().is_some_and(|(owner, _)| owner == token);
        if is_ours {
            self.claim = Some((token.to_owned(), later_ms(now_ms, claim_s)));
        }
        is_ours
    }

    pub(crate) fn close(&mut self, token: &str, done_s: u64, now_ms: u64) -> bool {
        let is_ours = self.claim.as_ref().is_some_and(|(owner, _)| owner == token);
        if is_ours {
            let until_ms = later_ms(now_ms, done_s);
            *self = Self {
                done_until_ms: Some(until_ms),
                expires_ms: Some(until_ms),
                ..Self::default()
            };
        }
        is_ours
    }

    pub(crate) fn fail(&mut self) {
        self.size = None;
    }
}

pub(crate) fn later_ms(now_ms: u64, seconds: u64) -> u64 {
    now_ms.saturating_add(seconds.saturating_mul(1_000))
}
