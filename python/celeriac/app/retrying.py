"""`task.retry`: sending the call that runs once more.

Source:
    celery/app/task.py ``retry``, ``signature_from_request``; protocol: retry.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from celeriac.exceptions import Reject, Retry

if TYPE_CHECKING:
    from celeriac.canvas import Signature


def retry(
    task: Any,
    args: Any,
    kwargs: Any,
    exc: BaseException | None,
    options: dict[str, Any],
    *,
    throw: bool,
) -> Retry:
    """Send the call that runs once more, and raise `Retry`.

    Args:
        task: The task.
        args: Other arguments, or None.
        kwargs: Other keyword arguments, or None.
        exc: The reason.
        options: Those of `Task.retry`.
        throw: Whether to raise.

    Returns:
        The `Retry`, if it is not raised.

    Raises:
        Retry: Normally.
        Reject: The message could not be sent.
        Exception: `exc`, or `MaxRetriesExceededError`, where the retries are used up.
    """  # noqa: DOC502 - raised by name
    request = task.request
    limit = options.pop("max_retries", None)
    limit = task.max_retries if limit is None else limit
    if request.called_directly:
        # Outside of a worker there is nothing to retry: the reason is the answer.
        raise exc or sys.exc_info()[1] or Retry("Task can be retried", None)
    countdown, eta = options.pop("countdown", None), options.pop("eta", None)
    if not eta and countdown is None:
        countdown = task.default_retry_delay
    used = request.retries
    signature = signature_from_request(
        task, request, args, kwargs, None, {**options, "countdown": countdown, "eta": eta}
    )
    if limit is not None and used >= limit:
        if exc is not None:
            raise exc
        name = f"{task.name}[{request.id}]"
        message = f"Can't retry {name} args:{signature.args} kwargs:{signature.kwargs}"
        raise task.MaxRetriesExceededError(
            message, task_args=signature.args, task_kwargs=signature.kwargs
        )
    ret = Retry(exc=exc, when=eta or countdown, is_eager=request.is_eager, sig=signature)
    if request.is_eager:
        if throw:
            raise ret
        return ret
    try:
        signature.apply_async()
    except Exception as failure:
        raise Reject(failure, requeue=False) from failure
    if throw:
        raise ret
    return ret


def signature_from_request(
    task: Any,
    request: Any,
    args: Any,
    kwargs: Any,
    queue: str | None,
    extra_options: dict[str, Any],
) -> Signature:
    """Make a signature of a call, as its retry sends it.

    Args:
        task: The task.
        request: The call; the one that runs by default.
        args: Other arguments, or None.
        kwargs: Other keyword arguments, or None.
        queue: Another queue, or None.
        extra_options: Options that override.

    Returns:
        The signature, with one retry more.
    """
    request = task.request if request is None else request
    limits = dict(zip(("time_limit", "soft_time_limit"), request.timelimit or (), strict=False))
    options = {**request.as_execution_options(), **limits}
    options["retries"] = (request.retries or 0) + 1
    options["parent_id"] = request.parent_id or request.id
    options.update(_destination(request, queue))
    options.update({key: value for key, value in extra_options.items() if value is not None})
    signature: Signature = task.signature(
        request.args if args is None else args,
        request.kwargs if kwargs is None else kwargs,
        task_id=request.id,
        **{key: value for key, value in options.items() if key != "task_id"},
    )
    return signature


def _destination(request: Any, queue: str | None) -> dict[str, Any]:
    if queue is not None:
        return {"queue": queue}
    info = request.delivery_info or {}
    exchange, key = info.get("exchange"), info.get("routing_key")
    if not exchange:
        return {"queue": key} if key else {}
    return {"exchange": exchange, "routing_key": key, "priority": info.get("priority")}
