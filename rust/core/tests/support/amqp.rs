//! The `RabbitMQ` of the tests, and names of each test's own on it.

use std::sync::Mutex;

use celeriac_core::broker::url::BrokerUrl;
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
