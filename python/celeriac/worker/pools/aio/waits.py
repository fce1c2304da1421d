"""Whether what comes before and after a coroutine may wait, and so must not be done on the loop.

A plain task's bookkeeping takes microseconds. What waits for a broker or a result store, and what
the user has hooked in, is done in a thread.
"""

from typing import Any

from celeriac import signals
from celeriac.app.loading import BaseLoader
from celeriac.worker.call import Call, Ended
from celeriac.worker.plan import handlers

__all__ = ("begins_at_once", "ends_at_once")


def begins_at_once(app: Any, task: Any) -> bool:
    """Say whether nothing waits before a task's function is called.

    Args:
        app: The application.
        task: The task.

    Returns:
        Whether it may begin on the loop.
    """
    return not (
        task.track_started
        or signals.task_prerun.receivers
        or handlers(task).before_start
        or _has_hook(app.loader, "on_task_init")
    )


def ends_at_once(app: Any, call: Call, ended: Ended) -> bool:
    """Say whether nothing waits after a coroutine.

    Args:
        app: The application.
        call: The call.
        ended: How the coroutine ended.

    Returns:
        Whether it may be recorded and told on the loop.
    """
    request, backend = call.request, call.task.backend
    is_success = ended.einfo is None
    follows = request.callbacks if is_success else request.errbacks
    watches = call.handlers.watch_success if is_success else call.handlers.watch_failure
    stores_here = not (backend.is_disabled or call.ignores_result) and (
        backend.native is None or backend is not app.backend
    )
    return not (
        follows
        or request.chain
        or request.chord
        or watches()
        or stores_here
        or _has_hook(app.loader, "on_process_cleanup")
    )


def _has_hook(loader: Any, name: str) -> bool:
    # A fixup sets its own on the loader; a loader of the user's has it in its class.
    return name in vars(loader) or getattr(type(loader), name) is not getattr(BaseLoader, name)
