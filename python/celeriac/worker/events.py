"""What a worker tells monitors: that it lives, and, when asked to, what becomes of its tasks.

Source:
    Celery 5.7's events: types, fields, and when they are sent.
"""

from __future__ import annotations

import logging
import math
import os
import platform
import time
from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac._native import __version__
from celeriac.worker.outcome import (
    Expired,
    HandedBack,
    Ignored,
    NotRegisteredHere,
    Outcome,
    Rejected,
    Retried,
    Revoked,
    Succeeded,
    TimedOut,
    WorkerLost,
)
from celeriac.worker.settle import Verdict, decide
from celeriac.worker.turned import exception_for

if TYPE_CHECKING:
    from celeriac._native import Delivery
    from celeriac.worker.call import Report
    from celeriac.worker.request import Request

__all__ = ("TaskEvents", "WorkerEvents")

logger = logging.getLogger("celery.worker.control")

DEFAULT_INTERVAL_S = 2.0
#: What the heartbeat that somebody asked for says of the next one.
_ASKED_INTERVAL_S = 5
_SOFTWARE = {"sw_ident": "celeriac", "sw_ver": __version__, "sw_sys": platform.system()}


class TaskEvents:
    """Tells what becomes of tasks. There is one only while somebody wants to know.

    All methods are called by the worker's one thread; what they send leaves with `flush`, or when
    many have come together.

    Args:
        dispatcher: Sends them.
        flushes_starts: Whether a task that starts keeps this thread, and the news, until its end.
    """

    def __init__(self, dispatcher: Any, *, flushes_starts: bool) -> None:
        self._send = dispatcher.send
        self.flush = dispatcher.flush
        self._flushes_starts = flushes_starts

    def received(self, request: Request) -> None:
        """Tell that a task has come.

        Args:
            request: The task.
        """
        eta, expires = request.eta, request.expires
        self._tell(
            request,
            "task-received",
            name=request.name,
            args=request.argsrepr,
            kwargs=request.kwargsrepr,
            root_id=request.root_id,
            parent_id=request.parent_id,
            retries=request.headers.get("retries") or 0,
            eta=eta and eta.isoformat(),
            expires=expires and expires.isoformat(),
        )

    def started(self, request: Request) -> None:
        """Tell that a task runs.

        Args:
            request: The task.
        """
        self._tell(request, "task-started")
        if self._flushes_starts:
            self.flush()

    def revoked(
        self,
        request: Request,
        *,
        expired: bool = False,
        terminated: bool = False,
        signum: int | None = None,
    ) -> None:
        """Tell that a task does not run, or not on.

        Args:
            request: The task.
            expired: Whether its time was over.
            terminated: Whether it ran.
            signum: The signal that ended it.
        """
        self._tell(request, "task-revoked", terminated=terminated, signum=signum, expired=expired)

    def turned_away(self, delivery: Delivery, outcome: Outcome) -> None:
        """Tell that nobody here knows a task.

        Args:
            delivery: Its message.
            outcome: Why it is not run.
        """
        if isinstance(outcome, NotRegisteredHere) and delivery.id:
            exception = f"NotRegistered({delivery.task!r})"
            self._send("task-failed", uuid=delivery.id, exception=exception)

    def ended(self, request: Request, report: Report) -> None:
        """Tell what became of a task.

        Args:
            request: The task.
            report: What became of it.
        """
        outcome, told = report.outcome, report.told or {}
        match outcome:
            case Succeeded():
                result, runtime_s = told.get("result"), told.get("runtime")
                self._tell(request, "task-succeeded", result=result, runtime=runtime_s)
            case Retried():
                self._tell(request, "task-retried", **_raised(told))
            case Ignored() | HandedBack():
                pass
            case Expired():
                self.revoked(request, expired=True)
            case Revoked("terminated"):
                pass  # said when that was done
            case Revoked():
                self.revoked(request)
            case WorkerLost(in_cold_stop=True):
                self._tell(request, "task-cancelled")
            case _:
                self._failed(request, outcome, told)

    def _failed(self, request: Request, outcome: Outcome, told: dict[str, Any]) -> None:
        verdict = decide(outcome, request.policy).verdict
        comes_again = verdict in {Verdict.REQUEUE, Verdict.REQUEUE_LOST}
        if not told:
            exc = exception_for(outcome, request.task_name)
            told = {"exception": None if exc is None else repr(exc)}
        is_final = outcome != Rejected(requeue=True)
        if is_final and (not comes_again or isinstance(outcome, TimedOut)):
            self._tell(request, "task-failed", **_raised(told))
        if comes_again or verdict is Verdict.REJECT:
            self._tell(request, "task-rejected", requeue=comes_again)

    def _tell(self, request: Request, kind: str, **fields: Any) -> None:
        if request.task.send_events:
            self._send(kind, uuid=request.id, **fields)


def _raised(told: dict[str, Any]) -> dict[str, Any]:
    return {"exception": told.get("exception"), "traceback": told.get("traceback")}


class WorkerEvents:
    """A worker's side of events: heartbeats by default, what becomes of tasks when asked to.

    Args:
        app: The application.
        hostname: The worker's node name.
        loop: Its main loop.
        pool: Its pool.
        interval_s: Seconds between two heartbeats; 0 for none at all.
    """

    def __init__(self, app: Any, hostname: str, loop: Any, pool: Any, interval_s: float) -> None:
        self.interval = interval_s
        self._loop = loop
        self._pool = pool
        self._interval_s = interval_s
        self._due_s = 0.0
        self._is_online = False
        self.dispatcher = app.events.Dispatcher(
            hostname=hostname, groups=["worker"], buffer_group=["task"]
        )

    def start(self, box: Any, *, with_tasks: bool) -> None:
        """Tell that the worker is there.

        Args:
            box: Sends events, so that there need be no further connection; None where there is
                no such box.
            with_tasks: Whether to tell of tasks from the beginning.
        """
        self.dispatcher.box = box
        if with_tasks:
            self.enable_tasks()
        self._beat("worker-online")
        self._is_online = True

    def enable_tasks(self) -> bool:
        """Tell of tasks from now on.

        Returns:
            Whether that is new.
        """
        if self._loop.events is not None:
            return False
        self.dispatcher.groups.add("task")
        self._pool.describe(wanted=True)
        is_solo = self._pool.name == "solo"
        self._loop.events = TaskEvents(self.dispatcher, flushes_starts=is_solo)
        return True

    def disable_tasks(self) -> bool:
        """Tell of tasks no more.

        Returns:
            Whether that is new.
        """
        if self._loop.events is None:
            return False
        self._loop.events = None
        self._pool.describe(wanted=False)
        self.dispatcher.flush()
        self.dispatcher.groups.discard("task")
        return True

    def turn(self) -> float:
        """Tell that the worker lives, when that is due.

        Returns:
            In how many seconds it is due again.
        """
        if not self._interval_s:
            return math.inf
        if time.monotonic() >= self._due_s:
            self._beat("worker-heartbeat")
        return self._due_s - time.monotonic()

    def answer(self) -> None:
        """Tell that the worker lives, since somebody has asked."""
        self.dispatcher.send("worker-heartbeat", freq=_ASKED_INTERVAL_S, **_SOFTWARE)

    def stop(self) -> None:
        """Tell that the worker ends, where it has told that it is there."""
        if not self._is_online:
            return
        self._beat("worker-offline")
        self.dispatcher.flush()

    def _beat(self, kind: str) -> None:
        if not self._interval_s:
            return
        self._due_s = time.monotonic() + self._interval_s
        if signals.heartbeat_sent.receivers:
            signals.heartbeat_sent.send(sender=self)
        census = self._loop.census
        self.dispatcher.send(
            kind,
            freq=self._interval_s,
            active=len(census.active()),
            processed=sum(census.started_total.values()),
            loadavg=[round(load, 2) for load in _load_average()],
            **_SOFTWARE,
        )


def _load_average() -> tuple[float, ...]:
    try:
        return os.getloadavg()
    except (AttributeError, OSError):
        return (0.0, 0.0, 0.0)  # not on this system
