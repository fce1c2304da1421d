//! The suite on Redis.

use celeriac_core::broker::url::BrokerUrl;

use crate::space::Space;
use crate::stage::Fixture;

pub(crate) struct Redis(Space);

impl Fixture for Redis {
    fn fresh() -> Self {
        Self(Space::fresh())
    }

    fn url(&self) -> BrokerUrl {
        self.0.url("lease_timeout=1")
    }
}

conformance!(Redis);
conformance_of_stores!(Redis);
