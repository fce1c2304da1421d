"""A warm shutdown of limited time before a cold one, in each pool."""

import os
import signal

import pytest
from running import TASKS, Running, until

from celeriac import Celery, broker

GET_S = 20
POOLS = pytest.mark.parametrize("pool", ["prefork", "threads", "aio", "solo"])


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


def run(folder, pool, seconds, *more):
    settings = [f"worker.soft_shutdown_timeout={seconds}", *more]
    return Running(folder, "-P", pool, "-c", "1", "--", *settings)


@POOLS
def test_what_ends_in_time_is_finished(folder, client, pool):
    with run(folder, pool, 3600) as worker:
        worker.ready()
        sent = client.send_task("proj.hold_late", ("begun", "release"))
        until((folder / "begun").exists)
        worker.signal(signal.SIGQUIT)
        worker.wait_line("Initiating Soft Shutdown, terminating in 3600 seconds")
        (folder / "release").touch()
        assert sent.get(timeout=GET_S) > 0
        assert worker.wait() == 0
    assert "Cold shutdown" not in worker.text
    assert broker.publisher(client).depth("celery", GET_S) == 0


@POOLS
def test_what_does_not_end_in_time_is_broken_off_and_goes_back(folder, client, pool):
    with run(folder, pool, 0.3) as worker:
        worker.ready()
        client.send_task("proj.hold_late", ("begun", "release"))
        until((folder / "begun").exists)
        worker.signal(signal.SIGQUIT)
        worker.wait_line("Cold shutdown")
        assert worker.wait() == 0
    assert broker.publisher(client).depth("celery", GET_S) == 1


@POOLS
def test_the_next_signal_ends_the_wait(folder, client, pool):
    with run(folder, pool, 3600) as worker:
        worker.ready()
        client.send_task("proj.hold_late", ("begun", "release"))
        until((folder / "begun").exists)
        worker.signal(signal.SIGTERM)
        worker.wait_line("Warm shutdown")
        worker.signal(signal.SIGQUIT)
        worker.wait_line("Initiating Soft Shutdown")
        worker.signal(signal.SIGQUIT)
        worker.wait_line("Cold shutdown")
        assert worker.wait() == 0
    assert broker.publisher(client).depth("celery", GET_S) == 1


def test_sigterm_is_soft_where_it_is_remapped(folder, client, monkeypatch):
    monkeypatch.setitem(os.environ, "REMAP_SIGTERM", "SIGQUIT")
    with run(folder, "prefork", 0.2) as worker:
        worker.ready()
        client.send_task("proj.hold_late", ("begun", "release"))
        until((folder / "begun").exists)
        worker.signal(signal.SIGTERM)
        worker.wait_line("Initiating Soft Shutdown")
        assert worker.wait() == 0


@pytest.mark.parametrize("waits", [False, True])
def test_an_idle_worker_waits_only_where_it_is_told_to(folder, waits):
    setting = f"worker.enable_soft_shutdown_on_idle={'yes' if waits else 'no'}"
    with run(folder, "prefork", 0.3 if waits else 3600, setting) as worker:
        worker.ready()
        worker.signal(signal.SIGQUIT)
        assert worker.wait() == 0
    assert ("Cold shutdown" in worker.text) == waits
