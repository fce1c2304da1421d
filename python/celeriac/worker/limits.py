"""How long tasks may run: whose word counts, and the soft limit's interruption.

The hard limit is the worker's affair: it kills the child. The soft one is raised inside the task,
by a signal that the child sends to its own main thread, so that it can never hit the next task.
"""

import inspect
import logging
import signal
import threading
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from celeriac.exceptions import SoftTimeLimitExceeded

__all__ = (
    "SoftAlarm",
    "TimeLimits",
    "change_limits",
    "changed_soft_limit",
    "holds_to_limits",
    "log_exceeded",
    "take_soft_limit",
)

logger = logging.getLogger("celery.worker.request")

#: No queue waits longer than `threading.TIMEOUT_MAX`: an infinite limit is one of 30 years.
_LONGEST_S = 1e9


def log_exceeded(request: Any, which: str, limit_s: float) -> None:
    """Log that a task has run longer than it may, in Celery's words.

    Args:
        request: The task.
        which: ``Soft`` or ``Hard``.
        limit_s: How long it may run, in seconds.
    """
    logger.log(
        logging.WARNING if which == "Soft" else logging.ERROR,
        "%s time limit (%gs) exceeded for %s[%s]",
        which,
        limit_s,
        request.name,
        request.id,
    )


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """The limits of tasks that have none of their own, in seconds; None or 0 for no limit.

    What the message says goes before what the task says, and that before these.
    """

    hard_s: float | None = None
    soft_s: float | None = None

    def hard(self, asked: float | None, task: Any) -> float | None:
        """Say when a task is killed.

        Args:
            asked: The message's limit, in seconds.
            task: The task.

        Returns:
            Seconds, or None.
        """
        return asked or task.time_limit or self.hard_s or None

    def soft(self, asked: float | None, task: Any) -> float | None:
        """Say when a task is interrupted.

        Args:
            asked: The message's limit, in seconds.
            task: The task.

        Returns:
            Seconds, or None.
        """
        return asked or task.soft_time_limit or self.soft_s or None


def holds_to_limits(pool: str, task: Any) -> bool:
    """Say whether a pool holds a task to its limits.

    Args:
        pool: The pool's name.
        task: The task.

    Returns:
        Whether it can end it.
    """
    return pool == "prefork" or (pool == "aio" and inspect.iscoroutinefunction(task.run))


def change_limits(task: Any, hard_s: float | None, soft_s: float | None) -> None:
    """Give a task other limits of its own while the worker runs.

    Args:
        task: The task.
        hard_s: Seconds; None for what the worker says.
        soft_s: The same, of the soft limit.
    """
    task.time_limit, task.soft_time_limit = hard_s, soft_s
    task.has_changed_limits = True


def changed_soft_limit(task: Any) -> bytes:
    """Say what a child is to know, whose task is as it was when the child was made.

    Args:
        task: The task.

    Returns:
        The soft limit as text; nothing where it was never changed.
    """
    return repr(task.soft_time_limit).encode() if hasattr(task, "has_changed_limits") else b""


def take_soft_limit(task: Any, text: bytes) -> None:
    """Take note of what `changed_soft_limit` said.

    Args:
        task: The task.
        text: The limit.
    """
    task.soft_time_limit = None if text == b"None" else float(text)


class SoftAlarm:
    """Raises `SoftTimeLimitExceeded` in the main thread while a task there runs for too long.

    Made in the main thread of a process that does nothing but execute tasks: it takes SIGUSR1, as
    Celery's children do. A signal that comes late, or from elsewhere, does nothing.

    Args:
        limits: For tasks without limits of their own.
    """

    def __init__(self, limits: TimeLimits) -> None:
        self._limits = limits
        self._main = threading.get_ident()
        self._due_s: float | None = None
        # The signal may interrupt the main thread anywhere: this queue's `put` is reentrant.
        self._armed: SimpleQueue[None] = SimpleQueue()
        self._clock: threading.Thread | None = None
        signal.signal(signal.SIGUSR1, self._heard)

    def soft(self, asked: float | None, task: Any) -> float | None:
        """Say when a task is interrupted.

        Args:
            asked: The message's limit, in seconds.
            task: The task.

        Returns:
            Seconds, or None.
        """
        return self._limits.soft(asked, task)

    def arm(self, limit_s: float) -> None:
        """Raise after a while, unless disarmed before.

        Args:
            limit_s: Seconds from now.
        """
        if self._clock is None:
            self._clock = threading.Thread(target=self._watch, name="soft-limits", daemon=True)
            self._clock.start()
        self._due_s = time.monotonic() + min(limit_s, _LONGEST_S)
        self._armed.put(None)

    def disarm(self) -> None:
        """Raise no more."""
        self._due_s = None

    def _watch(self) -> None:
        wait_s: float | None = None
        while True:
            try:
                # No deadline where nothing is armed: it is a daemon of its process.
                self._armed.get(timeout=wait_s)
            except Empty:
                signal.pthread_kill(self._main, signal.SIGUSR1)
                wait_s = None
                continue
            due_s = self._due_s
            wait_s = None if due_s is None else max(0.0, due_s - time.monotonic())

    def _heard(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        due_s = self._due_s
        if due_s is not None and time.monotonic() >= due_s:
            self._due_s = None
            raise SoftTimeLimitExceeded
