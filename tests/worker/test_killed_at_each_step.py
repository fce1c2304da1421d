"""SIGKILL to children and workers, at each step of a task, with both ways to acknowledge.

One kill meets tasks in all of their states: each test is a table of what became of them.
"""

import os
import signal
import time
from pathlib import Path

import pytest
from queue_file import ask
from running import Running, until

from celeriac import Celery, broker
from celeriac.exceptions import WorkerLostError

pytestmark = pytest.mark.timeout(120)
GET_S = 30
#: A task that runs for 10 ms has nothing behind it any more; this is many times that.
SLOW_S = 0.2

PROJECT = """
import os, time
from pathlib import Path
from celeriac import Celery, Task

HERE = Path(__file__).parent
app = Celery("proj", broker=f"sqlite:///{HERE}/q.db", backend=f"sqlite:///{HERE}/q.db")

def note(file, line):
    with (HERE / file).open("a") as opened:
        opened.write(line + "\\n")

def run(name):
    note("runs", f"{name} {os.getpid()}")
    deadline = time.monotonic() + 60
    while not (HERE / f"release-{name}").exists():
        if time.monotonic() > deadline:
            raise TimeoutError(name)
        time.sleep(0.005)
    note("ended", name)
    return os.getpid()

class Stored(Task):
    # Who looks at a success makes the child store it before.
    def on_success(self, retval, task_id, args, kwargs):
        note("stored", args[0])

early = app.task(name="proj.early")(run)
late = app.task(name="proj.late", acks_late=True)(run)
again = app.task(name="proj.again", acks_late=True, reject_on_worker_lost=True)(run)
early_stored = app.task(name="proj.early_stored", base=Stored)(run)
late_stored = app.task(name="proj.late_stored", base=Stored, acks_late=True)(run)
"""


class Project:
    def __init__(self, folder):
        (folder / "proj.py").write_text(PROJECT)
        url = f"sqlite:///{folder}/q.db"
        self.folder = folder
        self.app = Celery("client", broker=url, backend=url, set_as_current=False)
        self.results = {}

    def send(self, *names):
        for name in names:
            self.results[name] = self.app.send_task(f"proj.{name.partition('-')[0]}", (name,))

    def lines(self, file):
        path = self.folder / file
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def wait(self, file, *names):
        until(lambda: {line[0] for line in self.lines(file)} >= set(names))

    def begun(self, *names):
        """Sends tasks and waits until all of them run."""
        self.send(*names)
        self.wait("runs", *names)

    def wait_in_line(self, *names):
        """Sends tasks to a worker that is busy, and waits until it holds them.

        All that runs is slow by then: nobody has one of these behind what it executes.
        """
        begun_s = time.monotonic()
        until(lambda: time.monotonic() - begun_s > SLOW_S)
        held = self.count("owner > 0")
        self.send(*names)
        until(lambda: self.count("owner > 0") == held + len(names))

    def unacknowledged(self):
        return self.count("true")

    def count(self, condition):
        return ask(self.folder / "q.db", f"SELECT count(*) FROM messages WHERE {condition}")[0][0]

    def release(self, *names):
        for name in names:
            (self.folder / f"release-{name}").touch()

    def runs(self):
        names = [line[0] for line in self.lines("runs")]
        return {name: names.count(name) for name in self.results}

    def pid(self, name):
        return next(int(line[1]) for line in self.lines("runs") if line[0] == name)

    def depth(self):
        return broker.publisher(self.app).depth("celery", GET_S)


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path)
    yield made
    made.app.close()


def is_stopped(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def stand_still(worker):
    """Stops the worker's own process; its children go on."""
    worker.signal(signal.SIGSTOP)
    until(lambda: is_stopped(worker.process.pid))


def test_what_a_killed_worker_held_comes_again_unless_it_was_acknowledged(tmp_path, project):
    with Running(tmp_path, "-c", "6") as worker:
        worker.ready()
        project.release("late-acked")
        project.send("late-acked")
        project.results["late-acked"].get(timeout=GET_S)
        project.begun("early-runs", "late-runs", "early-ended", "late-ended", "late_stored")
        project.begun("early_stored")
        project.wait_in_line("early-waits", "late-waits")
        # Those of early tasks are acknowledged.
        until(lambda: project.unacknowledged() == 5)
        stand_still(worker)
        ended = ("early-ended", "late-ended", "late_stored", "early_stored")
        project.release(*ended)
        project.wait("ended", *ended)
        project.wait("stored", "late_stored", "early_stored")
        worker.signal(signal.SIGKILL)
        worker.wait()
    stored = project.results["late_stored"].get(timeout=GET_S)
    project.release(*project.results)
    once = {"early-runs", "early-ended", "early_stored", "late-acked"}
    with Running(tmp_path, "-c", "6") as another:
        another.ready()
        for name in project.results.keys() - once:
            assert project.results[name].get(timeout=GET_S)
        another.signal(signal.SIGTERM)
        assert another.wait() == 0
    assert project.runs() == {
        "late-acked": 1,
        "early-runs": 1,
        "early-ended": 1,
        "early_stored": 1,
        "late-runs": 2,
        "late-ended": 2,
        "late_stored": 2,
        "early-waits": 1,
        "late-waits": 1,
    }
    # The outcome that only the worker had heard of, or not even that, is lost with it.
    assert project.results["early-runs"].state == "PENDING"
    assert project.results["early-ended"].state == "PENDING"
    assert project.results["early_stored"].get(timeout=GET_S) == project.pid("early_stored")
    # A success that was stored is not replaced.
    assert project.results["late_stored"].get(timeout=GET_S) == stored == project.pid("late_stored")
    assert project.depth() == 0


def test_a_killed_child_loses_what_runs_and_nothing_that_had_ended(tmp_path, project):
    with Running(tmp_path, "-c", "6") as worker:
        worker.ready()
        running = ("early-runs", "late-runs", "again-runs")
        ended = ("early-ended", "late-ended", "late_stored")
        project.begun(*running, *ended)
        project.wait_in_line("early-waits", "late-waits")
        stand_still(worker)
        project.release(*ended)
        project.wait("ended", *ended)
        project.wait("stored", "late_stored")
        # What they have said lies in their sockets before they are idle again.
        children = [project.pid(name) for name in (*running, *ended)]
        until(lambda: all(is_idle(project.pid(name)) for name in ended))
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        project.release(*project.results)
        worker.signal(signal.SIGCONT)
        for name in ("early-runs", "late-runs"):
            with pytest.raises(WorkerLostError, match="SIGKILL"):
                project.results[name].get(timeout=GET_S)
        assert project.results["again-runs"].get(timeout=GET_S) not in children
        for name in ended:
            assert project.results[name].get(timeout=GET_S) == project.pid(name)
        for name in ("early-waits", "late-waits"):
            assert project.results[name].get(timeout=GET_S) not in children
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    expected = dict.fromkeys(project.results, 1) | {"again-runs": 2}
    assert project.runs() == expected
    assert project.depth() == 0


def is_idle(pid):
    """Whether all threads of a process sleep."""
    stats = [stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "S" for stat in stats)


def test_when_child_and_worker_are_killed_what_was_late_comes_again(tmp_path, project):
    with Running(tmp_path, "-c", "4") as worker:
        worker.ready()
        project.begun("early-runs", "late-runs", "again-runs", "late-ended")
        until(lambda: project.unacknowledged() == 3)
        stand_still(worker)
        project.release("late-ended")
        project.wait("ended", "late-ended")
        for name in project.results:
            os.kill(project.pid(name), signal.SIGKILL)
        worker.signal(signal.SIGKILL)
        worker.wait()
    project.release(*project.results)
    with Running(tmp_path, "-c", "4") as another:
        another.ready()
        for name in ("late-runs", "again-runs", "late-ended"):
            assert project.results[name].get(timeout=GET_S)
        another.signal(signal.SIGTERM)
        assert another.wait() == 0
    assert project.runs() == {"early-runs": 1, "late-runs": 2, "again-runs": 2, "late-ended": 2}
    assert project.depth() == 0
