//! Messages whose parts Python has made: the slow path of publishing, and raw messages.

use bytes::Bytes;
use celeriac_core::ids;
use celeriac_core::wire::message::{Message, Outgoing, Properties, Target};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyBytes;

use crate::call::{number, text};
use crate::convert;
use crate::errors::{OrRaise, Outcome};
use crate::template::Addressed;
use crate::url::as_dict;

/// A message of headers, properties, a body, and `(exchange, routing key)`.
pub(crate) fn letter_of_parts(
    headers: &Bound<'_, PyAny>,
    properties: &Bound<'_, PyAny>,
    body: &Bound<'_, PyBytes>,
    (exchange, routing_key): (String, String),
) -> Outcome<Addressed> {
    let (task_id, outgoing) = outgoing_of_parts(headers, properties, body, (exchange, routing_key))?;
    Ok(Addressed {
        task_id: task_id.into(),
        letter: outgoing.into(),
    })
}

/// The same in parts, after the task's id.
pub(crate) fn outgoing_of_parts(
    headers: &Bound<'_, PyAny>,
    properties: &Bound<'_, PyAny>,
    body: &Bound<'_, PyBytes>,
    (exchange, routing_key): (String, String),
) -> Outcome<(String, Outgoing)> {
    let py = body.py();
    let headers = as_dict(py, headers)?;
    let (properties, mandatory) = properties_of(properties)?;
    let task_id = match headers.get_item("id")? {
        Some(id) => id.str()?.to_string(),
        // Messages of protocol 1 name it in their body only.
        None => properties.correlation_id.clone().unwrap_or_default(),
    };
    let message = Message {
        headers: Bytes::from(convert::to_json(headers.as_any(), "headers")?),
        properties,
        body: Bytes::copy_from_slice(body.as_bytes()),
    };
    let outgoing = Outgoing {
        message,
        target: Target {
            exchange,
            routing_key,
        },
        mandatory,
    };
    Ok((task_id, outgoing))
}

/// The envelope that publishing these parts puts on Redis, without sending it.
#[pyfunction]
#[pyo3(signature = (headers, properties, body, exchange, routing_key, /))]
pub(crate) fn envelope_of_parts<'py>(
    headers: &Bound<'py, PyAny>,
    properties: &Bound<'py, PyAny>,
    body: &Bound<'py, PyBytes>,
    exchange: String,
    routing_key: String,
) -> PyResult<Bound<'py, PyBytes>> {
    let py = body.py();
    let letter = letter_of_parts(headers, properties, body, (exchange, routing_key)).or_raise(py)?;
    Ok(PyBytes::new(py, &letter.letter.sealed().envelope))
}

/// `None`, or whether it is true.
fn truth(value: &Bound<'_, PyAny>) -> PyResult<Option<bool>> {
    (!value.is_none()).then(|| value.is_truthy()).transpose()
}

/// The properties, and whether a queue must take the message, which is no property of it.
fn properties_of(given: &Bound<'_, PyAny>) -> Outcome<(Properties, Option<bool>)> {
    let mut mandatory = None;
    let mut properties = Properties {
        content_type: "application/json".to_owned(),
        content_encoding: "utf-8".to_owned(),
        correlation_id: None,
        reply_to: None,
        delivery_mode: 2,
        priority: None,
        expiration: None,
        delivery_tag: String::new(),
        extra: Vec::new(),
    };
    for pair in as_dict(given.py(), given)?.items() {
        let (name, value): (PyBackedStr, Bound<'_, PyAny>) = pair.extract()?;
        if &*name == "mandatory" {
            mandatory = truth(&value)?;
        } else if !value.is_none() {
            fill(&mut properties, &name, &value)?;
        }
    }
    if properties.delivery_tag.is_empty() {
        properties.delivery_tag = ids::fresh_text();
    }
    Ok((properties, mandatory))
}

fn fill(properties: &mut Properties, name: &str, value: &Bound<'_, PyAny>) -> Outcome<()> {
    let owned = || -> Outcome<Option<String>> { Ok(text(name, value)?.map(|text| text.to_string())) };
    match name {
        "content_type" => properties.content_type = owned()?.unwrap_or_default(),
        "content_encoding" => properties.content_encoding = owned()?.unwrap_or_default(),
        "correlation_id" => properties.correlation_id = owned()?,
        "reply_to" => properties.reply_to = owned()?,
        "delivery_mode" => properties.delivery_mode = number(name, value)?.unwrap_or(2),
        "priority" => properties.priority = number(name, value)?,
        "expiration" => properties.expiration = owned()?,
        "delivery_tag" => properties.delivery_tag = owned()?.unwrap_or_default(),
        _ => properties
            .extra
            .push((name.to_owned(), convert::to_json_text(value, name)?)),
    }
    Ok(())
}
