//! The brokers of one machine: publish, reserve, settle, wait for a result.
//!
//! `cargo bench -p celeriac-core --bench local_brokers`
#![expect(clippy::unwrap_used, reason = "a broken assumption ends the bench")]

use std::hint::black_box;
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

const QUEUE: &str = "celery";
/// Messages of one measurement.
const MANY: usize = 4_096;
/// A usual message: 900 bytes in all.
const HEADERS_BYTES: usize = 600;
const BODY_BYTES: usize = 100;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn message() -> Outgoing {
    let id = uuid::Uuid::new_v4().to_string();
    Outgoing {
        message: Message {
            headers: Bytes::from(vec![b'h'; HEADERS_BYTES]),
            properties: Properties {
                content_type: "application/json".to_owned(),
                content_encoding: "utf-8".to_owned(),
                correlation_id: Some(id.clone()),
                reply_to: Some(id.clone()),
                delivery_mode: 2,
                priority: Some(0),
                expiration: None,
                delivery_tag: id,
                extra: Vec::new(),
            },
            body: Bytes::from(vec![b'b'; BODY_BYTES]),
        },
        target: Target {
            exchange: String::new(),
            routing_key: QUEUE.to_owned(),
        },
        mandatory: None,
    }
}

fn consumer(url: &BrokerUrl) -> Arc<dyn Consumer> {
    let queue = QueueSpec::named(QUEUE);
    let config = ConsumerConfig {
        node: "celery@bench".to_owned(),
        queues: vec![queue],
        prefetch: 0,
        eta_room: 0,
    };
    broker::open_consumer(url, config).unwrap()
}

fn publish(publisher: &dyn Publisher, messages: Vec<Outgoing>, window: usize) {
    let window = Ledger::new(window, usize::MAX);
    for outgoing in messages {
        let receipt = window.enter("task".into(), 0, soon()).unwrap();
        publisher.send(outgoing, None, receipt, soon());
    }
    window.wait_empty(soon()).unwrap();
    assert!(window.take_failed().is_empty());
}

/// Reserves and settles `count` messages, 64 at a time; each stores a result if asked.
fn drain(consumer: &dyn Consumer, count: usize, stores: bool) {
    let mut done = 0;
    while done < count {
        let batch = consumer.reserve(64, soon()).unwrap();
        done += batch.len();
        let settle = |delivery: broker::Delivery| Settlement {
            put: stores.then(|| result(&delivery.message.as_ref().unwrap().properties.delivery_tag)),
            token: delivery.token,
            verdict: Verdict::Ack,
        };
        consumer
            .settle(batch.into_iter().map(settle).collect(), soon())
            .unwrap();
    }
}

fn result(task_id: &str) -> Put {
    Put {
        task_id: task_id.to_owned(),
        document: Bytes::from_static(
            br#"{"status": "SUCCESS", "result": 5, "traceback": null, "children": []}"#,
        ),
        is_final: true,
        expires_s: Some(3_600),
        reply: None,
    }
}

fn measure(criterion: &mut Criterion, name: &str, url: &BrokerUrl) {
    let publisher = broker::open_publisher(url).unwrap();
    let messages = |count: usize| move || (0..count).map(|_| message()).collect::<Vec<_>>();
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10);
    group.throughput(Throughput::Elements(u64::try_from(MANY).unwrap()));
    for window in [1, 4_096] {
        group.bench_function(format!("publish, window {window}"), |bencher| {
            let run = |messages| publish(&*publisher, messages, window);
            bencher.iter_batched(messages(MANY), run, BatchSize::PerIteration);
            publisher.purge(QUEUE, soon()).unwrap();
        });
    }
    for (label, stores) in [("drain", false), ("drain with results", true)] {
        group.bench_function(label, |bencher| {
            let consumer = consumer(url);
            let fill = || publish(&*publisher, messages(MANY)(), MANY);
            bencher.iter_batched(
                fill,
                |()| drain(&*consumer, MANY, stores),
                BatchSize::PerIteration,
            );
            consumer.close(soon());
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("round trip to a result", |bencher| {
        round_trips(bencher, url, &*publisher);
    });
    group.finish();
}

fn round_trips(bencher: &mut criterion::Bencher<'_>, url: &BrokerUrl, publisher: &dyn Publisher) {
    let consumer = consumer(url);
    let store = backend::open(url).unwrap();
    let worker = {
        let consumer = Arc::clone(&consumer);
        std::thread::spawn(move || {
            while let Ok(batch) = consumer.reserve(1, soon()) {
                let settle = |delivery: broker::Delivery| Settlement {
                    put: Some(result(&delivery.message.unwrap().properties.delivery_tag)),
                    token: delivery.token,
                    verdict: Verdict::Ack,
                };
                let batch: Vec<_> = batch.into_iter().map(settle).collect();
                if consumer.settle(batch, soon()).is_err() {
                    return;
                }
            }
        })
    };
    bencher.iter(|| {
        let outgoing = message();
        let id = outgoing.message.properties.delivery_tag.clone();
        let subscription = store.subscribe(&id, false, soon()).unwrap();
        publish(publisher, vec![outgoing], 1);
        black_box(subscription.next(soon()).unwrap().unwrap());
    });
    consumer.close(soon());
    worker.join().unwrap();
}

fn local_brokers(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db").display().to_string();
    let parse = |raw: String| BrokerUrl::parse(&raw, Vec::new()).unwrap();
    measure(criterion, "memory", &parse("memory:///bench".to_owned()));
    measure(criterion, "sqlite", &parse(format!("sqlite:///{path}")));
}

criterion_group!(benches, local_brokers);
criterion_main!(benches);
