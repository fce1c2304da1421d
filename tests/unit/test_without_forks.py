"""The package on a system that has no forks and fewer signals, as Windows."""

import subprocess
import sys

PROGRAM = """
import os, signal, subprocess, sys  # subprocess of Python 3.10 wants all of Linux
for module, names in (
    (os, ("fork", "register_at_fork", "getppid", "waitstatus_to_exitcode", "sched_getaffinity")),
    (signal, ("SIGQUIT", "SIGUSR1", "SIGCHLD", "SIGKILL", "pthread_kill", "pthread_sigmask")),
):
    for name in names:
        delattr(module, name)
sys.modules["resource"] = sys.modules["fcntl"] = None

from celeriac import Celery
import celeriac.cli.main
from celeriac.worker.service import WorkController

app = Celery("t", broker="memory://without-forks", backend="memory://without-forks")

@app.task
def stop():
    worker.stop()

for pool in ("threads", "solo"):
    worker = WorkController(app=app, pool=pool, concurrency=1, quiet=True)
    stop.delay()
    worker.start()
    assert worker.exitcode == 0, worker.exitcode
print("both ran", file=sys.__stdout__)
"""


def test_workers_with_threads_and_alone_run_without_what_windows_has_not():
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=50
    )
    assert finished.stdout == "both ran\n", finished.stderr
