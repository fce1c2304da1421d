"""Waiting for results, and where it must not be done.

Source:
    celery/result.py (names, and when an error is raised).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from celeriac._current import set_join_allowed_here, task_join_will_block

if TYPE_CHECKING:
    from collections.abc import Iterator

_MESSAGE = (
    "Never call result.get() within a task: it can wait for a task that waits for this worker. "
    "Link the tasks instead, or pass disable_sync_subtasks=False if you know it cannot block.\n"
    "See https://docs.celeryq.dev/en/latest/userguide/tasks.html"
    "#avoid-launching-synchronous-subtasks"
)


def assert_will_not_block() -> None:
    """Refuse to wait inside of a task.

    Raises:
        RuntimeError: A task runs in this thread, and waiting was not allowed.
    """
    if task_join_will_block():
        raise RuntimeError(_MESSAGE)


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Allow this thread to wait for results inside of a task."""
    before = set_join_allowed_here(allowed=True)
    try:
        yield
    finally:
        set_join_allowed_here(allowed=before)


@contextmanager
def denied_join_result() -> Iterator[None]:
    """Forbid this thread to wait for results."""
    before = set_join_allowed_here(allowed=False)
    try:
        yield
    finally:
        set_join_allowed_here(allowed=before)
