"""`Celery`: the application. It holds the parts together; each part has a module of its own.

Source:
    celery/app/base.py (names and arguments).
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celeriac import _current
from celeriac.app import finding, pickling
from celeriac.app.loading import loader_class, symbol_by_name
from celeriac.app.proxy import PromiseProxy, maybe_evaluate
from celeriac.app.registry import TaskRegistry
from celeriac.app.typecheck import header
from celeriac.exceptions import AlwaysEagerIgnored, ImproperlyConfigured
from celeriac.settings import Settings
from celeriac.signals import Signal
from celeriac.timestamps import zone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import tzinfo

    from typing_extensions import Self

    from celeriac.app.amqp import AMQP
    from celeriac.result import AsyncResult


class Celery:
    """A distributed application: settings, tasks, and the ways to brokers and results.

    Args:
        main: Name of the module that is run as ``__main__``, for names of tasks.
        loader: How modules and configuration are imported: ``app``, ``default``, a path, a class.
        backend: URL of the results.
        amqp: Class of `Celery.amqp`.
        events: Class of `Celery.events`.
        log: Class of `Celery.log`.
        control: Class of `Celery.control`.
        set_as_current: Whether it becomes this thread's current application.
        tasks: A registry, or its class.
        broker: URL of the broker.
        include: Modules that a worker imports.
        changes: Settings.
        config_source: Configuration object or its path.
        fixups: Paths of functions that adapt the application to a framework.
        task_cls: Base class of its tasks, or its path.
        autofinalize: Whether it is finalized when its tasks are first used.
        namespace: Prefix of the names in the configuration.
        strict_typing: Whether arguments are checked at the call.
        config_source_silent: Whether a missing configuration is ignored.
        **kwargs: More settings.

    """

    IS_macOS = sys.platform == "darwin"
    IS_WINDOWS = sys.platform == "win32"
    SYSTEM = "Linux" if sys.platform.startswith("linux") else sys.platform
    Pickler = pickling.AppPickler

    amqp_cls: Any = "celeriac.app.amqp:AMQP"
    backend_cls: Any = None
    control_cls: Any = "celeriac.app.control:Control"
    events_cls: Any = "celeriac.app.events:Events"
    loader_cls: Any = None
    log_cls: Any = "celeriac.app.logging:Logging"
    registry_cls: Any = TaskRegistry
    task_cls: Any = "celeriac.app.task:Task"
    builtin_fixups: frozenset[str] = frozenset()
    main: str | None = None
    user_options: Any = None
    steps: Any = None
    on_configure: Any = None
    on_after_configure: Any = None
    on_after_finalize: Any = None
    on_after_fork: Any = None

    def __init__(  # noqa: PLR0913, PLR0915, PLR0917 - Celery's signature
        self,
        main: str | None = None,
        loader: Any = None,
        backend: Any = None,
        amqp: Any = None,
        events: Any = None,
        log: Any = None,
        control: Any = None,
        set_as_current: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        tasks: Any = None,
        broker: Any = None,
        include: Any = None,
        changes: Mapping[str, Any] | None = None,
        config_source: Any = None,
        fixups: Any = None,
        task_cls: Any = None,
        autofinalize: bool = True,  # noqa: FBT001, FBT002
        namespace: str | None = None,
        strict_typing: bool = True,  # noqa: FBT001, FBT002
        config_source_silent: bool = False,  # noqa: FBT001, FBT002
        **kwargs: Any,
    ) -> None:
        self.main = main
        self.defined_in = finding.caller_module()
        self.clock = 0
        self.amqp_cls = amqp or self.amqp_cls
        self.events_cls = events or self.events_cls
        self.loader_cls = loader or self.loader_cls or "app"
        self.log_cls = log or self.log_cls
        self.control_cls = control or self.control_cls
        self.task_cls = task_cls or self.task_cls
        self.set_as_current = set_as_current
        self.autofinalize = autofinalize
        self.namespace = namespace
        self.strict_typing = strict_typing
        self.configured = False
        self.finalized = False
        self.fixups = list(fixups or ())
        self._config_source = config_source
        self._config_source_silent = config_source_silent
        self._finalize_mutex = threading.RLock()
        self._made_mutex = threading.RLock()
        self._local = threading.local()
        self._made: dict[str, Any] = {}
        self._pending: deque[PromiseProxy] = deque()
        self._pending_defaults: deque[Callable[[], Any]] = deque()
        registry = tasks if tasks is not None else self.registry_cls
        self._tasks: TaskRegistry = registry() if isinstance(registry, type) else registry
        given = {"broker_url": broker, "result_backend": backend, "include": include}
        self.user_options = {"worker": set(), "preload": set(), "beat": set()}
        preset = {**(changes or {}), **{k: v for k, v in given.items() if v}, **kwargs}
        self._conf = Settings(preset)
        self._conf.__dict__["pending"] = self._load_config
        for name in ("on_configure", "on_after_configure", "on_after_finalize", "on_after_fork"):
            if getattr(self, name) is None:
                setattr(self, name, Signal(name=f"app.{name}"))
        if set_as_current:
            self.set_current()
        self.on_init()
        _current.register_app(self)

    def on_init(self) -> None:
        """Called at the end of the constructor; for subclasses."""

    # Being current -----------------------------------------------------------------------------

    def set_current(self) -> None:
        """Become this thread's current application."""
        _current.set_current_app(self)
        if _current.default_app is None:
            _current.set_default_app(self)

    def set_default(self) -> None:
        """Become the current application of threads that have none of their own."""
        _current.set_default_app(self)

    def close(self) -> None:
        """Forget what was opened; the process's connections stay for others."""
        self._made.clear()
        _current.deregister_app(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Configuration -----------------------------------------------------------------------------

    @property
    def conf(self) -> Settings:
        """The settings; a configuration module is imported when the first is read."""
        return self._conf

    @conf.setter
    def conf(self, settings: Any) -> None:
        self._conf = settings if isinstance(settings, Settings) else Settings(settings)

    def _load_config(self) -> None:
        self.on_configure.send(sender=self)
        source = self._config_source
        config: Mapping[str, Any] = {}
        if source is not None:
            if self.loader.config_from_object(source, silent=self._config_source_silent):
                config = self.loader.conf
        else:
            config = self.loader.conf
        self.configured = True
        self._conf.load(self.prepare_config(dict(config)), self.namespace)
        while self._pending_defaults:
            self._conf.add_defaults(self._pending_defaults.popleft()())
        self.on_after_configure.send(sender=self, source=self._conf)

    def prepare_config(self, c: dict[str, Any]) -> dict[str, Any]:
        """Change a configuration before it is used; for subclasses.

        Returns:
            The configuration.
        """
        return c

    def config_from_object(
        self,
        obj: Any,
        silent: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
        force: bool = False,  # noqa: FBT001, FBT002
        namespace: str | None = None,
    ) -> Any:
        """Read settings from an object.

        Args:
            obj: A mapping, an object with attributes, or the path of one.
            silent: Whether a module that cannot be imported is ignored.
            force: Whether to read now, not when the first setting is needed.
            namespace: Prefix of the names (``CELERY``).

        Returns:
            The settings, if they were read now.
        """
        self._config_source = obj
        self._config_source_silent = silent
        self.namespace = namespace or self.namespace
        was_configured, self.configured = self.configured, False
        self._conf.reset(self._load_config)
        if force or was_configured:
            self._conf.resolve()
            return self._conf
        return None

    def config_from_envvar(
        self,
        variable_name: str,
        silent: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
        force: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        """Read settings from the module that an environment variable names.

        Args:
            variable_name: The variable.
            silent: Whether a missing variable or module is ignored.
            force: Whether to read now.

        Returns:
            As `config_from_object`; False if there is no such variable.

        Raises:
            ImproperlyConfigured: The variable is not set.
        """
        module = finding.environment(variable_name)
        if not module:
            if silent:
                return False
            message = (
                f"The environment variable {variable_name!r} is not set, and as such the "
                "configuration could not be loaded. Set it to the path of a configuration module."
            )
            raise ImproperlyConfigured(message)
        return self.config_from_object(module, silent=silent, force=force)

    def config_from_cmdline(self, argv: Iterable[str], namespace: str = "celery") -> None:
        """Read settings from a command line (``name=value``)."""
        self._conf.update(self.loader.cmdline_config_parser(argv, namespace))

    def add_defaults(self, fun: Any) -> None:
        """Add settings that everything else overrides.

        Args:
            fun: A mapping, or a function that returns one when the configuration is read.
        """
        defaults: Callable[[], Any] = fun if callable(fun) else lambda: fun
        if self.configured:
            self._conf.add_defaults(defaults())
        else:
            self._pending_defaults.append(defaults)

    def either(self, default_key: str, *defaults: Any) -> Any:
        """Return the first value that is not None, or a setting.

        Returns:
            The value.
        """
        return next((value for value in defaults if value is not None), self.conf.get(default_key))

    def autodiscover_tasks(
        self,
        packages: Any = None,
        related_name: str | None = "tasks",
        force: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
    ) -> Any:
        """Import the module ``tasks`` of packages, when a worker imports its modules.

        Args:
            packages: Names of packages, or a function that returns them.
            related_name: Name of the module.
            force: Whether to import now.

        Returns:
            The modules, if they were imported now.
        """
        return finding.autodiscover(self, packages, related_name, force=force)

    # Tasks -------------------------------------------------------------------------------------

    def task(self, *args: Any, **opts: Any) -> Any:
        """Make a task of a function; a decorator, with or without options.

        Args:
            *args: The function, where there are no options.
            **opts: ``name``, ``bind`` (the task is the first argument), ``base`` (its class),
                ``shared``, ``lazy``, and every attribute of `Task`.

        Returns:
            The task, or a stand-in that makes it when it is first used.

        Raises:
            TypeError: The argument is no function.
        """
        options = dict(opts)
        lazy, shared = options.pop("lazy", True), options.pop("shared", True)
        filter_ = options.pop("filter", None)

        def decorate(fun: Any) -> Any:
            if shared:
                _current.connect_on_app_finalize(lambda app: app.task_from_function(fun, **options))
            if not lazy or self.finalized:
                made = self.task_from_function(fun, **options)
            else:
                made = PromiseProxy(
                    self.task_from_function, (fun,), options, __doc__=getattr(fun, "__doc__", None)
                )
                self._pending.append(made)
            return filter_(made) if filter_ else made

        if not args:
            return decorate
        if len(args) == 1 and callable(args[0]):
            return decorate(args[0])
        message = "argument 1 to @task() must be a callable; give options by keyword"
        raise TypeError(message)

    def task_from_function(
        self,
        fun: Any,
        name: str | None = None,
        base: Any = None,
        bind: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
        **options: Any,
    ) -> Any:
        """Make a task of a function now (see `task`).

        Args:
            fun: The function.
            name: The task's name; module and function by default.
            base: The task's class.
            bind: Whether the task is the function's first argument.
            **options: Attributes of the task.

        Returns:
            The task; the one that has the name already, if there is one.

        Raises:
            RuntimeError: The application is not finalized and must not be by itself.
        """
        if not self.finalized and not self.autofinalize:
            message = "Contract breach: app not finalized"
            raise RuntimeError(message)
        name = name or self.gen_task_name(fun.__name__, fun.__module__)
        if name in self._tasks:
            return self._tasks[name]
        run = fun if bind else staticmethod(fun)
        attributes = {
            "app": self,
            "name": name,
            "run": run,
            "_decorated": True,
            "__doc__": fun.__doc__,
            "__module__": fun.__module__,
            "__annotations__": getattr(fun, "__annotations__", {}),
            "__header__": staticmethod(self.type_checker(fun, bound=bind)),
            "__wrapped__": run,
            **options,
        }
        cls = type(fun.__name__, (base or self.Task,), attributes)
        cls.__qualname__ = getattr(fun, "__qualname__", fun.__name__)
        task: Any = cls()
        self._tasks[name] = task
        task.bind(self)
        self._after_registering(task, options)
        return task

    def _after_registering(self, task: Any, options: Mapping[str, Any]) -> None:
        from celeriac.app.autoretry import add_autoretry_behaviour  # noqa: PLC0415 - only here

        add_autoretry_behaviour(task, **options)

    def register_task(self, task: Any, **options: Any) -> Any:
        """Register a class-based task.

        Args:
            task: An instance of a subclass of `Task`, or the class.
            **options: As of ``autoretry_for``.

        Returns:
            The task.
        """
        task = task() if isinstance(task, type) else task
        if not task.name:
            cls = type(task)
            type(task).name = self.gen_task_name(cls.__name__, cls.__module__)
        self._tasks[task.name] = task
        type(task)._app = self  # noqa: SLF001 - our own
        task.bind(self)
        self._after_registering(task, options)
        return task

    def gen_task_name(self, name: str, module: str) -> str:
        """Name a task.

        Returns:
            ``<module>.<name>``; the module that is run gets the application's name.
        """
        return finding.task_name(self.main, name, module)

    def type_checker(self, fun: Any, bound: bool = False) -> Callable[..., None]:  # noqa: FBT001, FBT002 - Celery's signature
        """Make what checks a task's arguments at the call.

        Returns:
            A function that accepts what `fun` accepts.
        """
        return header(fun, bound=bound)

    @property
    def tasks(self) -> TaskRegistry:
        """The registry; asking for it finalizes the application."""
        self.finalize(auto=True)
        return self._tasks

    def finalize(self, auto: bool = False) -> None:  # noqa: FBT001, FBT002 - Celery's signature
        """Make all tasks that were declared.

        Args:
            auto: Whether this is by itself.

        Raises:
            RuntimeError: It must not be by itself.
        """
        with self._finalize_mutex:
            if self.finalized:
                return
            if auto and not self.autofinalize:
                message = "Contract breach: app not finalized"
                raise RuntimeError(message)
            self.finalized = True
            finding.load_builtins()
            _current.announce_app_finalized(self)
            while self._pending:
                maybe_evaluate(self._pending.popleft())
            for task in self._tasks.values():
                task.bind(self)
            self.on_after_finalize.send(sender=self)

    @property
    def Task(self) -> Any:  # noqa: N802 - Celery's name
        """The base class of its tasks."""
        return self._once("Task", self.create_task_cls)

    def create_task_cls(self) -> Any:
        """Make the base class of its tasks.

        Returns:
            The class.
        """
        return self.subclass_with_self(
            self.task_cls, name="Task", attribute="_app", keep_reduce=True, abstract=True
        )

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

    def annotations_of(self, task: Any) -> list[tuple[str, Any]]:
        """List what `task_annotations` says of a task.

        Returns:
            Pairs of attribute and value.
        """
        return finding.annotations_of(self.conf.task_annotations, task)

    # Calling -----------------------------------------------------------------------------------

    def send_task(  # noqa: PLR0913, PLR0917 - Celery's signature
        self,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        countdown: float | None = None,
        eta: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        connection: Any = None,
        router: Any = None,
        result_cls: Any = None,
        expires: Any = None,
        publisher: Any = None,
        link: Any = None,
        link_error: Any = None,
        add_to_parent: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        group_id: str | None = None,
        group_index: int | None = None,
        retries: int = 0,
        chord: Any = None,
        reply_to: str | None = None,
        time_limit: float | None = None,
        soft_time_limit: float | None = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        route_name: str | None = None,
        shadow: str | None = None,
        chain: Any = None,
        task_type: Any = None,
        replaced_task_nesting: int = 0,
        **options: Any,
    ) -> AsyncResult:
        """Send a task by its name; it need not be known here.

        Args:
            name: The task's name.
            args: Its positional arguments.
            kwargs: Its keyword arguments.
            countdown: Seconds until it runs.
            eta: When it runs.
            task_id: Its id; a new one by default.
            producer: As `publisher`.
            connection: Ignored: the process has one.
            router: Ignored: see `Celery.amqp`.
            result_cls: Makes the handle.
            expires: Seconds, or a time, after which it does not run.
            publisher: Of `Celery.publisher`: hands the message over without waiting.
            link: Signature(s) to call with the result.
            link_error: Signature(s) to call if it fails.
            add_to_parent: Whether the task that runs here notes it as its child.
            group_id: Id of its group.
            group_index: Its place in the group.
            retries: How often it was retried.
            chord: Body of the chord it belongs to.
            reply_to: Queue of the caller.
            time_limit: Seconds after which it is killed.
            soft_time_limit: Seconds after which it is interrupted.
            root_id: Id of the workflow's first task.
            parent_id: Id of the task that sends it.
            route_name: Name by which it is routed.
            shadow: Name to show in logs.
            chain: What follows in its chain, last first.
            task_type: The task, where it is known.
            replaced_task_nesting: How often it was replaced.
            **options: ``queue``, ``exchange``, ``routing_key``, ``priority``, ``serializer``,
                ``headers``, ``ignore_result``, ``retry``, ``retry_policy``, ...

        Returns:
            A handle to its result.
        """
        del connection, router
        if self.conf.task_always_eager and task_type is None:
            finding.warn(AlwaysEagerIgnored, _EAGER_IGNORED)
        known = task_type if task_type is not None else self._tasks.get(name)
        if options.get("ignore_result") is None and known is not None:
            options["ignore_result"] = known.ignore_result
        ignored = bool(options.get("ignore_result"))
        given = {
            "countdown": countdown, "eta": eta, "task_id": task_id, "expires": expires,
            "producer": producer, "publisher": publisher, "link": link, "link_error": link_error,
            "group_id": group_id, "group_index": group_index, "retries": retries or None,
            "chord": chord, "reply_to": reply_to, "time_limit": time_limit,
            "soft_time_limit": soft_time_limit, "root_id": root_id, "parent_id": parent_id,
            "route_name": route_name, "shadow": shadow, "chain": chain, "task_type": task_type,
            "replaced_task_nesting": replaced_task_nesting or None,
        }  # fmt: skip
        options.update({key: value for key, value in given.items() if value is not None})
        sent_id, subscription = self.sender.send(name, args, kwargs, options)
        result: AsyncResult = (result_cls or self.AsyncResult)(sent_id)
        result.ignored = ignored
        result.follow(subscription)
        if add_to_parent:
            parent = _current.get_current_worker_task()
            if parent is not None:
                parent.add_trail(result)
        return result

    def signature(self, *args: Any, **kwargs: Any) -> Any:
        """Make a signature of this application.

        Returns:
            The signature.
        """
        from celeriac.canvas import signature  # noqa: PLC0415 - `import celeriac` stays quick

        kwargs["app"] = self
        return signature(*args, **kwargs)

    def publisher(self, window: int = 4096, **_options: Any) -> Any:
        """Open a window for many calls: ``apply_async(publisher=...)``.

        Args:
            window: How many messages may be unconfirmed.

        Returns:
            A context manager; leaving it waits until all are confirmed.
        """
        from celeriac.app.publishing import BatchPublisher  # noqa: PLC0415 - see above

        return BatchPublisher(self, window)

    # Parts -------------------------------------------------------------------------------------

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

    # Time and identity -------------------------------------------------------------------------

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

    # Command line ------------------------------------------------------------------------------

    def start(self, argv: list[str] | None = None) -> None:
        """Run the command line."""
        symbol_by_name("celeriac.cli:main")(argv, app=self)

    def worker_main(self, argv: list[str] | None = None) -> None:
        """Run the command ``worker``."""
        arguments = list(sys.argv[1:] if argv is None else argv)
        self.start(arguments if "worker" in arguments else ["worker", *arguments])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or '__main__'} at {id(self):#x}>"

    def __reduce__(self) -> Any:
        return pickling.reduce_app(self)

    def __getitem__(self, name: str) -> Any:
        return self.tasks[name]


_EAGER_IGNORED = (
    "The task_always_eager has no effect on send_task: it sends by name, and has no function."
)
