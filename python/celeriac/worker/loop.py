"""The worker's main loop: events in, tasks to the pool, outcomes to the settler."""

import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from celeriac._native import ChildEvent, Delivery, Intake, Trouble
from celeriac.rustlogs import drain_rust_logs, has_logs
from celeriac.worker.call import SUCCEEDED, Report
from celeriac.worker.census import Census
from celeriac.worker.dispatch import Door, TurnedAway, announce_revoked, has_stamp
from celeriac.worker.outcome import Expired, Poisonous, Revoked, WorkerLost
from celeriac.worker.pools.base import Pool, Terminating
from celeriac.worker.request import Request
from celeriac.worker.revoked import Revoked as RevokedIds
from celeriac.worker.settler import Settler
from celeriac.worker.stopping import Stop
from celeriac.worker.turned import announce

if TYPE_CHECKING:
    from celeriac.worker.events import TaskEvents

__all__ = ("Loop",)

logger = logging.getLogger("celery.worker.consumer.consumer")

_FAILED_AT = "The worker failed at a message: %r"
_MAX_EVENTS = 256
#: How often the loop goes round at least: whatever happens wakes it, and this is for what does not.
_LONGEST_WAIT_S = 5.0
#: How often `turned` is called at most.
_TURN_S = 0.25


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
        events: Tells monitors of tasks; None where nobody wants to know.
        revoked: As given.
        revoked_stamps: As given.
        tend: Called between two batches of events; must not wait.
        turned: Called when it is due, and a few times a second while events come; says in how many
            seconds it is due again.
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
        self.events: TaskEvents | None = None
        self.revoked = RevokedIds() if revoked is None else revoked
        self.revoked_stamps = {} if revoked_stamps is None else revoked_stamps
        self.tend: Callable[[], None] = _nothing
        self.turned: Callable[[], float] = _never
        self._app = app
        self._intake = intake
        self._door = door
        self._settler = settler
        self._stop = stop
        self._waiting: dict[str, Request] = {}
        #: Deliveries of tasks that were executed, to be acknowledged after this batch of events.
        self._acks: list[Delivery] = []
        #: When `turned` may be called again, and when it must be.
        self._may_turn_s = 0.0
        self._must_turn_s = 0.0
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
        if self.events is not None:
            self.events.started(request)

    def executed(self, request: Request, report: Report) -> None:
        """Settle a task of which nobody has heard before that it was started.

        Args:
            request: The task.
            report: What became of it.
        """
        if self.events is not None:
            self.started(request, request.worker_pid or self._pid)
            self.ended(request, report)
            return
        self.census.pass_through(request)
        if report is SUCCEEDED and not request.acknowledged:
            # The outcome of most tasks: acknowledged early or late, it is the same.
            request.acknowledged = True
            self._acks.append(request.delivery)
            return
        try:
            self._settler.settle_executed(request, report)
        except Exception as exc:  # noqa: BLE001 - no message is worth a worker
            self._keep(request.delivery, exc)

    def ended(self, request: Request, report: Report) -> None:
        """Settle a task.

        Args:
            request: The task.
            report: What became of it.
        """
        self.census.leave(request)
        if request.fate is not None and isinstance(report.outcome, Expired | WorkerLost):
            report = Report(request.fate)
        self._settle(request, report)

    def _settle(self, request: Request, report: Report) -> None:
        try:
            self._settler.settle(request, report)
        except Exception as exc:  # noqa: BLE001 - no message is worth a worker
            self._keep(request.delivery, exc)
            return
        if self.events is not None:
            self.events.ended(request, report)

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
        self._settle(request, Report(Revoked("revoked")))

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
        if self.events is not None:
            self.events.revoked(request, terminated=True, signum=signum)
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
            self._turn(pool, intake)

    def wind_down(self) -> None:
        """Give back what is not started, and wait for what runs, until a cold stop is asked for."""
        pool, intake = self._pool, self._intake
        intake.stop_reserving()
        pool.hand_back()
        stop = self._stop
        while (stop.lingers or not pool.is_idle) and not stop.is_cold:
            self._turn(pool, intake)
        if self._stop.is_cold:
            pool.terminate()

    def _turn(self, pool: Pool, intake: Intake) -> None:
        wait_s = min(pool.tend(), self._must_turn_s - time.monotonic(), _LONGEST_WAIT_S)
        # Pools whose threads report have told of what is executed: not only after the wait.
        self._acknowledge()
        try:
            for event in intake.next_events(_MAX_EVENTS, max(0.0, wait_s)):
                self._take(event)
        finally:
            # What was executed is not handed back, whatever ends this worker.
            self._acknowledge()
        self.tend()
        if self.events is not None:
            self.events.flush()
        now_s = time.monotonic()
        if now_s >= self._may_turn_s:
            due_in_s = self.turned()
            # From the moment of the answer: from one before it, the loop would wake once too early.
            self._must_turn_s = time.monotonic() + due_in_s
            self._may_turn_s = min(now_s + _TURN_S, self._must_turn_s)
        if has_logs():
            drain_rust_logs()

    def _acknowledge(self) -> None:
        if self._acks:
            acks, self._acks = self._acks, []
            self._intake.ack_later(acks)

    def _take(self, event: Delivery | ChildEvent | Trouble) -> None:
        if isinstance(event, Delivery):
            if not self._stop.is_asked:
                self._receive_or_keep(event)
        elif isinstance(event, ChildEvent):
            self._pool.hear(event)
        else:
            self._note(event)
        # A delivery that comes too late stays unsettled: the intake hands it back when it closes.

    def _receive_or_keep(self, delivery: Delivery) -> None:
        try:
            self._receive(delivery)
        except Exception as exc:  # noqa: BLE001 - no message is worth a worker
            self._keep(delivery, exc)

    def _receive(self, delivery: Delivery) -> None:
        request = None if delivery.is_plain or delivery.eta is None else self._due(delivery)
        if request is None:
            request = self._admit(delivery)
            if request is None:
                return
        elif request.id in self.revoked:
            announce_revoked(request)
            self._settle(request, Report(Revoked("revoked")))
            return
        elif self._door.is_too_late(request):
            self._settle(request, Report(Expired()))
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
            if admitted.request is not None:
                self._settle(admitted.request, Report(admitted.outcome))
                return None
            self._settler.turn_away(delivery, admitted.outcome)
            if self.events is not None:
                self.events.turned_away(delivery, admitted.outcome)
            return None
        if self.events is not None:
            self.events.received(admitted)
        if admitted.due_ms and self._door.waits(admitted):
            if self._intake.delay_until(admitted.delivery, admitted.due_ms):
                self._waiting[admitted.id] = admitted
            return None
        return admitted

    def _admitted(self, delivery: Delivery) -> Request | TurnedAway:
        try:
            return self._door.admit(delivery)
        except Exception as exc:
            # No message is worth a worker: what its door stumbles over is kept, and told.
            logger.critical(_FAILED_AT, exc, exc_info=True)
            return TurnedAway(Poisonous(f"the worker failed at it: {exc!r}"))

    def _keep(self, delivery: Delivery, exc: Exception) -> None:
        # What was acknowledged is not kept any more: settling it does nothing.
        logger.critical(_FAILED_AT, exc, exc_info=exc)
        self._intake.settle(delivery, "aside", f"the worker failed at it: {exc!r}")

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
            case "slow":
                logger.warning("%s", trouble.detail)
            case "unsettled":
                logger.error("Some messages could not be settled yet: %s", trouble.detail)


def _nothing() -> None:
    return


def _never() -> float:
    return math.inf
