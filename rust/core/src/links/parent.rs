//! The worker's end of one link.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;

use super::frame::{FrameReader, Kind, begin, end};
use super::job::{Job, Outgoing};
use super::pump::Switchboard;
use super::report::{ChildEvent, Report};
use super::stream::Watched;
use crate::error::{Error, Result};

/// How many pieces go into one write.
const PIECES_PER_WRITE: usize = 16;
/// A body up to this length is copied beside its head: that costs less than a piece of its own.
const SMALL_BODY_BYTES: usize = 16 << 10;

/// One child's stream and what still has to be written to it.
#[derive(Debug)]
pub(super) struct Line {
    slot: u64,
    pub(super) stream: Watched,
    reader: Mutex<FrameReader>,
    unwritten: Mutex<Unwritten>,
    /// How many jobs were sent whose end was not heard.
    jobs: AtomicUsize,
    is_closed: AtomicBool,
}

/// What is to be written, and what the socket did not take. Bounded by what its worker holds:
/// every job is a delivery within the prefetch, and a large body is shared, not copied.
#[derive(Debug, Default)]
struct Unwritten {
    pieces: VecDeque<Bytes>,
    /// Small frames, gathered behind the pieces.
    gathered: Vec<u8>,
}

impl Unwritten {
    fn add(&mut self, job: &Outgoing<'_>) -> Result<()> {
        let before = self.gathered.len();
        if let Err(error) = job.encode_head(&mut self.gathered) {
            self.gathered.truncate(before);
            return Err(error);
        }
        let body = &job.message.body;
        if body.len() <= SMALL_BODY_BYTES {
            self.gathered.extend_from_slice(body);
        } else {
            self.gather();
            self.pieces.push_back(body.clone());
        }
        Ok(())
    }

    fn gather(&mut self) {
        if !self.gathered.is_empty() {
            self.pieces.push_back(std::mem::take(&mut self.gathered).into());
        }
    }

    fn clear(&mut self) {
        self.pieces.clear();
        self.gathered.clear();
    }
}

impl Line {
    pub(super) fn new(slot: u64, stream: Watched, max_frame_bytes: usize) -> Self {
        Self {
            slot,
            stream,
            reader: Mutex::new(FrameReader::new(max_frame_bytes)),
            unwritten: Mutex::default(),
            jobs: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
        }
    }

    fn add(&self, job: &Outgoing<'_>) -> Result<()> {
        self.unwritten.lock().add(job)?;
        self.jobs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn say(&self, kind: Kind) -> Result<()> {
        let mut unwritten = self.unwritten.lock();
        let start = begin(&mut unwritten.gathered, kind);
        end(&mut unwritten.gathered, start, 0)?;
        self.write(&mut unwritten);
        Ok(())
    }

    /// Writes what the socket takes now; the pump writes the rest when there is room again.
    pub(super) fn write_rest(&self) {
        self.write(&mut self.unwritten.lock());
    }

    fn write(&self, unwritten: &mut Unwritten) {
        unwritten.gather();
        let pieces = &mut unwritten.pieces;
        while !pieces.is_empty() {
            let mut slices = [IoSlice::new(&[]); PIECES_PER_WRITE];
            for (slice, piece) in slices.iter_mut().zip(pieces.iter()) {
                *slice = IoSlice::new(piece);
            }
            match (&self.stream).write_vectored(&slices) {
                Ok(written) => forget_written(pieces, written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The child is gone; the end of its stream says so, in order with all it said.
                Err(_) => pieces.clear(),
            }
        }
    }

    /// How many jobs the child has whose end was not heard.
    pub(super) fn jobs(&self) -> usize {
        self.jobs.load(Ordering::Relaxed)
    }

    fn ended(&self, report: &Report) {
        let count = match report {
            Report::Outcome { .. } => 1,
            Report::Recalled { seqs } => seqs.len(),
            Report::Ready | Report::Taken { .. } | Report::Gone { .. } => return,
        };
        let fewer = |jobs: usize| Some(jobs.saturating_sub(count));
        // Never fails: the closure always gives a number.
        self.jobs
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer)
            .ok();
    }

    /// Reads all there is. The last event says it when this is the end.
    pub(super) fn read(&self, scratch: &mut [u8], events: &mut Vec<ChildEvent>) -> bool {
        let mut reader = self.reader.lock();
        loop {
            let ended = match (&self.stream).read(scratch) {
                Ok(0) => Some("its socket closed".to_owned()),
                Ok(length) => {
                    reader.feed(scratch.get(..length).unwrap_or_default());
                    self.cut(&mut reader, events).err().map(|error| error.to_string())
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => None,
                Err(error) => Some(error.to_string()),
            };
            if let Some(reason) = ended {
                let report = Report::Gone { reason };
                events.push(ChildEvent {
                    slot: self.slot,
                    report,
                });
                return false;
            }
        }
    }

    fn cut(&self, reader: &mut FrameReader, events: &mut Vec<ChildEvent>) -> Result<()> {
        while let Some((kind, payload)) = reader.next()? {
            let report = Report::decode(kind, payload)?;
            self.ended(&report);
            events.push(ChildEvent {
                slot: self.slot,
                report,
            });
        }
        Ok(())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Ends both directions: the child reads an end of file.
    pub(super) fn shut(&self) {
        self.unwritten.lock().clear();
        // A socket whose other end is gone already is shut all the same.
        self.stream.shutdown(Shutdown::Both).ok();
    }
}

fn forget_written(unwritten: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(piece) = unwritten.front_mut() {
        if written < piece.len() {
            piece.advance(written);
            return;
        }
        written -= piece.len();
        unwritten.pop_front();
    }
}

/// Sends jobs to one child. Nothing here waits: what the socket does not take is written by the
/// pump. Dropping the link closes it.
#[derive(Debug)]
pub struct ParentLink {
    line: Arc<Line>,
    token: usize,
    switchboard: Arc<Switchboard>,
}

impl ParentLink {
    pub(super) fn new(line: Arc<Line>, token: usize, switchboard: Arc<Switchboard>) -> Self {
        Self {
            line,
            token,
            switchboard,
        }
    }

    /// Sends a job. When the child is gone it goes nowhere, and the [`Report::Gone`] that
    /// follows (or is queued already) is the answer.
    ///
    /// # Errors
    /// [`Error::Closed`] after [`ParentLink::close`]; [`Error::Malformed`] for a job longer than
    /// a frame can be.
    pub fn send(&self, job: &Job) -> Result<()> {
        self.send_later(&job.outgoing())?;
        self.flush();
        Ok(())
    }

    /// As [`ParentLink::send`], but not before the next [`ParentLink::flush`], or whatever else is
    /// said to the child: many jobs go in one write, which wakes the child once.
    ///
    /// # Errors
    /// As [`ParentLink::send`].
    pub fn send_later(&self, job: &Outgoing<'_>) -> Result<()> {
        self.check_open()?;
        self.line.add(job)
    }

    /// Writes what waits to be sent.
    pub fn flush(&self) {
        self.line.write_rest();
    }

    /// Asks for every job that is not taken up; the answer is [`Report::Recalled`].
    ///
    /// # Errors
    /// [`Error::Closed`] after [`ParentLink::close`].
    pub fn recall(&self) -> Result<()> {
        self.say(Kind::Recall)
    }

    /// Asks the child to end after the jobs it has.
    ///
    /// # Errors
    /// [`Error::Closed`] after [`ParentLink::close`].
    pub fn stop(&self) -> Result<()> {
        self.say(Kind::Stop)
    }

    /// Closes the socket. Nothing is reported of this child any more.
    pub fn close(&self) {
        if !self.line.is_closed.swap(true, Ordering::AcqRel) {
            self.switchboard.disconnect(self.token);
            self.line.shut();
        }
    }

    fn say(&self, kind: Kind) -> Result<()> {
        self.check_open()?;
        self.line.say(kind)
    }

    fn check_open(&self) -> Result<()> {
        if self.line.is_closed() {
            return Err(Error::Closed {
                what: "the link to this child",
            });
        }
        Ok(())
    }
}

impl Drop for ParentLink {
    fn drop(&mut self) {
        self.close();
    }
}
