"""`app.events`: what sends events, what hears them, and what is known from them.

Source:
    celery/app/events.py (names and arguments).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celeriac import _native, broker

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("Events", "exchange_type_of", "inbox")


class Events:
    """Makes dispatchers, receivers and states that belong to an application.

    Args:
        app: The application.
    """

    receiver_cls = "celeriac.events.receiver:EventReceiver"
    dispatcher_cls = "celeriac.events.dispatcher:EventDispatcher"
    state_cls = "celeriac.events.state:State"

    def __init__(self, app: Any = None) -> None:
        self.app = app
        self._made: dict[str, Any] = {}

    def _bound(self, name: str, path: str) -> Any:
        if name not in self._made:
            self._made[name] = self.app.subclass_with_self(path, reverse=f"events.{name}")
        return self._made[name]

    @property
    def Receiver(self) -> Any:  # noqa: N802 - Celery's name
        """The class of what hears events."""
        return self._bound("Receiver", self.receiver_cls)

    @property
    def Dispatcher(self) -> Any:  # noqa: N802 - Celery's name
        """The class of what sends events."""
        return self._bound("Dispatcher", self.dispatcher_cls)

    @property
    def State(self) -> Any:  # noqa: N802 - Celery's name
        """The class of what is known from events."""
        return self._bound("State", self.state_cls)

    @contextmanager
    def default_dispatcher(
        self,
        hostname: str | None = None,
        enabled: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        buffer_while_offline: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
    ) -> Iterator[Any]:
        """Lend a dispatcher over the process's own connection.

        Args:
            hostname: Who speaks.
            enabled: Whether anything is sent.
            buffer_while_offline: Ignored: what waits for the broker is always kept, and bounded.

        Yields:
            The dispatcher.
        """
        with self.Dispatcher(
            None, hostname, enabled, buffer_while_offline=buffer_while_offline
        ) as dispatcher:
            yield dispatcher


def exchange_type_of(url: str) -> str:
    """Say of which type the exchange of events is on a broker.

    Args:
        url: The broker's URL.

    Returns:
        ``fanout`` on Redis, where topics are kept in lists; ``topic`` elsewhere.
    """
    scheme = url.partition(":")[0]
    return "fanout" if scheme.startswith(("redis", "sentinel", "socket")) else "topic"


def inbox(app: Any, queue: Any, connection: Any = None) -> _native.Mailbox:
    """Make a box that hears events; nothing is opened.

    Args:
        app: The application.
        queue: Its queue, with exchange and routing key.
        connection: Names another broker than the application's.

    Returns:
        The box.
    """
    url, options = broker.write_url(app)
    if connection is not None and hasattr(connection, "transport_options"):
        url = connection.as_uri(include_password=True)
        options = {**options, **connection.transport_options}
    return _native.Mailbox(url, options, queue.as_spec(), is_exclusive=bool(queue.exclusive))
