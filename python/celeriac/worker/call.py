"""A task about to be called, how it ended, and what is reported of it."""

from dataclasses import dataclass
from typing import Any

from celeriac.app.einfo import ExceptionInfo
from celeriac.worker.outcome import Outcome, Succeeded
from celeriac.worker.plan import Handlers

__all__ = ("SUCCEEDED", "Call", "Ended", "Report")


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a message, and its result document where the worker is to store it.

    ``told`` is what events say of its end, where somebody wants to know.
    """

    outcome: Outcome
    document: bytes | None = None
    told: dict[str, Any] | None = None


#: What became of most messages.
SUCCEEDED = Report(Succeeded())


@dataclass(slots=True)
class Call:
    """A task about to be called."""

    task: Any
    request: Any
    args: list[Any]
    kwargs: dict[str, Any]
    handlers: Handlers
    started_s: float
    #: What the task's function has returned, where that is to be awaited.
    coroutine: Any = None

    @property
    def name(self) -> str:
        """The name people see: the message's ``shadow``, or the task's."""
        return str(getattr(self.request, "shadow", None) or self.task.name)

    @property
    def ignores_result(self) -> bool:
        """Whether no result is wanted; a message that leaves it open asks the task."""
        # The class has a default; only what the message itself says counts.
        ignored = vars(self.request).get("ignore_result")
        return bool(self.task.ignore_result if ignored is None else ignored)


@dataclass(slots=True)
class Ended:
    """How a call ended: its state, and what was returned or raised."""

    outcome: Outcome
    state: str
    value: Any
    einfo: ExceptionInfo | None = None
