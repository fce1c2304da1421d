//! The suite on the memory store.

use celeriac_core::broker::url::BrokerUrl;

use crate::stage::{Fixture, put};

pub(crate) struct Memory {
    name: uuid::Uuid,
}

impl Fixture for Memory {
    fn fresh() -> Self {
        let name = uuid::Uuid::new_v4();
        Self { name }
    }

    fn url(&self) -> BrokerUrl {
        BrokerUrl::parse(&format!("cache+memory:///{}", self.name), Vec::new()).unwrap()
    }

    /// No other process shares this store; another handle has to do.
    fn put_elsewhere(&self, task_id: &str, documents: &[&str]) {
        let store = self.open();
        for content in documents {
            put(&*store, task_id, content);
        }
    }
}

conformance!(Memory);
