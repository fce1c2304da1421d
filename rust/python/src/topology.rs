//! Queues as Python describes them: `{"name", "exchange", "exchange_type", "routing_key",
//! "durable", "auto_delete", "arguments"}`, of which only `name` is required.

use celeriac_core::Error;
use celeriac_core::broker::topology::{ExchangeType, QueueSpec};
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::Outcome;
use crate::url::{as_dict, members};

/// Queues of a Python sequence.
pub(crate) fn queue_specs(queues: &Bound<'_, PyAny>) -> Outcome<Vec<QueueSpec>> {
    queues.try_iter()?.map(|queue| queue_spec(&queue?)).collect()
}

/// One queue of a Python mapping.
pub(crate) fn queue_spec(queue: &Bound<'_, PyAny>) -> Outcome<QueueSpec> {
    let dict = as_dict(queue.py(), queue)?;
    let name: String = match dict.get_item("name")? {
        Some(name) => name.extract()?,
        None => return Err(PyKeyError::new_err("a queue needs a \"name\"").into()),
    };
    let mut spec = QueueSpec {
        routing_key: name.clone(),
        name,
        exchange: String::new(),
        exchange_type: ExchangeType::Direct,
        durable: true,
        auto_delete: false,
        arguments: Vec::new(),
    };
    for pair in dict.items() {
        let (key, value): (String, Bound<'_, PyAny>) = pair.extract()?;
        if !value.is_none() {
            fill(&mut spec, &key, &value)?;
        }
    }
    Ok(spec)
}

fn fill(spec: &mut QueueSpec, key: &str, value: &Bound<'_, PyAny>) -> Outcome<()> {
    match key {
        "name" => {}
        "exchange" => spec.exchange = value.extract()?,
        "exchange_type" => spec.exchange_type = exchange_type(value.extract()?)?,
        "routing_key" => spec.routing_key = value.extract()?,
        "durable" => spec.durable = value.is_truthy()?,
        "auto_delete" => spec.auto_delete = value.is_truthy()?,
        "arguments" => spec.arguments = members(value.cast::<PyDict>().map_err(PyErr::from)?, "arguments")?,
        _ => {
            let detail = format!("a queue has no {key:?}");
            return Err(PyTypeError::new_err(detail).into());
        }
    }
    Ok(())
}

pub(crate) fn exchange_type(name: &str) -> Outcome<ExchangeType> {
    ExchangeType::from_name(name).ok_or_else(|| {
        let detail = format!("unknown exchange type {name:?}; known: direct, topic, fanout, headers");
        Error::BadUrl { detail }.into()
    })
}
