"""What a child does: take a job up, execute it, say how it ended; until told to stop.

A child never sees the broker's consuming side: it gets messages from the worker and gives back
outcomes.
"""

import logging
import multiprocessing
import os
import resource
import sys
import traceback
from dataclasses import dataclass
from typing import Any

from celeriac import _current, signals
from celeriac._native import ChildChannel, Job, die_with_parent
from celeriac.app import coroutines
from celeriac.rustlogs import drain_rust_logs
from celeriac.worker.call import SUCCEEDED
from celeriac.worker.execute import Executor
from celeriac.worker.limits import SoftAlarm, TimeLimits, take_soft_limit
from celeriac.worker.pools.prefork.server import hear_nothing
from celeriac.worker.reports import WORN_OUT, from_extra, to_frame

__all__ = ("ChildMain",)

logger = logging.getLogger("celery.pool")

#: How long a child waits for a job before it looks after its own log.
_IDLE_WAIT_S = 30.0


@dataclass
class ChildMain:
    """Runs in each child, with what the worker was started with.

    Attributes:
        app: The application.
        hostname: The worker's node name.
        accept: The content types that may be decoded.
        limits: How long tasks may run that do not say it themselves.
        max_memory_kib: The child is replaced after a task with which it grew beyond this.
        kind: How it was made, for its name in the log.
    """

    app: Any
    hostname: str
    accept: frozenset[str] | None
    limits: TimeLimits
    max_memory_kib: int | None
    kind: str = "Fork"

    def __call__(self, slot: int, fd: int) -> int:
        """Be a child.

        Args:
            slot: The child's number.
            fd: Its end of the socket pair.

        Returns:
            The exit code.
        """
        server_pid = os.getppid()
        die_with_parent()
        if os.getppid() != server_pid:
            return 1
        hear_nothing()
        multiprocessing.current_process().name = f"{self.kind}PoolWorker-{slot}"
        self.app.set_current()
        _current.set_task_join_will_block(True)
        code = 0
        try:
            channel = ChildChannel(fd)
            signals.worker_process_init.send(sender=None)
            alarm = SoftAlarm(self.limits)
            executor = Executor(self.app, self.hostname, self.accept, alarm)
            channel.ready()
            self._work(channel, executor)
        except EOFError:
            code = 0  # The worker has told this child to stop, or is gone.
        except SystemExit as exc:
            code = _exit_code(exc)
        except BaseException:  # noqa: BLE001 - a task may raise anything
            logger.critical("Child %s failed:\n%s", slot, traceback.format_exc())
            code = 1
        coroutines.close_loop()
        signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=code)
        drain_rust_logs()
        logging.shutdown()
        return code

    def _work(self, channel: ChildChannel, executor: Executor) -> None:
        while True:
            job = channel.next(_IDLE_WAIT_S)
            if job is None:
                drain_rust_logs()
                continue
            self._do(channel, executor, job)

    def _do(self, channel: ChildChannel, executor: Executor, job: Job) -> None:
        if job.extra:
            limit, executor.describes = from_extra(job.extra)
            if limit:
                take_soft_limit(self.app.tasks[job.task], limit)
        else:
            executor.describes = False
        report = executor.execute(job)
        code, detail = _DONE if report is SUCCEEDED else to_frame(report.outcome, report.told)
        if self.max_memory_kib is not None and _most_memory_kib() > self.max_memory_kib:
            code |= WORN_OUT
        channel.reply(job.seq, code, report.document, detail)


_DONE = to_frame(SUCCEEDED.outcome)


def _most_memory_kib() -> int:
    # What getrusage gives in bytes on macOS, in KiB elsewhere.
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // 1024 if sys.platform == "darwin" else most


def _exit_code(exc: SystemExit) -> int:
    if exc.code is None:
        return 0
    return exc.code if isinstance(exc.code, int) else 1
