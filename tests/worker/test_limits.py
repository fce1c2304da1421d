"""Time limits, and the limits of children, in workers as their users start them."""

import os
import re
import signal
import time

import pytest
from running import TASKS, Running, until

from celeriac import Celery, broker
from celeriac.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from celeriac.worker.limits import SoftAlarm, TimeLimits

pytestmark = pytest.mark.timeout(120)
GET_S = 20

MORE_TASKS = """
from celeriac.exceptions import SoftTimeLimitExceeded

def nap():
    time.sleep(60)

@app.task
def sleep():
    nap()

sleep_soft = app.task(name="proj.sleep_soft", soft_time_limit=0.2)(nap)
sleep_hard = app.task(name="proj.sleep_hard", time_limit=0.3)(nap)

@app.task(acks_late=True, acks_on_failure_or_timeout=False, time_limit=0.5)
def once_too_long():
    if not (HERE / "tried").exists():
        (HERE / "tried").touch()
        nap()
    return "the second time"

@app.task
def clean_up():
    try:
        nap()
    except SoftTimeLimitExceeded:
        return "cleaned up"

@app.task
def busy():
    while True:
        pass

@app.task
def pid():
    return os.getpid()

class Tells(app.Task):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        (HERE / "on_failure").write_text(repr((exc, task_id, args, type(einfo).__name__)))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        (HERE / "after_return").write_text(repr((status, retval, einfo)))

@app.task(base=Tells, time_limit=0.3)
def tell(x):
    nap()

@signals.task_failure.connect
def failed(exception, traceback, einfo, **_):
    (HERE / "signal").write_text(repr((exception, einfo is None)))

@app.task
def caught(request, exc, traceback):
    (HERE / "errback").write_text(repr((request.id, exc)))

kept = []

@app.task
def grow(mib):
    kept.append(bytearray(mib << 20))
    return os.getpid()
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "proj.py").write_text(TASKS + MORE_TASKS)
    return tmp_path


@pytest.fixture
def client(folder):
    url = f"sqlite:///{folder}/q.db"
    app = Celery("client", broker=url, backend=url, set_as_current=False)
    yield app
    app.close()


def send(client, name, *args, **options):
    return client.send_task(f"proj.{name}", args, **options)


# The alarm ---------------------------------------------------------------------------------------


@pytest.fixture
def alarm():
    yield SoftAlarm(TimeLimits())
    # Its clock may send one more signal much later, which by default ends the process.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def spin(seconds):
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        pass


def test_the_alarm_is_raised_in_a_sleep_and_in_a_loop(alarm):
    for work in (time.sleep, spin):
        alarm.arm(0.05)
        begun_s = time.monotonic()
        with pytest.raises(SoftTimeLimitExceeded):
            work(10)
        assert 0.05 <= time.monotonic() - begun_s < 5


def test_nothing_is_raised_once_disarmed_or_by_a_signal_from_elsewhere(alarm):
    alarm.arm(0.02)
    alarm.disarm()
    os.kill(os.getpid(), signal.SIGUSR1)
    spin(0.1)
    alarm.arm(10)
    os.kill(os.getpid(), signal.SIGUSR1)
    spin(0.05)
    alarm.disarm()


def test_a_limit_that_is_set_while_a_longer_one_is_watched_is_kept(alarm):
    alarm.arm(30)
    alarm.disarm()
    alarm.arm(0.05)
    with pytest.raises(SoftTimeLimitExceeded):
        time.sleep(10)


def test_a_process_without_limits_has_no_thread_for_them(alarm):
    alarm.disarm()
    assert alarm._clock is None


@pytest.mark.parametrize(
    ("asked", "of_task", "of_worker", "counts"),
    [(1, 2, 3, 1), (None, 2, 3, 2), (0, 2, 3, 2), (None, None, 3, 3), (None, 0, 0, None)],
)
def test_the_message_goes_before_the_task_and_the_task_before_the_worker(
    asked, of_task, of_worker, counts
):
    class Task:
        time_limit = soft_time_limit = of_task

    limits = TimeLimits(of_worker, of_worker)
    assert limits.hard(asked, Task) == limits.soft(asked, Task) == counts


# Workers -----------------------------------------------------------------------------------------


def test_a_soft_limit_of_the_call_is_raised_in_the_task_which_may_clean_up(folder, client):
    with Running(folder, "-c", "1") as worker:
        worker.ready()
        kept = send(client, "clean_up", soft_time_limit=0.2)
        assert kept.get(timeout=GET_S) == "cleaned up"
        worker.wait_line(f"Soft time limit (0.2s) exceeded for proj.clean_up[{kept.id}]")


@pytest.mark.parametrize(
    ("name", "options", "setting", "flags"),
    [
        ("sleep_soft", {}, "", ()),
        ("busy", {"soft_time_limit": 0.2}, "", ()),
        ("sleep", {}, "app.conf.task_soft_time_limit = 0.2", ()),
        ("sleep", {}, "", ("--soft-time-limit", "0.2")),
    ],
)
def test_a_soft_limit_fails_a_task_that_does_not_catch_it(
    folder, client, name, options, setting, flags
):
    with (folder / "proj.py").open("a") as file:
        file.write(setting)
    with Running(folder, "-c", "1", *flags) as worker:
        worker.ready()
        with pytest.raises(SoftTimeLimitExceeded):
            send(client, name, **options).get(timeout=GET_S)
        assert send(client, "add", 1, 2).get(timeout=GET_S) == 3
        assert "exited" not in worker.text


@pytest.mark.parametrize(
    ("name", "options", "setting", "flags", "limit"),
    [
        ("sleep_hard", {}, "", (), "0.3"),
        ("sleep", {"time_limit": 1}, "", (), "1"),
        ("sleep", {}, "app.conf.task_time_limit = 0.3", (), "0.3"),
        ("sleep", {}, "", ("--time-limit", "0.3"), "0.3"),
    ],
)
def test_a_hard_limit_kills_the_child_which_is_replaced(
    folder, client, name, options, setting, flags, limit
):
    with (folder / "proj.py").open("a") as file:
        file.write(setting)
    with Running(folder, "-c", "1", *flags) as worker:
        worker.ready()
        before = send(client, "pid").get(timeout=GET_S)
        sent = send(client, name, **options)
        with pytest.raises(TimeLimitExceeded, match=re.escape(f"({limit},)")):
            sent.get(timeout=GET_S)
        assert sent.state == "FAILURE"
        assert send(client, "pid").get(timeout=GET_S) != before
        worker.wait_line(f"Hard time limit ({limit}s) exceeded for proj.{name}[{sent.id}]")


def test_handlers_signal_and_errback_hear_of_a_hard_limit_as_in_celery(folder, client):
    with Running(folder, "-c", "1") as worker:
        worker.ready()
        sent = send(client, "tell", "x", link_error=client.signature("proj.caught"))
        with pytest.raises(TimeLimitExceeded):
            sent.get(timeout=GET_S)
        until((folder / "errback").exists)
    exc = "TimeLimitExceeded(0.3)"
    assert (folder / "on_failure").read_text() == f"({exc}, '{sent.id}', ['x'], 'ExceptionInfo')"
    assert (folder / "after_return").read_text() == f"('FAILURE', {exc}, None)"
    assert (folder / "signal").read_text() == f"({exc}, False)"
    assert sent.id in (folder / "errback").read_text()


def test_a_late_task_that_is_not_acknowledged_on_timeout_runs_again(folder, client):
    with Running(folder, "-c", "1") as worker:
        worker.ready()
        sent = send(client, "once_too_long")
        with pytest.raises(TimeLimitExceeded):
            sent.get(timeout=GET_S)
        worker.wait_line("Hard time limit (0.5s) exceeded")
        until(lambda: client.AsyncResult(sent.id).result == "the second time")
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert broker.publisher(client).depth("celery", GET_S) == 0


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_pool_that_cannot_enforce_a_limit_of_a_message_says_so_once(folder, client, pool):
    (folder / "proj.py").write_text(TASKS)
    with Running(folder, "-P", pool) as worker:
        worker.ready()
        for _ in range(3):
            assert send(client, "add", 1, 2, time_limit=5).get(timeout=GET_S) == 3
    assert worker.text.count("asks for a time limit (5s), which this pool cannot enforce") == 1


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_pool_that_cannot_enforce_limits_of_the_settings_does_not_start(folder, pool):
    (folder / "proj.py").write_text(TASKS + "app.conf.task_time_limit = 5")
    with Running(folder, "-P", pool) as worker:
        assert worker.wait() == 1
    assert f"The {pool} pool cannot hold tasks to time limits; -P prefork can." in worker.text
    assert "--allow-unsupported" in worker.text


@pytest.mark.parametrize("how", ["flag", "setting"])
def test_a_child_is_replaced_after_as_many_tasks_as_it_may_execute(folder, client, how):
    flags = ("--max-tasks-per-child", "3") if how == "flag" else ()
    if how == "setting":
        with (folder / "proj.py").open("a") as file:
            file.write("app.conf.worker_max_tasks_per_child = 3")
    with Running(folder, "-c", "1", *flags) as worker:
        worker.ready()
        sent = [send(client, "pid") for _ in range(12)]
        found = [one.get(timeout=GET_S) for one in sent]
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert sorted(found.count(pid) for pid in set(found)) == [3, 3, 3, 3]
    assert "exited" not in worker.text


def test_a_child_that_has_grown_too_large_is_replaced_after_its_task(folder, client):
    with Running(folder, "-c", "1", "--max-memory-per-child", str(150 << 10)) as worker:
        worker.ready()
        first = send(client, "grow", 1).get(timeout=GET_S)
        assert send(client, "grow", 200).get(timeout=GET_S) == first
        until(lambda: len((folder / "children").read_text().split()) == 2)
        assert send(client, "grow", 1).get(timeout=GET_S) != first
