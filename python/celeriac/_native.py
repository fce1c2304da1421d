"""The only door to the Rust module: checks that it is there and of our version."""

from __future__ import annotations

try:
    from celeriac import _core
except ImportError as error:
    message = (
        "celeriac's compiled module (celeriac._core) cannot be loaded: install a wheel of celeriac, "
        "or build the module in a source tree with 'make build'; "
        f"the reason was: {error}"
    )
    raise ImportError(message, name="celeriac._core") from error

from celeriac._core import (
    __version__,
    decode_json,
    decode_msgpack,
    encode_json,
    encode_msgpack,
    parse_iso_ms,
    safe_repr,
    set_json_hooks,
)

__all__ = [
    "__version__",
    "decode_json",
    "decode_msgpack",
    "encode_json",
    "encode_msgpack",
    "parse_iso_ms",
    "safe_repr",
    "set_json_hooks",
]
