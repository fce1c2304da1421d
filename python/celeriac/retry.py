"""How long to wait before trying again. No clock, no sleep.

Source:
    kombu ``retry_over_time`` (the policy's keys); Celery's documented defaults.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from celeriac.exceptions import OperationalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_POLICY = {
    "max_retries": 3,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 0.2,
}


def delays_s(policy: Mapping[str, Any] | None = None) -> Iterator[float]:
    """List the waits between tries of a publish.

    Args:
        policy: ``max_retries`` (None: without end), ``interval_start``, ``interval_step`` and
            ``interval_max`` (seconds); what is missing comes from the default policy.

    Yields:
        The seconds to wait before each further try; by default 0, 0.2 and 0.2.
    """
    merged = {**DEFAULT_POLICY, **(policy or {})}
    left = merged["max_retries"]
    delay = float(merged["interval_start"])
    while left is None or left > 0:
        yield min(delay, float(merged["interval_max"]))
        delay += float(merged["interval_step"])
        left = None if left is None else left - 1


def retried_errors(policy: Mapping[str, Any] | None) -> tuple[type[BaseException], ...]:
    """List what is tried again.

    Args:
        policy: ``retry_errors`` is a class, or a tuple of them; None for none.

    Returns:
        These, beside `OperationalError`.
    """
    more = (policy or {}).get("retry_errors")
    return (OperationalError, *(more if isinstance(more, tuple) else (more,) if more else ()))


def backoff_s(factor: float, retries: int, maximum_s: float, jitter: float | None) -> float:
    """Compute the wait before a task's next retry.

    Args:
        factor: The first wait, in seconds.
        retries: How often the task has been retried.
        maximum_s: The longest wait, in seconds.
        jitter: None for none; otherwise a random number in [0, 1) by which it is scaled.

    Returns:
        Seconds, at least 0; whole ones for a whole factor.

    Source:
        celery/utils/time.py ``get_exponential_backoff_interval``. Celery makes 1 second of every
        fraction.
    """
    # The exponent is bounded, so that a task retried for ever does not build huge integers.
    countdown: float = max(0, min(maximum_s, factor * 2 ** min(retries, 1000)))
    if jitter is None:
        return countdown
    return jitter * countdown if countdown % 1 else int(jitter * (countdown + 1))


def get_exponential_backoff_interval(
    factor: float,
    retries: int,
    maximum: float,
    full_jitter: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
) -> int:
    """Compute the wait before a task's next retry (see `backoff_s`).

    Returns:
        Whole seconds.
    """
    return int(backoff_s(factor, retries, maximum, random.random() if full_jitter else None))  # noqa: S311 - not for secrets
