//! Plain calls of a task: from the arguments to the message, and the handle, in one crossing.
//!
//! What decides about such a call was worked out before. Whether that still holds is one number:
//! whoever changes anything of it (settings, receivers of signals, a task's application, a fork) calls
//! [`expire_shortcuts`]. What differs from call to call is looked at each time.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::PyException;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyString, PyTuple, PyType};

use crate::errors::OrRaise;
use crate::template::{Plainly, Said, Template};
use crate::window::Window;

/// Counts what has changed.
static ERA: AtomicU64 = AtomicU64::new(0);

/// Has every shortcut be worked out anew: something has changed that it may depend on.
#[pyfunction]
pub(crate) fn expire_shortcuts() {
    ERA.fetch_add(1, Ordering::SeqCst);
}

/// What `PlainCalls` is given; asked for before anything is read that it depends on.
#[pyfunction]
pub(crate) fn shortcut_era() -> u64 {
    ERA.load(Ordering::SeqCst)
}

/// How the plain calls of one task are sent.
#[pyclass(frozen, module = "celeriac._core")]
#[derive(Debug)]
pub(crate) struct PlainCalls {
    era: u64,
    template: Py<Template>,
    check: Option<Py<PyAny>>,
    /// How many positional arguments, at least and at most, need no check.
    takes: Option<(usize, usize)>,
    own: Py<PyDict>,
    running: Py<PyAny>,
    local: Py<PyAny>,
    batch: Py<PyType>,
    again: Py<PyAny>,
    app: Py<PyAny>,
    handle: Py<PyAny>,
}

#[pymethods]
impl PlainCalls {
    /// `check` raises for arguments that the task does not take; it is not asked about positional
    /// ones alone whose number is in `takes`. A call goes the long way while `own` has a
    /// `send_task` or `running()` is true. `local.oid` is the queue of this thread's replies.
    /// `batch` is the class of publishers with a window; `again(window, args, kwargs, group, error)`
    /// sends a message whose first try has failed. `handle` makes a handle of an id.
    #[new]
    #[expect(clippy::too_many_arguments, reason = "what decides about a call")]
    #[pyo3(signature = (
        *, era, template, check, takes, own, running, local, batch, again, app, handle,
    ))]
    fn new(
        era: u64,
        template: Py<Template>,
        check: Option<Py<PyAny>>,
        takes: Option<(usize, usize)>,
        own: Py<PyDict>,
        running: Py<PyAny>,
        local: Py<PyAny>,
        batch: Py<PyType>,
        again: Py<PyAny>,
        app: Py<PyAny>,
        handle: Py<PyAny>,
    ) -> Self {
        Self {
            era,
            template,
            check,
            takes,
            own,
            running,
            local,
            batch,
            again,
            app,
            handle,
        }
    }

    /// Whether nothing has changed since it was made.
    fn is_current(&self) -> bool {
        self.era == ERA.load(Ordering::SeqCst)
    }

    /// Checks a call's arguments; `None`: more than them has a say, so that it has to go the long way.
    #[pyo3(signature = (args, kwargs, /))]
    fn admitted<'py>(
        &self,
        args: &Bound<'py, PyAny>,
        kwargs: &Bound<'py, PyAny>,
    ) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyDict>)>> {
        if self.is_watched(args.py())? {
            return Ok(None);
        }
        let Some((args, kwargs)) = plain_arguments(args, kwargs) else {
            return Ok(None);
        };
        self.check(&args, &kwargs)?;
        Ok(Some((args, kwargs)))
    }

    /// Hands a call over to a publisher's window and returns its handle; `None` as of `admitted`.
    #[pyo3(signature = (args, kwargs, publisher, /))]
    fn hand_over<'py>(
        &self,
        args: &Bound<'py, PyAny>,
        kwargs: &Bound<'py, PyAny>,
        publisher: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = args.py();
        let Some(window) = self.window_of(publisher)? else {
            return Ok(None);
        };
        let Some((args, kwargs)) = self.admitted(args, kwargs)? else {
            return Ok(None);
        };
        let task_id = self.publish(&window, &args, &kwargs, None)?;
        // By Python: its interpreter sets attributes of an object it knows faster than we can.
        self.handle.bind(py).call1((task_id,)).map(Some)
    }

    /// Hands members of a group over, the first of them at `index`: `first`, a signature of this task,
    /// and what follows in `rest`, as long as each is like it and says nothing but its arguments.
    ///
    /// Returns their ids, and what came after them: `end` if nothing did.
    #[pyo3(signature = (first, rest, publisher, group_id, index, end, /))]
    #[expect(clippy::too_many_arguments, reason = "one crossing for a whole group")]
    fn hand_members_over<'py>(
        &self,
        first: Bound<'py, PyAny>,
        rest: &Bound<'py, PyIterator>,
        publisher: &Bound<'py, PyAny>,
        group_id: &Bound<'py, PyString>,
        mut index: i64,
        end: Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyAny>)> {
        let py = rest.py();
        let ids = PyList::empty(py);
        let Some(window) = self.window_of(publisher)? else {
            return Ok((ids, first));
        };
        let like = Likeness::of(&first)?;
        let mut rest = rest.clone();
        let mut member = first;
        loop {
            let Some((args, kwargs)) = like.arguments(&member)? else {
                return Ok((ids, member));
            };
            let Some((args, kwargs)) = self.admitted(&args, &kwargs)? else {
                return Ok((ids, member));
            };
            ids.append(self.publish(&window, &args, &kwargs, Some((group_id, index)))?)?;
            index += 1;
            if index % SIGNALS_EVERY == 0 {
                py.check_signals()?;
            }
            member = match rest.next() {
                Some(member) => member?,
                None => return Ok((ids, end)),
            };
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.template)?;
        visit.call(&self.check)?;
        visit.call(&self.own)?;
        visit.call(&self.running)?;
        visit.call(&self.local)?;
        visit.call(&self.batch)?;
        visit.call(&self.again)?;
        visit.call(&self.app)?;
        visit.call(&self.handle)
    }
}

impl PlainCalls {
    /// The window of a publisher; none of one that has another kind, as under gevent.
    fn window_of<'py>(&self, publisher: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Window>>> {
        let py = publisher.py();
        if !publisher.is_exact_instance(self.batch.bind(py)) {
            return Ok(None);
        }
        let window = publisher.getattr(intern!(py, "window"))?;
        Ok(window.cast_into_exact::<Window>().ok())
    }

    fn is_watched(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(!self.is_current()
            || self.own.bind(py).contains(intern!(py, "send_task"))?
            || self.running.bind(py).call0()?.is_truthy()?)
    }

    fn check<'py>(&self, args: &Bound<'py, PyAny>, kwargs: &Bound<'py, PyDict>) -> PyResult<()> {
        let Some(check) = &self.check else {
            return Ok(());
        };
        if let Some((least, most)) = self.takes
            && kwargs.is_empty()
            && (least..=most).contains(&args.len()?)
        {
            return Ok(());
        }
        let args = match args.cast::<PyTuple>() {
            Ok(args) => args.clone(),
            Err(_) => PyTuple::new(args.py(), args.try_iter()?.collect::<PyResult<Vec<_>>>()?)?,
        };
        check.bind(args.py()).call(args, Some(kwargs))?;
        Ok(())
    }

    fn publish<'py>(
        &self,
        window: &Bound<'py, Window>,
        args: &Bound<'py, PyAny>,
        kwargs: &Bound<'py, PyDict>,
        group: Option<(&Bound<'py, PyString>, i64)>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = window.py();
        let oid = self.oid(py)?;
        let said = Said::Plain(Plainly {
            reply_to: &oid,
            task_id: None,
            group,
        });
        let sent = window
            .get()
            .deliver(self.template.bind(py), (args, kwargs), said, WAIT_S)
            .or_raise(py);
        match sent {
            Ok(task_id) => Ok(task_id.into_any()),
            Err(error) if error.is_instance_of::<PyException>(py) => {
                let error = error.into_value(py);
                self.again.bind(py).call1((window, args, kwargs, group, error))
            }
            Err(error) => Err(error),
        }
    }

    /// The queue of this thread's replies.
    fn oid<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let known = self.local.bind(py).getattr_opt(intern!(py, "oid"))?;
        let oid = match known {
            Some(oid) => oid,
            None => self.app.bind(py).getattr(intern!(py, "thread_oid"))?,
        };
        Ok(oid.cast_into::<PyString>()?)
    }
}

/// How long a call waits for room, and later for its confirm.
const WAIT_S: f64 = 30.0;

/// A list of signatures runs no Python code in between: Ctrl-C is looked for after so many.
const SIGNALS_EVERY: i64 = 256;

/// What makes a signature one of the same task as another: its class, and the task and application
/// that it was made with. Where it was made with a name, that.
struct Likeness<'py> {
    class: Bound<'py, PyType>,
    task: Bound<'py, PyAny>,
    app: Bound<'py, PyAny>,
    name: Option<Bound<'py, PyAny>>,
}

impl<'py> Likeness<'py> {
    fn of(first: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = first.py();
        let task = first.getattr(intern!(py, "_type"))?;
        let name = if task.is_none() {
            Some(first.get_item(intern!(py, "task"))?)
        } else {
            None
        };
        Ok(Self {
            class: first.get_type(),
            app: first.getattr(intern!(py, "_app"))?,
            task,
            name,
        })
    }

    /// The arguments of a signature like the first that has no options.
    fn arguments(
        &self,
        member: &Bound<'py, PyAny>,
    ) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
        let py = member.py();
        if !member.is_exact_instance(&self.class)
            || !member.getattr(intern!(py, "_type"))?.is(&self.task)
            || !member.getattr(intern!(py, "_app"))?.is(&self.app)
        {
            return Ok(None);
        }
        let said = member.cast::<PyDict>()?;
        if let Some(name) = &self.name
            && !said
                .get_item(intern!(py, "task"))?
                .is_some_and(|task| task.eq(name).unwrap_or(false))
        {
            return Ok(None);
        }
        let (Some(options), Some(args), Some(kwargs)) = (
            said.get_item(intern!(py, "options"))?,
            said.get_item(intern!(py, "args"))?,
            said.get_item(intern!(py, "kwargs"))?,
        ) else {
            return Ok(None);
        };
        if options.is_truthy()? {
            return Ok(None);
        }
        // Compat: a signature that was read from JSON has a list; Celery sends, and shows, a tuple.
        let args = match args.cast_exact::<PyList>() {
            Ok(args) => args.to_tuple().into_any(),
            Err(_) => args,
        };
        Ok(Some((args, kwargs)))
    }
}

/// Arguments of the plain types; nothing at all is an empty tuple, or dict.
fn plain_arguments<'py>(
    args: &Bound<'py, PyAny>,
    kwargs: &Bound<'py, PyAny>,
) -> Option<(Bound<'py, PyAny>, Bound<'py, PyDict>)> {
    let py = args.py();
    let args = if args.is_exact_instance_of::<PyTuple>() {
        args.clone()
    } else if let Ok(list) = args.cast_exact::<PyList>() {
        // Compat: Celery makes an empty tuple of whatever is empty (`args or ()`).
        if list.is_empty() {
            PyTuple::empty(py).into_any()
        } else {
            args.clone()
        }
    } else if args.is_none() {
        PyTuple::empty(py).into_any()
    } else {
        return None;
    };
    let kwargs = if kwargs.is_none() {
        PyDict::new(py)
    } else {
        kwargs.cast_exact::<PyDict>().ok()?.clone()
    };
    Some((args, kwargs))
}
