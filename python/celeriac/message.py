"""The slow path of a publish: a task message as plain Python objects.

Used where somebody wants to see or change the headers before they leave (signal receivers), or
where the serializer is one of Python's. The bytes are those of the fast path.

Source:
    protocol: task message, protocol 2; celery/app/amqp.py ``as_task_v2``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac import _native
from celeriac.exceptions import EncodeError
from celeriac.serialization import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping


class TaskMessage(NamedTuple):
    """A message before it is encoded."""

    headers: dict[str, Any]
    properties: dict[str, Any]
    body: tuple[Any, Any, dict[str, Any]]


class Common(NamedTuple):
    """What all messages of a task to one destination have in common."""

    task: str
    origin: str
    exchange: str
    routing_key: str
    declare: tuple[dict[str, Any], ...]
    serializer: str
    reply_to: str
    shadow: str | None
    timelimit: tuple[float | None, float | None]
    ignore_result: bool | None
    delivery_mode: int
    priority: int | None
    repr_max_levels: int


REPR_MAX_CHARS = 1024
#: Keys of a call that are headers, and where no call says otherwise, their value.
_HEADER_DEFAULTS: dict[str, Any] = {
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "retries": 0,
}


def build(common: Common, call: Mapping[str, Any], args: Any, kwargs: Any) -> TaskMessage:
    """Build a message.

    Args:
        common: What does not differ from call to call.
        call: What does: the keys of `_native.Publisher.publish`, with ``task_id``.
        args: The task's arguments.
        kwargs: Its keyword arguments.

    Returns:
        Headers in emission order, properties, and the body.
    """
    task_id = call["task_id"]
    headers: dict[str, Any] = {"lang": "py", "task": common.task, "id": task_id}
    headers["shadow"] = call.get("shadow", common.shadow)
    headers.update({key: call.get(key, default) for key, default in _HEADER_DEFAULTS.items()})
    headers.update(
        timelimit=list(call.get("timelimit", common.timelimit)),
        root_id=call.get("root_id") or task_id,
        parent_id=call.get("parent_id"),
        argsrepr=_shown(call, "argsrepr", args, common),
        kwargsrepr=_shown(call, "kwargsrepr", kwargs, common),
        origin=call.get("origin") or common.origin,
        ignore_result=call.get("ignore_result", common.ignore_result),
        replaced_task_nesting=call.get("replaced_task_nesting", 0),
        stamped_headers=call.get("stamped_headers"),
        stamps=call.get("stamps") or {},
    )
    headers.update(call.get("headers") or {})
    embed = {key: call.get(key) for key in ("callbacks", "errbacks", "chain", "chord")}
    return TaskMessage(headers, _properties(common, call), (args, kwargs, embed))


def _shown(call: Mapping[str, Any], key: str, value: Any, common: Common) -> str:
    given = call.get(key)
    if given is not None:
        return str(given)
    return _native.safe_repr(value, REPR_MAX_CHARS, common.repr_max_levels)


def _properties(common: Common, call: Mapping[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "correlation_id": call.get("correlation_id") or call["task_id"],
        "reply_to": call.get("reply_to") or common.reply_to,
        "delivery_mode": call.get("delivery_mode", common.delivery_mode),
        **(call.get("properties") or {}),
    }
    # Compat: Celery hands options it also knows as headers on as properties.
    properties.update({key: call[key] for key in _ALSO_PROPERTIES if call.get(key) is not None})
    priority = call.get("priority", common.priority)
    if priority is not None:
        properties["priority"] = priority
    if call.get("expiration") is not None:
        properties["expiration"] = call["expiration"]
    if call.get("delivery_tag") is not None:
        properties["delivery_tag"] = call["delivery_tag"]
    return properties


_ALSO_PROPERTIES = ("argsrepr", "kwargsrepr", "origin")


def encode(message: TaskMessage, serializer: str) -> tuple[dict[str, Any], bytes]:
    """Encode a message's body.

    Args:
        message: The message.
        serializer: The serializer's name.

    Returns:
        The properties with the content type added, and the body's bytes.

    Raises:
        EncodeError: A value cannot be encoded; the message says where.
    """
    args, kwargs, embed = message.body
    # Compat: pickle keeps tuples; JSON and msgpack write both kinds alike.
    try:
        content_type, content_encoding, data = dumps((args, kwargs, embed), serializer)
    except EncodeError:
        # Say it again in terms of the call: `args[1]["when"]`, not the third of a triple.
        dumps(args, serializer, "args")
        dumps(kwargs, serializer, "kwargs")
        for key, value in embed.items():
            dumps(value, serializer, key)
        raise
    properties = {"content_type": content_type, "content_encoding": content_encoding}
    return {**properties, **message.properties}, data
