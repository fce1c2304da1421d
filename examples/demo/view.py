"""A live table of what happens: with rich on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

REFRESH_S = 0.1
PLAIN_EVERY_S = 1.0


@dataclass
class Row:
    """Counters of one kind of task."""

    name: str
    expects: str
    sent: int = 0
    answered: int = 0
    surprises: int = 0
    last: str = ""


class Plain:
    """One line a second, for logs."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows
        self._next_s = 0.0

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *exception: object) -> None:
        self._line()

    def refresh(self, _log: Iterable[str]) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + PLAIN_EVERY_S
            self._line()

    def _line(self) -> None:
        parts = (f"{row.name} {row.answered}/{row.sent}" for row in self._rows)
        print("  answered:", ", ".join(parts), flush=True)


class Live:
    """A table that redraws itself, and the worker's last lines below it."""

    def __init__(self, rows: list[Row]) -> None:
        from rich.live import Live as RichLive

        self._rows = rows
        self._live = RichLive(refresh_per_second=1 / REFRESH_S)

    def __enter__(self) -> Live:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def refresh(self, log: Iterable[str]) -> None:
        from rich.console import Group
        from rich.panel import Panel
        from rich.text import Text

        lines = Text("\n".join(log), style="dim", overflow="ellipsis", no_wrap=True)
        self._live.update(Group(self._table(), Panel(lines, title="worker", height=10)))

    def _table(self) -> object:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table = Table("task", "what is expected", "sent", "answered", "", "last answer")
        for row in self._rows:
            bar = ProgressBar(total=max(row.sent, 1), completed=row.answered, width=20)
            counts = (str(row.sent), str(row.answered))
            table.add_row(row.name, row.expects, *counts, bar, row.last)
        return table


def view_of(rows: list[Row]) -> Live | Plain:
    """The best view this output can show.

    Args:
        rows: Counters, changed by others while the view is shown.

    Returns:
        A context manager with `refresh(log_lines)`.
    """
    if sys.stdout.isatty():
        try:
            return Live(rows)
        except ImportError:
            pass
    return Plain(rows)
