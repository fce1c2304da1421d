"""The last door before a task runs: is it known, well formed, in time, and can we do it all?"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from celeriac import signals
from celeriac._native import Delivery
from celeriac.app.infolines import InfoLines
from celeriac.exceptions import DecodeError
from celeriac.worker import protocol1
from celeriac.worker.load import UNSTRUCTURED, Body, load, unpacked
from celeriac.worker.outcome import (
    Expired,
    LostTooOften,
    NotRegisteredHere,
    Outcome,
    Poisonous,
    Refused,
    Revoked,
    Undecodable,
)
from celeriac.worker.plan import ack_policy, most_losses
from celeriac.worker.request import Request
from celeriac.worker.times import unix_ms_of

__all__ = ("Door", "TurnedAway", "announce_revoked", "has_stamp")

logger = logging.getLogger("celery.worker.strategy")
request_logger = logging.getLogger("celery.worker.request")
_lines = InfoLines(logger)

#: How a body ends that asks for nothing after the task, or only for what we do: the chord comes
#: last. Everything else is decoded at the door, and looked at.
_PLAIN_JSON_END = b'"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'


_NO_STAMPS: Mapping[str, Collection[Any]] = {}


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A message that is not run, and why.

    ``request`` is there where its task is known, ``delivery`` where it was translated.
    """

    outcome: Outcome
    request: Request | None = None
    delivery: Delivery | None = None


class Door:
    """Admits messages.

    Args:
        app: The application, finalized.
        hostname: The worker's node name.
        accept: The content types that may be decoded.
        now_ms: The time in ms since 1970.
        sender: Who sends the signal ``task_received``.
        revoked: The ids of tasks that are not to run; looked at for each message.
        revoked_stamps: Values of stamps whose tasks are not to run, by the stamp's name.
    """

    def __init__(
        self,
        app: Any,
        hostname: str,
        accept: frozenset[str] | None,
        now_ms: Callable[[], int],
        sender: Any = None,
        revoked: Collection[str] = (),
        revoked_stamps: Mapping[str, Collection[Any]] = _NO_STAMPS,
    ) -> None:
        self._tasks = app.tasks
        self._hostname = hostname
        self._accept = accept
        self._takes_json = accept is None or "application/json" in accept
        self._max_bytes: int = app.conf.decompressed_max_bytes
        self._most_losses = most_losses(app.conf)
        self._now_ms = now_ms
        self._sender = sender
        self._revoked = revoked
        self._revoked_stamps = revoked_stamps
        self._policies: dict[str, Any] = {}

    def admit(self, delivery: Delivery) -> Request | TurnedAway:
        """Look at a message for the first time.

        Args:
            delivery: The message.

        Returns:
            The request; its ``due_ms`` lies in the future where the task is to wait. Or why it
            does not run.
        """
        if delivery.is_plain and self._takes_json:
            return self._welcome(delivery)
        if delivery.task is not None or delivery.error is not None:
            return self._admit(delivery)
        translated = protocol1.translate(delivery, self._accept, self._max_bytes)
        if not isinstance(translated, Delivery):
            return TurnedAway(translated)
        admitted = self._admit(translated)
        if isinstance(admitted, TurnedAway):
            return TurnedAway(admitted.outcome, admitted.request, translated)
        return admitted

    def _admit(self, delivery: Delivery) -> Request | TurnedAway:
        outcome = self._fault(delivery)
        if outcome is not None:
            return TurnedAway(outcome)
        return self._welcome(delivery)

    def _welcome(self, delivery: Delivery) -> Request | TurnedAway:
        name = delivery.task or ""
        task = self._tasks.get(name)
        if task is None:
            return TurnedAway(NotRegisteredHere())
        policy = self._policies.get(name)
        if policy is None:
            policy = self._policies[name] = ack_policy(task)
        request = Request(delivery, task, policy, self._hostname)
        if not delivery.is_plain and (delivery.eta is not None or delivery.expires is not None):
            try:
                self._read_times(request)
            except DecodeError as exc:
                return TurnedAway(Refused(str(exc)), request)
        if logger.isEnabledFor(logging.INFO):
            _log_received(request)
        outcome = self._unfit(request)
        if outcome is not None:
            return TurnedAway(outcome, request)
        if signals.task_received.receivers:
            signals.task_received.send(sender=self._sender, request=request)
        return request

    def _unfit(self, request: Request) -> Outcome | None:
        # Why a task that is known here is not run.
        if request.expires_ms and self.is_too_late(request):
            return Expired()
        if (self._revoked or self._revoked_stamps) and self._is_revoked(request):
            announce_revoked(request)
            return Revoked("revoked")
        losses = request.delivery.losses
        return LostTooOften(losses, self._most_losses) if losses > self._most_losses else None

    def _is_revoked(self, request: Request) -> bool:
        if self._revoked and request.id in self._revoked:
            return True
        return bool(self._revoked_stamps) and has_stamp(request, self._revoked_stamps)

    def is_too_late(self, request: Request) -> bool:
        """Say whether a task has expired, and log it; asked again when it is about to start.

        Args:
            request: The task.

        Returns:
            Whether its time is over.
        """
        if request.fate is not None:
            return True
        if not request.expires_ms or self._now_ms() <= request.expires_ms:
            return False
        announce_revoked(request, expired=True)
        return True

    def request_of(self, delivery: Delivery) -> Request | None:
        """Describe a message that waits for its time.

        Args:
            delivery: The message.

        Returns:
            Its request; None where the door would turn it away.
        """
        task = self._tasks.get(delivery.task or "")
        if task is None or not delivery.id:
            return None
        request = Request(delivery, task, ack_policy(task), self._hostname)
        try:
            self._read_times(request)
        except DecodeError:
            return None
        return request

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
        if not delivery.id:
            return Poisonous("it has a header task but no id")
        content_type = delivery.content_type
        if content_type in UNSTRUCTURED:
            return Poisonous(f"content type {content_type!r} carries no arguments")
        if self._accept is not None and content_type not in self._accept:
            return Refused(
                f"Refusing to deserialize untrusted content of type {content_type}: "
                "accept_content does not name it"
            )
        return self._fault_of_body(delivery)

    def _fault_of_body(self, delivery: Delivery) -> Outcome | None:
        try:
            if unpacked(delivery, self._max_bytes).endswith(_PLAIN_JSON_END):
                return None
        except DecodeError as exc:
            return Undecodable(str(exc))
        body = load(delivery, self._accept, self._max_bytes)
        return None if isinstance(body, Body) else body

    def _read_times(self, request: Request) -> None:
        delivery = request.delivery
        if delivery.eta is not None:
            request.due_ms = unix_ms_of(delivery.eta)
        if delivery.expires is not None:
            request.expires_ms = unix_ms_of(delivery.expires)


def has_stamp(request: Request, wanted: Mapping[str, Collection[Any]]) -> bool:
    """Say whether a task carries one of some stamps.

    Args:
        request: The task.
        wanted: Values, by the stamp's name.

    Returns:
        Whether a stamp of such a name has one of its values.
    """
    stamps = request.headers.get("stamps")
    if not isinstance(stamps, Mapping):
        return False
    for name, values in wanted.items():
        own = stamps.get(name)
        for value in own if isinstance(own, list | tuple | set) else (own,):
            if value is not None and value in values:
                return True
    return False


def announce_revoked(
    request: Request, *, expired: bool = False, terminated: bool = False, signum: int | None = None
) -> None:
    """Log that a task does not run, or not on, and send the signal Celery sends.

    Args:
        request: The task.
        expired: Whether its time was over.
        terminated: Whether it ran.
        signum: The signal that ended it.
    """
    if terminated:
        request_logger.warning("Terminated task: %s[%s]", request.name, request.id)
    else:
        request_logger.info("Discarding revoked task: %s[%s]", request.name, request.id)
    if signals.task_revoked.receivers:
        signals.task_revoked.send(
            sender=request.task,
            request=request,
            terminated=terminated,
            signum=signum,
            expired=expired,
        )


def _log_received(request: Request) -> None:
    if _lines.info(f"Task {request.name}[{request.id}] received"):
        return
    context = {
        "id": request.id,
        "name": request.name,
        "args": request.argsrepr,
        "kwargs": request.kwargsrepr,
        "eta": request.eta,
    }
    logger.info("Task %(name)s[%(id)s] received", context, extra={"data": context})
