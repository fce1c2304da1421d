//! Leases messages of a space and settles them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::{Space, State, space};
use crate::backend::{self, ResultStore as _};
use crate::broker::topology::QueueSpec;
use crate::broker::url::{BrokerUrl, Scheme};
use crate::broker::{Consumer, ConsumerConfig, Delivery, History, Settlement, Unsettled};
use crate::error::{Error, Result};
use crate::time::{Clock, Deadline, SystemClock};

#[derive(Debug)]
pub(super) struct MemoryConsumer {
    name: String,
    node: String,
    space: Arc<Space>,
    owner: u64,
    prefetch: usize,
    clock: Arc<dyn Clock>,
    held: AtomicUsize,
    queues: Mutex<Vec<String>>,
    is_interrupted: AtomicBool,
    is_closed: AtomicBool,
}

impl MemoryConsumer {
    pub(super) fn new(name: String, config: ConsumerConfig) -> Self {
        static LAST_OWNER: AtomicU64 = AtomicU64::new(0);
        let space = space(&name);
        let owner = LAST_OWNER.fetch_add(1, Ordering::Relaxed) + 1;
        let mut state = space.state.lock();
        let declare = |queue| state.declare(queue, Some(owner));
        config.queues.iter().for_each(declare);
        drop(state);
        Self {
            name,
            node: config.node.clone(),
            space,
            owner,
            prefetch: config.most(usize::MAX),
            clock: SystemClock::shared(),
            held: AtomicUsize::new(0),
            queues: Mutex::new(config.queues.into_iter().map(|queue| queue.name).collect()),
            is_interrupted: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Takes one message of each queue in turn; the next call begins with the next queue.
    fn take(&self, state: &mut State, room: usize) -> Vec<Delivery> {
        let mut queues = self.queues.lock();
        let mut taken = Vec::new();
        let mut empty_in_a_row = 0;
        while taken.len() < room && empty_in_a_row < queues.len() {
            match state.lease(&queues[0], self.owner) {
                Some(delivery) => {
                    taken.push(delivery);
                    empty_in_a_row = 0;
                }
                None => empty_in_a_row += 1,
            }
            queues.rotate_left(1);
        }
        self.held.fetch_add(taken.len(), Ordering::AcqRel);
        taken
    }

    fn release(&self, is_lost: bool) {
        self.is_closed.store(true, Ordering::Release);
        self.space.state.lock().release(self.owner, is_lost);
        self.held.store(0, Ordering::Release);
        self.space.changed.notify_all();
    }
}

impl Consumer for MemoryConsumer {
    fn reserve(&self, room: usize, deadline: Deadline) -> Result<Vec<Delivery>> {
        let mut state = self.space.state.lock();
        loop {
            if self.is_closed.load(Ordering::Acquire) {
                return Err(Error::Closed { what: "consumer" });
            }
            if self.is_interrupted.swap(false, Ordering::AcqRel) {
                return Ok(Vec::new());
            }
            let now_unix_ms = self.clock.unix_ms();
            state.promote(now_unix_ms);
            let left = self.prefetch.saturating_sub(self.held.load(Ordering::Acquire));
            let taken = self.take(&mut state, room.min(left));
            if !taken.is_empty() || deadline.has_passed() {
                return Ok(taken);
            }
            let next_due = state.next_due(now_unix_ms).map(Deadline::after);
            let until = next_due.map_or(deadline, |due| due.min(deadline));
            self.space.changed.wait_until(&mut state, until.instant());
        }
    }

    fn settle(&self, batch: Vec<Settlement>, deadline: Deadline) -> Result<(), Unsettled> {
        let puts = batch
            .iter()
            .filter_map(|settlement| settlement.put.clone())
            .collect();
        if let Err(error) = backend::memory::shelf(&self.name).put(puts, deadline) {
            return Err(Unsettled { error, batch });
        }
        let history = History {
            at_unix_ms: self.clock.unix_ms(),
            worker: self.node.clone(),
            losses: 0,
        };
        let mut state = self.space.state.lock();
        for settlement in batch {
            if state.settle(&settlement.token, settlement.verdict, &history) {
                self.held.fetch_sub(1, Ordering::AcqRel);
            }
        }
        drop(state);
        self.space.changed.notify_all();
        Ok(())
    }

    fn stores_results_of(&self, result_url: &str) -> bool {
        BrokerUrl::parse(result_url, Vec::new())
            .is_ok_and(|url| url.scheme() == Scheme::Memory && url.path() == self.name)
    }

    fn interrupt(&self) {
        let _state = self.space.state.lock();
        self.is_interrupted.store(true, Ordering::Release);
        self.space.changed.notify_all();
    }

    fn add_queue(&self, queue: &QueueSpec, _deadline: Deadline) -> Result<()> {
        queue.check_emulated()?;
        let mut state = self.space.state.lock();
        state.declare(queue, Some(self.owner));
        let mut queues = self.queues.lock();
        if !queues.contains(&queue.name) {
            queues.push(queue.name.clone());
        }
        drop(state);
        self.space.changed.notify_all();
        Ok(())
    }

    fn cancel_queue(&self, queue: &str) {
        self.queues.lock().retain(|name| name != queue);
    }

    fn close(&self, _deadline: Deadline) {
        self.release(false);
    }
}

impl Drop for MemoryConsumer {
    /// Who did not close it died.
    fn drop(&mut self) {
        self.release(true);
    }
}
