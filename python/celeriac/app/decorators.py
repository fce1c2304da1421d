"""What `Celery.task` and `shared_task` make of functions, for type checkers.

A worker awaits what an ``async def`` returns, and sends a pydantic model as its data: the types of
results say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, Protocol, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from typing_extensions import ParamSpec, TypeVar

    from celeriac.app.task import Task

    P = ParamSpec("P")
    R = TypeVar("R")

    class CoroutineTask(Task[P, R]):
        """A task whose function is an ``async def``: a call here is to be awaited."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:  # type: ignore[override]
            """Run it here."""
            ...

    class Model(Protocol):
        """What pydantic's models have."""

        def model_dump(self) -> dict[str, Any]:
            """Write it as data."""

    class Decorator(Protocol):
        """Takes a function."""

        @overload
        def __call__(self, fun: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...
        @overload
        def __call__(self, fun: Callable[P, R], /) -> Task[P, R]: ...

    class BoundDecorator(Protocol):
        """Takes a function whose first parameter is the task."""

        @overload
        def __call__(
            self, fun: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
        ) -> CoroutineTask[P, R]: ...
        @overload
        def __call__(self, fun: Callable[Concatenate[Any, P], R], /) -> Task[P, R]: ...

    class ModelDecorator(Protocol):
        """Takes a function whose models are validated and dumped."""

        @overload
        def __call__(
            self, fun: Callable[P, Coroutine[Any, Any, Model]], /
        ) -> CoroutineTask[P, dict[str, Any]]: ...
        @overload
        def __call__(self, fun: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...
        @overload
        def __call__(self, fun: Callable[P, Model], /) -> Task[P, dict[str, Any]]: ...
        @overload
        def __call__(self, fun: Callable[P, R], /) -> Task[P, R]: ...

    class BoundModelDecorator(Protocol):
        """Takes a function of models whose first parameter is the task."""

        @overload
        def __call__(
            self, fun: Callable[Concatenate[Any, P], Coroutine[Any, Any, Model]], /
        ) -> CoroutineTask[P, dict[str, Any]]: ...
        @overload
        def __call__(
            self, fun: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
        ) -> CoroutineTask[P, R]: ...
        @overload
        def __call__(
            self, fun: Callable[Concatenate[Any, P], Model], /
        ) -> Task[P, dict[str, Any]]: ...
        @overload
        def __call__(self, fun: Callable[Concatenate[Any, P], R], /) -> Task[P, R]: ...
