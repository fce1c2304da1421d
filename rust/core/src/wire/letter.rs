//! A message on its way out: in parts, or in kombu's envelope already.

use std::sync::Arc;

use bytes::Bytes;

use super::envelope;
use super::message::{Outgoing, Target};
use crate::error::Result;
use crate::ids;

/// A message as a publisher takes it. Clones share its bytes.
#[derive(Clone, Debug)]
pub enum Letter {
    /// In parts, for brokers that carry them apart.
    Open(Arc<Outgoing>),
    /// In its envelope, for those that carry that.
    Sealed(Arc<Sealed>),
}

/// A message in its envelope, and what its sender has to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// kombu's envelope.
    pub envelope: Bytes,
    /// Where in it the delivery tag's JSON begins; nothing but brackets follows the tag.
    pub tag_at: usize,
    /// Where it goes; shared by the messages of a template.
    pub target: Arc<Target>,
    /// See [`super::message::Properties::priority`].
    pub priority: Option<u8>,
    /// See [`Outgoing::mandatory`].
    pub mandatory: Option<bool>,
}

impl Sealed {
    /// Puts a message into its envelope.
    pub fn of(outgoing: &Outgoing) -> Self {
        let (envelope, tag_at) = envelope::encode_open(outgoing);
        Self {
            envelope: envelope.into(),
            tag_at,
            target: Arc::new(outgoing.target.clone()),
            priority: outgoing.message.properties.priority,
            mandatory: outgoing.mandatory,
        }
    }

    /// The envelope with a delivery tag of its own: two copies with one tag would share one lease.
    pub fn copy(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(self.envelope.len());
        copy.extend_from_slice(self.envelope.get(..self.tag_at).unwrap_or_default());
        envelope::append_tag(&mut copy, &ids::fresh_text());
        copy
    }

    /// Whether its sender wants to hear of it that no queue takes it.
    pub fn is_mandatory(&self) -> bool {
        self.mandatory == Some(true)
    }
}

impl Letter {
    /// How large it is, roughly.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Open(outgoing) => outgoing.message.body.len() + outgoing.message.headers.len(),
            Self::Sealed(sealed) => sealed.envelope.len(),
        }
    }

    /// In its envelope.
    pub fn sealed(self) -> Arc<Sealed> {
        match self {
            Self::Open(outgoing) => Arc::new(Sealed::of(&outgoing)),
            Self::Sealed(sealed) => sealed,
        }
    }

    /// In parts.
    ///
    /// # Errors
    /// [`crate::Error::Malformed`] for an envelope that was not made here.
    pub fn open(self) -> Result<Arc<Outgoing>> {
        match self {
            Self::Open(outgoing) => Ok(outgoing),
            Self::Sealed(sealed) => {
                let read = envelope::decode(&sealed.envelope)?;
                let mut message = read.message;
                message.properties.priority = sealed.priority;
                Ok(Arc::new(Outgoing {
                    message,
                    target: read.target,
                    mandatory: sealed.mandatory,
                }))
            }
        }
    }

    /// The same message under another delivery tag, to be sent once more.
    #[must_use]
    pub fn again(&self) -> Self {
        match self {
            Self::Open(outgoing) => {
                let mut copy = Outgoing::clone(outgoing);
                copy.message.properties.delivery_tag = ids::fresh_text();
                copy.into()
            }
            Self::Sealed(sealed) => Self::Sealed(Arc::new(Sealed {
                envelope: sealed.copy().into(),
                target: Arc::clone(&sealed.target),
                ..**sealed
            })),
        }
    }
}

impl From<Outgoing> for Letter {
    fn from(outgoing: Outgoing) -> Self {
        Self::Open(Arc::new(outgoing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::template::{Call, Repr, Task, Template};

    fn template() -> Template {
        Template::new(Task {
            name: "tasks.add".into(),
            shadow: None,
            timelimit: "[null, null]".into(),
            origin: "gen1@host".into(),
            ignore_result: None,
            content_type: "application/json".into(),
            content_encoding: "utf-8".into(),
            reply_to: Some("oid".into()),
            delivery_mode: 2,
            priority: None,
            target: Target {
                exchange: String::new(),
                routing_key: "celery".into(),
            },
            headers: vec![("tenant".into(), "\"blue\"".into())],
            compression: None,
        })
    }

    fn calls() -> [Call<'static>; 2] {
        let plain = Call {
            delivery_tag: Some("tag"),
            ..Call::default()
        };
        let wordy = Call {
            eta: Some("2030-01-01T00:00:00+00:00"),
            expiration: Some("10"),
            argsrepr: Some("shown \u{e9}"),
            routing_key: Some("other"),
            priority: Some(3),
            reply_to: Some("mine"),
            ..plain
        };
        [plain, wordy]
    }

    fn both(call: &Call<'_>) -> (Outgoing, Sealed) {
        let call = Call {
            task_id: Some("id"),
            ..*call
        };
        let body = b"[[1], {}, null]";
        let open = template().build(&call, bytes::Bytes::from_static(body), "(1,)", "{}");
        let shown = (Repr::Text("(1,)"), Repr::Text("{}"));
        (open, template().seal(&call, "id", body, shown))
    }

    #[test]
    fn a_message_is_sealed_into_the_bytes_that_its_parts_are_encoded_to() {
        for call in calls() {
            let (open, sealed) = both(&call);
            assert_eq!(sealed, Sealed::of(&open));
        }
    }

    #[test]
    fn a_sealed_message_opens_into_its_parts() {
        for call in calls() {
            let (open, sealed) = both(&call);
            assert_eq!(*Letter::Sealed(Arc::new(sealed)).open().unwrap(), open);
        }
    }

    #[test]
    fn a_copy_differs_in_nothing_but_its_delivery_tag() {
        let (_, sealed) = both(&calls()[1]);
        let copies = [sealed.copy(), sealed.copy()].map(|copy| envelope::decode(&copy).unwrap());
        let tags = copies
            .each_ref()
            .map(|copy| copy.message.properties.delivery_tag.clone());
        assert_ne!(tags[0], tags[1]);
        let mut original = envelope::decode(&sealed.envelope).unwrap();
        for copy in copies {
            original
                .message
                .properties
                .delivery_tag
                .clone_from(&copy.message.properties.delivery_tag);
            assert_eq!(copy, original);
        }
    }
}
