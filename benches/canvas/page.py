"""Figures of canvases as a table, and as the page docs/performance/canvas.md."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import chart

DOCS = Path(__file__).resolve().parents[2] / "docs" / "performance"
WHAT = {
    "chain_of": "a chain, of steps",
    "group_of": "a group from a generator, of members",
    "chord_of": "a chord, of members",
    "chords_in_a_row": "chords of ten tasks in a row, of chords",
    "groups_in_groups": "groups in groups, of levels",
}
DONE = {
    "build": "made",
    "freeze": "frozen",
    "serialize": "serialized",
    "send": "sent",
    "run": "sent, run and joined",
}
COLUMNS = ("s", "mb", "worker_mb", "bytes")
UNITS = {"s": 1e3, "mb": 1.0, "worker_mb": 1.0, "bytes": 1e-3}
HEADS = ("time, ms", "peak, MB", "worker's peak, MB", "on the wire, kB")
#: A peak below this is what the allocator had at hand.
LEAST_MB = 0.5


def table(rows: list[dict[str, Any]]) -> str:
    """All figures, one line each."""
    lines = []
    for row in rows:
        figures = row["figures"] or {}
        shown = " ".join(
            f"{figures[key] * UNITS[key]:14.1f}" if key in figures else " " * 14 for key in COLUMNS
        )
        what = f"{row['canvas']} {row['size']} {row['phase']}"
        lines.append(f"{what:34} {row['side']:9} {shown if figures else 'failed'}")
    head = " ".join(f"{name:>14}" for name in ("ms", "MB", "worker's MB", "kB"))
    return "\n".join([f"{'':44} {head}", *lines])


def write(report: dict[str, Any]) -> None:
    """Write the page's figures and its chart."""
    rows = report["rows"]
    page = DOCS / "canvas.md"
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{shown(report)}\n\n{END}{after}")
    (DOCS / "canvas.svg").write_text(chart.drawn(rows))


BEGIN = "<!-- figures: make bench-canvas ARGS=--page -->"
END = "<!-- end of the figures -->"


def shown(report: dict[str, Any]) -> str:
    """The machine, and a table for each canvas."""
    machine = report["machine"]
    parts = [
        ", ".join([
            f"Celery {machine['celery']}", f"celeriac {machine['celeriac']}",
            f"CPython {machine['python']}", f"{machine['cores']} cores", f"{machine['system']}.",
        ])
    ]  # fmt: skip
    for canvas, what in WHAT.items():
        rows = [row for row in report["rows"] if row["canvas"] == canvas]
        if rows:
            parts.append(f"### {what[0].upper()}{what[1:].rpartition(', of')[0]}\n")
            parts[-1] += f"\n{of_canvas(rows, what.rpartition(', of ')[2])}"
    return "\n\n".join(parts)


def of_canvas(rows: list[dict[str, Any]], unit: str) -> str:
    """The table of one canvas: the largest size of both, and that of celeriac alone."""
    lines = [
        f"| {unit} | | "
        + " | ".join(f"{head}: Celery | celeriac" for head in HEADS)
        + " | growth |",
        "|---:|---|" + "---:|" * (2 * len(HEADS) + 1),
    ]
    for phase, done in DONE.items():
        of_phase = [row for row in rows if row["phase"] == phase]
        found = {(row["size"], row["side"]): row["figures"] for row in of_phase}
        sizes = sorted({size for size, _ in found})
        common = [size for size in sizes if (size, "celery") in found]
        for size in sorted({*common[-1:], *sizes[-1:]}):
            cells = [
                cell(found.get((size, side)), key, is_asked=(size, side) in found)
                for key in COLUMNS
                for side in ("celery", "celeriac")
            ]
            lines.append(f"| {size:,} | {done} | {' | '.join(cells)} | {growth(found)} |")
    return "\n".join(lines)


def cell(figures: dict[str, float] | None, key: str, *, is_asked: bool) -> str:
    """One figure."""
    if not is_asked:
        return ""
    if figures is None:
        return "failed"
    if key not in figures:
        return ""
    value = figures[key] * UNITS[key]
    if key in {"mb", "worker_mb"} and value < LEAST_MB:
        return f"< {LEAST_MB}"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def growth(found: dict[tuple[int, str], dict[str, float] | None]) -> str:
    """The power of the size that celeriac's time grows with, over all sizes: 1 is linear."""
    points = [
        (math.log(size), math.log(figures["s"]))
        for (size, side), figures in found.items()
        if side == "celeriac" and figures
    ]
    if len(points) < 2:
        return ""
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    above = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return f"{above / sum((x - mean_x) ** 2 for x, _ in points):.1f}"
