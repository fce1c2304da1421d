//! The process's Tokio runtime: lazy, one per process id, abandoned (never dropped) after a fork; and
//! small ones for threads that wait for their answers by themselves.
//!
//! One worker thread is enough on the machines we measured: it moves bytes, nothing else. A
//! runtime inherited through `fork` has no threads any more, and dropping it would wait for them:
//! the child leaks it and builds its own with its first use.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, Result};
use crate::per_process::PerProcess;

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

/// A runtime without a thread: it runs on the thread that waits in it, which spares what is asked and
/// what is answered a change of threads each. What was opened in it stands still while nobody waits.
///
/// Two threads may wait in it at the same time: one of them runs it for both.
#[derive(Debug, Default)]
pub struct Local(PerProcess<Threadless>);

/// None where the system gave no means for it: the process's own serves then.
#[derive(Debug)]
struct Threadless(Option<Runtime>);

impl Local {
    /// What opens and begins something in it.
    ///
    /// # Errors
    /// As [`handle`].
    pub fn handle(&self) -> Result<Handle> {
        match self.own() {
            Some(own) => Ok(own.handle().clone()),
            None => handle(),
        }
    }

    /// Runs it until `work` has ended.
    ///
    /// # Errors
    /// As [`handle`].
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        match self.own() {
            Some(own) => Ok(own.block_on(work)),
            None => Ok(handle()?.block_on(work)),
        }
    }

    fn own(&self) -> Option<&Runtime> {
        let build = || Builder::new_current_thread().enable_all().build().ok();
        self.0.get_or_init(|| Threadless(build())).0.as_ref()
    }
}

impl Drop for Threadless {
    fn drop(&mut self) {
        // The last one to let go may be a task, which must not wait for anything.
        if let Some(own) = self.0.take() {
            own.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_threads_that_wait_in_a_local_runtime_are_both_served() {
        let local = Local::default();
        let (ask, asked) = tokio::sync::oneshot::channel();
        let (answer, answered) = tokio::sync::oneshot::channel();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                local.block_on(async {
                    asked.await.unwrap();
                    answer.send(()).unwrap();
                })
            });
            let waited = local.block_on(async {
                ask.send(()).unwrap();
                tokio::time::timeout(std::time::Duration::from_secs(10), answered).await
            });
            waited.unwrap().unwrap().unwrap();
            other.join().unwrap().unwrap();
        });
    }

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
