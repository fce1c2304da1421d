//! The Python module `celeriac._core`: argument, core call, conversion, and nothing else.

mod aside;
mod backend;
mod bell;
mod call;
mod carried;
mod codec;
mod control;
mod convert;
mod delivery;
mod descriptor;
mod errands;
mod errors;
mod fork;
mod home;
mod ids;
mod intake;
mod links;
mod logs;
mod packing;
mod parts;
mod plain;
mod publisher;
mod template;
mod topology;
mod url;
mod waits;
mod window;

use pyo3::pymodule;

#[pymodule]
mod _core {
    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "a module attribute of Python")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_export]
    use crate::aside::Aside;
    #[pymodule_export]
    use crate::backend::{ResultStore, Subscription};
    #[pymodule_export]
    use crate::bell::{Bell, Errand};
    #[pymodule_export]
    use crate::codec::{
        decode_json, decode_msgpack, encode_json, encode_msgpack, parse_iso_ms, safe_repr, set_json_hooks,
    };
    #[pymodule_export]
    use crate::control::Mailbox;
    #[pymodule_export]
    use crate::delivery::Delivery;
    #[pymodule_export]
    use crate::fork::{after_fork_in_child, die_with_parent};
    #[pymodule_export]
    use crate::ids::new_id;
    #[pymodule_export]
    use crate::intake::{Intake, Trouble};
    #[pymodule_export]
    use crate::links::{ChildChannel, ChildEvent, ChildLink, Job};
    #[pymodule_export]
    use crate::logs::{has_logs, take_logs};
    #[pymodule_export]
    use crate::packing::{compress_bytes, decompress_bytes};
    #[pymodule_export]
    use crate::parts::envelope_of_parts;
    #[pymodule_export]
    use crate::plain::{PlainCalls, expire_shortcuts, shortcut_era};
    #[pymodule_export]
    use crate::publisher::Publisher;
    #[pymodule_export]
    use crate::template::Template;
    #[pymodule_export]
    use crate::url::{check_url, options_without_effect, redacted};
    #[pymodule_export]
    use crate::window::{Unsent, Window};
}
