"""The objects Celery's users hold connections with: `Connection`, its channel, `Producer`, pools.

The process keeps one connection to a broker by itself, shared by all threads; what is here lends it
out under kombu's names.

Source:
    kombu/connection.py, kombu/messaging.py, kombu/transport/virtual/base.py (names, arguments).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from celeriac import _native, broker
from celeriac.app.producing import Producer
from celeriac.exceptions import OperationalError
from celeriac.retry import delays_s
from celeriac.routing import Exchange, Queue
from celeriac.settings.tls import tls_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Self

__all__ = (
    "Channel",
    "Connection",
    "ConnectionPool",
    "ProducerPool",
    "QueueDeclared",
    "url_of_parts",
)

CONNECT_WAIT_S = 4.0
CHANNEL_WAIT_S = 30.0

_USE_INSTEAD = {
    "Consumer": "a task, which a worker executes",
    "SimpleQueue": "a task, or a client library of the broker",
    "SimpleBuffer": "a task, or a client library of the broker",
    "drain_events": "`celeriac worker`",
    "heartbeat_check": "nothing: heartbeats are sent by themselves",
    "transport": "`Connection.as_uri`",
    "get_transport_cls": "`Connection.as_uri`",
    "Pool": "`app.pool`",
    "ChannelPool": "`Connection.channel`",
    "register_with_event_loop": "nothing: there is no event loop to register with",
    "basic_get": "`celeriac worker`",
    "basic_consume": "`celeriac worker`",
    "basic_publish": "`Producer.publish`",
    "queue_delete": "`purge`, or the broker's own tools",
    "queue_unbind": "the broker's own tools",
    "exchange_delete": "the broker's own tools",
}


def _elsewhere(owner: object, name: str) -> Exception:
    kind = type(owner).__name__
    if name in _USE_INSTEAD:
        return NotImplementedError(
            f"{kind}.{name} is not in celeriac. Use instead: {_USE_INSTEAD[name]}."
        )
    return AttributeError(f"{kind!r} object has no attribute {name!r}")


def url_of_parts(
    hostname: str | None,
    userid: str | None = None,
    password: str | None = None,
    virtual_host: str | None = None,
    port: int | str | None = None,
    transport: str | None = None,
) -> str | None:
    """Write an address that was given in parts as a URL.

    Args:
        hostname: A host, or a URL already.
        userid: User.
        password: Password.
        virtual_host: Virtual host, or number of the database.
        port: Port.
        transport: Scheme; ``amqp`` by default.

    Returns:
        The URL; None where nothing was given.
    """
    if hostname is not None and "://" in hostname:
        return hostname
    if not any((hostname, userid, password, virtual_host, port, transport)):
        return None
    secret = f":{quote(password, safe='')}" if password else ""
    user = f"{quote(userid or '', safe='')}{secret}@" if userid or password else ""
    place = f"{hostname or 'localhost'}:{port}" if port else hostname or "localhost"
    path = f"/{quote(virtual_host, safe='')}" if virtual_host else "/"
    return f"{transport or 'amqp'}://{user}{place}{path}"


class Connection:
    """Stands for a connection to a broker.

    Args:
        hostname: The broker's URL, or its host.
        userid: User, where `hostname` is no URL. The following likewise.
        password: Password.
        virtual_host: Virtual host.
        port: Port.
        transport: Scheme of the URL.
        transport_options: As in `broker_transport_options`.
        connect_timeout: Seconds each try to connect may take.
        **options: ``ssl`` as in `broker_use_ssl`; kombu's others have no meaning here.

    """

    connection_errors = recoverable_connection_errors = (OperationalError,)
    channel_errors = recoverable_channel_errors = (OperationalError,)

    def __init__(
        self,
        hostname: str | None = "localhost",
        userid: str | None = None,
        password: str | None = None,
        virtual_host: str | None = None,
        port: int | str | None = None,
        transport: str | None = None,
        transport_options: Mapping[str, Any] | None = None,
        connect_timeout: float | None = None,
        **options: Any,
    ) -> None:
        url = url_of_parts(hostname, userid, password, virtual_host, port, transport)
        self.url = url or broker.CELERY_DEFAULT_URL
        self.transport_options = dict(transport_options or {}) | tls_options(
            "ssl", options.get("ssl")
        )
        self.connect_timeout = connect_timeout or CONNECT_WAIT_S
        self._is_connected = False
        self._channel: Channel | None = None

    @property
    def publisher(self) -> _native.Publisher:
        """The process's own connection to this broker."""
        return broker.publisher_for(self.url, self.transport_options)

    def as_uri(
        self,
        include_password: bool = False,  # noqa: FBT001, FBT002 - kombu's signature
        mask: str = "**",
    ) -> str:
        """Return the URL.

        Args:
            include_password: Whether to show it.
            mask: What stands for it.

        Returns:
            The URL.
        """
        if include_password:
            return self.url
        hidden: str = _native.redacted(self.url)
        return hidden if mask == "**" else hidden.replace(":**@", f":{mask}@")

    @property
    def connected(self) -> bool:
        """Whether the broker has answered, and the connection was not released since."""
        return self._is_connected

    def connect(self) -> Self:
        """Reach the broker, trying once.

        Returns:
            The connection.

        Raises:
            OperationalError: It cannot be reached, or refuses.
        """  # noqa: DOC502 - by the Rust module
        self.publisher.depth(_PROBED_QUEUE, float(self.connect_timeout))
        self._is_connected = True
        return self

    def ensure_connection(
        self,
        errback: Callable[[Exception, float], Any] | None = None,
        max_retries: int | None = None,
        interval_start: float = 2,
        interval_step: float = 2,
        interval_max: float = 30,
        callback: Callable[[], Any] | None = None,
        reraise_as_library_errors: bool = True,  # noqa: ARG002, FBT001, FBT002
        timeout: float | None = None,
    ) -> Self:
        """Reach the broker, trying again until it answers.

        Args:
            errback: Called with the error and the seconds until the next try.
            max_retries: How often to try again; None and 0 mean without end.
            interval_start: Seconds before the second try.
            interval_step: Seconds by which each wait is longer than the last.
            interval_max: Seconds the longest wait takes.
            callback: Called before each further try.
            reraise_as_library_errors: Ignored: the error is always `OperationalError`.
            timeout: Seconds after which to give up.

        Returns:
            The connection.

        Raises:
            OperationalError: The tries are used up.
        """
        waits = delays_s({
            "max_retries": max_retries or None,
            "interval_start": interval_start,
            "interval_step": interval_step,
            "interval_max": interval_max,
        })  # fmt: skip
        give_up_at = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return self.connect()
            except OperationalError as exc:
                wait_s = next(waits, None)
                if wait_s is None or (give_up_at and time.monotonic() + wait_s > give_up_at):
                    raise
                if errback is not None:
                    errback(exc, wait_s)
                else:
                    broker.logger.warning("%s Trying again in %g seconds.", exc, wait_s)
            time.sleep(wait_s)
            if callback is not None:
                callback()

    def channel(self) -> Channel:
        """Open a channel.

        Returns:
            The channel; also a context manager.
        """
        return Channel(self)

    @property
    def default_channel(self) -> Channel:
        """A channel, opened when first asked for."""
        if self._channel is None:
            self._channel = self.channel()
        return self._channel

    def Producer(self, channel: Any = None, *args: Any, **kwargs: Any) -> Producer:  # noqa: N802 - kombu's name
        """Make a producer of this connection.

        Returns:
            The producer.
        """
        return Producer(channel or self, *args, **kwargs)

    def clone(self, **_options: Any) -> Connection:
        """Return another connection to the same broker.

        Returns:
            The connection.
        """
        return Connection(
            self.url,
            transport_options=self.transport_options,
            connect_timeout=self.connect_timeout,
        )

    def release(self) -> None:
        """Give it back; the process keeps its connection."""
        self._is_connected = False
        self._channel = None

    close = release

    def __getattr__(self, name: str) -> Any:
        raise _elsewhere(self, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Connection):
            return NotImplemented
        return (self.url, self.transport_options) == (other.url, other.transport_options)

    def __hash__(self) -> int:
        return hash(self.url)

    def __repr__(self) -> str:
        return f"<Connection: {self.as_uri()}>"


#: Counting a queue asks the broker for an answer and changes nothing, whether there is one or not.
_PROBED_QUEUE = "celery"


class QueueDeclared(NamedTuple):
    """What the broker said of a queue."""

    queue: str
    message_count: int
    consumer_count: int | None = None


class Channel:
    """Declares, counts and empties queues.

    Args:
        connection: Its connection.

    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._exchanges: dict[str, Exchange] = {}
        self._queues: dict[str, Queue] = {}

    @property
    def publisher(self) -> _native.Publisher:
        """The process's own connection to this broker."""
        return self.connection.publisher

    def exchange_declare(
        self,
        exchange: str,
        type: str = "direct",  # noqa: A002 - kombu's name
        **options: Any,
    ) -> None:
        """Remember an exchange; it is declared with the first queue bound to it.

        Args:
            exchange: Its name.
            type: Its type.
            **options: ``durable`` (True), ``auto_delete``, ``passive``, ``arguments``.
        """
        self._exchanges[exchange] = Exchange(exchange, type, **options)

    def queue_declare(
        self,
        queue: str = "",
        passive: bool = False,  # noqa: FBT001, FBT002 - kombu's signature
        durable: bool = True,  # noqa: FBT001, FBT002
        exclusive: bool = False,  # noqa: ARG002, FBT001, FBT002
        auto_delete: bool = False,  # noqa: FBT001, FBT002
        nowait: bool = False,  # noqa: ARG002, FBT001, FBT002
        arguments: Mapping[str, Any] | None = None,
    ) -> QueueDeclared:
        """Declare a queue, or count its messages.

        Args:
            queue: Its name.
            passive: Only count.
            durable: Whether it outlives the broker.
            exclusive: Ignored: connections are shared.
            auto_delete: Whether it goes with its last consumer.
            nowait: Ignored.
            arguments: Those of the broker (``x-max-priority``).

        Returns:
            Its name and how many messages wait; 0 if there is no such queue. The number of
            consumers is not known.
        """
        if not passive:
            made = self._queues[queue] = Queue(
                queue,
                routing_key=queue,
                durable=durable,
                auto_delete=auto_delete,
                queue_arguments=dict(arguments or {}),
            )
            self.publisher.declare(made.as_spec(), CHANNEL_WAIT_S)
        return QueueDeclared(queue, self.publisher.depth(queue, CHANNEL_WAIT_S))

    def queue_bind(
        self,
        queue: str,
        exchange: str = "",
        routing_key: str = "",
        arguments: Mapping[str, Any] | None = None,
        **_options: Any,
    ) -> None:
        """Bind a queue to an exchange; both are declared, as they were here, or durable.

        Args:
            queue: The queue.
            exchange: The exchange; as it was declared here, or a ``direct`` one.
            routing_key: The key.
            arguments: What a headers exchange compares (RabbitMQ).
        """
        known = self._queues.get(queue) or Queue(queue)
        bound = Queue(
            queue,
            self._exchanges.get(exchange) or exchange,
            routing_key,
            durable=known.durable,
            auto_delete=known.auto_delete,
            queue_arguments=known.queue_arguments,
            binding_arguments=dict(arguments or {}),
        )
        self.publisher.declare(bound.as_spec(), CHANNEL_WAIT_S)

    def queue_purge(self, queue: str, **_options: Any) -> int:
        """Delete the messages that wait in a queue.

        Returns:
            How many there were.
        """
        return self.publisher.purge(queue, CHANNEL_WAIT_S)

    def close(self) -> None:
        """Give it back."""

    def __getattr__(self, name: str) -> Any:
        raise _elsewhere(self, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class ConnectionPool:
    """Stands for a pool of connections; there is one, shared by all threads.

    Args:
        app: The application.

    """

    limit: int | None = None

    def __init__(self, app: Any) -> None:
        self.app = app

    def acquire(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ARG002, FBT001, FBT002 - kombu's signature
        """Take the connection.

        Returns:
            The connection; also a context manager.
        """
        return self.app.connection_for_write()

    def release(self, resource: Any) -> None:
        """Give it back."""

    def force_close_all(self) -> None:
        """Nothing to close: the process's connection is closed when it ends."""


class ProducerPool(ConnectionPool):
    """Stands for a pool of producers."""

    def acquire(self, block: bool = True, timeout: float | None = None) -> Producer:  # noqa: ARG002, FBT001, FBT002 - kombu's signature
        """Take a producer.

        Returns:
            The producer; also a context manager.
        """
        return Producer(self.app.connection_for_write())
