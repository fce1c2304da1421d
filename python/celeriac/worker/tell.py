"""Tell handlers, signals and the log how a task ended, in Celery's words and order."""

import logging
import time
from collections.abc import Callable
from typing import Any

from celeriac import signals, states
from celeriac._native import safe_repr
from celeriac.app.infolines import InfoLines
from celeriac.worker.call import Call, Ended
from celeriac.worker.load import Message

__all__ = (
    "failed",
    "for_events",
    "has_quick_line",
    "ignored",
    "postrun",
    "rejected",
    "retried",
    "succeeded",
    "succeeded_plainly",
)

# Compat: Sentry leaves this logger alone because it hears of failures by a signal.
logger = logging.getLogger("celery.app.trace")
_lines = InfoLines(logger)

#: Characters of a traceback that an event carries.
_MAX_TRACEBACK = 64 * 1024


def succeeded(call: Call, ended: Ended, runtime_s: float) -> None:
    """Tell of a task that returned.

    Args:
        call: The call.
        ended: How it ended.
        runtime_s: How long it took, with what follows it.
    """
    task, request = call.task, call.request
    if call.handlers.on_success:
        _guarded(
            call, "on_success", task.on_success, ended.value, request.id, call.args, call.kwargs
        )
    if signals.task_success.receivers:
        signals.task_success.send(sender=task, result=ended.value, runtime=runtime_s)
    if logger.isEnabledFor(logging.INFO):
        _log_success(call, ended, runtime_s)
    _after_return(call, ended)


def has_quick_line(message: Message) -> bool:
    """Say whether nobody hears of a task's success, or no more than a plain log.

    Args:
        message: The task's message.

    Returns:
        Whether `succeeded_plainly` may tell of it; nobody else is asked.
    """
    if not logger.isEnabledFor(logging.INFO):
        return True
    return not message.is_shadowed and _lines.way() is not None


def succeeded_plainly(message: Message, task: Any, value: Any, started_s: float) -> bool:
    """Tell the log of a task that returned, and that nobody else watches.

    Args:
        message: The task's message, for which `has_quick_line` holds.
        task: The task.
        value: What it has returned.
        started_s: When it was started, on the monotonic clock.

    Returns:
        Whether it is told.
    """
    if not logger.isEnabledFor(logging.INFO):
        return True
    text = safe_repr(value, getattr(task, "resultrepr_maxsize", 1024))
    runtime_s = time.monotonic() - started_s
    return _lines.info(f"Task {task.name}[{message.id}] succeeded in {runtime_s}s: {text}")


def _log_success(call: Call, ended: Ended, runtime_s: float) -> None:
    context = {
        **_named(call),
        "return_value": safe_repr(ended.value, getattr(call.task, "resultrepr_maxsize", 1024)),
        "runtime": runtime_s,
    }
    logger.info(
        "Task %(name)s[%(id)s] succeeded in %(runtime)ss: %(return_value)s",
        context,
        extra={"data": context},
    )


def failed(call: Call, ended: Ended) -> None:
    """Tell of a task that raised.

    Args:
        call: The call.
        ended: How it ended.
    """
    _tell_failure(call, ended)
    expected = call.task.throws and isinstance(ended.value, tuple(call.task.throws))
    level = logging.INFO if expected else logging.ERROR
    description = "raised expected" if expected else "raised unexpected"
    _log_raised(call, ended, level, description, with_traceback=not expected)
    _after_return(call, ended)


def _tell_failure(call: Call, ended: Ended) -> None:
    task, request, exc, einfo = call.task, call.request, ended.value, ended.einfo
    if call.handlers.on_failure:
        _guarded(
            call, "on_failure", task.on_failure, exc, request.id, call.args, call.kwargs, einfo
        )
    if signals.task_failure.receivers:
        signals.task_failure.send(
            sender=task,
            task_id=request.id,
            exception=exc,
            args=call.args,
            kwargs=call.kwargs,
            traceback=exc.__traceback__,
            einfo=einfo,
        )


def _log_raised(
    call: Call, ended: Ended, level: int, description: str, *, with_traceback: bool
) -> None:
    if not logger.isEnabledFor(level):
        return
    einfo = ended.einfo
    context = {
        **_named(call),
        "hostname": call.request.hostname,
        "exc": safe_repr(ended.value),
        "traceback": str(einfo),
        "description": description,
        "internal": False,
    }
    logger.log(
        level,
        "Task %(name)s[%(id)s] %(description)s: %(exc)s",
        context,
        exc_info=einfo.exc_info if with_traceback and einfo is not None else None,
        extra={"data": context},
    )


def retried(call: Call, ended: Ended) -> None:
    """Tell of a task that sent itself again.

    Args:
        call: The call.
        ended: How it ended.
    """
    task, request, reason, einfo = call.task, call.request, ended.value, ended.einfo
    if call.handlers.on_retry:
        _guarded(
            call,
            "on_retry",
            task.on_retry,
            reason.exc,
            request.id,
            call.args,
            call.kwargs,
            einfo,
        )
    if signals.task_retry.receivers:
        signals.task_retry.send(sender=task, request=request, reason=reason, einfo=einfo)
    if logger.isEnabledFor(logging.INFO):
        context = {"id": request.id, "name": call.name, "exc": str(reason)}
        logger.info("Task %(name)s[%(id)s] retry: %(exc)s", context, extra={"data": context})


def rejected(call: Call, ended: Ended) -> None:
    """Tell of a task that raised ``Reject``.

    Args:
        call: The call.
        ended: How it ended.
    """
    context = {**_named(call), "exc": repr(ended.value), "description": "rejected"}
    logger.warning(
        "Task %(name)s[%(id)s] %(exc)s",
        context,
        exc_info=None if ended.einfo is None else ended.einfo.exc_info,
        extra={"data": context},
    )
    if not ended.value.requeue:
        _tell_failure(call, ended)


def ignored(call: Call) -> None:
    """Tell of a task that raised ``Ignore``.

    Args:
        call: The call.
    """
    context = {**_named(call), "description": "ignored"}
    logger.info("Task %(name)s[%(id)s] %(description)s", context, extra={"data": context})


def for_events(call: Call, ended: Ended, runtime_s: float) -> dict[str, Any]:
    """Say what events tell of how a task ended.

    Args:
        call: The call.
        ended: How it ended.
        runtime_s: How long it took.

    Returns:
        The fields of a success, or of anything else.
    """
    if ended.einfo is None:
        longest = getattr(call.task, "resultrepr_maxsize", 1024)
        return {"result": safe_repr(ended.value, longest), "runtime": runtime_s}
    exc = ended.value
    if ended.state == states.RETRY:
        exc = exc.exc
    return {"exception": safe_repr(exc), "traceback": ended.einfo.traceback[:_MAX_TRACEBACK]}


def postrun(call: Call, ended: Ended | None) -> None:
    """Send ``task_postrun``, the last that is said of every task.

    Args:
        call: The call.
        ended: How it ended; None where the process is about to end with it.
    """
    if signals.task_postrun.receivers:
        signals.task_postrun.send(
            sender=call.task,
            task_id=call.request.id,
            task=call.task,
            args=call.args,
            kwargs=call.kwargs,
            retval=None if ended is None else ended.value,
            state=None if ended is None else ended.state,
        )


def _after_return(call: Call, ended: Ended) -> None:
    if call.handlers.after_return:
        _guarded(
            call,
            "after_return",
            call.task.after_return,
            ended.state,
            ended.value,
            call.request.id,
            call.args,
            call.kwargs,
            ended.einfo if ended.state == states.FAILURE else None,
        )


def _guarded(call: Call, name: str, handler: Callable[..., Any], *args: Any) -> None:
    """Call a handler; the outcome is decided, so an error in it is logged and no more."""
    try:
        handler(*args)
    except Exception as exc:
        logger.exception(
            "Task %s[%s] %s handler raised: %r",
            call.name,
            call.request.id,
            name,
            exc,  # noqa: TRY401 - Celery's line
        )


def _named(call: Call) -> dict[str, Any]:
    request = call.request
    return {
        "id": request.id,
        "name": call.name,
        # Headers that other producers may leave out, so not fields of every request.
        "args": request.get("argsrepr") or safe_repr(call.args),
        "kwargs": request.get("kwargsrepr") or safe_repr(call.kwargs),
    }
