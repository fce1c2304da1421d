from typing import Any

from celeriac._as_celery import as_celery
from celeriac._native import __version__
from celeriac.app import Celery, bugreport, shared_task
from celeriac.app.task import Task
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
from celeriac.canvas import signature as subtask
from celeriac.nodenames import new_id as uuid
from celeriac.routing import Broadcast, Exchange, Queue, binding

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

current_app: Any
current_task: Any
