//! The hottest functions of the core, one at a time, for callgrind: `make instructions`.
//!
//! `instructions NAME TIMES` does one of them so many times. benches/rust/instructions.py counts what the
//! function of that name executes, its preparation left out. Without arguments nothing is done, so
//! that `cargo bench` passes by it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a broken assumption ends the bench"
)]

use std::hint::black_box;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::codec::{Limits, json};
use celeriac_core::ledger::Ledger;
use celeriac_core::time::Deadline;
use celeriac_core::timer::Wheel;
use celeriac_core::wire::headers::Peek;
use celeriac_core::wire::message::{Outgoing, Target};
use celeriac_core::wire::template::{Call, Task, Template};
use celeriac_core::wire::{body, envelope};
use serde_json::Value;

/// Timers that are in the wheel already.
const TIMERS: u64 = 10_000;

fn main() {
    let given: Vec<String> = std::env::args()
        .skip(1)
        .filter(|one| !one.starts_with("--"))
        .collect();
    let [name, times] = given.as_slice() else {
        return;
    };
    let times: u32 = times.parse().unwrap();
    match name.as_str() {
        "build_a_message" => build_a_message(&template(), &a_body(), times),
        "encode_an_envelope" => encode_an_envelope(&a_message(), times),
        "decode_an_envelope" => decode_an_envelope(&envelope::encode(&a_message()), times),
        "peek_at_headers" => peek_at_headers(&a_message().message.headers, times),
        "write_json" => write_json(&records(), times),
        "read_json" => read_json(&json_of(&records()), times),
        "enter_and_confirm" => enter_and_confirm(times),
        "insert_and_cancel_a_timer" => insert_and_cancel_a_timer(wheel(), times),
        _ => panic!("no function is called {name}"),
    }
}

#[inline(never)]
fn build_a_message(template: &Template, body: &Bytes, times: u32) {
    for _ in 0..times {
        black_box(template.build(&Call::default(), body.clone(), "(2, 3)", "{}"));
    }
}

#[inline(never)]
fn encode_an_envelope(outgoing: &Outgoing, times: u32) {
    for _ in 0..times {
        black_box(envelope::encode(black_box(outgoing)));
    }
}

#[inline(never)]
fn decode_an_envelope(raw: &[u8], times: u32) {
    for _ in 0..times {
        black_box(envelope::decode(black_box(raw)).is_ok());
    }
}

#[inline(never)]
fn peek_at_headers(headers: &[u8], times: u32) {
    for _ in 0..times {
        black_box(Peek::parse(black_box(headers)).is_ok());
    }
}

#[inline(never)]
fn write_json(value: &Value, times: u32) {
    for _ in 0..times {
        black_box(json_of(black_box(value)));
    }
}

#[inline(never)]
fn read_json(text: &[u8], times: u32) {
    for _ in 0..times {
        black_box(json::from_slice(black_box(text), PhantomData::<Value>, Limits::default()).is_ok());
    }
}

/// As a publisher's window does it: in, and confirmed in order, sixteen behind.
#[inline(never)]
fn enter_and_confirm(times: u32) {
    let ledger = Ledger::new(4_096, usize::MAX);
    let deadline = Deadline::after(Duration::from_secs(600));
    let mut in_flight = std::collections::VecDeque::new();
    for number in 0..times {
        let id = format!("{number:036}").into();
        in_flight.push_back(ledger.enter(id, 900, deadline).unwrap());
        if in_flight.len() > 16 {
            in_flight.pop_front().unwrap().confirm();
        }
    }
    for receipt in in_flight {
        receipt.confirm();
    }
    assert_eq!(ledger.pending(), 0);
}

#[inline(never)]
fn insert_and_cancel_a_timer(mut wheel: Wheel<u64>, times: u32) {
    for number in 0..u64::from(times) {
        let key = wheel.insert(black_box(number * 104_729 % 600_000), number);
        black_box(wheel.cancel(key));
    }
}

fn template() -> Template {
    Template::new(Task {
        name: "tasks.add".to_owned(),
        shadow: None,
        timelimit: "[null, null]".to_owned(),
        origin: "gen12345@host".to_owned(),
        ignore_result: Some(false),
        content_type: "application/json".to_owned(),
        content_encoding: "utf-8".to_owned(),
        reply_to: Some("f4d4d5a0-3b5c-3b6e-8d5e-0a1b2c3d4e5f".to_owned()),
        delivery_mode: 2,
        priority: None,
        target: Target {
            exchange: String::new(),
            routing_key: "celery".to_owned(),
        },
        compression: None,
        headers: Vec::new(),
    })
}

fn a_body() -> Bytes {
    let embed = body::embed(b"null", b"null", b"null", b"null");
    body::join(b"[2, 3]", b"{}", &embed).into()
}

fn a_message() -> Outgoing {
    template().build(&Call::default(), a_body(), "(2, 3)", "{}")
}

/// Arguments as users have them: numbers, text beyond ASCII, lists, nulls.
fn records() -> Value {
    (0..10)
        .map(|number| serde_json::json!({"id": number, "name": format!("n{number}é"), "score": 1.5, "tags": ["a", null, true]}))
        .collect()
}

fn json_of(value: &Value) -> Vec<u8> {
    let mut text = Vec::with_capacity(1_024);
    json::append(&mut text, value).unwrap();
    text
}

fn wheel() -> Wheel<u64> {
    let mut wheel = Wheel::new(0);
    for number in 0..TIMERS {
        wheel.insert(number * 7_919 % 600_000, number);
    }
    wheel
}
