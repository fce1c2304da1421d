//! What one call of a task may say about its message, read from a Python dict.

use celeriac_core::wire::body;
use celeriac_core::wire::template::Call;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyDict;

use crate::convert::{self, Style};
use crate::errors::Outcome;
use crate::url::members;

/// The fields of a call; what is absent or None takes the template's value.
#[derive(Debug, Default)]
pub(crate) struct CallFields<'py> {
    pub(crate) task_id: Option<PyBackedStr>,
    eta: Option<PyBackedStr>,
    expires: Option<PyBackedStr>,
    expiration: Option<PyBackedStr>,
    group: Option<PyBackedStr>,
    group_index: Option<i64>,
    retries: Option<u32>,
    timelimit: Option<String>,
    root_id: Option<PyBackedStr>,
    parent_id: Option<PyBackedStr>,
    pub(crate) argsrepr: Option<PyBackedStr>,
    pub(crate) kwargsrepr: Option<PyBackedStr>,
    origin: Option<PyBackedStr>,
    shadow: Option<PyBackedStr>,
    #[expect(
        clippy::option_option,
        reason = "null says: as the worker's own setting has it"
    )]
    ignore_result: Option<Option<bool>>,
    replaced_task_nesting: Option<i64>,
    stamped_headers: Option<String>,
    stamps: Option<String>,
    headers: Vec<(String, String)>,
    correlation_id: Option<PyBackedStr>,
    reply_to: Option<PyBackedStr>,
    delivery_mode: Option<u8>,
    priority: Option<u8>,
    delivery_tag: Option<PyBackedStr>,
    properties: Vec<(String, String)>,
    exchange: Option<PyBackedStr>,
    routing_key: Option<PyBackedStr>,
    mandatory: Option<bool>,
    callbacks: Option<Bound<'py, PyAny>>,
    errbacks: Option<Bound<'py, PyAny>>,
    chain: Option<Bound<'py, PyAny>>,
    chord: Option<Bound<'py, PyAny>>,
}

impl<'py> CallFields<'py> {
    /// Reads a dict; an unknown key or a value of the wrong type is a `TypeError`.
    pub(crate) fn read(&mut self, call: &Bound<'py, PyDict>) -> Outcome<()> {
        for (key, value) in convert::items_of(call)? {
            let name: PyBackedStr = key.extract()?;
            if value.is_none() {
                self.fill_none(&name)?;
            } else {
                self.fill(&name, value)?;
            }
        }
        Ok(())
    }

    fn fill_none(&mut self, name: &str) -> Outcome<()> {
        if name == "ignore_result" {
            self.ignore_result = Some(None);
            return Ok(());
        }
        if FIELDS.contains(&name) {
            Ok(())
        } else {
            Err(unknown(name))
        }
    }

    fn fill(&mut self, name: &str, value: Bound<'py, PyAny>) -> Outcome<()> {
        match name {
            "task_id" => self.task_id = text(name, &value)?,
            "eta" => self.eta = text(name, &value)?,
            "expires" => self.expires = text(name, &value)?,
            "expiration" => self.expiration = text(name, &value)?,
            "group" => self.group = text(name, &value)?,
            "group_index" => self.group_index = number(name, &value)?,
            "retries" => self.retries = number(name, &value)?,
            "timelimit" => self.timelimit = Some(convert::to_json_text(&value, name)?),
            "root_id" => self.root_id = text(name, &value)?,
            "parent_id" => self.parent_id = text(name, &value)?,
            "argsrepr" => self.argsrepr = text(name, &value)?,
            "kwargsrepr" => self.kwargsrepr = text(name, &value)?,
            "origin" => self.origin = text(name, &value)?,
            "shadow" => self.shadow = text(name, &value)?,
            "ignore_result" => self.ignore_result = Some(Some(value.is_truthy()?)),
            "replaced_task_nesting" => self.replaced_task_nesting = number(name, &value)?,
            "stamped_headers" => self.stamped_headers = Some(convert::to_json_text(&value, name)?),
            "stamps" => self.stamps = Some(convert::to_json_text(&value, name)?),
            "headers" => self.headers = members(dict(name, &value)?, name)?,
            "correlation_id" => self.correlation_id = text(name, &value)?,
            "reply_to" => self.reply_to = text(name, &value)?,
            "delivery_mode" => self.delivery_mode = number(name, &value)?,
            "priority" => self.priority = number(name, &value)?,
            "delivery_tag" => self.delivery_tag = text(name, &value)?,
            "properties" => self.properties = members(dict(name, &value)?, name)?,
            "exchange" => self.exchange = text(name, &value)?,
            "routing_key" => self.routing_key = text(name, &value)?,
            "mandatory" => self.mandatory = Some(value.is_truthy()?),
            "callbacks" => self.callbacks = Some(value),
            "errbacks" => self.errbacks = Some(value),
            "chain" => self.chain = Some(value),
            "chord" => self.chord = Some(value),
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    /// The same for the core, with the task's id filled in.
    pub(crate) fn as_call<'a>(&'a self, task_id: &'a str) -> Call<'a> {
        Call {
            task_id: Some(task_id),
            eta: self.eta.as_deref(),
            expires: self.expires.as_deref(),
            expiration: self.expiration.as_deref(),
            group: self.group.as_deref(),
            group_index: self.group_index,
            retries: self.retries,
            timelimit: self.timelimit.as_deref(),
            root_id: self.root_id.as_deref(),
            parent_id: self.parent_id.as_deref(),
            argsrepr: self.argsrepr.as_deref(),
            kwargsrepr: self.kwargsrepr.as_deref(),
            origin: self.origin.as_deref(),
            shadow: self.shadow.as_deref(),
            ignore_result: self.ignore_result,
            replaced_task_nesting: self.replaced_task_nesting,
            stamped_headers: self.stamped_headers.as_deref(),
            stamps: self.stamps.as_deref(),
            extra_headers: &self.headers,
            correlation_id: self.correlation_id.as_deref(),
            reply_to: self.reply_to.as_deref(),
            delivery_mode: self.delivery_mode,
            priority: self.priority,
            delivery_tag: self.delivery_tag.as_deref(),
            extra_properties: &self.properties,
            exchange: self.exchange.as_deref(),
            routing_key: self.routing_key.as_deref(),
            mandatory: self.mandatory,
        }
    }

    /// Appends the third element of a body.
    pub(crate) fn append_embed(&self, out: &mut Vec<u8>, style: Style) -> Outcome<()> {
        let parts = [
            ("callbacks", &self.callbacks),
            ("errbacks", &self.errbacks),
            ("chain", &self.chain),
            ("chord", &self.chord),
        ];
        if parts.iter().all(|(_, part)| part.is_none()) {
            out.extend_from_slice(default_embed(style));
            return Ok(());
        }
        let mut encoded: [Vec<u8>; 4] = Default::default();
        for ((what, part), to) in parts.into_iter().zip(&mut encoded) {
            append_part(to, part.as_ref(), what, style)?;
        }
        let [callbacks, errbacks, chain, chord] = &encoded;
        match style {
            Style::Json => out.extend(body::embed(callbacks, errbacks, chain, chord)),
            Style::Msgpack => {
                out.push(0x84);
                for ((what, _), value) in parts.into_iter().zip(&encoded) {
                    celeriac_core::codec::msgpack::append(out, what)?;
                    out.extend_from_slice(value);
                }
            }
        }
        Ok(())
    }
}

/// The third element of a body of which nothing follows.
pub(crate) fn default_embed(style: Style) -> &'static [u8] {
    match style {
        Style::Json => body::DEFAULT_EMBED,
        Style::Msgpack => body::DEFAULT_EMBED_MSGPACK,
    }
}

fn append_part(out: &mut Vec<u8>, part: Option<&Bound<'_, PyAny>>, what: &str, style: Style) -> Outcome<()> {
    match (part, style) {
        (Some(part), style) => convert::append(out, part, what, style),
        (None, Style::Json) => {
            out.extend_from_slice(b"null");
            Ok(())
        }
        (None, Style::Msgpack) => {
            out.push(0xC0);
            Ok(())
        }
    }
}

/// What a call may say; kept equal to the table in `fill` by a test.
pub(crate) const FIELDS: [&str; 32] = [
    "task_id",
    "eta",
    "expires",
    "expiration",
    "group",
    "group_index",
    "retries",
    "timelimit",
    "root_id",
    "parent_id",
    "argsrepr",
    "kwargsrepr",
    "origin",
    "shadow",
    "ignore_result",
    "replaced_task_nesting",
    "stamped_headers",
    "stamps",
    "headers",
    "correlation_id",
    "reply_to",
    "delivery_mode",
    "priority",
    "delivery_tag",
    "properties",
    "exchange",
    "routing_key",
    "mandatory",
    "callbacks",
    "errbacks",
    "chain",
    "chord",
];

fn unknown(name: &str) -> crate::errors::Fault {
    let known = FIELDS.join(", ");
    PyTypeError::new_err(format!("a call has no {name:?}; it may have {known}")).into()
}

/// A value as text.
pub(crate) fn text(name: &str, value: &Bound<'_, PyAny>) -> Outcome<Option<PyBackedStr>> {
    value
        .extract()
        .map(Some)
        .map_err(|_| mistyped(name, value, "a str").into())
}

/// A value as a number of this size.
pub(crate) fn number<'py, T>(name: &str, value: &Bound<'py, PyAny>) -> Outcome<Option<T>>
where
    T: for<'a> FromPyObject<'a, 'py>,
{
    value
        .extract()
        .map(Some)
        .map_err(|_| mistyped(name, value, "a small natural number").into())
}

fn dict<'a, 'py>(name: &str, value: &'a Bound<'py, PyAny>) -> Outcome<&'a Bound<'py, PyDict>> {
    value
        .cast::<PyDict>()
        .map_err(|_| mistyped(name, value, "a dict").into())
}

fn mistyped(name: &str, value: &Bound<'_, PyAny>, wanted: &str) -> PyErr {
    let found = value
        .repr()
        .map_or_else(|_| "?".to_owned(), |text| text.to_string());
    PyTypeError::new_err(format!("{name} must be {wanted}, not {found}"))
}
