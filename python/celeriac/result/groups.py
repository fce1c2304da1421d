"""Handles to many results.

Source:
    celery/result.py ``ResultSet``, ``GroupResult``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from celeriac._current import app_or_default
from celeriac.exceptions import TimeoutError  # noqa: A004 - Celery's name
from celeriac.result.single import ResultBase
from celeriac.result.waiting import assert_will_not_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class ResultSet(ResultBase):
    """Results that are waited for together.

    Args:
        results: Handles.
        app: The application.

    """

    results: list[Any]

    def __init__(
        self, results: list[Any], app: Any = None, ready_barrier: Any = None, **_kwargs: Any
    ) -> None:
        del ready_barrier
        self._app = app
        self.results = list(results)

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
        """
        if disable_sync_subtasks:
            assert_will_not_block()
        deadline = None if timeout is None else time.monotonic() + timeout
        values: list[Any] = []
        for result in self.results:
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0 and not result.ready():
                message = "The operation timed out."
                raise TimeoutError(message)
            value = result.get(
                timeout=None if left_s is None else max(left_s, 0),
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
        return values

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


class GroupResult(ResultSet):
    """The results of a group.

    Args:
        id: The group's id.
        results: Handles, in the order of the group.
        parent: The result of the task before the group in a chain.

    """

    id: str | None = None

    def __init__(
        self,
        id: str | None = None,  # noqa: A002 - Celery's name
        results: list[Any] | None = None,
        parent: Any = None,
        **kwargs: Any,
    ) -> None:
        self.id = id
        self.parent = parent
        super().__init__(results or [], **kwargs)

    def as_tuple(self) -> tuple[Any, Any]:
        """Write the handle as documents have it.

        Returns:
            ``((id, parent), [tuple, ...])``.
        """
        parent = self.parent.as_tuple() if self.parent is not None else None
        return (self.id, parent), [result.as_tuple() for result in self.results]

    @property
    def children(self) -> list[Any]:
        """The handles."""
        return self.results

    def __bool__(self) -> bool:
        return bool(self.id or self.results)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GroupResult):
            return other.id == self.id and other.results == self.results
        return other == self.id if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        members = ", ".join(result.id for result in self.results)
        return f"<{type(self).__name__}: {self.id} [{members}]>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.id, self.results, self.parent)
