"""What a task says by raising `Ignore`, `Reject` or `Retry`.

Source:
    celery/exceptions.py ``TaskPredicate``.
"""

from __future__ import annotations

from celeriac import states

_STATES = {"Reject": states.REJECTED, "Ignore": states.IGNORED, "Retry": states.RETRY}
_MODULES = frozenset({"celery.exceptions", "celeriac.exceptions"})


def state_of(exc: BaseException) -> str:
    """Tell the state that a task ends in by raising an exception.

    Args:
        exc: What it raised. Celery's own classes count as ours do.

    Returns:
        REJECTED, IGNORED, RETRY or FAILURE.
    """
    for kind in type(exc).__mro__:
        if kind.__name__ in _STATES and kind.__module__ in _MODULES:
            return _STATES[kind.__name__]
    return states.FAILURE
