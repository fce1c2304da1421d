//! Processes: after a fork, and with the parent's death.

use pyo3::prelude::*;

/// Marks this process as a fork's child: what was inherited is left alone, the next use builds
/// anew. For `os.register_at_fork(after_in_child=...)`; it stores to an atomic and nothing else.
#[pyfunction]
pub(crate) fn after_fork_in_child() {
    celeriac_core::runtime::forked();
}

/// Asks the kernel for SIGKILL when the thread that forked this process ends. Linux only;
/// elsewhere it does nothing, and the end of its socket is what a child goes by.
#[cfg(target_os = "linux")]
#[pyfunction]
pub(crate) fn die_with_parent() -> PyResult<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|errno| std::io::Error::from(errno).into())
}

/// Asks the kernel for SIGKILL when the thread that forked this process ends. Linux only;
/// elsewhere it does nothing, and the end of its socket is what a child goes by.
#[cfg(not(target_os = "linux"))]
#[pyfunction]
pub(crate) fn die_with_parent() -> PyResult<()> {
    Ok(())
}
