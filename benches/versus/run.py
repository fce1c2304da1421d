"""The same work on Celery and on celeriac, interleaved in one run; medians and ratios.

``make versus ARGS="--broker sqlite --rounds 5 --json figures.json"``

With ``--broker sqlite`` celeriac works on its embedded queue, and Celery, which has none, stays on
Redis. With ``--broker amqp`` both are on RabbitMQ, results on Redis; rows named (un)confirmed ask
the same of both, elsewhere each has its default: celeriac confirms each message, Celery none.
Ratios say how many times better celeriac is: more of what is counted in a second, less of what is
counted in ms or MB.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import workloads
from workloads import Side

if TYPE_CHECKING:
    from collections.abc import Callable

Figures = dict[str, float]
# Of both packages; the other one shows what larger batches give.
DEFAULT_MULTIPLIER = 4
MORE_IS_BETTER = {"per_s"}


def measurements(quick: int) -> dict[str, Callable[[Side], Figures]]:
    """Every measurement by the name it has in the table; `quick` divides the work."""
    publish, drain, calls = 2000 // quick, 2000 // quick, 400 // quick
    return {
        "import and app": workloads.importing,
        "publish, plain delay()": lambda side: workloads.publishing(side, "publish", publish),
        "publish, ignored result": lambda side: workloads.publishing(
            side, "publish_ignored", publish
        ),
        "publish, loop on one connection": lambda side: workloads.publishing(
            side, "publish_in_a_loop", publish * 2
        ),
        **{
            f"drain, {pool}{', ignored' * (not results)}, prefetch x{multiplier}": partial(
                workloads.draining,
                pool=pool,
                count=drain * (4 if multiplier > DEFAULT_MULTIPLIER else 1),
                results=results,
                multiplier=multiplier,
            )
            for multiplier in (DEFAULT_MULTIPLIER, 64)
            for pool in ("solo", "prefork", "threads")
            for results in (True, False)
        },
        "delay().get(), prefork 2": lambda side: workloads.answering(side, "prefork", calls),
        "memory, prefork 2": lambda side: workloads.remembering(side, 1000 // quick),
    }


def confirming(quick: int) -> dict[str, Callable[[Side], Figures]]:
    """Publishing where both confirm each message, and where neither does."""
    count = 1000 // quick
    return {
        f"publish, {name}, {'confirmed' if confirms else 'unconfirmed'}": partial(
            workloads.publishing, workload=workload, count=count, confirms=confirms
        )
        for confirms in (True, False)
        for name, workload in (("delay()", "publish_ignored"), ("loop", "publish_in_a_loop"))
    }


def measured(chosen: dict[str, Callable[[Side], Figures]], sides: list[Side], rounds: int):
    """Run everything `rounds` times, the two sides taking turns at being first.

    Returns:
        ``{(measurement, figure): {flavour: [values]}}``.
    """
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number in range(rounds):
        for name, measure in chosen.items():
            for side in sides if number % 2 == 0 else sides[::-1]:
                print(f"round {number + 1}/{rounds}: {name}: {side.flavour}", file=sys.stderr)
                for figure, value in measure(side).items():
                    found[name, figure][side.flavour].append(value)
    return found


def row(name: str, figure: str, values: dict[str, list[float]]) -> dict[str, object]:
    """Medians, spreads and the ratio of one figure."""
    theirs, ours = (statistics.median(values[flavour]) for flavour in ("celery", "celeriac"))
    return {
        "workload": name,
        "figure": figure,
        "celery": theirs,
        "celeriac": ours,
        "ratio": ours / theirs if figure in MORE_IS_BETTER else theirs / ours,
        "spread": {flavour: [min(all_), max(all_)] for flavour, all_ in values.items()},
    }


def machine() -> dict[str, object]:
    """What the figures were measured with."""
    versions = {name: importlib.metadata.version(name) for name in ("celery", "kombu", "celeriac")}
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "versions": versions,
    }


def table(rows: list[dict[str, object]]) -> str:
    """The rows as text."""
    lines = [f"{'workload':34} {'figure':7} {'celery':>10} {'celeriac':>10} {'ratio':>7}"]
    for one in rows:
        numbers = f"{one['celery']:10.2f} {one['celeriac']:10.2f} {one['ratio']:6.1f}x"
        lines.append(f"{one['workload']:34} {one['figure']:7} {numbers}")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--broker", choices=["redis", "sqlite", "amqp"], default="redis")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", type=int, default=1, help="divide the work by this")
    parser.add_argument("--only", default="", help="measurements whose name contains this")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args()


def main() -> None:
    """Measure and report."""
    given = arguments()
    server = os.environ.get("CELERIAC_TEST_REDIS", "redis://127.0.0.1:6379")
    rabbitmq = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
    sides = {
        "redis": [Side("celery", f"{server}/14", 1), Side("celeriac", f"{server}/15", 8)],
        "sqlite": [
            Side("celery", f"{server}/14", 1),
            Side("celeriac", "sqlite:///{folder}/queue.db", 8),
        ],
        "amqp": [
            Side("celery", rabbitmq, 1, results=f"{server}/14"),
            Side("celeriac", rabbitmq, 4, results=f"{server}/15"),
        ],
    }[given.broker]
    every = measurements(given.quick)
    if given.broker == "amqp":
        every |= confirming(given.quick)
    chosen = {name: measure for name, measure in every.items() if given.only in name}
    rows = [row(*key, values) for key, values in measured(chosen, sides, given.rounds).items()]
    theirs = "amqp" if given.broker == "amqp" else "redis"
    print(f"celery on {theirs}, celeriac on {given.broker}; medians of {given.rounds} rounds")
    print(json.dumps(machine()))
    print(table(rows))
    if given.json:
        report = {"machine": machine(), "broker": given.broker, "rows": rows}
        given.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
