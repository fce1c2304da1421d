"""The loop's side of the asyncio pool: takes tasks up, limits and ends them, says how they ended.

Everything here runs in the loop's thread, except where it says otherwise.
"""

import asyncio
import contextlib
import contextvars
import inspect
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from celeriac.app.coroutines import CANCELLED_ITSELF, CLEAN_UP_S, Interruptible
from celeriac.app.lifespan import Lifespan
from celeriac.exceptions import SoftTimeLimitExceeded
from celeriac.worker.call import Call, Ended, Report
from celeriac.worker.execute import Executor, Steps, advance, raised, returned
from celeriac.worker.limits import TimeLimits, log_exceeded
from celeriac.worker.outcome import Expired, Outcome, TimedOut
from celeriac.worker.pools.aio.daemons import Daemons
from celeriac.worker.pools.aio.waits import begins_at_once, ends_at_once
from celeriac.worker.pools.base import Host
from celeriac.worker.pools.news import News, lost
from celeriac.worker.request import Request

__all__ = ("Runner",)

logger = logging.getLogger("celery.pool")


@dataclass(slots=True, eq=False)
class _Running:
    """A task whose coroutine is, or is going to be, on the loop.

    Attributes:
        request: The task.
        coroutine: What the task's function has returned, once it was called.
        fate: What becomes of it whatever it says: it was ended from outside.
        keeper: The task of asyncio that looks after it.
    """

    request: Request
    coroutine: Interruptible | None = None
    fate: Outcome | None = None
    keeper: "asyncio.Task[None] | None" = None


class Runner:
    """Runs tasks, at most so many at once.

    Args:
        app: The application.
        executor: Executes them, but for their coroutines.
        host: Says whether one is too late.
        news: Where they are told of.
        limits: How long they may run that do not say it themselves.
        size: How many at once, those in threads included.
        threads: For functions, and for what waits before and after a coroutine.

    Attributes:
        has_ended: Set whenever a task ends.
    """

    def __init__(
        self,
        app: Any,
        executor: Executor,
        host: Host,
        news: News,
        limits: TimeLimits,
        size: int,
        threads: Daemons,
    ) -> None:
        self._app = app
        self._executor = executor
        self._host = host
        self._news = news
        self._limits = limits
        self._size = size
        self._threads = threads
        self._waiting: deque[Request] = deque()
        self._is_called = False
        self.has_ended = threading.Event()
        self._running: dict[int, _Running | None] = {}
        self._are_coroutines: dict[str, bool] = {}
        self._loop: asyncio.AbstractEventLoop
        self._context: contextvars.Context
        self._closing: asyncio.Event

    async def serve(self, is_ready: Callable[[], object]) -> None:
        """Run tasks until `close`.

        Args:
            is_ready: Called when the application's resources are open.
        """
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        lifespan = Lifespan(self._app, self._app.lifespans)
        self._context = await lifespan.begin()
        is_ready()
        # No deadline: the pool closes it.
        await self._closing.wait()
        await lifespan.end()

    # In the worker's thread --------------------------------------------------------------------

    def add(self, request: Request) -> None:
        """Take a task over.

        Args:
            request: The task.
        """
        self._waiting.append(request)
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon_threadsafe(self._take_up)

    def take_back(self, request: Request) -> bool:
        """Take a task back that has not started.

        Args:
            request: The task.

        Returns:
            Whether it had not.
        """
        try:
            self._waiting.remove(request)
        except ValueError:
            return False
        return True

    def take_all_back(self) -> list[Request]:
        """Take back what has not started.

        Returns:
            Tasks, the first first.
        """
        back: list[Request] = []
        with contextlib.suppress(IndexError):
            while True:
                back.append(self._waiting.popleft())
        return back

    def end(self, request: Request, fate: Outcome) -> bool:
        """Cancel a task's coroutine.

        Args:
            request: The task.
            fate: What is to be told of it.

        Returns:
            Whether it runs, as a coroutine.
        """
        running = self._running.get(id(request))
        if running is None:
            return False
        self._loop.call_soon_threadsafe(self._end, running, fate)
        return True

    def end_all(self, fate: Outcome) -> None:
        """Cancel all coroutines.

        Args:
            fate: What is to be told of them.
        """
        for running in list(self._running.values()):
            if running is not None:
                self._loop.call_soon_threadsafe(self._end, running, fate)

    @property
    def has_coroutines(self) -> bool:
        """Whether a task runs as a coroutine."""
        return any(running is not None for running in list(self._running.values()))

    def resize(self, size: int) -> None:
        """Run more or fewer at once from now on.

        Args:
            size: How many.
        """
        self._size = size
        self._loop.call_soon_threadsafe(self._take_up)

    def close(self) -> None:
        """Let `serve` return."""
        self._loop.call_soon_threadsafe(self._closing.set)

    # Taking up ---------------------------------------------------------------------------------

    def _take_up(self) -> None:
        self._is_called = False  # Before the look: what is added after it calls again.
        while len(self._running) < self._size:
            try:
                request = self._waiting.popleft()
            except IndexError:
                return
            if request.expires_ms and self._host.is_too_late(request):
                self._news.tell(request, Report(Expired()))
            else:
                self._start(request)

    def _start(self, request: Request) -> None:
        self._news.tell(request, None)
        if not self._is_coroutine(request.task):
            self._running[id(request)] = None
            self._threads.run(partial(self._run_function, request))
            return
        running = self._running[id(request)] = _Running(request)
        # Kept, for a loop holds its tasks weakly.
        running.keeper = self._loop.create_task(self._run(running))

    def _is_coroutine(self, task: Any) -> bool:
        known = self._are_coroutines.get(task.name)
        if known is None:
            # Who overrides `__call__` may run a loop of its own in it, so it gets a thread.
            own = type(task).__call__
            plain = getattr(own, "__module__", "") == "celeriac.app.task"
            known = inspect.iscoroutinefunction(task.run if plain else own)
            self._are_coroutines[task.name] = known
        return known

    def _ended(self, request: Request, report: Report) -> None:
        self._running.pop(id(request), None)
        self._news.tell(request, report)
        self.has_ended.set()
        self._take_up()

    def _run_function(self, request: Request) -> None:
        # In a thread.
        try:
            report: Report = self._context.copy().run(self._executor.execute, request.delivery)
        except BaseException as exc:  # noqa: BLE001 - a task's SystemExit must not end its thread
            report = lost(exc, self._news)
        # The loop is closed where the pool gave up on this thread.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._ended, request, report)

    # Coroutines --------------------------------------------------------------------------------

    async def _run(self, running: _Running) -> None:
        context = self._context.copy()
        steps = self._executor.steps(running.request.delivery)
        try:
            report = await self._to_its_end(running, steps, context)
        except BaseException as exc:  # noqa: BLE001 - a task's SystemExit must not end the loop
            report = lost(exc, self._news)
        try:
            context.run(steps.close)
        except BaseException as exc:  # the sender of a signal, or a loader of the user's
            logger.exception("The end of %s: %r", running.request.humaninfo(), exc)  # noqa: TRY401
        if running.fate is not None:
            report = Report(running.fate)
        self._ended(running.request, report)

    async def _to_its_end(
        self, running: _Running, steps: Steps, context: contextvars.Context
    ) -> Report:
        task = running.request.task
        found: Call | Report = await self._here_or_there(
            begins_at_once(self._app, task), lambda: context.run(advance, steps)
        )
        if not isinstance(found, Call):
            return found
        ended = await self._awaited(running, found, context)
        report: Report = await self._here_or_there(
            ends_at_once(self._app, found, ended), lambda: context.run(advance, steps, ended)
        )
        return report

    async def _here_or_there(self, at_once: bool, work: Callable[[], Any]) -> Any:  # noqa: FBT001
        # On the loop, or in a thread where it may wait.
        if at_once:
            return work()
        done: asyncio.Future[Any] = self._loop.create_future()

        def tell(set_it: Callable[[Any], None], value: Any) -> None:
            if not done.done():
                set_it(value)

        def do() -> None:
            try:
                told: tuple[Callable[[Any], None], Any] = (done.set_result, work())
            except StopIteration as exc:
                told = (done.set_exception, RuntimeError(repr(exc)))
            except BaseException as exc:  # noqa: BLE001 - raised where it is awaited
                told = (done.set_exception, exc)
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(tell, *told)

        self._threads.run(do)
        # No deadline: a thread cannot be ended, as in every pool.
        return await done

    async def _awaited(self, running: _Running, call: Call, context: contextvars.Context) -> Ended:
        if running.fate is not None:
            call.coroutine.close()
            return raised(asyncio.CancelledError())
        coroutine = running.coroutine = Interruptible(call.coroutine)
        task = coroutine.start(self._loop, context)
        alarms = self._limit(running)
        try:
            # No deadline of its own: limits, revocation and the end of the worker end it.
            await asyncio.wait([task])
        except asyncio.CancelledError:
            logger.error(  # noqa: TRY400 - it has no traceback
                "Task %s was cancelled, and has not ended after %gs: it is given up, and goes on.",
                running.request.humaninfo(),
                CLEAN_UP_S,
            )
            raise
        finally:
            for alarm in alarms:
                alarm.cancel()
        return _how_ended(coroutine)

    def _limit(self, running: _Running) -> list[asyncio.TimerHandle]:
        request = running.request
        hard_s, soft_s = request.delivery.timelimit
        hard_s = self._limits.hard(hard_s, request.task)
        soft_s = self._limits.soft(soft_s, request.task)
        later = self._loop.call_later
        alarms = [later(soft_s, self._interrupt, running, soft_s)] if soft_s else []
        if hard_s:
            alarms.append(later(hard_s, self._time_out, running, hard_s))
        return alarms

    def _interrupt(self, running: _Running, limit_s: float) -> None:
        if running.coroutine is not None and running.fate is None:
            log_exceeded(running.request, "Soft", limit_s)
            running.coroutine.interrupt(SoftTimeLimitExceeded())

    def _time_out(self, running: _Running, limit_s: float) -> None:
        if running.fate is None:
            log_exceeded(running.request, "Hard", limit_s)
            self._end(running, TimedOut(limit_s))

    def _end(self, running: _Running, fate: Outcome) -> None:
        coroutine = running.coroutine
        if running.fate is not None or (coroutine is not None and coroutine.has_ended):
            return
        running.fate = fate
        if coroutine is not None:
            coroutine.cancel()
            self._loop.call_later(CLEAN_UP_S, self._give_up, running, coroutine)

    @staticmethod
    def _give_up(running: _Running, coroutine: Interruptible) -> None:
        if not coroutine.has_ended and running.keeper is not None:
            running.keeper.cancel()


def _how_ended(coroutine: Interruptible) -> Ended:
    error = coroutine.error
    if error is None:
        return returned(coroutine.value)
    if isinstance(error, asyncio.CancelledError):
        failure = RuntimeError(CANCELLED_ITSELF)
        failure.__cause__ = error
        return raised(failure)
    if isinstance(error, Exception):
        return raised(error)
    raise error
