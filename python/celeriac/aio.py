"""Waits for Rust on a loop of asyncio: one descriptor for each loop, which Rust makes readable.

No thread of Rust touches Python, and none of Python waits for a single call: what is handed over
rings a `Bell` when there is an answer, and the loop that watches it wakes who awaits that.
"""

from __future__ import annotations

import asyncio
import itertools
import select
import threading
import weakref
from typing import TYPE_CHECKING, Any

from celeriac import _native, broker
from celeriac.exceptions import OperationalError
from celeriac.green import plain
from celeriac.retry import delays_s, retried_errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

__all__ = ("Door", "Edge", "answer", "door", "edge", "publish_with_retries", "then")

CONFIRM_WAIT_S = 30.0
#: Asked for after that, so that Rust's own word on what happened comes first.
GRACE_S = 1.0
#: How many errands of a loop may be under way: the others wait for their turn on the loop.
MAX_UNDER_WAY = 1024
#: How often the thread of a loop that cannot watch a descriptor looks whether the loop is closed.
LOOK_S = 1.0


class Door:
    """What one loop waits for, by the tokens that its bell rings.

    Args:
        loop: The loop that runs in this thread.

    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.bell = _native.Bell()
        self.turns = asyncio.Semaphore(MAX_UNDER_WAY)
        self._waiting: dict[int, asyncio.Event] = {}
        self._numbers = itertools.count(1)
        try:
            loop.add_reader(self.bell.fileno(), self._heard)
        except NotImplementedError:
            # Windows' proactor watches no sockets for others: one thread does it for the loop.
            loop_ref = weakref.ref(loop)
            watch = threading.Thread(
                target=_watch, args=(loop_ref, self.bell, self._heard), name="celeriac-bell"
            )
            watch.daemon = True
            watch.start()

    def enter(self) -> tuple[int, asyncio.Event]:
        """Take a token.

        Returns:
            The token, and what is set when it rings. To be given back with `leave`.
        """
        token = next(self._numbers)
        event = self._waiting[token] = asyncio.Event()
        return token, event

    def leave(self, token: int) -> None:
        """Give a token back."""
        del self._waiting[token]

    @property
    def waiting(self) -> int:
        """How many tokens are out."""
        return len(self._waiting)

    def _heard(self) -> None:
        for token in self.bell.take():
            event = self._waiting.get(token)
            if event is not None:
                event.set()


def _watch(
    loop_ref: weakref.ref[asyncio.AbstractEventLoop],
    bell: _native.Bell,
    heard: Callable[[], None],
) -> None:
    looked = threading.Event()
    while True:
        readable, _, _ = select.select([bell.fileno()], [], [], LOOK_S)
        loop = loop_ref()
        if loop is None or loop.is_closed():
            return
        if readable:
            looked.clear()

            def look() -> None:
                heard()
                looked.set()

            try:
                loop.call_soon_threadsafe(look)
            except RuntimeError:  # closed meanwhile
                return
            del loop
            looked.wait(LOOK_S)


_doors: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Door] = weakref.WeakKeyDictionary()


def door() -> Door:
    """Return the door of the loop that runs here.

    Returns:
        The door, made when it is first asked for; it ends with its loop.
    """
    loop = asyncio.get_running_loop()
    found = _doors.get(loop)
    if found is None:
        found = _doors[loop] = Door(loop)
    return found


async def wait_rung(event: asyncio.Event, wait_s: float | None) -> bool:
    """Wait until a token rings, and forget that it did.

    Args:
        event: Of `Door.enter`.
        wait_s: How long, in seconds; None without end.

    Returns:
        Whether it rang.
    """
    if not event.is_set():
        try:
            await asyncio.wait_for(event.wait(), wait_s)
        except asyncio.TimeoutError:  # Python 3.10's is its own
            return False
    event.clear()
    return True


async def answer(start: Callable[[_native.Bell, int], _native.Errand], wait_s: float) -> Any:
    """Hand something over and wait for the answer.

    Args:
        start: Hands it over, with a bell and a token.
        wait_s: How long Rust may take, in seconds.

    Returns:
        The subscription that was asked for, or None.

    Raises:
        OperationalError: It failed, or nobody knows.
    """
    here = door()
    async with here.turns:
        token, event = here.enter()
        try:
            errand = start(here.bell, token)
            end_s = asyncio.get_running_loop().time() + wait_s + GRACE_S
            while not errand.is_done:
                left_s = end_s - asyncio.get_running_loop().time()
                if left_s <= 0 or not await wait_rung(event, left_s):
                    message = f"The broker has not answered in {wait_s:g} s: it may have the task."
                    raise OperationalError(message)
            return errand.take()
        finally:
            here.leave(token)


def edge(app: Any, lent: Any, connection: Any, results: _native.ResultStore | None) -> Any:
    """Choose what a coroutine's call goes through.

    Args:
        app: The application.
        lent: The caller's ``publisher`` or ``producer``; None for the application's.
        connection: The caller's connection; None likewise.
        results: The store in which the result is listened for; None for no result.

    Returns:
        The publisher of `Celery.apublisher` that was lent, or an `Edge`.

    Raises:
        TypeError: What was lent blocks the loop, or is no publisher.
    """
    if getattr(lent, "is_awaited", False):
        return lent
    if hasattr(lent, "publish_parts"):
        message = (
            "publisher must be one of app.apublisher() where a call is awaited: "
            f"{lent!r} blocks the loop while its window is full."
        )
        raise TypeError(message)
    # Compat: a `Producer`, ours or kombu's, stands for its connection.
    return Edge(broker.publisher_of(app, lent or connection), results)


class Edge:
    """Publishes for coroutines over one of this process's publishers.

    Args:
        publisher: The publisher.
        results: The store in which the result is listened for; None for no result.

    """

    is_awaited = True

    def __init__(self, publisher: _native.Publisher, results: _native.ResultStore | None) -> None:
        self._publisher = plain(publisher)
        self._results = None if results is None else plain(results)

    async def publish(
        self,
        template: Any,
        args: Any,
        kwargs: Any,
        call: Mapping[str, Any],
        wait_s: float = CONFIRM_WAIT_S,
    ) -> _native.Subscription | None:
        """Publish a call; see `Publisher.post`.

        Returns:
            The subscription to its result.
        """
        return await self._sent(wait_s, self._publisher.post, template, args, kwargs, call)

    async def publish_parts(
        self, *parts: Any, wait_s: float = CONFIRM_WAIT_S
    ) -> _native.Subscription | None:
        """Publish a message that was built in Python; see `Publisher.post_parts`.

        Returns:
            The subscription to its result.
        """
        return await self._sent(wait_s, self._publisher.post_parts, *parts)

    async def _sent(self, wait_s: float, post: Any, *parts: Any) -> _native.Subscription | None:
        def start(bell: _native.Bell, token: int) -> Any:
            return post(*parts, self._results, wait_s, bell, token)

        found: _native.Subscription | None = await answer(start, wait_s)
        return found


async def publish_with_retries(
    send: Callable[[], Awaitable[Any]], policy: Mapping[str, Any] | None, *, retry: bool
) -> Any:
    """Do as `broker.publish_with_retries`, sleeping on the loop.

    Returns:
        What `send` returned.

    Raises:
        OperationalError: The broker could not be reached, or has refused.
    """  # noqa: DOC502 - what `send` raised
    given = policy or {}
    waits = delays_s(given) if retry else iter(())
    while True:
        try:
            return await send()
        except retried_errors(given) as exc:
            wait_s = next(waits, None)
            if wait_s is None:
                raise
            if given.get("errback") is not None:
                given["errback"](exc, wait_s)
        await asyncio.sleep(wait_s)


async def then(awaitable: Awaitable[Any], tell: Callable[[], None]) -> Any:
    """Await something, and tell when it is there.

    Returns:
        What was awaited.
    """
    value = await awaitable
    tell()
    return value
