//! Letters that leave in order and in batches, and that nobody confirms: events.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Mail;
use crate::broker::reconnect::Backoff;
use crate::error::{Error, Remedy, Result};
use crate::runtime;

/// Letters that wait to leave, also while the server is away; more are dropped.
const MAX_WAITING: usize = 1_000;
/// Letters that leave together.
const MAX_BATCH: usize = 64;
/// How long one try may take.
const TRY_WITHIN_MS: u64 = 10_000;

/// Letters on their way out. When it is dropped, what it holds is lost; [`Outbox::close`] waits.
#[derive(Debug)]
pub(in crate::broker) struct Outbox {
    waiting: mpsc::Sender<Mail>,
    carrying: Carrying,
    dropped: Arc<AtomicUsize>,
}

/// The task that carries them; it ends with its owner, even in the middle of a try.
#[derive(Debug)]
struct Carrying(JoinHandle<()>);

impl Drop for Carrying {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Outbox {
    /// An outbox whose batches leave by `send`, one after the other.
    ///
    /// # Errors
    /// There is no runtime.
    pub(in crate::broker) fn start<F, S>(send: F) -> Result<Self>
    where
        F: Fn(Arc<Vec<Mail>>) -> S + Send + Sync + 'static,
        S: Future<Output = Result<()>> + Send + 'static,
    {
        let (waiting, mails) = mpsc::channel(MAX_WAITING);
        let dropped = Arc::new(AtomicUsize::new(0));
        let carrying = runtime::handle()?.spawn(carry(send, mails, Arc::clone(&dropped)));
        Ok(Self {
            waiting,
            carrying: Carrying(carrying),
            dropped,
        })
    }

    /// Lays a letter into an outbox that starts with its first one.
    pub(in crate::broker) fn put_in(
        place: &Mutex<Option<Self>>,
        mail: Mail,
        start: impl FnOnce() -> Result<Self>,
    ) {
        let mut outbox = place.lock();
        match &*outbox {
            Some(outbox) => outbox.put(mail),
            None => match start() {
                Ok(started) => outbox.insert(started).put(mail),
                Err(error) => tracing::warn!(%error, "a message with events cannot be sent"),
            },
        }
    }

    /// Lays a letter behind the others. One that finds no room is dropped, and counted.
    fn put(&self, mail: Mail) {
        if self.waiting.try_send(mail).is_err() {
            count_dropped(&self.dropped, 1, "too many wait already");
        }
    }

    /// Waits until all have left.
    pub(in crate::broker) async fn close(self) {
        let Self {
            waiting,
            mut carrying,
            ..
        } = self;
        drop(waiting);
        if let Err(error) = (&mut carrying.0).await {
            tracing::debug!(%error, "the sending of events broke off");
        }
    }
}

async fn carry<F, S>(send: F, mut mails: mpsc::Receiver<Mail>, dropped: Arc<AtomicUsize>)
where
    F: Fn(Arc<Vec<Mail>>) -> S + Send,
    S: Future<Output = Result<()>> + Send,
{
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while mails.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let letters = Arc::new(std::mem::take(&mut batch));
        let mut backoff = Backoff::default();
        while let Err(error) = send_once(&send, &letters).await {
            if error.remedy() == Remedy::GiveUp {
                count_dropped(&dropped, letters.len(), &error.to_string());
                break;
            }
            backoff.failed();
            sleep(backoff.jittered()).await;
        }
    }
}

async fn send_once<F, S>(send: &F, letters: &Arc<Vec<Mail>>) -> Result<()>
where
    F: Fn(Arc<Vec<Mail>>) -> S,
    S: Future<Output = Result<()>>,
{
    let tried = timeout(Duration::from_millis(TRY_WITHIN_MS), send(Arc::clone(letters))).await;
    tried.unwrap_or(Err(Error::TimedOut {
        what: "sending events",
        waited_ms: TRY_WITHIN_MS,
    }))
}

fn count_dropped(dropped: &AtomicUsize, more: usize, why: &str) {
    let before = dropped.fetch_add(more, Ordering::Relaxed);
    let now = before.saturating_add(more);
    // The first time, and each time that the number has doubled.
    if before == 0 || before.ilog2() != now.ilog2() {
        tracing::warn!(dropped = now, why, "messages with events are dropped");
    }
}
