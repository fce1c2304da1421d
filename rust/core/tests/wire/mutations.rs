//! Recorded messages and documents, put out of shape: what no random text comes near to.
//!
//! `PROPTEST_CASES=1000000 cargo test -p celeriac-core --test wire mutations` looks longer; `make fuzz`
//! is led by the branches that it reaches.
#![expect(clippy::unwrap_used, reason = "a broken vector must stop the test")]

use bytes::Bytes;
use celeriac_core::compress::Method;
use celeriac_core::wire::headers::Peek;
use celeriac_core::wire::message::{Message, Outgoing};
use celeriac_core::wire::times::parse_iso;
use celeriac_core::wire::{body, envelope, protocol1, result_meta};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

use crate::properties::is_answered;
use crate::value::{from_json, from_msgpack, recorded, to_json, to_msgpack};

/// What hurts readers of JSON most.
const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    ",",
    ":",
    " ",
    "null",
    "true",
    "NaN",
    "-Infinity",
    "1e999",
    "-0",
    "18446744073709551616",
    "\\ud800",
    "\\udc00",
    "\\u0000",
    "\"\"",
    "{}",
    "[]",
    "\"task\":",
    "\"id\":",
    "\"properties\":",
    "\"delivery_info\":",
    "\u{0}",
    "\u{e9}",
    "\u{10ffff}",
];

/// One thing that happens to a text.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Cut(Index),
    Drop(Index, usize),
    Put(Index, &'static str),
    /// A part of it comes again somewhere else.
    Copy(Index, usize, Index),
    Nest(Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, bits)| Change::Flip(at, bits)),
        any::<Index>().prop_map(Change::Cut),
        (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Change::Drop(at, length)),
        (any::<Index>(), select(TOKENS)).prop_map(|(at, token)| Change::Put(at, token)),
        (any::<Index>(), 1..80_usize, any::<Index>())
            .prop_map(|(from, length, to)| Change::Copy(from, length, to)),
        (any::<Index>(), 1..2_000_usize).prop_map(|(at, depth)| Change::Nest(at, depth)),
    ]
}

fn changed(text: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut text = text.to_vec();
    for change in changes {
        let end = text.len() + 1;
        match change {
            Change::Flip(at, bits) if !text.is_empty() => {
                let at = at.index(text.len());
                text[at] ^= bits;
            }
            Change::Flip(..) => {}
            Change::Cut(at) => text.truncate(at.index(end)),
            Change::Drop(at, length) => {
                let at = at.index(end);
                text.drain(at..(at + length).min(end - 1));
            }
            Change::Put(at, token) => insert(&mut text, at.index(end), token.as_bytes()),
            Change::Copy(from, length, to) => {
                let from = from.index(end);
                let part = text[from..(from + length).min(end - 1)].to_vec();
                insert(&mut text, to.index(end), &part);
            }
            Change::Nest(at, depth) => insert(&mut text, at.index(end), "[".repeat(*depth).as_bytes()),
        }
    }
    text
}

fn insert(text: &mut Vec<u8>, at: usize, part: &[u8]) {
    text.splice(at..at, part.iter().copied());
}

/// The raw texts of a file of vectors: envelopes of messages, or result documents.
fn raw_of(name: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    collect(&recorded::<Value>(name), &mut found);
    assert!(found.len() > 5, "{name}");
    found
}

fn collect(value: &Value, found: &mut Vec<Vec<u8>>) {
    if let Some(raw) = value.get("raw").and_then(Value::as_str) {
        found.push(raw.as_bytes().to_vec());
    }
    for inner in value.as_array().into_iter().flatten() {
        collect(inner, found);
    }
    for inner in value.as_object().into_iter().flat_map(|object| object.values()) {
        collect(inner, found);
    }
}

fn mutated(names: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let texts: Vec<_> = names.iter().flat_map(|name| raw_of(name)).collect();
    (select(texts), vec(change(), 0..4)).prop_map(|(text, changes)| changed(&text, &changes))
}

/// Bodies and headers of the recorded messages.
fn parts() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let texts = ["messages", "protocol1"].map(raw_of).concat();
    let decoded = texts.iter().map(|text| envelope::decode(text).unwrap().message);
    let parts = decoded.map(|message| (message.headers.to_vec(), message.body.to_vec()));
    (
        select(parts.collect::<Vec<_>>()),
        vec(change(), 0..3),
        vec(change(), 0..3),
    )
        .prop_map(|((headers, body), of_headers, of_body)| {
            (changed(&headers, &of_headers), changed(&body, &of_body))
        })
}

proptest! {
    #[test]
    fn an_envelope_out_of_shape_is_refused_or_is_a_message_that_stays_the_same(
        raw in mutated(&["messages", "protocol1"]),
    ) {
        let decoded = envelope::decode(&raw);
        prop_assert!(is_answered(&decoded));
        let Ok(decoded) = decoded else { return Ok(()) };
        let peek = Peek::parse(&decoded.message.headers);
        prop_assert!(is_answered(&peek));
        let marked = envelope::mark_redelivered(&raw);
        prop_assert!(is_answered(&marked));
        // Whatever may be executed can be given back.
        prop_assert!(marked.is_ok() || peek.is_err());
        if let Ok(marked) = marked {
            let restored = envelope::decode(&marked).unwrap();
            prop_assert!(restored.redelivered);
            prop_assert_eq!(&restored.message.body, &decoded.message.body);
            prop_assert_eq!(&restored.message.properties, &decoded.message.properties);
        }
        let mut sent = decoded.message.clone();
        let outgoing = Outgoing { message: decoded.message, target: decoded.target, mandatory: None };
        let again = envelope::decode(&envelope::encode(&outgoing)).unwrap();
        sent.properties.priority = sent.properties.priority.or(Some(0));
        prop_assert_eq!((again.message, again.target), (sent, outgoing.target));
    }

    #[test]
    fn headers_and_a_body_out_of_shape_are_refused_or_have_three_parts((headers, body) in parts()) {
        prop_assert!(is_answered(&Peek::parse(&headers)));
        let split = body::split(&body);
        prop_assert!(is_answered(&split));
        if let Ok(parts) = split {
            let joined = body::join(parts.args, parts.kwargs, parts.embed);
            prop_assert_eq!(body::split(&joined).unwrap(), parts);
        }
        let decoded = envelope::decode(&raw_of("messages")[0]).unwrap().message;
        let message = Message { headers: Bytes::from(headers), body: Bytes::from(body), ..decoded };
        if let Some(translated) = protocol1::read(&message) {
            prop_assert!(is_answered(&Peek::parse(&translated.headers)));
            prop_assert!(body::split(&translated.body).is_ok());
        }
    }

    #[test]
    fn a_document_out_of_shape_has_a_status_or_is_refused(raw in mutated(&["documents"])) {
        prop_assert!(is_answered(&result_meta::status(&raw)));
        let _ = result_meta::compressed(&raw);
        if let Ok(value) = from_json(&raw) {
            // A million digits are as many as they were, a thousand brackets are refused.
            if let Ok(text) = to_json(&value) {
                // NaN equals nothing, itself included.
                prop_assert_eq!(format!("{:?}", from_json(&text).unwrap()), format!("{value:?}"));
            }
        }
    }

    #[test]
    fn what_msgpack_is_read_is_written_as_the_same(raw in mutated(&["documents"])) {
        if let Ok(packed) = from_json(&raw).and_then(|value| to_msgpack(&value)) {
            for at in 0..packed.len().min(40) {
                let mut broken = packed.clone();
                broken[at] = broken[at].wrapping_add(0x51);
                let read = from_msgpack(&broken);
                prop_assert!(is_answered(&read));
                if let Some(again) = read.ok().and_then(|value| to_msgpack(&value).ok()) {
                    prop_assert!(from_msgpack(&again).is_ok());
                }
            }
        }
    }

    #[test]
    fn what_is_packed_is_unpacked_and_what_is_broken_is_refused(
        raw in mutated(&["documents"]), changes in vec(change(), 1..3), method in select(Method::ALL.to_vec()),
    ) {
        let packed = method.compress(&raw).unwrap();
        prop_assert_eq!(method.decompress(&packed, raw.len()).unwrap(), raw.clone());
        if !raw.is_empty() {
            prop_assert!(method.decompress(&packed, raw.len() - 1).is_err());
        }
        let broken = method.decompress(&changed(&packed, &changes), 10_000);
        prop_assert!(is_answered(&broken));
        prop_assert!(broken.map_or(0, |large| large.len()) <= 10_000);
    }

    #[test]
    fn a_time_out_of_shape_is_refused_or_near_the_years_of_the_calendar(
        changes in vec(change(), 0..4), text in "[0-9]{4}-?(W?[0-9]{2}|[0-9]{3})-?[0-9]{0,2}[T ]?[0-9:.]{0,15}[Z+-]?[0-9:]{0,5}",
    ) {
        const MAX_MS: i64 = 253_402_300_800_000 + 9 * 86_400_000;
        let text = String::from_utf8_lossy(&changed(text.as_bytes(), &changes)).into_owned();
        let time = parse_iso(&text);
        prop_assert!(is_answered(&time));
        prop_assert!(time.map_or(0, |time| time.unix_ms.abs()) <= MAX_MS);
    }
}
