//! Headers, properties and body of a message as Python values.

use celeriac_core::Error;
use celeriac_core::wire::message::{Message, Target};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::convert;
use crate::errors::Outcome;
use crate::packing;

/// The headers.
pub(crate) fn headers<'py>(py: Python<'py>, message: &Message) -> Outcome<Bound<'py, PyDict>> {
    let headers = convert::from_json(py, &message.headers)?;
    Ok(headers.cast_into::<PyDict>().map_err(PyErr::from)?)
}

/// The properties under the names that kombu gives them, with `delivery_info`.
pub(crate) fn properties<'py>(
    py: Python<'py>,
    message: &Message,
    target: &Target,
    redelivered: bool,
) -> Outcome<Bound<'py, PyDict>> {
    let given = &message.properties;
    let properties = PyDict::new(py);
    if let Some(correlation_id) = &given.correlation_id {
        properties.set_item("correlation_id", correlation_id)?;
    }
    if let Some(reply_to) = &given.reply_to {
        properties.set_item("reply_to", reply_to)?;
    }
    properties.set_item("delivery_mode", given.delivery_mode)?;
    if let Some(expiration) = &given.expiration {
        properties.set_item("expiration", expiration)?;
    }
    let delivery_info = PyDict::new(py);
    delivery_info.set_item("exchange", &target.exchange)?;
    delivery_info.set_item("routing_key", &target.routing_key)?;
    delivery_info.set_item("redelivered", redelivered)?;
    properties.set_item("delivery_info", delivery_info)?;
    if let Some(priority) = given.priority {
        properties.set_item("priority", priority)?;
    }
    properties.set_item("delivery_tag", &given.delivery_tag)?;
    for (name, json) in &given.extra {
        properties.set_item(name, convert::from_json(py, json.as_bytes())?)?;
    }
    Ok(properties)
}

/// The body as it was sent: neither decompressed nor decoded.
pub(crate) fn raw_body<'py>(py: Python<'py>, message: &Message) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &message.body)
}

/// The decoded body. What may be decoded at all (`accept_content`) is decided by who calls.
pub(crate) fn body<'py>(
    py: Python<'py>,
    message: &Message,
    compression: Option<&str>,
    max_bytes: usize,
) -> Outcome<Bound<'py, PyAny>> {
    let body = packing::unpacked(py, &message.body, compression, max_bytes)?;
    match message.properties.content_type.as_str() {
        "application/json" => convert::from_json(py, &body),
        "application/x-msgpack" => convert::from_msgpack(py, &body),
        "application/data" => Ok(PyBytes::new(py, &body).into_any()),
        "application/text" | "text/plain" => {
            let text = PyString::from_encoded_object(PyBytes::new(py, &body).as_any(), Some(c"utf-8"), None)?;
            Ok(text.into_any())
        }
        other => {
            let content_type = other.to_owned();
            Err(Error::ContentRefused { content_type }.into())
        }
    }
}
