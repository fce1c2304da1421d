"""The asyncio pool, in workers as their users start them."""

import signal

import pytest
from running import TASKS, Running, until

from celeriac import Celery, broker
from celeriac.exceptions import (
    SoftTimeLimitExceeded,
    TaskRevokedError,
    TimeLimitExceeded,
    WorkerLostError,
)

GET_S = 20
NODE = "w1@here"

MORE_TASKS = """
import asyncio, contextvars, threading
from contextlib import asynccontextmanager
from celeriac import current_task
from celeriac.exceptions import SoftTimeLimitExceeded, WorkerShutdown

said = contextvars.ContextVar("said", default="nothing")
opened = contextvars.ContextVar("opened", default="not open")
gates = {}

def note(text):
    with (HERE / "notes").open("a") as file:
        file.write(text + "\\n")

async def together(gate, count):
    here, all_here = gates.setdefault(gate, ([], asyncio.Event()))
    here.append(1)
    if len(here) == count:
        all_here.set()
    await all_here.wait()

@app.task(bind=True)
async def meet(self, gate, count):
    said.set(self.request.id)
    await together(gate, count)
    await asyncio.sleep(0)
    thread = threading.current_thread().name
    return [self.request.id, current_task.request.id, said.get(), opened.get(), thread]

@app.task
async def wait_for_ever(name="begun"):
    (HERE / name).touch()
    try:
        await asyncio.Event().wait()
    finally:
        note("cleaned up")

wait_late = app.task(name="proj.wait_late", acks_late=True)(wait_for_ever.run)
wait_again = app.task(
    name="proj.wait_again", acks_late=True, acks_on_failure_or_timeout=False
)(wait_for_ever.run)

@app.task
async def stubborn():
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "what cancellation?"

@app.task
async def patient():
    try:
        await asyncio.Event().wait()
    except SoftTimeLimitExceeded:
        return "handled"

released = threading.Event()

@app.task
def block():
    (HERE / "blocked").touch()
    assert released.wait(20)
    return opened.get(), threading.current_thread().name

@app.task
async def release():
    released.set()

@app.task
async def plus(x, y):
    await asyncio.sleep(0)
    return x + y

started = app.task(name="proj.started", track_started=True)(plus.run)

@app.task
async def state_of(task_id):
    (HERE / "begun").touch()
    while not (HERE / "release").exists():
        await asyncio.sleep(0.005)
    return app.AsyncResult(task_id).state

@app.task(autoretry_for=(OSError,), retry_kwargs={"countdown": 0}, bind=True)
async def flaky(self):
    if not self.request.retries:
        raise OSError
    return self.request.retries

@app.task
async def leave_the_process():
    sys.exit(3)

@app.task
async def stop_the_worker():
    raise WorkerShutdown(3)
"""

LIFESPANS = """
@app.lifespan
async def first(of):
    note(f"open 1 {of.main}")
    opened.set("open")
    try:
        yield
    finally:
        note("close 1")

@app.lifespan
@asynccontextmanager
async def second(of):
    note("open 2")
    try:
        yield
    finally:
        note("close 2")
"""

SIGNALS = """
@signals.task_prerun.connect
def before(task_id, **_):
    said.set("prerun")
    note(f"prerun {threading.current_thread().name.split('-')[0]}")

@signals.task_postrun.connect
def after(**_):
    note(f"postrun {said.get()}")
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


def write(folder, source):
    with (folder / "proj.py").open("a") as file:
        file.write(source)


def notes(folder):
    return (folder / "notes").read_text().splitlines()


def run(folder, *arguments):
    return Running(folder, "-P", "aio", "-n", NODE, *arguments)


def send(client, name, *args, **options):
    return client.send_task(f"proj.{name}", args, **options)


def ask(client, command, **arguments):
    replies = client.control.broadcast(command, arguments, [NODE], reply=True, timeout=10.0)
    return replies[0][NODE]


def waiting_in_queue(client):
    return broker.publisher(client).depth("celery", GET_S)


def test_a_hundred_tasks_wait_at_once_each_with_its_own_request_and_context(folder, client):
    with run(folder, "-c", "100", "--prefetch-multiplier", "1") as worker:
        worker.ready()
        sent = [send(client, "meet", "a", 100) for _ in range(100)]
        found = [one.get(timeout=GET_S) for one in sent]
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    for one, (own, current, context, _, thread) in zip(sent, found, strict=True):
        assert own == current == context == one.id
        assert thread == "AioPoolLoop"


def test_no_more_run_at_once_than_asked_for_and_the_prefetch_is_a_multiple(folder, client):
    # Before it starts: a worker asks for more once half of its places are free.
    late = [send(client, "wait_late", f"begun{n}") for n in range(8)]
    with run(folder, "-c", "2", "--prefetch-multiplier", "2") as worker:
        worker.ready()
        until(lambda: (folder / "begun0").exists() and (folder / "begun1").exists())
        until(lambda: waiting_in_queue(client) == 4)
        assert len(ask(client, "active")) == 2
        assert not (folder / "begun2").exists()
        client.control.revoke([one.id for one in late], terminate=True, reply=True, timeout=10)
        for one in late:
            with pytest.raises(TaskRevokedError):
                one.get(timeout=GET_S)


def test_functions_run_in_threads_beside_the_loop_with_what_the_lifespan_set(folder, client):
    write(folder, LIFESPANS)
    with run(folder, "-c", "3") as worker:
        worker.ready()
        blocked = [send(client, "block") for _ in range(2)]
        until((folder / "blocked").exists)
        assert send(client, "meet", "a", 1).get(timeout=GET_S)[3] == "open"
        send(client, "release").get(timeout=GET_S)
        found = [one.get(timeout=GET_S) for one in blocked]
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert {state for state, _ in found} == {"open"}
    assert {thread for _, thread in found} == {"AioPoolWorker-1", "AioPoolWorker-2"}


def test_what_the_application_opened_is_closed_in_reverse_after_the_last_task(folder, client):
    write(folder, LIFESPANS)
    with run(folder, "-c", "2") as worker:
        worker.ready()
        send(client, "hold", "held", "release")
        waits = send(client, "state_of", "x")
        until(lambda: (folder / "held").exists() and (folder / "begun").exists())
        assert notes(folder) == ["open 1 proj", "open 2"]
        worker.signal(signal.SIGTERM)
        worker.wait_line("Warm shutdown")
        (folder / "release").touch()
        assert waits.get(timeout=GET_S) == "PENDING"
        assert worker.wait() == 0
    assert notes(folder) == ["open 1 proj", "open 2", "close 2", "close 1"]


def test_a_worker_whose_resources_cannot_be_opened_does_not_start_and_closes_the_others(folder):
    failing = "\n@app.lifespan\nasync def third(of):\n    raise OSError('no database')\n    yield\n"
    write(folder, LIFESPANS + failing)
    with run(folder) as worker:
        assert worker.wait() == 1
    assert "lifespan cannot begin: OSError('no database')" in worker.text
    assert notes(folder) == ["open 1 proj", "open 2", "close 2", "close 1"]


def test_a_running_coroutine_is_cancelled_by_revoke_and_the_next_one_runs(folder, client):
    with run(folder, "-c", "1") as worker:
        worker.ready()
        sent, waits = send(client, "wait_again"), send(client, "plus", 1, 1)
        until((folder / "begun").exists)
        ask(client, "revoke", task_id=[waits.id])
        with pytest.raises(TaskRevokedError, match="revoked"):
            waits.get(timeout=GET_S)
        answer = ask(client, "revoke", task_id=[sent.id], terminate=True)
        assert answer == {"ok": f"terminate: {sent.id}"}
        with pytest.raises(TaskRevokedError, match="terminated"):
            sent.get(timeout=GET_S)
        assert send(client, "plus", 1, 2).get(timeout=GET_S) == 3
        assert ask(client, "active") == []
    assert notes(folder) == ["cleaned up"]


def test_a_function_cannot_be_terminated_and_the_answer_says_so(folder, client):
    with run(folder, "-c", "2") as worker:
        worker.ready()
        sent = send(client, "block")
        until((folder / "blocked").exists)
        until(lambda: ask(client, "active"))
        answer = ask(client, "revoke", task_id=[sent.id], terminate=True)
        assert "cannot end" in answer["error"]
        send(client, "release").get(timeout=GET_S)
        sent.get(timeout=GET_S)


@pytest.mark.parametrize("task", ["wait_for_ever", "stubborn"])
def test_a_coroutine_is_cancelled_at_its_hard_limit_whatever_it_says(folder, client, task):
    with run(folder, "-c", "1") as worker:
        worker.ready()
        sent = send(client, task, time_limit=0.2)
        with pytest.raises(TimeLimitExceeded, match=r"\(0.2,\)"):
            sent.get(timeout=GET_S)
        worker.wait_line(f"Hard time limit (0.2s) exceeded for proj.{task}[{sent.id}]")
        assert send(client, "plus", 1, 2).get(timeout=GET_S) == 3


def test_a_late_task_that_is_not_acknowledged_on_timeout_goes_back(folder, client):
    with run(folder, "-c", "1") as worker:
        worker.ready()
        sent = send(client, "wait_again", time_limit=0.1)
        with pytest.raises(TimeLimitExceeded):
            sent.get(timeout=GET_S)
        worker.wait_line("Hard time limit", count=2)


@pytest.mark.parametrize(
    ("options", "setting"), [({"soft_time_limit": 0.2}, ""), ({}, "task_soft_time_limit = 0.2")]
)
def test_the_soft_limit_is_raised_where_the_coroutine_waits(folder, client, options, setting):
    if setting:
        write(folder, f"\napp.conf.{setting}\n")
    with run(folder, "-c", "2", "--allow-unsupported") as worker:
        worker.ready()
        handled, failed = (
            send(client, "patient", **options),
            send(client, "meet", "x", 2, **options),
        )
        assert handled.get(timeout=GET_S) == "handled"
        with pytest.raises(SoftTimeLimitExceeded):
            failed.get(timeout=GET_S)
        worker.wait_line(f"Soft time limit (0.2s) exceeded for proj.patient[{handled.id}]")


def test_functions_with_limits_stop_the_worker_unless_it_is_told_to_start(folder):
    write(folder, "\napp.conf.task_time_limit = 5\n")
    with run(folder) as worker:
        assert worker.wait() == 1
    assert "The aio pool cannot hold functions to time limits; -P prefork can." in worker.text


def test_a_worker_of_coroutines_alone_takes_limits_of_the_settings(folder, client):
    source = "import asyncio\nfrom pathlib import Path\nfrom celeriac import Celery\n"
    source += "HERE = Path(__file__).parent\nurl = f'sqlite:///{HERE}/q.db'\n"
    source += "app = Celery('proj', broker=url, backend=url, task_time_limit=0.2)\n"
    source += "@app.task\nasync def wait():\n    await asyncio.Event().wait()\n"
    (folder / "proj.py").write_text(source)
    with run(folder) as worker:
        worker.ready()
        with pytest.raises(TimeLimitExceeded):
            send(client, "wait").get(timeout=GET_S)


@pytest.mark.parametrize(("task", "left"), [("wait_for_ever", 0), ("wait_late", 1)])
def test_a_cold_stop_cancels_what_runs_and_late_tasks_go_back(folder, client, task, left):
    write(folder, LIFESPANS)
    with run(folder, "-c", "1") as worker:
        worker.ready()
        send(client, task)
        until((folder / "begun").exists)
        until(lambda: ask(client, "active"))
        worker.signal(signal.SIGQUIT)
        assert worker.wait() == 0
    assert notes(folder)[2:] == ["cleaned up", "close 2", "close 1"]
    assert waiting_in_queue(client) == left


def test_a_function_that_hangs_does_not_hold_up_a_cold_stop(folder, client):
    with run(folder, "-c", "2") as worker:
        worker.ready()
        sent = send(client, "block")
        until((folder / "blocked").exists)
        until(lambda: ask(client, "active"))
        worker.signal(signal.SIGQUIT)
        assert worker.wait() == 0
    assert f"end with the process: proj.block[{sent.id}]" in worker.text


def test_what_the_user_hooked_in_runs_in_a_thread_with_the_tasks_context(folder, client):
    write(folder, SIGNALS)
    with run(folder, "-c", "2") as worker:
        worker.ready()
        assert send(client, "plus", 1, 2).get(timeout=GET_S) == 3
        # The result is stored before `task_postrun` is sent.
        until(lambda: notes(folder) == ["prerun AioPoolWorker", "postrun prerun"])


def test_states_retries_and_links_are_those_of_every_pool(folder, client):
    with run(folder, "-c", "2") as worker:
        worker.ready()
        link = client.signature("proj.plus", (10,))
        sent = send(client, "started", 1, 2, link=link)
        assert sent.get(timeout=GET_S) == 3
        assert sent.children[0].get(timeout=GET_S) == 13
        assert send(client, "flaky").get(timeout=GET_S) == 1
        worker.wait_line("proj.plus", count=2)
        assert "never awaited" not in worker.text


@pytest.mark.parametrize("count", [1, 3])
def test_a_system_exit_ends_one_task_and_no_loop(folder, client, count):
    with run(folder, "-c", "2") as worker:
        worker.ready()
        for _ in range(count):
            with pytest.raises(WorkerLostError, match="SystemExit"):
                send(client, "leave_the_process").get(timeout=GET_S)
        assert send(client, "plus", 1, 2).get(timeout=GET_S) == 3


def test_a_coroutine_can_ask_the_worker_to_stop(folder, client):
    with run(folder, "-c", "2") as worker:
        worker.ready()
        send(client, "stop_the_worker")
        assert worker.wait() == 3


@pytest.mark.parametrize("name", ["asyncio", "celery_aio_pool.pool:AsyncIOPool"])
def test_other_names_of_the_pool_are_known(folder, name):
    with Running(folder, "-P", name, "-c", "7") as worker:
        worker.ready()
        worker.wait_line(".> concurrency: 7 (aio)")
