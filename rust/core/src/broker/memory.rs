//! The memory broker.

use std::sync::Arc;

use super::url::BrokerUrl;
use super::{Consumer, ConsumerConfig, Publisher};
use crate::error::{Error, Result};

pub(super) fn publisher(_url: &BrokerUrl) -> Result<Arc<dyn Publisher>> {
    Err(Error::Unsupported {
        feature: "memory".to_owned(),
    })
}

pub(super) fn consumer(_url: &BrokerUrl, _config: ConsumerConfig) -> Result<Arc<dyn Consumer>> {
    Err(Error::Unsupported {
        feature: "memory".to_owned(),
    })
}
