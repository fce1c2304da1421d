//! One reservation: what it asks of the script, and what comes of it.

use std::sync::atomic::Ordering;

use redis::RedisResult;

use super::consumer::{MAX_RESERVED, RedisConsumer};
use super::custody::millis;
use super::doorbell::{self, Waiting};
use super::link::{Link, Live};
use super::names::{Names, record_suffix};
use super::{losses, script};
use crate::broker::{AckToken, Delivery};
use crate::error::{Error, Result};
use crate::wire::envelope;
use crate::wire::message::Target;

/// What `reserve.lua` answers.
type Reserved = (u64, Vec<u8>, Vec<(String, usize, Vec<u8>)>);

/// What a reservation found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) deliveries: Vec<Delivery>,
    /// Where it found nothing.
    pub(super) waiting: Waiting,
}

impl RedisConsumer {
    pub(super) async fn reserve_once(
        &self,
        link: &Link,
        live: &Live,
        room: usize,
        waits: bool,
    ) -> Result<Found> {
        let queues = self.next_turn();
        if queues.is_empty() {
            self.subscribe(&mut live.clone(), &[]).await?;
            return Ok(Found::default());
        }
        let call = self.reservation(&queues, room, waits);
        let mut connection = live.connection.clone();
        let found: RedisResult<Reserved> = call.invoke_async(&mut connection).await;
        let (now_ms, armed, found) = found.map_err(|error| link.failed(live.serial, &error))?;
        self.has_backlog.store(found.len() >= room, Ordering::SeqCst);
        let mut deliveries: Vec<Delivery> = found
            .into_iter()
            .map(|(tag, queue, item)| {
                let queue = queues.get(queue).cloned().unwrap_or_default();
                delivery(AckToken { tag, epoch: 0 }, queue, &item)
            })
            .collect();
        self.custody.recall_losses(link, live, &mut deliveries).await;
        // After the last wait: who gives this up before has nothing entered that nobody gets.
        self.enter(&mut deliveries);
        let mut waiting = Waiting::default();
        if waits && deliveries.is_empty() {
            let armed = armed.iter().map(|is_armed| *is_armed == 1);
            let queues: Vec<_> = queues.iter().zip(armed).collect();
            let (names, owner) = (&self.custody.names, &self.custody.owner);
            let armed = doorbell::arm(live, names, owner, &queues, now_ms).await;
            waiting = armed.map_err(|error| link.failed(live.serial, &error))?;
        }
        Ok(Found { deliveries, waiting })
    }

    fn enter(&self, deliveries: &mut [Delivery]) {
        let mut held = self.custody.held.lock();
        for delivery in deliveries {
            delivery.token = held.enter(std::mem::take(&mut delivery.token.tag), &delivery.queue);
            if let (1.., Some(field)) = (delivery.losses, losses::field(delivery)) {
                held.count(&delivery.token, field.to_owned(), delivery.losses);
            }
        }
    }

    /// The queues in the order of this turn.
    pub(super) fn next_turn(&self) -> Vec<String> {
        let mut turn = self.turn.lock();
        let mut names: Vec<String> = turn.queues.iter().map(|queue| queue.name.clone()).collect();
        if !names.is_empty() {
            turn.first = (turn.first + 1) % names.len();
            names.rotate_left(turn.first);
        }
        names
    }

    fn reservation(&self, queues: &[String], room: usize, waits: bool) -> redis::ScriptInvocation<'static> {
        let names = &self.custody.names;
        // As arguments, not as keys: see `doorbell`.
        let mut call = script::RESERVE.prepare_invoke();
        call.arg(&self.custody.owner)
            .arg(millis(names.lease_timeout))
            .arg(room)
            .arg(uuid::Uuid::new_v4().to_string())
            .arg(queues.len())
            .arg(u8::from(waits))
            .arg(names.wake_prefix())
            .arg(&names.unacked)
            .arg(&names.unacked_index)
            .arg(names.owner(&self.custody.owner))
            .arg(&names.owners);
        for of_queue in [
            |_: &Names, queue: &str| record_suffix(queue),
            Names::aside,
            Names::delayed,
            Names::armed,
            Names::idle,
        ] {
            for queue in queues {
                call.arg(of_queue(names, queue));
            }
        }
        let lists: Vec<Vec<String>> = queues.iter().map(|queue| names.lists(queue).collect()).collect();
        for step in 0..names.steps.len() {
            for of_queue in &lists {
                call.arg(&of_queue[step]);
            }
        }
        call
    }

    /// Reserves in the round trip of a settlement of so many, while there is a backlog. What
    /// fails here fails again, and is told, where somebody waits for it.
    pub(super) async fn reserve_more(&self, live: &Live, settled: usize) {
        // No more than the caller will have room for: what waits for its eta takes none of it.
        let room = settled.min(self.free(settled)).min(MAX_RESERVED);
        let is_wanted = self.reserves_ahead.load(Ordering::SeqCst) && self.has_backlog.load(Ordering::SeqCst);
        // What exchanges have sent to all is handed out by the one who reserves.
        if !is_wanted || room == 0 || self.ear.has_news() {
            return;
        }
        // Not while what came without an answer goes back: this one may come while that is looked for.
        let Ok(mut is_missing) = self.unanswered.try_lock() else {
            return;
        };
        *is_missing = true;
        let found = tokio::select! {
            biased;
            () = self.called_off.notified() => return,
            found = self.reserve_once(&self.custody.settling, live, room, false) => found,
        };
        match found {
            Ok(found) => self.ahead.lock().extend(found.deliveries),
            Err(error @ Error::Disconnected { .. }) => {
                tracing::debug!(%error, "no answer to what a settlement has reserved");
                return;
            }
            Err(error) => tracing::debug!(%error, "nothing reserved with a settlement"),
        }
        *is_missing = false;
    }
}

pub(super) fn delivery(token: AckToken, queue: String, item: &[u8]) -> Delivery {
    match envelope::decode(item) {
        Ok(read) => Delivery {
            message: Ok(read.message),
            target: read.target,
            queue,
            redelivered: read.redelivered,
            losses: 0,
            token,
        },
        Err(error) => Delivery {
            message: Err(error),
            target: Target::default(),
            queue,
            redelivered: false,
            losses: 0,
            token,
        },
    }
}
