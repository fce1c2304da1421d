"""`chain`: tasks one after the other, each with the result of the one before.

Source:
    protocol: chain on the wire (the rest of a chain travels in the message, last step first).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac._current import get_current_app
from celeriac.canvas import compose, plan
from celeriac.canvas.lazy import listed
from celeriac.canvas.signature import Signature, maybe_signature
from celeriac.canvas.stamping import merged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self


@Signature.register_type(name="chain")
class _chain(Signature):  # noqa: N801 - Celery's name
    """A chain as it stands; `chain` makes one by the rules of ``|``.

    Args:
        *tasks: The steps, or one list of them.
        **options: Options of `chain.apply_async`; ``app``, and ``use_link`` (whether a step is
            linked to the one before, as protocol 1 has it, instead of travelling with it).

    """

    #: Whether another chain has the same steps, so that they must be copied before a change.
    _is_shared = False

    def __init__(
        self, *tasks: Any, app: Any = None, use_link: bool | None = None, **options: Any
    ) -> None:
        steps = tasks[0] if len(tasks) == 1 and not isinstance(tasks[0], dict) else tasks
        super().__init__(
            "celery.chain", (), {"tasks": listed(steps)}, options, subtask_type="chain", app=app
        )
        self._use_link = use_link

    @classmethod
    def of_steps(cls, steps: list[Any], app: Any = None) -> Any:
        """Make a chain of steps as they are.

        Returns:
            The chain.
        """
        return _chain(steps, app=app)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Any:
        """Make a chain of a dictionary that came in a message.

        Returns:
            The chain.
        """
        steps = [maybe_signature(task, app=app) for task in d["kwargs"]["tasks"] or ()]
        made = _chain(steps, app=app, **d["options"])
        made.update(args=tuple(d.get("args") or ()), immutable=bool(d.get("immutable")))
        return made

    # Its steps ---------------------------------------------------------------------------------

    @property
    def tasks(self) -> list[Any]:
        """The steps, in the order of execution."""
        if self._is_shared:
            self._is_shared = False
            self["kwargs"]["tasks"] = [self.of(step).clone() for step in self["kwargs"]["tasks"]]
        steps: list[Any] = self["kwargs"]["tasks"]
        return steps

    @tasks.setter
    def tasks(self, steps: Any) -> None:
        self._is_shared = False
        self["kwargs"]["tasks"] = listed(steps)

    def unchain_tasks(self) -> list[Any]:
        """Copy the steps, each with what the chain as a whole gives it.

        Returns:
            The steps: the chain's callbacks are linked to the last, its errbacks to each.
        """
        steps = [self.of(step).clone() for step in self["kwargs"]["tasks"]]
        for callback in listed_option(self, "link"):
            steps[-1].link(callback)
        for errback in listed_option(self, "link_error"):
            for step in steps:
                step.link_error(errback)
        return steps

    def steps_to_share(self) -> tuple[list[Any], bool]:
        """List the steps for a chain that continues this one.

        Returns:
            The steps in a new list, and whether they are this chain's own: who changes one of
            them copies it before, so that a chain of a thousand steps made by ``|`` is not copied
            a thousand times.
        """
        if self.options.get("link") or self.options.get("link_error"):
            return self.unchain_tasks(), False
        self._is_shared = True
        return list(self["kwargs"]["tasks"]), True

    def with_steps(self, steps: list[Any], *, is_shared: bool) -> Any:
        """Make a chain of the same class with other steps.

        Returns:
            The chain.
        """
        made = type(self).__new__(type(self))
        _chain.__init__(made, steps, app=self._app, use_link=self._use_link)
        made._is_shared = is_shared  # noqa: SLF001 - our own
        return made

    def clone(self, *args: Any, **kwargs: Any) -> Self:
        """Copy it and its steps.

        Returns:
            The copy.
        """
        copy = super().clone(*args, **kwargs)
        copy._use_link, copy._is_shared = self._use_link, False  # noqa: SLF001 - our own
        copy["kwargs"]["tasks"] = [self.of(step).clone() for step in self["kwargs"]["tasks"]]
        return copy

    @property
    def app(self) -> Any:
        """The application; that of the first step unless it was given."""
        steps = self["kwargs"]["tasks"]
        if self._app is None and steps and compose.is_signature(steps[0]):
            return steps[0].app
        return self._app if self._app is not None else get_current_app()

    @property
    def does_link(self) -> bool:
        """Whether a step is linked to the one before, as in protocol 1."""
        return self.app.conf.task_protocol == 1 if self._use_link is None else self._use_link

    # Calling it --------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Send it.

        Returns:
            A handle to the last step's result; None if it has no steps.
        """
        return self.apply_async(args, kwargs) if self["kwargs"]["tasks"] else None

    @compose.refusing_cycles
    def apply_async(
        self, args: Any = None, kwargs: Any = None, route_name: str | None = None, **options: Any
    ) -> Any:
        """Send the first step; the others travel with it.

        Args:
            args: Put in front of the first step's arguments.
            kwargs: Override the first step's.
            route_name: Not used: each step has a route of its own.
            **options: For the first step; ``task_id`` is the last one's, ``link`` goes to the
                last and ``link_error`` to each.

        Returns:
            A handle to the last step's result, whose ``parent`` is that of the step before.
        """
        del route_name
        options = {**self.options, **options}
        if self.app.conf.task_always_eager:
            return self._apply_with(args, kwargs, options)
        return self.run(args, kwargs, **options)

    def run(  # noqa: PLR0913, PLR0917 - Celery's signature
        self,
        args: Any = None,
        kwargs: Any = None,
        group_id: str | None = None,
        chord: Any = None,
        task_id: str | None = None,
        link: Any = None,
        link_error: Any = None,
        publisher: Any = None,
        producer: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        app: Any = None,
        group_index: int | None = None,
        **options: Any,
    ) -> Any:
        """Plan the steps and send the first, as `apply_async`.

        Returns:
            A handle to the last step's result; None if it has no steps.
        """
        app = app if app is not None else self.app
        args = self.args if self.immutable or not args else (*args, *self.args)
        steps = plan.folded(
            plan.unfolded(self["kwargs"]["tasks"], app, splits_chords=not self.does_link), app
        )
        if not steps:
            return None
        steps[-1] = steps[-1].clone(args, kwargs)
        place = plan.Place(task_id, group_id, chord, group_index, root_id, parent_id)
        results = plan.frozen(steps, place, link_error, app, links=self.does_link)
        self.options["task_id"] = results[0].id
        if link:
            steps[0].extend_list_option("link", link)
        first = steps.pop()
        outer = options.pop("chain", None) or []
        options["chain"] = None if self.does_link else [*outer, *steps]
        sent = first.apply_async(producer=producer or publisher, **options)
        return results[0] if steps else sent

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Any:
        """Fix the ids that its steps will have.

        Returns:
            A handle to the last step's result.
        """
        app = self.app
        # Compat: of a group that is followed by something the ids are those of its chord's.
        steps = plan.folded(plan.as_written(self.tasks, app), app, copies=True)
        if steps and self.args:
            steps[-1].args = (*self.args, *steps[-1].args)
            self.args = ()
        place = plan.Place(_id, group_id, chord, group_index, root_id, parent_id)
        results = plan.frozen(steps, place, None, app, links=False)
        self.options["task_id"] = results[0].id
        return results[0]

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Execute all steps in this process, as workers would.

        Returns:
            The last step's result, which is there already.
        """
        return self._apply_with(args, kwargs, {**self.options, **options})

    def _apply_with(self, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
        link = options.pop("link", None)
        options.pop("task_id", None)
        app = self.app
        steps = plan.folded(plan.unfolded(self["kwargs"]["tasks"], app, splits_chords=False), app)
        last: Any = None
        for index, step in enumerate(reversed(steps)):
            if link and index == len(steps) - 1:
                step.extend_list_option("link", link)
            given = (last.get(disable_sync_subtasks=False),) if last is not None else args
            result = step.apply(given, None if last is not None else kwargs, **options)
            result.parent, last = last, result
            if getattr(result, "state", None) in _ENDS:
                break
        return last

    # Changing it -------------------------------------------------------------------------------

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> None:  # noqa: FBT001, FBT002 - Celery's signature
        """Put stamps on each step."""
        chosen = visitor.on_chain_start(self, **headers) if visitor is not None else None
        headers = merged(self, headers, chosen, append=append_stamps)
        self.stamp_links(visitor, append_stamps, **headers)
        for step in self.tasks:
            step.stamp(visitor, append_stamps, **headers)
        if visitor is not None:
            visitor.on_chain_end(self, **headers)

    def __repr__(self) -> str:
        steps = self["kwargs"]["tasks"]
        if not steps:
            return f"<{type(self).__name__}: empty>"
        return plan.without_repeated_module(steps[0]["task"], " | ".join(map(repr, steps)))


_ENDS = frozenset({states.IGNORED, states.REJECTED})


def listed_option(sig: Any, key: str) -> list[Any]:
    """Read an option that is one signature or a list.

    Returns:
        A list.
    """
    value = sig.options.get(key)
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


class chain(_chain):  # noqa: N801 - Celery's name
    """Tasks one after the other: each is called with the result of the one before.

    ``chain(a, b, c)`` is ``a | b | c``: a group that is followed by something becomes a chord.

    Args:
        *tasks: Signatures, or one iterable of them.
        **options: See `_chain`.

    """

    def __new__(cls, *tasks: Any, **options: Any) -> Any:
        """Compose the tasks.

        Returns:
            A chain; a group or a chord where the tasks compose to one.
        """
        is_one = len(tasks) == 1 and (
            isinstance(tasks[0], dict) or not hasattr(tasks[0], "__iter__")
        )
        if options or not tasks or is_one:
            return super().__new__(cls)
        given = list(tasks[0] if len(tasks) == 1 else tasks)
        steps: list[Any] = []
        last = len(given) - 1
        copies = [
            t.clone() if i != last and compose.is_signature(t) else t for i, t in enumerate(given)
        ]
        composed = compose.add_steps(steps, copies)
        if composed is not None:
            return composed
        made = super().__new__(cls) if cls is not chain else _chain.__new__(_chain)
        _chain.__init__(made, steps)
        return made

    def __init__(self, *tasks: Any, **options: Any) -> None:
        if not self:  # `__new__` has not composed it
            super().__init__(*tasks, **options)
