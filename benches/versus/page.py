"""The figures as text, and as the page docs/performance/versus.md with its charts."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import chart
from goals import UNITS, number

DOCS = Path(__file__).resolve().parents[2] / "docs" / "performance"
RAW = DOCS / "versus.json"
BEGIN = "<!-- figures: make versus ARGS=--page -->"
END = "<!-- end of the figures -->"
WORDS = {
    "per_s": "a second",
    "cpu_us": "µs CPU each",
    "p50_ms": "ms, p50",
    "p99_ms": "ms, p99",
    "pss_mb": "MB",
    "import_ms": "ms",
    "first_ms": "ms",
    "ready_ms": "ms",
    "sent_per_s": "sent a second",
    "run_per_s": "executed a second",
    "sent_bodies": "memory of one call, in bodies",
    "run_bodies": "memory of one execution, in bodies",
    "growth": "highest over first",
    "cpu_percent": "% CPU",
    "wakeups_per_s": "wake-ups a second",
    "scripts": "scripts a message",
    "scripts_per_s_idle": "scripts a second, nobody publishing",
}


def text(report: dict[str, Any]) -> str:
    """Every figure and every goal, for a terminal."""
    lines = []
    for row in report["rows"]:
        lines.append(f"\n{row['what']}")
        for figure in figures_of(row):
            shown = "   ".join(f"{side} {value}" for side, value in sides_of(row, figure))
            lines.append(f"    {words(figure):34} {shown}")
        lines += [f"    {side}: {why}" for side, why in row["trouble"].items()]
        lines += [
            f"    {verdict(goal):8} {goal['asked']:42} {value_of(goal)}" for goal in row["goals"]
        ]
    return "\n".join([*lines, "", summary(report)])


def summary(report: dict[str, Any]) -> str:
    """How many goals are met."""
    verdicts = [verdict(goal) for row in report["rows"] for goal in row["goals"]]
    met, missed = verdicts.count("met"), verdicts.count("missed")
    rest = len(verdicts) - met - missed
    return f"{met} goals met, {missed} missed" + (f", {rest} not measured" if rest else "")


def write(report: dict[str, Any]) -> None:
    """Write the page's figures and its charts."""
    file = DOCS / "versus.md"
    before, _, rest = file.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    file.write_text(f"{before}{BEGIN}\n\n{shown(report)}\n\n{END}{after}")
    for name, drawn in chart.charts(report["rows"]).items():
        (DOCS / f"versus-{name}.svg").write_text(drawn)


def shown(report: dict[str, Any]) -> str:
    """The page's part that is measured."""
    return "\n\n".join([
        provenance(report),
        f"**{summary(report)}.**",
        *(f"![{chart.KINDS[name][2]}](versus-{name}.svg)" for name in chart.charts(report["rows"])),
        goals_table(report["rows"]),
        missed_goals(report["rows"]),
        "## All figures\n\nMedians over the rounds, and the lowest and highest round.",
        figures_table(report["rows"]),
    ])  # fmt: skip


def provenance(report: dict[str, Any]) -> str:
    """What was measured, with what, how."""
    on = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in on["versions"].items())
    servers = ", ".join(f"{name} {version}" for name, version in on["servers"].items())
    took = f"finished {report['finished']} after {report['taken_min']:g} minutes"
    place = f"{on['cores']} cores of {on['processor']}, {on['system']}, CPython {on['python']}"
    lines = [
        f"`{report['command']}`, {took}, commit {on['commit']}.",
        f"{place}, {report['compiler']}; {servers}; {versions}.",
        f"Load of the machine before the run: {report['load_before']}.",
    ]
    kinds = {(row["rounds"], row["quick"], row["commit"]) for row in report["rows"]}
    if len({kind[1:] for kind in kinds}) > 1:
        lines.append(
            "The rows are not of one run: " + "; ".join(
                f"{len(names)} of commit {commit} with the work divided by {quick:g}"
                for (quick, commit), names in by_kind(report["rows"]).items()
            ) + "."
        )  # fmt: skip
    elif (quick := report["rows"][0]["quick"]) != 1:
        lines.append(f"The work was divided by {quick:g}: such figures scatter more.")
    return "\n\n".join(lines)


def by_kind(rows: list[dict[str, Any]]) -> dict[tuple[float, str], list[str]]:
    """Names of rows by what they were measured with."""
    found: dict[tuple[float, str], list[str]] = {}
    for row in rows:
        found.setdefault((row["quick"], row["commit"]), []).append(row["name"])
    return found


def goals_table(rows: list[dict[str, Any]]) -> str:
    """Every goal beside its value."""
    lines = ["| what | goal | measured | |", "|---|---|---:|---|"]
    for row in rows:
        for place, goal in enumerate(row["goals"]):
            what = row["what"] if place == 0 else ""
            mark = {"met": "met", "missed": "**missed**"}.get(verdict(goal), verdict(goal))
            lines.append(f"| {what} | {goal['asked']} | {value_of(goal)} | {mark} |")
    return "\n".join(lines)


def missed_goals(rows: list[dict[str, Any]]) -> str:
    """What is missed, and what could not be measured, in so many words."""
    lines = [
        f"* {row['what']}: {goal['asked']} was the goal, {value_of(goal)} was measured."
        for row in rows
        for goal in row["goals"]
        if verdict(goal) == "missed"
    ]
    lines += [
        f"* {row['what']}: no figures of {side} ({why.splitlines()[0]})."
        for row in rows
        for side, why in row["trouble"].items()
    ]
    return "\n".join(["## Missed", "", *(lines or ["Nothing."])])


def figures_table(rows: list[dict[str, Any]]) -> str:
    """All that was measured, the bare clients and other queues included."""
    lines = ["| what | | Celery | celeriac | others |", "|---|---|---:|---:|---|"]
    for row in rows:
        for place, figure in enumerate(figures_of(row)):
            found = dict(sides_of(row, figure))
            celery, ours = found.pop("celery", ""), found.pop("celeriac", "")
            others = "; ".join(f"{side} {value}" for side, value in found.items())
            what = row["what"] if place == 0 else ""
            lines.append(f"| {what} | {words(figure)} | {celery} | {ours} | {others} |")
    return "\n".join(lines)


def figures_of(row: dict[str, Any]) -> list[str]:
    """The names of a row's figures, in the order in which they were given."""
    return list(dict.fromkeys(name for one in row["values"].values() for name in one))


def sides_of(row: dict[str, Any], figure: str) -> list[tuple[str, str]]:
    """A figure of every side that has it: the median, and the ends."""
    found = []
    for side in row["sides"]:
        values = row["values"].get(side, {}).get(figure)
        if values:
            ends = f" ({number(min(values))} – {number(max(values))})" if len(values) > 1 else ""
            found.append((side, number(statistics.median(values)) + ends))
    return found


def words(figure: str) -> str:
    """A figure's name for a reader."""
    name, _, more = figure.partition(" ")
    return f"{WORDS.get(name, name)} {more}".strip()


def verdict(goal: dict[str, Any]) -> str:
    """One word."""
    found = goal["found"]
    return "not measured" if found is None else "met" if found["is_met"] else "missed"


def value_of(goal: dict[str, Any]) -> str:
    """What was measured, in the goal's unit, and its ends."""
    found = goal["found"]
    if found is None:
        return ""
    factor = UNITS.get(goal["unit"], 1.0)
    low, high = (number(end * factor) for end in found["ends"])
    ends = f" ({low} – {high})" if low != high else ""
    return f"{number(found['value'] * factor)} {goal['unit']}{ends}"
