"""`Task.replace` and `Task.add_to_chord`: a task that changes the workflow it is part of.

Source:
    protocol: worker semantics, replace and add_to_chord.
"""

from __future__ import annotations

from typing import Any

from celeriac.canvas import maybe_signature
from celeriac.canvas.compose import kind
from celeriac.exceptions import ImproperlyConfigured


def replacement(task: Any, sig: Any) -> Any:
    """Give a signature the place of the task that runs.

    Args:
        task: The task that runs.
        sig: What replaces it: it gets the id, the callbacks and the rest of the chain.

    Returns:
        The signature to send.

    Raises:
        ImproperlyConfigured: It is part of a chord already, or an empty chain.
    """
    request = task.request
    if sig.options.get("chord") is not None:
        message = (
            f"{sig!r} cannot replace {task.name}: it is part of a chord of its own. Replace the "
            "task by the whole chord."
        )
        raise ImproperlyConfigured(message)
    if kind(sig) == "chain" and not sig.tasks:
        message = f"{task.name} cannot be replaced by an empty chain: nothing would answer for it."
        raise ImproperlyConfigured(message)
    sig = _answering_with_one_value(task, sig)
    for callback in request.callbacks or ():
        sig.link(callback)
    for errback in request.errbacks or ():
        sig.link_error(errback)
    if kind(sig) == "chain" and "link" in sig.options:
        # What follows below must not come between the last step and its callbacks.
        links = sig.options.pop("link")
        sig.tasks[-1].extend_list_option("link", links)
    sig.freeze(request.id)
    nesting = (request.replaced_task_nesting or 0) + 1
    sig.set(
        chord=request.chord,
        group_id=request.group,
        group_index=request.group_index,
        root_id=request.root_id,
        replaced_task_nesting=nesting,
    )
    if kind(sig) == "chain":
        for step in sig.tasks:
            step.set(replaced_task_nesting=nesting)
    for step in reversed(request.chain or ()):
        sig |= maybe_signature(step, app=task.app).set(replaced_task_nesting=nesting)
    return sig


def _answering_with_one_value(task: Any, sig: Any) -> Any:
    # A group answers as a chord does, with the list of its results.
    as_list = task.app.tasks["celery.accumulate"].s(index=0)
    if kind(sig) == "group":
        return sig | as_list
    if kind(sig) == "chain" and kind(sig.tasks[-1]) == "group":
        *steps, last = sig.tasks
        sig.tasks = [*steps, last | as_list]
    return sig


def added_to_chord(task: Any, sig: Any, *, lazy: bool) -> Any:
    """Let the chord that the running task is part of wait for one more.

    Args:
        task: The task that runs.
        sig: What the chord waits for, too.
        lazy: Whether the caller sends it.

    Returns:
        A handle to its result; the signature if `lazy`.

    Raises:
        ValueError: The task is part of no chord.
    """
    request = task.request
    if not request.chord:
        message = f"{task.name} cannot add a task to its chord: it is part of none."
        raise ValueError(message)
    sig.set(
        group_id=request.group,
        group_index=request.group_index,
        chord=request.chord,
        root_id=request.root_id,
    )
    result = sig.freeze()
    task.backend.add_to_chord(request.group, result)
    return sig if lazy else sig.delay()
