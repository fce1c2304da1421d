"""What is to be known of a run: as text, and as a file that `tools/fault_run.py` reads."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from course import Course
    from judge import Verdict
    from yard import Yard

FOLDER = os.environ.get("CELERIAC_TEST_REPORTS", "")


def figures(made: Yard, course: Course, found: Verdict, left: dict[str, int]) -> dict[str, Any]:
    """All figures of a run.

    Args:
        made: Where it ran.
        course: What went wrong.
        found: What became of the tasks.
        left: What is still in the broker.

    Returns:
        What JSON can carry.
    """
    again = []
    for what in sorted({one.what for one in course.recoveries}):
        here = [one for one in course.recoveries if one.what == what]
        times = sorted(one.took_s for one in here if one.took_s is not None)
        again.append(
            {
                "what": what,
                "times": len(here),
                "never": len(here) - len(times),
                "median_s": round(times[len(times) // 2], 2) if times else None,
                "longest_s": round(times[-1], 2) if times else None,
                "limit_s": here[0].limit_s,
            }
        )
    return {
        "broker": made.broker,
        "subject": made.subject.name,
        "faults": len(course.faults),
        "kinds": dict(Counter(fault.what for fault in course.faults).most_common()),
        "confirmed": found.sent,
        "unconfirmed": found.unsent,
        "executed": found.executed,
        "lost": len(found.lost),
        "unfinished": found.unfinished,
        "twice": found.twice,
        "unexplained": len(found.unexplained),
        "ended by themselves": len(course.gone),
        "left": left,
        "again": again,
    }


def text(told: dict[str, Any]) -> str:
    """The figures for who watches."""
    kinds = ", ".join(f"{what} {count}" for what, count in told["kinds"].items())
    lines = [
        f"{told['broker']}, {told['subject']}: {told['faults']} faults ({kinds})",
        "  "
        + ", ".join(f"{name} {told[name]}" for name in ("confirmed", "unconfirmed", "executed")),
        "  "
        + ", ".join(
            f"{name} {told[name]}" for name in ("lost", "unfinished", "twice", "unexplained")
        ),
        f"  workers that ended by themselves {told['ended by themselves']}, left {told['left']}",
    ]
    lines += [
        f"  consumes after {one['what']}: {one['times']} times, median {one['median_s']} s,"
        f" longest {one['longest_s']} s, not within a minute {one['never']}"
        for one in told["again"]
    ]
    return "\n".join(lines)


def keep(told: dict[str, Any]) -> None:
    """Write the figures to a file, where somebody wants them."""
    if FOLDER:
        name = f"{told['subject']} {told['broker']}.json".lower().replace(",", "").replace(" ", "-")
        Path(FOLDER, name).write_text(json.dumps(told, indent=1), encoding="utf-8")


def keep_steady(broker: str, kills: int, found: Verdict, parts: list[tuple[int, float]]) -> None:
    """Write the figures of a steady load to a file, where somebody wants them."""
    if FOLDER:
        told = {
            "broker": broker,
            "kills": kills,
            "confirmed": found.sent,
            "lost": len(found.lost),
            "twice": found.twice,
            "memory_kb": [kb for kb, _ in parts],
            "tasks_per_s": [round(rate, 1) for _, rate in parts],
        }
        text = json.dumps(told, indent=1)
        Path(FOLDER, f"steady-{broker}.json").write_text(text, encoding="utf-8")
