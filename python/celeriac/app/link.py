"""What a task's message asks for after the task: callbacks, the next chain step, errbacks.

Source:
    Celery's documented canvas semantics, and what Celery 5.7 puts on the wire for them.
"""

import functools
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any

from celeriac._protocols import App
from celeriac.canvas import group, maybe_signature
from celeriac.canvas.compose import kind

__all__ = ("follow", "run_errbacks")

logger = logging.getLogger("celery.app.trace")


def follow(app: App, request: Any, retval: Any) -> None:
    """Send a successful task's callbacks, then its next chain step.

    Args:
        app: The application.
        request: The task's request context.
        retval: What the task returned; the first argument of what follows.

    An EncodeError says that ``retval`` cannot travel, an OperationalError that the broker does not
    take a message.
    """
    options = _family(app, request)
    callbacks = request.callbacks
    if callbacks:
        _send_all(app, callbacks, (retval,), options)
    chain = request.chain
    if chain:
        step = maybe_signature(chain[-1], app=app)
        step.apply_async((retval,), chain=chain[:-1], **options)


def _family(app: App, request: Any) -> dict[str, Any]:
    options = {"parent_id": request.id, "root_id": request.root_id or request.id}
    if app.conf.task_inherit_parent_priority:
        options["priority"] = (request.delivery_info or {}).get("priority")
    return options


def _send_all(
    app: App, signatures: Sequence[Any], args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    # Compat: one is sent as it is; of several each group is, and the others are a new group.
    steps = [maybe_signature(signature, app=app) for signature in signatures]
    groups = [step for step in steps if kind(step) == "group"]
    others = [step for step in steps if kind(step) != "group"]
    if len(steps) > 1 and others:
        groups.append(group(others, app=app))
        others = []
    for step in groups + others:
        step.apply_async(args, **options)


def run_errbacks(app: App, request: Any, exc: BaseException, traceback: str | None) -> None:
    """Call or send a failed task's errbacks; one that fails is logged and stops no other.

    Args:
        app: The application.
        request: The failed task's request context.
        exc: What it raised.
        traceback: Where, formatted.
    """
    old_style = []
    for errback in request.errbacks or ():
        signature = maybe_signature(errback, app=app)
        if not _takes_request(app, signature):
            old_style.append(signature)
            continue
        try:
            signature(request, exc, traceback)
        except Exception:
            logger.exception("Errback %s of task %s raised", signature.task, request.id)
    if old_style:
        _send_errbacks(request, old_style)


def _send_errbacks(request: Any, errbacks: Sequence[Any]) -> None:
    options = {"parent_id": request.id, "root_id": request.root_id or request.id}
    try:
        group(list(errbacks)).apply_async((request.id,), **options)
    except Exception:
        logger.exception("The errbacks of task %s could not be sent", request.id)


def _takes_request(app: App, signature: Any) -> bool:
    # Whether an errback is called here as ``errback(request, exc, traceback)``.
    #
    # Compat: an errback that is bound, takes one argument or is not registered here is sent as a
    # message with the failed task's id.
    task = app.tasks.get(signature.task)
    if task is None or not isinstance(inspect.getattr_static(task, "run"), staticmethod):
        return False
    positional = 0
    for parameter in _open_parameters(task.run, signature):
        if parameter.kind is parameter.VAR_POSITIONAL:
            return True
        if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}:
            positional += 1
    return positional > 1


def _open_parameters(run: Callable[..., Any], signature: Any) -> list[inspect.Parameter]:
    # Only what the signature does not bring itself is left for the failure to fill.
    if not signature.immutable and (signature.args or signature.kwargs):
        try:
            run = functools.partial(run, *signature.args, **signature.kwargs)
            return list(inspect.signature(run).parameters.values())
        except (TypeError, ValueError):
            run = run.func if isinstance(run, functools.partial) else run
    return list(inspect.signature(run).parameters.values())
