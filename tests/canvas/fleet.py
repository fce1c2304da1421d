"""Workers of `canvas_tasks` in processes of their own, and who sends to them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import amqp

HERE = Path(__file__).parent
PATH = os.pathsep.join(map(str, (HERE, HERE.parent, HERE.parents[1] / "python")))
RABBITMQ = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
READY_S = 40.0
STOP_S = 20.0


@contextlib.contextmanager
def places(broker: str, redis_url: str, folder: Path):
    """A queue of its own on a broker, and the result store beside it."""
    queue = f"canvas-{uuid.uuid4().hex[:8]}"
    urls = {
        "memory": (f"memory://{queue}", f"memory://{queue}"),
        "sqlite": (f"sqlite:///{folder}/q.db", f"sqlite:///{folder}/q.db"),
        "redis": (redis_url, redis_url),
        "rabbitmq": (RABBITMQ, redis_url),
    }
    try:
        yield {"broker": urls[broker][0], "backend": urls[broker][1], "queue": queue}
    finally:
        if broker == "rabbitmq":
            deleted_from_rabbitmq(queue)


def environment(given: dict) -> dict[str, str]:
    """Variables for a process that imports `canvas_tasks`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CELER")}
    return {
        **kept,
        "CANVAS_TEST": json.dumps(given),
        "PYTHONPATH": PATH,
        "PYTHONUNBUFFERED": "1",
    }


class Process:
    """A process whose output is in a file; it and its children end with the `with` block."""

    def __init__(self, given: dict, *arguments: str) -> None:
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in __exit__
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=environment(given),
            cwd=HERE,
            start_new_session=True,
        )

    @property
    def text(self) -> str:
        """All of its output so far."""
        return os.pread(self._output.fileno(), 1 << 24, 0).decode(errors="replace")

    def wait_for(self, part: str, wait_s: float = READY_S):
        """Wait until its output has a text."""
        until(lambda: part in self.text or self.process.poll() is not None, wait_s, self)
        assert part in self.text, self.text
        return self

    def kill(self) -> None:
        """SIGKILL to it and to its children."""
        if self.process.returncode is not None:
            return  # its number may be somebody else's by now
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_S)

    def stop(self) -> int:
        """Ask for a warm shutdown."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.kill()
        self.process.stdin.close()
        self._output.close()


def worker(given: dict, pool: str, *options: str) -> Process:
    """Start a worker; it may not be ready yet."""
    arguments = ("-A", "canvas_tasks", "worker", "-l", "INFO", "-P", pool, *options)
    return Process(given, "-m", "celeriac", *arguments, "-n", f"{uuid.uuid4().hex[:8]}@here")


def until(condition, wait_s: float, what: object) -> None:
    """Wait for what happens in other processes."""
    deadline_s = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline_s, f"it did not happen: {getattr(what, 'text', what)}"
        time.sleep(0.02)


def deleted_from_rabbitmq(queue: str) -> None:
    """Delete a queue and its exchange; elsewhere they go with their database."""
    userinfo, _, place = RABBITMQ.removeprefix("amqp://").rpartition("@")
    user, _, password = userinfo.partition(":")
    host, _, vhost = place.partition("/")
    with amqp.Connection(host, user, password, virtual_host=vhost, connect_timeout=5) as connection:
        channel = connection.channel()
        channel.queue_delete(queue)
        channel.exchange_delete(queue)
