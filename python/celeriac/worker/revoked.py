"""Which tasks are not to be started: ids, for a while, and not too many.

Source:
    Celery 5.7's limits (50,000 ids for three hours) and the variables that change them.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

__all__ = ("Revoked",)

_MAX_IDS = 50_000
_EXPIRES_S = 10_800.0


class Revoked:
    """A bounded set of task ids; the oldest leave first.

    Args:
        limit: How many ids; by default ``CELERY_WORKER_REVOKES_MAX`` or 50,000.
        expires_s: Seconds each is kept; by default ``CELERY_WORKER_REVOKE_EXPIRES`` or 10,800.
        clock: The time in seconds, never going back.
    """

    def __init__(
        self,
        limit: int | None = None,
        expires_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = int(_given("CELERY_WORKER_REVOKES_MAX", _MAX_IDS, limit))
        self._expires_s = _given("CELERY_WORKER_REVOKE_EXPIRES", _EXPIRES_S, expires_s)
        self._clock = clock
        self._until_s: dict[str, float] = {}

    def add(self, ids: Iterable[str]) -> None:
        """Remember ids from now on; a known one begins anew.

        Args:
            ids: Task ids.
        """
        until_s = self._clock() + self._expires_s
        for task_id in ids:
            self._until_s.pop(task_id, None)
            self._until_s[task_id] = until_s
        self._forget()

    def merge(self, others: Any) -> None:
        """Remember what another worker knows; anything else is passed over.

        Args:
            others: A list of ids, or (Celery before 5.7) an object with the ids as keys.
        """
        if isinstance(others, list | tuple | Mapping):
            self.add(task_id for task_id in others if isinstance(task_id, str))

    def _forget(self) -> None:
        # The oldest come first, and all live equally long.
        now_s = self._clock()
        surplus = len(self._until_s) - self._limit
        for task_id in list(self._until_s):
            if surplus <= 0 and self._until_s[task_id] > now_s:
                return
            del self._until_s[task_id]
            surplus -= 1

    def __contains__(self, task_id: object) -> bool:
        until_s = self._until_s.get(task_id) if isinstance(task_id, str) else None
        return until_s is not None and until_s > self._clock()

    def __iter__(self) -> Iterator[str]:
        self._forget()
        return iter(list(self._until_s))

    def __len__(self) -> int:
        return len(self._until_s)


def _given(variable: str, default: float, argument: float | None) -> float:
    if argument is not None:
        return argument
    try:
        return float(os.environ[variable])
    except (KeyError, ValueError):
        return default
