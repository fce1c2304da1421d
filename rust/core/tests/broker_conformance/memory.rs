//! The suite on the memory broker.

use celeriac_core::broker::url::BrokerUrl;

use crate::stage::{Fixture, queue, reserve};

pub(crate) struct Memory {
    name: uuid::Uuid,
}

impl Fixture for Memory {
    fn fresh() -> Self {
        Self {
            name: uuid::Uuid::new_v4(),
        }
    }

    fn url(&self) -> BrokerUrl {
        BrokerUrl::parse(&format!("memory:///{}", self.name), Vec::new()).unwrap()
    }

    /// No process can die and leave this broker behind; its consumers end by being dropped.
    fn kill_a_consumer_holding(&self, name: &str, room: usize) {
        let config = celeriac_core::broker::ConsumerConfig {
            node: "celery@victim".to_owned(),
            queues: vec![queue(name)],
            prefetch: 0,
            eta_room: 0,
        };
        let consumer = celeriac_core::broker::open_consumer(&self.url(), config).unwrap();
        assert_eq!(reserve(&*consumer, room).len(), room);
    }
}

conformance!(Memory);
conformance_of_stores!(Memory);
