//! Queues as Python describes them: `{"name", "durable", "auto_delete", "arguments", "no_declare"}`,
//! of which only `name` is required, the first binding's `{"exchange", "exchange_type",
//! "exchange_options", "routing_key", "binding_arguments"}`, and the others' as `"bindings"`.

use celeriac_core::Error;
use celeriac_core::broker::topology::{ExchangeOptions, ExchangeType, QueueSpec};
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::{Fault, Outcome};
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
    let mut spec = QueueSpec::named(name);
    fill(&dict, |key, value| match key {
        "name" | "bindings" => Ok(true),
        "durable" => set(&mut spec.durable, value.is_truthy()),
        "auto_delete" => set(&mut spec.auto_delete, value.is_truthy()),
        "no_declare" => set(&mut spec.no_declare, value.is_truthy()),
        "arguments" => set(&mut spec.arguments, arguments(key, value)),
        _ => fill_binding(&mut spec, key, value),
    })?;
    if let Some(bindings) = dict.get_item("bindings")? {
        spec.more = further(&spec, &bindings)?;
    }
    Ok(spec)
}

/// The same queue, for each of its further bindings.
fn further(queue: &QueueSpec, bindings: &Bound<'_, PyAny>) -> Outcome<Vec<QueueSpec>> {
    let mut found = Vec::new();
    for binding in bindings.try_iter()? {
        let mut spec = QueueSpec {
            durable: queue.durable,
            auto_delete: queue.auto_delete,
            no_declare: queue.no_declare,
            arguments: queue.arguments.clone(),
            ..QueueSpec::named(queue.name.clone())
        };
        let dict = as_dict(bindings.py(), &binding?)?;
        fill(&dict, |key, value| fill_binding(&mut spec, key, value))?;
        found.push(spec);
    }
    Ok(found)
}

fn fill_binding(spec: &mut QueueSpec, key: &str, value: &Bound<'_, PyAny>) -> Outcome<bool> {
    match key {
        "exchange" => set(&mut spec.exchange, value.extract()),
        "exchange_type" => set(&mut spec.exchange_type, exchange_type(value.extract()?)),
        "exchange_options" => set(&mut spec.exchange_options, exchange_options(value)),
        "routing_key" => set(&mut spec.routing_key, value.extract()),
        "binding_arguments" => set(&mut spec.binding_arguments, arguments(key, value)),
        _ => Ok(false),
    }
}

fn exchange_options(options: &Bound<'_, PyAny>) -> Outcome<ExchangeOptions> {
    let mut made = ExchangeOptions::default();
    let dict = as_dict(options.py(), options)?;
    fill(&dict, |key, value| match key {
        "durable" => set(&mut made.durable, value.is_truthy()),
        "auto_delete" => set(&mut made.auto_delete, value.is_truthy()),
        "passive" => set(&mut made.passive, value.is_truthy()),
        "no_declare" => set(&mut made.no_declare, value.is_truthy()),
        "arguments" => set(&mut made.arguments, arguments(key, value)),
        _ => Ok(false),
    })?;
    Ok(made)
}

/// Hands over each member that is not `None`; `put` says whether there is such a one.
fn fill(
    dict: &Bound<'_, PyDict>,
    mut put: impl FnMut(&str, &Bound<'_, PyAny>) -> Outcome<bool>,
) -> Outcome<()> {
    for pair in dict.items() {
        let (key, value): (String, Bound<'_, PyAny>) = pair.extract()?;
        if !value.is_none() && !put(&key, &value)? {
            let detail = format!("a queue has no {key:?}");
            return Err(PyTypeError::new_err(detail).into());
        }
    }
    Ok(())
}

fn set<T, E>(place: &mut T, value: Result<T, E>) -> Outcome<bool>
where
    E: Into<Fault>,
{
    *place = value.map_err(Into::into)?;
    Ok(true)
}

fn arguments(what: &str, value: &Bound<'_, PyAny>) -> Outcome<Vec<(String, String)>> {
    members(value.cast::<PyDict>().map_err(PyErr::from)?, what)
}

pub(crate) fn exchange_type(name: &str) -> Outcome<ExchangeType> {
    ExchangeType::from_name(name).ok_or_else(|| {
        let detail = format!("unknown exchange type {name:?}; known: direct, topic, fanout, headers");
        Error::BadUrl { detail }.into()
    })
}
