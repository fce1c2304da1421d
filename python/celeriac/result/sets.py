"""Handles to many results, in any order and of any tasks.

Source:
    celery/result.py ``ResultSet``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from celeriac._current import app_or_default
from celeriac.result import arriving, awaiting
from celeriac.result.handles import LazyHandles
from celeriac.result.single import ResultBase
from celeriac.result.waiting import assert_will_not_block

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, MutableSequence


class ResultSet(ResultBase):
    """Results that are waited for together.

    Args:
        results: Handles.
        app: The application.

    """

    results: MutableSequence[Any]
    children_are_members = True

    def __init__(
        self, results: list[Any], app: Any = None, ready_barrier: Any = None, **_kwargs: Any
    ) -> None:
        del ready_barrier
        self._app = app
        self._callbacks: list[Any] = []
        self.results = results if isinstance(results, LazyHandles) else list(results)

    @property
    def app(self) -> Any:
        """The application."""
        if self._app is None:
            self._app = self.results[0].app if self.results else app_or_default(None)
        return self._app

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def backend(self) -> Any:
        """The result backend."""
        return self.app.backend

    def add(self, result: Any) -> None:
        """Add a handle, unless it is there."""
        if result not in self.results:
            self.results.append(result)

    def remove(self, result: Any) -> None:
        """Remove a handle.

        Args:
            result: The handle, or its id.

        Raises:
            KeyError: It is not there.
        """
        if result not in self.results:
            raise KeyError(result)
        self.results.remove(result)

    def discard(self, result: Any) -> None:
        """Remove a handle, if it is there."""
        if result in self.results:
            self.results.remove(result)

    def update(self, results: list[Any]) -> None:
        """Add handles."""
        for result in results:
            self.add(result)

    def clear(self) -> None:
        """Remove all handles."""
        self.results[:] = []

    def successful(self) -> bool:
        """Say whether all have succeeded.

        Returns:
            Whether they have.
        """
        return all(result.successful() for result in self.results)

    def failed(self) -> bool:
        """Say whether any has failed.

        Returns:
            Whether one has.
        """
        return any(result.failed() for result in self.results)

    def waiting(self) -> bool:
        """Say whether any is not done.

        Returns:
            Whether one is not.
        """
        return any(not result.ready() for result in self.results)

    def ready(self) -> bool:
        """Say whether all are done.

        Returns:
            Whether they are.
        """
        return all(result.ready() for result in self.results)

    def completed_count(self) -> int:
        """Count those that have succeeded.

        Returns:
            How many.
        """
        return sum(1 for result in self.results if result.successful())

    def forget(self) -> None:
        """Delete all results."""
        for result in self.results:
            result.forget()

    def maybe_throw(self, callback: Any = None, propagate: bool = True) -> None:  # noqa: FBT001, FBT002 - Celery's signature
        """Raise the exception of the first that has failed."""
        for result in self.results:
            result.maybe_throw(callback=callback, propagate=propagate)

    maybe_reraise = maybe_throw

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,  # noqa: FBT001, FBT002
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        disable_sync_subtasks: bool = True,  # noqa: FBT001, FBT002
        on_interval: Callable[[], Any] | None = None,
    ) -> list[Any]:
        """Wait for all, and return their values in order.

        Args:
            timeout: Seconds for all together.
            propagate: Whether an exception is raised.
            interval: Seconds between two calls of `on_interval`.
            callback: Called with each id and value, instead of returning values.
            no_ack: Ignored.
            on_message: Called with each document that arrives.
            disable_sync_subtasks: Whether waiting inside of a task is an error.
            on_interval: Called while waiting.

        Returns:
            The values; empty if there is a `callback`.

        Raises:
            TimeoutError: They did not all come in time.
        """  # noqa: DOC502 - raised by each handle
        if disable_sync_subtasks:
            assert_will_not_block()
        if on_message is None:
            arriving.look(self.results)
        deadline = None if timeout is None else time.monotonic() + timeout
        values: list[Any] = []
        for result in self.results:
            value = result.get(
                timeout=None if deadline is None else max(deadline - time.monotonic(), 0),
                propagate=propagate,
                interval=interval,
                no_ack=no_ack,
                on_message=on_message,
                disable_sync_subtasks=False,
                on_interval=on_interval,
            )
            if callback is not None:
                callback(result.id, value)
            else:
                values.append(value)
        self._tell_if_full()
        return values

    def then(
        self,
        callback: Callable[[Any], Any],
        on_error: Callable[[Any], Any] | None = None,
        weak: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
    ) -> None:
        """Call something once all are known to be done: by `get`, `ready` or the like.

        Args:
            callback: Called with this handle when all have succeeded.
            on_error: Called with it when one has failed.
            weak: Ignored.
        """
        del weak
        self._callbacks.append((callback, on_error))
        self._tell_if_full()

    def _tell_if_full(self) -> None:
        if not self._callbacks or not all(result.is_known for result in self.results):
            return
        callbacks, self._callbacks = self._callbacks, []
        has_failed = self.failed()
        for callback, on_error in callbacks:
            called = on_error if has_failed else callback
            if called is not None:
                called(self)

    @property
    def is_known(self) -> bool:
        """Whether all are known to be done, without asking."""
        return all(result.is_known for result in self.results)

    def _to_revoke(self) -> list[str]:
        return [result.id for result in self.results]

    join = get

    def join_native(
        self,
        timeout: float | None = None,
        propagate: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,  # noqa: FBT001, FBT002
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,  # noqa: FBT001, FBT002
    ) -> list[Any]:
        """Do as `get`, whose last two arguments are the other way round.

        Returns:
            The values; empty if there is a `callback`.
        """
        return self.get(
            timeout,
            propagate,
            interval,
            callback,
            no_ack,
            on_message,
            disable_sync_subtasks=disable_sync_subtasks,
            on_interval=on_interval,
        )

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,  # noqa: ARG002, FBT001, FBT002 - Celery's signature
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
    ) -> Iterator[tuple[str, Any]]:
        """Go through the results as they come, woken by each.

        Args:
            timeout: Seconds for all together.
            interval: Seconds between two calls of `on_interval`.
            no_ack: Ignored.
            on_message: Called with each document that arrives.
            on_interval: Called while waiting.

        Yields:
            Id, and the fields of the final document (``status``, ``result``, ...), the first that
            is done first; of a member that is a group, its handles.

        Raises:
            TimeoutError: They did not all come in time.
        """  # noqa: DOC502 - by its name
        arriving.look(self.results)
        yield from arriving.in_order_of_arrival(
            self.results, timeout, interval, on_message, on_interval
        )
        self._tell_if_full()

    async def aget(
        self,
        timeout: float | None = None,
        propagate: bool = True,  # noqa: FBT001, FBT002 - as `get`
        on_message: Callable[[dict[str, Any]], Any] | None = None,
    ) -> list[Any]:
        """Wait for all, without blocking the loop, and return their values in order.

        Args:
            timeout: Seconds for all together.
            propagate: Whether an exception is raised.
            on_message: Called with each document that arrives.

        Returns:
            The values.

        Raises:
            TimeoutError: They did not all come in time.
        """  # noqa: DOC502 - by the handles
        return await awaiting.all_of(self.results, timeout, propagate, on_message)

    def __aiter__(self) -> AsyncIterator[tuple[str, Any]]:
        """Go through the results as they come: ``async for task_id, value in result``.

        Returns:
            Pairs of id and value, the first that is done first; the exception of one that has
            failed is raised.
        """
        return awaiting.as_they_come(self.results)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Any:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    def __eq__(self, other: object) -> bool:
        return other.results == self.results if isinstance(other, ResultSet) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self.results))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(result.id for result in self.results)}]>"

    @property
    def supports_native_join(self) -> bool:
        """Whether waiting does not poll."""
        return all(result.supports_native_join for result in self.results)
