//! Templates: what the messages of a task have in common, encoded once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use celeriac_core::broker::topology::QueueSpec;
use celeriac_core::compress::Method;
use celeriac_core::ids;
use celeriac_core::wire::letter::Letter;
use celeriac_core::wire::message::Target;
use celeriac_core::wire::template::{Call, Plain, Repr, Task, Template as WireTemplate};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyDict, PyList, PyMapping, PyString, PyTuple};
use uuid::Uuid;

use crate::call::{CallFields, default_embed};
use crate::convert::{self, ReprLimits, Shown, Style};
use crate::errors::{OrRaise, Outcome};
use crate::packing::{self, method_named};
use crate::topology::queue_specs;
use crate::url::{as_dict, members};

/// What all messages of a task have in common. Made once for each task; safe for many threads.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct Template {
    wire: WireTemplate,
    style: Style,
    compression: Option<Method>,
    repr: ReprLimits,
    /// To be declared before the first publish.
    queues: Vec<QueueSpec>,
    /// The publisher that declared them last.
    declared_by: AtomicU64,
}

/// A message that is ready to go, and whose it is.
#[derive(Debug)]
pub(crate) struct Addressed {
    /// Id of the task.
    pub(crate) task_id: Arc<str>,
    /// The message.
    pub(crate) letter: Letter,
}

/// What a call says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said<'a, 'py> {
    /// What stands in a dict.
    Call(&'a Bound<'py, PyDict>),
    /// What a plain call says.
    Plain(Plainly<'a, 'py>),
    /// Nothing.
    Nothing,
}

/// All that a plain call says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plainly<'a, 'py> {
    /// The queue of the caller's replies.
    pub(crate) reply_to: &'a Bound<'py, PyString>,
    /// The task's id; a fresh one otherwise.
    pub(crate) task_id: Option<&'a Bound<'py, PyString>>,
    /// The group, and the place in it.
    pub(crate) group: Option<(&'a Bound<'py, PyString>, i64)>,
}

impl<'a, 'py> Said<'a, 'py> {
    /// What stands in a dict, if there is one.
    pub(crate) fn of(call: Option<&'a Bound<'py, PyDict>>) -> Self {
        call.map_or(Self::Nothing, Self::Call)
    }
}

#[pymethods]
impl Template {
    /// `timelimit` is `(hard, soft)` in seconds; `declare` the queues that must exist before a
    /// message is sent; `headers` go into every message.
    #[new]
    #[expect(clippy::too_many_arguments, reason = "what a task can say about its messages")]
    #[pyo3(signature = (
        *, task, origin, exchange, routing_key, declare = None, serializer = "json", reply_to = "",
        shadow = None, timelimit = None, ignore_result = Some(false), delivery_mode = 2, priority = None,
        headers = None, repr_max_chars = 1024, repr_max_levels = 3, compression = None,
    ))]
    fn new(
        py: Python<'_>,
        task: String,
        origin: String,
        exchange: String,
        routing_key: String,
        declare: Option<&Bound<'_, PyAny>>,
        serializer: &str,
        reply_to: &str,
        shadow: Option<String>,
        timelimit: Option<&Bound<'_, PyAny>>,
        ignore_result: Option<bool>,
        delivery_mode: u8,
        priority: Option<u8>,
        headers: Option<&Bound<'_, PyAny>>,
        repr_max_chars: usize,
        repr_max_levels: usize,
        compression: Option<&str>,
    ) -> PyResult<Self> {
        let compression = compression.map(method_named).transpose()?;
        let (style, content_type, content_encoding) = match serializer {
            "json" => (Style::Json, "application/json", "utf-8"),
            "msgpack" => (Style::Msgpack, "application/x-msgpack", "binary"),
            _ => {
                let detail =
                    format!("a template's serializer is \"json\" or \"msgpack\", not {serializer:?}");
                return Err(PyValueError::new_err(detail));
            }
        };
        let task = Task {
            name: task,
            shadow,
            timelimit: timelimit_text(timelimit).or_raise(py)?,
            origin,
            ignore_result,
            content_type: content_type.to_owned(),
            content_encoding: content_encoding.to_owned(),
            reply_to: (!reply_to.is_empty()).then(|| reply_to.to_owned()),
            delivery_mode,
            priority,
            target: Target {
                exchange,
                routing_key,
            },
            headers: headers_of(headers).or_raise(py)?,
            compression: compression.map(|method| method.content_type().to_owned()),
        };
        let queues = declare.map_or(Ok(Vec::new()), queue_specs).or_raise(py)?;
        Ok(Self {
            wire: WireTemplate::new(task),
            style,
            compression,
            repr: ReprLimits {
                max_chars: repr_max_chars,
                max_levels: repr_max_levels,
            },
            queues,
            declared_by: AtomicU64::new(0),
        })
    }

    /// Registered name of the task.
    #[getter]
    fn task(&self) -> &str {
        &self.wire.task().name
    }

    /// The envelope that publishing this call puts on Redis, without sending it.
    #[pyo3(signature = (args, kwargs, call = None, /))]
    fn envelope<'py>(
        &self,
        args: &Bound<'py, PyAny>,
        kwargs: &Bound<'py, PyAny>,
        call: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let py = args.py();
        let made = self.letter(args, kwargs, Said::of(call), true).or_raise(py)?;
        Ok(PyBytes::new(py, &made.letter.sealed().envelope))
    }
}

impl Template {
    /// Encodes one call: in its envelope, or in parts. Attached, and without any wait.
    pub(crate) fn letter(
        &self,
        args: &Bound<'_, PyAny>,
        kwargs: &Bound<'_, PyAny>,
        said: Said<'_, '_>,
        is_sealed: bool,
    ) -> Outcome<Addressed> {
        if !(args.is_instance_of::<PyTuple>() || args.is_instance_of::<PyList>()) {
            return Err(PyTypeError::new_err("a task's args must be a list or a tuple").into());
        }
        let kwargs = &keyword_arguments(kwargs)?;
        let mut fields = CallFields::default();
        match said {
            Said::Plain(plain) => return self.plain_letter(args, kwargs, plain, is_sealed),
            Said::Call(call) => fields.read(call)?,
            Said::Nothing => {}
        }
        // First of all: what cannot travel is said in words of its own.
        let body = self.body(args, kwargs, |out| fields.append_embed(out, self.style))?;
        let argsrepr = self.shown_args(args, fields.argsrepr.as_ref())?;
        let kwargsrepr = self.shown(kwargs, fields.kwargsrepr.as_ref())?;
        let mut fresh_id = Uuid::encode_buffer();
        let task_id: &str = match &fields.task_id {
            Some(id) => id,
            None => ids::fresh().hyphenated().encode_lower(&mut fresh_id),
        };
        let (mut args_json, mut kwargs_json) = (Vec::new(), Vec::new());
        let shown = (
            repr_of(&argsrepr, &mut args_json)?,
            repr_of(&kwargsrepr, &mut kwargs_json)?,
        );
        let call = fields.as_call(task_id);
        let letter = if is_sealed {
            Letter::Sealed(Arc::new(self.wire.seal(&call, task_id, &body, shown)))
        } else {
            self.open_letter(&call, body, shown)
        };
        Ok(Addressed {
            task_id: Arc::from(task_id),
            letter,
        })
    }

    /// The same of a plain call, which has next to nothing to look at.
    fn plain_letter(
        &self,
        args: &Bound<'_, PyAny>,
        kwargs: &Bound<'_, PyAny>,
        said: Plainly<'_, '_>,
        is_sealed: bool,
    ) -> Outcome<Addressed> {
        let body = self.body(args, kwargs, |out| {
            out.extend_from_slice(default_embed(self.style));
            Ok(())
        })?;
        let (argsrepr, kwargsrepr) = (self.shown_args(args, None)?, self.shown(kwargs, None)?);
        let (mut args_json, mut kwargs_json) = (Vec::new(), Vec::new());
        let shown = (
            repr_of(&argsrepr, &mut args_json)?,
            repr_of(&kwargsrepr, &mut kwargs_json)?,
        );
        let (id, tag) = ids::fresh_pair();
        let (mut fresh_id, mut fresh_tag) = (Uuid::encode_buffer(), Uuid::encode_buffer());
        let plain = Plain {
            task_id: match said.task_id {
                Some(id) => id.to_str()?,
                None => id.hyphenated().encode_lower(&mut fresh_id),
            },
            delivery_tag: tag.hyphenated().encode_lower(&mut fresh_tag),
            reply_to: said.reply_to.to_str()?,
            group: match said.group {
                Some((group, index)) => Some((group.to_str()?, index)),
                None => None,
            },
        };
        let letter = if is_sealed {
            Letter::Sealed(Arc::new(self.wire.seal_plain(&plain, &body, shown)))
        } else {
            self.open_letter(&plain.into(), body, shown)
        };
        Ok(Addressed {
            task_id: Arc::from(plain.task_id),
            letter,
        })
    }

    fn open_letter(&self, call: &Call<'_>, body: Vec<u8>, (args, kwargs): (Repr<'_>, Repr<'_>)) -> Letter {
        self.wire.build_with(call, Bytes::from(body), args, kwargs).into()
    }

    /// The queues to declare, unless this publisher was the last to declare them.
    pub(crate) fn undeclared(&self, publisher: u64) -> &[QueueSpec] {
        if self.declared_by.load(Ordering::Relaxed) == publisher {
            &[]
        } else {
            &self.queues
        }
    }

    /// Remembers who declared the queues.
    pub(crate) fn declared(&self, publisher: u64) {
        self.declared_by.store(publisher, Ordering::Relaxed);
    }

    fn body(
        &self,
        args: &Bound<'_, PyAny>,
        kwargs: &Bound<'_, PyAny>,
        append_embed: impl FnOnce(&mut Vec<u8>) -> Outcome<()>,
    ) -> Outcome<Vec<u8>> {
        let (open, between, close): (&[u8], &[u8], &[u8]) = match self.style {
            Style::Json => (b"[", b", ", b"]"),
            Style::Msgpack => (b"\x93", b"", b""),
        };
        let mut body = Vec::with_capacity(160);
        body.extend_from_slice(open);
        convert::append(&mut body, args, "args", self.style)?;
        body.extend_from_slice(between);
        convert::append(&mut body, kwargs, "kwargs", self.style)?;
        body.extend_from_slice(between);
        append_embed(&mut body)?;
        body.extend_from_slice(close);
        match self.compression {
            Some(method) => packing::compress(args.py(), method, &body),
            None => Ok(body),
        }
    }

    fn shown_args(&self, args: &Bound<'_, PyAny>, given: Option<&PyBackedStr>) -> Outcome<Shown> {
        // Compat: Celery makes an empty tuple of whatever is empty (`args or ()`) before it shows it.
        if args.is_truthy()? {
            self.shown(args, given)
        } else {
            self.shown(&PyTuple::empty(args.py()).into_any(), given)
        }
    }

    /// What people see of the arguments, unless the caller brings a text of its own.
    fn shown(&self, value: &Bound<'_, PyAny>, given: Option<&PyBackedStr>) -> Outcome<Shown> {
        match given {
            Some(_) => Ok(Shown::Text(String::new())),
            None => Ok(Shown::of(value, self.repr)?),
        }
    }
}

/// A shown text for the core: JSON, where UTF-8 cannot carry it.
fn repr_of<'a>(shown: &'a Shown, json: &'a mut Vec<u8>) -> Outcome<Repr<'a>> {
    match shown {
        Shown::Text(text) => Ok(Repr::Text(text)),
        Shown::Wtf8(wtf8) => {
            convert::append_wtf8(json, wtf8)?;
            Ok(std::str::from_utf8(json).map_or(Repr::Text(""), Repr::Json))
        }
    }
}

fn keyword_arguments<'py>(kwargs: &Bound<'py, PyAny>) -> Outcome<Bound<'py, PyAny>> {
    if kwargs.is_instance_of::<PyDict>() {
        Ok(kwargs.clone())
    } else if kwargs.is_instance_of::<PyMapping>() {
        Ok(as_dict(kwargs.py(), kwargs)?.into_any())
    } else {
        Err(PyTypeError::new_err("a task's kwargs must be a mapping").into())
    }
}

fn timelimit_text(timelimit: Option<&Bound<'_, PyAny>>) -> Outcome<String> {
    timelimit.map_or_else(
        || Ok("[null, null]".to_owned()),
        |timelimit| convert::to_json_text(timelimit, "timelimit"),
    )
}

fn headers_of(headers: Option<&Bound<'_, PyAny>>) -> Outcome<Vec<(String, String)>> {
    match headers {
        Some(headers) => members(&as_dict(headers.py(), headers)?, "headers"),
        None => Ok(Vec::new()),
    }
}
