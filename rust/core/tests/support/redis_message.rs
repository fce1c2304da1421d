//! A message as the tests of Redis send it.

use bytes::Bytes;
use celeriac_core::wire::message::{Message, Outgoing, Properties, Target};

/// Its body is its tag.
pub(crate) fn message(queue: &str, tag: &str, priority: u8) -> Outgoing {
    Outgoing {
        message: Message {
            headers: Bytes::from_static(br#"{"lang": "py", "task": "add", "id": "1"}"#),
            properties: Properties {
                content_type: "application/json".to_owned(),
                content_encoding: "utf-8".to_owned(),
                correlation_id: Some("1".to_owned()),
                reply_to: None,
                delivery_mode: 2,
                priority: Some(priority),
                expiration: None,
                delivery_tag: tag.to_owned(),
                extra: Vec::new(),
            },
            body: Bytes::copy_from_slice(tag.as_bytes()),
        },
        target: Target {
            exchange: String::new(),
            routing_key: queue.to_owned(),
        },
        mandatory: None,
    }
}
