"""Hears events, and hands each to its handler."""

from __future__ import annotations

import logging
import time
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from celeriac import serialization
from celeriac._current import app_or_default
from celeriac.app.events import inbox
from celeriac.events.event import get_exchange
from celeriac.exceptions import ContentDisallowed, DecodeError, ImproperlyConfigured
from celeriac.nodenames import new_id
from celeriac.routing import Queue
from celeriac.timestamps import adjust_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ("EventReceiver",)

logger = logging.getLogger("celery.events")

#: Clients do not take part in the logical clock: their events come before ours.
CLIENT_CLOCK_SKEW = -1
_OPEN_WAIT_S = 10.0
_CLOSE_WAIT_S = 2.0
_MAX_LETTERS = 256
#: How long it may take until somebody who set `should_stop` is heard.
_SLICE_S = 1.0


class EventReceiver:
    """Hears events from now on: ``with app.connection() as c: app.events.Receiver(c).capture()``.

    Args:
        channel: A connection, or a channel of one; the application's broker where it is None.
        handlers: Functions by the type of events; ``*`` is for all others.
        routing_key: Which events; ``#`` are all, ``worker.#`` those of workers.
        node_id: Part of the queue's name.
        app: The application.
        queue_prefix: Of the queue's name; by default the setting, as with the following.
        accept: Serializers that are accepted; by default that of events, and json.
        queue_ttl: Seconds an event waits at most.
        queue_expires: Seconds after which the queue goes without a reader.
        queue_exclusive: Whether only this connection may use it.
        queue_durable: Whether it outlives the broker.

    Attributes:
        should_stop: Set it to end `capture`.

    Raises:
        ImproperlyConfigured: A queue cannot be exclusive and durable.
    """

    app: Any = None

    def __init__(  # noqa: PLR0913, PLR0917 - Celery's signature
        self,
        channel: Any,
        handlers: Mapping[str, Callable[[dict[str, Any]], Any]] | None = None,
        routing_key: str = "#",
        node_id: str | None = None,
        app: Any = None,
        queue_prefix: str | None = None,
        accept: Iterable[str] | None = None,
        queue_ttl: float | None = None,
        queue_expires: float | None = None,
        queue_exclusive: bool | None = None,  # noqa: FBT001
        queue_durable: bool | None = None,  # noqa: FBT001
    ) -> None:
        self.app = app_or_default(app or self.app)
        conf = self.app.conf
        self.channel = channel
        self.handlers: Mapping[str, Any] = {} if handlers is None else handlers
        self.routing_key = routing_key
        self.node_id = node_id or new_id()
        self.queue_prefix = queue_prefix or conf.event_queue_prefix
        self.exchange = get_exchange(
            self.connection or self.app.connection_for_write(), conf.event_exchange
        )
        durable = conf.event_queue_durable if queue_durable is None else queue_durable
        exclusive = conf.event_queue_exclusive if queue_exclusive is None else queue_exclusive
        if exclusive and durable:
            message = (
                "A queue of events cannot be both exclusive and durable: set one of "
                "event_queue_exclusive and event_queue_durable to False."
            )
            raise ImproperlyConfigured(message)
        self.queue = Queue(
            f"{self.queue_prefix}.{self.node_id}",
            exchange=self.exchange,
            routing_key=self.routing_key,
            auto_delete=not durable,
            durable=durable,
            exclusive=exclusive,
            message_ttl=conf.event_queue_ttl if queue_ttl is None else queue_ttl,
            expires=conf.event_queue_expires if queue_expires is None else queue_expires,
        )
        self.clock = self.app.control.mailbox.clock
        self.adjust_clock = self.clock.adjust
        self.forward_clock = self.clock.forward
        self.accept = {conf.event_serializer, "json"} if accept is None else accept
        self.should_stop = False

    @property
    def connection(self) -> Any:
        """The connection that was given; None for the application's broker."""
        return getattr(self.channel, "connection", None) or self.channel

    def process(self, type: str, event: dict[str, Any]) -> None:  # noqa: A002 - Celery's name
        """Hand an event to its handler.

        Args:
            type: Its type.
            event: The event.
        """
        handler = self.handlers.get(type) or self.handlers.get("*")
        if handler is not None:
            handler(event)

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:  # noqa: ARG002, N803
        """Make the consumer of somebody who has another way to consume.

        Args:
            Consumer: Makes it, with kombu's arguments.
            channel: Ignored.

        Returns:
            One consumer.
        """
        return [
            Consumer(
                queues=[self.queue], callbacks=[self._receive], no_ack=True, accept=self.accept
            )
        ]

    def on_consume_ready(
        self,
        connection: Any,  # noqa: ARG002 - Celery's signature
        channel: Any,
        consumers: Any,  # noqa: ARG002
        wakeup: bool = True,  # noqa: FBT001, FBT002
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Do what is to be done once events are heard.

        Args:
            connection: Ignored.
            channel: Ignored.
            consumers: Ignored.
            wakeup: Whether workers are asked for a sign of life.
            **kwargs: Ignored.
        """
        if wakeup:
            self.wakeup_workers(channel=channel)

    def wakeup_workers(self, channel: Any = None) -> None:  # noqa: ARG002 - Celery's signature
        """Ask all workers for a heartbeat.

        Args:
            channel: Ignored.
        """
        self.app.control.broadcast("heartbeat")

    def itercapture(
        self,
        limit: int | None = None,
        timeout: float | None = None,
        wakeup: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
    ) -> Iterator[None]:
        """Hear events until somebody sets `should_stop`.

        Args:
            limit: How many messages to hear; None has no end.
            timeout: Seconds without any after which to give up.
            wakeup: Whether workers are asked for a sign of life first.

        Yields:
            Nothing, once for each message.

        Raises:
            TimeoutError: Nothing came for so long.
        """  # noqa: DOC502 - by what it calls
        box = inbox(self.app, self.queue, self.connection)
        accept = serialization.accepted(self.accept)
        box.open(_OPEN_WAIT_S)
        try:
            self.on_consume_ready(None, None, [], wakeup=wakeup)
            for heard, letter in enumerate(self._letters(box, timeout), 1):
                self._hear(letter, accept)
                yield
                if heard == limit:
                    return
        finally:
            box.close(_CLOSE_WAIT_S)

    def _letters(self, box: Any, timeout_s: float | None) -> Iterator[Any]:
        quiet_since_s = time.monotonic()
        while not self.should_stop:
            left_s = _SLICE_S
            if timeout_s is not None:
                left_s = min(left_s, quiet_since_s + timeout_s - time.monotonic())
                if left_s <= 0:
                    message = f"No event came within {timeout_s:g}s."
                    raise TimeoutError(message)
            letters = box.receive(_MAX_LETTERS, left_s)
            if letters:
                yield from letters
                quiet_since_s = time.monotonic()

    def capture(
        self,
        limit: int | None = None,
        timeout: float | None = None,
        wakeup: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
    ) -> None:
        """Hear events; see `itercapture`.

        Args:
            limit: How many messages to hear; None has no end.
            timeout: Seconds without any after which a TimeoutError is raised.
            wakeup: Whether workers are asked for a sign of life first.
        """
        for _ in self.itercapture(limit, timeout, wakeup):
            pass

    def event_from_message(
        self,
        body: dict[str, Any],
        localize: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        now: Callable[[], float] = time.time,  # noqa: TID251 - Celery's signature
        tzfields: Callable[[Any], Any] = itemgetter("utcoffset", "timestamp"),
        adjust_timestamp: Callable[[float, float], float] = adjust_timestamp,
        CLIENT_CLOCK_SKEW: int = CLIENT_CLOCK_SKEW,  # noqa: N803 - Celery's signature
    ) -> tuple[str, dict[str, Any]]:
        """Complete an event that came.

        Args:
            body: The event.
            localize: Whether its time is moved into our zone.
            now: The time.
            tzfields: Takes offset and time out of it.
            adjust_timestamp: Moves the time.
            CLIENT_CLOCK_SKEW: How far clients are behind.

        Returns:
            Its type, and the event.
        """
        kind: str = body["type"]
        if kind == "task-sent":
            clock = body["clock"] = (self.clock.value or 1) + CLIENT_CLOCK_SKEW
            self.adjust_clock(clock)
        elif "clock" in body:
            self.adjust_clock(body["clock"])
        else:
            body["clock"] = self.forward_clock()
        if localize and "utcoffset" in body and "timestamp" in body:
            offset_h, timestamp = tzfields(body)
            body["timestamp"] = adjust_timestamp(timestamp, offset_h)
        body["local_received"] = now()
        return kind, body

    def _hear(self, letter: tuple[dict[str, Any], str, bytes], accept: Any) -> None:
        _, content_type, raw = letter
        try:
            body = serialization.loads(raw, content_type, "binary", accept)
        except (ContentDisallowed, DecodeError) as exc:
            logger.error("Cannot decode an event: %s", exc)  # noqa: TRY400 - said in full
            return
        self._receive(body, None)

    def _receive(self, body: Any, message: Any) -> None:  # noqa: ARG002 - a consumer's callback
        for event in body if isinstance(body, list) else [body]:
            if isinstance(event, dict) and isinstance(event.get("type"), str):
                self.process(*self.event_from_message(event))
            else:
                logger.error("An event without a type is dropped: %.200r", event)
