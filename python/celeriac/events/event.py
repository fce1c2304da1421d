"""An event, and the exchange it goes to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from celeriac.app.events import exchange_type_of
from celeriac.routing import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ("Event", "event_exchange", "get_exchange", "group_from")

EVENT_EXCHANGE_NAME = "celeryev"
#: The exchange where a broker has topics; `get_exchange` knows the others.
event_exchange = Exchange(EVENT_EXCHANGE_NAME, type="topic")


def Event(  # noqa: N802 - Celery's name
    type: str,  # noqa: A002 - Celery's name
    _fields: Mapping[str, Any] | None = None,
    __dict__: Callable[..., dict[str, Any]] = dict,
    __now__: Callable[[], float] = time.time,  # noqa: TID251 - the stamp of the event
    **fields: Any,
) -> dict[str, Any]:
    """Make an event of fields.

    Args:
        type: Its type, such as ``task-sent``.
        _fields: Fields as a mapping.
        __dict__: Makes the mapping.
        __now__: The time, where the fields say none.
        **fields: More fields.

    Returns:
        The event: a dictionary with ``timestamp`` and ``type``.
    """
    event = __dict__(_fields, **fields) if _fields else fields
    if "timestamp" not in event:
        event["timestamp"] = __now__()
    event["type"] = type
    return event


def group_from(type: str) -> str:  # noqa: A002 - Celery's name
    """Name the group of an event.

    Args:
        type: Its type.

    Returns:
        What stands before the first dash.
    """
    return type.partition("-")[0]


def get_exchange(conn: Any, name: str = EVENT_EXCHANGE_NAME) -> Exchange:
    """Make the exchange of events.

    Args:
        conn: A connection to the broker.
        name: The exchange's name.

    Returns:
        A fanout exchange on Redis, a topic exchange elsewhere.
    """
    return Exchange(name, type=exchange_type_of(conn.as_uri()))
