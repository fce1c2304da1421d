"""`celery` itself: celeriac's names, and the version of Celery that they are the names of."""

from typing import Any

import celeriac
from celeriac import (
    Celery,
    Signature,
    chain,
    chord,
    chunks,
    current_app,
    current_task,
    group,
    maybe_signature,
    shared_task,
    signature,
    subtask,
    uuid,
    xmap,
    xstarmap,
)
from celeriac.compat.version import VERSION, version_info_t

# Integrations compare these with versions of Celery; celeriac's own would send them down old paths.
__version__ = ".".join(str(part) for part in VERSION[:3])
VERSION_BANNER = f"{__version__} (celeriac {celeriac.__version__})"
SERIES = "celeriac"
version_info = VERSION

__all__ = [
    "SERIES",
    "VERSION",
    "VERSION_BANNER",
    "Celery",
    "Signature",
    "__version__",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "group",
    "maybe_signature",
    "shared_task",
    "signature",
    "subtask",
    "uuid",
    "version_info",
    "version_info_t",
    "xmap",
    "xstarmap",
]


def __getattr__(name: str) -> Any:
    # `Task` and whatever else is looked up when it is first used.
    if not name.startswith("__") and hasattr(celeriac, name):
        return getattr(celeriac, name)
    message = f"module {__name__!r} has no attribute {name!r} (served by celeriac)"
    raise AttributeError(message)
