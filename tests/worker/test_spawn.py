"""Children that are interpreters of their own."""

import os
import signal
import subprocess
import sys

import pytest
from running import SOURCE, TASKS, Running, descendants, is_alive, until

from celeriac import Celery
from celeriac.exceptions import (
    ImproperlyConfigured,
    SoftTimeLimitExceeded,
    TimeLimitExceeded,
    WorkerLostError,
)
from celeriac.worker.pools.prefork.spawns import order_for

pytestmark = pytest.mark.timeout(150)
GET_S = 40
SPAWN = ("--pool-start-method", "spawn")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "proj.py").write_text(TASKS)
    return tmp_path


@pytest.fixture
def client(folder):
    url = f"sqlite:///{folder}/q.db"
    app = Celery("client", broker=url, backend=url, set_as_current=False)
    yield app
    app.close()


def send(client, name, *args, **options):
    return client.send_task(f"proj.{name}", args, **options)


def children(folder):
    path = folder / "children"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_a_spawned_child_inherits_no_globals_and_hears_worker_process_init(folder, client):
    with Running(folder, "-c", "2", *SPAWN) as worker:
        worker.ready()
        pid, parent, loaded = send(client, "where").get(timeout=GET_S)
        assert loaded == []
        assert parent == worker.process.pid
        assert pid in children(folder)
        worker.wait_line("SpawnPoolWorker-")
        for one in (*descendants(worker.process.pid), worker.process.pid):
            os.kill(one, signal.SIGTERM)  # as a terminal does, to the whole group
        assert worker.wait() == 0
    assert "Traceback" not in worker.text


def test_a_killed_spawned_child_is_replaced_and_its_task_is_a_lost_one(folder, client):
    with Running(folder, "-c", "1", *SPAWN) as worker:
        worker.ready()
        with pytest.raises(WorkerLostError, match=r"signal 9 \(SIGKILL\) Job: 1\."):
            send(client, "kill_me", signal.SIGKILL).get(timeout=GET_S)
        with pytest.raises(WorkerLostError, match=r"exited prematurely: exitcode 3\."):
            send(client, "leave", 3).get(timeout=GET_S)
        assert send(client, "add", 1, 2).get(timeout=GET_S) == 3
        worker.wait_line("exited with 'signal 9 (SIGKILL)'")
    assert len(children(folder)) == 3


def test_spawned_children_are_held_to_limits_and_settings_of_the_command_line(folder, client):
    flags = ("--max-tasks-per-child", "2", "--", "worker.redirect_stdouts=no")
    with Running(folder, "-c", "1", *SPAWN, *flags) as worker:
        worker.ready()
        with pytest.raises(SoftTimeLimitExceeded):
            send(client, "hold", "a", "never", soft_time_limit=0.2).get(timeout=GET_S)
        with pytest.raises(TimeLimitExceeded):
            send(client, "hold", "b", "never", time_limit=0.2).get(timeout=GET_S)
        pids = [send(client, "where").get(timeout=GET_S)[0] for _ in range(3)]
        assert pids[0] == pids[1] != pids[2], (pids, children(folder), worker.text)
        assert pids[0] != children(folder)[0]


def test_no_spawned_child_outlives_a_killed_worker(folder, client):
    with Running(folder, "-c", "1", *SPAWN) as worker:
        worker.ready()
        send(client, "hold", "begun", "never")
        until((folder / "begun").exists)
        family = descendants(worker.process.pid)
        assert family
        worker.signal(signal.SIGKILL)
        worker.wait()
        until(lambda: not any(map(is_alive, family)))


def test_a_spawned_child_serves_celerys_names_where_its_worker_does(folder, client):
    text = TASKS.replace("from celeriac import", "from celery import")
    (folder / "proj.py").write_text(text)
    with Running(folder, "-c", "1", *SPAWN, before=("--as-celery",)) as worker:
        worker.ready()
        assert send(client, "add", 1, 2).get(timeout=GET_S) == 3


def test_an_application_that_no_module_holds_cannot_be_spawned(app):
    with pytest.raises(ImproperlyConfigured, match="celeriac -A module:name worker"):
        order_for(app, None, None)


def test_the_child_program_imports_nothing_of_the_consuming_side():
    program = "import celeriac.worker.pools.prefork.spawned, sys; print(*sorted(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for name in ("connect", "dispatch", "loop", "service", "settler"):
        assert f"celeriac.worker.{name}" not in found
