//! Result stores: documents by task id, and who waits for them.

pub mod chords;
pub mod memory;
pub mod redis;
mod redis_chords;
pub mod rpc;
pub mod sqlite;
pub mod waiters;

use std::sync::Arc;

use bytes::Bytes;

use crate::broker::url::{BrokerUrl, Scheme};
use crate::compress::Method;
use crate::error::{Error, Result};
use crate::time::Deadline;
use crate::wake::Wake;
use crate::wire::result_meta;

/// A result to store under `celery-task-meta-<task_id>`.
///
/// A stored SUCCESS is never overwritten (Celery: `KeyValueStoreBackend._store_result`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The task's id.
    pub task_id: String,
    /// The whole document as it is stored and published.
    pub document: Bytes,
    /// Whether its state is SUCCESS, FAILURE or REVOKED: nothing follows.
    pub is_final: bool,
    /// Lifetime in seconds; `None` keeps it for ever.
    pub expires_s: Option<u64>,
    /// Where the caller waits for it: only stores that send results look at it.
    pub reply: Option<Reply>,
}

/// Where a result is sent to, and under which name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// `reply_to` of the task's message: the queue of its caller.
    pub queue: String,
    /// `correlation_id` of the task's message, or the task's id.
    pub correlation_id: String,
}

/// Whether a document's state is SUCCESS, told from its beginning: Celery writes `status` first,
/// in JSON (`{"status": "SUCCESS", ...`) as in msgpack.
pub fn is_success(document: &[u8]) -> bool {
    const LONGEST_PREFIX: usize = 24;
    if let Some((compression, packed)) = result_meta::compressed(document) {
        return Method::named(compression)
            .and_then(|method| method.beginning(packed, LONGEST_PREFIX).ok())
            .is_some_and(|beginning| is_success(&beginning));
    }
    let start = &document[..document.len().min(LONGEST_PREFIX)];
    let mut parts = start.splitn(2, |&byte| byte == b':' || byte == 0xa7);
    let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
        return false;
    };
    let value = value.trim_ascii_start();
    name.windows(6).any(|word| word == b"status")
        && (value.starts_with(b"\"SUCCESS\"") || value.starts_with(b"SUCCESS"))
}

/// Stores and serves result documents. Safe for many threads, which share one connection.
pub trait ResultStore: Send + Sync + std::fmt::Debug + 'static {
    /// Stores documents, in order, and wakes who waits for them.
    ///
    /// # Errors
    /// The store cannot be reached before `deadline`, or refuses.
    fn put(&self, puts: Vec<Put>, deadline: Deadline) -> Result<()>;

    /// The current document; `None` where there is none.
    ///
    /// # Errors
    /// The store cannot be reached before `deadline`, or refuses.
    fn get(&self, task_id: &str, deadline: Deadline) -> Result<Option<Bytes>>;

    /// Many documents at once, in the order of the ids.
    ///
    /// # Errors
    /// As [`ResultStore::get`].
    fn get_many(&self, task_ids: &[String], deadline: Deadline) -> Result<Vec<Option<Bytes>>>;

    /// Deletes a document.
    ///
    /// # Errors
    /// As [`ResultStore::get`].
    fn forget(&self, task_id: &str, deadline: Deadline) -> Result<()>;

    /// Sees to it that what is sent to `queue` reaches this process: called with the `reply_to` of
    /// a task before it is published. Stores that keep results have nothing to do.
    ///
    /// # Errors
    /// The broker cannot be reached before `deadline`, or refuses the queue.
    fn listen(&self, _queue: &str, _deadline: Deadline) -> Result<()> {
        Ok(())
    }

    /// Whether [`Put::reply`] is looked at.
    fn sends_replies(&self) -> bool {
        false
    }

    /// Starts to listen for a result. Every document stored from now on is queued (at most 1,000,
    /// the oldest go first); `already_sent` says that the publisher subscribes (D16), so that no
    /// round trip is needed here. A subscription that starts without it first yields the current
    /// document, if there is one. Dropping the subscription ends it.
    ///
    /// # Errors
    /// As [`ResultStore::get`].
    fn subscribe(
        &self,
        task_id: &str,
        already_sent: bool,
        deadline: Deadline,
    ) -> Result<Box<dyn Subscription>>;

    /// Writes a raw value under a key of the store's name space (`celery-taskset-meta-…`).
    ///
    /// # Errors
    /// As [`ResultStore::get`].
    fn put_raw(&self, key: &str, value: Bytes, expires_s: Option<u64>, deadline: Deadline) -> Result<()>;

    /// Reads such a value.
    ///
    /// # Errors
    /// As [`ResultStore::get`].
    fn get_raw(&self, key: &str, deadline: Deadline) -> Result<Option<Bytes>>;

    /// Deletes such a value.
    ///
    /// # Errors
    /// As [`ResultStore::get`].
    fn forget_raw(&self, key: &str, deadline: Deadline) -> Result<()>;

    /// How this store joins chords; `None` where it cannot.
    fn chords(&self) -> Option<&dyn chords::ChordStore> {
        None
    }

    /// Deletes what has expired, where the store does not do that by itself.
    ///
    /// # Errors
    /// As [`ResultStore::get`].
    fn cleanup(&self, deadline: Deadline) -> Result<u64>;
}

/// The documents of one result, in the order in which they were stored.
pub trait Subscription: Send + Sync + std::fmt::Debug {
    /// The next document; `None` when `deadline` passed. After a reconnect of the store the
    /// current document is queued again, so that nothing final is missed.
    ///
    /// # Errors
    /// The store is lost and could not be reached again before `deadline`.
    fn next(&self, deadline: Deadline) -> Result<Option<Bytes>>;

    /// Has `wake` called whenever a document is queued, and now if there is one; `false` where
    /// that cannot be: who waits has to look by itself then.
    fn watch(&self, wake: Wake) -> bool {
        drop(wake);
        false
    }

    /// The next document that is queued here already; never asks a server.
    fn take(&self) -> Option<Bytes> {
        None
    }
}

/// Opens a result store. No I/O happens before it is used.
///
/// # Errors
/// [`crate::Error::BadUrl`] names the schemes and options that exist.
pub fn open(url: &BrokerUrl) -> Result<Arc<dyn ResultStore>> {
    match url.scheme() {
        Scheme::Memory => Ok(memory::store(url)),
        Scheme::Sqlite => sqlite::store(url),
        Scheme::Redis => redis::store(url),
        Scheme::Amqp => Err(Error::BadUrl {
            detail: format!(
                "{:?} stores no results; rpc:// sends them, redis://, sqlite:/// and memory:// store them",
                url.redacted()
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Method, is_success};

    #[test]
    fn success_is_told_from_the_first_member_in_json_and_msgpack() {
        assert!(is_success(br#"{"status": "SUCCESS", "result": 5}"#));
        assert!(is_success(br#"{"status":"SUCCESS"}"#));
        assert!(is_success(b"\x86\xa6status\xa7SUCCESS\xa6result\x05"));
        assert!(!is_success(b"\x86\xa6status\xa7FAILURE\xa6result\x05"));
        assert!(!is_success(br#"{"status": "FAILURE", "result": "SUCCESS"}"#));
        assert!(!is_success(br#"{"result": "SUCCESS"}"#));
    }

    #[test]
    fn success_shows_through_compression() {
        for (status, expected) in [("SUCCESS", true), ("FAILURE", false)] {
            let document = format!("{{\"status\": \"{status}\", \"result\": 5}}");
            let packed = Method::Zstd.compress(document.as_bytes()).unwrap();
            let stored = [b"\0celery-compressed\0application/zstd\0".as_slice(), &packed].concat();
            assert_eq!(is_success(&stored), expected);
        }
        assert!(!is_success(b"\0celery-compressed\0application/zstd\0noise"));
        assert!(!is_success(b""));
    }
}
