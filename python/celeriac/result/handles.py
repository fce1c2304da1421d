"""The handles of a large group: an id each, until somebody looks at one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class LazyHandles(MutableSequence[Any]):
    """A list of handles that keeps the id alone of each it has not handed out.

    A handle takes some 500 bytes, an id 93: a group of 100,000 is 9 MB instead of 50.

    Args:
        make: Makes a handle of an id.

    """

    def __init__(self, make: Callable[[str], Any]) -> None:
        self._make = make
        self._items: list[Any] = []

    def append_id(self, task_id: str) -> None:
        """Append the handle of a task.

        Args:
            task_id: The task's id.
        """
        self._items.append(task_id)

    def extend_ids(self, task_ids: Iterable[str]) -> None:
        """Append the handles of tasks.

        Args:
            task_ids: The tasks' ids.
        """
        self._items.extend(task_ids)

    def _handle(self, index: int) -> Any:
        item = self._items[index]
        if isinstance(item, str):
            item = self._items[index] = self._make(item)
        return item

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._handle(at) for at in range(*index.indices(len(self._items)))]
        return self._handle(index)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._items[index] = value

    def __delitem__(self, index: Any) -> None:
        del self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def insert(self, index: int, value: Any) -> None:
        """Insert a handle."""
        self._items.insert(index, value)

    def __iter__(self) -> Iterator[Any]:
        return (self._handle(index) for index in range(len(self._items)))

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Iterable) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as any list

    def __reduce__(self) -> Any:
        return list, (list(self),)

    def __repr__(self) -> str:
        return repr(list(self))
