//! Walks a Python object once, for any serde serializer.

use std::cell::{Cell, RefCell};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use celeriac_core::codec::MAX_ENCODED_DEPTH;
use celeriac_core::{Error, codec};
use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::typed::{Typed, class_name, is_exactly_known, is_lazy_text, typed_form};
use super::{Style, hooks, kinds};
use crate::errors::Fault;

/// How many steps of a path a message shows.
const SHOWN_STEPS: usize = 12;

/// One walk over an object; remembers what went wrong, and where.
pub(super) struct Walk<'py> {
    py: Python<'py>,
    style: Style,
    trouble: Cell<Option<Trouble>>,
    /// Steps to the failing value, innermost first.
    path: RefCell<Vec<Step>>,
}

enum Step {
    Index(usize),
    Key(String),
}

struct Trouble {
    /// Follows the path in the message.
    reason: String,
    cause: Option<PyErr>,
}

impl<'py> Walk<'py> {
    pub(super) fn new(py: Python<'py>, style: Style) -> Self {
        Self {
            py,
            style,
            trouble: Cell::new(None),
            path: RefCell::default(),
        }
    }

    /// The object as something that serde can serialize.
    pub(super) fn of<'a>(&'a self, value: &'a Bound<'py, PyAny>) -> Walked<'a, 'py> {
        Walked {
            walk: self,
            value,
            depth: 0,
        }
    }

    /// Why the walk failed; `error` is what the codec made of it.
    pub(super) fn into_fault(self, root: &str, error: Error) -> Fault {
        match self.trouble.take() {
            None => Fault::Core(error),
            Some(Trouble {
                cause: Some(cause), ..
            }) if !cause.is_instance_of::<PyException>(self.py) => Fault::Python(cause),
            Some(Trouble { reason, cause }) => {
                let detail = format!("{root}{} {reason}", self.shown_path());
                Fault::Encode { detail, cause }
            }
        }
    }

    fn shown_path(&self) -> String {
        let path = self.path.borrow();
        let mut shown = String::new();
        for step in path.iter().rev().take(SHOWN_STEPS) {
            shown.push('[');
            match step {
                Step::Index(index) => shown.push_str(&index.to_string()),
                Step::Key(key) => shown.push_str(key),
            }
            shown.push(']');
        }
        if path.len() > SHOWN_STEPS {
            shown.push('…');
        }
        shown
    }

    #[cold]
    fn fail<E: serde::ser::Error>(&self, reason: String, cause: Option<PyErr>) -> E {
        self.trouble.set(Some(Trouble { reason, cause }));
        E::custom("a value that cannot be carried")
    }

    #[cold]
    fn fail_with<E: serde::ser::Error>(&self, what: &str, cause: PyErr) -> E {
        self.fail(format!("{what}: {cause}"), Some(cause))
    }

    fn enter(&self, step: Step) {
        self.path.borrow_mut().push(step);
    }
}

/// A Python object, seen by serde.
pub(super) struct Walked<'a, 'py> {
    walk: &'a Walk<'py>,
    value: &'a Bound<'py, PyAny>,
    depth: usize,
}

impl Serialize for Walked<'_, '_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let value = self.value;
        if let Some(text) = kinds::exactly::<PyString>(value) {
            self.text(text, to)
        } else if let Some(number) = kinds::exactly::<PyInt>(value) {
            self.integer(number, to)
        } else if value.is_none() {
            to.serialize_unit()
        } else if let Some(dict) = kinds::exactly::<PyDict>(value) {
            self.dict(dict, to)
        } else if let Some(list) = kinds::exactly::<PyList>(value) {
            self.sequence(list.iter(), to)
        } else if let Some(tuple) = kinds::exactly::<PyTuple>(value) {
            self.sequence(tuple.iter(), to)
        } else if let Some(flag) = kinds::exactly::<PyBool>(value) {
            to.serialize_bool(flag.is_true())
        } else if let Some(number) = kinds::exactly::<PyFloat>(value) {
            to.serialize_f64(number.value())
        } else {
            self.rarer(to)
        }
    }
}

impl<'py> Walked<'_, 'py> {
    /// Subclasses of the plain types count as these, as `json` has it; then everything else.
    fn rarer<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let value = self.value;
        if let Some(text) = kinds::any::<PyString>(value) {
            self.text(text, to)
        } else if let Some(number) = kinds::any::<PyInt>(value) {
            self.integer(number, to)
        } else if let Some(number) = kinds::any::<PyFloat>(value) {
            to.serialize_f64(number.value())
        } else if let Some(dict) = kinds::any::<PyDict>(value) {
            self.dict(dict, to)
        } else if let Some(list) = kinds::any::<PyList>(value) {
            self.sequence(list.iter(), to)
        } else if let Some(tuple) = kinds::any::<PyTuple>(value) {
            self.sequence(tuple.iter(), to)
        } else if self.walk.style == Style::Msgpack {
            self.msgpack_object(to)
        } else {
            self.json_object(to)
        }
    }

    /// A value inside this one, or one that stands for it.
    fn inner<'b>(&'b self, value: &'b Bound<'py, PyAny>) -> Walked<'b, 'py> {
        Walked {
            walk: self.walk,
            value,
            depth: self.depth + 1,
        }
    }

    fn text<S: Serializer>(&self, text: &Bound<'py, PyString>, to: S) -> Result<S::Ok, S::Error> {
        match text.to_str() {
            Ok(text) => to.serialize_str(text),
            Err(error) if self.walk.style == Style::Msgpack => {
                Err(self.walk.fail_with("is text that UTF-8 cannot carry", error))
            }
            Err(_) => {
                let wtf8 = self.try_python("is text that cannot be encoded", || wtf8_of(text))?;
                Wtf8(wtf8.as_bytes()).serialize(to)
            }
        }
    }

    fn integer<S: Serializer>(&self, number: &Bound<'py, PyInt>, to: S) -> Result<S::Ok, S::Error> {
        if let Ok(small) = number.extract::<i64>() {
            return to.serialize_i64(small);
        }
        if let Ok(natural) = number.extract::<u64>() {
            return to.serialize_u64(natural);
        }
        if self.walk.style == Style::Msgpack {
            return Err(self.walk.fail(
                "is an integer beyond 64 bits, which msgpack cannot carry".to_owned(),
                None,
            ));
        }
        let digits = self.try_python("is an integer too long to write", || {
            digits_of(number)?.extract::<String>()
        })?;
        to.serialize_newtype_struct(codec::BIG_INT, &digits)
    }

    fn sequence<S: Serializer>(
        &self,
        items: impl ExactSizeIterator<Item = Bound<'py, PyAny>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        self.check_depth()?;
        let mut sequence = to.serialize_seq(Some(items.len()))?;
        for (index, item) in items.enumerate() {
            sequence
                .serialize_element(&self.inner(&item))
                .inspect_err(|_| self.walk.enter(Step::Index(index)))?;
        }
        sequence.end()
    }

    fn dict<S: Serializer>(&self, dict: &Bound<'py, PyDict>, to: S) -> Result<S::Ok, S::Error> {
        self.check_depth()?;
        let items = self.try_python("cannot list its items", || items_of(dict))?;
        let mut map = to.serialize_map(Some(items.len()))?;
        for (key, value) in &items {
            map.serialize_key(&Key { of: self, key })?;
            map.serialize_value(&self.inner(value))
                .inspect_err(|_| self.walk.enter(Step::Key(shown_key(key))))?;
        }
        map.end()
    }

    /// Everything that kombu's `JSONEncoder.default` is asked about, in its order.
    fn json_object<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.check_depth()?;
        if !self.try_python("has a broken type", || is_exactly_known(self.value))? {
            if let Some(reduced) =
                self.try_python("cannot be reduced by __json__()", || reduced(self.value))?
            {
                return self.inner(&reduced).serialize(to);
            }
            if self.try_python("is a broken lazy string", || is_lazy_text(self.value))? {
                let text = self.try_python("is a broken lazy string", || self.value.str())?;
                return self.text(&text, to);
            }
        }
        let hooks = hooks::current();
        let come_first = hooks.as_ref().is_some_and(|hooks| hooks.come_first);
        if let Some(hooks) = hooks.as_ref().filter(|_| come_first)
            && let Some(standing) = self.registered(hooks)?
        {
            return self.inner(&standing).serialize(to);
        }
        if let Some(typed) = self.try_python("cannot be encoded", || typed_form(self.value))? {
            return self.typed(&typed, to);
        }
        if let Some(hooks) = hooks.as_ref().filter(|_| !come_first)
            && let Some(standing) = self.registered(hooks)?
        {
            return self.inner(&standing).serialize(to);
        }
        match self.value.cast::<PyBytes>() {
            Ok(bytes) => json_bytes(bytes.as_bytes(), to),
            Err(_) => Err(self.refuse(
                "JSON",
                "; pass text, numbers, lists or dicts, give the class a __json__() method, or register the type",
            )),
        }
    }

    fn registered<E: serde::ser::Error>(&self, hooks: &hooks::Hooks) -> Result<Option<Bound<'py, PyAny>>, E> {
        self.try_python("cannot be encoded by what is registered for its type", || {
            hooks.encoded(self.value)
        })
    }

    fn typed<S: Serializer>(&self, typed: &Typed<'py>, to: S) -> Result<S::Ok, S::Error> {
        let text = self.inner(&typed.text);
        let mut map = to.serialize_map(Some(2))?;
        map.serialize_entry("__type__", typed.marker)?;
        if typed.marker == "uuid" {
            map.serialize_entry("__value__", &Hex(text))?;
        } else {
            map.serialize_entry("__value__", &text)?;
        }
        map.end()
    }

    /// msgpack-python takes bytes and bytearrays beside the plain types, and nothing else.
    fn msgpack_object<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if let Ok(bytes) = self.value.cast::<PyBytes>() {
            to.serialize_bytes(bytes.as_bytes())
        } else if let Ok(bytes) = self.value.cast::<PyByteArray>() {
            to.serialize_bytes(&bytes.to_vec())
        } else {
            Err(self.refuse("msgpack", "; pass text, bytes, numbers, lists or dicts"))
        }
    }

    #[cold]
    fn refuse<E: serde::ser::Error>(&self, format: &str, remedy: &str) -> E {
        let class = class_name(self.value);
        self.walk.fail(
            format!("is of type {class}, which {format} cannot carry{remedy}"),
            None,
        )
    }

    fn check_depth<E: serde::ser::Error>(&self) -> Result<(), E> {
        if self.depth < MAX_ENCODED_DEPTH {
            return Ok(());
        }
        Err(self.walk.fail(
            format!("is nested deeper than {MAX_ENCODED_DEPTH} levels: does it contain itself?"),
            None,
        ))
    }

    fn try_python<T, E: serde::ser::Error>(
        &self,
        what: &str,
        work: impl FnOnce() -> PyResult<T>,
    ) -> Result<T, E> {
        work().map_err(|error| self.walk.fail_with(what, error))
    }
}

/// A key of a dict. The JSON codec writes scalars as `json` does, in quotes.
struct Key<'a, 'py> {
    of: &'a Walked<'a, 'py>,
    key: &'a Bound<'py, PyAny>,
}

impl Serialize for Key<'_, '_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (of, key) = (self.of, self.key);
        if let Some(text) = kinds::exactly::<PyString>(key) {
            return of.text(text, to);
        }
        let is_scalar = key.is_none()
            || key.is_instance_of::<PyString>()
            || key.is_instance_of::<PyInt>()
            || key.is_instance_of::<PyFloat>();
        if is_scalar || of.walk.style == Style::Msgpack {
            return of.inner(key).serialize(to);
        }
        let class = class_name(key);
        let reason =
            format!("has a key of type {class}; JSON takes text, numbers, True, False and None as keys");
        Err(of.walk.fail(reason, None))
    }
}

/// Text with lone surrogates.
pub(super) struct Wtf8<'a>(pub(super) &'a [u8]);

impl Serialize for Wtf8<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_newtype_struct(codec::WTF8, &RawBytes(self.0))
    }
}

/// Bytes for a serializer that knows what to do with them.
struct RawBytes<'a>(&'a [u8]);

impl Serialize for RawBytes<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0)
    }
}

/// The value of a typed UUID.
struct Hex<'a, 'py>(Walked<'a, 'py>);

impl Serialize for Hex<'_, '_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(1))?;
        map.serialize_entry("hex", &self.0)?;
        map.end()
    }
}

fn json_bytes<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(2))?;
    if let Ok(text) = std::str::from_utf8(bytes) {
        map.serialize_entry("__type__", "bytes")?;
        map.serialize_entry("__value__", text)?;
    } else {
        map.serialize_entry("__type__", "base64")?;
        map.serialize_entry("__value__", &STANDARD.encode(bytes))?;
    }
    map.end()
}

fn reduced<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    match value.getattr_opt(intern!(value.py(), "__json__"))? {
        Some(reducer) if !reducer.is_none() => reducer.call0().map(Some),
        _ => Ok(None),
    }
}

/// The items as they are now: code of users that runs during the walk may change the dict.
pub(crate) fn items_of<'py>(
    dict: &Bound<'py, PyDict>,
) -> PyResult<Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
    if dict.is_exact_instance_of::<PyDict>() {
        return Ok(dict.iter().collect());
    }
    // A subclass may have an items() of its own, and json asks it.
    let items = dict.call_method0(intern!(dict.py(), "items"))?;
    items.try_iter()?.map(|pair| pair?.extract()).collect()
}

/// UTF-8 in which lone surrogates are encoded like other characters.
fn wtf8_of<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyBytes>> {
    let py = text.py();
    // The base class's method: a subclass of str may have an encode() of its own.
    let encoded = py
        .get_type::<PyString>()
        .call_method1(intern!(py, "encode"), (text, "utf-8", "surrogatepass"))?;
    Ok(encoded.cast_into::<PyBytes>()?)
}

/// Decimal digits, whatever a subclass (an `IntEnum`) shows as its repr.
fn digits_of<'py>(number: &Bound<'py, PyInt>) -> PyResult<Bound<'py, PyAny>> {
    let py = number.py();
    py.get_type::<PyInt>()
        .call_method1(intern!(py, "__repr__"), (number,))
}

/// A key as a message shows it.
fn shown_key(key: &Bound<'_, PyAny>) -> String {
    let shown = match key.cast::<PyString>() {
        Ok(text) => format!("{:?}", text.to_string_lossy()),
        Err(_) => key
            .repr()
            .map_or_else(|_| "?".to_owned(), |text| text.to_string()),
    };
    match shown.char_indices().nth(60) {
        Some((cut, _)) => format!("{}…", &shown[..cut]),
        None => shown,
    }
}
