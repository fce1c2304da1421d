"""Reach the broker before anything is consumed: one line a try, and what to do."""

import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any

from celeriac._native import Publisher, redacted
from celeriac.exceptions import OperationalError

__all__ = ("reach_broker",)

logger = logging.getLogger("celery.worker.consumer.consumer")

_TRY_WAIT_S = 5.0
_FIRST_PAUSE_S = 2.0
_STEP_S = 2.0
_LONGEST_PAUSE_S = 30.0


def reach_broker(
    publisher: Publisher,
    queues: Sequence[dict[str, Any]],
    max_tries: int | None,
    pause: Callable[[float], bool],
) -> bool:
    """Declare the queues, trying again until the broker answers.

    Args:
        publisher: A publisher of the URL the worker reads from.
        queues: The queues, as the Rust module takes them.
        max_tries: How often to try again (``broker_connection_max_retries``); None or 0 for ever.
        pause: Waits so many seconds; False where the worker is to stop instead.

    Returns:
        Whether the broker was reached; False where the worker is to stop. An OperationalError says
        that there is still no answer after ``max_tries``.

    Source:
        Celery 5.7 tries again after 2, 4, 6 ... 30 seconds.
    """
    for tried in itertools.count(1):
        error = _declare(publisher, queues)
        if error is None:
            return True
        if max_tries and tried > max_tries:
            raise error
        pause_s = min(_FIRST_PAUSE_S + _STEP_S * (tried - 1), _LONGEST_PAUSE_S)
        logger.error(
            "consumer: Cannot connect to %s: %s. Is the broker running, and is broker_url right? "
            "Trying again in %.2f seconds... (%d/%s)",
            redacted(publisher.url),
            error,
            pause_s,
            tried,
            max_tries or "forever",
        )
        if not pause(pause_s):
            return False
    return False


def _declare(publisher: Publisher, queues: Sequence[dict[str, Any]]) -> OperationalError | None:
    try:
        for queue in queues:
            publisher.declare(queue, _TRY_WAIT_S)
    except OperationalError as exc:
        return exc
    return None
