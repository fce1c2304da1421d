"""Bars of the page: one chart for each kind of work."""

from __future__ import annotations

import math
import statistics
from typing import Any

from report.svg import COLOURS, OTHERS, bar, document, line, short, text

#: Beginning of the rows' names, figure, heading.
KINDS = {
    "publish": ("publish ", "per_s", "messages published a second"),
    "drain": ("drain ", "per_s", "tasks executed a second"),
    "latency": ("latency ", "p50_ms", "delay().get(), ms, median"),
}
BRIEF = {
    "--prefetch-multiplier 64": "x64",
    "default multiplier (4)": "x4",
    "multiplier 64": "x64",
    "drain, ": "",
    "publisher context": "publisher",
    "delay().get(), ": "",
    ", two processes, results off: other queues, each at its defaults": ": other queues",
}
MOST_LETTERS = 56
LEFT, WIDTH, BAR, GAP, TOP = 330, 420, 11, 10, 44


def charts(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The charts by name; one that has no rows is not drawn."""
    found = {}
    for name, (begin, figure, head) in KINDS.items():
        of_kind = [row for row in rows if row["name"].startswith(begin)]
        if any(medians(row, figure) for row in of_kind):
            found[name] = drawn(of_kind, figure, head)
    return found


def medians(row: dict[str, Any], figure: str) -> dict[str, float]:
    """The median of each side that has the figure."""
    return {
        side: statistics.median(row["values"][side][figure])
        for side in row["sides"]
        if row["values"].get(side, {}).get(figure)
    }


def drawn(rows: list[dict[str, Any]], figure: str, head: str) -> str:
    """Groups of horizontal bars on a logarithmic axis."""
    groups = [(row["what"].replace("`", ""), medians(row, figure)) for row in rows]
    groups = [(what, found) for what, found in groups if found]
    values = [value for _, found in groups for value in found.values()]
    low, high = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values)))
    bars = sum(len(found) for _, found in groups)
    height = TOP + bars * (BAR + 2) + len(groups) * GAP + 24

    def place(value: float) -> float:
        return LEFT + WIDTH * math.log(value / low) / math.log(high / low)

    parts = [text(10, 18, f"{head} (logarithmic axis, medians)")]
    tick = low
    while tick <= high * 1.001:
        x = place(tick)
        parts.append(line((x, TOP - 8), (x, height - 20), 'stroke="#ddd"'))
        parts.append(text(x, height - 6, short(tick), "#666", anchor="middle"))
        tick *= 10
    y = float(TOP)
    for what, found in groups:
        parts.append(text(10, y + BAR - 1, shortened(what)))
        for side, value in found.items():
            end = max(place(value), LEFT + 1)
            parts.append(bar(LEFT, y, end - LEFT, BAR, COLOURS.get(side, OTHERS)))
            parts.append(text(end + 4, y + BAR - 1, f"{short(value)} {side}", "#444"))
            y += BAR + 2
        y += GAP
    return document(LEFT + WIDTH + 130, height, parts)


def shortened(what: str) -> str:
    """A heading that fits beside its bars."""
    for long, brief in BRIEF.items():
        what = what.replace(long, brief)
    return what if len(what) <= MOST_LETTERS else f"{what[: MOST_LETTERS - 1]}…"
