//! Builds Python objects from any serde deserializer.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::fmt;

use celeriac_core::{Error, codec};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::keys::KeyCache;
use super::typed::{class_name, typed_value};
use super::{Style, hooks};
use crate::errors::Fault;

/// One building of an object; remembers what Python raised.
pub(super) struct Builder<'py> {
    py: Python<'py>,
    style: Style,
    /// What Python cannot make of a value is left as the text or the dict that JSON has.
    is_lenient: bool,
    trouble: Cell<Option<Trouble>>,
    keys: RefCell<KeyCache<'py>>,
}

struct Trouble {
    detail: String,
    cause: Option<PyErr>,
}

impl<'py> Builder<'py> {
    pub(super) fn new(py: Python<'py>, style: Style) -> Self {
        Self {
            py,
            style,
            is_lenient: false,
            trouble: Cell::new(None),
            keys: RefCell::default(),
        }
    }

    /// Never fails at a typed object or a number that Python refuses.
    pub(super) fn lenient(mut self) -> Self {
        self.is_lenient = true;
        self
    }

    /// Whether an error is passed over. What is no `Exception` (an interrupt) never is.
    fn tolerates(&self, error: &PyErr) -> bool {
        self.is_lenient && error.is_instance_of::<PyException>(self.py)
    }

    /// What serde fills.
    pub(super) fn seed(&self) -> Seed<'_, 'py> {
        Seed { builder: self }
    }

    /// Why the building failed; `error` is what the codec made of it.
    pub(super) fn into_fault(self, error: Error) -> Fault {
        match self.trouble.take() {
            None => Fault::Core(error),
            Some(Trouble {
                cause: Some(cause), ..
            }) if !cause.is_instance_of::<PyException>(self.py) => Fault::Python(cause),
            Some(Trouble { detail, cause }) => Fault::Decode { detail, cause },
        }
    }

    #[cold]
    fn fail<E: serde::de::Error>(&self, detail: String, cause: Option<PyErr>) -> E {
        self.trouble.set(Some(Trouble { detail, cause }));
        E::custom("a value that cannot be built")
    }

    fn try_python<T, E: serde::de::Error>(
        &self,
        what: &str,
        work: impl FnOnce() -> PyResult<T>,
    ) -> Result<T, E> {
        work().map_err(|error| self.fail(format!("{what}: {error}"), Some(error)))
    }
}

/// One value to be built.
#[derive(Clone, Copy)]
pub(super) struct Seed<'a, 'py> {
    builder: &'a Builder<'py>,
}

impl<'de, 'py> DeserializeSeed<'de> for Seed<'_, 'py> {
    type Value = Bound<'py, PyAny>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, 'py> Visitor<'de> for Seed<'_, 'py> {
    type Value = Bound<'py, PyAny>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(self.builder.py.None().into_bound(self.builder.py))
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        self.visit_unit()
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(PyBool::new(self.builder.py, value).to_owned().into_any())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(PyInt::new(self.builder.py, value).into_any())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(PyInt::new(self.builder.py, value).into_any())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(PyFloat::new(self.builder.py, value).into_any())
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(PyString::new(self.builder.py, value).into_any())
    }

    fn visit_bytes<E: serde::de::Error>(self, value: &[u8]) -> Result<Self::Value, E> {
        let bytes = PyBytes::new(self.builder.py, value);
        match self.builder.style {
            Style::Msgpack => Ok(bytes.into_any()),
            Style::Json => self
                .builder
                .try_python("text with lone surrogates", || text_from(&bytes, c"utf-8")),
        }
    }

    fn visit_byte_buf<E: serde::de::Error>(self, value: Vec<u8>) -> Result<Self::Value, E> {
        match self.builder.style {
            Style::Msgpack => self.visit_bytes(&value),
            Style::Json => self.builder.try_python("text", || {
                let bytes = PyBytes::new(self.builder.py, &value);
                text_from(&bytes, c"utf-16")
            }),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::with_capacity(from.size_hint().unwrap_or(0).min(4096));
        while let Some(item) = from.next_element_seed(self)? {
            items.push(item);
        }
        let list = self
            .builder
            .try_python("a list", || PyList::new(self.builder.py, items))?;
        Ok(list.into_any())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let builder = self.builder;
        let dict = PyDict::new(builder.py);
        let mut special = Special::default();
        while let Some(key) = from.next_key_seed(KeySeed { builder })? {
            let key = match key {
                Key::BigInteger => return self.big_integer(&mut from),
                Key::Type(key) => special.seen_type(key),
                Key::Value(key) => special.seen_value(key),
                Key::Other(key) => key,
            };
            let value = from.next_value_seed(self)?;
            builder.try_python("a key of an object", || dict.set_item(key, value))?;
        }
        if special.is_complete() && dict.len() == 2 && builder.style == Style::Json {
            return self.typed(&dict);
        }
        Ok(dict.into_any())
    }
}

impl<'py> Seed<'_, 'py> {
    /// Digits of a number that no machine integer holds.
    fn big_integer<'de, A: MapAccess<'de>>(self, from: &mut A) -> Result<Bound<'py, PyAny>, A::Error> {
        let builder = self.builder;
        let digits = from.next_value_seed(self)?;
        match builder.py.get_type::<PyInt>().call1((&digits,)) {
            Err(error) if builder.tolerates(&error) => Ok(digits),
            made => builder.try_python("an integer", || made),
        }
    }

    /// What `{"__type__": marker, "__value__": value}` means.
    fn typed<E: serde::de::Error>(self, dict: &Bound<'py, PyDict>) -> Result<Bound<'py, PyAny>, E> {
        let builder = self.builder;
        let plain = || Ok(dict.clone().into_any());
        let parts = match marker_and_value(dict) {
            Err(error) if builder.tolerates(&error) => return plain(),
            parts => builder.try_python("a typed value", || parts)?,
        };
        let Some((marker, value)) = parts else {
            return plain();
        };
        match meaning(&marker, &value) {
            Ok(Some(object)) => Ok(object),
            Ok(None) if builder.is_lenient => plain(),
            Err(error) if builder.tolerates(&error) => plain(),
            Err(error) => builder.try_python(&format!("a value of type {marker:?}"), || Err(error)),
            Ok(None) => Err(builder.fail(
                format!(
                    "unknown type {marker:?} around a value of type {}; register it to read it",
                    class_name(&value)
                ),
                None,
            )),
        }
    }
}

fn marker_and_value<'py>(dict: &Bound<'py, PyDict>) -> PyResult<Option<(String, Bound<'py, PyAny>)>> {
    let marker = dict.get_item("__type__")?;
    let marker = marker.map(|marker| marker.extract::<String>()).transpose()?;
    Ok(marker.zip(dict.get_item("__value__")?))
}

fn meaning<'py>(marker: &str, value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(hooks) = hooks::current() else {
        return typed_value(marker, value);
    };
    if hooks.come_first {
        return match hooks.decoded(marker, value)? {
            Some(object) => Ok(Some(object)),
            None => typed_value(marker, value),
        };
    }
    match typed_value(marker, value)? {
        Some(object) => Ok(Some(object)),
        None => hooks.decoded(marker, value),
    }
}

/// Which of the two keys of a typed value an object has.
#[derive(Debug, Default)]
struct Special {
    has_type: bool,
    has_value: bool,
}

impl Special {
    fn seen_type<K>(&mut self, key: K) -> K {
        self.has_type = true;
        key
    }

    fn seen_value<K>(&mut self, key: K) -> K {
        self.has_value = true;
        key
    }

    fn is_complete(&self) -> bool {
        self.has_type && self.has_value
    }
}

enum Key<'py> {
    BigInteger,
    Type(Bound<'py, PyAny>),
    Value(Bound<'py, PyAny>),
    Other(Bound<'py, PyAny>),
}

struct KeySeed<'a, 'py> {
    builder: &'a Builder<'py>,
}

impl<'de, 'py> DeserializeSeed<'de> for KeySeed<'_, 'py> {
    type Value = Key<'py>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'py> Visitor<'_> for KeySeed<'_, 'py> {
    type Value = Key<'py>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        if key == codec::BIG_INT {
            return Ok(Key::BigInteger);
        }
        let text = self
            .builder
            .keys
            .borrow_mut()
            .text(self.builder.py, key)
            .into_any();
        Ok(match key {
            "__type__" => Key::Type(text),
            "__value__" => Key::Value(text),
            _ => Key::Other(text),
        })
    }

    fn visit_bytes<E: serde::de::Error>(self, key: &[u8]) -> Result<Self::Value, E> {
        Seed {
            builder: self.builder,
        }
        .visit_bytes(key)
        .map(Key::Other)
    }

    fn visit_byte_buf<E: serde::de::Error>(self, key: Vec<u8>) -> Result<Self::Value, E> {
        Seed {
            builder: self.builder,
        }
        .visit_byte_buf(key)
        .map(Key::Other)
    }

    // MessagePack has keys of any type; msgpack-python refuses what is neither text nor bytes.
    fn visit_i64<E: serde::de::Error>(self, key: i64) -> Result<Self::Value, E> {
        Err(E::custom(format_args!(
            "a key that is neither text nor bytes: {key}"
        )))
    }

    fn visit_u64<E: serde::de::Error>(self, key: u64) -> Result<Self::Value, E> {
        Err(E::custom(format_args!(
            "a key that is neither text nor bytes: {key}"
        )))
    }
}

/// Text from an encoding in which lone surrogates are encoded like other characters.
fn text_from<'py>(bytes: &Bound<'py, PyBytes>, encoding: &CStr) -> PyResult<Bound<'py, PyAny>> {
    PyString::from_encoded_object(bytes.as_any(), Some(encoding), Some(c"surrogatepass")).map(Bound::into_any)
}
