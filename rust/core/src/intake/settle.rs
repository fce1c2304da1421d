//! The thread that settles: all that waits, in one round trip; again and again until it is done.
//!
//! Nothing is given up while the worker lives. What fails for the moment goes back to the front
//! and is tried after a pause; a batch that is refused for good is tried one by one, so that one
//! poisoned settlement does not hold up the others, and what is refused alone is set apart and
//! tried rarely. What waits is bounded by what is held: a delivery is released only when the
//! broker has settled it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::desk::Desk;
use super::event::TroubleKind;
use super::held::Held;
use super::reserve::spawn;
use super::retry::Pause;
use super::waiting::{Queue, Work};
use super::{Config, Results};
use crate::backend::Put;
use crate::broker::{Consumer, Settlement, Unsettled, Verdict};
use crate::error::{Error, Remedy, Result};
use crate::time::{Clock, Deadline};

const NAME: &str = "celeriac-settle";
/// How many settlements go into one round trip.
const MAX_BATCH: usize = 512;
/// So many plain acks are worth a round trip, however large the window is.
const ENOUGH: usize = 64;
/// How long one try may take.
const ONE_TRY: Duration = Duration::from_secs(10);
/// A round trip that takes longer holds up a worker of short tasks: its log names who it waits for.
const SLOW_MS: u64 = 1_000;
/// How often a log says so.
const SAY_AGAIN_MS: u64 = 60_000;
/// No wait without an end; nothing depends on this one.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Settler {
    shared: Arc<Shared>,
    has_started: AtomicBool,
}

#[derive(Debug)]
struct Shared {
    consumer: Arc<dyn Consumer>,
    results: Option<Results>,
    /// Whether a settlement carries its document to the result store by itself.
    carries_results: bool,
    desk: Arc<Desk>,
    clock: Arc<dyn Clock>,
    pause: Pause,
    longest_pause: Duration,
    patience_ms: u64,
    /// When the log said last that somebody is slow, plus one; 0 for never.
    said_slow_ms: AtomicU64,
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// A delivery's tag and epoch.
type Name = (String, u64);

/// How long settling has failed.
#[derive(Debug)]
struct Failing {
    since_ms: u64,
    is_reported: bool,
}

impl Settler {
    pub(super) fn new(
        consumer: Arc<dyn Consumer>,
        results: Option<Results>,
        desk: Arc<Desk>,
        clock: Arc<dyn Clock>,
        config: &Config,
    ) -> Self {
        let store_url = results.as_ref().map(|results| results.url.as_str());
        let shared = Shared {
            carries_results: store_url.is_some_and(|url| consumer.stores_results_of(url)),
            consumer,
            results,
            desk,
            clock,
            pause: Pause::new(config.first_pause, config.longest_pause),
            longest_pause: config.longest_pause,
            patience_ms: u64::try_from(config.patience.as_millis()).unwrap_or(u64::MAX),
            said_slow_ms: AtomicU64::new(0),
            queue: Mutex::default(),
            changed: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
            has_started: AtomicBool::new(false),
        }
    }

    pub(super) fn start(&self) -> Result<()> {
        if self.has_started.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        spawn(NAME, Arc::clone(&self.shared.desk), move || shared.run())
    }

    /// Adds work; the thread is not woken for it: [`Settler::wake`] is to follow.
    pub(super) fn add(&self, work: Work) {
        let mut queue = self.shared.queue.lock();
        queue.add(work, self.shared.carries_results);
    }

    /// Hands deliveries to the broker's delayed store. They stay held until it has them.
    pub(super) fn hand_over(&self, far: Vec<(Arc<Held>, u64)>) {
        if !far.is_empty() {
            self.shared.hand_over(far);
            self.wake();
        }
    }

    /// Wakes the thread where there is something for it. Waking it for each settlement would cost
    /// more than the settlement, and make its batches small.
    pub(super) fn wake(&self) {
        let enough = self.shared.enough();
        if self.shared.queue.lock().needs_a_look(enough) {
            self.shared.changed.notify_all();
        }
    }

    pub(super) fn flush(&self, deadline: Deadline) -> bool {
        let mut queue = self.shared.queue.lock();
        while !queue.is_empty() {
            queue.is_urgent = true;
            self.shared.changed.notify_all();
            let wait = self.shared.changed.wait_until(&mut queue, deadline.instant());
            if wait.timed_out() {
                return queue.is_empty();
            }
        }
        true
    }

    /// Ends the thread after what it is doing now.
    pub(super) fn stop(&self) {
        self.shared.queue.lock().is_stopped = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn run(&self) {
        let mut pause = self.pause;
        let mut failing = None;
        while let Some(batch) = self.next_batch() {
            let is_alone = batch.len() == 1;
            match self.carry_out(batch) {
                Ok(()) => {
                    pause.reset();
                    failing = None;
                    self.done();
                }
                Err((error, rest)) => {
                    self.put_back(rest, &error, is_alone, &mut pause);
                    self.complain(&error, &mut failing);
                }
            }
        }
    }

    fn hand_over(&self, far: Vec<(Arc<Held>, u64)>) {
        let mut queue = self.queue.lock();
        for (delivery, until_unix_ms) in far {
            if let Some(token) = delivery.take_token() {
                let verdict = Verdict::Delay { until_unix_ms };
                let put = None;
                let work = Work::settle(&delivery, Settlement { token, verdict, put });
                queue.add(work, self.carries_results);
            }
        }
    }

    /// How many plain acks are worth a round trip.
    fn enough(&self) -> usize {
        self.desk.half_window().min(ENOUGH)
    }

    /// What is to be carried out next; `None` when this thread is to end.
    fn next_batch(&self) -> Option<Vec<Work>> {
        let enough = self.enough();
        let mut queue = self.queue.lock();
        loop {
            if queue.is_stopped {
                return None;
            }
            if queue.refused_again.is_some_and(Deadline::has_passed) {
                queue.refused_again = None;
                let refused = std::mem::take(&mut queue.refused);
                queue.alone.extend(refused);
            }
            let pausing = queue.pause_ends.filter(|ends| !ends.has_passed());
            if pausing.is_none() {
                let mut batch: Vec<_> = queue.alone.pop_front().into_iter().collect();
                if batch.is_empty() && queue.is_worth_a_trip(enough) {
                    batch = queue.take(MAX_BATCH);
                }
                if !batch.is_empty() {
                    queue.in_flight = batch.len();
                    return Some(batch);
                }
            }
            queue.is_watched = true;
            let lingering = queue.lingers_until.filter(|_| pausing.is_none());
            let until = pausing
                .into_iter()
                .chain(queue.refused_again)
                .chain(lingering)
                .min();
            let until = until.unwrap_or_else(|| Deadline::after(LONGEST_WAIT));
            self.changed.wait_until(&mut queue, until.instant());
        }
    }

    fn done(&self) {
        let mut queue = self.queue.lock();
        queue.in_flight = 0;
        queue.pause_ends = None;
        if queue.is_empty() {
            queue.reported = 0;
        }
        drop(queue);
        self.changed.notify_all();
    }

    /// Stores, then settles. What could not be done comes back with the reason.
    fn carry_out(&self, batch: Vec<Work>) -> Result<(), (Error, Vec<Work>)> {
        let (batch, unstored) = match self.store_first(batch) {
            Ok(batch) => (batch, None),
            Err((error, unstored, rest)) => (rest, Some((error, unstored))),
        };
        let unsettled = self.settle(batch).err();
        match (unsettled, unstored) {
            (None, None) => Ok(()),
            (Some(failure), None) | (None, Some(failure)) => Err(failure),
            (Some((error, mut rest)), Some((_, unstored))) => {
                rest.extend(unstored);
                Err((error, rest))
            }
        }
    }

    /// Stores what does not go with a settlement. Where that fails, returns the reason, what
    /// depended on it, and what did not.
    fn store_first(&self, mut batch: Vec<Work>) -> Result<Vec<Work>, (Error, Vec<Work>, Vec<Work>)> {
        let Some(results) = &self.results else {
            return Ok(batch);
        };
        let puts: Vec<Put> = batch
            .iter()
            .filter_map(|work| self.to_store(work))
            .cloned()
            .collect();
        if puts.is_empty() {
            return Ok(batch);
        }
        let (count, begun_ms) = (puts.len(), self.clock.monotonic_ms());
        let stored = results.store.put(puts, Deadline::after(ONE_TRY));
        if stored.is_ok() {
            self.mind(begun_ms, count, "the result store");
        }
        if let Err(error) = stored {
            let (unstored, rest) = batch.into_iter().partition(|work| self.to_store(work).is_some());
            return Err((error, unstored, rest));
        }
        batch.retain_mut(|work| match work {
            Work::Store { .. } => false,
            Work::Settle { settlement, .. } => {
                if !self.carries_results {
                    settlement.put = None;
                }
                true
            }
        });
        Ok(batch)
    }

    /// Says who holds this worker up, where a round trip took long: what is held is bounded, so
    /// nothing new is taken meanwhile, and nothing else would tell why.
    fn mind(&self, begun_ms: u64, count: usize, who: &'static str) {
        let now_ms = self.clock.monotonic_ms();
        let took_ms = now_ms.saturating_sub(begun_ms);
        let said_ms = self.said_slow_ms.load(Ordering::Relaxed);
        let is_said = said_ms > 0 && now_ms.saturating_sub(said_ms - 1) < SAY_AGAIN_MS;
        if took_ms < SLOW_MS || is_said {
            return;
        }
        self.said_slow_ms.store(now_ms + 1, Ordering::Relaxed);
        let detail = format!(
            "{who} is the bottleneck of this worker: it took {took_ms} ms for {count} outcomes, and no more messages are taken than are settled"
        );
        self.desk.report(TroubleKind::Slow, detail);
    }

    fn to_store<'a>(&self, work: &'a Work) -> Option<&'a Put> {
        match work {
            Work::Store { put, .. } => Some(put),
            Work::Settle { settlement, .. } if !self.carries_results => settlement.put.as_ref(),
            Work::Settle { .. } => None,
        }
    }

    fn settle(&self, batch: Vec<Work>) -> Result<(), (Error, Vec<Work>)> {
        let mut names = Vec::with_capacity(batch.len());
        let mut settlements = Vec::with_capacity(batch.len());
        for work in batch {
            if let Work::Settle { number, settlement } = work {
                names.push((number, name(&settlement)));
                settlements.push(settlement);
            }
        }
        if settlements.is_empty() {
            return Ok(());
        }
        let (count, begun_ms) = (settlements.len(), self.clock.monotonic_ms());
        let settled = self.consumer.settle(settlements, Deadline::after(ONE_TRY));
        match settled {
            Ok(()) => {
                self.mind(begun_ms, count, "the broker");
                let numbers: Vec<_> = names.into_iter().map(|(number, _)| number).collect();
                let far = self.desk.exchange(&numbers, self.consumer.take_reserved());
                self.hand_over(far);
                Ok(())
            }
            Err(Unsettled { error, batch }) => Err((error, self.still_held(names, batch))),
        }
    }

    /// Releases what was settled, and gives the rest its names again.
    fn still_held(&self, names: Vec<(u64, Name)>, unsettled: Vec<Settlement>) -> Vec<Work> {
        // A tag may be there twice: the second is the delivery that came of the first one's end.
        let mut unsettled: HashMap<Name, Settlement> = unsettled
            .into_iter()
            .map(|settlement| (name(&settlement), settlement))
            .collect();
        let mut settled = Vec::new();
        let mut rest = Vec::new();
        for (number, name) in names {
            match unsettled.remove(&name) {
                Some(settlement) => rest.push(Work::Settle { number, settlement }),
                None => settled.push(number),
            }
        }
        self.desk.release(&settled);
        rest
    }

    fn put_back(&self, rest: Vec<Work>, error: &Error, is_alone: bool, pause: &mut Pause) {
        let mut queue = self.queue.lock();
        queue.in_flight = 0;
        if error.remedy() == Remedy::GiveUp {
            if is_alone {
                let rest = self.keep_here(rest, error);
                queue.refused.extend(rest);
                queue.refused_again = Some(Deadline::after(self.longest_pause));
            } else {
                queue.alone.extend(rest);
            }
        } else {
            rest.into_iter()
                .rev()
                .for_each(|work| queue.waiting.push_front(work));
            queue.is_urgent = true;
            queue.pause_ends = Some(Deadline::after(pause.next()));
        }
        drop(queue);
        self.changed.notify_all();
    }

    /// What the broker's delayed store refuses waits in this worker; the rest comes back.
    fn keep_here(&self, refused: Vec<Work>, error: &Error) -> Vec<Work> {
        let mut rest = Vec::new();
        for work in refused {
            match work {
                Work::Settle {
                    number,
                    settlement:
                        Settlement {
                            token,
                            verdict: Verdict::Delay { until_unix_ms },
                            ..
                        },
                } => {
                    tracing::warn!(%error, "the broker keeps no task for its eta: it waits in this worker");
                    self.desk.keep(number, token, until_unix_ms);
                }
                work @ (Work::Settle { .. } | Work::Store { .. }) => rest.push(work),
            }
        }
        rest
    }

    /// Reports what helps nothing at once, and the rest when patience is at its end; each once.
    fn complain(&self, error: &Error, failing: &mut Option<Failing>) {
        let now_ms = self.clock.monotonic_ms();
        let failing = failing.get_or_insert(Failing {
            since_ms: now_ms,
            is_reported: false,
        });
        let is_lasting = now_ms.saturating_sub(failing.since_ms) >= self.patience_ms;
        let mut queue = self.queue.lock();
        let is_newly_refused = queue.refused.len() > queue.reported;
        queue.reported = queue.reported.max(queue.refused.len());
        let waiting = queue.waiting.len() + queue.alone.len() + queue.refused.len();
        drop(queue);
        if is_newly_refused || (is_lasting && !failing.is_reported) {
            failing.is_reported = true;
            let detail = format!("{waiting} deliveries wait to be settled and are tried again: {error}");
            self.desk.report(TroubleKind::Unsettled, detail);
        }
    }
}

fn name(Settlement { token, .. }: &Settlement) -> Name {
    (token.tag.clone(), token.epoch)
}
