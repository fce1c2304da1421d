//! How somebody who does not wait in a thread is told that there is something to look at.

use std::sync::Arc;

/// Called when something has changed, by whichever thread has changed it: it must not wait, and
/// may be called more often than there is something to see. Clones call the same.
#[derive(Clone)]
pub struct Wake(Arc<dyn Fn() + Send + Sync>);

impl Wake {
    /// Calls `wake`.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// Tells that something has changed.
    pub fn call(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Wake {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Wake")
    }
}
