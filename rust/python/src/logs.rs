//! What Rust logs, in a bounded queue that Python drains. Nothing here calls Python.

use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, Weak};
use std::time::Duration;

use celeriac_core::intake::Intake;
use parking_lot::Mutex;
use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Beyond this the oldest lines go.
const MAX_LINES: usize = 1_000;
/// A lock that a fork has left taken is never released: give a line up rather than a thread.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// `(level as in logging, logger, text)`.
type Line = (u8, String, String);

static LINES: Mutex<Lines> = Mutex::new(Lines {
    waiting: VecDeque::new(),
    dropped: 0,
});

/// Whether lines came since somebody looked: what a call that has nothing to tell pays for.
static NEWS: AtomicBool = AtomicBool::new(false);

/// Who is told that lines came.
static LISTENERS: Mutex<Vec<Weak<Intake>>> = Mutex::new(Vec::new());

/// Nudges an intake with each line from now on, so that its worker need not look for them.
pub(crate) fn nudge(intake: &Arc<Intake>) {
    if let Some(mut listeners) = LISTENERS.try_lock_for(LONGEST_WAIT) {
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(intake));
    }
}

#[derive(Debug)]
struct Lines {
    waiting: VecDeque<Line>,
    dropped: usize,
}

impl Lines {
    fn push(&mut self, line: Line) {
        if self.waiting.len() >= MAX_LINES {
            self.waiting.pop_front();
            self.dropped += 1;
        }
        self.waiting.push_back(line);
    }

    fn take(&mut self, max_lines: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        if self.dropped > 0 && max_lines > 0 {
            let text = format!("{} older lines were dropped", self.dropped);
            lines.push((level_number(Level::WARN), "celeriac.logs".to_owned(), text));
            self.dropped = 0;
        }
        let count = max_lines.saturating_sub(lines.len()).min(self.waiting.len());
        lines.extend(self.waiting.drain(..count));
        NEWS.store(!self.waiting.is_empty(), Ordering::Relaxed);
        lines
    }
}

/// Takes at most `max_lines` of what Rust has logged, as `(level, logger, text)`, oldest first.
/// Levels are those of `logging`. The first call also starts the collection.
#[pyfunction]
#[pyo3(signature = (max_lines, /))]
pub(crate) fn take_logs(max_lines: usize) -> Vec<Line> {
    install();
    LINES
        .try_lock_for(LONGEST_WAIT)
        .map_or_else(Vec::new, |mut lines| lines.take(max_lines))
}

/// Whether lines came since they were taken.
#[pyfunction]
pub(crate) fn has_logs() -> bool {
    NEWS.load(Ordering::Relaxed)
}

/// Logs what waits, in a process that has no worker to do so; called when Python has waited for Rust.
/// A handler of logs that fails is reported, and disturbs nobody. What is no failure comes back: a
/// signal's handler may run in there, and Ctrl-C is for the caller.
pub(crate) fn tell(py: Python<'_>) -> PyResult<()> {
    if NEWS.load(Ordering::Relaxed) && NEWS.swap(false, Ordering::Relaxed) {
        let told = py
            .import(intern!(py, "celeriac.rustlogs"))
            .and_then(|module| module.call_method0(intern!(py, "drain_rust_logs")));
        match told {
            Err(error) if error.is_instance_of::<PyException>(py) => error.write_unraisable(py, None),
            told => drop(told?),
        }
    }
    Ok(())
}

/// Starts to collect, once for each process.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only where somebody in this process collects already.
        tracing::subscriber::set_global_default(Collector).ok();
    });
}

struct Collector;

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        // It quotes whole messages, and its troubles reach us as errors.
        if target.starts_with("lapin") {
            return false;
        }
        let limit = if target.starts_with("celeriac") {
            Level::INFO
        } else {
            Level::WARN
        };
        *metadata.level() <= limit
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut text = Text::default();
        event.record(&mut text);
        let line = (
            level_number(*metadata.level()),
            logger_of(metadata.target()),
            text.message + &text.fields,
        );
        if let Some(mut lines) = LINES.try_lock_for(LONGEST_WAIT) {
            lines.push(line);
        }
        if NEWS.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(listeners) = LISTENERS.try_lock_for(LONGEST_WAIT) {
            listeners
                .iter()
                .filter_map(Weak::upgrade)
                .for_each(|intake| intake.nudge());
        }
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string does not fail.
        let written = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
        debug_assert!(written.is_ok());
    }
}

fn level_number(level: Level) -> u8 {
    match level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        Level::DEBUG => 10,
        Level::TRACE => 5,
    }
}

/// `celeriac_core::broker::redis` is `celeriac.broker.redis` in Python.
fn logger_of(target: &str) -> String {
    let target = target
        .strip_prefix("celeriac_core")
        .map_or_else(|| target.to_owned(), |rest| format!("celeriac{rest}"));
    target.replace("::", ".")
}
