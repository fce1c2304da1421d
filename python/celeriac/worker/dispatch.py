"""The last door before a task runs: is it known, well formed, in time, and can we do it all?"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celeriac import signals
from celeriac._native import Delivery
from celeriac.exceptions import DecodeError
from celeriac.worker.load import Body, decode, load
from celeriac.worker.outcome import (
    Expired,
    NotRegisteredHere,
    Outcome,
    Poisonous,
    Refused,
    Undecodable,
)
from celeriac.worker.plan import ack_policy
from celeriac.worker.request import Request
from celeriac.worker.times import unix_ms_of

__all__ = ("Door", "TurnedAway")

logger = logging.getLogger("celery.worker.strategy")
request_logger = logging.getLogger("celery.worker.request")

#: How a body ends that asks for nothing after the task, or only for what we do: the chord comes
#: last. Everything else is decoded at the door, and looked at.
_PLAIN_JSON_END = b'"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
#: Content types that carry text or bytes, never arguments.
_UNSTRUCTURED = frozenset({"", "application/data", "application/text", "text/plain"})


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A message that is not run, and why. ``request`` is there where its task is known."""

    outcome: Outcome
    request: Request | None = None


class Door:
    """Admits messages.

    Args:
        app: The application, finalized.
        hostname: The worker's node name.
        accept: The content types that may be decoded.
        now_ms: The time in ms since 1970.
        sender: Who sends the signal ``task_received``.
    """

    def __init__(
        self,
        app: Any,
        hostname: str,
        accept: frozenset[str] | None,
        now_ms: Callable[[], int],
        sender: Any = None,
    ) -> None:
        self._tasks = app.tasks
        self._zone = app.timezone
        self._hostname = hostname
        self._accept = accept
        self._now_ms = now_ms
        self._sender = sender
        self._policies: dict[str, Any] = {}

    def admit(self, delivery: Delivery) -> Request | TurnedAway:
        """Look at a message for the first time.

        Args:
            delivery: The message.

        Returns:
            The request; its ``due_ms`` lies in the future where the task is to wait. Or why it
            does not run.
        """
        outcome = self._fault(delivery)
        if outcome is not None:
            return TurnedAway(outcome)
        name = delivery.task or ""
        task = self._tasks.get(name)
        if task is None:
            return TurnedAway(NotRegisteredHere())
        policy = self._policies.get(name)
        if policy is None:
            policy = self._policies[name] = ack_policy(task)
        request = Request(delivery, task, policy, self._hostname)
        if delivery.eta is not None or delivery.expires is not None:
            try:
                self._read_times(request)
            except DecodeError as exc:
                return TurnedAway(Refused(str(exc)), request)
        if logger.isEnabledFor(logging.INFO):
            _log_received(request)
        if self.is_too_late(request):
            return TurnedAway(Expired(), request)
        if signals.task_received.receivers:
            signals.task_received.send(sender=self._sender, request=request)
        return request

    def is_too_late(self, request: Request) -> bool:
        """Say whether a task has expired, and log it; asked again when it is about to start.

        Args:
            request: The task.

        Returns:
            Whether its time is over.
        """
        if not request.expires_ms or self._now_ms() <= request.expires_ms:
            return False
        request_logger.info("Discarding revoked task: %s[%s]", request.name, request.id)
        if signals.task_revoked.receivers:
            signals.task_revoked.send(
                sender=request.task, request=request, terminated=False, signum=None, expired=True
            )
        return True

    def waits(self, request: Request) -> bool:
        """Say whether a task's time to start has not come.

        Args:
            request: The task.

        Returns:
            Whether it is to be delayed.
        """
        return request.due_ms > 0 and request.due_ms > self._now_ms()

    def _fault(self, delivery: Delivery) -> Outcome | None:
        if delivery.error is not None:
            return Poisonous(delivery.error)
        if delivery.task is None:
            return _without_task(delivery, self._accept)
        if not delivery.id:
            return Poisonous("it has a header task but no id")
        content_type = delivery.content_type
        if content_type in _UNSTRUCTURED:
            return Poisonous(f"content type {content_type!r} carries no arguments")
        if self._accept is not None and content_type not in self._accept:
            return Refused(
                f"Refusing to deserialize untrusted content of type {content_type}: "
                "accept_content does not name it"
            )
        return _unsupported(delivery, self._accept)

    def _read_times(self, request: Request) -> None:
        delivery = request.delivery
        if delivery.eta is not None:
            request.due_ms = unix_ms_of(delivery.eta, self._zone)
        if delivery.expires is not None:
            request.expires_ms = unix_ms_of(delivery.expires, self._zone)


def _without_task(delivery: Delivery, accept: frozenset[str] | None) -> Outcome:
    # Tell an old message from one that is none.
    if delivery.content_type in _UNSTRUCTURED:
        return Refused("it has no header task")
    body = decode(delivery, accept)
    if isinstance(body, Refused | Undecodable):
        return body
    if isinstance(body, dict) and "task" in body:
        return Poisonous("it uses task protocol 1, which this version does not support yet")
    return Refused("it has no header task")


def _unsupported(delivery: Delivery, accept: frozenset[str] | None) -> Outcome | None:
    if delivery.compression is not None:
        return Poisonous(
            f"its body is compressed ({delivery.compression}), "
            "which this version does not support yet"
        )
    if delivery.timelimit != (None, None):
        return Poisonous(
            f"it asks for a time limit (timelimit={delivery.timelimit}), "
            "which this version does not support yet"
        )
    if delivery.raw_body().endswith(_PLAIN_JSON_END):
        return None
    body = load(delivery, accept)
    return None if isinstance(body, Body) else body


def _log_received(request: Request) -> None:
    context = {
        "id": request.id,
        "name": request.name,
        "args": request.argsrepr,
        "kwargs": request.kwargsrepr,
        "eta": request.eta,
    }
    logger.info("Task %(name)s[%(id)s] received", context, extra={"data": context})
