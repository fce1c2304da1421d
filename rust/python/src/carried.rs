//! Headers, properties and body of a message as Python values.

use celeriac_core::Error;
use celeriac_core::codec::json;
use celeriac_core::wire::body;
use celeriac_core::wire::headers::Peek;
use celeriac_core::wire::message::{Message, Target};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use crate::convert::{self, Style};
use crate::errors::{Fault, Outcome};
use crate::packing;

/// The headers.
pub(crate) fn headers<'py>(py: Python<'py>, message: &Message) -> Outcome<Bound<'py, PyDict>> {
    let headers = convert::from_json_as_far_as_known(py, &message.headers)?;
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
        let value = convert::from_json_as_far_as_known(py, json.as_bytes())?;
        properties.set_item(name, value)?;
    }
    Ok(properties)
}

/// The body as it was sent: neither decompressed nor decoded.
pub(crate) fn raw_body<'py>(py: Python<'py>, message: &Message) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &message.body)
}

/// The arguments of a body that asks for nothing after its task. `None`: it does, or is something
/// else; whoever takes it apart then says what is wrong.
pub(crate) fn plain_arguments<'py>(
    py: Python<'py>,
    message: &Message,
) -> Option<(Bound<'py, PyList>, Bound<'py, PyDict>)> {
    if !body::ends_plainly(&message.body) {
        return None;
    }
    let content = convert::from_json(py, &message.body).ok()?;
    let parts = content.cast_into::<PyList>().ok()?;
    if parts.len() != 3 {
        return None;
    }
    let args = parts.get_item(0).ok()?.cast_into().ok()?;
    let kwargs = parts.get_item(1).ok()?.cast_into().ok()?;
    parts.get_item(2).ok()?.cast_into::<PyDict>().ok()?;
    Some((args, kwargs))
}

/// The result document of a task that returned `value`, as Celery's JSON is, of a call that has no
/// children. An error is one of the value.
pub(crate) fn success_document(peek: &Peek, value: &Bound<'_, PyAny>, date_done: &str) -> Outcome<Vec<u8>> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(br#"{"status": "SUCCESS", "result": "#);
    convert::append(&mut out, value, "result", Style::Json)?;
    out.extend_from_slice(br#", "traceback": null, "children": []"#);
    let texts = [
        ("date_done", Some(date_done)),
        ("group_id", peek.group.as_deref()),
        ("parent_id", peek.parent_id.as_deref()),
        ("task_id", peek.id.as_deref()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            out.extend_from_slice(b", ");
            json::append(&mut out, name)?;
            out.extend_from_slice(b": ");
            json::append(&mut out, text)?;
        }
    }
    out.push(b'}');
    Ok(out)
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
            let bytes = PyBytes::new(py, &body);
            let text = PyString::from_encoded_object(bytes.as_any(), Some(c"utf-8"), None);
            text.map(Bound::into_any).map_err(|error| Fault::Decode {
                detail: format!("the body is no text: {error}"),
                cause: Some(error),
            })
        }
        other => {
            let content_type = other.to_owned();
            Err(Error::ContentRefused { content_type }.into())
        }
    }
}
