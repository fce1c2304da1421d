//! Results as messages (`rpc://`): a worker sends each document to the queue that the task's
//! message names in `reply_to`; the client consumes that queue. Nothing is stored.
//!
//! It needs no more than a broker's two traits, so that it works with each of them, as Celery's
//! does.
//!
//! Source: celery 5.7 `backends/rpc.py`; `protocol.md` 6.4.

mod inbox;
mod listener;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use self::inbox::Inbox;
use self::listener::Listener;
use super::{Put, Reply, ResultStore, Subscription};
use crate::broker::url::BrokerUrl;
use crate::broker::{Publisher, open_publisher};
use crate::error::{Error, Result};
use crate::ledger::Ledger;
use crate::runtime;
use crate::time::Deadline;
use crate::wire::message::{Message, Outgoing, Properties, Target};

/// How documents are sent, and how the client's queues are declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// MIME type of the documents.
    pub content_type: String,
    /// `utf-8` or `binary`.
    pub content_encoding: String,
    /// Whether documents survive a restart of the server (`result_persistent`).
    pub is_persistent: bool,
    /// Milliseconds after which the server deletes a queue that nobody uses; `None`: never.
    pub queue_expires_ms: Option<u64>,
}

/// A store over a broker. No I/O happens before it is used.
///
/// # Errors
/// [`Error::BadUrl`] when the broker's options cannot be used.
pub fn store(broker: &BrokerUrl, post: Post) -> Result<Arc<dyn ResultStore>> {
    // A client that has gone has taken its queue along: what is sent to it then goes nowhere.
    let quiet = vec![("mandatory".to_owned(), "false".to_owned())];
    let outgoing = BrokerUrl::parse(&broker.with_options(), quiet)?;
    // Looks at the options, so that a bad one shows here.
    open_publisher(&outgoing)?;
    Ok(Arc::new(RpcStore {
        broker: broker.clone(),
        outgoing,
        post,
        inbox: Arc::default(),
        office: Mutex::new(None),
    }))
}

/// The store of one broker. All threads share its connections.
#[derive(Debug)]
struct RpcStore {
    broker: BrokerUrl,
    outgoing: BrokerUrl,
    post: Post,
    inbox: Arc<Inbox>,
    /// Built anew in a fork's child, which has none of the parent's threads.
    office: Mutex<Option<Office>>,
}

/// What one process has of a store.
#[derive(Clone, Debug)]
struct Office {
    generation: u32,
    publisher: Arc<dyn Publisher>,
    listener: Arc<Listener>,
}

impl RpcStore {
    fn office(&self) -> Result<Office> {
        let generation = runtime::generation();
        let mut known = self.office.lock();
        if let Some(office) = known.as_ref() {
            if office.generation == generation {
                return Ok(office.clone());
            }
            // The parent's: closing it would say goodbye for the parent.
            std::mem::forget(office.clone());
        }
        let built = Office {
            generation,
            publisher: open_publisher(&self.outgoing)?,
            listener: Arc::new(Listener::new(
                self.broker.clone(),
                self.post.queue_expires_ms,
                Arc::clone(&self.inbox),
            )),
        };
        *known = Some(built.clone());
        Ok(built)
    }

    fn letter(&self, reply: &Reply, document: Bytes) -> Outgoing {
        Outgoing {
            message: Message {
                headers: Bytes::from_static(b"{}"),
                properties: Properties {
                    content_type: self.post.content_type.clone(),
                    content_encoding: self.post.content_encoding.clone(),
                    correlation_id: Some(reply.correlation_id.clone()),
                    reply_to: None,
                    delivery_mode: if self.post.is_persistent { 2 } else { 1 },
                    priority: Some(0),
                    expiration: None,
                    delivery_tag: uuid::Uuid::new_v4().to_string(),
                    extra: Vec::new(),
                },
                body: document,
            },
            target: Target {
                exchange: String::new(),
                routing_key: reply.queue.clone(),
            },
            mandatory: None,
        }
    }
}

impl ResultStore for RpcStore {
    fn put(&self, puts: Vec<Put>, deadline: Deadline) -> Result<()> {
        let office = self.office()?;
        let ledger = Ledger::new(usize::MAX, usize::MAX);
        for put in puts {
            // Who asked for no reply gets none.
            let Some(reply) = &put.reply else { continue };
            let receipt = ledger.enter(put.task_id.as_str().into(), put.document.len(), deadline)?;
            let letter = self.letter(reply, put.document);
            office.publisher.send(letter, None, receipt, deadline);
        }
        ledger.wait_empty(deadline)?;
        match ledger.take_failed().pop() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    fn get(&self, task_id: &str, _deadline: Deadline) -> Result<Option<Bytes>> {
        Ok(self.inbox.latest(task_id))
    }

    fn get_many(&self, task_ids: &[String], _deadline: Deadline) -> Result<Vec<Option<Bytes>>> {
        Ok(task_ids
            .iter()
            .map(|task_id| self.inbox.latest(task_id))
            .collect())
    }

    fn forget(&self, task_id: &str, _deadline: Deadline) -> Result<()> {
        self.inbox.forget(task_id);
        Ok(())
    }

    fn sends_replies(&self) -> bool {
        true
    }

    fn listen(&self, queue: &str, deadline: Deadline) -> Result<()> {
        self.office()?.listener.listen(queue, deadline)
    }

    fn subscribe(
        &self,
        task_id: &str,
        _already_sent: bool,
        _deadline: Deadline,
    ) -> Result<Box<dyn Subscription>> {
        Ok(Box::new(self.inbox.subscribe(task_id)))
    }

    fn put_raw(&self, _: &str, _: Bytes, _: Option<u64>, _: Deadline) -> Result<()> {
        Err(keeps_nothing())
    }

    fn get_raw(&self, _: &str, _: Deadline) -> Result<Option<Bytes>> {
        Err(keeps_nothing())
    }

    fn forget_raw(&self, _: &str, _: Deadline) -> Result<()> {
        Err(keeps_nothing())
    }

    fn cleanup(&self, _deadline: Deadline) -> Result<u64> {
        Ok(0)
    }
}

fn keeps_nothing() -> Error {
    Error::Unsupported {
        feature: "keeping groups with rpc:// (results are sent, not stored); use redis:// or another store"
            .to_owned(),
    }
}
