"""What ``left | right`` makes of two signatures.

Source:
    Celery's guide on canvas (a group followed by a task is a chord, a chord takes what follows into
    its body), and what Celery 5.7 makes of each pair.
"""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from celeriac.canvas.lazy import LazyTasks, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

P = ParamSpec("P")
R = TypeVar("R")


def kind(sig: Any) -> str | None:
    """Tell what a signature is.

    Returns:
        ``chain``, ``group``, ``chord``, or None for what is one task.

    Raises:
        TypeError: It is no signature.
    """
    if not isinstance(sig, dict):
        message = f"{sig!r} is no signature, of which canvases are made: task.s(...) makes one."
        raise TypeError(message)
    name = sig.get("subtask_type")
    return name if name in {"chain", "group", "chord"} else None


def refusing_cycles(method: Callable[P, R]) -> Callable[P, R]:
    """Say what is wrong with a canvas that contains itself; a decorator.

    Returns:
        The method, which raises a ValueError instead of a RecursionError.
    """

    @functools.wraps(method)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except RecursionError:
            message = (
                "This canvas is nested deeper than Python can follow: does it contain itself? Give "
                "each place a copy of its own: sig.clone()."
            )
            raise ValueError(message) from None

    return checked


def is_signature(value: Any) -> bool:
    """Tell whether a value is a signature, not only a dictionary of one.

    Returns:
        Whether it is.
    """
    return isinstance(value, dict) and hasattr(value, "subtask_type")


def is_empty_group(sig: Any) -> bool:
    """Tell whether a signature is a group without members; lazy members count as some.

    Returns:
        Whether it is.
    """
    if kind(sig) != "group":
        return False
    tasks = sig["kwargs"]["tasks"]
    return not isinstance(tasks, LazyTasks) and not tasks


def single(sig: Any) -> Any:
    """Take a group's only member for the group.

    Returns:
        The member, or the signature itself.
    """
    while kind(sig) == "group" and len(listed(sig["kwargs"]["tasks"])) == 1:
        sig = sig.of(sig.tasks[0])
    return sig


def compose(left: Any, right: Any) -> Any:
    """Put one signature after another.

    Args:
        left: What comes first; it is not changed.
        right: What follows it.

    Returns:
        A chain or a chord; NotImplemented if `right` is no signature.
    """
    if not is_signature(right):
        return NotImplemented
    make_chain = left.TYPES["chain"]
    if kind(left) == "group":
        return left if is_empty_group(right) else _chord(left, right)
    if kind(left) == "chain":
        steps, is_shared = left.steps_to_share()
        replaced = add_step(steps, right)
        if replaced is not None:
            return replaced
        return left.with_steps(steps, is_shared=is_shared)
    given, right = right, single(right)
    # Compat: also where a group had it as its only member, whatever that is.
    if kind(left) == "chord" and (kind(right) in {None, "chord"} or right is not given):
        return _with_longer_body(left, right)
    follow = right.unchain_tasks() if kind(right) == "chain" else [right]
    return make_chain.of_steps([left, *follow], app=left.app_given)


def add_step(steps: list[Any], step: Any) -> Any:
    """Put a signature after the steps of a chain.

    Args:
        steps: The steps; changed in place, the signatures in it are not.
        step: What follows them.

    Returns:
        None; or, where steps and step together are no chain, what they are.
    """
    step = single(step)
    if kind(step) == "chain":
        return add_steps(steps, step.unchain_tasks())
    if is_empty_group(step):
        return None
    last = steps[-1] if steps else None
    if last is None:
        if kind(step) == "group":
            return step
        steps.append(step)
    elif kind(last) == "group" and kind(step) != "group":
        steps[-1] = _chord(last, step)
        if len(steps) > 1 and kind(steps[-2]) == "chord":
            steps[-2:] = [_with_longer_body(steps[-2], steps[-1])]
    elif kind(last) == "chord" and kind(step) != "chord":
        steps[-1] = _with_longer_body(last, step)
    else:
        steps.append(step)
    return None


def add_steps(steps: list[Any], further: Iterable[Any]) -> Any:
    """Put several signatures after the steps of a chain, each once.

    Returns:
        As `add_step`.
    """
    rest = iter(further)
    for step in rest:
        replaced = add_step(steps, step)
        if replaced is not None:
            return functools.reduce(operator.or_, rest, replaced)
    return None


def _chord(header: Any, body: Any) -> Any:
    return header.TYPES["chord"](header, body=body, app=header.app_given)


def _with_longer_body(chord: Any, step: Any) -> Any:
    longer = chord.clone()
    longer.body = longer.body | step if longer.body is not None else step
    return longer
