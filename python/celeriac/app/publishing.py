"""Publishing many calls at once, and the objects that Celery's users hold connections with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import _native, broker
from celeriac.exceptions import OperationalError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

FLUSH_WAIT_S = 30.0


class PublishError(OperationalError):
    """Some calls could not be sent.

    Args:
        failures: Task ids and why each failed.

    """

    def __init__(self, failures: list[tuple[str, Exception]]) -> None:
        self.failures = dict(failures)
        shown = ", ".join(f"{task_id}: {exc}" for task_id, exc in failures[:3])
        more = f", and {len(failures) - 3} more" if len(failures) > len(failures[:3]) else ""
        super().__init__(f"{len(failures)} tasks could not be sent ({shown}{more})")


class BatchPublisher:
    """A window for many calls: each is handed over at once, and all are confirmed when it is left.

    ::

        with app.publisher() as publisher:
            for number in range(10_000):
                add.apply_async((number, 1), publisher=publisher)

    Args:
        app: The application.
        window: How many messages may be unconfirmed; a call waits while the window is full.

    """

    def __init__(self, app: Any, window: int = 4096) -> None:
        self.app = app
        self._window: _native.Window = broker.publisher(app).window(window)

    def publish(self, template: Any, args: Any, kwargs: Any, call: dict[str, Any]) -> None:
        """Hand a message over."""
        self._window.publish(template, args, kwargs, call, FLUSH_WAIT_S)

    def publish_parts(
        self,
        headers: Any,
        properties: Any,
        body: bytes,
        exchange: str,
        routing_key: str,
        declare: Any,
    ) -> None:
        """Hand a message over that was built in Python."""
        self._window.publish_parts(
            headers, properties, body, exchange, routing_key, declare, FLUSH_WAIT_S
        )

    @property
    def pending(self) -> int:
        """How many messages are not confirmed."""
        return self._window.pending

    def flush(self, wait_s: float = FLUSH_WAIT_S) -> None:
        """Wait until all messages are confirmed.

        Args:
            wait_s: Seconds.

        Raises:
            PublishError: Some could not be sent; it says which, by task id.
        """
        failures = self._window.flush(wait_s)
        if failures:
            raise PublishError(failures)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if exc is None:
            self.flush()
            return
        # The user's error comes first; what could not be sent is noted on it.
        failures = self._window.flush(FLUSH_WAIT_S)
        note = getattr(exc, "add_note", None)
        if failures and note is not None:
            note(str(PublishError(failures)))

    def close(self) -> None:
        """Wait until all messages are confirmed."""
        self.flush()

    release = close


class Connection:
    """Stands for a connection to the broker; the process keeps one by itself.

    Args:
        app: The application.
        url: The broker's URL.

    """

    def __init__(self, app: Any, url: str | None = None) -> None:
        self.app = app
        self.url = url or broker.write_url(app)[0]

    def as_uri(self, include_password: bool = False) -> str:  # noqa: FBT001, FBT002 - kombu's signature
        """Return the URL.

        Returns:
            The URL, without its password unless that is asked for.
        """
        return self.url if include_password else _native.redacted(self.url)

    def ensure_connection(self, *_args: Any, **_kwargs: Any) -> Connection:
        """Reach the broker.

        Returns:
            The connection.
        """
        broker.publisher(self.app).depth(self.app.conf.task_default_queue, FLUSH_WAIT_S)
        return self

    connect = ensure_connection

    def release(self) -> None:
        """Give it back; the process keeps its connection."""

    close = release

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Connection: {self.as_uri()}>"


class ConnectionPool:
    """Stands for a pool of connections; there is one, shared by all threads.

    Args:
        app: The application.

    """

    def __init__(self, app: Any) -> None:
        self.app = app

    def acquire(self, block: bool = True, timeout: float | None = None) -> Connection:  # noqa: ARG002, FBT001, FBT002 - kombu's signature
        """Take the connection.

        Returns:
            The connection; also a context manager.
        """
        return Connection(self.app)

    def force_close_all(self) -> None:
        """Nothing to close: the process's connection is closed when it ends."""
