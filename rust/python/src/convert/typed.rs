//! Objects that JSON has no word for: `{"__type__": marker, "__value__": value}`.
//!
//! Source: kombu/utils/json.py `JSONEncoder.default`, `object_hook`, `_register_default_types`.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyType};

/// What stands for an object of a known type.
#[derive(Debug)]
pub(super) struct Typed<'py> {
    /// The value of `__type__`.
    pub(super) marker: &'static str,
    /// The value of `__value__`, or its only member `hex` for a UUID.
    pub(super) text: Bound<'py, PyAny>,
}

#[derive(Debug)]
struct Types {
    datetime: Py<PyType>,
    date: Py<PyType>,
    time: Py<PyType>,
    decimal: Py<PyType>,
    uuid: Py<PyType>,
    b64decode: Py<PyAny>,
}

impl Types {
    fn import(py: Python<'_>) -> PyResult<Self> {
        let class = |module: &str, name: &str| -> PyResult<Py<PyType>> {
            Ok(py.import(module)?.getattr(name)?.cast_into::<PyType>()?.unbind())
        };
        Ok(Self {
            datetime: class("datetime", "datetime")?,
            date: class("datetime", "date")?,
            time: class("datetime", "time")?,
            decimal: class("decimal", "Decimal")?,
            uuid: class("uuid", "UUID")?,
            b64decode: py.import("base64")?.getattr("b64decode")?.unbind(),
        })
    }
}

fn types(py: Python<'_>) -> PyResult<&Types> {
    static TYPES: PyOnceLock<Types> = PyOnceLock::new();
    TYPES.get_or_try_init(py, || Types::import(py))
}

/// Whether the object is of a class of the standard library itself, which has no `__json__`.
pub(super) fn is_exactly_known(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = value.py();
    let types = types(py)?;
    let class = value.get_type();
    Ok([
        &types.datetime,
        &types.uuid,
        &types.decimal,
        &types.date,
        &types.time,
    ]
    .into_iter()
    .any(|known| class.is(known.bind(py))))
}

/// What stands for an object, where it is of a known type.
pub(super) fn typed_form<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Typed<'py>>> {
    let py = value.py();
    let types = types(py)?;
    let is = |class: &Py<PyType>| value.is_instance(class.bind(py));
    // A datetime is a date, too: the order counts.
    let form = if is(&types.datetime)? {
        // Compat: kombu calls the base class's method, whatever a subclass makes of isoformat().
        let text = types
            .datetime
            .bind(py)
            .call_method1(intern!(py, "isoformat"), (value,))?;
        Typed {
            marker: "datetime",
            text,
        }
    } else if is(&types.date)? {
        Typed {
            marker: "date",
            text: value.call_method0(intern!(py, "isoformat"))?,
        }
    } else if is(&types.time)? {
        Typed {
            marker: "time",
            text: value.call_method0(intern!(py, "isoformat"))?,
        }
    } else if is(&types.decimal)? {
        Typed {
            marker: "decimal",
            text: value.str()?.into_any(),
        }
    } else if is(&types.uuid)? {
        Typed {
            marker: "uuid",
            text: value.getattr(intern!(py, "hex"))?,
        }
    } else {
        return Ok(None);
    };
    Ok(Some(form))
}

/// The object that a marker and a value mean; `None` for an unknown marker.
pub(super) fn typed_value<'py>(
    marker: &str,
    value: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = value.py();
    let types = types(py)?;
    let from_iso = |class: &Py<PyType>| {
        class
            .bind(py)
            .call_method1(intern!(py, "fromisoformat"), (value,))
    };
    let object = match marker {
        "datetime" => from_iso(&types.datetime)?,
        // Compat: kombu reads a date through datetime, so that a date with a time is accepted.
        "date" => from_iso(&types.datetime)?.call_method0(intern!(py, "date"))?,
        "time" => from_iso(&types.time)?,
        "decimal" => types.decimal.bind(py).call1((value,))?,
        "uuid" => types.uuid.bind(py).call((), Some(value.cast::<PyDict>()?))?,
        "bytes" => value.call_method1(intern!(py, "encode"), ("utf-8",))?,
        "base64" => types.b64decode.bind(py).call1((value,))?,
        _ => return Ok(None),
    };
    Ok(Some(object))
}

/// Whether the object is one of Django's lazy strings, without importing Django.
pub(super) fn is_lazy_text(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = value.py();
    let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
    match modules
        .cast::<PyDict>()?
        .get_item(intern!(py, "django.utils.functional"))?
    {
        Some(module) => match module.getattr_opt(intern!(py, "Promise"))? {
            Some(promise) => value.is_instance(&promise),
            None => Ok(false),
        },
        None => Ok(false),
    }
}

/// `module.name` of the object's class, as messages show it (`set`, `datetime.timedelta`).
pub(super) fn class_name(value: &Bound<'_, PyAny>) -> String {
    value
        .get_type()
        .fully_qualified_name()
        .map_or_else(|_| "?".to_owned(), |name: Bound<'_, PyString>| name.to_string())
}
