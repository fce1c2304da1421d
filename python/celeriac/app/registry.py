"""The tasks of an application, by name.

Source:
    celery/app/registry.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac._current import get_current_app
from celeriac.app.proxy import Proxy
from celeriac.exceptions import InvalidTaskError, NotRegistered

if TYPE_CHECKING:
    from collections.abc import Iterator


class TaskRegistry(dict[str, Any]):
    """Tasks by name; a missing name is a `NotRegistered`."""

    NotRegistered = NotRegistered

    def __missing__(self, key: str) -> Any:
        raise self.NotRegistered(key)

    def register(self, task: Any) -> None:
        """Add a task.

        Args:
            task: A task, or a class of tasks, of which an instance is made.

        Raises:
            InvalidTaskError: It has no name.
        """
        if task.name is None:
            message = f"Task class {type(task).__name__!r} must specify .name attribute"
            raise InvalidTaskError(message)
        name: str = task.name
        self[name] = task() if isinstance(task, type) else task

    def unregister(self, name: Any) -> None:
        """Remove a task.

        Args:
            name: Its name, or the task.

        Raises:
            NotRegistered: There is none of this name.
        """  # noqa: DOC502 - raised through the attribute
        try:
            self.pop(getattr(name, "name", name))
        except KeyError:
            raise self.NotRegistered(name) from None

    def regular(self) -> Iterator[tuple[str, Any]]:
        """List the tasks that are not periodic.

        Returns:
            Pairs of name and task.
        """
        return self.filter_types("regular")

    def periodic(self) -> Iterator[tuple[str, Any]]:
        """List the periodic tasks.

        Returns:
            Pairs of name and task.
        """
        return self.filter_types("periodic")

    def filter_types(self, type: str) -> Iterator[tuple[str, Any]]:  # noqa: A002 - Celery's signature
        """List the tasks of a type.

        Returns:
            Pairs of name and task.
        """
        return ((n, task) for n, task in self.items() if getattr(task, "type", "regular") == type)


def unpickle_task(name: str, module: str | None = None) -> Any:
    """Find a pickled task again: by name, in the current application.

    Args:
        name: The task's name.
        module: The module that defines it, imported first if need be.

    Returns:
        The task.
    """
    if module:
        __import__(module)
    return get_current_app().tasks[name]


current_tasks: Any = Proxy(lambda: get_current_app().tasks)
