"""Letters of remote control: what a client asks all workers, and what they answer.

Source:
    kombu 5.7, pidbox.py (names, fields and headers of the messages).
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from celeriac import _native, broker, serialization
from celeriac.exceptions import ContentDisallowed, DecodeError
from celeriac.nodenames import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from celeriac._protocols import App

logger = logging.getLogger("celeriac.control")

#: A worker's answers and a client's questions leave at once, or not at all.
TRANSIENT = 1
PERSISTENT = 2
_CLOSE_WAIT_S = 2.0
_MAX_LETTERS = 256


class LamportClock:
    """Counts what happened before: the ``clock`` header of every letter."""

    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.Lock()

    def forward(self) -> int:
        """Count an event of our own.

        Returns:
            The new value.
        """
        with self._lock:
            self.value += 1
            return self.value

    def adjust(self, other: Any) -> int:
        """Take note of somebody else's count; what is no number is passed over.

        Args:
            other: The value in a letter.

        Returns:
            The new value.
        """
        with self._lock:
            if isinstance(other, int):
                self.value = max(self.value, other)
            self.value += 1
            return self.value


class Mailbox:
    """Sends questions to workers and collects their answers.

    Args:
        app: The application.

    Attributes:
        namespace: The setting ``control_exchange``.
        clock: Counts the letters of this application in this process.
    """

    def __init__(self, app: App) -> None:
        conf = app.conf
        self.app = app
        self.namespace: str = conf.control_exchange
        self.serializer: str = conf.task_serializer
        self.clock = LamportClock()
        self._sender: tuple[Any, _native.Mailbox] | None = None
        self._flushes_at_exit = False
        self._lock = threading.Lock()

    # Boxes -----------------------------------------------------------------------------------

    def node_box(self, hostname: str) -> _native.Mailbox:
        """Make a worker's box; nothing is opened.

        Args:
            hostname: The node name.

        Returns:
            The box: it hears what is asked of all workers.
        """
        name = f"{hostname}.{self.namespace}.pidbox"
        url, options = broker.read_url(self.app)
        return self._box(url, options, name, self.exchange, "fanout", "")

    def reply_box(self, key: str) -> _native.Mailbox:
        """Make a box for answers; nothing is opened.

        Args:
            key: Its routing key, in `reply_exchange`.

        Returns:
            The box.
        """
        name = f"{key}.{self.reply_exchange}"
        url, options = broker.write_url(self.app)
        return self._box(url, options, name, self.reply_exchange, "direct", key)

    def _box(
        self, url: str, options: dict[str, Any], name: str, exchange: str, kind: str, key: str
    ) -> _native.Mailbox:
        conf = self.app.conf
        limits = {
            "x-expires": _whole_ms(conf.control_queue_expires),
            "x-message-ttl": _whole_ms(conf.control_queue_ttl),
        }
        queue = {
            "name": name,
            "exchange": exchange,
            "exchange_type": kind,
            "exchange_options": {"durable": False},
            "routing_key": key,
            "durable": conf.control_queue_durable,
            "auto_delete": not conf.control_queue_durable,
            "arguments": {name: value for name, value in limits.items() if value is not None},
        }
        return _native.Mailbox(url, options, queue, is_exclusive=conf.control_queue_exclusive)

    @property
    def exchange(self) -> str:
        """The exchange of questions."""
        return f"{self.namespace}.pidbox"

    @property
    def reply_exchange(self) -> str:
        """The exchange of answers."""
        return f"reply.{self.namespace}.pidbox"

    # Asking ----------------------------------------------------------------------------------

    def tell(self, question: Mapping[str, Any], timeout: float | None = None) -> None:
        """Ask something of workers that nobody waits for.

        Args:
            question: See `question`.
            timeout: Seconds after which the answer would be of no use.

        An OperationalError says that the broker did not take it.
        """
        self.post(self.sending_box(), question, timeout, self._patience_s)

    def sending_box(self) -> _native.Mailbox:
        """Give the box that sends what nobody answers: questions and events.

        Returns:
            One box, and connection, for as long as process and broker stay the same.
        """
        state = (os.getpid(), broker.write_url(self.app))
        with self._lock:
            if self._sender is None or self._sender[0] != state:
                self._sender = (state, self.reply_box(new_id()))
                if not self._flushes_at_exit:
                    self._flushes_at_exit = True
                    atexit.register(self.flush)
            return self._sender[1]

    def flush(self, wait_s: float = _CLOSE_WAIT_S) -> None:
        """Wait until what this process has sent is with the broker.

        Args:
            wait_s: Longest wait, in seconds; what is left then is lost.
        """
        with self._lock:
            sender, self._sender = self._sender, None
        if sender is not None and sender[0][0] == os.getpid():
            sender[1].close(wait_s)

    def ask(
        self,
        question: dict[str, Any],
        *,
        timeout: float,
        limit: int | None = None,
        callback: Callable[[Any], Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Ask something of workers, and collect what they answer.

        Args:
            question: See `question`.
            timeout: Seconds to wait for the next answer.
            limit: How many answers are enough; None: all that come.
            callback: Called with each answer.

        Returns:
            The answers, each ``{node: value}``.
        """
        key, ticket = new_id(), new_id()
        box = self.reply_box(key)
        try:
            box.open(self._patience_s)
            address = {"exchange": self.reply_exchange, "routing_key": key}
            self.post(
                box, {**question, "ticket": ticket, "reply_to": address}, timeout, self._patience_s
            )
            return self._collect(box, ticket, timeout, limit, callback)
        finally:
            box.close(_CLOSE_WAIT_S)

    def _collect(
        self,
        box: _native.Mailbox,
        ticket: str,
        timeout: float,
        limit: int | None,
        callback: Callable[[Any], Any] | None,
    ) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        while limit is None or len(answers) < limit:
            letters = box.receive(_MAX_LETTERS, timeout)
            if not letters:
                break
            for letter in letters:
                answer = self.read(letter)
                if answer is None or letter[0].get("ticket", ticket) != ticket:
                    continue
                if callback is not None:
                    callback(answer)
                answers.append(answer)
        return answers

    def post(
        self,
        box: _native.Mailbox,
        question: Mapping[str, Any],
        timeout: float | None = None,
        wait_s: float | None = None,
    ) -> None:
        """Send a question.

        Args:
            box: Sends it.
            question: See `question`.
            timeout: Seconds after which its answers are of no use.
            wait_s: Seconds the broker may take; None: without waiting.
        """
        headers = {
            "clock": self.clock.forward(),
            "expires": time.time_ns() / 1e9 + timeout if timeout else 0,
        }
        content_type, encoding, body = serialization.dumps(
            question, self.serializer, "control command"
        )
        properties = _properties(content_type, encoding, PERSISTENT)
        box.send(headers, properties, body, self.exchange, "fanout", "", wait_s)

    def answer(
        self, box: _native.Mailbox, node: str, value: Any, address: Mapping[str, Any], ticket: Any
    ) -> None:
        """Answer a question, without waiting.

        Args:
            box: The worker's.
            node: The worker's node name.
            value: The answer.
            address: Where to: the question's ``reply_to``.
            ticket: The question's.
        """
        headers = {"ticket": ticket, "clock": self.clock.forward()}
        content_type, encoding, body = serialization.dumps(
            {node: value}, self.serializer, "control reply"
        )
        properties = _properties(content_type, encoding, TRANSIENT)
        exchange, key = str(address["exchange"]), str(address["routing_key"])
        box.send(headers, properties, body, exchange, "direct", key)

    def read(self, letter: tuple[dict[str, Any], str, bytes]) -> dict[str, Any] | None:
        """Read a letter.

        Args:
            letter: Headers, content type, body.

        Returns:
            Its object; None where it is none: that is logged, and the letter dropped.
        """
        headers, content_type, body = letter
        self.clock.adjust(headers.get("clock") or 0)
        accept = serialization.accepted(self.app.conf.accept_content)
        try:
            value = serialization.loads(body, content_type, "binary", accept)
        except (ContentDisallowed, DecodeError) as exc:
            logger.error("Cannot decode control message: %s", exc)  # noqa: TRY400 - said in full
            return None
        if not isinstance(value, dict):
            logger.error("A control message is no object but %s; it is dropped", type(value))
            return None
        return value

    @property
    def _patience_s(self) -> float:
        return float(self.app.conf.broker_connection_timeout or 4.0)


def question(
    method: str,
    arguments: Mapping[str, Any],
    destination: Sequence[str] | None = None,
    pattern: str | None = None,
    matcher: str | None = None,
) -> dict[str, Any]:
    """Compose what is asked of workers.

    Args:
        method: The command.
        arguments: Its arguments.
        destination: The nodes that are to answer; None for all.
        pattern: Matches names of nodes.
        matcher: How: ``glob`` or ``pcre``.

    Returns:
        The object that goes on the wire.
    """
    return {
        "method": method,
        "arguments": dict(arguments),
        "destination": destination,
        "pattern": pattern,
        "matcher": matcher,
    }


def _properties(content_type: str, encoding: str, delivery_mode: int) -> dict[str, Any]:
    return {
        "content_type": content_type,
        "content_encoding": encoding,
        "delivery_mode": delivery_mode,
        "priority": 0,
    }


def _whole_ms(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)
