//! The Python module `celeriac._core`: argument, core call, conversion, and nothing else.

use pyo3::pymodule;

#[pymodule]
mod _core {
    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "a module attribute of Python")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
