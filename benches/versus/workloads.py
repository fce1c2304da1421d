"""One measurement each: start what it needs, measure, clean up, return figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import kombu
import redis

from process_tree import pss_mb

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
DEADLINE_S = 180.0
IMPORT = """
import time
started_s = time.perf_counter()
import {0}
{0}.Celery("x", broker="{1}", backend="{1}")
print(time.perf_counter() - started_s)
"""


@dataclass(frozen=True)
class Side:
    """One of the two: the package, where its messages go, and how much work it gets."""

    flavour: str
    url: str
    scale: int
    #: Where results go, when not to the broker.
    results: str = ""


@dataclass
class Round:
    """One measurement's surroundings."""

    side: Side
    environment: dict[str, str]
    folder: Path

    def produce(self, workload: str, count: int) -> dict[str, float]:
        """Run a workload of producer.py."""
        command = [sys.executable, str(HERE / "producer.py"), workload, str(count)]
        finished = subprocess.run(
            command,
            env=self.environment,
            cwd=HERE,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        if finished.returncode:
            raise RuntimeError(f"{self.side.flavour} failed in {workload}:\n{finished.stderr}")
        figures: dict[str, float] = json.loads(finished.stdout)
        return figures

    @contextmanager
    def worker(self, pool: str, multiplier: int = 4) -> Iterator[subprocess.Popen[bytes]]:
        """A worker on this round's queue."""
        options = ["-P", pool, *([] if pool == "solo" else ["-c", "2"])]
        options += ["--prefetch-multiplier", str(multiplier)]
        command = [
            sys.executable,
            "-m",
            self.side.flavour,
            "-A",
            "tasks",
            "worker",
            "-l",
            "WARNING",
        ]
        with (self.folder / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, *options], env=self.environment, cwd=HERE, stdout=log, stderr=log
            )
            try:
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def wait_for(self, path: Path) -> float:
        """Wait until a stamp is written.

        Returns:
            The time it holds.
        """
        give_up_s = time.monotonic() + DEADLINE_S
        while not (path.exists() and path.stat().st_size):
            if time.monotonic() > give_up_s:
                log = (self.folder / "worker.log").read_text()
                raise TimeoutError(f"{self.side.flavour} did not finish:\n{log}")
            time.sleep(0.02)
        return float(path.read_text())


@contextmanager
def prepared(side: Side, *, results: bool = True, confirms: bool | None = None) -> Iterator[Round]:
    """A clean folder, database and queue for one measurement."""
    with tempfile.TemporaryDirectory(prefix="versus-") as name:
        folder = Path(name)
        url = side.url.format(folder=folder)
        store = side.results or url
        queue = f"versus-{uuid.uuid4().hex[:8]}"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CELER")}
        environment = {
            **kept,
            "VERSUS_FLAVOUR": side.flavour,
            "VERSUS_BROKER": url,
            "VERSUS_BACKEND": store,
            "VERSUS_QUEUE": queue,
            "VERSUS_CONFIRMS": {None: "", True: "yes", False: "no"}[confirms],
            "VERSUS_RESULTS": "yes" if results else "no",
            "VERSUS_STAMPS": os.pathsep.join([str(folder / "first"), str(folder / "last")]),
        }
        if store.startswith("redis"):
            redis.Redis.from_url(store).flushdb()
        yield Round(side, environment, folder)
        if store.startswith("redis"):
            redis.Redis.from_url(store).flushdb()
        if url.startswith("amqp"):
            with kombu.Connection(url) as connection, connection.channel() as channel:
                channel.queue_delete(queue)
                channel.exchange_delete(queue)


def publishing(
    side: Side, workload: str, count: int, *, confirms: bool | None = None
) -> dict[str, float]:
    """Messages a second, nobody consuming."""
    with prepared(side, confirms=confirms) as this:
        return this.produce(workload, count * side.scale)


def draining(
    side: Side, pool: str, count: int, *, results: bool, multiplier: int
) -> dict[str, float]:
    """Tasks a second that a worker takes from a full queue."""
    with prepared(side, results=results) as this:
        this.produce("fill", count * side.scale)
        with this.worker(pool, multiplier):
            last_s = this.wait_for(this.folder / "last")
            first_s = this.wait_for(this.folder / "first")
    return {"per_s": count * side.scale / (last_s - first_s)}


def answering(side: Side, pool: str, count: int) -> dict[str, float]:
    """Milliseconds of `delay().get()`."""
    with prepared(side) as this, this.worker(pool):
        return this.produce("latency", count)


def remembering(side: Side, count: int) -> dict[str, float]:
    """Memory of a worker with two children that has done some work."""
    with prepared(side) as this:
        this.produce("fill", count)
        with this.worker("prefork") as process:
            this.wait_for(this.folder / "last")
            return {"pss_mb": pss_mb(process.pid)}


def importing(side: Side) -> dict[str, float]:
    """Seconds to import the package and make an application, in a fresh interpreter."""
    code = IMPORT.format(side.flavour, "redis://127.0.0.1/15")
    finished = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=DEADLINE_S
    )
    return {"ms": float(finished.stdout) * 1000}
