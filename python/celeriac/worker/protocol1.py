"""Messages of protocol 1 whose body only Python reads (pickle, yaml), msgpack or compressed.

The Rust module has translated those in JSON before the worker sees them
(`rust/core/src/wire/protocol1.rs`, which also says which field becomes which header).
"""

from typing import Any

from celeriac import serialization
from celeriac._native import Delivery
from celeriac.exceptions import EncodeError
from celeriac.worker.load import UNSTRUCTURED, decode
from celeriac.worker.outcome import Outcome, Poisonous, Refused, Undecodable

__all__ = ("translate",)

_NO_TASK = Refused("it has no header task")
_SERIALIZERS = {
    "application/json": "json",  # only compressed: the Rust module leaves that alone
    "application/x-msgpack": "msgpack",
    "application/x-yaml": "yaml",
    "application/x-python-serialize": "pickle",
}
_EMBEDDED = ("callbacks", "errbacks", "chord")


def translate(
    delivery: Delivery, accept: frozenset[str] | None, max_bytes: int
) -> Delivery | Outcome:
    """Translate a message without a header ``task`` into one of protocol 2.

    Args:
        delivery: The message.
        accept: The content types that may be decoded; None for all.
        max_bytes: How much a compressed body may become.

    Returns:
        The message translated, or what is wrong with it.

    Source:
        docs "Message Protocol", version 1.
    """
    if delivery.content_type in UNSTRUCTURED:
        return _NO_TASK
    if accept is not None and delivery.content_type not in accept:
        return Refused(
            f"Refusing to deserialize untrusted content of type {delivery.content_type}: "
            "accept_content does not name it"
        )
    content = decode(delivery, accept, max_bytes)
    if isinstance(content, Refused | Undecodable):
        return content
    if not isinstance(content, dict) or "task" not in content:
        return _NO_TASK
    serializer = _SERIALIZERS.get(delivery.content_type)
    if serializer is None:
        return Poisonous(f"it is of task protocol 1, which is not read in {delivery.content_type}")
    return _translated(delivery, content, serializer)


def _translated(delivery: Delivery, content: dict[Any, Any], serializer: str) -> Delivery | Outcome:
    fields = dict(content)
    args, kwargs = fields.pop("args", []), fields.pop("kwargs", {})
    embed = {"chain": None, **{key: fields.pop(key, None) for key in _EMBEDDED}}
    try:
        _, _, body = serialization.dumps((args, kwargs, embed), serializer)
        return delivery.translated(fields, body)
    except EncodeError as exc:
        return Poisonous(f"it is of task protocol 1, and a field of it is strange: {exc}")
