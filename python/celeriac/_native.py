"""The only door to the Rust module: checks that it is there and of our version."""

from __future__ import annotations

try:
    from celeriac import _core
except ImportError as error:
    message = (
        "celeriac's compiled module (celeriac._core) cannot be loaded: install a wheel, "
        "or build the module in a source tree with `make build`; "
        f"the reason was: {error}"
    )
    raise ImportError(message, name="celeriac._core") from error

BUILT_FOR = "0.1.0"

if _core.__version__ != BUILT_FOR:
    message = (
        f"celeriac's compiled module is of version {_core.__version__}, its Python code of version "
        f"{BUILT_FOR}: install celeriac anew, or build the module again with `make build`"
    )
    raise ImportError(message, name="celeriac._core")

from celeriac._core import (  # noqa: E402 - after the check, which explains what is missing
    Aside,
    Bell,
    ChildChannel,
    ChildEvent,
    ChildLink,
    Delivery,
    Errand,
    Intake,
    Job,
    Mailbox,
    PlainCalls,
    Publisher,
    ResultStore,
    Subscription,
    Template,
    Trouble,
    Unsent,
    Window,
    __version__,
    after_fork_in_child,
    check_url,
    compress,
    decode_json,
    decode_msgpack,
    decompress,
    die_with_parent,
    encode_json,
    encode_msgpack,
    envelope_of_parts,
    expire_shortcuts,
    has_logs,
    new_id,
    options_without_effect,
    parse_iso_ms,
    redacted,
    safe_repr,
    set_json_hooks,
    shortcut_era,
    take_logs,
)

__all__ = [
    "Aside",
    "Bell",
    "ChildChannel",
    "ChildEvent",
    "ChildLink",
    "Delivery",
    "Errand",
    "Intake",
    "Job",
    "Mailbox",
    "PlainCalls",
    "Publisher",
    "ResultStore",
    "Subscription",
    "Template",
    "Trouble",
    "Unsent",
    "Window",
    "__version__",
    "after_fork_in_child",
    "check_url",
    "compress",
    "decode_json",
    "decode_msgpack",
    "decompress",
    "die_with_parent",
    "encode_json",
    "encode_msgpack",
    "envelope_of_parts",
    "expire_shortcuts",
    "has_logs",
    "new_id",
    "options_without_effect",
    "parse_iso_ms",
    "redacted",
    "safe_repr",
    "set_json_hooks",
    "shortcut_era",
    "take_logs",
]
