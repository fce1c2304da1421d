"""The tasks that every application owns.

Source:
    protocol: builtin tasks a worker must own.
"""

from __future__ import annotations

from typing import Any

from celeriac._current import connect_on_app_finalize


@connect_on_app_finalize
def add_backend_cleanup_task(app: Any) -> Any:
    """Register the task that deletes expired results.

    Returns:
        The task.
    """

    @app.task(name="celery.backend_cleanup", shared=False, lazy=False)  # type: ignore[untyped-decorator]
    def backend_cleanup() -> None:
        app.backend.cleanup()

    return backend_cleanup


@connect_on_app_finalize
def add_accumulate_task(app: Any) -> Any:
    """Register the task that returns its arguments.

    Returns:
        The task.
    """

    @app.task(name="celery.accumulate", shared=False, lazy=False)  # type: ignore[untyped-decorator]
    def accumulate(*args: Any, **kwargs: Any) -> Any:
        index = kwargs.get("index")
        return args[index] if index is not None else args

    return accumulate


@connect_on_app_finalize
def add_map_tasks(app: Any) -> Any:
    """Register the tasks that call another for each item of a list.

    Returns:
        The tasks.
    """

    def called(task: Any) -> Any:
        return app.signature(task).type

    @app.task(name="celery.map", shared=False, lazy=False)  # type: ignore[untyped-decorator]
    def xmap(task: Any, it: Any) -> list[Any]:
        run = called(task)
        return [run(item) for item in it]

    @app.task(name="celery.starmap", shared=False, lazy=False)  # type: ignore[untyped-decorator]
    def xstarmap(task: Any, it: Any) -> list[Any]:
        run = called(task)
        return [run(*item) for item in it]

    return xmap, xstarmap
