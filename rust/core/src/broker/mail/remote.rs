//! A mailbox on a server: a task listens, and begins again when the connection is lost.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Mail, Mailbox, Outbox};
use crate::broker::reconnect::{Backoff, wait_for};
use crate::error::{Error, Remedy, Result};
use crate::runtime;
use crate::time::Deadline;

/// Letters that are posted and not sent yet; more are dropped.
const MAX_POSTED: u16 = 1_000;
/// How long a posted letter may take.
const POST_WITHIN: Duration = Duration::from_secs(10);

/// What a server's side of a mailbox can do.
pub(in crate::broker) trait Correspondent: Send + Sync + std::fmt::Debug + 'static {
    /// Listens until the connection is lost, and says when it has begun to.
    fn listen(&self, begun: &Begun) -> impl Future<Output = Error> + Send;

    /// Sends one letter.
    fn send(&self, mail: &Mail) -> impl Future<Output = Result<()>> + Send;

    /// Sends letters in their order, without waiting for confirms.
    fn announce(&self, mails: &[Mail]) -> impl Future<Output = Result<()>> + Send;

    /// Removes what was made on the server, and says goodbye.
    fn leave(&self) -> impl Future<Output = ()> + Send;
}

/// How the listening is going.
#[derive(Clone, Debug)]
enum State {
    Dialing,
    Listening,
    Failed(Error),
}

/// Told when a mailbox begins to listen.
#[derive(Debug)]
pub(in crate::broker) struct Begun(watch::Sender<State>);

impl Begun {
    /// It listens from now on.
    pub(in crate::broker) fn now(&self) {
        if matches!(self.0.send_replace(State::Listening), State::Failed(_)) {
            tracing::info!("remote control listens");
        }
    }

    fn is_listening(&self) -> bool {
        matches!(*self.0.borrow(), State::Listening)
    }
}

/// A mailbox on a server.
#[derive(Debug)]
pub(in crate::broker) struct Remote<C> {
    correspondent: Arc<C>,
    listening: Mutex<Option<Listening>>,
    posted: Arc<Semaphore>,
    outbox: Mutex<Option<Outbox>>,
}

#[derive(Debug)]
struct Listening {
    state: watch::Receiver<State>,
    task: JoinHandle<()>,
}

impl<C: Correspondent> Remote<C> {
    pub(in crate::broker) fn new(correspondent: C) -> Self {
        Self {
            correspondent: Arc::new(correspondent),
            listening: Mutex::default(),
            posted: Arc::new(Semaphore::new(usize::from(MAX_POSTED))),
            outbox: Mutex::default(),
        }
    }

    fn start_outbox(&self) -> Result<Outbox> {
        let correspondent = Arc::clone(&self.correspondent);
        Outbox::start(move |mails| {
            let correspondent = Arc::clone(&correspondent);
            async move { correspondent.announce(&mails).await }
        })
    }

    fn state(&self) -> Result<watch::Receiver<State>> {
        let mut listening = self.listening.lock();
        if let Some(listening) = &*listening {
            return Ok(listening.state.clone());
        }
        let (sender, state) = watch::channel(State::Dialing);
        let task = runtime::handle()?.spawn(keep(Arc::clone(&self.correspondent), Begun(sender)));
        let begun = listening.insert(Listening { state, task });
        Ok(begun.state.clone())
    }
}

/// Listens, for ever.
async fn keep<C: Correspondent>(correspondent: Arc<C>, begun: Begun) {
    let mut backoff = Backoff::default();
    loop {
        tokio::time::sleep(backoff.jittered()).await;
        let error = correspondent.listen(&begun).await;
        if begun.is_listening() {
            backoff.succeeded();
            tracing::warn!(%error, "remote control lost its connection, and begins again");
        } else {
            tracing::debug!(%error, "remote control does not listen yet");
        }
        begun.0.send_replace(State::Failed(error));
        backoff.failed();
    }
}

impl<C: Correspondent> Mailbox for Remote<C> {
    fn open(&self, deadline: Deadline) -> Result<()> {
        let mut state = self.state()?;
        let waited = wait_for("opening a mailbox", deadline, async {
            loop {
                match &*state.borrow_and_update() {
                    State::Listening => return Ok(()),
                    State::Failed(error) if error.remedy() == Remedy::GiveUp => return Err(error.clone()),
                    State::Failed(_) | State::Dialing => {}
                }
                if state.changed().await.is_err() {
                    return Err(Error::Closed { what: "mailbox" });
                }
            }
        });
        match (waited, &*state.borrow()) {
            // The reason says more than how long it was waited.
            (Err(Error::TimedOut { .. }), State::Failed(error)) => Err(error.clone()),
            (waited, _) => waited,
        }
    }

    fn send(&self, mail: Mail, deadline: Deadline) -> Result<()> {
        wait_for("sending a control message", deadline, async {
            self.correspondent.send(&mail).await
        })
    }

    fn post(&self, mail: Mail) {
        let Ok(permit) = Arc::clone(&self.posted).try_acquire_owned() else {
            tracing::warn!("a control message is dropped: {MAX_POSTED} wait to be sent already");
            return;
        };
        let handle = match runtime::handle() {
            Ok(handle) => handle,
            Err(error) => return tracing::warn!(%error, "a control message cannot be sent"),
        };
        let correspondent = Arc::clone(&self.correspondent);
        handle.spawn(async move {
            match timeout(POST_WITHIN, correspondent.send(&mail)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "a control message could not be sent"),
                Err(_) => tracing::warn!("a control message could not be sent in time"),
            }
            drop(permit);
        });
    }

    fn announce(&self, mail: Mail) {
        Outbox::put_in(&self.outbox, mail, || self.start_outbox());
    }

    fn close(&self, deadline: Deadline) {
        let listening = self.listening.lock().take();
        let outbox = self.outbox.lock().take();
        let closed = wait_for("closing a mailbox", deadline, async {
            // All of them together: nothing is on its way any more.
            let Ok(_all) = self.posted.acquire_many(u32::from(MAX_POSTED)).await else {
                return Ok(());
            };
            if let Some(outbox) = outbox {
                outbox.close().await;
            }
            if let Some(listening) = &listening {
                listening.task.abort();
            }
            self.correspondent.leave().await;
            Ok(())
        });
        if let Err(error) = closed {
            tracing::debug!(%error, "the server notices by itself that the mailbox has gone");
        }
        if let Some(listening) = listening {
            listening.task.abort();
        }
    }
}

impl<C> Drop for Remote<C> {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.lock().take() {
            listening.task.abort();
        }
    }
}
