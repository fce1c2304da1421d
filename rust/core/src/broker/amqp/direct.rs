//! A message whose sender waits for it, published and waited for on the sender's own thread: by the
//! sending task it takes two changes of threads more (decision 15).
//!
//! Only over a connection that is there, with everything declared. Each such sender has a channel of its
//! own for the time: what the server says on it is about this message. Whatever goes wrong makes the
//! message go the sending task's way, which tells what is wrong, connects anew, and sends again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use lapin::{Channel, Confirmation};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::link::{Fault, Live, Role, open_channel};
use super::parcel::Parcel;
use super::publisher::hand_over;
use super::sender::{Shared, publish};
use crate::broker::Underway;
use crate::broker::spare::{Line, Spares};
use crate::runtime;
use crate::time::Deadline;

/// How long one turn of waiting takes: signals are looked at between two.
const SLICE: Duration = Duration::from_millis(50);
/// A channel for one message at a time.
#[derive(Debug)]
pub(super) struct Wire {
    channel: Channel,
    /// The channel of the link beside which it was opened: what is declared there is declared here.
    serial: u64,
}

/// A channel for one message; `None` where there is none, or none can be had now.
pub(super) fn take(
    spares: &Arc<Spares<Wire>>,
    shared: &Arc<Shared>,
    role: Role,
    deadline: Deadline,
) -> Option<Free> {
    let live = shared.link.usable()?;
    if live.connection.status().blocked() || !shared.missing(live.serial).is_empty() {
        return None;
    }
    let is_usable = |wire: &mut Wire| wire.serial == live.serial && wire.channel.status().connected();
    let taken = spares.take(is_usable, || open(&live, role, deadline))?;
    Some(Free {
        spares: Arc::clone(spares),
        shared: Arc::clone(shared),
        line: taken,
    })
}

fn open(live: &Live, role: Role, deadline: Deadline) -> Option<Wire> {
    let opening = async { timeout(deadline.left(), open_channel(&live.connection, role)).await };
    let opened = runtime::handle().ok()?.block_on(opening).ok()?;
    Some(Wire {
        channel: opened.ok()?,
        serial: live.serial,
    })
}

/// A channel that nobody else uses now.
pub(super) struct Free {
    spares: Arc<Spares<Wire>>,
    shared: Arc<Shared>,
    line: Line<Wire>,
}

impl Free {
    /// Publishes a message. `inlet` is the other way.
    pub(super) fn send(self, parcel: Parcel, inlet: mpsc::Sender<Parcel>) -> Sending {
        let Self { spares, shared, line } = self;
        let published = publish(line.wire.channel.clone(), &parcel, shared.mandatory);
        Sending {
            spares,
            shared,
            inlet,
            flight: Box::pin(async move {
                let (was_sent, answer) = published.await;
                (was_sent, answer.map_err(Fault::from))
            }),
            open: Some((line, parcel)),
        }
    }
}

/// Whether the whole message was written, and the server's answer.
type Answer = (bool, Result<Confirmation, Fault>);

/// A message on its way; [`Underway`] says how it is waited for.
pub(super) struct Sending {
    spares: Arc<Spares<Wire>>,
    shared: Arc<Shared>,
    inlet: mpsc::Sender<Parcel>,
    flight: Pin<Box<dyn Future<Output = Answer> + Send>>,
    open: Option<(Line<Wire>, Parcel)>,
}

impl Underway for Sending {
    fn go_on(&mut self) -> bool {
        let Some((line, mut parcel)) = self.open.take() else {
            return true;
        };
        match self.wait(Deadline::after(SLICE).min(parcel.deadline)) {
            Some((_, Ok(confirmation))) => {
                self.spares.give_back(line);
                self.tell(parcel, confirmation);
            }
            Some((was_sent, Err(_))) => {
                if was_sent {
                    tracing::warn!("no confirmation of a message: it is sent again over another channel");
                }
                parcel.was_sent |= was_sent;
                hand_over(&self.inlet, parcel);
            }
            // Its channel goes with it, since an answer would come after all.
            None if parcel.deadline.has_passed() => {
                parcel.was_sent = true;
                parcel.give_up(
                    self.shared
                        .link
                        .refused("it did not take the message in time", true),
                );
            }
            None => {
                self.open = Some((line, parcel));
                return false;
            }
        }
        true
    }
}

impl Sending {
    fn wait(&mut self, deadline: Deadline) -> Option<Answer> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(answer) = self.flight.as_mut().poll(&mut context) {
                return Some(answer);
            }
            if deadline.has_passed() {
                return None;
            }
            std::thread::park_timeout(deadline.left());
        }
    }

    fn tell(&self, mut parcel: Parcel, confirmation: Confirmation) {
        let (is_acked, returned) = match confirmation {
            Confirmation::Ack(returned) => (true, returned),
            Confirmation::Nack(returned) => (false, returned),
            Confirmation::NotRequested => (true, None),
        };
        parcel.was_returned = returned.is_some();
        parcel.answer(&self.shared.link, is_acked);
    }
}

/// Wakes the thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
