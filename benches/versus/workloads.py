"""One measurement each of Celery and celeriac: start what it needs, measure, clean up."""

from __future__ import annotations

import subprocess
import sys
import time

from process_tree import cpu_s, forget_peak, peak_mb, pss_mb, wakeups
from surroundings import DEADLINE_S, Figures, Settings, Side, prepared

IMPORT = """
import time
started_s = time.perf_counter()
import {0}
{0}.Celery("x", broker="{1}", backend="{1}")
print(time.perf_counter() - started_s)
"""
#: How long an idle worker is left alone before it is looked at, and how long it is looked at.
SETTLE_S, LOOK_S = 3.0, 10.0


def publishing(side: Side, workload: str, seconds: float, settings: Settings) -> Figures:
    """Messages a second, nobody consuming; processor time of each in the producer."""
    with prepared(side, settings) as this:
        return this.produce(workload, seconds)


def draining(side: Side, pool: str, count: int, settings: Settings, *options: str) -> Figures:
    """Tasks a second that a worker takes from a full queue."""
    with prepared(side, settings) as this:
        this.produce("fill", count)
        level = "WARNING"
        if "--logfile" in options:
            level, options = "INFO", (*options, str(this.folder / "tasks.log"))
        this.start_worker(pool, *options, level=level)
        last_s, first_s = this.stamped("last"), this.stamped("first")
    return {"per_s": count / (last_s - first_s)}


def answering(side: Side, pool: str, seconds: float) -> Figures:
    """Milliseconds of `delay().get()`."""
    with prepared(side) as this:
        this.ready_worker(pool)
        return this.produce("latency", seconds)


def remembering(side: Side, pool: str, count: int) -> Figures:
    """Memory of a worker that has done some work."""
    with prepared(side) as this:
        this.produce("fill", count)
        worker = this.start_worker(pool)
        this.stamped("last")
        return {"pss_mb": pss_mb(worker.pid)}


def importing(side: Side, times: int) -> Figures:
    """The least time to import the package and make an application, in fresh interpreters."""
    code = IMPORT.format(side.flavour, "redis://127.0.0.1/15")
    found = [
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True,
            timeout=DEADLINE_S,
        ).stdout
        for _ in range(times)
    ]  # fmt: skip
    return {"import_ms": min(float(one) for one in found) * 1000}


def first_message(side: Side, times: int) -> Figures:
    """The least time of a process's first `delay()`."""
    with prepared(side) as this:
        return {"first_ms": min(this.produce("first", 0)["first_ms"] for _ in range(times))}


def starting(side: Side, pool: str, times: int) -> Figures:
    """The least time from the start of a worker's process until it is ready."""
    taken_ms = []
    for _ in range(times):
        with prepared(side) as this:
            started_s = time.time()
            this.ready_worker(pool)
            taken_ms.append((this.ready_times()[0] - started_s) * 1000)
    return {"ready_ms": min(taken_ms)}


def carrying(side: Side, size: int, count: int, seconds: float) -> Figures:
    """Publishing and executing tasks with a large argument, solo."""
    settings = Settings(results=False, payload_bytes=size)
    with prepared(side, settings) as this:
        found = this.produce("payload", seconds)
    with prepared(side, settings) as this:
        worker = this.ready_worker("solo")
        before_mb = forget_peak(worker.pid)
        this.produce("fill", 1)
        this.stamped("last")
        copies = (peak_mb(worker.pid) - before_mb) * 1e6 / size
    drained = draining(side, "solo", count, settings)
    figures = {"sent_per_s": found["per_s"], "run_per_s": drained["per_s"]}
    if "bodies" in found:
        figures |= {"sent_bodies": found["bodies"], "run_bodies": copies}
    return figures


def idling(side: Side, pool: str) -> Figures:
    """Processor time and wake-ups of a worker that has nothing to do."""
    with prepared(side) as this:
        worker = this.ready_worker(pool)
        time.sleep(SETTLE_S)
        started_s, spent_s, woken = time.perf_counter(), cpu_s(worker.pid), wakeups(worker.pid)
        time.sleep(LOOK_S)
        taken_s = time.perf_counter() - started_s
        return {
            "cpu_percent": (cpu_s(worker.pid) - spent_s) / taken_s * 100,
            "wakeups_per_s": (wakeups(worker.pid) - woken) / taken_s,
        }
