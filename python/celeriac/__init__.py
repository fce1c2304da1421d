"""celeriac: a distributed task queue that speaks Celery's wire protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import _current
from celeriac._native import __version__
from celeriac.app import Celery, shared_task
from celeriac.app.proxy import Proxy
from celeriac.canvas import Signature, maybe_signature, signature
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
    "binding",
    "current_app",
    "current_task",
    "maybe_signature",
    "shared_task",
    "signature",
    "subtask",
    "uuid",
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
