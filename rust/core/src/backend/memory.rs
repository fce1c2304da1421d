//! The memory result store.

use std::sync::Arc;

use super::ResultStore;
use crate::broker::url::BrokerUrl;
use crate::error::{Error, Result};

pub(super) fn store(_url: &BrokerUrl) -> Result<Arc<dyn ResultStore>> {
    Err(Error::Unsupported {
        feature: "memory".to_owned(),
    })
}
