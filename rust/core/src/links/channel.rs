//! The child's end of a link.
//!
//! Ground rules: `queue` and `unsaid` are locked in this order, and `queue` never while writing
//! to the socket, so that the reader can always put jobs in and answer a recall.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::frame::{FrameReader, Kind, malformed};
use super::job::Job;
use super::report::Report;
use super::stream::Stream;
use crate::error::{Error, Result};
use crate::time::Deadline;

/// More jobs than any prefetch lets a worker send; beyond it they wait in the socket.
const MAX_QUEUED_JOBS: usize = 65_536;
/// Outcomes are kept back for the next TAKEN only up to this size.
const MAX_UNSAID_BYTES: usize = 64 << 10;
const READ_BYTES: usize = 64 << 10;
const READER_STACK_BYTES: usize = 128 << 10;
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What [`ChildChannel::next`] found.
#[derive(Debug)]
pub enum Next {
    /// A job, taken up.
    Job(Box<Job>),
    /// Nothing until the deadline.
    Nothing,
    /// There will be no more: the worker asked to stop, or is gone.
    End,
}

/// Takes jobs up and says how they ended. Make it in the child, after the fork: it has a thread.
#[derive(Debug)]
pub struct ChildChannel {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stream: Stream,
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Frames that wait for the next write.
    unsaid: Mutex<Vec<u8>>,
    max_frame_bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    is_stopping: bool,
    is_gone: bool,
}

impl ChildChannel {
    /// Starts to read jobs from the child's end of the socket pair.
    ///
    /// # Errors
    /// [`Error::Refused`]: the system gives no more threads or files.
    pub fn new(stream: Stream, max_frame_bytes: usize) -> Result<Self> {
        let refused = |error: std::io::Error| Error::Refused {
            url: "the operating system".to_owned(),
            cause: error.to_string(),
            passing: false,
        };
        stream.set_nonblocking(false).map_err(refused)?;
        let shared = Arc::new(Shared {
            stream,
            queue: Mutex::default(),
            changed: Condvar::new(),
            unsaid: Mutex::default(),
            max_frame_bytes,
        });
        let reader = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("celeriac-jobs".to_owned())
            .stack_size(READER_STACK_BYTES)
            .spawn(move || reader.read_until_end())
            .map_err(refused)?;
        Ok(Self { shared })
    }

    /// Says that this child is ready for jobs.
    ///
    /// # Errors
    /// [`Error::Closed`]: the worker is gone.
    pub fn ready(&self) -> Result<()> {
        self.shared.say(&Report::Ready)
    }

    /// Takes the next job up and says so. Jobs that came before a stop are still handed out;
    /// when the worker is gone none is, since their leases end with it.
    pub fn next(&self, deadline: Deadline) -> Next {
        let shared = &self.shared;
        let mut queue = shared.queue.lock();
        let job = loop {
            if queue.is_gone {
                return Next::End;
            }
            if let Some(job) = queue.jobs.pop_front() {
                break job;
            }
            // Nothing waits any more that could carry the last outcome along.
            let flushed = MutexGuard::unlocked(&mut queue, || shared.say_unsaid());
            // Either may have come while the lock was open: nobody would tell of it again.
            if queue.is_gone || !queue.jobs.is_empty() {
                continue;
            }
            if queue.is_stopping || flushed.is_err() {
                return Next::End;
            }
            let wait = shared.changed.wait_until(&mut queue, deadline.instant());
            if wait.timed_out() && queue.jobs.is_empty() {
                return Next::Nothing;
            }
        };
        drop(queue);
        shared.changed.notify_all();
        match shared.say(&Report::Taken { seq: job.seq }) {
            Ok(()) => Next::Job(Box::new(job)),
            Err(_) => Next::End,
        }
    }

    /// Says how a job ended: at once when no other waits, otherwise together with its TAKEN.
    ///
    /// # Errors
    /// [`Error::Closed`]: the worker is gone. [`Error::Malformed`]: longer than a frame may be.
    pub fn reply(&self, seq: u64, code: u32, document: Option<Bytes>, detail: Bytes) -> Result<()> {
        let shared = &self.shared;
        let length = detail.len() + document.as_ref().map_or(0, Bytes::len) + 64;
        if length > shared.max_frame_bytes {
            let limit = shared.max_frame_bytes;
            return Err(malformed(format!("{length} bytes, at most {limit} are allowed")));
        }
        let outcome = Report::Outcome {
            seq,
            code,
            document,
            detail,
        };
        let queue = shared.queue.lock();
        let mut unsaid = shared.unsaid.lock();
        outcome.encode(&mut unsaid)?;
        let can_wait = !queue.jobs.is_empty() && unsaid.len() <= MAX_UNSAID_BYTES;
        drop(queue);
        if can_wait {
            return Ok(());
        }
        shared.write(&mut unsaid)
    }
}

impl Drop for ChildChannel {
    fn drop(&mut self) {
        // The reader's thread ends with the stream; what is not said goes first.
        self.shared.say_unsaid().ok();
        self.shared.queue.lock().is_gone = true;
        self.shared.changed.notify_all();
        self.shared.stream.shutdown(Shutdown::Both).ok();
    }
}

impl Shared {
    fn say(&self, report: &Report) -> Result<()> {
        let mut unsaid = self.unsaid.lock();
        report.encode(&mut unsaid)?;
        self.write(&mut unsaid)
    }

    fn say_unsaid(&self) -> Result<()> {
        self.write(&mut self.unsaid.lock())
    }

    /// One write for all that is unsaid. It waits while the worker does not read: there is nothing
    /// better to do, and a worker that dies ends it.
    fn write(&self, unsaid: &mut Vec<u8>) -> Result<()> {
        if unsaid.is_empty() {
            return Ok(());
        }
        let written = (&self.stream).write_all(unsaid);
        unsaid.clear();
        unsaid.shrink_to(MAX_UNSAID_BYTES);
        written.map_err(|_| Error::Closed {
            what: "the worker of this child",
        })
    }

    fn read_until_end(&self) {
        let mut reader = FrameReader::new(self.max_frame_bytes);
        let mut scratch = vec![0; READ_BYTES];
        loop {
            match (&self.stream).read(&mut scratch) {
                Ok(0) => break,
                Ok(length) => {
                    reader.feed(scratch.get(..length).unwrap_or_default());
                    if let Err(error) = self.take_frames(&mut reader) {
                        tracing::error!(%error, "the link to the worker broke");
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let mut queue = self.queue.lock();
        queue.is_gone = true;
        queue.jobs.clear();
        drop(queue);
        self.changed.notify_all();
    }

    fn take_frames(&self, reader: &mut FrameReader) -> Result<()> {
        while let Some((kind, payload)) = reader.next()? {
            match kind {
                Kind::Job => self.put(Job::decode(payload)?),
                Kind::Recall => self.give_back()?,
                Kind::Stop => {
                    self.queue.lock().is_stopping = true;
                    self.changed.notify_all();
                }
                Kind::Ready | Kind::Taken | Kind::Outcome | Kind::Recalled => {
                    return Err(malformed("a worker does not send this kind"));
                }
            }
        }
        Ok(())
    }

    fn put(&self, job: Job) {
        let mut queue = self.queue.lock();
        while queue.jobs.len() >= MAX_QUEUED_JOBS && !queue.is_gone {
            self.changed.wait_for(&mut queue, LONGEST_WAIT);
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.changed.notify_all();
    }

    fn give_back(&self) -> Result<()> {
        let jobs = std::mem::take(&mut self.queue.lock().jobs);
        let seqs = jobs.iter().map(|job| job.seq).collect();
        self.say(&Report::Recalled { seqs })
    }
}
