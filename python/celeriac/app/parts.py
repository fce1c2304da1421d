"""What an application is made of, each part made when it is first asked for."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celeriac import _current
from celeriac.app import finding
from celeriac.app.loading import loader_class, symbol_by_name
from celeriac.settings import Settings
from celeriac.timestamps import zone

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

    from celeriac.app.amqp import AMQP


class Parts:
    """Loader, queues, logging, backend and the others; time and identity."""

    amqp_cls: Any = "celeriac.app.amqp:AMQP"
    backend_cls: Any = None
    control_cls: Any = "celeriac.app.control:Control"
    events_cls: Any = "celeriac.app.events:Events"
    loader_cls: Any = None
    log_cls: Any = "celeriac.app.logging:Logging"

    _conf: Settings
    _local: threading.local
    _made: dict[str, Any]
    _made_mutex: Any

    @property
    def conf(self) -> Settings:
        """The settings; a configuration module is imported when the first is read."""
        return self._conf

    @conf.setter
    def conf(self, settings: Any) -> None:
        self._conf = settings if isinstance(settings, Settings) else Settings(settings)

    def subclass_with_self(
        self,
        Class: Any,  # noqa: N803 - Celery's name
        name: str | None = None,
        attribute: str = "app",
        reverse: str | None = None,
        keep_reduce: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
        **kw: Any,
    ) -> Any:
        """Make a subclass that knows this application.

        Returns:
            The class.
        """
        return finding.subclass_with(
            self, Class, name, attribute, reverse, {**kw, "keep_reduce": keep_reduce}
        )

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        try:
            return self._made[name]
        except KeyError:
            with self._made_mutex:
                if name not in self._made:
                    self._made[name] = make()
                return self._made[name]

    @property
    def sender(self) -> Any:
        """What publishes its messages."""
        return self._once("sender", lambda: symbol_by_name("celeriac.app.sending:Sender")(self))

    @property
    def loader(self) -> Any:
        """What imports its modules."""
        return self._once("loader", lambda: loader_class(self.loader_cls)(app=self))

    @property
    def amqp(self) -> AMQP:
        """Queues and routes."""
        amqp: AMQP = self._once("amqp", lambda: symbol_by_name(self.amqp_cls)(self))
        return amqp

    @property
    def log(self) -> Any:
        """Logging."""
        return self._once("log", lambda: symbol_by_name(self.log_cls)(self))

    @property
    def control(self) -> Any:
        """Remote control."""
        return self._once("control", lambda: symbol_by_name(self.control_cls)(app=self))

    @property
    def events(self) -> Any:
        """Events."""
        return self._once("events", lambda: symbol_by_name(self.events_cls)(app=self))

    @property
    def backend(self) -> Any:
        """The result backend; one for all threads."""
        return self._once("backend", self._open_backend)

    @backend.setter
    def backend(self, backend: Any) -> None:
        self._made["backend"] = backend

    def _open_backend(self) -> Any:
        if self.backend_cls is not None:
            return symbol_by_name(self.backend_cls)(app=self)
        return symbol_by_name("celeriac.backends:open_backend")(self)

    @property
    def AsyncResult(self) -> Any:  # noqa: N802 - Celery's name
        """Makes handles to results."""
        return self._handle("AsyncResult")

    @property
    def GroupResult(self) -> Any:  # noqa: N802 - Celery's name
        """Makes handles to results of groups."""
        return self._handle("GroupResult")

    @property
    def ResultSet(self) -> Any:  # noqa: N802 - Celery's name
        """Makes handles to many results."""
        return self._handle("ResultSet")

    def _handle(self, name: str) -> Any:
        return self._once(name, lambda: self.subclass_with_self(f"celeriac.result:{name}"))

    @property
    def Worker(self) -> Any:  # noqa: N802 - Celery's name
        """The worker program."""
        return self.subclass_with_self("celeriac.worker:Worker")

    WorkController = Worker

    @property
    def pool(self) -> Any:
        """Stands for a pool of connections to the broker."""
        from celeriac.app.publishing import ConnectionPool  # noqa: PLC0415 - see above

        return self._once("pool", lambda: ConnectionPool(self))

    def connection_for_write(self, url: str | None = None, **_kwargs: Any) -> Any:
        """Return a connection to send through.

        Returns:
            The connection; also a context manager.
        """
        from celeriac.app.publishing import Connection  # noqa: PLC0415 - see above

        return Connection(self, url)

    connection_for_read = connection_for_write

    def connection(self, hostname: str | None = None, **_kwargs: Any) -> Any:
        """Return a connection.

        Returns:
            The connection; also a context manager.
        """
        return self.connection_for_write(hostname)

    broker_connection = connection

    def connection_or_acquire(self, connection: Any = None, *_: Any, **__: Any) -> Any:
        """Return the connection that was given, or the process's.

        Returns:
            The connection; also a context manager.
        """
        return connection if connection is not None else self.connection_for_write()

    default_connection = connection_or_acquire

    def select_queues(self, queues: Any = None) -> None:
        """Consume from these queues only."""
        self.amqp.queues.select(queues)

    @property
    def timezone(self) -> tzinfo:
        """The zone of the times it writes."""
        conf = self.conf
        if not conf.timezone and not conf.enable_utc:
            return datetime.now().astimezone().tzinfo or zone(None)
        return zone(conf.timezone)

    def uses_utc_timezone(self) -> bool:
        """Say whether it writes UTC.

        Returns:
            Whether no other zone is set.
        """
        return self.timezone is zone(None)

    def now(self) -> datetime:
        """Return the time.

        Returns:
            The time in its zone.
        """
        return datetime.now(self.timezone)

    @property
    def oid(self) -> str:
        """Identifies the application in this process."""
        return finding.object_id(self)

    @property
    def thread_oid(self) -> str:
        """Identifies the application in this thread: the queue of its replies."""
        try:
            oid: str = self._local.oid
        except AttributeError:
            oid = self._local.oid = finding.object_id(self, threading.get_ident())
        return oid

    @property
    def current_task(self) -> Any:
        """The task that this thread runs."""
        return _current.get_current_task()

    @property
    def current_worker_task(self) -> Any:
        """The task that the worker gave to this thread."""
        return _current.get_current_worker_task()
