//! The thread that takes a client's results from its queues.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::inbox::Inbox;
use crate::broker::topology::QueueSpec;
use crate::broker::url::BrokerUrl;
use crate::broker::{Consumer, ConsumerConfig, Delivery, Settlement, Verdict, open_consumer};
use crate::error::{Error, Result};
use crate::time::Deadline;
use crate::wire::message::Message;

const NAME: &str = "celeriac-replies";
/// Results on their way to us that are not taken in yet.
const WINDOW: usize = 1_000;
/// How long one wait for results lasts. Nothing depends on it: what arrives wakes the thread.
const ONE_WAIT: Duration = Duration::from_secs(30);
/// Likewise after a loss: whoever waits is told early that the connection is back.
const SHORT_WAIT: Duration = Duration::from_millis(500);
/// How long an acknowledgement may take; what is not acknowledged comes again.
const ACK_WITHIN: Duration = Duration::from_secs(5);

/// Consumes the queues of one process's client.
#[derive(Debug)]
pub(super) struct Listener {
    broker: BrokerUrl,
    queue_expires_ms: Option<u64>,
    inbox: Arc<Inbox>,
    consuming: Mutex<Consuming>,
    is_stopped: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Consuming {
    queues: HashSet<String>,
    consumer: Option<Arc<dyn Consumer>>,
}

impl Listener {
    pub(super) fn new(broker: BrokerUrl, queue_expires_ms: Option<u64>, inbox: Arc<Inbox>) -> Self {
        Self {
            broker,
            queue_expires_ms,
            inbox,
            consuming: Mutex::default(),
            is_stopped: Arc::default(),
        }
    }

    /// Consumes a queue from now on; when this returns, what is sent to it arrives.
    pub(super) fn listen(&self, queue: &str, deadline: Deadline) -> Result<()> {
        let mut consuming = self.consuming.lock();
        if consuming.queues.contains(queue) {
            return Ok(());
        }
        let known = consuming.consumer.clone();
        let consumer = known.map_or_else(|| self.open(), Ok)?;
        consuming.consumer = Some(Arc::clone(&consumer));
        consumer.add_queue(&self.declaration(queue), deadline)?;
        consuming.queues.insert(queue.to_owned());
        Ok(())
    }

    /// Celery's `RPCBackend.binding`.
    fn declaration(&self, queue: &str) -> QueueSpec {
        let expires = self.queue_expires_ms.map(|expires_ms| expires_ms.to_string());
        QueueSpec {
            auto_delete: true,
            arguments: expires
                .map(|json| ("x-expires".to_owned(), json))
                .into_iter()
                .collect(),
            ..QueueSpec::named(queue)
        }
    }

    fn open(&self) -> Result<Arc<dyn Consumer>> {
        let config = ConsumerConfig {
            node: "celeriac results".to_owned(),
            queues: Vec::new(),
            prefetch: WINDOW,
            eta_room: 0,
        };
        let consumer = open_consumer(&self.broker, config)?;
        let ear = Ear {
            consumer: Arc::clone(&consumer),
            inbox: Arc::clone(&self.inbox),
            is_stopped: Arc::clone(&self.is_stopped),
        };
        let thread = std::thread::Builder::new()
            .name(NAME.to_owned())
            .spawn(move || ear.run());
        thread.map_err(|error| Error::Refused {
            url: "the operating system".to_owned(),
            cause: error.to_string(),
            passing: false,
        })?;
        Ok(consumer)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        if let Some(consumer) = &self.consuming.lock().consumer {
            consumer.interrupt();
        }
    }
}

/// What the thread has.
struct Ear {
    consumer: Arc<dyn Consumer>,
    inbox: Arc<Inbox>,
    is_stopped: Arc<AtomicBool>,
}

impl Ear {
    fn run(&self) {
        let mut is_lost = false;
        while !self.is_stopped.load(Ordering::SeqCst) {
            let wait = if is_lost { SHORT_WAIT } else { ONE_WAIT };
            match self.consumer.reserve(WINDOW, Deadline::after(wait)) {
                Ok(deliveries) => {
                    if std::mem::take(&mut is_lost) {
                        self.inbox.found();
                    }
                    self.take_in(deliveries);
                }
                Err(error) => {
                    // The next reservation connects again, after a pause of its own.
                    if !std::mem::replace(&mut is_lost, true) {
                        tracing::warn!(%error, "results do not arrive at the moment");
                    }
                    self.inbox.lost(&error);
                }
            }
        }
        self.consumer.close(Deadline::after(ACK_WITHIN));
    }

    fn take_in_one(&self, message: Message) {
        if let Some(task_id) = message.properties.correlation_id {
            self.inbox.arrived(&task_id, message.body);
        } else {
            tracing::warn!("a result came without the id of its task");
        }
    }

    fn take_in(&self, deliveries: Vec<Delivery>) {
        let mut batch = Vec::with_capacity(deliveries.len());
        for Delivery { message, token, .. } in deliveries {
            match message {
                Ok(message) => self.take_in_one(message),
                Err(error) => tracing::warn!(%error, "a result could not be read"),
            }
            batch.push(Settlement {
                token,
                verdict: Verdict::Ack,
                put: None,
            });
        }
        if batch.is_empty() {
            return;
        }
        if let Err(error) = self.consumer.settle(batch, Deadline::after(ACK_WITHIN)) {
            tracing::debug!(%error, "results come again");
        }
    }
}
