//! What each message costs in the core: `cargo bench -p celeriac-core`.

use std::hint::black_box;

use bytes::Bytes;
use celeriac_core::{
    codec::{Limits, json},
    timer::{Key, Wheel},
    wire::{
        body, envelope,
        headers::Peek,
        message::Target,
        template::{Call, Task, Template},
    },
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serde_json::Value;

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

fn publish(criterion: &mut Criterion) {
    let template = template();
    criterion.bench_function("headers and properties from a template", |bench| {
        let body = a_body();
        bench.iter(|| template.build(&Call::default(), body.clone(), "(2, 3)", "{}"));
    });
    criterion.bench_function("a message for Redis, ids and base64 included", |bench| {
        bench.iter(|| envelope::encode(&template.build(&Call::default(), a_body(), "(2, 3)", "{}")));
    });
}

fn consume(criterion: &mut Criterion) {
    let outgoing = template().build(&Call::default(), a_body(), "(2, 3)", "{}");
    let raw = envelope::encode(&outgoing);
    criterion.bench_function("read an envelope", |bench| {
        bench.iter(|| envelope::decode(black_box(&raw)));
    });
    criterion.bench_function("peek at the headers", |bench| {
        bench.iter(|| Peek::parse(black_box(&outgoing.message.headers)));
    });
}

fn values(criterion: &mut Criterion) {
    let value: Value = (0..100)
        .map(|number| serde_json::json!({"id": number, "name": format!("n{number}é"), "score": 1.5, "tags": ["a", null, true]}))
        .collect();
    let mut text = Vec::new();
    let encodable = json::append(&mut text, &value).is_ok();
    assert!(encodable, "the sample is plain JSON");
    criterion.bench_function("encode 100 objects as JSON", |bench| {
        bench.iter(|| {
            let mut out = Vec::with_capacity(text.len());
            json::append(&mut out, black_box(&value)).map(|()| out)
        });
    });
    criterion.bench_function("decode 100 objects from JSON", |bench| {
        bench.iter(|| {
            json::from_slice(
                black_box(&text),
                std::marker::PhantomData::<Value>,
                Limits::default(),
            )
        });
    });
}

fn timer(criterion: &mut Criterion) {
    criterion.bench_function("10,000 timers in and out of the wheel", |bench| {
        bench.iter(|| {
            let mut wheel = Wheel::new(0);
            for due_tick in 0..10_000_u64 {
                wheel.insert(due_tick * 7 % 60_000, due_tick);
            }
            wheel.advance(60_000).len()
        });
    });
}

/// A wheel with a million timers within ten minutes, in ticks of a millisecond.
fn million() -> (Wheel<u64>, Vec<Key>) {
    let mut wheel = Wheel::new(0);
    let keys = (0..1_000_000)
        .map(|number| wheel.insert(number * 7_919 % 600_000, number))
        .collect();
    (wheel, keys)
}

fn million_timers(criterion: &mut Criterion) {
    let (mut wheel, _) = million();
    let mut number = 0_u64;
    criterion.bench_function("insert and cancel a timer beside a million", |bench| {
        bench.iter(|| {
            number += 1;
            let key = wheel.insert(black_box(number * 104_729 % 600_000), number);
            wheel.cancel(key)
        });
    });
    let mut group = criterion.benchmark_group("a million timers");
    group.sample_size(10);
    group.bench_function("insert all", |bench| bench.iter(|| million().0.len()));
    group.bench_function("cancel all", |bench| {
        bench.iter_batched(
            million,
            |(mut wheel, keys)| keys.into_iter().filter_map(|key| wheel.cancel(key)).count(),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("advance by 600,000 ticks, one by one", |bench| {
        bench.iter_batched(
            million,
            |(mut wheel, _)| (0..600_000).map(|tick| wheel.advance(tick).len()).sum::<usize>(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, publish, consume, values, timer, million_timers);
criterion_main!(benches);
