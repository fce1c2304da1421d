"""A file that says, each second, whether this worker takes messages; `celeriac health` reads it."""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from celeriac.probe import BUSY, CONSUMING, FULL, LOST

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac._native import Intake

__all__ = ("HealthFile",)

logger = logging.getLogger("celery.worker")

EVERY_S = 1.0


class HealthFile:
    """Written by a thread of its own; what it says of the main loop, the loop has told it.

    Args:
        path: The file, replaced as a whole each time and removed at the end.
        hostname: The worker's name.
        intake: What consumes.
        is_busy: Whether the main loop itself executes a task (solo), and may take its time.
        now_ms: The wall clock, in milliseconds since the epoch.
    """

    def __init__(
        self,
        path: str,
        hostname: str,
        intake: Intake,
        is_busy: Callable[[], bool],
        now_ms: Callable[[], int],
    ) -> None:
        self._path = Path(path)
        self._hostname = hostname
        self._intake = intake
        self._is_busy = is_busy
        self._now_ms = now_ms
        self._looped_ms = now_ms()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="celeriac-health", daemon=True)

    def start(self) -> None:
        """Write it from now on."""
        self._thread.start()

    def looped(self) -> float:
        """Say that the main loop goes round.

        Returns:
            In how many seconds it is to say so again.
        """
        self._looped_ms = self._now_ms()
        return EVERY_S

    def _run(self) -> None:
        is_told = False
        while True:
            try:
                self._write()
            except OSError as exc:
                # Probes will fail, which is what a full disk deserves; tasks go on.
                if not is_told:
                    logger.error("worker_health_file cannot be written: %s", exc)  # noqa: TRY400
                is_told = True
            else:
                is_told = False
            if self._ends.wait(EVERY_S):
                return

    def _write(self) -> None:
        proved_ms_ago, is_full, is_lost = self._intake.health()
        now_ms = self._now_ms()
        taking = LOST if is_lost else FULL if is_full else CONSUMING
        found = {
            "worker": self._hostname,
            "pid": os.getpid(),
            "state": BUSY if self._is_busy() else taking,
            "written_ms": now_ms,
            "looped_ms": self._looped_ms,
            "proved_ms": now_ms - proved_ms_ago,
        }
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        # A line for each member: `celeriac.probe` reads lines.
        temporary.write_text(json.dumps(found, indent=0, ensure_ascii=False), encoding="utf-8")
        temporary.replace(self._path)

    def close(self) -> None:
        """Remove it: who has ended consumes nothing."""
        self._ends.set()
        self._thread.join(EVERY_S)
        self._path.unlink(missing_ok=True)
