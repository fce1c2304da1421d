"""The asyncio pool: ``async def`` tasks side by side on one loop, functions in threads beside them.

The loop has a thread of its own. A coroutine is ended by cancelling it: on revocation, at its hard
time limit, by a cold stop. A function cannot be ended, as in the threads pool.
"""

import logging
import os
import threading
import time
from typing import Any

from celeriac import _current
from celeriac._native import ChildEvent, Intake
from celeriac.app import coroutines
from celeriac.exceptions import WorkerTerminate
from celeriac.worker.call import Report
from celeriac.worker.execute import Executor
from celeriac.worker.limits import TimeLimits
from celeriac.worker.outcome import Expired, HandedBack, WorkerLost
from celeriac.worker.pools.aio.daemons import Daemons
from celeriac.worker.pools.aio.runner import Runner
from celeriac.worker.pools.base import Host
from celeriac.worker.pools.news import News, Opened
from celeriac.worker.request import Request

__all__ = ("AioPool",)

logger = logging.getLogger("celery.pool")

_NOTHING_DUE_S = 3600.0
#: How long an application may take to open its resources.
_BEGIN_WAIT_S = 60.0
_LOST = WorkerLost("Worker exited prematurely: cold shutdown.", in_cold_stop=True)


class AioPool:
    """Executes tasks on a loop in a thread of its own.

    Args:
        app: The application.
        executor: Executes tasks; its ``limits_coroutines`` is True.
        host: Hears of them, in the worker's thread.
        size: How many run at once.
        limits: How long they may run that do not say it themselves.
    """

    name = "aio"

    def __init__(
        self, app: Any, executor: Executor, host: Host, size: int, limits: TimeLimits
    ) -> None:
        self._app = app
        self._executor = executor
        self._news = News()
        self._opened = Opened(host, self._news, os.getpid())
        self._daemons = Daemons(size, "AioPoolWorker", app.set_current, coroutines.close_loop)
        self._runner = Runner(app, executor, host, self._news, limits, size, self._daemons)
        self._thread = threading.Thread(target=self._serve, name="AioPoolLoop", daemon=True)
        self._has_begun = threading.Event()
        self._error: BaseException | None = None
        self._is_ready = False
        self._is_cold = False

    @property
    def is_idle(self) -> bool:
        """Whether no task is with this pool."""
        return not self._opened

    @property
    def leaves_threads(self) -> bool:
        """Whether a task still runs, which nothing but the end of the process can end."""
        return self._thread.is_alive() or self._daemons.is_any_alive

    @property
    def pids(self) -> list[int]:
        """This process."""
        return [os.getpid()]

    def prepare(self) -> None:
        """Nothing is forked."""

    def start(self, intake: Intake) -> None:
        """Start the loop, and open the application's resources on it.

        Args:
            intake: Is woken when there is something to tell.

        Raises:
            RuntimeError: The resources cannot be opened; its cause says why.
        """
        if threading.current_thread() is threading.main_thread():
            # This process is nothing but a worker: tasks that wait for others can use up the pool.
            _current.set_task_join_will_block(True)
        self._news.open(intake)
        self._thread.start()
        self._has_begun.wait(_BEGIN_WAIT_S)
        if not self._is_ready:
            message = f"The application's lifespan has not begun within {_BEGIN_WAIT_S:g}s."
            if self._error is not None:
                message = f"The application's lifespan cannot begin: {self._error!r}"
            raise RuntimeError(message) from self._error

    def describe(self, *, wanted: bool) -> None:
        """Report what events tell of a task's end, or no more.

        Args:
            wanted: Which.
        """
        self._executor.describes = wanted

    def submit(self, request: Request) -> None:
        """Give a task to the loop; the prefetch bounds how many wait.

        Args:
            request: The task.
        """
        self._opened.add(request)
        self._runner.add(request)

    def withdraw(self, request: Request) -> None:
        """Ask the host again about a task that has not started.

        Args:
            request: The task.
        """
        if self._runner.take_back(request):
            self._opened.end(request, Report(Expired()))

    def end_task(self, request: Request, signum: int) -> bool:
        """Cancel a task's coroutine.

        Args:
            request: The task.
            signum: For processes; a coroutine is cancelled whatever it is.

        Returns:
            Whether it runs, and is no function, which cannot be ended.
        """
        return self._runner.end(request, WorkerLost(f"cancelled by signal {signum}"))

    def resize(self, size: int) -> None:
        """Run more or fewer at once from now on.

        Args:
            size: How many.
        """
        self._daemons.size = size
        self._runner.resize(size)

    def hear(self, event: ChildEvent) -> None:
        """There are no children."""

    def tend(self) -> float:
        """Pass on to the host what the loop has told.

        Returns:
            Seconds: long, since news wake the worker.

        Raises:
            RuntimeError: The loop has ended, and nothing is executed any more.
        """
        asked = self._opened.hear()
        if asked is not None:
            if isinstance(asked, WorkerTerminate):
                self.terminate()
            raise asked
        if self._error is not None:
            message = f"The loop of the asyncio pool has ended: {self._error!r}"
            raise RuntimeError(message) from self._error
        return _NOTHING_DUE_S

    def hand_back(self) -> None:
        """Give back to the host what is not started; what runs goes on."""
        for request in self._runner.take_all_back():
            self._opened.end(request, Report(HandedBack()))

    def terminate(self) -> None:
        """Cancel the coroutines, and give up on functions."""
        self.hand_back()
        self._is_cold = True
        self._runner.end_all(_LOST)
        # What was cancelled may clean up before its message goes back.
        deadline_s = time.monotonic() + coroutines.CLEAN_UP_S
        while self._runner.has_coroutines and time.monotonic() < deadline_s:
            self._runner.has_ended.wait(max(0.0, deadline_s - time.monotonic()))
            self._runner.has_ended.clear()
        self._opened.hear()
        left = self._opened.left
        if left:
            logger.warning(
                "Cold shutdown: threads cannot be ended, so these tasks end with the process: %s",
                ", ".join(request.humaninfo() for request in left),
            )
        for request in left:
            self._opened.end(request, Report(_LOST))

    def stop(self, wait_s: float) -> None:
        """Close the application's resources, and end the loop and the threads.

        Args:
            wait_s: How long to wait for them, in seconds; after `terminate` for a clean-up only.
        """
        if not self._thread.ident:
            return
        if self._is_ready:
            self._runner.close()
        wait_s = min(wait_s, coroutines.CLEAN_UP_S) if self._is_cold else wait_s
        deadline_s = time.monotonic() + wait_s
        self._thread.join(wait_s)
        self._daemons.end(time.monotonic() if self._is_cold else deadline_s)

    # In the loop's thread ----------------------------------------------------------------------

    def _serve(self) -> None:
        self._app.set_current()
        try:
            coroutines.run(self._runner.serve(self._begun))
        except BaseException as exc:  # told by the worker's thread
            self._error = exc
            if self._is_ready:
                logger.exception("The application's lifespan did not end well")
        finally:
            self._has_begun.set()
            self._news.wake()
        coroutines.close_loop()

    def _begun(self) -> None:
        self._is_ready = True
        self._has_begun.set()
