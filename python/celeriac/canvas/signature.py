"""`Signature`: a task's arguments and options, to be called later or elsewhere.

Source:
    protocol: signature object; celery/canvas.py ``Signature`` (names and rules).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from celeriac._current import get_current_app
from celeriac.canvas import stamping
from celeriac.canvas.compose import compose
from celeriac.nodenames import new_id
from celeriac.reprs import reprcall

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

S = TypeVar("S", bound="Signature")
#: Options that a later call does not override.
KEPT_OPTIONS = frozenset({"group_id", "stamped_headers"})
_COMPOSED = {
    "celery.chain": "chain",
    "celery.group": "group",
    "celery.chord": "chord",
    "celery.chunks": "chunks",
}


class Signature(dict[str, Any]):
    """A call as a dictionary, ready to be sent.

    Args:
        task: A task, its name, or a dictionary of another signature.
        args: Positional arguments.
        kwargs: Keyword arguments.
        options: Options of `Task.apply_async`.
        type: The task, where it is known.
        subtask_type: None for plain calls.
        immutable: Whether further arguments are ignored.
        app: The application.
        **ex: More options.

    """

    TYPES: ClassVar[dict[str, Any]] = {}
    _app: Any = None
    _type: Any = None

    def __init__(
        self,
        task: Any = None,
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        type: Any = None,  # noqa: A002 - Celery's name
        subtask_type: str | None = None,
        immutable: bool = False,  # noqa: FBT001, FBT002
        app: Any = None,
        **ex: Any,
    ) -> None:
        self._app = app
        if isinstance(task, dict):
            super().__init__(task)
            return
        name = getattr(task, "name", None)
        if name is None:
            name = task
        else:
            self._type = task
        if type is not None:
            self._type = type
        super().__init__(
            task=name,
            args=tuple(args or ()),
            kwargs=dict(kwargs or {}),
            options={**(options or {}), **ex},
            subtask_type=subtask_type,
            immutable=immutable,
        )

    @classmethod
    def register_type(cls, name: str | None = None) -> Callable[[Any], Any]:
        """Register a class for a `subtask_type`; a decorator.

        Returns:
            The decorator.
        """

        def register(subclass: Any) -> Any:
            cls.TYPES[name or subclass.__name__] = subclass
            return subclass

        return register

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Signature:
        """Make a signature of a dictionary that came in a message.

        Args:
            d: The dictionary.
            app: The application.

        Returns:
            A signature.

        Raises:
            NotImplementedError: It is of a type that is not there yet.
        """
        kind = d.get("subtask_type") or _COMPOSED.get(str(d.get("task")))
        if kind is None:
            return Signature(dict(d), app=app)
        target = cls.TYPES.get(kind)
        if target is None:
            message = (
                f"This message composes tasks as a {kind}, which this version cannot execute yet: "
                f"{d.get('task')!r}. Leave it to a Celery worker, or call the tasks one by one."
            )
            raise NotImplementedError(message)
        made: Signature = target.from_dict(d, app=app)
        return made

    # What it is --------------------------------------------------------------------------------

    @property
    def app(self) -> Any:
        """The application."""
        if self._app is not None:
            return self._app
        return self._type.app if self._type is not None else get_current_app()

    @property
    def app_given(self) -> Any:
        """The application it was made with; None if it was made with none."""
        return self._app

    @property
    def task_given(self) -> Any:
        """The task it was made with; None if it was made with a name."""
        return self._type

    @property
    def app_known(self) -> Any:
        """The application it was made with, or that of its task; None if it is any."""
        return self._app if self._app is not None else getattr(self._type, "app", None)

    def of(self, sig: Any) -> Any:
        """Make a signature of what may be a dictionary, for the same application.

        Returns:
            The signature.
        """
        return sig if isinstance(sig, Signature) else maybe_signature(sig, app=self._app)

    @property
    def type(self) -> Any:
        """The task.

        Raises:
            NotRegistered: It is not known here.
        """  # noqa: DOC502 - raised by the registry
        return self._type if self._type is not None else self.app.tasks[self["task"]]

    @property
    def name(self) -> str:
        """The task's name."""
        return str(self["task"])

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self["task"])

    @task.setter
    def task(self, task: Any) -> None:
        self["task"] = task

    @property
    def args(self) -> Any:
        """Positional arguments."""
        return self["args"]

    @args.setter
    def args(self, args: Any) -> None:
        self["args"] = args

    @property
    def kwargs(self) -> Any:
        """Keyword arguments."""
        return self["kwargs"]

    @kwargs.setter
    def kwargs(self, kwargs: Any) -> None:
        self["kwargs"] = kwargs

    @property
    def options(self) -> dict[str, Any]:
        """Options of the call."""
        options: dict[str, Any] = self["options"]
        return options

    @options.setter
    def options(self, options: Any) -> None:
        self["options"] = options

    @property
    def subtask_type(self) -> str | None:
        """None for plain calls."""
        kind: str | None = self.get("subtask_type")
        return kind

    @property
    def immutable(self) -> bool:
        """Whether further arguments are ignored."""
        return bool(self.get("immutable"))

    @property
    def id(self) -> str | None:
        """The id the call will have, where it is fixed."""
        task_id: str | None = self.options.get("task_id")
        return task_id

    @property
    def root_id(self) -> str | None:
        """The id of the task that began the workflow, where it is fixed."""
        root_id: str | None = self.options.get("root_id")
        return root_id

    @property
    def parent_id(self) -> str | None:
        """The id of the task that called it, where it is fixed."""
        parent_id: str | None = self.options.get("parent_id")
        return parent_id

    @property
    def AsyncResult(self) -> Any:  # noqa: N802 - Celery's name
        """Makes handles to results of the task."""
        known = self.app.tasks.get(self["task"]) if self._type is None else self._type
        return known.AsyncResult if known is not None else self.app.AsyncResult

    # Calling it --------------------------------------------------------------------------------

    def __call__(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Run the task here and now.

        Returns:
            What it returns.
        """
        args, kwargs, _ = self._merge(partial_args, partial_kwargs, None)
        return self.type(*args, **kwargs)

    def delay(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Send it, with these arguments put in front.

        Returns:
            A handle to its result.
        """
        return self.apply_async(partial_args, partial_kwargs)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Execute it in this process, as a worker would.

        Returns:
            Its result, which is there already.
        """
        args, kwargs, options = self._merge(args, kwargs, options)
        return self.type.apply(args, kwargs, **options)

    def apply_async(
        self, args: Any = None, kwargs: Any = None, route_name: str | None = None, **options: Any
    ) -> Any:
        """Send it.

        Args:
            args: Arguments to put in front.
            kwargs: Keyword arguments that override.
            route_name: Name to choose a route by.
            **options: Options that override.

        Returns:
            A handle to its result.
        """
        # Compat: an option of None is as if it was not given.
        options = {key: value for key, value in options.items() if value is not None}
        args, kwargs, options = self._merge(args, kwargs, options)
        known = self.app.tasks.get(self["task"]) if self._type is None else self._type
        if known is not None:
            return known.apply_async(args, kwargs, **options)
        if route_name is not None:
            options["route_name"] = route_name
        return self.app.send_task(self["task"], args, kwargs, **options)

    async def adelay(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Send it, with these arguments put in front, without blocking the loop.

        Returns:
            A handle to its result.
        """
        return await self.aapply_async(partial_args, partial_kwargs)

    async def aapply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Send it, without blocking the loop; one thread sends all of a composition.

        Args:
            args: Arguments to put in front.
            kwargs: Keyword arguments that override.
            **options: Options that override.

        Returns:
            A handle to its result.
        """
        known = None
        if type(self) is Signature:
            known = self.app.tasks.get(self["task"]) if self._type is None else self._type
        if known is None:
            import asyncio  # noqa: PLC0415 - `import celeriac` stays quick

            return await asyncio.to_thread(self.apply_async, args, kwargs, **options)
        options = {key: value for key, value in options.items() if value is not None}
        args, kwargs, options = self._merge(args, kwargs, options)
        return await known.aapply_async(args, kwargs, **options)

    def election(self) -> Any:
        """Let the workers elect one among them, which sends it.

        Returns:
            A handle to its result.
        """
        app, result = self.app, self.clone().freeze()
        action = self.clone(task_id=result.id, reply_to=app.thread_oid)
        app.control.election(result.id, "task", action)
        return result

    def _merge(
        self,
        args: Any = None,
        kwargs: Any = None,
        options: Mapping[str, Any] | None = None,
        *,
        force: bool = False,
    ) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        kept = KEPT_OPTIONS | frozenset(self.options.get("stamped_headers") or ())
        given = {
            key: value
            for key, value in (options or {}).items()
            if key not in kept or key not in self.options
        }
        merged = {**self.options, **given}
        if self.immutable and not force:
            return self.args, self.kwargs, merged
        return (
            (*(args or ()), *self.args) if args else self.args,
            {**self.kwargs, **(kwargs or {})},
            merged,
        )

    # Changing it -------------------------------------------------------------------------------

    def clone(self, args: Any = None, kwargs: Any = None, **opts: Any) -> Self:
        """Copy it, with arguments put in front and options that override.

        Returns:
            The copy.
        """
        copied_args, copied_kwargs, options = self.args, self.kwargs, deepcopy(self.options)
        if args or kwargs or opts:
            copied_args, copied_kwargs, options = self._merge(args, kwargs, opts)
            options = deepcopy(options)
        copy = type(self).__new__(type(self))
        dict.__init__(copy, self)
        copy.update(args=tuple(copied_args), kwargs=dict(copied_kwargs), options=options)
        copy._app, copy._type = self._app, self._type  # noqa: SLF001 - our own
        return copy

    partial = clone

    def set(self, immutable: bool | None = None, **options: Any) -> Self:  # noqa: FBT001 - Celery's signature
        """Set options.

        Returns:
            The signature.
        """
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:  # noqa: FBT001 - Celery's signature
        """Say whether further arguments are ignored."""
        self["immutable"] = immutable

    def replace(self, args: Any = None, kwargs: Any = None, options: Any = None) -> Self:
        """Copy it with other arguments or options.

        Returns:
            The copy.
        """
        copy = self.clone()
        for key, value in (("args", args), ("kwargs", kwargs), ("options", options)):
            if value is not None:
                copy[key] = value
        return copy

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Any:
        """Fix the id that the call will have.

        Returns:
            A handle to its result.
        """
        options = self.options
        task_id = options.setdefault("task_id", _id or new_id())
        options.setdefault("reply_to", self.app.thread_oid)
        fields = {
            "root_id": root_id,
            "parent_id": parent_id,
            "group_id": group_id,
            "chord": chord,
            "group_index": group_index,
        }
        for key, value in fields.items():
            if value is not None and not (key in KEPT_OPTIONS and key in options):
                options[key] = value
        return self.AsyncResult(task_id)

    def append_to_list_option(self, key: str, value: Any) -> Any:
        """Append to an option that is a list, unless it is there.

        Returns:
            The value.
        """
        items = self._listed(key)
        if value not in items:
            items.append(value)
        return value

    def extend_list_option(self, key: str, value: Any) -> None:
        """Append several to an option that is a list."""
        self._listed(key).extend(value if isinstance(value, (list, tuple)) else [value])

    def _listed(self, key: str) -> list[Any]:
        items = self.options.setdefault(key, [])
        if not isinstance(items, list):
            items = self.options[key] = [items]
        return items

    def link(self, callback: Any) -> Any:
        """Call another with the result.

        Returns:
            The callback.
        """
        return self.append_to_list_option("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Call another if it fails.

        Returns:
            The errback.
        """
        return self.append_to_list_option("link_error", errback)

    def on_error(self, errback: Any) -> Self:
        """Call another if it fails.

        Returns:
            The signature.
        """
        self.link_error(errback)
        return self

    def flatten_links(self) -> list[Any]:
        """List it and all that are linked to it.

        Returns:
            Signatures.
        """
        linked = [maybe_signature(sig, app=self._app) for sig in self.options.get("link") or ()]
        return [self, *(each for sig in linked for each in sig.flatten_links())]

    def __or__(self, other: Any) -> Any:
        return compose(self, other)

    def __ior__(self, other: Any) -> Any:
        # A dictionary's `|=` would merge the two.
        return compose(self, other)

    def __invert__(self) -> Any:
        return self.apply_async().get()

    # Stamping it -------------------------------------------------------------------------------

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> Any:  # noqa: FBT001, FBT002 - Celery's signature
        """Put stamps on it, and on what is linked to it.

        Args:
            visitor: A `StampingVisitor` that chooses them.
            append_stamps: Whether a stamp that is there already becomes a list of both.
            **headers: Stamps.

        Returns:
            The signature.
        """
        self.stamp_links(visitor, append_stamps, **headers)
        chosen = visitor.on_signature(self, **headers) if visitor is not None else None
        return self.set(**stamping.merged(self, headers, chosen, append=append_stamps))

    def stamp_links(self, visitor: Any, append_stamps: bool = False, **headers: Any) -> None:  # noqa: FBT001, FBT002 - Celery's signature
        """Put stamps on its callbacks and errbacks."""
        stamping.stamp_links(self, visitor, headers, append=append_stamps)

    # Showing it --------------------------------------------------------------------------------

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """Show the call.

        Returns:
            Such as ``tasks.add(1, 2)``.
        """
        all_args, all_kwargs, _ = self._merge(args, kwargs, {}, force=True)
        return reprcall(self["task"], all_args, all_kwargs)

    def __repr__(self) -> str:
        return self.reprcall()

    def __deepcopy__(self, memo: dict[int, Any]) -> Signature:
        memo[id(self)] = self
        return self.clone()

    def __reduce__(self) -> Any:
        # A plain dictionary is read by any process, whether it has this package or Celery.
        return dict, (dict(self),)

    def __json__(self) -> dict[str, Any]:
        """Write it as JSON does.

        Returns:
            A plain dictionary.
        """
        return dict(self)


def signature(varies: Any, *args: Any, **kwargs: Any) -> Signature:
    """Make a signature.

    Args:
        varies: A task, its name, a dictionary, or a signature (which is copied).
        *args: See `Signature`.
        **kwargs: See `Signature`.

    Returns:
        A signature.
    """
    app = kwargs.get("app")
    if isinstance(varies, Mapping):
        if isinstance(varies, Signature):
            return varies.clone()
        return Signature.from_dict(varies, app=app)
    return Signature(varies, *args, **kwargs)


def signature_of_call(
    task: Any, args: tuple[Any, ...], kwargs: dict[str, Any], app: Any
) -> Signature:
    """Make what ``Signature(task, args, kwargs, app=app)`` makes, in half the time.

    Args:
        task: The task.
        args: Its positional arguments.
        kwargs: Its keyword arguments, in a dictionary of the signature's own.
        app: The application.

    Returns:
        The signature.
    """
    made = Signature.__new__(Signature)
    made._app, made._type = app, task  # noqa: SLF001 - our own
    made["task"] = task.name
    made["args"] = args
    made["kwargs"] = kwargs
    made["options"] = {}
    made["subtask_type"] = None
    made["immutable"] = False
    return made


def maybe_signature(d: Any, app: Any = None, clone: bool = False) -> Any:  # noqa: FBT001, FBT002 - Celery's signature
    """Make a signature of what may be one.

    Args:
        d: A signature, a dictionary of one, or None.
        app: The application it gets.
        clone: Whether a signature is copied.

    Returns:
        A signature; None for None.
    """
    if d is None:
        return None
    if isinstance(d, Signature):
        made = d.clone() if clone else d
    elif isinstance(d, Mapping):
        made = signature(d, app=app)
    else:
        return d
    if app is not None:
        made._app = app  # noqa: SLF001 - our own
    return made
