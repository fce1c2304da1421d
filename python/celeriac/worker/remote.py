"""Remote control: hears what is asked of workers, does it, and answers.

Nothing that arrives here may stop a worker: what cannot be read is dropped, what a command raises
is its answer.
"""

import fnmatch
import logging
import re
import time
from dataclasses import dataclass
from typing import Any

from celeriac._native import Intake, Mailbox
from celeriac.app.mailbox import question
from celeriac.exceptions import EncodeError, OperationalError, WorkerShutdown
from celeriac.nodenames import new_id
from celeriac.worker.commands import Panel

__all__ = ("Remote", "State")

logger = logging.getLogger("celery.worker.control")

_OPEN_WAIT_S = 2.0
_CLOSE_WAIT_S = 2.0
_MAX_LETTERS = 64
#: How long other workers may take to say which tasks are revoked. Nobody waits for them.
_MINGLE_S = 2.0


@dataclass(frozen=True, slots=True)
class State:
    """What commands work on; the first argument of each.

    Attributes:
        app: The application.
        hostname: The worker's node name.
        worker: The worker.
        intake: Its messages.
        loop: Its main loop.
        pool: Its pool.
    """

    app: Any
    hostname: str
    worker: Any
    intake: Intake
    loop: Any
    pool: Any

    @property
    def consumer(self) -> Any:
        """The worker, by Celery's name for the part that consumes."""
        return self.worker


class Remote:
    """A worker's ear for control messages. All methods are called by the worker's one thread.

    Args:
        state: What commands work on.
        mingles: Whether to ask other workers which tasks are revoked.
    """

    def __init__(self, state: State, *, mingles: bool = True) -> None:
        self._state = state
        self._mail = state.app.control.mailbox
        self._box: Mailbox = self._mail.node_box(state.hostname)
        self._mingles = mingles
        self._hellos: Mailbox | None = None
        self._hellos_end_s = 0.0

    @property
    def box(self) -> Mailbox:
        """Its mailbox, which can also send."""
        return self._box

    def start(self) -> None:
        """Begin to listen. Without a connection the worker works all the same."""
        self._box.ring(self._state.intake)
        try:
            self._box.open(_OPEN_WAIT_S)
        except OperationalError as exc:
            # Compat: Celery 5.7 ends here when another worker on RabbitMQ has this name.
            logger.warning(
                "Remote control does not listen yet, and goes on trying; tasks run meanwhile. "
                "If another worker is named %s, end it or give this one a name of its own (-n): %s",
                self._state.hostname,
                exc,
            )
        if self._mingles:
            self._say_hello()

    def _say_hello(self) -> None:
        key = new_id()
        hellos = self._mail.reply_box(key)
        hellos.ring(self._state.intake)
        try:
            hellos.open(_OPEN_WAIT_S)
        except OperationalError as exc:
            logger.warning("No other worker could be asked which tasks are revoked: %s", exc)
            hellos.close(_CLOSE_WAIT_S)
            return
        state = self._state
        revoked = list(state.loop.revoked)
        asked = question("hello", {"from_node": state.hostname, "revoked": revoked})
        address = {"exchange": self._mail.reply_exchange, "routing_key": key}
        self._mail.post(self._box, {**asked, "ticket": new_id(), "reply_to": address}, _MINGLE_S)
        self._hellos = hellos
        self._hellos_end_s = time.monotonic() + _MINGLE_S

    def tend(self) -> None:
        """Do what was asked meanwhile."""
        for letter in self._box.take(_MAX_LETTERS):
            asked = self._mail.read(letter)
            if asked is not None:
                self._hear(asked)
        if self._hellos is not None:
            self._mingle(self._hellos)

    def _mingle(self, hellos: Mailbox) -> None:
        for letter in hellos.take(_MAX_LETTERS):
            for node, reply in (self._mail.read(letter) or {}).items():
                if isinstance(reply, dict):
                    logger.info("sync with %s", node)
                    self._state.loop.revoke(_ids(reply.get("revoked")))
                    self._mail.clock.adjust(reply.get("clock"))
        if time.monotonic() >= self._hellos_end_s:
            self._hellos = None
            hellos.close(_CLOSE_WAIT_S)

    def _hear(self, asked: dict[str, Any]) -> None:
        try:
            if not self._is_meant(asked):
                return
            reply = self._do(asked.get("method"), asked.get("arguments") or {})
            address = asked.get("reply_to")
            if address:
                self._answer(reply, address, asked.get("ticket"))
        except WorkerShutdown:
            raise
        except Exception as exc:
            logger.error("Control message dropped: %r", exc, exc_info=True)  # noqa: G201

    def _is_meant(self, asked: dict[str, Any]) -> bool:
        hostname = self._state.hostname
        destination = asked.get("destination")
        if destination:
            return hostname in destination
        pattern, matcher = asked.get("pattern"), asked.get("matcher")
        if not (pattern and matcher):
            return True
        if matcher == "glob":
            return fnmatch.fnmatch(hostname, pattern)
        if matcher == "pcre":
            return re.match(pattern, hostname) is not None
        logger.error("Control message dropped: its matcher %r is not glob or pcre", matcher)
        return False

    def _do(self, method: Any, arguments: dict[str, Any]) -> Any:
        logger.debug("control: %s(%s)", method, arguments)
        command = Panel.data.get(method)
        if command is None:
            logger.error("There is no control command %r here; the message is dropped", method)
            return {"error": repr(KeyError(method))}
        try:
            return command(self._state, **arguments)
        except WorkerShutdown:
            raise
        except Exception as exc:
            logger.error("Control command %s failed: %r", method, exc, exc_info=True)  # noqa: G201
            return {"error": repr(exc)}

    def _answer(self, reply: Any, address: Any, ticket: Any) -> None:
        hostname = self._state.hostname
        try:
            self._mail.answer(self._box, hostname, reply, address, ticket)
        except EncodeError as exc:
            logger.warning("The reply to a control message cannot be encoded: %s", exc)
            self._mail.answer(self._box, hostname, {"error": str(exc)}, address, ticket)

    def close(self) -> None:
        """Listen no more."""
        for box in (self._hellos, self._box):
            if box is not None:
                box.close(_CLOSE_WAIT_S)


def _ids(revoked: Any) -> list[str]:
    return [one for one in revoked or () if isinstance(one, str)]
