//! A message on its way to Redis, and the duty to say what became of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::error::Error;
use crate::ledger::Receipt;
use crate::time::Deadline;
use crate::wire::letter::{Letter, Sealed};

/// A message on its way.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) letter: Arc<Sealed>,
    /// The envelope under another delivery tag, once the first copy may have arrived.
    renewed: Option<Bytes>,
    pub(super) subscribe_to: Option<String>,
    pub(super) receipt: Receipt,
    pub(super) deadline: Deadline,
    /// Wait that the caller granted, for the error that says so.
    granted: Duration,
    pub(super) was_sent: bool,
}

impl Parcel {
    /// Encodes a message, if need be; done by the caller's thread.
    pub(super) fn new(
        letter: Letter,
        subscribe_to: Option<&str>,
        receipt: Receipt,
        deadline: Deadline,
    ) -> Self {
        Self {
            letter: letter.sealed(),
            renewed: None,
            subscribe_to: subscribe_to.map(str::to_owned),
            receipt,
            deadline,
            granted: deadline.left(),
            was_sent: false,
        }
    }

    /// Gives the message a new delivery tag: the first copy may have arrived, and two copies with
    /// one tag would share one lease.
    pub(super) fn renew(&mut self) {
        if self.was_sent {
            self.renewed = Some(self.letter.copy().into());
        }
    }

    /// What lies in the list.
    pub(super) fn envelope(&self) -> &[u8] {
        self.renewed.as_ref().unwrap_or(&self.letter.envelope)
    }

    /// Nobody knows, or the server was never reached.
    pub(super) fn give_up(self, cause: Error) {
        let error = if self.was_sent {
            Error::Unconfirmed {
                waited_ms: self.granted_ms(),
            }
        } else {
            cause
        };
        self.receipt.fail(error);
    }

    /// The wait that its caller granted.
    pub(super) fn granted_ms(&self) -> u64 {
        u64::try_from(self.granted.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use crate::wire::message::Target;

    /// A parcel for a queue, entered in a window.
    pub(in crate::broker::redis) fn parcel(window: &Arc<Ledger>, queue: &str) -> Parcel {
        let deadline = Deadline::after(Duration::from_secs(10));
        let envelope = br#"{"body": "", "properties": {"delivery_tag": "#.to_vec();
        let tag_at = envelope.len();
        let sealed = Sealed {
            envelope: [&envelope[..], br#""tag"}}"#].concat().into(),
            tag_at,
            target: Arc::new(Target {
                exchange: String::new(),
                routing_key: queue.to_owned(),
            }),
            priority: None,
            mandatory: None,
        };
        let receipt = window.enter("id".into(), 1, deadline).unwrap();
        Parcel::new(Letter::Sealed(Arc::new(sealed)), None, receipt, deadline)
    }

    #[test]
    fn what_may_have_arrived_is_sent_again_under_another_tag() {
        let mut parcel = parcel(&Ledger::new(1, 100), "q");
        let first = parcel.envelope().to_vec();
        parcel.renew();
        assert_eq!(parcel.envelope(), first);
        parcel.was_sent = true;
        parcel.renew();
        assert_ne!(parcel.envelope(), first);
        assert_eq!(
            parcel.envelope()[..parcel.letter.tag_at],
            first[..parcel.letter.tag_at]
        );
    }
}
