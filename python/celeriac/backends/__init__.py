"""Result backends: the stores of the Rust module, SQL databases, and classes of the user's."""

from celeriac.backends.core import Backend, BaseBackend
from celeriac.backends.disabled import DisabledBackend
from celeriac.backends.native import NativeBackend
from celeriac.backends.opening import by_name, by_url, open_backend
from celeriac.backends.rpc import RPCBackend

__all__ = [
    "Backend",
    "BaseBackend",
    "DisabledBackend",
    "NativeBackend",
    "RPCBackend",
    "by_name",
    "by_url",
    "open_backend",
]
