"""Threads for what would hold up the loop; made when they are needed, and kept."""

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ("Daemons",)


class Daemons:
    """Runs what it is given in threads.

    They are daemons: the interpreter would wait for one that hangs.

    Args:
        size: How many threads at most; more work than that waits.
        name: What they are called, before a number.
        begin: Called first in each thread.
        end: Called last in each thread.
    """

    def __init__(
        self, size: int, name: str, begin: Callable[[], object], end: Callable[[], object]
    ) -> None:
        self.size = size
        self._name = name
        self._begin = begin
        self._end = end
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._mutex = threading.Lock()
        self._open = 0

    def run(self, work: Callable[[], None]) -> None:
        """Run something in a thread.

        Args:
            work: Raises nothing.
        """
        with self._mutex:
            self._open += 1
            if len(self._threads) < min(self._open, self.size):
                self._start_thread()
        self._jobs.put(work)

    def _start_thread(self) -> None:
        name = f"{self._name}-{len(self._threads) + 1}"
        thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        self._begin()
        # No deadline: `end` ends it, and it is a daemon.
        while (work := self._jobs.get()) is not None:
            work()
            with self._mutex:
                self._open -= 1
        self._end()

    @property
    def is_any_alive(self) -> bool:
        """Whether a thread has not ended."""
        return any(thread.is_alive() for thread in self._threads)

    def end(self, deadline_s: float) -> None:
        """End the threads, each after what it runs.

        Args:
            deadline_s: Until when to wait for them (monotonic).
        """
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
