//! Objects with a connection belong to the process that made them.

use std::sync::Arc;

use crate::errors::{Fault, Outcome};

/// Something shared with I/O threads, which do not survive a fork.
#[derive(Debug)]
pub(crate) struct Homebound<T: ?Sized> {
    inner: Arc<T>,
    process: u32,
    what: &'static str,
}

impl<T: ?Sized> Homebound<T> {
    /// Binds to this process.
    pub(crate) fn new(inner: Arc<T>, what: &'static str) -> Self {
        Self {
            inner,
            process: std::process::id(),
            what,
        }
    }

    /// The thing itself; refuses in a forked child, where nobody would answer.
    pub(crate) fn here(&self) -> Outcome<&Arc<T>> {
        if self.process == std::process::id() {
            return Ok(&self.inner);
        }
        Err(Fault::Strayed {
            what: self.what,
            process: self.process,
        })
    }
}

impl<T: ?Sized> Drop for Homebound<T> {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            // What was inherited over a fork is leaked: ending it would wait for threads that do
            // not exist here, and say goodbye on a socket that the parent still uses.
            std::mem::forget(Arc::clone(&self.inner));
        }
    }
}
