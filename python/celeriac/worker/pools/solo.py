"""The pool that is none: tasks are executed by the worker's own thread."""

import os
import threading

from celeriac import _current, signals
from celeriac._native import ChildEvent, Intake
from celeriac.app import coroutines
from celeriac.exceptions import WorkerShutdown, WorkerTerminate
from celeriac.worker.call import Report
from celeriac.worker.execute import Executor
from celeriac.worker.outcome import Expired, WorkerLost
from celeriac.worker.pools.base import Host
from celeriac.worker.request import Request
from celeriac.worker.stopping import Stop

__all__ = ("SoloPool",)


class SoloPool:
    """Executes one task at a time, inline.

    Args:
        executor: Executes tasks.
        host: Hears of them.
        stop: Is told while a task runs, so that a cold stop can break it off.
    """

    name = "solo"
    leaves_threads = False

    def __init__(self, executor: Executor, host: Host, stop: Stop) -> None:
        self._executor = executor
        self._host = host
        self._stop = stop
        self._pid = os.getpid()

    @property
    def is_idle(self) -> bool:
        """Always so when somebody asks: a task keeps the only thread."""
        return True

    def prepare(self) -> None:
        """Nothing is forked."""

    def start(self, intake: Intake) -> None:  # noqa: ARG002 - no children to link
        """Tell those that prepare a process for tasks."""
        signals.worker_process_init.send(sender=None)
        if threading.current_thread() is threading.main_thread():
            # This process is nothing but a worker: a task that waits for another waits for itself.
            _current.set_task_join_will_block(True)

    def describe(self, *, wanted: bool) -> None:
        """Report what events tell of a task's end, or no more.

        Args:
            wanted: Which.
        """
        self._executor.describes = wanted

    def submit(self, request: Request) -> None:
        """Execute a task.

        Args:
            request: The task.

        Raises:
            WorkerShutdown: The task asks the worker to stop.
            WorkerTerminate: A signal asked for a cold shutdown while the task ran.
        """
        host = self._host
        if request.expires_ms and host.is_too_late(request):
            host.ended(request, Report(Expired()))
            return
        host.started(request, self._pid)
        self._stop.interrupts = True
        try:
            report = self._executor.execute(request.delivery)
        except (WorkerShutdown, WorkerTerminate) as exc:
            host.ended(request, Report(WorkerLost(repr(exc), in_cold_stop=self._stop.is_cold)))
            raise
        except BaseException as exc:  # noqa: BLE001 - a task's SystemExit must not end the worker
            report = Report(WorkerLost(repr(exc)))
        finally:
            self._stop.interrupts = False
        host.ended(request, report)

    def hear(self, event: ChildEvent) -> None:
        """There are no children."""

    def tend(self) -> float:
        """Nothing is ever due.

        Returns:
            Seconds: long.
        """
        return 3600.0

    def hand_back(self) -> None:
        """Nothing waits here."""

    def terminate(self) -> None:
        """Nothing runs when this is called."""

    def stop(self, wait_s: float) -> None:  # noqa: ARG002 - nothing runs
        """Nothing is left to end but the loop of ``async def`` tasks."""
        coroutines.close_loop()
