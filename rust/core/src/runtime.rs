//! The process's Tokio runtime: lazy, one per process id, abandoned (never dropped) after a fork; and
//! small ones for threads that wait for their answers by themselves.
//!
//! One worker thread is enough on the machines we measured: it moves bytes, nothing else. A
//! runtime inherited through `fork` has no threads any more, and dropping it would wait for them:
//! the child leaks it and builds its own with its first use.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, Result};
use crate::per_process::PerProcess;
use crate::time::Deadline;

/// Counts the forks this process descends from.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The runtimes, one for each generation of forks; older ones stay, and leak.
static RUNTIMES: Mutex<Vec<Started>> = Mutex::new(Vec::new());

/// Waits that may take longer end at multiples of this, so that an idle process wakes once for all of them.
/// A little above half of the heartbeat that brokers are asked for; and a multiple of 64 ms, which
/// is a slot of Tokio's wheel: in the middle of one its thread would wake twice.
pub const BEAT: Duration = Duration::from_millis(2_560);

struct Started {
    generation: u32,
    begun: Deadline,
    runtime: &'static Runtime,
}

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
    if let Some(started) = runtimes.iter().find(|started| started.generation == now) {
        return Ok(started.runtime.handle().clone());
    }
    let begun = Deadline::after(Duration::ZERO);
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
    runtimes.push(Started {
        generation: now,
        begun,
        runtime,
    });
    Ok(runtime.handle().clone())
}

/// When waits end that may take longer. To be asked for once by who waits often.
#[derive(Clone, Copy, Debug)]
pub struct Beats(Option<Deadline>);

/// The beats of this process's runtime.
pub fn beats() -> Beats {
    let now = generation();
    let runtimes = RUNTIMES.lock();
    let started = runtimes.iter().find(|started| started.generation == now);
    Beats(started.map(|started| started.begun))
}

impl Beats {
    /// The end of a wait that may take up to [`BEAT`] longer.
    pub fn after(self, wait: Duration) -> Deadline {
        let exact = Deadline::after(wait);
        self.0.map_or(exact, |begun| exact.at_a_beat(begun, BEAT))
    }

    /// The end of a wait that may be up to [`BEAT`] shorter.
    pub fn before(self, wait: Duration) -> Deadline {
        self.after(wait.saturating_sub(BEAT))
    }
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
    fn a_wait_ends_at_a_beat_and_never_early() {
        let begun = Deadline::after(Duration::ZERO);
        for wait_ms in [1, 2_559, 2_560, 2_561, 5_000] {
            let wait = Duration::from_millis(wait_ms);
            let exact = Deadline::after(wait);
            let end = exact.at_a_beat(begun, BEAT);
            let after_ns = end.instant().duration_since(begun.instant()).as_nanos();
            assert_eq!(after_ns % BEAT.as_nanos(), 0);
            assert!(end >= exact && end.instant() < exact.instant() + BEAT);
            assert_eq!(end.at_a_beat(begun, BEAT), end);
        }
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
