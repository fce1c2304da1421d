//! The Redis server of the tests, and a name space of each test's own in it.

use celeriac_core::broker::url::BrokerUrl;

/// The databases before it belong to the Python tests, those after it to the benches.
const DATABASE: u8 = 13;

/// A prefix of keys, deleted when it is dropped.
pub(crate) struct Space {
    server: String,
    pub(crate) prefix: String,
}

impl Space {
    /// A fresh name space. A missing server fails the test with its first use.
    pub(crate) fn fresh() -> Self {
        let server = std::env::var("CELERIAC_TEST_REDIS");
        let server = server.unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
        Self {
            server: format!("{server}/{DATABASE}"),
            prefix: format!("test-{}:", uuid::Uuid::new_v4().simple()),
        }
    }

    /// Its URL, with transport options as `name=value&…`.
    pub(crate) fn url(&self, options: &str) -> BrokerUrl {
        let raw = format!("{}?global_keyprefix={}&{options}", self.server, self.prefix);
        BrokerUrl::parse(&raw, Vec::new()).unwrap()
    }

    /// The same through another port of this machine.
    pub(crate) fn url_at(&self, port: u16, options: &str) -> BrokerUrl {
        let db = self.server.rsplit('/').next().unwrap();
        let raw = format!(
            "redis://127.0.0.1:{port}/{db}?global_keyprefix={}&{options}",
            self.prefix
        );
        BrokerUrl::parse(&raw, Vec::new()).unwrap()
    }

    /// Host and port of the server.
    pub(crate) fn address(&self) -> String {
        let url = BrokerUrl::parse(&self.server, Vec::new()).unwrap();
        format!("{}:{}", url.host(), url.port())
    }

    /// A connection that knows nothing of ours.
    pub(crate) fn connect(&self) -> redis::Connection {
        let client = redis::Client::open(self.server.as_str()).unwrap();
        client.get_connection().unwrap()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let mut connection = self.connect();
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
            .arg(format!("{}*", self.prefix))
            .query(&mut connection)
            .unwrap();
        if !keys.is_empty() {
            redis::cmd("DEL").arg(keys).exec(&mut connection).unwrap();
        }
    }
}
