"""The worker's main loop: events in, tasks to the pool, outcomes to the settler."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celeriac._native import ChildEvent, Delivery, Intake, Trouble
from celeriac.rustlogs import drain_rust_logs
from celeriac.worker.call import Report
from celeriac.worker.census import Census
from celeriac.worker.dispatch import Door, TurnedAway, announce_revoked, has_stamp
from celeriac.worker.outcome import Expired, Poisonous, Revoked, WorkerLost
from celeriac.worker.pools.base import Pool, Terminating
from celeriac.worker.request import Request
from celeriac.worker.revoked import Revoked as RevokedIds
from celeriac.worker.settler import Settler
from celeriac.worker.stopping import Stop
from celeriac.worker.turned import announce

__all__ = ("Loop",)

logger = logging.getLogger("celery.worker.consumer.consumer")

_MAX_EVENTS = 256
#: How often the Rust module's log is looked at.
_LOGS_S = 0.25


class Loop:
    """Runs until the worker is to stop.

    Args:
        app: The application.
        intake: Where events come from.
        door: Admits messages.
        settler: Settles them.
        stop: Says when to stop.
        revoked: The ids of tasks that are not to run.
        revoked_stamps: The stamps of such tasks.

    Attributes:
        census: Which tasks are with this worker.
        revoked: As given.
        revoked_stamps: As given.
        tend: Called between two batches of events; must not wait.
        turned: Called a few times a second, while the worker consumes.
    """

    def __init__(
        self,
        app: Any,
        intake: Intake,
        door: Door,
        settler: Settler,
        stop: Stop,
        revoked: RevokedIds | None = None,
        revoked_stamps: dict[str, list[Any]] | None = None,
    ) -> None:
        self.census = Census()
        self.revoked = RevokedIds() if revoked is None else revoked
        self.revoked_stamps = {} if revoked_stamps is None else revoked_stamps
        self.tend: Callable[[], None] = _nothing
        self.turned: Callable[[], None] = _nothing
        self._app = app
        self._intake = intake
        self._door = door
        self._settler = settler
        self._stop = stop
        self._waiting: dict[str, Request] = {}
        self._logs_due_s = 0.0
        self._pid = os.getpid()
        self._pool: Pool

    # The host of a pool ----------------------------------------------------------------------

    def is_too_late(self, request: Request) -> bool:
        """Say whether a task that is about to start has expired.

        Args:
            request: The task.

        Returns:
            Whether its time is over.
        """
        return self._door.is_too_late(request)

    def started(self, request: Request, pid: int) -> None:
        """Acknowledge a task that started, unless its task acknowledges late.

        Args:
            request: The task.
            pid: The process that took it up.
        """
        request.worker_pid = pid
        self.census.start(request)
        if not request.policy.acks_late:
            # A task that keeps this thread may keep it for long.
            self._settler.ack_early(request, later=pid != self._pid)

    def ended(self, request: Request, report: Report) -> None:
        """Settle a task.

        Args:
            request: The task.
            report: What became of it.
        """
        self.census.leave(request)
        if request.fate is not None and isinstance(report.outcome, Expired | WorkerLost):
            report = Report(request.fate)
        self._settler.settle(request, report)

    # Revoke ----------------------------------------------------------------------------------

    def revoke(self, ids: Sequence[str]) -> None:
        """Let tasks not start here, now and later.

        Args:
            ids: Their ids.
        """
        self.revoked.add(ids)
        self._withdraw(ids)

    def _withdraw(self, ids: Sequence[str]) -> None:
        for task_id in ids:
            for delivery in self._intake.cancel_delayed(task_id):
                self._waiting.pop(task_id, None)
                self._turn_revoked(delivery)
            request = self.census.find(task_id)
            if request is not None and request.time_start is None and request.fate is None:
                announce_revoked(request)
                request.revoke()
                if isinstance(self._pool, Terminating):
                    self._pool.withdraw(request)

    def revoke_stamped(self, stamps: Mapping[str, list[Any]]) -> list[str]:
        """Let tasks with some stamps not start here, now and later.

        Args:
            stamps: Values, by the stamp's name.

        Returns:
            The ids of those that run.
        """
        for name, values in stamps.items():
            known = self.revoked_stamps.setdefault(name, [])
            known += [value for value in values if value not in known]
        here = [*self.census.reserved(), *self.scheduled()]
        self._withdraw([request.id for request in here if has_stamp(request, stamps)])
        return [request.id for request in self.census.active() if has_stamp(request, stamps)]

    def _turn_revoked(self, delivery: Delivery) -> None:
        request = self._door.request_of(delivery)
        if request is None:
            # Nothing that could run: the door says why, as if its time had come.
            self._receive(delivery)
            return
        announce_revoked(request)
        self._settler.settle(request, Report(Revoked("revoked")))

    def terminate(self, task_id: str, signum: int) -> bool:
        """End a task that runs, with the process it runs in.

        Args:
            task_id: Its id.
            signum: The signal for that process.

        Returns:
            Whether it runs here.
        """
        request = self.census.find(task_id)
        if request is None or request.time_start is None:
            return False
        if not isinstance(self._pool, Terminating) or not self._pool.end_task(request, signum):
            return False
        announce_revoked(request, terminated=True, signum=signum)
        request.fate = Revoked("terminated")
        return True

    def scheduled(self) -> list[Request]:
        """List what waits for its time.

        Returns:
            Tasks, the earliest first.
        """
        found = [self._door.request_of(delivery) for _, delivery in self._intake.delayed()]
        return [request for request in found if request is not None]

    # The loop --------------------------------------------------------------------------------

    def run(self, pool: Pool) -> None:
        """Take, execute and settle until somebody asks to stop.

        Args:
            pool: Executes tasks.
        """
        self._pool = pool
        stop, intake = self._stop, self._intake
        while not stop.is_asked:
            wait_s = min(pool.tend(), _LOGS_S)
            for event in intake.next_events(_MAX_EVENTS, wait_s):
                self._take(event)
            self.tend()
            if time.monotonic() >= self._logs_due_s:
                self._logs_due_s = time.monotonic() + _LOGS_S
                self.turned()
                drain_rust_logs()

    def wind_down(self) -> None:
        """Give back what is not started, and wait for what runs, until a cold stop is asked for."""
        pool, intake = self._pool, self._intake
        intake.stop_reserving()
        pool.hand_back()
        stop = self._stop
        while (stop.lingers or not pool.is_idle) and not stop.is_cold:
            for event in intake.next_events(_MAX_EVENTS, min(pool.tend(), _LOGS_S)):
                self._take(event)
            self.tend()
            drain_rust_logs()
        if self._stop.is_cold:
            pool.terminate()

    def _take(self, event: Delivery | ChildEvent | Trouble) -> None:
        if isinstance(event, ChildEvent):
            self._pool.hear(event)
        elif isinstance(event, Trouble):
            self._note(event)
        elif not self._stop.is_asked:
            self._receive(event)
        # Otherwise the delivery stays unsettled, and the intake hands it back when it closes.

    def _receive(self, delivery: Delivery) -> None:
        request = self._due(delivery) if delivery.eta is not None else None
        if request is None:
            admitted = self._admit(delivery)
            if admitted is None:
                return
            request = admitted
        elif request.id in self.revoked:
            announce_revoked(request)
            self._settler.settle(request, Report(Revoked("revoked")))
            return
        elif self._door.is_too_late(request):
            self._settler.settle(request, Report(Expired()))
            return
        self.census.enter(request)
        self._pool.submit(request)

    def _due(self, delivery: Delivery) -> Request | None:
        # Recognise a message that had been put off until now.
        request = self._waiting.get(delivery.id or "")
        if request is None or self._door.waits(request):
            return None
        del self._waiting[request.id]
        request.delivery = delivery
        return request

    def _admit(self, delivery: Delivery) -> Request | None:
        admitted = self._admitted(delivery)
        if isinstance(admitted, TurnedAway):
            delivery = admitted.delivery or delivery
            announce(admitted.outcome, delivery, self._app)
            if admitted.request is None:
                self._settler.turn_away(delivery, admitted.outcome)
            else:
                self._settler.settle(admitted.request, Report(admitted.outcome))
            return None
        if self._door.waits(admitted):
            if self._intake.delay_until(admitted.delivery, admitted.due_ms):
                self._waiting[admitted.id] = admitted
            return None
        return admitted

    def _admitted(self, delivery: Delivery) -> Request | TurnedAway:
        try:
            return self._door.admit(delivery)
        except Exception as exc:
            # No message is worth a worker: what its door stumbles over is kept, and told.
            logger.critical("The worker failed at a message: %r", exc, exc_info=True)
            return TurnedAway(Poisonous(f"the worker failed at it: {exc!r}"))

    def _note(self, trouble: Trouble) -> None:
        match trouble.kind:
            case "disconnected":
                logger.warning(
                    "consumer: Connection to broker lost. "
                    "Trying to re-establish the connection... (%s)",
                    trouble.detail,
                )
            case "reconnected":
                logging.getLogger("celery.worker.consumer.connection").info(
                    "Connected to %s", trouble.detail
                )
            case "unsettled":
                logger.error("Some messages could not be settled yet: %s", trouble.detail)


def _nothing() -> None:
    return
