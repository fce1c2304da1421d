"""Who is current: the application, the task that runs, the active applications.

Source:
    celery/_state.py (meaning of each; `celery._state` is served from here).
"""

from __future__ import annotations

import threading
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celeriac._protocols import App, TaskLike


class LocalStack:
    """A stack for each thread, and for each task of asyncio, which begins with its maker's."""

    def __init__(self) -> None:
        # Never changed in place: contexts that were copied share the tuple.
        self.items: ContextVar[tuple[Any, ...]] = ContextVar("celeriac_stack", default=())

    @property
    def stack(self) -> list[Any]:
        """A copy of the stack, the top last."""
        return list(self.items.get())

    def push(self, item: Any) -> None:
        """Put an item on top."""
        self.items.set((*self.items.get(), item))

    def enter(self, item: Any) -> tuple[Any, ...]:
        """Put an item on top.

        Returns:
            What `leave` takes to end it, with all that was pushed above.
        """
        before = self.items.get()
        self.items.set((*before, item))
        return before

    def leave(self, before: tuple[Any, ...]) -> None:
        """Make the stack as it was."""
        self.items.set(before)

    def pop(self) -> Any:
        """Take the top item off.

        Returns:
            The item; None where the stack is empty.
        """
        items = self.items.get()
        if not items:
            return None
        self.items.set(items[:-1])
        return items[-1]

    @property
    def top(self) -> Any:
        """The top item; None where the stack is empty."""
        items = self.items.get()
        return items[-1] if items else None

    def __len__(self) -> int:
        return len(self.items.get())


class _ThreadState(threading.local):
    current_app: App | None = None
    join_allowed: bool | None = None


default_app: App | None = None
_tls = _ThreadState()
_task_stack = LocalStack()
#: The tasks that run here, the innermost last: a look at it costs less than a call.
running_tasks = _task_stack.items
_join_will_block = False
_apps: weakref.WeakSet[Any] = weakref.WeakSet()
_finalizers: set[Callable[[Any], Any]] = set()
_default_app_factory: Callable[[], App] | None = None


def set_default_app(app: App | None) -> None:
    """Make `app` the one that is current in threads that have none of their own."""
    global default_app  # noqa: PLW0603 - one per process, as in Celery
    default_app = app


def set_default_app_factory(make: Callable[[], App]) -> None:
    """Say how the default application is made where none was (the app layer does)."""
    global _default_app_factory  # noqa: PLW0603 - see above
    _default_app_factory = make


def set_current_app(app: App | None) -> None:
    """Make `app` this thread's current application."""
    _tls.current_app = app


def current_app_or_none() -> App | None:
    """Look for the current application without making one.

    Returns:
        This thread's application, or the default one, or None.
    """
    return _tls.current_app or default_app


def get_current_app() -> App:
    """Return the current application, making the default one where there is none.

    Returns:
        This thread's application, or the default one.

    Raises:
        RuntimeError: The application layer was never imported.
    """
    app = current_app_or_none()
    if app is not None:
        return app
    if _default_app_factory is None:
        message = "There is no current application: make one with celeriac.Celery()."
        raise RuntimeError(message)
    app = _default_app_factory()
    set_default_app(app)
    return app


def app_or_default(app: App | None = None) -> App:
    """Return `app`, or the current application where it is None.

    Returns:
        An application.
    """
    return get_current_app() if app is None else app


def register_app(app: App) -> None:
    """Remember an application (weakly)."""
    _apps.add(app)


def deregister_app(app: App) -> None:
    """Forget an application."""
    _apps.discard(app)


def active_apps() -> Iterator[Any]:
    """List the applications that are alive.

    Returns:
        An iterator over them.
    """
    return iter(list(_apps))


def connect_on_app_finalize(callback: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Have `callback` called with every application that is finalized from now on.

    Returns:
        The callback, so that this can be a decorator.
    """
    _finalizers.add(callback)
    return callback


def announce_app_finalized(app: App) -> None:
    """Call what was registered with `connect_on_app_finalize`."""
    for callback in list(_finalizers):
        callback(app)


def push_task(obj: TaskLike) -> None:
    """Make `obj` the current task here."""
    _task_stack.push(obj)


def pop_task() -> TaskLike | None:
    """End the current task.

    Returns:
        The task that was current.
    """
    task: TaskLike | None = _task_stack.pop()
    return task


def enter_task(obj: TaskLike) -> tuple[Any, ...]:
    """Make `obj` the current task here.

    Returns:
        What `leave_task` takes to end it.
    """
    return _task_stack.enter(obj)


def leave_task(before: tuple[Any, ...]) -> None:
    """End the current task, and those that it has left behind."""
    _task_stack.leave(before)


def get_current_task() -> TaskLike | None:
    """Return the task that this thread runs.

    Returns:
        The task; None outside of tasks. A task called by a task is the current one.
    """
    task: TaskLike | None = _task_stack.top
    return task


def get_current_worker_task() -> TaskLike | None:
    """Return the task that the worker gave to this thread.

    Returns:
        The outermost task that was not called directly by another; None outside of tasks.
    """
    for task in reversed(_task_stack.stack):
        if not task.request.called_directly:
            found: TaskLike = task
            return found
    return None


def set_task_join_will_block(blocks: bool) -> None:  # noqa: FBT001 - Celery's signature
    """Say whether waiting for a result can block what would produce it (inside a worker)."""
    global _join_will_block  # noqa: PLW0603 - one per process, as in Celery
    _join_will_block = blocks


def set_join_allowed_here(*, allowed: bool | None) -> bool | None:
    """Override that for this thread; None ends the override.

    Returns:
        The override before.
    """
    before, _tls.join_allowed = _tls.join_allowed, allowed
    return before


def task_join_will_block() -> bool:
    """Say whether waiting for a result may be a deadlock here.

    Returns:
        True inside a worker's tasks, unless `allow_join_result` is in force.
    """
    if _tls.join_allowed is not None:
        return not _tls.join_allowed
    return _join_will_block
