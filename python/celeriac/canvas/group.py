"""`group`: tasks that run side by side.

Source:
    protocol: a group is so many messages with one group id; nested groups are flat on the wire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac._current import get_current_app
from celeriac.canvas import compose
from celeriac.canvas.lazy import LazyTasks, listed
from celeriac.canvas.plan import without_repeated_module
from celeriac.canvas.signature import KEPT_OPTIONS, Signature, maybe_signature
from celeriac.canvas.size import parts_of
from celeriac.canvas.stamping import merged
from celeriac.nodenames import new_id
from celeriac.result.handles import LazyHandles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Stands for the end of the members: any of them may be None.
_END = object()


@Signature.register_type()
class group(Signature):  # noqa: N801 - Celery's name
    """Tasks that run side by side; their results come as a list in the same order.

    The members may come from a generator: they are then sent while it runs.

    Args:
        *tasks: Signatures, or one iterable of them.
        **options: Options of all members; ``app``.

    """

    def __init__(self, *tasks: Any, **options: Any) -> None:
        app = options.pop("app", None)
        super().__init__(
            "celery.group", (), {"tasks": _members(tasks)}, options, subtask_type="group", app=app
        )

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Any:
        """Make a group of a dictionary that came in a message.

        Returns:
            The group.
        """
        return cls(
            [maybe_signature(task, app=app) for task in d["kwargs"]["tasks"]],
            app=app,
            **d["options"],
        )

    @property
    def tasks(self) -> Any:
        """The members."""
        return self["kwargs"]["tasks"]

    @tasks.setter
    def tasks(self, tasks: Any) -> None:
        self["kwargs"]["tasks"] = tasks

    @property
    def app(self) -> Any:
        """The application; that of the first member unless it was given."""
        if self._app is None:
            tasks = self.tasks
            read = tasks[:1] if not isinstance(tasks, LazyTasks) else [tasks.first()]
            first: Any = next(iter(read), None)
            if compose.is_signature(first):
                return first.app
        return self._app if self._app is not None else get_current_app()

    def clone(self, *args: Any, **kwargs: Any) -> Any:
        """Copy it; the members are the same, in a list of its own.

        Returns:
            The copy.
        """
        copy = super().clone(*args, **kwargs)
        if isinstance(self.tasks, list):
            copy.tasks = list(self.tasks)
        return copy

    # Calling it --------------------------------------------------------------------------------

    def __call__(self, *partial_args: Any, **options: Any) -> Any:
        """Send all members, with these arguments put in front.

        Returns:
            A handle to their results.
        """
        return self.apply_async(partial_args, **options)

    @compose.refusing_cycles
    def apply_async(  # type: ignore[override]  # Celery's signature
        self,
        args: Any = None,
        kwargs: Any = None,
        add_to_parent: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        **options: Any,
    ) -> Any:
        """Send all members; returns when the broker has them all.

        Args:
            args: Put in front of each member's arguments.
            kwargs: Override each member's.
            add_to_parent: Whether the task that runs here notes the group as its child.
            producer: A publisher to send through (see `Celery.publisher`).
            link: Not for groups.
            link_error: Not for groups.
            **options: Options of each member; ``task_id`` is the group's id, ``publisher`` as
                `producer`, ``connection`` leads to another broker.

        Returns:
            A `GroupResult`.

        Raises:
            TypeError: `link` or `link_error` was given.
        """
        if link is not None or link_error is not None:
            message = (
                "A group has no callbacks of its own: put a task after it (group | task), or link "
                "its members."
            )
            raise TypeError(message)
        app = self.app
        if app.conf.task_always_eager:
            return self.apply(args, kwargs, **options)
        if compose.is_empty_group(self):
            return self.freeze()
        lent = producer or options.pop("publisher", None)
        options, group_id = self._options_of_members({**options, "publisher": lent})
        results = LazyHandles(app.AsyncResult)
        lent, connection = (options.pop(key, None) for key in ("publisher", "connection"))
        with app.publisher_or(lent, connection) as publisher:
            for sent in self._send(publisher, group_id, args, kwargs, options):
                if type(sent) is list:
                    results.extend_ids(sent)
                elif (
                    type(sent) is app.AsyncResult
                    and sent.backend is app.backend
                    and not sent.parent
                ):
                    results.append_id(sent.id)
                else:
                    results.append(sent)
        result = app.GroupResult(group_id, results)
        if len(results) == 1 and isinstance(results[0], app.GroupResult):
            # Its only member is a chain that ends with a group.
            result = results[0]
        if add_to_parent and app.current_worker_task:
            app.current_worker_task.add_trail(result)
        return result

    def _send(
        self, publisher: Any, group_id: str, args: Any, kwargs: Any, options: dict[str, Any]
    ) -> Iterator[Any]:
        """Send each member, one behind: of a chord's the last goes when the chord's size is stored.

        Yields:
            A handle to each member's result; a list of ids where that is all there is to say.
        """
        is_plain = not (args or kwargs) and options.keys() == {"group_id"}
        quick = (self.app, publisher) if is_plain else None
        root_id, chord = options.get("root_id"), options.pop("chord", None)
        given = {"producer": publisher, "add_to_parent": False, **options}
        counts = not self._has_id_of_header()
        size = 0
        ahead: Any = None
        for sig, result in self._frozen_members(self.tasks, group_id, root_id, quick):
            if sig is None:
                yield result
                continue
            if ahead is not None:
                ahead.apply_async(args, kwargs, **given)
            body = chord if chord is not None else sig.options.get("chord")
            given["chord"] = body
            # What is in a group of a header counts in the header.
            if body is not None and counts and sig.options.get("group_id", group_id) == group_id:
                size += parts_of(sig)
            ahead = sig
            yield result
        if ahead is not None:
            if size:
                self.app.backend.set_chord_size(group_id, size)
            ahead.apply_async(args, kwargs, **given)

    def _has_id_of_header(self) -> bool:
        # Compat: a group at the end of a chain in a header has the header's id in messages of
        # Celery up to 5.6. It is not the header: to count its members would overwrite the size.
        own_id = self.options.get("task_id")
        return own_id is not None and own_id == self.options.get("group_id")

    def _frozen_members(
        self, tasks: Any, group_id: str, root_id: str | None, quick: Any = None
    ) -> Iterator[tuple[Any, Any]]:
        """Copy the members, flat, with their ids; those that can be are sent at once.

        Args:
            tasks: The members.
            group_id: The group.
            root_id: The first task of the workflow.
            quick: The application, and the window, for calls that say nothing but their arguments.

        Yields:
            A signature, and a handle to its result; None and the ids of what was sent.
        """
        source = tasks.taken() if isinstance(tasks, LazyTasks) else iter(tasks)
        index, member = 0, next(source, _END)
        while member is not _END:
            if quick is not None:
                ids, member = self._sent_at_once(member, source, quick, group_id, index)
                if ids:
                    index += len(ids)
                    yield None, ids
                    continue
            sig = maybe_signature(member, app=self._app, clone=True)
            if compose.kind(sig) == "group":
                yield from self._frozen_members(sig.tasks, group_id, root_id, quick)
                quick = None  # what comes after it is not sent before it
            elif not _is_empty_chain(sig):
                quick = None
                yield sig, sig.freeze(group_id=group_id, root_id=root_id, group_index=index)
            index, member = index + 1, next(source, _END)

    def _sent_at_once(
        self, member: Any, source: Iterator[Any], quick: Any, group_id: str, index: int
    ) -> tuple[list[str], Any]:
        """Send a member, and those after it that are like it.

        Returns:
            As `Task.send_members`; nothing and the member where it has to be looked at.
        """
        if type(member) is not Signature or member["options"]:
            return [], member
        (app, window), given = quick, member.app_given
        known = member.task_given or app.tasks.get(member["task"])
        if known is None or (given is not None and given is not app) or known.app is not app:
            return [], member
        return known.send_members(member, source, window, group_id, index, _END)  # type: ignore[no-any-return]

    def _options_of_members(self, given: dict[str, Any]) -> tuple[dict[str, Any], str]:
        options = dict(self.options)
        options.update(
            (key, value)
            for key, value in given.items()
            if value is not None and not (key in KEPT_OPTIONS and key in options)
        )
        # The group's own place in another; its members have places in this one.
        options.pop("group_index", None)
        group_id = options.pop("task_id", None) or new_id()
        options["group_id"] = group_id
        return options, group_id

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Execute all members in this process, one after the other.

        Returns:
            A `GroupResult` of results that are there already.
        """
        if compose.is_empty_group(self):
            return self.freeze()
        options, group_id = self._options_of_members(options)
        results = [sig.apply(args, kwargs, **options) for sig in self._flat(self.tasks)]
        return self.app.GroupResult(group_id, results)

    def _flat(self, tasks: Any) -> Iterator[Any]:
        for member in tasks:
            sig = maybe_signature(member, app=self._app, clone=True)
            if compose.kind(sig) == "group":
                yield from self._flat(sig.tasks)
            elif not _is_empty_chain(sig):
                yield sig

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Any:
        """Fix the ids that the group and its members will have; nested groups become flat.

        Returns:
            A `GroupResult`.
        """
        options = self.options
        own_id = options.setdefault("task_id", _id or new_id())
        own = {"group_id": group_id, "chord": chord, "group_index": group_index}
        options.update((key, value) for key, value in own.items() if value is not None)
        root_id = options.setdefault("root_id", root_id)
        parent_id = options.setdefault("parent_id", parent_id)
        members = list(_flat_for_join(self.tasks, self._app))
        results = [
            sig.freeze(
                group_id=group_id,
                chord=chord,
                root_id=root_id,
                parent_id=parent_id,
                group_index=index,
            )
            for index, sig in enumerate(members)
        ]
        if isinstance(self.tasks, list):
            self.tasks[:] = members
        else:
            self.tasks = members
        return self.app.GroupResult(own_id, results)

    # Changing it -------------------------------------------------------------------------------

    def set_immutable(self, immutable: bool) -> None:  # noqa: FBT001 - Celery's signature
        """Say whether further arguments are ignored by the members."""
        for task in self._own_tasks():
            task.set_immutable(immutable)

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Any:
        """Let the members start one after the other.

        Args:
            start: Countdown of the first, in seconds.
            stop: The highest countdown; the members after it have it, too.
            step: How many seconds later each is than the one before.

        Returns:
            The group.
        """
        for index, task in enumerate(self._own_tasks()):
            seconds = start + index * step
            task.set(countdown=seconds if stop is None else min(seconds, stop))
        return self

    def link(self, sig: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # Celery's name
        """Call another when the first member has succeeded; to wait for all, use ``group | task``.

        Returns:
            The callback.
        """
        return self._own_tasks()[0].link(sig.clone().set(immutable=True))

    def link_error(self, sig: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # Celery's name
        """Call another for each member that fails.

        Returns:
            The errbacks, one of each member.
        """
        errback = maybe_signature(sig)
        return tuple(task.link_error(errback.clone()) for task in self._own_tasks())

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> None:  # noqa: FBT001, FBT002 - Celery's signature
        """Put stamps on each member."""
        chosen = visitor.on_group_start(self, **headers) if visitor is not None else None
        headers = merged(self, headers, chosen, append=append_stamps)
        self.stamp_links(visitor, append_stamps, **headers)
        for task in self._own_tasks():
            task.stamp(visitor, append_stamps, **headers)
        if visitor is not None:
            visitor.on_group_end(self, **headers)

    def _own_tasks(self) -> list[Any]:
        # As signatures that belong to this group and may be changed.
        self.tasks = tasks = [maybe_signature(task, app=self._app) for task in listed(self.tasks)]
        return tasks

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        if isinstance(self.tasks, LazyTasks):
            return f"group({self.tasks!r})"
        if not self.tasks:
            return "group(<empty>)"
        return without_repeated_module(self.tasks[0]["task"], f"group({list(self.tasks)!r})")


def _members(tasks: tuple[Any, ...]) -> Any:
    if len(tasks) != 1:
        return list(tasks)
    given = tasks[0]
    if isinstance(given, group):
        return given.tasks
    if isinstance(given, dict):
        return [maybe_signature(given, clone=True)]
    return given if isinstance(given, (list, tuple, LazyTasks)) else LazyTasks(given)


def _flat_for_join(tasks: Any, app: Any) -> Iterator[Any]:
    """Copy the members of a group whose results are joined.

    Compat: what a group inside of it has comes out in reverse order, as from Celery; the results
    in a chord's body have this order.

    Yields:
        Signatures.
    """
    waiting = list(reversed(list(tasks)))
    while waiting:
        sig = maybe_signature(waiting.pop(), app=app, clone=True)
        if compose.kind(sig) == "group":
            waiting.extend(sig.tasks)
        elif not _is_empty_chain(sig):
            yield sig


def _is_empty_chain(sig: Any) -> bool:
    return compose.kind(sig) == "chain" and not sig["kwargs"]["tasks"]
