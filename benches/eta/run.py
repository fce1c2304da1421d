"""Tasks that wait for their eta: memory, start-up, lateness; none early, none lost.

    python benches/eta/run.py lateness --broker redis --pool threads
    python benches/eta/run.py near --broker sqlite --count 1000000
    python benches/eta/run.py far --broker rabbitmq --count 20000

`lateness`: 10,000 tasks that do nothing and ignore their result, due within one second on an idle
worker; late is from the moment it is due to its start. `near`: all wait in the worker.
`far`: all wait in the broker; the worker is killed meanwhile, and started again. The servers are
those of `CELERIAC_TEST_REDIS` (database 9) and `CELERIAC_TEST_AMQP`; one line of JSON is printed.
"""

from __future__ import annotations

import argparse
import array
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import amqp
import redis

from celeriac import Celery

HERE = Path(__file__).parent
#: What an earlier run left in another queue disturbs nobody.
QUEUE = f"eta-bench-{os.getpid()}"
PATIENCE_S = 900
COUNT = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone())"


class Bench:
    """One run.

    Args:
        kind: `lateness`, `near` or `far`.
        broker: `redis`, `sqlite` or `rabbitmq`.
        pool: The worker's pool.
        count: How many tasks.
        lead_s: How long after the start of publishing the first is due.
        spread_s: Over how many seconds they are due.
    """

    def __init__(
        self, kind: str, broker: str, pool: str, count: int, lead_s: float, spread_s: float
    ) -> None:
        self.kind, self.broker, self.pool, self.count = kind, broker, pool, count
        self.lead_s, self.spread_s = lead_s, spread_s
        self.folder = Path(tempfile.mkdtemp(prefix="celeriac-eta-"))
        self.url = self._url()
        self._connection: amqp.Connection | None = None
        self._workers: list[subprocess.Popen[bytes]] = []
        # On RabbitMQ the default: what it is late with, the worker makes up for within that time.
        far_s = 5.0 if broker == "rabbitmq" else 2.0
        horizon_s = far_s if kind == "far" else lead_s + spread_s + 600
        self.conf = {"worker_eta_horizon": horizon_s, "worker_eta_task_limit": count + 1000}
        self.figures: dict[str, object] = {
            "kind": kind, "broker": broker, "pool": pool, "count": count
        }  # fmt: skip
        (self.folder / "times").write_bytes(bytes(count))
        (self.folder / "late").write_bytes(bytes(8 * count))

    def _url(self) -> str:
        if self.broker == "redis":
            server = os.environ.get("CELERIAC_TEST_REDIS", "redis://127.0.0.1:6379")
            url = f"{server}/9"
            redis.Redis.from_url(url).flushdb()
            return url
        if self.broker == "sqlite":
            return f"sqlite:///{self.folder}/queue.db"
        return os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")

    def run(self) -> dict[str, object]:
        """Do it.

        Returns:
            The figures.
        """
        empty = self._start()
        self.figures["ready_s_empty"] = self._until_ready(empty)
        self.figures["rss_mb_empty"] = rss_mb(empty.pid)
        if self.kind == "lateness":
            self._publish()
            worker = empty
        else:
            self._stop(empty)
            self._publish()
            worker = self._start()
            self.figures["ready_s"] = self._until_ready(worker)
            self._until_waiting(worker)
            if self.kind == "far":
                worker = self._killed_and_started(worker)
        until(lambda: 0 not in self._times() or worker.poll() is not None, pause_s=0.2)
        self._stop(worker)
        return self.figures | self._report()

    def _times(self) -> bytes:
        return (self.folder / "times").read_bytes()

    def _report(self) -> dict[str, object]:
        late_s = array.array("d", (self.folder / "late").read_bytes())
        times = self._times()
        ordered = sorted(late for late, ran in zip(late_s, times, strict=True) if ran)
        at = len(ordered) - 1
        parts = (("p50", 0.5), ("p99", 0.99), ("max", 1.0)) if ordered else ()
        return {
            "ran": len(ordered),
            "lost": times.count(0),
            "twice": sum(ran > 1 for ran in times),
            "early": sum(late < 0 for late in ordered),
            "late_ms": {name: round(ordered[int(at * part)] * 1000, 2) for name, part in parts},
        }

    def _publish(self) -> None:
        app = Celery("producer", broker=self.url, set_as_current=False)
        app.conf.update(task_default_queue=QUEUE, task_ignore_result=True)
        if self.broker == "rabbitmq":  # it is not the producer that is looked at
            app.conf.broker_transport_options = {"confirm_timeout": self.lead_s}
        note = app.task(_nothing, name="eta.note", lazy=False)
        begun_s = time.time()
        first_s = begun_s + self.lead_s
        with app.publisher() as publisher:
            for number in range(self.count):
                due_s = first_s + self.spread_s * number / self.count
                eta = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(due_s))
                eta = f"{eta}.{int(due_s % 1 * 1e6):06d}+00:00"
                note.apply_async((number, due_s), eta=eta, publisher=publisher)
        self.figures["published_per_s"] = round(self.count / (time.time() - begun_s))
        if time.time() > first_s:
            message = "publishing took longer than --lead: what is late says nothing"
            raise SystemExit(message)
        self.first_s = first_s
        app.close()

    def _start(self) -> subprocess.Popen[bytes]:
        for name in ("ready", "hello"):
            (self.folder / name).unlink(missing_ok=True)
        environment = {
            **os.environ,
            "ETA_URL": self.url,
            "ETA_FOLDER": str(self.folder),
            "ETA_QUEUE": QUEUE,
            "ETA_CONF": json.dumps(self.conf),
            "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)]),
        }
        self.started_s = time.time()
        command = [sys.executable, "-m", "celeriac", "-A", "waiting", "worker", "-P", self.pool]
        options = ["-l", "WARNING", "--prefetch-multiplier", "512", "--without-mingle", "-c", "2"]
        log = (self.folder / "log").open("ab")
        worker = subprocess.Popen([*command, *options], env=environment, stdout=log, stderr=log)
        self._workers.append(worker)
        return worker

    def _until_ready(self, worker: subprocess.Popen[bytes]) -> float:
        until(lambda: (self.folder / "ready").exists() or worker.poll() is not None)
        return round(time.time() - self.started_s, 2)

    def _until_waiting(self, worker: subprocess.Popen[bytes]) -> None:
        begun_s = time.time()
        until(lambda: self._waiting() >= self.count or time.time() > self.first_s, pause_s=0.5)
        if time.time() > self.first_s:
            message = "the first were due before all waited: give them more time with --lead"
            raise SystemExit(message)
        taken_s = time.time() - begun_s
        self.figures["all_waiting_after_s"] = round(taken_s, 1)
        self.figures["left_until_due_s"] = round(self.first_s - time.time(), 1)
        rss = rss_mb(worker.pid)
        self.figures["rss_mb_waiting"] = rss
        more_bytes = (rss - float(self.figures["rss_mb_empty"])) * 1e6  # type: ignore[arg-type]
        self.figures["bytes_each"] = round(more_bytes / self.count)

    def _waiting(self) -> int:
        if self.broker == "redis":
            client = redis.Redis.from_url(self.url)
            if self.kind == "far":
                return client.zcard(f"unacked_delayed.{QUEUE}")
            return client.hlen("unacked")
        if self.broker == "sqlite":
            column = "run_at_ms" if self.kind == "far" else "owner"
            query = f"SELECT count(*) FROM messages WHERE {column} IS NOT NULL"
            # In a process of its own: closed in this one, it would drop celeriac's locks as well.
            command = [sys.executable, "-S", "-c", COUNT, self.folder / "queue.db", query]
            return int(subprocess.run(command, capture_output=True, check=True).stdout)
        queues = [f"celery_delayed_{level}" for level in range(28)]
        try:
            with self._amqp().channel() as channel:
                return sum(channel.queue_declare(one, passive=True).message_count for one in queues)
        except amqp.exceptions.NotFound:  # the worker has not declared them all yet
            return 0

    def _amqp(self) -> amqp.Connection:
        if self._connection is None:
            userinfo, _, place = self.url.removeprefix("amqp://").rpartition("@")
            user, _, password = userinfo.partition(":")
            host, _, vhost = place.partition("/")
            self._connection = amqp.Connection(host, user, password, virtual_host=vhost)
            self._connection.connect()
        return self._connection

    def _killed_and_started(self, worker: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker = self._start()
        self.figures["ready_s_restarted"] = self._until_ready(worker)
        self.figures["rss_mb_restarted"] = rss_mb(worker.pid)
        app = Celery("producer", broker=self.url, set_as_current=False)
        app.conf.update(task_default_queue=QUEUE)
        begun_s = time.time()
        app.send_task("eta.hello", ignore_result=True)
        until((self.folder / "hello").exists)
        self.figures["another_task_after_ms"] = round((time.time() - begun_s) * 1000)
        app.close()
        return worker

    def _stop(self, worker: subprocess.Popen[bytes]) -> None:
        worker.send_signal(signal.SIGTERM)
        worker.wait(PATIENCE_S)

    def clean_up(self) -> None:
        """End what runs, and remove the files."""
        for worker in self._workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
        if self.broker == "rabbitmq":
            with self._amqp().channel() as channel:
                channel.queue_delete(QUEUE)
        shutil.rmtree(self.folder)


def _nothing(_number: int, _due_s: float) -> None:
    return


def rss_mb(pid: int) -> float:
    """Read how much memory a process has.

    Args:
        pid: Its id.

    Returns:
        Megabytes.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return round(int(line.split()[1]) * 1024 / 1e6, 1)
    return 0.0


def until(condition, pause_s: float = 0.02) -> None:
    """Wait for something outside of this process."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError
        time.sleep(pause_s)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["lateness", "near", "far"])
    parser.add_argument("--broker", choices=["redis", "sqlite", "rabbitmq"], default="redis")
    parser.add_argument("--pool", choices=["solo", "threads", "prefork"], default="solo")
    parser.add_argument("--count", type=int)
    parser.add_argument("--lead", type=float, help="seconds until the first is due")
    parser.add_argument("--spread", type=float, help="seconds over which they are due")
    given = parser.parse_args()
    if (given.kind, given.broker) == ("near", "rabbitmq"):
        parser.error("nothing but rabbitmqctl counts what a worker holds of RabbitMQ's")
    count = given.count or (10_000 if given.kind == "lateness" else 1_000_000)
    lead_s = given.lead or (30.0 if given.kind == "lateness" else 60 + count / 5_000)
    spread_s = given.spread or (1.0 if given.kind == "lateness" else count / 5_000)
    bench = Bench(given.kind, given.broker, given.pool, count, lead_s, spread_s)
    try:
        print(json.dumps(bench.run()))
    finally:
        bench.clean_up()


if __name__ == "__main__":
    main()
