"""How an application gets its tasks.

Source:
    celery/app/base.py (names and arguments).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from celeriac import _current
from celeriac.app import finding, models
from celeriac.app.configuring import Configured
from celeriac.app.proxy import PromiseProxy, maybe_evaluate
from celeriac.app.typecheck import header

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Coroutine, Mapping

    from celeriac.app.decorators import (
        BoundDecorator,
        BoundModelDecorator,
        CoroutineTask,
        Decorator,
        ModelDecorator,
    )
    from celeriac.app.registry import TaskRegistry
    from celeriac.app.task import P, R
    from celeriac.app.task import Task as TaskOf

L = TypeVar("L", bound="Callable[[Any], Any]")


class Declaring(Configured):
    """Tasks made of functions and classes, and the registry."""

    main: str | None = None
    task_cls: Any = "celeriac.app.task:Task"
    autofinalize: bool
    finalized: bool
    on_after_finalize: Any = None
    _tasks: TaskRegistry
    _pending: deque[PromiseProxy]
    _finalize_mutex: Any
    #: What `lifespan` was given, in order.
    lifespans: tuple[Callable[[Any], Any], ...] = ()

    def lifespan(self, maker: L) -> L:
        """Open something on a worker's loop before its ``async def`` tasks, and close it after.

        Context variables that it sets are seen by each task. A decorator; with several, each is
        opened after the ones before it, and closed before them.

        Args:
            maker: Called with the application: an asynchronous generator that yields once, or a
                function that returns an asynchronous context manager.

        Returns:
            The function.
        """
        self.lifespans = (*self.lifespans, maker)
        return maker

    @overload
    def task(self, fun: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...
    @overload
    def task(self, fun: Callable[P, R], /) -> TaskOf[P, R]: ...
    @overload
    def task(
        self, *, base: None = None, pydantic: Literal[True], bind: Literal[True], **opts: Any
    ) -> BoundModelDecorator: ...
    @overload
    def task(
        self,
        *,
        base: None = None,
        pydantic: Literal[True],
        bind: Literal[False] = False,
        **opts: Any,
    ) -> ModelDecorator: ...
    @overload
    def task(self, *, base: None = None, bind: Literal[True], **opts: Any) -> BoundDecorator: ...
    @overload
    def task(
        self, *, base: None = None, bind: Literal[False] = False, **opts: Any
    ) -> Decorator: ...
    @overload
    def task(self, *, base: Any, **opts: Any) -> Callable[[Callable[..., Any]], Any]: ...
    def task(self, *args: Any, **opts: Any) -> Any:
        """Make a task of a function; a decorator, with or without options.

        Args:
            *args: The function, where there are no options.
            **opts: ``name``, ``bind`` (the task is the first argument), ``base`` (its class),
                ``shared``, ``lazy``, ``pydantic`` (see `task_from_function`), and every attribute
                of `Task`.

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
        pydantic: bool = False,  # noqa: FBT001, FBT002
        pydantic_strict: bool = False,  # noqa: FBT001, FBT002
        pydantic_context: Mapping[str, Any] | None = None,
        pydantic_dump_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Make a task of a function now (see `task`).

        Args:
            fun: The function.
            name: The task's name; module and function by default.
            base: The task's class.
            bind: Whether the task is the function's first argument.
            pydantic: Whether arguments are validated by the models that annotate them, and a model
                that is returned is sent as its data.
            pydantic_strict: Whether values of another type are refused, not converted.
            pydantic_context: What validators see as their context.
            pydantic_dump_kwargs: Options of ``model_dump``.
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
        modelled = None
        if pydantic:
            how = models.Options(pydantic_strict, pydantic_context, pydantic_dump_kwargs)
            modelled = models.Modelled(self, fun, name, bound=bind, options=how)
            fun = modelled.wrapped()
        run = fun if bind else staticmethod(fun)
        attributes = {
            "app": self,
            "name": name,
            "run": run,
            "_decorated": True,
            "_modelled": modelled,
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

    def annotations_of(self, task: Any) -> list[tuple[str, Any]]:
        """List what `task_annotations` says of a task.

        Returns:
            Pairs of attribute and value.
        """
        return finding.annotations_of(self.conf.task_annotations, task)
