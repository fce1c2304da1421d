"""What an application opens on a loop before its first task there, and closes after the last."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ("Lifespan",)


class Lifespan:
    """The time in which an application's resources are open on one loop.

    Args:
        app: The application.
        makers: Each is called with it: a function that makes an asynchronous context manager, or
            an asynchronous generator that yields once.
    """

    def __init__(self, app: Any, makers: Sequence[Callable[[Any], Any]]) -> None:
        self._app = app
        self._makers = makers
        self._end = asyncio.Event()
        self._begun: asyncio.Future[contextvars.Context] = (
            asyncio.get_running_loop().create_future()
        )
        # One task of asyncio opens and closes: anyio's scopes must be left where they are entered.
        self._keeper = asyncio.create_task(self._keep())

    async def begin(self) -> contextvars.Context:
        """Open everything, in order.

        Returns:
            The context variables that this has set; tasks get copies of it. It raises what a
            maker raises, once the ones before it are closed.
        """
        either: list[asyncio.Future[Any]] = [self._keeper, self._begun]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._keeper.done():
            await self._keeper
        return self._begun.result()

    async def end(self) -> None:
        """Close everything, the last that was opened first."""
        self._end.set()
        await self._keeper

    async def _keep(self) -> None:
        async with AsyncExitStack() as stack:
            for maker in self._makers:
                make = asynccontextmanager(maker) if inspect.isasyncgenfunction(maker) else maker
                await stack.enter_async_context(make(self._app))
            self._begun.set_result(contextvars.copy_context())
            # No deadline: it lasts as long as its loop.
            await self._end.wait()
