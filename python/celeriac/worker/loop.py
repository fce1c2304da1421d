"""The worker's main loop: events in, tasks to the pool, outcomes to the settler."""

import logging
import os
import time
from typing import Any

from celeriac._native import ChildEvent, Delivery, Intake, Trouble
from celeriac.worker.call import Report
from celeriac.worker.dispatch import Door, TurnedAway
from celeriac.worker.outcome import Expired, Poisonous
from celeriac.worker.pools.base import Pool
from celeriac.worker.request import Request
from celeriac.worker.rustlogs import drain_rust_logs
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
    """

    def __init__(self, app: Any, intake: Intake, door: Door, settler: Settler, stop: Stop) -> None:
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
        if not request.policy.acks_late:
            # A task that keeps this thread may keep it for long.
            self._settler.ack_early(request, later=pid != self._pid)

    def ended(self, request: Request, report: Report) -> None:
        """Settle a task.

        Args:
            request: The task.
            report: What became of it.
        """
        self._settler.settle(request, report)

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
            if time.monotonic() >= self._logs_due_s:
                self._logs_due_s = time.monotonic() + _LOGS_S
                drain_rust_logs()

    def wind_down(self) -> None:
        """Give back what is not started, and wait for what runs, until a cold stop is asked for."""
        pool, intake = self._pool, self._intake
        intake.stop_reserving()
        pool.hand_back()
        while not pool.is_idle and not self._stop.is_cold:
            for event in intake.next_events(_MAX_EVENTS, min(pool.tend(), _LOGS_S)):
                self._take(event)
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
        elif self._door.is_too_late(request):
            self._settler.settle(request, Report(Expired()))
            return
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
            announce(admitted.outcome, delivery, self._app)
            if admitted.request is None:
                self._settler.turn_away(delivery, admitted.outcome)
            else:
                self._settler.settle(admitted.request, Report(admitted.outcome))
            return None
        if self._door.waits(admitted):
            self._waiting[admitted.id] = admitted
            self._intake.delay_until(delivery, admitted.due_ms)
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
