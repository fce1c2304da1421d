"""The event ``task-sent``, where the setting ``task_send_sent_event`` asks for it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from celeriac.message import shown_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac import message

__all__ = ("telling",)


def telling(
    app: Any,
    send: Callable[[], Any],
    common: message.Common,
    queue: str | None,
    call: Mapping[str, Any],
    args: Any,
    kwargs: Any,
) -> Callable[[], Any]:
    """Have monitors told of a message once it is sent.

    Args:
        app: The application.
        send: Sends it.
        common: What it has in common with others.
        queue: The queue it goes to, where one was named.
        call: What it does not.
        args: The task's arguments.
        kwargs: Its keyword arguments.

    Returns:
        What sends it and tells.
    """
    task_id = call["task_id"]
    argsrepr, kwargsrepr = shown_arguments(common, call, args, kwargs)
    fields = {
        "uuid": task_id,
        "root_id": call.get("root_id") or task_id,
        "parent_id": call.get("parent_id"),
        "name": common.task,
        "args": argsrepr,
        "kwargs": kwargsrepr,
        "retries": call.get("retries", 0),
        "eta": call.get("eta"),
        "expires": call.get("expires"),
        "queue": queue,
        "exchange": call.get("exchange", common.exchange),
        "routing_key": call.get("routing_key", common.routing_key),
    }

    def tell() -> None:
        app.events.Dispatcher(enabled=False).publish("task-sent", fields, None)

    def told() -> Any:
        subscription = send()
        if inspect.isawaitable(subscription):
            from celeriac import aio  # noqa: PLC0415 - asyncio is slow to import

            return aio.then(subscription, tell)
        tell()
        return subscription

    return told
