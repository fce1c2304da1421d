//! A message to its envelope.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::codec::json::append_str;
use crate::wire::message::{Message, Outgoing, Properties, Target};

/// Encodes a message as kombu does; `delivery_tag` is the last key.
pub fn encode(outgoing: &Outgoing) -> Vec<u8> {
    let Message {
        headers,
        properties,
        body,
    } = &outgoing.message;
    let mut out = Vec::with_capacity(512 + headers.len() + body.len() / 3 * 4);
    out.extend_from_slice(b"{\"body\": \"");
    append_base64(&mut out, body);
    out.extend_from_slice(b"\", \"content-encoding\": ");
    append_str(&mut out, &properties.content_encoding);
    out.extend_from_slice(b", \"content-type\": ");
    append_str(&mut out, &properties.content_type);
    out.extend_from_slice(b", \"headers\": ");
    out.extend_from_slice(headers);
    out.extend_from_slice(b", \"properties\": {");
    append_properties(&mut out, properties, &outgoing.target);
    out.extend_from_slice(b"}}");
    out
}

fn append_base64(out: &mut Vec<u8>, body: &[u8]) {
    let start = out.len();
    out.resize(start + body.len().div_ceil(3) * 4, 0);
    let written = BASE64.encode_slice(body, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

fn append_properties(out: &mut Vec<u8>, properties: &Properties, target: &Target) {
    let texts = [
        ("correlation_id", &properties.correlation_id),
        ("reply_to", &properties.reply_to),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            append_member(out, name, |out| append_str(out, value));
        }
    }
    for (name, value) in &properties.extra {
        append_member(out, name, |out| out.extend_from_slice(value.as_bytes()));
    }
    append_member(out, "delivery_mode", |out| {
        append_number(out, properties.delivery_mode);
    });
    if let Some(expiration) = &properties.expiration {
        append_member(out, "expiration", |out| append_str(out, expiration));
    }
    append_member(out, "delivery_info", |out| {
        out.extend_from_slice(b"{\"exchange\": ");
        append_str(out, &target.exchange);
        out.extend_from_slice(b", \"routing_key\": ");
        append_str(out, &target.routing_key);
        out.push(b'}');
    });
    append_member(out, "priority", |out| {
        append_number(out, properties.priority.unwrap_or(0));
    });
    append_member(out, "body_encoding", |out| append_str(out, "base64"));
    append_member(out, "delivery_tag", |out| {
        append_str(out, &properties.delivery_tag);
    });
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
