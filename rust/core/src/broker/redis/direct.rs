//! A message whose sender waits for it, written and answered on the sender's own thread: by the sending
//! task it takes two changes of threads more, which is most of what such a message costs.
//!
//! Only for what needs nothing else: one server, without TLS, to which [`Link`] has a connection; a queue
//! by its name. Whatever goes wrong makes the message go the sending task's way, which tells what is wrong,
//! connects anew, and sends again.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};

use super::inlet::Inlet;
use super::link::Link;
use super::parcel::Parcel;
use super::sender::Shared;
use crate::broker::Underway;
use crate::broker::dial::BlockingWire;
use crate::broker::spare::{Line, Spares};
use crate::error::Error;
use crate::runtime;
use crate::time::Deadline;

/// What is larger gains nothing here, and would be copied.
const MOST_BYTES: usize = 64 << 10;
/// A server may have hung up on a connection that was idle for so long.
const IDLE: Duration = Duration::from_secs(1);

/// One connection, used by one thread at a time.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Box<dyn BlockingWire>,
    /// The connection of the link beside which it was opened: what is declared there is declared here.
    serial: u64,
    /// Until when the server is taken to be there.
    fresh_until: Deadline,
}

/// Sends a message on this thread.
///
/// # Errors
/// The message: it has to go the other way.
pub(super) fn send(
    spares: &Arc<Spares<Wire>>,
    shared: &Shared,
    inlet: &Arc<Inlet>,
    list: &str,
    parcel: Parcel,
) -> Result<Sending, Parcel> {
    if parcel.envelope().len() > MOST_BYTES {
        return Err(parcel);
    }
    let Some(line) = take(spares, shared, parcel.deadline) else {
        return Err(parcel);
    };
    let mut push = Cmd::with_capacity(3, parcel.envelope().len() + list.len() + 8);
    push.arg("LPUSH").arg(list).arg(parcel.envelope());
    let answer_by = Deadline::after(shared.link.response_timeout()).min(parcel.deadline);
    Ok(Sending {
        spares: Arc::clone(spares),
        inlet: Arc::clone(inlet),
        open: Some((line, parcel)),
        talk: Talk::new(push.get_packed_command()),
        answer_by,
    })
}

/// A connection beside the link's own; `None` where there is none, or none can be had now.
fn take(spares: &Spares<Wire>, shared: &Shared, deadline: Deadline) -> Option<Line<Wire>> {
    let serial = shared.link.current_serial()?;
    if !shared.declared.lock().is_complete(serial) {
        return None;
    }
    let is_usable =
        |wire: &mut Wire| wire.serial == serial && (!wire.fresh_until.has_passed() || wire.is_quiet());
    spares.take(is_usable, || Wire::open(&shared.link, serial, deadline))
}

impl Wire {
    fn open(way: &Link, serial: u64, deadline: Deadline) -> Option<Self> {
        let opening = async { tokio::time::timeout(deadline.left(), way.open_plain()).await };
        let (stream, greeting) = runtime::handle().ok()?.block_on(opening).ok()??;
        stream.set_waits(true).ok()?;
        let mut wire = Self {
            stream,
            serial,
            fresh_until: Deadline::after(IDLE),
        };
        let is_let_in = greeting.iter().all(|command| wire.greets(command, deadline));
        is_let_in.then_some(wire)
    }

    fn greets(&mut self, command: &Cmd, deadline: Deadline) -> bool {
        let mut talk = Talk::new(command.get_packed_command());
        while !deadline.has_passed() {
            match talk.go_on(&mut *self.stream) {
                Ok(None) => {}
                Ok(Some(answer)) => return answer == Value::Okay,
                Err(_) => return false,
            }
        }
        false
    }

    /// Whether the server has said nothing since, as that it hangs up.
    fn is_quiet(&mut self) -> bool {
        self.stream.set_waits(false).is_ok()
            && matches!(self.stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
            && self.stream.set_waits(true).is_ok()
    }
}

/// A message on its way; [`Underway`] says how it is waited for.
#[derive(Debug)]
pub(super) struct Sending {
    spares: Arc<Spares<Wire>>,
    inlet: Arc<Inlet>,
    open: Option<(Line<Wire>, Parcel)>,
    talk: Talk,
    answer_by: Deadline,
}

impl Underway for Sending {
    fn go_on(&mut self) -> bool {
        let Some((mut line, mut parcel)) = self.open.take() else {
            return true;
        };
        match self.talk.go_on(&mut *line.wire.stream) {
            Ok(Some(Value::Int(_))) => {
                self.give_back(line);
                parcel.receipt.confirm();
            }
            Ok(Some(Value::ServerError(_))) => {
                // It was not taken; the sending task says why, or finds another server.
                self.give_back(line);
                self.inlet.push(parcel);
            }
            Ok(None) if !self.answer_by.has_passed() => {
                self.open = Some((line, parcel));
                return false;
            }
            Ok(None) if parcel.deadline.has_passed() => {
                parcel.was_sent = true;
                let cause = Error::Closed { what: "publisher" };
                parcel.give_up(cause);
            }
            Ok(_) | Err(_) => {
                drop(line);
                tracing::warn!("no answer to a message: it is sent again over another connection");
                parcel.was_sent = true;
                self.inlet.push(parcel);
            }
        }
        true
    }
}

impl Sending {
    fn give_back(&self, mut line: Line<Wire>) {
        line.wire.fresh_until = Deadline::after(IDLE);
        self.spares.give_back(line);
    }
}

/// One command on its way, and its answer.
#[derive(Debug)]
struct Talk {
    said: Vec<u8>,
    written: usize,
    heard: Vec<u8>,
}

impl Talk {
    fn new(said: Vec<u8>) -> Self {
        Self {
            said,
            written: 0,
            heard: Vec::new(),
        }
    }

    /// Writes, then reads, until there is the answer or one of them has waited for a slice.
    fn go_on(&mut self, stream: &mut dyn BlockingWire) -> io::Result<Option<Value>> {
        loop {
            match self.step(stream) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                // An answer to these commands is one line.
                Ok(_) if self.heard.ends_with(b"\r\n") => return self.answer().map(Some),
                Ok(_) => {}
                Err(error) if passes(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn answer(&self) -> io::Result<Value> {
        if let [b':', number @ .., b'\r', b'\n'] = &self.heard[..]
            && let Some(number) = std::str::from_utf8(number)
                .ok()
                .and_then(|text| text.parse().ok())
        {
            return Ok(Value::Int(number));
        }
        redis::parse_redis_value(&self.heard).map_err(io::Error::other)
    }

    /// One write or one read; how many bytes it moved.
    fn step(&mut self, stream: &mut dyn BlockingWire) -> io::Result<usize> {
        let left = self.said.get(self.written..).unwrap_or_default();
        if !left.is_empty() {
            let count = stream.write(left)?;
            self.written += count;
            return Ok(count);
        }
        let mut buffer = [0; 512];
        let count = stream.read(&mut buffer)?;
        self.heard
            .extend_from_slice(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Nothing has happened, but may yet. A signal is looked at before the next slice.
fn passes(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
