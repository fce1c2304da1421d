"""What is known of a task before it is called, so that a call need not look."""

import inspect
import sys
from dataclasses import dataclass
from typing import Any

from celeriac import signals
from celeriac.app.loading import BaseLoader
from celeriac.app.task import Task
from celeriac.exceptions import ImproperlyConfigured
from celeriac.worker.settle import AckPolicy

__all__ = ("Handlers", "Quick", "ack_policy", "handlers", "is_hooked", "most_losses", "quick")

_HANDLERS = ("before_start", "on_success", "on_failure", "on_retry", "after_return", "__call__")


@dataclass(frozen=True, slots=True)
class Handlers:
    """Which of the handlers a task class overrides."""

    before_start: bool
    on_success: bool
    on_failure: bool
    on_retry: bool
    after_return: bool
    call: bool

    def watch_success(self) -> bool:
        """Whether anybody may look for the result of a task that succeeded.

        Returns:
            Whether it must be stored before they are told.
        """
        return bool(
            self.on_success
            or self.after_return
            or signals.task_success.receivers
            or signals.task_postrun.receivers
        )

    def watch_failure(self) -> bool:
        """Whether anybody may look for the result of a task that did not succeed.

        Returns:
            Whether it must be stored before they are told.
        """
        return bool(
            self.on_failure
            or self.on_retry
            or self.after_return
            or signals.task_failure.receivers
            or signals.task_retry.receivers
            or signals.task_postrun.receivers
        )


def handlers(task: Any) -> Handlers:
    """See which handlers a task has of its own.

    Args:
        task: The task.

    Returns:
        One flag for each handler.
    """
    return Handlers(*(_overrides(task, name) for name in _HANDLERS))


@dataclass(frozen=True, slots=True)
class Quick:
    """A task that is called and nothing more: no handler of its own, no coroutine."""

    task: Any
    run: Any
    handlers: Handlers


def quick(task: Any) -> Quick | None:
    """See whether a task is called and nothing more.

    Args:
        task: The task.

    Returns:
        What to call, or None.
    """
    own = handlers(task)
    is_watched = (
        own.before_start or own.on_success or own.on_failure or own.on_retry or own.after_return
    )
    if is_watched or inspect.iscoroutinefunction(task.run):
        return None
    return Quick(task, task if own.call else task.run, own)


def is_hooked(loader: Any) -> bool:
    """See whether a loader does something before or after each task.

    Args:
        loader: The application's loader.

    Returns:
        Whether it has a hook of its own.
    """
    return any(
        name in vars(loader) or getattr(type(loader), name) is not getattr(BaseLoader, name)
        for name in ("on_task_init", "on_process_cleanup")
    )


def _overrides(task: Any, name: str) -> bool:
    if name in vars(task):
        return True
    return getattr(type(task), name, None) is not getattr(Task, name, None)


def ack_policy(task: Any) -> AckPolicy:
    """Read how a task wants its messages acknowledged.

    Args:
        task: The task.

    Returns:
        Its policy.
    """
    return AckPolicy(
        acks_late=bool(task.acks_late),
        acks_on_failure=_acks_on(task, "acks_on_failure"),
        reject_on_worker_lost=bool(task.reject_on_worker_lost),
        acks_on_timeout=_acks_on(task, "acks_on_timeout"),
    )


def _acks_on(task: Any, name: str) -> bool:
    acks = getattr(task, name, None)
    if acks is None:
        acks = task.acks_on_failure_or_timeout
    return acks is None or bool(acks)


def most_losses(conf: Any) -> int:
    """Read how often who holds a message may die before it is a dead letter.

    Args:
        conf: The settings.

    Returns:
        ``worker_redelivery_limit``; more than ever happens where that is None.

    Raises:
        ImproperlyConfigured: It is negative, which would run no task at all.
    """
    limit: int | None = conf.worker_redelivery_limit
    if limit is None:
        return sys.maxsize
    if limit < 0:
        message = (
            f"Setting 'worker_redelivery_limit' must be a number of times from 0, or None for no "
            f"limit, not {limit!r}."
        )
        raise ImproperlyConfigured(message)
    return limit
