//! The properties of a message: ours to AMQP's basic properties, and back.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{FieldTable, ShortString};

use super::headers::{self, short};
use crate::codec::json::raw;
use crate::error::{Error, Result};
use crate::wire::message::{Message, Properties};

type Setter = fn(BasicProperties, ShortString) -> BasicProperties;
type Getter = fn(&BasicProperties) -> &Option<ShortString>;

/// AMQP properties that Celery never sets itself, and passes on when a user does. Other unknown
/// options of `apply_async` have no place on AMQP (py-amqp drops them, too).
const EXTRA: [(&str, Setter, Getter); 5] = [
    (
        "message_id",
        BasicProperties::with_message_id,
        BasicProperties::message_id,
    ),
    ("type", BasicProperties::with_type, BasicProperties::kind),
    ("user_id", BasicProperties::with_user_id, BasicProperties::user_id),
    ("app_id", BasicProperties::with_app_id, BasicProperties::app_id),
    (
        "cluster_id",
        BasicProperties::with_cluster_id,
        BasicProperties::cluster_id,
    ),
];

/// Likewise; seconds since 1970.
const TIMESTAMP: &str = "timestamp";

/// What goes on the wire beside the body.
///
/// # Errors
/// [`crate::Error::Unencodable`] for what AMQP cannot carry.
pub(super) fn to_amqp(message: &Message) -> Result<BasicProperties> {
    let given = &message.properties;
    let mut properties = BasicProperties::default()
        .with_content_type(short("content_type", &given.content_type)?)
        .with_content_encoding(short("content_encoding", &given.content_encoding)?)
        .with_headers(headers::table(&message.headers)?)
        .with_delivery_mode(given.delivery_mode);
    if let Some(priority) = given.priority {
        properties = properties.with_priority(priority);
    }
    if let Some(id) = &given.correlation_id {
        properties = properties.with_correlation_id(short("correlation_id", id)?);
    }
    if let Some(reply_to) = &given.reply_to {
        properties = properties.with_reply_to(short("reply_to", reply_to)?);
    }
    if let Some(expiration) = &given.expiration {
        properties = properties.with_expiration(short("expiration", expiration)?);
    }
    for (name, json) in &given.extra {
        if name == TIMESTAMP {
            properties = properties.with_timestamp(seconds(json)?);
            continue;
        }
        let known = EXTRA.iter().find(|(known, ..)| known == name);
        if let (Some((_, set, _)), Some(text)) = (known, raw::string(json)?) {
            properties = set(properties, short(name, &text)?);
        }
    }
    Ok(properties)
}

fn seconds(json: &str) -> Result<u64> {
    json.parse().map_err(|_| Error::Unencodable {
        detail: format!("the property {TIMESTAMP} is a whole number of seconds since 1970, not {json}"),
    })
}

/// A message that arrived.
pub(super) fn from_amqp(found: &BasicProperties, body: Bytes, tag: u64) -> Message {
    let text = |value: &Option<ShortString>| value.as_ref().map(|text| text.as_str().to_owned());
    let headers = found
        .headers()
        .as_ref()
        .map_or_else(|| headers::text(&FieldTable::default()), headers::text);
    Message {
        headers: Bytes::from(headers),
        properties: Properties {
            content_type: text(found.content_type()).unwrap_or_default(),
            content_encoding: text(found.content_encoding()).unwrap_or_default(),
            correlation_id: text(found.correlation_id()),
            reply_to: text(found.reply_to()),
            // AMQP: a message without a mode is transient.
            delivery_mode: found.delivery_mode().unwrap_or(1),
            priority: *found.priority(),
            expiration: text(found.expiration()),
            delivery_tag: tag.to_string(),
            extra: extra(found),
        },
        body,
    }
}

fn extra(found: &BasicProperties) -> Vec<(String, String)> {
    let mut extra = Vec::new();
    for (name, _, get) in EXTRA {
        if let Some(text) = get(found) {
            let mut json = Vec::new();
            crate::codec::json::append_str(&mut json, text.as_str());
            extra.push((name.to_owned(), String::from_utf8_lossy(&json).into_owned()));
        }
    }
    if let Some(seconds) = found.timestamp() {
        extra.push((TIMESTAMP.to_owned(), seconds.to_string()));
    }
    extra
}
