//! Deliveries, due timers and children's reports, handed out in batches; and settled in batches.
//!
//! Two threads, started by [`Intake::start`] and not before (a fork of an intake that was not
//! started is harmless): one reserves within the prefetch, one settles. A third, the pump of
//! [`crate::links`], reads what children say. All of them fill one [`desk`]; the worker takes
//! from it with [`Intake::next_events`]. Timers need no thread: the worker's own wait ends when
//! one is due.
//!
//! ```text
//! Consumer::reserve -> reserve -> desk -> next_events -> the worker
//!                                  ^ eta: delays            |
//!                        links ----+                        v
//! Consumer::settle <------------- settle <------------- settle()
//!                                 ^ far etas: reserve
//! ```

mod delays;
mod desk;
mod event;
mod held;
mod pulse;
mod reserve;
mod retry;
mod settle;
mod stale;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

pub use event::{Event, Trouble, TroubleKind};
pub use held::Held;
pub use pulse::Health;

use crate::backend::{Put, ResultStore};
use crate::broker::topology::QueueSpec;
use crate::broker::{Consumer, Settlement, Verdict};
use crate::error::{Error, Result};
use crate::links::{MAX_FRAME_BYTES, ParentLink, Pump, Sink, Stream, WakeupFd};
use crate::time::{Clock, Deadline};
use desk::Desk;
use reserve::Reserver;
use settle::Settler;
use waiting::Work;

/// How an intake behaves. The defaults are those of a worker.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many deliveries may be held unsettled; 0 stands for [`MAX_PREFETCH`].
    pub prefetch: usize,
    /// An eta within this many seconds waits in the timer wheel, any other in the broker.
    pub eta_horizon_s: f64,
    /// How many deliveries wait in the timer wheel without counting as held; more than these go
    /// to the broker, however near they are.
    pub eta_room: usize,
    /// First pause after a failed settlement; it doubles up to [`Config::longest_pause`].
    pub first_pause: Duration,
    /// Longest pause between two tries.
    pub longest_pause: Duration,
    /// How long settling may fail before it is reported.
    pub patience: Duration,
    /// Longest frame accepted from a child.
    pub max_frame_bytes: usize,
}

/// The bound of an unlimited prefetch, as AMQP's.
pub const MAX_PREFETCH: usize = 65_535;

impl Default for Config {
    fn default() -> Self {
        Self {
            prefetch: 0,
            eta_horizon_s: 600.0,
            eta_room: 10_000,
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(5),
            patience: Duration::from_secs(30),
            max_frame_bytes: MAX_FRAME_BYTES,
        }
    }
}

/// A result store and the URL it was opened with.
#[derive(Clone, Debug)]
pub struct Results {
    /// The store.
    pub store: Arc<dyn ResultStore>,
    /// Its URL: tells a consumer whether it stores there in the same round trip.
    pub url: String,
}

/// A worker's one door to what it has to do.
#[derive(Debug)]
pub struct Intake {
    consumer: Arc<dyn Consumer>,
    clock: Arc<dyn Clock>,
    desk: Arc<Desk>,
    reserver: Reserver,
    settler: Arc<Settler>,
    pump: Pump,
    has_results: bool,
    sends_replies: bool,
}

impl Intake {
    /// An intake over a consumer. No I/O happens and no thread runs before [`Intake::start`].
    ///
    /// # Errors
    /// [`Error::Refused`]: the system gives no more files.
    pub fn new(
        consumer: Arc<dyn Consumer>,
        results: Option<Results>,
        clock: Arc<dyn Clock>,
        config: &Config,
    ) -> Result<Self> {
        let horizon = Duration::try_from_secs_f64(config.eta_horizon_s).unwrap_or_default();
        consumer.may_end_delays_early(horizon);
        let desk = Arc::new(Desk::new(Arc::clone(&consumer), Arc::clone(&clock), config));
        let sink: Arc<dyn Sink> = Arc::<Desk>::clone(&desk);
        let has_results = results.is_some();
        let sends_replies = results
            .as_ref()
            .is_some_and(|results| results.store.sends_replies());
        let settler = Arc::new(Settler::new(
            Arc::clone(&consumer),
            results,
            Arc::clone(&desk),
            Arc::clone(&clock),
            config,
        ));
        Ok(Self {
            has_results,
            sends_replies,
            reserver: Reserver::new(Arc::clone(&consumer), Arc::clone(&desk), Arc::clone(&settler)),
            settler,
            pump: Pump::new(sink, config.max_frame_bytes)?,
            consumer,
            clock,
            desk,
        })
    }

    /// Starts to reserve, to settle and to listen to children. A second call does nothing.
    ///
    /// # Errors
    /// [`Error::Refused`]: the system gives no more threads.
    pub fn start(&self) -> Result<()> {
        self.pump.start()?;
        self.settler.start()?;
        self.consumer.reserve_ahead(true);
        self.reserver.start()
    }

    /// A descriptor for Python's `signal.set_wakeup_fd`: a byte written to it ends
    /// [`Intake::next_events`].
    pub fn wakeup_fd(&self) -> WakeupFd<'_> {
        self.pump.wakeup_fd()
    }

    /// How many deliveries are held: handed out or waiting, and not settled at the broker.
    pub fn held(&self) -> usize {
        self.desk.held()
    }

    /// Whether messages are being taken from the broker, and when that was proved last.
    pub fn health(&self) -> Health {
        self.desk.pulse.health()
    }

    /// Waits for something to do, at most `max` of it. Empty when `deadline` passed, or a signal
    /// or [`Intake::wake`] ended the wait.
    ///
    /// # Errors
    /// [`Error::Closed`] names the thread of this intake that broke; nothing more will come.
    pub fn next_events(&self, max: usize, deadline: Deadline) -> Result<Vec<Event>> {
        self.settler.wake();
        self.desk.take(max, deadline)
    }

    /// Makes a waiting [`Intake::next_events`] return now.
    pub fn wake(&self) {
        self.desk.wake();
    }

    /// The same a moment later, without a lock: for who may be called while one is held.
    pub fn nudge(&self) {
        self.pump.nudge();
    }

    /// Settles a delivery, in the background, with a document to be stored before. A delivery
    /// settles once: on one that is settled already (an early ack) only the document is stored.
    ///
    /// # Errors
    /// [`Error::Unsupported`]: a document, and no result store.
    pub fn settle(&self, delivery: &Held, verdict: Verdict, put: Option<Put>) -> Result<()> {
        self.settle_later(delivery, verdict, put)?;
        self.settler.wake();
        Ok(())
    }

    /// As [`Intake::settle`], but not before the next [`Intake::next_events`],
    /// [`Intake::flush`] or [`Intake::settle`]: for who settles many and then waits.
    ///
    /// # Errors
    /// As [`Intake::settle`].
    pub fn settle_later(&self, delivery: &Held, verdict: Verdict, put: Option<Put>) -> Result<()> {
        if put.is_some() && !self.has_results {
            return Err(Error::Unsupported {
                feature: "storing a result without a result store".to_owned(),
            });
        }
        let put = put.map(|put| Put {
            reply: self.sends_replies.then(|| delivery.reply()).flatten(),
            ..put
        });
        match (delivery.take_token(), put) {
            (Some(token), put) => self
                .settler
                .add(Work::settle(delivery, Settlement { token, verdict, put })),
            (None, Some(put)) => self.settler.add(Work::store(delivery, put)),
            (None, None) => {}
        }
        Ok(())
    }

    /// Waits until nothing waits to be settled; false when `deadline` came first.
    pub fn flush(&self, deadline: Deadline) -> bool {
        self.settler.flush(deadline)
    }

    /// Hands a delivery out again at a moment of the wall clock. Until then it does not count as
    /// held, within [`Config::eta_room`]. `false`: the broker keeps it, and it comes as a new one.
    pub fn delay_until(&self, delivery: Arc<Held>, unix_ms: u64) -> bool {
        let is_here = self.desk.delay(Arc::clone(&delivery), unix_ms);
        if !is_here {
            self.settler.hand_over(vec![(delivery, unix_ms)]);
        }
        is_here
    }

    /// Takes the deliveries of a task out of the timer wheel.
    pub fn cancel_delayed(&self, task_id: &str) -> Vec<Arc<Held>> {
        self.desk.cancel_delayed(task_id)
    }

    /// What waits in the timer wheel, by due time in milliseconds since the epoch.
    pub fn delayed(&self) -> Vec<(u64, Arc<Held>)> {
        self.desk.delayed()
    }

    /// Changes how many deliveries may be held; 0 stands for [`MAX_PREFETCH`].
    pub fn set_prefetch(&self, prefetch: usize) {
        self.desk.set_prefetch(prefetch);
        // A wait that was begun with less room ends, and is begun again with more.
        self.consumer.interrupt();
    }

    /// Adds a queue to those consumed.
    ///
    /// # Errors
    /// The broker cannot be reached, or refuses.
    pub fn add_queue(&self, queue: &QueueSpec, deadline: Deadline) -> Result<()> {
        self.consumer.add_queue(queue, deadline)
    }

    /// Stops consuming a queue; what is reserved of it stays reserved.
    pub fn cancel_queue(&self, queue: &str) {
        self.consumer.cancel_queue(queue);
    }

    /// Connects the worker's end of a child's socket pair: what the child says becomes events.
    ///
    /// # Errors
    /// [`Error::Refused`]: the system cannot watch it.
    pub fn link(&self, slot: u64, stream: Stream) -> Result<ParentLink> {
        self.pump.link(slot, stream)
    }

    /// Reserves nothing any more. What is on its way is still handed out.
    pub fn stop_reserving(&self) {
        self.desk.stop_reserving();
        self.consumer.interrupt();
        self.consumer.reserve_ahead(false);
    }

    /// Ends the intake: carries out what is to be settled, and hands every other delivery back
    /// to the front of its queue. A second call does nothing.
    ///
    /// # Errors
    /// [`Error::TimedOut`]: some settlement did not reach the broker before `deadline`; those
    /// leases end as those of a worker that died.
    pub fn close(&self, deadline: Deadline) -> Result<()> {
        if self.desk.is_closed() {
            return Ok(());
        }
        let begun_ms = self.clock.monotonic_ms();
        self.stop_reserving();
        self.reserver.wait_ended(deadline);
        // The newest first: each goes to the front, so that the oldest ends up there.
        for delivery in self.desk.unsettled().into_iter().rev() {
            self.settle(&delivery, Verdict::Requeue, None)?;
        }
        self.settler.start()?;
        let is_flushed = self.settler.flush(deadline);
        self.settler.stop();
        self.consumer.close(deadline);
        self.pump.stop();
        self.desk.close();
        if is_flushed {
            return Ok(());
        }
        Err(Error::TimedOut {
            what: "settling what the worker held",
            waited_ms: self.clock.monotonic_ms().saturating_sub(begun_ms),
        })
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        // Without a close: the threads end, and the leases as those of a worker that died.
        self.stop_reserving();
        self.desk.close();
    }
}
