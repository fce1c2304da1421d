"""Publishing many calls at once."""

from __future__ import annotations

import itertools
import logging
import time
from typing import TYPE_CHECKING, Any

from celeriac import _native, broker
from celeriac.app.checking import check_window
from celeriac.exceptions import OperationalError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from typing_extensions import Self

    Failure = tuple[str, Exception, _native.Unsent | None]

logger = logging.getLogger("celeriac.publish")

FLUSH_WAIT_S = 30.0
PROGRESS_EVERY_S = 0.1
#: Who pressed Ctrl-C does not want to wait for a broker that is gone.
INTERRUPTED_WAIT_S = 2.0
_SHOWN = 3
_AGAIN = " `retry()` of this error sends them again, with the same ids."


class PublishError(OperationalError):
    """Some calls were not confirmed: each is named, and `retry` sends just these again.

    Args:
        failures: Task ids, why each failed, and its message.
        native: The broker to send them to.
        total: How many calls were handed over.

    Attributes:
        failures: Why each failed, by task id. The broker may have one that is `Unconfirmed`.

    """

    def __init__(
        self, failures: Sequence[Failure], native: _native.Publisher | None = None, total: int = 0
    ) -> None:
        self.failures = {task_id: exc for task_id, exc, _ in failures}
        self.total = total
        self._native = native
        self._unsent = [unsent for *_, unsent in failures if unsent is not None]
        count = len(self.failures)
        of = f" of {total}" if total else ""
        shown = ", ".join(f"{task_id}: {exc}" for task_id, exc in self._first(_SHOWN))
        more = f", and {count - _SHOWN} more in `failures`" if count > _SHOWN else ""
        super().__init__(
            f"{count}{of} tasks were not confirmed ({shown}{more})."
            + (_AGAIN if self._unsent else "")
        )

    def _first(self, number: int) -> list[tuple[str, Exception]]:
        return list(itertools.islice(self.failures.items(), number))

    @property
    def task_ids(self) -> list[str]:
        """Ids of the tasks that were not confirmed."""
        return list(self.failures)

    def retry(self, wait_s: float = FLUSH_WAIT_S) -> None:
        """Send again what was not confirmed: the same messages, with the same ids.

        What was unconfirmed, and arrived nevertheless, is queued twice then.

        Args:
            wait_s: Seconds to wait for the broker.

        Raises:
            PublishError: Some are not confirmed again; it has a `retry` of its own.
        """
        if self._native is None or not self._unsent:
            return
        give_up_at = time.monotonic() + wait_s
        window = self._native.window()
        failures: list[Failure] = []
        for unsent in self._unsent:
            try:
                window.resend(unsent, max(0.0, give_up_at - time.monotonic()))
            except OperationalError as exc:  # noqa: PERF203 - the others are sent all the same
                failures.append((unsent.task_id, exc, unsent))
        failures += window.flush(max(0.0, give_up_at - time.monotonic()))
        if failures:
            raise PublishError(failures, self._native, len(self._unsent))

    def __reduce__(self) -> Any:
        # The messages stay in their process; who they were is what others can learn.
        failures = [(task_id, exc, None) for task_id, exc in self.failures.items()]
        return type(self), (failures, None, self.total)


class BatchPublisher:
    """A window for many calls: each is handed over at once, and all are confirmed when it is left.

    ::

        with app.publisher() as publisher:
            for number in range(10_000):
                add.apply_async((number, 1), publisher=publisher)

    Many threads may share one. Leaving it by an exception waits for what was sent, too, and notes
    on the exception what was not confirmed (`BatchPublisher.error` has it).

    Args:
        app: The application.
        window: How many messages may be unconfirmed; a call waits while the window is full.
        connection: A connection to another broker; the application's by default.
        on_progress: Called with the numbers of calls that are confirmed (or have failed) and of
            those handed over, now and then while the publisher waits in `flush`, and at its end.

    """

    def __init__(
        self,
        app: Any,
        window: int = 4096,
        connection: Any = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> None:
        check_window(window, on_progress)
        self.app = app
        self.error: PublishError | None = None
        self._on_progress = on_progress
        self._native = broker.publisher_of(app, connection)
        #: Of the Rust module.
        self.window: _native.Window = self._native.window(window)
        broker.account_for(self)

    def publish(
        self,
        template: Any,
        args: Any,
        kwargs: Any,
        call: dict[str, Any],
        wait_s: float = FLUSH_WAIT_S,
    ) -> None:
        """Hand a message over; wait for room, and later for its confirm, so many seconds."""
        self.window.publish(template, args, kwargs, call, wait_s)

    def publish_parts(
        self,
        headers: Any,
        properties: Any,
        body: bytes,
        exchange: str,
        routing_key: str,
        declare: Any,
        wait_s: float = FLUSH_WAIT_S,
    ) -> None:
        """Hand a message over that was built in Python."""
        self.window.publish_parts(headers, properties, body, exchange, routing_key, declare, wait_s)

    @property
    def pending(self) -> int:
        """How many messages are not confirmed."""
        return self.window.pending

    def flush(self, wait_s: float = FLUSH_WAIT_S) -> None:
        """Wait until all messages are confirmed.

        Args:
            wait_s: Seconds.

        Raises:
            PublishError: Some could not be sent; it says which, by task id.
        """  # noqa: DOC502 - raised by its name
        if self._on_progress is not None:
            wait_s = self._watch(self._on_progress, wait_s)
        failures = self.window.flush(wait_s)
        if failures:
            self.error = PublishError(failures, self._native, self.window.entered)
            raise self.error

    def _watch(self, tell: Callable[[int, int], object], wait_s: float) -> float:
        give_up_at = time.monotonic() + wait_s
        while True:
            left_s = max(0.0, give_up_at - time.monotonic())
            is_over = self.window.wait(min(left_s, PROGRESS_EVERY_S)) or left_s == 0.0
            entered = self.window.entered
            tell(entered - self.window.pending, entered)
            if is_over:
                return left_s

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if exc is None:
            self.flush()
            return
        # The user's error comes first; what was not confirmed is noted on it.
        wait_s = FLUSH_WAIT_S if isinstance(exc, Exception) else INTERRUPTED_WAIT_S
        try:
            self.flush(wait_s)
        except PublishError as error:
            logger.error("%s", error)  # noqa: TRY400 - the user's error has the traceback
            note = getattr(exc, "add_note", None)
            if note is not None:
                note(str(error))

    def close(self) -> None:
        """Wait until all messages are confirmed."""
        self.flush()

    release = close


class AsyncPublisher:
    """The window of `BatchPublisher` for coroutines.

    ::

        async with app.apublisher(window=1_000) as publisher:
            for number in range(10_000):
                await add.aapply_async((number, 1), publisher=publisher)

    A call that is cancelled while it waits for room was not sent. What was handed over stays in
    the window whatever is cancelled later: leaving accounts for it.

    Args:
        app: The application.
        window: How many messages may be unconfirmed.
        connection: A connection to another broker; the application's by default.

    """

    is_awaited = True

    def __init__(self, app: Any, window: int = 4096, connection: Any = None) -> None:
        from celeriac import aio  # noqa: PLC0415 - asyncio is slow to import

        self.app = app
        self._window = max(1, window)
        self._edge = aio.Edge(broker.publisher_of(app, connection), None)
        self._open: dict[asyncio.Task[Any], str] = {}
        self._failures: list[Failure] = []
        self._room: asyncio.Event | None = None

    async def publish(
        self,
        template: Any,
        args: Any,
        kwargs: Any,
        call: dict[str, Any],
        wait_s: float = FLUSH_WAIT_S,
    ) -> None:
        """Hand a message over; await room for it first."""
        await self._enter()
        self._follow(self._edge.publish(template, args, kwargs, call, wait_s), call["task_id"])

    async def publish_parts(self, headers: Any, *parts: Any, wait_s: float = FLUSH_WAIT_S) -> None:
        """Hand a message over that was built in Python; await room for it first."""
        await self._enter()
        self._follow(self._edge.publish_parts(headers, *parts, wait_s=wait_s), headers["id"])

    async def _enter(self) -> None:
        import asyncio  # noqa: PLC0415 - `import celeriac` stays quick

        while len(self._open) >= self._window:
            self._room = asyncio.Event()
            # Ends: what is handed over is confirmed or fails after `aio.CONFIRM_WAIT_S`.
            await self._room.wait()

    def _follow(self, sent: Any, task_id: str) -> None:
        import asyncio  # noqa: PLC0415 - `import celeriac` stays quick

        task = asyncio.ensure_future(sent)
        self._open[task] = task_id
        task.add_done_callback(self._settled)

    def _settled(self, task: asyncio.Task[Any]) -> None:
        task_id = self._open.pop(task)
        if task.cancelled():
            reason = "its loop was ended before the broker confirmed it: it may be queued"
            self._failures.append((task_id, OperationalError(reason), None))
        else:
            error = task.exception()
            if isinstance(error, Exception):
                self._failures.append((task_id, error, None))
        if self._room is not None:
            self._room.set()

    @property
    def pending(self) -> int:
        """How many messages are not confirmed."""
        return len(self._open)

    async def flush(self) -> None:
        """Wait until all messages are confirmed.

        Raises:
            PublishError: Some could not be sent; it says which, by task id.
        """
        failures = await self._settle()
        if failures:
            raise PublishError(failures)

    async def _settle(self) -> list[Failure]:
        import asyncio  # noqa: PLC0415 - `import celeriac` stays quick

        if self._open:
            await asyncio.wait(list(self._open))
            await asyncio.sleep(0)  # their callbacks
        failures, self._failures = self._failures, []
        return failures

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if exc is None:
            await self.flush()
            return
        # The user's error comes first; what could not be sent is noted on it.
        failures = await self._settle()
        note = getattr(exc, "add_note", None)
        if failures and note is not None:
            note(str(PublishError(failures)))
