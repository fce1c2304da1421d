//! A message to its envelope.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::codec::json::append_str;
use crate::wire::message::{Message, Outgoing, Target};

/// Encodes a message as kombu does; `delivery_tag` is the last key.
pub fn encode(outgoing: &Outgoing) -> Vec<u8> {
    encode_open(outgoing).0
}

/// [`encode`], and where in the envelope the delivery tag's JSON begins.
pub(in crate::wire) fn encode_open(outgoing: &Outgoing) -> (Vec<u8>, usize) {
    let Message {
        headers,
        properties,
        body,
    } = &outgoing.message;
    let Target {
        exchange,
        routing_key,
    } = &outgoing.target;
    let parts = Parts {
        content_type: &properties.content_type,
        content_encoding: &properties.content_encoding,
        correlation_id: properties.correlation_id.as_deref(),
        reply_to: properties.reply_to.as_deref(),
        extra: &properties.extra,
        delivery_mode: properties.delivery_mode,
        expiration: properties.expiration.as_deref(),
        exchange,
        routing_key,
        priority: properties.priority.unwrap_or(0),
        delivery_tag: &properties.delivery_tag,
    };
    let mut out = Vec::with_capacity(512 + headers.len() + body.len() / 3 * 4);
    let tag_at = append(&mut out, body, &parts, |out| out.extend_from_slice(headers));
    (out, tag_at)
}

/// What an envelope holds beside headers and body.
#[derive(Clone, Copy, Debug)]
pub(in crate::wire) struct Parts<'a> {
    pub(in crate::wire) content_type: &'a str,
    pub(in crate::wire) content_encoding: &'a str,
    pub(in crate::wire) correlation_id: Option<&'a str>,
    pub(in crate::wire) reply_to: Option<&'a str>,
    pub(in crate::wire) extra: &'a [(String, String)],
    pub(in crate::wire) delivery_mode: u8,
    pub(in crate::wire) expiration: Option<&'a str>,
    pub(in crate::wire) exchange: &'a str,
    pub(in crate::wire) routing_key: &'a str,
    pub(in crate::wire) priority: u8,
    pub(in crate::wire) delivery_tag: &'a str,
}

const START: &[u8] = b"{\"body\": \"";
/// Where in an envelope its body begins.
pub(in crate::wire) const BODY_AT: usize = START.len();

/// Appends an envelope; returns where in `out` the delivery tag's JSON begins.
pub(in crate::wire) fn append(
    out: &mut Vec<u8>,
    body: &[u8],
    parts: &Parts<'_>,
    append_headers: impl FnOnce(&mut Vec<u8>),
) -> usize {
    out.extend_from_slice(START);
    append_base64(out, body);
    out.extend_from_slice(b"\", \"content-encoding\": ");
    append_str(out, parts.content_encoding);
    out.extend_from_slice(b", \"content-type\": ");
    append_str(out, parts.content_type);
    out.extend_from_slice(b", \"headers\": ");
    append_headers(out);
    out.extend_from_slice(b", \"properties\": {");
    append_properties(out, parts);
    let tag_at = out.len();
    append_tag(out, parts.delivery_tag);
    tag_at
}

/// Appends the delivery tag's JSON, and what follows it.
pub(in crate::wire) fn append_tag(out: &mut Vec<u8>, delivery_tag: &str) {
    append_str(out, delivery_tag);
    out.extend_from_slice(AFTER_TAG);
}

/// What follows the delivery tag.
pub(in crate::wire) const AFTER_TAG: &[u8] = b"}}";

pub(in crate::wire) fn append_base64(out: &mut Vec<u8>, body: &[u8]) {
    let start = out.len();
    out.resize(start + body.len().div_ceil(3) * 4, 0);
    let written = BASE64.encode_slice(body, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

/// Up to the delivery tag's name.
fn append_properties(out: &mut Vec<u8>, parts: &Parts<'_>) {
    let texts = [
        ("correlation_id", parts.correlation_id),
        ("reply_to", parts.reply_to),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            append_member(out, name, |out| append_str(out, value));
        }
    }
    for (name, value) in parts.extra {
        append_member(out, name, |out| out.extend_from_slice(value.as_bytes()));
    }
    append_member(out, "delivery_mode", |out| {
        append_number(out, parts.delivery_mode);
    });
    if let Some(expiration) = parts.expiration {
        append_member(out, "expiration", |out| append_str(out, expiration));
    }
    out.extend_from_slice(b", \"delivery_info\": {\"exchange\": ");
    append_str(out, parts.exchange);
    out.extend_from_slice(b", \"routing_key\": ");
    append_str(out, parts.routing_key);
    out.extend_from_slice(b"}, \"priority\": ");
    append_number(out, parts.priority);
    out.extend_from_slice(b", \"body_encoding\": \"base64\", \"delivery_tag\": ");
}

pub(super) fn append_member(out: &mut Vec<u8>, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
    if out.last() != Some(&b'{') {
        out.extend_from_slice(b", ");
    }
    append_str(out, name);
    out.extend_from_slice(b": ");
    value(out);
}

fn append_number(out: &mut Vec<u8>, number: u8) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}
