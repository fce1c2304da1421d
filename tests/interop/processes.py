"""Processes of the interoperability tests: a producer to ask, a worker to wait for."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import celery_versions  # noqa: E402 - a tool of the repository

ANSWER_S = 40.0
READY_S = 30.0
STOP_S = 20.0


class RemoteError(Exception):
    """What the expression raised in the producer's process."""

    def __init__(self, described: dict[str, Any]) -> None:
        super().__init__(f"{described['module']}.{described['class']}: {described['text']}")
        self.name = f"{described['module']}.{described['class']}"
        self.args_text = described["args"]
        self.bases = described["bases"]
        self.text = described["text"]


def split(flavour: str) -> tuple[str, str]:
    """The package of a flavour, and the Python that has it: `celery-5.4` is `celery` of a peer."""
    package, _, version = flavour.partition("-")
    return package, str(celery_versions.make(version)) if version else sys.executable


def environment(flavour: str, url: str, queue: str) -> dict[str, str]:
    """Variables for a process of one flavour; nothing of the caller's Celery settings leaks in.

    `url` is the broker's; after a blank follows the result store's, where that is another, and
    after a second one the Redis on which tasks leave notes, where results are elsewhere.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CELER")}
    path = os.pathsep.join([str(FOLDER), str(ROOT / "python")])
    package, python = split(flavour)
    if python != sys.executable:
        path = str(FOLDER)
    broker, results, notes, *_ = [*url.split(), "", ""]
    names = {
        "INTEROP_FLAVOUR": package,
        "INTEROP_URL": broker,
        "INTEROP_RESULTS": results or broker,
        "INTEROP_NOTES": notes or results or broker,
        "INTEROP_QUEUE": queue,
        "INTEROP_QUEUE_TYPE": os.environ.get("CELERIAC_TEST_QUEUE_TYPE", "classic"),
    }
    return {**kept, **names, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


class Lines:
    """Output of a process, read as it comes, so that a test can wait for a line."""

    def __init__(self, stream: Any) -> None:
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._is_closed = False
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def _read(self, stream: Any) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self._lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def wait_for(self, pattern: str, timeout_s: float) -> str:
        """Wait for a line that matches; the whole output is in the error when none does."""
        found = re.compile(pattern)

        def matching() -> list[str]:
            return [line for line in self._lines if found.search(line)]

        with self._changed:
            self._changed.wait_for(lambda: matching() or self._is_closed, timeout_s)
            if not matching():
                raise AssertionError(f"no line matches {pattern!r} in:\n{self.text()}")
            return matching()[0]

    def take(self, timeout_s: float) -> str:
        """The next line, removed."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._is_closed, timeout_s)
            if not self._lines:
                raise AssertionError(f"no answer in {timeout_s} s")
            return self._lines.pop(0)

    def join(self) -> None:
        """Wait until the stream has ended and is closed."""
        self._reader.join(STOP_S)

    def text(self) -> str:
        """Everything so far."""
        return "\n".join(self._lines)


class Producer:
    """A process that evaluates expressions with the tasks of one flavour.

    With `worker_inside`, it is the worker as well: a queue in memory is one process's.
    """

    def __init__(self, flavour: str, url: str, queue: str, *, worker_inside: bool = False) -> None:
        self.flavour, python = split(flavour)
        self._process = subprocess.Popen(
            [python, str(FOLDER / "client.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                **environment(flavour, url, queue),
                "INTEROP_WORKER_INSIDE": "yes" if worker_inside else "",
            },
            cwd=FOLDER,
            text=True,
        )
        self._lines = Lines(self._process.stdout)
        try:
            assert json.loads(self._lines.take(READY_S)) == {"ready": self.flavour}
        except BaseException:
            self.stop()
            raise

    def text(self, expression: str, timeout_s: float = ANSWER_S) -> str:
        """`repr` of the expression's value; RemoteError when it raised."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(expression) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._lines.take(timeout_s))
        if "error" in answer:
            raise RemoteError(answer["error"])
        value: str = answer["value"]
        return value

    def ask(self, expression: str, timeout_s: float = ANSWER_S) -> Any:
        """The expression's value, where its `repr` is a literal."""
        return ast.literal_eval(self.text(expression, timeout_s))

    def stop(self) -> None:
        """End the process by ending its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_S)
        finally:
            self._process.kill()
            self._process.wait(STOP_S)
            self._lines.join()


class Worker:
    """A worker of one flavour, ready when the constructor returns."""

    def __init__(
        self,
        flavour: str,
        url: str,
        queue: str,
        pool: str = "solo",
        *options: str,
        also: str = "",
        beats: bool = False,
    ) -> None:
        self.flavour, python = split(flavour)
        queues = f"{queue},{queue}-other" + (f",{also}" if also else "")
        quiet = ["--without-gossip", "--without-mingle"]
        quiet += [] if beats else ["--without-heartbeat"]
        arguments = ["-A", "tasks", "worker", "-l", "INFO", "-Q", queues, "-P", pool, *options]
        arguments += quiet if self.flavour == "celery" else []
        self.process = subprocess.Popen(
            [python, "-m", self.flavour, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(flavour, url, queue),
            cwd=FOLDER,
            text=True,
            start_new_session=True,
        )
        self.lines = Lines(self.process.stdout)
        try:
            self.lines.wait_for(r"ready\.", READY_S)
        except AssertionError:
            self.kill()
            raise

    def stop(self) -> int:
        """Ask for a warm shutdown and wait for it.

        Returns:
            The exit code.
        """
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the worker did not stop:\n{self.lines.text()}") from None
        self.lines.join()
        return code

    def kill(self) -> None:
        """SIGKILL to the worker and, should any be left, to its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_S)
        self.lines.join()
