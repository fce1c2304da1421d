"""`chord`: a task that is called with the results of a group.

Source:
    protocol: chord on the wire (each member of the header carries the body).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from celeriac._current import get_current_app
from celeriac.canvas import callbacks, compose, plan
from celeriac.canvas.group import group
from celeriac.canvas.lazy import LazyTasks, listed
from celeriac.canvas.signature import KEPT_OPTIONS, Signature, maybe_signature
from celeriac.canvas.size import parts_of
from celeriac.canvas.stamping import merged
from celeriac.exceptions import CPendingDeprecationWarning
from celeriac.nodenames import new_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self


@Signature.register_type(name="chord")
class chord(Signature):  # noqa: N801 - Celery's name
    """A group (the header), and a task (the body) that is called with the list of its results.

    Args:
        header: A group, or an iterable of signatures.
        body: A signature.
        task: Name of the task that is a chord.
        args: Put in front of the arguments of each member of the header.
        kwargs: Given to each member of the header.
        app: The application.
        **options: Options of `chord.apply_async`.

    """

    def __init__(
        self,
        header: Any,
        body: Any = None,
        task: str = "celery.chord",
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        app: Any = None,
        **options: Any,
    ) -> None:
        members = {
            **(kwargs or {"kwargs": {}}),
            "header": _header(header, app),
            "body": maybe_signature(body, app=app),
        }
        given = options.pop("options", None)
        super().__init__(
            task, args, members, {**(given or {}), **_without_shape(options)},
            subtask_type="chord", immutable=bool(options.get("immutable")), app=app,
        )  # fmt: skip

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Any:
        """Make a chord of a dictionary that came in a message.

        Returns:
            The chord.
        """
        members = dict(d["kwargs"])
        header, body = members.pop("header", None), members.pop("body", None)
        return cls(
            header,
            body,
            task=d["task"],
            args=d.get("args"),
            kwargs=members,
            app=app,
            options=d.get("options"),
            immutable=d.get("immutable"),
        )

    @property
    def tasks(self) -> Any:
        """The header: a group, or a list of signatures."""
        return self["kwargs"]["header"]

    @tasks.setter
    def tasks(self, tasks: Any) -> None:
        self["kwargs"]["header"] = tasks

    @property
    def body(self) -> Any:
        """The body."""
        return self["kwargs"]["body"]

    @body.setter
    def body(self, body: Any) -> None:
        self["kwargs"]["body"] = body

    def header_group(self) -> Any:
        """Make a group of the header, if it is none.

        Returns:
            The header.
        """
        if not isinstance(self.tasks, group):
            self.tasks = group(self.tasks, app=self.app)
        return self.tasks

    def _members(self) -> list[Any]:
        # Of the header, as signatures that may be changed.
        header = self.tasks
        if isinstance(header, group):
            header.tasks = members = [self.of(task) for task in header.tasks]
        else:
            self.tasks = members = [self.of(task) for task in header]
        return members

    @property
    def app(self) -> Any:
        """The application; that of the header or of the body unless it was given."""
        return self._app_with(self.body)

    def _app_with(self, body: Any) -> Any:
        if self._app is not None:
            return self._app
        members = getattr(self.tasks, "tasks", self.tasks)
        first = members[0] if not isinstance(members, LazyTasks) and members else None
        for sig in (first, body):
            app = getattr(sig, "app_known", None)
            if app is not None:
                return app
        return get_current_app()

    def clone(self, *args: Any, **kwargs: Any) -> Self:
        """Copy it and its body.

        Returns:
            The copy.
        """
        copy = super().clone(*args, **kwargs)
        copy.body = maybe_signature(self.body, clone=True)
        header = self.tasks
        copy.tasks = header.clone() if isinstance(header, group) else list(header)
        return copy

    # Calling it --------------------------------------------------------------------------------

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send the header, with this body instead.

        Returns:
            A handle to the body's result.
        """
        return self.apply_async((), {"body": body} if body else {}, **options)

    @compose.refusing_cycles
    def apply_async(  # type: ignore[override]  # Celery's signature
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        publisher: Any = None,
        connection: Any = None,
        router: Any = None,
        result_cls: Any = None,
        **options: Any,
    ) -> Any:
        """Send the header; the body follows when all of it is done.

        Args:
            args: Put in front of the arguments of each member of the header.
            kwargs: Given to each member; ``body`` replaces the body.
            task_id: Id of the body.
            producer: A publisher to send through.
            publisher: As `producer`.
            connection: Ignored.
            router: Ignored.
            result_cls: Ignored.
            **options: For header and body; ``countdown`` and ``eta`` delay the header, ``link``
                and ``link_error`` are the body's.

        Returns:
            A handle to the body's result; its ``parent`` is the header's `GroupResult`.

        Raises:
            TypeError: It has no body.
        """
        del connection, router, result_cls
        args = self.args if self.immutable or not args else (*args, *self.args)
        kwargs = {**self["kwargs"].get("kwargs", {}), **(kwargs or {})}
        body = kwargs.pop("body", None) or self.body
        if body is None:
            message = "This chord has no body, which its results go to: chord(header, body)."
            raise TypeError(message)
        delay = {key: options.pop(key, None) for key in ("countdown", "eta")}
        linked: dict[str, Any] = {
            key: options.pop(key) for key in ("link", "link_error") if key in options
        }
        options = {key: value for key, value in options.items() if value is not None}
        body = body.clone(**_for_body(options))
        app = self._app_with(body)
        if app.conf.task_always_eager:
            body = callbacks.added_to_body(body, {**self.options, **linked})
            return self.apply(args, kwargs, body=body, **options)
        header = self._header_to_send(app)
        options = {**self.options, **options, **linked}
        for key in ("countdown", "eta"):
            own = options.pop(key, None)
            delay[key] = own if delay[key] is None else delay[key]
        body_id = task_id or options.pop("task_id", None)
        options.pop("task_id", None)
        options["producer"] = producer or publisher
        return self.run(
            header, body, args, app=app, task_id=body_id, kwargs=kwargs, header_delay=delay,
            **options,
        )  # fmt: skip

    def _header_to_send(self, app: Any) -> Any:
        header = self.tasks
        if isinstance(header, group):
            return header.clone()
        tasks = list(listed(header))
        return group(tasks, app=app, task_id=self.options.get("task_id") or new_id())

    def run(  # noqa: PLR0913, PLR0917 - Celery's signature
        self,
        header: Any,
        body: Any,
        partial_args: Any,
        app: Any = None,
        interval: float | None = None,
        countdown: float = 1,
        max_retries: int | None = None,
        eager: bool = False,  # noqa: FBT001, FBT002
        task_id: str | None = None,
        kwargs: Any = None,
        header_delay: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Fix all ids and send the header; an empty header sends the body at once.

        Args:
            header: A group of the chord's own.
            body: A signature of the chord's own.
            partial_args: Put in front of the arguments of each member of the header.
            app: The application.
            interval: Seconds between two looks, where a store cannot join by itself.
            countdown: Seconds until the first of these looks.
            max_retries: How many looks.
            eager: Ignored.
            task_id: Id of the body.
            kwargs: Given to each member of the header.
            header_delay: ``countdown`` or ``eta`` of the header.
            **options: For header and body.

        Returns:
            A handle to the body's result.
        """
        del eager
        app = app or self._app_with(body)
        _check_backend(body, app)
        body = callbacks.added_to_body(body, options)
        # Not its group, if it has one: it counts there, also as a member of a group in a header.
        body.options.update(
            {
                key: value
                for key, value in _for_body(options).items()
                if key != "producer" and not (key in KEPT_OPTIONS and key in body.options)
            }
        )
        if compose.kind(body) == "chain":
            body.tasks = plan.unfolded(body.tasks, app, splits_chords=not body.does_link)
        group_id = header.options.get("task_id") or new_id()
        header.options["task_id"] = group_id
        root_id = body.options.get("root_id")
        result = body.freeze(task_id or new_id(), group_id=group_id, root_id=root_id)
        header_result = header.freeze(group_id=group_id, chord=body, root_id=root_id)
        # A group with its own id as its group's is one in a header: see `group.apply_async`.
        header.options.pop("group_id", None)
        if header.tasks:
            looks = {"interval": interval, "countdown": countdown, "max_retries": max_retries}
            app.backend.apply_chord((group_id, header_result.results), body, **looks)
            for key in ("chain", "chord", "task_id"):
                options.pop(key, None)
            delay = {key: value for key, value in (header_delay or {}).items() if value is not None}
            header_result = header.apply_async(
                partial_args, kwargs, task_id=group_id, **{**options, **delay}
            )
        else:
            body.delay([])
        result.parent = header_result
        return result

    def apply(
        self,
        args: Any = None,
        kwargs: Any = None,
        propagate: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        body: Any = None,
        **options: Any,
    ) -> Any:
        """Execute header and body in this process.

        Returns:
            The body's result, which is there already.
        """
        del options
        body = self.body if body is None else body
        header = group(self.tasks, app=self.app).apply(args, kwargs)
        values = header.get(propagate=propagate, disable_sync_subtasks=False)
        return body.apply(args=(values,))

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Any:
        """Fix the ids that header and body will have.

        The header's members do not get the body here but when they are sent: a frozen chord has
        its body once, not once for each member.

        Returns:
            A handle to the body's result.
        """
        header = self.header_group()
        header_result = header.freeze(parent_id=parent_id, root_id=root_id)
        self.options["task_id"] = header.id
        if self.body is None:
            return None
        result = self.body.freeze(
            _id, root_id=root_id, chord=chord, group_id=group_id, group_index=group_index
        )
        first = result
        while first.parent is not None and first.parent != header_result:
            first = first.parent
        first.parent = header_result
        return result

    # Changing it -------------------------------------------------------------------------------

    def link(self, callback: Any) -> Any:
        """Call another with the body's result.

        Returns:
            The callback.
        """
        self.body.link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Call another if the body fails, which it does if its header fails.

        With `task_allow_error_cb_on_chord_header` it is also called for each member of the header
        that fails.

        Returns:
            The errback.
        """
        errback = maybe_signature(errback)
        members = getattr(self.tasks, "tasks", self.tasks)
        if self.app.conf.task_allow_error_cb_on_chord_header:
            for task in members:
                task.link_error(errback.clone())
        else:
            warnings.warn(_NO_ERRBACK_ON_HEADER, CPendingDeprecationWarning, stacklevel=2)
            for task in members:
                if compose.kind(task) == "chord":
                    task.link_error(errback)
        self.body.link_error(errback)
        return errback

    def set_immutable(self, immutable: bool) -> None:  # noqa: FBT001 - Celery's signature
        """Say whether further arguments are ignored by the header's members."""
        for task in self._members():
            task.set_immutable(immutable)

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> None:  # noqa: FBT001, FBT002 - Celery's signature
        """Put stamps on each member of the header; on the body only if the visitor says so."""
        chosen = visitor.on_chord_header_start(self, **headers) if visitor is not None else None
        headers = merged(self, headers, chosen, append=append_stamps)
        self.stamp_links(visitor, append_stamps, **headers)
        for task in self._members():
            task.stamp(visitor, append_stamps, **headers)
        if visitor is None:
            return
        visitor.on_chord_header_end(self, **headers)
        if self.body is not None:
            headers = merged(
                self, headers, visitor.on_chord_body(self, **headers), append=append_stamps
            )
            self.body.stamp(visitor, append_stamps, **headers)

    def __length_hint__(self) -> int:
        return parts_of(list(getattr(self.tasks, "tasks", self.tasks)))

    def __repr__(self) -> str:
        if self.body is None:
            return f"<chord without body: {self.tasks!r}>"
        if compose.kind(self.body) != "chain":
            return "%" + plan.without_repeated_module(
                self.body["task"], self.body.reprcall(self.tasks)
            )
        first, *rest = self.body["kwargs"]["tasks"]
        shown = " | ".join([first.reprcall(self.tasks), *map(repr, rest)])
        return f"%({plan.without_repeated_module(first['task'], shown)})"


_SHAPE = frozenset({"subtask_type", "immutable"})
_NO_ERRBACK_ON_HEADER = (
    "An errback linked to a chord is called for its body only, since "
    "task_allow_error_cb_on_chord_header is off; a later version may call it for members of the "
    "header, too. Set task_allow_error_cb_on_chord_header=True to have that now."
)


def _check_backend(body: Any, app: Any) -> None:
    other = body.app_known
    if other is None or other is app:
        return
    theirs, ours = other.backend.as_uri(), app.backend.as_uri()
    if theirs != ours:
        message = (
            f"The body {body['task']} belongs to the application {other.main!r}, which looks for "
            f"results in {theirs}; they will be in {ours}, that of the header's application "
            f"{app.main!r}. Name the body instead: app.signature({body['task']!r})."
        )
        raise ValueError(message)


def _without_shape(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in _SHAPE}


def _for_body(options: Mapping[str, Any]) -> dict[str, Any]:
    # The body's parent is the member of the header that was done last.
    return {key: value for key, value in options.items() if key != "parent_id"}


def _header(tasks: Any, app: Any) -> Any:
    if isinstance(tasks, dict) and not compose.is_signature(tasks):
        tasks = maybe_signature(tasks, app=app)
    if compose.kind(tasks) in {"group", "chain"} if isinstance(tasks, dict) else False:
        members: Any = tasks["kwargs"]["tasks"]
        return members
    if isinstance(tasks, dict):
        return [tasks]
    if isinstance(tasks, (list, tuple)):
        return [maybe_signature(task, app=app, clone=True) for task in tasks]
    if isinstance(tasks, LazyTasks):
        return tasks
    return LazyTasks(maybe_signature(task, app=app) for task in tasks)
