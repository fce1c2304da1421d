"""What follows a failure that nobody executed to its end: its document, errbacks, chain."""

import logging
from typing import Any

from celeriac import signals
from celeriac.app import link
from celeriac.app.task import Context
from celeriac.worker.load import Body, load
from celeriac.worker.request import Request

__all__ = ("context_of", "spread")

logger = logging.getLogger("celery.worker.request")


def context_of(request: Request, accept: frozenset[str] | None) -> Any:
    """Build the context of a task that is not running here.

    Args:
        request: The task.
        accept: The content types that may be decoded.

    Returns:
        A request context; without arguments where the body cannot be read.
    """
    delivery = request.delivery
    body = load(delivery, accept)
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


def spread(app: Any, request: Request, context: Any, exc: BaseException) -> None:
    """Tell of a lost task all that a failing task would have told itself.

    Args:
        app: The application.
        request: The task.
        context: Its context.
        exc: What is stored as its failure.
    """
    logger.error("Task handler raised error: %r", exc, exc_info=exc)
    if signals.task_failure.receivers:
        signals.task_failure.send(
            sender=request.task,
            task_id=request.id,
            exception=exc,
            args=context.args,
            kwargs=context.kwargs,
            traceback=None,
            einfo=None,
        )
    if context.chain and request.store_errors:
        link.fail_rest_of_chain(app.backend, context, exc, None)
    if context.errbacks:
        link.run_errbacks(app, context, exc, None)
