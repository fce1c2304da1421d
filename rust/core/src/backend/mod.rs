//! Result stores: documents by task id, and who waits for them.

pub mod memory;
pub mod redis;
pub mod sqlite;
pub mod waiters;

use std::sync::Arc;

use bytes::Bytes;

use crate::broker::url::{BrokerUrl, Scheme};
use crate::error::{Error, Result};
use crate::time::Deadline;

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
}

/// Whether a document's state is SUCCESS, told from its beginning: Celery writes `status` first,
/// in JSON (`{"status": "SUCCESS", ...`) as in msgpack.
pub fn is_success(document: &[u8]) -> bool {
    const LONGEST_PREFIX: usize = 24;
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
                "{:?} stores no results; use redis://, sqlite:/// or memory://",
                url.redacted()
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::is_success;

    #[test]
    fn success_is_told_from_the_first_member_in_json_and_msgpack() {
        assert!(is_success(br#"{"status": "SUCCESS", "result": 5}"#));
        assert!(is_success(br#"{"status":"SUCCESS"}"#));
        assert!(is_success(b"\x86\xa6status\xa7SUCCESS\xa6result\x05"));
        assert!(!is_success(b"\x86\xa6status\xa7FAILURE\xa6result\x05"));
        assert!(!is_success(br#"{"status": "FAILURE", "result": "SUCCESS"}"#));
        assert!(!is_success(br#"{"result": "SUCCESS"}"#));
        assert!(!is_success(b""));
    }
}
