"""Execute a message: load, announce, call, follow, record, tell."""

import inspect
import logging
import os
import time
import traceback
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import CoroutineType
from typing import Any, TypeAlias

from celeriac import _current, signals, states
from celeriac.app import coroutines, joining, link
from celeriac.app.context import Context, LateContext
from celeriac.app.einfo import ExceptionInfo
from celeriac.app.parts import Parts
from celeriac.app.predicates import state_of
from celeriac.exceptions import EncodeError
from celeriac.timestamps import UTC
from celeriac.worker import tell
from celeriac.worker.call import SUCCEEDED, Call, Ended, Report
from celeriac.worker.limits import SoftAlarm, TimeLimits
from celeriac.worker.load import Body, Message, load
from celeriac.worker.outcome import (
    Failed,
    Ignored,
    Poisonous,
    Rejected,
    Retried,
    Succeeded,
)
from celeriac.worker.plan import Handlers, Quick, handlers, is_hooked, quick
from celeriac.worker.record import MAX_HANDED_OVER_BYTES, Recorder

__all__ = ("Executor", "Steps", "advance", "raised", "returned")

logger = logging.getLogger("celery.app.trace")


#: An execution, which stops once where its task is a coroutine: who drives it awaits that, and
#: sends in how it ended.
Steps: TypeAlias = Generator[Call, Ended, Report]


def advance(steps: Steps, ended: Ended | None = None) -> Call | Report:
    """Begin an execution, or go on with it.

    Args:
        steps: The execution.
        ended: How its coroutine ended; None where it has not begun.

    Returns:
        A call whose coroutine is to be awaited, or what became of the task.
    """
    try:
        return next(steps) if ended is None else steps.send(ended)
    except StopIteration as end:
        report: Report = end.value
        return report


class Executor:
    """Executes messages in this process, one at a time in each thread.

    Args:
        app: The application, finalized.
        hostname: The worker's node name.
        accept: The content types that may be decoded.
        alarm: Interrupts tasks at their soft time limit; None where nothing can.
        limits_coroutines: Whether who drives the steps holds coroutines to all their limits.
    """

    def __init__(
        self,
        app: Any,
        hostname: str,
        accept: frozenset[str] | None,
        alarm: SoftAlarm | None = None,
        *,
        limits_coroutines: bool = False,
    ) -> None:
        self._app = app
        self._hostname = hostname
        self._accept = accept
        self._alarm = alarm
        self._limits_coroutines = limits_coroutines
        #: Whether reports say what events tell.
        self.describes = False
        self._unlimited: set[str] = set()
        self._recorder = Recorder(app.backend)
        self._handlers: dict[str, Handlers] = {}
        self._plans: dict[str, Quick | None] = {}
        self._backend = app.backend
        self._has_own_clock = type(app).now is Parts.now and "now" not in vars(app)
        self._takes_json = accept is None or "application/json" in accept

    def execute(self, message: Message) -> Report:
        """Run the task that a message asks for.

        Args:
            message: A message whose task is registered.

        Returns:
            What became of it. Where a task raises ``SystemExit`` or the like there is no report:
            the exception passes through, after ``task_postrun``.
        """
        report = self._quickly(message)
        if report is not None:
            return report
        steps = self.steps(message)
        try:
            found = advance(steps)
            if isinstance(found, Call):
                found = advance(steps, _awaited(found, self._alarm))
        finally:
            steps.close()
        return found  # type: ignore[return-value]  # a call has one coroutine

    def _quickly(self, message: Message) -> Report | None:
        # The way of most messages: a plain task that nobody watches. None: it is not one of them.
        name = message.task or ""
        if name not in self._plans:
            self._plans[name] = self._plan(name)
        plan = self._plans[name]
        if plan is None or self.describes or _is_watched() or self._is_limited(message, plan.task):
            return None
        found = message.plain_arguments()
        if found is None:
            return None
        started_s = time.monotonic()
        args, kwargs = found
        task = plan.task
        request = LateContext(self._request, message, args, kwargs, _NO_EMBED)
        tasks = _current.enter_task(task)
        requests = task.request_stack.enter(request)
        try:
            value = _tried(plan.run, args, kwargs)
            if type(request) is LateContext and tell.has_quick_line(message):
                report = self._report(message, task, value)
                if report is not None and tell.succeeded_plainly(message, task, value, started_s):
                    return report
            call = Call(task, request, args, kwargs, plan.handlers, started_s, value)
            if coroutines.is_coroutine(value):
                ended = _awaited(call, self._alarm)
            else:
                ended = value.ended if type(value) is _Raised else returned(value)
            return self._concluded(call, ended)
        finally:
            task.request_stack.leave(requests)
            _current.leave_task(tasks)

    def _plan(self, name: str) -> Quick | None:
        loader = self._app.loader
        if not self._takes_json or is_hooked(loader):
            return None
        task = self._app.tasks.get(name)
        return None if task is None else quick(task)

    def _is_limited(self, message: Message, task: Any) -> bool:
        # Whether there is a limit to keep, or to warn about; or a state to store before.
        hard_s, soft_s = message.timelimit
        if task.track_started or hard_s or soft_s or task.soft_time_limit or task.time_limit:
            return True
        return self._alarm is not None and self._alarm.soft(None, task) is not None

    def _report(self, message: Message, task: Any, value: Any) -> Report | None:
        # Report a success of which nothing but its value matters; None where there is more to it.
        kind = type(value)
        if kind is _Raised or kind is CoroutineType:
            return None
        ignored = message.ignore_result
        if task.ignore_result if ignored is None else ignored:
            return SUCCEEDED
        if kind not in _PLAIN_VALUES or not self._is_kept_plainly(task.backend):
            return None
        try:
            document = message.success_document(value, datetime.now(UTC).isoformat())
        except EncodeError:
            return None
        return None if len(document) > MAX_HANDED_OVER_BYTES else Report(_SUCCEEDED, document)

    def _is_kept_plainly(self, backend: Any) -> bool:
        return (
            backend is self._backend
            and backend.native is not None
            and not backend.is_disabled
            and backend.writes_plain_successes
            and self._has_own_clock
        )

    def _concluded(self, call: Call, ended: Ended) -> Report:
        try:
            return self._conclude(call, ended)
        except Exception as exc:  # noqa: BLE001 - see `steps`
            return self._internal_error(call, exc)
        finally:
            tell.postrun(call, ended)

    def _conclude(self, call: Call, ended: Ended) -> Report:
        ended = self._follow(call, ended)
        ended, document = self._record(call, ended)
        told = _for_events(call, ended) if self.describes else None
        _tell(call, ended)
        return Report(ended.outcome, document, told)

    def steps(self, message: Message) -> Steps:
        """Run the task that a message asks for, and leave its coroutine to the caller.

        Args:
            message: A message whose task is registered.

        Yields:
            The call, where its task has returned a coroutine.

        Returns:
            What became of it; see `execute`.
        """
        started_s = time.monotonic()
        body = load(message, self._accept, self._app.conf.decompressed_max_bytes)
        if not isinstance(body, Body):
            return Report(body)
        try:
            call = self._prepare(message, body, started_s)
        except Exception as exc:  # noqa: BLE001 - no message is worth a process
            return Report(Poisonous(f"its request cannot be made: {exc!r}"))
        try:
            return (yield from self._steps(call))
        except Exception as exc:  # noqa: BLE001
            # Not the task's doing: a result store, a signal's sender or this module failed.
            return self._internal_error(call, exc)

    def _prepare(self, message: Message, body: Body, started_s: float) -> Call:
        name = message.task or ""
        task = self._app.tasks[name]
        known = self._handlers.get(name)
        if known is None:
            known = self._handlers[name] = handlers(task)
        request = self._request(message, body.args, body.kwargs, body.embed)
        return Call(task, request, body.args, body.kwargs, known, started_s)

    def _request(
        self,
        message: Message,
        args: list[Any],
        kwargs: dict[str, Any],
        embed: Mapping[str, Any],
    ) -> Context:
        properties = message.properties()
        delivery_info = {
            "exchange": message.exchange,
            "routing_key": message.routing_key,
            "priority": properties.get("priority"),
            "redelivered": message.redelivered,
        }
        return Context.from_message(
            message.headers(),
            properties,
            embed,
            delivery_info,
            self._hostname,
            is_eager=False,
            args=args,
            kwargs=kwargs,
        )

    def _steps(self, call: Call) -> Steps:
        ended: Ended | None = None
        task = call.task
        _current.push_task(task)
        task.request_stack.push(call.request)
        try:
            self._announce(call)
            if self._alarm is None:
                self._mind_limits(call)
            ended = _run(call, self._alarm)
            if ended is None:
                ended = yield call
            return self._conclude(call, ended)
        finally:
            try:
                tell.postrun(call, ended)
            finally:
                task.request_stack.pop()
                _current.pop_task()
                self._clean_up()

    def _clean_up(self) -> None:
        try:
            self._app.loader.on_process_cleanup()
        except Exception:  # the task has ended, and what came of it is not changed any more
            logger.exception("Process cleanup failed")

    def _mind_limits(self, call: Call) -> None:
        # Celery's pools that cannot interrupt a task run it without a word; a word is better.
        hard_s, soft_s = call.request.time_limit, call.request.soft_time_limit
        if inspect.iscoroutinefunction(call.task.run):
            soft_s = None  # A loop can interrupt it.
            hard_s = None if self._limits_coroutines else hard_s
        if (hard_s or soft_s) and call.task.name not in self._unlimited:
            self._unlimited.add(call.task.name)
            logger.warning(
                "Task %s[%s] asks for a time limit (%s), which this pool cannot enforce: it runs "
                "without. Use -P prefork for it. Said once for each task.",
                call.name,
                call.request.id,
                ", ".join(f"{limit:g}s" for limit in (hard_s, soft_s) if limit),
            )

    def _announce(self, call: Call) -> None:
        task, request = call.task, call.request
        self._app.loader.on_task_init(request.id, task)
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
        has_failed = ended.state == states.FAILURE or ended.outcome == _REFUSED_FOR_GOOD
        if call.request.chord and (has_failed or ended.state == states.SUCCESS):
            state = states.FAILURE if has_failed else states.SUCCESS
            backend = call.task.backend
            joining.part_returned(self._app, backend, call.request, state, ended.value)
        if has_failed:
            self._spread_failure(call, ended)
        return ended, document

    def _spread_failure(self, call: Call, ended: Ended) -> None:
        request = call.request
        text = None if ended.einfo is None else ended.einfo.traceback
        if request.chain and not call.ignores_result:
            backend = call.task.backend
            joining.fail_rest_of_chain(self._app, backend, request, ended.value, text)
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
        return Report(_FAILED, backend.document(call.request.id, exc, states.FAILURE, text))


_OWN_LIMITS = TimeLimits()
#: Values that hold no handle of a result, whose document another way is made.
_PLAIN_VALUES = frozenset({type(None), bool, int, float, str, list, dict, tuple})
#: What a body says that asks for nothing after its task.
_NO_EMBED: Mapping[str, Any] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_SUCCEEDED = Succeeded()
_FAILED = Failed()
_REFUSED_FOR_GOOD = Rejected(requeue=False)


@dataclass(frozen=True, slots=True)
class _Raised:
    """What `_tried` returns for a task that raised, apart from all that a task can return."""

    ended: Ended


def _tried(run: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    # A frame of its own: one that an exception holds must not hold that exception.
    try:
        return run(*args, **kwargs)
    except Exception as exc:  # noqa: BLE001 - the task's own
        return _Raised(raised(exc))


def _is_watched() -> bool:
    return bool(
        signals.task_prerun.receivers
        or signals.task_postrun.receivers
        or signals.task_success.receivers
    )


def _run(call: Call, alarm: SoftAlarm | None) -> Ended | None:
    limit_s = _soft_limit_s(call, alarm)
    try:
        value = _called(call) if alarm is None or limit_s is None else _timed(call, alarm, limit_s)
    except Exception as exc:  # noqa: BLE001 - the task's own
        return raised(exc)
    if coroutines.is_coroutine(value):
        call.coroutine = value
        return None
    return returned(value)


def _awaited(call: Call, alarm: SoftAlarm | None) -> Ended:
    try:
        return returned(coroutines.run(call.coroutine, _soft_limit_s(call, alarm)))
    except Exception as exc:  # noqa: BLE001 - the task's own
        return raised(exc)


def _soft_limit_s(call: Call, alarm: SoftAlarm | None) -> float | None:
    limits = _OWN_LIMITS if alarm is None else alarm
    return limits.soft(call.request.soft_time_limit, call.task)


def returned(value: Any) -> Ended:
    """Say how a task has ended that returned.

    Args:
        value: What it has returned.

    Returns:
        A success.
    """
    return Ended(_SUCCEEDED, states.SUCCESS, value)


def _called(call: Call) -> Any:
    task = call.task
    if call.handlers.before_start:
        task.before_start(call.request.id, call.args, call.kwargs)
    run = task if call.handlers.call else task.run
    return run(*call.args, **call.kwargs)


def _timed(call: Call, alarm: SoftAlarm, limit_s: float) -> Any:
    try:
        alarm.arm(limit_s)
        return _called(call)
    finally:
        alarm.disarm()


def raised(exc: Any) -> Ended:
    """Say how a task has ended that raised.

    Args:
        exc: What it has raised.

    Returns:
        A failure, unless it is one of the exceptions that ask for something.
    """
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


def _for_events(call: Call, ended: Ended) -> dict[str, Any]:
    return tell.for_events(call, ended, time.monotonic() - call.started_s)


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
