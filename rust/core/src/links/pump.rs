//! One thread that reads what all children say, writes what their sockets did not take at once,
//! and hears of signals.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::{Events, Interest, Poll, Registry, Token, Waker};
use parking_lot::{Condvar, Mutex};

use super::parent::{Line, ParentLink};
use super::report::{ChildEvent, Sink};
use super::stream::{Stream, WakeupFd, Watched, borrow, pair, unwatch, watch};
use crate::error::{Error, Result};

const STOP: Token = Token(0);
const SIGNAL: Token = Token(1);
const FIRST_LINE: usize = 2;
const READ_BYTES: usize = 64 << 10;
const EVENTS_PER_POLL: usize = 256;
/// So many jobs keep a child busy through a [`GATHER`].
const BACKLOG: usize = 12;
/// While every child that has something to do has a backlog, what they say is gathered for so
/// long: each wake-up of this thread and of the worker's costs more than a short task.
const GATHER: Duration = Duration::from_micros(250);
/// No wait without an end; nothing depends on this one.
const LONGEST_POLL: Duration = Duration::from_secs(60);
const NAME: &str = "celeriac-links";

/// Who is connected. Shared by the pump's thread and every link.
#[derive(Debug)]
pub(super) struct Switchboard {
    registry: Registry,
    lines: Mutex<Lines>,
    sink: Arc<dyn Sink>,
    is_stopped: AtomicBool,
}

#[derive(Debug)]
struct Lines {
    next_token: usize,
    by_token: HashMap<usize, Arc<Line>>,
}

impl Switchboard {
    fn connect(&self, mut line: Line) -> std::io::Result<(usize, Arc<Line>)> {
        // A child may have said something already: the pump looks for its line after this lock.
        let mut lines = self.lines.lock();
        let token = lines.next_token;
        lines.next_token += 1;
        watch(&self.registry, &mut line.stream, Token(token))?;
        let line = Arc::new(line);
        lines.by_token.insert(token, Arc::clone(&line));
        Ok((token, line))
    }

    pub(super) fn disconnect(&self, token: usize) {
        let line = self.lines.lock().by_token.remove(&token);
        if let Some(line) = line {
            unwatch(&self.registry, &line.stream);
        }
    }

    /// Whether children work, and all of them that do have jobs waiting.
    fn has_backlog(&self) -> bool {
        let lines = self.lines.lock();
        let mut busy = lines
            .by_token
            .values()
            .map(|line| line.jobs())
            .filter(|jobs| *jobs > 0)
            .peekable();
        busy.peek().is_some() && busy.all(|jobs| jobs >= BACKLOG)
    }

    fn serve(&self, token: usize, scratch: &mut [u8], reports: &mut Vec<ChildEvent>) {
        let line = self.lines.lock().by_token.get(&token).map(Arc::clone);
        let Some(line) = line else { return };
        line.write_rest();
        let before = reports.len();
        if !line.read(scratch, reports) {
            self.disconnect(token);
            line.shut();
        }
        if line.is_closed() {
            reports.truncate(before);
        }
    }
}

/// Owns the thread of all links of a process. It can be made before the thread is started.
#[derive(Debug)]
pub struct Pump {
    switchboard: Arc<Switchboard>,
    stop: Waker,
    signal_writer: Stream,
    /// What the thread takes with it.
    idle: Mutex<Option<(Poll, Watched)>>,
    max_frame_bytes: usize,
}

impl Pump {
    /// A pump that will tell `sink`; no thread runs yet.
    ///
    /// # Errors
    /// [`Error::Refused`]: the system gives no more files.
    pub fn new(sink: Arc<dyn Sink>, max_frame_bytes: usize) -> Result<Self> {
        Self::build(sink, max_frame_bytes).map_err(|error| refused(&error))
    }

    fn build(sink: Arc<dyn Sink>, max_frame_bytes: usize) -> std::io::Result<Self> {
        let poll = Poll::new()?;
        let (signal_writer, signal_reader) = pair()?;
        signal_writer.set_nonblocking(true)?;
        signal_reader.set_nonblocking(true)?;
        let mut signals = Watched::from_std(signal_reader);
        poll.registry()
            .register(&mut signals, SIGNAL, Interest::READABLE)?;
        let switchboard = Arc::new(Switchboard {
            registry: poll.registry().try_clone()?,
            lines: Mutex::new(Lines {
                next_token: FIRST_LINE,
                by_token: HashMap::new(),
            }),
            sink,
            is_stopped: AtomicBool::new(false),
        });
        Ok(Self {
            switchboard,
            stop: Waker::new(poll.registry(), STOP)?,
            signal_writer,
            idle: Mutex::new(Some((poll, signals))),
            max_frame_bytes,
        })
    }

    /// A non-blocking descriptor; each byte written to it wakes who waits for events. For
    /// Python's `signal.set_wakeup_fd`.
    pub fn wakeup_fd(&self) -> WakeupFd<'_> {
        borrow(&self.signal_writer)
    }

    /// Wakes who waits for events, from anywhere and without a lock: of use to who may hold one.
    pub fn nudge(&self) {
        // Where its buffer is full it is about to be read.
        (&self.signal_writer).write_all(&[0]).ok();
    }

    /// Takes over the worker's end of a child's socket pair.
    ///
    /// # Errors
    /// [`Error::Refused`]: it cannot be made non-blocking or watched.
    pub fn link(&self, slot: u64, stream: Stream) -> Result<ParentLink> {
        let connect = || {
            stream.set_nonblocking(true)?;
            let line = Line::new(slot, Watched::from_std(stream), self.max_frame_bytes);
            self.switchboard.connect(line)
        };
        let (token, line) = connect().map_err(|error| refused(&error))?;
        Ok(ParentLink::new(line, token, Arc::clone(&self.switchboard)))
    }

    /// Starts the thread; a second call does nothing.
    ///
    /// # Errors
    /// [`Error::Refused`]: the system gives no more threads.
    pub fn start(&self) -> Result<()> {
        let Some((poll, signals)) = self.idle.lock().take() else {
            return Ok(());
        };
        let switchboard = Arc::clone(&self.switchboard);
        std::thread::Builder::new()
            .name(NAME.to_owned())
            .spawn(move || {
                let work = AssertUnwindSafe(|| pump(&switchboard, poll, &signals));
                if catch_unwind(work).is_err() {
                    switchboard.sink.broke(NAME);
                }
            })
            .map_err(|error| refused(&error))?;
        Ok(())
    }

    /// Ends the thread. Links stay as they are; nobody reads them any more.
    pub fn stop(&self) {
        self.switchboard.is_stopped.store(true, Ordering::Release);
        // It fails only when the thread has ended before.
        self.stop.wake().ok();
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop();
    }
}

fn pump(switchboard: &Switchboard, mut poll: Poll, signals: &Watched) {
    let mut events = Events::with_capacity(EVENTS_PER_POLL);
    let mut scratch = vec![0; READ_BYTES];
    let mut reports = Vec::new();
    // Nobody notifies it: what arrives meanwhile is there when the wait has passed.
    let (pause, paused) = (Condvar::new(), Mutex::new(()));
    while !switchboard.is_stopped.load(Ordering::Acquire) {
        if let Err(error) = poll.poll(&mut events, Some(LONGEST_POLL))
            && error.kind() != ErrorKind::Interrupted
        {
            tracing::error!(%error, "the links of this worker cannot be watched");
            switchboard.sink.broke(NAME);
            return;
        }
        for event in &events {
            match event.token() {
                STOP => {}
                SIGNAL => {
                    drain(signals, &mut scratch);
                    switchboard.sink.wake();
                }
                Token(token) => switchboard.serve(token, &mut scratch, &mut reports),
            }
        }
        if !reports.is_empty() {
            switchboard.sink.reports(std::mem::take(&mut reports));
            if switchboard.has_backlog() {
                pause.wait_for(&mut paused.lock(), GATHER);
            }
        }
    }
}

fn drain(mut signals: &Watched, scratch: &mut [u8]) {
    // Ends with "would block": the writing end lives as long as the pump.
    while matches!(signals.read(scratch), Ok(length) if length > 0) {}
}

fn refused(error: &std::io::Error) -> Error {
    Error::Refused {
        url: "the operating system".to_owned(),
        cause: error.to_string(),
        passing: false,
    }
}
