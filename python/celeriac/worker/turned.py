"""What the log, the signals and the result say of a message that is turned away at the door.

Each is logged once, at the place where Celery's users look for it, and begins with Celery's words.
"""

import logging
from typing import Any

from celeriac import signals
from celeriac._native import Delivery
from celeriac.exceptions import (
    InvalidTaskError,
    NotRegistered,
    TaskRevokedError,
    TimeLimitExceeded,
    WorkerLostError,
)
from celeriac.worker.outcome import (
    Expired,
    LostTooOften,
    NotRegisteredHere,
    Outcome,
    Poisonous,
    Refused,
    Revoked,
    TimedOut,
    Undecodable,
    WorkerLost,
)

__all__ = ("announce", "exception_for")

logger = logging.getLogger("celery.worker.consumer.consumer")

_UNKNOWN_TASK = (
    "Received unregistered task of type %r.\n"
    "The message has been ignored, and is kept: see `celeriac dead list`.\n\n"
    "Is the module that defines the task imported by this worker (-I, include=, imports), and\n"
    "under the same name as in the producer? Registered here: see the list at start (-l INFO).\n\n"
    "The message: %s"
)
_INVALID = (
    "Received invalid task message: %s\n"
    "The message has been ignored, and is kept: see `celeriac dead list`.\n\nThe message: %s"
)
_UNDECODABLE = (
    "Can't decode message body: %s\n"
    "It was not run, and is kept: see `celeriac dead list`.\n\nThe message: %s"
)
_SET_ASIDE = (
    "Task message set aside: %s.\n"
    "It was not run, and is kept: see `celeriac dead list`.\n\nThe message: %s"
)
_DEAD_LETTER = (
    "Task %s[%s] is a dead letter: %s. It has failed, is kept, and does not run again. Look at it "
    "with `celeriac dead list -Q %s`; when its cause is mended, `celeriac dead replay` runs it."
)
#: How much of a message's body, and of each name in it, a line of the log shows.
_MAX_SHOWN = 200


def announce(outcome: Outcome, delivery: Delivery, sender: Any) -> None:
    """Log why a message is not run, and send the signal Celery sends.

    Args:
        outcome: The reason.
        delivery: The message.
        sender: The worker.
    """
    match outcome:
        case NotRegisteredHere():
            exc = NotRegistered(delivery.task)
            logger.error(_UNKNOWN_TASK, delivery.task, _shown(delivery))
            signals.task_unknown.send(
                sender=sender, message=delivery, exc=exc, name=delivery.task, id=delivery.id
            )
        case Refused(reason):
            logger.error(_INVALID, reason, _shown(delivery))
            signals.task_rejected.send(
                sender=sender, message=delivery, exc=InvalidTaskError(reason)
            )
        case Undecodable(reason):
            logger.critical(_UNDECODABLE, reason, _shown(delivery))
        case Poisonous(reason):
            logger.error(_SET_ASIDE, reason, _shown(delivery))
        case LostTooOften():
            said = (_short(delivery.task), delivery.id, outcome.reason, delivery.queue)
            logger.error(_DEAD_LETTER, *said)
        case _:
            pass


def _shown(delivery: Delivery) -> str:
    if delivery.error is not None:
        return f"unreadable, from queue {delivery.queue}"
    body = delivery.raw_body()
    rest = "..." if len(body) > _MAX_SHOWN else ""
    return (
        f"task={_short(delivery.task)} id={_short(delivery.id)} queue={delivery.queue!r} "
        f"content_type={_short(delivery.content_type)} "
        f"body={body[:_MAX_SHOWN]!r}{rest} ({len(body)}b)"
    )


def _short(text: str | None) -> str:
    if text is None or len(text) <= _MAX_SHOWN:
        return repr(text)
    return f"{text[:_MAX_SHOWN]!r}... ({len(text)} characters)"


def exception_for(outcome: Outcome, task_name: str | None) -> BaseException | None:
    """Make the exception that is stored where nobody executed the task.

    Args:
        outcome: The outcome.
        task_name: The task's name.

    Returns:
        The exception; None where the executing process has said everything.

    Source:
        The well-known documents of Celery 5.7 (expired, process died, unknown task).
    """
    match outcome:
        case NotRegisteredHere():
            return NotRegistered(task_name)
        case Expired():
            return TaskRevokedError("expired")
        case Revoked(reason):
            return TaskRevokedError(reason)
        case WorkerLost(cause):
            return WorkerLostError(cause)
        case LostTooOften(last=last):
            told = WorkerLostError(f"The task is a dead letter: {outcome.reason}.")
            return exception_for(last, task_name) if isinstance(last, TimedOut) else told
        case TimedOut(limit_s):
            return TimeLimitExceeded(int(limit_s) if limit_s == int(limit_s) else limit_s)
        case Poisonous(reason):
            return InvalidTaskError(reason)
        case _:
            return None
