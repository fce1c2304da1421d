//! The thread that reserves.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use super::desk::Desk;
use super::event::TroubleKind;
use super::retry::Pause;
use super::settle::Settler;
use crate::broker::Consumer;
use crate::error::{Error, Result};
use crate::links::Sink;
use crate::time::Deadline;

const NAME: &str = "celeriac-reserve";
/// A reserve that finds nothing for this long has the broker answer and returns, which proves that
/// it would have found something.
const LONGEST_RESERVE: Duration = Duration::from_secs(5);
/// While disconnected: how long until a reserve that finds nothing proves the connection.
const PROOF: Duration = Duration::from_secs(2);
/// The consumer backs off by itself; these pauses only keep one that fails at once from spinning.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// An interrupt may come just before the wait it is meant for: it is repeated.
const INTERRUPT_AGAIN: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Reserver {
    consumer: Arc<dyn Consumer>,
    desk: Arc<Desk>,
    settler: Arc<Settler>,
    has_started: AtomicBool,
    /// Held by the thread; dropped with it.
    running: Mutex<Option<Sender<()>>>,
    ended: Receiver<()>,
}

impl Reserver {
    pub(super) fn new(consumer: Arc<dyn Consumer>, desk: Arc<Desk>, settler: Arc<Settler>) -> Self {
        let (running, ended) = crossbeam_channel::bounded(0);
        Self {
            consumer,
            desk,
            settler,
            has_started: AtomicBool::new(false),
            running: Mutex::new(Some(running)),
            ended,
        }
    }

    pub(super) fn start(&self) -> Result<()> {
        if self.has_started.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let running = self.running.lock().take();
        let (consumer, desk) = (Arc::clone(&self.consumer), Arc::clone(&self.desk));
        let settler = Arc::clone(&self.settler);
        spawn(NAME, Arc::clone(&self.desk), move || {
            reserve(&*consumer, &desk, &settler);
            drop(running);
        })
    }

    /// Waits until nothing is reserved any more.
    pub(super) fn wait_ended(&self, deadline: Deadline) {
        // Never started: the sender is still here, and nobody is to be waited for.
        drop(self.running.lock().take());
        while !deadline.has_passed() {
            self.consumer.interrupt();
            let ended = self.ended.recv_timeout(INTERRUPT_AGAIN.min(deadline.left()));
            if ended == Err(crossbeam_channel::RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }
}

fn reserve(consumer: &dyn Consumer, desk: &Desk, settler: &Settler) {
    let mut pause = Pause::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut is_lost = false;
    while let Some(room) = desk.wait_for_room() {
        let wait = if is_lost { PROOF } else { LONGEST_RESERVE };
        let deadline = consumer.proof_due(wait);
        match consumer.reserve(room, deadline) {
            Ok(deliveries) => {
                // An interrupted wait proves nothing about the connection.
                let is_proved = !deliveries.is_empty() || deadline.has_passed();
                if is_proved {
                    desk.pulse.proved();
                }
                if is_lost && is_proved {
                    is_lost = false;
                    desk.report(TroubleKind::Reconnected, "the broker answers again".to_owned());
                }
                pause.reset();
                if !deliveries.is_empty() {
                    settler.hand_over(desk.arrive(deliveries));
                }
            }
            Err(error) => {
                desk.pulse.lost();
                if !std::mem::replace(&mut is_lost, true) {
                    desk.report(TroubleKind::Disconnected, error.to_string());
                }
                desk.pause_reserving(Deadline::after(pause.next()));
            }
        }
    }
}

/// Runs a thread whose panic stops the worker instead of leaving it idle.
pub(super) fn spawn(name: &'static str, desk: Arc<Desk>, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let guarded = move || {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            tracing::error!(thread = name, "a thread of the intake broke");
            desk.broke(name);
        }
    };
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(guarded);
    thread.map(drop).map_err(|error| Error::Refused {
        url: "the operating system".to_owned(),
        cause: error.to_string(),
        passing: false,
    })
}
