"""What became of a message: the vocabulary between executing and settling."""

from dataclasses import dataclass
from typing import TypeAlias

__all__ = (
    "Expired",
    "Failed",
    "HandedBack",
    "Ignored",
    "LostTooOften",
    "NotRegisteredHere",
    "Outcome",
    "Poisonous",
    "Refused",
    "Rejected",
    "Retried",
    "Revoked",
    "Succeeded",
    "TimedOut",
    "Undecodable",
    "WorkerLost",
)


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The task returned."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The task raised, or its result could not be encoded."""


@dataclass(frozen=True, slots=True)
class Retried:
    """The task sent itself again."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """The task raised ``Ignore``: it looks after its own state."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The task raised ``Reject``."""

    requeue: bool


@dataclass(frozen=True, slots=True)
class Expired:
    """The message was started too late."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """Somebody took it back: before it started ("revoked"), or while it ran ("terminated")."""

    reason: str


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The process that executed the task ended before the task did.

    ``cause`` is the sentence stored with the result, such as
    ``"Worker exited prematurely: signal 9 (SIGKILL) Job: 2."``. ``in_cold_stop`` says that the
    worker itself broke the task off, so that the task is not to blame.
    """

    cause: str
    in_cold_stop: bool = False


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The task ran longer than its hard time limit, in seconds, and its process was killed."""

    limit_s: float


@dataclass(frozen=True, slots=True)
class LostTooOften:
    """Who held it died more often than a message is delivered again: it is a dead letter.

    ``losses`` is how often, ``limit`` how often it may be. ``last`` is what became of it the last
    time, where that was in this worker.
    """

    losses: int
    limit: int
    last: WorkerLost | TimedOut | None = None

    @property
    def reason(self) -> str:
        """Why it is kept, and not run again."""
        times = "once" if self.losses == 1 else f"{self.losses} times"
        said = f"who held it died {times}, and worker_redelivery_limit is {self.limit}"
        match self.last:
            case WorkerLost(cause):
                return f"{said} ({cause})"
            case TimedOut(limit_s):
                return f"{said} (it ran longer than {limit_s:g}s)"
            case None:
                return said


@dataclass(frozen=True, slots=True)
class HandedBack:
    """Nobody started it: the worker stops, or the child it waited for died."""


@dataclass(frozen=True, slots=True)
class NotRegisteredHere:
    """No task of that name is registered in this app."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Its content type is not accepted, or a header of it cannot be read."""

    reason: str


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Its body is not what its content type says."""

    reason: str


@dataclass(frozen=True, slots=True)
class Poisonous:
    """It has no valid shape, or asks for what this version does not do yet.

    Such a message is kept where an operator can look at it and put it back.
    """

    reason: str


Outcome: TypeAlias = (
    Succeeded
    | Failed
    | Retried
    | Ignored
    | Rejected
    | Expired
    | Revoked
    | WorkerLost
    | TimedOut
    | HandedBack
    | LostTooOften
    | NotRegisteredHere
    | Refused
    | Undecodable
    | Poisonous
)
