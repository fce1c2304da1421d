//! Shortened texts of arguments, for logs and monitors.
//!
//! Source: celery/utils/saferepr.py `saferepr`, whose output this equals character by character
//! except for objects whose `__repr__` raises.

use std::borrow::Cow;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple, PyType,
};

use super::{Shown, kinds, surrogates};

/// How much of a value is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReprLimits {
    /// Characters after which the rest becomes `...`; closing brackets come on top.
    pub(crate) max_chars: usize,
    /// Containers inside each other; a deeper one is shown as `[...]`. 0 is unlimited.
    pub(crate) max_levels: usize,
}

/// The shortened `repr` of a value.
pub(super) fn safe_repr(value: &Bound<'_, PyAny>, limits: ReprLimits) -> PyResult<Shown> {
    let printer = printed(value, limits)?;
    Ok(if printer.has_stand_ins {
        Shown::Wtf8(surrogates::wtf8(&printer.out))
    } else {
        Shown::Text(printer.out)
    })
}

fn printed(value: &Bound<'_, PyAny>, limits: ReprLimits) -> PyResult<Printer> {
    let mut printer = Printer::new(limits);
    printer.value(value)?;
    Ok(printer)
}

/// Containers deeper than this are not followed, whatever the caller allows: the stack ends.
const MAX_STACKED: usize = 200;

/// How many bytes most texts have at most.
const MOSTLY: usize = 48;

struct Printer {
    out: String,
    /// Characters left; what overshoots makes it negative.
    left: isize,
    max_levels: usize,
    level: usize,
    /// Addresses of the containers around the current value.
    open: Vec<usize>,
    /// The limit was met: only brackets that were opened before are still closed.
    is_exhausted: bool,
    /// Lone surrogates are in the text, as stand-ins.
    has_stand_ins: bool,
}

impl Printer {
    fn new(limits: ReprLimits) -> Self {
        let max_levels = match limits.max_levels {
            0 => MAX_STACKED,
            levels => levels.min(MAX_STACKED),
        };
        Self {
            out: String::with_capacity(MOSTLY),
            left: isize::try_from(limits.max_chars).unwrap_or(isize::MAX),
            max_levels,
            level: 0,
            open: Vec::new(),
            is_exhausted: false,
            has_stand_ins: false,
        }
    }

    fn value(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Some(text) = kinds::any::<PyString>(value) {
            let text = self.readable(text)?;
            self.quoted(&text);
            Ok(())
        } else if is_plain_number(value) {
            self.number(value)
        } else if let Some(list) = kinds::any::<PyList>(value) {
            self.sequence(value, ("[", "]"), list.iter())
        } else if let Some(tuple) = kinds::any::<PyTuple>(value) {
            let close = if tuple.len() == 1 { ",)" } else { ")" };
            self.sequence(value, ("(", close), tuple.iter())
        } else if let Some(dict) = kinds::any::<PyDict>(value) {
            self.dict(dict)
        } else {
            self.rarer(value)
        }
    }

    fn rarer(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Some(bytes) = kinds::any::<PyBytes>(value) {
            self.bytes(bytes.as_bytes());
            return Ok(());
        }
        if value.is_instance_of::<PySet>() || value.is_instance_of::<PyFrozenSet>() {
            return self.set(value);
        }
        let text = match number_text(value)? {
            Some(text) => text,
            None => any_repr(value)?,
        };
        let text = self.readable(&text)?;
        self.text(&text);
        Ok(())
    }

    fn number(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        if value.is_exact_instance_of::<PyInt>()
            && let Ok(small) = value.extract::<i64>()
        {
            self.text(itoa::Buffer::new().format(small));
        } else {
            let text = shown_anyhow(value, value.str())?;
            let text = self.readable(&text)?;
            self.text(&text);
        }
        Ok(())
    }

    /// The text; lone surrogates, which UTF-8 cannot carry, are replaced by their stand-ins.
    fn readable<'a>(&mut self, text: &'a Bound<'_, PyString>) -> PyResult<Cow<'a, str>> {
        if let Ok(text) = text.to_str() {
            return Ok(Cow::Borrowed(text));
        }
        self.has_stand_ins = true;
        surrogates::with_stand_ins(text).map(Cow::Owned)
    }

    /// Makes room for a token: false when the limit was met and it must not be shown.
    fn admits(&mut self) -> bool {
        if self.is_exhausted {
            return false;
        }
        if self.left > 0 {
            return true;
        }
        self.out.push_str(", ...");
        self.is_exhausted = true;
        false
    }

    fn write(&mut self, token: &str) {
        self.left -= chars_in(token);
        self.out.push_str(token);
    }

    fn literal(&mut self, token: &str) {
        if self.admits() {
            self.write(token);
        }
    }

    fn text(&mut self, text: &str) {
        if self.admits() {
            let shown = truncated(text, self.left);
            self.write(&shown);
        }
    }

    fn quoted(&mut self, text: &str) {
        if self.admits() {
            let shown = truncated(text, self.left);
            self.write("'");
            if shown.contains('\'') {
                self.write(&shown.replace('\'', "\\'"));
            } else {
                self.write(&shown);
            }
            self.write("'");
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if self.admits() {
            let limit = usize::try_from(self.left).unwrap_or(0);
            let (shown, dots) = match bytes.get(..limit) {
                Some(start) if bytes.len() > limit => (start, "..."),
                _ => (bytes, ""),
            };
            self.write("b'");
            match std::str::from_utf8(shown) {
                Ok(text) => self.write(text),
                Err(_) => shown.iter().for_each(|byte| self.write(&format!("{byte:02x}"))),
            }
            self.write(dots);
            self.write("'");
        }
    }

    /// Opens a container. `None`: it is not followed, or the limit was met.
    fn opened(&mut self, container: &Bound<'_, PyAny>, open: &str, close: &str) -> PyResult<bool> {
        if self.level >= self.max_levels {
            self.literal(&format!("{open}...{close}"));
            return Ok(false);
        }
        let address = container.as_ptr().addr();
        if self.open.contains(&address) {
            let class = container.get_type().name()?;
            self.text(&format!("<Recursion on {class} with id={address}>"));
            return Ok(false);
        }
        if !self.admits() {
            return Ok(false);
        }
        self.write(open);
        self.level += 1;
        self.open.push(address);
        Ok(true)
    }

    fn closed(&mut self, close: &str) {
        self.level -= 1;
        self.open.pop();
        if self.is_exhausted || self.left <= 0 {
            // A bracket that was opened is closed, and not counted.
            self.out.push_str(close);
        } else {
            self.write(close);
        }
    }

    fn sequence<'py>(
        &mut self,
        container: &Bound<'py, PyAny>,
        (open, close): (&str, &str),
        items: impl ExactSizeIterator<Item = Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        if !self.opened(container, open, close)? {
            return Ok(());
        }
        let last = items.len().saturating_sub(1);
        for (index, item) in items.enumerate() {
            self.value(&item)?;
            if index < last {
                self.literal(", ");
            }
            if self.is_exhausted {
                break;
            }
        }
        self.closed(close);
        Ok(())
    }

    fn set(&mut self, set: &Bound<'_, PyAny>) -> PyResult<()> {
        let class = set.get_type().name()?;
        if set.len()? == 0 {
            self.text(&format!("{class}()"));
            return Ok(());
        }
        let items: Vec<_> = set.try_iter()?.collect::<PyResult<_>>()?;
        if set.is_exact_instance_of::<PySet>() {
            self.sequence(set, ("{", "}"), items.into_iter())
        } else {
            self.sequence(set, (&format!("{class}({{"), "})"), items.into_iter())
        }
    }

    fn dict(&mut self, dict: &Bound<'_, PyDict>) -> PyResult<()> {
        let container = dict.as_any();
        if !self.opened(container, "{", "}")? {
            return Ok(());
        }
        let items = super::items_of(dict)?;
        let last = items.len().saturating_sub(1);
        for (index, (key, value)) in items.iter().enumerate() {
            self.key(key)?;
            self.literal(": ");
            self.value(value)?;
            if index < last {
                self.literal(", ");
            }
            if self.is_exhausted {
                break;
            }
        }
        self.closed("}");
        Ok(())
    }

    /// A key is a text of its own with what is left as its limit.
    fn key(&mut self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.admits() {
            let limits = ReprLimits {
                max_chars: usize::try_from(self.left).unwrap_or(0),
                max_levels: self.max_levels,
            };
            let shown = printed(key, limits)?;
            self.has_stand_ins |= shown.has_stand_ins;
            self.write(&shown.out);
        }
        Ok(())
    }
}

fn is_plain_number(value: &Bound<'_, PyAny>) -> bool {
    value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyBool>()
}

/// The text of anything registered as a number: `str()`, but `repr()` for a Decimal.
fn number_text<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyString>>> {
    static NUMBERS: PyOnceLock<(Py<PyType>, Py<PyType>)> = PyOnceLock::new();
    let py = value.py();
    let (number, decimal) = NUMBERS.get_or_try_init(py, || -> PyResult<_> {
        let number = py.import("numbers")?.getattr("Number")?.cast_into::<PyType>()?;
        let decimal = py.import("decimal")?.getattr("Decimal")?.cast_into::<PyType>()?;
        Ok((number.unbind(), decimal.unbind()))
    })?;
    if value.is_none() || value.is_instance(decimal.bind(py))? || !value.is_instance(number.bind(py))? {
        return Ok(None);
    }
    shown_anyhow(value, value.str()).map(Some)
}

/// `repr()`, or what can be said about an object that has none.
fn any_repr<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    shown_anyhow(value, value.repr())
}

/// A text, or what can be said about an object that cannot give one. That includes integers of more
/// digits than Python writes, and their subclasses with methods of their own.
fn shown_anyhow<'py>(
    value: &Bound<'py, PyAny>,
    text: PyResult<Bound<'py, PyString>>,
) -> PyResult<Bound<'py, PyString>> {
    text.or_else(|error| {
        let py = value.py();
        if !error.is_instance_of::<PyException>(py) {
            return Err(error);
        }
        let class = value.get_type().repr()?;
        let shown = format!("<Unrepresentable {class}{:#x}: {error}>", value.as_ptr().addr());
        Ok(PyString::new(py, &shown))
    })
}

fn chars_in(text: &str) -> isize {
    let chars = if text.is_ascii() {
        text.len()
    } else {
        text.chars().count()
    };
    isize::try_from(chars).unwrap_or(isize::MAX)
}

/// A text of `limit` characters or more, cut at its last blank before the limit.
fn truncated(text: &str, limit: isize) -> Cow<'_, str> {
    let limit = usize::try_from(limit).unwrap_or(0);
    // A text has at least as many bytes as characters.
    if text.len() < limit || text.chars().count() < limit {
        return text.into();
    }
    let end = text.char_indices().nth(limit).map_or(text.len(), |(end, _)| end);
    let start = text.get(..end).unwrap_or(text);
    let kept = start.rsplit_once(' ').map_or(start, |(kept, _)| kept);
    format!("{kept}...").into()
}
