"""The threads pool: tasks run side by side in this process, for work that mostly waits.

A thread cannot be ended from outside. A warm stop waits for what runs; a cold one gives up on it:
late tasks go back to their queues, and the process ends with its threads.
"""

import logging
import os
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any

from celeriac import _current
from celeriac._native import ChildEvent, Intake
from celeriac.app import coroutines
from celeriac.exceptions import WorkerTerminate
from celeriac.worker.call import Report
from celeriac.worker.execute import Executor
from celeriac.worker.outcome import Expired, HandedBack, WorkerLost
from celeriac.worker.pools.base import Host
from celeriac.worker.pools.news import News, Opened, lost
from celeriac.worker.request import Request

__all__ = ("ThreadsPool",)

logger = logging.getLogger("celery.pool")

_NOTHING_DUE_S = 3600.0


class ThreadsPool:
    """Executes tasks in threads of the worker's process.

    Args:
        app: The application, current in each thread.
        executor: Executes tasks.
        host: Hears of them, in the worker's thread.
        size: How many threads.
    """

    name = "threads"

    def __init__(self, app: Any, executor: Executor, host: Host, size: int) -> None:
        self._app = app
        self._executor = executor
        self._host = host
        self._size = size
        self._jobs: SimpleQueue[Request | None] = SimpleQueue()
        self._news = News()
        self._threads: list[threading.Thread] = []
        self._started = 0
        self._opened = Opened(host, self._news, os.getpid())
        self._is_cold = False

    @property
    def is_idle(self) -> bool:
        """Whether no task is with this pool."""
        return not self._opened

    @property
    def leaves_threads(self) -> bool:
        """Whether a task still runs, which nothing but the end of the process can end."""
        return any(thread.is_alive() for thread in self._threads)

    def prepare(self) -> None:
        """Nothing is forked."""

    def start(self, intake: Intake) -> None:
        """Start the threads.

        Args:
            intake: Is woken when they have something to tell.
        """
        if threading.current_thread() is threading.main_thread():
            # This process is nothing but a worker: tasks that wait for others can use up the pool.
            _current.set_task_join_will_block(True)
        self._news.open(intake)
        for _ in range(self._size):
            self._start_thread()

    def _start_thread(self) -> None:
        self._started += 1
        # Daemons: the interpreter would wait for one that hangs.
        thread = threading.Thread(
            target=self._serve, name=f"ThreadPoolWorker-{self._started}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def resize(self, size: int) -> None:
        """Start threads, or let as many end as are too many, each after its task.

        Args:
            size: How many there are to be.
        """
        for _ in range(self._size, size):
            self._start_thread()
        for _ in range(size, self._size):
            self._jobs.put(None)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._size = size

    def describe(self, *, wanted: bool) -> None:
        """Report what events tell of a task's end, or no more.

        Args:
            wanted: Which.
        """
        self._executor.describes = wanted

    def submit(self, request: Request) -> None:
        """Give a task to the thread that is free first; the prefetch bounds how many wait.

        Args:
            request: The task.
        """
        self._opened.add(request)
        self._jobs.put(request)

    def hear(self, event: ChildEvent) -> None:
        """There are no children."""

    def tend(self) -> float:
        """Pass on to the host what the threads have told.

        Returns:
            Seconds: long, since news wake the worker.
        """
        asked = self._opened.hear()
        if asked is not None:
            if isinstance(asked, WorkerTerminate):
                self.terminate()
            raise asked
        return _NOTHING_DUE_S

    def hand_back(self) -> None:
        """Give back to the host what is not started; what runs goes on."""
        while True:
            try:
                request = self._jobs.get_nowait()
            except Empty:
                return
            if request is not None:
                self._opened.end(request, Report(HandedBack()))

    def terminate(self) -> None:
        """Give up on what runs; nothing else can be done about a thread."""
        self.hand_back()
        self._is_cold = True
        left = self._opened.left
        if left:
            logger.warning(
                "Cold shutdown: threads cannot be ended, so these tasks end with the process: %s",
                ", ".join(request.humaninfo() for request in left),
            )
        for request in left:
            cause = "Worker exited prematurely: cold shutdown."
            self._opened.end(request, Report(WorkerLost(cause, in_cold_stop=True)))

    def stop(self, wait_s: float) -> None:
        """End the threads.

        Args:
            wait_s: How long to wait for them, in seconds; not at all after `terminate`.
        """
        for _ in self._threads:
            self._jobs.put(None)
        deadline_s = time.monotonic() + (0.0 if self._is_cold else wait_s)
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))

    # In the threads --------------------------------------------------------------------------

    def _serve(self) -> None:
        self._app.set_current()
        # No deadline: `stop` ends it, and it is a daemon.
        while (request := self._jobs.get()) is not None:
            if request.expires_ms and self._host.is_too_late(request):
                self._news.tell(request, Report(Expired()))
            else:
                self._news.tell(request, None)
                self._news.tell(request, self._execute(request))
        coroutines.close_loop()

    def _execute(self, request: Request) -> Report:
        try:
            return self._executor.execute(request.delivery)
        except BaseException as exc:  # noqa: BLE001 - a task's SystemExit must not end its thread
            return lost(exc, self._news)
