"""What a canvas costs as it grows, on Celery and on celeriac, in turns in one run.

``make bench-canvas ARGS="--only chain_of --json figures.json"``

Every figure comes from a process of its own; broker and results are on one Redis; the worker has
the solo pool. ``--page`` writes docs/performance/canvas.md and its chart.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

sys.path.append(str(Path(__file__).resolve().parents[1]))  # report: what the benches share
import page

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
DEADLINE_S = 120.0
READY_S = 30.0
SIDES = ("celery", "celeriac")
DATABASES = {"celery": 14, "celeriac": 15}
#: Sizes of each canvas for both, and celeriac's own.
SIZES = {
    "chain_of": ((250, 500, 1_000), ()),
    "group_of": ((1_250, 2_500, 5_000), (10_000, 100_000)),
    "chord_of": ((1_250, 2_500, 5_000, 10_000), ()),
    "chords_in_a_row": ((1, 2, 3, 5), (10, 20)),
    "groups_in_groups": ((5, 10, 20), (40,)),
}
#: Larger ones Celery did not run to the end in DEADLINE_S on a loaded machine of two cores.
SIZES_OF_RUN = {
    "group_of": ((1_250, 2_500), (5_000, 10_000, 100_000)),
    "chord_of": ((625, 1_250), (2_500, 5_000, 10_000)),
}
PHASES = ("build", "freeze", "serialize", "send", "run")


def environment(flavour: str) -> dict[str, str]:
    """Variables for the processes of one side."""
    server = os.environ.get("CELERIAC_TEST_REDIS", "redis://127.0.0.1:6379")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CELER")}
    return {
        **kept,
        "CANVAS_FLAVOUR": flavour,
        "CANVAS_URL": f"{server}/{DATABASES[flavour]}",
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def emptied(flavour: str) -> Iterator[None]:
    """An empty database, emptied afterwards."""
    with redis.Redis.from_url(environment(flavour)["CANVAS_URL"]) as client:
        client.flushdb()
        try:
            yield
        finally:
            client.flushdb()


@contextmanager
def worker(flavour: str) -> Iterator[int]:
    """A worker that is ready.

    Yields:
        The id of its process.
    """
    command = [sys.executable, "-m", flavour, "-A", "canvases", "worker", "-l", "WARNING"]
    command += ["-P", "solo", "-n", f"{uuid.uuid4().hex[:8]}@here"]
    process = subprocess.Popen(
        command,
        env=environment(flavour),
        cwd=HERE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_ready(flavour, process)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def wait_until_ready(flavour: str, process: subprocess.Popen[str]) -> None:
    """Wait until a worker answers a ping."""
    code = "import canvases, sys; sys.exit(not canvases.app.control.ping(timeout=0.5))"
    give_up_s = time.monotonic() + READY_S
    while subprocess.run(
        [sys.executable, "-c", code], env=environment(flavour), cwd=HERE, check=False
    ).returncode:
        if time.monotonic() > give_up_s or process.poll() is not None:
            raise RuntimeError(f"the worker of {flavour} is not ready")


def measured(flavour: str, name: str, size: int, phase: str) -> dict[str, float] | None:
    """One measurement; None where it took too long or failed."""
    with emptied(flavour):
        if phase != "run":
            return asked(flavour, name, size, phase, "self")
        with worker(flavour) as pid:
            return asked(flavour, name, size, phase, str(pid))


def asked(flavour: str, name: str, size: int, phase: str, pid: str) -> dict[str, float] | None:
    command = [sys.executable, "-W", "ignore", str(HERE / "measure.py"), name, str(size), phase]
    try:
        done = subprocess.run(
            command,
            env={**environment(flavour), "CANVAS_WORKER": pid},
            cwd=HERE,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=True,
        )
    except subprocess.TimeoutExpired:
        print(f"  more than {DEADLINE_S:.0f} s", file=sys.stderr)
        return None
    except subprocess.CalledProcessError as error:
        print(f"  failed: {error.stderr[-500:]}", file=sys.stderr)
        return None
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def best(rounds: list[dict[str, float] | None]) -> dict[str, float] | None:
    """The smallest of each figure: what disturbs a measurement only adds."""
    found = [figures for figures in rounds if figures is not None]
    if not found:
        return None
    return {key: min(figures[key] for figures in found) for key in found[0]}


def all_measured(only: str, rounds: int) -> Iterator[list[dict[str, Any]]]:
    """Everything, phase by phase, as rows of canvas, size, phase, side and figures."""
    for name, usual in SIZES.items():
        for phase in PHASES:
            if only not in f"{name} {phase}":
                continue
            both, ours = (SIZES_OF_RUN if phase == "run" else SIZES).get(name, usual)
            rows: list[dict[str, Any]] = []
            for size in (*both, *ours):
                sides = SIDES if size in both else SIDES[1:]
                tries: dict[str, list[Any]] = {flavour: [] for flavour in sides}
                for number in range(rounds):
                    for flavour in sides if number % 2 == 0 else sides[::-1]:
                        print(f"{name} {size} {phase}: {flavour}", file=sys.stderr)
                        tries[flavour].append(measured(flavour, name, size, phase))
                rows += [
                    {"canvas": name, "size": size, "phase": phase, "side": flavour,
                     "figures": best(tries[flavour])}
                    for flavour in sides
                ]  # fmt: skip
            yield rows


def machine() -> dict[str, Any]:
    """What the figures were measured with."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        **{name: importlib.metadata.version(name) for name in ("celery", "kombu", "celeriac")},
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="", help="canvases and phases whose name contains this")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--page", action="store_true", help="write the documentation's page")
    parser.add_argument("--read", type=Path, help="figures of an earlier run, instead of a new one")
    given = parser.parse_args()
    if given.read:
        report = json.loads(given.read.read_text())
    else:
        report = {"machine": machine(), "rows": []}
        for rows in all_measured(given.only, given.rounds):
            report["rows"] += rows
            if given.json:
                given.json.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["machine"]))
    print(page.table(report["rows"]))
    if given.page:
        page.write(report)


if __name__ == "__main__":
    main()
