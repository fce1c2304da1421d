//! The process's Tokio runtime: lazy, one per process id, abandoned (never dropped) after a fork.
//!
//! One worker thread is enough on the machines we measured: it moves bytes, nothing else. A
//! runtime inherited through `fork` has no threads any more, and dropping it would wait for them:
//! the child leaks it and builds its own with its first use.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, Result};

/// Counts the forks this process descends from.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The runtimes, one for each generation of forks; older ones stay, and leak.
static RUNTIMES: Mutex<Vec<(u32, &'static Runtime)>> = Mutex::new(Vec::new());

/// Marks this process as a fork's child: the next [`handle`] builds a new runtime.
///
/// To be called in the child, before anything else of this crate. Stores to an atomic only, so it
/// is safe whatever other threads held at the fork.
pub fn forked() {
    GENERATION.fetch_add(1, Ordering::SeqCst);
}

/// Which generation of forks this is. What was opened under another one is not ours to use.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::SeqCst)
}

/// The runtime of this process.
///
/// # Errors
/// [`Error::Refused`] when the system gives no thread.
pub fn handle() -> Result<Handle> {
    let now = generation();
    let mut runtimes = RUNTIMES.lock();
    if let Some((_, runtime)) = runtimes.iter().find(|(generation, _)| *generation == now) {
        return Ok(runtime.handle().clone());
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("celeriac-io")
        .enable_all()
        .build()
        .map_err(|error| Error::Refused {
            url: "the operating system".to_owned(),
            cause: format!("no thread for the I/O runtime: {error}"),
            passing: true,
        })?;
    let runtime: &'static Runtime = Box::leak(Box::new(runtime));
    runtimes.push((now, runtime));
    Ok(runtime.handle().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtime_is_one_until_a_fork_is_marked() {
        let first = handle().unwrap();
        assert_eq!(first.id(), handle().unwrap().id());
        forked();
        let second = handle().unwrap();
        assert_ne!(first.id(), second.id());
        assert_eq!(second.block_on(async { 2 + 2 }), 4);
    }
}
