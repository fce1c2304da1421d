"""What other threads tell the worker's thread: one wake-up for all since it last looked."""

from collections import deque
from typing import TYPE_CHECKING

from celeriac._native import Intake
from celeriac.exceptions import WorkerShutdown, WorkerTerminate
from celeriac.worker.call import Report
from celeriac.worker.outcome import WorkerLost
from celeriac.worker.pools.base import Host
from celeriac.worker.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("News", "Opened", "lost")


class News:
    """Tells of tasks that started and ended. `tell` and `ask` may be called in any thread.

    Attributes:
        asked: What a task has raised that asks the worker to stop.
    """

    def __init__(self) -> None:
        self.asked: WorkerShutdown | WorkerTerminate | None = None
        self._told: deque[tuple[Request, Report | None]] = deque()
        self._wake: Callable[[], None] = _wake_nobody
        self._is_awake = False

    def open(self, intake: Intake) -> None:
        """Say whom to wake.

        Args:
            intake: What the worker's thread waits in.
        """
        self._wake = intake.wake

    def tell(self, request: Request, report: Report | None) -> None:
        """Say that a task started (no report), or how it ended.

        Args:
            request: The task.
            report: What became of it.
        """
        self._told.append((request, report))
        self.wake()

    def wake(self) -> None:
        """Have the worker's thread look."""
        if not self._is_awake:
            self._is_awake = True
            self._wake()

    def take(self) -> list[tuple[Request, Report | None]]:
        """Take all that was told.

        Returns:
            Requests and reports, in order.
        """
        # Before the look: what is told after it wakes again.
        self._is_awake = False
        told = self._told
        return [told.popleft() for _ in range(len(told))]


class Opened:
    """The tasks that a pool of this process has, for the worker's thread.

    Args:
        host: Hears of them.
        news: What is told of them.
        pid: This process.
    """

    def __init__(self, host: Host, news: News, pid: int) -> None:
        self._host = host
        self._news = news
        self._pid = pid
        self._requests: dict[int, Request] = {}

    def add(self, request: Request) -> None:
        """Take a task over.

        Args:
            request: The task.
        """
        self._requests[id(request)] = request

    def end(self, request: Request, report: Report) -> None:
        """Tell the host how a task ended, once.

        Args:
            request: The task.
            report: What became of it.
        """
        if self._requests.pop(id(request), None) is not None:
            self._host.ended(request, report)

    def hear(self) -> WorkerShutdown | WorkerTerminate | None:
        """Pass on to the host what was told.

        Returns:
            What asks the worker to stop, if something does.
        """
        begun: dict[int, Request] = {}
        for request, report in self._news.take():
            if report is None:
                begun[id(request)] = request
            elif begun.pop(id(request), None) is None:
                self.end(request, report)
            elif self._requests.pop(id(request), None) is not None:
                request.worker_pid = self._pid
                self._host.executed(request, report)
        for number, request in begun.items():
            if number in self._requests:
                self._host.started(request, self._pid)
        asked, self._news.asked = self._news.asked, None
        return asked

    @property
    def left(self) -> list[Request]:
        """Those whose end the host has not heard."""
        return list(self._requests.values())

    def __len__(self) -> int:
        return len(self._requests)


def lost(exc: BaseException, news: News) -> Report:
    """Make of what would end a process the end of one task.

    Args:
        exc: What the task has raised: ``SystemExit`` and the like.
        news: Hears of it where it asks the worker to stop.

    Returns:
        What became of the task.
    """
    if isinstance(exc, WorkerShutdown | WorkerTerminate):
        news.asked = exc
    return Report(WorkerLost(repr(exc), in_cold_stop=isinstance(exc, WorkerTerminate)))


def _wake_nobody() -> None:
    pass
