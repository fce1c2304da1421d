//! Coming to a server, also again after a connection was lost, and leaving it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt as _;

use super::consumer::RedisConsumer;
use super::link::Live;
use super::settling::ASIDE;
use super::{doorbell, fanout, keeping, routing};
use crate::broker::topology::QueueSpec;
use crate::error::Result;
use crate::runtime;
use crate::time::{Deadline, SystemClock};

impl RedisConsumer {
    /// A connection over which everything is declared, and what we hold is ours again.
    pub(super) async fn ready(&self, deadline: Deadline) -> Result<Live> {
        if let Some(live) = self.ready_already().await? {
            return Ok(live);
        }
        let wait = self.turn.lock().backoff.wait().min(deadline.left());
        tokio::time::sleep(wait).await;
        let done = self.arrive().await;
        let mut turn = self.turn.lock();
        match &done {
            Ok(live) => {
                turn.backoff.succeeded();
                turn.serial = live.serial;
                turn.others = self.custody.serials();
            }
            Err(_) => turn.backoff.failed(),
        }
        done
    }

    /// The connection as it is. Where the other one had to be replaced, this one may have fallen
    /// silent with it, and has to answer first: two time-outs one after the other take too long.
    /// `None` also where a settlement's reservation had no answer: that is to be looked for.
    async fn ready_already(&self) -> Result<Option<Live>> {
        let (serial, known) = {
            let turn = self.turn.lock();
            (turn.serial, turn.others)
        };
        let Some(live) = self.link.current().filter(|live| live.serial == serial) else {
            return Ok(None);
        };
        if self.unanswered.try_lock().is_ok_and(|is_missing| *is_missing) {
            return Ok(None);
        }
        let others = self.custody.serials();
        let is_new = |(other, known): (&Option<u64>, &Option<u64>)| other.is_some() && other != known;
        if !others.iter().zip(&known).any(is_new) {
            return Ok(Some(live));
        }
        // All that may have fallen silent at the same time, for the same reason.
        let (live, _told_when_used) = tokio::join!(self.link.proved(), self.custody.link.proved());
        let live = live?;
        if live.serial != serial {
            return Ok(None);
        }
        self.turn.lock().others = others;
        Ok(Some(live))
    }

    async fn arrive(&self) -> Result<Live> {
        // An answer that came after this has looked for what had none would be executed twice.
        self.called_off.notify_one();
        let mut is_missing = self.unanswered.lock().await;
        let _nobody_heard = self.called_off.notified().now_or_never().is_some();
        let mut live = self.link.live().await?;
        let patterns = self.ear.patterns();
        if !patterns.is_empty() {
            self.subscribe(&mut live, &patterns).await?;
        }
        let mut work = self.custody.link.proved().await?;
        *self.custody.suspect_from.lock() = Deadline::after(Duration::ZERO);
        self.custody.reclaim(&mut work).await?;
        *is_missing = false;
        let queues = self.turn.lock().queues.clone();
        self.declare(&mut work, &queues).await?;
        let starts = !std::mem::replace(&mut self.turn.lock().is_kept, true);
        if starts {
            let kept = Arc::downgrade(&self.custody);
            runtime::handle()?.spawn(keeping::keep(kept, Arc::clone(&self.bell)));
        }
        Ok(live)
    }

    pub(super) async fn subscribe(&self, live: &mut Live, patterns: &[String]) -> Result<()> {
        let done = fanout::subscribe(live, patterns).await;
        done.map_err(|error| self.link.failed(live.serial, &error))
    }

    pub(super) async fn declare(&self, live: &mut Live, queues: &[QueueSpec]) -> Result<()> {
        let now_ms = SystemClock::shared().unix_ms();
        let mut pipe = redis::pipe();
        for queue in queues {
            routing::declare(&mut pipe, &self.custody.names, queue, now_ms);
        }
        if pipe.is_empty() {
            return Ok(());
        }
        let done = pipe.query_async::<()>(&mut live.connection).await;
        done.map_err(|error| self.custody.link.failed(live.serial, &error))
    }

    pub(super) async fn leave(&self) -> Result<()> {
        // Subscriptions end with their connection.
        for link in [&self.link, &self.custody.settling] {
            if let Some(live) = link.current() {
                link.drop_connection(live.serial);
            }
        }
        let mut live = self.custody.link.proved().await?;
        let mut held = self.custody.held.lock().drain();
        held.retain(|tag| !tag.starts_with(ASIDE) && !fanout::was_heard(tag));
        self.custody.hand_back(&mut live, &held).await?;
        let (names, owner) = (&self.custody.names, &self.custody.owner);
        let disarmed = doorbell::disarm(&mut live, names, owner, &self.next_turn()).await;
        disarmed.map_err(|error| self.custody.link.failed(live.serial, &error))?;
        self.custody.retire(&mut live).await
    }
}
