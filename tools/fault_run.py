"""Let many things go wrong on all brokers at the same time, and write the tables for the docs.

``python tools/fault_run.py --faults 1000`` shares the faults among Redis, RabbitMQ and SQLite, each
in a process of its own with servers of its own (`tests/faults`). ``--of celery`` or ``--of
celery-late`` lets the same happen to the real Celery. Logs and figures of each broker go to
``--folder``; the tables are printed, and those of an earlier run with ``--tables``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TEST = ROOT / "tests" / "faults" / "test_random_faults.py"
#: How many of a hundred faults happen there.
SHARES = {"redis": 36, "rabbitmq": 34, "sqlite": 30}
NAMES = {"redis": "Redis", "rabbitmq": "RabbitMQ", "sqlite": "SQLite"}


def options() -> argparse.Namespace:
    """What the command line says.

    Returns:
        The options.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=1000, help="of all brokers together")
    parser.add_argument("--long-stops", type=int, default=1, help="of 90 s, on each broker")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--of", default="celeriac", choices=["celeriac", "celery", "celery-late"])
    parser.add_argument("--brokers", nargs="+", choices=list(SHARES))
    parser.add_argument("--folder", type=Path, default=ROOT / ".faults")
    parser.add_argument("--tables", action="store_true", help="print those of an earlier run")
    return parser.parse_args()


def begin(broker: str, count: int, given: argparse.Namespace) -> subprocess.Popen[bytes]:
    """Start the run of one broker.

    Args:
        broker: Its name.
        count: How much goes wrong.
        given: The options.

    Returns:
        Its process.
    """
    environment = {
        **os.environ,
        "CELERIAC_TEST_FAULTS": str(count),
        "CELERIAC_TEST_FAULTS_OF": given.of,
        "CELERIAC_TEST_LONG_STOPS": str(given.long_stops),
        "CELERIAC_TEST_SEED": str(given.seed),
        "CELERIAC_TEST_REPORTS": str(given.folder),
    }
    command = [sys.executable, "-m", "pytest", "-s", "-q", "-p", "no:cacheprovider", str(TEST)]
    command += ["-k", broker, "--basetemp", str(given.folder / f"tmp-{given.of}-{broker}")]
    with (given.folder / f"{given.of}-{broker}.log").open("wb") as log:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )


def run(given: argparse.Namespace) -> int:
    """Run all brokers at the same time.

    Args:
        given: The options.

    Returns:
        How many failed.
    """
    given.folder.mkdir(parents=True, exist_ok=True)
    brokers = given.brokers or [
        broker for broker in SHARES if given.of == "celeriac" or broker != "sqlite"
    ]
    whole = sum(SHARES[broker] for broker in brokers)
    begun_s, failed = time.monotonic(), 0
    running = {
        broker: begin(broker, round(given.faults * SHARES[broker] / whole), given)
        for broker in brokers
    }
    for broker, process in running.items():
        code = process.wait()
        failed += code != 0
        told = "passed" if code == 0 else f"FAILED: see {given.folder}/{given.of}-{broker}.log"
        print(f"{broker}: {told}", flush=True)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    today = datetime.datetime.now(tz=datetime.timezone.utc).date()
    minutes = (time.monotonic() - begun_s) / 60
    print(f"{today}, seed {given.seed}, {minutes:.0f} minutes, {os.cpu_count()} cores, load {load}")
    return failed


#: What does not apply.
NONE = "-"
TASKS = (
    "",
    "broker",
    "faults",
    "tasks confirmed",
    "lost",
    "executed twice",
    "without a reason",
    "left in the broker",
)
TIMES = (
    "",
    "broker",
    "fault",
    "times",
    "consumed again after: median",
    "longest",
    "not within a minute, or ended",
)


def table(head: tuple[str, ...], rows: list[list[Any]]) -> str:
    """A table in Markdown.

    Args:
        head: What stands above.
        rows: What stands below.

    Returns:
        Its lines.
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def tables(found: list[dict[str, Any]]) -> str:
    """What becomes of tasks, and how soon workers consume again.

    Args:
        found: The figures of each run.

    Returns:
        Two tables in Markdown.
    """
    tasks, times = [], []
    for told in found:
        who = [told["subject"], NAMES[told["broker"]]]
        reason = told["unexplained"] if told["subject"] == "celeriac" else NONE
        tasks.append(
            [
                *who,
                told["faults"],
                f"{told['confirmed']:,}",
                told["lost"],
                told["twice"],
                reason,
                sum(told["left"].values()),
            ]
        )
        for one in told["again"]:
            took = [
                NONE if one[name] is None else f"{one[name]:.2f} s"
                for name in ("median_s", "longest_s")
            ]
            times.append([*who, one["what"].replace("_", " "), one["times"], *took, one["never"]])
    return f"{table(TASKS, tasks)}\n\n{table(TIMES, times)}"


def main() -> int:
    """Run, and print the tables.

    Returns:
        How many brokers failed.
    """
    given = options()
    failed = 0 if given.tables else run(given)
    files = sorted(given.folder.glob("ce*.json"))
    print(tables([json.loads(file.read_text(encoding="utf-8")) for file in files]))
    return failed


if __name__ == "__main__":
    sys.exit(main())
