"""How a child says over its socket what became of a task: a code and a few bytes of detail."""

import json
from typing import Any

from celeriac.worker.outcome import (
    Failed,
    Ignored,
    Outcome,
    Poisonous,
    Rejected,
    Retried,
    Succeeded,
    Undecodable,
)

__all__ = ("WORN_OUT", "from_extra", "from_frame", "to_extra", "to_frame", "told_of")

#: Added to a code by a child that has grown beyond its memory limit, and is to be replaced.
WORN_OUT = 1 << 8

_WITHOUT_DETAIL: dict[int, Outcome] = {
    0: Succeeded(),
    1: Failed(),
    2: Retried(),
    3: Ignored(),
    4: Rejected(requeue=False),
    5: Rejected(requeue=True),
}
_CODES = {outcome: code for code, outcome in _WITHOUT_DETAIL.items()}
_UNDECODABLE = 6
_POISONOUS = 7


def to_extra(limit: bytes, *, describes: bool) -> bytes:
    """Put what a child is to know beside the message.

    Args:
        limit: The task's changed soft time limit; empty where it was not changed.
        describes: Whether it is to say what events tell.

    Returns:
        Bytes; none for most.
    """
    return b"E" + limit if describes else limit


def from_extra(extra: bytes) -> tuple[bytes, bool]:
    """Read back what `to_extra` wrote.

    Args:
        extra: The bytes.

    Returns:
        Limit, and whether to say what events tell.
    """
    describes = extra.startswith(b"E")
    return extra[describes:], describes


def to_frame(outcome: Outcome, told: dict[str, Any] | None = None) -> tuple[int, bytes]:
    """Put an outcome into the numbers that travel.

    Args:
        outcome: What executing can end with.
        told: What events tell of it, where that is wanted.

    Returns:
        A code below 256, and its detail in UTF-8 (empty for most).

    Raises:
        ValueError: Only the worker itself can come to this outcome.
    """
    match outcome:
        case Undecodable(reason):
            return _UNDECODABLE, reason.encode(errors="replace")
        case Poisonous(reason):
            return _POISONOUS, reason.encode(errors="replace")
        case _:
            code = _CODES.get(outcome)
    if code is None:
        message = f"A child cannot come to {outcome!r}."
        raise ValueError(message)
    return code, b"" if told is None else json.dumps(told).encode()


def told_of(code: int, detail: bytes) -> dict[str, Any] | None:
    """Read what events tell of an outcome that has no detail of its own.

    Args:
        code: The code.
        detail: The detail.

    Returns:
        It; None where it was not wanted.
    """
    if not detail or code not in _WITHOUT_DETAIL:
        return None
    told: dict[str, Any] = json.loads(detail)
    return told


def from_frame(code: int, detail: bytes) -> Outcome:
    """Read back what `to_frame` wrote.

    Args:
        code: The code.
        detail: The detail.

    Returns:
        The outcome.

    Raises:
        ValueError: The code is unknown; worker and child are not the same version.
    """
    plain = _WITHOUT_DETAIL.get(code)
    if plain is not None:
        return plain
    if code == _UNDECODABLE:
        return Undecodable(detail.decode(errors="replace"))
    if code == _POISONOUS:
        return Poisonous(detail.decode(errors="replace"))
    message = f"A child reported outcome {code}, which this version does not know."
    raise ValueError(message)
