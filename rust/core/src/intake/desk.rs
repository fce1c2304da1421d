//! The one place where everything for the worker arrives: a lock, and three conditions.
//!
//! Bounds: deliveries by the prefetch; children's reports by [`MAX_REPORTS`], beyond which the
//! pump waits (and a child that writes waits for the pump); troubles by [`MAX_TROUBLES`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::delays::Delays;
use super::event::{Event, Trouble, TroubleKind};
use super::held::Held;
use super::pulse::Pulse;
use super::{Config, MAX_PREFETCH};
use crate::broker::{AckToken, Consumer, Delivery};
use crate::error::{Error, Result};
use crate::links::{ChildEvent, Sink};
use crate::time::{Clock, Deadline};
use crate::wire::times::parse_iso;

const MAX_REPORTS: usize = 65_536;
const MAX_TROUBLES: usize = 100;
/// What is due so soon is not worth a way to the broker and back.
const SHORT_MS: u64 = 2_000;
/// No wait without an end; nothing depends on this one.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Desk {
    consumer: Arc<dyn Consumer>,
    clock: Arc<dyn Clock>,
    horizon_ms: u64,
    eta_room: usize,
    arrivals: AtomicU64,
    pub(super) pulse: Pulse,
    state: Mutex<State>,
    /// Something for the worker arrived.
    arrived: Condvar,
    /// There may be room for the reserver.
    room: Condvar,
    /// There may be room for the pump.
    read: Condvar,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) events: VecDeque<Event>,
    reports: usize,
    troubles: usize,
    pub(super) delays: Delays,
    /// Every delivery that is not settled at the broker, in the order of arrival.
    pub(super) held: BTreeMap<u64, Arc<Held>>,
    /// Deliveries of older connections are not begun any more.
    pub(super) valid_from: u64,
    prefetch: usize,
    is_woken: bool,
    is_stopped: bool,
    is_closed: bool,
    broken_thread: Option<&'static str>,
}

impl Desk {
    pub(super) fn new(consumer: Arc<dyn Consumer>, clock: Arc<dyn Clock>, config: &Config) -> Self {
        Self {
            consumer,
            horizon_ms: horizon_ms(config.eta_horizon_s),
            eta_room: config.eta_room,
            arrivals: AtomicU64::new(0),
            pulse: Pulse::new(Arc::clone(&clock)),
            state: Mutex::new(State {
                events: VecDeque::new(),
                reports: 0,
                troubles: 0,
                delays: Delays::new(Arc::clone(&clock)),
                held: BTreeMap::new(),
                valid_from: 0,
                prefetch: config.prefetch,
                is_woken: false,
                is_stopped: false,
                is_closed: false,
                broken_thread: None,
            }),
            clock,
            arrived: Condvar::new(),
            room: Condvar::new(),
            read: Condvar::new(),
        }
    }

    pub(super) fn take(&self, max: usize, deadline: Deadline) -> Result<Vec<Event>> {
        let mut state = self.state.lock();
        loop {
            if state.forget_stale(self.consumer.valid_from()) {
                self.room.notify_all();
            }
            state.hand_out_due();
            if !state.events.is_empty() {
                return Ok(self.take_now(state, max));
            }
            if let Some(what) = state.broken_thread {
                return Err(Error::Closed { what });
            }
            let is_woken = std::mem::take(&mut state.is_woken);
            if is_woken || state.is_closed || deadline.has_passed() {
                return Ok(Vec::new());
            }
            let left = deadline.left();
            let until_due = state.delays.next_wait_ms().map(Duration::from_millis);
            let wait = until_due.map_or(left, |until_due| until_due.min(left));
            self.arrived.wait_for(&mut state, wait);
        }
    }

    fn take_now(&self, mut state: MutexGuard<'_, State>, max: usize) -> Vec<Event> {
        state.is_woken = false;
        let count = max.min(state.events.len());
        let events: Vec<_> = state.events.drain(..count).collect();
        let before = state.reports;
        for event in &events {
            match event {
                Event::Child(_) => state.reports -= 1,
                Event::Trouble(_) => state.troubles -= 1,
                Event::Delivery(_) => {}
            }
        }
        let has_room = before >= MAX_REPORTS && state.reports < MAX_REPORTS;
        drop(state);
        if has_room {
            self.read.notify_all();
        }
        events
    }

    pub(super) fn wake(&self) {
        self.state.lock().is_woken = true;
        self.arrived.notify_all();
    }

    pub(super) fn held(&self) -> usize {
        self.state.lock().held.len()
    }

    /// What nobody has settled yet, the oldest first.
    pub(super) fn unsettled(&self) -> Vec<Arc<Held>> {
        let state = self.state.lock();
        let held = state.held.values();
        held.filter(|held| !held.is_settled()).map(Arc::clone).collect()
    }

    /// Forgets deliveries that are settled at the broker.
    pub(super) fn release(&self, numbers: &[u64]) {
        self.exchange(numbers, Vec::new());
    }

    /// Forgets deliveries that are settled, and takes over what came in their place: see
    /// [`Desk::arrive`]. Whoever reserves is not woken for places that are taken again.
    pub(super) fn exchange(&self, numbers: &[u64], deliveries: Vec<Delivery>) -> Vec<(Arc<Held>, u64)> {
        let deliveries = self.numbered(deliveries);
        let brings = !deliveries.is_empty();
        let mut state = self.state.lock();
        for number in numbers {
            state.held.remove(number);
        }
        let far = self.enter(&mut state, deliveries);
        let has_room = state.room(self.eta_room) >= state.half_window();
        drop(state);
        if has_room {
            self.room.notify_all();
        }
        if brings {
            self.pulse.proved();
            self.arrived.notify_all();
        }
        far
    }

    /// Half of the window: what is done about that many is done in one round trip.
    pub(super) fn half_window(&self) -> usize {
        self.state.lock().half_window()
    }

    /// Waits until something may be reserved, and says how much. `None`: nothing any more.
    pub(super) fn wait_for_room(&self) -> Option<usize> {
        let mut state = self.state.lock();
        loop {
            if state.is_stopped {
                return None;
            }
            let room = state.room(self.eta_room);
            // A round trip for each single place that falls free costs more than the tasks
            // themselves: while there is work here, half of the window is asked for at once.
            if room >= state.half_window() {
                return Some(room);
            }
            self.pulse.full(true);
            self.room.wait_for(&mut state, LONGEST_WAIT);
            self.pulse.full(false);
        }
    }

    /// Waits, unless nothing is to be reserved any more.
    pub(super) fn pause_reserving(&self, pause: Deadline) {
        let mut state = self.state.lock();
        while !state.is_stopped {
            if self.room.wait_until(&mut state, pause.instant()).timed_out() {
                return;
            }
        }
    }

    /// Takes new deliveries over: to the worker, or to the wheel where the eta is near. What is to
    /// wait in the broker comes back, with the moment.
    pub(super) fn arrive(&self, deliveries: Vec<Delivery>) -> Vec<(Arc<Held>, u64)> {
        let deliveries = self.numbered(deliveries);
        let mut state = self.state.lock();
        let far = self.enter(&mut state, deliveries);
        drop(state);
        self.arrived.notify_all();
        far
    }

    /// Headers are read here, before the lock is taken.
    fn numbered(&self, deliveries: Vec<Delivery>) -> Vec<Held> {
        let numbered = |delivery| Held::new(self.arrivals.fetch_add(1, Ordering::Relaxed), delivery);
        deliveries.into_iter().map(numbered).collect()
    }

    fn enter(&self, state: &mut State, deliveries: Vec<Held>) -> Vec<(Arc<Held>, u64)> {
        let mut far = Vec::new();
        for held in deliveries {
            if held.epoch < state.valid_from {
                continue;
            }
            let held = Arc::new(held);
            state.held.insert(held.number, Arc::clone(&held));
            match self.due(&held) {
                Some(due_unix_ms) if self.is_for_the_broker(state, due_unix_ms) => {
                    far.push((held, due_unix_ms));
                }
                Some(due_unix_ms) => state.delays.insert(held, due_unix_ms),
                None => state.events.push_back(Event::Delivery(held)),
            }
        }
        far
    }

    /// When a new delivery is to be handed out, if not at once. An unreadable eta is for Python to
    /// refuse. Compat: one without an offset is in UTC, whatever the worker's zone, as in Celery's
    /// worker.
    fn due(&self, held: &Held) -> Option<u64> {
        let eta = parse_iso(held.peek.eta.as_deref()?).ok()?;
        let due_unix_ms = u64::try_from(eta.unix_ms).ok()?;
        (due_unix_ms > self.clock.unix_ms()).then_some(due_unix_ms)
    }

    /// Whether what is due then waits in the broker: it is far, or there is no more room here.
    fn is_for_the_broker(&self, state: &State, due_unix_ms: u64) -> bool {
        let wait_ms = due_unix_ms.saturating_sub(self.clock.unix_ms());
        wait_ms > self.horizon_ms || (state.delays.len() >= self.eta_room && wait_ms > SHORT_MS)
    }

    /// Lets a delivery wait here; `false` when it is for the broker to keep.
    pub(super) fn delay(&self, delivery: Arc<Held>, due_unix_ms: u64) -> bool {
        if delivery.is_settled() {
            return true;
        }
        let mut state = self.state.lock();
        if delivery.epoch < state.valid_from {
            state.held.remove(&delivery.number);
        } else if self.is_for_the_broker(&state, due_unix_ms) {
            return false;
        } else {
            state.delays.insert(delivery, due_unix_ms);
        }
        drop(state);
        self.room.notify_all();
        self.arrived.notify_all();
        true
    }

    /// Lets a delivery wait here after all: the broker would not keep it.
    pub(super) fn keep(&self, number: u64, token: AckToken, due_unix_ms: u64) {
        let mut state = self.state.lock();
        if let Some(held) = state.held.get(&number).map(Arc::clone) {
            held.put_back_token(token);
            state.delays.insert(held, due_unix_ms);
        }
        drop(state);
        self.room.notify_all();
        self.arrived.notify_all();
    }

    pub(super) fn cancel_delayed(&self, task_id: &str) -> Vec<Arc<Held>> {
        self.state.lock().delays.cancel(task_id)
    }

    pub(super) fn delayed(&self) -> Vec<(u64, Arc<Held>)> {
        self.state.lock().delays.list()
    }

    pub(super) fn set_prefetch(&self, prefetch: usize) {
        self.state.lock().prefetch = prefetch;
        self.room.notify_all();
    }

    pub(super) fn report(&self, kind: TroubleKind, detail: String) {
        let mut state = self.state.lock();
        if state.troubles >= MAX_TROUBLES {
            return;
        }
        state.troubles += 1;
        state.events.push_back(Event::Trouble(Trouble { kind, detail }));
        drop(state);
        self.arrived.notify_all();
    }

    pub(super) fn stop_reserving(&self) {
        self.state.lock().is_stopped = true;
        self.room.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.is_stopped = true;
        drop(state);
        self.arrived.notify_all();
        self.room.notify_all();
        self.read.notify_all();
    }
}

impl State {
    fn most(&self) -> usize {
        match self.prefetch {
            0 => MAX_PREFETCH,
            prefetch => prefetch.min(MAX_PREFETCH),
        }
    }

    fn half_window(&self) -> usize {
        self.most().div_ceil(2)
    }

    /// How many more may be held; of those that wait for their eta `eta_room` do not count.
    fn room(&self, eta_room: usize) -> usize {
        let waiting = self.delays.len().min(eta_room);
        let busy = self.held.len().saturating_sub(waiting);
        self.most().saturating_sub(busy)
    }

    fn hand_out_due(&mut self) {
        let due = self.delays.take_due();
        self.events.extend(due.into_iter().map(Event::Delivery));
    }
}

impl Sink for Desk {
    fn reports(&self, reports: Vec<ChildEvent>) {
        let mut state = self.state.lock();
        while state.reports >= MAX_REPORTS && !state.is_closed {
            self.read.wait_for(&mut state, LONGEST_WAIT);
        }
        state.reports += reports.len();
        state.events.extend(reports.into_iter().map(Event::Child));
        drop(state);
        self.arrived.notify_all();
    }

    fn wake(&self) {
        self.wake();
    }

    fn broke(&self, thread: &'static str) {
        self.state.lock().broken_thread = Some(thread);
        self.arrived.notify_all();
    }
}

/// Seconds as whole milliseconds; what is no length of time is none.
fn horizon_ms(seconds: f64) -> u64 {
    let horizon = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    u64::try_from(horizon.as_millis()).unwrap_or(u64::MAX)
}
