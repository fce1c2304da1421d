"""A mapping that forgets what was used longest ago."""

from __future__ import annotations

import threading
from collections import OrderedDict, UserDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ("Recent",)


class Recent(UserDict[Any, Any]):
    """A mapping of bounded size: what was used longest ago leaves first.

    Args:
        limit: How many entries; None for no bound.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.mutex = threading.RLock()
        super().__init__()
        self.data: OrderedDict[Any, Any] = OrderedDict()  # pyright: ignore[reportIncompatibleVariableOverride]

    def __getitem__(self, key: Any) -> Any:
        with self.mutex:
            value = self.data[key]
            self.data.move_to_end(key)
            return value

    def __setitem__(self, key: Any, value: Any) -> None:
        with self.mutex:
            self.data[key] = value
            self.data.move_to_end(key)
            while self.limit and len(self.data) > self.limit:
                self.data.popitem(last=False)

    def __iter__(self) -> Iterator[Any]:
        with self.mutex:
            return iter(list(self.data))

    def items(self) -> Any:
        """List the entries.

        Returns:
            Pairs, as they are now.
        """
        with self.mutex:
            return list(self.data.items())

    def values(self) -> Any:
        """List the values.

        Returns:
            Them, as they are now.
        """
        with self.mutex:
            return list(self.data.values())

    def __getstate__(self) -> dict[str, Any]:
        return {"limit": self.limit, "data": self.data}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state, mutex=threading.RLock())
