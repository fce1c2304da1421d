//! What users registered for types of their own.

use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::prelude::*;

/// The two callables behind `celeriac.serialization.register_type`.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    /// Called with an object; returns what stands for it, or `NotImplemented`.
    pub(crate) encode: Option<Py<PyAny>>,
    /// Called with the marker and the value of a typed object; returns what it means, or
    /// `NotImplemented`.
    pub(crate) decode: Option<Py<PyAny>>,
    /// Whether both are asked before the built-in types: a user registered one of those anew.
    pub(crate) come_first: bool,
}

static HOOKS: Mutex<Option<Arc<Hooks>>> = Mutex::new(None);

/// Replaces the hooks of this process.
pub(crate) fn set_hooks(hooks: Hooks) {
    let replaced = HOOKS.lock().replace(Arc::new(hooks));
    // Dropped without the lock: a finalizer of Python may come back here.
    drop(replaced);
}

/// The hooks of this moment.
pub(super) fn current() -> Option<Arc<Hooks>> {
    HOOKS.lock().clone()
}

impl Hooks {
    /// What stands for `value`, if a user said so.
    pub(super) fn encoded<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = value.py();
        match &self.encode {
            Some(encode) => Ok(accepted(encode.bind(py).call1((value,))?)),
            None => Ok(None),
        }
    }

    /// What a typed object means, if a user said so.
    pub(super) fn decoded<'py>(
        &self,
        marker: &str,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = value.py();
        match &self.decode {
            Some(decode) => Ok(accepted(decode.bind(py).call1((marker, value))?)),
            None => Ok(None),
        }
    }
}

/// `NotImplemented` is how a hook says that a value is not its business.
fn accepted(answer: Bound<'_, PyAny>) -> Option<Bound<'_, PyAny>> {
    let declined = answer.is(answer.py().NotImplemented());
    (!declined).then_some(answer)
}
