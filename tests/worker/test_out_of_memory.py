"""A child that the kernel kills for its memory, in a memory group of the worker's own."""

import os
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
from running import Running, until

from celeriac import Celery
from celeriac.exceptions import WorkerLostError

pytestmark = pytest.mark.timeout(120)
GET_S = 60
LIMIT_BYTES = 256 << 20
#: Where the two versions of cgroups keep memory groups: folder, file of the limit.
PLACES = (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max"))

PROJECT = """
from celeriac import Celery

app = Celery("proj", broker="sqlite:///q.db", backend="sqlite:///q.db")
app.conf.worker_redelivery_limit = 1
kept = []

@app.task(acks_late=True, reject_on_worker_lost=True)
def devour():
    while True:
        kept.append(bytearray(b"x") * (16 << 20))

@app.task
def add(x, y):
    return x + y
"""


@contextmanager
def memory_group():
    """A group whose processes have so much memory together; what joins it obeys at once."""
    group = made_group()
    try:
        yield group
    finally:
        until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def made_group():
    if os.geteuid() != 0:
        pytest.skip("only root can make a memory group")
    for place, limit in PLACES:
        group = Path(place) / f"celeriac-{uuid.uuid4().hex[:8]}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).exists():
            (group / limit).write_text(str(LIMIT_BYTES))
            return group
        group.rmdir()
    pytest.skip("this machine lets nobody make a memory group")


def kills(group):
    """How often the kernel has killed in the group."""
    for name in ("memory.events", "memory.oom_control"):
        if (group / name).exists():
            counts = dict(line.split() for line in (group / name).read_text().splitlines())
            return int(counts["oom_kill"])
    return 0


def test_a_task_that_eats_all_memory_ends_as_a_dead_letter_and_the_worker_goes_on(tmp_path):
    (tmp_path / "proj.py").write_text(PROJECT)
    url = f"sqlite:///{tmp_path}/q.db"
    with (
        memory_group() as group,
        Celery("client", broker=url, backend=url, set_as_current=False) as client,
        Running(tmp_path, "-c", "1") as worker,
    ):
        # Its children, which are not there yet, are born into the group.
        (group / "cgroup.procs").write_text(str(worker.process.pid))
        worker.ready()
        with pytest.raises(WorkerLostError, match="died 2 times, and worker_redelivery_limit is 1"):
            client.send_task("proj.devour").get(timeout=GET_S)
        assert kills(group) == 2
        assert client.send_task("proj.add", (1, 2)).get(timeout=GET_S) == 3
        assert "signal 9 (SIGKILL)" in worker.text
