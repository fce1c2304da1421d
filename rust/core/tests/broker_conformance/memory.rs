//! The suite on the memory broker.

use celeriac_core::broker::Verdict;
use celeriac_core::broker::url::BrokerUrl;
use celeriac_core::time::SystemClock;

use crate::stage::{Fixture, queue_at, reserve, settle};

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
            queues: vec![queue_at(&self.url(), name)],
            prefetch: 0,
            eta_room: 0,
        };
        let consumer = celeriac_core::broker::open_consumer(&self.url(), config).unwrap();
        assert_eq!(reserve(&*consumer, room).len(), room);
    }

    fn kill_a_consumer_delaying(&self, name: &str, room: usize, by_ms: u64) {
        let config = celeriac_core::broker::ConsumerConfig {
            node: "celery@victim".to_owned(),
            queues: vec![queue_at(&self.url(), name)],
            prefetch: 0,
            eta_room: 0,
        };
        let consumer = celeriac_core::broker::open_consumer(&self.url(), config).unwrap();
        let until_unix_ms = SystemClock::shared().unix_ms() + by_ms;
        settle(
            &*consumer,
            reserve(&*consumer, room),
            &Verdict::Delay { until_unix_ms },
        );
    }
}

conformance!(Memory);
conformance_of_stores!(Memory);
