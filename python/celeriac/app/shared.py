"""`shared_task`: tasks of libraries, which belong to whatever application is current.

Source:
    celery/app/__init__.py ``shared_task``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from celeriac._current import active_apps, connect_on_app_finalize, get_current_app
from celeriac.app.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from celeriac.app.decorators import (
        BoundDecorator,
        BoundModelDecorator,
        CoroutineTask,
        Decorator,
        ModelDecorator,
    )
    from celeriac.app.task import P, R, Task


@overload
def shared_task(fun: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...
@overload
def shared_task(fun: Callable[P, R], /) -> Task[P, R]: ...
@overload
def shared_task(
    *, base: None = None, pydantic: Literal[True], bind: Literal[True], **opts: Any
) -> BoundModelDecorator: ...
@overload
def shared_task(
    *, base: None = None, pydantic: Literal[True], bind: Literal[False] = False, **opts: Any
) -> ModelDecorator: ...
@overload
def shared_task(*, base: None = None, bind: Literal[True], **opts: Any) -> BoundDecorator: ...
@overload
def shared_task(*, base: None = None, bind: Literal[False] = False, **opts: Any) -> Decorator: ...
@overload
def shared_task(*, base: Any, **opts: Any) -> Callable[[Callable[..., Any]], Any]: ...
def shared_task(*args: Any, **kwargs: Any) -> Any:
    """Make a task of a function, in every application that there is or will be.

    Args:
        *args: The function, where the decorator is used without options.
        **kwargs: As of `Celery.task`.

    Returns:
        A stand-in for the current application's task, or a decorator.
    """

    def create(**options: Any) -> Any:
        def decorate(function: Any) -> Any:
            name = options.get("name")
            # Kept alive for the process: applications made later get the task, too.
            connect_on_app_finalize(lambda app: app.task_from_function(function, **options))
            for app in active_apps():
                if app.finalized:
                    app.task_from_function(function, **options)

            def current() -> Any:
                app = get_current_app()
                key = name or app.gen_task_name(function.__name__, function.__module__)
                return app.tasks[key]

            return Proxy(current)

        return decorate

    if len(args) == 1 and callable(args[0]) and not kwargs:
        return create()(args[0])
    return create(*args, **kwargs)
