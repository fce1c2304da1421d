//! The `RabbitMQ` of the tests, and names of each test's own on it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::broker::topology::QueueSpec;
use celeriac_core::broker::url::BrokerUrl;
use celeriac_core::broker::{Consumer, Delivery, Publisher, Settlement, Verdict};
use celeriac_core::error::Error;
use celeriac_core::ledger::Ledger;
use celeriac_core::time::Deadline;
use celeriac_core::wire::message::{Message, Outgoing, Properties, Target};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Channel, Connection, ConnectionProperties};

/// Queues and exchanges of one test, deleted when it is dropped.
pub(crate) struct Yard {
    server: String,
    prefix: String,
    given: Mutex<Vec<String>>,
}

impl Yard {
    /// A fresh set of names. A missing server fails the test with its first use.
    pub(crate) fn fresh() -> Self {
        let server = std::env::var("CELERIAC_TEST_AMQP")
            .unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672//".to_owned());
        Self {
            server,
            prefix: format!("test-{}", uuid::Uuid::new_v4().simple()),
            given: Mutex::default(),
        }
    }

    /// A name of this test's own.
    pub(crate) fn name(&self, word: &str) -> String {
        let name = format!("{}.{word}", self.prefix);
        let mut given = self.given.lock().unwrap();
        if !given.contains(&name) {
            given.push(name.clone());
        }
        name
    }

    /// The server's URL, with transport options as `name=value&…`.
    pub(crate) fn url(&self, options: &str) -> BrokerUrl {
        BrokerUrl::parse(&format!("{}?{options}", self.server), Vec::new()).unwrap()
    }

    /// The same through another port of this machine.
    pub(crate) fn url_at(&self, port: u16, options: &str) -> BrokerUrl {
        let (before, after) = self.server.rsplit_once(&format!("{}", self.port())).unwrap();
        let (scheme, userinfo) = before.split_once("://").unwrap();
        let userinfo = userinfo.rsplit_once('@').map_or("", |(userinfo, _)| userinfo);
        let raw = format!("{scheme}://{userinfo}@127.0.0.1:{port}{after}?{options}");
        BrokerUrl::parse(&raw, Vec::new()).unwrap()
    }

    /// Host and port of the server.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.url("").host(), self.port())
    }

    fn port(&self) -> u16 {
        self.url("").port()
    }

    /// Runs something on a connection that knows nothing of ours.
    pub(crate) fn raw<T>(&self, work: impl AsyncFnOnce(&Channel) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let connection = Connection::connect(&self.server, ConnectionProperties::default())
                .await
                .unwrap();
            let channel = connection.create_channel().await.unwrap();
            let done = work(&channel).await;
            if channel.status().connected() {
                channel.close(200, "done".into()).await.unwrap();
            }
            connection.close(200, "done".into()).await.unwrap();
            done
        })
    }
}

pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

pub(crate) fn in_ms(wait_ms: u64) -> Deadline {
    Deadline::after(Duration::from_millis(wait_ms))
}

/// What queues are declared with: the type that `CELERIAC_TEST_QUEUE_TYPE` names, if it does.
pub(crate) fn queue_arguments() -> Vec<(String, String)> {
    let named = std::env::var("CELERIAC_TEST_QUEUE_TYPE").into_iter();
    named
        .map(|kind| ("x-queue-type".to_owned(), format!("\"{kind}\"")))
        .collect()
}

/// Whether these are quorum queues.
pub(crate) fn is_quorum() -> bool {
    queue_arguments().iter().any(|(_, kind)| kind.contains("quorum"))
}

/// A durable queue of the default exchange.
pub(crate) fn queue(name: &str) -> QueueSpec {
    QueueSpec {
        arguments: queue_arguments(),
        ..QueueSpec::named(name)
    }
}

/// A message to a queue; its id is its body.
pub(crate) fn message(queue: &str, id: &str) -> Outgoing {
    Outgoing {
        message: Message {
            headers: Bytes::from(format!(r#"{{"lang": "py", "task": "add", "id": "{id}"}}"#)),
            properties: Properties {
                content_type: "application/json".to_owned(),
                content_encoding: "utf-8".to_owned(),
                correlation_id: Some(id.to_owned()),
                reply_to: None,
                delivery_mode: 2,
                priority: None,
                expiration: None,
                delivery_tag: id.to_owned(),
                extra: Vec::new(),
            },
            body: Bytes::copy_from_slice(id.as_bytes()),
        },
        target: Target {
            exchange: String::new(),
            routing_key: queue.to_owned(),
        },
        mandatory: None,
    }
}

/// Messages with the bodies `0`, `1`, ...
pub(crate) fn numbered(queue: &str, count: usize) -> Vec<Outgoing> {
    (0..count)
        .map(|number| message(queue, &number.to_string()))
        .collect()
}

/// Sends through one window, and waits; what failed.
pub(crate) fn send_all(publisher: &dyn Publisher, messages: Vec<Outgoing>) -> Vec<(Arc<str>, Error)> {
    let window = Ledger::new(messages.len(), usize::MAX);
    for outgoing in messages {
        let id: Arc<str> = outgoing.message.properties.delivery_tag.as_str().into();
        let receipt = window.enter(id, 0, soon()).unwrap();
        publisher.send(outgoing, None, receipt, soon());
    }
    window.wait_empty(soon()).unwrap();
    window.take_failed()
}

/// Reserves until there are `count` deliveries.
pub(crate) fn reserve(consumer: &dyn Consumer, count: usize) -> Vec<Delivery> {
    let deadline = soon();
    let mut all = Vec::new();
    while all.len() < count {
        match consumer.reserve(count - all.len(), deadline) {
            Ok(found) => all.extend(found),
            // Only a broken connection passes.
            Err(error) => assert!(matches!(error, Error::Disconnected { .. }), "{error}"),
        }
        assert!(!deadline.has_passed(), "{} of {count} arrived", all.len());
    }
    all
}

pub(crate) fn body(delivery: &Delivery) -> String {
    let message = delivery.message.as_ref().unwrap();
    String::from_utf8(message.body.to_vec()).unwrap()
}

pub(crate) fn settle(consumer: &dyn Consumer, deliveries: Vec<Delivery>, verdict: &Verdict) {
    let batch = deliveries.into_iter().map(|delivery| Settlement {
        token: delivery.token,
        verdict: verdict.clone(),
        put: None,
    });
    consumer.settle(batch.collect(), soon()).unwrap();
}

impl Drop for Yard {
    fn drop(&mut self) {
        let given = std::mem::take(&mut *self.given.lock().unwrap());
        self.raw(async |channel| {
            for name in given {
                for queue in [name.clone(), format!("celeriac.aside.{name}")] {
                    let options = QueueDeleteOptions::default();
                    channel.queue_delete(queue.into(), options).await.unwrap();
                }
                let options = ExchangeDeleteOptions::default();
                channel.exchange_delete(name.into(), options).await.unwrap();
            }
        });
    }
}
