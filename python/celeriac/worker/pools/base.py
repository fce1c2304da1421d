"""What a pool is to the worker, and the worker to a pool."""

from typing import Protocol

from celeriac._native import ChildEvent, Intake
from celeriac.worker.call import Report
from celeriac.worker.request import Request

__all__ = ("Host", "Pool")


class Host(Protocol):
    """Who gives tasks to a pool and is told what becomes of them."""

    def is_too_late(self, request: Request) -> bool:
        """Say whether a task that is about to start has expired."""

    def started(self, request: Request, pid: int) -> None:
        """Hear that a process took a task up."""

    def ended(self, request: Request, report: Report) -> None:
        """Hear what became of a task, once."""


class Pool(Protocol):
    """Executes tasks. All methods are called by the worker's one thread."""

    #: The name of the pool on the command line.
    name: str

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

    @property
    def is_idle(self) -> bool:
        """Whether no task is with this pool."""

    def hand_back(self) -> None:
        """Give back to the host what is not started; what runs goes on."""

    def terminate(self) -> None:
        """End what runs, at once."""

    def stop(self, wait_s: float) -> None:
        """End, when nothing runs any more."""
