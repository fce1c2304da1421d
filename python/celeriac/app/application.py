"""`Celery`: the application. It holds the parts together; each part has a module of its own.

Source:
    celery/app/base.py (names and arguments).
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celeriac import _current
from celeriac.app import finding, pickling
from celeriac.app.declaring import Declaring
from celeriac.app.loading import symbol_by_name
from celeriac.app.registry import TaskRegistry
from celeriac.exceptions import AlwaysEagerIgnored, OperationalError
from celeriac.settings import Settings
from celeriac.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from typing_extensions import Self

    from celeriac.app.publishing import BatchPublisher
    from celeriac.result import AsyncResult


class Celery(Declaring):
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
    OperationalError = OperationalError

    registry_cls: Any = TaskRegistry
    builtin_fixups: frozenset[str] = frozenset({"celeriac.fixups.django:fixup"})
    #: `send_task` as it is here: calls go there only where somebody has changed it.
    plain_send_task: Any = None
    user_options: Any = None
    steps: Any = None
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
        self.fixups = list(self.builtin_fixups if fixups is None else fixups)
        self._config_source = config_source
        self._config_source_silent = config_source_silent
        self._finalize_mutex = threading.RLock()
        self._made_mutex = threading.RLock()
        self._local = threading.local()
        self._made: dict[str, Any] = {}
        self._pending = deque()
        self._pending_defaults = deque()
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
        # Kept: signals hold receivers weakly, and a fixup's are its methods.
        self._fixups = [symbol_by_name(fixup)(self) for fixup in self.fixups]
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
            connection: A connection to the broker it goes to; the application's by default.
            router: Routes this call instead of the one of `Celery.amqp`.
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
        if self.conf.task_always_eager and task_type is None:
            finding.warn(AlwaysEagerIgnored, _EAGER_IGNORED)
        known = task_type if task_type is not None else self._tasks.get(name)
        if options.get("ignore_result") is None and known is not None:
            options["ignore_result"] = known.ignore_result
        ignored = bool(options.get("ignore_result"))
        given = {
            "countdown": countdown, "eta": eta, "task_id": task_id, "expires": expires,
            "producer": producer, "publisher": publisher, "connection": connection,
            "router": router, "link": link, "link_error": link_error,
            "group_id": group_id, "group_index": group_index, "retries": retries or None,
            "chord": chord, "reply_to": reply_to, "time_limit": time_limit,
            "soft_time_limit": soft_time_limit, "root_id": root_id, "parent_id": parent_id,
            "route_name": route_name, "shadow": shadow, "chain": chain, "task_type": task_type,
            "replaced_task_nesting": replaced_task_nesting or None,
        }  # fmt: skip
        options.update({key: value for key, value in given.items() if value is not None})
        sent_id, subscription = self.sender.send(name, args, kwargs, options)
        result: AsyncResult = (result_cls or self.AsyncResult)(sent_id)
        return self._sent(result, subscription, ignored, add_to_parent)

    async def asend_task(
        self,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        *,
        publisher: Any = None,
        producer: Any = None,
        connection: Any = None,
        result_cls: Any = None,
        add_to_parent: bool = True,
        **options: Any,
    ) -> AsyncResult:
        """Send a task by its name, without blocking the loop.

        Args:
            name: The task's name.
            args: Its positional arguments.
            kwargs: Its keyword arguments.
            publisher: Of `Celery.apublisher`: the message is confirmed later.
            producer: As `publisher`; a `Producer` stands for its connection.
            connection: A connection to the broker it goes to; the application's by default.
            result_cls: Makes the handle.
            add_to_parent: Whether the task that runs here notes it as its child.
            **options: As of `send_task`; a ``router`` is called on the loop.

        Returns:
            A handle to its result.
        """
        from celeriac import aio  # noqa: PLC0415 - asyncio is slow to import

        task_type = options.get("task_type")
        if self.conf.task_always_eager and task_type is None:
            finding.warn(AlwaysEagerIgnored, _EAGER_IGNORED)
        known = task_type if task_type is not None else self._tasks.get(name)
        if options.get("ignore_result") is None and known is not None:
            options["ignore_result"] = known.ignore_result
        ignored = bool(options.get("ignore_result"))
        given = {key: value for key, value in options.items() if value is not None}
        results = None if ignored else self.backend.native
        given["publisher"] = aio.edge(self, publisher or producer, connection, results)
        sent_id, subscription = await self.sender.asend(name, args, kwargs, given)
        result: AsyncResult = (result_cls or self.AsyncResult)(sent_id)
        return self._sent(result, subscription, ignored, add_to_parent)

    @staticmethod
    def _sent(
        result: AsyncResult,
        subscription: Any,
        ignored: bool,  # noqa: FBT001 - as sent
        add_to_parent: bool,  # noqa: FBT001
    ) -> AsyncResult:
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

    def publisher(
        self,
        window: int = 4096,
        connection: Any = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> BatchPublisher:
        """Open a window for many calls: ``apply_async(publisher=...)``.

        Args:
            window: How many messages may be unconfirmed.
            connection: Of another broker than the application's.
            on_progress: Called with the numbers of calls that are settled, and handed over.

        Returns:
            A context manager; leaving it waits until all are confirmed.
        """
        from celeriac.app.publishing import BatchPublisher  # noqa: PLC0415 - see above

        return BatchPublisher(self, window, connection, on_progress)

    def apublisher(self, window: int = 4096, connection: Any = None) -> Any:
        """Open a window for many calls of coroutines: ``aapply_async(publisher=...)``.

        Args:
            window: How many messages may be unconfirmed; a call awaits room in a full window.
            connection: Of another broker than the application's.

        Returns:
            An asynchronous context manager; leaving it waits until all are confirmed.
        """
        from celeriac.app.publishing import AsyncPublisher  # noqa: PLC0415 - see above

        return AsyncPublisher(self, window, connection)

    @contextmanager
    def publisher_or(self, publisher: Any = None, connection: Any = None) -> Iterator[Any]:
        """Use a window that is open, or open one for what is sent now.

        Args:
            publisher: Of `Celery.publisher`, or None.
            connection: Of another broker, for one that is opened.

        Yields:
            The window; one that was opened here is confirmed on leaving.
        """
        if publisher is not None:
            yield publisher
            return
        with self.publisher(connection=connection) as own:
            yield own

    # Command line ------------------------------------------------------------------------------

    def start(self, argv: list[str] | None = None) -> None:
        """Run the command line."""
        symbol_by_name("celeriac.cli.main:main")(argv, app=self)

    def worker_main(self, argv: list[str] | None = None) -> None:
        """Run the command ``worker``."""
        arguments = list(sys.argv[1:] if argv is None else argv)
        self.start(arguments if "worker" in arguments else ["worker", *arguments])

    def bugreport(self) -> str:
        """Describe versions, system and settings, without passwords.

        Returns:
            Text of several lines.
        """
        text: str = symbol_by_name("celeriac.app.report:bugreport")(self)
        return text

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or '__main__'} at {id(self):#x}>"

    def __reduce__(self) -> Any:
        return pickling.reduce_app(self)

    def __getitem__(self, name: str) -> Any:
        return self.tasks[name]


Celery.plain_send_task = Celery.send_task
_EAGER_IGNORED = (
    "The task_always_eager has no effect on send_task: it sends by name, and has no function."
)
