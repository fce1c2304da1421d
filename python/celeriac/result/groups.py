"""Handles to the results of a group.

Source:
    celery/result.py ``GroupResult``; protocol: saved groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac._current import app_or_default
from celeriac.result.sets import ResultSet

if TYPE_CHECKING:
    from collections.abc import MutableSequence


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

    def save(self, backend: Any = None) -> Any:
        """Store which tasks the group has, to find them again by its id (see `restore`).

        Args:
            backend: Where; the application's result backend by default.

        Returns:
            The handle.
        """
        return (backend or self.app.backend).save_group(self.id, self)

    def delete(self, backend: Any = None) -> None:
        """Delete what `save` has stored; the results stay."""
        (backend or self.app.backend).delete_group(self.id)

    @classmethod
    def restore(cls, id: str, backend: Any = None, app: Any = None) -> Any:  # noqa: A002 - Celery's name
        """Find a group that was saved.

        Args:
            id: The group's id.
            backend: Where; the application's result backend by default.
            app: The application.

        Returns:
            A `GroupResult`; None if none is stored under this id.
        """
        app = app_or_default(app if app is not None else getattr(cls, "app", None))
        return (backend or app.backend).restore_group(id)

    def as_tuple(self) -> tuple[Any, Any]:
        """Write the handle as documents have it.

        Returns:
            ``((id, parent), [tuple, ...])``.
        """
        parent = self.parent.as_tuple() if self.parent is not None else None
        return (self.id, parent), [result.as_tuple() for result in self.results]

    @property
    def children(self) -> MutableSequence[Any]:
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
