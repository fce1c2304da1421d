"""Sends events: at once, or those of a group in lists."""

from __future__ import annotations

import os
import threading
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, ClassVar

from celeriac import serialization
from celeriac._current import app_or_default
from celeriac.events.event import Event, get_exchange, group_from
from celeriac.nodenames import anon_nodename
from celeriac.timestamps import utcoffset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from typing_extensions import Self

__all__ = ("EventDispatcher",)


class EventDispatcher:
    """Sends events of one node to whoever listens. Nothing waits for the broker.

    What the broker does not take at once waits in a bounded queue of the Rust module, also while
    the connection is lost; what finds no room there is dropped, and the log counts it.

    Args:
        connection: Whose broker it is; by default the application's.
        hostname: The node that speaks; by default this process.
        enabled: Whether anything is sent.
        channel: Stands for its connection.
        buffer_while_offline: Ignored: see above.
        app: The application.
        serializer: By default the setting ``event_serializer``.
        groups: The only groups to send events of; all where there are none.
        delivery_mode: 1 transient, 2 persistent.
        buffer_group: Groups whose events are sent in lists.
        buffer_limit: How many events a list has at most.
        on_send_buffered: Called when an event was put into a list that is not full.
    """

    DISABLED_TRANSPORTS: ClassVar[set[str]] = set()

    app: Any = None
    on_enabled: Any = None
    on_disabled: Any = None

    def __init__(  # noqa: PLR0913, PLR0917 - Celery's signature
        self,
        connection: Any = None,
        hostname: str | None = None,
        enabled: bool = True,  # noqa: FBT001, FBT002
        channel: Any = None,
        buffer_while_offline: bool = True,  # noqa: FBT001, FBT002
        app: Any = None,
        serializer: str | None = None,
        groups: Iterable[str] | None = None,
        delivery_mode: int = 1,
        buffer_group: Iterable[str] | None = None,
        buffer_limit: int = 24,
        on_send_buffered: Callable[[], Any] | None = None,
    ) -> None:
        self.app = app_or_default(app or self.app)
        conf = self.app.conf
        self.connection = connection
        self.channel = channel
        self.hostname = hostname or anon_nodename()
        self.buffer_while_offline = buffer_while_offline
        self.buffer_group = frozenset(buffer_group or ())
        self.buffer_limit = buffer_limit
        self.on_send_buffered = on_send_buffered
        self.serializer: str = serializer or conf.event_serializer
        self.groups = set(groups or ())
        self.delivery_mode = delivery_mode
        self.mutex = threading.Lock()
        self.enabled = False
        self.on_enabled = set()
        self.on_disabled = set()
        self.headers = {"hostname": self.hostname}
        self.pid = os.getpid()
        self.clock = self.app.control.mailbox.clock
        self.exchange = get_exchange(
            connection or self.app.connection_for_write(), conf.event_exchange
        )
        #: Sends them; None stands for the one that the process has for all.
        self.box: Any = None
        self._buffers: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._outbound_buffer: deque[tuple[Any, str]] = deque()
        if enabled:
            self.enable()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def enable(self) -> None:
        """Send from now on."""
        self.enabled = True
        for callback in self.on_enabled:
            callback()

    def disable(self) -> None:
        """Send nothing from now on."""
        if self.enabled:
            self.enabled = False
            self.close()
            for callback in self.on_disabled:
                callback()

    def send(
        self,
        type: str,  # noqa: A002 - Celery's name
        blind: bool = False,  # noqa: FBT001, FBT002
        utcoffset: Callable[[], float] = utcoffset,
        retry: bool = False,  # noqa: ARG002, FBT001, FBT002 - the Rust module tries again
        retry_policy: Mapping[str, Any] | None = None,  # noqa: ARG002
        Event: Callable[..., dict[str, Any]] = Event,  # noqa: N803
        **fields: Any,
    ) -> None:
        """Send an event, or put it into its group's list.

        Args:
            type: Its type: group, dash, name.
            blind: Leave the logical clock alone.
            utcoffset: The hours that local time is behind UTC.
            retry: Ignored: what fails for a while is tried again.
            retry_policy: Ignored likewise.
            Event: Makes the event.
            **fields: What it says; the serializer must know their types.
        """
        if not self.enabled:
            return
        group = group_from(type)
        if self.groups and group not in self.groups:
            return
        event = self._prepare_event(type, fields, blind, Event, utcoffset)
        if group not in self.buffer_group:
            self._publish(event, type.replace("-", "."))
            return
        with self.mutex:
            waiting = self._buffers[group]
            waiting.append(event)
        if len(waiting) >= self.buffer_limit:
            self.flush()
        elif self.on_send_buffered is not None:
            self.on_send_buffered()

    def publish(
        self,
        type: str,  # noqa: A002 - Celery's name
        fields: Mapping[str, Any],
        producer: Any,  # noqa: ARG002 - the process has one connection to a broker
        blind: bool = False,  # noqa: FBT001, FBT002
        Event: Callable[..., dict[str, Any]] = Event,  # noqa: N803
        **kwargs: Any,  # noqa: ARG002 - retry and the like: see `send`
    ) -> None:
        """Send an event although nothing is enabled.

        Args:
            type: Its type.
            fields: What it says.
            producer: Ignored: the process has one connection to a broker.
            blind: Leave the logical clock alone.
            Event: Makes the event.
            **kwargs: Ignored: see `send`.
        """
        event = self._prepare_event(type, fields, blind, Event, utcoffset)
        self._publish(event, type.replace("-", "."))

    def _prepare_event(
        self,
        kind: str,
        fields: Mapping[str, Any],
        blind: bool,  # noqa: FBT001
        make: Callable[..., dict[str, Any]],
        offset_h: Callable[[], float],
    ) -> dict[str, Any]:
        clock = None if blind else self.clock.forward()
        return make(
            kind, hostname=self.hostname, utcoffset=offset_h(), pid=self.pid, clock=clock, **fields
        )

    def _publish(self, event: Any, routing_key: str) -> None:
        content_type, encoding, body = serialization.dumps(event, self.serializer, "event")
        properties = {
            "content_type": content_type,
            "content_encoding": encoding,
            "delivery_mode": self.delivery_mode,
            "priority": 0,
        }
        box = self.box or self.app.control.mailbox.sending_box()
        exchange = self.exchange
        box.announce(self.headers, properties, body, exchange.name, exchange.type, routing_key)

    def flush(self, errors: bool = True, groups: bool = True) -> None:  # noqa: FBT001, FBT002
        """Send what waits in lists.

        Args:
            errors: Send what `extend_buffer` took over.
            groups: Send the groups' lists.
        """
        if errors:
            while self._outbound_buffer:
                self._publish(*self._outbound_buffer.popleft())
        if groups:
            for group in list(self._buffers):
                with self.mutex:
                    events = self._buffers.pop(group, None)
                if events:
                    self._publish(events, f"{group}.multi")

    def extend_buffer(self, other: Any) -> None:
        """Take over what another dispatcher could not send.

        Args:
            other: The dispatcher.
        """
        self._outbound_buffer.extend(other._outbound_buffer)  # noqa: SLF001 - one of ours

    def close(self) -> None:
        """Send what waits in lists; the process's connection stays."""
        self.flush()

    @property
    def publisher(self) -> Any:
        """What sends the events."""
        return self.box

    @publisher.setter
    def publisher(self, box: Any) -> None:
        self.box = box
