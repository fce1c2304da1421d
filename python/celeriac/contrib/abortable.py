"""Tasks that are asked to stop, and look now and then whether they were.

::

    @app.task(bind=True, base=AbortableTask)
    def export(self, rows):
        for row in rows:
            if self.is_aborted():
                return
            ...

    result = export.delay(rows)
    result.abort()

Source:
    celery/contrib/abortable.py (names and the state).
"""

from __future__ import annotations

from typing import Any

from celeriac.app.task import Task
from celeriac.result import AsyncResult

__all__ = ["ABORTED", "AbortableAsyncResult", "AbortableTask"]

#: The state of a task that was asked to stop.
ABORTED = "ABORTED"


class AbortableAsyncResult(AsyncResult):
    """A handle that can ask its task to stop."""

    def is_aborted(self) -> bool:
        """Say whether the task was asked to stop, and is not done.

        Returns:
            Whether its state is ABORTED.
        """
        return self.state == ABORTED

    def abort(self) -> None:
        """Ask the task to stop; it does when it next looks, if it looks."""
        self.backend.store_result(self.id, None, ABORTED, traceback=None)


class AbortableTask(Task[..., Any]):
    """Base of tasks that look whether they were asked to stop."""

    abstract = True

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AbortableAsyncResult:  # noqa: N802 - Celery's name
        """Make a handle to a result of this task.

        Returns:
            The handle.
        """
        return AbortableAsyncResult(
            task_id, backend=self.backend, task_name=self.name, app=self.app, **kwargs
        )

    def is_aborted(self, **kwargs: Any) -> bool:
        """Ask the result backend whether this call is to stop.

        Args:
            **kwargs: ``task_id``, where another call is meant than the one that runs.

        Returns:
            Whether it is.
        """
        return self.AsyncResult(kwargs.get("task_id", self.request.id)).is_aborted()
