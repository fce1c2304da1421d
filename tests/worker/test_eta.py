"""Tasks that wait for their time, here and in the broker, and tasks whose time is over."""

import signal
import time

import pytest
from queue_file import ask
from running import TASKS, Running, until

from celeriac import Celery, broker
from celeriac.exceptions import TaskRevokedError

pytestmark = pytest.mark.timeout(120)
GET_S = 20

FAR = """
app.conf.worker_eta_horizon = 0.2

@app.task
def note(name):
    with (HERE / "ran").open("a") as file:
        file.write(f"{name} {time.time()}\\n")
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "proj.py").write_text(TASKS + FAR)
    return tmp_path


@pytest.fixture
def client(folder):
    url = f"sqlite:///{folder}/q.db"
    app = Celery("client", broker=url, backend=url, set_as_current=False)
    yield app
    app.close()


def send(client, name, *args, **options):
    return client.send_task(f"proj.{name}", args, **options)


def ran(folder):
    """Names and times of what has run."""
    try:
        lines = (folder / "ran").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [(name, float(at)) for name, at in map(str.split, lines)]


def in_the_broker(folder):
    """When what waits in the broker is due, in ms."""
    waiting = "SELECT run_at_ms FROM messages WHERE run_at_ms IS NOT NULL"
    return [due_ms for (due_ms,) in ask(folder / "q.db", waiting)]


def test_a_far_eta_waits_in_the_broker_through_a_killed_worker_and_runs_once(folder, client):
    due_s = time.time() + 3
    with Running(folder, "-c", "1") as worker:
        worker.ready()
        result = send(client, "note", "a", countdown=3)
        until(lambda: in_the_broker(folder))
        worker.signal(signal.SIGKILL)
        worker.wait()
    with Running(folder, "-c", "1") as worker:
        worker.ready()
        result.get(timeout=GET_S)
    (one,) = ran(folder)
    assert one[1] >= due_s


def test_an_eta_in_a_year_is_kept_to_the_millisecond(folder, client):
    year_s = 365 * 86_400
    with Running(folder, "-P", "solo") as worker:
        worker.ready()
        before_ms = time.time() * 1000
        send(client, "note", "a", countdown=year_s)
        until(lambda: in_the_broker(folder))
        (due_ms,) = in_the_broker(folder)
        assert before_ms <= due_ms - year_s * 1000 <= time.time() * 1000 + 1
        # It holds up nothing.
        assert send(client, "add", 1, 2).get(timeout=GET_S) == 3


def test_an_eta_in_the_past_runs_at_once(folder, client):
    with Running(folder, "-P", "solo") as worker:
        worker.ready()
        assert send(client, "add", 1, 2, eta="2020-01-01T00:00:00").get(timeout=GET_S) == 3
        assert send(client, "add", 2, 2, countdown=-5).get(timeout=GET_S) == 4


def test_a_revoked_task_that_waits_in_the_broker_does_not_run(folder, client):
    with Running(folder, "-P", "solo") as worker:
        worker.ready()
        result = send(client, "note", "a", countdown=3)
        until(lambda: in_the_broker(folder))
        client.control.revoke(result.id)
        with pytest.raises(TaskRevokedError):
            result.get(timeout=GET_S)
        until(lambda: not in_the_broker(folder))
        assert send(client, "add", 1, 2).get(timeout=GET_S) == 3
    assert ran(folder) == []


def test_a_worker_that_started_after_the_revoke_knows_of_it_from_one_that_was_there(folder, client):
    with Running(folder, "-P", "solo", "-n", "first@%h") as first:
        first.ready()
        result = send(client, "note", "a", countdown=8)
        until(lambda: in_the_broker(folder))
        client.control.revoke(result.id)
        first.wait_line(f"Tasks flagged as revoked: {result.id}")
        with Running(folder, "-P", "solo", "-n", "second@%h") as second:
            second.ready()
            first.signal(signal.SIGKILL)
            first.wait()
            assert in_the_broker(folder), "the machine is too slow for this test's times"
            with pytest.raises(TaskRevokedError, match="revoked"):
                result.get(timeout=GET_S)
    assert ran(folder) == []


@pytest.mark.parametrize("expires", [-1, "2020-01-01T00:00:00+00:00"])
def test_a_task_that_has_expired_before_it_arrives_is_revoked(folder, client, expires):
    with Running(folder, "-P", "solo") as worker:
        worker.ready()
        result = send(client, "note", "a", expires=expires)
        with pytest.raises(TaskRevokedError, match="expired"):
            result.get(timeout=GET_S)
        assert result.state == "REVOKED"
    assert ran(folder) == []


@pytest.mark.parametrize("countdown", [0.15, 1])
def test_a_task_that_expires_while_it_waits_for_its_eta_is_revoked(folder, client, countdown):
    with Running(folder, "-P", "solo") as worker:
        worker.ready()
        result = send(client, "note", "a", countdown=countdown, expires=countdown - 0.1)
        with pytest.raises(TaskRevokedError, match="expired"):
            result.get(timeout=GET_S)
    assert ran(folder) == []


def test_a_task_that_expires_behind_another_is_revoked(folder, client):
    with Running(folder, "-c", "1") as worker:
        worker.ready()
        holding = send(client, "hold", "begun", "release")
        until((folder / "begun").exists)
        expiry_s = time.time() + 0.5
        late = send(client, "note", "a", expires=0.5)
        worker.wait_line("Task proj.note[")
        until(lambda: time.time() > expiry_s)
        (folder / "release").touch()
        holding.get(timeout=GET_S)
        with pytest.raises(TaskRevokedError, match="expired"):
            late.get(timeout=GET_S)
    assert ran(folder) == []


@pytest.mark.parametrize("eta", ["tomorrow", "10000-01-01T00:00:00+00:00", "nan"])
def test_a_message_with_an_unreadable_eta_is_told_and_hurts_no_other(folder, client, eta):
    with Running(folder, "-P", "solo") as worker:
        worker.ready()
        # No option of a call lets this pass.
        with client.publisher() as publisher:
            client.send_task("proj.note", ("a",), headers={"eta": eta}, publisher=publisher)
        worker.wait_line(eta)
        assert send(client, "add", 1, 2).get(timeout=GET_S) == 3
    assert ran(folder) == []
    (kept,) = broker.publisher(client).list_aside("celery", 10, GET_S)
    assert eta in kept.reason


@pytest.mark.parametrize("offset", ["+00:00", "-12:00"])
def test_an_eta_at_the_end_of_all_years_is_kept(folder, client, offset):
    with Running(folder, "-P", "solo") as worker:
        worker.ready()
        send(client, "note", "a", eta=f"9999-12-31T23:59:59{offset}")
        until(lambda: in_the_broker(folder))
        assert send(client, "add", 1, 2).get(timeout=GET_S) == 3
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert len(in_the_broker(folder)) == 1
    assert ran(folder) == []
