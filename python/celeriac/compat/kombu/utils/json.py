"""`kombu.utils.json`: JSON as it is on the wire."""

from typing import Any

from celeriac import serialization

register_type = serialization.register_type

__all__ = ["dumps", "loads", "register_type"]


def dumps(obj: Any) -> str:
    """Encode a value.

    Returns:
        JSON text.
    """
    return serialization.dumps(obj, "json")[2].decode()


def loads(s: str | bytes) -> Any:
    """Decode a value.

    Returns:
        The value.
    """
    return serialization.loads(s.encode() if isinstance(s, str) else bytes(s), "json")
