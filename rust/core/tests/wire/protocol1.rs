//! Messages of protocol 1 as each version of Celery sends them, and that all versions were compared.
#![expect(clippy::unwrap_used, reason = "a broken vector must stop the test")]

use crate::value::{VERSIONS, recorded_of};
use celeriac_core::wire::headers::Peek;
use celeriac_core::wire::message::Message;
use celeriac_core::wire::{body, envelope, protocol1};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Recorded {
    vectors: Vec<Vector>,
    #[serde(rename = "same_as_5.7", default)]
    same: Vec<String>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    #[serde(default)]
    messages: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    raw: String,
}

/// The messages with a JSON body, and that body.
fn json_messages() -> Vec<(String, Message, Value)> {
    let vectors = VERSIONS
        .iter()
        .flat_map(|version| recorded_of::<Recorded>(version, "protocol1").vectors);
    vectors
        .flat_map(|vector| {
            let name = vector.name;
            vector.messages.into_iter().map(move |item| {
                (
                    name.clone(),
                    envelope::decode(item.raw.as_bytes()).unwrap().message,
                )
            })
        })
        .filter(|(_, message)| message.properties.content_type == "application/json")
        .map(|(name, message)| {
            let fields = serde_json::from_slice(&message.body).unwrap();
            (name, message, fields)
        })
        .collect()
}

#[test]
fn every_version_was_recorded_with_every_case() {
    for name in ["messages", "protocol1", "documents"] {
        let reference: Recorded = recorded_of(VERSIONS[0], name);
        let mut expected: Vec<_> = reference.vectors.into_iter().map(|vector| vector.name).collect();
        expected.sort();
        for version in &VERSIONS[1..] {
            let recorded: Recorded = recorded_of(version, name);
            let differing = recorded.vectors.into_iter().map(|vector| vector.name);
            let mut found: Vec<_> = recorded.same.into_iter().chain(differing).collect();
            found.sort();
            assert_eq!(found, expected, "{name} of Celery {version}");
        }
    }
}

#[test]
fn what_a_worker_decides_on_is_what_celery_put_into_the_body() {
    let messages = json_messages();
    assert_eq!(messages.len(), 25, "all but msgpack, yaml and pickle");
    for (name, message, fields) in messages {
        let read = protocol1::read(&message).unwrap();
        let peek = Peek::parse(&read.headers).unwrap();
        let text = |field: &str| fields[field].as_str().map(str::to_owned);
        assert_eq!(peek.task, text("task"), "{name}");
        assert_eq!(peek.id, text("id"), "{name}");
        assert_eq!(peek.eta, text("eta"), "{name}");
        assert_eq!(peek.expires, text("expires"), "{name}");
        assert_eq!(fields["retries"], peek.retries, "{name}");
        let limit = |index: usize| fields["timelimit"][index].as_f64();
        assert_eq!(peek.timelimit, (limit(0), limit(1)), "{name}");
        assert_eq!(read.properties, message.properties, "{name}");
    }
}

#[test]
fn arguments_and_links_reach_the_body_unchanged() {
    for (name, message, fields) in json_messages() {
        let read = protocol1::read(&message).unwrap();
        let parts = body::split(&read.body).unwrap();
        let value = |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap();
        let embed = value(parts.embed);
        assert_eq!(value(parts.args), fields["args"], "{name}");
        assert_eq!(value(parts.kwargs), fields["kwargs"], "{name}");
        for link in ["callbacks", "errbacks", "chord"] {
            assert_eq!(embed[link], fields[link], "{name}");
        }
        assert_eq!(embed["chain"], Value::Null, "{name}");
    }
}

#[test]
fn no_message_of_protocol_2_is_taken_for_one_of_protocol_1() {
    for version in VERSIONS {
        for vector in recorded_of::<Recorded>(version, "messages").vectors {
            for item in vector.messages {
                let message = envelope::decode(item.raw.as_bytes()).unwrap().message;
                assert_eq!(protocol1::read(&message), None, "{}", vector.name);
            }
        }
    }
}
