"""The members of a group that was made from a generator: read when they are needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload


class LazyTasks(Sequence[Any]):
    """Tasks that are read from an iterable when somebody looks at them.

    A group of a hundred thousand members is sent while its generator runs, without ever being in
    memory as a whole: see `taken`. Everything else reads the rest of the generator first, and
    keeps it.

    Args:
        source: Yields signatures, or dictionaries of them.

    """

    def __init__(self, source: Iterable[Any]) -> None:
        self._source: Iterator[Any] = iter(source)
        self._read: list[Any] | None = None
        self._is_taken = False

    def first(self) -> Any:
        """Look at the first task; the rest stays unread.

        Returns:
            The task; None where there is none.
        """
        if self._read is not None:
            return self._read[0] if self._read else None
        if self._is_taken:
            return None
        found = next(self._source, None)
        self._source = itertools.chain([] if found is None else [found], self._source)
        return found

    def taken(self) -> Iterator[Any]:
        """Yield the tasks, keeping none of those that are not kept yet.

        Yields:
            Each task. Afterwards there are none, unless they had been looked at before.
        """
        if self._read is not None:
            yield from self._read
            return
        self._is_taken = True
        yield from self._source

    def read(self) -> list[Any]:
        """Read what is left of the source.

        Returns:
            All the tasks.

        Raises:
            ValueError: They were sent as they came, and are gone.
        """
        if self._read is None:
            if self._is_taken:
                message = (
                    "The tasks of this group came from a generator and were sent while it ran, so "
                    "that they need no memory; make the group of a list to use it again."
                )
                raise ValueError(message)
            self._read = list(self._source)
        return self._read

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.read()[index]

    def __len__(self) -> int:
        return len(self.read())

    def __iter__(self) -> Iterator[Any]:
        return iter(self.read())

    def __json__(self) -> list[Any]:
        """Write them as JSON does.

        Returns:
            A list.
        """
        return self.read()

    def __reduce__(self) -> Any:
        return list, (self.read(),)

    def __repr__(self) -> str:
        return "<tasks of a generator>" if self._read is None else repr(self._read)


def listed(tasks: Any) -> list[Any]:
    """Read tasks that may be lazy into a list that may be changed.

    Args:
        tasks: A list, a tuple, lazy tasks, or None.

    Returns:
        The list itself where it is one.
    """
    if isinstance(tasks, LazyTasks):
        return tasks.read()
    return tasks if isinstance(tasks, list) else list(tasks or ())
