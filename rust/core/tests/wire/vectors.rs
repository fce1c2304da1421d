//! What we write and read, compared byte for byte with what the real Celery put on Redis.
//! Source: `tests/vectors/README.md`.
#![expect(clippy::unwrap_used, reason = "a broken vector must stop the test")]

use crate::value::{VERSIONS, Value, from_json, from_msgpack, recorded, recorded_of, to_json, to_msgpack};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use celeriac_core::wire::headers::Peek;
use celeriac_core::wire::message::Target;
use celeriac_core::wire::template::{Call, Repr, Task, Template};
use celeriac_core::wire::times::parse_iso;
use celeriac_core::wire::{body, envelope, redis_keys, result_meta};
use serde::Deserialize;

#[derive(Deserialize)]
struct Messages {
    origin: String,
    reply_to: String,
    task: String,
    first_id: String,
    second_id: String,
    vectors: Vec<MessageVector>,
}

#[derive(Deserialize)]
struct MessageVector {
    name: String,
    fields: Option<Fields>,
    messages: Vec<ListItem>,
}

#[derive(Deserialize)]
struct ListItem {
    list: String,
    raw: String,
    restored: String,
}

/// A call as `tests/vectors/message_cases.py` writes it down.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fields {
    task: Option<String>,
    task_id: Option<String>,
    eta: Option<String>,
    expires: Option<String>,
    expiration: Option<String>,
    group: Option<String>,
    group_index: Option<i64>,
    retries: Option<u32>,
    timelimit_json: Option<String>,
    root_id: Option<String>,
    parent_id: Option<String>,
    argsrepr: Option<String>,
    kwargsrepr: Option<String>,
    origin: Option<String>,
    shadow: Option<String>,
    ignore_result: Option<bool>,
    ignore_result_is_null: bool,
    replaced_task_nesting: Option<i64>,
    stamped_headers_json: Option<String>,
    stamps_json: Option<String>,
    headers_json: Vec<(String, String)>,
    properties_json: Vec<(String, String)>,
    correlation_id: Option<String>,
    reply_to: Option<String>,
    delivery_mode: Option<u8>,
    priority: Option<u8>,
    exchange: Option<String>,
    routing_key: Option<String>,
}

fn messages() -> Vec<MessageVector> {
    let of = |version: &&str| recorded_of::<Messages>(version, "messages").vectors;
    VERSIONS.iter().flat_map(of).collect()
}

fn task_of(recorded: &Messages, fields: &Fields) -> Task {
    Task {
        name: fields.task.clone().unwrap_or_else(|| recorded.task.clone()),
        shadow: None,
        timelimit: "[null, null]".to_owned(),
        origin: recorded.origin.clone(),
        ignore_result: (!fields.ignore_result_is_null).then_some(false),
        content_type: "application/json".to_owned(),
        content_encoding: "utf-8".to_owned(),
        reply_to: Some(recorded.reply_to.clone()),
        delivery_mode: 2,
        priority: None,
        target: Target {
            exchange: String::new(),
            routing_key: "celery".to_owned(),
        },
        compression: None,
        headers: Vec::new(),
    }
}

fn call_of<'a>(recorded: &'a Messages, fields: &'a Fields) -> Call<'a> {
    // Celery draws the task's id first, if the caller gives none, then the delivery tag.
    let has_own_id = fields.task_id.is_some();
    let delivery_tag = if has_own_id {
        &recorded.first_id
    } else {
        &recorded.second_id
    };
    Call {
        task_id: fields.task_id.as_deref().or(Some(&recorded.first_id)),
        eta: fields.eta.as_deref(),
        expires: fields.expires.as_deref(),
        expiration: fields.expiration.as_deref(),
        group: fields.group.as_deref(),
        group_index: fields.group_index,
        retries: fields.retries,
        timelimit: fields.timelimit_json.as_deref(),
        root_id: fields.root_id.as_deref(),
        parent_id: fields.parent_id.as_deref(),
        argsrepr: fields.argsrepr.as_deref(),
        kwargsrepr: fields.kwargsrepr.as_deref(),
        origin: fields.origin.as_deref(),
        shadow: fields.shadow.as_deref(),
        ignore_result: fields.ignore_result.map(Some),
        replaced_task_nesting: fields.replaced_task_nesting,
        stamped_headers: fields.stamped_headers_json.as_deref(),
        stamps: fields.stamps_json.as_deref(),
        extra_headers: &fields.headers_json,
        correlation_id: fields.correlation_id.as_deref(),
        reply_to: fields.reply_to.as_deref(),
        delivery_mode: fields.delivery_mode,
        priority: fields.priority,
        delivery_tag: Some(delivery_tag),
        extra_properties: &fields.properties_json,
        exchange: fields.exchange.as_deref(),
        routing_key: fields.routing_key.as_deref(),
        mandatory: None,
    }
}

/// The reprs, as JSON text: they are Python's own work and are compared in Python's tests.
struct Headers {
    argsrepr: String,
    kwargsrepr: String,
}

impl Headers {
    fn of(headers: &[u8]) -> Self {
        let Value::Map(members) = from_json(headers).unwrap() else {
            unreachable!("headers are an object");
        };
        let find = |wanted: &str| {
            let found = members
                .iter()
                .find(|(name, _)| *name == Value::Text(wanted.to_owned()));
            String::from_utf8(to_json(&found.unwrap().1).unwrap()).unwrap()
        };
        Self {
            argsrepr: find("argsrepr"),
            kwargsrepr: find("kwargsrepr"),
        }
    }
}

#[test]
fn a_template_builds_the_messages_that_celery_sends() {
    let recorded: Messages = recorded("messages");
    let mut compared = 0;
    for vector in &recorded.vectors {
        let (Some(fields), [item]) = (&vector.fields, &vector.messages[..]) else {
            continue;
        };
        let theirs = envelope::decode(item.raw.as_bytes()).unwrap();
        let parts = body::split(&theirs.message.body).unwrap();
        let headers = Headers::of(&theirs.message.headers);
        let ours = Template::new(task_of(&recorded, fields)).build_with(
            &call_of(&recorded, fields),
            Bytes::from(body::join(parts.args, parts.kwargs, body::DEFAULT_EMBED)),
            Repr::Json(&headers.argsrepr),
            Repr::Json(&headers.kwargsrepr),
        );
        let ours = String::from_utf8(envelope::encode(&ours)).unwrap();
        assert_eq!(ours, item.raw, "{}", vector.name);
        compared += 1;
    }
    assert_eq!(compared, 54, "every vector with fields holds one message");
}

#[test]
fn an_envelope_decoded_and_encoded_is_equal_byte_for_byte() {
    for vector in messages() {
        for item in vector.messages {
            let decoded = envelope::decode(item.raw.as_bytes()).unwrap();
            let again = envelope::encode(&celeriac_core::wire::message::Outgoing {
                message: decoded.message,
                target: decoded.target,
                mandatory: None,
            });
            assert_eq!(String::from_utf8(again).unwrap(), item.raw, "{}", vector.name);
        }
    }
}

#[test]
fn an_envelope_is_marked_redelivered_as_kombu_restores_it() {
    for vector in messages() {
        for item in vector.messages {
            let marked = envelope::mark_redelivered(item.raw.as_bytes()).unwrap();
            assert_eq!(
                String::from_utf8(marked).unwrap(),
                item.restored,
                "{}",
                vector.name
            );
            assert!(envelope::decode(item.restored.as_bytes()).unwrap().redelivered);
        }
    }
}

#[test]
fn headers_and_json_bodies_decoded_and_encoded_are_equal_byte_for_byte() {
    for vector in messages() {
        for item in vector.messages {
            let message = envelope::decode(item.raw.as_bytes()).unwrap().message;
            assert_eq!(
                to_json(&from_json(&message.headers).unwrap()).unwrap(),
                message.headers
            );
            let is_plain = Peek::parse(&message.headers).unwrap().compression.is_none();
            match &*message.properties.content_type {
                "application/json" if is_plain => {
                    let again = to_json(&from_json(&message.body).unwrap()).unwrap();
                    assert_eq!(again, message.body, "{}", vector.name);
                }
                "application/x-msgpack" => {
                    let again = to_msgpack(&from_msgpack(&message.body).unwrap()).unwrap();
                    assert_eq!(again, message.body, "{}", vector.name);
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_message_waits_in_the_list_that_its_priority_names() {
    for vector in messages() {
        for item in vector.messages {
            let decoded = envelope::decode(item.raw.as_bytes()).unwrap();
            if !decoded.target.exchange.is_empty() {
                continue;
            }
            let step = redis_keys::priority_step(
                decoded.message.properties.priority.unwrap_or(0).into(),
                &redis_keys::DEFAULT_PRIORITY_STEPS,
            );
            let list = redis_keys::queue("", &decoded.target.routing_key, step, redis_keys::DEFAULT_SEP);
            assert_eq!(list, item.list, "{}", vector.name);
        }
    }
}

#[test]
fn every_recorded_message_names_its_task_and_id() {
    for vector in messages() {
        for item in vector.messages {
            let decoded = envelope::decode(item.raw.as_bytes()).unwrap();
            let peek = Peek::parse(&decoded.message.headers).unwrap();
            assert!(peek.task.is_some() && peek.id.is_some(), "{}", vector.name);
            assert!(!decoded.redelivered && !peek.redelivered, "{}", vector.name);
        }
    }
}

#[derive(Deserialize)]
struct Documents {
    vectors: Vec<DocumentVector>,
}

#[derive(Deserialize)]
struct DocumentVector {
    name: String,
    key: String,
    raw: String,
}

fn documents() -> Vec<DocumentVector> {
    let of = |version: &&str| recorded_of::<Documents>(version, "documents").vectors;
    VERSIONS.iter().flat_map(of).collect()
}

#[test]
fn a_document_decoded_and_encoded_is_equal_byte_for_byte() {
    for vector in documents() {
        let again = to_json(&from_json(vector.raw.as_bytes()).unwrap()).unwrap();
        assert_eq!(String::from_utf8(again).unwrap(), vector.raw, "{}", vector.name);
    }
}

#[test]
fn the_state_and_key_of_a_document_are_those_that_celery_wrote() {
    for vector in documents() {
        let document: serde_json::Value =
            serde_json::from_str(&vector.raw.replace("NaN", "0")).unwrap_or_default();
        let Some(task_id) = document["task_id"].as_str() else {
            // serde_json refuses lone surrogates; the vector is compared as a whole above.
            continue;
        };
        assert_eq!(
            result_meta::status(vector.raw.as_bytes()).unwrap(),
            document["status"]
        );
        assert_eq!(redis_keys::task_meta("", task_id), vector.key, "{}", vector.name);
    }
}

#[derive(Deserialize)]
struct Json {
    vectors: Vec<JsonVector>,
}

#[derive(Deserialize)]
struct JsonVector {
    text_base64: String,
    canonical: Option<String>,
}

#[test]
fn json_is_accepted_refused_and_rewritten_as_python_does() {
    for vector in recorded::<Json>("json").vectors {
        let text = BASE64.decode(&vector.text_base64).unwrap();
        let ours = from_json(&text).map(|value| to_json(&value.without_duplicates()).unwrap());
        let ours = ours.ok().map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(ours, vector.canonical, "{:?}", String::from_utf8_lossy(&text));
    }
}

#[derive(Deserialize)]
struct Floats {
    vectors: Vec<(String, String)>,
}

#[test]
fn floats_are_written_as_python_writes_them_and_read_back_equal() {
    for (bits, text) in recorded::<Floats>("floats").vectors {
        let bits = u64::from_str_radix(&bits, 16).unwrap();
        let ours = to_json(&Value::Float(f64::from_bits(bits))).unwrap();
        assert_eq!(String::from_utf8(ours).unwrap(), text);
        let Value::Float(read) = from_json(text.as_bytes()).unwrap() else {
            unreachable!("{text} is a float");
        };
        assert_eq!(read.to_bits(), bits, "{text}");
    }
}

#[derive(Deserialize)]
struct Times {
    vectors: Vec<(String, Option<i64>, Option<bool>)>,
}

/// What Celery reads by accident of `int()`, which takes `"1 "` for 1, and we refuse.
fn is_accident(text: &str) -> bool {
    text.contains("T1 +")
}

#[test]
fn times_are_read_as_dateutil_reads_them() {
    let mut wrong = Vec::new();
    for (text, unix_us, has_offset) in recorded::<Times>("times").vectors {
        let ours = parse_iso(&text).ok();
        // dateutil cuts to microseconds, we round up to milliseconds.
        let expected_ms = unix_us.map(|us| us.div_euclid(1000) + i64::from(us % 1000 != 0));
        let ours = (ours.map(|time| time.unix_ms), ours.map(|time| time.has_offset));
        if ours != (expected_ms, has_offset) && !is_accident(&text) {
            wrong.push((text, ours, expected_ms));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
