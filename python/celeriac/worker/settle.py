"""What the broker and the result store hear about an outcome: one table, no effects."""

from dataclasses import dataclass
from enum import Enum

from celeriac import states
from celeriac.worker.outcome import (
    Expired,
    Failed,
    HandedBack,
    Ignored,
    LostTooOften,
    NotRegisteredHere,
    Outcome,
    Poisonous,
    Refused,
    Rejected,
    Retried,
    Revoked,
    Succeeded,
    TimedOut,
    Undecodable,
    WorkerLost,
)

__all__ = ("AT_THE_DOOR", "AckPolicy", "Settlement", "Verdict", "decide")


class Verdict(Enum):
    """What the broker hears; the values are the words of the Rust intake."""

    ACK = "ack"
    REQUEUE = "requeue"
    #: The same, because the process that executed it died: the broker counts it.
    REQUEUE_LOST = "requeue lost"
    REJECT = "reject"
    ASIDE = "aside"
    #: The same, because the process that executed it died once too often.
    ASIDE_LOST = "aside lost"
    #: The message was acknowledged when its task started: nothing is said again.
    ALREADY_ACKED = "already acked"


@dataclass(frozen=True, slots=True)
class AckPolicy:
    """When a task's message is acknowledged, and what a failure means for it."""

    acks_late: bool = False
    acks_on_failure: bool = True
    reject_on_worker_lost: bool = False
    acks_on_timeout: bool = True


#: A message that was not started yet has not been acknowledged, whatever its task says.
AT_THE_DOOR = AckPolicy(acks_late=True)


@dataclass(frozen=True, slots=True)
class Settlement:
    """A verdict, and the state to store before it is carried out.

    ``state`` is None where no result is stored. ``reason`` accompanies a message that is set
    aside.
    """

    verdict: Verdict
    state: str | None = None
    reason: str = ""


def decide(outcome: Outcome, policy: AckPolicy) -> Settlement:
    """Say what the broker and the result store hear.

    Args:
        outcome: What became of the message.
        policy: How its task acknowledges; ``AT_THE_DOOR`` before the task was started.

    Returns:
        The settlement. With early acknowledgement its verdict is always ``ALREADY_ACKED``.

    Source:
        Celery's documented semantics (``acks_late``, ``reject_on_worker_lost``,
        ``acks_on_failure_or_timeout``), as observed on Celery 5.7.
    """
    settlement = _when_late(outcome, policy)
    if policy.acks_late:
        return settlement
    if isinstance(outcome, Poisonous | WorkerLost | TimedOut):
        # It is acknowledged and will not come back, so its caller must hear of it.
        return _TOLD_EARLY[states.FAILURE]
    return _TOLD_EARLY[settlement.state]


def _when_late(outcome: Outcome, policy: AckPolicy) -> Settlement:  # noqa: C901, PLR0911, PLR0912 - a table
    match outcome:
        case Succeeded():
            return _SUCCEEDED
        case Retried():
            return _RETRIED
        case Ignored():
            return _FORGOTTEN
        case Failed():
            return _FAILED if policy.acks_on_failure else _FAILED_REJECTED
        case Rejected(requeue):
            return _BACK if requeue else _FAILED_REJECTED
        case WorkerLost(in_cold_stop=True):
            return _BACK
        case WorkerLost():
            return _BACK_LOST if policy.reject_on_worker_lost else _FAILED
        case TimedOut():
            return _FAILED if policy.acks_on_timeout else _FAILED_BACK
        case Expired() | Revoked():
            return _REVOKED
        case HandedBack():
            return _BACK
        case LostTooOften():
            verdict = Verdict.ASIDE if outcome.last is None else Verdict.ASIDE_LOST
            return Settlement(verdict, states.FAILURE, outcome.reason)
        case NotRegisteredHere():
            return _UNKNOWN
        case Refused(reason) | Undecodable(reason) | Poisonous(reason):
            return Settlement(Verdict.ASIDE, None, reason)


_SUCCEEDED = Settlement(Verdict.ACK, states.SUCCESS)
_RETRIED = Settlement(Verdict.ACK, states.RETRY)
_FORGOTTEN = Settlement(Verdict.ACK)
_FAILED = Settlement(Verdict.ACK, states.FAILURE)
_REVOKED = Settlement(Verdict.ACK, states.REVOKED)
_FAILED_REJECTED = Settlement(Verdict.REJECT, states.FAILURE)
_UNKNOWN = Settlement(Verdict.ASIDE, states.FAILURE, "no task of its name is registered")
_BACK = Settlement(Verdict.REQUEUE)
_BACK_LOST = Settlement(Verdict.REQUEUE_LOST)
# Compat: celery/worker/request.py ``on_timeout`` fails the task, and has it run again.
_FAILED_BACK = Settlement(Verdict.REQUEUE_LOST, states.FAILURE)
_TOLD_EARLY = {
    state: Settlement(Verdict.ALREADY_ACKED, state)
    for state in (None, states.SUCCESS, states.RETRY, states.FAILURE, states.REVOKED)
}
