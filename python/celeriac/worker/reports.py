"""How a child says over its socket what became of a task: a code and a few bytes of detail."""

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

__all__ = ("WORN_OUT", "from_frame", "to_frame")

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


def to_frame(outcome: Outcome) -> tuple[int, bytes]:
    """Put an outcome into the numbers that travel.

    Args:
        outcome: What executing can end with.

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
    return code, b""


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
