"""What a measurement takes place in: servers, a queue of its own, producers and workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import kombu
import redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Figures = dict[str, float]

HERE = Path(__file__).resolve().parent
DEADLINE_S = 180.0
#: Databases of the Redis: these are emptied.
DATABASES = {"celery": 14, "celeriac": 15, "rivals": 14}


class Missing(Exception):  # noqa: N818 - a row says so, and the run goes on
    """Something that a measurement needs cannot be had; the text says what and why."""


def redis_url(whose: str) -> str:
    """The URL of somebody's database."""
    server = os.environ.get("CELERIAC_TEST_REDIS", "redis://127.0.0.1:6379")
    return f"{server}/{DATABASES[whose]}"


def amqp_url() -> str:
    """The URL of the RabbitMQ, with its virtual host."""
    return os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")


@dataclass(frozen=True)
class Side:
    """One of the two: the package, where its messages go, and where its results go."""

    flavour: str
    broker: str
    results: str


def side(flavour: str, broker: str = "redis", results: str = "redis") -> Side:
    """A package on a broker.

    Args:
        flavour: "celery" or "celeriac".
        broker: "redis", "amqp" or "sqlite" (in the folder of the round).
        results: "redis", "rpc" or "sqlite".

    Returns:
        The side; both packages have a database of their own.
    """
    urls = {
        "redis": redis_url(flavour),
        "amqp": amqp_url(),
        "rpc": "rpc://",
        "sqlite": "sqlite:///{folder}/queue.db",
    }
    return Side(flavour, urls[broker], urls[results])


@dataclass(frozen=True)
class Settings:
    """What differs between measurements of one side."""

    results: bool = True
    confirms: bool | None = None
    payload_bytes: int | None = None
    queues: int = 1


@dataclass
class Round:
    """One measurement's surroundings."""

    side: Side
    environment: dict[str, str]
    folder: Path
    queue: str
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def producer(self, workload: str, number: float) -> subprocess.Popen[str]:
        """Start a workload of producer.py."""
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", str(HERE / "producer.py"), workload, str(number)],
            env=self.environment, cwd=HERE, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def produce(self, workload: str, number: float) -> Figures:
        """Run a workload of producer.py.

        Returns:
            What it printed.
        """
        with self.producer(workload, number) as process:
            try:
                printed, complaint = process.communicate(timeout=DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        if process.returncode:
            raise RuntimeError(f"{self.side.flavour} failed in {workload}:\n{complaint}")
        figures: Figures = json.loads(printed)
        return figures

    def start_worker(self, pool: str, *options: str, level: str = "WARNING") -> subprocess.Popen:
        """Start a worker on this round's queues; it ends with the round."""
        named = ["-n", f"{uuid.uuid4().hex[:8]}@versus", "-Q", self.environment["VERSUS_QUEUES"]]
        size = [] if pool == "solo" else ["-c", {"threads": "4"}.get(pool, "2")]
        command = [sys.executable, "-m", self.side.flavour, "-A", "tasks", "worker"]
        with (self.folder / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [*command, "-l", level, "-P", pool, *size, *named, *options],
                env=self.environment, cwd=HERE, stdout=log, stderr=log,
            )  # fmt: skip
        self.workers.append(worker)
        return worker

    def ready_worker(self, pool: str, *options: str) -> subprocess.Popen:
        """Start a worker, and wait until it and all before it are ready."""
        worker = self.start_worker(pool, *options)
        self.until(lambda: len(self.ready_times()) >= len(self.workers), "a worker's start")
        return worker

    def ready_times(self) -> list[float]:
        """When workers were ready."""
        file = Path(self.environment["VERSUS_READY"])
        return [float(line) for line in file.read_text().split()] if file.exists() else []

    def until(self, condition: Callable[[], object], what: str, pause_s: float = 0.005) -> None:
        """Wait for something outside of this process."""
        give_up_s = time.monotonic() + DEADLINE_S
        while not condition():
            gone = any(worker.poll() is not None for worker in self.workers)
            if gone or time.monotonic() > give_up_s:
                log = self.folder / "worker.log"
                said = log.read_text()[-2000:] if log.exists() else ""
                raise TimeoutError(f"{self.side.flavour}: {what} did not happen:\n{said}")
            time.sleep(pause_s)

    def stamped(self, name: str) -> float:
        """Wait for a stamp.

        Returns:
            The time it holds.
        """
        path = self.folder / name
        self.until(lambda: path.exists() and path.stat().st_size, f"the stamp {name!r}", 0.02)
        return float(path.read_text())

    def stop_workers(self) -> None:
        """End all workers, and wait for it."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.terminate()
        for worker in self.workers:
            ended(worker)
        self.workers.clear()


def ended(worker: subprocess.Popen[bytes]) -> None:
    """Wait until a worker that was told to end has ended."""
    try:
        worker.wait(20)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


@contextmanager
def prepared(side: Side, settings: Settings | None = None) -> Iterator[Round]:
    """A clean folder, database and queue for one measurement."""
    settings = settings or Settings()
    with tempfile.TemporaryDirectory(prefix="versus-") as name:
        folder = Path(name)
        broker, results = (url.format(folder=folder) for url in (side.broker, side.results))
        queue = f"versus-{uuid.uuid4().hex[:8]}"
        queues = [queue, *(f"{queue}-{number}" for number in range(1, settings.queues))]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CELER")}
        environment = {
            **kept,
            "VERSUS_FLAVOUR": side.flavour,
            "VERSUS_BROKER": broker,
            "VERSUS_BACKEND": results,
            "VERSUS_QUEUE": queue,
            "VERSUS_QUEUES": ",".join(queues),
            "VERSUS_CONFIRMS": {None: "", True: "yes", False: "no"}[settings.confirms],
            "VERSUS_RESULTS": "yes" if settings.results else "no",
            "VERSUS_STAMPS": os.pathsep.join([str(folder / "first"), str(folder / "last")]),
            "VERSUS_READY": str(folder / "ready"),
        }
        if settings.payload_bytes is not None:
            environment["VERSUS_PAYLOAD"] = str(settings.payload_bytes)
        this = Round(side, environment, folder, queue)
        empty(side, [])
        try:
            yield this
        finally:
            this.stop_workers()
            empty(side, queues)


def empty(side: Side, queues: list[str]) -> None:
    """Remove what a measurement left on the servers."""
    for url in {side.broker, side.results}:
        if url.startswith("redis"):
            with redis.Redis.from_url(url) as client:
                client.flushdb()
    if queues and side.broker.startswith("amqp"):
        with kombu.Connection(side.broker) as connection, connection.channel() as channel:
            for queue in queues:
                channel.queue_delete(queue)
                channel.exchange_delete(queue)
