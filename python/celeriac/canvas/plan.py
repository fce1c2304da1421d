"""From the tasks of a chain to the steps that are sent.

Three passes, each linear in the number of tasks: `unfolded` makes one flat list of what is nested,
`folded` makes a chord of each group that is followed by something, `frozen` gives all their ids.

Source:
    protocol: canvas on the wire; Celery 5.7's messages for the same chains.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.canvas.compose import is_empty_group, kind, single
from celeriac.canvas.signature import maybe_signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Options that a chain uses up, instead of handing them to its first step.
_OF_CHAIN = frozenset({
    "chord", "group_id", "group_index", "link", "link_error", "parent_id", "root_id", "task_id",
})  # fmt: skip


class Place(NamedTuple):
    """Where in a workflow a chain stands: its last step answers for all of it."""

    task_id: str | None = None
    group_id: str | None = None
    chord: Any = None
    group_index: int | None = None
    root_id: str | None = None
    parent_id: str | None = None


def unfolded(tasks: Iterable[Any], app: Any, *, splits_chords: bool) -> list[Any]:
    """Copy the tasks of a chain into one flat list.

    Args:
        tasks: Signatures, or dictionaries of them.
        app: The application.
        splits_chords: Whether what follows the first step of a chord's body becomes a step of the
            chain. Every message of a header carries the body: a long one would be sent many times.

    Returns:
        Copies: chains in it are spliced, groups of one are their member, empty groups are left
        out (one stays where there is nothing else).
    """
    waiting = deque(tasks)
    steps: list[Any] = []
    empty: Any = None
    while waiting:
        step = single(maybe_signature(waiting.popleft(), app=app))
        if kind(step) == "chain":
            waiting.extendleft(reversed(step.unchain_tasks()))
        elif is_empty_group(step):
            empty = step
        elif splits_chords and _has_long_body(step):
            waiting.extendleft(reversed(_split(step)))
        else:
            steps.append(step.clone())
    return steps or ([empty.clone()] if empty is not None else [])


def as_written(tasks: Iterable[Any], app: Any) -> list[Any]:
    """List the tasks of a chain as `unfolded`, not copied: what is frozen is the chain itself.

    Returns:
        The steps.
    """
    waiting = deque(tasks)
    steps: list[Any] = []
    empty: Any = None
    while waiting:
        step = single(maybe_signature(waiting.popleft(), app=app))
        if kind(step) == "chain":
            waiting.extendleft(reversed(step.tasks))
        elif is_empty_group(step):
            empty = step
        else:
            steps.append(step)
    return steps or ([empty] if empty is not None else [])


def _has_long_body(step: Any) -> bool:
    if kind(step) != "chord" or step.body is None or kind(step.body) != "chain":
        return False
    # A body that begins with a group stays whole: what follows runs once for the group.
    tasks = step.body["kwargs"]["tasks"]
    return bool(tasks) and kind(tasks[0]) != "group"


def _split(chord: Any) -> list[Any]:
    short = chord.clone()
    first, *rest = short.body.unchain_tasks()
    handed_on = {k: v for k, v in short.body.options.items() if k not in _OF_CHAIN}
    short.body = first.clone(**handed_on)
    return [short, *rest]


def folded(steps: Sequence[Any], app: Any, *, copies: bool = False) -> list[Any]:
    """Make a chord of each group that is followed by something.

    Args:
        steps: In the order of execution.
        app: The application.
        copies: Whether the chords get copies of the groups, which stay as they are.

    Returns:
        The steps, the last first: as a message carries them.
    """
    last_first: list[Any] = []
    for step in reversed(steps):
        joined = None
        if last_first:
            header = step.clone() if copies and kind(step) == "group" else step
            joined = _joined(header, last_first[-1], app)
        if joined is None:
            last_first.append(step)
        else:
            last_first[-1] = joined
    return last_first


def _joined(step: Any, following: Any, app: Any) -> Any:
    # One step of a group and what follows it; None where the step ends with one task.
    #
    # Compat: where the body of a chord is a group, Celery 5.7 lets each of its members send what
    # follows, under the same ids: it runs as often as the group has members, each time with one
    # result. Here it runs once, with all results.
    if kind(step) == "group":
        return step.TYPES["chord"](step, body=following, app=app)
    if kind(step) == "chord" and step.body is not None:
        body = _joined(step.body, following, app)
        if body is not None:
            longer = step.clone()
            longer.body = body
            return longer
    if kind(step) == "chain" and step["kwargs"]["tasks"]:
        *before, last = step.tasks
        last = _joined(last, following, app)
        if last is not None:
            return step.of_steps([*before, last], app=step.app_given)
    return None


def frozen(
    last_first: Sequence[Any], place: Place, link_error: Any, app: Any, *, links: bool
) -> list[Any]:
    """Give the steps their ids.

    Args:
        last_first: Steps of `folded`; changed in place.
        place: What the last step answers for.
        link_error: Errbacks for each step.
        app: The application.
        links: Whether each step is linked to the one before (protocol 1).

    Returns:
        Handles, the last step's first; the parent of each is the one after it.
    """
    results: list[Any] = []
    following: Any = None
    for index, step in enumerate(last_first):
        if index == 0:
            result = step.freeze(
                place.task_id,
                group_id=place.group_id,
                chord=place.chord,
                root_id=place.root_id,
                group_index=place.group_index,
            )
        else:
            result = step.freeze(root_id=place.root_id)
            _first_of(results[-1]).parent = result
        if links and following is not None:
            step.link(following)
        for errback in link_error if isinstance(link_error, (list, tuple)) else [link_error]:
            if errback is not None:
                step.link_error(errback)
        if kind(step) == "chord":
            app.backend.ensure_chords_allowed()
        results.append(result)
        following = step
    return results


def _first_of(result: Any) -> Any:
    while result.parent is not None:
        result = result.parent
    return result


def without_repeated_module(task: str, shown: str) -> str:
    """Shorten what shows several tasks of one module.

    Args:
        task: Name of the first, such as ``proj.tasks.add``.
        shown: ``proj.tasks.add(1) | proj.tasks.mul(2)``.

    Returns:
        ``proj.tasks.add(1) | mul(2)``.
    """
    module = f"{str(task).rpartition('.')[0]}."
    if module == "." or not shown.startswith(module):
        return shown
    return module + shown[len(module) :].replace(module, "")
