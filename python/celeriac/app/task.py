"""`Task`: what can be called here and executed elsewhere.

Source:
    celery/app/task.py (attributes, hooks, arguments).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic

from celeriac._current import LocalStack, get_current_app, pop_task, push_task
from celeriac._native import expire_shortcuts
from celeriac.app import coroutines, eager, replacing, retrying
from celeriac.app.context import Context
from celeriac.app.registry import unpickle_task
from celeriac.app.shortcut import Shortcut, shortcut_of
from celeriac.canvas import Signature, chunks, signature, xmap, xstarmap
from celeriac.canvas.signature import signature_of_call
from celeriac.exceptions import Ignore, MaxRetriesExceededError, OperationalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from typing_extensions import ParamSpec, TypeVar

    from celeriac.result import AsyncResult, EagerResult

    P = ParamSpec("P", default=...)
    R = TypeVar("R", default=Any)
else:
    # `default` is a later Python's; only what checks types needs it.
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = ["Context", "Task", "TaskType"]

TaskType = type
#: Options of a call that a task can have as attributes.
EXEC_OPTIONS = (
    "queue", "routing_key", "exchange", "priority", "expires", "serializer", "delivery_mode",
    "compression", "time_limit", "soft_time_limit", "immediate", "mandatory",
)  # fmt: skip


class Task(Generic[P, R]):
    """Base of all tasks: a function with a name, and how it is called and executed.

    An attribute that is None takes the application's setting.
    """

    __bound__ = False
    Strategy = "celeriac.worker.strategy:default"
    Request = "celeriac.worker.request:Request"
    MaxRetriesExceededError = MaxRetriesExceededError
    OperationalError = OperationalError

    _app: Any = None
    name: str = None  # type: ignore[assignment]  # filled in when the task is registered
    typing: bool | None = None
    max_retries: int | None = 3
    default_retry_delay: float = 180
    rate_limit: Any = None
    ignore_result: bool | None = None
    trail: bool = True
    send_events: bool = True
    store_errors_even_if_ignored: bool | None = None
    store_eager_result: bool | None = None
    serializer: str | None = None
    compression: str | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    track_started: bool | None = None
    acks_late: bool | None = None
    acks_on_failure_or_timeout: bool | None = None
    acks_on_failure: bool | None = None
    acks_on_timeout: bool | None = None
    reject_on_worker_lost: bool | None = None
    retry_on_worker_lost: bool | None = None
    throws: tuple[type[BaseException], ...] = ()
    expires: Any = None
    priority: int | None = None
    resultrepr_maxsize: int = 1024
    request_stack: LocalStack = None  # type: ignore[assignment]  # made when bound
    abstract: bool = True
    _default_request: Context | None = None
    _exec_options: dict[str, Any] | None = None
    #: How calls go out that say nothing but their arguments; made by the first of them.
    _shortcut: Shortcut | None = None
    _backend: Any = None
    #: Of tasks with ``pydantic=True`` (`celeriac.app.models.Modelled`).
    _modelled: Any = None
    #: `__call__` as it is here: a worker calls `run` at once unless somebody has changed it.
    plain_call: ClassVar[Any] = None
    #: `apply_async` as it is here: a group's members go the short way unless it was changed.
    plain_apply_async: ClassVar[Any] = None

    from_config: ClassVar[tuple[tuple[str, str], ...]] = (
        ("serializer", "task_serializer"),
        ("rate_limit", "task_default_rate_limit"),
        ("priority", "task_default_priority"),
        ("time_limit", "task_time_limit"),
        ("soft_time_limit", "task_soft_time_limit"),
        ("track_started", "task_track_started"),
        ("acks_late", "task_acks_late"),
        ("acks_on_failure_or_timeout", "task_acks_on_failure_or_timeout"),
        ("acks_on_failure", "task_acks_on_failure"),
        ("acks_on_timeout", "task_acks_on_timeout"),
        ("reject_on_worker_lost", "task_reject_on_worker_lost"),
        ("retry_on_worker_lost", "task_retry_on_worker_lost"),
        ("ignore_result", "task_ignore_result"),
        ("store_eager_result", "task_store_eager_result"),
        ("store_errors_even_if_ignored", "task_store_errors_even_if_ignored"),
    )

    # Registration ------------------------------------------------------------------------------

    @classmethod
    def bind(cls, app: Any) -> Any:
        """Give the task its application, and the settings it does not set itself.

        Returns:
            The application.
        """
        was_bound, cls.__bound__ = cls.__bound__, True
        cls._app = app
        conf = app.conf
        cls._exec_options = cls._shortcut = None
        if cls.typing is None:
            cls.typing = app.strict_typing
        for attribute, setting in cls.from_config:
            if getattr(cls, attribute, None) is None:
                setattr(cls, attribute, conf[setting])
        if not was_bound:
            cls.annotate()
            cls.request_stack = LocalStack()
        expire_shortcuts()
        cls.on_bound(app)
        return app

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Called when the task gets its application; for subclasses."""

    @classmethod
    def annotate(cls) -> None:
        """Apply what `task_annotations` says of this task."""
        for name, value in cls._get_app().annotations_of(cls):
            if name.startswith("@"):
                cls.add_around(name[1:], value)
            else:
                setattr(cls, name, value)

    @classmethod
    def add_around(cls, attr: str, around: Callable[[Any], Any]) -> None:
        """Wrap a method of the task.

        Args:
            attr: The method's name.
            around: Takes the method and returns its replacement.
        """
        original = getattr(cls, attr)
        replacement = around(original)
        replacement.__wrapped__ = original
        setattr(cls, attr, replacement)

    @classmethod
    def _get_app(cls) -> Any:
        if cls._app is None:
            cls._app = get_current_app()
        if not cls.__bound__:
            # Compat: a task class that is used without registration is bound when first used.
            cls.bind(cls._app)
        return cls._app

    @property
    def app(self) -> Any:
        """The application."""
        return self._get_app()

    @app.setter
    def app(self, app: Any) -> None:
        type(self)._app = app  # noqa: SLF001 - our own
        expire_shortcuts()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__bound__ = False

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        object.__setattr__(self, "_exec_options", None)
        object.__setattr__(self, "_shortcut", None)

    # Execution ---------------------------------------------------------------------------------

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the task here and now, as a function.

        Returns:
            What `run` returns; a coroutine, to be awaited, where that is an ``async def``.
        """
        push_task(self)
        self.push_request(args=args, kwargs=kwargs)
        try:
            result: R = self.run(*args, **kwargs)
            if coroutines.is_coroutine(result):
                own: Any = coroutines.within(self, self.request, result)  # type: ignore[arg-type]
                return own  # type: ignore[no-any-return]
            return result
        finally:
            self.pop_request()
            pop_task()

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The task's body; a class-based task overrides it.

        Raises:
            NotImplementedError: It was not overridden.
        """
        message = "Tasks must define the run method."
        raise NotImplementedError(message)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Called by the worker before the task starts."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Called by the worker when the task has succeeded."""

    def on_retry(
        self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        """Called by the worker when the task is to be retried."""

    def on_failure(
        self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        """Called by the worker when the task has failed."""

    def after_return(
        self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        """Called by the worker after the task, whatever came of it."""

    def on_replace(self, sig: Any) -> Any:
        """Called when the task is replaced.

        Returns:
            In eager mode the replacement's value.

        Raises:
            Ignore: Outside of eager mode: the replacement answers in its place.
        """
        if self.request.is_eager:
            return sig.apply().get()
        sig.delay()
        message = "Replaced by new task"
        raise Ignore(message)

    # Calling -----------------------------------------------------------------------------------

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send the task with these arguments.

        Returns:
            A handle to its result.
        """
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> AsyncResult[R]:
        """Send the task.

        Args:
            args: Its positional arguments, as a list or tuple.
            kwargs: Its keyword arguments.
            task_id: Its id; a new one by default.
            producer: A publisher (see `Celery.publisher`) to send through.
            link: Signature(s) to call with the result.
            link_error: Signature(s) to call if it fails.
            shadow: Name to show instead of the task's in logs.
            **options: ``countdown`` and ``expires`` (seconds; ``expires`` may be a time), ``eta``
                (a time), ``queue``, ``exchange``, ``routing_key``, ``priority``, ``serializer``,
                ``headers``, ``ignore_result``, ``time_limit``, ``soft_time_limit`` (seconds),
                ``retry``, ``retry_policy``, ``publisher``, ...

        Returns:
            A handle to its result.

        Raises:
            TypeError: The arguments are not what the task takes.
        """  # noqa: DOC502 - raised by `__header__`
        if not (task_id or producer or link or link_error or shadow):
            short, handle = self._shortcut or self._new_shortcut(), None
            if not options:
                handle = short.send(args, kwargs)
            elif len(options) == 1 and "publisher" in options:
                handle = short.hand_over(args, kwargs, options["publisher"])
            if handle is not None:
                return handle
            if not short.holds():
                object.__setattr__(self, "_shortcut", None)
        if self.typing:
            check = getattr(self, "__header__", None)
            if check is not None:
                check(*(args or ()), **(kwargs or {}))
        app = self._get_app()
        shadow = shadow or self.shadow_name(args, kwargs, options)
        merged = self._merged_options(options)
        args, kwargs = self._sent_arguments(args, kwargs, merged)
        if app.conf.task_always_eager:
            return eager.instead_of_sending(
                self, args, kwargs, task_id, {**merged, "link": link, "link_error": link_error}
            )
        result: AsyncResult[R] = app.send_task(
            self.name,
            args,
            kwargs,
            task_id=task_id,
            producer=producer,
            link=link,
            link_error=link_error,
            result_cls=self.AsyncResult,
            shadow=shadow,
            task_type=self,
            **merged,
        )
        return result

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send the task with these arguments, without blocking the loop.

        Returns:
            A handle to its result.
        """
        return await self.aapply_async(args, kwargs)

    async def aapply_async(
        self, args: Any = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult[R]:
        """Send the task, without blocking the loop.

        Args:
            args: Its positional arguments, as a list or tuple.
            kwargs: Its keyword arguments.
            **options: As of `apply_async`; ``publisher`` is one of `Celery.apublisher`.

        Returns:
            A handle to its result, to be awaited with `AsyncResult.aget`.
        """
        app = self._get_app()
        if app.conf.task_always_eager:
            import asyncio  # noqa: PLC0415 - `import celeriac` stays quick

            return await asyncio.to_thread(self.apply_async, args, kwargs, **options)
        if self.typing:
            check = getattr(self, "__header__", None)
            if check is not None:
                check(*(args or ()), **(kwargs or {}))
        options["shadow"] = options.get("shadow") or self.shadow_name(args, kwargs, options)
        merged = self._merged_options(options)
        args, kwargs = self._sent_arguments(args, kwargs, merged)
        result: AsyncResult[R] = await app.asend_task(
            self.name, args, kwargs, result_cls=self.AsyncResult, task_type=self, **merged
        )
        return result

    def shadow_name(self, args: Any, kwargs: Any, options: Mapping[str, Any]) -> str | None:
        """Choose another name for logs; for subclasses."""

    def send_members(
        self, first: Any, rest: Iterator[Any], publisher: Any, group_id: str, index: int, end: Any
    ) -> tuple[list[str], Any]:
        """Send members of a group as long as they say nothing but their arguments.

        Args:
            first: A signature of this task.
            rest: What comes after it; it is read on as long as it is signatures like the first.
            publisher: The window they go through.
            group_id: The group.
            index: The first one's place there.
            end: Stands for the end of `rest`.

        Returns:
            The ids of what was sent, and the member after them, which has to go through
            `apply_async`, or `end`.
        """
        is_changed = type(self).apply_async is not Task.plain_apply_async
        if is_changed or "apply_async" in self.__dict__:
            return [], first
        short = self._shortcut
        if short is None or not short.holds():
            short = self._new_shortcut()
        return short.hand_members_over(first, rest, publisher, group_id, index, end)

    def _new_shortcut(self) -> Shortcut:
        made = shortcut_of(self, self._get_app(), Task)
        object.__setattr__(self, "_shortcut", made)
        return made

    def options_of_calls(self) -> dict[str, Any]:
        """Collect the options that every call of this task has.

        Returns:
            Those of its attributes that are not None.
        """
        own = self._exec_options
        if own is None:
            values = {name: getattr(self, name, None) for name in EXEC_OPTIONS}
            own = {name: value for name, value in values.items() if value is not None}
            object.__setattr__(self, "_exec_options", own)
        return own

    def _merged_options(self, options: dict[str, Any]) -> dict[str, Any]:
        merged = {**self.options_of_calls(), **options}
        merged.setdefault("ignore_result", self.ignore_result)
        return merged

    def _sent_arguments(self, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Any:
        # Pickle carries models as they are.
        if self._modelled is None or options.get("serializer") == "pickle":
            return args, kwargs
        none: dict[str, Any] = {}
        return self._modelled.dump(() if args is None else args, none if kwargs is None else kwargs)

    def apply(  # noqa: PLR0913, PLR0917 - Celery's signature
        self,
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        link: Any = None,
        link_error: Any = None,
        task_id: str | None = None,
        retries: int | None = None,
        throw: bool | None = None,  # noqa: FBT001 - Celery's signature
        logfile: Any = None,
        loglevel: Any = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> EagerResult[R]:
        """Execute the task in this process, as a worker would.

        Returns:
            Its result, which is there already.
        """
        options.update(link=link, link_error=link_error, headers=headers)
        options.update(logfile=logfile, loglevel=loglevel)
        return eager.apply(self, args, kwargs, task_id, retries, throw, options)

    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: BaseException | None = None,
        throw: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        eta: Any = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Any:
        """Send the task again; to be used inside of it: ``raise self.retry(exc=exc)``.

        Args:
            args: Other positional arguments than this call's.
            kwargs: Other keyword arguments.
            exc: The reason; raised when the retries are used up.
            throw: Whether to raise `Retry` (otherwise it is returned).
            eta: When to run.
            countdown: In how many seconds; `default_retry_delay` by default.
            max_retries: How often at most; the attribute by default.
            **options: Others of `apply_async`.

        Returns:
            The `Retry`, if `throw` is false.
        """
        options.update(eta=eta, countdown=countdown, max_retries=max_retries)
        return retrying.retry(self, args, kwargs, exc, options, throw=throw)

    def send_event(
        self,
        type_: str,
        retry: bool = True,  # noqa: ARG002, FBT001, FBT002 - Celery's signature
        retry_policy: Mapping[str, Any] | None = None,  # noqa: ARG002
        **fields: Any,
    ) -> None:
        """Tell monitors something of the call that runs.

        Args:
            type_: The type of the event, such as ``task-progress``.
            retry: Ignored: the event waits for the broker by itself.
            retry_policy: Ignored likewise.
            **fields: What it says; the serializer of events must know their types.
        """
        request = self.request
        with self.app.events.default_dispatcher(hostname=request.hostname) as dispatcher:
            dispatcher.send(type_, uuid=request.id, **fields)

    def replace(self, sig: Any) -> Any:
        """Let another take this call's place: its id, its callbacks, the rest of its chain.

        To be used inside of the task: ``return self.replace(other.s(1))``.

        Args:
            sig: A signature; a group answers with the list of its results.

        Returns:
            In eager mode the replacement's value.

        Raises:
            Ignore: The replacement was sent, and answers in this call's place.
        """  # noqa: DOC502 - raised by `on_replace`
        return self.on_replace(replacing.replacement(self, sig))

    def add_to_chord(self, sig: Any, lazy: bool = False) -> Any:  # noqa: FBT001, FBT002 - Celery's signature
        """Let the chord that this call is part of wait for one more task.

        Args:
            sig: The task.
            lazy: Whether you send it yourself.

        Returns:
            A handle to its result; the signature if `lazy`.
        """
        return replacing.added_to_chord(self, sig, lazy=lazy)

    # Handles -----------------------------------------------------------------------------------

    def map(self, it: Any) -> Any:
        """Make a task that calls this one with each item, one after the other.

        Returns:
            A signature; its result is a list.
        """
        return xmap(self.s(), it, app=self.app)

    def starmap(self, it: Any) -> Any:
        """Make a task that calls this one with each item as its arguments.

        Returns:
            A signature; its result is a list.
        """
        return xstarmap(self.s(), it, app=self.app)

    def chunks(self, it: Any, n: int) -> Any:
        """Make tasks that call this one with `n` items each, as `starmap` does.

        Returns:
            A signature; its results are lists.
        """
        return chunks(self.s(), it, n, app=self.app)

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """Make a signature of a call with these arguments; a chain may add more in front.

        Returns:
            The signature.
        """
        if type(self).signature is not Task.signature:
            return self.signature(args, kwargs)
        return signature_of_call(self, args, kwargs, self.app)

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature:
        """Make a signature that takes no further arguments.

        Returns:
            The immutable signature.
        """
        return self.signature(args, kwargs, immutable=True)

    def signature(self, args: Any = None, *starargs: Any, **starkwargs: Any) -> Signature:
        """Make a signature: arguments and options of a call to come.

        Returns:
            The signature.
        """
        starkwargs.setdefault("app", self.app)
        return signature(self, args, *starargs, **starkwargs)

    subtask = signature

    def signature_from_request(
        self,
        request: Any = None,
        args: Any = None,
        kwargs: Any = None,
        queue: str | None = None,
        **extra_options: Any,
    ) -> Signature:
        """Make a signature of the call that runs.

        Returns:
            The signature.
        """
        return retrying.signature_from_request(self, request, args, kwargs, queue, extra_options)

    subtask_from_request = signature_from_request

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AsyncResult[R]:  # noqa: N802 - Celery's name
        """Make a handle to a result of this task.

        Returns:
            The handle.
        """
        handle: AsyncResult[R] = self._get_app().AsyncResult(
            task_id, backend=self.backend, task_name=self.name, **kwargs
        )
        return handle

    def get_publisher(self, connection: Any = None, window: int = 4096, **options: Any) -> Any:
        """Open a window for many calls (see `Celery.publisher`).

        Args:
            connection: Of ``app.pool.acquire()`` or `Celery.connection_for_write`; the calls go
                to its broker.
            window: How many messages may be unconfirmed.
            **options: Passed on to `Celery.publisher`.

        Returns:
            A context manager.
        """
        return self.app.publisher(window=window, connection=connection, **options)

    def update_state(
        self, task_id: str | None = None, state: str | None = None, meta: Any = None, **kwargs: Any
    ) -> None:
        """Store a state while the task runs.

        Args:
            task_id: Whose; the current call's by default.
            state: The state, such as ``PROGRESS``.
            meta: What `AsyncResult.info` gives.
            **kwargs: Passed on to the backend.
        """
        if task_id is None:
            task_id = self.request.id
        self.backend.store_result(task_id, meta, state, request=self.request, **kwargs)

    def add_trail(self, result: Any) -> Any:
        """Note that this task has called another.

        Returns:
            The result.
        """
        if self.trail:
            self.request.children.append(result)
        return result

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Start a call."""
        self.request_stack.push(Context(*args, **{"hostname": None, **kwargs}))

    def pop_request(self) -> None:
        """End a call."""
        self.request_stack.pop()

    @property
    def request(self) -> Any:
        """The call that runs (a `Context`)."""
        stack: LocalStack | None = self.request_stack
        current = stack.top if stack is not None else None
        if current is not None:
            return current
        # Compat: outside of a call, tests set fields of a request that stays.
        if self._default_request is None:
            object.__setattr__(self, "_default_request", Context())
        return self._default_request

    @property
    def backend(self) -> Any:
        """The result backend."""
        return self._backend if self._backend is not None else self.app.backend

    @backend.setter
    def backend(self, backend: Any) -> None:
        object.__setattr__(self, "_backend", backend)

    @property
    def __name__(self) -> str:
        """The function's name: tasks look like functions."""
        return type(self).__qualname__.rpartition(".")[2]

    def __repr__(self) -> str:
        return f"<@task: {self.name} of {self._app.main if self._app else None}>"

    def __reduce__(self) -> Any:
        module = type(self).__module__
        return unpickle_task, (self.name, module if module != "__main__" else None)


Task.plain_call = Task.__call__
Task.plain_apply_async = Task.apply_async
