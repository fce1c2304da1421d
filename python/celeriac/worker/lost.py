"""What follows a failure that nobody executed to its end: its document, errbacks, chain."""

import logging
from typing import Any

from celeriac import signals, states
from celeriac.app import joining, link
from celeriac.app.einfo import ExceptionInfo
from celeriac.app.task import Context
from celeriac.exceptions import TimeLimitExceeded
from celeriac.worker.load import Body, load
from celeriac.worker.request import Request

__all__ = ("context_of", "context_of_unknown", "spread")

logger = logging.getLogger("celery.worker.request")


def context_of(request: Request, accept: frozenset[str] | None, max_bytes: int) -> Any:
    """Build the context of a task that is not running here.

    Args:
        request: The task.
        accept: The content types that may be decoded.
        max_bytes: How much a compressed body may become.

    Returns:
        A request context; without arguments where the body cannot be read.
    """
    delivery = request.delivery
    body = load(delivery, accept, max_bytes)
    if not isinstance(body, Body):
        body = Body([], {}, {})
    return Context.from_message(
        request.headers,
        delivery.properties(),
        body.embed,
        request.delivery_info,
        request.hostname,
        is_eager=False,
        args=body.args,
        kwargs=body.kwargs,
    )


def context_of_unknown(delivery: Any, accept: frozenset[str] | None, max_bytes: int) -> Any:
    """Build the context of a message whose task is not known here.

    Args:
        delivery: The message.
        accept: The content types that may be decoded.
        max_bytes: How much a compressed body may become.

    Returns:
        A request context; with the task's id and name only where the message cannot be read.
    """
    body = None if delivery.error is not None else load(delivery, accept, max_bytes)
    if not isinstance(body, Body):
        return Context(id=delivery.id, task=delivery.task)
    headers, properties = delivery.headers(), delivery.properties()
    return Context.from_message(headers, properties, body.embed, {}, None, is_eager=False)


def spread(
    app: Any, request: Request, context: Any, exc: BaseException, *, is_logged: bool = False
) -> None:
    """Tell of a lost task all that a failing task would have told itself.

    The task's own handlers hear of a hard time limit alone, as in Celery.

    Args:
        app: The application.
        request: The task.
        context: Its context.
        exc: What is stored as its failure.
        is_logged: Whether the log has it already.
    """
    einfo = None
    if isinstance(exc, TimeLimitExceeded):
        einfo = ExceptionInfo((type(exc), exc, exc.__traceback__))
        _call_handlers(request.task, context, exc, einfo)
    elif not is_logged:
        logger.error("Task handler raised error: %r", exc, exc_info=exc)
    if signals.task_failure.receivers:
        signals.task_failure.send(
            sender=request.task,
            task_id=request.id,
            exception=exc,
            args=context.args,
            kwargs=context.kwargs,
            traceback=exc.__traceback__,
            einfo=einfo,
        )
    if context.chain and request.store_errors:
        joining.fail_rest_of_chain(app, app.backend, context, exc, None)
    if context.errbacks:
        link.run_errbacks(app, context, exc, None)


def _call_handlers(task: Any, context: Any, exc: BaseException, einfo: Any) -> None:
    told = (context.id, context.args, context.kwargs)
    for handler, arguments in (
        (task.on_failure, (exc, *told, einfo)),
        (task.after_return, (states.FAILURE, exc, *told, None)),
    ):
        _guarded(handler, arguments)


def _guarded(handler: Any, arguments: Any) -> None:
    try:
        handler(*arguments)
    except Exception:  # the task is lost, and what came of it is not changed any more
        logger.exception("The handler %s raised", handler.__qualname__)
