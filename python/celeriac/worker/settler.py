"""Carry settlements out: the document first, the verdict with it, through the intake."""

import logging
from typing import Any, Literal, TypeAlias

from celeriac import states
from celeriac._native import Delivery, Intake
from celeriac.app import joining
from celeriac.worker import lost
from celeriac.worker.call import SUCCEEDED, Report
from celeriac.worker.outcome import LostTooOften, Outcome, TimedOut, WorkerLost
from celeriac.worker.plan import most_losses
from celeriac.worker.request import Request
from celeriac.worker.settle import AT_THE_DOOR, Settlement, Verdict, decide
from celeriac.worker.turned import announce, exception_for

__all__ = ("Settler",)

logger = logging.getLogger("celeriac.worker.settler")


class Settler:
    """Tells the broker and the result store what became of messages.

    Args:
        app: The application.
        intake: Where the messages came from.
        accept: The content types that may be decoded.
    """

    def __init__(self, app: Any, intake: Intake, accept: frozenset[str] | None) -> None:
        self._app = app
        self._backend = app.backend
        self._intake = intake
        self._accept = accept
        self._max_bytes: int = app.conf.decompressed_max_bytes
        self._most_losses = most_losses(app.conf)
        self._expires_s = {
            state: self._backend.expires_s(state)
            for state in (states.SUCCESS, states.FAILURE, states.REVOKED, states.RETRY)
            if self._backend.native is not None
        }

    def ack_early(self, request: Request, *, later: bool) -> None:
        """Acknowledge a message whose task has started.

        Args:
            request: The task.
            later: Whether the worker looks for events soon: then this goes with others.
        """
        self._intake.settle(request.delivery, "ack", later=later)
        request.acknowledged = True

    def settle(self, request: Request, report: Report) -> None:
        """Settle a message whose task is known.

        Args:
            request: The task.
            report: What became of it.
        """
        if report is SUCCEEDED and request.acknowledged:
            return
        policy = request.policy
        if not policy.acks_late and not request.acknowledged:
            policy = AT_THE_DOOR
        outcome = report.outcome
        settlement = decide(outcome, policy)
        if settlement.verdict is Verdict.REQUEUE_LOST:
            outcome = self._outcome_of_loss(request, outcome)
            settlement = decide(outcome, policy)
        document = report.document
        if document is None and settlement.state is not None:
            document = self._document(request, outcome, settlement.state)
        request.acknowledged = True
        self._carry_out(request.delivery, settlement, document)

    def settle_executed(self, request: Request, report: Report) -> None:
        """Settle a message whose task has ended before anybody heard of its start.

        Args:
            request: The task.
            report: What became of it.
        """
        settlement = decide(report.outcome, request.policy)
        document = report.document
        if document is None and settlement.state is not None and report is not SUCCEEDED:
            document = self._document(request, report.outcome, settlement.state)
        request.acknowledged = True
        self._tell(request.delivery, settlement, document)

    def _outcome_of_loss(self, request: Request, outcome: Outcome) -> Outcome:
        # Its process died once more: it goes back, unless that was once too often.
        losses = request.delivery.losses + 1
        if losses <= self._most_losses or not isinstance(outcome, WorkerLost | TimedOut):
            return outcome
        too_often = LostTooOften(losses, self._most_losses, outcome)
        announce(too_often, request.delivery, self._app)
        return too_often

    def turn_away(self, delivery: Delivery, outcome: Outcome) -> None:
        """Settle a message whose task is not known here.

        Args:
            delivery: The message.
            outcome: Why it is not run.
        """
        settlement = decide(outcome, AT_THE_DOOR)
        document = None
        exc = exception_for(outcome, delivery.task)
        if exc is not None and settlement.state is not None and delivery.id is not None:
            context = lost.context_of_unknown(delivery, self._accept, self._max_bytes)
            joining.part_returned(
                self._app, self._backend, context, settlement.state, exc, may_wait=False
            )
            joining.fail_rest_of_chain(self._app, self._backend, context, exc, None)
            document = self._encoded(delivery.id, exc, settlement.state, context)
        self._carry_out(delivery, settlement, document)

    def _document(self, request: Request, outcome: Outcome, state: str) -> bytes | None:
        # Make the document that the executing process could not make.
        exc = exception_for(outcome, request.task.name)
        if exc is None:
            return None
        context = lost.context_of(request, self._accept, self._max_bytes)
        joining.part_returned(self._app, self._backend, context, state, exc, may_wait=False)
        if isinstance(outcome, WorkerLost | TimedOut | LostTooOften):
            is_logged = isinstance(outcome, LostTooOften)
            lost.spread(self._app, request, context, exc, is_logged=is_logged)
        if not request.store_errors:
            return None
        return self._encoded(request.id, exc, state, context)

    def _encoded(self, task_id: str, exc: BaseException, state: str, context: Any) -> bytes | None:
        backend = self._backend
        if backend.is_disabled:
            return None
        if backend.native is not None:
            document: bytes = backend.document(task_id, exc, state, None, context)
            return document
        try:
            backend.store_result(task_id, exc, state, request=context)
        except Exception:
            logger.exception("The result of %s cannot be stored", task_id)
        return None

    def _carry_out(
        self, delivery: Delivery, settlement: Settlement, document: bytes | None
    ) -> None:
        if settlement.verdict is Verdict.ALREADY_ACKED and document is None:
            return
        self._tell(delivery, settlement, document)

    def _tell(self, delivery: Delivery, settlement: Settlement, document: bytes | None) -> None:
        state = settlement.state
        self._intake.settle(
            delivery,
            _WORDS[settlement.verdict],
            settlement.reason,
            document,
            state != states.RETRY,
            None if state is None else self._expires_s.get(state),
            later=True,
        )


# On a message that is acknowledged already, the intake stores the document and no more.
_Word: TypeAlias = Literal["ack", "requeue", "requeue lost", "reject", "aside", "aside lost"]
_WORDS: dict[Verdict, _Word] = {
    Verdict.ACK: "ack",
    Verdict.REQUEUE: "requeue",
    Verdict.REQUEUE_LOST: "requeue lost",
    Verdict.REJECT: "reject",
    Verdict.ASIDE: "aside",
    Verdict.ASIDE_LOST: "aside lost",
    Verdict.ALREADY_ACKED: "ack",
}
