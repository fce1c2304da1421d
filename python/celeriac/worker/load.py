"""From a message's body to arguments, or to the reason why there are none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from celeriac import serialization
from celeriac.exceptions import ContentDisallowed, DecodeError, SerializerNotInstalled
from celeriac.worker.outcome import Poisonous, Refused, Undecodable

__all__ = ("Body", "Message", "decode", "load", "unsupported_in")

#: What the Rust module decodes itself.
_NATIVE_TYPES = frozenset({"application/json", "application/x-msgpack"})


class Message(Protocol):
    """A delivery as the worker sees it, or a job as a child sees it."""

    @property
    def task(self) -> str | None:
        """The task's name."""

    @property
    def id(self) -> str | None:
        """The task's id."""

    @property
    def content_type(self) -> str:
        """How the body is encoded."""

    @property
    def content_encoding(self) -> str:
        """The charset of the body, or ``binary``."""

    @property
    def redelivered(self) -> bool:
        """Whether it was delivered before."""

    @property
    def exchange(self) -> str:
        """Where it was published to."""

    @property
    def routing_key(self) -> str:
        """With which key."""

    def headers(self) -> dict[str, Any]:
        """All headers."""

    def properties(self) -> dict[str, Any]:
        """All properties."""

    def raw_body(self) -> bytes:
        """The body as it travelled."""

    def body(self) -> Any:
        """The body, decoded from JSON or msgpack."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a task is called with, and what follows it."""

    args: list[Any]
    kwargs: dict[str, Any]
    embed: Mapping[str, Any]


def load(
    message: Message, accept: frozenset[str] | None
) -> Body | Poisonous | Undecodable | Refused:
    """Decode a body and check its shape.

    Args:
        message: The message.
        accept: The content types that may be decoded.

    Returns:
        The body, or what is wrong with it.

    Source:
        docs "Message Protocol", version 2: ``[args, kwargs, embed]``.
    """
    content = decode(message, accept)
    if isinstance(content, Refused | Undecodable):
        return content
    return _shaped(content)


def decode(message: Message, accept: frozenset[str] | None) -> Any:
    """Decode a body.

    Args:
        message: The message.
        accept: The content types that may be decoded; None for all.

    Returns:
        The content, or an outcome: refused or undecodable.
    """
    try:
        return _decode(message, accept)
    except (ContentDisallowed, SerializerNotInstalled) as exc:
        return Refused(str(exc))
    except DecodeError as exc:
        return Undecodable(str(exc))


def _decode(message: Message, accept: frozenset[str] | None) -> Any:
    if message.content_type in _NATIVE_TYPES:
        return message.body()
    return serialization.loads(
        message.raw_body(), message.content_type, message.content_encoding, accept=accept
    )


def _shaped(content: Any) -> Body | Poisonous:
    if not isinstance(content, list | tuple) or len(content) != 3:  # noqa: PLR2004 - see load
        return Poisonous("its body is not an array of three elements: args, kwargs, embed")
    args, kwargs, embed = content
    if not isinstance(args, list | tuple):
        return Poisonous(f"its positional arguments are not an array but {_kind(args)}")
    if not isinstance(kwargs, dict) or not all(isinstance(key, str) for key in kwargs):
        return Poisonous(f"its keyword arguments are not an object but {_kind(kwargs)}")
    if embed is None:
        embed = {}
    if not isinstance(embed, dict):
        return Poisonous(f"the third element of its body is not an object but {_kind(embed)}")
    feature = unsupported_in(embed)
    if feature is not None:
        return Poisonous(feature)
    return Body(list(args), kwargs, embed)


def unsupported_in(embed: Mapping[str, Any]) -> str | None:
    """Name what a body asks for and this version does not do.

    Args:
        embed: The third element of a body.

    Returns:
        A clause that continues "the message was set aside:"; None if all is supported.
    """
    if embed.get("chord") is not None:
        return "it is part of a chord, which this version does not support yet"
    for key in ("callbacks", "errbacks", "chain"):
        following = embed.get(key)
        if following is not None and not isinstance(following, list):
            return f"its {key} are not an array but {_kind(following)}"
        for signature in following or ():
            reason = _unsupported_step(key, signature)
            if reason is not None:
                return reason
    return None


def _unsupported_step(key: str, signature: Any) -> str | None:
    if not isinstance(signature, dict) or not isinstance(signature.get("task"), str):
        return f"its {key} contain what is not a signature"
    kind = signature.get("subtask_type") or _CANVAS.get(signature["task"])
    if kind in _CANVAS.values():
        return f"its {key} contain a {kind}, which this version does not support yet"
    return None


_CANVAS = {
    "celery.chain": "chain",
    "celery.group": "group",
    "celery.chord": "chord",
    "celery.chunks": "chunks",
}


def _kind(value: Any) -> str:
    return type(value).__name__
