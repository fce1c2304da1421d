//! What a message costs on a real Redis: `cargo bench -p celeriac-core --bench redis`.
//!
//! The server is `CELERIAC_TEST_REDIS` (default `redis://127.0.0.1:6379/10`); keys have a prefix of
//! their own and are deleted.
#![expect(clippy::unwrap_used, reason = "a bench without its server ends")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::backend::{self, Put};
use celeriac_core::broker::topology::QueueSpec;
use celeriac_core::broker::url::BrokerUrl;
use celeriac_core::broker::{self, Consumer, ConsumerConfig, Publisher, Settlement, Verdict};
use celeriac_core::ledger::Ledger;
use celeriac_core::time::Deadline;
use celeriac_core::wire::message::{Message, Outgoing, Properties, Target};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const WINDOW: usize = 10_000;
const WINDOW_ELEMENTS: u64 = 10_000;
const BATCH: usize = 128;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn url() -> BrokerUrl {
    let server =
        std::env::var("CELERIAC_TEST_REDIS").unwrap_or_else(|_| "redis://127.0.0.1:6379/10".to_owned());
    let raw = format!(
        "{server}?global_keyprefix=bench-{}:",
        uuid::Uuid::new_v4().simple()
    );
    BrokerUrl::parse(&raw, Vec::new()).unwrap()
}

/// A message of about 900 bytes in its envelope, as Celery's `add.delay(2, 3)`.
fn message() -> Outgoing {
    let headers = format!(
        r#"{{"lang": "py", "task": "tasks.add", "id": "{0}", "shadow": null, "eta": null, "expires": null, "group": null, "retries": 0, "timelimit": [null, null], "root_id": "{0}", "parent_id": null, "argsrepr": "(2, 3)", "kwargsrepr": "{{}}", "origin": "gen1@host", "ignore_result": false}}"#,
        uuid::Uuid::new_v4()
    );
    Outgoing {
        message: Message {
            headers: Bytes::from(headers),
            properties: Properties {
                content_type: "application/json".to_owned(),
                content_encoding: "utf-8".to_owned(),
                correlation_id: Some(uuid::Uuid::new_v4().to_string()),
                reply_to: Some(uuid::Uuid::new_v4().to_string()),
                delivery_mode: 2,
                priority: Some(0),
                expiration: None,
                delivery_tag: uuid::Uuid::new_v4().to_string(),
                extra: Vec::new(),
            },
            body: Bytes::from_static(
                br#"[[2, 3], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]"#,
            ),
        },
        target: Target {
            exchange: String::new(),
            routing_key: "q".to_owned(),
        },
        mandatory: None,
    }
}

fn send(publisher: &dyn Publisher, window: &Arc<Ledger>, outgoing: Outgoing) {
    let receipt = window.enter("task".into(), 1_000, soon()).unwrap();
    publisher.send(outgoing, None, receipt, soon());
}

fn flush(window: &Ledger) {
    window.wait_empty(soon()).unwrap();
    assert_eq!(window.take_failed(), []);
}

fn fill(publisher: &dyn Publisher, count: usize) {
    let window = Ledger::new(4_096, usize::MAX);
    for _ in 0..count {
        send(publisher, &window, message());
    }
    flush(&window);
}

fn consumer(url: &BrokerUrl) -> Arc<dyn Consumer> {
    let queue = QueueSpec::named("q");
    let config = ConsumerConfig {
        node: "celery@bench".to_owned(),
        queues: vec![queue],
        prefetch: 0,
        eta_room: 0,
    };
    broker::open_consumer(url, config).unwrap()
}

fn publishing(c: &mut Criterion) {
    let url = url();
    let publisher = broker::open_publisher(&url).unwrap();
    let mut group = c.benchmark_group("redis/publish");
    group.sample_size(10);
    group.throughput(Throughput::Elements(WINDOW_ELEMENTS));
    group.bench_function("window of 4096", |b| {
        b.iter_batched(
            || {
                publisher.purge("q", soon()).unwrap();
                (0..WINDOW).map(|_| message()).collect::<Vec<_>>()
            },
            |messages| {
                let window = Ledger::new(4_096, usize::MAX);
                for outgoing in messages {
                    send(&*publisher, &window, outgoing);
                }
                flush(&window);
            },
            BatchSize::PerIteration,
        );
    });
    group.throughput(Throughput::Elements(1));
    group.sample_size(50);
    group.bench_function("one, confirmed", |b| {
        let window = Ledger::new(1, usize::MAX);
        b.iter_batched(
            message,
            |outgoing| {
                send(&*publisher, &window, outgoing);
                flush(&window);
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
    publisher.purge("q", soon()).unwrap();
}

fn draining(c: &mut Criterion) {
    let url = url();
    let publisher = broker::open_publisher(&url).unwrap();
    let consumer = consumer(&url);
    assert!(consumer.stores_results_of(&url.with_options()));
    let mut group = c.benchmark_group("redis/reserve and settle");
    group.sample_size(10);
    group.throughput(Throughput::Elements(WINDOW_ELEMENTS));
    for (name, has_results) in [("without results", false), ("with results", true)] {
        group.bench_function(name, |b| {
            b.iter_batched(
                || fill(&*publisher, WINDOW),
                |()| drain(&*consumer, has_results),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    consumer.close(soon());
}

fn drain(consumer: &dyn Consumer, has_results: bool) {
    let mut left = WINDOW;
    while left > 0 {
        let found = consumer.reserve(BATCH, soon()).unwrap();
        left -= found.len();
        let batch = found.into_iter().map(|delivery| Settlement {
            put: has_results.then(|| Put {
                task_id: delivery.token.tag.clone(),
                document: Bytes::from_static(br#"{"status": "SUCCESS", "result": 5, "traceback": null, "children": [], "date_done": "2026-11-22T06:33:37.015431+00:00", "task_id": "972a63ed-7b80-4391-8630-4def33c091dd"}"#),
                is_final: true,
                expires_s: Some(60),
                reply: None,
            }),
            token: delivery.token,
            verdict: Verdict::Ack,
        });
        consumer.settle(batch.collect(), soon()).unwrap();
    }
}

/// LPUSH, doorbell, reserve, settle: one message through an idle consumer.
fn waking(c: &mut Criterion) {
    let url = url();
    let publisher = broker::open_publisher(&url).unwrap();
    let consumer = consumer(&url);
    let store = backend::open(&url).unwrap();
    assert!(store.get("none", soon()).unwrap().is_none());
    let (done, acked) = std::sync::mpsc::sync_channel(1);
    let echo = Arc::clone(&consumer);
    let thread = std::thread::spawn(move || {
        while let Ok(found) = echo.reserve(1, soon()) {
            for delivery in found {
                let settlement = Settlement {
                    token: delivery.token,
                    verdict: Verdict::Ack,
                    put: None,
                };
                echo.settle(vec![settlement], soon()).unwrap();
                done.send(()).unwrap();
            }
        }
    });
    c.bench_function("redis/publish, doorbell, reserve, ack", |b| {
        let window = Ledger::new(1, usize::MAX);
        b.iter(|| {
            send(&*publisher, &window, message());
            acked.recv().unwrap();
        });
    });
    consumer.close(soon());
    thread.join().unwrap();
}

criterion_group!(benches, publishing, draining, waking);
criterion_main!(benches);
