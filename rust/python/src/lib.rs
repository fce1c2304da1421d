//! The Python module `celeriac._core`: argument, core call, conversion, and nothing else.

mod codec;
mod convert;
mod errors;

use pyo3::pymodule;

#[pymodule]
mod _core {
    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "a module attribute of Python")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_export]
    use crate::codec::{
        decode_json, decode_msgpack, encode_json, encode_msgpack, parse_iso_ms, safe_repr, set_json_hooks,
    };
}
