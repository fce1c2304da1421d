"""Three programs of Celery's users, unedited: on the real Celery and under ``--as-celery``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import kombu
import pytest

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "python"
READY_S = 60
DRIVE_S = 120
AMQP = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")

STARTS = {
    "celery": [sys.executable, "-W", "ignore", "-m", "celery"],
    "celeriac": [sys.executable, "-m", "celeriac", "--as-celery"],
}
# Not to wait for other workers of Celery's; celeriac accepts the same options.
QUICK = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
SERVED = (
    "import celeriac; celeriac.as_celery(); import runpy; runpy.run_path('drive.py', "
    "run_name='__main__')"
)
DRIVES = {
    "celery": [sys.executable, "drive.py"],
    "celeriac": [sys.executable, "-c", SERVED],
}


class Program(NamedTuple):
    """A folder here, the application's path, queues without their prefix, lines of its journal."""

    folder: str
    app: str
    queues: tuple[str, ...] = ("",)
    journal: int = 0


SHOP = Program("shop", "shop")
NOTES = Program("notes", "make_celery")
MAILER = Program("mailer", "mailer.app", ("-default", "-slow", "-news"), 94)


class Worker:
    """A worker, ready when the constructor returns."""

    def __init__(self, command: list[str], cwd: Path, env: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._ready = threading.Event()
        self.process = subprocess.Popen(
            command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(READY_S) or self.process.poll() is not None:
            self.process.kill()
            raise AssertionError("the worker did not start:\n" + "".join(self.lines))

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self.lines.append(line)
                if line.rstrip().endswith("ready."):
                    self._ready.set()
        self._ready.set()

    def stop(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self._reader.join(10)
        return "".join(self.lines)


def run(program: Program, flavour: str, broker: str, results: str, folder: Path) -> Any:
    """Start a worker and run `drive.py` beside it.

    Returns:
        What the program saw, and what the worker logged.
    """
    queue = f"prog-{uuid.uuid4().hex[:8]}"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CELER", "DJANGO"))}
    cwd = HERE / program.folder
    folder.mkdir()
    env = {
        **kept,
        "PROGRAM_BROKER": broker,
        "PROGRAM_RESULTS": results,
        "PROGRAM_QUEUE": queue,
        "PROGRAM_FOLDER": str(folder),
        "PROGRAM_JOURNAL": str(program.journal),
        "PYTHONPATH": os.pathsep.join([str(cwd), str(SOURCE)]),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    # Each has a name of its own: RabbitMQ gives the mailbox of a name to one worker.
    start = [*STARTS[flavour], "-A", program.app, "worker", "-n", f"{queue}@%h"]
    start += ["-l", "INFO", "-c", "1", *QUICK]
    worker = Worker(start, cwd, env)
    try:
        done = subprocess.run(
            DRIVES[flavour], cwd=cwd, env=env, capture_output=True, text=True, timeout=DRIVE_S
        )
    finally:
        log = worker.stop()
        _remove(broker, [queue + part for part in program.queues])
    assert done.returncode == 0, done.stderr + log
    return json.loads(done.stdout.splitlines()[-1]), log


def _remove(broker: str, queues: list[str]) -> None:
    with kombu.Connection(broker) as connection:
        for name in queues:
            kombu.Queue(name, channel=connection.default_channel).delete()


@pytest.fixture(params=["redis", "amqp"])
def broker(request: pytest.FixtureRequest, redis_url: str) -> str:
    return redis_url if request.param == "redis" else AMQP


def both(program: Program, broker: str, results: str, folder: Path) -> tuple[Any, Any, str]:
    """Run a program on both, at the same time.

    Returns:
        What it saw on Celery, what it saw on celeriac, and the log of celeriac's worker.
    """
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run, program, name, broker, results, folder / name) for name in STARTS]
        (control, _), (seen, log) = (one.result() for one in runs)
    return control, seen, log


@pytest.mark.timeout(250)
def test_a_django_project_runs_unedited(broker: str, redis_url: str, tmp_path: Path) -> None:
    control, seen, log = both(SHOP, broker, redis_url, tmp_path)

    assert seen == control
    assert seen["committed"] == "packed"
    assert seen["rolled back"] == "new"
    assert seen["charged"] == {"attempts": 3, "retries": 2}
    assert seen["declined"][1] == "CardDeclined"
    assert seen["connections"] == [False, False, False]
    assert "DjangoTask" in seen["bases"]
    assert seen["schedule"]
    assert "orders.tasks.pack[" in log
    assert "packed order 1" in log


@pytest.mark.timeout(250)
def test_a_flask_program_runs_unedited(broker: str, redis_url: str, tmp_path: Path) -> None:
    control, seen, _ = both(NOTES, broker, redis_url, tmp_path)

    assert seen == control
    assert seen["greet"][1]["value"] == "Dear Grace, 1 in this context"
    assert seen["spell"][1] == {
        "ready": True,
        "state": "FAILURE",
        "successful": False,
        "value": "ValueError('no letter: ?')",
    }


@pytest.mark.timeout(250)
def test_a_package_with_routes_classes_and_signals_runs_unedited(
    broker: str, redis_url: str, tmp_path: Path
) -> None:
    control, seen, _ = both(MAILER, broker, redis_url, tmp_path)

    assert seen.pop("journal") == control.pop("journal")
    assert seen == control
    assert seen["send after two tries"][0] == {"server": True, "to": "b@example.com", "tries": 3}
    assert seen["send in vain"][1] == "ConnectionError"
    assert seen["announce"][0] == ["news", "news.today", "spring"]
    assert seen["unreachable"] == [True, False]
