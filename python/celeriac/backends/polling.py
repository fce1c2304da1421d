"""Waiting on a store that wakes nobody: look, wait a little, look again.

Source:
    celery/backends/base.py ``SyncBackendMixin`` (names and arguments).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac.exceptions import TimeoutError  # noqa: A004 - Celery's name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.5


class Polled:
    """The documents of one result, as far as looking again shows them.

    The first looks follow soon upon each other, later ones at most half a second apart, so that a
    quick task is not waited for longer than it runs, and a slow one does not load the store.

    Args:
        backend: Anything with `get_task_meta`.
        task_id: The task's id.
        longest_pause_s: Between two looks.

    """

    def __init__(
        self, backend: Any, task_id: str, longest_pause_s: float | None = LONGEST_PAUSE_S
    ) -> None:
        self._backend = backend
        self._task_id = task_id
        self._longest_s = LONGEST_PAUSE_S if longest_pause_s is None else longest_pause_s
        self._pause_s = min(FIRST_PAUSE_S, self._longest_s)
        self._last: dict[str, Any] = {"status": states.PENDING, "result": None}

    def next(self, wait_s: float) -> dict[str, Any] | None:
        """Wait for another document than the last.

        Args:
            wait_s: Seconds.

        Returns:
            Its fields; None when the time was over.
        """
        deadline = time.monotonic() + wait_s
        while True:
            meta: dict[str, Any] = self._backend.get_task_meta(self._task_id)
            if self._is_news(meta):
                self._last = dict(meta)
                return meta
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return None
            time.sleep(min(self._pause_s, left_s))
            self._pause_s = min(self._pause_s * 2, self._longest_s)

    def _is_news(self, meta: dict[str, Any]) -> bool:
        if meta["status"] in states.READY_STATES:
            return True
        return any(meta.get(name) != self._last.get(name) for name in ("status", "result"))

    def close(self) -> None:
        """There is nothing to end."""


class SyncBackendMixin:
    """Waits for results by looking at them."""

    subpolling_interval: float | None

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002
        """Read a result; the backend implements this."""
        raise NotImplementedError

    @property
    def is_async(self) -> bool:
        """Whether results come by themselves."""
        return False

    def add_pending_result(self, result: Any, weak: bool = False) -> Any:  # noqa: ARG002, FBT001, FBT002
        """Nothing has to be known of a result before it comes.

        Returns:
            The handle.
        """
        return result

    def remove_pending_result(self, result: Any) -> Any:
        """Nothing was noted.

        Returns:
            The handle.
        """
        return result

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = LONGEST_PAUSE_S,
        no_ack: bool = True,  # noqa: ARG002, FBT001, FBT002 - Celery's signature
        on_interval: Callable[[], Any] | None = None,
    ) -> dict[str, Any]:
        """Wait until a task is done.

        Args:
            task_id: The task's id.
            timeout: Seconds; None waits without end.
            interval: The longest pause between two looks, and between two calls of `on_interval`.
            no_ack: Ignored.
            on_interval: Called while waiting.

        Returns:
            The fields of its document.

        Raises:
            TimeoutError: It did not come in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        looks = Polled(self, task_id, interval)
        while True:
            left_s = interval if deadline is None else deadline - time.monotonic()
            meta = looks.next(max(0.0, min(interval, left_s)))
            if meta is not None and meta["status"] in states.READY_STATES:
                return meta
            if on_interval is not None:
                on_interval()
            if deadline is not None and time.monotonic() >= deadline:
                message = "The operation timed out."
                raise TimeoutError(message)

    def wait_for_pending(self, result: Any, timeout: float | None = None, **options: Any) -> Any:
        """Wait until a handle's task is done.

        Args:
            result: The handle.
            timeout: Seconds.
            **options: As for `AsyncResult.get`.

        Returns:
            Its value.
        """
        return result.get(timeout=timeout, disable_sync_subtasks=False, **options)

    def get_many(
        self,
        task_ids: Iterable[str],
        timeout: float | None = None,
        interval: float = LONGEST_PAUSE_S,
        no_ack: bool = True,  # noqa: ARG002, FBT001, FBT002 - Celery's signature
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        **_options: Any,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Wait for many tasks.

        Args:
            task_ids: Their ids.
            timeout: Seconds for all together.
            interval: The pause between two looks.
            no_ack: Ignored.
            on_message: Called with the fields of each that is done.
            on_interval: Called between two looks.

        Yields:
            Id and fields, in the order in which they are done.

        Raises:
            TimeoutError: They did not all come in time.
        """
        missing = dict.fromkeys(task_ids)
        deadline = None if timeout is None else time.monotonic() + timeout
        pause_s = min(FIRST_PAUSE_S, interval)
        while True:
            for task_id, meta in self._ready_of(list(missing)):
                del missing[task_id]
                if on_message is not None:
                    on_message(meta)
                yield task_id, meta
            if not missing:
                return
            left_s = interval if deadline is None else deadline - time.monotonic()
            if left_s <= 0:
                message = f"Operation timed out ({timeout})"
                raise TimeoutError(message)
            if on_interval is not None:
                on_interval()
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 2, interval)

    def _ready_of(self, task_ids: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        for task_id in task_ids:
            meta = self.get_task_meta(task_id)
            if meta["status"] in states.READY_STATES:
                yield task_id, meta

    def iter_native(
        self, result: Any, timeout: float | None = None, **options: Any
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Wait for the tasks of a set.

        Args:
            result: The set.
            timeout: Seconds for all together.
            **options: As for `get_many`.

        Yields:
            Id and fields, in the order in which they are done.
        """
        yield from self.get_many([one.id for one in result.results], timeout=timeout, **options)
