"""The same drain on other queues for Python: two processes, no results, from a full Redis."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis

from surroundings import DEADLINE_S, Figures, Missing, redis_url

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
#: How each starts a worker of two processes, by its documentation.
WORKERS = {
    "tarsk": ["tarsk", "worker", "--app", "rival_tasks:app", "--children", "2", "--broker"],
    "dramatiq": ["dramatiq", "rival_tasks", "--processes", "2"],
    "huey": ["huey_consumer", "rival_tasks.app", "--worker-type", "process", "--workers", "2"],
}


def draining(rival: str, count: int) -> Figures:
    """Tasks a second that a worker takes from a full queue."""
    if importlib.util.find_spec(rival) is None:
        raise Missing(f"{rival} is not installed on this Python (dependency group bench)")
    url = redis_url("rivals")
    with tempfile.TemporaryDirectory(prefix="versus-") as name, redis.Redis.from_url(url) as client:
        folder = Path(name)
        first, last = folder / "first", folder / "last"
        environment = {
            **os.environ,
            "RIVAL": rival,
            "RIVAL_URL": url,
            "RIVAL_STAMPS": os.pathsep.join(map(str, (first, last))),
            "PYTHONPATH": str(HERE),
        }
        client.flushdb()
        # Imported: some name a task after the module, which must not be __main__.
        fill = [sys.executable, "-c", f"import rival_tasks; rival_tasks.fill({count})"]
        subprocess.run(fill, env=environment, check=True, timeout=DEADLINE_S)
        program, *options = WORKERS[rival]
        command = [str(BIN / program), *options, *([url] if rival == "tarsk" else [])]
        log = folder / "log"
        with log.open("wb") as said:
            worker = subprocess.Popen(
                command, env=environment, cwd=folder, stdout=said, stderr=said,
                start_new_session=True,
            )  # fmt: skip
            try:
                wait_for(last, worker, log)
            finally:
                stop(worker)
                client.flushdb()
        return {"per_s": count / (float(last.read_text()) - float(first.read_text()))}


def wait_for(stamp: Path, worker: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a stamp is written."""
    give_up_s = time.monotonic() + DEADLINE_S
    while not (stamp.exists() and stamp.stat().st_size):
        if worker.poll() is not None or time.monotonic() > give_up_s:
            raise TimeoutError(f"{worker.args} did not finish:\n{log.read_text()[-2000:]}")
        time.sleep(0.02)


def stop(worker: subprocess.Popen[bytes]) -> None:
    """End a worker and whatever it started."""
    worker.terminate()
    try:
        worker.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(worker.pid, 9)
        worker.wait()
