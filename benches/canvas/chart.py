"""A chart of the growth: one row for each canvas, one column for each figure, as SVG."""

from __future__ import annotations

import math
from typing import Any

from report.svg import COLOURS, document, line, short, span, text

#: Phase, figure and heading of each column.
COLUMNS = (
    ("send", "s", "sending, s"),
    ("send", "mb", "peak of sending, MB"),
    ("run", "s", "running, s"),
    ("run", "bytes", "on the wire, bytes"),
)
WIDTH, HEIGHT, LEFT, TOP, GAP_X, GAP_Y = 190, 120, 60, 60, 60, 60
LEAST = {"mb": 0.1}


def drawn(rows: list[dict[str, Any]]) -> str:
    """The chart of all canvases."""
    names = list(dict.fromkeys(row["canvas"] for row in rows))
    width = LEFT + len(COLUMNS) * (WIDTH + GAP_X)
    height = TOP + len(names) * (HEIGHT + GAP_Y)
    parts = [text(LEFT, 18, "Both axes are logarithmic; the dotted line is linear growth.")]
    for index, (side, colour) in enumerate(COLOURS.items()):
        parts.append(text(LEFT + 480 + 90 * index, 18, f"● {side}", colour))
    for number, name in enumerate(names):
        for column, (phase, key, head) in enumerate(COLUMNS):
            x, y = LEFT + column * (WIDTH + GAP_X), TOP + number * (HEIGHT + GAP_Y)
            of_panel = [r for r in rows if r["canvas"] == name and r["phase"] == phase]
            parts += panel(of_panel, key, x, y)
            parts.append(text(x, y - 8, f"{name.replace('_', ' ')}: {head}"))
    return document(width, height, parts)


def panel(rows: list[dict[str, Any]], key: str, left: int, top: int) -> list[str]:
    """One coordinate system."""
    lines = {
        side: [
            (r["size"], max(r["figures"][key], LEAST.get(key, 1e-9)))
            for r in rows
            if r["side"] == side and r["figures"]
        ]
        for side in COLOURS
    }
    points = [point for found in lines.values() for point in found]
    if not points:
        return []
    (least_x, most_x), (least_y, most_y) = (span(values) for values in zip(*points, strict=True))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + WIDTH * math.log(x / least_x) / math.log(most_x / least_x),
            top + HEIGHT - HEIGHT * math.log(y / least_y) / math.log(most_y / least_y),
        )

    parts = [
        f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#ccc"/>',
        text(left - 4, top + 10, short(most_y), anchor="end"),
        text(left - 4, top + HEIGHT, short(least_y), anchor="end"),
        text(left, top + HEIGHT + 14, short(least_x)),
        text(left + WIDTH, top + HEIGHT + 14, short(most_x), anchor="end"),
    ]
    for side, found in lines.items():
        if not found:
            continue
        at = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in sorted(found)))
        parts.append(
            f'<polyline points="{at}" fill="none" stroke="{COLOURS[side]}" stroke-width="1.8"/>'
        )
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{COLOURS[side]}"/>'
            for x, y in (place(*point) for point in found)
        ]
    first_x, first_y = min(lines["celeriac"] or points)
    end = min(most_x, first_x * most_y / first_y)
    linear = place(first_x, first_y), place(end, first_y * end / first_x)
    parts.append(line(*linear, 'stroke="#c33" stroke-dasharray="2 4"'))
    return parts
