"""What a pool is to the worker, and the worker to a pool."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from celeriac._native import ChildEvent, Intake
from celeriac.worker.call import Report
from celeriac.worker.request import Request

__all__ = ("Host", "Pool", "Resizable", "Terminating")


class Host(Protocol):
    """Who gives tasks to a pool and is told what becomes of them."""

    def is_too_late(self, request: Request) -> bool:
        """Say whether a task that is about to start has expired; asked in any thread."""

    def started(self, request: Request, pid: int) -> None:
        """Hear that a process took a task up."""

    def executed(self, request: Request, report: Report) -> None:
        """Hear of a task that was started and has ended: for `started` and `ended` at once."""

    def ended(self, request: Request, report: Report) -> None:
        """Hear what became of a task, once."""


class Pool(Protocol):
    """Executes tasks. All methods are called by the worker's one thread."""

    #: The name of the pool on the command line.
    name: str

    @property
    def leaves_threads(self) -> bool:
        """Whether a task still runs after `stop`, which only the process's end can end."""

    def prepare(self) -> None:
        """Do what must be done before any thread exists."""

    def start(self, intake: Intake) -> None:
        """Be ready for tasks."""

    def submit(self, request: Request) -> None:
        """Take a task over; the host hears of it again in every case."""

    def hear(self, event: ChildEvent) -> None:
        """Take note of what a child said."""

    def tend(self) -> float:
        """Do what is due, and say in how many seconds to be called again at the latest."""

    def describe(self, *, wanted: bool) -> None:
        """Report from now on what events tell of a task's end, or no more."""

    @property
    def is_idle(self) -> bool:
        """Whether no task is with this pool."""

    def hand_back(self) -> None:
        """Give back to the host what is not started; what runs goes on."""

    def terminate(self) -> None:
        """End what runs, at once."""

    def stop(self, wait_s: float) -> None:
        """End, when nothing runs any more."""


@runtime_checkable
class Terminating(Protocol):
    """A pool that can end one task."""

    @property
    def pids(self) -> Iterable[int]:
        """The processes that execute tasks."""

    def withdraw(self, request: Request) -> None:
        """Ask the host again before a task is started that waits here."""

    def end_task(self, request: Request, signum: int) -> bool:
        """End a task; False where it does not run, or cannot be ended."""


@runtime_checkable
class Resizable(Protocol):
    """A pool that can run more or fewer tasks at once than it began with."""

    def resize(self, size: int) -> None:
        """Run so many from now on; what runs too many runs to its end."""
