//! Sending a message on the thread that waits for it.

use celeriac_core::broker::Publisher;
use celeriac_core::error::Error;
use celeriac_core::ledger::Ledger;
use celeriac_core::time::Deadline;
use celeriac_core::wire::message::Outgoing;

/// Sends it on this thread; whether that was possible, and what failed.
pub(crate) fn send(publisher: &dyn Publisher, outgoing: Outgoing, deadline: Deadline) -> (bool, Vec<Error>) {
    let window = Ledger::new(1, usize::MAX);
    let receipt = window.enter("id".into(), 0, deadline).unwrap();
    let is_taken = match publisher.send_here(outgoing.into(), receipt, deadline) {
        Ok(mut underway) => {
            while !underway.go_on() {}
            true
        }
        Err((letter, receipt)) => {
            publisher.post(letter, None, receipt, deadline);
            false
        }
    };
    window
        .wait_empty(Deadline::after(std::time::Duration::from_secs(20)))
        .unwrap();
    let failed = window.take_failed().into_iter();
    (is_taken, failed.map(|(_, error)| error).collect())
}
