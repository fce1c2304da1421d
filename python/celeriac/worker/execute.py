"""Execute a message: load, announce, call, follow, record, tell."""

import logging
import os
import time
import traceback
from typing import Any

from celeriac import _current, signals, states
from celeriac.app import link
from celeriac.app.einfo import ExceptionInfo
from celeriac.app.predicates import state_of
from celeriac.app.task import Context
from celeriac.worker import tell
from celeriac.worker.call import Call, Ended, Report
from celeriac.worker.load import Body, Message, load
from celeriac.worker.outcome import Failed, Ignored, Rejected, Retried, Succeeded
from celeriac.worker.plan import Handlers, handlers
from celeriac.worker.record import Recorder

__all__ = ("Executor",)

logger = logging.getLogger("celery.app.trace")


class Executor:
    """Executes messages in this process, one at a time in each thread.

    Args:
        app: The application, finalized.
        hostname: The worker's node name.
        accept: The content types that may be decoded.
    """

    def __init__(self, app: Any, hostname: str, accept: frozenset[str] | None) -> None:
        self._app = app
        self._hostname = hostname
        self._accept = accept
        self._recorder = Recorder(app.backend)
        self._handlers: dict[str, Handlers] = {}

    def execute(self, message: Message) -> Report:
        """Run the task that a message asks for.

        Args:
            message: A message whose task is registered.

        Returns:
            What became of it. Where a task raises ``SystemExit`` or the like there is no report:
            the exception passes through, after ``task_postrun``.
        """
        started_s = time.monotonic()
        body = load(message, self._accept)
        if not isinstance(body, Body):
            return Report(body)
        call = self._prepare(message, body, started_s)
        try:
            return self._execute(call)
        except Exception as exc:  # noqa: BLE001
            # Not the task's doing: a result store, a signal's sender or this module failed.
            return self._internal_error(call, exc)

    def _prepare(self, message: Message, body: Body, started_s: float) -> Call:
        name = message.task or ""
        task = self._app.tasks[name]
        known = self._handlers.get(name)
        if known is None:
            known = self._handlers[name] = handlers(task)
        properties = message.properties()
        delivery_info = {
            "exchange": message.exchange,
            "routing_key": message.routing_key,
            "priority": properties.get("priority"),
            "redelivered": message.redelivered,
        }
        request = Context.from_message(
            message.headers(),
            properties,
            body.embed,
            delivery_info,
            self._hostname,
            is_eager=False,
            args=body.args,
            kwargs=body.kwargs,
        )
        return Call(task, request, body.args, body.kwargs, known, started_s)

    def _execute(self, call: Call) -> Report:
        ended: Ended | None = None
        task = call.task
        _current.push_task(task)
        task.request_stack.push(call.request)
        try:
            self._announce(call)
            ended = self._follow(call, _run(call))
            ended, document = self._record(call, ended)
            _tell(call, ended)
            return Report(ended.outcome, document)
        finally:
            try:
                tell.postrun(call, ended)
            finally:
                task.request_stack.pop()
                _current.pop_task()

    def _announce(self, call: Call) -> None:
        task, request = call.task, call.request
        if signals.task_prerun.receivers:
            signals.task_prerun.send(
                sender=task, task_id=request.id, task=task, args=call.args, kwargs=call.kwargs
            )
        if task.track_started and not call.ignores_result:
            meta = {"pid": os.getpid(), "hostname": self._hostname}
            task.backend.store_result(request.id, meta, states.STARTED, request=request)

    def _follow(self, call: Call, ended: Ended) -> Ended:
        # Send what follows a success; where that cannot be sent, the task has failed.
        request = call.request
        if ended.einfo is not None or not (request.callbacks or request.chain):
            return ended
        try:
            link.follow(self._app, request, ended.value)
        except Exception as exc:  # noqa: BLE001 - a user's value or signature
            return _failed(exc)
        return ended

    def _record(self, call: Call, ended: Ended) -> tuple[Ended, bytes | None]:
        # Record the result; one that cannot be encoded is a failure of its task.
        try:
            document = self._recorder.record(call, ended)
        except Exception as exc:  # noqa: BLE001 - a user's value or backend
            ended = _failed(exc)
            document = self._recorder.record(call, ended)
        if ended.state == states.FAILURE or ended.outcome == _REFUSED_FOR_GOOD:
            self._spread_failure(call, ended)
        return ended, document

    def _spread_failure(self, call: Call, ended: Ended) -> None:
        request = call.request
        text = None if ended.einfo is None else ended.einfo.traceback
        if request.chain and not call.ignores_result:
            link.fail_rest_of_chain(call.task.backend, request, ended.value, text)
        if request.errbacks:
            link.run_errbacks(self._app, request, ended.value, text)

    def _internal_error(self, call: Call, exc: Exception) -> Report:
        logger.critical(
            "Task %s[%s] INTERNAL ERROR: %r", call.name, call.request.id, exc, exc_info=exc
        )
        if signals.task_internal_error.receivers:
            signals.task_internal_error.send(
                sender=call.task,
                task_id=call.request.id,
                args=call.args,
                kwargs=call.kwargs,
                request=call.request,
                exception=exc,
                traceback=exc.__traceback__,
                einfo=ExceptionInfo(_triple(exc), internal=True),
            )
        text = "".join(traceback.format_exception(exc))
        backend = self._app.backend
        if backend.is_disabled or backend.native is None:
            return Report(_FAILED)
        return Report(_FAILED, backend.encode(call.request.id, exc, states.FAILURE, text))


_SUCCEEDED = Succeeded()
_FAILED = Failed()
_REFUSED_FOR_GOOD = Rejected(requeue=False)


def _run(call: Call) -> Ended:
    task = call.task
    try:
        if call.handlers.before_start:
            task.before_start(call.request.id, call.args, call.kwargs)
        run = task if call.handlers.call else task.run
        return Ended(_SUCCEEDED, states.SUCCESS, run(*call.args, **call.kwargs))
    except Exception as exc:  # noqa: BLE001 - the task's own
        return _raised(exc)


def _raised(exc: Any) -> Ended:
    match state := state_of(exc):
        case states.REJECTED:
            rejected = Rejected(bool(exc.requeue))
            return Ended(rejected, state, exc, ExceptionInfo(_triple(exc)))
        case states.IGNORED:
            return Ended(Ignored(), state, exc, ExceptionInfo(_triple(exc)))
        case states.RETRY:
            return Ended(Retried(), state, exc, ExceptionInfo(_triple(exc)))
        case _:
            return _failed(exc)


def _failed(exc: Exception) -> Ended:
    return Ended(_FAILED, states.FAILURE, exc, ExceptionInfo(_triple(exc)))


def _triple(exc: Exception) -> Any:
    return type(exc), exc, exc.__traceback__


def _tell(call: Call, ended: Ended) -> None:
    match ended.outcome:
        case Succeeded():
            tell.succeeded(call, ended, time.monotonic() - call.started_s)
        case Retried():
            tell.retried(call, ended)
        case Rejected():
            tell.rejected(call, ended)
        case Ignored():
            tell.ignored(call)
        case _:
            tell.failed(call, ended)
    if ended.einfo is not None and ended.einfo.tb is not None:
        # Frames hold the task's variables; a cycle through them would keep those alive.
        traceback.clear_frames(ended.einfo.tb)
