//! What a message costs on a real `RabbitMQ`: `cargo bench -p celeriac-core --bench rabbitmq`.
//!
//! The server is `CELERIAC_TEST_AMQP` (default `amqp://guest:guest@127.0.0.1:5672//`); the queue has
//! a name of its own, and expires.
#![expect(clippy::unwrap_used, reason = "a bench without its server ends")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
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

fn url(options: &str) -> BrokerUrl {
    let server = std::env::var("CELERIAC_TEST_AMQP")
        .unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672//".to_owned());
    BrokerUrl::parse(&format!("{server}?{options}"), Vec::new()).unwrap()
}

/// A durable classic queue, as Celery's, that the server deletes after a minute without use.
fn queue() -> QueueSpec {
    QueueSpec {
        arguments: vec![("x-expires".to_owned(), "60000".to_owned())],
        ..QueueSpec::named(format!("bench-{}", uuid::Uuid::new_v4().simple()))
    }
}

/// Celery's `add.delay(2, 3)`: 19 headers, persistent.
fn message(queue: &str) -> Outgoing {
    let headers = format!(
        r#"{{"lang": "py", "task": "tasks.add", "id": "{0}", "shadow": null, "eta": null, "expires": null, "group": null, "group_index": null, "retries": 0, "timelimit": [null, null], "root_id": "{0}", "parent_id": null, "argsrepr": "(2, 3)", "kwargsrepr": "{{}}", "origin": "gen1@host", "ignore_result": false, "replaced_task_nesting": 0, "stamped_headers": null, "stamps": {{}}}}"#,
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
            routing_key: queue.to_owned(),
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

fn publish(publisher: &dyn Publisher, messages: Vec<Outgoing>) {
    let window = Ledger::new(4_096, usize::MAX);
    for outgoing in messages {
        send(publisher, &window, outgoing);
    }
    flush(&window);
}

fn messages(queue: &str) -> Vec<Outgoing> {
    (0..WINDOW).map(|_| message(queue)).collect()
}

fn publishing(c: &mut Criterion) {
    let mut group = c.benchmark_group("rabbitmq/publish");
    for (name, options) in [("confirmed", ""), ("unconfirmed", "confirm_publish=False")] {
        let (queue, publisher) = (queue(), broker::open_publisher(&url(options)).unwrap());
        publisher.declare(&queue, soon()).unwrap();
        group.sample_size(10);
        group.throughput(Throughput::Elements(WINDOW_ELEMENTS));
        group.bench_function(format!("window of 4096, {name}"), |b| {
            b.iter_batched(
                || {
                    publisher.purge(&queue.name, soon()).unwrap();
                    messages(&queue.name)
                },
                |messages| publish(&*publisher, messages),
                BatchSize::PerIteration,
            );
        });
        group.throughput(Throughput::Elements(1));
        group.sample_size(50);
        group.bench_function(format!("one, {name}"), |b| {
            let window = Ledger::new(1, usize::MAX);
            b.iter_batched(
                || message(&queue.name),
                |outgoing| {
                    send(&*publisher, &window, outgoing);
                    flush(&window);
                },
                BatchSize::SmallInput,
            );
        });
        publisher.purge(&queue.name, soon()).unwrap();
        publisher.close(soon());
    }
    group.finish();
}

fn draining(c: &mut Criterion) {
    let (queue, publisher) = (queue(), broker::open_publisher(&url("")).unwrap());
    publisher.declare(&queue, soon()).unwrap();
    let mut group = c.benchmark_group("rabbitmq/reserve and settle");
    group.sample_size(10);
    group.throughput(Throughput::Elements(WINDOW_ELEMENTS));
    group.bench_function("prefetch 400", |b| {
        b.iter_batched(
            || {
                publish(&*publisher, messages(&queue.name));
                consumer(&queue)
            },
            |consumer| {
                drain(&*consumer);
                consumer
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    publisher.close(soon());
}

fn consumer(queue: &QueueSpec) -> Arc<dyn Consumer> {
    let config = ConsumerConfig {
        node: "celery@bench".to_owned(),
        queues: vec![queue.clone()],
        prefetch: 400,
        eta_room: 0,
    };
    broker::open_consumer(&url(""), config).unwrap()
}

fn drain(consumer: &dyn Consumer) {
    let mut left = WINDOW;
    while left > 0 {
        let found = consumer.reserve(BATCH, soon()).unwrap();
        left -= found.len();
        let batch = found.into_iter().map(|delivery| Settlement {
            token: delivery.token,
            verdict: Verdict::Ack,
            put: None,
        });
        consumer.settle(batch.collect(), soon()).unwrap();
    }
}

criterion_group!(benches, publishing, draining);
criterion_main!(benches);
