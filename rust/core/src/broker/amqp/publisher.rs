//! Sends messages to `RabbitMQ`. The work is done by one task, see [`super::sender`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lapin::options::QueuePurgeOptions;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendTimeoutError, TrySendError};

use super::direct::{self, Wire};
use super::headers::short;
use super::link::{Fault, Link, Role, open_channel};
use super::parcel::{Mandatory, Parcel};
use super::sender::{self, Shared};
use super::topology::Declaration;
use super::{aside, topology};
use crate::broker::reconnect::wait_for;
use crate::broker::spare::Spares;
use crate::broker::topology::QueueSpec;
use crate::broker::url::BrokerUrl;
use crate::broker::{Aside, Publisher, Underway, reconnect};
use crate::error::{Error, Result};
use crate::ledger::Receipt;
use crate::runtime;
use crate::time::Deadline;
use crate::wire::letter::Letter;
use crate::wire::message::Outgoing;

/// Messages between the callers and the connection. The publishing windows bound the bytes.
const MAX_QUEUED: usize = 4_096;
const DEFAULT_CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

/// The publisher of one URL.
#[derive(Debug)]
pub(super) struct AmqpPublisher {
    url: BrokerUrl,
    confirms: bool,
    confirm_timeout: Duration,
    mandatory: Mandatory,
    /// Built anew in a fork's child, which has none of the parent's threads.
    office: Mutex<Option<Arc<Office>>>,
    is_closed: AtomicBool,
}

/// What one process has of a publisher.
#[derive(Debug)]
struct Office {
    generation: u32,
    shared: Arc<Shared>,
    inlet: Mutex<Option<mpsc::Sender<Parcel>>>,
    /// For senders that wait.
    spares: Arc<Spares<Wire>>,
    task: tokio::task::JoinHandle<()>,
}

impl AmqpPublisher {
    pub(super) fn open(url: &BrokerUrl) -> Result<Self> {
        let confirms = url.options.flag("confirm_publish")?.unwrap_or(true);
        let mandatory = match (url.options.flag("mandatory")?, confirms) {
            (Some(true), false) => {
                return Err(Error::BadUrl {
                    detail: "transport option \"mandatory\" needs confirms: without them nobody can say \
                             which message came back; remove \"confirm_publish\": false"
                        .to_owned(),
                });
            }
            (Some(true), true) => Mandatory::All,
            (None, true) => Mandatory::ToQueues,
            (Some(false) | None, _) => Mandatory::Never,
        };
        let publisher = Self {
            url: url.clone(),
            confirms,
            confirm_timeout: url
                .options
                .seconds("confirm_timeout")?
                .unwrap_or(DEFAULT_CONFIRM_TIMEOUT),
            mandatory,
            office: Mutex::new(None),
            is_closed: AtomicBool::new(false),
        };
        // Looks at the options that only the connection reads, so that a bad one shows here.
        publisher.link()?;
        Ok(publisher)
    }

    fn link(&self) -> Result<Link> {
        Link::new(&self.url, "celeriac publisher", self.role())
    }

    fn role(&self) -> Role {
        if self.confirms {
            Role::Confirms
        } else {
            Role::Plain
        }
    }

    fn office(&self) -> Result<Arc<Office>> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(Error::Closed { what: "publisher" });
        }
        let generation = runtime::generation();
        let mut office = self.office.lock();
        if let Some(open) = office.as_ref() {
            if open.generation == generation {
                return Ok(Arc::clone(open));
            }
            // The parent's: its sockets are the parent's, and dropping it would need its threads.
            std::mem::forget(Arc::clone(open));
        }
        let built = Arc::new(self.build(generation)?);
        *office = Some(Arc::clone(&built));
        Ok(built)
    }

    fn build(&self, generation: u32) -> Result<Office> {
        let shared = Arc::new(Shared {
            link: self.link()?,
            mandatory: self.mandatory,
            declared: Mutex::default(),
        });
        let (inlet, outlet) = mpsc::channel(MAX_QUEUED);
        let task = runtime::handle()?.spawn(sender::run(Arc::clone(&shared), outlet));
        Ok(Office {
            generation,
            shared,
            inlet: Mutex::new(Some(inlet)),
            spares: Arc::default(),
            task,
        })
    }

    /// Encodes a message; tells the receipt when it cannot be sent.
    fn parcel(
        &self,
        office: &Office,
        message: &Outgoing,
        receipt: Receipt,
        deadline: Deadline,
    ) -> Option<Parcel> {
        if message.is_mandatory() && !self.confirms {
            let cause = "mandatory=True needs confirms: without them nobody can say which message came back; \
                         remove \"confirm_publish\": false";
            receipt.fail(office.shared.link.refused(cause, false));
            return None;
        }
        Parcel::new(
            message,
            receipt,
            deadline.min(Deadline::after(self.confirm_timeout)),
        )
    }

    /// Asks something over the connection.
    fn ask<T>(
        &self,
        what: &'static str,
        deadline: Deadline,
        question: impl AsyncFnOnce(&Shared) -> Result<T>,
    ) -> Result<T> {
        let office = self.office()?;
        wait_for(what, sender::patience(deadline), question(&office.shared))
    }
}

pub(super) fn hand_over(inlet: &mpsc::Sender<Parcel>, parcel: Parcel) {
    let parcel = match inlet.try_send(parcel) {
        Ok(()) => return,
        Err(TrySendError::Full(parcel) | TrySendError::Closed(parcel)) => parcel,
    };
    let wait = parcel.deadline.left();
    let sent = match runtime::handle() {
        Ok(handle) => handle.block_on(inlet.send_timeout(parcel, wait)),
        Err(error) => return parcel.fail(error),
    };
    match sent {
        Ok(()) => {}
        Err(SendTimeoutError::Timeout(parcel)) => parcel.fail(Error::TimedOut {
            what: "a full publishing queue",
            waited_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        }),
        Err(SendTimeoutError::Closed(parcel)) => parcel.fail(Error::Closed { what: "publisher" }),
    }
}

/// A message whose receipt is told already.
struct Told;

impl Underway for Told {
    fn go_on(&mut self) -> bool {
        true
    }
}

impl Publisher for AmqpPublisher {
    fn post(&self, letter: Letter, _subscribe_to: Option<&str>, receipt: Receipt, deadline: Deadline) {
        let message = match letter.open() {
            Ok(message) => message,
            Err(error) => return receipt.fail(error),
        };
        let office = match self.office() {
            Ok(office) => office,
            Err(error) => return receipt.fail(error),
        };
        let Some(inlet) = office.inlet.lock().clone() else {
            return receipt.fail(Error::Closed { what: "publisher" });
        };
        if let Some(parcel) = self.parcel(&office, &message, receipt, deadline) {
            hand_over(&inlet, parcel);
        }
    }

    fn send_here(
        &self,
        letter: Letter,
        receipt: Receipt,
        deadline: Deadline,
    ) -> Result<Box<dyn Underway>, (Letter, Receipt)> {
        let Ok(office) = self.office() else {
            return Err((letter, receipt));
        };
        let inlet = office.inlet.lock().clone();
        let free = direct::take(&office.spares, &office.shared, self.role(), deadline);
        let (Some(inlet), Some(free)) = (inlet, free) else {
            return Err((letter, receipt));
        };
        let message = match letter.open() {
            Ok(message) => message,
            Err(error) => {
                receipt.fail(error);
                return Ok(Box::new(Told));
            }
        };
        match self.parcel(&office, &message, receipt, deadline) {
            Some(parcel) => Ok(Box::new(free.send(parcel, inlet))),
            None => Ok(Box::new(Told)),
        }
    }

    fn declare(&self, queue: &QueueSpec, deadline: Deadline) -> Result<()> {
        // What cannot be encoded is never repeated after a reconnect.
        Declaration::of(queue)?;
        self.ask("declaring a queue", deadline, async |shared| {
            let live = shared.link.live().await?;
            if shared.declared.lock().get(queue) == Some(&live.serial) {
                return Ok(());
            }
            shared.declare(&live, queue).await
        })
    }

    fn purge(&self, queue: &str, deadline: Deadline) -> Result<u64> {
        let name = short("the name of a queue", queue)?;
        self.ask("purging a queue", deadline, async |shared| {
            let live = shared.link.live().await?;
            let purged = async {
                let channel = open_channel(&live.connection, Role::Plain).await?;
                let purged = channel.queue_purge(name, QueuePurgeOptions::default()).await;
                purged.map_err(Fault::from)
            };
            match purged.await {
                Ok(count) => Ok(u64::from(count)),
                Err(fault) if fault.is_not_found() => Ok(0),
                Err(fault) => Err(shared.link.error(&fault)),
            }
        })
    }

    fn depth(&self, queue: &str, deadline: Deadline) -> Result<u64> {
        let name = short("the name of a queue", queue)?;
        self.ask("counting a queue", deadline, async |shared| {
            let live = shared.link.live().await?;
            let counted = async {
                let channel = open_channel(&live.connection, Role::Plain).await?;
                topology::depth(&channel, name).await
            };
            let counted = counted.await.map_err(|fault| shared.link.error(&fault))?;
            Ok(counted.unwrap_or(0))
        })
    }

    fn list_aside(&self, queue: &str, max: usize, deadline: Deadline) -> Result<Vec<Aside>> {
        self.ask("listing what was set aside", deadline, async |shared| {
            aside::list(&shared.link, queue, max).await
        })
    }

    fn restore_aside(&self, queue: &str, tags: &[String], deadline: Deadline) -> Result<u64> {
        self.ask("putting back what was set aside", deadline, async |shared| {
            aside::restore(&shared.link, queue, tags).await
        })
    }

    fn drop_aside(&self, queue: &str, tags: &[String], deadline: Deadline) -> Result<u64> {
        self.ask("deleting what was set aside", deadline, async |shared| {
            aside::drop_these(&shared.link, queue, tags).await
        })
    }

    fn carries_results_of(&self, _result_url: &str) -> bool {
        false
    }

    fn close(&self, deadline: Deadline) {
        self.is_closed.store(true, Ordering::SeqCst);
        let Some(office) = self.office.lock().take() else {
            return;
        };
        if office.generation != runtime::generation() {
            std::mem::forget(office);
            return;
        }
        // The task ends when it has sent what is queued, or is told to when the time is over.
        drop(office.inlet.lock().take());
        reconnect::end(&office.task, deadline);
    }
}
