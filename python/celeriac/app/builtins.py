"""The tasks that every application owns.

Source:
    protocol: builtin tasks a worker must own.
"""

from __future__ import annotations

from typing import Any

from celeriac import canvas
from celeriac._current import connect_on_app_finalize
from celeriac.app import joining
from celeriac.canvas import maybe_signature
from celeriac.result import result_from_tuple


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


@connect_on_app_finalize
def add_canvas_tasks(app: Any) -> Any:
    """Register the tasks that a canvas stands for, for who calls them by name.

    Returns:
        The tasks.
    """

    @app.task(name="celery.chain", shared=False, lazy=False)  # type: ignore[untyped-decorator]
    def chain(*args: Any, **kwargs: Any) -> Any:
        message = "celery.chain is a signature, not a task: send its first step."
        raise NotImplementedError(message)

    @app.task(name="celery.group", bind=True, shared=False, lazy=False)  # type: ignore[untyped-decorator]
    def group(
        self: Any,
        tasks: Any,
        result: Any,
        group_id: str,
        partial_args: Any,
        add_to_parent: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
    ) -> Any:
        handle = result_from_tuple(result, app)
        members = [maybe_signature(task, app=app).clone(partial_args) for task in tasks]
        with app.publisher() as publisher:
            for member in members:
                member.apply_async(group_id=group_id, producer=publisher, add_to_parent=False)
        if add_to_parent:
            self.add_trail(handle)
        return handle

    @app.task(name="celery.chord", bind=True, ignore_result=False, shared=False, lazy=False)  # type: ignore[untyped-decorator]
    def chord(self: Any, header: Any, body: Any, partial_args: Any = (), **options: Any) -> Any:
        del self
        return canvas.chord(header, body, app=app).apply_async(partial_args, **options)

    @app.task(name="celery.chunks", shared=False, lazy=False)  # type: ignore[untyped-decorator]
    def chunks(task: Any, it: Any, n: int) -> Any:
        return canvas.chunks.apply_chunks(maybe_signature(task, app=app), it, n, app=app)

    return chain, group, chord, chunks


@connect_on_app_finalize
def add_unlock_chord_task(app: Any) -> Any:
    """Register the task that joins chords where the result store cannot do it by itself.

    Returns:
        The task.
    """

    @app.task(  # type: ignore[untyped-decorator]
        name="celery.chord_unlock",
        bind=True,
        max_retries=None,
        default_retry_delay=app.conf.result_chord_retry_interval,
        ignore_result=True,
        shared=False,
        lazy=False,
    )
    def chord_unlock(
        self: Any,
        group_id: str,
        callback: Any,
        interval: float | None = None,
        max_retries: int | None = None,
        result: Any = None,
        **_options: Any,
    ) -> None:
        body = maybe_signature(callback, app=app)
        results = [result_from_tuple(each, app) for each in result or ()]
        header = app.GroupResult(group_id, results)
        try:
            is_ready = header.ready() or header.failed()
        except Exception as exc:
            raise self.retry(exc=exc, countdown=interval, max_retries=max_retries) from exc
        if not is_ready:
            raise self.retry(countdown=interval, max_retries=max_retries)
        joining.join_by_looking(app, self.backend, header, body)

    return chord_unlock
