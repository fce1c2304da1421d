"""What is known of a task before it is called, so that a call need not look."""

from dataclasses import dataclass
from typing import Any

from celeriac import signals
from celeriac.app.task import Task
from celeriac.worker.settle import AckPolicy

__all__ = ("Handlers", "ack_policy", "handlers")

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
