//! What the behaviours stand on: a fixture for each store, and short words for what they do.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::backend::{self, Put, ResultStore, Subscription};
use celeriac_core::broker::url::BrokerUrl;
use celeriac_core::time::Deadline;

/// A store under test, with a name space of its own.
pub(crate) trait Fixture: Send + Sync {
    /// A fresh name space, deleted when the fixture is dropped. No poll is to happen within ten
    /// seconds, so that only wake-ups explain why something is prompt.
    fn fresh() -> Self;

    /// URL of the name space, options in its query.
    fn url(&self) -> BrokerUrl;

    /// Stores documents of `task_id` from another process, where the store is shared with any.
    fn put_elsewhere(&self, task_id: &str, documents: &[&str]) {
        put_in_another_process(&self.url(), task_id, documents);
    }

    /// A store of the name space.
    fn open(&self) -> Arc<dyn ResultStore> {
        backend::open(&self.url()).unwrap()
    }
}

pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

pub(crate) fn in_ms(wait_ms: u64) -> Deadline {
    Deadline::after(Duration::from_millis(wait_ms))
}

pub(crate) const STARTED: &str = r#"{"status": "STARTED", "result": {"pid": 1}}"#;
pub(crate) const PROGRESS: &str = r#"{"status": "PROGRESS", "result": 50}"#;
pub(crate) const FAILURE: &str = r#"{"status": "FAILURE", "result": "SUCCESS"}"#;
pub(crate) const SUCCESS: &str = r#"{"status": "SUCCESS", "result": 5}"#;

pub(crate) fn document(task_id: &str, content: &str) -> Put {
    Put {
        task_id: task_id.to_owned(),
        document: Bytes::from(content.to_owned()),
        is_final: content != STARTED && content != PROGRESS,
        expires_s: Some(60),
        reply: None,
    }
}

pub(crate) fn put(store: &dyn ResultStore, task_id: &str, content: &str) {
    store.put(vec![document(task_id, content)], soon()).unwrap();
}

pub(crate) fn get(store: &dyn ResultStore, task_id: &str) -> Option<String> {
    store.get(task_id, soon()).unwrap().map(|bytes| text(&bytes))
}

pub(crate) fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The next `count` documents.
pub(crate) fn next(subscription: &dyn Subscription, count: usize) -> Vec<String> {
    let deadline = soon();
    (0..count)
        .map(|_| text(&subscription.next(deadline).unwrap().unwrap()))
        .collect()
}

/// Whether nothing arrives for a moment.
pub(crate) fn is_silent(subscription: &dyn Subscription) -> bool {
    subscription.next(in_ms(100)).unwrap().is_none()
}

/// Looks until `condition` holds; for time that only passes in a server.
pub(crate) fn eventually(condition: impl Fn() -> bool) {
    let deadline = soon();
    let (_never, pause) = std::sync::mpsc::channel::<()>();
    while !condition() {
        assert!(!deadline.has_passed(), "it did not happen in time");
        assert!(pause.recv_timeout(Duration::from_millis(20)).is_err());
    }
}

const URL: &str = "CELERIAC_CONFORMANCE_URL";
const TASK: &str = "CELERIAC_CONFORMANCE_TASK";
const DOCUMENTS: &str = "CELERIAC_CONFORMANCE_DOCUMENTS";

fn put_in_another_process(url: &BrokerUrl, task_id: &str, documents: &[&str]) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["stage::putter", "--exact", "--ignored", "--quiet"])
        .env(URL, &url.raw)
        .env(TASK, task_id)
        .env(DOCUMENTS, documents.join("\n"))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

#[test]
#[ignore = "put_in_another_process runs it"]
fn putter() {
    let url = BrokerUrl::parse(&std::env::var(URL).unwrap(), Vec::new()).unwrap();
    let store = backend::open(&url).unwrap();
    for content in std::env::var(DOCUMENTS).unwrap().lines() {
        put(&*store, &std::env::var(TASK).unwrap(), content);
    }
}
