"""The same work on Celery, on celeriac and on bare clients, interleaved; every goal and its value.

``make versus`` measures every row of the table, ``make versus ARGS="--only publish,drain --rounds 5
--quick 4"`` some of them with a quarter of the work, ``make versus ARGS=--list`` names them.
``--page`` writes docs/performance/versus.md, its charts and its raw figures.

A row's sides take turns at being first. A ratio is taken within a round; what is shown is the
median over the rounds with its ends. The databases 14 and 15 of the Redis are emptied.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import subprocess
import sys
import time
import traceback
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kombu
import redis

sys.path.append(str(Path(__file__).resolve().parents[1]))  # report: what the benches share
import page
from report.machine import commit, machine
from rows import table
from surroundings import Missing, amqp_url, redis_url

if TYPE_CHECKING:
    from goals import Row, Values

PACKAGES = ("celeriac", "celery", "kombu", "redis", "tarsk-redis", "dramatiq", "huey")


class Run:
    """Everything that is measured, as it comes."""

    def __init__(self, rows: list[Row], rounds: int, quick: float) -> None:
        self.rows, self.rounds, self.quick = rows, rounds, quick
        self.values: dict[str, Values] = {
            row.name: defaultdict(lambda: defaultdict(list)) for row in rows
        }
        #: Why a side has no figures.
        self.trouble: dict[str, dict[str, str]] = defaultdict(dict)

    def go(self) -> None:
        """Measure all rounds."""
        for number in range(self.rounds):
            for row in self.rows:
                if row.rounds is None or number < row.rounds:
                    self.round(row, number)

    def round(self, row: Row, number: int) -> None:
        """Measure all sides of a row once, beginning with another one each time."""
        sides = list(row.sides)
        first = number % len(sides)
        for side in sides[first:] + sides[:first]:
            began_s = time.perf_counter()
            self.side(row, side)
            taken_s = time.perf_counter() - began_s
            say(f"round {number + 1}/{self.rounds}: {row.name}: {side} ({taken_s:.1f} s)")

    def side(self, row: Row, side: str) -> None:
        """Measure one side of a row once."""
        if side in self.trouble[row.name]:
            return
        try:
            found = row.sides[side]()
        except Missing as exc:
            self.trouble[row.name][side] = f"missing: {exc}"
        except Exception as exc:  # noqa: BLE001 - the other rows are measured all the same
            say(traceback.format_exc())
            self.trouble[row.name][side] = f"failed: {type(exc).__name__}: {exc}"[:600]
        else:
            for figure, value in found.items():
                self.values[row.name][side][figure].append(value)

    def reported(self) -> list[dict[str, Any]]:
        """The rows as JSON carries them."""
        return [
            {
                "name": row.name,
                "what": row.what,
                "sides": list(row.sides),
                "values": self.values[row.name],
                "trouble": self.trouble[row.name],
                "goals": [
                    {
                        "asked": goal.asked(),
                        "unit": goal.unit,
                        "figure": goal.figure,
                        "found": goal.found(self.values[row.name]),
                    }
                    for goal in row.goals
                ],
                "rounds": min(self.rounds, row.rounds or self.rounds),
                "quick": self.quick,
                "commit": commit(),
            }
            for row in self.rows
        ]


def servers() -> dict[str, str]:
    """The versions of the servers."""
    with redis.Redis.from_url(redis_url("celeriac")) as client:
        found = {"Redis": client.info("server")["redis_version"]}
    with kombu.Connection(amqp_url()) as connection:
        connection.connect()
        properties = connection.connection.server_properties
    return {**found, properties["product"]: properties["version"]}


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """Measure what was asked for."""
    wanted = given.only.split(",")
    rows = [row for row in table(given.quick) if any(one in row.name for one in wanted)]
    if not rows:
        sys.exit(f"versus: no row is called {given.only!r}; --list names them")
    run = Run(rows, given.rounds, given.quick)
    started_s, load = time.monotonic(), os.getloadavg()[0]
    try:
        run.go()
    except KeyboardInterrupt:
        say("interrupted: what was measured until here is reported")
    return {
        "command": f"make versus ARGS={shlex.quote(shlex.join(sys.argv[1:]))}",
        "finished": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "taken_min": round((time.monotonic() - started_s) / 60, 1),
        "load_before": round(load, 1),
        "machine": {**machine(*PACKAGES), "servers": servers(), "commit": commit()},
        "compiler": rustc(),
        "rows": run.reported(),
    }


def rustc() -> str:
    """The compiler of the core."""
    done = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def merged(report: dict[str, Any], file: Path) -> dict[str, Any]:
    """Keep the rows of an earlier report that were not measured again."""
    if not file.exists():
        return report
    earlier = {row["name"]: row for row in json.loads(file.read_text())["rows"]}
    earlier.update((row["name"], row) for row in report["rows"])
    order = {row.name: number for number, row in enumerate(table(1))}
    rows = [row for name, row in earlier.items() if name in order]
    return {**report, "rows": sorted(rows, key=lambda row: order[row["name"]])}


def say(words: str) -> None:
    """Tell how far we are."""
    print(words, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="rows whose name contains this; commas between")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", type=float, default=1.0, help="divide the work by this")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--keep", action="store_true", help="keep the file's other rows")
    parser.add_argument("--page", action="store_true", help="write the documentation's page")
    parser.add_argument("--read", type=Path, help="figures of an earlier run, instead of a new one")
    return parser.parse_args()


def main() -> int:
    """Measure and report.

    Returns:
        1 where something failed; a goal that is missed is no failure.
    """
    given = arguments()
    if given.list:
        print("\n".join(f"{row.name:40} {row.what}" for row in table(1)))
        return 0
    report = json.loads(given.read.read_text()) if given.read else measured(given)
    if given.keep:
        report = merged(report, given.json or page.RAW)
    for file in filter(None, (given.json, page.RAW if given.page else None)):
        file.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    print(page.text(report))
    if given.page:
        page.write(report)
    return int(
        any(why.startswith("failed") for row in report["rows"] for why in row["trouble"].values())
    )


if __name__ == "__main__":
    sys.exit(main())
