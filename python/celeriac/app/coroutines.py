"""How the coroutine of an ``async def`` task is run: one loop for each thread, which is kept."""

from __future__ import annotations

import contextvars
import sys
import threading
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine, Generator

__all__ = (
    "CANCELLED_ITSELF",
    "CLEAN_UP_S",
    "Interruptible",
    "close_loop",
    "is_coroutine",
    "run",
    "within",
)

#: How long what was cancelled may take to clean up before its loop is closed, in seconds.
CLEAN_UP_S = 5.0
#: How a coroutine has failed that nobody outside of it has cancelled.
CANCELLED_ITSELF = "The task was cancelled: something in it called cancel()."

_TAKES_CONTEXT = sys.version_info[:2] >= (3, 11)
_here = threading.local()


def is_coroutine(value: Any) -> bool:
    """Say whether a task has returned a coroutine, which is to be run.

    Args:
        value: What the task's function has returned.

    Returns:
        Whether it is the coroutine of an ``async def`` function.
    """
    return type(value) is types.CoroutineType


class Interruptible:
    """A coroutine into which an exception can be raised at the ``await`` where it is.

    asyncio can only cancel. This stands between its task and the coroutine, and raises the reason
    of the interruption there instead of `asyncio.CancelledError`. It never raises anything but what
    asyncio itself needs to see: how the coroutine ended is kept in it. So a ``SystemExit`` ends the
    coroutine, and not the loop with all others on it.

    Args:
        coroutine: The coroutine.

    Attributes:
        value: What it has returned.
        error: What it has raised; None where it has returned or did not end.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self._coroutine = coroutine
        self._reason: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    def start(
        self, loop: asyncio.AbstractEventLoop, context: contextvars.Context | None = None
    ) -> asyncio.Task[None]:
        """Let a loop run it.

        Args:
            loop: The loop of this thread.
            context: The context variables it sees and sets; a copy of the current ones by default.

        Returns:
            The task of asyncio that runs it.
        """
        # Compat: 3.10 has no `context` here; there the task gets a copy.
        make = loop.create_task if context is None else _in_context(loop, context)
        self._task = make(self._run())
        return self._task

    @property
    def has_ended(self) -> bool:
        """Whether it was started, and runs no more."""
        return self._task is not None and self._task.done()

    def cancel(self) -> None:
        """Cancel it where it waits; in the loop's thread only."""
        if self._task is not None:
            self._reason = None
            self._task.cancel()

    def interrupt(self, reason: BaseException) -> None:
        """Raise an exception where it waits; in the loop's thread only.

        Args:
            reason: The exception; where it has ended, nothing happens.
        """
        if self._task is not None and not self._task.done():
            self._reason = reason
            self._task.cancel()

    async def _run(self) -> None:
        import asyncio  # noqa: PLC0415 - `import celeriac` stays quick

        try:
            self.value = await self._drive()
        except (asyncio.CancelledError, GeneratorExit) as exc:
            self.error = exc
            raise
        except BaseException as exc:  # noqa: BLE001 - the task's own
            self.error = exc

    @types.coroutine
    def _drive(self) -> Generator[Any, Any, Any]:
        coroutine = self._coroutine
        resume: Any = coroutine.send
        argument: Any = None
        while True:
            try:
                waits_for = resume(argument)
            except StopIteration as end:
                return end.value
            try:
                resume, argument = coroutine.send, (yield waits_for)
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as exc:  # noqa: BLE001 - handed on
                resume, argument = coroutine.throw, self._instead_of(exc)

    def _instead_of(self, exc: BaseException) -> BaseException:
        import asyncio  # noqa: PLC0415 - `import celeriac` stays quick

        if self._reason is None or not isinstance(exc, asyncio.CancelledError):
            return exc
        reason, self._reason = self._reason, None
        uncancel = getattr(self._task, "uncancel", None)  # Python 3.11
        if uncancel is not None:
            uncancel()
        return reason


def _in_context(loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> Any:
    if _TAKES_CONTEXT:
        make: Any = loop.create_task
        return lambda coroutine: make(coroutine, context=context)
    return lambda coroutine: context.run(loop.create_task, coroutine)


def run(coroutine: Coroutine[Any, Any, Any], soft_limit_s: float | None = None) -> Any:
    """Run a coroutine to its end in this thread, on the loop that the thread keeps.

    Where a loop runs in this thread already, another thread does it.

    Args:
        coroutine: The coroutine.
        soft_limit_s: After how many seconds `SoftTimeLimitExceeded` is raised where it waits.

    Returns:
        What it returns; it raises what it raises.
    """
    if _has_running_loop():
        return _elsewhere(coroutine, soft_limit_s)
    return _run_on(_loop(), Interruptible(coroutine), soft_limit_s)


def _has_running_loop() -> bool:
    import asyncio  # noqa: PLC0415 - `import celeriac` stays quick

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_on(
    loop: asyncio.AbstractEventLoop, started: Interruptible, soft_limit_s: float | None
) -> Any:
    import asyncio  # noqa: PLC0415 - `import celeriac` stays quick

    from celeriac.exceptions import SoftTimeLimitExceeded  # noqa: PLC0415

    task = started.start(loop)
    alarm = None
    if soft_limit_s is not None:
        alarm = loop.call_later(soft_limit_s, started.interrupt, SoftTimeLimitExceeded())
    try:
        loop.run_until_complete(task)
    except asyncio.CancelledError:
        raise RuntimeError(CANCELLED_ITSELF) from started.error
    except BaseException:
        # A signal's handler has raised: the coroutine is to clean up before that goes on.
        _cancel(loop, [task])
        raise
    finally:
        if alarm is not None:
            alarm.cancel()
    if started.error is not None:
        raise started.error
    return started.value


def _elsewhere(coroutine: Coroutine[Any, Any, Any], soft_limit_s: float | None) -> Any:
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.extend((True, run(coroutine, soft_limit_s)))
        except BaseException as exc:  # noqa: BLE001 - raised again by who waits
            outcome.extend((False, exc))
        finally:
            close_loop()

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work,), name="celeriac-coroutine")
    thread.start()
    thread.join()
    has_returned, value = outcome
    if not has_returned:
        raise value
    return value


def _loop() -> asyncio.AbstractEventLoop:
    import asyncio  # noqa: PLC0415 - `import celeriac` stays quick

    loop: asyncio.AbstractEventLoop | None = getattr(_here, "loop", None)
    if loop is None or loop.is_closed():
        loop = _here.loop = asyncio.new_event_loop()
    return loop


def close_loop() -> None:
    """Close this thread's loop, if it has one; what still runs on it is cancelled first."""
    loop: asyncio.AbstractEventLoop | None = getattr(_here, "loop", None)
    if loop is None or loop.is_closed():
        return
    import asyncio  # noqa: PLC0415 - `import celeriac` stays quick

    del _here.loop
    try:
        _cancel(loop, list(asyncio.all_tasks(loop)))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _cancel(loop: asyncio.AbstractEventLoop, tasks: list[asyncio.Task[Any]]) -> None:
    import asyncio  # noqa: PLC0415 - `import celeriac` stays quick

    left = [task for task in tasks if not task.done()]
    if not left:
        return
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.wait(left, timeout=CLEAN_UP_S))


async def within(task: Any, request: Any, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run the coroutine of a task that was called as a function, with the task as current one.

    Args:
        task: The task.
        request: Its request.
        coroutine: What its function has returned.

    Returns:
        What that returns.
    """
    from celeriac._current import pop_task, push_task  # noqa: PLC0415

    push_task(task)
    task.request_stack.push(request)
    try:
        return await coroutine
    finally:
        task.request_stack.pop()
        pop_task()
