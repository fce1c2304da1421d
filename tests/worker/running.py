"""Real workers in processes of their own, and what they print."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "python"
#: Long: a busy machine may starve a process for half a minute.
WAIT_S = 60.0

TASKS = """
import os, signal, subprocess, sys, time
from pathlib import Path
from celeriac import Celery, signals

HERE = Path(__file__).parent
app = Celery("proj", broker=f"sqlite:///{HERE}/q.db", backend=f"sqlite:///{HERE}/q.db")
loaded = []

@signals.worker_init.connect
def load(**_):
    loaded.append(os.getpid())

@signals.worker_process_init.connect
def note(**_):
    with (HERE / "children").open("a") as file:
        file.write(f"{os.getpid()}\\n")

def wait_for(name):
    deadline = time.monotonic() + 30
    while not (HERE / name).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(name)
        time.sleep(0.005)

@app.task
def add(x, y):
    return x + y

@app.task
def where():
    return os.getpid(), os.getppid(), loaded

@app.task
def hold(begun, release):
    (HERE / begun).touch()
    wait_for(release)
    return os.getpid()

hold_late = app.task(name="proj.hold_late", acks_late=True)(hold.run)
hold_again = app.task(name="proj.hold_again", acks_late=True, reject_on_worker_lost=True)(hold.run)

@app.task
def kill_me(signum):
    os.kill(os.getpid(), signum)

@app.task
def leave(code):
    sys.exit(code)

@app.task
def terminate_a_program():
    program = subprocess.Popen(["sleep", "30"])
    program.terminate()
    return program.wait(10)
"""


class Running:
    """A worker process; ends with the `with` block, whatever happens in it."""

    def __init__(self, folder, *arguments, app="proj", before=()):
        self.folder = folder
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "celeriac",
                "-A",
                app,
                *before,
                "worker",
                "-l",
                "INFO",
                *arguments,
            ],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines = []
        self._changed = threading.Condition()
        self._is_closed = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def text(self):
        return "".join(self.lines)

    def wait_line(self, part, count=1):
        with self._changed:
            found = self._changed.wait_for(
                lambda: self._is_closed or sum(part in line for line in self.lines) >= count,
                WAIT_S,
            )
        assert found, self.text
        assert sum(part in line for line in self.lines) >= count, self.text
        return next(line for line in self.lines if part in line)

    def ready(self):
        self.wait_line(" ready.")
        return self

    def signal(self, signum):
        self.process.send_signal(signum)

    def wait(self):
        code = self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        return code

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        self.process.stdout.close()
        if kind is not None:
            # For pytest's report of the failure.
            print(self.text)


def until(condition):
    """Waits until something outside of this process has happened."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def until_all(count, wanted):
    """Waits as long as the count goes on growing, which a busy machine may make slow."""
    seen = count()
    while seen < wanted:
        before = seen
        deadline = time.monotonic() + WAIT_S
        while (seen := count()) == before:
            assert time.monotonic() < deadline, f"it stays at {seen} of {wanted}"
            time.sleep(0.005)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def descendants(pid):
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found


STOPPING = (signal.SIGTERM, signal.SIGINT)
