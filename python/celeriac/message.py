"""The slow path of a publish: a task message as plain Python objects.

Used where somebody wants to see or change the headers before they leave (signal receivers), or
where the serializer is one of Python's. The bytes are those of the fast path.

Source:
    protocol: task message; celery/app/amqp.py ``as_task_v2`` and ``as_task_v1``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac import _native
from celeriac.compression import compress
from celeriac.exceptions import EncodeError
from celeriac.serialization import dumps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class TaskMessage(NamedTuple):
    """A message before it is encoded."""

    headers: dict[str, Any]
    properties: dict[str, Any]
    body: tuple[Any, Any, dict[str, Any]] | dict[str, Any]


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
    compression: str | None = None


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
        # Compat: Celery shows whatever is empty as an empty tuple (`args or ()`).
        argsrepr=_shown(call, "argsrepr", args or (), common),
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


def build_protocol1(
    common: Common, call: Mapping[str, Any], args: Any, kwargs: Any, *, utc: bool
) -> TaskMessage:
    """Build a message of protocol 1, for workers that know no other.

    Args:
        common: As for `build`.
        call: As for `build`. What protocol 1 has no word for is left out, as Celery does; only the
            rest of a chain is nested into the callbacks, so that it is not lost.
        args: The task's arguments.
        kwargs: Its keyword arguments.
        utc: The setting ``enable_utc``.

    Returns:
        Custom headers, properties, and the body in emission order.
    """
    group = call.get("group")
    fields = {key: call.get(key, default) for key, default in _HEADER_DEFAULTS.items()}
    body = {
        "task": common.task,
        "id": call["task_id"],
        "args": args,
        "kwargs": kwargs,
        "group": group,
        "group_index": fields["group_index"],
        "retries": fields["retries"],
        "eta": fields["eta"],
        "expires": fields["expires"],
        "utc": utc,
        "callbacks": _with_rest(call.get("callbacks"), call.get("chain")),
        "errbacks": call.get("errbacks"),
        "timelimit": tuple(call.get("timelimit", common.timelimit)),
        "taskset": group,
        "chord": call.get("chord"),
    }
    return TaskMessage(dict(call.get("headers") or {}), _properties(common, call), body)


def _with_rest(callbacks: Any, chain: Any) -> Any:
    # The last of a chain's rest runs next; each links the one that runs after it.
    following: dict[str, Any] | None = None
    for signature in chain or ():
        step = dict(signature)
        if following is not None:
            options = dict(step.get("options") or {})
            options["link"] = [*(options.get("link") or ()), following]
            step["options"] = options
        following = step
    return callbacks if following is None else [*(callbacks or ()), following]


def shown_arguments(
    common: Common, call: Mapping[str, Any], args: Any, kwargs: Any
) -> tuple[str, str]:
    """Show the arguments of a call for people.

    Args:
        common: As for `build`.
        call: As for `build`.
        args: The task's arguments.
        kwargs: Its keyword arguments.

    Returns:
        The headers ``argsrepr`` and ``kwargsrepr``.
    """
    return _shown(call, "argsrepr", args, common), _shown(call, "kwargsrepr", kwargs, common)


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


def encode(
    message: TaskMessage, serializer: str, compression: str | None = None
) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Encode and compress a message's body.

    Args:
        message: The message.
        serializer: The serializer's name.
        compression: The compression's content type; None for none.

    Returns:
        The headers with the compression, the properties with the content type, the body's bytes.

    Raises:
        EncodeError: A value cannot be encoded; the message says where.
    """
    # Compat: pickle keeps tuples; JSON and msgpack write both kinds alike.
    try:
        content_type, content_encoding, data = dumps(message.body, serializer)
    except EncodeError:
        # Say it again in terms of the call: `args[1]["when"]`, not the third of a triple.
        for key, value in _named_parts(message.body):
            dumps(value, serializer, key)
        raise
    properties = {"content_type": content_type, "content_encoding": content_encoding}
    headers = message.headers
    if compression is not None:
        data, name = compress(data, compression)
        headers = {**headers, "compression": name}
    return headers, {**properties, **message.properties}, data


def _named_parts(body: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(body, dict):
        return body.items()
    args, kwargs, embed = body
    return [("args", args), ("kwargs", kwargs), *embed.items()]
