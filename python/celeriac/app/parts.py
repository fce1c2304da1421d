"""What an application is made of, each part made when it is first asked for."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celeriac import _current, broker
from celeriac.app import finding
from celeriac.app.loading import loader_class, symbol_by_name
from celeriac.settings import Settings
from celeriac.timestamps import zone

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

    from celeriac.app.amqp import AMQP

_CONNECTIONS = "celeriac.app.connection"


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
        self._conf.touch()

    def _open_backend(self) -> Any:
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
        return self._once("pool", lambda: symbol_by_name(f"{_CONNECTIONS}:ConnectionPool")(self))

    @property
    def producer_pool(self) -> Any:
        """Stands for a pool of producers."""
        return self._once(
            "producer_pool", lambda: symbol_by_name(f"{_CONNECTIONS}:ProducerPool")(self)
        )

    def connection_for_write(self: Any, url: str | None = None, **kwargs: Any) -> Any:
        """Return a connection to send through.

        Returns:
            The connection; also a context manager.
        """
        return self._connection(broker.write_url(self), url, kwargs)

    def connection_for_read(self: Any, url: str | None = None, **kwargs: Any) -> Any:
        """Return a connection to the broker that workers consume from.

        Returns:
            The connection; also a context manager.
        """
        return self._connection(broker.read_url(self), url, kwargs)

    def _connection(
        self, configured: tuple[str, dict[str, Any]], url: str | None, given: dict[str, Any]
    ) -> Any:
        default_url, options = configured
        options = {**options, **(given.pop("transport_options", None) or {})}
        given.setdefault("connect_timeout", self.conf.broker_connection_timeout)
        make = symbol_by_name(f"{_CONNECTIONS}:Connection")
        return make(url or default_url, transport_options=options, **given)

    def connection(  # noqa: PLR0913, PLR0917 - Celery's signature
        self,
        hostname: str | None = None,
        userid: str | None = None,
        password: str | None = None,
        virtual_host: str | None = None,
        port: int | None = None,
        ssl: Any = None,
        connect_timeout: float | None = None,
        transport: str | None = None,
        transport_options: Any = None,
        heartbeat: Any = None,
        login_method: Any = None,
        failover_strategy: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Return a connection: to the configured broker, or to one whose address is given.

        Args:
            hostname: URL or host.
            userid: User.
            password: Password.
            virtual_host: Virtual host.
            port: Port.
            ssl: Ignored: the URL's scheme says it.
            connect_timeout: Seconds each try to connect may take.
            transport: Scheme of the URL.
            transport_options: As in `broker_transport_options`.
            heartbeat: Ignored: see `broker_heartbeat`.
            login_method: Ignored.
            failover_strategy: Ignored: see `broker_failover_strategy`.
            **kwargs: Ignored.

        Returns:
            The connection; also a context manager.
        """
        del ssl, heartbeat, login_method, failover_strategy, kwargs
        address = symbol_by_name(f"{_CONNECTIONS}:url_of_parts")
        url = address(hostname, userid, password, virtual_host, port, transport)
        options = {"connect_timeout": connect_timeout, "transport_options": transport_options}
        return self.connection_for_write(url, **{k: v for k, v in options.items() if v is not None})

    broker_connection = connection

    def connection_or_acquire(
        self,
        connection: Any = None,
        pool: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        *_: Any,
        **__: Any,
    ) -> Any:
        """Return the connection that was given, or the process's.

        Returns:
            A context manager that yields it, and leaves one that was given open.
        """
        if connection is not None:
            return nullcontext(connection)
        return self.pool.acquire(block=True) if pool else self.connection_for_write()

    default_connection = connection_or_acquire

    def producer_or_acquire(self, producer: Any = None) -> Any:
        """Return the producer that was given, or one of the pool.

        Returns:
            A context manager that yields it.
        """
        return nullcontext(producer) if producer is not None else self.producer_pool.acquire()

    default_producer = producer_or_acquire

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
    def thread_local(self) -> Any:
        """What is kept for each thread; its ``oid`` is `thread_oid`, once that was asked for."""
        return self._local

    @property
    def current_task(self) -> Any:
        """The task that this thread runs."""
        return _current.get_current_task()

    @property
    def current_worker_task(self) -> Any:
        """The task that the worker gave to this thread."""
        return _current.get_current_worker_task()
