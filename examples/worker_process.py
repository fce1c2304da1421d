"""Start a worker in a process of its own, and stop it cleanly: what the examples share."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

READY_S = 30.0
STOP_S = 20.0


class WorkerProcess:
    """`celeriac -A MODULE worker`, ready inside the `with` block, stopped after it."""

    def __init__(self, file: str, *options: str) -> None:
        self._command = [sys.executable, "-m", "celeriac", "-A", Path(file).stem, "worker"]
        self._command += ["-l", "INFO", *options]
        self._folder = Path(file).resolve().parent
        self.last_lines: deque[str] = deque(maxlen=8)
        self._output: list[str] = []
        self._is_ready = threading.Event()
        self._has_ended = False

    def __enter__(self) -> WorkerProcess:
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._is_ready.wait(READY_S) or self._has_ended:
            self._process.kill()
            raise RuntimeError("the worker did not start:\n" + "".join(self._output))
        return self

    @property
    def output(self) -> str:
        return "".join(self._output)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._output.append(line)
                self.last_lines.append(line.rstrip())
                if "ready." in line:
                    self._is_ready.set()
        self._has_ended = True
        self._is_ready.set()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            code = -9
        self._reader.join(STOP_S)
        if kind is None and code != 0:
            raise RuntimeError(f"the worker ended with code {code}:\n" + "".join(self._output))
