//! The queue between the callers and the connection.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::Notify;

use super::parcel::Parcel;
use crate::error::Error;

/// Messages between the callers and the connection. The publishing windows bound the bytes.
const MAX_QUEUED: usize = 4_096;
/// Bytes that are worth a pipeline of their own, however few messages they are.
const FULL_BYTES: usize = 128 << 10;

/// Where callers put messages, and the sending task takes them from, all at once.
#[derive(Debug, Default)]
pub(super) struct Inlet {
    state: Mutex<State>,
    has_room: Condvar,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    parcels: VecDeque<Parcel>,
    bytes: usize,
    /// Somebody waits for just one of them.
    is_urgent: bool,
    /// At how many messages the sending task wants to be woken; `None` while it is at work.
    wake_at: Option<usize>,
    is_closed: bool,
}

impl State {
    fn is_worth(&self, least: usize) -> bool {
        self.parcels.len() >= least || self.is_urgent || self.bytes >= FULL_BYTES
    }
}

impl Inlet {
    /// Takes a parcel over. Waits until its deadline while the queue is full; tells the receipt
    /// when it still is, or when nobody sends any more.
    pub(super) fn push(&self, parcel: Parcel) {
        let mut state = self.state.lock();
        while state.parcels.len() >= MAX_QUEUED && !state.is_closed {
            let waited = self.has_room.wait_until(&mut state, parcel.deadline.instant());
            if waited.timed_out() {
                drop(state);
                let error = Error::TimedOut {
                    what: "a full publishing queue",
                    waited_ms: parcel.granted_ms(),
                };
                return parcel.receipt.fail(error);
            }
        }
        self.put(state, parcel);
    }

    /// Takes a parcel over if there is room now.
    pub(super) fn try_push(&self, parcel: Parcel) -> Result<(), Parcel> {
        let state = self.state.lock();
        if state.parcels.len() >= MAX_QUEUED && !state.is_closed {
            return Err(parcel);
        }
        self.put(state, parcel);
        Ok(())
    }

    fn put(&self, mut state: MutexGuard<'_, State>, parcel: Parcel) {
        if state.is_closed {
            drop(state);
            return parcel.receipt.fail(Error::Closed { what: "publisher" });
        }
        state.bytes += parcel.letter.envelope.len();
        state.is_urgent |= parcel.receipt.is_awaited();
        state.parcels.push_back(parcel);
        if state.wake_at.is_some_and(|least| state.is_worth(least)) {
            state.wake_at = None;
            drop(state);
            self.arrived.notify_one();
        }
    }

    /// Waits until there are `least` messages, or one that somebody waits for, and takes all there
    /// are. False: nothing more will come.
    pub(super) async fn take(&self, into: &mut VecDeque<Parcel>, least: usize) -> bool {
        loop {
            {
                let mut state = self.state.lock();
                if state.is_closed || state.is_worth(least) {
                    into.append(&mut state.parcels);
                    (state.bytes, state.is_urgent, state.wake_at) = (0, false, None);
                    self.has_room.notify_all();
                    return !state.is_closed;
                }
                state.wake_at = Some(least);
            }
            self.arrived.notified().await;
        }
    }

    /// Lets nothing more in.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.has_room.notify_all();
        self.arrived.notify_one();
    }

    /// Lets nothing more in, and reports what is in it as lost.
    pub(super) fn give_up(&self) {
        self.close();
        let left = std::mem::take(&mut self.state.lock().parcels);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::FutureExt as _;

    use super::*;
    use crate::broker::redis::parcel::tests::parcel;
    use crate::ledger::Ledger;

    /// How many are taken, if it does not wait.
    fn taken(inlet: &Inlet, least: usize) -> Option<usize> {
        let mut into = VecDeque::new();
        inlet.take(&mut into, least).now_or_never().map(|_| into.len())
    }

    #[test]
    fn few_messages_wait_until_they_are_worth_a_flight_and_go_together() {
        let (inlet, window) = (Inlet::default(), Ledger::new(10, 1_000));
        inlet.push(parcel(&window, "q"));
        assert_eq!(taken(&inlet, 2), None);
        inlet.push(parcel(&window, "q"));
        assert_eq!(taken(&inlet, 2), Some(2));
        assert_eq!(taken(&inlet, 1), None);
    }

    #[test]
    fn a_message_that_somebody_waits_for_takes_the_others_along() {
        let (inlet, window) = (Inlet::default(), Ledger::new(10, 1_000));
        inlet.push(parcel(&window, "q"));
        inlet.push(parcel(&Ledger::new(1, 100), "q"));
        assert_eq!(taken(&inlet, 64), Some(2));
    }

    #[test]
    fn a_full_inlet_gives_back_what_must_not_wait() {
        let (inlet, window) = (Inlet::default(), Ledger::new(MAX_QUEUED + 1, usize::MAX));
        for _ in 0..MAX_QUEUED {
            assert!(inlet.try_push(parcel(&window, "q")).is_ok());
        }
        let given_back = inlet.try_push(parcel(&window, "q")).unwrap_err();
        assert_eq!(taken(&inlet, 64), Some(MAX_QUEUED));
        assert!(inlet.try_push(given_back).is_ok());
    }

    #[test]
    fn what_is_in_a_closed_inlet_is_still_taken_and_nothing_is_let_in() {
        let (inlet, window) = (Inlet::default(), Ledger::new(10, 1_000));
        inlet.push(parcel(&window, "q"));
        inlet.close();
        inlet.push(parcel(&window, "q"));
        let mut into = VecDeque::new();
        assert_eq!(inlet.take(&mut into, 64).now_or_never(), Some(false));
        assert_eq!((into.len(), window.take_failed().len()), (1, 1));
    }

    #[test]
    fn what_is_given_up_is_reported() {
        let (inlet, window) = (Inlet::default(), Ledger::new(10, 1_000));
        inlet.push(parcel(&window, "q"));
        inlet.give_up();
        let told = Error::Closed { what: "publisher" };
        assert_eq!(window.take_failed(), [("id".into(), told)]);
    }
}
