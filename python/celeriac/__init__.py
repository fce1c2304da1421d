"""celeriac: a distributed task queue that speaks Celery's wire protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import _current
from celeriac._as_celery import as_celery
from celeriac._native import __version__
from celeriac.app import Celery, bugreport, shared_task
from celeriac.app.proxy import Proxy
from celeriac.canvas import (
    Signature,
    chain,
    chord,
    chunks,
    group,
    maybe_signature,
    signature,
    xmap,
    xstarmap,
)
from celeriac.nodenames import new_id as uuid
from celeriac.routing import Broadcast, Exchange, Queue, binding

if TYPE_CHECKING:
    from celeriac.app.task import Task

__all__ = [
    "Broadcast",
    "Celery",
    "Exchange",
    "Queue",
    "Signature",
    "Task",
    "__version__",
    "as_celery",
    "binding",
    "bugreport",
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
    "xmap",
    "xstarmap",
]

subtask = signature
current_app: Any = Proxy(_current.get_current_app)
current_task: Any = Proxy(_current.get_current_task)


def __getattr__(name: str) -> Any:
    if name == "Task":
        from celeriac.app.task import Task  # noqa: PLC0415 - bound to no application until used

        return Task
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
