//! Protocol 1, which Celery 3 spoke and Celery 5 still sends with `task_protocol=1`: one object as
//! the body, no headers. Read here into a message of protocol 2, so that nothing behind knows of it.
//!
//! Source: docs "Message Protocol", version 1; `tests/vectors/*/protocol1.json`.

use std::borrow::Cow;

use bytes::Bytes;

use super::body;
use super::message::Message;
use crate::codec::json::{append_str, raw};
use crate::error::Result;

/// Fields of the body that are headers in protocol 2, and `utc`, which a task sees in its request.
const HEADERS: [&str; 18] = [
    "lang",
    "task",
    "id",
    "shadow",
    "eta",
    "expires",
    "group",
    "group_index",
    "retries",
    "timelimit",
    "root_id",
    "parent_id",
    "argsrepr",
    "kwargsrepr",
    "origin",
    "taskset",
    "utc",
    "ignore_result",
];

type Members<'a> = Vec<(Cow<'a, str>, &'a str)>;

/// Reads a message of protocol 1 with a JSON body; the arguments are not decoded. `None` for every
/// other message, one whose body cannot be read included: what becomes of it is not decided here.
/// A body of protocol 1 under headers of protocol 2 is read, too; then the headers prevail.
pub fn read(message: &Message) -> Option<Message> {
    let is_object = message.body.trim_ascii_start().first() == Some(&b'{');
    if !is_object || message.properties.content_type != "application/json" {
        return None;
    }
    let fields = raw::members(&message.body).ok()?;
    let own = raw::members(&message.headers).ok()?;
    let is_compressed = find(&own, "compression").is_some();
    if is_compressed || find(&fields, "task").or_else(|| find(&own, "task")).is_none() {
        return None;
    }
    let part = |name| find(&fields, name).unwrap_or("null").as_bytes();
    let args = find(&fields, "args").unwrap_or("[]").as_bytes();
    let kwargs = find(&fields, "kwargs").unwrap_or("{}").as_bytes();
    let embed = body::embed(part("callbacks"), part("errbacks"), b"null", part("chord"));
    Some(Message {
        headers: merged(&fields, &own),
        properties: message.properties.clone(),
        body: Bytes::from(body::join(args, kwargs, &embed)),
    })
}

/// The headers of protocol 2 for a body that somebody else has taken apart.
///
/// # Errors
/// [`crate::Error::Malformed`] when one of the two is not a JSON object.
pub fn headers(fields: &[u8], own: &[u8]) -> Result<Bytes> {
    Ok(merged(&raw::members(fields)?, &raw::members(own)?))
}

/// The fields that are headers, then the message's own headers over them. Nulls are left out, so
/// that they hide nothing.
fn merged(fields: &Members<'_>, own: &Members<'_>) -> Bytes {
    let mut headers: Vec<(&str, &str)> = Vec::with_capacity(HEADERS.len() + own.len());
    for name in HEADERS {
        // `taskset` is the older name of `group`, and prevails as in Celery.
        let older = if name == "group" {
            find(fields, "taskset")
        } else {
            None
        };
        if let Some(value) = older.or_else(|| find(fields, name)) {
            headers.push((name, value));
        }
    }
    for (name, value) in own.iter().filter(|(_, value)| *value != "null") {
        match headers.iter_mut().find(|(known, _)| known == name) {
            Some(header) => header.1 = value,
            None => headers.push((name, value)),
        }
    }
    let mut out = b"{".to_vec();
    for (index, (name, value)) in headers.into_iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"" } else { b", " });
        append_str(&mut out, name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'}');
    Bytes::from(out)
}

/// A member that is not null; the last of its name, as in Python.
fn find<'a>(members: &Members<'a>, name: &str) -> Option<&'a str> {
    let (_, value) = members.iter().rev().find(|(found, _)| found == name)?;
    (*value != "null").then_some(*value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::headers::Peek;
    use crate::wire::message::Properties;

    fn message(headers: &'static str, body: &'static str) -> Message {
        Message {
            headers: Bytes::from_static(headers.as_bytes()),
            properties: Properties {
                content_type: "application/json".to_owned(),
                content_encoding: "utf-8".to_owned(),
                correlation_id: None,
                reply_to: None,
                delivery_mode: 2,
                priority: None,
                expiration: None,
                delivery_tag: "tag".to_owned(),
                extra: Vec::new(),
            },
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    fn read_texts(headers: &'static str, body: &'static str) -> Option<(String, String)> {
        let read = read(&message(headers, body))?;
        let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
        Some((text(read.headers), text(read.body)))
    }

    #[test]
    fn fields_become_headers_and_the_rest_the_body() {
        let (headers, body) = read_texts(
            "{}",
            r#"{"task": "t", "id": "x", "args": [1, 2], "kwargs": {"k": "]"}, "group": null, "retries": 2,
                "eta": null, "utc": true, "callbacks": [{"task": "u"}], "errbacks": null,
                "timelimit": [9, null], "taskset": "g", "chord": null}"#,
        )
        .unwrap();
        assert_eq!(
            headers,
            r#"{"task": "t", "id": "x", "group": "g", "retries": 2, "timelimit": [9, null], "taskset": "g", "utc": true}"#
        );
        assert_eq!(
            body,
            r#"[[1, 2], {"k": "]"}, {"callbacks": [{"task": "u"}], "errbacks": null, "chain": null, "chord": null}]"#
        );
        assert_eq!(
            Peek::parse(headers.as_bytes()).unwrap().timelimit,
            (Some(9.0), None)
        );
    }

    #[test]
    fn task_and_id_are_enough() {
        let (_, body) = read_texts("{}", r#" {"task": "t", "id": "x"}"#).unwrap();
        assert!(body.starts_with("[[], {}, "), "{body}");
    }

    #[test]
    fn headers_prevail_over_the_fields_and_nulls_hide_nothing() {
        let (headers, _) = read_texts(
            r#"{"task": "header", "id": null, "mine": 1}"#,
            r#"{"task": "field", "id": "x", "args": []}"#,
        )
        .unwrap();
        assert_eq!(headers, r#"{"task": "header", "id": "x", "mine": 1}"#);
    }

    #[test]
    fn what_is_not_protocol_1_is_left_alone() {
        let v2 = r#"{"task": "t", "id": "x"}"#;
        assert_eq!(read_texts(v2, "[[], {}, null]"), None);
        assert_eq!(read_texts("{}", r#"{"id": "no task"}"#), None);
        assert_eq!(read_texts("{}", r#"{"task": "t", "id": "cut"#), None);
        assert_eq!(
            read_texts(r#"{"compression": "application/x-gzip"}"#, r#"{"task": "t"}"#),
            None
        );
    }

    #[test]
    fn a_task_without_id_is_malformed_behind_it() {
        let (headers, _) = read_texts("{}", r#"{"task": "t"}"#).unwrap();
        assert!(Peek::parse(headers.as_bytes()).is_err());
    }
}
