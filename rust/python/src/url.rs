//! URLs with their transport options.

use celeriac_core::Error;
use celeriac_core::broker::url::{self, BrokerUrl, Scheme};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert;
use crate::errors::{Fault, OrRaise, Outcome};

/// The URL without its passwords, whether it can be used or not: fit for logs.
#[pyfunction]
#[pyo3(signature = (url, /))]
pub(crate) fn redacted(url: &str) -> String {
    url::redacted(url)
}

/// Checks a URL and its transport options without connecting; returns the URL fit for logs.
///
/// Raises `ImproperlyConfigured`, which names what exists.
#[pyfunction]
#[pyo3(signature = (url, options = None, /))]
pub(crate) fn check_url(py: Python<'_>, url: &str, options: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    broker_url(py, url, options)
        .map(|url| url.redacted())
        .or_raise(py)
}

/// Names of transport options that are accepted and have no effect in this version.
#[pyfunction]
#[pyo3(signature = (url, options = None, /))]
pub(crate) fn options_without_effect(
    py: Python<'_>,
    url: &str,
    options: Option<&Bound<'_, PyAny>>,
) -> PyResult<Vec<String>> {
    let url = broker_url(py, url, options).or_raise(py)?;
    Ok(url.not_honoured().into_iter().map(str::to_owned).collect())
}

/// A URL with options from a Python mapping.
pub(crate) fn broker_url(
    py: Python<'_>,
    url: &str,
    options: Option<&Bound<'_, PyAny>>,
) -> Outcome<BrokerUrl> {
    let options = match options {
        Some(options) if !options.is_none() => members(&as_dict(py, options)?, "broker_transport_options"),
        _ => Ok(Vec::new()),
    };
    let options = options.map_err(|fault| {
        // What JSON cannot carry (a callable, a TLS context) no option of ours takes.
        if let Fault::Encode { detail, .. } = fault {
            Error::BadUrl { detail }.into()
        } else {
            fault
        }
    })?;
    Ok(BrokerUrl::parse(url, options)?)
}

/// Whether no network lies between us and what the URL names.
pub(crate) fn is_local(url: &BrokerUrl) -> bool {
    match url.scheme() {
        Scheme::Memory | Scheme::Sqlite => true,
        Scheme::Redis | Scheme::Amqp => false,
    }
}

/// Any mapping as a dict.
pub(crate) fn as_dict<'py>(py: Python<'py>, mapping: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    match mapping.cast::<PyDict>() {
        Ok(dict) => Ok(dict.clone()),
        Err(_) => Ok(py.get_type::<PyDict>().call1((mapping,))?.cast_into::<PyDict>()?),
    }
}

/// The members of a dict as `(name, JSON text)`, in its order.
pub(crate) fn members(dict: &Bound<'_, PyDict>, what: &str) -> Outcome<Vec<(String, String)>> {
    dict.items()
        .iter()
        .map(|pair| {
            let (name, value): (String, Bound<'_, PyAny>) = pair.extract()?;
            let text = convert::to_json_text(&value, &format!("{what}[{name:?}]"))?;
            Ok((name, text))
        })
        .collect()
}
