"""Files that processes append to: a line is there even if its writer is killed right after."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Note(NamedTuple):
    """One line.

    Attributes:
        at_s: When, on the clock all processes of a machine share.
        what: ``try``, ``sent``, ``unsent``; ``start``, ``done``.
        task: The id of the task.
        who: The publisher, or the worker's name without its host.
        more: Of a start: ``again`` where the broker said that it was delivered before.
    """

    at_s: float
    what: str
    task: str
    who: str
    more: str


class Journal:
    """Appends to a file, in one write a line."""

    def __init__(self, path: str | Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, what: str, task: str, who: str, more: str = "-") -> None:
        """Write one line."""
        line = f"{time.clock_gettime(time.CLOCK_MONOTONIC):.4f} {what} {task} {who} {more}\n"
        os.write(self._file, line.encode())


class Reader:
    """Reads what others append, a bit at a time."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open("rb")
        self._rest = b""
        self.notes: list[Note] = []

    def read(self) -> list[Note]:
        """What is new."""
        data = self._rest + self._file.read()
        whole, _, self._rest = data.rpartition(b"\n")
        new = []
        for line in whole.decode().splitlines():
            at, what, task, who, more = line.split()
            new.append(Note(float(at), what, task, who, more))
        self.notes += new
        return new

    def close(self) -> None:
        """Close the file."""
        self._file.close()
