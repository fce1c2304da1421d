"""The threads pool: its decisions with threads alone, and whole workers with it."""

import signal
import threading
from types import SimpleNamespace

import pytest
from running import TASKS, Running, until

from celeriac import Celery, _current, broker
from celeriac.exceptions import WorkerLostError, WorkerShutdown, WorkerTerminate
from celeriac.worker.call import Report
from celeriac.worker.outcome import Expired, HandedBack, Succeeded, WorkerLost
from celeriac.worker.pools.threads import ThreadsPool

GET_S = 20
DONE = Report(Succeeded())

MORE_TASKS = """
import threading
from celeriac import current_task
from celeriac.exceptions import WorkerShutdown
meeting = threading.Barrier(3)

@app.task
def meet():
    meeting.wait(20)
    return current_task.request.id, threading.current_thread().name, os.getpid()

@app.task(acks_late=True)
def hang():
    (HERE / "begun").touch()
    time.sleep(3600)

@app.task
def hang_early():
    (HERE / "begun").touch()
    time.sleep(3600)

@app.task
def stop_the_worker():
    raise WorkerShutdown(3)
"""


class Host:
    def __init__(self):
        self.said, self.late, self.threads = [], set(), set()

    def is_too_late(self, request):
        return request.id in self.late

    def started(self, request, pid):
        self.threads.add(threading.get_ident())
        self.said.append((request.id, "started"))

    def executed(self, request, report):
        self.started(request, request.worker_pid)
        self.ended(request, report)

    def ended(self, request, report):
        self.threads.add(threading.get_ident())
        self.said.append((request.id, report.outcome))


class Executor:
    """Runs what a delivery is: a function."""

    def execute(self, delivery):
        return delivery() or DONE


@pytest.fixture
def wakes():
    return threading.Semaphore(0)


@pytest.fixture
def host():
    return Host()


@pytest.fixture
def pool(host, wakes, app, monkeypatch):
    monkeypatch.setattr(_current, "_join_will_block", False)  # as it is found, and left
    made = ThreadsPool(app, Executor(), host, size=2)
    made.start(SimpleNamespace(wake=wakes.release))
    yield made
    made.stop(GET_S)
    for thread in made._threads:
        thread.join(GET_S)
    assert not made.leaves_threads


def request(name, work=lambda: None, expires_ms=0):
    return SimpleNamespace(
        id=name, delivery=work, expires_ms=expires_ms, humaninfo=lambda: f"task[{name}]"
    )


def hear(pool, wakes, count):
    """Be the worker's thread until so many tasks have ended."""
    while sum(said != "started" for _, said in pool._host.said) < count:
        assert wakes.acquire(timeout=GET_S)
        pool.tend()


def test_the_host_hears_of_start_and_end_in_the_workers_thread(pool, host, wakes):
    pool.submit(request("a"))
    hear(pool, wakes, 1)
    assert host.said == [("a", "started"), ("a", Succeeded())]
    assert host.threads == {threading.get_ident()}
    assert pool.is_idle


def test_two_threads_run_two_tasks_at_once(pool, wakes):
    meeting = threading.Barrier(2)
    for name in "ab":
        pool.submit(request(name, lambda: meeting.wait(GET_S) and None))
    hear(pool, wakes, 2)
    assert not meeting.broken


def test_a_task_that_expired_while_it_waited_is_not_started(pool, host, wakes):
    host.late.add("a")
    pool.submit(request("a", expires_ms=1))
    hear(pool, wakes, 1)
    assert host.said == [("a", Expired())]


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt()])
def test_what_would_end_a_process_ends_a_task_and_no_thread(pool, host, wakes, raised):
    def leave():
        raise raised

    for number in range(3):
        pool.submit(request(str(number), leave))
    hear(pool, wakes, 3)
    assert all(said in ("started", WorkerLost(repr(raised))) for _, said in host.said)
    assert all(thread.is_alive() for thread in pool._threads)


def test_a_task_that_asks_the_worker_to_stop_is_heard_in_the_workers_thread(pool, wakes):
    def ask():
        raise WorkerShutdown(3)

    pool.submit(request("a", ask))
    with pytest.raises(WorkerShutdown):
        hear(pool, wakes, 2)


def test_a_task_that_asks_for_a_cold_stop_leaves_the_others_behind(pool, host, wakes):
    release, begun = threading.Event(), threading.Event()

    def hang():
        begun.set()
        release.wait(GET_S)

    def ask():
        raise WorkerTerminate(1)

    pool.submit(request("hangs", hang))
    assert begun.wait(GET_S)
    pool.submit(request("asks", ask))
    with pytest.raises(WorkerTerminate):
        hear(pool, wakes, 2)
    assert [said for name, said in host.said if name == "hangs"][-1].in_cold_stop
    release.set()


def test_a_warm_stop_hands_back_what_is_not_started(pool, host, wakes):
    release, begun = threading.Event(), threading.Semaphore(0)

    def hold():
        begun.release()
        release.wait(GET_S)

    for number in range(5):
        pool.submit(request(str(number), hold))
    for _ in range(2):
        assert begun.acquire(timeout=GET_S)
    pool.hand_back()
    assert [name for name, said in host.said if said == HandedBack()] == ["2", "3", "4"]
    assert not pool.is_idle
    release.set()
    hear(pool, wakes, 5)
    assert pool.is_idle


def test_a_cold_stop_gives_up_on_what_runs_and_names_it(pool, host, wakes, caplog):
    release, begun = threading.Event(), threading.Event()

    def hang():
        begun.set()
        release.wait(GET_S)

    pool.submit(request("a", hang))
    assert begun.wait(GET_S)
    pool.terminate()
    pool.stop(GET_S)
    assert pool.leaves_threads
    assert pool.is_idle
    assert host.said[-1] == ("a", WorkerLost("Worker exited prematurely: cold shutdown.", True))
    assert "task[a]" in caplog.text
    release.set()
    for thread in pool._threads:
        thread.join(GET_S)
    assert not pool.leaves_threads
    pool.tend()
    assert len(host.said) <= 2, "what it tells after it was given up is not heard"


# Whole workers -----------------------------------------------------------------------------------


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


def waiting_in_queue(client):
    return broker.publisher(client).depth("celery", GET_S)


def test_as_many_tasks_run_at_once_as_there_are_threads_each_with_its_own_request(folder, client):
    with Running(folder, "-P", "threads", "-c", "3") as worker:
        worker.ready()
        sent = [send(client, "meet") for _ in range(3)]
        found = [one.get(timeout=GET_S) for one in sent]
    assert [task_id for task_id, _, _ in found] == [one.id for one in sent]
    assert len({thread for _, thread, _ in found}) == 3
    assert {pid for _, _, pid in found} == {worker.process.pid}


def test_the_prefetch_is_the_multiplier_for_each_thread(folder, client):
    # Before it starts: a worker asks for more once half of its places are free.
    late = [send(client, "hold_late", f"begun{n}", "release") for n in range(8)]
    with Running(folder, "-P", "threads", "-c", "2", "--prefetch-multiplier", "2") as worker:
        worker.ready()
        until(lambda: (folder / "begun0").exists() and (folder / "begun1").exists())
        until(lambda: waiting_in_queue(client) == 4)
        (folder / "release").touch()
        for one in late:
            one.get(timeout=GET_S)


@pytest.mark.parametrize(("task", "left"), [("hang_early", 0), ("hang", 1)])
def test_a_killed_worker_leaves_late_tasks_alone_behind(folder, client, task, left):
    with Running(folder, "-P", "threads", "-c", "2") as worker:
        worker.ready()
        send(client, task)
        until((folder / "begun").exists)
        # Settled after the other's early acknowledgement.
        assert send(client, "add", 1, 1).get(timeout=GET_S) == 2
        worker.signal(signal.SIGKILL)
        worker.wait()
    (folder / "begun").unlink()
    with Running(folder, "-P", "solo") as another:
        another.ready()
        if left:
            until((folder / "begun").exists)
        else:
            assert send(client, "add", 1, 2).get(timeout=GET_S) == 3
            assert not (folder / "begun").exists()


@pytest.mark.parametrize("stop", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGQUIT,)])
def test_a_task_that_hangs_does_not_hold_up_a_cold_stop(folder, client, stop):
    with Running(folder, "-P", "threads", "-c", "1") as worker:
        worker.ready()
        sent = send(client, "hang")
        until((folder / "begun").exists)
        for signum, how in zip(stop, ("Warm", "Cold")[-len(stop) :], strict=True):
            worker.signal(signum)
            worker.wait_line(f"{how} shutdown")
        assert worker.wait() == 0
    assert f"proj.hang[{sent.id}]" in worker.text
    assert waiting_in_queue(client) == 1


def test_a_task_can_ask_the_worker_to_stop(folder, client):
    with Running(folder, "-P", "threads", "-c", "2") as worker:
        worker.ready()
        sent = send(client, "stop_the_worker")
        assert worker.wait() == 3
    with pytest.raises(WorkerLostError):
        sent.get(timeout=GET_S)


@pytest.mark.parametrize("pool", ["gevent", "eventlet", "custom", "no-such-pool"])
def test_a_pool_that_is_not_there_is_refused_with_one_that_is(folder, pool):
    with Running(folder, "-P", pool) as worker:
        assert worker.wait() == 64
    assert pool in worker.text
    assert "-P" in worker.text
    assert "threads" in worker.text
    assert "Traceback" not in worker.text


def test_celerys_path_of_the_pool_class_in_the_settings_names_the_threads_pool(folder, client):
    source = (folder / "proj.py").read_text()
    setting = 'app.conf.worker_pool = "celery.concurrency.thread:TaskPool"\n'
    (folder / "proj.py").write_text(source + setting)
    with Running(folder, "-c", "2") as worker:
        worker.ready()
        assert ".> concurrency: 2 (threads)" in worker.text
