"""From a message's body to arguments, or to the reason why there are none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from celeriac import compression, serialization
from celeriac.exceptions import ContentDisallowed, DecodeError, SerializerNotInstalled
from celeriac.worker.outcome import Poisonous, Refused, Undecodable

__all__ = ("UNSTRUCTURED", "Body", "Message", "decode", "load", "malformed_in", "unpacked")

#: Content types that carry text or bytes, never arguments.
UNSTRUCTURED = frozenset({"", "application/data", "application/text", "text/plain"})


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
    def compression(self) -> str | None:
        """What the body is compressed with; None for nothing."""

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

    @property
    def timelimit(self) -> tuple[float | None, float | None]:
        """The hard and the soft time limit, in seconds."""

    @property
    def ignore_result(self) -> bool | None:
        """Whether nobody wants its result; None leaves it to the task."""

    @property
    def is_shadowed(self) -> bool:
        """Whether people see it by another name than the task's."""

    def plain_arguments(self) -> tuple[list[Any], dict[str, Any]] | None:
        """The arguments, where the body is JSON and asks for nothing after the task."""

    def success_document(self, value: Any, date_done: str, /) -> bytes:
        """The document of a success of which nothing but its value matters."""

    def body(self, max_bytes: int = ..., /) -> Any:
        """The body, decompressed to at most `max_bytes`, decoded from JSON or msgpack."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a task is called with, and what follows it."""

    args: list[Any]
    kwargs: dict[str, Any]
    embed: Mapping[str, Any]


def load(
    message: Message, accept: frozenset[str] | None, max_bytes: int = compression.MAX_BYTES
) -> Body | Poisonous | Undecodable | Refused:
    """Decode a body and check its shape.

    Args:
        message: The message.
        accept: The content types that may be decoded.
        max_bytes: How much a compressed body may become.

    Returns:
        The body, or what is wrong with it.

    Source:
        docs "Message Protocol", version 2: ``[args, kwargs, embed]``.
    """
    content = decode(message, accept, max_bytes)
    if isinstance(content, Refused | Undecodable):
        return content
    return _shaped(content)


def decode(
    message: Message, accept: frozenset[str] | None, max_bytes: int = compression.MAX_BYTES
) -> Any:
    """Decode a body.

    Args:
        message: The message.
        accept: The content types that may be decoded; None for all.
        max_bytes: How much a compressed body may become.

    Returns:
        The content, or an outcome: refused or undecodable.
    """
    try:
        return _decode(message, accept, max_bytes)
    except (ContentDisallowed, SerializerNotInstalled) as exc:
        return Refused(str(exc))
    except DecodeError as exc:
        return Undecodable(str(exc))


def _decode(message: Message, accept: frozenset[str] | None, max_bytes: int) -> Any:
    content_type = message.content_type
    if serialization.is_native(content_type) and compression.is_native(message.compression):
        return message.body(max_bytes)
    body = unpacked(message, max_bytes)
    return serialization.loads(body, content_type, message.content_encoding, accept=accept)


def unpacked(message: Message, max_bytes: int = compression.MAX_BYTES) -> bytes:
    """Decompress a body, if it is compressed.

    Args:
        message: The message.
        max_bytes: How much it may become.

    Returns:
        The encoded body.
    """
    body = message.raw_body()
    if message.compression is None:
        return body
    return compression.decompress(body, message.compression, max_bytes)


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
    wrong = malformed_in(embed)
    if wrong is not None:
        return Poisonous(wrong)
    return Body(list(args), kwargs, embed)


def malformed_in(embed: Mapping[str, Any]) -> str | None:
    """Say what is wrong with what a body asks for after the task.

    Args:
        embed: The third element of a body.

    Returns:
        A clause that continues "the message was set aside:"; None if nothing is wrong.
    """
    chord = embed.get("chord")
    if chord is not None and _wrong_step("chord", chord) is not None:
        return "its chord is not a signature"
    for key in ("callbacks", "errbacks", "chain"):
        following = embed.get(key)
        if following is not None and not isinstance(following, list):
            return f"its {key} are not an array but {_kind(following)}"
        for signature in following or ():
            reason = _wrong_step(key, signature)
            if reason is not None:
                return reason
    return None


def _wrong_step(key: str, signature: Any) -> str | None:
    if not isinstance(signature, dict) or not isinstance(signature.get("task"), str):
        return f"its {key} contain what is not a signature"
    return None


def _kind(value: Any) -> str:
    return type(value).__name__
